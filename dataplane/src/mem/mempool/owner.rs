//! Chunks lent to the kernel or a guest: a tag per chunk names the borrower.

use super::{Mbuf, Mempool, NO_OWNER, SegmentLayout};
use crate::mem::CHUNK_SIZE;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Holds chunks on behalf of the kernel behind an AF_XDP queue, or of a guest.
///
/// There is one `Owner` value per tag, so lending and taking back cannot race. Chunks that are still lent when the
/// other side is gone return to the pool by [`Mempool::sweep`].
#[derive(Debug)]
pub struct Owner {
    pub(super) tag: u32,
    pool: Arc<Mempool>,
}

impl Owner {
    pub(super) fn new(tag: u32, pool: Arc<Mempool>) -> Self {
        Self { tag, pool }
    }

    /// The pool whose chunks this owner holds.
    #[must_use]
    pub fn pool(&self) -> &Arc<Mempool> {
        &self.pool
    }

    /// Gives the first chunk of a frame away: where its data is in the arena, in bytes from the base, and how much.
    /// The rest of the chain, if any, stays with the caller.
    pub fn lend(&mut self, mbuf: Mbuf) -> (Lent, Option<Mbuf>) {
        self.pool.check(&mbuf);
        let SegmentLayout { off, seg_len, .. } = mbuf.place();
        let lent = Lent { addr: u64::from(mbuf.chunk()) * CHUNK_SIZE as u64 + u64::from(off), len: seg_len.into() };
        let rest = self.split_rest(&mbuf);
        // Relaxed: read back by this owner only (`reclaim`, `sweep`), which is one value.
        self.pool.owners[mbuf.chunk() as usize].store(self.tag, Ordering::Relaxed);
        std::mem::forget(mbuf);
        (lent, rest)
    }

    /// The frame at `addr` back from outside, `len` bytes long. `None` if `addr` is not in a chunk lent to this
    /// owner or the data would not end in it: an invalid descriptor.
    #[must_use]
    pub fn reclaim(&mut self, addr: u64, len: u32) -> Option<Mbuf> {
        let chunk = u32::try_from(addr / CHUNK_SIZE as u64).ok()?;
        let off = u16::try_from(addr % CHUNK_SIZE as u64).ok()?;
        let seg_len = u16::try_from(len).ok().filter(|l| usize::from(off) + usize::from(*l) <= CHUNK_SIZE)?;
        let tag = self.pool.owners.get(chunk as usize)?;
        // Relaxed: only this owner writes its own tag.
        if tag.load(Ordering::Relaxed) != self.tag {
            return None;
        }
        tag.store(NO_OWNER, Ordering::Relaxed);
        Some(Mbuf::new(chunk, len, SegmentLayout { off, seg_len, pool: self.pool.id, segs: 1, offloaded: false }))
    }

    /// Cuts the first segment off a chain: what follows it, as a frame of its own.
    fn split_rest(&self, mbuf: &Mbuf) -> Option<Mbuf> {
        let span = self.pool.spans(mbuf).nth(1)?;
        let SegmentLayout { seg_len, pool, segs, .. } = mbuf.place();
        let rest = SegmentLayout { off: span.off, seg_len: span.len, pool, segs: segs - 1, offloaded: false };
        Some(Mbuf::new(span.chunk, mbuf.len32() - u32::from(seg_len), rest))
    }
}

/// A chunk's data as a descriptor names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lent {
    /// Bytes from the base of the arena.
    pub addr: u64,
    /// Bytes of data.
    pub len: u32,
}
