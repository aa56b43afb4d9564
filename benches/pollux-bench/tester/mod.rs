//! The tester: stations of the library `traffic` on a rig, trials on the load core, and books that must balance.

mod books;
mod ceiling;

pub use ceiling::{Ceilings, GENERATOR_BOUND, one_way};

use crate::failure::{During, Failure, Result};
use crate::rig::{LOAD_CORE, Rig};
use crate::rounds::Findings;
use ::traffic::search::{Found, Search, Searcher, Shown};
use ::traffic::{Flow, Mac, Outcome, Station, Trial};
use books::Books;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use std::thread;

/// Stations at the ends of a rig.
#[derive(Debug)]
pub struct Tester {
    // the sockets go before the interfaces
    stations: Vec<Station>,
    netns: Vec<String>,
    rig: Rig,
    /// What was wrong in any trial.
    faults: Vec<String>,
}

/// A sender that was late by so many nanoseconds sends the frames of that time in a rush: as many as a ring holds.
const RUSH: u64 = 1_000_000;

/// How a search is done.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Nanoseconds of one trial.
    pub trial: u64,
    /// As in [`Search`].
    pub width: f64,
}

impl Effort {
    /// For a quick look, or for figures to be kept.
    pub fn of(options: &crate::cli::Options) -> Self {
        // the default of three seconds per measurement makes trials of 300 ms
        let trial = u64::from(options.seconds) * 100_000_000;
        Self { trial, width: if options.seconds > 1 { 0.01 } else { 0.03 } }
    }

    /// A search that repeats a lossy trial twice before it believes it.
    pub fn search(self) -> Search {
        Search { lowest: 5000.0, highest: 20e6, width: self.width, repeats: 2 }
    }
}

impl Tester {
    /// Opens the stations of a rig: an interface in a namespace each.
    pub fn open(rig: Rig, ends: &[(&str, &str)]) -> Result<Self> {
        let open = |(netns, dev): &(&str, &str)| Station::open(Some(*netns), dev).during(format!("{netns} {dev}"));
        let stations = ends.iter().map(open).collect::<Result<_>>()?;
        let netns = ends.iter().map(|(netns, _)| (*netns).to_owned()).collect();
        Ok(Self { stations, netns, rig, faults: Vec::new() })
    }

    /// One trial, on the load core. Whatever does not add up is a fault.
    pub fn trial(&mut self, flows: Vec<Flow>) -> Result<Outcome> {
        let books = Books::open(&self.rig, &self.netns)?;
        let outcome = on_load_core(&Trial::new(flows), &mut self.stations)?;
        let wrong = books.close(&self.rig, &self.netns, &outcome)?;
        self.faults.extend(wrong.into_iter().chain(outcome.faults()));
        Ok(outcome)
    }

    /// The highest rates, frames per second over all flows, with no more loss than each goal allows.
    pub fn search(&mut self, search: Search, goals: &[f64], flows: impl Fn(f64) -> Vec<Flow>) -> Result<Vec<Found>> {
        let mut searcher = Searcher::new(search, |rate| {
            let outcome = self.trial(flows(rate))?;
            Ok(Shown { offered: outcome.offered(), loss: outcome.loss(), rushed: outcome.lag.max() > RUSH })
        });
        goals.iter().map(|goal| searcher.find(*goal)).collect()
    }

    /// Stops the subject and says what can be said of it and of all trials.
    pub fn close(self) -> Result<Findings> {
        drop(self.stations);
        let mut findings = self.rig.inspect()?;
        findings.faults.extend(self.faults);
        Ok(findings)
    }
}

/// An address as written.
pub fn mac(text: &str) -> Mac {
    let mut mac = [0; 6];
    let bytes = text.split(':').filter_map(|byte| u8::from_str_radix(byte, 16).ok());
    mac.iter_mut().zip(bytes).for_each(|(to, byte)| *to = byte);
    mac
}

fn on_load_core(trial: &Trial, stations: &mut [Station]) -> Result<Outcome> {
    let run = || {
        let mut cores = CpuSet::new();
        cores.set(LOAD_CORE).during("the load core")?;
        sched_setaffinity(Pid::from_raw(0), &cores).during("pinning the tester")?;
        trial.run(stations).during("a trial")
    };
    thread::scope(|scope| scope.spawn(run).join()).map_err(|_| Failure("the tester panicked".into()))?
}
