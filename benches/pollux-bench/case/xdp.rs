//! Frames per second from veth to veth.

use super::look::Look;
use super::spent::calls_under_load;
use super::{chosen, names};
use crate::cli::Options;
use crate::failure::Result;
use crate::report::Section;
use crate::rig::{Load, Poll, Ports, Rig, Stations, Subject, generator};
use crate::rounds::{Course, Reading};
use crate::traffic::sink::Sink;
use crate::world::World;
use std::fmt;
use std::thread::sleep;
use std::time::Duration;

const SUBJECTS: [Subject; 10] = [
    Subject::Pollux(Ports::Veth, Poll::Busy),
    Subject::Pollux(Ports::AfXdp, Poll::Busy),
    Subject::Pollux(Ports::AfXdp, Poll::Adaptive),
    Subject::Testpmd,
    Subject::Ovs,
    Subject::Vpp,
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
        references: names(&[
            Subject::Testpmd,
            Subject::Ovs,
            Subject::Vpp,
            Subject::XdpRedirect,
            Subject::Bridge,
            Subject::Direct,
        ]),
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
    let mut load = generator(world, &Load::of(bytes))?;
    sleep(WARM_UP);
    let before = Look::take(&rig, &sink)?;
    sleep(Duration::from_secs(seconds.into()));
    let after = Look::take(&rig, &sink)?;
    let calls = calls_under_load(&rig, &sink);
    load.must_live()?;
    drop(load);
    let (value, facts) = after.since(&before);
    Ok(Reading { value, facts, findings: rig.inspect()?, ..Reading::default() }.with(calls))
}
