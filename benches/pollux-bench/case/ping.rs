//! Latency of a round trip.

use super::chosen;
use super::spent::{STRETCH, Spent, calls_during, work};
use crate::cli::Options;
use crate::failure::Result;
use crate::report::{Better, Section, Text, latencies};
use crate::rig::{Poll, Ports, Rig, Stations, Subject};
use crate::rounds::{Course, Reading};
use crate::sample::{median, quantile};
use crate::traffic::{echo, ping};
use crate::world::World;
use std::thread::sleep;
use std::time::Duration;

const SUBJECTS: [Subject; 12] = [
    Subject::Pollux(Ports::Tap, Poll::Busy),
    Subject::Pollux(Ports::Tap, Poll::Adaptive),
    Subject::Pollux(Ports::Veth, Poll::Busy),
    Subject::Pollux(Ports::Veth, Poll::Adaptive),
    Subject::Pollux(Ports::Veth, Poll::Economy),
    Subject::Testpmd,
    Subject::Ovs,
    Subject::Vpp,
    Subject::XdpRedirect,
    Subject::Bridge,
    Subject::Macvlan,
    Subject::Direct,
];
const IDLE: Duration = Duration::from_secs(10);

/// A round trip every 2 ms.
pub fn regular(world: &World, options: &Options) -> Result<Section> {
    let title = "ping -i 0.002 between two namespaces; the figure is the median of a round's round trips.";
    let mut section = section("ping", title);
    let n = options.seconds * 500;
    course(&mut section, &SUBJECTS, options, |subject| {
        let rig = Rig::build(world, subject, Stations::Ip)?;
        let times = ping::every_2_ms(n)?;
        let latency = Some(latencies(times.iter().map(nanoseconds)));
        Ok(Reading { value: median(&times), latency, findings: rig.inspect()?, ..Reading::default() })
    })?;
    Ok(section)
}

/// The first round trip after a while without frames.
pub fn after_idleness(world: &World, options: &Options) -> Result<Section> {
    let title = "The first ping after 10 s without a frame (one per round; ping's own start is in it).";
    let mut section = section("first ping", title);
    let sleepers = SUBJECTS.map(|subject| (subject, !matches!(subject, Subject::Pollux(_, Poll::Busy))));
    let subjects: Vec<Subject> = sleepers.iter().filter(|(_, sleeps)| *sleeps).map(|(subject, _)| *subject).collect();
    course(&mut section, &subjects, options, |subject| {
        let rig = Rig::build(world, subject, Stations::Ip)?;
        ping::once()?;
        sleep(IDLE);
        let value = ping::once()?;
        Ok(Reading { value, findings: rig.inspect()?, ..Reading::default() })
    })?;
    Ok(section)
}

/// Round trips under a steady load.
pub fn at_rates(world: &World, options: &Options) -> Result<Section> {
    let title = "Pings at a fixed rate, evenly spaced, sent and received by one thread that does not sleep; the figure is the \
                 median of a round's round trips, `CPU` the time of the switch's process per frame (two per trip).";
    let mut section = section("rtt", title);
    let subjects = chosen(&SUBJECTS, options)?;
    section.references.retain(|reference| subjects.iter().any(|subject| subject.to_string() == *reference));
    let time = Duration::from_secs(options.seconds.into());
    let rates = [Rate(1_000), Rate(20_000), Rate(50_000)];
    let works = if options.quick { &rates[..2] } else { &rates };
    let course = Course { rounds: options.rounds, subjects: &subjects, works };
    course.run(&mut section, |subject, rate| {
        let rig = Rig::build(world, *subject, Stations::Ip)?;
        // neighbours, caches
        echo::at_rate(1_000, Duration::from_millis(100))?;
        // the switch is queried outside the time measured: answering wakes it
        let (ledger, before) = (rig.ledger()?, Spent::take(&rig)?);
        let times = echo::at_rate(rate.0, time)?;
        let (after, frames) = (Spent::take(&rig)?, frames(&times) as f64);
        let mut facts = vec![("lowest".to_owned(), quantile(&times, 0.0))];
        if let (Some(then), Some(now)) = (before, after) {
            facts.push(("CPU ns/frame".to_owned(), now.cpu_ns_since(then) / frames));
            facts.push(now.wakeups_since(then, frames));
        }
        if let (Some(then), Some(now)) = (ledger, rig.ledger()?) {
            facts.extend(work(&now, &then));
        }
        let calls = calls_during(&rig, || Ok(self::frames(&echo::at_rate(rate.0, STRETCH)?)));
        let latency = Some(latencies(times.iter().map(nanoseconds)));
        let reading = Reading { value: median(&times), facts, latency, findings: rig.inspect()?, ..Reading::default() };
        Ok(reading.with(calls))
    });
    Ok(section)
}

/// Two per round trip.
fn frames(trips: &[f64]) -> u64 {
    2 * trips.len() as u64
}

/// Round trips per second.
#[derive(Clone, Copy, Debug)]
struct Rate(u32);

impl std::fmt::Display for Rate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} k/s", self.0 / 1000)
    }
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a time of at most seconds")]
fn nanoseconds(microseconds: &f64) -> u64 {
    (microseconds * 1e3) as u64
}

fn section(name: &'static str, title: &'static str) -> Section {
    let (name, title, unit) = (name.into(), title.into(), Text::from("µs"));
    let references = vec![Subject::Bridge.to_string()];
    Section { name, title, unit, better: Better::Less, grain: 0.5, references, ..Section::default() }
}

fn course(
    section: &mut Section,
    subjects: &[Subject],
    options: &Options,
    mut one: impl FnMut(Subject) -> Result<Reading>,
) -> Result<()> {
    let subjects = chosen(subjects, options)?;
    section.references.retain(|reference| subjects.iter().any(|subject| subject.to_string() == *reference));
    let course = Course { rounds: options.rounds, subjects: &subjects, works: &["round trip"] };
    course.run(section, |subject, _| one(*subject));
    Ok(())
}
