//! Resources that must not grow.

use crate::failure::{During, Failure, Result};
use serde_json::Value;
use std::fmt;
use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Where the switch writes down what it makes.
const JOURNAL: &str = "/run/pollux/plxb-soak.state";
const HANG_UP: Duration = Duration::from_millis(200);
/// Between looks; they come a little later, when the ports that come and go are gone.
pub const EVERY: Duration = Duration::from_secs(30);
/// The first looks do not count: caches fill, the allocator finds its size.
const SETTLED: Duration = Duration::from_secs(60);
/// Resident memory may move by this much between looks: buffers of the API, pages of the allocator.
const SLACK_KIB: u64 = 1024;

/// The process and its pool at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Vitals {
    /// Free frames.
    pub free: u64,
    /// Of so many.
    pub total: u64,
    /// Resident memory.
    pub rss_kib: u64,
    /// Open files.
    pub files: usize,
    /// Frames switched so far.
    pub frames: u64,
    /// Bytes of its journal.
    pub journal: u64,
}

impl Vitals {
    /// Of a process and its answer to `stats`.
    pub fn of(pid: u32, stats: &Value) -> Result<Self> {
        // the connection that brought the answer is not yet closed at the other end
        sleep(HANG_UP);
        let directory = format!("/proc/{pid}/fd");
        let pool = |name: &str| stats["mempool"][name].as_u64().ok_or_else(|| Failure(format!("stats without {name}")));
        let workers = stats["workers"].as_array().into_iter().flatten();
        Ok(Self {
            free: pool("free")?,
            total: pool("total")?,
            rss_kib: rss_kib(pid)?,
            files: fs::read_dir(&directory).during(&directory)?.count(),
            frames: workers.filter_map(|worker| worker["frames"].as_u64()).sum(),
            journal: fs::metadata(JOURNAL).during(JOURNAL)?.len(),
        })
    }

    /// How a quiet switch at the end differs from the quiet switch at the start.
    pub fn not_as_at_the_start(&self, start: &Self) -> Vec<String> {
        let mut faults = Vec::new();
        if self.free != start.free {
            faults.push(format!("{} frames were free at the start, {} are at the end", start.free, self.free));
        }
        if self.files != start.files {
            faults.push(format!("{} files were open at the start, {} are at the end", start.files, self.files));
        }
        faults
    }
}

impl fmt::Display for Vitals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { free, total, rss_kib, files, frames, journal } = self;
        write!(f, "{free} of {total} frames free, RSS {rss_kib} KiB, {files} files open, journal {journal} B, ")?;
        write!(f, "{frames} frames switched")
    }
}

fn rss_kib(pid: u32) -> Result<u64> {
    let path = format!("/proc/{pid}/status");
    let text = fs::read_to_string(&path).during(&path)?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    number.ok_or_else(|| Failure(format!("{path} has no VmRSS")))
}

/// Looks taken over time.
#[derive(Debug)]
pub struct Watch {
    start: Instant,
    next: Instant,
    settled: Vec<Vitals>,
}

impl Default for Watch {
    fn default() -> Self {
        let now = Instant::now();
        Self { start: now, next: now + EVERY, settled: Vec::new() }
    }
}

impl Watch {
    /// Whether it is time for a look.
    pub fn is_due(&self) -> bool {
        Instant::now() >= self.next
    }

    /// Keeps a look.
    pub fn take(&mut self, vitals: Vitals) {
        self.next += EVERY;
        if self.start.elapsed() >= SETTLED {
            self.settled.push(vitals);
        }
    }

    /// What has grown between the first and the second half.
    pub fn growth(&self) -> Vec<String> {
        let (first, second) = self.settled.split_at(self.settled.len() / 2);
        let most = |half: &[Vitals], of: fn(&Vitals) -> u64| half.iter().map(of).max();
        let grown = |what: &str, slack: u64, of: fn(&Vitals) -> u64| {
            let (before, after) = (most(first, of)?, most(second, of)?);
            (after > before + slack).then(|| format!("{what} grew from {before} to {after}"))
        };
        let files = grown("open files", 0, |vitals| vitals.files as u64);
        files.into_iter().chain(grown("resident KiB", SLACK_KIB, |vitals| vitals.rss_kib)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watch(looks: &[(u64, usize)]) -> Watch {
        let vitals = |(rss_kib, files): &(u64, usize)| Vitals { rss_kib: *rss_kib, files: *files, ..Vitals::default() };
        Watch { settled: looks.iter().map(vitals).collect(), ..Watch::default() }
    }

    #[test]
    fn a_file_more_is_growth_and_a_page_is_not() {
        assert!(watch(&[(5000, 20), (5004, 20), (5008, 20), (5000, 20)]).growth().is_empty());
        assert_eq!(watch(&[(5000, 20), (5000, 20), (5000, 21), (5000, 20)]).growth().len(), 1);
        assert_eq!(watch(&[(5000, 20), (15000, 20), (25000, 20)]).growth().len(), 1);
    }

    #[test]
    fn one_look_proves_nothing() {
        assert!(watch(&[(5000, 20)]).growth().is_empty());
    }
}
