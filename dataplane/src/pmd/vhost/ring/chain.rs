//! The buffers of the chains at hand, and what a guest may make us look at for them.
//!
//! Every descriptor costs time, also one of no bytes, and a guest may offer as many as its rings hold, again and again. So
//! a chain has at most [`MAX_CHAIN`] descriptors, and a burst a [`Budget`].

use super::{Desc, Mark, RingFault, WRITE};

/// Most descriptors of one chain, and of all chains that one frame is spread over. As in QEMU (VIRTQUEUE_MAX_SIZE) and in
/// the kernel's vhost (UIO_MAXIOV); Linux' driver uses 19 at most.
pub const MAX_CHAIN: u32 = 1024;
/// Descriptors that one burst may look at. 32 frames of 64 KiB for a guest that takes no segments, two descriptors to each
/// of their 45, are 2,880.
const PER_BURST: u32 = 4096;
/// Bytes copied out of a guest that cost as much as a descriptor: 512 KiB are a whole budget (VHOST_NET_WEIGHT of the
/// kernel, drivers/vhost/net.c).
const BYTES: u32 = 128;

/// What a burst costs at most: the last frame it begins may take chains of up to twice [`MAX_CHAIN`].
pub const MAX_COST: u32 = PER_BURST + 2 * MAX_CHAIN;

/// A piece of a buffer.
#[derive(Debug, Clone, Copy)]
pub(in crate::pmd::vhost) struct Seg {
    pub(in crate::pmd::vhost) addr: u64,
    pub(in crate::pmd::vhost) len: u32,
}

/// What the bursts of one ring may cost, in descriptors. A chain that was begun is finished: what that overdraws is paid by
/// the next bursts (deficit round robin).
#[derive(Debug)]
pub(in crate::pmd::vhost) struct Budget {
    left: i64,
    quantum: i64,
    /// What was left when the burst began.
    begun: i64,
}

impl Budget {
    /// One burst of each of `rings` rings, a turn, costs no more than one of a single ring.
    pub(in crate::pmd::vhost) fn shared_by(rings: u16) -> Self {
        Self { left: 0, quantum: i64::from(PER_BURST / u32::from(rings.max(1))), begun: 0 }
    }

    /// A burst begins.
    #[inline]
    pub(in crate::pmd::vhost) fn begin(&mut self) {
        self.left = self.quantum.min(self.left + self.quantum);
        self.begun = self.left;
    }

    /// What this burst has cost so far.
    pub(in crate::pmd::vhost) fn cost(&self) -> u32 {
        u32::try_from(self.begun - self.left).unwrap_or(u32::MAX)
    }

    /// Whether the burst has to end.
    #[inline]
    pub(in crate::pmd::vhost) fn is_spent(&self) -> bool {
        self.left <= 0
    }

    /// `bytes` were copied out of the guest; at most a frame.
    #[inline]
    pub(in crate::pmd::vhost) fn spend_bytes(&mut self, bytes: usize) {
        self.left -= i64::try_from(bytes).unwrap_or(i64::MAX) / i64::from(BYTES);
    }
}

/// The buffers of the chains at hand, in order. Kept between frames, so that nothing is allocated.
#[derive(Debug)]
pub(in crate::pmd::vhost) struct Chain {
    segs: Vec<Seg>,
    /// Descriptors since it was cleared, and how many there may be at the end of the chain being read.
    count: u32,
    most: u32,
    pub(in crate::pmd::vhost) budget: Budget,
    /// From this place in the ring on, all buffers that one frame may take hold this many bytes.
    room: Option<(Mark, u64)>,
}

impl Chain {
    pub(in crate::pmd::vhost) fn new() -> Self {
        // One frame's chains end below MAX_CHAIN, but for the last, which was begun below it.
        let segs = Vec::with_capacity(2 * MAX_CHAIN as usize);
        Self { segs, count: 0, most: 0, budget: Budget::shared_by(1), room: None }
    }

    #[inline]
    pub(in crate::pmd::vhost) fn clear(&mut self) {
        self.segs.clear();
        self.count = 0;
    }

    #[inline]
    pub(in crate::pmd::vhost) fn segs(&self) -> &[Seg] {
        &self.segs
    }

    /// Whether one more chain would be too much for a frame.
    pub(in crate::pmd::vhost) fn is_long(&self) -> bool {
        self.count >= MAX_CHAIN
    }

    /// Another chain begins.
    #[inline]
    pub(super) fn begin(&mut self) {
        self.most = self.count + MAX_CHAIN;
    }

    /// Adds a buffer; one of no bytes is valid and nothing.
    #[inline]
    pub(super) fn push(&mut self, desc: &Desc, to_write: bool) -> Result<u64, RingFault> {
        if (desc.flags & WRITE != 0) != to_write {
            return Err(RingFault::Direction);
        }
        if self.count == self.most {
            return Err(RingFault::Long);
        }
        self.count += 1;
        self.budget.left -= 1;
        if desc.len > 0 {
            self.segs.push(Seg { addr: desc.addr, len: desc.len });
        }
        Ok(desc.len.into())
    }

    /// From `mark` on there is room for `bytes` in one frame, and no more.
    pub(in crate::pmd::vhost) fn remember(&mut self, mark: Mark, bytes: u64) {
        self.room = Some((mark, bytes));
    }

    /// Whether it is known that a frame of `bytes` has no room from `mark` on: what was walked in vain for one is not walked
    /// again for the next. To be asked for each frame, so that the ring cannot come round to a mark unseen.
    #[inline]
    pub(in crate::pmd::vhost) fn is_too_small(&mut self, mark: Mark, bytes: u64) -> bool {
        let Some((at, room)) = self.room else { return false };
        if at != mark {
            self.room = None;
        }
        at == mark && room < bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_burst_overdraws_the_next_ones_pay() {
        let mut budget = Budget::shared_by(16);
        budget.begin();
        assert!(!budget.is_spent());
        budget.left -= 256 + 300;
        budget.begin();
        assert!(budget.is_spent(), "44 are still owed");
        budget.begin();
        assert_eq!(budget.left, 212);
        budget.begin();
        assert_eq!(budget.left, 256, "nothing is saved up");
    }
}
