//! Snooping, the control thread's half: what workers heard becomes groups, and groups become the table they look up.

use super::Engine;
use crate::command::Command;
use crate::port::{DomainId, PortId};
use crate::switch::policy::{DomainMode, RouterPort, Snooping, Vid};
use crate::switch::snoop::Mdb;
use crate::switch::snoop::groups::{Group, Groups};
use std::collections::BTreeSet;
use std::sync::Arc;

impl Engine {
    /// The multicast groups of a domain, where snooping is on.
    #[must_use]
    pub fn groups(&self, domain: DomainId) -> Vec<Group> {
        self.groups.get(&domain).map(|groups| groups.list(self.now())).unwrap_or_default()
    }

    /// Ports of a domain behind which multicast routers were heard, with their VLAN.
    #[must_use]
    pub fn multicast_routers(&self, domain: DomainId) -> Vec<(Vid, PortId)> {
        self.groups.get(&domain).map(Groups::routers).unwrap_or_default()
    }

    fn snooping(&self, id: DomainId) -> Option<Snooping> {
        match &self.domain(id).ok()?.policy.mode {
            DomainMode::Learning(learning) => learning.snooping,
            DomainMode::Macvlan(_) => None,
        }
    }

    /// Starts, changes or ends snooping as the domain's policy says; what its workers are to know.
    pub(super) fn snoop(&mut self, id: DomainId) -> Option<Arc<Mdb>> {
        match self.snooping(id) {
            None => {
                self.groups.remove(&id);
                None
            }
            Some(times) => {
                self.groups.entry(id).or_insert_with(|| Groups::new(&times)).set_times(&times);
                Some(self.mdb(id))
            }
        }
    }

    fn mdb(&self, id: DomainId) -> Arc<Mdb> {
        let (mut always, mut never) = (Vec::new(), Vec::new());
        for (port, policy) in self.members(id) {
            let vlans = policy.vlan.as_ref().map_or(vec![0], |vlan| vlan.members.iter().collect());
            match policy.router {
                RouterPort::Auto => {}
                RouterPort::Always => always.extend(vlans.into_iter().map(|vlan| (vlan, port))),
                RouterPort::Never => never.push(port),
            }
        }
        Arc::new(self.groups.get(&id).map(|groups| groups.mdb(&always, &never)).unwrap_or_default())
    }

    /// Takes what workers heard.
    pub(super) fn hear(&mut self) {
        let (now, mut changed) = (self.now(), BTreeSet::new());
        for heard in self.outbox.take_heard() {
            // The port may have gone or moved since.
            let is_there = self.slot(heard.port).is_ok_and(|port| port.domain == heard.domain);
            let Some(groups) = self.groups.get_mut(&heard.domain).filter(|_| is_there) else { continue };
            if groups.hear(&heard, now) {
                changed.insert(heard.domain);
            }
        }
        changed.into_iter().for_each(|id| self.tell_mdb(id));
    }

    /// Forgets groups whose time is over in second `now`.
    pub(super) fn age_groups(&mut self, now: u32) {
        let changed = |(id, groups): (&DomainId, &mut Groups)| groups.expire(now).then_some(*id);
        let changed: Vec<_> = self.groups.iter_mut().filter_map(changed).collect();
        changed.into_iter().for_each(|id| self.tell_mdb(id));
    }

    /// Forgets the groups that a port joined, in VLANs that it is not in.
    pub(super) fn forget_groups(&mut self, id: DomainId, port: PortId, stays: impl Fn(Vid) -> bool) {
        if self.groups.get_mut(&id).is_some_and(|groups| groups.forget(port, stays)) {
            self.tell_mdb(id);
        }
    }

    fn tell_mdb(&self, id: DomainId) {
        let mdb = self.mdb(id);
        self.post_all(|| Command::PutMdb(id, Arc::clone(&mdb)));
    }
}
