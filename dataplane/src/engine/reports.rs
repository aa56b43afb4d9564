//! Asking queues what they hold and what was lost before them. The question goes by message; whoever wants the answers waits
//! for them, on a thread that may.

use super::Engine;
use crate::command::Command;
use crate::pmd::QueueReport;
use crate::port::PortId;
use crossbeam::channel::{Receiver, bounded};
use std::time::{Duration, Instant};

/// Answers under way.
#[derive(Debug)]
pub struct Reports {
    answers: Receiver<(PortId, QueueReport)>,
}

impl Engine {
    /// Asks every queue of every port.
    #[must_use]
    pub fn ask_queues(&self) -> Reports {
        let open = || self.ports.iter().enumerate().filter_map(|(i, slot)| Some((i, slot.open()?)));
        let (reply, answers) = bounded(open().map(|(_, slot)| slot.owners.len()).sum());
        for (index, slot) in open() {
            let Ok(port) = u16::try_from(index).map(PortId) else { continue };
            for (_, worker) in self.workers.iter().enumerate().filter(|(worker, _)| slot.owners.contains(worker)) {
                worker.mailbox.post(Command::Report(port, reply.clone()));
            }
        }
        Reports { answers }
    }
}

impl Reports {
    /// The answers, by port and once per queue; those that do not come within `patience` are missing. Waits: not for the
    /// control thread.
    #[must_use]
    pub fn collect(self, patience: Duration) -> Vec<(PortId, QueueReport)> {
        let end = Instant::now() + patience;
        // Disconnected once every worker has answered.
        std::iter::from_fn(|| self.answers.recv_deadline(end).ok()).collect()
    }
}
