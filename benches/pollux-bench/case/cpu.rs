//! CPU time per frame at a rate that every subject can forward.

use super::spent::{self, Calls, STRETCH, Spent, calls_under_load};
use super::{chosen, names};
use crate::cli::Options;
use crate::cpu::Ticks;
use crate::failure::{During, Result, fail};
use crate::report::{Better, Section};
use crate::rig::{Ledger, Poll, Ports, Rig, SWITCH_CORE, Stations, Subject};
use crate::rounds::{Course, Facts, Reading};
use crate::traffic::paced::send_while;
use crate::traffic::sink::Sink;
use crate::world::World;
use std::thread::sleep;
use std::time::{Duration, Instant};

const SUBJECTS: [Subject; 8] = [
    Subject::Pollux(Ports::AfXdp, Poll::Adaptive),
    Subject::Pollux(Ports::AfXdp, Poll::Economy),
    Subject::Testpmd,
    Subject::Ovs,
    Subject::Vpp,
    Subject::XdpRedirect,
    Subject::Bridge,
    Subject::Direct,
];
const RATE: u32 = 100_000;
/// Before and after the time measured.
const MARGIN: Duration = Duration::from_millis(500);

pub fn measure(world: &World, options: &Options) -> Result<Section> {
    let mut section = Section {
        name: "cpu".into(),
        title: "100 000 frames of 64 B per second, evenly spaced, veth to veth. The figure is the CPU time of the \
                switch's process per frame; `send` is the time a frame costs its sender, where kernel switches do \
                their work; `core 1` counts everything on the switch's core."
            .into(),
        unit: "ns/frame".into(),
        better: Better::Less,
        grain: 50.0,
        references: names(&[Subject::Testpmd]),
        ..Section::default()
    };
    let subjects = chosen(&SUBJECTS, options)?;
    section.references.retain(|reference| subjects.iter().any(|subject| subject.to_string() == *reference));
    let course = Course { rounds: options.rounds, subjects: &subjects, works: &["100 kpps"] };
    course.run(&mut section, |subject, _| one(world, *subject, Duration::from_secs(options.seconds.into())));
    Ok(section)
}

/// What happened in the time measured.
struct Span {
    arrived: u64,
    cpu_ns: f64,
    facts: Facts,
    calls: Calls,
}

fn one(world: &World, subject: Subject, time: Duration) -> Result<Reading> {
    let rig = Rig::build(world, subject, Stations::Frames)?;
    let sink = Sink::attach(world, subject)?;
    let (sent, span) = send_while(RATE, time + 2 * MARGIN + STRETCH, || span(&rig, &sink, time))?;
    if span.arrived == 0 {
        return fail("nothing arrived");
    }
    let value = span.cpu_ns / span.arrived as f64;
    let send_ns = sent.sending.as_nanos() as f64 / sent.frames.max(1) as f64;
    let mut facts = span.facts;
    facts.push(("send ns".to_owned(), send_ns));
    facts.push(("sum ns".to_owned(), value + send_ns));
    facts.push(("refused".to_owned(), sent.refused as f64));
    Ok(Reading { value, facts, findings: rig.inspect()?, ..Reading::default() }.with(span.calls))
}

fn span(rig: &Rig, sink: &Sink, time: Duration) -> Result<Span> {
    sleep(MARGIN);
    let before = Look::take(rig, sink)?;
    sleep(time);
    let after = Look::take(rig, sink)?;
    let calls = calls_under_load(rig, sink);
    let (arrived, seconds) = (after.arrived - before.arrived, (after.at - before.at).as_secs_f64());
    let mut facts = vec![
        ("kpps arrived".to_owned(), arrived as f64 / seconds / 1e3),
        ("core 1 %".to_owned(), after.ticks.busy_since(before.ticks) * 100.0),
    ];
    if let (Some(now), Some(then)) = (after.ledger, before.ledger) {
        facts.extend(spent::work(&now, &then));
        facts.push(("work ns/frame".to_owned(), (now.work_ns - then.work_ns) / arrived.max(1) as f64));
        facts.push(("sleeps/s".to_owned(), (now.sleeps - then.sleeps) as f64 / seconds));
    }
    let mut cpu_ns = 0.0;
    if let (Some(now), Some(then)) = (after.spent, before.spent) {
        cpu_ns = now.cpu_ns_since(then);
        facts.push(now.wakeups_since(then, arrived as f64));
    }
    Ok(Span { arrived, cpu_ns, facts, calls })
}

struct Look {
    at: Instant,
    arrived: u64,
    spent: Option<Spent>,
    ticks: Ticks,
    ledger: Option<Ledger>,
}

impl Look {
    fn take(rig: &Rig, sink: &Sink) -> Result<Self> {
        let core = u32::try_from(SWITCH_CORE).during("the switch's core")?;
        let (ledger, arrived) = (rig.ledger()?, sink.count()?);
        Ok(Self { at: Instant::now(), arrived, spent: Spent::take(rig)?, ticks: Ticks::now(Some(core))?, ledger })
    }
}
