//! Loop detection: probes go out once in a while, and a port on which one comes home is blocked for a time, by control,
//! so that all workers agree and only one port of a loop is blocked.

use super::Engine;
use crate::command::{Command, Event};
use crate::port::{DomainId, PortId};
use crate::switch::Notice;
use crate::switch::policy::{Act, DomainMode, LoopGuard};
use crate::switch::probe::Probe;

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
        for (index, slot) in self.ports.iter().enumerate() {
            let (Some(slot), Ok(port)) = (slot, u16::try_from(index).map(PortId)) else { continue };
            let is_mirror = self.mirrors.iter().any(|mirror| mirror.to == port);
            let Some(owner) = slot.owners.first().filter(|_| slot.domain == id && slot.policy.enabled && !is_mirror)
            else {
                continue;
            };
            self.workers[*owner].mailbox.post(Command::Probe(port, Probe::new(self.probe_id, port)));
        }
    }

    /// Opens the ports whose time is over in second `now`.
    pub(super) fn open_ports(&mut self, now: u32) {
        for index in 0..self.ports.len() {
            let (Some(slot), Ok(port)) = (&mut self.ports[index], u16::try_from(index).map(PortId)) else { continue };
            if slot.blocked_until.is_some_and(|until| until <= now) {
                slot.blocked_until = None;
                self.tell_port(port);
                self.outbox.post(Event::Notice(Notice::Unblocked { port }));
            }
        }
    }

    /// What control makes of a report: of a loop it blocks one port, the one on which the probe came home, unless the
    /// one that sent it is blocked already. `None` for reports that say nothing new.
    pub(super) fn judge(&mut self, event: Event) -> Option<Event> {
        let Event::Notice(Notice::Loop { port, sent, .. }) = event else { return Some(event) };
        let guard = self.loop_guard(self.slot(port).ok()?.domain)?;
        if guard.act == Act::Observe {
            return Some(event);
        }
        let blocked = |port: PortId| self.slot(port).is_ok_and(|slot| slot.blocked_until.is_some());
        if blocked(port) || blocked(sent) {
            return None;
        }
        let (block_s, now) = (seconds(guard.block), self.now());
        self.ports[port.index()].as_mut()?.blocked_until = Some(now.saturating_add(block_s));
        self.tell_port(port);
        self.fdb.flush_matching(|r| r.port == port && r.kind == crate::switch::fdb::Kind::Learned);
        Some(Event::Notice(Notice::Loop { port, sent, blocked_s: Some(block_s) }))
    }
}

fn seconds(time: std::time::Duration) -> u32 {
    u32::try_from(time.as_secs()).unwrap_or(u32::MAX)
}
