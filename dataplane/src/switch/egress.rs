//! Egress lanes: frames of a burst sorted by the port they leave on, so that each port gets one `tx_burst`.
//!
//! A lane holds one burst. That is enough for ever: the worker empties all lanes after each received burst, and a
//! frame adds at most one frame to each lane: flooding, macvlan and mirrors name no port twice, and a mirror's port gets
//! nothing else.

use crate::mem::{Burst, Mbuf};
use crate::port::{MAX_PORTS, PortId};

/// One worker's lanes, one per port, and which of them hold frames.
#[derive(Debug)]
pub struct Egress {
    lanes: Box<[Burst]>,
    dirty: Vec<PortId>,
}

impl Egress {
    pub(super) fn new() -> Self {
        Self { lanes: (0..MAX_PORTS).map(|_| Burst::new()).collect(), dirty: Vec::with_capacity(MAX_PORTS) }
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
        let port = self.dirty.pop()?;
        Some((port, &mut self.lanes[port.index()]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mem::{Arena, ArenaConfig, BURST_SIZE, Hugepages, Mempool, MempoolCache};

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
