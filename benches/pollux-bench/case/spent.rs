//! What the switch's process does per frame.
//!
//! Existing counters are read before and after the time measured. System calls are counted by a program in the kernel, which
//! makes each of them a little slower, so that is done for a short time afterwards, under the same load.

use super::pipeline;
use crate::cpu;
use crate::failure::{During, Result};
use crate::rig::{Ledger, Rig};
use crate::rounds::{Facts, Reading};
use crate::traffic::sink::Sink;
use std::sync::OnceLock;
use std::thread::sleep;
use std::time::Duration;
use traffic::Syscalls;

/// For how long system calls are counted.
pub const STRETCH: Duration = Duration::from_millis(200);

/// What the scheduler has counted of the switch's process.
#[derive(Clone, Copy, Debug)]
pub struct Spent {
    cpu_ns: u64,
    waits: u64,
}

impl Spent {
    /// So far; none if the kernel is the switch.
    pub fn take(rig: &Rig) -> Result<Option<Self>> {
        let of = |pid| Ok(Self { cpu_ns: cpu::of_process(pid)?, waits: cpu::waits_of_process(pid)? });
        rig.pid().map(of).transpose()
    }

    /// Nanoseconds it ran since `before`.
    pub fn cpu_ns_since(self, before: Self) -> f64 {
        self.cpu_ns.saturating_sub(before.cpu_ns) as f64
    }

    /// Wake-ups per frame since `before`, for so many frames.
    pub fn wakeups_since(self, before: Self, frames: f64) -> (String, f64) {
        ("wakeups/frame".to_owned(), self.waits.saturating_sub(before.waits) as f64 / frames.max(1.0))
    }
}

/// What Pollux says of its own work between two looks: frames that came at once, cycles of its busy turns per frame.
pub fn work(now: &Ledger, then: &Ledger) -> Facts {
    let (frames, bursts) = ((now.received - then.received).max(1) as f64, now.bursts - then.bursts);
    let cycles = tsc_ghz().map(|ghz| ("cycles/frame busy", (now.work_ns - then.work_ns) / frames * ghz));
    let facts = [Some(("frames/burst", frames / bursts)), cycles];
    let known = facts.into_iter().flatten().filter(|(_, value)| value.is_finite());
    known.map(|(name, value)| (name.to_owned(), value)).collect()
}

/// Cycles of the time-stamp counter per nanosecond; none if `pollux-pipeline` is missing.
fn tsc_ghz() -> Option<f64> {
    static GHZ: OnceLock<Option<f64>> = OnceLock::new();
    *GHZ.get_or_init(|| Some(pipeline::ask(&["hz"]).ok()? / 1e9))
}

/// System calls per frame; none if the kernel is the switch.
pub type Calls = Result<Option<f64>>;

/// While frames arrive at the sink.
pub fn calls_under_load(rig: &Rig, sink: &Sink) -> Calls {
    counted(rig, |count| {
        let (calls, frames) = (count()?, sink.count()?);
        sleep(STRETCH);
        Ok((count()? - calls, sink.count()? - frames))
    })
}

/// While `stretch` runs, which says how many frames it moved.
pub fn calls_during(rig: &Rig, stretch: impl FnOnce() -> Result<u64>) -> Calls {
    counted(rig, |count| {
        let before = count()?;
        let frames = stretch()?;
        Ok((count()? - before, frames))
    })
}

/// Calls and frames of a stretch.
type Stretch = Result<(u64, u64)>;

fn counted(rig: &Rig, stretch: impl FnOnce(&dyn Fn() -> Result<u64>) -> Stretch) -> Calls {
    let Some(pid) = rig.pid() else { return Ok(None) };
    let syscalls = Syscalls::of(pid).during("a program in the kernel")?;
    let (calls, frames) = stretch(&|| syscalls.count().during("system calls"))?;
    Ok((frames > 0).then(|| calls as f64 / frames as f64))
}

impl Reading {
    /// Adds what was counted, or why it was not.
    pub fn with(mut self, calls: Calls) -> Self {
        match calls {
            Ok(calls) => self.facts.extend(calls.map(|calls| ("syscalls/frame".to_owned(), calls))),
            Err(failure) => self.findings.remarks.push(format!("system calls were not counted: {failure}")),
        }
        self
    }
}
