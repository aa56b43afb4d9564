//! TX metadata: a request to the kernel in the bytes right below a frame to transmit.
//!
//! Enabled with [`Umem::tx_metadata`](crate::Umem::tx_metadata). The kernel reads it for frames whose first descriptor has
//! [`OPTION_TX_METADATA`](crate::OPTION_TX_METADATA). The layout is `struct xsk_tx_metadata` with `launch_time` (24
//! bytes; Linux `include/uapi/linux/if_xdp.h`), in native byte order:
//!
//! | bytes | field |
//! |---|---|
//! | 0..8 | flags: 2 = checksum |
//! | 8..10 | `csum_start`: where summing begins, from the start of the frame |
//! | 10..12 | `csum_offset`: where the sum goes, from `csum_start` |
//! | 12..16 | unused |
//! | 16..24 | `launch_time`: unused here |
//!
//! The checksum request makes the kernel's skb one with a partial checksum (`CHECKSUM_PARTIAL`). A hardware
//! device completes it; a virtual one passes the skb on, and the receiver does not check it. The field must hold the sum of
//! the pseudo-header.

use crate::uapi::TXMD_FLAGS_CHECKSUM;

/// Bytes of the metadata: it lies at `desc.addr - LEN`.
pub const LEN: usize = 24;

/// Asks for the checksum of `frame[csum_start..]` at `csum_start + csum_offset`. `below` ends where the frame begins.
///
/// `csum_start + csum_offset + 2` must not exceed the length of the first descriptor. Check it: in copy mode the kernel
/// answers `EINVAL` ([`Wakeup::Refused`](crate::Wakeup::Refused)) and leaves the frame at the head of the TX ring, where
/// it blocks the ones behind it until the request is corrected (`xsk_build_skb` in `net/xdp/xsk.c`).
#[inline]
pub fn write_checksum_request(below: &mut [u8; LEN], csum_start: u16, csum_offset: u16) {
    below[0..8].copy_from_slice(&TXMD_FLAGS_CHECKSUM.to_ne_bytes());
    below[8..10].copy_from_slice(&csum_start.to_ne_bytes());
    below[10..12].copy_from_slice(&csum_offset.to_ne_bytes());
    below[12..].fill(0);
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_request_lies_where_the_kernel_reads_it() {
        let mut below = [0xaa; LEN];
        write_checksum_request(&mut below, 34, 16);
        let mut expected = [0; LEN];
        expected[..8].copy_from_slice(&u64::from(libc::XDP_TXMD_FLAGS_CHECKSUM).to_ne_bytes());
        let union = std::mem::offset_of!(libc::xsk_tx_metadata, xsk_tx_metadata_union);
        let start = union + std::mem::offset_of!(libc::xsk_tx_metadata_request, csum_start);
        let offset = union + std::mem::offset_of!(libc::xsk_tx_metadata_request, csum_offset);
        expected[start..start + 2].copy_from_slice(&34_u16.to_ne_bytes());
        expected[offset..offset + 2].copy_from_slice(&16_u16.to_ne_bytes());
        assert_eq!(below, expected);
    }
}
