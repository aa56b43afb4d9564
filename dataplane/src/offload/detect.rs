//! Finds the partial checksums that a veth leaves behind.
//!
//! A veth offers TX checksum offload and forwards frames with partial checksums (CHECKSUM_PARTIAL). The skb says so, but
//! AF_XDP does not show it. What can be seen is a TCP or UDP checksum field that holds the folded sum of the pseudo-header,
//! not inverted (`__tcp_v4_send_check`, net/ipv4/tcp_ipv4.c). A frame whose complete checksum equals that sum by chance, one
//! in 65535, comes to no harm: completing it once more yields the same value.

use super::csum::pseudo_header;
use super::parse::{L4, be16, find_l4, ipv4, ipv6};
use crate::mem::Offload;

/// The partial checksum of a frame of `len` bytes that begins with `first`; `None` for complete checksums, for UDP
/// without one, for fragments, and for what is neither TCP nor UDP.
#[inline]
#[must_use]
pub fn detect_partial(first: &[u8], len: usize) -> Option<Offload> {
    let l4 = find_l4(first)?;
    let csum_offset = l4.csum_offset()?;
    let found = be16(first, l4.l4 + csum_offset).filter(|check| *check != 0)?;
    let end = ip_end(first, &l4)?;
    let transport = end.checked_sub(l4.l4)?;
    if end > len || pseudo_header(first, &l4, transport)?.fold() != found || !only_padding(first, end, len) {
        return None;
    }
    Some(Offload {
        csum_start: u16::try_from(l4.l4).ok()?,
        csum_offset: u16::try_from(csum_offset).ok()?,
        needs_csum: true,
        ..Offload::NONE
    })
}

/// Where the IP packet ends in the frame, by its own header.
fn ip_end(frame: &[u8], l4: &L4) -> Option<usize> {
    let end = match l4.v6 {
        true => l4.l3 + ipv6::LEN + usize::from(be16(frame, l4.l3 + ipv6::PAYLOAD_LEN)?),
        false => l4.l3 + usize::from(be16(frame, l4.l3 + ipv4::TOTAL_LEN)?),
    };
    Some(end)
}

/// Bytes behind the IP packet are summed too when the checksum is completed: zeros do not count, others would.
fn only_padding(first: &[u8], end: usize, len: usize) -> bool {
    end == len || (len == first.len() && first[end..].iter().all(|byte| *byte == 0))
}

#[cfg(test)]
mod tests;
