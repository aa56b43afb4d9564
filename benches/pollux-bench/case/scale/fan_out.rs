//! The number of ports that receive a broadcast.

use super::{OVS_PORTS, Point, Work, not_measured, rate, section};
use crate::case::{chosen, names};
use crate::cli::Options;
use crate::failure::Result;
use crate::report::Section;
use crate::rig::crowd::Crowd;
use crate::rig::{Load, Poll, Ports, Subject};
use crate::rounds::{Course, Reading};
use crate::world::World;

const POINTS: [u32; 6] = [1, 2, 4, 16, 64, 128];
const EVERYBODY: &str = "ff:ff:ff:ff:ff:ff";

const SUBJECTS: [Subject; 4] = [
    Subject::Pollux(Ports::AfXdp, Poll::Busy),
    Subject::Pollux(Ports::Veth, Poll::Adaptive),
    Subject::Ovs,
    Subject::Bridge,
];

pub fn measure(world: &World, options: &Options) -> Result<Section> {
    let title = "Broadcasts of 64 B from station A as fast as it can, and as many receiving ports as the axis says; the \
                 figure counts what arrived at all of them.";
    let mut section = section("scale: fan-out", title, "receiving ports");
    let subjects = chosen(&SUBJECTS, options)?;
    section.references = names(&[Subject::Ovs, Subject::Bridge]);
    section.references.retain(|reference| subjects.iter().any(|subject| subject.to_string() == *reference));
    let course = Course { rounds: options.rounds, subjects: &subjects, works: &POINTS.map(|n| Point(n, "copies")) };
    course.run(&mut section, |subject, point| {
        if *subject == Subject::Ovs && point.0 > OVS_PORTS {
            return Ok(not_measured(format!("not beyond {OVS_PORTS} ports: it takes longer than 20 s to add them")));
        }
        let load = Load { bytes: 60, to: EVERYBODY, flows: None };
        let crowd = Crowd { ports: point.0 as usize - 1, ..Crowd::default() };
        let reading = rate(world, *subject, Work { load, crowd, to_all: true }, options)?;
        Ok(Reading { x: Some(point.0.into()), ..reading })
    });
    Ok(section)
}
