//! One subject with one size: all tests on one rig.

use super::Size;
use super::tables::{BURST, LATENCY, RECOVERY, THROUGHPUT};
use crate::failure::Result;
use crate::rig::star::{Plan, Star, address};
use crate::rig::{Ports, Rig, Stations, Subject};
use crate::rounds::{Facts, Reading, Taken};
use crate::tester::{Effort, GENERATOR_BOUND, Rates, Tester, ends, mtu, one_way};
use crate::world::World;
use ::traffic::live::Flood;
use ::traffic::search::{Found, Search, Shown};
use ::traffic::{Flow, Mac, Phase, Schedule, Sizes, Stream};

/// No loss; half a percent.
const GOALS: [f64; 2] = [0.0, 0.005];
/// Shares of the rate without loss at which latency is taken.
const SHARES: [u32; 3] = [10, 50, 90];
const SECOND: u64 = 1_000_000_000;
/// The switch may be faster.
const GENERATOR: &str = "generator-bound";
/// Share of the generator's ceiling it can be trusted to send.
const SENDABLE: f64 = 0.97;
/// The usual MTU.
const MTU: u32 = 1500;

/// One subject with one size.
pub struct One<'a> {
    pub world: &'a World,
    pub effort: Effort,
    pub size: Size,
    /// What the generator can do.
    pub ceiling: f64,
}

/// A rig's tester, and the addresses of its stations.
struct Bench {
    tester: Tester,
    ends: [Mac; 2],
}

impl One<'_> {
    /// Whether the subject is built for frames so long: the peers that need options for it are not.
    pub fn fits(&self, subject: Subject) -> bool {
        let any_mtu = matches!(subject, Subject::Pollux(..) | Subject::Bridge | Subject::Direct);
        any_mtu || mtu(self.size.0) == MTU
    }

    pub fn run(&self, subject: Subject) -> Result<Vec<Taken>> {
        let mut bench = self.bench(subject)?;
        bench.tester.trial(self.greetings(bench.ends))?;
        let paced = |rate| vec![one_way(bench.ends, self.size.0, Schedule::paced(whole(rate), self.effort.trial))];
        let rates = bench.tester.search(self.effort.search(), &GOALS, paced)?;
        let ndr = rates.found[0];
        let mut taken = vec![];
        for share in SHARES {
            let reading = self.latency(&mut bench, ndr.rate * f64::from(share) / 100.0);
            taken.push(Taken { section: LATENCY, work: format!("{} at {share} %", self.size), reading });
        }
        taken.push(self.taken(BURST, self.back_to_back(&mut bench)));
        taken.push(self.taken(RECOVERY, self.recovery(&mut bench, ndr)));
        let mut reading = self.throughput(&rates);
        reading.facts.extend(self.flood(&mut bench, subject)?);
        let findings = bench.tester.close()?;
        reading.findings.faults.extend(findings.faults);
        reading.findings.remarks.extend(findings.remarks);
        taken.push(self.taken(THROUGHPUT, Ok(reading)));
        Ok(taken)
    }

    fn taken(&self, section: usize, reading: Result<Reading>) -> Taken {
        Taken { section, work: self.size.to_string(), reading }
    }

    fn bench(&self, subject: Subject) -> Result<Bench> {
        let mtu = mtu(self.size.0);
        if mtu == MTU || subject == Subject::Direct {
            let rig = Rig::build(self.world, subject, Stations::Frames)?;
            rig.set_mtu(mtu)?;
            return Ok(Bench { tester: Tester::open(rig)?, ends: ends() });
        }
        let star = Star::build(self.world, subject, Plan { mtu, ..Plan::of(2) })?;
        Ok(Bench { tester: Tester::around(star, 2)?, ends: [0, 1].map(address) })
    }

    /// A few frames each way, so that everybody's address is known; whether they arrive does not matter.
    fn greetings(&self, ends: [Mac; 2]) -> Vec<Flow> {
        let schedule = || Schedule::paced(1000, SECOND / 20);
        let back = Stream::new(1, ends[1], ends[0], Sizes::Fixed(64));
        vec![one_way(ends, self.size.0, schedule()), Flow { stream: back, schedule: schedule(), from: 1, to: vec![0] }]
    }

    fn throughput(&self, rates: &Rates) -> Reading {
        let (mut reading, ndr) = (rate_facts(rates), rates.found[0]);
        reading.facts.push(("% of generator".into(), ndr.rate / self.ceiling * 100.0));
        reading.facts.push(("Gbit/s".into(), ndr.rate * self.size.0.mean() * 8.0 / 1e9));
        if !ndr.bound_by_sender && ndr.rate > GENERATOR_BOUND * self.ceiling {
            reading.findings.remarks.push(GENERATOR.into());
        }
        reading.findings.remarks.iter_mut().for_each(|remark| *remark = format!("{}: {remark}", self.size));
        reading
    }

    /// What gets through when the kernel floods the switch with frames that are no socket buffers: several times what a
    /// socket can send. Where the switch's end of the pair has an XDP program of its own.
    fn flood(&self, bench: &mut Bench, subject: Subject) -> Result<Facts> {
        let takes = matches!(
            subject,
            Subject::Pollux(Ports::Veth | Ports::AfXdp, _) | Subject::Testpmd | Subject::Ovs | Subject::Direct
        );
        let stream = Stream::new(0, bench.ends[0], bench.ends[1], self.size.0);
        if !takes || stream.sizes != Sizes::Fixed(64) {
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
    fn back_to_back(&self, bench: &mut Bench) -> Result<Reading> {
        // as long as the generator sends in three trials
        let longest = self.ceiling * self.effort.trial as f64 / SECOND as f64 * 3.0;
        let search = Search { lowest: 64.0, highest: longest, width: 0.05, repeats: 2 };
        let (ends, size) = (bench.ends, self.size.0);
        let found = bench.tester.search_by(search, |tester, frames| {
            let outcome = tester.trial(vec![one_way(ends, size, Schedule::at_once(whole(frames)))])?;
            Ok(Shown { offered: frames, loss: outcome.loss(), hampered: false })
        })?;
        let mut reading = Reading { value: found.rate / 1e3, ..Reading::default() };
        if found.rate >= longest {
            reading.findings.remarks.push(format!("{}: {GENERATOR}: no burst it was given was too long", self.size));
        }
        Ok(reading)
    }

    fn recovery(&self, bench: &mut Bench, ndr: Found) -> Result<Reading> {
        let overload = Phase::paced(whole(ndr.rate * 1.1), 3 * self.effort.trial);
        let half = Phase::paced(whole(ndr.rate / 2.0), self.effort.trial);
        if ndr.bound_by_sender || overload.rate as f64 > self.ceiling * SENDABLE {
            let mut reading = Reading { value: f64::NAN, ..Reading::default() };
            reading.findings.remarks.push(format!("{}: {GENERATOR}: it cannot be overloaded", self.size));
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
