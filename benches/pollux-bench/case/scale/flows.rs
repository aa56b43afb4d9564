//! IP flows between two stations: irrelevant to a switch that decides by MAC address, an entry each to one that caches flows.

use super::{Point, Work, rate, section};
use crate::case::{chosen, names};
use crate::cli::Options;
use crate::failure::Result;
use crate::report::Section;
use crate::rig::crowd::Crowd;
use crate::rig::{Load, MAC_FLOWS, Poll, Ports, Subject};
use crate::rounds::{Course, Reading};
use crate::world::World;

const POINTS: [u32; 5] = [1, 256, 4096, 65_536, 1_048_576];

const SUBJECTS: [Subject; 4] =
    [Subject::Pollux(Ports::AfXdp, Poll::Busy), Subject::Testpmd, Subject::Ovs, Subject::Bridge];

pub fn measure(world: &World, options: &Options) -> Result<Section> {
    let title = "64 B, one direction, veth to veth, generator testpmd flowgen: flows that differ in the IP address they go \
                 to, one after the other.";
    let mut section = section("scale: flows", title, "flows");
    let subjects = chosen(&SUBJECTS, options)?;
    section.references = names(&[Subject::Testpmd, Subject::Ovs, Subject::Bridge]);
    section.references.retain(|reference| subjects.iter().any(|subject| subject.to_string() == *reference));
    let course = Course { rounds: options.rounds, subjects: &subjects, works: &POINTS.map(|n| Point(n, "flows")) };
    course.run(&mut section, |subject, point| {
        let load = Load { bytes: 60, to: MAC_FLOWS, flows: Some(point.0) };
        let work = Work { load, crowd: Crowd::default(), to_all: false };
        Ok(Reading { x: Some(point.0.into()), ..rate(world, *subject, work, options)? })
    });
    Ok(section)
}
