//! The worker: one pinned thread and its poll loop. The path of every frame passes through this file.
//!
//! ```text
//! loop {
//!   commands            at most 8: ports come and go by message
//!   each queue          rx_burst → switch.forward → lanes
//!   each inbound ring   frames that other workers have for my ports → lanes
//!   lanes               tx_burst on my queue, or into the ring of the worker that owns one
//!   each queue          flush: kick the kernel, free completed frames
//!   idle                spin, or sleep until a descriptor or a doorbell wakes me
//! }
//! ```
//! A worker owns its queues, its switch and its cache of free frames; it shares only the FDB, the counters (which it
//! alone writes) and the rings.

use crate::command::{Command, Event, Mailbox, Outbox, Spent};
use crate::idle::Idle;
use crate::lcore;
use crate::mem::mempool::{CACHE_SIZE, MAX_RESERVE, MAX_SEGMENTS};
use crate::mem::{BURST_SIZE, Burst, MAX_FRAME, MempoolCache, chunks_for};
use crate::mesh::{Inbound, Mesh, Routed, RoutedBurst};
use crate::pmd::vhost::{ReplySender, VringCommand};
use crate::pmd::{Backlog, Pmd};
use crate::port::{MAX_PORTS, PortId};
use crate::stats::{DropReason, PortCounters, WorkerCounters};
use crate::switch::probe::Probe;
use crate::switch::{Egress, MAX_COPIED, Switch};
use nix::poll::{PollFd, PollFlags};
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// Chunks of a burst of the longest frames, as a guest may send them: what a worker has in hand between receiving and
/// sending.
pub(crate) const RECEIVED: usize = BURST_SIZE * chunks_for(MAX_FRAME);
/// Most chunks that a worker holds: its cache, what it received, the copies of it in the lanes, and the segments it cuts one
/// frame into.
pub(crate) const CHUNKS: usize = CACHE_SIZE + RECEIVED + MAX_COPIED + MAX_SEGMENTS + MAX_RESERVE;

/// Commands a worker carries out per turn, so that a flood of them does not stop the frames.
const COMMANDS_PER_TURN: usize = 8;

/// What a worker counts; it writes, control reads.
#[derive(Debug)]
pub(crate) struct Counters {
    pub(crate) ports: Box<[PortCounters]>,
    pub(crate) worker: WorkerCounters,
}

impl Counters {
    pub(crate) fn new() -> Self {
        let ports = (0..MAX_PORTS).map(|_| PortCounters::default()).collect();
        Self { ports, worker: WorkerCounters::default() }
    }
}

/// Where frames for a port go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Route {
    /// No such port.
    Nowhere,
    /// A queue of mine.
    Queue(usize),
    /// The worker that owns one.
    Worker(usize),
}

/// A queue this worker owns.
#[derive(Debug)]
struct Queue {
    port: PortId,
    pmd: Pmd,
    /// Frames are taken from it. Not before every worker knows its port, and not after its failure was reported.
    polled: bool,
}

impl Queue {
    /// The driver, ready for another thread.
    fn leave(mut self) -> Pmd {
        self.pmd.leave();
        self.pmd
    }
}

/// Where frames leave a worker: what it takes to empty the lanes.
struct WaysOut<'a> {
    queues: &'a mut [Option<Queue>],
    routes: &'a [Route],
    mesh: &'a mut Mesh,
    ports: &'a [PortCounters],
}

impl WaysOut<'_> {
    /// Empties the lanes; what a port does not take is freed and counted there.
    fn send(&mut self, egress: &mut Egress, mem: &mut MempoolCache) {
        while let Some((port, lane)) = egress.next_dirty() {
            let stats = &self.ports[port.index()];
            let full = match self.routes[port.index()] {
                Route::Queue(i) => {
                    if let Some(queue) = &mut self.queues[i] {
                        queue.pmd.tx_burst(lane, mem, stats);
                    }
                    DropReason::TxFull
                }
                Route::Worker(w) => {
                    self.mesh.send(w, port, lane);
                    DropReason::RingFull
                }
                Route::Nowhere => DropReason::PortGone,
            };
            if !lane.is_empty() {
                stats.drop_n(full, lane.len());
                mem.free_burst(lane);
            }
        }
    }
}

/// What control gives a worker at the start.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) index: usize,
    pub(crate) switch: Switch,
    pub(crate) mem: MempoolCache,
    pub(crate) mesh: Mesh,
    pub(crate) idle: Idle,
    pub(crate) counters: Arc<Counters>,
    pub(crate) mailbox: Arc<Mailbox>,
    pub(crate) outbox: Arc<Outbox>,
    pub(crate) clock: Arc<AtomicU32>,
}

/// What a worker leaves behind.
#[derive(Debug)]
pub(crate) struct Remains {
    pub(crate) queues: Vec<Pmd>,
    pub(crate) inbound: Inbound,
}

/// One poll loop.
#[derive(Debug)]
pub(crate) struct Worker {
    // hot
    queues: Vec<Option<Queue>>,
    routes: Box<[Route]>,
    parts: Parts,
    backlog: Backlog,
    running: bool,
}

impl Worker {
    pub(crate) fn new(parts: Parts) -> Self {
        let routes = vec![Route::Nowhere; MAX_PORTS].into_boxed_slice();
        Self { queues: Vec::new(), routes, parts, backlog: Backlog::None, running: true }
    }

    /// Polls until told to stop.
    pub(crate) fn run(mut self) -> Remains {
        let mut from = lcore::cycles();
        while self.running {
            self.parts.switch.cycles = from;
            let moved = self.turn();
            let now = lcore::cycles();
            self.account(moved, now.wrapping_sub(from));
            from = now;
            if moved > 0 {
                self.parts.idle.busy(now);
                continue;
            }
            if self.running && self.parts.idle.should_sleep(now, self.backlog) {
                self.sleep();
            } else {
                self.parts.idle.pause(now);
            }
            from = lcore::cycles();
            self.parts.counters.worker.total_cycles.add(from.wrapping_sub(now));
        }
        let queues = self.queues.into_iter().flatten().map(Queue::leave).collect();
        Remains { queues, inbound: self.parts.mesh.into_inbound() }
    }

    /// One turn; how many frames it moved.
    fn turn(&mut self) -> usize {
        self.commands();
        // Relaxed: seconds for ageing; any recent value will do.
        self.parts.switch.now = self.parts.clock.load(Ordering::Relaxed);
        let received: usize = (0..self.queues.len()).map(|i| self.poll_queue(i)).sum();
        let relayed: usize = (0..self.parts.mesh.inbound()).map(|i| self.poll_ring(i)).sum();
        self.backlog = self.flush_queues();
        self.parts.mem.publish();
        received + relayed
    }

    /// Receives one burst of a queue and switches it.
    fn poll_queue(&mut self, i: usize) -> usize {
        let Some(queue) = self.queues[i].as_mut().filter(|q| q.polled) else { return 0 };
        let (port, counters) = (queue.port, &self.parts.counters);
        let mut burst = Burst::new();
        let n = queue.pmd.rx_burst(&mut burst, &mut self.parts.mem, &counters.ports[port.index()]);
        if n == 0 {
            self.check(i);
            return 0;
        }
        counters.worker.bursts.add(1);
        counters.worker.frames.add(n as u64);
        let Self { queues, routes, parts: Parts { switch, mem, mesh, counters, .. }, .. } = self;
        let mut ways = WaysOut { queues, routes, mesh, ports: &counters.ports };
        switch.forward(port, &mut burst, mem, &counters.ports, &mut |egress, mem| ways.send(egress, mem));
        ways.send(&mut switch.egress, mem);
        self.pass_notices();
        n
    }

    /// Takes one burst that another worker sent for ports of mine.
    fn poll_ring(&mut self, i: usize) -> usize {
        let mut burst = RoutedBurst::new();
        let n = self.parts.mesh.receive(i, &mut burst);
        let Parts { switch, mem, counters, .. } = &mut self.parts;
        for Routed { port, mbuf } in burst.drain(..) {
            switch.push(port, mbuf, mem, &counters.ports);
        }
        self.send_lanes();
        n
    }

    fn send_lanes(&mut self) {
        let Self { queues, routes, parts: Parts { switch, mem, mesh, counters, .. }, .. } = self;
        WaysOut { queues, routes, mesh, ports: &counters.ports }.send(&mut switch.egress, mem);
    }

    /// Tells control what the switch noticed.
    fn pass_notices(&mut self) {
        if self.parts.switch.has_notices() {
            let Parts { switch, outbox, .. } = &mut self.parts;
            switch.take_notices().for_each(|notice| outbox.post(Event::Notice(notice)));
            switch.take_heard().for_each(|heard| outbox.hear(heard));
            if let Some(returned) = switch.take_returned() {
                outbox.report_loop(returned);
            }
        }
    }

    /// Sends a loop probe out of a port of mine.
    fn send_probe(&mut self, port: PortId, probe: &Probe) {
        let Parts { switch, mem, counters, .. } = &mut self.parts;
        let stats = &counters.ports[port.index()];
        stats.flood_copies.add(1);
        match mem.alloc_from(probe.bytes()) {
            Some(mbuf) => switch.push(port, mbuf, mem, &counters.ports),
            None => stats.drop_n(DropReason::NoMbuf, 1),
        }
        self.send_lanes();
    }

    fn flush_queues(&mut self) -> Backlog {
        let mem = &mut self.parts.mem;
        self.queues.iter_mut().flatten().map(|q| q.pmd.flush(mem)).max().unwrap_or(Backlog::None)
    }

    /// Reports a queue that failed, once.
    fn check(&mut self, i: usize) {
        let Some(queue) = &mut self.queues[i] else { return };
        let Some(error) = queue.pmd.fault() else { return };
        // From now on it is neither polled nor waited for: a dead descriptor is always ready.
        queue.polled = false;
        let error = io::Error::new(error.kind(), error.to_string());
        self.parts.outbox.post(Event::PortFault { port: queue.port, error });
    }

    fn sleep(&mut self) {
        let Parts { mailbox, mesh, counters, .. } = &self.parts;
        let mut may = mailbox.wakeup.prepare_sleep(|| !mailbox.is_empty() || mesh.has_work());
        for queue in self.queues.iter_mut().flatten() {
            may &= queue.pmd.prepare_sleep();
        }
        if may {
            counters.worker.sleeps.add(1);
            let live = self.queues.iter().flatten().filter(|q| q.polled);
            let fds = live.filter_map(|q| q.pmd.wait_fd()).chain([mailbox.wakeup.as_fd()]);
            let mut fds: Vec<PollFd<'_>> = fds.map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
            let woken = Idle::sleep(&mut fds, self.backlog);
            counters.worker.wakeups.add(u64::from(woken));
        }
        mailbox.wakeup.finish_sleep();
        mailbox.wakeup.clear();
        for queue in self.queues.iter_mut().flatten() {
            queue.pmd.finish_sleep();
        }
    }

    fn account(&self, moved: usize, cycles: u64) {
        let counters = &self.parts.counters.worker;
        counters.turns.add(1);
        counters.total_cycles.add(cycles);
        if moved > 0 {
            counters.busy_turns.add(1);
            counters.busy_cycles.add(cycles);
        }
    }

    fn commands(&mut self) {
        for _ in 0..COMMANDS_PER_TURN {
            if self.parts.mailbox.is_empty() {
                return;
            }
            match self.parts.mailbox.take() {
                Some(command) => self.apply(command),
                None => return,
            }
        }
    }

    fn apply(&mut self, command: Command) {
        let Parts { switch, outbox, .. } = &mut self.parts;
        // what a command replaces is freed by control
        match command {
            Command::PutDomain(id, domain) => {
                outbox.spend(switch.topology_mut().put_domain(id, domain).map(Spent::Domain))
            }
            Command::DropDomain(id) => outbox.spend(switch.topology_mut().drop_domain(id).map(Spent::Domain)),
            Command::Attach(port, pmd) => self.attach(port, pmd),
            Command::SetMtu(port, mtu) => self.mine(port).for_each(|queue| queue.pmd.set_mtu(mtu)),
            Command::PutPort { port, member, owner } => {
                outbox.spend(switch.put_port(port, member).map(Spent::Member));
                self.routes[port.index()] = self.route(port, owner);
            }
            Command::ChangePort(port, member) => outbox.spend(switch.put_port(port, member).map(Spent::Member)),
            Command::PutMdb(id, mdb) => outbox.spend(switch.topology_mut().put_mdb(id, mdb).map(Spent::Mdb)),
            Command::PutMirrors(mirrors) => {
                outbox.spend(Some(Spent::Mirrors(switch.topology_mut().put_mirrors(mirrors))));
            }
            Command::ForgetMoves(id) => switch.forget_moves(id),
            Command::Poll(port) => self.mine(port).for_each(|queue| queue.polled = true),
            Command::DropPort(port) => {
                outbox.spend(switch.drop_port(port).map(Spent::Member));
                self.routes[port.index()] = Route::Nowhere;
            }
            Command::Probe(port, probe) => self.send_probe(port, &probe),
            // An answer that nobody waits for any more finds no room.
            Command::Report(port, reply) => {
                for queue in self.queues.iter_mut().flatten().filter(|q| q.port == port) {
                    let _ = reply.try_send((port, queue.pmd.report()));
                }
            }
            // Control waits for it, or collects it in a later tick.
            Command::Detach(port, reply) => {
                let _ = reply.send(self.detach(port));
            }
            Command::Vhost { port, pair, command, reply } => self.apply_vhost(port, pair, command, &reply),
            Command::Sync(reply) => {
                self.drain_rings();
                let _ = reply.send(());
            }
            Command::Stop => self.running = false,
        }
    }

    /// The queues of a port that are this worker's.
    fn mine(&mut self, port: PortId) -> impl Iterator<Item = &mut Queue> {
        self.queues.iter_mut().flatten().filter(move |queue| queue.port == port)
    }

    fn route(&self, port: PortId, owner: usize) -> Route {
        if owner != self.parts.index {
            return Route::Worker(owner);
        }
        let find = |wanted: fn(&Pmd) -> bool| {
            let fits = |q: &Option<Queue>| q.as_ref().is_some_and(|q| q.port == port && wanted(&q.pmd));
            self.queues.iter().position(fits)
        };
        find(Pmd::is_up).or_else(|| find(|_| true)).map_or(Route::Nowhere, Route::Queue)
    }

    /// A pair that is gone answers by hanging up.
    fn apply_vhost(&mut self, port: PortId, pair: u16, command: VringCommand, reply: &ReplySender) {
        for queue in self.queues.iter_mut().flatten().filter(|q| q.port == port) {
            if let Pmd::Vhost(q) = &mut queue.pmd
                && q.pair() == pair
            {
                return q.apply(command, reply);
            }
        }
        if let VringCommand::Announce(mbuf) = command {
            self.parts.mem.free(mbuf);
        }
    }

    fn attach(&mut self, port: PortId, pmd: Pmd) {
        let queue = Queue { port, pmd, polled: false };
        match self.queues.iter_mut().find(|slot| slot.is_none()) {
            Some(slot) => *slot = Some(queue),
            None => self.queues.push(Some(queue)),
        }
    }

    fn detach(&mut self, port: PortId) -> Vec<Pmd> {
        let gone = self.queues.iter_mut().filter_map(|slot| slot.take_if(|q| q.port == port));
        gone.map(Queue::leave).collect()
    }

    /// Deals with everything that other workers had sent when this was called; the rings are bounded, and so is this.
    fn drain_rings(&mut self) {
        for i in 0..self.parts.mesh.inbound() {
            for _ in 0..Mesh::MAX_BURSTS {
                if self.poll_ring(i) == 0 {
                    break;
                }
            }
        }
    }
}
