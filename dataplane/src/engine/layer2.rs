//! Policies of ports and domains, mirrors, and the FDB as people see it: what the control thread may change while the
//! workers go on.
//!
//! Every change reaches the workers by message, in this order: a VLAN has its filtering id before a port is in it, and
//! keeps it until every worker has forgotten that a port was.

use super::{Engine, EngineError, FdbEntry, FdbRecord, Flush};
use crate::command::Command;
use crate::eth::MacAddr;
use crate::port::{DomainId, PortId};
use crate::switch::fdb::{Fid, Fixed, Kind, Record};
use crate::switch::policy::{
    Act, DomainMode, DomainPolicy, MAX_MIRRORS, MacvlanMode, Mirror, MirrorSource, PolicyError, PortPolicy, Role, Vid,
};
use crate::switch::{Domain, Forwarding, Member, macvlan};
use std::collections::BTreeSet;
use std::sync::Arc;

impl Engine {
    /// Changes what is asked of a port. Frames of other ports are not touched; addresses that were learned on the port
    /// in VLANs it has left, or while it was up and now is down, are forgotten.
    ///
    /// # Errors
    /// [`EngineError::NoPort`], [`EngineError::Policy`], [`EngineError::TooManyVlans`], [`EngineError::Stuck`]; but for
    /// the last the port is as it was.
    pub fn set_port_policy(&mut self, port: PortId, mut policy: PortPolicy) -> Result<(), EngineError> {
        let slot = self.slot(port)?;
        let (domain, enabled, link) = (slot.domain, policy.enabled, slot.link);
        policy.enabled &= link;
        self.check_port(Some(port), domain, &policy)?;
        self.obtain_fids(domain, &policy)?;
        self.unpin_secured(port);
        self.fdb.set_port_limit(port, policy.fdb_limit);
        if let Some(Some(slot)) = self.ports.get_mut(port.index()) {
            (slot.policy, slot.enabled) = (policy, enabled);
        }
        self.tell_domain(domain);
        self.tell_port(port);
        self.sync()?;
        self.forget_left(port);
        self.pin_secured(port)?;
        self.release_fids(domain)
    }

    /// What is asked of a port.
    ///
    /// # Errors
    /// [`EngineError::NoPort`].
    pub fn port_policy(&self, port: PortId) -> Result<PortPolicy, EngineError> {
        let slot = self.slot(port)?;
        Ok(PortPolicy { enabled: slot.enabled, ..slot.policy.clone() })
    }

    /// Changes what is asked of a domain. Its mode stays: learning and macvlan ports are not the same.
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
        self.sync()
    }

    /// Makes a fixed entry, in VLAN `vlan` of the domain (0: where tags are not looked at).
    ///
    /// # Errors
    /// [`EngineError::NoPort`] if the port is not in the domain, [`EngineError::NoVlan`], [`EngineError::Fdb`].
    pub fn add_entry(&mut self, domain: DomainId, vlan: Vid, mac: MacAddr, entry: FdbEntry) -> Result<(), EngineError> {
        let (port, fixed) = match entry {
            FdbEntry::Static(port) => (Some(port), Fixed::Static),
            FdbEntry::Sticky(port) => (Some(port), Fixed::Sticky),
            FdbEntry::Filter => (None, Fixed::Filter),
        };
        if let Some(port) = port.filter(|port| self.slot(*port).is_ok_and(|slot| slot.domain != domain)) {
            return Err(EngineError::NoPort(port));
        }
        port.map_or(Ok(()), |port| self.slot(port).map(drop))?;
        self.domain(domain)?;
        let fid = self.fids.get(domain, vlan).ok_or(EngineError::NoVlan(vlan))?;
        self.fdb.insert_fixed(fid, mac, port.unwrap_or(PortId(0)), fixed)?;
        let key = (domain, vlan, mac);
        let changed = if fixed == Fixed::Filter { self.filters.insert(key) } else { self.filters.remove(&key) };
        if changed {
            self.tell_domain(domain);
        }
        Ok(())
    }

    /// Forgets an address in a VLAN; false if it was not known.
    pub fn remove_entry(&mut self, domain: DomainId, vlan: Vid, mac: MacAddr) -> bool {
        let removed = self.fids.get(domain, vlan).is_some_and(|fid| self.fdb.remove(fid, mac));
        if self.filters.remove(&(domain, vlan, mac)) {
            self.tell_domain(domain);
        }
        removed
    }

    /// Forgets all entries that match; how many.
    pub fn flush(&mut self, what: &Flush) -> usize {
        let fids = &self.fids;
        let matches = |record: Record| {
            let Some((domain, vlan)) = fids.owner(record.fid) else { return false };
            what.domain.is_none_or(|d| d == domain)
                && what.vlan.is_none_or(|v| v == vlan)
                && what.port.is_none_or(|p| p == record.port && record.kind != Kind::Filter)
                && what.mac.is_none_or(|m| m == record.mac)
                && record.kind == what.kind.unwrap_or(Kind::Learned)
        };
        let flushed = self.fdb.flush_matching(matches);
        if what.kind == Some(Kind::Filter) {
            self.recount_filters();
        }
        flushed
    }

    /// Forgets filters that were flushed.
    fn recount_filters(&mut self) {
        let (fdb, fids) = (&self.fdb, &self.fids);
        let kept = |(domain, vlan, mac): &(DomainId, Vid, MacAddr)| {
            let hit = fids.get(*domain, *vlan).and_then(|fid| fdb.find_at(fdb.scatter(fid, *mac)));
            hit.is_some_and(|hit| hit.kind == Kind::Filter)
        };
        let (kept, gone): (BTreeSet<_>, BTreeSet<_>) = self.filters.iter().copied().partition(kept);
        self.filters = kept;
        let domains: BTreeSet<DomainId> = gone.into_iter().map(|(domain, ..)| domain).collect();
        domains.into_iter().for_each(|id| self.tell_domain(id));
    }

    /// All addresses known, and those that macvlan ports own.
    #[must_use]
    pub fn fdb(&self) -> Vec<FdbRecord> {
        let record = |r: Record| {
            let (domain, vlan) = self.fids.owner(r.fid)?;
            let port = (r.kind != Kind::Filter).then_some(r.port);
            Some(FdbRecord { domain, vlan, mac: r.mac, port, kind: r.kind, age_s: r.age_s })
        };
        let mut all: Vec<_> = self.fdb.dump(self.now()).into_iter().filter_map(record).collect();
        all.extend(self.owned());
        all
    }

    fn owned(&self) -> impl Iterator<Item = FdbRecord> + '_ {
        let ports = self.ports.iter().enumerate().filter_map(|(i, slot)| Some((i, slot.as_ref()?)));
        ports.flat_map(|(i, slot)| {
            let macs = match &slot.policy.role {
                Role::Macvlan(device) => &device.macs[..],
                _ => &[],
            };
            let port = u16::try_from(i).ok().map(PortId);
            let (domain, vlan, kind, age_s) = (slot.domain, 0, Kind::Sticky, 0);
            macs.iter().map(move |mac| FdbRecord { domain, vlan, mac: *mac, port, kind, age_s })
        })
    }

    /// Sends a domain to the workers, as it is now.
    pub(super) fn tell_domain(&mut self, id: DomainId) {
        let Some(fid) = self.fids.get(id, 0) else { return };
        let mdb = self.snoop(id);
        let Ok(spec) = self.domain(id) else { return };
        let mut domain = Domain::new(&spec.policy, spec.mtu as usize, fid);
        domain.fids = domain.fids.with(self.fids.of(id).filter(|(vid, _)| *vid != 0));
        domain.filters = self.filters.range((id, 0, MacAddr([0; 6]))..).next().is_some_and(|(of, ..)| *of == id);
        domain.mdb = mdb;
        if let DomainMode::Macvlan(extensions) = &spec.policy.mode {
            domain.engine = Forwarding::Macvlan(Arc::new(macvlan::Table::new(*extensions, self.members(id))));
        }
        self.post_all(|| Command::PutDomain(id, domain.clone()));
    }

    /// The ports of a domain.
    pub(super) fn members(&self, id: DomainId) -> impl Iterator<Item = (PortId, &PortPolicy)> {
        let ports =
            self.ports.iter().enumerate().filter_map(|(i, slot)| Some((u16::try_from(i).ok()?, slot.as_ref()?)));
        ports.filter(move |(_, slot)| slot.domain == id).map(|(port, slot)| (PortId(port), &slot.policy))
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
        let old = port.and_then(|port| self.ports[port.index()].as_ref());
        if old.is_some_and(|old| is_passthru(&old.policy) != is_passthru(policy)) {
            return Err(PolicyError::PassthruChange.into());
        }
        let others = self.ports.iter().enumerate().filter(|(i, _)| port.is_none_or(|port| port.index() != *i));
        let siblings = others.filter_map(|(_, slot)| slot.as_ref()).filter(|slot| slot.domain == domain);
        for sibling in siblings {
            get_along(policy, &sibling.policy)?;
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
                self.release_fids(domain)?;
                return Err(EngineError::TooManyVlans { domain, vlan });
            };
            if fresh {
                self.fdb.share_limit(fid, base);
            }
        }
        Ok(())
    }

    /// Gives up the filtering ids of VLANs that no port is in any more, after every worker has forgotten them.
    pub(super) fn release_fids(&mut self, domain: DomainId) -> Result<(), EngineError> {
        let ports = self.ports.iter().flatten().filter(|slot| slot.domain == domain);
        let used: BTreeSet<Vid> =
            ports.filter_map(|slot| slot.policy.vlan.as_ref()).flat_map(|vlan| vlan.members.iter()).collect();
        let unused = |(vid, _): &(Vid, Fid)| *vid != 0 && !used.contains(vid);
        let gone: Vec<_> = self.fids.of(domain).filter(unused).collect();
        if gone.is_empty() {
            return Ok(());
        }
        for (vid, _) in &gone {
            self.fids.release(domain, *vid);
        }
        self.tell_domain(domain);
        self.sync()?;
        for (_, fid) in gone {
            self.fdb.flush_fid(fid);
        }
        self.recount_filters();
        Ok(())
    }

    /// Forgets what was learned on a port where it cannot be any more.
    fn forget_left(&mut self, port: PortId) {
        let Ok(slot) = self.slot(port) else { return };
        let (domain, policy) = (slot.domain, slot.policy.clone());
        let stays = |vid: Vid| policy.enabled && in_vlan(&policy, vid);
        self.fdb.flush_matching(|record| {
            let gone = self.fids.owner(record.fid).is_none_or(|(_, vid)| !stays(vid));
            record.port == port && record.kind == Kind::Learned && gone
        });
        self.forget_groups(domain, port, stays);
    }

    /// Pins the addresses that port security allows on a port, so that nobody else takes them over.
    pub(super) fn pin_secured(&mut self, port: PortId) -> Result<(), EngineError> {
        for (fid, mac) in self.secured(port) {
            self.fdb.insert_fixed(fid, mac, port, Fixed::Sticky)?;
        }
        Ok(())
    }

    fn unpin_secured(&mut self, port: PortId) {
        for (fid, mac) in self.secured(port) {
            self.fdb.remove(fid, mac);
        }
    }

    fn secured(&self, port: PortId) -> Vec<(Fid, MacAddr)> {
        let Ok(slot) = self.slot(port) else { return Vec::new() };
        let learning = matches!(slot.policy.role, Role::Bridge(_));
        let security = slot.policy.security.as_ref().filter(|s| learning && s.act == Act::Enforce);
        let macs = security.map_or(&[][..], |security| &security.macs);
        let fids: Vec<Fid> =
            self.fids.of(slot.domain).filter(|(vid, _)| in_vlan(&slot.policy, *vid)).map(|(_, fid)| fid).collect();
        fids.into_iter().flat_map(|fid| macs.iter().map(move |mac| (fid, *mac))).collect()
    }

    /// A mirror without an end is none; one without a source copies nothing.
    pub(super) fn drop_mirrors_of(&mut self, port: PortId) -> Result<(), EngineError> {
        let names = |source: &MirrorSource| matches!(source, MirrorSource::Rx(p) | MirrorSource::Tx(p) if *p == port);
        if !self.mirrors.iter().any(|mirror| mirror.to == port || mirror.from.iter().any(names)) {
            return Ok(());
        }
        self.mirrors.retain(|mirror| mirror.to != port);
        for mirror in &mut self.mirrors {
            mirror.from.retain(|source| !names(source));
        }
        let mirrors = self.mirrors.clone();
        self.post_all(|| Command::PutMirrors(mirrors.clone()));
        self.sync()
    }

    /// Seconds after which an address of that filtering id is forgotten; `u32::MAX`: never.
    pub(super) fn ageing_s(&self, fid: Fid) -> u32 {
        let domain = self.fids.owner(fid).and_then(|(domain, _)| self.domain(domain).ok());
        let ageing = domain.and_then(|spec| match &spec.policy.mode {
            DomainMode::Learning(learning) => learning.ageing,
            DomainMode::Macvlan(_) => None,
        });
        ageing.map_or(u32::MAX, |ageing| u32::try_from(ageing.as_secs()).unwrap_or(u32::MAX))
    }

    pub(super) fn slot(&self, port: PortId) -> Result<&super::PortSlot, EngineError> {
        self.ports.get(port.index()).and_then(Option::as_ref).ok_or(EngineError::NoPort(port))
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
