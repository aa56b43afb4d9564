//! Ports and addresses come and go under traffic: how long traffic stops.

use super::{chosen, names};
use crate::cli::Options;
use crate::failure::Result;
use crate::process::wait_for;
use crate::report::{Better, Section};
use crate::rig::{Change, Poll, Ports, Rig, Stations, Subject};
use crate::rounds::{Course, Reading};
use crate::traffic::paced::send_while;
use crate::traffic::sink::Sink;
use crate::world::World;
use std::thread::sleep;
use std::time::{Duration, Instant};

const SUBJECTS: [Subject; 3] = [Subject::Pollux(Ports::AfXdp, Poll::Adaptive), Subject::Ovs, Subject::Bridge];
const WORKS: [Change; 3] = [Change::Nothing, Change::Port, Change::Address];
/// Frames per second.
const RATE: u32 = 100_000;
/// Before the first change.
const MARGIN: Duration = Duration::from_millis(300);
/// All frames have arrived if none came for so long.
const STILL: Duration = Duration::from_millis(100);
const PATIENCE: Duration = Duration::from_secs(5);

pub fn measure(world: &World, options: &Options) -> Result<Section> {
    let mut section = Section {
        name: "reconfig".into(),
        title: "100 000 frames of 64 B per second, veth to veth, while a port (AF_XDP, or veth of the bridge) or an address is \
                added and removed again and again: frames lost ÷ rate, per change. `nothing` is the same time without \
                changes."
            .into(),
        unit: "µs blocked".into(),
        better: Better::Less,
        // a frame
        grain: 10.0,
        references: names(&[Subject::Bridge]),
        ..Section::default()
    };
    let subjects = chosen(&SUBJECTS, options)?;
    section.references.retain(|reference| subjects.iter().any(|subject| subject.to_string() == *reference));
    let course = Course { rounds: options.rounds, subjects: &subjects, works: &WORKS };
    course.run(&mut section, |subject, change| one(world, *subject, *change, options));
    Ok(section)
}

fn one(world: &World, subject: Subject, change: Change, options: &Options) -> Result<Reading> {
    let rig = Rig::build(world, subject, Stations::Frames)?;
    let sink = Sink::attach(world, subject)?;
    let time = Duration::from_secs(options.seconds.into());
    let before = sink.count()?;
    // twice the time: the last change may take long
    let (sent, changes) = send_while(RATE, 2 * time + MARGIN, || {
        sleep(MARGIN);
        changes(&rig, change, time)
    })?;
    let arrived = settled(&sink)? - before;
    let lost = sent.frames.saturating_sub(arrived) as f64;
    let steps = f64::from(changes.max(1));
    let facts = [
        ("lost", lost),
        ("refused", sent.refused as f64),
        ("changes", f64::from(changes)),
        ("ms each", time.as_secs_f64() * 1e3 / steps),
    ];
    let facts = facts.map(|(name, value)| (name.to_owned(), value)).into();
    Ok(Reading { value: lost / f64::from(RATE) * 1e6 / steps, facts, findings: rig.inspect()?, ..Reading::default() })
}

/// Adds and removes until the time is over; returns how often.
fn changes(rig: &Rig, change: Change, time: Duration) -> Result<u32> {
    let (start, mut changes) = (Instant::now(), 0);
    if change == Change::Nothing {
        sleep(time);
    }
    while start.elapsed() < time {
        rig.change(change, true)?;
        rig.change(change, false)?;
        changes += 2;
    }
    Ok(changes)
}

/// Frames that arrived, once no more do.
fn settled(sink: &Sink) -> Result<u64> {
    let mut last = sink.count()?;
    let still = wait_for(PATIENCE, || {
        sleep(STILL);
        let now = sink.count()?;
        Ok((std::mem::replace(&mut last, now) == now).then_some(now))
    })?;
    Ok(still.unwrap_or(last))
}
