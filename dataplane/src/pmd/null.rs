//! The null port: swallows every frame, sends none. A sink for tests, benches and blackhole ports.

use crate::mem::{Burst, MempoolCache};
use crate::stats::PortCounters;

/// A queue of a null port.
#[derive(Debug, Default)]
pub struct Null(());

impl Null {
    /// A new one; they are all alike.
    #[must_use]
    pub fn new() -> Self {
        Self(())
    }

    pub(super) fn tx_burst(&mut self, burst: &mut Burst, mem: &mut MempoolCache, stats: &PortCounters) -> usize {
        let n = burst.len();
        stats.sent(n, burst.iter().map(crate::mem::Mbuf::len).sum());
        mem.free_burst(burst);
        n
    }
}
