//! Frames per second from veth to veth.

use super::{chosen, names};
use crate::cli::Options;
use crate::failure::Result;
use crate::report::Section;
use crate::rig::{Ledger, Poll, Ports, Rig, Stations, Subject, generator};
use crate::rounds::{Course, Facts, Reading};
use crate::traffic::sink::{Sink, offered};
use crate::world::World;
use std::fmt;
use std::thread::sleep;
use std::time::{Duration, Instant};

const SUBJECTS: [Subject; 9] = [
    Subject::Pollux(Ports::Veth, Poll::Busy),
    Subject::Pollux(Ports::AfXdp, Poll::Busy),
    Subject::Pollux(Ports::AfXdp, Poll::Adaptive),
    Subject::Testpmd,
    Subject::Ovs,
    Subject::XdpRedirect,
    Subject::Bridge,
    Subject::Macvlan,
    Subject::Direct,
];
/// Before the first look: caches, addresses, the generator's start.
const WARM_UP: Duration = Duration::from_millis(500);

/// Length of frames without FCS.
struct Size(u32);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // the shortest frame is called by its length on the wire
        write!(f, "{} B", if self.0 == 60 { 64 } else { self.0 })
    }
}

pub fn measure(world: &World, options: &Options) -> Result<Section> {
    let mut section = Section {
        name: "xdp".into(),
        title: "One direction, veth to veth, generator testpmd txonly on core 0, switch on core 1, sink XDP_DROP."
            .into(),
        unit: "Mpps".into(),
        references: names(&[Subject::Testpmd, Subject::Ovs, Subject::XdpRedirect, Subject::Bridge, Subject::Direct]),
        ..Section::default()
    };
    let subjects = chosen(&SUBJECTS, options)?;
    section.references.retain(|reference| subjects.iter().any(|subject| subject.to_string() == *reference));
    let course = Course { rounds: options.rounds, subjects: &subjects, works: &[Size(60), Size(1500)] };
    course.run(&mut section, |subject, size| one(world, *subject, size.0, options.seconds));
    Ok(section)
}

fn one(world: &World, subject: Subject, bytes: u32, seconds: u32) -> Result<Reading> {
    let rig = Rig::build(world, subject, Stations::Frames)?;
    let sink = Sink::attach(world, subject)?;
    let mut load = generator(world, bytes)?;
    sleep(WARM_UP);
    let before = Look::take(&rig, &sink)?;
    sleep(Duration::from_secs(seconds.into()));
    let after = Look::take(&rig, &sink)?;
    load.must_live()?;
    drop(load);
    let (value, facts) = after.since(&before);
    Ok(Reading { value, facts, findings: rig.inspect()?, ..Reading::default() })
}

/// The counts at one moment.
struct Look {
    at: Instant,
    arrived: u64,
    offered: u64,
    cpu_ns: Option<u64>,
    ledger: Option<Ledger>,
}

impl Look {
    fn take(rig: &Rig, sink: &Sink) -> Result<Self> {
        // the two that make the figure next to each other
        let (ledger, cpu_ns, offered) = (rig.ledger()?, rig.cpu_ns()?, offered()?);
        let arrived = sink.count()?;
        Ok(Self { at: Instant::now(), arrived, offered, cpu_ns, ledger })
    }

    /// Mpps that arrived, and what else can be said of the time between.
    fn since(&self, before: &Self) -> (f64, Facts) {
        let seconds = (self.at - before.at).as_secs_f64();
        let arrived = (self.arrived - before.arrived) as f64;
        let offered = (self.offered - before.offered) as f64;
        let mut facts = vec![("offered Mpps".to_owned(), offered / seconds / 1e6)];
        if let (Some(now), Some(then)) = (self.cpu_ns, before.cpu_ns) {
            facts.push(("CPU ns/frame".to_owned(), (now - then) as f64 / arrived));
        }
        if let (Some(now), Some(then)) = (&self.ledger, &before.ledger) {
            facts.extend(inside(now, then, seconds));
        }
        (arrived / seconds / 1e6, facts)
    }
}

/// What Pollux says of itself: drops by reason, and what it does while it is not idle.
fn inside(now: &Ledger, then: &Ledger, seconds: f64) -> Facts {
    let received = (now.received - then.received).max(1) as f64;
    let dropped = |(reason, n): (&String, &u64)| {
        let more = n - then.drops.get(reason).unwrap_or(&0);
        (format!("{reason} %"), more as f64 / received * 100.0)
    };
    let work_ns = now.work_ns - then.work_ns;
    let work = [("work ns/frame".to_owned(), work_ns / received), ("work %".to_owned(), work_ns / seconds / 1e7)];
    now.drops.iter().map(dropped).chain(work).collect()
}
