//! The number of workers. Their cores are taken from the last one down: with as many workers as cores, core 0 is among them,
//! which otherwise only the generator uses.

use super::{Point, section};
use crate::case::{chosen, names};
use crate::cli::Options;
use crate::failure::{During, Failure, Result};
use crate::report::Section;
use crate::rig::{IP_B, Poll, Ports, Rig, Stations, Subject};
use crate::rounds::{Course, Reading};
use crate::traffic::iperf::{Flow, Outcome};
use crate::world::{A, B, World};
use std::thread;

/// Subjects whose limit is the switch, not the sender: `xdp` says nothing here as long as its generator has one core.
const SUBJECTS: [Subject; 4] = [
    Subject::Pollux(Ports::Tap, Poll::Adaptive),
    Subject::Pollux(Ports::Veth, Poll::Adaptive),
    Subject::Ovs,
    Subject::Bridge,
];
/// Each has a client and a server of its own: iperf3 up to 3.15 serves all streams of a client by one thread.
const FLOWS_PER_CORE: u16 = 2;
/// Of each flow, so that the queues are hit evenly enough.
const STREAMS: u32 = 2;
const PORT: u16 = 5201;

pub fn measure(world: &World, options: &Options) -> Result<Section> {
    let cores = thread::available_parallelism().during("the number of cores")?.get();
    let mut section = section("scale: workers", title(cores), "workers");
    section.unit = "Gbit/s".into();
    let subjects = chosen(&SUBJECTS, options)?;
    section.references = names(&[Subject::Ovs, Subject::Bridge]);
    section.references.retain(|reference| subjects.iter().any(|subject| subject.to_string() == *reference));
    let course = Course { rounds: options.rounds, subjects: &subjects, works: &points(cores)? };
    course.run(&mut section, |subject, point| {
        let workers: Vec<usize> = (0..cores).rev().take(point.0 as usize).collect();
        let reading = one(world, *subject, &workers, flows(cores)?, options.seconds)?;
        Ok(Reading { x: Some(point.0.into()), ..reading })
    });
    Ok(section)
}

fn title(cores: usize) -> String {
    format!(
        "iperf3 from namespace to namespace, {FLOWS_PER_CORE} clients per core of {STREAMS} streams each, unpinned, MTU 1500; a \
         queue per worker at each port. Workers have the cores from the last one down: the {cores} cores of this machine are \
         also iperf3's, and with {cores} workers none is left to it alone. For OVS, `ethtool -K tx off` at both ends. The \
         bridge has no workers: it works on the senders' cores at every point."
    )
}

/// Powers of two, and all cores.
fn points(cores: usize) -> Result<Vec<Point>> {
    let cores = u32::try_from(cores).during("the number of cores")?;
    let powers = (0..).map(|n| 1 << n).take_while(|workers| *workers < cores);
    Ok(powers.chain([cores]).map(|workers| Point(workers, "workers")).collect())
}

fn flows(cores: usize) -> Result<u16> {
    Ok(u16::try_from(cores).during("the number of cores")?.saturating_mul(FLOWS_PER_CORE))
}

fn one(world: &World, subject: Subject, cores: &[usize], flows: u16, seconds: u32) -> Result<Reading> {
    let rig = Rig::build_on(world, subject, Stations::Ip, cores)?;
    let before = rig.cpu_ns()?;
    let outcome = together(world, flows, seconds)?;
    let mut facts = vec![("retransmits".to_owned(), outcome.retransmits)];
    if let (Some(now), Some(then)) = (rig.cpu_ns()?, before) {
        facts.push(("CPU %".to_owned(), (now - then) as f64 / f64::from(seconds) / 1e7));
    }
    // whether the flows were spread at all
    facts.extend(rig.ledger()?.map(|ledger| ("busiest worker %".to_owned(), busiest(&ledger.by_worker))));
    Ok(Reading { value: outcome.gbits, facts, findings: rig.inspect()?, ..Reading::default() })
}

/// Runs so many flows at once; returns the sum of their rates.
fn together(world: &World, flows: u16, seconds: u32) -> Result<Outcome> {
    let run = |port| Flow { from: A, to: B, address: IP_B, port, seconds }.tcp(&world.directory, STREAMS);
    let outcomes = thread::scope(|scope| {
        let all: Vec<_> = (PORT..PORT.saturating_add(flows)).map(|port| scope.spawn(move || run(port))).collect();
        let panicked = |_| Failure("a flow panicked".into());
        all.into_iter().map(|flow| flow.join().map_err(panicked)?).collect::<Result<Vec<_>>>()
    })?;
    let sum = |what: fn(&Outcome) -> f64| outcomes.iter().map(what).sum();
    Ok(Outcome { gbits: sum(|one| one.gbits), retransmits: sum(|one| one.retransmits) })
}

/// The share of all frames that the busiest worker received.
fn busiest(by_worker: &[u64]) -> f64 {
    let (most, all) = (by_worker.iter().copied().max(), by_worker.iter().sum::<u64>());
    most.unwrap_or(0) as f64 / all.max(1) as f64 * 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_busiest_of_two_has_at_least_half() {
        assert_eq!((busiest(&[1, 1]), busiest(&[4, 0]), busiest(&[0, 0])), (50.0, 100.0, 0.0));
    }

    #[test]
    fn the_last_point_is_all_cores() {
        let workers = |cores| points(cores).unwrap().iter().map(|point| point.0).collect::<Vec<_>>();
        assert_eq!(
            (workers(1), workers(2), workers(4), workers(6)),
            (vec![1], vec![1, 2], vec![1, 2, 4], vec![1, 2, 4, 6])
        );
    }
}
