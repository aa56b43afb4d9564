//! The way of a vhost-user session to the workers that own its port's queue pairs.

use super::{Engine, EngineError};
use crate::command::{Command, Mailbox};
use crate::pmd::vhost::{Reply, VringCommand};
use crate::port::PortId;
use crate::switch::fdb::Kind;
use crossbeam::channel::bounded;
use std::sync::Arc;
use std::time::Duration;

/// How long a session waits for a worker.
const PATIENCE: Duration = Duration::from_secs(5);

/// Carries commands to one port's queue pairs. Owned by the port's session, on a thread of its own.
#[derive(Debug, Clone)]
pub struct VringHandle {
    port: PortId,
    /// The worker of each pair.
    pairs: Vec<Arc<Mailbox>>,
}

impl VringHandle {
    /// Sends a command and waits until it was applied; `None` if the port is gone.
    #[must_use]
    pub fn apply(&self, pair: u16, command: VringCommand) -> Option<Reply> {
        let (reply, answer) = bounded(1);
        self.pairs.get(usize::from(pair))?.post(Command::Vhost { port: self.port, pair, command, reply });
        answer.recv_timeout(PATIENCE).ok()
    }
}

impl Engine {
    /// The way to the `pairs` queue pairs of a vhost-user port.
    #[must_use]
    pub fn vring_handle(&self, port: PortId, pairs: u16) -> VringHandle {
        let mailbox = |pair| Arc::clone(&self.workers[self.owner(port, usize::from(pair))].mailbox);
        VringHandle { port, pairs: (0..pairs).map(mailbox).collect() }
    }

    /// A guest uses only the queue pairs that are true in `active`: frames for the port go there. With none active they
    /// go anywhere, and are dropped by name.
    ///
    /// # Errors
    /// [`EngineError::NoPort`].
    pub fn set_active(&mut self, port: PortId, active: &[bool]) -> Result<(), EngineError> {
        let all = !active.contains(&true);
        let used = active.iter().enumerate().filter(|(_, on)| **on || all);
        let owners: Vec<usize> = used.map(|(pair, _)| self.owner(port, pair)).collect();
        self.route(port, &owners)
    }

    /// Forgets what was learned behind a port: its guest is gone, or its link was down. Fixed entries stay.
    pub fn forget_addresses(&mut self, port: PortId) {
        self.fdb.flush_matching(|record| record.port == port && record.kind == Kind::Learned);
        if let Ok(slot) = self.slot(port) {
            self.forget_groups(slot.domain, port, |_| false);
        }
    }
}
