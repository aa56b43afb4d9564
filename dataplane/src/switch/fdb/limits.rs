//! How many learned entries a port or a filtering id has, and may have.
//!
//! A count is taken before an entry is published and given back after it is gone, so it is never below the number of
//! entries, and equals it while no thread inserts or removes. Refreshes and look-ups do not come here.

use crate::primitive::{AtomicU32, Ordering};

/// One count and its limit.
#[derive(Debug)]
struct Quota {
    count: AtomicU32,
    limit: AtomicU32,
}

/// A count and a limit for each of a set of indices.
#[derive(Debug)]
pub(super) struct Quotas(Box<[Quota]>);

// All accesses are Relaxed: a count publishes nothing. That it cannot fall below zero rests on the entry's own edge (B)
// in `slots`: the thread that gives back has read the word that the thread that took wrote afterwards.
impl Quotas {
    /// `len` counts of zero without a limit.
    pub(super) fn new(len: usize) -> Self {
        let unlimited = || Quota { count: AtomicU32::new(0), limit: AtomicU32::new(u32::MAX) };
        Self((0..len).map(|_| unlimited()).collect())
    }

    pub(super) fn set_limit(&self, index: usize, limit: u32) {
        self.0[index].limit.store(limit, Ordering::Relaxed);
    }

    pub(super) fn count(&self, index: usize) -> u32 {
        self.0[index].count.load(Ordering::Relaxed)
    }

    pub(super) fn total(&self) -> u32 {
        self.0.iter().map(|quota| quota.count.load(Ordering::Relaxed)).sum()
    }

    /// Counts one more, unless the limit is reached. Looks before it adds: a flood of addresses beyond the limit only
    /// reads.
    pub(super) fn take(&self, index: usize) -> bool {
        let Quota { count, limit } = &self.0[index];
        let limit = limit.load(Ordering::Relaxed);
        if count.load(Ordering::Relaxed) >= limit {
            return false;
        }
        if count.fetch_add(1, Ordering::Relaxed) >= limit {
            count.fetch_sub(1, Ordering::Relaxed);
            return false;
        }
        true
    }

    /// Counts one less.
    pub(super) fn give(&self, index: usize) {
        self.0[index].count.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::Quotas;

    #[test]
    fn takes_up_to_the_limit_and_again_after_giving() {
        let quotas = Quotas::new(2);
        quotas.set_limit(1, 2);
        assert!(quotas.take(1) && quotas.take(1) && !quotas.take(1));
        quotas.give(1);
        assert!(quotas.take(1) && !quotas.take(1));
        assert!(quotas.take(0), "the other index has no limit");
        assert_eq!((quotas.count(0), quotas.count(1), quotas.total()), (1, 2, 3));
        quotas.set_limit(1, 0);
        quotas.give(1);
        assert!(!quotas.take(1), "a lowered limit keeps what is there and admits no more");
    }
}
