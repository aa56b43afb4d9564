//! The ring port: one end of a patch cable made of two SPSC rings, DPDK's net_ring.
//!
//! It joins two domains of one switch, and it is how tests and benches put frames in and take them out. The two ends
//! may belong to different workers; each end has a doorbell for the worker at the other end that went to sleep.
//!
//! An end that closes leaves its receiving half on the cable: frames that the other end was sending meanwhile are
//! freed by whoever closes last. An end that leads nowhere yet ([`RingPmd::unplug`]) takes no frames.

use crate::mem::pipe::{Receiver, Sender, pipe};
use crate::mem::{Burst, Mbuf, MempoolCache};
use crate::stats::{DropReason, Held, PortCounters};
use crate::wake::Wakeup;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Chunks that the cable between two ring ports of a switch holds in each direction.
pub const CAPACITY: u32 = 1024;

/// One end of the cable.
#[derive(Debug)]
pub struct RingPmd {
    rx: Receiver<Mbuf>,
    tx: Sender<Mbuf>,
    mine: Arc<Wakeup>,
    theirs: Arc<Wakeup>,
    cable: Arc<Cable>,
}

/// What both ends share.
#[derive(Debug, Default)]
struct Cable {
    unplugged: AtomicBool,
    /// Receiving halves of closed ends.
    left: Mutex<Vec<Receiver<Mbuf>>>,
}

/// Both ends of a cable that holds `capacity` (a power of two) chunks in each direction, as many short frames.
///
/// # Errors
/// When the process is out of file descriptors.
pub fn pair(capacity: u32) -> io::Result<(RingPmd, RingPmd)> {
    let (a_tx, b_rx) = pipe(capacity);
    let (b_tx, a_rx) = pipe(capacity);
    let (a, b) = (Arc::new(Wakeup::new()?), Arc::new(Wakeup::new()?));
    let cable = Arc::new(Cable::default());
    let left = RingPmd { rx: a_rx, tx: a_tx, mine: Arc::clone(&a), theirs: Arc::clone(&b), cable: Arc::clone(&cable) };
    let right = RingPmd { rx: b_rx, tx: b_tx, mine: b, theirs: a, cable };
    Ok((left, right))
}

impl RingPmd {
    /// See [`Pmd::rx_burst`](super::Pmd::rx_burst).
    pub fn rx_burst(&mut self, burst: &mut Burst, _mem: &mut MempoolCache, stats: &PortCounters) -> usize {
        let n = self.rx.receive(burst);
        if n > 0 {
            stats.received(n, burst.iter().map(Mbuf::len).sum());
        }
        n
    }

    /// See [`Pmd::tx_burst`](super::Pmd::tx_burst).
    pub fn tx_burst(&mut self, burst: &mut Burst, mem: &mut MempoolCache, stats: &PortCounters) -> usize {
        // Relaxed: a frame that slips past the flag is freed when this end closes.
        if self.cable.unplugged.load(Ordering::Relaxed) {
            let n = burst.len();
            stats.drop_n(DropReason::LinkDown, n);
            mem.free_burst(burst);
            return n;
        }
        let sent = self.tx.send(burst, |mbuf| mbuf);
        stats.sent(sent.frames, sent.bytes);
        self.theirs.wake();
        sent.frames
    }

    /// Nobody reads at this end for now: the other takes no frames, which would only lie on the cable and be missing in the
    /// pool, and counts them as [`DropReason::LinkDown`].
    pub fn unplug(&self) {
        self.cable.unplugged.store(true, Ordering::Relaxed);
    }

    /// This end is read from now on.
    pub fn plug(&self) {
        self.cable.unplugged.store(false, Ordering::Relaxed);
    }

    pub(super) fn held(&mut self) -> Held {
        Held { cable: self.tx.held() as u64, ..Held::default() }
    }

    pub(super) fn wait_fd(&self) -> BorrowedFd<'_> {
        self.mine.as_fd()
    }

    pub(super) fn prepare_sleep(&mut self) -> bool {
        let rx = &self.rx;
        self.mine.prepare_sleep(|| !rx.is_empty())
    }

    pub(super) fn finish_sleep(&mut self) {
        self.mine.finish_sleep();
        self.mine.clear();
    }

    /// Unplugs this end and frees what is on its way to it.
    pub fn close(self, mem: &mut MempoolCache) {
        let Self { rx, tx, cable, .. } = self;
        // Relaxed: as in `tx_burst`.
        cable.unplugged.store(true, Ordering::Relaxed);
        drop(tx);
        let mut left = cable.left.lock().unwrap_or_else(PoisonError::into_inner);
        left.push(rx);
        // The other end's producer is gone if its consumer is here: what is drained now stays empty.
        for rx in left.iter_mut() {
            drain(rx, mem);
        }
    }
}

fn drain(rx: &mut Receiver<Mbuf>, mem: &mut MempoolCache) {
    let mut burst = Burst::new();
    while rx.receive(&mut burst) > 0 {
        mem.free_burst(&mut burst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mem::{Arena, ArenaConfig, BURST_SIZE, Hugepages, Mempool};

    #[test]
    fn an_end_that_leads_nowhere_holds_no_frames() {
        let pool = Mempool::new(Arena::new(&ArenaConfig { frames: 256, hugepages: Hugepages::Off }).unwrap());
        let (mut mem, stats) = (MempoolCache::new(&pool), PortCounters::default());
        let (mut near, far) = pair(64).unwrap();
        let mut send = |near: &mut RingPmd| {
            let mut burst: Burst = std::iter::from_fn(|| mem.alloc_len(60)).take(BURST_SIZE).collect();
            assert_eq!(near.tx_burst(&mut burst, &mut mem, &stats), BURST_SIZE);
            mem.publish();
            pool.total() - pool.free()
        };
        far.unplug();
        assert_eq!(send(&mut near), 0);
        far.plug();
        assert_eq!((send(&mut near), stats.tx_frames.get()), (32, 32));
        near.close(&mut mem);
        far.close(&mut mem);
        drop(mem);
        assert_eq!(pool.free(), pool.total());
    }
}
