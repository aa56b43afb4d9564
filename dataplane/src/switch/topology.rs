//! Which ports there are and which domain each is in: one copy per worker, changed by message.

use super::MAX_OVERHEAD;
use super::fdb::Fid;
use crate::port::{DomainId, PortId};

/// A broadcast segment.
#[derive(Debug, Clone)]
pub struct Domain {
    /// Whether source addresses are learned.
    pub learning: bool,
    /// Most bytes of a frame, tags included; GSO frames are longer.
    pub max_len: usize,
    members: Vec<PortId>,
}

impl Domain {
    /// A domain without members. `mtu` is the layer-3 MTU of its ports.
    #[must_use]
    pub fn new(learning: bool, mtu: usize) -> Self {
        Self { learning, max_len: mtu + MAX_OVERHEAD, members: Vec::new() }
    }
}

/// A port as the switch sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member {
    /// The segment it is on.
    pub domain: DomainId,
    /// The filtering id of its frames: the part of the FDB key that keeps domains apart.
    pub fid: Fid,
}

/// Ports and domains.
#[derive(Debug, Default)]
pub struct Topology {
    ports: Vec<Option<Member>>,
    domains: Vec<Option<Domain>>,
}

impl Topology {
    /// Adds a domain, or changes one and keeps its members.
    pub fn put_domain(&mut self, id: DomainId, domain: Domain) {
        let slot = slot(&mut self.domains, id.index());
        let members = slot.take().map(|d| d.members).unwrap_or_default();
        *slot = Some(Domain { members, ..domain });
    }

    /// Removes a domain; its ports must be gone.
    pub fn drop_domain(&mut self, id: DomainId) {
        *slot(&mut self.domains, id.index()) = None;
    }

    /// Adds a port to its domain.
    pub fn put_port(&mut self, port: PortId, member: Member) {
        self.drop_port(port);
        if let Some(domain) = slot(&mut self.domains, member.domain.index()) {
            domain.members.push(port);
            *slot(&mut self.ports, port.index()) = Some(member);
        }
    }

    /// Removes a port: nothing is sent to it or taken from it any more.
    pub fn drop_port(&mut self, port: PortId) {
        let Some(member) = slot(&mut self.ports, port.index()).take() else { return };
        if let Some(domain) = slot(&mut self.domains, member.domain.index()) {
            domain.members.retain(|p| *p != port);
        }
    }

    /// The port and its domain, if it is still there.
    #[must_use]
    pub fn ingress(&self, port: PortId) -> Option<(&Member, &Domain)> {
        let member = self.ports.get(port.index())?.as_ref()?;
        Some((member, self.domains.get(member.domain.index())?.as_ref()?))
    }

    /// Whether two ports are there and in one domain.
    #[must_use]
    pub fn same_domain(&self, a: PortId, b: PortId) -> bool {
        let domain = |port: PortId| self.ports.get(port.index()).copied().flatten().map(|member| member.domain);
        domain(a).is_some_and(|a| Some(a) == domain(b))
    }

    /// Every other member of the domain of `port`.
    pub fn others(&self, port: PortId) -> impl Iterator<Item = PortId> + '_ {
        let members = self.ingress(port).map_or(&[][..], |(_, domain)| &domain.members);
        members.iter().copied().filter(move |p| *p != port)
    }
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

    fn member(domain: u16) -> Member {
        Member { domain: DomainId(domain), fid: Fid::new(domain).unwrap() }
    }

    fn topology() -> Topology {
        let mut t = Topology::default();
        for d in 0..2 {
            t.put_domain(DomainId(d), Domain::new(true, 1500));
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
        assert!(t.same_domain(PortId(0), PortId(1)) && !t.same_domain(PortId(0), PortId(2)));
        assert!(!t.same_domain(PortId(98), PortId(99)));
    }

    #[test]
    fn changing_a_domain_keeps_its_members() {
        let mut t = topology();
        t.put_domain(DomainId(0), Domain::new(false, 9000));
        assert_eq!(t.ingress(PortId(0)).unwrap().1.max_len, 9000 + MAX_OVERHEAD);
        assert_eq!(t.others(PortId(0)).count(), 2);
        t.drop_port(PortId(0));
        assert!(t.ingress(PortId(0)).is_none());
    }
}
