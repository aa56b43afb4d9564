//! What needs `unsafe` about a TAP: its ioctls, reading into chunks that stand ready, and writing them in one piece.
//!
//! Reading a frame of unknown length takes room for the longest, 64 KiB and headers. [`Standing`] keeps that room
//! between reads. A frame that fits one chunk is copied out of it, a longer one takes the chunks it lies in, which are
//! then replaced. So the room of a queue of short frames stays as it is, hot in the cache and, if its chunks are
//! neighbours, one buffer for `read`: measured 193 ns per empty call, against 248 for `readv` of 2 iovecs and 300 of 33
//! (more than 8 cost the kernel an allocation: import_iovec, lib/iov_iter.c).
//!
//! Invariant S1: each iovec lies within the rooms of chunks whose tokens this `Standing` holds, and the pool that owns
//! their memory lives as long as they do (`pool`). A token leaves only after the iovecs are struck out.

#![allow(unsafe_code)]

use crate::mem::{CHUNK_SIZE, FIRST_SEGMENT, Mbuf, Mempool, MempoolCache, mempool};
use crate::offload::vnet;
use arrayvec::ArrayVec;
use nix::errno::Errno;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::Arc;

/// Bytes that the first chunk takes, with the vnet header in the headroom.
const FIRST: usize = vnet::LEN + FIRST_SEGMENT;
/// Chunks that stand ready: for 64 KiB of IP packet, Ethernet header and two tags, and a byte to spare, by which a
/// frame that was cut short is told.
const CHUNKS: usize = 1 + (65_535 + 14 + 8 + 1 - FIRST_SEGMENT).div_ceil(CHUNK_SIZE);
/// Bytes of the longest read, with its vnet header.
const CAPACITY: usize = FIRST + (CHUNKS - 1) * CHUNK_SIZE;
/// Chunks looked through for neighbours.
const CANDIDATES: usize = 128;
/// Short frames read before it is worth looking for neighbours again.
const REGROUP_AFTER: u32 = 1024;

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
#[derive(Default)]
pub(super) struct Standing {
    /// In order of address. Data begins `FIRST` bytes before the end of the first, at the start of the others.
    chunks: ArrayVec<Mbuf, CHUNKS>,
    /// One per run of neighbours; empty unless `chunks` is full.
    iovecs: ArrayVec<libc::iovec, CHUNKS>,
    /// Short frames since the chunks were last chosen.
    short: u32,
    /// Keeps the memory behind the tokens alive (S1).
    pool: Option<Arc<Mempool>>,
}

// SAFETY: the iovecs point into chunks that this value owns by their tokens (S1), which move between threads.
unsafe impl Send for Standing {}

impl Standing {
    /// Reads one frame. `None` if none waits or the pool is exhausted.
    pub(super) fn read(&mut self, fd: BorrowedFd<'_>, mem: &mut MempoolCache) -> nix::Result<Option<Received>> {
        // The chunk that a short frame is copied to is reserved before: once read, a frame is not lost.
        if !self.fill(mem) || !mem.reserve(1) {
            return Ok(None);
        }
        match self.read_into_room(fd) {
            Ok(n) if n <= FIRST => Ok(self.copy_short(n, mem)),
            Ok(n) => Ok(self.take_long(n, mem.pool())),
            Err(Errno::EAGAIN) => Ok(None),
            Err(errno) => Err(errno),
        }
    }

    /// How many chunks stand ready.
    pub(super) fn len(&self) -> usize {
        self.chunks.len()
    }

    /// Gives all chunks back.
    pub(super) fn release(&mut self, mem: &mut MempoolCache) {
        self.iovecs.clear();
        self.chunks.drain(..).for_each(|m| mem.free(m));
    }

    fn read_into_room(&mut self, fd: BorrowedFd<'_>) -> nix::Result<usize> {
        let n = if let [one] = self.iovecs.as_slice() {
            // SAFETY: S1: the kernel writes only into chunks that are ours alone, as `&mut self` is.
            unsafe { libc::read(fd.as_raw_fd(), one.iov_base, one.iov_len) }
        } else {
            // At most CHUNKS.
            let count = libc::c_int::try_from(self.iovecs.len()).unwrap_or(0);
            // SAFETY: S1, as above.
            unsafe { libc::readv(fd.as_raw_fd(), self.iovecs.as_ptr(), count) }
        };
        usize::try_from(n).map_err(|_| Errno::last())
    }

    /// Makes the room complete; false if the pool cannot.
    #[inline]
    fn fill(&mut self, mem: &mut MempoolCache) -> bool {
        match &self.pool {
            Some(pool) => assert!(Arc::ptr_eq(pool, mem.pool()), "a TAP queue keeps to one pool"),
            None => self.pool = Some(Arc::clone(mem.pool())),
        }
        let scattered = self.iovecs.len() > 1 && self.short >= REGROUP_AFTER;
        if self.chunks.is_full() && !scattered {
            return true;
        }
        if self.chunks.is_empty() || scattered { self.choose(mem) } else { self.top_up(mem) }
    }

    /// Replaces what a long frame took.
    fn top_up(&mut self, mem: &mut MempoolCache) -> bool {
        let missing = self.chunks.remaining_capacity();
        if !mem.reserve(missing) {
            return false;
        }
        self.chunks.extend((0..missing).filter_map(|_| mem.alloc()));
        self.arrange(mem.pool());
        true
    }

    /// Chooses chunks that lie as close together as those at hand allow.
    fn choose(&mut self, mem: &mut MempoolCache) -> bool {
        self.short = 0;
        self.release(mem);
        let mut candidates = ArrayVec::<Mbuf, CANDIDATES>::new();
        candidates.extend(std::iter::from_fn(|| mem.alloc()).take(CANDIDATES));
        sort(&mut candidates, mem.pool());
        if let Some(start) = densest(&candidates, mem.pool()) {
            self.chunks.extend(candidates.drain(start..start + CHUNKS));
            self.arrange(mem.pool());
        }
        mem.free_burst(&mut candidates);
        self.chunks.is_full()
    }

    /// Puts the chunks in order and describes their room.
    fn arrange(&mut self, pool: &Mempool) {
        sort(&mut self.chunks, pool);
        self.iovecs.clear();
        for (i, mbuf) in self.chunks.iter_mut().enumerate() {
            append(&mut self.iovecs, iovec(room(pool, mbuf, if i == 0 { FIRST } else { CHUNK_SIZE })));
        }
    }

    /// A copy of the frame of `n` bytes, header included, that lies in the first chunk.
    fn copy_short(&mut self, n: usize, mem: &mut MempoolCache) -> Option<Received> {
        self.short = self.short.saturating_add(1);
        let first = self.chunks.first_mut()?;
        let mut mbuf = mem.alloc()?;
        let pool = mem.pool();
        let source = pool.room_mut(first).get(..n).unwrap_or_default();
        let (hdr, frame) = source.split_at_checked(vnet::LEN).unwrap_or_default();
        pool.set_len(&mut mbuf, frame.len());
        pool.data_mut(&mut mbuf).copy_from_slice(frame);
        Some(Received { mbuf, hdr: *hdr.first_chunk().unwrap_or(&[0; vnet::LEN]), truncated: false })
    }

    /// The frame of `n` bytes, header included, in the chunks it lies in: chained from the back, so that no step walks.
    fn take_long(&mut self, n: usize, pool: &Mempool) -> Option<Received> {
        self.iovecs.clear();
        let mut left = n - FIRST;
        let mut tail: Option<Mbuf> = None;
        for (i, mut chunk) in self.chunks.drain(..=left.div_ceil(CHUNK_SIZE)).enumerate().rev() {
            let len = if i == 0 { FIRST } else { left - (i - 1) * CHUNK_SIZE };
            left -= if i == 0 { 0 } else { len };
            pool.set_len(&mut chunk, len);
            if let Some(tail) = tail.take() {
                join(pool, &mut chunk, tail);
            }
            tail = Some(chunk);
        }
        let mut mbuf = tail?;
        let mut hdr = [0; vnet::LEN];
        pool.read_at(&mbuf, 0, &mut hdr);
        pool.trim_front(&mut mbuf, low16(vnet::LEN));
        Some(Received { mbuf, hdr, truncated: n == CAPACITY })
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
        write!(f, "Standing({} chunks in {} iovecs)", self.chunks.len(), self.iovecs.len())
    }
}

/// Writes one frame of several pieces, `front` before them. Chunks that are neighbours, as those of a frame that was read
/// in one piece are, go out in one: 32 iovecs cost a quarter more than one (benches/README.md).
pub(super) fn write_parts(fd: BorrowedFd<'_>, pool: &Mempool, mbuf: &Mbuf, front: &[u8]) -> nix::Result<usize> {
    let mut iovecs = ArrayVec::<libc::iovec, { mempool::MAX_SEGMENTS + 1 }>::new();
    for piece in std::iter::once(front).chain(pool.segments(mbuf)).filter(|piece| !piece.is_empty()) {
        append(&mut iovecs, libc::iovec { iov_base: piece.as_ptr().cast_mut().cast(), iov_len: piece.len() });
    }
    // At most MAX_SEGMENTS + 1.
    let count = libc::c_int::try_from(iovecs.len()).unwrap_or(0);
    // SAFETY: every byte of the iovecs lies in `front` or a segment of `mbuf`, both borrowed for this call, and the kernel
    // only reads them.
    let n = unsafe { libc::writev(fd.as_raw_fd(), iovecs.as_ptr(), count) };
    usize::try_from(n).map_err(|_| Errno::last())
}

/// Puts `next` behind the last of `iovecs`, as a part of it if they are neighbours.
fn append<const N: usize>(iovecs: &mut ArrayVec<libc::iovec, N>, next: libc::iovec) {
    match iovecs.last_mut() {
        Some(last) if last.iov_base.wrapping_byte_add(last.iov_len) == next.iov_base => last.iov_len += next.iov_len,
        _ => iovecs.push(next),
    }
}

/// In order of address.
fn sort(chunks: &mut [Mbuf], pool: &Mempool) {
    chunks.sort_unstable_by_key(|m| chunk_start(pool, m));
}

/// Address of the chunk of a frame that lies in one.
fn chunk_start(pool: &Mempool, mbuf: &Mbuf) -> usize {
    // The arena is aligned to more than a chunk.
    pool.data(mbuf).as_ptr().addr() & !(CHUNK_SIZE - 1)
}

/// Where in `sorted` the `CHUNKS` with the fewest gaps begin; `None` if there are too few.
fn densest(sorted: &[Mbuf], pool: &Mempool) -> Option<usize> {
    let gap = |pair: &&[Mbuf]| chunk_start(pool, &pair[0]) + CHUNK_SIZE != chunk_start(pool, &pair[1]);
    let windows = sorted.windows(CHUNKS).enumerate();
    windows.min_by_key(|(_, window)| window.windows(2).filter(gap).count()).map(|(start, _)| start)
}

/// The last `len` bytes of the chunk of an empty frame, where its data will begin.
fn room<'a>(pool: &'a Mempool, mbuf: &'a mut Mbuf, len: usize) -> &'a mut [u8] {
    let off = CHUNK_SIZE - pool.room_mut(mbuf).len();
    let wanted = CHUNK_SIZE - len;
    // An empty frame at the chunk's start, then cut down to where it is to begin; both fit in the chunk.
    let _ = pool.prepend(mbuf, low16(off));
    pool.set_len(mbuf, wanted);
    pool.trim_front(mbuf, low16(wanted));
    pool.room_mut(mbuf)
}

/// Joins frames of `CHUNKS` chunks in all, which is less than the most.
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

const _: () = assert!(CAPACITY > vnet::LEN + 65_535 + 14 + 8 && CHUNKS <= crate::mem::mempool::MAX_SEGMENTS);

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

/// TUNSETCARRIER: whether the device has a carrier.
pub(super) fn set_carrier(fd: BorrowedFd<'_>, on: bool) -> nix::Result<()> {
    /// `_IOW('T', 226, int)` (linux/if_tun.h); libc has it not.
    const TUNSETCARRIER: libc::c_ulong = 0x4004_54e2;
    let on = libc::c_int::from(on);
    // SAFETY: TUNSETCARRIER reads one int.
    Errno::result(unsafe { libc::ioctl(fd.as_raw_fd(), TUNSETCARRIER, &raw const on) }).map(drop)
}

#[cfg(test)]
mod tests;
