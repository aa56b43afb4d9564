//! Addresses behind station B, in an order that misses the caches.

use super::{Point, WARM_UP, section};
use crate::case::look::Look;
use crate::case::{chosen, names};
use crate::cli::Options;
use crate::failure::Result;
use crate::report::Section;
use crate::rig::crowd::Crowd;
use crate::rig::{Poll, Ports, Rig, Stations, Subject};
use crate::rounds::{Course, Reading};
use crate::traffic::many::{DIGESTING, Flood, teach};
use crate::traffic::sink::Sink;
use crate::world::World;
use std::thread::sleep;
use std::time::Duration;

const POINTS: [u32; 6] = [1, 1000, 10_000, 100_000, 300_000, 1_000_000];

const SUBJECTS: [Subject; 4] =
    [Subject::Pollux(Ports::AfXdp, Poll::Busy), Subject::Testpmd, Subject::Ovs, Subject::Bridge];

pub fn measure(world: &World, options: &Options) -> Result<Section> {
    let title = "64 B, one direction, veth to veth, to as many learned addresses behind the receiving port as the axis says, in \
                 an order no cache likes; generator an AF_XDP sender on core 0. testpmd looks nothing up: what it loses is the \
                 generator's.";
    let mut section = section("scale: fdb", title, "addresses");
    let subjects = chosen(&SUBJECTS, options)?;
    section.references = names(&[Subject::Testpmd, Subject::Ovs, Subject::Bridge]);
    section.references.retain(|reference| subjects.iter().any(|subject| subject.to_string() == *reference));
    let works = POINTS.map(|n| Point(n, "addresses"));
    let course = Course { rounds: options.rounds, subjects: &subjects, works: &works };
    course.run(&mut section, |subject, point| one(world, *subject, point.0, options));
    Ok(section)
}

fn one(world: &World, subject: Subject, addresses: u32, options: &Options) -> Result<Reading> {
    let crowd = Crowd { addresses, ..Crowd::default() };
    let rig = Rig::build_among(world, subject, Stations::Frames, crowd)?;
    teach(addresses)?;
    sleep(DIGESTING);
    let sink = Sink::attach(world, subject)?;
    let load = Flood::start(addresses)?;
    sleep(WARM_UP);
    let before = Look::take(&rig, &sink)?;
    sleep(Duration::from_secs(options.seconds.into()));
    let after = Look::take(&rig, &sink)?;
    load.stop()?;
    let (value, facts) = after.since(&before);
    Ok(Reading { value, facts, x: Some(addresses.into()), findings: rig.inspect()?, ..Reading::default() })
}
