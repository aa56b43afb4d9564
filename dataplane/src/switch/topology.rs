//! The ports, their domains and their policies: one copy per worker, changed by message.
//!
//! Policies come as control wrote them; here they are compiled into what verdicts read. A domain without policies, its
//! ports' included, is *plain*: its frames take the short path.

use super::MAX_OVERHEAD;
use super::fdb::Fid;
use super::macvlan;
use super::member::Member;
use super::policy::{DomainMode, DomainPolicy, Learning, MAX_MIRRORS, Mirror, MirrorSource, Vid};
use super::snoop::Mdb;
use super::vlan::FidMap;
use crate::port::{DomainId, PortId};
use std::sync::Arc;

/// A broadcast segment.
#[derive(Debug, Clone)]
pub struct Domain {
    /// Most bytes of a frame, tags included; GSO frames are longer.
    pub max_len: usize,
    /// The filtering ids of its VLANs: the part of the FDB key that keeps domains and VLANs apart.
    pub fids: FidMap,
    /// How frames find their port.
    pub forwarding: Forwarding,
    /// Some address is filtered.
    pub filters: bool,
    /// Multicast groups and their members, if snooping is on.
    pub mdb: Option<Arc<Mdb>>,
    members: Vec<PortId>,
    /// Those of them that frames may enter and leave.
    open: Vec<PortId>,
    plain: bool,
    /// VLANs that are mirrored, and the mirrors that do it.
    mirrored: Vec<(Vid, u16)>,
}

/// How frames find their port.
#[derive(Debug, Clone)]
pub enum Forwarding {
    /// By what was learned.
    Learning(Learning),
    /// By the addresses that ports own.
    Macvlan(Arc<macvlan::Table>),
}

impl Domain {
    /// A domain without members. `mtu` is the layer-3 MTU of its ports; `fid` is for frames whose tags are not looked
    /// at.
    #[must_use]
    pub fn new(policy: &DomainPolicy, mtu: usize, fid: Fid) -> Self {
        let forwarding = match &policy.mode {
            DomainMode::Learning(learning) => Forwarding::Learning(*learning),
            DomainMode::Macvlan(extensions) => Forwarding::Macvlan(Arc::new(macvlan::Table::empty(*extensions))),
        };
        Self {
            max_len: mtu + MAX_OVERHEAD,
            fids: FidMap::new(fid),
            forwarding,
            filters: false,
            mdb: None,
            members: Vec::new(),
            open: Vec::new(),
            plain: false,
            mirrored: Vec::new(),
        }
    }

    /// Whether its frames take the short path: it and its ports learn and flood, and have no other policy.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.plain
    }

    /// Its ports, open or not.
    #[must_use]
    pub fn members(&self) -> &[PortId] {
        &self.members
    }

    /// Whether source addresses are learned.
    #[must_use]
    pub fn learns(&self) -> bool {
        matches!(&self.forwarding, Forwarding::Learning(learning) if learning.ageing.is_some())
    }

    /// The mirrors of a VLAN, a bit each.
    #[inline]
    pub(super) fn mirrors(&self, vid: Vid) -> u16 {
        self.mirrored.iter().filter(|(mirrored, _)| *mirrored == vid).fold(0, |all, (_, mirrors)| all | mirrors)
    }

    /// Whether it has no policy of its own but to learn.
    fn has_no_policy(&self) -> bool {
        let nothing = |l: &Learning| l.snooping.is_none() && l.moves.is_none() && l.loops.is_none();
        let learns = matches!(&self.forwarding, Forwarding::Learning(learning) if nothing(learning));
        learns && !self.filters && self.mirrored.is_empty()
    }
}

/// No domain: there are fewer.
const NOWHERE: DomainId = DomainId(u16::MAX);

/// Ports and domains.
#[derive(Debug, Default)]
pub struct Topology {
    ports: Vec<Option<Member>>,
    /// The domain of each port again, [`NOWHERE`] for those that are not there or closed: small, for the look-up of
    /// each frame.
    homes: Vec<DomainId>,
    domains: Vec<Option<Domain>>,
    mirrors: Vec<Mirror>,
}

impl Topology {
    /// Adds a domain, or changes one and keeps its members. Gives back what was there, for the caller to free: here and in
    /// the other changes.
    pub fn put_domain(&mut self, id: DomainId, mut domain: Domain) -> Option<Domain> {
        let slot = slot(&mut self.domains, id.index());
        let mut old = slot.take();
        if let Some(old) = &mut old {
            std::mem::swap(&mut domain.members, &mut old.members);
        }
        domain.mirrored = mirrored_vlans(&self.mirrors, id);
        *slot = Some(domain);
        self.refresh(id);
        old
    }

    /// Replaces what a domain knows of multicast groups.
    pub fn put_mdb(&mut self, id: DomainId, mdb: Arc<Mdb>) -> Option<Arc<Mdb>> {
        match slot(&mut self.domains, id.index()) {
            Some(domain) => domain.mdb.replace(mdb),
            None => Some(mdb),
        }
    }

    /// Removes a domain; its ports must be gone.
    pub fn drop_domain(&mut self, id: DomainId) -> Option<Domain> {
        slot(&mut self.domains, id.index()).take()
    }

    /// Adds a port to its domain, or changes it.
    pub fn put_port(&mut self, port: PortId, mut member: Member) -> Option<Member> {
        let domain = member.domain;
        let stays = self.member(port).is_some_and(|old| old.domain == domain);
        let mut old = if stays { None } else { self.drop_port(port) };
        if let Some(home) = slot(&mut self.domains, domain.index()) {
            if !stays {
                home.members.push(port);
            }
            member.mirror(port, &self.mirrors);
            old = slot(&mut self.ports, port.index()).replace(member).or(old);
        }
        self.refresh(domain);
        old
    }

    /// Removes a port: nothing is sent to it or taken from it any more.
    pub fn drop_port(&mut self, port: PortId) -> Option<Member> {
        let member = slot(&mut self.ports, port.index()).take()?;
        if let Some(domain) = slot(&mut self.domains, member.domain.index()) {
            domain.members.retain(|p| *p != port);
        }
        self.refresh(member.domain);
        Some(member)
    }

    /// Replaces all mirrors; at most [`MAX_MIRRORS`] count.
    pub fn put_mirrors(&mut self, mirrors: Vec<Mirror>) -> Vec<Mirror> {
        let old = std::mem::replace(&mut self.mirrors, mirrors);
        self.mirrors.truncate(MAX_MIRRORS);
        for index in 0..self.ports.len() {
            if let (Some(member), Ok(id)) = (&mut self.ports[index], u16::try_from(index)) {
                member.mirror(PortId(id), &self.mirrors);
            }
        }
        for index in 0..self.domains.len() {
            let Ok(id) = u16::try_from(index) else { continue };
            if let Some(domain) = &mut self.domains[index] {
                domain.mirrored = mirrored_vlans(&self.mirrors, DomainId(id));
            }
            self.refresh(DomainId(id));
        }
        old
    }

    /// The mirrors there are; a mirror's place is its bit in [`Member::rx_mirrors`].
    #[must_use]
    pub fn mirrors(&self) -> &[Mirror] {
        &self.mirrors
    }

    fn refresh(&mut self, id: DomainId) {
        self.homes.clear();
        self.homes
            .extend(self.ports.iter().map(|port| port.as_ref().filter(|m| m.is_open()).map_or(NOWHERE, |m| m.domain)));
        let Some(Some(domain)) = self.domains.get_mut(id.index()) else { return };
        let (ports, homes) = (&self.ports, &self.homes);
        let Domain { members, open, .. } = domain;
        open.clear();
        open.extend(members.iter().copied().filter(|port| homes[port.index()] != NOWHERE));
        let plain = |port: &PortId| ports[port.index()].as_ref().is_none_or(Member::is_plain);
        domain.plain = domain.has_no_policy() && domain.open.iter().all(plain);
    }

    /// A port, if it is there.
    #[inline]
    #[must_use]
    pub fn member(&self, port: PortId) -> Option<&Member> {
        self.ports.get(port.index())?.as_ref()
    }

    /// A domain, if it is there.
    #[must_use]
    pub fn domain(&self, id: DomainId) -> Option<&Domain> {
        self.domains.get(id.index())?.as_ref()
    }

    /// The port and its domain, if it is still there.
    #[must_use]
    pub fn ingress(&self, port: PortId) -> Option<(&Member, &Domain)> {
        let member = self.member(port)?;
        Some((member, self.domain(member.domain)?))
    }

    /// Whether the port is there, open, and in that domain.
    #[inline]
    #[must_use]
    pub fn is_on(&self, port: PortId, domain: DomainId) -> bool {
        self.homes.get(port.index()) == Some(&domain)
    }

    /// Every other member of the domain of `port` that is open.
    pub fn others(&self, port: PortId) -> impl Iterator<Item = PortId> + '_ {
        let members = self.ingress(port).map_or(&[][..], |(_, domain)| &domain.open);
        members.iter().copied().filter(move |p| *p != port)
    }
}

/// The VLANs of a domain that are mirrored.
fn mirrored_vlans(mirrors: &[Mirror], id: DomainId) -> Vec<(Vid, u16)> {
    let vlans = |(bit, mirror): (usize, &Mirror)| {
        let vlan = move |source: &MirrorSource| match source {
            MirrorSource::Vlan(domain, vid) if *domain == id => Some((*vid, 1 << bit)),
            _ => None,
        };
        mirror.from.iter().filter_map(vlan).collect::<Vec<_>>()
    };
    mirrors.iter().take(MAX_MIRRORS).enumerate().flat_map(vlans).collect()
}

/// Entry `index` of a table that grows as needed.
fn slot<T>(table: &mut Vec<Option<T>>, index: usize) -> &mut Option<T> {
    if table.len() <= index {
        table.resize_with(index + 1, || None);
    }
    &mut table[index]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::switch::policy::{BridgePort, PortPolicy, Role};
    use std::time::Duration;

    fn domain(mtu: usize, fid: u16) -> Domain {
        let policy = DomainPolicy::learning(Some(Duration::from_secs(300)), u32::MAX);
        Domain::new(&policy, mtu, Fid::new(fid).unwrap())
    }

    fn member(domain: u16) -> Member {
        Member::new(DomainId(domain), &PortPolicy::default())
    }

    fn topology() -> Topology {
        let mut t = Topology::default();
        for d in 0..2 {
            t.put_domain(DomainId(d), domain(1500, d));
        }
        for p in 0..6 {
            t.put_port(PortId(p), member(p % 2));
        }
        t
    }

    #[test]
    fn others_are_of_the_same_domain_and_not_oneself() {
        let t = topology();
        assert_eq!(t.others(PortId(2)).collect::<Vec<_>>(), [PortId(0), PortId(4)]);
        assert_eq!(t.others(PortId(99)).count(), 0);
    }

    #[test]
    fn a_port_that_moved_is_in_one_domain() {
        let mut t = topology();
        t.put_port(PortId(0), member(1));
        assert_eq!(t.others(PortId(2)).collect::<Vec<_>>(), [PortId(4)]);
        assert!(t.is_on(PortId(0), DomainId(1)) && !t.is_on(PortId(0), DomainId(0)));
        assert!(!t.is_on(PortId(99), DomainId(1)));
    }

    #[test]
    fn changing_a_domain_keeps_its_members() {
        let mut t = topology();
        t.put_domain(DomainId(0), domain(9000, 0));
        assert_eq!(t.ingress(PortId(0)).unwrap().1.max_len, 9000 + MAX_OVERHEAD);
        assert_eq!(t.others(PortId(0)).count(), 2);
        t.drop_port(PortId(0));
        assert!(t.ingress(PortId(0)).is_none() && !t.is_on(PortId(0), DomainId(0)));
    }

    #[test]
    fn a_domain_is_plain_while_no_port_of_it_has_a_policy() {
        let mut t = topology();
        let plain = |t: &Topology| [0, 1].map(|port| t.ingress(PortId(port)).unwrap().1.is_plain());
        assert_eq!(plain(&t), [true, true]);
        let isolated = BridgePort { isolated: true, ..BridgePort::default() };
        let policy = PortPolicy { role: Role::Bridge(isolated), ..PortPolicy::default() };
        t.put_port(PortId(2), Member::new(DomainId(0), &policy));
        assert_eq!(plain(&t), [false, true]);
        assert_eq!(t.others(PortId(0)).count(), 2, "a port that changed is a member once");
        t.put_port(PortId(2), member(0));
        assert_eq!(plain(&t), [true, true]);
        t.put_mirrors(vec![Mirror { from: vec![MirrorSource::Vlan(DomainId(1), 0)], to: PortId(4) }]);
        assert_eq!(plain(&t), [true, false], "the port that a mirror ends at is shut, and no more");
        assert_eq!((t.others(PortId(0)).count(), t.is_on(PortId(4), DomainId(0))), (1, false));
        t.put_mirrors(Vec::new());
        assert_eq!(plain(&t), [true, true]);
    }
}
