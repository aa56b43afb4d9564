//! The mesh between workers: one SPSC ring per ordered pair, carrying frames to the worker that owns their egress
//! port. A full ring never stalls the sender: what does not fit is freed and counted at the egress port.

use crate::mem::{BURST_SIZE, Burst, Mbuf, MempoolCache};
use crate::port::PortId;
use crate::ring::{Consumer, Producer, ring};
use crate::wake::Wakeup;
use arrayvec::ArrayVec;
use std::sync::Arc;

/// Frames a ring between two workers holds.
const RING_SIZE: u32 = 2048;

/// A frame on its way to the port it leaves on.
#[derive(Debug)]
pub(crate) struct Routed {
    pub(crate) port: PortId,
    pub(crate) mbuf: Mbuf,
}

/// A burst of them.
pub(crate) type RoutedBurst = ArrayVec<Routed, BURST_SIZE>;

/// One worker's ends of the mesh.
#[derive(Debug)]
pub(crate) struct Mesh {
    /// By worker; none to oneself.
    out: Vec<Option<Link>>,
    inbound: Vec<Consumer<Routed>>,
}

#[derive(Debug)]
struct Link {
    ring: Producer<Routed>,
    wakeup: Arc<Wakeup>,
}

impl Mesh {
    /// Bursts after which a ring holds no frame that was in it at the start.
    pub(crate) const MAX_BURSTS: usize = RING_SIZE as usize / BURST_SIZE + 1;

    /// The ends of a full mesh, one per worker; `wakeups` are the workers'.
    pub(crate) fn full(wakeups: &[Arc<Wakeup>]) -> Vec<Self> {
        let n = wakeups.len();
        let mut ends: Vec<Self> = (0..n).map(|_| Self { out: Vec::new(), inbound: Vec::new() }).collect();
        for from in 0..n {
            for (to, wakeup) in wakeups.iter().enumerate() {
                let link = (from != to).then(|| {
                    let (producer, consumer) = ring(RING_SIZE);
                    ends[to].inbound.push(consumer);
                    Link { ring: producer, wakeup: Arc::clone(wakeup) }
                });
                ends[from].out.push(link);
            }
        }
        ends
    }

    /// Sends the first frames of `lane` to worker `to`; what does not fit stays in it.
    pub(crate) fn send(&mut self, to: usize, port: PortId, lane: &mut Burst) {
        let Some(Some(link)) = self.out.get_mut(to) else { return };
        let n = link.ring.free_slots().min(lane.len());
        let mut routed: RoutedBurst = lane.drain(..n).map(|mbuf| Routed { port, mbuf }).collect();
        link.ring.enqueue_burst(&mut routed);
        debug_assert!(routed.is_empty(), "the only producer saw room");
        link.wakeup.wake();
    }

    /// Number of inbound rings.
    pub(crate) fn inbound(&self) -> usize {
        self.inbound.len()
    }

    /// The next burst of inbound ring `i`.
    pub(crate) fn receive(&mut self, i: usize, burst: &mut RoutedBurst) -> usize {
        self.inbound[i].dequeue_burst(burst)
    }

    /// Whether another worker has sent something.
    pub(crate) fn has_work(&self) -> bool {
        self.inbound.iter().any(|ring| !ring.is_empty())
    }

    /// Closes the sending ends and hands over the receiving ones: after every worker stopped, to free what is left.
    pub(crate) fn into_inbound(self) -> Inbound {
        Inbound(self.inbound)
    }
}

/// What was still on its way to a worker that stopped.
#[derive(Debug)]
pub(crate) struct Inbound(Vec<Consumer<Routed>>);

impl Inbound {
    pub(crate) fn free(mut self, mem: &mut MempoolCache) {
        let mut burst = RoutedBurst::new();
        for ring in &mut self.0 {
            while ring.dequeue_burst(&mut burst) > 0 {
                burst.drain(..).for_each(|routed| mem.free(routed.mbuf));
            }
        }
    }
}
