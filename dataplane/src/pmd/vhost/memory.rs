//! Guest memory: the regions a front end shares, mapped, and every access to them.
//!
//! A guest writes to this memory whenever it likes, and may lie in every byte of it. So nothing here hands out a
//! reference to guest bytes: they are copied in, copied out, or touched through atomics, and each access is checked
//! against the region it lies in. What is checked is the whole range, at full width, without wrapping.
//!
//! Owner: made by the session that speaks with the front end, shared by the rings that lie in it; unmapped when the
//! last of them is gone.
//!
//! Invariants:
//! - G1: `host..host + len` of every region lies in one mapping that stays until the `GuestMemory` is dropped.
//! - G2: an `Area` lies in one region of the memory it holds on to, and its base is aligned as was asked.
//! - G3: Rust knows none of this memory as a value: it is foreign, like a device's registers. A racing guest changes
//!   what is copied, never what is valid.
//! - G4: a page that is not there any more (the front end cut its file short) does not end the process: see [`sigbus`].

#![allow(unsafe_code)]

use super::sigbus::{self, Watched};
use nix::libc;
use nix::sys::stat::fstat;
use nix::sys::statfs::{FsType, HUGETLBFS_MAGIC, TMPFS_MAGIC, fstatfs};
use nix::sys::sysinfo::sysinfo;
use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicU32, AtomicU64};

/// Most regions of a memory table (VHOST_USER_MAX_RAM_SLOTS of old; larger tables need CONFIGURE_MEM_SLOTS).
pub const MAX_REGIONS: usize = 8;

/// One region as the front end describes it (vhost-user, "Memory region description").
#[derive(Debug)]
pub struct RegionSpec {
    /// Guest physical address, as in descriptors.
    pub guest: u64,
    /// Address in the front end's process, as in SET_VRING_ADDR.
    pub user: u64,
    /// Bytes.
    pub len: u64,
    /// Where in the file it begins, in bytes.
    pub offset: u64,
    /// The file.
    pub file: OwnedFd,
}

/// Why guest memory was refused.
#[derive(Debug, thiserror::Error)]
pub enum MemoryError {
    /// No region, or more than a table can hold.
    #[error("a memory table of {0} regions; 1 to {MAX_REGIONS} are possible")]
    Count(usize),
    /// Length 0, or an end beyond 2^64.
    #[error("memory region {0} is empty or wraps around")]
    Range(usize),
    /// Two regions claim one guest address.
    #[error("memory regions {0} and {1} overlap")]
    Overlap(usize, usize),
    /// Something that is no shared memory.
    #[error(
        "memory region {0} is not shared memory; start the guest with `-object memory-backend-memfd,id=mem,size=...,share=on \
         -numa node,memdev=mem`"
    )]
    NotShared(usize),
    /// A region that its file does not hold.
    #[error("memory region {index} ends at byte {end} of a file of {size} bytes")]
    Short {
        /// Which.
        index: usize,
        /// Last byte it claims, plus one.
        end: u64,
        /// Bytes of the file.
        size: u64,
    },
    /// More than there can be: its pages would be ours to pay for, and the mappings would fill the address space.
    #[error(
        "it shares {bytes} bytes of memory up to region {index}, and this machine has {most} with its swap; give the guest less"
    )]
    TooLarge {
        /// The last region that was looked at.
        index: usize,
        /// Bytes of all up to there, or the end of this one in its file.
        bytes: u64,
        /// Bytes of memory and swap.
        most: u64,
    },
    /// mmap and the like.
    #[error("mapping memory region {0}: {1}")]
    Map(usize, io::Error),
    /// The table of watched mappings is full.
    #[error("more guest memory regions than this process can watch ({})", sigbus::MOST)]
    TooMany,
}

/// One mapped region.
#[derive(Debug)]
struct Region {
    guest: u64,
    user: u64,
    len: u64,
    host: NonNull<u8>,
    // Dropped in this order: nobody may mend a mapping that is gone, its address may be another's soon.
    watched: Watched,
    _mapping: Mapping,
}

/// A whole file from its first byte, mapped.
#[derive(Debug)]
struct Mapping {
    base: NonNull<u8>,
    len: usize,
}

/// All regions of one front end.
#[derive(Debug)]
pub struct GuestMemory {
    regions: Box<[Region]>,
}

// SAFETY: G1, G3: the memory is foreign on every thread alike.
unsafe impl Send for Region {}
// SAFETY: as above; shared access copies bytes or goes through atomics.
unsafe impl Sync for Region {}

/// An address that no region has, or a range that leaves its regions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unmapped;

impl GuestMemory {
    /// Maps the regions of a table.
    ///
    /// # Errors
    /// [`MemoryError`]; nothing stays mapped then.
    pub fn map(table: Vec<RegionSpec>) -> Result<Self, MemoryError> {
        if !(1..=MAX_REGIONS).contains(&table.len()) {
            return Err(MemoryError::Count(table.len()));
        }
        let mut regions: Vec<Region> = Vec::new();
        let mut total = 0u64;
        for (i, spec) in table.into_iter().enumerate() {
            let overlaps = |r: &Region| spec.guest < r.guest + r.len && r.guest < spec.guest.saturating_add(spec.len);
            if let Some(other) = regions.iter().position(overlaps) {
                return Err(MemoryError::Overlap(other, i));
            }
            total = total.saturating_add(spec.len);
            regions.push(map_region(i, spec, total)?);
        }
        Ok(Self { regions: regions.into() })
    }

    /// Whether the front end took pages away that it had shared; what was read since is zeros.
    #[must_use]
    #[inline]
    pub fn is_torn(&self) -> bool {
        self.regions.iter().any(|r| r.watched.is_torn())
    }

    /// The guest's address of what the front end has at `user`.
    #[must_use]
    pub fn guest_address(&self, user: u64) -> Option<u64> {
        let region = self.regions.iter().find(|r| user.wrapping_sub(r.user) < r.len)?;
        Some(region.guest + (user - region.user))
    }

    /// Where guest address `addr` is in this process, and how many of `len` bytes lie there in one piece.
    #[inline]
    fn piece(&self, addr: u64, len: usize) -> Option<(NonNull<u8>, usize)> {
        let region = self.regions.iter().find(|r| addr.wrapping_sub(r.guest) < r.len)?;
        let off = addr - region.guest;
        // At least 1: `off` is inside.
        let room = region.len - off;
        let n = usize::try_from(room).map_or(len, |room| room.min(len));
        // SAFETY: G1: off < len.
        Some((unsafe { region.host.add(usize::try_from(off).ok()?) }, n))
    }

    /// Copies bytes out of guest memory.
    #[inline]
    pub(super) fn read(&self, mut addr: u64, mut out: &mut [u8]) -> Result<(), Unmapped> {
        while !out.is_empty() {
            let (from, n) = self.piece(addr, out.len()).ok_or(Unmapped)?;
            let (now, later) = out.split_at_mut(n);
            // SAFETY: G1 for `n` bytes from `from`; `now` has `n` bytes and is ours alone; G3.
            unsafe { std::ptr::copy_nonoverlapping(from.as_ptr(), now.as_mut_ptr(), n) };
            addr = addr.wrapping_add(n as u64);
            out = later;
        }
        Ok(())
    }

    /// Copies bytes into guest memory.
    #[inline]
    pub(super) fn write(&self, mut addr: u64, mut bytes: &[u8]) -> Result<(), Unmapped> {
        while !bytes.is_empty() {
            let (to, n) = self.piece(addr, bytes.len()).ok_or(Unmapped)?;
            let (now, later) = bytes.split_at(n);
            // SAFETY: G1 for `n` bytes from `to`, which no Rust value overlaps (G3); `now` has `n` bytes.
            unsafe { std::ptr::copy_nonoverlapping(now.as_ptr(), to.as_ptr(), n) };
            addr = addr.wrapping_add(n as u64);
            bytes = later;
        }
        Ok(())
    }

    /// `len` bytes at a guest address, if they lie in one region.
    #[inline]
    pub(super) fn run(&self, addr: u64, len: usize) -> Option<Run<'_>> {
        let (at, n) = self.piece(addr, len)?;
        (n == len).then_some(Run { at, len, _memory: PhantomData })
    }

    /// Starts to fetch the two cache lines at a guest address, if there is memory: a header, and the frame's own. `write`
    /// takes them from the guest's core at once, which a write would have to do.
    #[inline]
    pub(super) fn prefetch(&self, addr: u64, write: bool) {
        #[cfg(target_arch = "x86_64")]
        if let Some((at, _)) = self.piece(addr, 1) {
            for at in [at.as_ptr(), at.as_ptr().wrapping_add(64)] {
                fetch(at, write);
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = (addr, write);
    }

    /// The area of `len` bytes at an address of the front end's process; `None` if it does not lie in one region or its
    /// base is not aligned to `align`.
    pub(super) fn area(self: &Arc<Self>, user: u64, len: usize, align: usize) -> Option<Area> {
        let region = self.regions.iter().find(|r| user.wrapping_sub(r.user) < r.len)?;
        let off = user - region.user;
        if region.len - off < len as u64 {
            return None;
        }
        // SAFETY: G1: off < len.
        let base = unsafe { region.host.add(usize::try_from(off).ok()?) };
        (base.addr().get() % align == 0).then(|| Area { base, len, _memory: Arc::clone(self) })
    }
}

/// Bytes of guest memory in one piece, looked up once.
#[derive(Debug, Clone, Copy)]
pub(super) struct Run<'a> {
    at: NonNull<u8>,
    len: usize,
    /// G1 holds as long as this borrow.
    _memory: PhantomData<&'a GuestMemory>,
}

impl Run<'_> {
    /// Copies bytes out, from `from` on.
    ///
    /// # Panics
    /// When they do not lie inside: a bug of ours.
    #[inline]
    pub(super) fn read(&self, from: usize, out: &mut [u8]) {
        assert!(from <= self.len && out.len() <= self.len - from);
        // SAFETY: G1 for the range, just checked; `out` is ours alone; G3.
        unsafe { copy(self.at.as_ptr().add(from), out.as_mut_ptr(), out.len()) };
    }

    /// Copies bytes in, from `to` on.
    ///
    /// # Panics
    /// When they do not lie inside: a bug of ours.
    #[inline]
    pub(super) fn write(&self, to: usize, bytes: &[u8]) {
        assert!(to <= self.len && bytes.len() <= self.len - to);
        // SAFETY: G1 for the range, just checked, which no Rust value overlaps (G3).
        unsafe { copy(bytes.as_ptr(), self.at.as_ptr().add(to), bytes.len()) };
    }
}

/// `copy_nonoverlapping`, with its conditions. Short frames are not worth a call: four pieces, which overlap, cover
/// whatever is longer than two and shorter than four of them.
#[inline(always)]
unsafe fn copy(from: *const u8, to: *mut u8, len: usize) {
    const PIECE: usize = 16;
    if (2 * PIECE..=4 * PIECE).contains(&len) {
        for at in [0, PIECE, len - 2 * PIECE, len - PIECE] {
            // SAFETY: the caller's, for a part of the range.
            unsafe { std::ptr::copy_nonoverlapping(from.add(at), to.add(at), PIECE) };
        }
    } else {
        // SAFETY: the caller's.
        unsafe { std::ptr::copy_nonoverlapping(from, to, len) };
    }
}

#[cfg(target_arch = "x86_64")]
#[inline]
fn fetch(at: *const u8, write: bool) {
    use core::arch::x86_64::{_MM_HINT_ET0, _MM_HINT_T0, _mm_prefetch};
    if write {
        // SAFETY: a hint; it faults on no address.
        unsafe { _mm_prefetch::<{ _MM_HINT_ET0 }>(at.cast()) };
    } else {
        // SAFETY: as above.
        unsafe { _mm_prefetch::<{ _MM_HINT_T0 }>(at.cast()) };
    }
}

/// Bytes of memory and swap of this machine.
fn machine_memory() -> u64 {
    sysinfo().map_or(u64::MAX, |info| info.ram_total().saturating_add(info.swap_total()))
}

/// `total` are the bytes of all regions up to this one.
fn map_region(index: usize, spec: RegionSpec, total: u64) -> Result<Region, MemoryError> {
    let end = spec.offset.checked_add(spec.len);
    let fits = spec.guest.checked_add(spec.len).is_some() && spec.user.checked_add(spec.len).is_some();
    let end = end.filter(|_| spec.len > 0 && fits).ok_or(MemoryError::Range(index))?;
    let failed = |errno: nix::errno::Errno| MemoryError::Map(index, errno.into());
    // A file of any other filesystem may be slow, or never answer: a worker that touched it would hang.
    let kind: FsType = fstatfs(&spec.file).map_err(failed)?.filesystem_type();
    if kind != TMPFS_MAGIC && kind != HUGETLBFS_MAGIC {
        return Err(MemoryError::NotShared(index));
    }
    let stat = fstat(&spec.file).map_err(failed)?;
    if stat.st_mode & libc::S_IFMT != libc::S_IFREG {
        return Err(MemoryError::NotShared(index));
    }
    let size = u64::try_from(stat.st_size).unwrap_or(0);
    if size < end {
        return Err(MemoryError::Short { index, end, size });
    }
    // Of its file all up to its end is mapped.
    let (bytes, most) = (total.max(end), machine_memory());
    if bytes > most {
        return Err(MemoryError::TooLarge { index, bytes, most });
    }
    // From its first byte and in whole pages, as huge pages want it (hugetlbfs_file_mmap, fs/hugetlbfs/inode.c).
    let page = u64::try_from(stat.st_blksize).unwrap_or(4096).max(4096);
    let len = end.checked_next_multiple_of(page).and_then(|len| usize::try_from(len).ok());
    let mapping =
        Mapping::new(&spec.file, len.ok_or(MemoryError::Range(index))?).map_err(|e| MemoryError::Map(index, e))?;
    let watched = Watched::new(mapping.base.addr().get(), mapping.len).ok_or(MemoryError::TooMany)?;
    let offset = usize::try_from(spec.offset).map_err(|_| MemoryError::Range(index))?;
    // SAFETY: offset < end <= mapping.len.
    let host = unsafe { mapping.base.add(offset) };
    Ok(Region { guest: spec.guest, user: spec.user, len: spec.len, host, watched, _mapping: mapping })
}

impl Mapping {
    fn new(file: &OwnedFd, len: usize) -> io::Result<Self> {
        let (prot, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_NORESERVE);
        // SAFETY: a new mapping at an address of the kernel's choice.
        let base = unsafe { libc::mmap(std::ptr::null_mut(), len, prot, flags, file.as_raw_fd(), 0) };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: advice on a mapping just made; a guest's memory does not belong in our core dumps.
        unsafe { libc::madvise(base, len, libc::MADV_DONTDUMP) };
        let base = NonNull::new(base.cast()).ok_or_else(|| io::Error::from(io::ErrorKind::OutOfMemory))?;
        Ok(Self { base, len })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: G1 ends here: the memory is being dropped, nobody else has it.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.len) };
    }
}

/// A part of guest memory that a ring lies in. It keeps the memory mapped.
#[derive(Debug)]
pub(super) struct Area {
    base: NonNull<u8>,
    len: usize,
    _memory: Arc<GuestMemory>,
}

// SAFETY: G2, G3: accessed by atomics only.
unsafe impl Send for Area {}
// SAFETY: as above.
unsafe impl Sync for Area {}

impl Area {
    /// The `T` at byte `at`.
    ///
    /// # Panics
    /// When it would lie outside or askew: a bug of ours, whatever the guest does.
    #[inline]
    fn place<T>(&self, at: usize) -> *mut T {
        assert!(at + size_of::<T>() <= self.len, "byte {at} of an area of {}", self.len);
        // SAFETY: G2: inside the area.
        let place = unsafe { self.base.add(at) }.as_ptr().cast::<T>();
        debug_assert!(place.is_aligned());
        place
    }

    #[inline]
    pub(super) fn u16(&self, at: usize) -> &AtomicU16 {
        // SAFETY: `place`: inside and aligned; lives as long as `self` (G2); the guest's side counts as atomic (G3).
        unsafe { AtomicU16::from_ptr(self.place(at)) }
    }

    #[inline]
    pub(super) fn u32(&self, at: usize) -> &AtomicU32 {
        // SAFETY: as in `u16`.
        unsafe { AtomicU32::from_ptr(self.place(at)) }
    }

    #[inline]
    pub(super) fn u64(&self, at: usize) -> &AtomicU64 {
        // SAFETY: as in `u16`.
        unsafe { AtomicU64::from_ptr(self.place(at)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::memfd::{MFdFlags, memfd_create};

    /// A file of `len` bytes and no pages.
    fn file(len: u64) -> OwnedFd {
        let file = memfd_create(c"guest", MFdFlags::MFD_CLOEXEC).unwrap();
        nix::unistd::ftruncate(&file, i64::try_from(len).unwrap()).unwrap();
        file
    }

    #[test]
    fn a_guest_larger_than_the_machine_is_refused() {
        let half = machine_memory() / 2 + 1;
        let region = |n: u64, offset: u64, len: u64| RegionSpec {
            guest: n << 50,
            user: 0,
            len,
            offset,
            file: file(offset + len),
        };
        let refused = |table| match GuestMemory::map(table) {
            Err(MemoryError::TooLarge { index, .. }) => Some(index),
            _ => None,
        };
        assert_eq!(refused(vec![region(0, 0, 2 * half)]), Some(0));
        assert_eq!(refused(vec![region(0, 0, half), region(1, 0, half)]), Some(1), "together");
        assert_eq!(refused(vec![region(0, 0, 4096), region(1, 2 * half, 4096)]), Some(1), "far out in its file");
        assert!(GuestMemory::map(vec![region(0, 0, half / 2), region(1, 0, half / 2)]).is_ok());
    }
}
