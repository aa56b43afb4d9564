//! The tester: stations of the library `traffic` on a rig, trials on the load core, and counters that must balance.

mod books;
mod ceiling;
mod wire;

pub use books::Drops;
pub use ceiling::{Ceilings, Ends, GENERATOR_BOUND, ends, mtu, one_way};

use crate::failure::{During, Failure, Result};
use crate::rig::guests::{Server, join};
use crate::rig::star::{self, Star};
use crate::rig::{DEV_A, DEV_B, LOAD_CORE, Ledger, Rig};
use crate::rounds::Findings;
use crate::world::{A, B};
use ::traffic::clock::now;
use ::traffic::live::{self, Flood};
use ::traffic::search::{Found, Search, Searcher, Shown};
use ::traffic::trial::QUIET;
use ::traffic::{Flow, Mac, Outcome, Station, Stream, Trial};
use books::Books;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use std::thread;
use wire::Carrier;

/// Stations at the ends of a rig.
#[derive(Debug)]
pub struct Tester {
    // when something fails, the sockets go before the interfaces
    stations: Vec<Station>,
    netns: Vec<String>,
    middle: Middle,
    /// What was wrong in any trial.
    faults: Vec<String>,
}

/// A sender that was late by so many nanoseconds sends the frames of that time in a rush: as many as a ring holds.
const RUSH: u64 = 1_000_000;

/// What a search found.
#[derive(Debug)]
pub struct Rates {
    /// For each goal.
    pub found: Vec<Found>,
    /// Frames per second delivered when the most was offered (RFC 2889: FRMOL).
    pub overloaded: f64,
    /// Share of frames before which the sender's ring was full then.
    pub held: f64,
    /// The most delivered in any trial (RFC 2889: MFR).
    pub most: f64,
}

/// What is between the stations.
#[derive(Debug)]
pub enum Middle {
    /// Two stations' switch.
    Rig(Rig),
    /// Many stations' switch.
    Star(Star),
    /// Two guests' switch.
    Guests(Server),
    /// Two directly connected guests: no switch.
    Wire { _carrier: Carrier },
}

impl Middle {
    fn ledger(&self) -> Result<Option<Ledger>> {
        match self {
            Self::Rig(rig) => rig.ledger(),
            Self::Star(star) => star.ledger(),
            Self::Guests(server) => server.ledger(),
            Self::Wire { .. } => Ok(None),
        }
    }

    fn inspect(self) -> Result<Findings> {
        match self {
            Self::Rig(rig) => rig.inspect(),
            Self::Star(star) => star.inspect(),
            Self::Guests(server) => server.inspect(),
            Self::Wire { .. } => Ok(Findings::default()),
        }
    }
}

/// How long frames may be under way before they are missing, nanoseconds: what RFC 2544 waits after each trial.
const PATIENCE: u64 = 2_000_000_000;

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

    /// A search that repeats a lossy trial twice before it counts.
    pub fn search(self) -> Search {
        Search { lowest: 5000.0, highest: 20e6, width: self.width, repeats: 2 }
    }
}

impl Tester {
    /// Opens the two stations of a rig.
    pub fn open(rig: Rig) -> Result<Self> {
        let ends = [(A, DEV_A), (B, DEV_B)].map(|(netns, dev)| (netns.to_owned(), dev.to_owned()));
        Self::at(Middle::Rig(rig), &ends)
    }

    /// Opens all stations of a star.
    pub fn around(mut star: Star, stations: usize) -> Result<Self> {
        let last = star.take_last();
        let inside = stations - usize::from(last.is_some());
        let ends: Vec<_> = (0..inside).map(|n| (star::netns(n), star::dev(n))).collect();
        let mut tester = Self::at(Middle::Star(star), &ends)?;
        tester.stations.extend(last);
        Ok(tester)
    }

    /// Connects two guests to a switch.
    pub fn guests(server: Server) -> Result<Self> {
        let stations = server.sockets().iter().map(|socket| join(socket)).collect::<Result<_>>()?;
        Ok(Self::new(stations, Vec::new(), Middle::Guests(server)))
    }

    /// Connects two guests directly: a thread on the switch's core copies the frames.
    pub fn wired() -> Result<Self> {
        let (stations, wire) = Station::wired().during("two guests")?;
        Ok(Self::new(stations.into(), Vec::new(), Middle::Wire { _carrier: Carrier::start(wire)? }))
    }

    fn at(middle: Middle, ends: &[(String, String)]) -> Result<Self> {
        let open =
            |(netns, dev): &(String, String)| Station::interface(Some(netns), dev).during(format!("{netns} {dev}"));
        let stations = ends.iter().map(open).collect::<Result<_>>()?;
        let netns = ends.iter().map(|(netns, _)| netns.clone()).collect();
        Ok(Self::new(stations, netns, middle))
    }

    fn new(stations: Vec<Station>, netns: Vec<String>, middle: Middle) -> Self {
        Self { stations, netns, middle, faults: Vec::new() }
    }

    /// Has the switch forget all learned addresses.
    pub fn flush(&self) -> Result<()> {
        match &self.middle {
            Middle::Rig(_) | Middle::Guests(_) | Middle::Wire { .. } => Ok(()),
            Middle::Star(star) => star.flush(),
        }
    }

    /// Gives a station a line rate, frames per second, or takes it away.
    pub fn limit(&mut self, station: usize, rate: Option<u64>) {
        self.stations[station].limit(rate);
    }

    /// One trial, and how many frames were dropped where.
    pub fn trial_with_drops(&mut self, flows: Vec<Flow>) -> Result<(Outcome, Drops)> {
        let before = Books::open(&self.middle, &self.netns)?;
        let outcome = self.trial(flows)?;
        Ok((outcome, before.drops_until(&Books::open(&self.middle, &self.netns)?)))
    }

    /// One trial, on the load core. Whatever does not add up is a fault.
    pub fn trial(&mut self, flows: Vec<Flow>) -> Result<Outcome> {
        let books = Books::open(&self.middle, &self.netns)?;
        let mut outcome = on_load_core(&Trial::new(flows), &mut self.stations)?;
        let end = now() + PATIENCE;
        // what is still on its way is lost for the trial, but still counted
        let wrong = loop {
            let wrong = books.close(&self.middle, &self.netns, &outcome)?;
            if wrong.is_none() || now() > end {
                break wrong;
            }
            self.take_late(&mut outcome)?;
        };
        self.faults.extend(wrong.into_iter().chain(outcome.faults()));
        Ok(outcome)
    }

    /// Receives what arrives after the end of a trial, until nothing does.
    fn take_late(&mut self, outcome: &mut Outcome) -> Result<()> {
        let mut last = now();
        while now() - last < QUIET {
            for (station, count) in self.stations.iter_mut().zip(&mut outcome.foreign) {
                station.kick().during("sending")?;
                let n = station.receive(now(), |_| {});
                *count += u64::from(n);
                last = if n > 0 { now() } else { last };
            }
        }
        Ok(())
    }

    /// The highest rates, frames per second over all flows, with no more loss than each goal allows.
    pub fn search(&mut self, search: Search, goals: &[f64], flows: impl Fn(f64) -> Vec<Flow>) -> Result<Rates> {
        let (mut delivered, mut held) = (Vec::new(), None);
        let mut searcher = Searcher::new(search, |rate| {
            let outcome = self.trial(flows(rate))?;
            delivered.push(outcome.forwarded());
            held.get_or_insert(outcome.held());
            Ok(Shown {
                offered: outcome.offered(),
                loss: outcome.loss(),
                hampered: outcome.lag.max() > RUSH || outcome.missed > 0,
            })
        });
        let found = goals.iter().map(|goal| searcher.find(*goal)).collect::<Result<_>>()?;
        let at_most = delivered.first().copied().unwrap_or(0.0);
        let held = held.unwrap_or(0.0);
        Ok(Rates { found, overloaded: at_most, held, most: delivered.into_iter().fold(0.0, f64::max) })
    }

    /// The highest rate at which `shown` shows no loss.
    pub fn search_by(
        &mut self,
        search: Search,
        mut shown: impl FnMut(&mut Self, f64) -> Result<Shown>,
    ) -> Result<Found> {
        Searcher::new(search, |rate| shown(self, rate)).find(0.0)
    }

    /// Frames per second that reach station B when the kernel itself sends at station A, as fast as it can; `None` where the
    /// switch's interface does not take frames that are no socket buffers.
    pub fn flood(&mut self, stream: &Stream, time: u64) -> Result<Option<Flood>> {
        let sink = &mut self.stations[1];
        let run = || {
            pin(LOAD_CORE)?;
            live::flood(A, DEV_A, stream, time, sink).during("a flood")
        };
        let flood =
            thread::scope(|scope| scope.spawn(run).join()).map_err(|_| Failure("the flood panicked".into()))??;
        Ok((flood.arrived.received > 0).then_some(flood))
    }

    /// Sends short frames that belong to no stream from a station, a few at a time, and counts what arrives at each.
    pub fn inject(&mut self, from: usize, frame: &[u8], n: usize) -> Result<Vec<u64>> {
        let mut counts = vec![0; self.stations.len()];
        let (mut left, mut last) = (n, now());
        while left > 0 || now() - last < QUIET {
            left -= usize::from(left > 0 && self.stations[from].send_raw(frame));
            for (station, count) in self.stations.iter_mut().zip(&mut counts) {
                station.kick().during("sending")?;
                if station.receive(now(), |_| *count += 1) > 0 {
                    last = now();
                }
            }
        }
        Ok(counts)
    }

    /// Stops the subject; returns the findings on it and on all trials.
    pub fn close(self) -> Result<Findings> {
        // stations go last: one may hold the far side of an interface that the switch uses
        let mut findings = self.middle.inspect()?;
        drop(self.stations);
        findings.faults.extend(self.faults);
        Ok(findings)
    }
}

/// An address as written.
fn mac(text: &str) -> Mac {
    let mut mac = [0; 6];
    let bytes = text.split(':').filter_map(|byte| u8::from_str_radix(byte, 16).ok());
    mac.iter_mut().zip(bytes).for_each(|(to, byte)| *to = byte);
    mac
}

/// Pins this thread.
fn pin(core: usize) -> Result<()> {
    let mut cores = CpuSet::new();
    cores.set(core).during("a core")?;
    sched_setaffinity(Pid::from_raw(0), &cores).during("pinning a thread")
}

fn on_load_core(trial: &Trial, stations: &mut [Station]) -> Result<Outcome> {
    let run = || {
        pin(LOAD_CORE)?;
        trial.run(stations).during("a trial")
    };
    thread::scope(|scope| scope.spawn(run).join()).map_err(|_| Failure("the tester panicked".into()))?
}
