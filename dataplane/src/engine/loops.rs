//! Loop detection: probes go out once in a while, and a port on which one comes home is blocked for a time, by control,
//! so that all workers agree and only one port of a loop is blocked.
//!
//! A loop spoils what the domain has learned: frames of honest stations come in again by the ports of the loop, their
//! addresses are learned there, and the move guard may hold them there. So what was learned on both ports is forgotten
//! when the loop is cut, and once more a little later: what was under way through the loop has come in by then.

use super::Engine;
use crate::command::{Command, Event};
use crate::port::{DomainId, PortId};
use crate::switch::Notice;
use crate::switch::fdb::Kind;
use crate::switch::policy::{Action, DomainMode, LoopGuard};
use crate::switch::probe::{Probe, Returned};

/// A port that a loop has closed. Times are seconds of the engine's clock.
#[derive(Debug, Clone, Copy)]
pub(super) struct Block {
    since: u32,
    until: u32,
    /// The port whose probe came in there.
    sent: PortId,
    /// What the loop's last frames made the domain learn was forgotten.
    recovered: bool,
}

/// Why nothing passes a port just now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Blocked {
    /// It opens again after so many seconds.
    pub seconds: u32,
    /// The port whose probe came home on it: the other end of the loop.
    pub sent: PortId,
}

impl Engine {
    fn loop_guard(&self, id: DomainId) -> Option<LoopGuard> {
        match &self.domain(id).ok()?.policy.mode {
            DomainMode::Learning(learning) => learning.loops,
            DomainMode::Macvlan(_) => None,
        }
    }

    /// Sends the probes that are due in second `now`.
    pub(super) fn send_probes(&mut self, now: u32) {
        for index in 0..self.domains.len() {
            let Ok(id) = u16::try_from(index).map(DomainId) else { return };
            let Some(guard) = self.loop_guard(id) else { continue };
            let due = self.probed.get(&id).is_none_or(|last| now.saturating_sub(*last) >= seconds(guard.interval));
            if due {
                self.probed.insert(id, now);
                self.probe_ports(id);
            }
        }
    }

    fn probe_ports(&self, id: DomainId) {
        for (port, slot) in self.open_ports() {
            let is_mirror = self.mirrors.iter().any(|mirror| mirror.to == port);
            // a blocked port sends nothing: the next pair of a loop of several is found by the probes of the others
            let probes = slot.domain == id && slot.policy.enabled && slot.block.is_none() && !is_mirror;
            let Some(owner) = slot.owners.first().filter(|_| probes) else { continue };
            self.workers[*owner].mailbox.post(Command::Probe(port, Probe::new(self.probe_id, port)));
        }
    }

    /// Opens the ports whose time is over in second `now`.
    pub(super) fn end_blocks(&mut self, now: u32) {
        for (port, _) in self.blocks() {
            let Some(slot) = self.ports[port.index()].open_mut() else { continue };
            if slot.block.take_if(|block| block.until <= now).is_some() {
                self.tell_port(port);
                self.outbox.post(Event::Notice(Notice::Unblocked { port }));
            }
        }
    }

    /// What became of the loops that workers have found.
    pub(super) fn judge_loops(&mut self) -> Vec<Event> {
        let returned: Vec<Returned> = self.outbox.take_returned().collect();
        returned.into_iter().filter_map(|returned| self.judge(returned)).map(Event::Notice).collect()
    }

    /// Blocks the port on which a probe came home, unless the one that sent it is blocked already. `None` for reports
    /// that say nothing new.
    fn judge(&mut self, Returned { port, sent }: Returned) -> Option<Notice> {
        let domain = self.slot(port).ok()?.domain;
        let guard = self.loop_guard(domain)?;
        if guard.act == Action::Observe {
            return Some(Notice::Loop { port, sent, blocked_s: None });
        }
        let is_blocked = |port: PortId| self.slot(port).is_ok_and(|slot| slot.block.is_some());
        if is_blocked(port) || is_blocked(sent) {
            return None;
        }
        let (block_s, now) = (seconds(guard.block), self.now());
        let block = Block { since: now, until: now.saturating_add(block_s), sent, recovered: false };
        self.ports[port.index()].open_mut()?.block = Some(block);
        self.tell_port(port);
        self.forget_looped(domain, [port, sent]);
        Some(Notice::Loop { port, sent, blocked_s: Some(block_s) })
    }

    /// Forgets what a loop made its domain learn. A worker that is late to block the port may learn some of it again;
    /// [`recover_from_loops`](Self::recover_from_loops) makes up for that.
    fn forget_looped(&self, domain: DomainId, ports: [PortId; 2]) {
        self.post_all(|| Command::ForgetMoves(domain));
        let _late = self.sync();
        self.fdb.flush_matching(|record| ports.contains(&record.port) && record.kind == Kind::Learned);
        self.bring_back(domain, ports);
    }

    /// Forgets once more, after the second in which a loop was cut, what its last frames made the domain learn.
    pub(super) fn recover_from_loops(&mut self, now: u32) {
        for (port, block) in self.blocks().into_iter().filter(|(_, block)| !block.recovered && block.since < now) {
            let Some(slot) = self.ports[port.index()].open_mut() else { continue };
            slot.block = Some(Block { recovered: true, ..block });
            let domain = slot.domain;
            self.forget_looped(domain, [port, block.sent]);
        }
    }

    fn blocks(&self) -> Vec<(PortId, Block)> {
        self.open_ports().filter_map(|(port, slot)| Some((port, slot.block?))).collect()
    }

    /// Whether a loop has the port blocked, for how long still, and with which port it forms one.
    #[must_use]
    pub fn blocked(&self, port: PortId) -> Option<Blocked> {
        let block = self.slot(port).ok()?.block.as_ref()?;
        Some(Blocked { seconds: block.until.saturating_sub(self.now()), sent: block.sent })
    }
}

fn seconds(time: std::time::Duration) -> u32 {
    u32::try_from(time.as_secs()).unwrap_or(u32::MAX)
}
