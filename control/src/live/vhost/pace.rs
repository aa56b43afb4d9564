//! How often a front end may make others work: the control thread, which hears of every change, and the log. What a person
//! or a program does passes at once; one that connects, changes its mind or leaves without end is held up, or not heard.

use std::time::{Duration, Instant};

/// A bucket of changes.
#[derive(Debug)]
pub(super) struct Pace {
    /// When it is full again.
    full: Instant,
    each: Duration,
    at_once: u32,
}

impl Pace {
    /// `at_once` changes pass at once, then one in the time of `each`.
    pub(super) fn new(at_once: u32, each: Duration) -> Self {
        Self { full: Instant::now(), each, at_once }
    }

    /// `changes` were made; how long to wait before the next.
    pub(super) fn spend(&mut self, changes: usize) -> Duration {
        self.spend_at(u32::try_from(changes).unwrap_or(u32::MAX), Instant::now())
    }

    /// Whether one more passes now.
    pub(super) fn allows_one(&mut self) -> bool {
        let now = Instant::now();
        let room = self.full.saturating_duration_since(now) + self.each <= self.each * self.at_once;
        room && self.spend_at(1, now).is_zero()
    }

    fn spend_at(&mut self, changes: u32, now: Instant) -> Duration {
        self.full = self.full.max(now) + self.each.saturating_mul(changes);
        (self.full - now).saturating_sub(self.each * self.at_once)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_pass_at_once_and_many_wait() {
        let each = Duration::from_millis(10);
        let mut pace = Pace::new(8, each);
        let start = Instant::now();
        assert!(pace.spend_at(7, start).is_zero());
        assert!(pace.spend_at(2, start) > each / 2, "the bucket is empty");
        assert!(pace.spend_at(1, start + each * 10).is_zero(), "and filled again");
    }

    #[test]
    fn what_is_not_allowed_costs_nothing() {
        let mut pace = Pace::new(2, Duration::from_secs(3600));
        assert_eq!([(); 4].map(|()| pace.allows_one()), [true, true, false, false]);
        assert!(pace.full < Instant::now() + Duration::from_secs(3 * 3600));
    }
}
