//! The Internet checksum (RFC 1071): sums over bytes in any number of pieces, and completion of partial checksums.
//!
//! The sum of 16-bit words does not depend on byte order except for a final swap (RFC 1071 §2 (B)), nor on word size
//! as long as the carries are kept (§2 (C)): so 32-bit words are added into 64-bit lanes, which LLVM turns into vector
//! code on every target. `benches/offload.rs` measures it against memcpy.

use super::BadOffload;
use super::parse::{L4, ipv4, ipv6};
use crate::mem::{Gso, Mbuf, Mempool, Offload};

/// A one's complement sum in progress.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sum {
    /// Sum of 16-bit words in memory order.
    total: u64,
    /// An odd number of bytes so far: the next byte is the low half of a word.
    odd: bool,
}

impl Sum {
    /// Adds the bytes that follow those added before.
    pub fn add(&mut self, bytes: &[u8]) {
        let part = fold(lanes(bytes));
        let part = if self.odd { part.swap_bytes() } else { part };
        self.total += u64::from(part);
        self.odd ^= bytes.len() % 2 == 1;
    }

    /// Adds a 16-bit field by its value. Fields go before or between pieces of even length.
    pub fn add_u16(&mut self, value: u16) {
        self.total += u64::from(value.to_be());
    }

    /// The sum as the value of a 16-bit field, not inverted.
    #[must_use]
    pub fn fold(self) -> u16 {
        u16::from_be(fold(self.total))
    }
}

/// The sum of one piece, folded, not inverted.
#[must_use]
pub fn sum(bytes: &[u8]) -> u16 {
    u16::from_be(fold(lanes(bytes)))
}

/// The sum of the pseudo-header of TCP or UDP (RFC 9293 §3.1, RFC 8200 §8.1) for `len` bytes of transport header and
/// payload; `None` if the frame ends before its addresses.
#[must_use]
#[inline]
pub fn pseudo_header(frame: &[u8], l4: &L4, len: usize) -> Option<Sum> {
    let addresses = if l4.v6 {
        words(
            frame
                .get(l4.l3 + ipv6::ADDRESSES.start..)?
                .first_chunk::<{ ipv6::ADDRESSES.end - ipv6::ADDRESSES.start }>()?,
        )
    } else {
        words(
            frame
                .get(l4.l3 + ipv4::ADDRESSES.start..)?
                .first_chunk::<{ ipv4::ADDRESSES.end - ipv4::ADDRESSES.start }>()?,
        )
    };
    let mut sum = Sum { total: addresses, odd: false };
    sum.add_u16(l4.proto.into());
    sum.add_u16(fold(len as u64));
    Some(sum)
}

/// The sum of a few 32-bit words, a number known to the compiler.
#[inline]
fn words<const N: usize>(bytes: &[u8; N]) -> u64 {
    bytes.as_chunks().0.iter().map(|word| u64::from(u32::from_ne_bytes(*word))).sum()
}

/// Completes a partial checksum: sums from `csum_start` to the end of the frame, over the pseudo-header sum that lies
/// in the checksum field, and stores the complement; 0 becomes 0xffff, which means the same except in UDP, where 0 says
/// "no checksum" (RFC 768). No offload is pending then. Does nothing if the frame has no partial checksum.
///
/// # Errors
/// [`BadOffload`] if the checksum lies outside the frame, or the frame is still to be segmented.
pub fn complete(pool: &Mempool, mbuf: &mut Mbuf) -> Result<(), BadOffload> {
    let offload = pool.offload(mbuf);
    if offload.gso != Gso::None {
        return Err(BadOffload::WrongProtocol);
    }
    if offload.needs_csum {
        let (start, at) = position(&offload, mbuf.len())?;
        let check = match !sum_from(pool, mbuf, start) {
            0 => 0xffff,
            check => check,
        };
        store(pool, mbuf, at, check);
        pool.set_offload(mbuf, Offload::NONE);
    }
    Ok(())
}

/// Where the sum begins and where the checksum goes, if both lie inside a frame of `len` bytes.
pub(super) fn position(offload: &Offload, len: usize) -> Result<(usize, usize), BadOffload> {
    let start = usize::from(offload.csum_start);
    let at = start + usize::from(offload.csum_offset);
    if at + 2 <= len { Ok((start, at)) } else { Err(BadOffload::ChecksumOutside { at, len }) }
}

/// The sum of a frame from byte `start` on.
fn sum_from(pool: &Mempool, mbuf: &Mbuf, start: usize) -> u16 {
    let mut skip = start;
    let mut sum = Sum::default();
    for segment in pool.segments(mbuf) {
        match segment.get(skip..) {
            Some(bytes) => {
                sum.add(bytes);
                skip = 0;
            }
            None => skip -= segment.len(),
        }
    }
    sum.fold()
}

/// Writes a 16-bit field at byte `at`, even across a segment border.
fn store(pool: &Mempool, mbuf: &mut Mbuf, at: usize, value: u16) {
    let field = at..at + 2;
    let mut begin = 0;
    for segment in pool.segments_mut(mbuf) {
        for (i, byte) in field.clone().zip(value.to_be_bytes()) {
            if let Some(target) = i.checked_sub(begin).and_then(|i| segment.get_mut(i)) {
                *target = byte;
            }
        }
        begin += segment.len();
        if begin >= field.end {
            break;
        }
    }
}

/// The sum of `bytes` as 16-bit words in memory order, unfolded. A last odd byte is the first of its word.
#[inline]
fn lanes(bytes: &[u8]) -> u64 {
    let (blocks, rest) = bytes.as_chunks();
    let total = if blocks.is_empty() { 0 } else { sum_blocks(blocks) };
    let (words, rest) = rest.as_chunks();
    let total = words.iter().fold(total, |sum, word| sum.wrapping_add(u32::from_ne_bytes(*word).into()));
    let (halves, rest) = rest.as_chunks();
    let total = halves.iter().fold(total, |sum, half| sum.wrapping_add(u16::from_ne_bytes(*half).into()));
    total.wrapping_add(rest.first().map_or(0, |byte| u16::from_ne_bytes([*byte, 0]).into()))
}

/// The vector loop. Both halves of a 64-bit word are added up apart, by a mask and a shift: no lane is widened, which
/// would need shuffles. Wrapping: a lane overflows after 2^32 words, 256 GiB; checked additions would not vectorise.
fn sum_blocks(blocks: &[[u8; 64]]) -> u64 {
    let (mut low, mut high) = ([0u64; 8], [0u64; 8]);
    for block in blocks {
        for (i, word) in block.as_chunks().0.iter().enumerate() {
            let word = u64::from_ne_bytes(*word);
            low[i] = low[i].wrapping_add(word & 0xffff_ffff);
            high[i] = high[i].wrapping_add(word >> 32);
        }
    }
    low.iter().chain(&high).fold(0, |sum, lane| sum.wrapping_add(*lane))
}

/// Folds the carries back in until 16 bits are left.
#[allow(clippy::cast_possible_truncation, reason = "below 2^16 after the folds")]
pub(super) fn fold(sum: u64) -> u16 {
    let sum = (sum >> 32) + (sum & 0xffff_ffff);
    let sum = (sum >> 32) + (sum & 0xffff_ffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    ((sum >> 16) + (sum & 0xffff)) as u16
}

#[cfg(test)]
mod tests;
