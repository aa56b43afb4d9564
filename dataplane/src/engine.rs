//! The control thread's half of the data path: starts workers, moves ports to and from them, adds up their counters.
//!
//! Owner: one control thread. Adding or removing a port costs the other ports nothing: workers learn of it by message,
//! between two bursts. The order of messages keeps frames from getting lost or going astray:
//! - add: the queue moves to its worker, then every worker learns of the port;
//! - remove: every worker forgets the port, then what was under way to it is dealt with (sync), then the queue
//!   comes back and is closed, then its FDB entries go. Only then may the id be used again.

mod fids;
mod layer2;
mod line;
mod link;
mod loops;
mod multicast;
mod spec;
mod sums;

pub use line::VhostLine;
pub use loops::Blocked;
pub use spec::{DomainSpec, EngineConfig, EngineError, FdbEntry, FdbRecord, Flush, PortSpec, Snapshot, StopReport};

use crate::command::{Command, Event, Mailbox, Outbox};
use crate::eth::MacAddr;
use crate::idle::{Idle, Poll};
use crate::lcore;
use crate::mem::{Mempool, MempoolCache};
use crate::mesh::Mesh;
use crate::pmd::Pmd;
use crate::port::{DomainId, MAX_PORTS, PortId};
use crate::stats::PortStats;
use crate::switch::Switch;
use crate::switch::fdb::{AgeCursor, Fdb, Fid};
use crate::switch::policy::{Mirror, PortPolicy, Vid};
use crate::switch::snoop::groups::Groups;
use crate::worker::{Counters, Parts, Remains, Worker};
use crossbeam::channel::{Sender, bounded};
use fids::Fids;
use loops::Block;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use sums::{add, since, worker_stats};

/// Most domains: each needs a filtering id, and one more for each VLAN that a port of it is in.
pub const MAX_DOMAINS: usize = 4096;
/// A worker answers within microseconds; one that takes this long is dead.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Debug)]
struct WorkerHandle {
    core: usize,
    mailbox: Arc<Mailbox>,
    counters: Arc<Counters>,
    thread: JoinHandle<Option<Remains>>,
}

#[derive(Debug)]
struct PortSlot {
    domain: DomainId,
    /// What is asked of it; off while its link is down, whatever was asked.
    policy: PortPolicy,
    /// Whether it was asked to be on.
    enabled: bool,
    /// Whether its link is up.
    link: bool,
    /// Workers that have a queue of the port, once per queue.
    owners: Vec<usize>,
    /// Closed because of a loop.
    block: Option<Block>,
    /// The worker of its first queue.
    first: usize,
    /// Counters as they were when the port got its id.
    baseline: PortStats,
}

/// See the module.
#[derive(Debug)]
pub struct Engine {
    pool: Arc<Mempool>,
    fdb: Arc<Fdb>,
    outbox: Arc<Outbox>,
    workers: Vec<WorkerHandle>,
    ports: Vec<Option<PortSlot>>,
    domains: Vec<Option<DomainSpec>>,
    fids: Fids,
    mirrors: Vec<Mirror>,
    /// Filter entries there are.
    filters: BTreeSet<(DomainId, Vid, MacAddr)>,
    /// Of domains that snoop.
    groups: BTreeMap<DomainId, Groups>,
    /// The second in which each domain's ports last sent loop probes.
    probed: BTreeMap<DomainId, u32>,
    /// What marks them as ours.
    probe_id: u64,
    removed: PortStats,
    mem: MempoolCache,
    clock: Arc<AtomicU32>,
    age_cursor: AgeCursor,
    started: Instant,
}

impl Engine {
    /// Starts a pinned worker on each core.
    ///
    /// # Errors
    /// [`EngineError`] when a core cannot be used or the process is out of resources; no thread stays behind.
    pub fn start(config: EngineConfig) -> Result<Self, EngineError> {
        if config.workers.is_empty() {
            return Err(EngineError::NoCores);
        }
        let fdb = Arc::new(Fdb::new(config.fdb_entries));
        let mut engine = Self {
            fdb,
            outbox: Arc::new(Outbox::new()?),
            workers: Vec::new(),
            ports: Vec::new(),
            domains: Vec::new(),
            fids: Fids::default(),
            mirrors: Vec::new(),
            filters: BTreeSet::new(),
            groups: BTreeMap::new(),
            probed: BTreeMap::new(),
            probe_id: RandomState::new().hash_one(Instant::now()),
            removed: PortStats::default(),
            mem: MempoolCache::new(&config.pool),
            pool: config.pool,
            clock: Arc::new(AtomicU32::new(1)),
            age_cursor: AgeCursor::default(),
            started: Instant::now(),
        };
        match engine.spawn_all(&config.workers) {
            Ok(()) => Ok(engine),
            Err(error) => {
                engine.stop();
                Err(error)
            }
        }
    }

    fn spawn_all(&mut self, workers: &[(usize, Poll)]) -> Result<(), EngineError> {
        let mailboxes = workers.iter().map(|_| Mailbox::new().map(Arc::new)).collect::<io::Result<Vec<_>>>()?;
        let wakeups: Vec<_> = mailboxes.iter().map(|m| Arc::clone(&m.wakeup)).collect();
        for (index, (mesh, mailbox)) in Mesh::full(&wakeups).into_iter().zip(mailboxes).enumerate() {
            let (core, poll) = workers[index];
            let counters = Arc::new(Counters::new());
            let mut switch = Switch::new(Arc::clone(&self.fdb));
            switch.probe_id = self.probe_id;
            let parts = Parts {
                index,
                switch,
                mem: MempoolCache::new(&self.pool),
                mesh,
                idle: Idle::new(poll),
                counters: Arc::clone(&counters),
                mailbox: Arc::clone(&mailbox),
                outbox: Arc::clone(&self.outbox),
                clock: Arc::clone(&self.clock),
            };
            let thread = spawn(core, Worker::new(parts))?;
            self.workers.push(WorkerHandle { core, mailbox, counters, thread });
        }
        Ok(())
    }

    /// The pool of all frames.
    #[must_use]
    pub fn pool(&self) -> &Arc<Mempool> {
        &self.pool
    }

    /// Readable while there are [`events`](Self::events).
    #[must_use]
    pub fn event_fd(&self) -> BorrowedFd<'_> {
        self.outbox.bell.as_fd()
    }

    /// What workers have reported since the last call.
    pub fn events(&mut self) -> Vec<Event> {
        let mut events = self.outbox.take_all();
        self.hear();
        events.extend(self.judge_loops());
        events
    }

    /// Adds a broadcast segment.
    ///
    /// # Errors
    /// [`EngineError::TooManyDomains`], [`EngineError::TooManyVlans`], [`EngineError::Policy`].
    pub fn add_domain(&mut self, spec: DomainSpec) -> Result<DomainId, EngineError> {
        spec.policy.check()?;
        let index = free_slot(&mut self.domains, MAX_DOMAINS).ok_or(EngineError::TooManyDomains)?;
        let id = DomainId(u16::try_from(index).map_err(|_| EngineError::TooManyDomains)?);
        let fid = self.fids.obtain(id, 0).ok_or(EngineError::TooManyVlans { domain: id, vlan: 0 })?;
        self.fdb.share_limit(fid, fid);
        self.fdb.set_fid_limit(fid, spec.policy.fdb_limit);
        self.domains[index] = Some(spec);
        self.tell_domain(id);
        Ok(id)
    }

    /// Removes a broadcast segment without ports.
    ///
    /// # Errors
    /// [`EngineError::DomainBusy`] while it has ports, [`EngineError::NoDomain`].
    pub fn remove_domain(&mut self, id: DomainId) -> Result<(), EngineError> {
        if self.ports.iter().flatten().any(|p| p.domain == id) {
            return Err(EngineError::DomainBusy(id));
        }
        let slot = self.domains.get_mut(id.index()).ok_or(EngineError::NoDomain(id))?;
        slot.take().ok_or(EngineError::NoDomain(id))?;
        self.post_all(|| Command::DropDomain(id));
        self.sync()?;
        let fids: Vec<_> = self.fids.of(id).collect();
        for (vid, fid) in fids {
            self.fdb.flush_fid(fid);
            self.fids.release(id, vid);
        }
        self.filters.retain(|(domain, ..)| *domain != id);
        self.groups.remove(&id);
        self.probed.remove(&id);
        Ok(())
    }

    /// Adds a port; its queues are polled from now on. On an error they are closed.
    ///
    /// # Errors
    /// [`EngineError::TooManyPorts`], [`EngineError::NoDomain`], [`EngineError::TooManyVlans`],
    /// [`EngineError::Policy`], [`EngineError::Stuck`].
    pub fn add_port(&mut self, spec: PortSpec) -> Result<PortId, EngineError> {
        match self.reserve(&spec) {
            Ok(port) => {
                self.fdb.set_port_limit(port, spec.policy.fdb_limit);
                self.connect(port, spec)?;
                Ok(port)
            }
            Err(error) => {
                spec.queues.into_iter().for_each(|q| q.close(&mut self.mem));
                self.mem.publish();
                Err(error)
            }
        }
    }

    /// An id for a new port, and filtering ids for its VLANs.
    fn reserve(&mut self, spec: &PortSpec) -> Result<PortId, EngineError> {
        self.check_port(None, spec.domain, &spec.policy)?;
        let index = free_slot(&mut self.ports, MAX_PORTS).ok_or(EngineError::TooManyPorts)?;
        let port = PortId(u16::try_from(index).map_err(|_| EngineError::TooManyPorts)?);
        self.obtain_fids(spec.domain, &spec.policy)?;
        let baseline = self.raw_stats(port);
        let (domain, policy, enabled) = (spec.domain, spec.policy.clone(), spec.policy.enabled);
        let (owners, block) = (Vec::new(), None);
        let first = first_worker(index, &spec.queues, self.workers.len());
        let slot = PortSlot { domain, policy, enabled, link: true, owners, first, block, baseline };
        self.ports[index] = Some(slot);
        Ok(port)
    }

    /// The worker that queue `i` of a port belongs to.
    fn owner(&self, port: PortId, i: usize) -> usize {
        let first = self.ports[port.index()].as_ref().map_or(0, |slot| slot.first);
        (first + i) % self.workers.len()
    }

    fn connect(&mut self, port: PortId, spec: PortSpec) -> Result<(), EngineError> {
        let mut owners = Vec::new();
        for (i, queue) in spec.queues.into_iter().enumerate() {
            let owner = self.owner(port, i);
            self.workers[owner].mailbox.post(Command::Attach(port, queue));
            owners.push(owner);
        }
        if let Some(Some(slot)) = self.ports.get_mut(port.index()) {
            slot.owners.clone_from(&owners);
        }
        self.sync()?;
        self.tell_domain(spec.domain);
        self.route(port, &owners)?;
        self.pin_secured(port)
    }

    /// Tells every worker to which of `owners` it sends frames for the port.
    fn route(&self, port: PortId, owners: &[usize]) -> Result<(), EngineError> {
        let member = self.member(port)?;
        for (index, worker) in self.workers.iter().enumerate() {
            let owner = if owners.contains(&index) {
                index
            } else {
                owners.get(index % owners.len().max(1)).copied().unwrap_or(index)
            };
            worker.mailbox.post(Command::PutPort { port, member: member.clone(), owner });
        }
        self.sync()
    }

    /// Removes a port: waits until no frame is under way to or from it, closes its queues, forgets its addresses.
    ///
    /// # Errors
    /// [`EngineError::NoPort`], [`EngineError::Stuck`].
    pub fn remove_port(&mut self, port: PortId) -> Result<(), EngineError> {
        let slot = self.ports.get_mut(port.index()).and_then(Option::take).ok_or(EngineError::NoPort(port))?;
        self.tell_domain(slot.domain);
        self.post_all(|| Command::DropPort(port));
        // Twice: after the first, nobody sends to the port any more; after the second, what was sent has arrived.
        self.sync()?;
        self.sync()?;
        for queue in self.detach(port)? {
            queue.close(&mut self.mem);
        }
        self.mem.publish();
        self.fdb.flush_port(port);
        self.forget_groups(slot.domain, port, |_| false);
        self.drop_mirrors_of(port)?;
        self.release_fids(slot.domain)?;
        let counted = since(&self.raw_stats(port), &slot.baseline);
        add(&mut self.removed, &counted);
        Ok(())
    }

    fn detach(&self, port: PortId) -> Result<Vec<Pmd>, EngineError> {
        let mut queues = Vec::new();
        for (index, worker) in self.workers.iter().enumerate() {
            let (reply, answer) = bounded(1);
            worker.mailbox.post(Command::Detach(port, reply));
            queues.extend(answer.recv_timeout(PATIENCE).map_err(|_| EngineError::Stuck(index))?);
        }
        Ok(queues)
    }

    /// Waits until every worker has obeyed what was posted before.
    fn sync(&self) -> Result<(), EngineError> {
        let ask = |worker: &WorkerHandle| {
            let (reply, answer): (Sender<()>, _) = bounded(1);
            worker.mailbox.post(Command::Sync(reply));
            answer
        };
        let answers: Vec<_> = self.workers.iter().map(ask).collect();
        for (index, answer) in answers.iter().enumerate() {
            answer.recv_timeout(PATIENCE).map_err(|_| EngineError::Stuck(index))?;
        }
        Ok(())
    }

    fn post_all(&self, command: impl Fn() -> Command) {
        for worker in &self.workers {
            worker.mailbox.post(command());
        }
    }

    /// Moves the clock: forgets addresses and groups that are too old, opens blocked ports, sends loop probes. Call it
    /// once a second.
    pub fn tick(&mut self) {
        let now = self.now();
        // Relaxed: seconds; workers want a recent value.
        self.clock.store(now, Ordering::Relaxed);
        let mut cursor = self.age_cursor;
        for _ in 0..self.fdb.steps_per_second() {
            self.fdb.age_step(&mut cursor, now, |fid: Fid| self.ageing_s(fid));
        }
        self.age_cursor = cursor;
        self.age_groups(now);
        self.recover_from_loops(now);
        self.open_ports(now);
        self.send_probes(now);
    }

    fn now(&self) -> u32 {
        u32::try_from(self.started.elapsed().as_secs()).unwrap_or(u32::MAX).saturating_add(1)
    }

    /// All counters.
    #[must_use]
    pub fn stats(&self) -> Snapshot {
        let ports = self.ports.iter().enumerate().filter_map(|(i, slot)| {
            let port = PortId(u16::try_from(i).ok()?);
            Some((port, since(&self.raw_stats(port), &slot.as_ref()?.baseline)))
        });
        Snapshot {
            ports: ports.collect(),
            workers: self.workers.iter().map(|w| worker_stats(w.core, &w.counters)).collect(),
            removed: self.removed,
        }
    }

    /// What all workers ever counted under a port id.
    fn raw_stats(&self, port: PortId) -> PortStats {
        let mut sum = PortStats::default();
        for worker in &self.workers {
            sum.add(&worker.counters.ports[port.index()]);
        }
        sum
    }

    /// Stops the workers and closes every port; says whether every frame came home.
    pub fn stop(self) -> StopReport {
        let Self { pool, workers, mut mem, .. } = self;
        for worker in &workers {
            worker.mailbox.post(Command::Stop);
        }
        let remains: Vec<Remains> = workers.into_iter().filter_map(|w| w.thread.join().ok().flatten()).collect();
        let (queues, inbound): (Vec<_>, Vec<_>) = remains.into_iter().map(|r| (r.queues, r.inbound)).unzip();
        inbound.into_iter().for_each(|rings| rings.free(&mut mem));
        queues.into_iter().flatten().for_each(|queue| queue.close(&mut mem));
        drop(mem);
        StopReport { total: pool.total(), free: pool.free() }
    }
}

/// The worker of the first queue of port `index`. Ports start at different workers, to spread, but for TAPs that
/// have a queue for each worker: a kernel picks a TAP's queue by a hash that is the same for both directions of a flow,
/// until it has seen a frame of the flow come in by another queue (tun_automq_select_queue, drivers/net/tun.c). Two ends
/// that named different workers would follow each other to and fro, and frames would overtake each other.
fn first_worker(index: usize, queues: &[Pmd], workers: usize) -> usize {
    let is_tap = matches!(queues, [Pmd::Tap(_), ..]);
    if is_tap && queues.len() >= workers { 0 } else { index % workers }
}

fn spawn(core: usize, worker: Worker) -> Result<JoinHandle<Option<Remains>>, EngineError> {
    let (pinned, answer) = bounded(1);
    let run = move || {
        let ok = lcore::pin_to(core);
        // The receiver waits below.
        let _ = pinned.send(ok);
        ok.then(|| worker.run())
    };
    let thread = std::thread::Builder::new().name(format!("pollux-w{core}")).spawn(run)?;
    match answer.recv_timeout(PATIENCE) {
        Ok(true) => Ok(thread),
        _ => Err(EngineError::Pin(core)),
    }
}

/// The first free index of a table of at most `max`.
fn free_slot<T>(table: &mut Vec<Option<T>>, max: usize) -> Option<usize> {
    let index = table.iter().position(Option::is_none).unwrap_or(table.len());
    if index == table.len() && index < max {
        table.push(None);
    }
    (index < max).then_some(index)
}
