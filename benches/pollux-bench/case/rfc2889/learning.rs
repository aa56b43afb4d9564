//! Address caching capacity (5.7) and learning rate (5.8).
//!
//! Station 0 sends from many addresses, station 1 then sends to each of them. A frame that arrives at station 2 or 3 was
//! flooded, so the switch does not know its address.

use super::flows::greetings;
use super::{CAPACITY, LEARNING, alone, counted};
use crate::cli::Options;
use crate::failure::Result;
use crate::rig::star::address;
use crate::rounds::{Reading, Taken};
use crate::tester::{Effort, Tester};
use ::traffic::search::Shown;
use ::traffic::{Flow, Macs, Outcome, Sizes, Stream};

/// Frames per second at which no subject loses any.
const GENTLY: f64 = 200_000.0;
/// Repetitions of a failed trial before it counts.
const REPEATS: u32 = 2;
/// The answer's precision.
const WIDTH: f64 = 0.02;
/// Addresses of one learning trial: far below every capacity.
const FEW: u32 = 5_000;
const FIRST: u32 = 1_000;

/// Addresses that only the learning station uses.
fn strangers(count: u32) -> Macs {
    Macs::many([2, 9, 0, 0, 0, 0], count).scattered()
}

/// Station 0 shows them at a rate.
fn show(tester: &mut Tester, count: u32, rate: f64) -> Result<Outcome> {
    let mut stream = Stream::new(0, address(0), address(1), Sizes::Fixed(64));
    stream.from = strangers(count);
    tester.trial(alone(Flow { stream, schedule: counted(rate, count.into()), from: 0, to: vec![1] }))
}

/// Share of them that are not known: frames to them arrive at other stations.
fn unknown(tester: &mut Tester, count: u32) -> Result<f64> {
    let mut stream = Stream::new(0, address(1), address(0), Sizes::Fixed(64));
    stream.to = strangers(count);
    let flow = Flow { stream, schedule: counted(GENTLY, count.into()), from: 1, to: vec![0] };
    let outcome = tester.trial(alone(flow))?;
    let watcher = outcome.flows[0].strays[2].max(outcome.flows[0].strays[3]);
    Ok(watcher as f64 / f64::from(count))
}

fn forget(tester: &mut Tester) -> Result<()> {
    tester.flush()?;
    tester.trial(greetings()).map(drop)
}

/// Whether so many fit; a frame lost on the way makes an address unknown too, so a failure is repeated.
fn fit(tester: &mut Tester, count: u32) -> Result<bool> {
    for _ in 0..=REPEATS {
        forget(tester)?;
        show(tester, count, GENTLY)?;
        if unknown(tester, count)? == 0.0 {
            return Ok(true);
        }
    }
    Ok(false)
}

pub fn capacity(tester: &mut Tester, options: &Options) -> Result<Taken> {
    let most = if options.quick { 100_000 } else { 1_000_000 };
    let (mut fits, mut try_next) = (0, FIRST);
    while try_next <= most && fit(tester, try_next)? {
        fits = try_next;
        try_next *= 2;
    }
    let mut reading = Reading::default();
    if try_next > most {
        reading.findings.remarks.push(format!("not more than {most} addresses were tried"));
    } else {
        fits = bisect(tester, fits, try_next)?;
    }
    reading.value = f64::from(fits) / 1e3;
    Ok(Taken { section: CAPACITY, work: "capacity".into(), reading: Ok(reading) })
}

fn bisect(tester: &mut Tester, mut fits: u32, mut fails: u32) -> Result<u32> {
    while f64::from(fails - fits) > f64::from(fails) * WIDTH {
        let middle = fits.midpoint(fails);
        if fit(tester, middle)? {
            fits = middle;
        } else {
            fails = middle;
        }
    }
    Ok(fits)
}

pub fn rate(tester: &mut Tester, effort: Effort) -> Result<Taken> {
    let found = tester.search_by(effort.search(), |tester, rate| {
        forget(tester)?;
        let shown = show(tester, FEW, rate)?;
        let loss = unknown(tester, FEW)?;
        Ok(Shown { offered: shown.offered(), loss, hampered: false })
    })?;
    let mut reading = Reading { value: found.rate / 1e3, ..Reading::default() };
    reading.facts.push(("trials".into(), f64::from(found.trials)));
    if found.bound_by_sender {
        reading.findings.remarks.push("learning: generator-bound".into());
    }
    Ok(Taken { section: LEARNING, work: "learning".into(), reading: Ok(reading) })
}
