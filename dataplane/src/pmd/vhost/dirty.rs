//! Dirty logging: a bit for each page of guest memory that we wrote, for a front end that copies a running guest to
//! another machine (vhost-user, "Migration"; VHOST_F_LOG_ALL).
//!
//! A burst is served through [`Logged`] while it is on; while it is off there is no more of it than that question. Pages
//! are marked after they were written, and before the ring is given back: whoever clears a bit and then copies the page
//! has what was written, or finds the bit set again. What is marked of a chain are the bytes that it is given back with: a
//! guest's buffers may be far larger, and every page costs an atomic operation. Of the ring itself all is marked.
//!
//! Owner: the log is made by the session, shared by the rings that write to it. It is foreign memory like the guest's
//! ([`memory`](super::memory)), and may be torn like that.

use super::memory::{Area, GuestMemory, MemoryError, RegionSpec};
use super::ring::{Chain, Head, MAX_COST, Mark, Ring, RingFault, Seg};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Bytes of a page in the log, whatever the machine's are (VHOST_LOG_PAGE).
const PAGE: u64 = 0x1000;
/// Pages in a word of the log.
const PER_WORD: u64 = 64;

/// The bits.
#[derive(Debug)]
pub struct DirtyLog {
    bits: Area,
    words: u64,
    memory: Arc<GuestMemory>,
}

impl DirtyLog {
    /// Maps a log of `len` bytes from byte `offset` of a file on.
    ///
    /// # Errors
    /// [`MemoryError`]: no shared memory, or too little of it.
    pub fn map(file: OwnedFd, len: u64, offset: u64) -> Result<Self, MemoryError> {
        // Addresses in it are bytes of the log.
        let memory = Arc::new(GuestMemory::map(vec![RegionSpec { guest: 0, user: 0, len, offset, file }])?);
        let words = len / size_of::<u64>() as u64;
        let bytes = usize::try_from(words * size_of::<u64>() as u64).map_err(|_| MemoryError::Range(0))?;
        let bits = memory.area(0, bytes, size_of::<u64>()).ok_or(MemoryError::Range(0))?;
        Ok(Self { bits, words, memory })
    }

    /// Marks the pages that have bytes `addr..addr + len` of the guest; what the log has no bits for is not marked.
    fn mark(&self, addr: u64, len: u64) {
        let Some(last) = len.checked_sub(1).and_then(|more| addr.checked_add(more)) else { return };
        for page in addr / PAGE..=last / PAGE {
            let word = page / PER_WORD;
            if word >= self.words {
                return;
            }
            // Below the length of the area, which is a usize.
            #[allow(clippy::cast_possible_truncation)]
            let at = word as usize * size_of::<u64>();
            // Release: what was written comes before its bit; pairs with the exchange that reads and clears the log.
            self.bits.u64(at).fetch_or((1u64 << (page % PER_WORD)).to_le(), Ordering::Release);
        }
    }
}

/// Where one ring's writes are logged.
#[derive(Debug)]
pub struct Log {
    dirty: Arc<DirtyLog>,
    /// Guest addresses and bytes of what the device writes in the ring itself.
    ring: Vec<(u64, u64)>,
    /// Buffers of chains that were taken to be written to, in order; those of the first `given` are given back and marked.
    taken: Vec<Seg>,
    given: usize,
}

impl Log {
    /// Logs into `dirty`; `ring` are guest addresses and lengths of what the device writes in the ring itself, none if that
    /// is not to be logged.
    #[must_use]
    pub fn new(dirty: &Arc<DirtyLog>, ring: Vec<(u64, u64)>) -> Self {
        Self { dirty: Arc::clone(dirty), ring, taken: Vec::with_capacity(MAX_COST as usize), given: 0 }
    }

    /// The ring, logged.
    pub(super) fn over<'a, R>(&'a mut self, ring: &'a mut R) -> Logged<'a, R> {
        Logged { ring, log: self }
    }

    /// Marks the ring itself.
    pub(super) fn mark_ring(&self) {
        self.ring.iter().for_each(|(addr, len)| self.dirty.mark(*addr, *len));
    }

    /// The next chain, of `bytes`, has `len` bytes written; chains are given in the order they were taken.
    fn mark_chain(&mut self, bytes: u64, len: u32) {
        let (mut rest, mut left) = (bytes, u64::from(len));
        while let Some(seg) = self.taken.get(self.given).filter(|_| rest > 0) {
            let len = u64::from(seg.len);
            self.dirty.mark(seg.addr, len.min(left));
            (rest, left) = (rest.saturating_sub(len), left.saturating_sub(len));
            self.given += 1;
        }
    }

    /// What was taken and not given is available again.
    fn clear(&mut self) {
        self.taken.clear();
        self.given = 0;
    }

    /// Whether the log is still there.
    pub(super) fn is_torn(&self) -> bool {
        self.dirty.memory.is_torn()
    }
}

/// A ring whose writes are logged.
pub(super) struct Logged<'a, R> {
    ring: &'a mut R,
    log: &'a mut Log,
}

impl<R: Ring> Ring for Logged<'_, R> {
    fn take(&mut self, chain: &mut Chain, to_write: bool) -> Result<Option<Head>, RingFault> {
        let before = chain.segs().len();
        let head = self.ring.take(chain, to_write)?;
        if to_write {
            self.log.taken.extend_from_slice(&chain.segs()[before..]);
        }
        Ok(head)
    }

    fn prefetch(&mut self, n: u16, to_write: bool) {
        self.ring.prefetch(n, to_write);
    }

    fn mark(&self) -> Mark {
        self.ring.mark()
    }

    fn rewind(&mut self, mark: Mark) {
        self.ring.rewind(mark);
        self.log.taken.truncate(self.log.given);
    }

    fn give(&mut self, head: Head, len: u32) {
        self.ring.give(head, len);
        self.log.mark_chain(head.bytes, len);
    }

    fn publish(&mut self) {
        self.ring.publish();
        self.log.mark_ring();
        self.log.clear();
    }

    fn wants_call(&mut self) -> bool {
        self.ring.wants_call()
    }

    fn arm(&mut self) -> bool {
        self.ring.arm()
    }

    fn disarm(&mut self) {
        self.ring.disarm();
    }

    fn pending(&self) -> u16 {
        self.ring.pending()
    }

    fn base(&self) -> u32 {
        self.ring.base()
    }

    fn forget(&mut self) {
        self.ring.forget();
    }

    fn memory(&self) -> &Arc<GuestMemory> {
        self.ring.memory()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::memfd::{MFdFlags, memfd_create};
    use nix::sys::uio::pread;

    fn log(len: u64, offset: u64) -> (DirtyLog, OwnedFd) {
        let file = memfd_create(c"log", MFdFlags::MFD_CLOEXEC).unwrap();
        nix::unistd::ftruncate(&file, 0x2000).unwrap();
        (DirtyLog::map(file.try_clone().unwrap(), len, offset).unwrap(), file)
    }

    fn marked(file: &OwnedFd, offset: i64) -> Vec<usize> {
        let mut bytes = [0; 64];
        pread(file, &mut bytes, offset).unwrap();
        (0..512).filter(|page| bytes[page / 8] >> (page % 8) & 1 == 1).collect()
    }

    #[test]
    fn each_page_that_has_a_byte_is_marked() {
        let (log, file) = log(64, 0x1000);
        log.mark(0, 1);
        log.mark(0x3fff, 2);
        log.mark(0x8000, 0x1000);
        log.mark(0x10_0000, 0);
        log.mark(511 * PAGE, PAGE);
        assert_eq!(marked(&file, 0x1000), [0, 3, 4, 8, 511]);
    }

    #[test]
    fn what_the_log_cannot_hold_marks_nothing_else() {
        let (log, file) = log(64, 0);
        log.mark(512 * PAGE, PAGE);
        log.mark(u64::MAX - 1, 2);
        log.mark(u64::MAX, 2);
        assert_eq!(marked(&file, 0), []);
        assert_eq!(marked(&file, 64), []);
    }

    #[test]
    fn a_log_lies_in_its_file() {
        let file = || memfd_create(c"log", MFdFlags::MFD_CLOEXEC).unwrap();
        assert!(matches!(DirtyLog::map(file(), 4096, 0), Err(MemoryError::Short { .. })));
        assert!(DirtyLog::map(file(), 0, 0).is_err());
        assert!(DirtyLog::map(file(), u64::MAX, 8).is_err());
    }
}
