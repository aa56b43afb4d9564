//! Contention for a worker's core. Owned by the worker, looked at while it has nothing to do.
//!
//! A worker that spins on a core that other threads need takes time from its own senders and receivers, and pays for it:
//! when a frame comes at last the worker has used up its share. The kernel counts how often a thread lost its core while
//! it still wanted it: involuntary context switches (`nonvoluntary_ctxt_switches`, getrusage(2)).

use crate::lcore::in_cycles;
use nix::sys::resource::{UsageWho, getrusage};
use std::time::Duration;

/// The count is read once in this time.
const WINDOW: Duration = Duration::from_millis(100);
/// Switches within a window from which on a thread with short work waits for the core again and again: a TCP receiver
/// causes a thousand. The kernel's own threads cause three or four, some dozens where they handle packets, and a thread
/// that always computes some twenty: those would gain nothing by a worker that sleeps.
const SEVERAL: i64 = 100;
/// For how long contention is assumed after that: while the worker sleeps nothing takes its core from it.
const MEMORY: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug)]
pub(crate) struct CpuContention {
    window: u64,
    memory: u64,
    /// When the count was read last, and what it was.
    asked: Option<(u64, i64)>,
    /// When there last was any.
    seen: Option<u64>,
}

impl CpuContention {
    pub(crate) fn new() -> Self {
        Self { window: in_cycles(WINDOW), memory: in_cycles(MEMORY), asked: None, seen: None }
    }

    /// Whether there is any at `now`, in cycles.
    pub(crate) fn is_present(&mut self, now: u64) -> bool {
        self.look(now, involuntary_switches)
    }

    fn look(&mut self, now: u64, involuntary_switches: impl FnOnce() -> i64) -> bool {
        match self.asked {
            Some((at, _)) if now.wrapping_sub(at) < self.window => {}
            before => {
                let count = involuntary_switches();
                // a worker that was busy for long asks late
                let windows = |at| i64::try_from(now.wrapping_sub(at) / self.window).unwrap_or(i64::MAX);
                if before.is_some_and(|(at, then)| (count - then) / windows(at).max(1) >= SEVERAL) {
                    self.seen = Some(now);
                }
                self.asked = Some((now, count));
            }
        }
        self.seen.is_some_and(|seen| now.wrapping_sub(seen) < self.memory)
    }
}

/// Involuntary context switches of this thread so far; 0 where the kernel does not say.
fn involuntary_switches() -> i64 {
    getrusage(UsageWho::RUSAGE_THREAD).map_or(0, |usage| usage.involuntary_context_switches())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contention_is_remembered_and_forgotten() {
        let mut contention = CpuContention::new();
        let (window, memory) = (contention.window, contention.memory);
        assert!(!contention.look(0, || 1000), "what was before does not count");
        assert!(!contention.look(window, || 1040), "dozens are the kernel's own");
        assert!(contention.look(2 * window, || 1140));
        assert!(contention.look(2 * window + memory - 1, || 1140));
        assert!(!contention.look(2 * window + memory, || 1140));
    }

    #[test]
    fn what_came_together_over_a_long_time_is_no_contention() {
        let mut contention = CpuContention::new();
        let window = contention.window;
        assert!(!contention.look(0, || 0));
        assert!(!contention.look(100 * window, || 400));
        assert!(contention.look(110 * window, || 1400));
    }

    #[test]
    fn the_kernel_is_asked_once_in_a_window() {
        let mut contention = CpuContention::new();
        let mut asked = 0;
        for now in 0..100 {
            contention.look(now * contention.window / 10, || {
                asked += 1;
                0
            });
        }
        assert_eq!(asked, 10);
    }
}
