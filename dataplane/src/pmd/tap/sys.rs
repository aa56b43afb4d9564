//! What needs `unsafe` about a TAP: its ioctls, and reading into chunks that stand ready.
//!
//! Reading a frame of unknown length takes room for the longest, 64 KiB and headers. [`Standing`] keeps that room
//! between reads, with the iovecs that describe it: a frame of up to one chunk costs one chunk and one iovec, rewritten.
//! Neighbouring chunks share an iovec, since each costs the kernel about 2 ns per read even if unused, and more than 8
//! cost an allocation (import_iovec, lib/iov_iter.c): measured 248 ns per empty read with 2 iovecs, 300 with 33.
//!
//! Invariant S1: each iovec lies within the rooms of chunks whose tokens this `Standing` holds, and the pool that owns
//! their memory lives as long as they do (`pool`). A token leaves only after the iovecs that reach it are struck out.

#![allow(unsafe_code)]

use crate::mem::{CHUNK_SIZE, FIRST_SEGMENT, HEADROOM, Mbuf, Mempool, MempoolCache};
use crate::offload::vnet;
use arrayvec::ArrayVec;
use nix::errno::Errno;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::Arc;

/// Chunks behind the first: 64 KiB of IP packet, Ethernet header and two tags, and a byte to spare, by which a frame
/// that was cut short is told.
const REST: usize = (65_535 + 14 + 8 + 1 - FIRST_SEGMENT).div_ceil(CHUNK_SIZE);
/// Bytes of the longest read, with its vnet header.
const CAPACITY: usize = vnet::LEN + FIRST_SEGMENT + REST * CHUNK_SIZE;
/// Bytes that the first chunk takes, with the vnet header in the headroom.
const FIRST: usize = vnet::LEN + FIRST_SEGMENT;

/// A frame just read.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) mbuf: Mbuf,
    /// The header that came with it.
    pub(super) hdr: [u8; vnet::LEN],
    /// It filled all the room: its end may be missing.
    pub(super) truncated: bool,
}

/// Chunks that stand ready for the next frame.
pub(super) struct Standing {
    /// Its data will begin `vnet::LEN` bytes below the headroom's end.
    first: Option<Mbuf>,
    /// In order of address, each from its chunk's first byte.
    rest: ArrayVec<Mbuf, REST>,
    /// `first`, then runs of `rest`; valid while both are complete.
    iovecs: ArrayVec<libc::iovec, { 1 + REST }>,
    /// Keeps the memory behind the tokens alive (S1).
    pool: Option<Arc<Mempool>>,
}

// SAFETY: the iovecs point into chunks that this value owns by their tokens (S1), which move between threads.
unsafe impl Send for Standing {}

impl Default for Standing {
    fn default() -> Self {
        let mut iovecs = ArrayVec::new();
        iovecs.push(empty());
        Self { first: None, rest: ArrayVec::new(), iovecs, pool: None }
    }
}

impl Standing {
    /// Reads one frame. `None` if none waits or the pool is exhausted.
    pub(super) fn read(&mut self, fd: BorrowedFd<'_>, mem: &mut MempoolCache) -> nix::Result<Option<Received>> {
        if !self.fill(mem) {
            return Ok(None);
        }
        match self.readv(fd) {
            Ok(n) => Ok(self.cut(n, mem.pool())),
            Err(Errno::EAGAIN) => Ok(None),
            Err(errno) => Err(errno),
        }
    }

    /// Gives all chunks back.
    pub(super) fn release(&mut self, mem: &mut MempoolCache) {
        self.strike_out();
        self.first.take().into_iter().chain(self.rest.drain(..)).for_each(|m| mem.free(m));
    }

    fn readv(&mut self, fd: BorrowedFd<'_>) -> nix::Result<usize> {
        // At most 1 + REST.
        let count = libc::c_int::try_from(self.iovecs.len()).unwrap_or(0);
        // SAFETY: S1: the kernel writes only into chunks that are ours alone, as `&mut self` is.
        let n = unsafe { libc::readv(fd.as_raw_fd(), self.iovecs.as_ptr(), count) };
        usize::try_from(n).map_err(|_| Errno::last())
    }

    /// Makes the room complete again; false if the pool cannot.
    #[inline]
    fn fill(&mut self, mem: &mut MempoolCache) -> bool {
        match &self.pool {
            Some(pool) => assert!(Arc::ptr_eq(pool, mem.pool()), "a TAP queue keeps to one pool"),
            None => self.pool = Some(Arc::clone(mem.pool())),
        }
        (self.first.is_some() || self.fill_first(mem)) && (self.rest.is_full() || self.fill_rest(mem))
    }

    fn fill_first(&mut self, mem: &mut MempoolCache) -> bool {
        let Some(mut mbuf) = mem.alloc() else { return false };
        self.iovecs[0] = stretch(mem.pool(), &mut mbuf, vnet::LEN);
        self.first = Some(mbuf);
        true
    }

    /// After a long frame only.
    fn fill_rest(&mut self, mem: &mut MempoolCache) -> bool {
        let missing = self.rest.capacity() - self.rest.len();
        if !mem.reserve(missing) {
            return false;
        }
        self.rest.extend((0..missing).filter_map(|_| mem.alloc()));
        for mbuf in &mut self.rest {
            stretch(mem.pool(), mbuf, HEADROOM);
        }
        self.rest.sort_unstable_by_key(|m| mem.pool().data(m).as_ptr());
        self.describe_rest(mem.pool());
        true
    }

    /// Writes the iovecs of `rest`, one per run of neighbours.
    fn describe_rest(&mut self, pool: &Mempool) {
        self.iovecs.truncate(1);
        for mbuf in &mut self.rest {
            let next = iovec(pool.room_mut(mbuf));
            match self.iovecs.last_mut() {
                Some(last) if last.iov_base.wrapping_byte_add(last.iov_len) == next.iov_base && last.iov_len >= CHUNK_SIZE => {
                    last.iov_len += next.iov_len;
                }
                _ => self.iovecs.push(next),
            }
        }
    }

    /// No iovec reaches a chunk any more.
    fn strike_out(&mut self) {
        self.iovecs.truncate(1);
        self.iovecs[0] = empty();
    }

    /// The frame of the `n` bytes just read, header included.
    fn cut(&mut self, n: usize, pool: &Mempool) -> Option<Received> {
        self.iovecs[0] = empty();
        let mut mbuf = self.first.take()?;
        pool.set_len(&mut mbuf, n.min(FIRST));
        let mut hdr = [0; vnet::LEN];
        pool.read_at(&mbuf, 0, &mut hdr);
        pool.trim_front(&mut mbuf, low16(n.min(vnet::LEN)));
        if n > FIRST {
            self.iovecs.truncate(1);
            self.append_rest(&mut mbuf, n - FIRST, pool);
        }
        Some(Received { mbuf, hdr, truncated: n == CAPACITY })
    }

    /// Chains the chunks that the `left` bytes behind the first chunk took: from the back, so that no step walks.
    fn append_rest(&mut self, mbuf: &mut Mbuf, mut left: usize, pool: &Mempool) {
        let mut tail: Option<Mbuf> = None;
        let taken = left.div_ceil(CHUNK_SIZE);
        for mut chunk in self.rest.drain(..taken).rev() {
            let n = match left % CHUNK_SIZE {
                0 => CHUNK_SIZE,
                n => n,
            };
            left -= n;
            pool.set_len(&mut chunk, n);
            if let Some(tail) = tail.take() {
                join(pool, &mut chunk, tail);
            }
            tail = Some(chunk);
        }
        if let Some(tail) = tail {
            join(pool, mbuf, tail);
        }
    }
}

impl Drop for Standing {
    /// For a queue that was not closed; cold.
    fn drop(&mut self) {
        if let Some(pool) = self.pool.take() {
            self.release(&mut MempoolCache::new(&pool));
        }
    }
}

impl std::fmt::Debug for Standing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Standing({} chunks in {} iovecs)", self.rest.len() + 1, self.iovecs.len())
    }
}

/// Moves the beginning of an empty frame down by `n` bytes and describes its room.
fn stretch(pool: &Mempool, mbuf: &mut Mbuf, n: usize) -> libc::iovec {
    let _ = pool.prepend(mbuf, low16(n));
    pool.set_len(mbuf, 0);
    iovec(pool.room_mut(mbuf))
}

/// Joins frames of `1 + REST` chunks in all, which is less than the most.
fn join(pool: &Mempool, head: &mut Mbuf, tail: Mbuf) {
    if let Err(tail) = pool.append(head, tail) {
        unreachable!("{tail:?} and {head:?} are longer than a read");
    }
}

/// Bytes within a chunk.
#[allow(clippy::cast_possible_truncation, reason = "a chunk is 2048 bytes")]
fn low16(n: usize) -> u16 {
    n as u16
}

fn iovec(room: &mut [u8]) -> libc::iovec {
    libc::iovec { iov_base: room.as_mut_ptr().cast(), iov_len: room.len() }
}

fn empty() -> libc::iovec {
    libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 }
}

const _: () = assert!(CAPACITY > vnet::LEN + 65_535 + 14 + 8 && REST < crate::mem::mempool::MAX_SEGMENTS);

/// TUNSETIFF: makes the device `name`, or attaches one more queue to it.
pub(super) fn set_iff(fd: BorrowedFd<'_>, name: &str, flags: libc::c_int) -> nix::Result<()> {
    // SAFETY: ifreq is plain data, for which all zeros is a value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (target, byte) in request.ifr_name.iter_mut().take(libc::IFNAMSIZ - 1).zip(name.bytes()) {
        *target = byte.cast_signed();
    }
    #[allow(clippy::cast_possible_truncation, reason = "the flags have 16 bits")]
    let flags = flags as libc::c_short;
    request.ifr_ifru.ifru_flags = flags;
    // SAFETY: TUNSETIFF reads and writes one ifreq.
    Errno::result(unsafe { libc::ioctl(fd.as_raw_fd(), libc::TUNSETIFF, &raw mut request) }).map(drop)
}

/// TUNSETVNETHDRSZ: bytes of the header in front of each frame.
pub(super) fn set_header_size(fd: BorrowedFd<'_>, bytes: libc::c_int) -> nix::Result<()> {
    // SAFETY: TUNSETVNETHDRSZ reads one int.
    Errno::result(unsafe { libc::ioctl(fd.as_raw_fd(), libc::TUNSETVNETHDRSZ, &raw const bytes) }).map(drop)
}

/// TUNSETVNETLE: the header is little endian, whatever the machine.
pub(super) fn set_little_endian(fd: BorrowedFd<'_>) -> nix::Result<()> {
    let on: libc::c_int = 1;
    // SAFETY: TUNSETVNETLE reads one int.
    Errno::result(unsafe { libc::ioctl(fd.as_raw_fd(), libc::TUNSETVNETLE, &raw const on) }).map(drop)
}

/// TUNSETOFFLOAD: what may be left undone on frames that we read.
pub(super) fn set_offload(fd: BorrowedFd<'_>, flags: libc::c_uint) -> nix::Result<()> {
    // SAFETY: TUNSETOFFLOAD takes its argument by value.
    Errno::result(unsafe { libc::ioctl(fd.as_raw_fd(), libc::TUNSETOFFLOAD, libc::c_ulong::from(flags)) }).map(drop)
}
