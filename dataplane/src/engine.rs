//! The control thread's half of the data path: starts workers, moves ports to and from them, adds up their counters.
//!
//! Owner: one control thread. Adding or removing a port costs the other ports nothing: workers learn of it by message,
//! between two bursts, and the order of messages (`ports`) keeps frames from getting lost or going astray. Nothing here
//! depends on a worker's being in time: what must wait for one that is late is done when it has answered (`late`).

mod addresses;
mod fids;
mod late;
mod layer2;
mod link;
mod loops;
mod multicast;
mod ports;
mod reports;
mod spec;
mod sums;
#[cfg(test)]
mod tests;
mod vring;

pub use loops::Blocked;
pub use reports::Reports;
pub use spec::{DomainSpec, EngineConfig, EngineError, FdbEntry, FdbRecord, Flush, PortSpec, Snapshot, StopReport};
pub use vring::VringHandle;

use crate::command::{Command, Event, Mailbox, Outbox};
use crate::idle::{Idle, Poll};
use crate::lcore;
use crate::mem::{Mempool, MempoolCache};
use crate::mesh::Mesh;
use crate::port::{DomainId, MAX_PORTS};
use crate::stats::PortStats;
use crate::switch::Switch;
use crate::switch::fdb::{AgeCursor, Fdb, Fid};
use crate::switch::policy::{Mirror, Vid};
use crate::switch::snoop::groups::Groups;
use crate::worker::{self, Counters, Parts, Remains, Worker};
use addresses::Key;
use crossbeam::channel::bounded;
use fids::Fids;
use late::{Later, Pending};
use ports::{Port, Slot};
use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use sums::worker_stats;

/// Most domains: each needs a filtering id, and one more for each VLAN that a port of it is in.
pub const MAX_DOMAINS: usize = 4096;
/// How long a worker has to start or to end. One that does not end keeps its frames and its queues.
const FAREWELL: Duration = Duration::from_secs(5);

/// Chunks that so many workers hold at most, and the rings between them: whoever sizes an arena counts them, and what its
/// ports hold.
#[must_use]
pub const fn chunks_of_workers(workers: usize) -> usize {
    workers * worker::CHUNKS + Mesh::capacity(workers)
}

#[derive(Debug)]
struct WorkerHandle {
    core: usize,
    mailbox: Arc<Mailbox>,
    counters: Arc<Counters>,
    thread: JoinHandle<Option<Remains>>,
}

/// See the module.
#[derive(Debug)]
pub struct Engine {
    pool: Arc<Mempool>,
    fdb: Arc<Fdb>,
    outbox: Arc<Outbox>,
    workers: Vec<WorkerHandle>,
    ports: Vec<Slot>,
    domains: Vec<Option<DomainSpec>>,
    fids: Fids,
    mirrors: Vec<Mirror>,
    /// The operator's entries.
    fixed: BTreeMap<Key, FdbEntry>,
    /// What waits for workers that are late.
    pending: Vec<Pending>,
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
        config.pool.keep(config.workers.len() * worker::RECEIVED);
        let fdb = Arc::new(Fdb::new(config.fdb_entries));
        let mut engine = Self {
            fdb,
            outbox: Arc::new(Outbox::new()?),
            workers: Vec::new(),
            ports: Vec::new(),
            domains: Vec::new(),
            fids: Fids::default(),
            mirrors: Vec::new(),
            fixed: BTreeMap::new(),
            pending: Vec::new(),
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
        self.outbox.free_spent();
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
        if self.ports.iter().any(|slot| slot.domain() == Some(id)) {
            return Err(EngineError::DomainBusy(id));
        }
        let slot = self.domains.get_mut(id.index()).ok_or(EngineError::NoDomain(id))?;
        slot.take().ok_or(EngineError::NoDomain(id))?;
        self.post_all(|| Command::DropDomain(id));
        let vids: Vec<Vid> = self.fids.of(id).map(|(vid, _)| vid).collect();
        let fids = vids.into_iter().filter_map(|vid| self.fids.retire(id, vid)).collect();
        self.groups.remove(&id);
        self.probed.remove(&id);
        self.after_all(Later::FreeFids(fids));
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
        self.outbox.free_spent();
        self.catch_up(Instant::now());
        self.leave_all();
        self.age_groups(now);
        self.recover_from_loops(now);
        self.end_blocks(now);
        self.send_probes(now);
    }

    fn now(&self) -> u32 {
        u32::try_from(self.started.elapsed().as_secs()).unwrap_or(u32::MAX).saturating_add(1)
    }

    /// All counters.
    #[must_use]
    pub fn stats(&self) -> Snapshot {
        Snapshot {
            ports: self.port_stats(),
            workers: self.workers.iter().map(|w| worker_stats(w.core, &w.counters)).collect(),
            removed: self.removed_stats(),
        }
    }

    /// Stops the workers and closes every port; says whether every frame came home.
    pub fn stop(self) -> StopReport {
        let Self { pool, workers, ports, mut mem, .. } = self;
        for worker in &workers {
            worker.mailbox.post(Command::Stop);
        }
        let until = Instant::now() + FAREWELL;
        let remains: Vec<Remains> = workers.into_iter().filter_map(|w| join(w.thread, until)).collect();
        let (queues, inbound): (Vec<_>, Vec<_>) = remains.into_iter().map(|r| (r.queues, r.inbound)).unzip();
        inbound.into_iter().for_each(|rings| rings.free(&mut mem));
        let left = ports.into_iter().flat_map(Slot::into_queues);
        queues.into_iter().flatten().chain(left).for_each(|queue| queue.close(&mut mem));
        drop(mem);
        StopReport { total: pool.total(), free: pool.free() }
    }
}

/// What a worker leaves behind; `None` if it does not end in time.
fn join(thread: JoinHandle<Option<Remains>>, until: Instant) -> Option<Remains> {
    while !thread.is_finished() {
        if Instant::now() > until {
            return None;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    thread.join().ok().flatten()
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
    match answer.recv_timeout(FAREWELL) {
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
