//! The burst contract of `dataplane::pmd`, over every kind of port.
//!
//! A rig is one queue of a port and its far side: the other end of a cable, a packet socket of the kernel, a guest. What goes
//! in on one side comes out of the other, whole, in order, and counted; `tx_burst` takes a prefix and leaves the
//! rest in order; after `close` every frame is back in the pool.

mod common;
#[path = "e2e/guest/frontend.rs"]
mod frontend;

use common::packet::Wire;
use common::world::{run, silence, world};
use common::{bytes_of, frame, pool, take_bytes, wait_until};
use crossbeam::channel::bounded;
use dataplane::mem::{BURST_SIZE, Burst, MempoolCache};
use dataplane::offload::Features;
use dataplane::pmd::af_xdp::{self, XdpConfig, XdpProgram};
use dataplane::pmd::null::Null;
use dataplane::pmd::tap::{self, IdleLook, TapConfig};
use dataplane::pmd::vhost::{
    Direction, GuestMemory, RegionSpec, RingFaultEvents, RingFeatures, RingSpec, Vhost, Vring, VringCommand,
};
use dataplane::pmd::{Backlog, Pmd, ring};
use dataplane::stats::{PortCounters, PortStats};
use frontend::{FrontEnd, GUEST, MIDDLE, USER};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

const A: [u8; 6] = [2, 0, 0, 0, 0, 0xa];
const B: [u8; 6] = [2, 0, 0, 0, 0, 0xb];
/// Around the burst size, which is 32.
const COUNTS: [usize; 6] = [0, 1, 31, 32, 33, 64];
/// A bare header, the shortest and the longest frame of Ethernet.
const LENGTHS: [usize; 3] = [14, 60, 1514];
/// Enough for an AF_XDP queue's rings, and to fill its TX ring.
const FRAMES: u32 = 16384;

/// Frames that a rig's cable holds.
const CABLE: usize = 64;

/// What is on the other side of the port.
enum Far {
    Nothing,
    Cable(Box<Pmd>),
    Kernel(Wire),
    /// A guest, and the buffers it has offered to receive in, by the first whose frame was not looked at.
    Guest(Box<FrontEnd>, u16),
}

/// A queue under test.
struct Rig {
    pmd: Pmd,
    far: Far,
    mem: MempoolCache,
    counters: PortCounters,
    /// What the far end of a cable counts.
    scrap: PortCounters,
    /// Detached when the rig goes.
    program: Option<XdpProgram>,
}

impl Rig {
    fn new(pmd: Pmd, far: Far, mem: MempoolCache) -> Self {
        Self { pmd, far, mem, counters: PortCounters::default(), scrap: PortCounters::default(), program: None }
    }

    fn null() -> Self {
        Self::new(Null::new().into(), Far::Nothing, MempoolCache::new(&pool(FRAMES)))
    }

    fn ring() -> Self {
        let (near, far) = ring::pair(u32::try_from(CABLE).unwrap()).expect("a cable");
        Self::new(near.into(), Far::Cable(Box::new(far.into())), MempoolCache::new(&pool(FRAMES)))
    }

    fn tap(idle: IdleLook) -> Self {
        silence();
        let config = TapConfig { ifname: "plxt-tap".into(), queues: 1, idle };
        let queue = tap::open(&config).expect("a tap").queues.remove(0);
        run(&["ip", "link", "set", "plxt-tap", "up"]);
        Self::new(queue.into(), Far::Kernel(Wire::open("plxt-tap")), MempoolCache::new(&pool(FRAMES)))
    }

    /// An AF_XDP socket on one end of a veth pair.
    fn af_xdp() -> Self {
        silence();
        run(&["ip", "link", "add", "plxt-near", "type", "veth", "peer", "name", "plxt-far"]);
        run(&["ip", "link", "set", "plxt-far", "up"]);
        run(&["ip", "link", "set", "plxt-near", "up"]);
        let pool = pool(FRAMES);
        let config = XdpConfig {
            ifname: "plxt-near".into(),
            ifindex: nix::net::if_::if_nametoindex("plxt-near").expect("an index"),
            rx_queues: 1,
            tx_queues: 1,
            driver: "veth".into(),
            mtu: 1500,
            depth: af_xdp::MAX_DEPTH,
        };
        let mut port = af_xdp::open(&config, &pool).expect("an AF_XDP port");
        let rig =
            Self::new(port.queues.remove(0).into(), Far::Kernel(Wire::open("plxt-far")), MempoolCache::new(&pool));
        Self { program: Some(port.program), ..rig }
    }

    /// A queue pair of a guest.
    fn vhost() -> Self {
        let (ours, _nobody) = UnixStream::pair().expect("a pair");
        let mut guest = FrontEnd::on(ours, MIDDLE);
        (0..2).for_each(|vring| guest.start(vring));
        (0..MIDDLE.size).for_each(|_| guest.want());
        let file = guest.memory.try_clone().expect("a descriptor").into();
        let table = vec![RegionSpec { guest: GUEST, user: USER, len: MIDDLE.memory, offset: 0, file }];
        let memory = Arc::new(GuestMemory::map(table).expect("guest memory"));
        let mut queue = Vhost::new(0, 1, &Arc::new(RingFaultEvents::new().expect("an eventfd")));
        for (vring, direction) in [(0, Direction::ToGuest), (1, Direction::FromGuest)] {
            let [desc, avail, used] = [0, 1, 2].map(|part| USER + guest.part(vring, part));
            let (memory, size) = (Arc::clone(&memory), MIDDLE.size);
            let (packed, event_idx, indirect) = (false, false, false);
            let spec = RingSpec { memory, size, desc, avail, used, base: 0, packed, event_idx, indirect };
            let features = RingFeatures { header: 12, mergeable: true, offload: Features::ALL };
            let (reply, _answer) = bounded(1);
            queue.apply(
                VringCommand::Start(direction, Box::new(Vring::new(&spec, features, true).expect("a ring"))),
                &reply,
            );
        }
        Self::new(queue.into(), Far::Guest(Box::new(guest), 0), MempoolCache::new(&pool(FRAMES)))
    }

    fn stats(&self) -> PortStats {
        let mut stats = PortStats::default();
        stats.add(&self.counters);
        stats
    }

    fn burst(&mut self, frames: &[Vec<u8>]) -> Burst {
        frames.iter().map(|bytes| self.mem.alloc_from(bytes).expect("frames left")).collect()
    }

    /// Frames go in on the far side. A cable is filled as far as it goes; the rest waits for the next call.
    fn far_send(&mut self, frames: &[Vec<u8>]) {
        for chunk in frames.chunks(BURST_SIZE) {
            let mut burst = self.burst(chunk);
            match &mut self.far {
                Far::Nothing => {}
                Far::Cable(far) => drop(far.tx_burst(&mut burst, &mut self.mem, &self.scrap)),
                Far::Kernel(wire) => chunk.iter().for_each(|bytes| assert_eq!(wire.send(bytes), Ok(bytes.len()))),
                Far::Guest(guest, _) => chunk.iter().for_each(|bytes| guest.send(&[0; 12], bytes)),
            }
            self.mem.free_burst(&mut burst);
        }
    }

    /// The next `n` frames that come out on the far side.
    fn far_receive(&mut self, n: usize) -> Vec<Vec<u8>> {
        match &mut self.far {
            Far::Nothing => Vec::new(),
            Far::Cable(far) => {
                let mut got = Vec::new();
                let mut burst = Burst::new();
                while far.rx_burst(&mut burst, &mut self.mem, &self.scrap) > 0 {
                    got.extend(burst.drain(..).map(|mbuf| take_bytes(&mut self.mem, mbuf)));
                }
                assert_eq!(got.len(), n, "frames that came out of the cable");
                got
            }
            Far::Kernel(wire) => wire.receive_all(n),
            Far::Guest(guest, next) => {
                let one = |_| {
                    let bytes = guest.received(*next);
                    *next = next.wrapping_add(1);
                    guest.want();
                    bytes
                };
                (0..n).map(one).collect()
            }
        }
    }

    /// Receives until `n` frames have come, and checks the contract of each call.
    fn receive(&mut self, n: usize) -> Vec<Vec<u8>> {
        let mut got = Vec::new();
        wait_until("frames at the port", || {
            let mut burst = Burst::new();
            let count = self.pmd.rx_burst(&mut burst, &mut self.mem, &self.counters);
            assert_eq!(count, burst.len(), "rx_burst returns what it appended");
            got.extend(burst.drain(..).map(|mbuf| take_bytes(&mut self.mem, mbuf)));
            self.pmd.flush(&mut self.mem);
            got.len() >= n
        });
        got
    }

    /// Sends all of `frames`, and checks that each call takes a prefix and leaves the rest in order.
    fn send(&mut self, frames: &[Vec<u8>]) {
        for chunk in frames.chunks(BURST_SIZE) {
            let mut burst = self.burst(chunk);
            let mut done = 0;
            wait_until("the port to take a burst", || {
                done += self.pmd.tx_burst(&mut burst, &mut self.mem, &self.counters);
                self.pmd.flush(&mut self.mem);
                let left: Vec<_> = burst.iter().map(|mbuf| bytes_of(self.mem.pool(), mbuf)).collect();
                assert_eq!(left, chunk[done..], "the rest stays in order");
                burst.is_empty()
            });
        }
    }

    /// Flushes until the port has nothing left to do.
    fn drain(&mut self) {
        wait_until("the port's backlog to go", || self.pmd.flush(&mut self.mem) == Backlog::None);
    }

    /// Closes everything: no frame may be missing.
    fn close(self) {
        let Self { pmd, far, mut mem, program, .. } = self;
        let pool = Arc::clone(mem.pool());
        pmd.close(&mut mem);
        if let Far::Cable(far) = far {
            far.close(&mut mem);
        }
        drop((program, mem));
        assert_eq!(pool.free(), pool.total(), "free frames after close");
    }
}

fn frames(n: usize, len: usize) -> Vec<Vec<u8>> {
    (0..n).map(|i| frame(A, B, u32::try_from(i).unwrap(), len)).collect()
}

/// What the far side sends comes out of `rx_burst`.
fn receives(rig: &mut Rig) {
    let (mut count, mut bytes) = (0, 0);
    for (n, len) in COUNTS.into_iter().flat_map(|n| LENGTHS.map(|len| (n, len))) {
        let sent = frames(n, len);
        rig.far_send(&sent);
        assert_eq!(rig.receive(n), sent, "{n} frames of {len} bytes");
        assert!(rig.receive(0).is_empty(), "nothing more");
        count += n as u64;
        bytes += (n * len) as u64;
        let stats = rig.stats();
        assert_eq!((stats.rx_frames, stats.rx_bytes), (count, bytes), "counted after {n} frames of {len} bytes");
    }
    assert_eq!(rig.stats().dropped().count(), 0, "nothing dropped");
}

/// What `tx_burst` takes comes out on the far side.
fn sends(rig: &mut Rig) {
    let (mut count, mut bytes) = (0, 0);
    for (n, len) in COUNTS.into_iter().flat_map(|n| LENGTHS.map(|len| (n, len))) {
        let sent = frames(n, len);
        rig.send(&sent);
        assert_eq!(rig.far_receive(n), sent, "{n} frames of {len} bytes");
        rig.drain();
        count += n as u64;
        bytes += (n * len) as u64;
        let stats = rig.stats();
        assert_eq!((stats.tx_frames, stats.tx_bytes), (count, bytes), "counted after {n} frames of {len} bytes");
    }
    assert_eq!(rig.stats().dropped().count(), 0, "nothing dropped");
}

/// A port whose ring is full takes what fits, which is `room` frames, and later goes on where it stopped.
fn fills_up(rig: &mut Rig, room: usize) {
    let offered = frames(room + 40, 60);
    let mut taken = 0;
    // 20 at a time: the last burst that is taken at all is taken in part.
    for chunk in offered.chunks(20) {
        let mut burst = rig.burst(chunk);
        let n = rig.pmd.tx_burst(&mut burst, &mut rig.mem, &rig.counters);
        assert_eq!(n, chunk.len().min(room - taken), "taken of {} with room for {}", chunk.len(), room - taken);
        let left: Vec<_> = burst.iter().map(|mbuf| bytes_of(rig.mem.pool(), mbuf)).collect();
        assert_eq!(left, chunk[n..], "the rest stays in order");
        rig.mem.free_burst(&mut burst);
        taken += n;
    }
    assert_eq!((taken, rig.stats().tx_frames), (room, room as u64));
    rig.pmd.flush(&mut rig.mem);
    assert_eq!(rig.far_receive(room), offered[..room], "what was taken arrives");
    rig.drain();
    rig.send(&frames(1, 60));
    assert_eq!(rig.far_receive(1), frames(1, 60), "there is room again");
}

/// Frames are under way in both directions when the port closes.
fn closes_busy(mut rig: Rig) {
    rig.far_send(&frames(64, 60));
    let mut burst = rig.burst(&frames(32, 1514));
    rig.pmd.tx_burst(&mut burst, &mut rig.mem, &rig.counters);
    rig.mem.free_burst(&mut burst);
    rig.close();
}

/// Every clause, over a new rig each.
fn conforms(rig: impl Fn() -> Rig) {
    for clause in [receives, sends] {
        let mut rig = rig();
        clause(&mut rig);
        rig.close();
    }
    closes_busy(rig());
}

#[test]
fn the_null_port_takes_everything_and_gives_nothing() {
    let mut rig = Rig::null();
    sends_into_nothing(&mut rig);
    assert!(rig.receive(0).is_empty());
    closes_busy(rig);
}

fn sends_into_nothing(rig: &mut Rig) {
    for (n, len) in COUNTS.into_iter().flat_map(|n| LENGTHS.map(|len| (n, len))) {
        rig.send(&frames(n, len));
    }
    let n: usize = COUNTS.iter().sum();
    let bytes: usize = LENGTHS.iter().sum();
    let stats = rig.stats();
    assert_eq!((stats.tx_frames, stats.tx_bytes), ((3 * n) as u64, (n * bytes) as u64));
}

#[test]
fn the_ring_port_conforms() {
    conforms(Rig::ring);
}

#[test]
fn a_full_ring_port_takes_a_prefix() {
    let mut rig = Rig::ring();
    fills_up(&mut rig, CABLE);
    rig.close();
}

#[test]
fn a_burst_of_the_ring_port_is_as_long_as_can_be() {
    let mut rig = Rig::ring();
    rig.far_send(&frames(CABLE, 60));
    for expected in [BURST_SIZE, BURST_SIZE, 0] {
        let mut burst = Burst::new();
        assert_eq!(rig.pmd.rx_burst(&mut burst, &mut rig.mem, &rig.counters), expected);
        rig.mem.free_burst(&mut burst);
    }
    rig.close();
}

#[test]
fn the_vhost_user_port_conforms() {
    conforms(Rig::vhost);
}

#[test]
fn a_full_vhost_user_port_takes_a_prefix() {
    let mut rig = Rig::vhost();
    fills_up(&mut rig, MIDDLE.size.into());
    rig.close();
}

#[test]
fn the_tap_port_conforms() {
    world("the_tap_port_conforms", || conforms(|| Rig::tap(IdleLook::Auto)));
}

#[test]
fn the_tap_port_conforms_without_io_uring() {
    world("the_tap_port_conforms_without_io_uring", || conforms(|| Rig::tap(IdleLook::Read)));
}

#[test]
fn the_af_xdp_port_conforms_on_veth() {
    world("the_af_xdp_port_conforms_on_veth", || {
        conforms(|| {
            // The pair of the clause before.
            let _gone = common::world::output(&["ip", "link", "del", "plxt-near"]);
            Rig::af_xdp()
        });
    });
}

#[test]
fn a_full_af_xdp_port_takes_a_prefix() {
    world("a_full_af_xdp_port_takes_a_prefix", || {
        let mut rig = Rig::af_xdp();
        fills_up(&mut rig, af_xdp::MAX_DEPTH as usize);
        rig.close();
    });
}

/// No frame is lost to the pool when the netdev goes away, and the port says so.
fn survives_deletion(mut rig: Rig, netdev: &str) {
    rig.far_send(&frames(16, 60));
    run(&["ip", "link", "del", netdev]);
    wait_until("a fault of the port", || {
        let mut burst = Burst::new();
        rig.pmd.rx_burst(&mut burst, &mut rig.mem, &rig.counters);
        rig.mem.free_burst(&mut burst);
        let mut burst = rig.burst(&frames(8, 60));
        rig.pmd.tx_burst(&mut burst, &mut rig.mem, &rig.counters);
        rig.mem.free_burst(&mut burst);
        rig.pmd.flush(&mut rig.mem);
        rig.pmd.fault().is_some()
    });
    let mut burst = rig.burst(&frames(8, 60));
    assert_eq!(rig.pmd.tx_burst(&mut burst, &mut rig.mem, &rig.counters), 8, "a dead port takes and drops");
    assert!(rig.stats().dropped().any(|(reason, n)| reason.name() == "link_down" && n >= 8), "{:?}", rig.stats());
    rig.close();
}

#[test]
fn a_tap_deleted_under_us_is_a_fault() {
    world("a_tap_deleted_under_us_is_a_fault", || survives_deletion(Rig::tap(IdleLook::Auto), "plxt-tap"));
}

#[test]
fn a_veth_deleted_under_us_is_a_fault() {
    world("a_veth_deleted_under_us_is_a_fault", || survives_deletion(Rig::af_xdp(), "plxt-near"));
}
