//! What is compared with the reference, and the comparison.

use crate::common::frame;
use crate::ops::{FrameKind, Op};
use crate::reference::{DomainSetup, Mac, Reference, Tally};
use dataplane::stats::PortStats;
use proptest::prelude::*;
use std::collections::BTreeMap;

/// Frames by the port they came out of, in order.
pub type Outputs = BTreeMap<u16, Vec<Vec<u8>>>;
/// What was counted, by port.
pub type Tallies = BTreeMap<u16, Tally>;

/// A switch of ours, with its frames within reach. Chooses its own ids.
pub trait Subject {
    fn add_domain(&mut self, setup: DomainSetup) -> u16;
    fn remove_domain(&mut self, domain: u16);
    fn add_port(&mut self, domain: u16, fdb_limit: u32) -> u16;
    fn remove_port(&mut self, port: u16);
    fn add_static(&mut self, domain: u16, mac: Mac, port: u16);
    fn forget(&mut self, domain: u16, mac: Mac) -> bool;
    /// Frames come in on `port`; returns when they have been dealt with.
    fn send(&mut self, port: u16, frames: &[Vec<u8>]);
    /// It is second `now`.
    fn tick(&mut self, now: u32);
    /// What has come out since the last call.
    fn output(&mut self) -> Outputs;
    /// What was counted, and frames in minus frames out of all ports there ever were.
    fn tallies(&mut self) -> (Tallies, i128);
    /// Domain, address, port, static; sorted.
    fn stations(&self) -> Vec<(u16, Mac, u16, bool)>;
    /// Closes everything: frames of the pool, and how many of them are free.
    fn finish(self) -> (u32, u32);
}

/// A port's counters in the words of the reference.
pub fn tally(stats: &PortStats) -> Tally {
    Tally {
        rx_frames: stats.rx_frames,
        rx_bytes: stats.rx_bytes,
        tx_frames: stats.tx_frames,
        tx_bytes: stats.tx_bytes,
        drops: stats.dropped().map(|(reason, n)| (reason.name(), n)).collect(),
    }
}

/// Lives the life twice and compares after each step.
pub fn compare(mut subject: impl Subject, ops: &[Op]) -> Result<(), TestCaseError> {
    let mut reference = Reference::new(1);
    subject.tick(1);
    let mut serial = 0;
    for op in ops {
        step(&mut subject, &mut reference, op, &mut serial)?;
        prop_assert_eq!(subject.output(), reference.take_output(), "frames that came out after {:?}", op);
        prop_assert_eq!(subject.stations(), reference.stations(), "addresses known after {:?}", op);
        let (tallies, balance) = subject.tallies();
        prop_assert_eq!(&tallies, reference.tallies(), "counters after {:?}", op);
        prop_assert_eq!(balance, 0, "frames in, minus frames out and dropped, after {:?}", op);
    }
    let (total, free) = subject.finish();
    prop_assert_eq!(free, total, "free frames of the pool at the end");
    Ok(())
}

fn pick<T: Copy>(of: &[T], n: usize) -> Option<T> {
    of.get(n % of.len().max(1)).copied()
}

fn step(subject: &mut impl Subject, reference: &mut Reference, op: &Op, serial: &mut u32) -> Result<(), TestCaseError> {
    match op {
        Op::AddDomain(setup) => {
            let id = subject.add_domain(*setup);
            reference.add_domain(id, *setup);
        }
        Op::RemoveDomain(n) => {
            let empty: Vec<u16> = reference.domains().into_iter().filter(|d| reference.is_empty_domain(*d)).collect();
            if let Some(domain) = pick(&empty, *n) {
                subject.remove_domain(domain);
                reference.remove_domain(domain);
            }
        }
        Op::AddPort { domain, fdb_limit } => {
            if let Some(domain) = pick(&reference.domains(), *domain) {
                let id = subject.add_port(domain, *fdb_limit);
                reference.add_port(id, domain, *fdb_limit);
            }
        }
        Op::RemovePort(n) => {
            if let Some(port) = pick(&reference.ports(), *n) {
                subject.remove_port(port);
                reference.remove_port(port);
            }
        }
        Op::AddStatic { port, station } => {
            if let Some(port) = pick(&reference.ports(), *port) {
                let mac = crate::ops::Address::Station(*station).mac();
                subject.add_static(reference.domain_of(port), mac, port);
                reference.add_static(reference.domain_of(port), mac, port);
            }
        }
        Op::Forget { domain, station } => {
            if let Some(domain) = pick(&reference.domains(), *domain) {
                let mac = crate::ops::Address::Station(*station).mac();
                prop_assert_eq!(subject.forget(domain, mac), reference.forget(domain, mac));
            }
        }
        Op::Frames { port, frames } => {
            if let Some(port) = pick(&reference.ports(), *port) {
                let frames = build(frames, reference.max_len(port), serial);
                subject.send(port, &frames);
                frames.iter().for_each(|frame| reference.receive(port, frame));
            }
        }
        Op::Tick(seconds) => {
            for _ in 0..*seconds {
                reference.tick();
                subject.tick(reference.now);
            }
        }
    }
    Ok(())
}

fn build(kinds: &[FrameKind], limit: usize, serial: &mut u32) -> Vec<Vec<u8>> {
    let one = |kind: &FrameKind| {
        *serial += 1;
        frame(kind.dst.mac(), kind.src.mac(), *serial, kind.len.bytes(limit))
    };
    kinds.iter().map(one).collect()
}
