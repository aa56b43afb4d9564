//! Egress lanes: frames of a burst sorted by the port they leave on, so that each port gets one `tx_burst`.
//!
//! A lane holds one burst. That is enough for ever: the worker empties all lanes after each received burst, and a
//! frame adds at most one frame to each lane: flooding, macvlan and mirrors name no port twice, and a mirror's port gets
//! nothing else.
//!
//! All lanes together hold [`MAX_COPIED`] chunks of copies. A burst of 32 broadcasts to 1000 ports would otherwise take
//! 32 000 frames before the first is sent, and one of 64 KiB frames 34 times as many: with more the lanes are emptied in
//! the middle of the burst.

use crate::mem::{Burst, Mbuf, MempoolCache};
use crate::port::{MAX_PORTS, PortId};

/// Chunks of copies in the lanes at which they are emptied before another copy is made.
pub const MAX_COPIED: usize = 512;

/// Empties the lanes in the middle of a burst: the worker's sending, lent to the switch.
pub type Spill<'a> = &'a mut dyn FnMut(&mut Egress, &mut MempoolCache);

/// One worker's lanes, one per port, and which of them hold frames.
#[derive(Debug)]
pub struct Egress {
    lanes: Box<[Burst]>,
    dirty: Vec<PortId>,
    /// Chunks of copies made since the lanes were last empty.
    copied: usize,
}

impl Egress {
    pub(super) fn new() -> Self {
        Self { lanes: (0..MAX_PORTS).map(|_| Burst::new()).collect(), dirty: Vec::with_capacity(MAX_PORTS), copied: 0 }
    }

    /// Whether the lanes hold as many copies as they may.
    #[inline]
    pub(super) fn is_full_of_copies(&self) -> bool {
        self.copied >= MAX_COPIED
    }

    /// A copy of so many chunks is on its way to a lane.
    #[inline]
    pub(super) fn count_copy(&mut self, chunks: usize) {
        self.copied += chunks;
    }

    /// Adds a frame to the lane of `port`.
    ///
    /// # Errors
    /// The frame, when the lane holds a burst already: more was pushed than the module allows for.
    #[inline]
    pub fn push(&mut self, port: PortId, mbuf: Mbuf) -> Result<(), Mbuf> {
        let lane = &mut self.lanes[port.index()];
        if lane.is_empty() {
            self.dirty.push(port);
        }
        lane.try_push(mbuf).map_err(|full| full.element())
    }

    /// The next lane with frames in it, with its port; the caller empties it. Later pushes make it dirty again.
    pub fn next_dirty(&mut self) -> Option<(PortId, &mut Burst)> {
        let Some(port) = self.dirty.pop() else {
            self.copied = 0;
            return None;
        };
        Some((port, &mut self.lanes[port.index()]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mem::{Arena, ArenaConfig, BURST_SIZE, Hugepages, Mempool};

    #[test]
    fn a_frame_too_many_is_given_back() {
        let pool = Mempool::new(Arena::new(&ArenaConfig { frames: 256, hugepages: Hugepages::Off }).unwrap());
        let (mut mem, mut egress) = (MempoolCache::new(&pool), Egress::new());
        let mut push = |mem: &mut MempoolCache| egress.push(PortId(3), mem.alloc_from(&[0; 60]).unwrap());
        assert!((0..BURST_SIZE).all(|_| push(&mut mem).is_ok()));
        let refused = push(&mut mem).unwrap_err();
        mem.free(refused);
        let (port, lane) = egress.next_dirty().unwrap();
        assert_eq!((port, lane.len()), (PortId(3), BURST_SIZE));
        mem.free_burst(lane);
        assert!(egress.next_dirty().is_none());
        drop(mem);
        assert_eq!(pool.free(), pool.total());
    }
}
