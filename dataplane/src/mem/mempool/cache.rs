//! The per-worker cache: allocates and frees frames, mostly without access to the shared list.

#![allow(unsafe_code)]

use super::{BATCH, CACHE_SIZE, MAX_RESERVE, MAX_SEGMENTS, Mempool, NO_OWNER, lock};
use crate::mem::mbuf::{Mbuf, NO_CHUNK, SegmentLayout};
use crate::mem::{FIRST_SEGMENT, NEXT_SEGMENT, TAILROOM};
use crossbeam::utils::CachePadded;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// One worker's stock of free chunks. Everything a worker does with frames goes through its cache.
pub struct MempoolCache {
    pool: Arc<Mempool>,
    chunks: Box<[u32; CACHE_SIZE]>,
    count: usize,
    published: Arc<CachePadded<AtomicU32>>,
}

impl MempoolCache {
    /// An empty cache over `pool`.
    #[must_use]
    pub fn new(pool: &Arc<Mempool>) -> Self {
        let published = Arc::new(CachePadded::new(AtomicU32::new(0)));
        lock(&pool.cached).push(Arc::clone(&published));
        Self { pool: Arc::clone(pool), chunks: Box::new([0; CACHE_SIZE]), count: 0, published }
    }

    /// The pool behind the cache.
    #[must_use]
    pub fn pool(&self) -> &Arc<Mempool> {
        &self.pool
    }

    /// An empty frame of one chunk, or `None` when the pool is exhausted.
    #[must_use]
    #[inline]
    pub fn alloc(&mut self) -> Option<Mbuf> {
        if self.count == 0 && !self.refill() {
            return None;
        }
        self.count -= 1;
        Some(self.pool.token(self.chunks[self.count]))
    }

    /// A frame of `len` bytes, uninitialised in content, in as few chunks as it takes; `None` when the pool is
    /// exhausted or the frame would need more than [`MAX_SEGMENTS`].
    #[must_use]
    pub fn alloc_len(&mut self, len: usize) -> Option<Mbuf> {
        let mut mbuf = self.alloc()?;
        let first = len.min(FIRST_SEGMENT);
        self.pool.set_len(&mut mbuf, first);
        let mut left = len - first;
        let mut last = mbuf.chunk();
        while left > 0 {
            let n = left.min(NEXT_SEGMENT);
            if mbuf.segments() == MAX_SEGMENTS || !self.extend(&mut mbuf, &mut last, n) {
                self.free(mbuf);
                return None;
            }
            left -= n;
        }
        Some(mbuf)
    }

    /// Adds a chunk with `n` bytes behind `last`, the last chunk of `mbuf`.
    fn extend(&mut self, mbuf: &mut Mbuf, last: &mut u32, n: usize) -> bool {
        #[allow(clippy::cast_possible_truncation, reason = "64")]
        const OFFSET: u16 = TAILROOM as u16;
        let Some(tail) = self.alloc() else { return false };
        let len = u16::try_from(n).unwrap_or(0);
        // SAFETY: M2: both tokens are ours; `last` is a chunk of `mbuf`.
        unsafe {
            (*self.pool.meta[*last as usize].get()).next = tail.chunk();
            let meta = &mut *self.pool.meta[tail.chunk() as usize].get();
            (meta.off, meta.len) = (OFFSET, len);
        }
        *last = tail.chunk();
        let place = mbuf.place();
        mbuf.set(mbuf.len32() + u32::from(len), SegmentLayout { segs: place.segs + 1, ..place });
        std::mem::forget(tail);
        true
    }

    /// A frame that holds `bytes`.
    #[must_use]
    pub fn alloc_from(&mut self, bytes: &[u8]) -> Option<Mbuf> {
        let mut mbuf = self.alloc_len(bytes.len())?;
        let mut rest = bytes;
        for segment in self.pool.segments_mut(&mut mbuf) {
            let (now, later) = rest.split_at(segment.len());
            segment.copy_from_slice(now);
            rest = later;
        }
        Some(mbuf)
    }

    /// Whether `n` chunks can be had without those that the pool keeps for receiving ([`Mempool::keep`]): asked before work
    /// that is not received but made here, such as the copies of flooding.
    #[must_use]
    #[inline]
    pub fn can_spare(&self, n: usize) -> bool {
        self.count >= n || self.pool.can_spare()
    }

    /// A copy of a frame with its offload state; `None` when the pool is exhausted.
    #[must_use]
    pub fn copy(&mut self, mbuf: &Mbuf) -> Option<Mbuf> {
        let mut copy = self.alloc_len(mbuf.len())?;
        if mbuf.segments() == 1 && copy.segments() == 1 {
            self.pool.data_mut(&mut copy).copy_from_slice(self.pool.data(mbuf));
        } else {
            self.copy_chain(mbuf, &mut copy);
        }
        let offload = self.pool.offload(mbuf);
        self.pool.set_offload(&mut copy, offload);
        Some(copy)
    }

    /// Copies the bytes of a frame into another of the same length that is cut otherwise.
    #[cold]
    fn copy_chain(&self, mbuf: &Mbuf, copy: &mut Mbuf) {
        let mut from = self.pool.segments(mbuf);
        let mut source: &[u8] = &[];
        for mut target in self.pool.segments_mut(copy) {
            while !target.is_empty() {
                if source.is_empty() {
                    source = from.next().unwrap_or_default();
                }
                let n = source.len().min(target.len());
                target[..n].copy_from_slice(&source[..n]);
                target = &mut target[n..];
                source = &source[n..];
            }
        }
    }

    /// Takes a frame back, all its chunks.
    #[inline]
    pub fn free(&mut self, mbuf: Mbuf) {
        self.pool.check(&mbuf);
        if mbuf.segments() > 1 {
            return self.free_chain(mbuf);
        }
        self.put(mbuf.chunk());
        std::mem::forget(mbuf);
    }

    #[cold]
    fn free_chain(&mut self, mbuf: Mbuf) {
        let mut chunk = mbuf.chunk();
        for left in (0..mbuf.segments()).rev() {
            // The link is read before the chunk goes back: afterwards it is another worker's (M2).
            let next = if left > 0 { self.pool.meta(chunk).next } else { NO_CHUNK };
            self.put(chunk);
            chunk = next;
        }
        std::mem::forget(mbuf);
    }

    /// Takes back all frames of a burst.
    pub fn free_burst<const N: usize>(&mut self, burst: &mut arrayvec::ArrayVec<Mbuf, N>) {
        for mbuf in burst.drain(..) {
            self.free(mbuf);
        }
    }

    /// Tells [`Mempool::free`] how many chunks lie here. Once per turn, not per frame.
    pub fn publish(&self) {
        // Relaxed: a statistic.
        self.published.store(u32::try_from(self.count).unwrap_or(0), Ordering::Relaxed);
    }

    #[inline]
    fn put(&mut self, chunk: u32) {
        debug_assert_eq!(self.pool.owners[chunk as usize].load(Ordering::Relaxed), NO_OWNER, "freed while lent");
        if self.count == CACHE_SIZE {
            self.spill();
        }
        self.chunks[self.count] = chunk;
        self.count += 1;
    }

    /// Fills the cache so that the next `n` allocations cannot fail: for work that is done completely or not at all.
    /// False if the pool cannot deliver them, or `n` is more than [`MAX_RESERVE`].
    #[must_use]
    pub fn reserve(&mut self, n: usize) -> bool {
        while self.count < n.min(MAX_RESERVE) && (self.draw_batch() || self.draw_spare()) {}
        self.count >= n
    }

    /// Moves batches from the shared list here; the odd rest of it when there is no full batch left.
    #[cold]
    fn refill(&mut self) -> bool {
        while self.count + BATCH <= CACHE_SIZE / 2 && self.draw_batch() {}
        // Nearly exhausted: the lock is not contended by workers that still have frames.
        self.count > 0 || self.draw_spare()
    }

    /// Moves one batch from the shared list here; there must be room for it.
    fn draw_batch(&mut self) -> bool {
        let Some(batch) = self.pool.batches.pop() else { return false };
        self.chunks[self.count..self.count + BATCH].copy_from_slice(&batch);
        self.count += BATCH;
        true
    }

    /// Moves up to a batch of the odd rest here; there must be room for it.
    fn draw_spare(&mut self) -> bool {
        let mut spare = lock(&self.pool.spare);
        let n = spare.len().min(BATCH);
        let rest = spare.len() - n;
        self.chunks[self.count..self.count + n].copy_from_slice(&spare[rest..]);
        spare.truncate(rest);
        self.count += n;
        n > 0
    }

    /// Moves the cold half to the shared list.
    #[cold]
    fn spill(&mut self) {
        let half = CACHE_SIZE / 2;
        for batch in self.chunks[..half].as_chunks::<BATCH>().0 {
            if self.pool.batches.push(*batch).is_err() {
                self.pool.give_back(batch.iter().copied());
            }
        }
        self.chunks.copy_within(half.., 0);
        self.count -= half;
    }
}

impl Drop for MempoolCache {
    fn drop(&mut self) {
        self.pool.give_back(self.chunks[..self.count].iter().copied());
        lock(&self.pool.cached).retain(|c| !Arc::ptr_eq(c, &self.published));
    }
}

impl fmt::Debug for MempoolCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MempoolCache({} chunks)", self.count)
    }
}
