//! Generic segmentation offload in software: cuts a TCP or UDP super-frame into frames that fit the MTU, as
//! tcp_gso_segment (net/ipv4/tcp_offload.c) and __udp_gso_segment (net/ipv4/udp_offload.c) do.
//!
//! Each segment gets the headers of the super-frame with its own lengths, IPv4 identification and header checksum, TCP
//! sequence number and flags, and a checksum that is again partial: the pseudo-header sum in place, so that the egress
//! can pass it on or complete it. All or nothing: the chunks are reserved before the first segment is made.

use super::parse::{L4, TCP, UDP, find_l4, ipv4, ipv6, tcp, udp};
use super::{BadOffload, csum};
use crate::mem::{Gso, Mbuf, Mempool, MempoolCache, Offload, chunks_for};
use crate::stats::DropReason;
use std::sync::Arc;

/// Most segments of one frame: 64 KiB at an MSS of 256. Smaller segments are not worth the chunks.
pub const MAX_SEGMENTS: usize = 256;

/// Most bytes of headers: Ethernet, two tags, IPv6 with 100 bytes of extensions, TCP with all options.
pub const MAX_HEADERS: usize = 256;

/// Why a frame was not segmented.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum GsoError {
    /// The pool has too few chunks for all segments.
    #[error("pool exhausted")]
    NoMbuf,
    /// More than [`MAX_SEGMENTS`].
    #[error("{0} segments, more than {MAX_SEGMENTS}")]
    TooManySegments(usize),
    /// The offload state contradicts the frame.
    #[error(transparent)]
    Bad(#[from] BadOffload),
}

impl GsoError {
    /// The reason to count the frame under.
    #[must_use]
    pub fn reason(self) -> DropReason {
        match self {
            Self::NoMbuf => DropReason::NoMbuf,
            Self::TooManySegments(_) | Self::Bad(_) => DropReason::BadOffload,
        }
    }
}

/// How many frames a frame of `len` bytes becomes, 1 if it needs no segmentation.
#[must_use]
pub fn segments_needed(offload: &Offload, len: usize) -> usize {
    if offload.gso == Gso::None {
        return 1;
    }
    let payload = len.saturating_sub(offload.hdr_len.into());
    payload.div_ceil(usize::from(offload.gso_size).max(1)).max(1)
}

/// Cuts `mbuf` into segments and hands each to `out`, first to last. `mbuf` stays as it is, and the caller's.
///
/// # Errors
/// [`GsoError`]; nothing was handed out then.
pub fn segment(mem: &mut MempoolCache, mbuf: &Mbuf, out: &mut impl FnMut(Mbuf)) -> Result<usize, GsoError> {
    let pool = Arc::clone(mem.pool());
    let template = Template::new(&pool, mbuf)?;
    let count = template.count();
    if count > MAX_SEGMENTS {
        return Err(GsoError::TooManySegments(count));
    }
    if !mem.reserve(count * template.chunks_each()) {
        return Err(GsoError::NoMbuf);
    }
    let mut payload = Payload::new(pool.segments(mbuf), template.hdr_len);
    for index in 0..count {
        let piece = template.piece(index);
        // Reserved above.
        let Some(mut frame) = mem.alloc_len(template.hdr_len + piece.len) else { break };
        template.write(&pool, &mut frame, &piece);
        payload.fill(&pool, &mut frame, template.hdr_len);
        pool.set_offload(&mut frame, template.offload);
        out(frame);
    }
    Ok(count)
}

/// The headers of a GSO frame, checked.
#[derive(Debug)]
pub(super) struct Headers {
    l4: L4,
    /// Bytes of all headers.
    pub(super) hdr_len: u16,
}

/// Checks GSO state against a frame of `len` bytes that begins with `first`.
pub(super) fn check(offload: &Offload, first: &[u8], len: usize) -> Result<Headers, BadOffload> {
    let size = offload.gso_size;
    if size == 0 || usize::from(size) >= len {
        return Err(BadOffload::GsoSize { size, len });
    }
    if !offload.needs_csum {
        return Err(BadOffload::GsoWithoutChecksum);
    }
    let l4 = find_l4(first).filter(|l4| agrees(offload, l4)).ok_or(BadOffload::WrongProtocol)?;
    let end = l4.headers_end(first).unwrap_or(len);
    match u16::try_from(end) {
        Ok(hdr_len) if end < len && end <= MAX_HEADERS => Ok(Headers { l4, hdr_len }),
        _ => Err(BadOffload::HeaderLength { hdr_len: end, len }),
    }
}

/// Whether the kind of offload and the checksum's place are those of the frame's protocol.
fn agrees(offload: &Offload, l4: &L4) -> bool {
    let kind = match offload.gso {
        Gso::None => false,
        Gso::Tcp4 => l4.proto == TCP && !l4.v6,
        Gso::Tcp6 => l4.proto == TCP && l4.v6,
        Gso::Udp => l4.proto == UDP,
    };
    kind && l4.l4 == usize::from(offload.csum_start) && l4.csum_offset() == Some(offload.csum_offset.into())
}

/// One segment of a frame.
struct Piece {
    index: usize,
    /// Bytes of payload.
    len: usize,
    last: bool,
}

/// The headers that all segments begin with, and what differs.
struct Template {
    headers: [u8; MAX_HEADERS],
    hdr_len: usize,
    l4: L4,
    /// Payload bytes of the whole frame and of one segment.
    payload: usize,
    size: usize,
    /// The offloads pending on each segment.
    offload: Offload,
}

impl Template {
    fn new(pool: &Mempool, mbuf: &Mbuf) -> Result<Self, BadOffload> {
        let mut headers = [0; MAX_HEADERS];
        let n = pool.read_at(mbuf, 0, &mut headers);
        let Offload { csum_start, csum_offset, needs_csum, .. } = pool.offload(mbuf);
        let Headers { l4, hdr_len } = check(&pool.offload(mbuf), &headers[..n], mbuf.len())?;
        let (hdr_len, gso_size) = (usize::from(hdr_len), pool.offload(mbuf).gso_size);
        let payload = mbuf.len() - hdr_len;
        let size = payload.min(gso_size.into());
        if hdr_len - l4.l3 + size > usize::from(u16::MAX) {
            return Err(BadOffload::GsoSize { size: gso_size, len: mbuf.len() });
        }
        let offload = Offload { csum_start, csum_offset, needs_csum, ..Offload::NONE };
        Ok(Self { headers, hdr_len, l4, payload, size, offload })
    }

    fn count(&self) -> usize {
        self.payload.div_ceil(self.size)
    }

    /// Chunks of a full segment.
    fn chunks_each(&self) -> usize {
        chunks_for(self.hdr_len + self.size)
    }

    fn piece(&self, index: usize) -> Piece {
        let len = self.size.min(self.payload - index * self.size);
        Piece { index, len, last: index + 1 == self.count() }
    }

    /// Writes the headers of a segment. `check` has put every field inside `hdr_len`, which is less than a chunk.
    fn write(&self, pool: &Mempool, frame: &mut Mbuf, piece: &Piece) {
        let hdr = &mut pool.data_mut(frame)[..self.hdr_len];
        hdr.copy_from_slice(&self.headers[..self.hdr_len]);
        let (l3, l4) = hdr.split_at_mut(self.l4.l4);
        let l3 = &mut l3[self.l4.l3..];
        let transport = l4.len() + piece.len;
        if self.l4.v6 {
            write_ipv6(l3, transport)
        } else {
            write_ipv4(l3, transport, piece.index)
        }
        let check = self.pseudo_sum(transport);
        if self.l4.proto == TCP {
            self.write_tcp(l4, piece);
            put16(l4, tcp::CHECKSUM, check);
        } else {
            put16(l4, udp::LENGTH, low16(transport));
            put16(l4, udp::CHECKSUM, check);
        }
    }

    fn write_tcp(&self, hdr: &mut [u8], piece: &Piece) {
        let at = tcp::SEQ..tcp::SEQ + 4;
        let base = u32::from_be_bytes([hdr[4], hdr[5], hdr[6], hdr[7]]);
        // A frame is shorter than 2^32 bytes.
        let offset = u32::try_from(piece.index * self.size).unwrap_or(0);
        hdr[at].copy_from_slice(&base.wrapping_add(offset).to_be_bytes());
        if piece.index > 0 {
            hdr[tcp::FLAGS] &= !tcp::CWR;
        }
        if !piece.last {
            hdr[tcp::FLAGS] &= !(tcp::FIN | tcp::PSH);
        }
    }

    /// The pseudo-header sum for `transport` bytes. As in the kernel it is that of the super-frame with the length
    /// exchanged, so that addresses that routing headers or source routes change are right.
    fn pseudo_sum(&self, transport: usize) -> u16 {
        let at = self.l4.l4 + usize::from(self.offload.csum_offset);
        let before = self.hdr_len - self.l4.l4 + self.payload;
        let mut sum = csum::Sum::default();
        sum.add(&self.headers[at..at + 2]);
        sum.add_u16(!csum::fold(before as u64));
        sum.add_u16(low16(transport));
        sum.fold()
    }
}

fn write_ipv4(hdr: &mut [u8], transport: usize, index: usize) {
    put16(hdr, ipv4::TOTAL_LEN, low16(hdr.len() + transport));
    let id = u16::from_be_bytes([hdr[ipv4::ID], hdr[ipv4::ID + 1]]);
    put16(hdr, ipv4::ID, id.wrapping_add(low16(index)));
    put16(hdr, ipv4::CHECKSUM, 0);
    let check = !csum::sum(hdr);
    put16(hdr, ipv4::CHECKSUM, check);
}

fn write_ipv6(hdr: &mut [u8], transport: usize) {
    put16(hdr, ipv6::PAYLOAD_LEN, low16(hdr.len() - ipv6::LEN + transport));
}

fn put16(hdr: &mut [u8], at: usize, value: u16) {
    hdr[at..at + 2].copy_from_slice(&value.to_be_bytes());
}

/// Lengths and indices of segments are below 2^16: `Template::new` checks it.
#[allow(clippy::cast_possible_truncation, reason = "see above")]
fn low16(n: usize) -> u16 {
    n as u16
}

/// Reads the payload of a chain from front to back.
struct Payload<'a, I> {
    rest: &'a [u8],
    segments: I,
}

impl<'a, I: Iterator<Item = &'a [u8]>> Payload<'a, I> {
    /// From byte `skip` on.
    fn new(mut segments: I, mut skip: usize) -> Self {
        for segment in segments.by_ref() {
            match segment.get(skip..) {
                Some(rest) => return Self { rest, segments },
                None => skip -= segment.len(),
            }
        }
        Self { rest: &[], segments }
    }

    /// Copies the next bytes behind the headers of `frame`, straight from chunk to chunk.
    fn fill(&mut self, pool: &Mempool, frame: &mut Mbuf, hdr_len: usize) {
        let mut skip = hdr_len;
        for target in pool.segments_mut(frame) {
            self.copy(&mut target[skip..]);
            skip = 0;
        }
    }

    fn copy(&mut self, mut target: &mut [u8]) {
        while !target.is_empty() {
            if self.rest.is_empty() {
                let Some(next) = self.segments.next() else { return };
                self.rest = next;
            }
            let n = self.rest.len().min(target.len());
            target[..n].copy_from_slice(&self.rest[..n]);
            target = &mut target[n..];
            self.rest = &self.rest[n..];
        }
    }
}

#[cfg(test)]
mod tests;
