//! The moment of each frame, fixed before the first is sent: nothing the switch does changes it.
//!
//! Every frame has a moment by its number alone. A sender that falls behind sends late, with the stamp of the moment it
//! should have been sent, so that the time a frame waits in the sender counts as its latency (no coordinated omission).

/// Nanoseconds of a second.
const SECOND: u128 = 1_000_000_000;

/// So many frames at one rate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Phase {
    /// Frames.
    pub frames: u64,
    /// Frames per second; 0: all at once, as fast as the sender can.
    pub rate: u64,
    /// Frames that leave together; the rate is kept from burst to burst.
    pub burst: u64,
}

/// Phases one after the other.
#[derive(Clone, Debug, PartialEq)]
pub struct Schedule {
    phases: Vec<Phase>,
}

impl Phase {
    /// Evenly spaced frames for `ns` nanoseconds.
    pub fn paced(rate: u64, ns: u64) -> Self {
        Self { frames: whole(u128::from(rate) * u128::from(ns) / SECOND), rate, burst: 1 }
    }

    /// When frame `number` of this phase is due, from its start on.
    fn due(&self, number: u64) -> u64 {
        match self.rate {
            0 => 0,
            rate => whole(u128::from(number - number % self.burst) * SECOND / u128::from(rate)),
        }
    }

    /// How many frames are due `ns` after its start, inclusive.
    fn count(&self, ns: u64) -> u64 {
        if self.rate == 0 {
            return self.frames;
        }
        // the last number whose moment, rounded down, is not later than `ns`
        let last = (u128::from(ns) + 1) * u128::from(self.rate);
        let last = whole(last.div_ceil(SECOND)) - 1;
        (last - last % self.burst + self.burst).min(self.frames)
    }

    fn time(&self) -> u64 {
        if self.rate == 0 { 0 } else { whole(u128::from(self.frames) * SECOND / u128::from(self.rate)) }
    }
}

fn whole(value: u128) -> u64 {
    u64::try_from(value).unwrap_or(u64::MAX)
}

impl Schedule {
    /// # Panics
    /// If a burst is of no frame.
    pub fn new(phases: impl Into<Vec<Phase>>) -> Self {
        let phases = phases.into();
        assert!(phases.iter().all(|phase| phase.burst > 0), "a burst is of one frame or more");
        Self { phases }
    }

    /// Evenly spaced frames for `ns` nanoseconds.
    pub fn paced(rate: u64, ns: u64) -> Self {
        Self::new([Phase::paced(rate, ns)])
    }

    /// So many as fast as the sender can.
    pub fn at_once(frames: u64) -> Self {
        Self::new([Phase { frames, rate: 0, burst: 1 }])
    }

    /// All frames.
    pub fn frames(&self) -> u64 {
        self.phases.iter().map(|phase| phase.frames).sum()
    }

    /// From the start to the end of the last frame's share of time, nanoseconds.
    pub fn time(&self) -> u64 {
        self.phases.iter().map(Phase::time).sum()
    }

    /// When frame `number` is due, nanoseconds from the start; the end for numbers beyond the last.
    pub fn due(&self, mut number: u64) -> u64 {
        let mut start = 0;
        for phase in &self.phases {
            if number < phase.frames {
                return start + phase.due(number);
            }
            number -= phase.frames;
            start += phase.time();
        }
        start
    }

    /// How many frames are due `ns` after the start.
    pub fn count(&self, ns: u64) -> u64 {
        let (mut start, mut count) = (0, 0);
        for phase in &self.phases {
            if ns < start {
                break;
            }
            count += phase.count(ns - start);
            start += phase.time();
        }
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn frames_are_evenly_spaced_without_drift() {
        let schedule = Schedule::paced(3, 1_000_000_000);
        assert_eq!(schedule.frames(), 3);
        assert_eq!([0, 1, 2, 3].map(|n| schedule.due(n)), [0, 333_333_333, 666_666_666, 1_000_000_000]);
        let long = Schedule::paced(1_488_095, 3_600_000_000_000);
        assert_eq!(long.due(long.frames() - 1_488_095), 3_599_000_000_000);
    }

    #[test]
    fn a_burst_leaves_together_and_the_rate_is_kept() {
        let schedule = Schedule::new([Phase { frames: 8, rate: 1000, burst: 4 }]);
        assert_eq!((schedule.due(0), schedule.due(3), schedule.due(4)), (0, 0, 4_000_000));
        assert_eq!((schedule.count(0), schedule.count(3_999_999), schedule.count(4_000_000)), (4, 4, 8));
    }

    #[test]
    fn phases_follow_each_other() {
        let fast = Phase { frames: 10, rate: 1000, burst: 1 };
        let slow = Phase { frames: 5, rate: 100, burst: 1 };
        let schedule = Schedule::new([fast, slow]);
        assert_eq!((schedule.frames(), schedule.time()), (15, 60_000_000));
        assert_eq!((schedule.due(9), schedule.due(10), schedule.due(11)), (9_000_000, 10_000_000, 20_000_000));
        assert_eq!((schedule.count(9_999_999), schedule.count(10_000_000)), (10, 11));
    }

    #[test]
    fn what_has_no_rate_is_due_at_once() {
        let schedule = Schedule::at_once(1000);
        assert_eq!((schedule.count(0), schedule.due(999), schedule.time()), (1000, 0, 0));
    }

    proptest! {
        #[test]
        fn a_frame_is_counted_from_its_moment_on(rate in 1u64..20_000_000, burst in 1u64..65, number in 0u64..1_000_000_000) {
            let schedule = Schedule::new([Phase { frames: u64::MAX, rate, burst }]);
            let due = schedule.due(number);
            prop_assert!(schedule.count(due) > number);
            if due > 0 {
                prop_assert!(schedule.count(due - 1) <= number);
            }
        }
    }
}
