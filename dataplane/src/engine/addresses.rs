//! The FDB as people see it: fixed entries, the addresses that port security pins, flushing, listing.
//!
//! Two things make fixed entries: the operator, whose entries are in `Engine::fixed`, and port security, whose pins follow
//! from the policies. Where both name an address the operator's entry is in the table, and the pin takes its place when it
//! goes; an entry is replaced in place, so that there is no moment in which another port could learn the address.

use super::{Engine, EngineError, FdbEntry, FdbRecord, Flush};
use crate::eth::MacAddr;
use crate::port::{DomainId, PortId};
use crate::switch::fdb::{Fixed, Hit, Kind, Record};
use crate::switch::policy::{Action, PortPolicy, Role, Vid};
use std::collections::BTreeSet;

/// An address in a VLAN of a domain.
pub(super) type Key = (DomainId, Vid, MacAddr);

impl FdbEntry {
    fn port(self) -> Option<PortId> {
        match self {
            Self::Static(port) | Self::Sticky(port) => Some(port),
            Self::Filter => None,
        }
    }

    fn fixed(self) -> Fixed {
        match self {
            Self::Static(_) => Fixed::Static,
            Self::Sticky(_) => Fixed::Sticky,
            Self::Filter => Fixed::Filter,
        }
    }

    fn kind(self) -> Kind {
        match self {
            Self::Static(_) => Kind::Static,
            Self::Sticky(_) => Kind::Sticky,
            Self::Filter => Kind::Filter,
        }
    }
}

impl Engine {
    /// Makes a fixed entry, in VLAN `vlan` of the domain (0: where tags are not looked at).
    ///
    /// # Errors
    /// [`EngineError::NoPort`] if the port is not in the domain, [`EngineError::NoVlan`], [`EngineError::Fdb`],
    /// [`EngineError::Late`]; nothing has changed then.
    pub fn add_entry(&mut self, domain: DomainId, vlan: Vid, mac: MacAddr, entry: FdbEntry) -> Result<(), EngineError> {
        if let Some(port) = entry.port()
            && self.slot(port)?.domain != domain
        {
            return Err(EngineError::NoPort(port));
        }
        self.domain(domain)?;
        self.fids.get(domain, vlan).ok_or(EngineError::NoVlan(vlan))?;
        let key = (domain, vlan, mac);
        let before = self.fixed.insert(key, entry);
        let made = self.announce_filter(domain, entry, before).and_then(|()| self.write_entry(key, entry));
        if made.is_err() {
            match before {
                Some(before) => self.fixed.insert(key, before),
                None => self.fixed.remove(&key),
            };
        }
        if [Some(entry), before].contains(&Some(FdbEntry::Filter)) && Some(entry) != before {
            self.tell_domain(domain);
        }
        made
    }

    /// Workers know that a domain has filters before one is in the table: where they expect none they do not look at an
    /// entry's kind, and would take the port of a filter, which means nothing, for the station's.
    fn announce_filter(
        &mut self,
        domain: DomainId,
        entry: FdbEntry,
        before: Option<FdbEntry>,
    ) -> Result<(), EngineError> {
        if entry != FdbEntry::Filter || before == Some(FdbEntry::Filter) {
            return Ok(());
        }
        self.tell_domain(domain);
        self.sync()
    }

    fn write_entry(&self, (domain, vlan, mac): Key, entry: FdbEntry) -> Result<(), EngineError> {
        let fid = self.fids.get(domain, vlan).ok_or(EngineError::NoVlan(vlan))?;
        Ok(self.fdb.insert_fixed(fid, mac, entry.port().unwrap_or(PortId(0)), entry.fixed())?)
    }

    /// Forgets an address in a VLAN; false if it was not known. One that port security pins is pinned again.
    pub fn remove_entry(&mut self, domain: DomainId, vlan: Vid, mac: MacAddr) -> bool {
        let key = (domain, vlan, mac);
        let was = self.fixed.remove(&key);
        let known = self.find(key).is_some();
        self.unpin(key);
        if was == Some(FdbEntry::Filter) {
            self.tell_domain(domain);
        }
        known
    }

    /// What the table says of an address.
    fn find(&self, (domain, vlan, mac): Key) -> Option<Hit> {
        self.fdb.find_at(self.fdb.hash(self.fids.get(domain, vlan)?, mac))
    }

    /// Forgets all entries that match, but for those that port security pins; how many.
    pub fn flush(&mut self, what: &Flush) -> usize {
        let pins: BTreeSet<Key> =
            self.open_ports().flat_map(|(_, port)| self.pins(port.domain, &port.policy)).collect();
        let (fids, fixed) = (&self.fids, &self.fixed);
        let matches = |record: Record| {
            let Some((domain, vlan)) = fids.owner(record.fid) else { return false };
            let key = (domain, vlan, record.mac);
            let is_pin = record.kind == Kind::Sticky && pins.contains(&key) && !fixed.contains_key(&key);
            what.domain.is_none_or(|d| d == domain)
                && what.vlan.is_none_or(|v| v == vlan)
                && what.port.is_none_or(|p| p == record.port && record.kind != Kind::Filter)
                && what.mac.is_none_or(|m| m == record.mac)
                && record.kind == what.kind.unwrap_or(Kind::Learned)
                && !is_pin
        };
        let flushed = self.fdb.flush_matching(matches);
        if what.kind.is_some_and(|kind| kind != Kind::Learned) {
            self.recount_fixed();
        }
        flushed
    }

    /// Forgets the operator's entries that are not in the table any more: flushed, or gone with a port or a VLAN.
    pub(super) fn recount_fixed(&mut self) {
        let is_there = |(key, entry): &(Key, FdbEntry)| self.find(*key).is_some_and(|hit| hit.kind == entry.kind());
        let gone: Vec<_> = self.fixed.iter().map(|(key, entry)| (*key, *entry)).filter(|e| !is_there(e)).collect();
        for (key, _) in &gone {
            self.fixed.remove(key);
            self.unpin(*key);
        }
        let filters = gone.iter().filter(|(_, entry)| *entry == FdbEntry::Filter);
        let domains: BTreeSet<DomainId> = filters.map(|((domain, ..), _)| *domain).collect();
        domains.into_iter().for_each(|id| self.tell_domain(id));
    }

    /// Whether addresses of a domain are filtered.
    pub(super) fn has_filters(&self, id: DomainId) -> bool {
        let all = self.fixed.range((id, 0, MacAddr([0; 6]))..=(id, Vid::MAX, MacAddr([0xff; 6])));
        all.into_iter().any(|(_, entry)| *entry == FdbEntry::Filter)
    }

    /// The operator's entries that move with their station, of those that a loop took to its `ports`, go back.
    pub(super) fn bring_back(&self, domain: DomainId, ports: [PortId; 2]) {
        for (key, entry) in self.fixed.iter().filter(|((of, ..), _)| *of == domain) {
            let strayed = |hit: Hit| ports.contains(&hit.port) && entry.port() != Some(hit.port);
            if matches!(entry, FdbEntry::Static(_)) && self.find(*key).is_some_and(strayed) {
                // it has a slot: nothing can be full
                let _ = self.write_entry(*key, *entry);
            }
        }
    }

    /// Pins the addresses that port security allows on a port, so that no other port takes them over: all of them, or,
    /// on an error, none that was not.
    pub(super) fn pin_secured(&self, port: PortId, domain: DomainId, policy: &PortPolicy) -> Result<(), EngineError> {
        let mut pinned = Vec::new();
        for key in self.pins(domain, policy).into_iter().filter(|key| !self.fixed.contains_key(key)) {
            if self.find(key) == Some(Hit { port, kind: Kind::Sticky }) {
                continue;
            }
            if let Err(error) = self.write_entry(key, FdbEntry::Sticky(port)) {
                pinned.into_iter().for_each(|key| self.unpin(key));
                return Err(error);
            }
            pinned.push(key);
        }
        Ok(())
    }

    /// Leaves at an address what the policies as they are now say: a pin, or nothing. The operator's entry stays.
    pub(super) fn unpin(&self, key: Key) {
        let (domain, vlan, mac) = key;
        if self.fixed.contains_key(&key) {
            return;
        }
        let pins = |port: &super::Port| port.domain == domain && self.pins(domain, &port.policy).contains(&key);
        match self.open_ports().find(|(_, port)| pins(port)) {
            // over the entry that is there, or where one has just been
            Some((port, _)) => drop(self.write_entry(key, FdbEntry::Sticky(port))),
            None => drop(self.fids.get(domain, vlan).map(|fid| self.fdb.remove(fid, mac))),
        }
    }

    /// The addresses that port security pins on a port of that policy.
    pub(super) fn pins(&self, domain: DomainId, policy: &PortPolicy) -> Vec<Key> {
        let learning = matches!(policy.role, Role::Bridge(_));
        let security = policy.security.as_ref().filter(|security| learning && security.act == Action::Drop);
        let macs = security.map_or(&[][..], |security| &security.macs);
        if macs.is_empty() {
            return Vec::new();
        }
        let vlans: Vec<Vid> = policy.vlan.as_ref().map_or(vec![0], |vlan| vlan.members.iter().collect());
        vlans.into_iter().flat_map(|vlan| macs.iter().map(move |mac| (domain, vlan, *mac))).collect()
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
        self.open_ports().flat_map(|(id, port)| {
            let macs = match &port.policy.role {
                Role::Macvlan(device) => &device.macs[..],
                _ => &[],
            };
            let (domain, vlan, kind, age_s) = (port.domain, 0, Kind::Sticky, 0);
            macs.iter().map(move |mac| FdbRecord { domain, vlan, mac: *mac, port: Some(id), kind, age_s })
        })
    }
}
