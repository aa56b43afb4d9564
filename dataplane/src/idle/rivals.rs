//! Rivals: others who want a worker's core. Owned by the worker, asked while it has nothing to do.
//!
//! A worker that spins on a core somebody else needs takes from its own senders and receivers what they would send and
//! receive with, and pays for it: when a frame comes at last it has used up its share. Whoever is put off the core while it
//! still wants it has a rival; the kernel counts that (`nonvoluntary_ctxt_switches`, getrusage(2)).

use crate::lcore::in_cycles;
use nix::sys::resource::{UsageWho, getrusage};
use std::time::Duration;

/// The kernel is asked once in this time.
const WINDOW: Duration = Duration::from_millis(100);
/// Switches within a window from which on somebody with short work waits for the core again and again: a TCP receiver puts a
/// worker off a thousand times. The kernel's own threads do it three or four times, some dozens where they handle packets,
/// and somebody who always computes some twenty times: those would gain nothing by a worker that sleeps.
const SEVERAL: i64 = 100;
/// For how long rivals are believed in after that. While the worker sleeps they have no need to put it off.
const MEMORY: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug)]
pub(crate) struct Rivals {
    window: u64,
    memory: u64,
    /// When the kernel was asked last, and what it said.
    asked: Option<(u64, i64)>,
    /// When there last were any.
    seen: Option<u64>,
}

impl Rivals {
    pub(crate) fn new() -> Self {
        Self { window: in_cycles(WINDOW), memory: in_cycles(MEMORY), asked: None, seen: None }
    }

    /// Whether there are any at `now`, in cycles.
    pub(crate) fn are_here(&mut self, now: u64) -> bool {
        self.look(now, put_off)
    }

    fn look(&mut self, now: u64, put_off: impl FnOnce() -> i64) -> bool {
        match self.asked {
            Some((at, _)) if now.wrapping_sub(at) < self.window => {}
            before => {
                let count = put_off();
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

/// How often this thread was put off its core so far. A kernel that does not say never did.
fn put_off() -> i64 {
    getrusage(UsageWho::RUSAGE_THREAD).map_or(0, |usage| usage.involuntary_context_switches())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rivals_are_remembered_and_forgotten() {
        let mut rivals = Rivals::new();
        let (window, memory) = (rivals.window, rivals.memory);
        assert!(!rivals.look(0, || 1000), "what was before is nobody's");
        assert!(!rivals.look(window, || 1040), "dozens are nobody in particular");
        assert!(rivals.look(2 * window, || 1140));
        assert!(rivals.look(2 * window + memory - 1, || 1140));
        assert!(!rivals.look(2 * window + memory, || 1140));
    }

    #[test]
    fn what_came_together_over_a_long_time_is_no_rival() {
        let mut rivals = Rivals::new();
        let window = rivals.window;
        assert!(!rivals.look(0, || 0));
        assert!(!rivals.look(100 * window, || 400));
        assert!(rivals.look(110 * window, || 1400));
    }

    #[test]
    fn the_kernel_is_asked_once_in_a_window() {
        let mut rivals = Rivals::new();
        let mut asked = 0;
        for now in 0..100 {
            rivals.look(now * rivals.window / 10, || {
                asked += 1;
                0
            });
        }
        assert_eq!(asked, 10);
    }
}
