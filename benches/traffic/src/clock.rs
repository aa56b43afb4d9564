//! The clock of all times: CLOCK_MONOTONIC, which is also what the sink's XDP program reads.

use nix::time::{ClockId, clock_gettime};

/// Nanoseconds of CLOCK_MONOTONIC.
///
/// # Panics
/// Never on Linux: the clock is always there and never negative.
#[inline]
pub fn now() -> u64 {
    let time = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("CLOCK_MONOTONIC is always there");
    let part = |value: i64| u64::try_from(value).expect("CLOCK_MONOTONIC is never negative");
    part(time.tv_sec()) * 1_000_000_000 + part(time.tv_nsec())
}

#[cfg(test)]
mod tests {
    #[test]
    fn time_does_not_go_back() {
        let first = super::now();
        assert!(super::now() >= first);
    }
}
