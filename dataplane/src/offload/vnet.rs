//! The virtio_net_hdr of 12 bytes (virtio 1.2 §5.1.6, `struct virtio_net_hdr_v1` in virtio_net.h), little endian,
//! to and from [`Offload`].
//!
//! The header is not trusted: [`parse`] checks it against the frame it came with, and takes the length of the headers from
//! the frame, since a TAP's `hdr_len` is only a hint (the linear part of the sender's skb, `virtio_net_hdr_from_skb` in
//! virtio_net.h).

use super::{BadOffload, csum, gso};
use crate::eth;
use crate::mem::{Gso, Offload};

/// Bytes of the header.
pub const LEN: usize = 12;

const F_NEEDS_CSUM: u8 = 1;
const F_DATA_VALID: u8 = 2;
const GSO_NONE: u8 = 0;
const GSO_TCPV4: u8 = 1;
const GSO_TCPV6: u8 = 4;
const GSO_UDP_L4: u8 = 5;
const GSO_ECN: u8 = 0x80;

/// Offsets in the header.
mod field {
    pub const FLAGS: usize = 0;
    pub const GSO_TYPE: usize = 1;
    pub const HDR_LEN: usize = 2;
    pub const GSO_SIZE: usize = 4;
    pub const CSUM_START: usize = 6;
    pub const CSUM_OFFSET: usize = 8;
}

/// The pending offloads of a frame of `len` bytes, whose first segment is `first`, by its header.
///
/// DATA_VALID is left out: a guest may lie, and only its own port knows whether to trust it ([`data_valid`]).
///
/// # Errors
/// [`BadOffload`] if the header contradicts the frame.
#[inline]
pub fn parse(hdr: &[u8; LEN], first: &[u8], len: usize) -> Result<Offload, BadOffload> {
    let ordinary = hdr[field::FLAGS] & F_NEEDS_CSUM == 0 && hdr[field::GSO_TYPE] == GSO_NONE;
    if ordinary { Ok(Offload::NONE) } else { parse_offload(hdr, first, len) }
}

/// Whether the writer of the header vouches for the checksum.
#[must_use]
pub fn data_valid(hdr: &[u8; LEN]) -> bool {
    hdr[field::FLAGS] & (F_DATA_VALID | F_NEEDS_CSUM) == F_DATA_VALID
}

fn parse_offload(hdr: &[u8; LEN], first: &[u8], len: usize) -> Result<Offload, BadOffload> {
    let claimed = usize::from(le16(hdr, field::HDR_LEN));
    if claimed > len {
        return Err(BadOffload::HeaderLength { hdr_len: claimed, len });
    }
    let (gso, ecn) = gso_type(hdr[field::GSO_TYPE])?;
    let mut offload = Offload {
        csum_start: le16(hdr, field::CSUM_START),
        csum_offset: le16(hdr, field::CSUM_OFFSET),
        gso,
        ecn,
        needs_csum: hdr[field::FLAGS] & F_NEEDS_CSUM != 0,
        ..Offload::NONE
    };
    if offload.needs_csum {
        let (start, at) = csum::position(&offload, len)?;
        if eth::payload(first).is_none_or(|(_, l2)| start < l2) {
            return Err(BadOffload::ChecksumOutside { at, len });
        }
    }
    if gso != Gso::None {
        offload.gso_size = le16(hdr, field::GSO_SIZE);
        offload.hdr_len = gso::check(&offload, first, len)?.hdr_len;
    }
    Ok(offload)
}

fn gso_type(bits: u8) -> Result<(Gso, bool), BadOffload> {
    let ecn = bits & GSO_ECN != 0;
    match bits & !GSO_ECN {
        GSO_NONE if !ecn => Ok((Gso::None, false)),
        GSO_TCPV4 => Ok((Gso::Tcp4, ecn)),
        GSO_TCPV6 => Ok((Gso::Tcp6, ecn)),
        GSO_UDP_L4 if !ecn => Ok((Gso::Udp, false)),
        _ => Err(BadOffload::GsoType(bits)),
    }
}

/// The header that tells the other side which offloads are pending, of a frame in `num_buffers` buffers (0 where it is not
/// a guest's).
#[inline]
#[must_use]
pub fn build(offload: &Offload, num_buffers: u16) -> [u8; LEN] {
    let csum = if offload.needs_csum { (offload.csum_start, offload.csum_offset) } else { (0, 0) };
    let flags = match (offload.needs_csum, offload.data_valid) {
        (true, _) => F_NEEDS_CSUM,
        (false, true) => F_DATA_VALID,
        (false, false) => 0,
    };
    let kind = match offload.gso {
        Gso::None => return words([flags, GSO_NONE], (0, 0), csum, num_buffers),
        Gso::Tcp4 => GSO_TCPV4,
        Gso::Tcp6 => GSO_TCPV6,
        Gso::Udp => GSO_UDP_L4,
    };
    let kind = if offload.ecn { kind | GSO_ECN } else { kind };
    words([flags, kind], (offload.hdr_len, offload.gso_size), csum, num_buffers)
}

/// The fields in their order, written as words: a header that was written byte by byte is copied 14 cycles later, since no
/// load is forwarded from several stores.
#[inline]
fn words([flags, kind]: [u8; 2], segments: (u16, u16), csum: (u16, u16), num_buffers: u16) -> [u8; LEN] {
    let low = u64::from(flags) | u64::from(kind) << 8 | u64::from(segments.0) << 16 | u64::from(segments.1) << 32;
    let high = u32::from(csum.1) | u32::from(num_buffers) << 16;
    let mut hdr = [0; LEN];
    hdr[..8].copy_from_slice(&(low | u64::from(csum.0) << 48).to_le_bytes());
    hdr[8..].copy_from_slice(&high.to_le_bytes());
    hdr
}

fn le16(hdr: &[u8; LEN], at: usize) -> u16 {
    u16::from_le_bytes([hdr[at], hdr[at + 1]])
}

#[cfg(test)]
mod tests;
