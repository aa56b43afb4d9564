//! The memory of the frames, as it is registered with the kernel.
//!
//! The memory itself is the caller's: any region will do, and the same region may be registered by any number of
//! sockets (one registration each), so that a frame's address means the same on all of them.
#![allow(unsafe_code)]

use crate::tx_metadata;
use std::ptr::NonNull;

/// A description of the caller's memory: a region cut into chunks of equal size, a frame in each.
///
/// In each chunk the kernel leaves 256 bytes (`XDP_PACKET_HEADROOM`, for XDP programs) and then [`headroom`] before the
/// data of a received frame.
///
/// [`headroom`]: Umem::headroom
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Umem {
    addr: u64,
    len: u64,
    chunk_size: u32,
    headroom: u32,
    tx_metadata_len: u32,
    flags: u32,
}

impl Umem {
    /// Describes `len` bytes at `addr`, in chunks of `chunk_size` (2048 or 4096: a power of two up to the page size).
    ///
    /// # Safety
    /// As long as a socket opened with it lives:
    /// - the region stays mapped, readable and writable;
    /// - a chunk whose address was submitted to a fill or TX ring is neither read nor written in this process until it
    ///   comes back by the RX or completion ring, or the socket is closed and its ring memory unmapped.
    ///
    /// The rings check no addresses: whoever submits one, by safe functions, answers for the above.
    pub unsafe fn new(addr: NonNull<u8>, len: usize, chunk_size: u32) -> Self {
        // the address is only ever used by the kernel, as a number
        let addr = addr.as_ptr().expose_provenance() as u64;
        Umem { addr, len: len as u64, chunk_size, headroom: 0, tx_metadata_len: 0, flags: 0 }
    }

    /// Bytes the kernel leaves free before a received frame, beyond its own 256.
    #[must_use]
    pub fn headroom(self, headroom: u32) -> Self {
        Umem { headroom, ..self }
    }

    /// Reserves the [`tx_metadata::LEN`] bytes below a frame to transmit for a request. Since Linux 6.8.
    ///
    /// From then on every TX descriptor, also of a later piece of a frame and without a request, needs that room below
    /// `addr` in its own chunk: others are skipped
    /// ([`tx_invalid_descs`](crate::Statistics::tx_invalid_descs); `xp_aligned_validate_desc` in `net/xdp/xsk_queue.h`).
    #[must_use]
    pub fn tx_metadata(self) -> Self {
        #[allow(clippy::cast_possible_truncation, reason = "24")]
        const LEN: u32 = tx_metadata::LEN as u32;
        Umem { tx_metadata_len: LEN, flags: self.flags | libc::XDP_UMEM_TX_METADATA_LEN, ..self }
    }

    /// Adds `XDP_UMEM_*` flags, such as `libc::XDP_UMEM_UNALIGNED_CHUNK_FLAG`.
    #[must_use]
    pub fn flags(self, flags: u32) -> Self {
        Umem { flags: self.flags | flags, ..self }
    }

    /// Bytes of one chunk.
    pub fn chunk_size(&self) -> u32 {
        self.chunk_size
    }

    pub(crate) fn registration(&self) -> libc::xdp_umem_reg {
        libc::xdp_umem_reg {
            addr: self.addr,
            len: self.len,
            chunk_size: self.chunk_size,
            headroom: self.headroom,
            flags: self.flags,
            tx_metadata_len: self.tx_metadata_len,
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_registration_says_what_was_asked_for() {
        let mut memory = [0_u8; 64];
        let addr = NonNull::from(&mut memory).cast();
        // SAFETY: no socket is opened with it.
        let plain = unsafe { Umem::new(addr, 64, 2048) };
        let reg = plain.registration();
        assert_eq!((reg.addr, reg.len), (addr.as_ptr() as u64, 64));
        assert_eq!((reg.chunk_size, reg.headroom, reg.flags, reg.tx_metadata_len), (2048, 0, 0, 0));
        let reg = plain.headroom(128).tx_metadata().flags(libc::XDP_UMEM_UNALIGNED_CHUNK_FLAG).registration();
        assert_eq!((reg.headroom, reg.flags, reg.tx_metadata_len), (128, 0b101, 24));
    }
}
