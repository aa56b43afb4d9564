//! The number of domains beside the one with traffic: the cost of keeping them apart.

use super::{Point, Work, rate, section};
use crate::case::{chosen, names};
use crate::cli::Options;
use crate::failure::Result;
use crate::report::Section;
use crate::rig::crowd::Crowd;
use crate::rig::{Load, Poll, Ports, Subject};
use crate::rounds::{Course, Reading};
use crate::world::World;

const POINTS: [u32; 6] = [1, 4, 16, 64, 256, 1024];

const SUBJECTS: [Subject; 2] = [Subject::Pollux(Ports::AfXdp, Poll::Busy), Subject::Bridge];

pub fn measure(world: &World, options: &Options) -> Result<Section> {
    let title = "64 B, one direction, veth to veth, as in `xdp`, beside more domains (of the kernel: bridges). They have no \
                 ports, but the address that is sent to is known in each: to Pollux as one whose frames are dropped, to the \
                 kernel as the bridge's own.";
    let mut section = section("scale: domains", title, "domains");
    let subjects = chosen(&SUBJECTS, options)?;
    section.references = names(&[Subject::Bridge]);
    section.references.retain(|reference| subjects.iter().any(|subject| subject.to_string() == *reference));
    let course = Course { rounds: options.rounds, subjects: &subjects, works: &POINTS.map(|n| Point(n, "domains")) };
    course.run(&mut section, |subject, point| {
        let crowd = Crowd { domains: point.0 - 1, ..Crowd::default() };
        let work = Work { load: Load::of(60), crowd, to_all: false };
        Ok(Reading { x: Some(point.0.into()), ..rate(world, *subject, work, options)? })
    });
    Ok(section)
}
