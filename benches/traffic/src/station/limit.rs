//! A line rate: how many frames a station may take by now.

/// Nanoseconds of a second, and the credit for one frame.
const SECOND: u64 = 1_000_000_000;
/// Time for which a line that is busy may be behind, nanoseconds: the tester did not look for so long.
const BEHIND: u64 = 20_000_000;

/// See the module. While frames wait the line sends at its rate between calls too, so what it may take adds up; once it has
/// taken everything it is idle, and an idle line saves nothing up.
#[derive(Debug)]
pub struct Limit {
    /// Frames per second.
    rate: u64,
    /// Nanoseconds times rate.
    credit: u64,
    /// When the credit was last counted.
    at: Option<u64>,
}

impl Limit {
    /// From the first look on.
    pub(super) fn new(rate: u64) -> Self {
        Self { rate, credit: SECOND, at: None }
    }

    /// Frames that may be taken now.
    pub(super) fn allows(&mut self, now: u64) -> u32 {
        let passed = now.saturating_sub(self.at.unwrap_or(now)).min(BEHIND);
        let most = (BEHIND * self.rate).max(SECOND);
        self.credit = (self.credit + passed * self.rate).min(most);
        self.at = Some(now);
        u32::try_from(self.credit / SECOND).unwrap_or(u32::MAX)
    }

    /// So many were taken, of those it allowed; whether there were no more.
    pub(super) fn took(&mut self, frames: u32, is_idle: bool) {
        self.credit -= u64::from(frames) * SECOND;
        if is_idle {
            self.credit = self.credit.min(SECOND);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Frames taken of `offered` per look, looking every `step` nanoseconds for a second.
    fn taken(rate: u64, step: u64, offered: u32) -> u32 {
        let mut limit = Limit::new(rate);
        let one = |at: u64| {
            let allowed = limit.allows(at);
            let n = allowed.min(offered);
            limit.took(n, n < allowed);
            n
        };
        (0..=SECOND / step).map(|n| n * step).map(one).sum()
    }

    #[test]
    fn a_busy_line_has_its_rate_however_often_it_is_looked_at() {
        for step in [100, 777, 20_000, 1_000_000, BEHIND] {
            // one may be taken at once
            let n = taken(50_000, step, u32::MAX);
            assert!((50_000..=50_001).contains(&n), "{n} at {step}");
        }
        assert_eq!(taken(1_488_095, 1000, u32::MAX), 1_488_096);
    }

    #[test]
    fn a_line_that_was_idle_has_saved_nothing_up() {
        let mut limit = Limit::new(1000);
        assert_eq!((limit.allows(0), limit.allows(3_000_000)), (1, 4));
        limit.took(2, true);
        assert_eq!((limit.allows(3_000_000), limit.allows(4_000_000)), (1, 2));
    }

    #[test]
    fn what_is_less_than_the_line_takes_is_taken_whole() {
        // but for the first look, when one may be taken
        assert_eq!(taken(50_000, 1_000_000, 7), 1 + 7 * 1000);
    }

    #[test]
    fn a_line_nobody_looked_at_is_behind_by_so_much_and_no_more() {
        let after = |rate| {
            let mut limit = Limit::new(rate);
            limit.allows(0);
            limit.allows(60 * SECOND)
        };
        assert_eq!(after(50_000), 1000);
        assert_eq!(after(1), 1, "a frame in 20 ms is more than its rate");
    }
}
