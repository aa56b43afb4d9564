//! The life of a port: free → open → leaving → free.
//!
//! - add: its owners get the queues, unpolled, and learn of the port; then the other workers do; then it is polled. So
//!   a frame for it finds it there, and what it sends first is answered.
//! - remove: every worker forgets the port, then what was under way to it arrives (twice [`Command::Sync`]), then its
//!   queues come back and are closed, then its addresses go. Only then is the id free. A worker that is late holds that
//!   up and nothing else: the port stays `Leaving`, its id is not given away, and a tick finishes what was begun.
//!
//! A worker that is late for ever (its thread is stuck) keeps the ids of the ports it had, and nothing more is done about
//! it: the others go on.

use super::late::{Answers, PATIENCE};
use super::loops::Block;
use super::sums::{add, since};
use super::{Engine, EngineError, PortSpec};
use crate::command::Command;
use crate::pmd::Pmd;
use crate::port::{DomainId, MAX_PORTS, PortId};
use crate::stats::PortStats;
use crate::switch::policy::PortPolicy;
use std::time::Instant;

/// What an id stands for.
#[derive(Debug)]
pub(super) enum Slot {
    Free,
    Open(Box<Port>),
    Leaving(Box<Leaving>),
}

/// A port that is there.
#[derive(Debug)]
pub(super) struct Port {
    pub(super) domain: DomainId,
    /// As it was set; off while its link is down, whatever was set.
    pub(super) policy: PortPolicy,
    /// Whether it was set to be on.
    pub(super) enabled: bool,
    /// Whether its link is up.
    pub(super) link: bool,
    /// Workers that have a queue of the port, once per queue.
    pub(super) owners: Vec<usize>,
    /// Closed because of a loop.
    pub(super) block: Option<Block>,
    /// The worker of its first queue.
    first: usize,
    /// Counters as they were when the port got its id.
    baseline: PortStats,
}

/// A port that was removed and whose queues have not come back yet.
#[derive(Debug)]
pub(super) struct Leaving {
    port: Port,
    step: Step,
}

/// What a port that leaves waits for.
#[derive(Debug)]
enum Step {
    /// That no worker sends to it any more.
    Forget(Answers<()>),
    /// That what was sent to it before has arrived.
    Drain(Answers<()>),
    /// Its queues.
    Detach(Answers<Vec<Pmd>>),
}

impl Slot {
    pub(super) fn open(&self) -> Option<&Port> {
        if let Self::Open(port) = self { Some(port) } else { None }
    }

    pub(super) fn open_mut(&mut self) -> Option<&mut Port> {
        if let Self::Open(port) = self { Some(port) } else { None }
    }

    /// The domain of a port whose id is taken.
    pub(super) fn domain(&self) -> Option<DomainId> {
        match self {
            Self::Free => None,
            Self::Open(port) => Some(port.domain),
            Self::Leaving(leaving) => Some(leaving.port.domain),
        }
    }

    /// Queues that have come back from the workers, but were not closed.
    pub(super) fn into_queues(self) -> Vec<Pmd> {
        let Self::Leaving(leaving) = self else { return Vec::new() };
        let Step::Detach(mut answers) = leaving.step else { return Vec::new() };
        // a worker that has not answered by now left the queues among its remains
        let _ = answers.collect(Instant::now());
        answers.into_inner().into_iter().flatten().collect()
    }
}

impl Engine {
    /// Adds a port; its queues are polled from now on. On an error they are closed, and nothing has changed.
    ///
    /// # Errors
    /// [`EngineError::TooManyPorts`], [`EngineError::NoDomain`], [`EngineError::TooManyVlans`],
    /// [`EngineError::Policy`], [`EngineError::Fdb`].
    pub fn add_port(&mut self, spec: PortSpec) -> Result<PortId, EngineError> {
        match self.reserve(&spec) {
            Ok(port) => {
                self.connect(port, spec);
                Ok(port)
            }
            Err(error) => {
                self.close_all(spec.queues);
                Err(error)
            }
        }
    }

    /// An id for a new port, filtering ids for its VLANs, and entries for the addresses that it secures.
    fn reserve(&mut self, spec: &PortSpec) -> Result<PortId, EngineError> {
        self.check_port(None, spec.domain, &spec.policy)?;
        let index = self.free_port().ok_or(EngineError::TooManyPorts)?;
        let port = PortId(u16::try_from(index).map_err(|_| EngineError::TooManyPorts)?);
        self.obtain_fids(spec.domain, &spec.policy)?;
        if let Err(error) = self.pin_secured(port, spec.domain, &spec.policy) {
            self.release_fids(spec.domain);
            return Err(error);
        }
        self.fdb.set_port_limit(port, spec.policy.fdb_limit);
        self.ports[index] = Slot::Open(Box::new(Port {
            domain: spec.domain,
            policy: spec.policy.clone(),
            enabled: spec.policy.enabled,
            link: true,
            owners: Vec::new(),
            block: None,
            first: first_worker(index, &spec.queues, self.workers.len()),
            baseline: self.raw_stats(port),
        }));
        Ok(port)
    }

    /// The first free id; the table grows as needed.
    fn free_port(&mut self) -> Option<usize> {
        let index = self.ports.iter().position(|slot| matches!(slot, Slot::Free)).unwrap_or(self.ports.len());
        if index == self.ports.len() && index < MAX_PORTS {
            self.ports.push(Slot::Free);
        }
        (index < MAX_PORTS).then_some(index)
    }

    /// The worker that queue `i` of a port belongs to.
    pub(super) fn owner(&self, port: PortId, i: usize) -> usize {
        let first = self.slot(port).map_or(0, |slot| slot.first);
        (first + i) % self.workers.len()
    }

    fn connect(&mut self, port: PortId, spec: PortSpec) {
        let owners: Vec<usize> = (0..spec.queues.len()).map(|i| self.owner(port, i)).collect();
        for (owner, queue) in owners.iter().zip(spec.queues) {
            self.workers[*owner].mailbox.post(Command::Attach(port, queue));
        }
        if let Some(slot) = self.ports[port.index()].open_mut() {
            slot.owners.clone_from(&owners);
        }
        self.tell_domain(spec.domain);
        let _late = self.route(port, &owners);
        for worker in &self.workers {
            worker.mailbox.post(Command::Poll(port));
        }
    }

    /// Tells every worker to which of `owners` it sends frames for the port, the owners first: they can take some when the
    /// others begin to send.
    pub(super) fn route(&self, port: PortId, owners: &[usize]) -> Result<(), EngineError> {
        let member = self.member(port)?;
        for first in [true, false] {
            for (index, worker) in self.workers.iter().enumerate().filter(|(i, _)| owners.contains(i) == first) {
                let other = owners.get(index % owners.len().max(1)).copied().unwrap_or(index);
                let owner = if first { index } else { other };
                worker.mailbox.post(Command::PutPort { port, member: member.clone(), owner });
            }
            // one that is late gets to know it when it comes to it
            let _late = self.sync();
        }
        Ok(())
    }

    /// Removes a port: waits until no frame is under way to or from it, closes its queues, forgets its addresses.
    ///
    /// # Errors
    /// [`EngineError::NoPort`]; [`EngineError::Late`] if a worker does not answer: no frame enters or leaves by the port
    /// once it does, and a tick then does the rest.
    pub fn remove_port(&mut self, port: PortId) -> Result<(), EngineError> {
        self.slot(port)?;
        let slot = &mut self.ports[port.index()];
        let Slot::Open(open) = std::mem::replace(slot, Slot::Free) else { return Err(EngineError::NoPort(port)) };
        let domain = open.domain;
        self.tell_domain(domain);
        self.post_all(|| Command::DropPort(port));
        let step = Step::Forget(self.ask(Command::Sync));
        self.ports[port.index()] = Slot::Leaving(Box::new(Leaving { port: *open, step }));
        self.drop_mirrors_of(port);
        self.leave(port, Instant::now() + PATIENCE)
    }

    /// Takes a port that leaves as far as the workers' answers allow.
    fn leave(&mut self, port: PortId, until: Instant) -> Result<(), EngineError> {
        let slot = &mut self.ports[port.index()];
        let Slot::Leaving(mut leaving) = std::mem::replace(slot, Slot::Free) else { return Ok(()) };
        loop {
            let answered = match &mut leaving.step {
                Step::Forget(answers) | Step::Drain(answers) => answers.collect(until),
                Step::Detach(answers) => answers.collect(until),
            };
            if let Err(worker) = answered {
                self.ports[port.index()] = Slot::Leaving(leaving);
                return Err(self.late(worker));
            }
            leaving.step = match leaving.step {
                Step::Forget(_) => Step::Drain(self.ask(Command::Sync)),
                Step::Drain(_) => Step::Detach(self.ask(|reply| Command::Detach(port, reply))),
                Step::Detach(answers) => {
                    self.close_all(answers.into_inner().into_iter().flatten());
                    self.gone(port, &leaving.port);
                    return Ok(());
                }
            };
        }
    }

    /// Forgets a port whose queues are closed.
    fn gone(&mut self, port: PortId, was: &Port) {
        self.fdb.flush_port(port);
        self.recount_fixed();
        self.forget_groups(was.domain, port, |_| false);
        self.release_fids(was.domain);
        let counted = since(&self.raw_stats(port), &was.baseline);
        add(&mut self.removed, &counted);
    }

    /// Goes on with ports that leave.
    pub(super) fn leave_all(&mut self) {
        let leaving = |(id, slot): (PortId, &Slot)| matches!(slot, Slot::Leaving(_)).then_some(id);
        let ports: Vec<PortId> = (0u16..).map(PortId).zip(&self.ports).filter_map(leaving).collect();
        for port in ports {
            let _late = self.leave(port, Instant::now());
        }
    }

    fn close_all(&mut self, queues: impl IntoIterator<Item = Pmd>) {
        queues.into_iter().for_each(|queue| queue.close(&mut self.mem));
        self.mem.publish();
    }

    /// Ports that are there.
    pub(super) fn open_ports(&self) -> impl Iterator<Item = (PortId, &Port)> {
        let ids = (0u16..).map(PortId);
        ids.zip(&self.ports).filter_map(|(id, slot)| Some((id, slot.open()?)))
    }

    /// Counters of the ports there are.
    pub(super) fn port_stats(&self) -> Vec<(PortId, PortStats)> {
        self.open_ports().map(|(id, port)| (id, since(&self.raw_stats(id), &port.baseline))).collect()
    }

    /// Sums of the ports that were removed, or are about to be.
    pub(super) fn removed_stats(&self) -> PortStats {
        let mut sum = self.removed;
        for (id, slot) in (0u16..).map(PortId).zip(&self.ports) {
            if let Slot::Leaving(leaving) = slot {
                add(&mut sum, &since(&self.raw_stats(id), &leaving.port.baseline));
            }
        }
        sum
    }

    /// What all workers ever counted under a port id.
    fn raw_stats(&self, port: PortId) -> PortStats {
        let mut sum = PortStats::default();
        for worker in &self.workers {
            sum.add(&worker.counters.ports[port.index()]);
        }
        sum
    }

    /// A port that is there.
    pub(super) fn slot(&self, port: PortId) -> Result<&Port, EngineError> {
        self.ports.get(port.index()).and_then(Slot::open).ok_or(EngineError::NoPort(port))
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
