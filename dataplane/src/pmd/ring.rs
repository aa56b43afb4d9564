//! The ring port: one end of a patch cable made of two SPSC rings, DPDK's net_ring.
//!
//! It joins two domains of one switch, and it is how tests and benches put frames in and take them out. The two ends
//! may belong to different workers; each end has a doorbell for the worker at the other end that went to sleep.
//!
//! An end that closes leaves its receiving half on the cable: frames that the other end was sending meanwhile are
//! freed by whoever closes last.

use crate::mem::{Burst, Mbuf, MempoolCache};
use crate::ring::{Consumer, Producer, ring};
use crate::stats::{DropReason, PortCounters};
use crate::wake::Wakeup;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// One end of the cable.
#[derive(Debug)]
pub struct RingPmd {
    rx: Consumer<Mbuf>,
    tx: Producer<Mbuf>,
    mine: Arc<Wakeup>,
    theirs: Arc<Wakeup>,
    cable: Arc<Cable>,
}

/// What both ends share.
#[derive(Debug, Default)]
struct Cable {
    unplugged: AtomicBool,
    /// Receiving halves of closed ends.
    left: Mutex<Vec<Consumer<Mbuf>>>,
}

/// Both ends of a cable that holds `capacity` (a power of two) frames in each direction.
///
/// # Errors
/// When the process is out of file descriptors.
pub fn pair(capacity: u32) -> io::Result<(RingPmd, RingPmd)> {
    let (a_tx, b_rx) = ring(capacity);
    let (b_tx, a_rx) = ring(capacity);
    let (a, b) = (Arc::new(Wakeup::new()?), Arc::new(Wakeup::new()?));
    let cable = Arc::new(Cable::default());
    let left = RingPmd { rx: a_rx, tx: a_tx, mine: Arc::clone(&a), theirs: Arc::clone(&b), cable: Arc::clone(&cable) };
    let right = RingPmd { rx: b_rx, tx: b_tx, mine: b, theirs: a, cable };
    Ok((left, right))
}

impl RingPmd {
    /// See [`Pmd::rx_burst`](super::Pmd::rx_burst).
    pub fn rx_burst(&mut self, burst: &mut Burst, _mem: &mut MempoolCache, stats: &PortCounters) -> usize {
        let n = self.rx.dequeue_burst(burst);
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
        let total: usize = burst.iter().map(Mbuf::len).sum();
        let n = self.tx.enqueue_burst(burst);
        stats.sent(n, total - burst.iter().map(Mbuf::len).sum::<usize>());
        self.theirs.wake();
        n
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

fn drain(rx: &mut Consumer<Mbuf>, mem: &mut MempoolCache) {
    let mut burst = Burst::new();
    while rx.dequeue_burst(&mut burst) > 0 {
        mem.free_burst(&mut burst);
    }
}
