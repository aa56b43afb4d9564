//! The mesh between workers: one SPSC ring per ordered pair, carrying frames to the worker that owns their egress
//! port. A full ring never stalls the sender: what does not fit is freed and counted at the egress port.

use crate::mem::pipe::{Receiver, Sender, pipe};
use crate::mem::{BURST_SIZE, Burst, Mbuf, MempoolCache};
use crate::port::PortId;
use crate::wake::Wakeup;
use arrayvec::ArrayVec;
use std::sync::Arc;

/// Chunks that all rings to one worker hold together.
const INBOUND: usize = 2048;
/// Chunks that each ring holds at least: a few bursts.
const MIN_RING: usize = 128;

/// Chunks that the ring between each two of so many workers holds; a power of two.
const fn ring_size(workers: usize) -> usize {
    let others = if workers > 1 { workers - 1 } else { 1 };
    let share = 1 << (INBOUND / others).ilog2();
    if share < MIN_RING { MIN_RING } else { share }
}

/// A frame on its way to the port it leaves on.
#[derive(Debug)]
pub(crate) struct Routed {
    pub(crate) port: PortId,
    pub(crate) mbuf: Mbuf,
}

impl AsRef<Mbuf> for Routed {
    #[inline(always)]
    fn as_ref(&self) -> &Mbuf {
        &self.mbuf
    }
}

/// A burst of them.
pub(crate) type RoutedBurst = ArrayVec<Routed, BURST_SIZE>;

/// One worker's ends of the mesh.
#[derive(Debug)]
pub(crate) struct Mesh {
    /// By worker; none to oneself.
    out: Vec<Option<Link>>,
    inbound: Vec<Receiver<Routed>>,
}

#[derive(Debug)]
struct Link {
    ring: Sender<Routed>,
    wakeup: Arc<Wakeup>,
}

impl Mesh {
    /// Bursts after which a ring holds no frame that was in it at the start.
    pub(crate) const MAX_BURSTS: usize = INBOUND / BURST_SIZE + 1;

    /// Chunks that all rings between so many workers hold at most.
    pub(crate) const fn capacity(workers: usize) -> usize {
        workers * workers.saturating_sub(1) * ring_size(workers)
    }

    /// The ends of a full mesh, one per worker; `wakeups` are the workers'.
    pub(crate) fn full(wakeups: &[Arc<Wakeup>]) -> Vec<Self> {
        let n = wakeups.len();
        let slots = u32::try_from(ring_size(n)).unwrap_or(u32::MAX);
        let mut ends: Vec<Self> = (0..n).map(|_| Self { out: Vec::new(), inbound: Vec::new() }).collect();
        for from in 0..n {
            for (to, wakeup) in wakeups.iter().enumerate() {
                let link = (from != to).then(|| {
                    let (sender, receiver) = pipe(slots);
                    ends[to].inbound.push(receiver);
                    Link { ring: sender, wakeup: Arc::clone(wakeup) }
                });
                ends[from].out.push(link);
            }
        }
        ends
    }

    /// Sends the first frames of `lane` to worker `to`; what does not fit stays in it.
    pub(crate) fn send(&mut self, to: usize, port: PortId, lane: &mut Burst) {
        let Some(Some(link)) = self.out.get_mut(to) else { return };
        link.ring.send(lane, |mbuf| Routed { port, mbuf });
        link.wakeup.wake();
    }

    /// Number of inbound rings.
    pub(crate) fn inbound(&self) -> usize {
        self.inbound.len()
    }

    /// The next burst of inbound ring `i`.
    pub(crate) fn receive(&mut self, i: usize, burst: &mut RoutedBurst) -> usize {
        self.inbound[i].receive(burst)
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
pub(crate) struct Inbound(Vec<Receiver<Routed>>);

impl Inbound {
    pub(crate) fn free(mut self, mem: &mut MempoolCache) {
        let mut burst = RoutedBurst::new();
        for ring in &mut self.0 {
            while ring.receive(&mut burst) > 0 {
                burst.drain(..).for_each(|routed| mem.free(routed.mbuf));
            }
        }
    }
}
