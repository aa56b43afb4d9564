//! Memory for a socket, and a queue that lets go of it first.

use af_xdp::{OpenError, Queue, SocketConfig, Umem, Unbound};
use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ptr::NonNull;

pub const CHUNK: usize = 2048;

/// `CHUNK`-sized frames, all of them zero.
#[derive(Debug)]
pub struct Memory {
    start: NonNull<u8>,
    layout: Layout,
}

impl Memory {
    pub fn new(chunks: usize) -> Self {
        let layout = Layout::from_size_align(chunks * CHUNK, 4096).expect("a region that exists");
        // SAFETY: the layout is not empty.
        let start = unsafe { alloc_zeroed(layout) };
        Memory { start: NonNull::new(start).unwrap_or_else(|| handle_alloc_error(layout)), layout }
    }

    pub fn chunks(&self) -> u64 {
        (self.layout.size() / CHUNK) as u64
    }

    /// The `len` bytes at `addr`. For frames that no ring has.
    pub fn frame(&mut self, addr: u64, len: usize) -> &mut [u8] {
        let addr = usize::try_from(addr).expect("an address within the memory");
        assert!(addr + len <= self.layout.size(), "{len} bytes at {addr} are outside");
        // SAFETY: within the memory, borrowed for as long as the slice lives.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr().add(addr), len) }
    }

    fn umem(&self) -> Umem {
        // SAFETY: a Port drops its queue before the memory; frames are touched between rings only.
        unsafe { Umem::new(self.start, self.layout.size(), 2048) }.tx_metadata()
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout.
        unsafe { dealloc(self.start.as_ptr(), self.layout) }
    }
}

/// A queue and its memory, dropped in this order.
#[derive(Debug)]
pub struct Port {
    pub queue: Queue,
    pub memory: Memory,
}

impl Port {
    /// Opens a socket over 512 frames, the first 256 of them on the fill ring.
    pub fn open(config: &SocketConfig) -> Result<Self, OpenError> {
        let memory = Memory::new(512);
        let mut unbound = Unbound::new(config, &memory.umem())?;
        let fill = unbound.fill();
        let n = fill.reserve(256);
        (0..n).for_each(|i| fill.write(i, u64::from(i) * CHUNK as u64));
        fill.submit(n);
        Ok(Port { queue: unbound.bind()?, memory })
    }
}
