//! All ports send at once, and ports come and go meanwhile: no order between ports is defined, but that of one sender's
//! frames to one receiver is, and none may be missing.

use crate::common::{frame, pool, wait_until};
use crate::reference::{DomainSetup, Mac};
use crate::subject::{Outputs, Subject};
use crate::wired::Wired;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use std::collections::BTreeMap;

const LAN: DomainSetup = DomainSetup { ageing: Some(300), mtu: 1500, fdb_limit: u32::MAX };
const BROADCAST: Mac = [0xff; 6];

fn station(port: u16) -> Mac {
    [0x02, 0, 0, 0, 1, port.to_le_bytes()[0]]
}

/// A switch with `ports` ports in two domains, each port's station known.
fn introduced(pool: &std::sync::Arc<dataplane::mem::Mempool>, workers: usize, ports: u16) -> (Wired, Vec<(u16, u16)>) {
    let mut switch = Wired::new(pool, workers);
    let domains = [switch.add_domain(LAN), switch.add_domain(LAN)];
    let ports: Vec<(u16, u16)> = (0..ports)
        .map(|i| {
            let domain = domains[usize::from(i) % 2];
            (switch.add_port(domain, u32::MAX), domain)
        })
        .collect();
    for (port, _) in &ports {
        switch.send(*port, &[frame(BROADCAST, station(*port), 0, 60)]);
    }
    switch.output();
    (switch, ports)
}

/// Frames by receiver and sender.
type Flows = BTreeMap<(u16, u16), Vec<Vec<u8>>>;

fn by_sender(outputs: Outputs) -> Flows {
    let mut flows = Flows::new();
    for (port, frames) in outputs {
        for frame in frames {
            flows.entry((port, u16::from(frame[11]))).or_default().push(frame);
        }
    }
    flows
}

fn storm(switch: &mut Wired, ports: &[(u16, u16)], shots: &[(usize, Option<usize>, usize)]) -> Flows {
    let mut expected = Flows::new();
    for (serial, (from, to, len)) in shots.iter().enumerate() {
        let (from, domain) = ports[from % ports.len()];
        let peers: Vec<u16> = ports.iter().filter(|(p, d)| *d == domain && *p != from).map(|(p, _)| *p).collect();
        let to = to.map(|n| peers[n % peers.len()]);
        let serial = u32::try_from(serial).unwrap();
        let frame = frame(to.map_or(BROADCAST, station), station(from), serial, *len);
        switch.inject(from, std::slice::from_ref(&frame));
        for to in to.map_or(peers, |to| vec![to]) {
            expected.entry((to, from)).or_default().push(frame.clone());
        }
    }
    expected
}

fn storms(workers: usize) {
    let pool = pool(16384);
    let shot = (any::<usize>(), proptest::option::weighted(0.8, any::<usize>()), 18usize..1515);
    let config = Config { cases: 24, failure_persistence: None, ..Config::default() };
    let life = (4u16..9, proptest::collection::vec(shot, 1..600));
    let outcome = TestRunner::new(config).run(&life, |(ports, shots)| {
        let (mut switch, ports) = introduced(&pool, workers, ports);
        let expected = storm(&mut switch, &ports, &shots);
        switch.settle();
        prop_assert_eq!(by_sender(switch.output()), expected);
        let (total, free) = switch.finish();
        prop_assert_eq!(free, total);
        Ok(())
    });
    outcome.unwrap_or_else(|failure| panic!("{failure}"));
}

#[test]
fn a_storm_on_one_worker_loses_nothing() {
    storms(1);
}

#[test]
fn a_storm_on_two_workers_loses_nothing() {
    storms(2);
}

/// Two ports talk while others are added, used and removed: the two lose no frame, and the pool none either.
fn neighbours_come_and_go(workers: usize) {
    let pool = pool(16384);
    let (mut switch, ports) = introduced(&pool, workers, 4);
    let ((a, domain), (b, _)) = (ports[0], ports[2]);
    let mut arrived = Vec::new();
    let mut serial = 0;
    for round in 0u32..60 {
        for _ in 0..8 {
            let burst: Vec<_> = (0..16).map(|i| frame(station(b), station(a), serial + i, 64)).collect();
            serial += 16;
            switch.inject(a, &burst);
        }
        let guest = switch.add_port(domain, u32::MAX);
        switch.inject(guest, &[frame(BROADCAST, [2, 0, 0, 0, 9, 9], round, 60)]);
        switch.inject(guest, &[frame(station(b), [2, 0, 0, 0, 9, 9], round, 60)]);
        switch.inject(b, &[frame([2, 0, 0, 0, 9, 9], station(b), round, 60)]);
        arrived.extend(switch.output().remove(&b).unwrap_or_default());
        switch.remove_port(guest);
    }
    let of_a = |frames: &[Vec<u8>]| frames.iter().filter(|f| f[6..12] == station(a)).cloned().collect::<Vec<_>>();
    wait_until("every frame from a to b", || {
        arrived.extend(switch.output().remove(&b).unwrap_or_default());
        of_a(&arrived).len() as u64 >= u64::from(serial)
    });
    let expected: Vec<_> = (0..serial).map(|i| frame(station(b), station(a), i, 64)).collect();
    assert_eq!(of_a(&arrived), expected, "all of them, in order");
    assert!(switch.engine.fdb().iter().all(|r| r.mac.0 != [2, 0, 0, 0, 9, 9]), "the guest is forgotten");
    let (total, free) = switch.finish();
    assert_eq!(free, total, "free frames at the end");
}

#[test]
fn neighbours_that_come_and_go_cost_nothing_on_one_worker() {
    neighbours_come_and_go(1);
}

#[test]
fn neighbours_that_come_and_go_cost_nothing_on_two_workers() {
    neighbours_come_and_go(2);
}

/// A port is removed with frames under way to it, and its id is used again in the other domain, which hears nothing.
fn an_id_is_used_again(workers: usize) {
    let pool = pool(16384);
    let (mut switch, ports) = introduced(&pool, workers, 3);
    let [(sender, red), (_, blue), _] = [ports[0], ports[1], ports[2]];
    for round in 0..200 {
        let flood: Vec<_> = (0..64).map(|i| frame(BROADCAST, station(sender), round * 64 + i, 100)).collect();
        let first = switch.add_port(red, u32::MAX);
        switch.inject(sender, &flood);
        switch.remove_port(first);
        let second = switch.add_port(blue, u32::MAX);
        assert_eq!(first, second, "the id is used again");
        switch.inject(sender, &flood);
        switch.settle();
        assert_eq!(switch.collect_from(second), Vec::<Vec<u8>>::new(), "frames of another domain");
        switch.remove_port(second);
        switch.output();
    }
    let (total, free) = switch.finish();
    assert_eq!(free, total, "free frames at the end");
}

#[test]
fn an_id_used_again_hears_nothing_of_its_former_domain_on_one_worker() {
    an_id_is_used_again(1);
}

#[test]
fn an_id_used_again_hears_nothing_of_its_former_domain_on_two_workers() {
    an_id_is_used_again(2);
}

/// Nobody reads at one port: what does not fit there is dropped there, and another port gets everything.
fn a_port_nobody_reads(workers: usize) {
    let pool = pool(16384);
    let (mut switch, ports) = introduced(&pool, workers, 6);
    let [(sender, _), (deaf, _), (reader, _)] = [ports[0], ports[2], ports[4]];
    let sent: Vec<_> = (0..6000).map(|i| frame(BROADCAST, station(sender), i, 200)).collect();
    let mut read = Vec::new();
    for chunk in sent.chunks(500) {
        switch.inject(sender, chunk);
        switch.settle();
        read.extend(switch.collect_from(reader));
    }
    assert_eq!(read, sent, "everything, in order");
    let stats = switch.engine.stats();
    let deaf = stats.ports.iter().find(|(id, _)| id.0 == deaf).expect("a port").1;
    let full: u64 =
        deaf.dropped().filter(|(reason, _)| ["tx_full", "ring_full"].contains(&reason.name())).map(|(_, n)| n).sum();
    assert_eq!(deaf.tx_frames + full, 6000 + 2, "all of it counted, with the two of the introduction");
    assert_eq!(full, 6000 - u64::from(crate::wired::CABLE), "as much as the cable does not hold");
    let (total, free) = switch.finish();
    assert_eq!(free, total, "free frames at the end");
}

#[test]
fn a_port_nobody_reads_stalls_nobody_on_one_worker() {
    a_port_nobody_reads(1);
}

#[test]
fn a_port_nobody_reads_stalls_nobody_on_two_workers() {
    a_port_nobody_reads(2);
}

/// A million frames without a whole header; afterwards the pool is as it was.
#[test]
fn a_million_runts_cost_no_frame() {
    let pool = pool(4096);
    let (mut switch, ports) = introduced(&pool, 1, 2);
    let bad: Vec<Vec<u8>> = (0..1000u32)
        .map(|i| match i % 16 {
            14 => frame(station(1), [0; 6], i, 60),
            15 => frame(station(1), BROADCAST, i, 60),
            len => vec![0xaa; len as usize],
        })
        .collect();
    for _ in 0..1000 {
        switch.inject(ports[0].0, &bad);
    }
    switch.settle();
    let now = switch.engine.stats();
    let dropped: u64 = now.ports.iter().flat_map(|(_, stats)| stats.drops).sum();
    assert_eq!(dropped, 1_000_000 + 2, "the two of the introduction had no neighbour");
    assert!(switch.output().is_empty());
    let (total, free) = switch.finish();
    assert_eq!(free, total, "free frames at the end");
}
