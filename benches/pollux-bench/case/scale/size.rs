//! Length of frames.

use super::{Point, Work, rate, section};
use crate::case::{chosen, names};
use crate::cli::Options;
use crate::failure::Result;
use crate::report::Section;
use crate::rig::crowd::Crowd;
use crate::rig::{Load, Poll, Ports, Subject};
use crate::rounds::{Course, Reading};
use crate::world::World;

/// Lengths on the wire, FCS included, of RFC 2544.
const POINTS: [u32; 7] = [64, 128, 256, 512, 1024, 1280, 1518];
const FCS: u32 = 4;

const SUBJECTS: [Subject; 6] = [
    Subject::Pollux(Ports::AfXdp, Poll::Busy),
    Subject::Testpmd,
    Subject::Ovs,
    Subject::XdpRedirect,
    Subject::Bridge,
    Subject::Direct,
];

pub fn measure(world: &World, options: &Options) -> Result<Section> {
    let title = "One direction, veth to veth, as in `xdp`; lengths count the FCS.";
    let mut section = section("scale: size", title, "bytes");
    let subjects = chosen(&SUBJECTS, options)?;
    section.references = names(&[Subject::Testpmd, Subject::Bridge, Subject::Direct]);
    section.references.retain(|reference| subjects.iter().any(|subject| subject.to_string() == *reference));
    let course = Course { rounds: options.rounds, subjects: &subjects, works: &POINTS.map(|n| Point(n, "B")) };
    course.run(&mut section, |subject, point| {
        let work = Work { load: Load::of(point.0 - FCS), crowd: Crowd::default(), to_all: false };
        Ok(Reading { x: Some(point.0.into()), ..rate(world, *subject, work, options)? })
    });
    Ok(section)
}
