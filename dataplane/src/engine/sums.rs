//! Adding up what workers counted.

use crate::lcore;
use crate::stats::{PortStats, WorkerStats};
use crate::worker::Counters;

/// A worker's counters, for people.
pub(super) fn worker_stats(core: usize, counters: &Counters) -> WorkerStats {
    let c = &counters.worker;
    let ratio = |a: u64, b: u64| if b == 0 { 0.0 } else { a as f64 / b as f64 };
    let (frames, busy) = (c.frames.get(), c.busy_cycles.get());
    WorkerStats {
        core,
        busy: ratio(busy, c.total_cycles.get()),
        frames,
        frames_per_burst: ratio(frames, c.bursts.get()),
        ns_per_frame: ratio(busy, frames) * 1e9 / lcore::hz() as f64,
        turns: c.turns.get(),
        sleeps: c.sleeps.get(),
        wakeups: c.wakeups.get(),
    }
}

/// `now` minus `then`, field by field.
pub(super) fn since(now: &PortStats, then: &PortStats) -> PortStats {
    combine(now, then, u64::wrapping_sub)
}

/// Adds field by field.
pub(super) fn add(sum: &mut PortStats, more: &PortStats) {
    *sum = combine(sum, more, u64::wrapping_add);
}

fn combine(a: &PortStats, b: &PortStats, op: fn(u64, u64) -> u64) -> PortStats {
    PortStats {
        rx_frames: op(a.rx_frames, b.rx_frames),
        rx_bytes: op(a.rx_bytes, b.rx_bytes),
        tx_frames: op(a.tx_frames, b.tx_frames),
        tx_bytes: op(a.tx_bytes, b.tx_bytes),
        flood_copies: op(a.flood_copies, b.flood_copies),
        observed: op(a.observed, b.observed),
        tx_segments: op(a.tx_segments, b.tx_segments),
        tx_checksums: op(a.tx_checksums, b.tx_checksums),
        drops: std::array::from_fn(|i| op(a.drops[i], b.drops[i])),
    }
}
