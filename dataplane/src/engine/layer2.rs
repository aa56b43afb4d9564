//! Policies of ports and domains, and mirrors: what the control thread may change while the workers go on.
//!
//! Every change reaches the workers by message, in this order: a VLAN has its filtering id before a port is in it, and
//! keeps it until every worker has forgotten that a port was. A change is refused before anything of it is made.

use super::addresses::Key;
use super::late::Later;
use super::{Engine, EngineError};
use crate::command::Command;
use crate::port::{DomainId, PortId};
use crate::switch::fdb::{Fid, Kind};
use crate::switch::policy::{
    DomainMode, DomainPolicy, MAX_MIRRORS, MacvlanMode, Mirror, MirrorSource, PolicyError, PortPolicy, Role, Vid,
};
use crate::switch::{Domain, Forwarding, Member, macvlan};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

impl Engine {
    /// Changes the policy of a port. Frames of other ports are not touched; addresses that were learned on the port in VLANs
    /// it has left, or while it was up and now is down, are forgotten.
    ///
    /// # Errors
    /// [`EngineError::NoPort`], [`EngineError::Policy`], [`EngineError::TooManyVlans`], [`EngineError::Fdb`]; the port is
    /// as it was then.
    pub fn set_port_policy(&mut self, port: PortId, mut policy: PortPolicy) -> Result<(), EngineError> {
        let slot = self.slot(port)?;
        let (domain, enabled, link) = (slot.domain, policy.enabled, slot.link);
        policy.enabled &= link;
        self.check_port(Some(port), domain, &policy)?;
        self.obtain_fids(domain, &policy)?;
        if let Err(error) = self.pin_secured(port, domain, &policy) {
            self.release_fids(domain);
            return Err(error);
        }
        self.fdb.set_port_limit(port, policy.fdb_limit);
        self.replace_policy(port, policy, enabled);
        self.tell_domain(domain);
        self.tell_port(port);
        self.after_all(Later::ForgetLeft(port));
        self.release_fids(domain);
        Ok(())
    }

    /// Notes the policy, and unpins what it does not secure any more.
    fn replace_policy(&mut self, port: PortId, policy: PortPolicy, enabled: bool) {
        let Some(slot) = self.ports[port.index()].open_mut() else { return };
        let domain = slot.domain;
        let before = std::mem::replace(&mut slot.policy, policy);
        slot.enabled = enabled;
        if before.security.is_some() {
            let pins: BTreeSet<Key> =
                self.slot(port).map(|p| self.pins(domain, &p.policy)).into_iter().flatten().collect();
            let gone = self.pins(domain, &before).into_iter().filter(|key| !pins.contains(key));
            gone.for_each(|key| self.unpin(key));
        }
    }

    /// The policy of a port.
    ///
    /// # Errors
    /// [`EngineError::NoPort`].
    pub fn port_policy(&self, port: PortId) -> Result<PortPolicy, EngineError> {
        let slot = self.slot(port)?;
        Ok(PortPolicy { enabled: slot.enabled, ..slot.policy.clone() })
    }

    /// Changes the policy of a domain. Its mode stays: learning and macvlan ports are not the same. A domain that learns
    /// no more forgets what it had learned.
    ///
    /// # Errors
    /// [`EngineError::NoDomain`], [`EngineError::Policy`].
    pub fn set_domain_policy(&mut self, id: DomainId, policy: DomainPolicy) -> Result<(), EngineError> {
        policy.check()?;
        let spec = self.domains.get_mut(id.index()).and_then(Option::as_mut).ok_or(EngineError::NoDomain(id))?;
        if std::mem::discriminant(&spec.policy.mode) != std::mem::discriminant(&policy.mode) {
            return Err(PolicyError::DomainMode.into());
        }
        let limit = policy.fdb_limit;
        spec.policy = policy;
        if let Some(fid) = self.fids.get(id, 0) {
            self.fdb.set_fid_limit(fid, limit);
        }
        self.tell_domain(id);
        if self.ageing(id).is_none() {
            self.after_all(Later::ForgetLearned(id));
        }
        Ok(())
    }

    /// Replaces all mirrors.
    ///
    /// # Errors
    /// [`EngineError::NoPort`], [`EngineError::Policy`] if a mirror would copy a port that a mirror ends at, or there are
    /// more than [`MAX_MIRRORS`].
    pub fn set_mirrors(&mut self, mirrors: Vec<Mirror>) -> Result<(), EngineError> {
        if mirrors.len() > MAX_MIRRORS {
            return Err(PolicyError::Mirrors.into());
        }
        let ends: BTreeSet<PortId> = mirrors.iter().map(|mirror| mirror.to).collect();
        for port in &ends {
            self.slot(*port)?;
        }
        for source in mirrors.iter().flat_map(|mirror| &mirror.from) {
            match source {
                MirrorSource::Rx(port) | MirrorSource::Tx(port) if ends.contains(port) => {
                    return Err(PolicyError::MirrorLoop.into());
                }
                MirrorSource::Rx(port) | MirrorSource::Tx(port) => drop(self.slot(*port)?),
                MirrorSource::Vlan(domain, _) => drop(self.domain(*domain)?),
            }
        }
        self.mirrors.clone_from(&mirrors);
        self.post_all(|| Command::PutMirrors(mirrors.clone()));
        let _late = self.sync();
        Ok(())
    }

    /// Sends a domain to the workers, as it is now.
    pub(super) fn tell_domain(&mut self, id: DomainId) {
        let Some(fid) = self.fids.get(id, 0) else { return };
        let mdb = self.snoop(id);
        let Ok(spec) = self.domain(id) else { return };
        let mut domain = Domain::new(&spec.policy, spec.mtu as usize, fid);
        domain.fids = domain.fids.with(self.fids.of(id).filter(|(vid, _)| *vid != 0));
        domain.filters = self.has_filters(id);
        domain.mdb = mdb;
        if let DomainMode::Macvlan(extensions) = &spec.policy.mode {
            domain.forwarding = Forwarding::Macvlan(Arc::new(macvlan::Table::new(*extensions, self.members(id))));
        }
        self.post_all(|| Command::PutDomain(id, domain.clone()));
    }

    /// The ports of a domain.
    pub(super) fn members(&self, id: DomainId) -> impl Iterator<Item = (PortId, &PortPolicy)> {
        self.open_ports().filter(move |(_, slot)| slot.domain == id).map(|(port, slot)| (port, &slot.policy))
    }

    /// Sends a port's policy to the workers.
    pub(super) fn tell_port(&self, port: PortId) {
        if let Ok(member) = self.member(port) {
            self.post_all(|| Command::ChangePort(port, member.clone()));
        }
    }

    /// A port as workers see it.
    pub(super) fn member(&self, port: PortId) -> Result<Member, EngineError> {
        let slot = self.slot(port)?;
        let workers: BTreeSet<usize> = slot.owners.iter().copied().collect();
        let workers = u32::try_from(workers.len()).unwrap_or(1);
        let member = Member::new(slot.domain, &slot.policy).on_workers(workers);
        Ok(member.with_block(slot.block.is_some()))
    }

    /// Whether a port of that policy fits into the domain; `port` is its id if it is there already.
    pub(super) fn check_port(
        &self,
        port: Option<PortId>,
        domain: DomainId,
        policy: &PortPolicy,
    ) -> Result<(), EngineError> {
        policy.check(&self.domain(domain)?.policy)?;
        let old = port.and_then(|port| self.slot(port).ok());
        if old.is_some_and(|old| is_passthru(&old.policy) != is_passthru(policy)) {
            return Err(PolicyError::PassthruChange.into());
        }
        for (_, sibling) in self.members(domain).filter(|(id, _)| Some(*id) != port) {
            get_along(policy, sibling)?;
        }
        Ok(())
    }

    /// Filtering ids for every VLAN of the policy, or none.
    pub(super) fn obtain_fids(&mut self, domain: DomainId, policy: &PortPolicy) -> Result<(), EngineError> {
        let base = self.fids.get(domain, 0).ok_or(EngineError::NoDomain(domain))?;
        let vids: Vec<Vid> = policy.vlan.iter().flat_map(|vlan| vlan.members.iter()).collect();
        for vlan in vids {
            let fresh = self.fids.get(domain, vlan).is_none();
            let Some(fid) = self.fids.obtain(domain, vlan) else {
                self.release_fids(domain);
                return Err(EngineError::TooManyVlans { domain, vlan });
            };
            if fresh {
                self.fdb.share_limit(fid, base);
            }
        }
        Ok(())
    }

    /// Gives up the filtering ids of VLANs that no port is in any more, after every worker has forgotten them.
    pub(super) fn release_fids(&mut self, domain: DomainId) {
        let used: BTreeSet<Vid> = self
            .members(domain)
            .filter_map(|(_, policy)| policy.vlan.as_ref())
            .flat_map(|vlan| vlan.members.iter())
            .collect();
        let unused = |(vid, _): &(Vid, Fid)| *vid != 0 && !used.contains(vid);
        let gone: Vec<Vid> = self.fids.of(domain).filter(unused).map(|(vid, _)| vid).collect();
        if gone.is_empty() {
            return;
        }
        let fids = gone.into_iter().filter_map(|vid| self.fids.retire(domain, vid)).collect();
        self.tell_domain(domain);
        self.after_all(Later::FreeFids(fids));
    }

    /// Forgets what was learned on a port where it cannot be any more.
    pub(super) fn forget_left(&mut self, port: PortId) {
        let Ok(slot) = self.slot(port) else { return };
        let (domain, policy) = (slot.domain, slot.policy.clone());
        let stays = |vid: Vid| policy.enabled && in_vlan(&policy, vid);
        self.fdb.flush_matching(|record| {
            let gone = self.fids.owner(record.fid).is_none_or(|(_, vid)| !stays(vid));
            record.port == port && record.kind == Kind::Learned && gone
        });
        self.forget_groups(domain, port, stays);
    }

    /// A mirror without an end is none; one without a source copies nothing.
    pub(super) fn drop_mirrors_of(&mut self, port: PortId) {
        let names = |source: &MirrorSource| matches!(source, MirrorSource::Rx(p) | MirrorSource::Tx(p) if *p == port);
        if !self.mirrors.iter().any(|mirror| mirror.to == port || mirror.from.iter().any(names)) {
            return;
        }
        self.mirrors.retain(|mirror| mirror.to != port);
        for mirror in &mut self.mirrors {
            mirror.from.retain(|source| !names(source));
        }
        let mirrors = self.mirrors.clone();
        self.post_all(|| Command::PutMirrors(mirrors.clone()));
    }

    /// Seconds after which an address of that filtering id is forgotten; `u32::MAX`: never.
    pub(super) fn ageing_s(&self, fid: Fid) -> u32 {
        let ageing = self.fids.owner(fid).and_then(|(domain, _)| self.ageing(domain));
        ageing.map_or(u32::MAX, |ageing| u32::try_from(ageing.as_secs()).unwrap_or(u32::MAX))
    }

    /// After how long an address of a domain is forgotten; `None`: none is learned.
    fn ageing(&self, id: DomainId) -> Option<Duration> {
        match &self.domain(id).ok()?.policy.mode {
            DomainMode::Learning(learning) => learning.ageing,
            DomainMode::Macvlan(_) => None,
        }
    }

    pub(super) fn domain(&self, id: DomainId) -> Result<&super::DomainSpec, EngineError> {
        self.domains.get(id.index()).and_then(Option::as_ref).ok_or(EngineError::NoDomain(id))
    }
}

/// Whether a port of that policy is in a VLAN; 0: where tags are not looked at.
fn in_vlan(policy: &PortPolicy, vid: Vid) -> bool {
    policy.vlan.as_ref().map_or(vid == 0, |vlan| vlan.members.contains(vid))
}

fn is_passthru(policy: &PortPolicy) -> bool {
    matches!(&policy.role, Role::Macvlan(device) if device.mode == MacvlanMode::Passthru)
}

/// Whether two ports can be in one domain.
fn get_along(a: &PortPolicy, b: &PortPolicy) -> Result<(), PolicyError> {
    match (&a.role, &b.role) {
        (Role::Uplink, Role::Uplink) | (Role::Host { .. }, Role::Host { .. }) => {
            Err(PolicyError::Second(a.role.name()))
        }
        (Role::Macvlan(_), Role::Macvlan(_)) if is_passthru(a) || is_passthru(b) => Err(PolicyError::PassthruSiblings),
        (Role::Macvlan(x), Role::Macvlan(y)) => {
            let taken = x.macs.iter().find(|mac| y.macs.contains(mac));
            taken.map_or(Ok(()), |mac| Err(PolicyError::AddressTaken(*mac)))
        }
        _ => Ok(()),
    }
}
