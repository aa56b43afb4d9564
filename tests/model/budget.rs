//! Nobody takes other ports' frames: a storm to hundreds of ports gets through a pool that could not hold the copies of one
//! burst, and a domain on another worker notices nothing.

use crate::common::{frame, pool};
use crate::reference::DomainSetup;
use crate::subject::Subject;
use crate::wired::Wired;
use dataplane::engine::PortSpec;
use dataplane::pmd::null::Null;
use dataplane::port::DomainId;
use dataplane::stats::PortStats;
use dataplane::switch::policy::PortPolicy;

const BROADCAST: [u8; 6] = [0xff; 6];
/// The longest frames that a guest sends.
const LONG: usize = 65_000;
const LAN: DomainSetup = DomainSetup { ageing: Some(300), mtu: 65_535, fdb_limit: u32::MAX };

/// A port that swallows what it gets.
fn sink(switch: &mut Wired, domain: u16) -> u16 {
    let queues = vec![Null::new().into()];
    let spec = PortSpec { domain: DomainId(domain), policy: PortPolicy::limited(u32::MAX), queues };
    switch.engine.add_port(spec).expect("a port").0
}

fn stats_of(switch: &Wired, port: u16) -> PortStats {
    let stats = switch.engine.stats().ports;
    stats.into_iter().find(|(id, _)| id.0 == port).expect("a port").1
}

/// Broadcasts of `len` bytes to `sinks` ports of one worker while a domain on the other worker broadcasts too.
fn storm(sinks: usize, rounds: u32, len: usize) {
    let pool = pool(8192);
    let mut switch = Wired::new(&pool, 2);
    let [stormy, quiet, idle] = [(); 3].map(|()| switch.add_domain(LAN));
    // Ports go to the two workers in turn.
    let sender = switch.add_port(stormy, u32::MAX);
    let talker = switch.add_port(quiet, u32::MAX);
    let mut swamped = vec![sink(&mut switch, stormy)];
    let listeners = [(); 3].map(|()| {
        let listener = sink(&mut switch, quiet);
        swamped.push(sink(&mut switch, stormy));
        listener
    });
    while swamped.len() < sinks {
        sink(&mut switch, idle);
        swamped.push(sink(&mut switch, stormy));
    }
    let mac = |port: u16| [2, 0, 0, 0, 0, port.to_le_bytes()[0]];
    for round in 0..rounds {
        let storm: Vec<_> = (0..32).map(|i| frame(BROADCAST, mac(sender), 32 * round + i, len)).collect();
        let talk: Vec<_> = (0..32).map(|i| frame(BROADCAST, mac(talker), 32 * round + i, 100)).collect();
        switch.inject(sender, &storm);
        switch.inject(talker, &talk);
        if len > 2000 {
            // The test's own frames are not what this is about.
            switch.settle();
        }
    }
    switch.settle();
    let sent = 32 * u64::from(rounds);
    for port in listeners.iter().chain(&swamped) {
        let stats = stats_of(&switch, *port);
        assert_eq!((stats.tx_frames, stats.dropped().count()), (sent, 0), "port {port}: {stats:?}");
    }
    let (total, free) = switch.finish();
    assert_eq!(free, total, "free frames at the end");
}

#[test]
fn a_storm_to_hundreds_of_ports_takes_nobodys_frames() {
    storm(400, 20, 60);
}

#[test]
fn broadcasts_of_64_kib_take_nobodys_frames() {
    storm(30, 10, LONG);
}
