//! Waiting for workers without depending on them.
//!
//! Many changes have a last step that must wait until every worker has applied what was posted before: a filtering id
//! may be used again only when no worker learns in it any more. A worker answers within microseconds; but one that lost its
//! core (its VM is paused, a debugger holds it) answers late. So a call waits for [`PATIENCE`] and then goes on, and a
//! later tick does what is left. Late, never wrong: until then the id, the queue or the entry stays taken.
//!
//! Owner: the control thread.

use super::{Engine, EngineError};
use crate::command::Command;
use crate::port::{DomainId, PortId};
use crate::switch::fdb::{Fid, Kind};
use crossbeam::channel::{Receiver, Sender, bounded};
use std::time::{Duration, Instant};

/// How long a call waits for workers.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);

/// Answers of workers: those that are outstanding, and those that have come.
#[derive(Debug)]
pub(super) struct Answers<T> {
    /// By worker.
    waiting: Vec<(usize, Receiver<T>)>,
    got: Vec<T>,
}

impl<T> Answers<T> {
    /// Collects answers until `until`, and those that are there already in any case. On an error a worker that is late.
    pub(super) fn collect(&mut self, until: Instant) -> Result<(), usize> {
        let got = &mut self.got;
        self.waiting.retain(|(_, answer)| answer.recv_deadline(until).map(|said| got.push(said)).is_err());
        self.waiting.first().map_or(Ok(()), |(worker, _)| Err(*worker))
    }

    /// What they said.
    pub(super) fn into_inner(self) -> Vec<T> {
        self.got
    }
}

/// What is done once every worker has applied what was posted before.
#[derive(Debug)]
pub(super) enum Later {
    /// Forget what was learned on a port in VLANs that it left.
    ForgetLeft(PortId),
    /// Forget what was learned in a domain that learns no more.
    ForgetLearned(DomainId),
    /// Use filtering ids again.
    FreeFids(Vec<Fid>),
}

/// A [`Later`] and the answers it waits for.
#[derive(Debug)]
pub(super) struct Pending {
    answers: Answers<()>,
    then: Later,
}

impl Engine {
    /// Asks every worker.
    pub(super) fn ask<T>(&self, command: impl Fn(Sender<T>) -> Command) -> Answers<T> {
        let ask = |(index, worker): (usize, &super::WorkerHandle)| {
            let (reply, answer) = bounded(1);
            worker.mailbox.post(command(reply));
            (index, answer)
        };
        Answers { waiting: self.workers.iter().enumerate().map(ask).collect(), got: Vec::new() }
    }

    /// Waits until every worker has applied what was posted before.
    ///
    /// # Errors
    /// [`EngineError::Late`].
    pub(super) fn sync(&self) -> Result<(), EngineError> {
        self.ask(Command::Sync).collect(Instant::now() + PATIENCE).map_err(|worker| self.late(worker))
    }

    pub(super) fn late(&self, worker: usize) -> EngineError {
        EngineError::Late { core: self.workers[worker].core }
    }

    /// Does something once every worker has applied what was posted before: now, or in a tick if one is late.
    pub(super) fn after_all(&mut self, then: Later) {
        self.pending.push(Pending { answers: self.ask(Command::Sync), then });
        self.catch_up(Instant::now() + PATIENCE);
    }

    /// Does what has waited for workers and need not any more.
    pub(super) fn catch_up(&mut self, until: Instant) {
        for mut pending in std::mem::take(&mut self.pending) {
            match pending.answers.collect(until) {
                Ok(()) => self.carry_out(pending.then),
                Err(_) => self.pending.push(pending),
            }
        }
    }

    fn carry_out(&mut self, later: Later) {
        match later {
            Later::ForgetLeft(port) => self.forget_left(port),
            Later::ForgetLearned(domain) => {
                let fids = &self.fids;
                let is_its = |fid| fids.owner(fid).is_some_and(|(of, _)| of == domain);
                self.fdb.flush_matching(|record| record.kind == Kind::Learned && is_its(record.fid));
            }
            Later::FreeFids(fids) => {
                for fid in fids {
                    self.fdb.flush_fid(fid);
                    self.fids.free(fid);
                }
                self.recount_fixed();
            }
        }
    }
}
