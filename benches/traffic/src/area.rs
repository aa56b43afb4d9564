//! The memory of a station's frames: chunks of 4 KiB, each ours or lent to the kernel.
//!
//! This file holds all unsafe code of the crate but one ioctl (`tun`). Invariants:
//! - the memory is one allocation, made here and freed here; nothing but this file has its address;
//! - a chunk is read and written only while it is not lent ([`Area::chunk`], [`Area::chunk_mut`] check it);
//! - the only addresses a station puts on the rings are those [`Area::lend`] returned, and a chunk is ours again only
//!   when [`Area::claim`] got it from an RX or completion ring;
//! - a station drops its socket, and with it the kernel's hold on the memory, before its area.
#![allow(unsafe_code)]

use af_xdp::Umem;
use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ptr::NonNull;

/// Bytes of a chunk: a page.
pub const CHUNK: usize = 4096;
const CHUNK_BITS: u32 = CHUNK.trailing_zeros();

/// The memory.
#[derive(Debug)]
pub struct Area {
    memory: NonNull<u8>,
    layout: Layout,
    lent: Vec<bool>,
}

// SAFETY: the area owns its memory alone; the kernel, which shares it, does not care which thread we are.
unsafe impl Send for Area {}

impl Area {
    /// So many chunks, all ours, filled with zeros.
    ///
    /// # Panics
    /// If `chunks` is 0 or more than the machine can address.
    pub fn new(chunks: u32) -> Self {
        let lent = vec![false; chunks as usize];
        let layout = Layout::from_size_align(lent.len() * CHUNK, CHUNK).expect("an area of a possible size");
        assert!(layout.size() > 0, "an area has chunks");
        // SAFETY: the size is not 0.
        let memory = unsafe { alloc_zeroed(layout) };
        let memory = NonNull::new(memory).unwrap_or_else(|| handle_alloc_error(layout));
        Self { memory, layout, lent }
    }

    /// Its registration with the kernel.
    pub fn umem(&self) -> Umem {
        // SAFETY: the memory stays until the area is dropped, after the socket; lent chunks are not touched (file head).
        unsafe { Umem::new(self.memory, self.layout.size(), 1 << CHUNK_BITS) }
    }

    /// Gives a chunk to the kernel; its address in the UMEM.
    ///
    /// # Panics
    /// If it is lent already.
    pub fn lend(&mut self, chunk: u32) -> u64 {
        let lent = &mut self.lent[chunk as usize];
        assert!(!*lent, "chunk {chunk} is lent already");
        *lent = true;
        u64::from(chunk) << CHUNK_BITS
    }

    /// Takes the chunk back that an address on an RX or completion ring lies in.
    ///
    /// # Panics
    /// If it was not lent: the kernel and we disagree on whose it is.
    pub fn claim(&mut self, addr: u64) -> u32 {
        let chunk = usize::try_from(addr >> CHUNK_BITS).unwrap_or(usize::MAX);
        assert!(self.lent.get(chunk).is_some_and(|lent| *lent), "chunk {chunk} came back and was not lent");
        self.lent[chunk] = false;
        u32::try_from(chunk).expect("there are fewer chunks")
    }

    /// `len` bytes of one of our chunks, from `addr` on.
    ///
    /// # Panics
    /// If the chunk is lent or the bytes reach beyond it.
    pub fn bytes(&self, addr: u64, len: u32) -> &[u8] {
        let chunk = u32::try_from(addr >> CHUNK_BITS).expect("an address of the area");
        let from = usize::try_from(addr).expect("an address of the area") % CHUNK;
        &self.chunk(chunk)[from..from + len as usize]
    }

    /// One of our chunks.
    ///
    /// # Panics
    /// If it is lent.
    pub fn chunk(&self, chunk: u32) -> &[u8; CHUNK] {
        let at = self.place(chunk);
        // SAFETY: CHUNK initialised bytes of our memory that is not shared while the chunk is not lent; `&self`
        // keeps it from being lent or written as long as the reference lives.
        unsafe { &*at.cast().as_ptr() }
    }

    /// One of our chunks, to be written.
    ///
    /// # Panics
    /// If it is lent.
    pub fn chunk_mut(&mut self, chunk: u32) -> &mut [u8; CHUNK] {
        let at = self.place(chunk);
        // SAFETY: as in `chunk`, and `&mut self` makes this the only reference into the area.
        unsafe { &mut *at.cast().as_ptr() }
    }

    fn place(&self, chunk: u32) -> NonNull<u8> {
        assert!(!self.lent[chunk as usize], "chunk {chunk} is lent");
        // SAFETY: there is an entry of `lent` for each chunk of the allocation, so this lies within it.
        unsafe { self.memory.add(chunk as usize * CHUNK) }
    }
}

impl Drop for Area {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this layout; nothing else has the address, the socket is gone (file head).
        unsafe { dealloc(self.memory.as_ptr(), self.layout) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_is_lent_and_comes_back() {
        let mut area = Area::new(2);
        area.chunk_mut(1)[7] = 9;
        let addr = area.lend(1);
        assert_eq!(addr, 4096);
        assert_eq!(area.claim(addr + 300), 1);
        assert_eq!(area.bytes(addr + 7, 1), [9]);
    }

    #[test]
    #[should_panic(expected = "is lent")]
    fn a_lent_chunk_is_not_read() {
        let mut area = Area::new(1);
        area.lend(0);
        area.chunk(0);
    }

    #[test]
    #[should_panic(expected = "was not lent")]
    fn what_was_not_lent_does_not_come_back() {
        Area::new(1).claim(0);
    }
}
