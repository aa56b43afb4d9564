//! The core a worker runs on: pinning and the time-stamp counter.

#![allow(unsafe_code)]

use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// Pins the calling thread to `core`; false if the kernel refuses (outside the cpuset).
#[must_use]
pub fn pin_to(core: usize) -> bool {
    core_affinity::set_for_current(core_affinity::CoreId { id: core })
}

/// The cores this thread may run on, in order. Call before pinning.
#[must_use]
pub fn allowed_cores() -> Vec<usize> {
    let mut cores: Vec<usize> = core_affinity::get_core_ids().unwrap_or_default().iter().map(|c| c.id).collect();
    cores.sort_unstable();
    cores
}

/// Cycles of the time-stamp counter: 6-10 ns to read, monotonic on one core.
#[inline]
#[must_use]
pub fn cycles() -> u64 {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: RDTSC exists on every x86_64 CPU and touches no memory.
    unsafe {
        core::arch::x86_64::_rdtsc()
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        static START: OnceLock<Instant> = OnceLock::new();
        u64::try_from(START.get_or_init(Instant::now).elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

/// Cycles per second of [`cycles`], measured once over 10 ms.
#[must_use]
pub fn hz() -> u64 {
    static HZ: OnceLock<u64> = OnceLock::new();
    *HZ.get_or_init(|| {
        let (start, from) = (Instant::now(), cycles());
        while start.elapsed() < Duration::from_millis(10) {
            std::hint::spin_loop();
        }
        let nanos = start.elapsed().as_nanos();
        u64::try_from(u128::from(cycles() - from) * 1_000_000_000 / nanos).unwrap_or(1).max(1)
    })
}

/// So much time in [`cycles`].
#[must_use]
pub fn in_cycles(time: Duration) -> u64 {
    u64::try_from(time.as_nanos() * u128::from(hz()) / 1_000_000_000).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counter_advances_at_a_known_rate() {
        assert!(hz() > 1_000_000);
        let from = cycles();
        std::thread::sleep(Duration::from_millis(2));
        assert!(cycles() - from > hz() / 1000);
    }

    #[test]
    fn the_first_allowed_core_can_be_pinned() {
        let cores = allowed_cores();
        assert!(pin_to(cores[0]));
        assert_eq!(allowed_cores(), [cores[0]]);
    }
}
