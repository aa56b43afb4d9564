//! One mapping of a socket's ring.
//!
//! A mapping keeps the socket's file open: the kernel releases the queue only when all four are gone and the fd is closed.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::{self, NonNull};

/// A shared, populated mapping, unmapped on drop.
#[derive(Debug)]
pub(crate) struct Mmap {
    addr: NonNull<u8>,
    len: usize,
}

// SAFETY: a mapping belongs to the process, not to a thread.
unsafe impl Send for Mmap {}

impl Mmap {
    /// Maps `len` bytes of `fd` at `offset`, readable and writable.
    pub(crate) fn new(fd: BorrowedFd<'_>, len: usize, offset: libc::off_t) -> io::Result<Self> {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_SHARED | libc::MAP_POPULATE;
        // SAFETY: a mapping at an address of the kernel's choice overlaps nothing.
        let addr = unsafe { libc::mmap(ptr::null_mut(), len, protection, flags, fd.as_raw_fd(), offset) };
        if addr == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let addr = NonNull::new(addr.cast()).ok_or_else(|| io::Error::other("mmap gave a null address"))?;
        Ok(Mmap { addr, len })
    }

    /// The object at `offset`, or `None` if `count` of them do not fit or are not aligned there.
    pub(crate) fn at<T>(&self, offset: u64, count: usize) -> Option<NonNull<T>> {
        let offset = usize::try_from(offset).ok()?;
        let end = offset.checked_add(size_of::<T>().checked_mul(count)?)?;
        if end > self.len {
            return None;
        }
        // SAFETY: `offset` was just found to lie within the mapping.
        let object = unsafe { self.addr.add(offset) }.cast::<T>();
        object.is_aligned().then_some(object)
    }
}

impl Drop for Mmap {
    fn drop(&mut self) {
        // SAFETY: `new` made exactly this mapping, and every pointer into it is held together with the Mmap.
        unsafe { libc::munmap(self.addr.as_ptr().cast(), self.len) };
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn nothing_outside_the_mapping_is_handed_out() {
        let file = std::fs::File::open("/dev/zero").unwrap();
        // a private file would do as well; /dev/zero needs write permission for a shared mapping
        let err = Mmap::new(file.as_fd(), 4096, 0).unwrap_err();
        assert_eq!(err.raw_os_error(), Some(libc::EACCES));
        let file = std::fs::File::options().read(true).write(true).open("/dev/zero").unwrap();
        let map = Mmap::new(file.as_fd(), 4096, 0).unwrap();
        assert!(map.at::<u64>(0, 512).is_some());
        assert!(map.at::<u64>(8, 512).is_none());
        assert!(map.at::<u64>(4, 1).is_none(), "misaligned");
        assert!(map.at::<u64>(u64::MAX, 1).is_none());
        assert!(map.at::<u64>(0, usize::MAX).is_none());
    }
}
