//! CPU time per frame at a rate everybody manages.

use super::{chosen, names};
use crate::cli::Options;
use crate::cpu::Ticks;
use crate::failure::{During, Result, fail};
use crate::report::Section;
use crate::rig::{Poll, Ports, Rig, SWITCH_CORE, Stations, Subject};
use crate::rounds::{Course, Reading};
use crate::traffic::paced::send_while;
use crate::traffic::sink::Sink;
use crate::world::World;
use std::thread::sleep;
use std::time::Duration;

const SUBJECTS: [Subject; 5] =
    [Subject::Pollux(Ports::AfXdp, Poll::Adaptive), Subject::Testpmd, Subject::Ovs, Subject::Bridge, Subject::Direct];
const RATE: u32 = 100_000;
/// Before and after the time measured.
const MARGIN: Duration = Duration::from_millis(500);

pub fn measure(world: &World, options: &Options) -> Result<Section> {
    let mut section = Section {
        name: "cpu",
        title: "100 000 frames of 64 B per second, evenly spaced, veth to veth. The figure is the CPU time of the \
                switch's process per frame; `send` is the time a frame costs its sender, where kernel switches do \
                their work; `core 1` counts everything on the switch's core.",
        unit: "ns/frame",
        references: names(&[Subject::Testpmd]),
        ..Section::default()
    };
    let subjects = chosen(&SUBJECTS, options)?;
    section.references.retain(|reference| subjects.iter().any(|subject| subject.to_string() == *reference));
    let course = Course { rounds: options.rounds, subjects: &subjects, works: &["100 kpps"] };
    course.run(&mut section, |subject, _| one(world, *subject, Duration::from_secs(options.seconds.into())));
    Ok(section)
}

struct Span {
    arrived: u64,
    cpu_ns: u64,
    busy: f64,
}

fn one(world: &World, subject: Subject, time: Duration) -> Result<Reading> {
    let rig = Rig::build(world, subject, Stations::Frames)?;
    let sink = Sink::attach(world, subject)?;
    let (sent, span) = send_while(RATE, time + 2 * MARGIN, || span(&rig, &sink, time))?;
    if span.arrived == 0 {
        return fail("nothing arrived");
    }
    let pace = span.arrived as f64 / time.as_secs_f64() / 1e3;
    let own_ns = span.cpu_ns as f64 / span.arrived as f64;
    let send_ns = sent.sending.as_nanos() as f64 / sent.frames.max(1) as f64;
    let facts = vec![
        ("kpps arrived".to_owned(), pace),
        ("send ns".to_owned(), send_ns),
        ("sum ns".to_owned(), own_ns + send_ns),
        ("core 1 %".to_owned(), span.busy * 100.0),
        ("refused".to_owned(), sent.refused as f64),
    ];
    Ok(Reading { value: own_ns, facts, faults: rig.inspect()? })
}

fn span(rig: &Rig, sink: &Sink, time: Duration) -> Result<Span> {
    let core = u32::try_from(SWITCH_CORE).during("the switch's core")?;
    sleep(MARGIN);
    let (arrived, cpu, ticks) = (sink.count()?, rig.cpu_ns()?, Ticks::now(Some(core))?);
    sleep(time);
    let (cpu_now, ticks_now) = (rig.cpu_ns()?, Ticks::now(Some(core))?);
    let cpu_ns = cpu_now.unwrap_or(0) - cpu.unwrap_or(0);
    Ok(Span { arrived: sink.count()? - arrived, cpu_ns, busy: ticks_now.busy_since(ticks) })
}
