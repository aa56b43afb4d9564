//! The mempool: hands out chunks of the arena as [`Mbuf`] tokens and takes them back.
//!
//! Two levels, as in DPDK (rte_mempool.h): a per-worker LIFO [`MempoolCache`], touched by its owner only, over a
//! shared list that moves batches of 64 chunks. So there is one shared operation per 64 frames, and recently used chunks,
//! which are still in the CPU's caches, are used first. A full cache spills its cold half.
//!
//! Invariants:
//! - M1: each chunk is free (in one cache or the shared list, once), or reached by exactly one token, or lent to
//!   exactly one [`Owner`]. Tokens are made here only, from a chunk just taken off a free list or back from its owner.
//! - M2: a chunk's bytes and `Meta` are touched only through its token (`&Mbuf` to read, `&mut Mbuf` to write).
//! - M3: a token carries the id of its pool; every access checks it, so a token is never used on other memory.
//! - M4: within a token, every segment satisfies `off + len <= CHUNK_SIZE`.

#![allow(unsafe_code)]

mod cache;
mod owner;

pub use cache::MempoolCache;
pub use owner::{Lent, Owner};

use super::arena::Arena;
use super::mbuf::{Gso, Mbuf, NO_CHUNK, Offload, SegmentLayout};
use super::{CHUNK_SIZE, HEADROOM};
use crossbeam::queue::ArrayQueue;
use crossbeam::utils::CachePadded;
use std::cell::UnsafeCell;
use std::fmt;
use std::num::NonZeroU16;
use std::sync::atomic::{AtomicU16, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Chunks that move between a cache and the shared list at a time.
const BATCH: usize = 64;
/// Chunks a cache holds before it spills half of them.
pub const CACHE_SIZE: usize = 512;
/// Most chunks of one frame: 64 KiB and its headers need 34; `Mbuf::segs` is a byte.
pub const MAX_SEGMENTS: usize = 64;
/// Most chunks that [`MempoolCache::reserve`] can promise.
pub const MAX_RESERVE: usize = CACHE_SIZE - BATCH;
/// No owner holds the chunk.
const NO_OWNER: u32 = 0;

type Batch = [u32; BATCH];

/// What does not fit in the token, one per chunk, beside the arena and not in it: at 2 KiB strides they would
/// compete for the same L1 sets.
#[derive(Debug, Clone, Copy)]
struct Meta {
    /// The chunk that continues the frame, or [`NO_CHUNK`].
    next: u32,
    /// Where the data begins; for chunks after the first.
    off: u16,
    /// Bytes of data; for chunks after the first.
    len: u16,
    /// Of the whole frame; for the first chunk.
    offload: Offload,
}

/// All frames of the process, shared by workers and control.
pub struct Mempool {
    arena: Arena,
    id: NonZeroU16,
    meta: Box<[UnsafeCell<Meta>]>,
    /// The tag of the [`Owner`] that holds the chunk, or [`NO_OWNER`].
    owners: Box<[AtomicU32]>,
    /// Full batches of free chunks.
    batches: ArrayQueue<Batch>,
    /// Free chunks that do not fill a batch; locked on cold paths only.
    spare: Mutex<Vec<u32>>,
    /// The number of chunks in each live cache, as last published.
    cached: Mutex<Vec<Arc<CachePadded<AtomicU32>>>>,
    next_owner: AtomicU32,
    /// See [`keep`](Self::keep).
    kept: AtomicU32,
}

// SAFETY: `meta` and the arena's bytes are reached through tokens only (M2), and a token is owned by one thread (M1).
unsafe impl Sync for Mempool {}
// SAFETY: as above; nothing in the pool is tied to a thread.
unsafe impl Send for Mempool {}

impl Mempool {
    /// A pool over `arena`, all chunks free.
    ///
    /// # Panics
    /// When a process has made 65535 pools: ids must stay unique for M3.
    #[must_use]
    pub fn new(arena: Arena) -> Arc<Self> {
        static NEXT_ID: AtomicU16 = AtomicU16::new(1);
        // Relaxed: the id needs uniqueness only.
        let id = NonZeroU16::new(NEXT_ID.fetch_add(1, Ordering::Relaxed));
        let id = id.expect("a process cannot make more than 65535 pools");
        let blank = Meta { next: NO_CHUNK, off: 0, len: 0, offload: Offload::NONE };
        let chunks = arena.chunks();
        let pool = Self {
            id,
            meta: (0..chunks).map(|_| UnsafeCell::new(blank)).collect(),
            owners: (0..chunks).map(|_| AtomicU32::new(NO_OWNER)).collect(),
            batches: ArrayQueue::new(chunks as usize / BATCH + 1),
            spare: Mutex::new(Vec::new()),
            cached: Mutex::new(Vec::new()),
            next_owner: AtomicU32::new(NO_OWNER + 1),
            kept: AtomicU32::new(0),
            arena,
        };
        // Highest first, so that the LIFO hands out low addresses first.
        pool.give_back((0..chunks).rev());
        Arc::new(pool)
    }

    /// The memory behind the pool.
    #[must_use]
    pub fn arena(&self) -> &Arena {
        &self.arena
    }

    /// Number of chunks.
    #[must_use]
    pub fn total(&self) -> u32 {
        self.arena.chunks()
    }

    /// Chunks that are free: exact while no frame moves, otherwise as of each cache's last
    /// [`publish`](MempoolCache::publish).
    #[must_use]
    pub fn free(&self) -> u32 {
        // Relaxed: a statistic.
        let cached: u32 = lock(&self.cached).iter().map(|c| c.load(Ordering::Relaxed)).sum();
        let shared = self.batches.len() * BATCH + lock(&self.spare).len();
        cached + u32::try_from(shared).unwrap_or(u32::MAX)
    }

    /// Keeps the last `chunks` of the shared list for receiving, but no more than a quarter of the pool.
    pub fn keep(&self, chunks: usize) {
        let kept = u32::try_from(chunks).unwrap_or(u32::MAX).min(self.total() / 4);
        // Relaxed: a bound, not an order.
        self.kept.store(kept, Ordering::Relaxed);
    }

    /// Whether the shared list has more than is kept for receiving.
    #[cold]
    fn can_spare(&self) -> bool {
        // Relaxed: as in `keep`.
        self.batches.len() * BATCH > self.kept.load(Ordering::Relaxed) as usize
    }

    /// A new identity that can hold chunks for the kernel or a guest.
    ///
    /// # Panics
    /// After 2^32 - 1 owners: their tags must stay unique for M1.
    #[must_use]
    pub fn new_owner(self: &Arc<Self>) -> Owner {
        // Relaxed: the tag needs uniqueness only.
        let tag = self.next_owner.fetch_add(1, Ordering::Relaxed);
        assert_ne!(tag, NO_OWNER, "owner tags are used up");
        Owner::new(tag, Arc::clone(self))
    }

    /// Bytes of the first segment.
    #[must_use]
    pub fn data<'a>(&'a self, mbuf: &'a Mbuf) -> &'a [u8] {
        self.check(mbuf);
        let SegmentLayout { off, seg_len, .. } = mbuf.place();
        // SAFETY: M2 (`&Mbuf` is a shared borrow of the only token), M4.
        unsafe { std::slice::from_raw_parts(self.arena.at(mbuf.chunk(), off.into()), seg_len.into()) }
    }

    /// Bytes of the first segment, writable.
    #[must_use]
    #[allow(clippy::mut_from_ref, reason = "exclusive by the token, not by the pool (M2)")]
    pub fn data_mut<'a>(&'a self, mbuf: &'a mut Mbuf) -> &'a mut [u8] {
        self.check(mbuf);
        let SegmentLayout { off, seg_len, .. } = mbuf.place();
        // SAFETY: M2 (`&mut Mbuf` is an exclusive borrow of the only token), M4.
        unsafe { std::slice::from_raw_parts_mut(self.arena.at(mbuf.chunk(), off.into()), seg_len.into()) }
    }

    /// All segments, first to last.
    pub fn segments<'a>(&'a self, mbuf: &'a Mbuf) -> impl Iterator<Item = &'a [u8]> {
        self.spans(mbuf).map(|span| {
            // SAFETY: M2 (`&Mbuf` is borrowed for 'a), M4.
            unsafe { std::slice::from_raw_parts(self.arena.at(span.chunk, span.off.into()), span.len.into()) }
        })
    }

    /// All segments, writable. Chunks of a chain are distinct (M1), so the slices do not overlap.
    pub fn segments_mut<'a>(&'a self, mbuf: &'a mut Mbuf) -> impl Iterator<Item = &'a mut [u8]> {
        self.spans(mbuf).map(|span| {
            // SAFETY: M2 (`&mut Mbuf` is borrowed for 'a), M4, and no chunk twice in a chain (M1).
            unsafe { std::slice::from_raw_parts_mut(self.arena.at(span.chunk, span.off.into()), span.len.into()) }
        })
    }

    /// The frame from byte `at` on, copied over segment borders into `out`; how many bytes there were.
    pub fn read_at(&self, mbuf: &Mbuf, mut at: usize, mut out: &mut [u8]) -> usize {
        let wanted = out.len();
        for segment in self.segments(mbuf) {
            let Some(rest) = segment.get(at..) else {
                at -= segment.len();
                continue;
            };
            let n = rest.len().min(out.len());
            out[..n].copy_from_slice(&rest[..n]);
            out = &mut out[n..];
            at = 0;
        }
        wanted - out.len()
    }

    /// The offloads pending on this frame.
    #[must_use]
    pub fn offload(&self, mbuf: &Mbuf) -> Offload {
        self.check(mbuf);
        if mbuf.is_offloaded() { self.meta(mbuf.chunk()).offload } else { Offload::NONE }
    }

    /// Whether the frame is segmented on egress, and so may be longer than the MTU.
    #[must_use]
    pub fn is_gso(&self, mbuf: &Mbuf) -> bool {
        mbuf.is_offloaded() && self.offload(mbuf).gso != Gso::None
    }

    /// Starts to fetch the frame's header into the cache.
    #[inline]
    pub fn prefetch(&self, mbuf: &Mbuf) {
        self.prefetch_at(u64::from(mbuf.chunk()) * CHUNK_SIZE as u64 + u64::from(mbuf.place().off));
    }

    /// Starts to fetch the cache line at `addr`, in bytes from the base of the arena.
    #[inline]
    pub fn prefetch_at(&self, addr: u64) {
        let offset = usize::try_from(addr).unwrap_or(0);
        let at = self.arena.base().as_ptr().wrapping_add(offset);
        #[cfg(target_arch = "x86_64")]
        // SAFETY: a hint; it faults on no address.
        unsafe {
            core::arch::x86_64::_mm_prefetch::<{ core::arch::x86_64::_MM_HINT_T0 }>(at.cast());
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = at;
    }

    /// Records the pending offloads.
    pub fn set_offload(&self, mbuf: &mut Mbuf, offload: Offload) {
        self.check(mbuf);
        let offloaded = offload != Offload::NONE;
        mbuf.set(mbuf.len32(), SegmentLayout { offloaded, ..mbuf.place() });
        if offloaded {
            // SAFETY: M2: `&mut Mbuf`.
            unsafe { (*self.meta[mbuf.chunk() as usize].get()).offload = offload };
        }
    }

    /// Grows the frame by `n` bytes in front and returns all of its first segment; `None` if the headroom is too
    /// small. The new bytes are what was there before.
    pub fn prepend<'a>(&'a self, mbuf: &'a mut Mbuf, n: u16) -> Option<&'a mut [u8]> {
        let place = mbuf.place();
        let off = place.off.checked_sub(n)?;
        mbuf.set(mbuf.len32() + u32::from(n), SegmentLayout { off, seg_len: place.seg_len + n, ..place });
        Some(self.data_mut(mbuf))
    }

    /// The `n` bytes below the frame's first byte, for metadata that travels with a descriptor (AF_XDP);
    /// `None` if the headroom is smaller.
    #[must_use]
    #[allow(clippy::mut_from_ref, reason = "exclusive by the token, not by the pool (M2)")]
    pub fn below<'a>(&'a self, mbuf: &'a mut Mbuf, n: u16) -> Option<&'a mut [u8]> {
        self.check(mbuf);
        let off = mbuf.place().off.checked_sub(n)?;
        // SAFETY: M2, and off..off + n lies below the data inside the same chunk.
        Some(unsafe { std::slice::from_raw_parts_mut(self.arena.at(mbuf.chunk(), off.into()), n.into()) })
    }

    /// Cuts `n` bytes off the front of the first segment; false (and nothing done) if it is shorter.
    pub fn trim_front(&self, mbuf: &mut Mbuf, n: u16) -> bool {
        self.check(mbuf);
        let place = mbuf.place();
        let Some(seg_len) = place.seg_len.checked_sub(n) else { return false };
        mbuf.set(mbuf.len32() - u32::from(n), SegmentLayout { off: place.off + n, seg_len, ..place });
        true
    }

    /// Sets the length of a frame of one segment; false if it does not fit behind its first byte.
    pub fn set_len(&self, mbuf: &mut Mbuf, len: usize) -> bool {
        self.check(mbuf);
        let place = mbuf.place();
        let room = CHUNK_SIZE - usize::from(place.off);
        let fits = place.segs == 1 && len <= room;
        let Some(seg_len) = u16::try_from(len).ok().filter(|_| fits) else { return false };
        mbuf.set(seg_len.into(), SegmentLayout { seg_len, ..place });
        true
    }

    /// From the first byte of a frame of one chunk to the end of the chunk, whatever its length: to be filled from
    /// outside, then [`set_len`](Self::set_len). Of a chain, this is its first chunk.
    #[must_use]
    #[allow(clippy::mut_from_ref, reason = "exclusive by the token, not by the pool (M2)")]
    pub fn room_mut<'a>(&'a self, mbuf: &'a mut Mbuf) -> &'a mut [u8] {
        self.check(mbuf);
        let off = usize::from(mbuf.place().off);
        // SAFETY: M2 (`&mut Mbuf` is an exclusive borrow of the only token); the slice ends with the chunk.
        unsafe { std::slice::from_raw_parts_mut(self.arena.at(mbuf.chunk(), off), CHUNK_SIZE - off) }
    }

    /// Whether every chunk behind the first has `n` bytes of room below its data.
    #[must_use]
    pub fn tails_have_room(&self, mbuf: &Mbuf, n: usize) -> bool {
        mbuf.segments() == 1 || self.spans(mbuf).skip(1).all(|span| usize::from(span.off) >= n)
    }

    /// Puts `tail`, a frame of its own, behind the last segment of `mbuf`. Gives it back if the chain would be
    /// longer than [`MAX_SEGMENTS`].
    ///
    /// # Errors
    /// `tail`, unchanged.
    pub fn append(&self, mbuf: &mut Mbuf, tail: Mbuf) -> Result<(), Mbuf> {
        self.check(mbuf);
        self.check(&tail);
        if mbuf.segments() + tail.segments() > MAX_SEGMENTS {
            return Err(tail);
        }
        let last = self.spans(mbuf).last().map_or(mbuf.chunk(), |span| span.chunk);
        // SAFETY: M2: both tokens are ours, and their chunks are distinct (M1).
        unsafe {
            (*self.meta[last as usize].get()).next = tail.chunk();
            let meta = &mut *self.meta[tail.chunk() as usize].get();
            (meta.off, meta.len) = (tail.place().off, tail.place().seg_len);
        }
        let place = mbuf.place();
        mbuf.set(mbuf.len32() + tail.len32(), SegmentLayout { segs: place.segs + tail.place().segs, ..place });
        std::mem::forget(tail);
        Ok(())
    }

    /// Frees every chunk that `owner` still holds: for a queue whose kernel side is closed. Returns how many.
    pub fn sweep(&self, owner: Owner) -> u32 {
        let tag = owner.tag;
        let held = |c: &u32| self.owners[*c as usize].load(Ordering::Relaxed) == tag;
        // Relaxed: only the owner's holder, which is us, writes this tag.
        let chunks: Vec<u32> = (0..self.total()).filter(held).collect();
        for &chunk in &chunks {
            self.owners[chunk as usize].store(NO_OWNER, Ordering::Relaxed);
        }
        let n = u32::try_from(chunks.len()).unwrap_or(u32::MAX);
        self.give_back(chunks.into_iter());
        n
    }

    /// Puts free chunks on the shared list; cold path.
    fn give_back(&self, chunks: impl Iterator<Item = u32>) {
        let mut spare = lock(&self.spare);
        spare.extend(chunks);
        while let Some(batch) = spare.last_chunk::<BATCH>() {
            // The queue has room for every chunk of the arena, so the push cannot fail.
            if self.batches.push(*batch).is_err() {
                break;
            }
            let rest = spare.len() - BATCH;
            spare.truncate(rest);
        }
    }

    /// A frame of one chunk, empty, behind the headroom. `chunk` was just taken off a free list.
    #[inline(always)]
    fn token(&self, chunk: u32) -> Mbuf {
        #[allow(clippy::cast_possible_truncation, reason = "256 fits")]
        let off = HEADROOM as u16;
        Mbuf::new(chunk, 0, SegmentLayout { off, seg_len: 0, pool: self.id, segs: 1, offloaded: false })
    }

    fn meta(&self, chunk: u32) -> Meta {
        // SAFETY: M2: called with a chunk of a token that the caller borrows.
        unsafe { *self.meta[chunk as usize].get() }
    }

    #[inline(always)]
    fn check(&self, mbuf: &Mbuf) {
        assert_eq!(mbuf.pool(), self.id, "mbuf of another pool");
    }

    /// The chunks of a frame with the range of data in each.
    fn spans(&self, mbuf: &Mbuf) -> Spans<'_> {
        self.check(mbuf);
        let SegmentLayout { off, seg_len, segs, .. } = mbuf.place();
        Spans { pool: self, next: Some(Span { chunk: mbuf.chunk(), off, len: seg_len }), left: segs }
    }
}

impl fmt::Debug for Mempool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mempool({} of {} chunks free)", self.free(), self.total())
    }
}

/// Data in one chunk.
#[derive(Clone, Copy)]
struct Span {
    chunk: u32,
    off: u16,
    len: u16,
}

struct Spans<'a> {
    pool: &'a Mempool,
    next: Option<Span>,
    left: u8,
}

impl Iterator for Spans<'_> {
    type Item = Span;

    fn next(&mut self) -> Option<Span> {
        let span = self.next.take()?;
        self.left -= 1;
        if self.left > 0 {
            let next = self.pool.meta(span.chunk).next;
            let meta = self.pool.meta(next);
            self.next = Some(Span { chunk: next, off: meta.off, len: meta.len });
        }
        Some(span)
    }
}

/// A poisoned lock guards plain numbers that are valid at every step.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
