//! From `exec` to the last port up, from SIGTERM to the end, and the memory of what is up, by number and kind of ports.

use super::asked;
use crate::cli::Options;
use crate::failure::{During, Failure, Result};
use crate::report::{Better, Section, Shape};
use crate::rig::crowd::Crowd;
use crate::rig::{Daemon, Ports, SWITCH_CORE};
use crate::rounds::{Course, Reading};
use crate::world::{B, World, add_netns};
use std::fmt;
use std::fs;
use std::time::Instant;

/// Ports.
#[derive(Clone, Copy, Debug)]
struct Point(u32);

const POINTS: [Point; 5] = [Point(2), Point(16), Point(64), Point(128), Point(256)];

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ports", self.0)
    }
}

/// Pollux with ports of one kind.
#[derive(Clone, Copy, Debug)]
struct Row(Ports);

const ROWS: [Row; 3] = [Row(Ports::Tap), Row(Ports::Veth), Row(Ports::AfXdp)];

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Ports::Tap => "pollux tap",
            Ports::Veth => "pollux veth",
            Ports::AfXdp => "pollux af_xdp",
        })
    }
}

/// What is kept of a start beside its time.
const STOP: &str = "stop ms";
const RESIDENT: &str = "resident MiB";
const MACHINE: &str = "machine MiB";

/// Two tables of the same starts: time and memory.
pub fn measure(world: &World, options: &Options) -> Result<Vec<Section>> {
    let shape = Shape::Curve { x: "ports".into(), log: true };
    let mut time = Section {
        name: "startup".into(),
        title: "`pollux run`: from exec until its API says that all ports are up, and (stop) from SIGTERM until the process \
                has ended."
            .into(),
        unit: "ms".into(),
        better: Better::Less,
        grain: 20.0,
        shape: shape.clone(),
        ..Section::default()
    };
    let rows: Vec<Row> = ROWS.into_iter().filter(|row| asked(row, &options.only)).collect();
    if rows.is_empty() {
        return Err(Failure(format!("no subject of this case is named {}", options.only.join(", "))));
    }
    let course = Course { rounds: options.rounds, subjects: &rows, works: &POINTS };
    course.run(&mut time, |row, point| one(world, row.0, point.0));
    let mut memory = Section {
        name: "memory".into(),
        title: "By how much the memory that is available on the machine (MemAvailable) is less once all ports are up: process, \
                arena on normal pages and what the kernel keeps for interfaces and sockets. Resident is the process alone."
            .into(),
        unit: "MiB".into(),
        better: Better::Less,
        grain: 8.0,
        shape,
        series: time.series.clone(),
        ..Section::default()
    };
    for series in &mut memory.series {
        series.values = series.facts.remove(MACHINE).unwrap_or_default();
        series.facts.remove(STOP);
    }
    for series in &mut time.series {
        series.facts.retain(|name, _| name == STOP);
    }
    Ok(vec![time, memory])
}

fn one(world: &World, ports: Ports, number: u32) -> Result<Reading> {
    let crowd = Crowd { ports: number as usize, ..Crowd::default() };
    let place = Place::make(world, ports, crowd)?;
    let before = meminfo("MemAvailable")?;
    let start = Instant::now();
    let daemon = Daemon::start(world, &configuration(ports, crowd))?;
    let up = start.elapsed();
    let machine = before - meminfo("MemAvailable")?;
    let resident = resident(daemon.pid())?;
    let (findings, stop) = daemon.close_timed()?;
    drop(place);
    let facts = [(STOP, stop.as_secs_f64() * 1e3), (RESIDENT, resident), (MACHINE, machine)];
    Ok(Reading {
        value: up.as_secs_f64() * 1e3,
        x: Some(number.into()),
        facts: facts.map(|(name, value)| (name.to_owned(), value)).into(),
        findings,
        ..Reading::default()
    })
}

fn configuration(ports: Ports, crowd: Crowd) -> String {
    let ports = crowd.configuration(ports);
    format!(
        "name: bench\nworkers: [{SWITCH_CORE}]\nmemory: {{ hugepages: off }}\ndomains: {{ lan: {{}} }}\nports:\n{ports}"
    )
}

/// The namespace of the far ends, and pairs where the switch does not make them.
struct Place;

impl Place {
    fn make(world: &World, ports: Ports, crowd: Crowd) -> Result<Self> {
        let place = Self;
        add_netns(B)?;
        if ports == Ports::AfXdp {
            crowd.lay(world, |_| None)?;
            crowd.raise(world)?;
        }
        Ok(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        Crowd::remove();
        let _not_made = crate::process::ip(&format!("netns del {B}"));
    }
}

/// MiB.
fn meminfo(name: &str) -> Result<f64> {
    kib("/proc/meminfo", name)
}

/// MiB of a process in memory.
fn resident(pid: u32) -> Result<f64> {
    kib(&format!("/proc/{pid}/status"), "VmRSS")
}

fn kib(path: &str, name: &str) -> Result<f64> {
    let text = fs::read_to_string(path).during(path)?;
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let number = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    Ok(number.ok_or_else(|| Failure(format!("{path} has no {name}")))? / 1024.0)
}
