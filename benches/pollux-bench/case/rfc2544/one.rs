//! One subject with one size: all tests on one rig.

use super::between::{Bench, Between};
use super::tables::{self, BURST, LATENCY, RECOVERY, THROUGHPUT};
use crate::failure::Result;
use crate::rounds::{Facts, Reading, Taken};
use crate::tester::{Effort, Ends, GENERATOR_BOUND, Rates, one_way};
use crate::words::Size;
use crate::world::World;
use ::traffic::live::Flood;
use ::traffic::search::{Found, Search, Shown};
use ::traffic::{Phase, Schedule, Sizes, Stream};

/// No loss; half a percent.
const GOALS: [f64; 2] = [0.0, 0.005];
/// Shares of the rate without loss at which latency is taken.
const SHARES: [u32; 3] = [10, 50, 90];
const SECOND: u64 = 1_000_000_000;
/// The switch may be faster.
const GENERATOR: &str = "generator-bound";
/// The frames of a guest wait in its ring until the switch takes them: nothing is lost, the sender just cannot send more.
const BACK_PRESSURE: &str = "back-pressure: the switch takes no more";
/// Above this share of frames that waited for room, the switch is the limit, not the generator.
const HELD: f64 = 0.5;
/// Share of its ceiling that the generator sends reliably.
const SENDABLE: f64 = 0.97;

/// One subject with one size.
pub struct One<'a> {
    pub world: &'a World,
    pub effort: Effort,
    pub size: Size,
    /// What the stations are.
    pub ends: Ends,
    /// What the generator can do.
    pub ceiling: f64,
}

impl One<'_> {
    pub fn run(&self, subject: Between) -> Result<Vec<Taken>> {
        let mut bench = subject.open(self.world, self.size)?;
        let paced = |rate| vec![one_way(bench.ends, self.size.0, Schedule::paced(whole(rate), self.effort.trial))];
        let rates = bench.tester.search(self.effort.search(), &GOALS, paced)?;
        let (ndr, bound) = (rates.found[0], self.bound(&rates));
        let mut taken = vec![];
        for share in SHARES {
            let reading = self.latency(&mut bench, ndr.rate * f64::from(share) / 100.0);
            taken.push(Taken { section: LATENCY, work: format!("{} at {share} %", self.size), reading });
        }
        taken.push(self.taken(BURST, self.back_to_back(&mut bench, bound)));
        taken.push(self.taken(RECOVERY, self.recovery(&mut bench, ndr, bound)));
        let mut reading = self.throughput(&rates);
        reading.facts.extend(self.flood(&mut bench, subject)?);
        let findings = bench.tester.close()?;
        reading.findings.faults.extend(findings.faults);
        reading.findings.remarks.extend(findings.remarks);
        taken.push(self.taken(THROUGHPUT, Ok(reading)));
        taken.iter_mut().for_each(|taken| taken.section += tables::first(self.ends));
        Ok(taken)
    }

    fn taken(&self, section: usize, reading: Result<Reading>) -> Taken {
        Taken { section, work: self.size.to_string(), reading }
    }

    fn is_near_ceiling(&self, rates: &Rates) -> bool {
        rates.found[0].rate > GENERATOR_BOUND * self.ceiling
    }

    /// What limits the sender.
    fn bound(&self, rates: &Rates) -> &'static str {
        let is_held = self.ends == Ends::Guests && rates.held > HELD && !self.is_near_ceiling(rates);
        if is_held { BACK_PRESSURE } else { GENERATOR }
    }

    fn throughput(&self, rates: &Rates) -> Reading {
        let (mut reading, ndr) = (rate_facts(rates), rates.found[0]);
        reading.facts.push(("% of generator".into(), ndr.rate / self.ceiling * 100.0));
        reading.facts.push(("Gbit/s".into(), ndr.rate * self.size.0.mean() * 8.0 / 1e9));
        if self.ends == Ends::Guests {
            reading.facts.push(("held %".into(), rates.held * 100.0));
        }
        if ndr.bound_by_sender || self.is_near_ceiling(rates) {
            reading.findings.remarks = vec![format!("{}: {}", self.size, self.bound(rates))];
        }
        reading
    }

    /// The rate delivered while the kernel floods the switch with XDP frames, at several times the rate of a socket.
    fn flood(&self, bench: &mut Bench, subject: Between) -> Result<Facts> {
        let stream = Stream::new(0, bench.ends[0], bench.ends[1], self.size.0);
        if !subject.takes_floods() || stream.sizes != Sizes::Fixed(64) {
            return Ok(Facts::new());
        }
        let flood = bench.tester.flood(&stream, 3 * self.effort.trial)?;
        let facts = |flood: Flood| {
            let named = |name: &str, value: f64| (name.to_owned(), value / 1e6);
            vec![named("flood offered", flood.offered()), named("flood delivered", flood.forwarded())]
        };
        Ok(flood.map_or_else(Facts::new, facts))
    }

    /// The median latency at a rate, and the rest of its distribution.
    fn latency(&self, bench: &mut Bench, rate: f64) -> Result<Reading> {
        let mut flow = one_way(bench.ends, self.size.0, Schedule::paced(whole(rate), 3 * self.effort.trial));
        flow.stream.timed = true;
        let outcome = bench.tester.trial(vec![flow])?;
        let latency = outcome.latency();
        let facts = vec![
            ("loss %".into(), outcome.loss() * 100.0),
            ("kpps".into(), outcome.offered() / 1e3),
            ("sender late P99 µs".into(), outcome.lag.value_at_quantile(0.99) as f64 / 1e3),
        ];
        let value = latency.value_at_quantile(0.5) as f64 / 1e3;
        Ok(Reading { value, facts, latency: Some(latency), ..Reading::default() })
    }

    /// The search is over frames, not rates.
    fn back_to_back(&self, bench: &mut Bench, bound: &str) -> Result<Reading> {
        // for as long as three trials take
        let longest = self.ceiling * self.effort.trial as f64 / SECOND as f64 * 3.0;
        let search = Search { lowest: 64.0, highest: longest, width: 0.05, repeats: 2 };
        let (ends, size) = (bench.ends, self.size.0);
        let found = bench.tester.search_by(search, |tester, frames| {
            let outcome = tester.trial(vec![one_way(ends, size, Schedule::at_once(whole(frames)))])?;
            Ok(Shown { offered: frames, loss: outcome.loss(), hampered: false })
        })?;
        let mut reading = Reading { value: found.rate / 1e3, ..Reading::default() };
        if found.rate >= longest {
            reading.findings.remarks.push(format!("{}: {}: no burst it was given was too long", self.size, bound));
        }
        Ok(reading)
    }

    fn recovery(&self, bench: &mut Bench, ndr: Found, bound: &str) -> Result<Reading> {
        let overload = Phase::paced(whole(ndr.rate * 1.1), 3 * self.effort.trial);
        let half = Phase::paced(whole(ndr.rate / 2.0), self.effort.trial);
        if ndr.bound_by_sender || overload.rate as f64 > self.ceiling * SENDABLE {
            let mut reading = Reading { value: f64::NAN, ..Reading::default() };
            reading.findings.remarks.push(format!("{}: {bound}: it cannot be overloaded", self.size));
            return Ok(reading);
        }
        let schedule = Schedule::new([overload, half]);
        let outcome = bench.tester.trial(vec![one_way(bench.ends, self.size.0, schedule.clone())])?;
        let flow = &outcome.flows[0];
        let last = flow.arrived[0].last_lost(flow.sent).map_or(0, |number| schedule.due(number));
        let after = last.saturating_sub(schedule.due(overload.frames));
        let facts = vec![("loss %".into(), outcome.loss() * 100.0)];
        Ok(Reading { value: after as f64 / 1e6, facts, ..Reading::default() })
    }
}

/// The rate without loss, and what else a search for it showed.
pub fn rate_facts(rates: &Rates) -> Reading {
    let (ndr, pdr) = (rates.found[0], rates.found[1]);
    let mut reading = Reading { value: ndr.rate / 1e6, ..Reading::default() };
    reading.facts.push(("PDR".into(), pdr.rate / 1e6));
    reading.facts.push(("FRMOL".into(), rates.overloaded / 1e6));
    reading.facts.push(("MFR".into(), rates.most / 1e6));
    reading.facts.push(("trials".into(), f64::from(ndr.trials + pdr.trials)));
    if ndr.bound_by_sender {
        reading.findings.remarks.push(GENERATOR.into());
    }
    reading
}

/// Frames per second as an integer.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "rates are positive and far below 2^53")]
pub fn whole(rate: f64) -> u64 {
    rate as u64
}
