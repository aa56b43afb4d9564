//! TCP between two namespaces, offloads as the system sets them.

use super::chosen;
use crate::cli::Options;
use crate::failure::Result;
use crate::report::Section;
use crate::rig::{IP_B, Poll, Ports, Rig, Stations, Subject};
use crate::rounds::{Course, Reading};
use crate::traffic::iperf::{Flow, NO_CONNECTION, Outcome};
use crate::world::{A, B, World};
use std::fmt;

const SUBJECTS: [Subject; 8] = [
    Subject::Pollux(Ports::Tap, Poll::Adaptive),
    Subject::Pollux(Ports::Veth, Poll::Adaptive),
    Subject::Testpmd,
    Subject::Ovs,
    Subject::Vpp,
    Subject::XdpRedirect,
    Subject::Bridge,
    Subject::Macvlan,
];
const PORT: u16 = 5201;

/// A subject, and whether offloads are turned off for it.
#[derive(Clone, Copy, Debug)]
struct Row {
    subject: Subject,
    stations: Stations,
}

impl Row {
    /// With the offloads that it needs.
    fn usual(subject: Subject) -> Self {
        Self { subject, stations: Stations::Ip }
    }

    fn of(subject: Subject) -> Vec<Self> {
        let untouched = subject.needs_offloads_off().then_some(Self { subject, stations: Stations::AsSet });
        untouched.into_iter().chain([Self::usual(subject)]).collect()
    }

    /// With default offloads; if nothing passes, that is the result.
    fn is_doubtful(self) -> bool {
        self.stations == Stations::AsSet
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let touched = self.stations == Stations::Ip && self.subject.needs_offloads_off();
        write!(f, "{}{}", self.subject, if touched { ", tx off" } else { "" })
    }
}

struct Streams(u32);

impl fmt::Display for Streams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} stream{}", self.0, if self.0 == 1 { "" } else { "s" })
    }
}

pub fn measure(world: &World, options: &Options) -> Result<Section> {
    let mut section = Section {
        name: "tcp".into(),
        title:
            "iperf3 from namespace to namespace, unpinned, MTU 1500. Offloads are as the system sets them. Subjects \
                that pass on checksums nobody has computed are measured twice: so, and after `ethtool -K tx off` at \
                both ends (tx off)."
                .into(),
        unit: "Gbit/s".into(),
        references: [Subject::Bridge, Subject::Macvlan, Subject::Testpmd]
            .map(|peer| Row::usual(peer).to_string())
            .into(),
        ..Section::default()
    };
    let rows: Vec<Row> = chosen(&SUBJECTS, options)?.into_iter().flat_map(Row::of).collect();
    section.references.retain(|reference| rows.iter().any(|row| row.to_string() == *reference));
    let course = Course { rounds: options.rounds, subjects: &rows, works: &[Streams(1), Streams(4)] };
    course.run(&mut section, |row, streams| one(world, *row, streams.0, options.seconds));
    Ok(section)
}

fn one(world: &World, row: Row, streams: u32, seconds: u32) -> Result<Reading> {
    let rig = Rig::build(world, row.subject, row.stations)?;
    let before = rig.cpu_ns()?;
    let flow = Flow { from: A, to: B, address: IP_B, port: PORT, seconds };
    let outcome = match flow.tcp(&world.directory, streams) {
        Err(failure) if row.is_doubtful() && failure.0.contains(NO_CONNECTION) => {
            Outcome { gbits: 0.0, retransmits: 0.0 }
        }
        outcome => outcome?,
    };
    let mut facts = vec![("retransmits".to_owned(), outcome.retransmits)];
    if let (Some(now), Some(then)) = (rig.cpu_ns()?, before) {
        facts.push(("CPU %".to_owned(), (now - then) as f64 / f64::from(seconds) / 1e7));
    }
    Ok(Reading { value: outcome.gbits, facts, findings: rig.inspect()?, ..Reading::default() })
}
