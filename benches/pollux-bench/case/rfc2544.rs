//! RFC 2544 between two ports: throughput (no loss, and 0.5 %), latency at shares of it.
//!
//! One direction, A to B, evenly spaced frames. Every subject gets the same searches; what it shows in a trial is checked
//! frame by frame and against its books.

use super::{chosen, names};
use crate::cli::Options;
use crate::failure::Result;
use crate::report::{Better, Section};
use crate::rig::{MAC_A, MAC_B, Poll, Ports, Rig, Stations, Subject};
use crate::rounds::{Course, Reading, Taken};
use crate::tester::{Ceilings, Effort, GENERATOR_BOUND, Rates, Tester, mac, one_way};
use crate::world::World;
use ::traffic::{Flow, Schedule, Sizes, Stream};
use std::fmt;

const SUBJECTS: [Subject; 7] = [
    Subject::Pollux(Ports::Veth, Poll::Busy),
    Subject::Pollux(Ports::AfXdp, Poll::Busy),
    Subject::Pollux(Ports::Tap, Poll::Busy),
    Subject::Testpmd,
    Subject::Ovs,
    Subject::Bridge,
    Subject::Macvlan,
];
/// No loss; half a percent.
const GOALS: [f64; 2] = [0.0, 0.005];
/// Shares of the rate without loss at which latency is taken.
const SHARES: [u32; 3] = [10, 50, 90];
const SECOND: u64 = 1_000_000_000;
/// The switch may be faster.
const GENERATOR: &str = "generator-bound";

/// Frame lengths of a trial, FCS included.
#[derive(Clone, Copy, Debug)]
struct Work(Sizes);

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Sizes::Fixed(size) => write!(f, "{size} B"),
            Sizes::Imix => f.write_str("IMIX"),
        }
    }
}

pub fn measure(world: &World, options: &Options) -> Result<Vec<Section>> {
    let subjects = chosen(&SUBJECTS, options)?;
    let mut sections = sections(&subjects);
    let (effort, mut ceilings) = (Effort::of(options), Ceilings::default());
    let course = Course { rounds: options.rounds, subjects: &subjects, works: &[Work(Sizes::Fixed(64))] };
    course.run_all(&mut sections, |subject, work| {
        let ceiling = ceilings.of(world, effort, work.0)?;
        One { world, effort, work: *work, ceiling }.run(*subject)
    });
    Ok(sections)
}

fn sections(subjects: &[Subject]) -> Vec<Section> {
    let mut references = names(&[Subject::Testpmd, Subject::Ovs, Subject::Bridge]);
    references.retain(|reference| subjects.iter().any(|subject| subject.to_string() == *reference));
    let throughput = Section {
        name: "rfc2544".into(),
        title:
            "Highest rate without loss (NDR), one direction, generator and sink on core 0, switch on core 1. PDR: with \
                0.5 % loss."
                .into(),
        unit: "Mpps".into(),
        references: references.clone(),
        ..Section::default()
    };
    let latency = Section {
        name: "rfc2544 latency".into(),
        title: "From the moment a frame was due until it reached the receiver's interface, at shares of the rate without loss."
            .into(),
        unit: "µs".into(),
        better: Better::Less,
        references,
        ..Section::default()
    };
    vec![throughput, latency]
}

/// One subject with one size.
struct One<'a> {
    world: &'a World,
    effort: Effort,
    work: Work,
    ceiling: f64,
}

impl One<'_> {
    fn run(&self, subject: Subject) -> Result<Vec<Taken>> {
        let rig = Rig::build(self.world, subject, Stations::Frames)?;
        let mut tester = Tester::open(rig)?;
        tester.trial(self.greetings())?;
        let paced = |rate| vec![one_way(self.work.0, Schedule::paced(whole(rate), self.effort.trial))];
        let rates = tester.search(self.effort.search(), &GOALS, paced)?;
        let ndr = rates.found[0];
        let mut taken = Vec::new();
        for share in SHARES {
            let reading = self.latency(&mut tester, ndr.rate * f64::from(share) / 100.0)?;
            taken.push(Taken { section: 1, work: format!("{} at {share} %", self.work), reading: Ok(reading) });
        }
        let mut reading = rate_facts(&rates);
        reading.facts.push(("% of generator".into(), ndr.rate / self.ceiling * 100.0));
        if !ndr.bound_by_sender && ndr.rate > GENERATOR_BOUND * self.ceiling {
            reading.findings.remarks.push(GENERATOR.into());
        }
        reading.findings.remarks.iter_mut().for_each(|remark| *remark = format!("{}: {remark}", self.work));
        let findings = tester.close()?;
        reading.findings.faults.extend(findings.faults);
        reading.findings.remarks.extend(findings.remarks);
        taken.push(Taken { section: 0, work: self.work.to_string(), reading: Ok(reading) });
        Ok(taken)
    }

    /// A few frames each way, so that everybody's address is known; whether they arrive does not matter.
    fn greetings(&self) -> Vec<Flow> {
        let schedule = || Schedule::paced(1000, SECOND / 20);
        let back = Stream::new(1, mac(MAC_B), mac(MAC_A), Sizes::Fixed(64));
        vec![one_way(self.work.0, schedule()), Flow { stream: back, schedule: schedule(), from: 1, to: vec![0] }]
    }

    /// The median latency at a rate, and the rest of its distribution.
    fn latency(&self, tester: &mut Tester, rate: f64) -> Result<Reading> {
        let mut flow = one_way(self.work.0, Schedule::paced(whole(rate), 3 * self.effort.trial));
        flow.stream.timed = true;
        let outcome = tester.trial(vec![flow])?;
        let latency = outcome.latency();
        let facts = vec![
            ("loss %".into(), outcome.loss() * 100.0),
            ("kpps".into(), outcome.offered() / 1e3),
            ("sender late P99 µs".into(), outcome.lag.value_at_quantile(0.99) as f64 / 1e3),
        ];
        let value = latency.value_at_quantile(0.5) as f64 / 1e3;
        Ok(Reading { value, facts, latency: Some(latency), ..Reading::default() })
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
