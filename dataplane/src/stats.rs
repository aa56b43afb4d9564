//! Counters, and the reasons for which frames are dropped.
//!
//! Each worker counts on its own cache lines with plain loads and stores; the reader sums over workers. So that
//! frames are conserved, every frame that enters is counted once as received, and leaves as exactly one of
//! transmitted or dropped by reason; copies made by flooding count as entering:
//!
//! `Σ rx_frames + Σ flood_copies = Σ tx_frames + Σ drops` over all ports, whenever nothing is in flight.

mod held;
mod loss;
mod reason;

pub use held::Held;
pub use loss::{Loss, Losses};
pub use reason::DropReason;

use std::sync::atomic::{AtomicU64, Ordering};

/// A count with one writer: a load and a store, no locked instruction.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`. Only the worker that owns the counter calls this.
    #[inline]
    pub fn add(&self, n: u64) {
        // Relaxed both: one writer, and readers want a recent value, not an order.
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
    }

    /// The value as of some recent moment.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What one worker counts for one port.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct PortCounters {
    /// Frames received; a GSO frame counts once.
    pub rx_frames: Counter,
    /// Bytes received, without FCS.
    pub rx_bytes: Counter,
    /// Frames the port took.
    pub tx_frames: Counter,
    /// Bytes the port took.
    pub tx_bytes: Counter,
    /// Copies made for this port by flooding and mirroring, and probes made for it.
    pub flood_copies: Counter,
    /// Frames that a guard would have dropped here, had it not been told to observe only.
    pub observed: Counter,
    /// Segments made in software of GSO frames on the way out.
    pub tx_segments: Counter,
    /// Checksums completed in software on the way out.
    pub tx_checksums: Counter,
    drops: DropCounters,
}

/// A counter per reason.
#[derive(Debug)]
struct DropCounters([Counter; DropReason::COUNT]);

impl Default for DropCounters {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Counter::default()))
    }
}

impl PortCounters {
    /// Counts `n` frames dropped at this port.
    #[inline]
    pub fn drop_n(&self, reason: DropReason, n: usize) {
        self.drops.0[reason as usize].add(n as u64);
    }

    /// Counts a burst received.
    #[inline]
    pub fn received(&self, frames: usize, bytes: usize) {
        self.rx_frames.add(frames as u64);
        self.rx_bytes.add(bytes as u64);
    }

    /// Counts a burst sent.
    #[inline]
    pub fn sent(&self, frames: usize, bytes: usize) {
        self.tx_frames.add(frames as u64);
        self.tx_bytes.add(bytes as u64);
    }
}

/// What one worker counts for itself.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct WorkerCounters {
    /// Turns of the poll loop.
    pub turns: Counter,
    /// Turns that moved at least one frame.
    pub busy_turns: Counter,
    /// Frames received from ports.
    pub frames: Counter,
    /// Bursts they came in.
    pub bursts: Counter,
    /// Time-stamp cycles spent in busy turns.
    pub busy_cycles: Counter,
    /// Time-stamp cycles since the start, asleep or not.
    pub total_cycles: Counter,
    /// Times the worker slept.
    pub sleeps: Counter,
    /// Times something woke it, and not the clock.
    pub wakeups: Counter,
}

/// A port's counters, summed over workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "as in PortCounters")]
pub struct PortStats {
    pub rx_frames: u64,
    pub rx_bytes: u64,
    pub tx_frames: u64,
    pub tx_bytes: u64,
    pub flood_copies: u64,
    pub observed: u64,
    pub tx_segments: u64,
    pub tx_checksums: u64,
    /// By [`DropReason`], in the order of [`DropReason::ALL`].
    pub drops: [u64; DropReason::COUNT],
}

impl Default for PortStats {
    fn default() -> Self {
        Self {
            rx_frames: 0,
            rx_bytes: 0,
            tx_frames: 0,
            tx_bytes: 0,
            flood_copies: 0,
            observed: 0,
            tx_segments: 0,
            tx_checksums: 0,
            drops: [0; DropReason::COUNT],
        }
    }
}

impl PortStats {
    /// Adds what one worker counted.
    pub fn add(&mut self, counters: &PortCounters) {
        self.rx_frames += counters.rx_frames.get();
        self.rx_bytes += counters.rx_bytes.get();
        self.tx_frames += counters.tx_frames.get();
        self.tx_bytes += counters.tx_bytes.get();
        self.flood_copies += counters.flood_copies.get();
        self.observed += counters.observed.get();
        self.tx_segments += counters.tx_segments.get();
        self.tx_checksums += counters.tx_checksums.get();
        for (sum, drop) in self.drops.iter_mut().zip(&counters.drops.0) {
            *sum += drop.get();
        }
    }

    /// Frames that entered here minus frames that ended here; over all ports the sum is 0 when nothing is in flight.
    #[must_use]
    pub fn balance(&self) -> i128 {
        let entered = i128::from(self.rx_frames) + i128::from(self.flood_copies);
        let ended = i128::from(self.tx_frames) + self.drops.iter().map(|d| i128::from(*d)).sum::<i128>();
        entered - ended
    }

    /// The reasons that have occurred, with their counts.
    pub fn dropped(&self) -> impl Iterator<Item = (DropReason, u64)> + '_ {
        DropReason::ALL.into_iter().zip(self.drops).filter(|(_, n)| *n > 0)
    }
}

/// A worker's counters as of some recent moment.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct WorkerStats {
    /// The core it is pinned to.
    pub core: usize,
    /// Share of time spent on turns that moved frames, 0..=1.
    pub busy: f64,
    /// Frames received from ports.
    pub frames: u64,
    /// Mean frames per non-empty burst.
    pub frames_per_burst: f64,
    /// Mean nanoseconds of busy time per frame.
    pub ns_per_frame: f64,
    /// Turns of the poll loop.
    pub turns: u64,
    /// Times it slept.
    pub sleeps: u64,
    /// Times something woke it, and not the clock.
    pub wakeups: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_balances_when_every_frame_ended_once() {
        let counters = PortCounters::default();
        counters.received(5, 500);
        counters.sent(3, 300);
        counters.drop_n(DropReason::Runt, 2);
        let mut stats = PortStats::default();
        stats.add(&counters);
        assert_eq!(stats.balance(), 0);
        assert_eq!(stats.dropped().collect::<Vec<_>>(), [(DropReason::Runt, 2)]);
    }
}
