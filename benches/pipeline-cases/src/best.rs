//! The fewest cycles of the time-stamp counter that any sample of a bench took. Frame budgets are written in cycles, and the
//! minimum is free of the noise of other processes.

use dataplane::lcore;
use std::time::{Duration, Instant};

/// See the module.
#[derive(Debug)]
pub struct Best {
    cycles: f64,
    /// Samples of fewer items say more of the clocks than of the work.
    enough: u64,
}

impl Best {
    /// Of samples with at least `enough` items.
    pub fn of(enough: u64) -> Self {
        Self { cycles: f64::MAX, enough }
    }

    /// Times `work` on so many items, for criterion.
    pub fn time(&mut self, items: u64, work: impl FnOnce()) -> Duration {
        let (start, from) = (Instant::now(), lcore::cycles());
        work();
        let (elapsed, cycles) = (start.elapsed(), lcore::cycles() - from);
        if items >= self.enough {
            self.cycles = self.cycles.min(cycles as f64 / items as f64);
        }
        elapsed
    }

    /// Prints it, if there was a sample.
    pub fn report(self, what: &str, item: &str) {
        if self.cycles < f64::MAX {
            println!("{what}: {:.1} cycles per {item} at best\n", self.cycles);
        }
    }
}
