//! CPU time, as the scheduler counts it.

use crate::failure::{During, Failure, Result};
use std::fs;

/// Nanoseconds all threads of a process were running, those that ended excepted. Softirqs that ran on top of them count
/// too (this is so unless the kernel has CONFIG_IRQ_TIME_ACCOUNTING): for a switch that is its own work.
pub fn of_process(pid: u32) -> Result<u64> {
    of_threads(pid, "schedstat", |text| text.split_whitespace().next()?.parse().ok())
}

/// Voluntary context switches of the threads of a process, each followed by a wake-up; threads that ended are not included.
pub fn waits_of_process(pid: u32) -> Result<u64> {
    let waits =
        |text: &str| text.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?.trim().parse().ok();
    of_threads(pid, "status", waits)
}

/// The sum of what a file says of each thread.
fn of_threads(pid: u32, file: &str, read: impl Fn(&str) -> Option<u64>) -> Result<u64> {
    let directory = format!("/proc/{pid}/task");
    let tasks = fs::read_dir(&directory).during(&directory)?;
    // a thread may end between the two looks
    let counts = tasks.filter_map(|task| read(&fs::read_to_string(task.ok()?.path().join(file)).ok()?));
    Ok(counts.sum())
}

/// Ticks a core was busy and idle since boot.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ticks {
    busy: u64,
    idle: u64,
}

impl Ticks {
    /// Of one core now, or of all together.
    pub fn now(core: Option<u32>) -> Result<Self> {
        let name = core.map_or_else(|| "cpu".to_owned(), |core| format!("cpu{core}"));
        let text = fs::read_to_string("/proc/stat").during("/proc/stat")?;
        let of = |line: &str| line.split_whitespace().next().is_some_and(|word| word == name);
        let line = text.lines().find(|line| of(line)).ok_or_else(|| Failure(format!("/proc/stat has no {name}")))?;
        let ticks: Vec<u64> = line.split_whitespace().skip(1).filter_map(|word| word.parse().ok()).collect();
        // user nice system idle iowait irq softirq steal; guest time is in user already
        let idle = ticks.iter().skip(3).take(2).sum();
        Ok(Self { busy: ticks.iter().take(8).sum::<u64>() - idle, idle })
    }

    /// Share of the time since `earlier` that was busy.
    pub fn busy_since(self, earlier: Self) -> f64 {
        let (busy, idle) = (self.busy.saturating_sub(earlier.busy), self.idle.saturating_sub(earlier.idle));
        busy as f64 / (busy + idle).max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_thread_that_sleeps_waits() {
        let before = waits_of_process(std::process::id()).unwrap();
        std::thread::sleep(Duration::from_millis(1));
        assert!(waits_of_process(std::process::id()).unwrap() > before);
        assert!(of_process(std::process::id()).unwrap() > 0);
    }
}
