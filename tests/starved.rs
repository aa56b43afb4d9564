//! A port that found the pool empty receives again once there are frames, though nothing wakes its worker.

mod common;

use common::packet::Wire;
use common::world::{run, silence, world};
use common::{frame, pool, wait_until};
use dataplane::engine::{DomainSpec, Engine, EngineConfig, PortSpec};
use dataplane::idle::Poll;
use dataplane::lcore::allowed_cores;
use dataplane::mem::{Burst, Mbuf, Mempool, MempoolCache};
use dataplane::pmd::af_xdp::{self, XdpConfig, XdpProgram};
use dataplane::pmd::{Pmd, ring};
use dataplane::port::{DomainId, PortId};
use dataplane::stats::PortCounters;
use dataplane::switch::policy::{DomainPolicy, PortPolicy};
use std::sync::Arc;

const STATION: [u8; 6] = [2, 0, 0, 0, 0, 1];
const BROADCAST: [u8; 6] = [0xff; 6];
/// Frames in the fill ring.
const DEPTH: u32 = 256;

/// A veth pair: an AF_XDP queue at one end, a packet socket at the other.
fn veth(pool: &Arc<Mempool>) -> (Pmd, XdpProgram, Wire) {
    silence();
    run(&["ip", "link", "add", "plxt-near", "type", "veth", "peer", "name", "plxt-far"]);
    run(&["ip", "link", "set", "plxt-far", "up"]);
    run(&["ip", "link", "set", "plxt-near", "up"]);
    let config = XdpConfig {
        ifname: "plxt-near".into(),
        ifindex: nix::net::if_::if_nametoindex("plxt-near").expect("an index"),
        rx_queues: 1,
        tx_queues: 1,
        driver: "veth".into(),
        mtu: 1500,
        depth: DEPTH,
    };
    let mut port = af_xdp::open(&config, pool).expect("an AF_XDP port");
    (port.queues.remove(0).into(), port.program, Wire::open("plxt-far"))
}

fn add(engine: &mut Engine, domain: DomainId, queue: Pmd) -> PortId {
    let spec = PortSpec { domain, policy: PortPolicy::limited(u32::MAX), queues: vec![queue] };
    engine.add_port(spec).expect("a port")
}

fn received(engine: &Engine, port: PortId) -> u64 {
    engine.stats().ports.iter().find(|(id, _)| *id == port).expect("a port").1.rx_frames
}

fn sleeps(engine: &Engine) -> u64 {
    engine.stats().workers[0].sleeps
}

#[test]
fn a_port_that_found_the_pool_empty_receives_again() {
    world("a_port_that_found_the_pool_empty_receives_again", || {
        let pool = pool(2048);
        let (queue, _program, wire) = veth(&pool);
        let workers = vec![(allowed_cores()[0], Poll::Adaptive)];
        let mut engine =
            Engine::start(EngineConfig { workers, fdb_entries: 64, pool: Arc::clone(&pool) }).expect("an engine");
        let domain = engine.add_domain(DomainSpec { mtu: 1500, policy: DomainPolicy::learning(None, 64) });
        let domain = domain.expect("a domain");
        let (near, mut far) = ring::pair(1024).expect("a cable");
        let port = add(&mut engine, domain, queue);
        add(&mut engine, domain, near.into());
        // Somebody has all other frames, and nobody reads the cable: what is received does not come back.
        let (mut mem, scrap) = (MempoolCache::new(&pool), PortCounters::default());
        let held: Vec<Mbuf> = std::iter::from_fn(|| mem.alloc()).collect();
        let send = |serial: u32| wire.send(&frame(BROADCAST, STATION, serial, 60)).expect("sending");
        for serial in 0..2 * DEPTH {
            send(serial);
        }
        wait_until("the fill ring to be used up", || received(&engine, port) == u64::from(DEPTH));
        let before = sleeps(&engine);
        wait_until("the worker to look again", || sleeps(&engine) > before);
        held.into_iter().for_each(|mbuf| mem.free(mbuf));
        let mut burst = Burst::new();
        while far.rx_burst(&mut burst, &mut mem, &scrap) > 0 {
            mem.free_burst(&mut burst);
        }
        drop(mem);
        wait_until("frames to be received again", || {
            send(u32::MAX);
            received(&engine, port) > u64::from(DEPTH)
        });
        engine.stop();
        far.close(&mut MempoolCache::new(&pool));
        assert_eq!(pool.free(), pool.total());
    });
}
