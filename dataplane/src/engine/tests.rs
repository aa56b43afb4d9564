//! Workers that are late, and changes that are refused: what the engine keeps to whatever happens.

use super::*;
use crate::eth::MacAddr;
use crate::mem::{Arena, ArenaConfig, Burst, Hugepages};
use crate::pmd::ring::{RingPmd, pair};
use crate::port::PortId;
use crate::stats::PortCounters;
use crate::switch::fdb::{Fixed, Hit, Kind};
use crate::switch::policy::{Action, DomainPolicy, PortPolicy, Security};
use crossbeam::channel::Receiver;
use std::sync::atomic::AtomicBool;

struct Rig {
    engine: Engine,
    pool: Arc<Mempool>,
    mem: MempoolCache,
    counters: PortCounters,
    far: Vec<RingPmd>,
}

fn mac(n: u64) -> MacAddr {
    MacAddr::from_u64(0x0200_0000_0000 + n)
}

fn securing(macs: &[MacAddr]) -> PortPolicy {
    PortPolicy { security: Some(Security { macs: macs.to_vec(), act: Action::Drop }), ..PortPolicy::default() }
}

impl Rig {
    fn new() -> Self {
        let pool = Mempool::new(Arena::new(&ArenaConfig { frames: 4096, hugepages: Hugepages::Off }).unwrap());
        let workers = lcore::allowed_cores().into_iter().take(1).map(|core| (core, Poll::Adaptive)).collect();
        let engine = Engine::start(EngineConfig { workers, fdb_entries: 1024, pool: Arc::clone(&pool) }).unwrap();
        let mem = MempoolCache::new(&pool);
        Self { engine, pool, mem, counters: PortCounters::default(), far: Vec::new() }
    }

    fn domain(&mut self) -> DomainId {
        let policy = DomainPolicy::learning(Some(Duration::from_secs(300)), u32::MAX);
        self.engine.add_domain(DomainSpec { mtu: 1500, policy }).unwrap()
    }

    /// A port whose cable is `self.far`'s last.
    fn add(&mut self, domain: DomainId, policy: PortPolicy) -> Result<PortId, EngineError> {
        let (near, far) = pair(256).unwrap();
        self.far.push(far);
        self.engine.add_port(PortSpec { domain, policy, queues: vec![near.into()] })
    }

    /// Keeps the worker busy until the answer is taken: it waits to hand it over.
    fn hold(&self) -> Receiver<()> {
        let (reply, answer) = bounded(0);
        self.engine.workers[0].mailbox.post(Command::Sync(reply));
        answer
    }

    fn broadcast(&mut self, from: usize, n: usize) {
        let frame = [&[0xff; 6][..], &[2, 0, 0, 0, 9, 9], &[0x88, 0xb5], &[0; 46]].concat();
        let mut burst: Burst = (0..n).map(|_| self.mem.alloc_from(&frame).unwrap()).collect();
        assert_eq!(self.far[from].tx_burst(&mut burst, &mut self.mem, &self.counters), n);
    }

    fn arrived(&mut self, at: usize) -> usize {
        let mut burst = Burst::new();
        let n = self.far[at].rx_burst(&mut burst, &mut self.mem, &self.counters);
        self.mem.free_burst(&mut burst);
        n
    }

    fn find(&self, domain: DomainId, mac: MacAddr) -> Option<Hit> {
        let fdb = &self.engine.fdb;
        fdb.find_at(fdb.hash(self.engine.fids.get(domain, 0).unwrap(), mac))
    }

    /// Fills the table until it refuses some address, then looks for one that it refuses in the domain: both its buckets
    /// are full of fixed entries.
    fn unplaceable(&self, domain: DomainId) -> MacAddr {
        let (fdb, elsewhere) = (&self.engine.fdb, Fid::new(4711).unwrap());
        let here = self.engine.fids.get(domain, 0).unwrap();
        let refuses = |fid: Fid, n: u64| fdb.insert_fixed(fid, mac(n), PortId(0), Fixed::Sticky).is_err();
        assert!((0..1 << 16).any(|n| refuses(elsewhere, n)), "a table has an end");
        let refused = |n: &u64| refuses(here, *n) || !fdb.remove(here, mac(*n));
        (0..1 << 20).find(refused).map(mac).expect("by chance there is one")
    }

    fn finish(self) {
        let Self { engine, pool, mut mem, far, .. } = self;
        engine.stop();
        far.into_iter().for_each(|cable| cable.close(&mut mem));
        drop(mem);
        assert_eq!(pool.free(), pool.total(), "every frame is back");
    }
}

fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(10);
    while !done() {
        assert!(Instant::now() < end, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_port_that_a_late_worker_holds_keeps_its_id_and_nothing_crosses() {
    let mut rig = Rig::new();
    let (red, blue) = (rig.domain(), rig.domain());
    let x = rig.add(red, PortPolicy::default()).unwrap();
    let _red = rig.add(red, PortPolicy::default()).unwrap();
    let _blue = rig.add(blue, PortPolicy::default()).unwrap();
    let held = rig.hold();
    rig.broadcast(0, 20);
    rig.broadcast(1, 20);
    let late = rig.engine.remove_port(x).unwrap_err();
    assert!(matches!(late, EngineError::Late { .. }), "{late}");
    assert!(matches!(rig.engine.remove_port(x), Err(EngineError::NoPort(_))), "it is on its way out");
    let y = rig.add(blue, PortPolicy::default()).unwrap();
    assert_ne!(x, y, "the worker still has the queue of the first");
    assert!(matches!(rig.engine.remove_domain(red), Err(EngineError::DomainBusy(_))));
    held.recv().unwrap();
    eventually("the port to be gone", || {
        rig.engine.tick();
        matches!(rig.engine.ports[x.index()], Slot::Free)
    });
    assert_eq!((rig.arrived(2), rig.arrived(3)), (0, 0), "frames of the other domain");
    assert_eq!(rig.add(blue, PortPolicy::default()).unwrap(), x, "now the id is free");
    rig.broadcast(3, 5);
    eventually("frames to pass", || rig.arrived(4) > 0);
    eventually("every frame to be accounted for", || {
        let snapshot = rig.engine.stats();
        snapshot.ports.iter().map(|(_, s)| s.balance()).sum::<i128>() + snapshot.removed.balance() == 0
    });
    rig.finish();
}

#[test]
fn a_port_that_is_leaving_when_the_engine_stops_is_closed() {
    let mut rig = Rig::new();
    let red = rig.domain();
    let x = rig.add(red, PortPolicy::default()).unwrap();
    let held = rig.hold();
    rig.broadcast(0, 20);
    rig.engine.remove_port(x).unwrap_err();
    held.recv().unwrap();
    rig.finish();
}

#[test]
fn a_filtering_id_is_used_again_only_when_every_worker_has_left_it() {
    let mut rig = Rig::new();
    let red = rig.domain();
    let fid = rig.engine.fids.get(red, 0).unwrap();
    let held = rig.hold();
    rig.engine.remove_domain(red).unwrap();
    let blue = rig.domain();
    assert_ne!(rig.engine.fids.get(blue, 0), Some(fid));
    held.recv().unwrap();
    eventually("the id to be free", || {
        rig.engine.tick();
        rig.engine.fids.owner(fid).is_none()
    });
    rig.finish();
}

#[test]
fn what_a_command_replaces_is_freed_by_control() {
    let mut rig = Rig::new();
    let red = rig.domain();
    let port = rig.add(red, PortPolicy::default()).unwrap();
    rig.engine.outbox.free_spent();
    rig.engine.set_port_policy(port, PortPolicy::limited(7)).unwrap();
    assert_eq!(rig.engine.outbox.free_spent(), 2, "a domain and a port");
    rig.engine.remove_port(port).unwrap();
    rig.engine.tick();
    assert_eq!(rig.engine.outbox.free_spent(), 0, "a tick frees them");
    rig.finish();
}

#[test]
fn a_change_that_the_fdb_refuses_changes_nothing() {
    let mut rig = Rig::new();
    let red = rig.domain();
    let port = rig.add(red, PortPolicy::default()).unwrap();
    let (bad, good) = (rig.unplaceable(red), MacAddr([2, 7, 7, 7, 7, 7]));
    let policy = securing(&[good, bad]);
    assert!(matches!(rig.engine.set_port_policy(port, policy.clone()), Err(EngineError::Fdb(_))));
    assert_eq!(rig.engine.port_policy(port).unwrap(), PortPolicy::default());
    assert_eq!(rig.find(red, good), None, "what was pinned is unpinned");
    assert!(matches!(rig.add(red, policy), Err(EngineError::Fdb(_))));
    assert_eq!((rig.engine.stats().ports.len(), rig.find(red, good)), (1, None));
    rig.finish();
}

#[test]
fn an_operators_entry_outlives_the_port_security_of_its_address() {
    let mut rig = Rig::new();
    let red = rig.domain();
    let port = rig.add(red, securing(&[mac(1), mac(2)])).unwrap();
    let other = rig.add(red, PortPolicy::default()).unwrap();
    let pinned = Some(Hit { port, kind: Kind::Sticky });
    assert_eq!(rig.find(red, mac(1)), pinned);
    rig.engine.add_entry(red, 0, mac(1), FdbEntry::Static(other)).unwrap();
    let made = Some(Hit { port: other, kind: Kind::Static });
    rig.engine.set_link(port, false).unwrap();
    rig.engine.set_link(port, true).unwrap();
    assert_eq!((rig.find(red, mac(1)), rig.find(red, mac(2))), (made, pinned));
    assert!(rig.engine.remove_entry(red, 0, mac(1)));
    assert_eq!(rig.find(red, mac(1)), pinned, "security has it again");
    rig.engine.add_entry(red, 0, mac(1), FdbEntry::Static(other)).unwrap();
    rig.engine.flush(&Flush { kind: Some(Kind::Sticky), ..Flush::default() });
    assert_eq!(rig.find(red, mac(2)), pinned, "a policy is not flushed");
    rig.engine.set_port_policy(port, PortPolicy::default()).unwrap();
    assert_eq!((rig.find(red, mac(1)), rig.find(red, mac(2))), (made, None));
    rig.finish();
}

/// Somebody looks at a secured address all the time, while the port's policy and link change.
#[test]
fn a_secured_address_is_pinned_at_every_moment() {
    let mut rig = Rig::new();
    let red = rig.domain();
    let port = rig.add(red, securing(&[mac(1)])).unwrap();
    let (fdb, key) = (Arc::clone(&rig.engine.fdb), rig.engine.fids.get(red, 0).unwrap());
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let look = scope.spawn(|| {
            let mut missing = 0u64;
            while !done.load(Ordering::Relaxed) {
                missing += u64::from(fdb.find_at(fdb.hash(key, mac(1))) != Some(Hit { port, kind: Kind::Sticky }));
            }
            missing
        });
        for n in 0..300 {
            rig.engine.set_link(port, n % 2 == 1).unwrap();
            let policy = PortPolicy { fdb_limit: n, ..securing(&[mac(1), mac(2)]) };
            rig.engine.set_port_policy(port, policy).unwrap();
        }
        done.store(true, Ordering::Relaxed);
        assert_eq!(look.join().unwrap(), 0, "times it was not there");
    });
    rig.finish();
}

#[test]
fn a_domain_that_learns_no_more_has_forgotten_what_it_knew() {
    let mut rig = Rig::new();
    let (red, blue) = (rig.domain(), rig.domain());
    let port = rig.add(red, PortPolicy::default()).unwrap();
    for domain in [red, blue] {
        let _new = rig.engine.fdb.learn(rig.engine.fids.get(domain, 0).unwrap(), mac(1), port, 1);
    }
    rig.engine.add_entry(red, 0, mac(2), FdbEntry::Static(port)).unwrap();
    rig.engine.set_domain_policy(red, DomainPolicy::learning(None, 100)).unwrap();
    assert_eq!(rig.find(red, mac(1)), None);
    assert!(rig.find(red, mac(2)).is_some() && rig.find(blue, mac(1)).is_some());
    rig.finish();
}

#[test]
fn a_guest_that_goes_leaves_the_fixed_entries_of_its_port() {
    let mut rig = Rig::new();
    let red = rig.domain();
    let port = rig.add(red, securing(&[mac(1)])).unwrap();
    rig.engine.add_entry(red, 0, mac(2), FdbEntry::Static(port)).unwrap();
    let _new = rig.engine.fdb.learn(rig.engine.fids.get(red, 0).unwrap(), mac(3), port, 1);
    rig.engine.forget_addresses(port);
    assert!(rig.find(red, mac(1)).is_some() && rig.find(red, mac(2)).is_some());
    assert_eq!(rig.find(red, mac(3)), None);
    rig.finish();
}

#[test]
fn no_filter_is_in_the_table_before_every_worker_expects_filters() {
    let mut rig = Rig::new();
    let red = rig.domain();
    let _port = rig.add(red, PortPolicy::default()).unwrap();
    let held = rig.hold();
    assert!(matches!(rig.engine.add_entry(red, 0, mac(1), FdbEntry::Filter), Err(EngineError::Late { .. })));
    assert_eq!(rig.find(red, mac(1)), None, "the worker would send to port 0 what it names");
    held.recv().unwrap();
    rig.engine.add_entry(red, 0, mac(1), FdbEntry::Filter).unwrap();
    assert_eq!(rig.find(red, mac(1)).map(|hit| hit.kind), Some(Kind::Filter));
    rig.finish();
}
