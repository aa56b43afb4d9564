//! vhost-user ports in memory: the cost of a frame from one guest's ring through the switch into the other's.
//!
//! Two ports of one guest, split rings of 1024 descriptors, and frames that circulate, as between testpmd's virtio-user `io`
//! and the switch (`pollux-bench vhost`), but without either process:
//!
//! - *alone*: guest and switch take turns on one core. What remains is instructions, and misses of that core's caches.
//! - *beside*: the guest runs on a core of its own. Every line travels between the cores, as it does in use.
//!
//! Cycles of the time-stamp counter per frame, by step; medians of the rounds. Every frame is copied twice; the last column
//! compares its bits per second with two plain copies of as many bytes, over as much memory.

mod frame;
mod guest;

use arrayvec::ArrayVec;
use crossbeam::channel::bounded;
use dataplane::lcore;
use dataplane::mem::{Arena, ArenaConfig, Burst, Hugepages, Mempool, MempoolCache};
use dataplane::offload::Features;
use dataplane::pmd::vhost::{Direction, RingFaultEvents, RingFeatures, Vhost, Vring, VringCommand};
use dataplane::port::{DomainId, PortId};
use dataplane::stats::PortCounters;
use dataplane::switch::fdb::{Fdb, Fid};
use dataplane::switch::policy::{DomainPolicy, PortPolicy};
use dataplane::switch::{Domain, Egress, Member, Switch};
use frame::{SHAPES, Shape};
use guest::Guest;
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

const DOMAIN: DomainId = DomainId(0);
const ROUNDS: usize = 9;

/// The steps of a frame's way, in order.
const STEPS: [&str; 4] = ["receive", "switch", "send", "call"];

/// The switch's side: two ports.
struct Middle {
    ports: [Vhost; 2],
    switch: Switch,
    mem: MempoolCache,
    counters: Vec<PortCounters>,
    fault_events: Arc<RingFaultEvents>,
}

impl Middle {
    fn new(guest: &Guest) -> Self {
        let pool = Mempool::new(Arena::new(&ArenaConfig { frames: 16384, hugepages: Hugepages::Auto }).unwrap());
        let mut switch = Switch::new(Arc::new(Fdb::new(8192)));
        let topology = switch.topology_mut();
        let policy = DomainPolicy::learning(Some(Duration::from_secs(300)), u32::MAX);
        topology.put_domain(DOMAIN, Domain::new(&policy, 1500, Fid::new(0).unwrap()));
        for port in [PortId(0), PortId(1)] {
            topology.put_port(port, Member::new(DOMAIN, &PortPolicy::default()));
        }
        switch.now = 1;
        let fault_events = Arc::new(RingFaultEvents::new().unwrap());
        let ports = [0, 1].map(|port| attach(guest, port, &fault_events));
        let counters = (0..2).map(|_| PortCounters::default()).collect();
        Self { ports, switch, mem: MempoolCache::new(&pool), counters, fault_events }
    }

    /// One turn, like a worker's; cycles per step, and frames.
    fn turn(&mut self, spent: &mut [u64; 4]) -> u64 {
        let mut moved = 0;
        let mut last = lcore::cycles();
        let mut lap = |step: usize| {
            let now = lcore::cycles();
            spent[step] += now.wrapping_sub(last);
            last = now;
        };
        for from in 0..2 {
            let mut burst = Burst::new();
            let n = self.ports[from].rx_burst(&mut burst, &mut self.mem, &self.counters[from]);
            lap(0);
            if n == 0 {
                continue;
            }
            moved += n as u64;
            let Self { switch, mem, counters, ports, .. } = self;
            let mut send = |egress: &mut Egress, mem: &mut MempoolCache| {
                while let Some((to, lane)) = egress.next_dirty() {
                    let to = usize::from(to.0);
                    ports[to].tx_burst(lane, mem, &counters[to]);
                    assert!(lane.is_empty(), "the guest has room for all");
                }
            };
            #[allow(clippy::cast_possible_truncation, reason = "0 or 1")]
            switch.forward(PortId(from as u16), &mut burst, mem, counters, &mut send);
            lap(1);
            send(&mut switch.egress, mem);
            lap(2);
        }
        self.ports.iter_mut().for_each(Vhost::flush);
        self.mem.publish();
        lap(3);
        moved
    }

    fn close(self) {
        assert!(self.fault_events.take_all().is_empty(), "the guest keeps the rules");
        let Self { ports, mut mem, .. } = self;
        ports.into_iter().for_each(|port| port.close(&mut mem));
    }
}

fn attach(guest: &Guest, port: usize, fault_events: &Arc<RingFaultEvents>) -> Vhost {
    let mut queue = Vhost::new(0, 1, fault_events);
    let features = RingFeatures { header: 12, mergeable: true, offload: Features::ALL };
    for direction in [Direction::ToGuest, Direction::FromGuest] {
        let vring = Vring::new(&guest.spec(port, direction), features, true).unwrap();
        let (reply, _answer) = bounded(1);
        queue.apply(VringCommand::Start(direction, Box::new(vring)), &reply);
    }
    queue
}

/// Cycles per frame of each step, over `frames` frames.
fn round(middle: &mut Middle, frames: u64, mut between: impl FnMut()) -> [f64; 4] {
    let (mut spent, mut moved) = ([0; 4], 0);
    while moved < frames {
        let mut turn = [0; 4];
        let n = middle.turn(&mut turn);
        if n > 0 {
            moved += n;
            spent.iter_mut().zip(turn).for_each(|(sum, more)| *sum += more);
        }
        between();
    }
    spent.map(|cycles| cycles as f64 / moved as f64)
}

fn alone(shape: Shape) -> Vec<[f64; 4]> {
    let mut guest = Guest::new(shape);
    let mut middle = Middle::new(&guest);
    let rounds = (0..ROUNDS).map(|_| round(&mut middle, shape.frames, || guest.turn())).collect();
    middle.close();
    rounds
}

fn beside(shape: Shape) -> Vec<[f64; 4]> {
    let mut guest = Guest::new(shape);
    let mut middle = Middle::new(&guest);
    let (stop, ready) = (AtomicBool::new(false), Barrier::new(2));
    std::thread::scope(|scope| {
        let (runs, ready) = (&stop, &ready);
        scope.spawn(move || {
            pin(0);
            ready.wait();
            // Relaxed: any later turn will do.
            while !runs.load(Ordering::Relaxed) {
                guest.turn();
            }
        });
        ready.wait();
        let rounds = (0..ROUNDS).map(|_| round(&mut middle, shape.frames, || ())).collect();
        stop.store(true, Ordering::Relaxed);
        middle.close();
        rounds
    })
}

/// By number: a pinned thread sees its own core only, and so do the threads it starts.
fn pin(id: usize) {
    assert!(core_affinity::set_for_current(core_affinity::CoreId { id }), "core {id} is there");
}

fn median(rounds: &[[f64; 4]], step: usize) -> f64 {
    let mut values: ArrayVec<f64, ROUNDS> = rounds.iter().map(|round| round[step]).collect();
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Nanoseconds of two plain copies of a frame, over as many buffers as go round.
fn two_copies(shape: Shape) -> f64 {
    let n = 2 * usize::from(shape.in_flight);
    let from = vec![1u8; n * shape.len];
    let mut to = vec![0u8; n * shape.len];
    let mut rounds: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            for _ in 0..16 {
                for (to, from) in to.chunks_exact_mut(shape.len).zip(from.chunks_exact(shape.len)) {
                    black_box(to).copy_from_slice(black_box(from));
                }
            }
            start.elapsed().as_nanos() as f64 / (16 * n) as f64
        })
        .collect();
    rounds.sort_unstable_by(f64::total_cmp);
    2.0 * rounds[ROUNDS / 2]
}

fn main() {
    pin(1);
    println!(
        "| frames | guest | {} | cycles | ns | Gbit/s | ÷ two copies |\n|---|---|---|---|---|---|---|---|---|---|",
        STEPS.join(" | ")
    );
    for shape in SHAPES {
        let copies = two_copies(shape);
        for (name, rounds) in [("alone", alone(shape)), ("beside", beside(shape))] {
            let steps = [0, 1, 2, 3].map(|step| median(&rounds, step));
            let all: f64 = steps.iter().sum();
            let ns = all * 1e9 / lcore::hz() as f64;
            let cells = steps.map(|cycles| format!("{cycles:.1}")).join(" | ");
            let gbit = (shape.len * 8) as f64 / ns;
            println!("| {} | {name} | {cells} | {all:.1} | {ns:.1} | {gbit:.1} | {:.2} |", shape.name, copies / ns);
        }
    }
}
