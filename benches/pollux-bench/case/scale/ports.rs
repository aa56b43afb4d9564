//! The number of ports beside the two with traffic: what an idle port costs the others.

use super::{OVS_PORTS, Point, Work, not_measured, rate, section};
use crate::case::asked;
use crate::cli::Options;
use crate::failure::{Failure, Result};
use crate::report::Section;
use crate::rig::crowd::Crowd;
use crate::rig::{Load, Poll, Ports, Subject, ovs_installed};
use crate::rounds::{Course, Reading};
use crate::world::World;
use std::fmt;

const POINTS: [u32; 5] = [2, 8, 32, 128, 256];

/// A subject and what its idle ports are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Row(Subject, bool);

const ROWS: [Row; 5] = [
    Row(Subject::Pollux(Ports::AfXdp, Poll::Busy), false),
    Row(Subject::Pollux(Ports::AfXdp, Poll::Busy), true),
    Row(Subject::Pollux(Ports::Veth, Poll::Adaptive), false),
    Row(Subject::Ovs, false),
    Row(Subject::Bridge, false),
];

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.0, if self.1 { ", idle TAPs" } else { "" })
    }
}

pub fn measure(world: &World, options: &Options) -> Result<Section> {
    let title = "64 B, one direction, veth to veth, as in `xdp`, among more ports on which nothing happens.";
    let mut section = section("scale: ports", title, "ports");
    let possible = ROWS.into_iter().filter(|row| row.0 != Subject::Ovs || ovs_installed());
    let rows: Vec<Row> = possible.filter(|row| asked(row, &options.only)).collect();
    if rows.is_empty() {
        return Err(Failure(format!("no subject of this case is named {}", options.only.join(", "))));
    }
    section.references = rows.iter().filter(|row| row.0 == Subject::Bridge).map(Row::to_string).collect();
    let course = Course { rounds: options.rounds, subjects: &rows, works: &POINTS.map(|n| Point(n, "ports")) };
    course.run(&mut section, |row, point| {
        if row.0 == Subject::Ovs && point.0 > OVS_PORTS {
            return Ok(not_measured(format!("not beyond {OVS_PORTS} ports: it takes longer than 20 s to add them")));
        }
        let crowd = Crowd { ports: point.0 as usize - 2, taps: row.1, ..Crowd::default() };
        let reading = rate(world, row.0, Work { load: Load::of(60), crowd, to_all: false }, options)?;
        Ok(Reading { x: Some(point.0.into()), ..reading })
    });
    Ok(section)
}
