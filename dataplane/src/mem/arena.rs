//! The arena: one region of memory for all frames, and the UMEM of every AF_XDP socket.
//!
//! The best kind of memory is taken: memfd of 2 MiB huge pages (shareable by fd), else anonymous 2 MiB huge pages, else
//! transparent huge pages, else 4 KiB pages. `status` shows which, and why the better ones failed. All are populated with
//! MADV_POPULATE_WRITE: MAP_POPULATE succeeds without pages when a reservation is missing, and the first access is then a
//! SIGBUS (mm/hugetlb.c). The control thread creates the arena; it never grows.
//!
//! Invariant A1: `base..base + len` stays mapped, readable and writable until the `Arena` is dropped.

#![allow(unsafe_code)]

use super::CHUNK_SIZE;
use std::fmt;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr::NonNull;

const HUGE_2M: usize = 2 << 20;

/// Whether frames must live in huge pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Hugepages {
    /// The best there is, down to 4 KiB pages.
    #[default]
    Auto,
    /// Reserved huge pages or an error.
    Required,
    /// 4 KiB pages.
    Off,
}

/// What to allocate.
#[derive(Debug, Clone, Copy)]
pub struct ArenaConfig {
    /// Number of chunks of [`CHUNK_SIZE`] bytes; rounded up to whole 2 MiB.
    pub frames: u32,
    /// What the memory must be made of.
    pub hugepages: Hugepages,
}

/// What the memory is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backing {
    /// A memfd of 2 MiB huge pages.
    HugetlbMemfd,
    /// Anonymous 2 MiB huge pages.
    HugetlbAnonymous,
    /// Anonymous memory with MADV_HUGEPAGE.
    Transparent,
    /// 4 KiB pages.
    Small,
}

impl fmt::Display for Backing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::HugetlbMemfd | Self::HugetlbAnonymous => "hugetlb-2M",
            Self::Transparent => "thp",
            Self::Small => "4k",
        })
    }
}

/// Why there is no arena.
#[derive(Debug, thiserror::Error)]
pub enum ArenaError {
    /// `hugepages: required`, and there are too few.
    #[error(
        "{needed} huge pages of 2 MiB needed, {free} free ({cause}); \
         `sysctl vm.nr_hugepages={wanted}`, or `memory.hugepages: auto`"
    )]
    TooFewHugepages {
        /// Pages the arena needs.
        needed: usize,
        /// Pages the kernel has free.
        free: usize,
        /// A value of vm.nr_hugepages that would do.
        wanted: usize,
        /// What mmap said.
        cause: io::Error,
    },
    /// Not even small pages.
    #[error("{bytes} bytes of memory for frames: {cause}; lower `memory.frames`")]
    NoMemory {
        /// Size of the arena.
        bytes: usize,
        /// What mmap said.
        cause: io::Error,
    },
}

/// One mapped region, cut into chunks of [`CHUNK_SIZE`].
#[derive(Debug)]
pub struct Arena {
    base: NonNull<u8>,
    len: usize,
    chunks: u32,
    backing: Backing,
    memfd: Option<OwnedFd>,
    report: Vec<String>,
}

// SAFETY: A1 holds on every thread, and the arena itself reads and writes no byte of the region.
unsafe impl Send for Arena {}
// SAFETY: as above; shared access yields addresses, never references.
unsafe impl Sync for Arena {}

impl Arena {
    /// Maps and populates the memory.
    ///
    /// # Errors
    /// [`ArenaError`] when `hugepages: required` cannot be met or memory is short.
    pub fn new(config: &ArenaConfig) -> Result<Self, ArenaError> {
        let len = (config.frames as usize * CHUNK_SIZE).max(1).next_multiple_of(HUGE_2M);
        let mut report = Vec::new();
        if config.hugepages != Hugepages::Off {
            match Self::hugetlb(len, &mut report) {
                Ok(arena) => return Ok(arena),
                Err(cause) if config.hugepages == Hugepages::Required => return Err(too_few(len, cause)),
                Err(_) => {}
            }
        }
        Self::ordinary(len, config.hugepages, report)
    }

    fn hugetlb(len: usize, report: &mut Vec<String>) -> io::Result<Self> {
        match huge_memfd(len).and_then(|fd| Ok((map(len, Some(&fd))?, fd))) {
            Ok((base, fd)) => return Ok(Self::build(base, len, Backing::HugetlbMemfd, Some(fd), report)),
            Err(e) => report.push(format!("memfd of 2 MiB pages: {e}")),
        }
        match map(len, None) {
            Ok(base) => Ok(Self::build(base, len, Backing::HugetlbAnonymous, None, report)),
            Err(e) => {
                report.push(format!("anonymous 2 MiB pages: {e}"));
                Err(e)
            }
        }
    }

    fn ordinary(len: usize, hugepages: Hugepages, mut report: Vec<String>) -> Result<Self, ArenaError> {
        let short = |cause| ArenaError::NoMemory { bytes: len, cause };
        let base = map_aligned(len).map_err(short)?;
        let mut backing = Backing::Small;
        if hugepages == Hugepages::Auto {
            match advise(base, len, libc::MADV_HUGEPAGE) {
                Ok(()) => backing = Backing::Transparent,
                Err(e) => report.push(format!("transparent huge pages: {e}")),
            }
        }
        let arena = Self::build(base, len, backing, None, &mut report);
        advise(base, len, libc::MADV_POPULATE_WRITE).map_err(short)?;
        Ok(arena)
    }

    fn build(
        base: NonNull<u8>,
        len: usize,
        backing: Backing,
        memfd: Option<OwnedFd>,
        report: &mut Vec<String>,
    ) -> Self {
        let chunks = u32::try_from(len / CHUNK_SIZE).unwrap_or(u32::MAX);
        Self { base, len, chunks, backing, memfd, report: std::mem::take(report) }
    }

    /// Number of chunks.
    #[must_use]
    pub fn chunks(&self) -> u32 {
        self.chunks
    }

    /// First byte of the region.
    #[must_use]
    pub fn base(&self) -> NonNull<u8> {
        self.base
    }

    /// Bytes of the region.
    #[must_use]
    #[allow(clippy::len_without_is_empty, reason = "an arena is never empty")]
    pub fn len(&self) -> usize {
        self.len
    }

    /// What the memory is made of.
    #[must_use]
    pub fn backing(&self) -> Backing {
        self.backing
    }

    /// The better kinds of memory that failed, each with its reason.
    #[must_use]
    pub fn report(&self) -> &[String] {
        &self.report
    }

    /// A file descriptor of the memory, to inspect it from another process.
    #[must_use]
    pub fn memfd(&self) -> Option<&OwnedFd> {
        self.memfd.as_ref()
    }

    /// Address of byte `off` of `chunk`.
    pub(super) fn at(&self, chunk: u32, off: usize) -> *mut u8 {
        debug_assert!(chunk < self.chunks && off <= CHUNK_SIZE);
        self.base.as_ptr().wrapping_add(chunk as usize * CHUNK_SIZE + off)
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        // SAFETY: A1: base and len are the mapping made in `new`; tokens and sockets hold the pool, which holds us.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.len) };
    }
}

fn huge_memfd(len: usize) -> io::Result<OwnedFd> {
    // SAFETY: the name is a NUL-terminated string; the call has no other precondition.
    let fd =
        unsafe { libc::memfd_create(c"pollux".as_ptr(), libc::MFD_CLOEXEC | libc::MFD_HUGETLB | libc::MFD_HUGE_2MB) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a fresh descriptor that we alone own.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    let size = libc::off_t::try_from(len).map_err(io::Error::other)?;
    // SAFETY: ftruncate on our own descriptor.
    match unsafe { libc::ftruncate(fd.as_raw_fd(), size) } {
        0 => Ok(fd),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Maps `len` bytes of 2 MiB huge pages, of `memfd` or anonymous, and populates them.
fn map(len: usize, memfd: Option<&OwnedFd>) -> io::Result<NonNull<u8>> {
    let (flags, fd) = match memfd {
        Some(fd) => (libc::MAP_SHARED, fd.as_raw_fd()),
        None => (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_HUGETLB | libc::MAP_HUGE_2MB, -1),
    };
    let base = mmap(len, flags, fd)?;
    advise(base, len, libc::MADV_POPULATE_WRITE).inspect_err(|_| {
        // SAFETY: unmaps what was mapped two lines above and is used nowhere.
        unsafe { libc::munmap(base.as_ptr().cast(), len) };
    })?;
    Ok(base)
}

/// Ordinary memory that begins on a 2 MiB boundary, so that transparent huge pages fit.
fn map_aligned(len: usize) -> io::Result<NonNull<u8>> {
    let wide = len + HUGE_2M;
    let raw = mmap(wide, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1)?;
    let head = raw.as_ptr().align_offset(HUGE_2M);
    let base = raw.as_ptr().wrapping_add(head);
    // SAFETY: both ranges lie inside the fresh mapping of `wide` bytes and outside base..base + len.
    unsafe {
        if head > 0 {
            libc::munmap(raw.as_ptr().cast(), head);
        }
        if head < HUGE_2M {
            libc::munmap(base.wrapping_add(len).cast(), HUGE_2M - head);
        }
    }
    NonNull::new(base).ok_or_else(|| io::Error::other("mmap returned 0"))
}

fn mmap(len: usize, flags: libc::c_int, fd: libc::c_int) -> io::Result<NonNull<u8>> {
    let prot = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: a new mapping at an address of the kernel's choice touches no existing memory.
    let at = unsafe { libc::mmap(std::ptr::null_mut(), len, prot, flags, fd, 0) };
    if at == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    NonNull::new(at.cast()).ok_or_else(|| io::Error::other("mmap returned 0"))
}

fn advise(base: NonNull<u8>, len: usize, advice: libc::c_int) -> io::Result<()> {
    // SAFETY: the range was mapped by us, and neither advice used here discards data.
    match unsafe { libc::madvise(base.as_ptr().cast(), len, advice) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn too_few(len: usize, cause: io::Error) -> ArenaError {
    let read = |name: &str| {
        let path = format!("/sys/kernel/mm/hugepages/hugepages-2048kB/{name}");
        std::fs::read_to_string(path).ok().and_then(|s| s.trim().parse().ok()).unwrap_or(0usize)
    };
    let (needed, free, total) = (len / HUGE_2M, read("free_hugepages"), read("nr_hugepages"));
    ArenaError::TooFewHugepages { needed, free, wanted: total + needed.saturating_sub(free), cause }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_pages_always_work() {
        let arena = Arena::new(&ArenaConfig { frames: 100, hugepages: Hugepages::Off }).unwrap();
        assert_eq!(arena.chunks(), 1024);
        assert_eq!(arena.backing(), Backing::Small);
        assert_eq!(arena.base().as_ptr().align_offset(HUGE_2M), 0);
    }

    #[test]
    fn auto_reports_each_step_it_could_not_take() {
        let arena = Arena::new(&ArenaConfig { frames: 1 << 10, hugepages: Hugepages::Auto }).unwrap();
        match arena.backing() {
            Backing::HugetlbMemfd => assert!(arena.report().is_empty() && arena.memfd().is_some()),
            Backing::HugetlbAnonymous => assert_eq!(arena.report().len(), 1),
            Backing::Transparent => assert_eq!(arena.report().len(), 2),
            Backing::Small => assert_eq!(arena.report().len(), 3),
        }
    }

    #[test]
    fn required_says_how_many_pages_are_missing() {
        // 1 TiB of huge pages is more than any test machine has.
        let error = Arena::new(&ArenaConfig { frames: 1 << 29, hugepages: Hugepages::Required }).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("524288 huge pages") && text.contains("vm.nr_hugepages="), "{text}");
    }
}
