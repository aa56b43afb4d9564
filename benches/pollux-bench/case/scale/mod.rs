//! How the cost grows: one curve per axis, beside the peers that support it.

mod domains;
mod fan_out;
mod fdb;
mod flows;
mod ports;
mod size;
mod workers;

use super::look::Look;
use crate::cli::Options;
use crate::failure::Result;
use crate::report::{Section, Shape, Text};
use crate::rig::crowd::Crowd;
use crate::rig::{Load, Rig, Stations, Subject, generator};
use crate::rounds::{Findings, Reading};
use crate::traffic::sink::Sink;
use crate::words::Axis;
use crate::world::World;
use std::fmt;
use std::thread::sleep;
use std::time::Duration;

/// Before the first look: caches, addresses, the generator's start.
const WARM_UP: Duration = Duration::from_millis(500);

/// Measures along one axis.
pub fn measure(world: &World, options: &Options, axis: Axis) -> Result<Section> {
    match axis {
        Axis::Ports => ports::measure(world, options),
        Axis::Size => size::measure(world, options),
        Axis::Flows => flows::measure(world, options),
        Axis::Fdb => fdb::measure(world, options),
        Axis::FanOut => fan_out::measure(world, options),
        Axis::Domains => domains::measure(world, options),
        Axis::Workers => workers::measure(world, options),
    }
}

/// A point of an axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Point(u32, &'static str);

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.0, self.1)
    }
}

/// AF_XDP ports that OVS is given: with 64 it did not come up within 20 s.
const OVS_PORTS: u32 = 32;

/// A point that a subject does not reach, and why.
fn not_measured(why: String) -> Reading {
    Reading { value: f64::NAN, findings: Findings { remarks: vec![why], ..Findings::default() }, ..Reading::default() }
}

/// A curve in millions of frames per second.
fn section(name: &'static str, title: impl Into<Text>, x: &'static str) -> Section {
    Section {
        name: name.into(),
        title: title.into(),
        unit: "Mpps".into(),
        shape: Shape::Curve { x: x.into(), log: true },
        ..Section::default()
    }
}

/// The load, and the number of ports.
#[derive(Clone, Copy, Debug)]
struct Work<'a> {
    load: Load<'a>,
    crowd: Crowd,
    /// Whether the crowd gets frames too.
    to_all: bool,
}

/// Frames per second that arrive, from station A.
fn rate(world: &World, subject: Subject, work: Work<'_>, options: &Options) -> Result<Reading> {
    let rig = Rig::build_among(world, subject, Stations::Frames, work.crowd)?;
    let sink = if work.to_all { Sink::attach_all(world, subject, work.crowd)? } else { Sink::attach(world, subject)? };
    let mut load = generator(world, &work.load)?;
    sleep(WARM_UP);
    let before = Look::take(&rig, &sink)?;
    sleep(Duration::from_secs(options.seconds.into()));
    let after = Look::take(&rig, &sink)?;
    load.must_live()?;
    drop(load);
    let (value, facts) = after.since(&before);
    Ok(Reading { value, facts, findings: rig.inspect()?, ..Reading::default() })
}
