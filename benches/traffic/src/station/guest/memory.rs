//! Memory a guest shares with the switch: two rings, and a buffer for each of their descriptors, in one file.
//!
//! The switch may write anything anywhere at any time. Nothing read from here is believed before it was checked, and every
//! place is one that the driver chose itself.

use crate::frame::LONGEST;
use nix::sys::memfd::{MFdFlags, memfd_create};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::Ordering;
use vm_memory::mmap::MmapRegion;
use vm_memory::{AtomicAccess, Bytes, FileOffset, VolatileMemory, VolatileSlice};

/// Descriptors of a ring.
pub const SIZE: u16 = 1024;
/// Number of the ring for frames to the guest.
pub const RX: usize = 0;
/// Number of the ring for frames from it.
pub const TX: usize = 1;
/// Where guest and front end see the memory.
pub const BASE: u64 = 0x1_0000_0000;
/// `struct virtio_net_hdr` with the number of buffers, which is its last field.
pub const HEADER: usize = 12;
/// Of the number of buffers within the header.
pub const BUFFERS_FIELD: usize = 10;
/// Bytes the switch may write into a buffer.
pub const ROOM: usize = HEADER + LONGEST as usize;

/// What a ring takes, and where its parts are: descriptors, avail, used.
const RING: usize = 0x8000;
const AVAIL: usize = 0x4000;
const USED: usize = 0x5000;
/// Where buffers begin.
const BUFFERS: usize = 2 * RING;
/// In a buffer: the header ends, and the frame begins, at a cache line.
const HEADROOM: usize = 64;
/// Of a buffer: an odd number of cache lines, so that frames are not all in the same few sets of a cache.
const STRIDE: usize = HEADROOM + LONGEST as usize;
const _: () = assert!(STRIDE % 128 == 64);

/// See the module.
#[derive(Debug)]
pub struct Memory {
    file: File,
    region: MmapRegion,
}

impl Memory {
    /// Of zeros, with room for two rings and their buffers.
    pub fn new() -> io::Result<Self> {
        Self::of(BUFFERS + 2 * usize::from(SIZE) * STRIDE)
    }

    /// Of zeros, at least `len` bytes.
    pub fn of(len: usize) -> io::Result<Self> {
        let len = len.next_multiple_of(4096);
        let file = File::from(memfd_create(c"guest", MFdFlags::MFD_CLOEXEC)?);
        file.set_len(len as u64)?;
        let region = MmapRegion::from_file(FileOffset::new(file.try_clone()?, 0), len).map_err(io::Error::other)?;
        Ok(Self { file, region })
    }

    /// What is shared with the switch.
    pub fn file(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// Bytes.
    pub fn len(&self) -> usize {
        self.region.size()
    }

    fn slice(&self) -> VolatileSlice<'_> {
        self.region.as_volatile_slice()
    }

    /// Writes a number.
    ///
    /// # Panics
    /// If `at` is no place for one; likewise below.
    pub fn put<T: AtomicAccess>(&self, at: usize, value: T, order: Ordering) {
        self.slice().store(value, at, order).expect("a place in the memory");
    }

    /// Reads a number.
    pub fn get<T: AtomicAccess>(&self, at: usize, order: Ordering) -> T {
        self.slice().load(at, order).expect("a place in the memory")
    }

    /// Writes bytes.
    pub fn write(&self, at: usize, bytes: &[u8]) {
        self.slice().write_slice(bytes, at).expect("a place in the memory");
    }

    /// Reads bytes.
    pub fn read(&self, at: usize, bytes: &mut [u8]) {
        self.slice().read_slice(bytes, at).expect("a place in the memory");
    }

    /// Copies bytes to the memory of another guest.
    pub fn copy(&self, at: usize, len: usize, to: &Self, to_at: usize) {
        let [from, to] = [(self, at), (to, to_at)].map(|(memory, at)| memory.slice().subslice(at, len));
        from.expect("a place in the memory").copy_to_volatile_slice(to.expect("a place in the memory"));
    }
}

/// Of descriptor `id` of a ring.
pub fn desc(vring: usize, id: u16) -> usize {
    vring * RING + 16 * usize::from(id)
}

/// Of a ring's avail part.
pub fn avail(vring: usize) -> usize {
    vring * RING + AVAIL
}

/// Of its entry with an index.
pub fn avail_entry(vring: usize, index: u16) -> usize {
    avail(vring) + 4 + 2 * usize::from(index % SIZE)
}

/// Of a ring's used part.
pub fn used(vring: usize) -> usize {
    vring * RING + USED
}

/// Of its entry with an index.
pub fn used_entry(vring: usize, index: u16) -> usize {
    used(vring) + 4 + 8 * usize::from(index % SIZE)
}

/// Of the index in the avail or used part at `part`; the flags are before it.
pub fn index(part: usize) -> usize {
    part + 2
}

/// Of the header in the buffer of a descriptor.
pub fn header(vring: usize, id: u16) -> usize {
    frame(vring, id) - HEADER
}

/// Of the frame in the buffer of a descriptor.
pub fn frame(vring: usize, id: u16) -> usize {
    BUFFERS + (vring * usize::from(SIZE) + usize::from(id)) * STRIDE + HEADROOM
}
