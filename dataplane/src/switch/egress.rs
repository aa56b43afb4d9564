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
    /// # Panics
    /// When more than a burst was pushed without emptying the lanes: a bug of the caller.
    pub fn push(&mut self, port: PortId, mbuf: Mbuf) {
        let lane = &mut self.lanes[port.index()];
        if lane.is_empty() {
            self.dirty.push(port);
        }
        lane.push(mbuf);
    }

    /// The next lane with frames in it, with its port; the caller empties it. Later pushes make it dirty again.
    pub fn next_dirty(&mut self) -> Option<(PortId, &mut Burst)> {
        let port = self.dirty.pop()?;
        Some((port, &mut self.lanes[port.index()]))
    }
}
