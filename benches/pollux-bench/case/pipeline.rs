//! The pipeline in memory: no port, no kernel, one program of ours that reads the time-stamp counter.

use super::asked;
use crate::cli::Options;
use crate::failure::{During, Failure, Result};
use crate::process::run;
use crate::report::{Better, Section, Shape};
use crate::rig::SWITCH_CORE;
use crate::rounds::{Course, Reading};
use std::fmt;

/// Frames of a burst.
struct Burst(u32);

impl fmt::Display for Burst {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "burst of {}", self.0)
    }
}

/// Stations of the table.
struct Stations(u32);

impl fmt::Display for Stations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            n if n >= 1_000_000 => write!(f, "{} M", n / 1_000_000),
            n if n >= 1000 => write!(f, "{} k", n / 1000),
            n => write!(f, "{n}"),
        }
    }
}

/// How frames meet the table: the name, and the words of the program for it.
const WAYS: [(&str, &[&str]); 2] = [("pollux fdb, burst of 32", &[]), ("pollux fdb, one by one", &["--single"])];

/// What is done with a burst: the name, and the words of the program for it. The second is ours too, so that
/// slower lanes or a slower pool are noticed.
const BURSTS: [(&str, &[&str]); 4] = [
    ("pollux pipeline", &[]),
    ("pollux null: lanes, no look-up", &["--baseline", "null"]),
    ("memcpy of 64 B", &["--baseline", "memcpy"]),
    ("memcpy of 1514 B", &["--baseline", "memcpy", "--bytes", "1514"]),
];

/// Learn, look up, sort into lanes.
pub fn pipeline(options: &Options) -> Result<Section> {
    let subjects = asked_of(&BURSTS, options);
    let mut section = Section {
        name: "pipeline".into(),
        title:
            "In memory, on core 1: a burst of 64-byte frames of 1000 stations is learned, looked up and sorted into \
                egress lanes, and freed. `null` only sorts them into the lane of a fixed port and frees them; `memcpy` \
                copies each into another chunk of the arena. Cycles of the time-stamp counter."
                .into(),
        unit: "cycles per frame".into(),
        better: Better::Less,
        grain: 2.0,
        references: subjects.iter().filter(|name| **name != BURSTS[0].0).map(|name| (*name).to_owned()).collect(),
        ..Section::default()
    };
    let course = Course { rounds: options.rounds, subjects: &subjects, works: &[Burst(1), Burst(8), Burst(32)] };
    course.run(&mut section, |subject, burst| {
        let n = burst.0.to_string();
        let value = ask(&[&["cycles", "--burst", &n], words(&BURSTS, subject)].concat())?;
        Ok(Reading { value, ..Reading::default() })
    });
    Ok(section)
}

fn asked_of(list: &[(&'static str, &[&str])], options: &Options) -> Vec<&'static str> {
    list.iter().map(|(name, _)| *name).filter(|name| asked(name, &options.only)).collect()
}

fn words<'a>(list: &[(&str, &'a [&'a str])], subject: &str) -> &'a [&'a str] {
    list.iter().find(|(name, _)| *name == subject).map_or(&[], |(_, words)| words)
}

/// The table alone, as it grows.
pub fn fdb(options: &Options) -> Result<Section> {
    let mut section = Section {
        name: "fdb".into(),
        title:
            "The forwarding table alone, on core 1: the source of a frame is learned again, its destination looked up; \
                stations in random order. Cycles of the time-stamp counter."
                .into(),
        unit: "cycles per frame".into(),
        better: Better::Less,
        grain: 2.0,
        shape: Shape::Curve { x: "stations".into(), log: true },
        ..Section::default()
    };
    let subjects = asked_of(&WAYS, options);
    let works = [1, 100, 1_000, 10_000, 100_000, 1_000_000].map(Stations);
    let course = Course { rounds: options.rounds, subjects: &subjects, works: &works };
    course.run(&mut section, |subject, stations| {
        let n = stations.0.to_string();
        let value = ask(&[&["fdb", "--stations", &n], words(&WAYS, subject)].concat())?;
        Ok(Reading { value, x: Some(stations.0.into()), ..Reading::default() })
    });
    Ok(section)
}

/// The output of `pollux-pipeline`, the program beside this one.
pub fn ask(words: &[&str]) -> Result<f64> {
    let program = std::env::current_exe().during("our own path")?.with_file_name("pollux-pipeline");
    if !program.is_file() {
        let what = "pollux-pipeline is not beside pollux-bench";
        return Err(Failure(format!("{what}: `cargo build --release --workspace --bins`")));
    }
    let (program, core) = (program.display().to_string(), SWITCH_CORE.to_string());
    let text = run(&[&[&program[..]], words, &["--core", &core]].concat())?;
    text.trim().parse().during("what pollux-pipeline says")
}
