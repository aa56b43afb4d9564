//! TCP between two namespaces, offloads as the system sets them.

use super::{chosen, names};
use crate::cli::Options;
use crate::failure::Result;
use crate::report::Section;
use crate::rig::{IP_B, Poll, Ports, Rig, Stations, Subject};
use crate::rounds::{Course, Reading};
use crate::traffic::iperf::Flow;
use crate::world::{A, B, World};
use std::fmt;

const SUBJECTS: [Subject; 6] = [
    Subject::Pollux(Ports::Tap, Poll::Adaptive),
    Subject::Pollux(Ports::Veth, Poll::Adaptive),
    Subject::Testpmd,
    Subject::Ovs,
    Subject::Bridge,
    Subject::Macvlan,
];
const PORT: u16 = 5201;

struct Streams(u32);

impl fmt::Display for Streams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} stream{}", self.0, if self.0 == 1 { "" } else { "s" })
    }
}

pub fn measure(world: &World, options: &Options) -> Result<Section> {
    let mut section = Section {
        name: "tcp".into(),
        title: "iperf3 from namespace to namespace, unpinned, MTU 1500. Offloads are as the system sets them, except \
                for testpmd and OVS: they move nothing until `ethtool -K tx off` is done at both ends, and it was."
            .into(),
        unit: "Gbit/s".into(),
        references: names(&[Subject::Bridge, Subject::Macvlan, Subject::Testpmd]),
        ..Section::default()
    };
    let subjects = chosen(&SUBJECTS, options)?;
    section.references.retain(|reference| subjects.iter().any(|subject| subject.to_string() == *reference));
    let course = Course { rounds: options.rounds, subjects: &subjects, works: &[Streams(1), Streams(4)] };
    course.run(&mut section, |subject, streams| one(world, *subject, streams.0, options.seconds));
    Ok(section)
}

fn one(world: &World, subject: Subject, streams: u32, seconds: u32) -> Result<Reading> {
    let rig = Rig::build(world, subject, Stations::Ip)?;
    let before = rig.cpu_ns()?;
    let flow = Flow { from: A, to: B, address: IP_B, port: PORT, seconds };
    let outcome = flow.tcp(&world.directory, streams)?;
    let mut facts = vec![("retransmits".to_owned(), outcome.retransmits)];
    if let (Some(now), Some(then)) = (rig.cpu_ns()?, before) {
        facts.push(("CPU %".to_owned(), (now - then) as f64 / f64::from(seconds) / 1e7));
    }
    Ok(Reading { value: outcome.gbits, facts, findings: rig.inspect()?, ..Reading::default() })
}
