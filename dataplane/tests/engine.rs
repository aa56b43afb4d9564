//! The engine with ring ports: real workers, no kernel. Frames go in at one end of a patch cable and come out of
//! another; at the end every frame is accounted for.

use dataplane::engine::{DomainSpec, Engine, EngineConfig, PortSpec, StopReport};
use dataplane::idle::Poll;
use dataplane::lcore::allowed_cores;
use dataplane::mem::{Arena, ArenaConfig, BURST_SIZE, Burst, Hugepages, Mempool, MempoolCache};
use dataplane::pmd::ring::{RingPmd, pair};
use dataplane::port::{DomainId, PortId};
use dataplane::stats::{DropReason, PortCounters, PortStats};
use dataplane::switch::policy::{DomainPolicy, PortPolicy};
use std::sync::Arc;
use std::time::{Duration, Instant};

fn domain() -> DomainSpec {
    DomainSpec { mtu: 1500, policy: DomainPolicy::learning(Some(Duration::from_secs(300)), 1000) }
}

struct Rig {
    engine: Engine,
    pool: Arc<Mempool>,
    mem: MempoolCache,
    counters: PortCounters,
}

/// The far end of a port's cable.
struct Station {
    port: PortId,
    cable: RingPmd,
}

impl Rig {
    fn new(workers: usize, poll: Poll) -> Self {
        let pool = Mempool::new(Arena::new(&ArenaConfig { frames: 8192, hugepages: Hugepages::Off }).unwrap());
        let cores = allowed_cores().into_iter().cycle().take(workers);
        let workers = cores.map(|core| (core, poll)).collect();
        let engine = Engine::start(EngineConfig { workers, fdb_entries: 1024, pool: Arc::clone(&pool) }).unwrap();
        Self { engine, mem: MempoolCache::new(&pool), pool, counters: PortCounters::default() }
    }

    fn station(&mut self, domain: DomainId) -> Station {
        let (near, far) = pair(256).unwrap();
        let spec = PortSpec { domain, policy: PortPolicy::limited(100), queues: vec![near.into()] };
        Station { port: self.engine.add_port(spec).unwrap(), cable: far }
    }

    fn send(&mut self, station: &mut Station, dst: u8, src: u8, payload: &[u8]) {
        let mut frame = vec![2, 0, 0, 0, 0, dst, 2, 0, 0, 0, 0, src, 0x88, 0xb5];
        if dst == 0xff {
            frame[..6].fill(0xff);
        }
        frame.extend_from_slice(payload);
        let mut burst: Burst = [self.mem.alloc_from(&frame).unwrap()].into_iter().collect();
        while station.cable.tx_burst(&mut burst, &mut self.mem, &self.counters) == 0 {
            std::thread::yield_now();
        }
    }

    /// Takes frames out of the cable until one carries `payload`; how many carried something else.
    fn expect(&mut self, station: &mut Station, payload: &[u8]) -> usize {
        let deadline = Instant::now() + Duration::from_secs(10);
        let (mut others, mut found) = (0, false);
        let mut burst = Burst::new();
        while !found {
            assert!(Instant::now() < deadline, "nothing came");
            station.cable.rx_burst(&mut burst, &mut self.mem, &self.counters);
            let wanted = burst.iter().filter(|m| self.pool.data(m)[14..] == *payload).count();
            (others, found) = (others + burst.len() - wanted, wanted == 1);
            self.mem.free_burst(&mut burst);
            std::thread::yield_now();
        }
        others
    }

    /// Takes so many frames out of the cable.
    fn expect_all(&mut self, station: &mut Station, frames: usize) {
        let deadline = Instant::now() + Duration::from_secs(10);
        let (mut burst, mut got) = (Burst::new(), 0);
        while got < frames {
            assert!(Instant::now() < deadline, "{got} of {frames} came");
            got += station.cable.rx_burst(&mut burst, &mut self.mem, &self.counters);
            self.mem.free_burst(&mut burst);
            std::thread::yield_now();
        }
    }

    fn stop(self, stations: Vec<Station>) -> StopReport {
        let Self { engine, pool, mut mem, .. } = self;
        engine.stop();
        stations.into_iter().for_each(|s| s.cable.close(&mut mem));
        drop(mem);
        StopReport { total: pool.total(), free: pool.free() }
    }
}

fn balance(engine: &Engine) -> i128 {
    let snapshot = engine.stats();
    snapshot.ports.iter().map(|(_, s)| s.balance()).sum::<i128>() + snapshot.removed.balance()
}

fn settled(engine: &Engine, done: impl Fn(&PortStats) -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    let sum = || {
        let mut sum = PortStats::default();
        for (_, s) in engine.stats().ports {
            sum.rx_frames += s.rx_frames;
            sum.drops.iter_mut().zip(s.drops).for_each(|(a, b)| *a += b);
        }
        sum
    };
    while !done(&sum()) || balance(engine) != 0 {
        assert!(Instant::now() < deadline, "{:?}", engine.stats());
        std::thread::yield_now();
    }
}

#[test]
fn learns_floods_and_keeps_domains_apart() {
    for (workers, poll) in [(1, Poll::Adaptive), (2, Poll::Adaptive), (2, Poll::Busy)] {
        let mut rig = Rig::new(workers, poll);
        let lan = rig.engine.add_domain(domain()).unwrap();
        let other = rig.engine.add_domain(domain()).unwrap();
        let (mut a, mut b, mut c) = (rig.station(lan), rig.station(lan), rig.station(lan));
        let alien = rig.station(other);
        rig.send(&mut a, 0xff, 1, b"who has 2?");
        assert_eq!(rig.expect(&mut b, b"who has 2?"), 0);
        assert_eq!(rig.expect(&mut c, b"who has 2?"), 0);
        rig.send(&mut b, 1, 2, b"me");
        assert_eq!(rig.expect(&mut a, b"me"), 0);
        rig.send(&mut a, 2, 1, b"hello");
        assert_eq!(rig.expect(&mut b, b"hello"), 0);
        settled(&rig.engine, |s| s.rx_frames == 3);
        let fdb = rig.engine.fdb();
        assert_eq!(fdb.len(), 2, "{fdb:?}");
        assert!(fdb.iter().all(|e| e.domain == lan && [Some(a.port), Some(b.port)].contains(&e.port)));
        let report = rig.stop(vec![a, b, c, alien]);
        assert_eq!(report.free, report.total);
    }
}

#[test]
fn frames_for_a_sleeping_worker_wake_it() {
    let mut rig = Rig::new(2, Poll::Adaptive);
    let lan = rig.engine.add_domain(domain()).unwrap();
    let (mut a, mut b) = (rig.station(lan), rig.station(lan));
    for i in 0..50u8 {
        let slept = |rig: &Rig| rig.engine.stats().workers.iter().all(|w| w.sleeps > u64::from(i));
        while !slept(&rig) {
            std::thread::yield_now();
        }
        rig.send(&mut a, 0xff, 1, &[i]);
        assert_eq!(rig.expect(&mut b, &[i]), 0);
    }
    let report = rig.stop(vec![a, b]);
    assert_eq!(report.free, report.total);
}

/// Fills the cable of a station to the brim.
fn flood(rig: &mut Rig, station: &mut Station) {
    let mut burst = Burst::new();
    while burst.is_empty() {
        let frame = || rig.mem.alloc_from(&[2, 0, 0, 0, 0, 9, 2, 0, 0, 0, 0, 8, 0x88, 0xb5]);
        burst.extend(std::iter::from_fn(frame).take(BURST_SIZE));
        station.cable.tx_burst(&mut burst, &mut rig.mem, &rig.counters);
    }
    rig.mem.free_burst(&mut burst);
}

/// One burst per queue and turn: a port that always has frames does not hold back one that seldom has.
#[test]
fn a_flooded_port_does_not_starve_the_others() {
    let mut rig = Rig::new(1, Poll::Adaptive);
    let (noisy, quiet) = (rig.engine.add_domain(domain()).unwrap(), rig.engine.add_domain(domain()).unwrap());
    let (mut flooder, mut drain) = (rig.station(noisy), rig.station(noisy));
    let (mut a, mut b) = (rig.station(quiet), rig.station(quiet));
    for serial in 0..50u8 {
        flood(&mut rig, &mut flooder);
        rig.send(&mut a, 0xff, 1, &[serial]);
        assert_eq!(rig.expect(&mut b, &[serial]), 0);
        let mut taken = Burst::new();
        drain.cable.rx_burst(&mut taken, &mut rig.mem, &rig.counters);
        rig.mem.free_burst(&mut taken);
    }
    let report = rig.stop(vec![flooder, drain, a, b]);
    assert_eq!(report.free, report.total);
}

#[test]
fn rejected_frames_are_counted_by_reason_and_come_home() {
    let mut rig = Rig::new(1, Poll::Busy);
    let lan = rig.engine.add_domain(domain()).unwrap();
    let (mut a, b) = (rig.station(lan), rig.station(lan));
    let frames: [(&[u8], DropReason); 5] = [
        (&[], DropReason::Runt),
        (&[0; 13], DropReason::Runt),
        (&[2, 0, 0, 0, 0, 2, 3, 0, 0, 0, 0, 1, 0, 0], DropReason::BadSource),
        (&[2, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0], DropReason::BadSource),
        (&[1, 0x80, 0xc2, 0, 0, 1, 2, 0, 0, 0, 0, 1, 0x88, 0x08], DropReason::Pause),
    ];
    for (frame, _) in frames {
        let mut burst: Burst = [rig.mem.alloc_from(frame).unwrap()].into_iter().collect();
        a.cable.tx_burst(&mut burst, &mut rig.mem, &rig.counters);
    }
    rig.send(&mut a, 9, 1, &[0; 1600]);
    settled(&rig.engine, |s| s.rx_frames == 6);
    let stats = rig.engine.stats();
    let at_a = stats.ports.iter().find(|(p, _)| *p == a.port).unwrap().1;
    let dropped: Vec<_> = at_a.dropped().collect();
    assert_eq!(
        dropped,
        [(DropReason::Runt, 2), (DropReason::Oversize, 1), (DropReason::BadSource, 2), (DropReason::Pause, 1)]
    );
    let report = rig.stop(vec![a, b]);
    assert_eq!(report.free, report.total);
}

#[test]
fn ports_come_and_go_under_traffic() {
    let mut rig = Rig::new(2, Poll::Adaptive);
    let lan = rig.engine.add_domain(domain()).unwrap();
    let (mut a, mut b) = (rig.station(lan), rig.station(lan));
    for round in 0..200u8 {
        let mut guest = rig.station(lan);
        rig.send(&mut guest, 0xff, 3, &[round]);
        rig.expect(&mut a, &[round]);
        rig.expect(&mut b, &[round]);
        // A frame to the guest while it leaves: delivered, dropped, or flooded to b if it came too late.
        rig.send(&mut a, 3, 1, b"late");
        rig.engine.remove_port(guest.port).unwrap();
        guest.cable.close(&mut rig.mem);
        assert!(rig.engine.fdb().iter().all(|e| e.port != Some(guest.port)), "its addresses are forgotten");
    }
    settled(&rig.engine, |_| true);
    let report = rig.stop(vec![a, b]);
    assert_eq!(report.free, report.total);
}

/// A port is polled only once every worker knows it: what waits in its cable when it is added reaches all others.
#[test]
fn frames_that_wait_when_a_port_is_added_are_not_lost() {
    let mut rig = Rig::new(2, Poll::Busy);
    let lan = rig.engine.add_domain(domain()).unwrap();
    let mut a = rig.station(lan);
    for round in 0..100u8 {
        let (near, far) = pair(256).unwrap();
        let mut guest = Station { port: PortId(u16::MAX), cable: far };
        for _ in 0..64 {
            rig.send(&mut guest, 0xff, 3, &[round]);
        }
        let spec = PortSpec { domain: lan, policy: PortPolicy::limited(100), queues: vec![near.into()] };
        guest.port = rig.engine.add_port(spec).unwrap();
        rig.expect_all(&mut a, 64);
        rig.engine.remove_port(guest.port).unwrap();
        guest.cable.close(&mut rig.mem);
    }
    let lost: u64 = rig.engine.stats().removed.drops.iter().sum();
    assert_eq!(lost, 0, "{:?}", rig.engine.stats().removed);
    let report = rig.stop(vec![a]);
    assert_eq!(report.free, report.total);
}

#[test]
fn bad_requests_are_refused() {
    let mut rig = Rig::new(1, Poll::Adaptive);
    let lan = rig.engine.add_domain(domain()).unwrap();
    let (near, far) = pair(64).unwrap();
    let spec = PortSpec { domain: DomainId(7), policy: PortPolicy::limited(1), queues: vec![near.into()] };
    assert!(rig.engine.add_port(spec).unwrap_err().to_string().contains("no domain"));
    assert!(rig.engine.remove_port(PortId(3)).unwrap_err().to_string().contains("no port"));
    let station = rig.station(lan);
    assert!(rig.engine.remove_domain(lan).unwrap_err().to_string().contains("still has ports"));
    far.close(&mut rig.mem);
    let report = rig.stop(vec![station]);
    assert_eq!(report.free, report.total);
}
