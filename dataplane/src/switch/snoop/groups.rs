//! Group members: the state of snooping in one domain. Owned by the control thread; time is a parameter.

use super::{Heard, Mdb, Said, is_link_local};
use crate::port::PortId;
use crate::switch::policy::{Snooping, Vid};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Most groups a port can be in; further reports of it are not heeded.
pub const MAX_GROUPS_PER_PORT: usize = 512;
/// Times a querier asks before it gives a group up (RFC 3376 §8.2, the robustness variable).
const QUERIES: u32 = 2;

/// A group of a VLAN and its members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// The VLAN.
    pub vlan: Vid,
    /// The group.
    pub group: IpAddr,
    /// Its ports, and for how many seconds more.
    pub ports: Vec<(PortId, u32)>,
}

/// State of one domain. Times are seconds at which something ends.
#[derive(Debug, Default)]
pub struct Groups {
    membership_s: u32,
    querier_s: u32,
    members: BTreeMap<(Vid, IpAddr), BTreeMap<PortId, u32>>,
    joined: BTreeMap<PortId, usize>,
    routers: BTreeMap<(Vid, PortId), u32>,
    /// By VLAN and whether it is IPv6.
    queriers: BTreeMap<(Vid, bool), u32>,
}

impl Groups {
    /// No groups.
    #[must_use]
    pub fn new(times: &Snooping) -> Self {
        let mut groups = Self::default();
        groups.set_times(times);
        groups
    }

    /// From now on with these times.
    pub fn set_times(&mut self, times: &Snooping) {
        let seconds = |time: std::time::Duration| u32::try_from(time.as_secs()).unwrap_or(u32::MAX).max(1);
        (self.membership_s, self.querier_s) = (seconds(times.membership), seconds(times.querier));
    }

    /// A worker heard something in second `now`; whether the [`Mdb`] changed.
    pub fn hear(&mut self, heard: &Heard, now: u32) -> bool {
        match heard.said {
            Said::Join(group) => self.join((heard.vlan, group), heard.port, now),
            Said::Leave(group) => {
                self.leave((heard.vlan, group), heard.port, now);
                false
            }
            Said::Query { group: Some(group), response_ds, .. } => {
                let wait = (response_ds.saturating_mul(QUERIES)).div_ceil(10).max(1);
                self.ask((heard.vlan, group), now.saturating_add(wait));
                false
            }
            Said::Query { group: None, v6, router, .. } => {
                let until = now.saturating_add(self.querier_s);
                let fresh = self.queriers.insert((heard.vlan, v6), until).is_none();
                router && self.route(heard, now) || fresh
            }
            Said::Router { .. } => self.route(heard, now),
        }
    }

    fn route(&mut self, heard: &Heard, now: u32) -> bool {
        self.routers.insert((heard.vlan, heard.port), now.saturating_add(self.querier_s)).is_none()
    }

    fn join(&mut self, key: (Vid, IpAddr), port: PortId, now: u32) -> bool {
        if is_link_local(&key.1) {
            return false;
        }
        let until = now.saturating_add(self.membership_s);
        if let Some(end) = self.members.get_mut(&key).and_then(|ports| ports.get_mut(&port)) {
            *end = until;
            return false;
        }
        let joined = self.joined.entry(port).or_default();
        if *joined == MAX_GROUPS_PER_PORT {
            return false;
        }
        *joined += 1;
        self.members.entry(key).or_default().insert(port, until);
        true
    }

    /// Nobody asks whether others are left where there is no querier: then the group ends soon by itself.
    fn leave(&mut self, key: (Vid, IpAddr), port: PortId, now: u32) {
        if !self.queriers.contains_key(&(key.0, key.1.is_ipv6()))
            && let Some(until) = self.members.get_mut(&key).and_then(|ports| ports.get_mut(&port))
        {
            *until = (*until).min(now.saturating_add(QUERIES));
        }
    }

    /// A querier asks whether a group still has members: they answer, or are none.
    fn ask(&mut self, key: (Vid, IpAddr), until: u32) {
        if let Some(ports) = self.members.get_mut(&key) {
            ports.values_mut().for_each(|end| *end = (*end).min(until));
        }
    }

    /// Forgets what has ended by second `now`; whether the [`Mdb`] changed.
    pub fn expire(&mut self, now: u32) -> bool {
        let lasts = |until: u32| until > now;
        let before = (self.routers.len(), self.queriers.len());
        self.routers.retain(|_, until| lasts(*until));
        self.queriers.retain(|_, until| lasts(*until));
        let gone = self.retain_members(|_, until| lasts(until));
        gone || before != (self.routers.len(), self.queriers.len())
    }

    /// Forgets a port, in VLANs that do not `stay`; whether the [`Mdb`] changed.
    pub fn forget(&mut self, port: PortId, stays: impl Fn(Vid) -> bool) -> bool {
        let before = self.routers.len();
        self.routers.retain(|(vlan, p), _| *p != port || stays(*vlan));
        let mut gone = before != self.routers.len();
        for ((vlan, _), ports) in &mut self.members {
            if !stays(*vlan) && ports.remove(&port).is_some() {
                gone = true;
            }
        }
        self.recount();
        gone
    }

    fn retain_members(&mut self, lasts: impl Fn(PortId, u32) -> bool) -> bool {
        let mut gone = false;
        for ports in self.members.values_mut() {
            let before = ports.len();
            ports.retain(|port, until| lasts(*port, *until));
            gone |= before != ports.len();
        }
        if gone {
            self.recount();
        }
        gone
    }

    fn recount(&mut self) {
        self.members.retain(|_, ports| !ports.is_empty());
        self.joined.clear();
        for port in self.members.values().flat_map(BTreeMap::keys) {
            *self.joined.entry(*port).or_default() += 1;
        }
    }

    /// What workers need to know. Ports `fixed` lead to routers in that VLAN whatever is heard, ports in `never` do not.
    #[must_use]
    pub fn mdb(&self, fixed: &[(Vid, PortId)], never: &[PortId]) -> Mdb {
        let members = self.members.iter().map(|(key, ports)| (*key, ports.keys().copied().collect()));
        let heard = self.routers.keys().filter(|(_, port)| !never.contains(port));
        let mut routers: BTreeMap<Vid, Vec<PortId>> = BTreeMap::new();
        for (vlan, port) in heard.chain(fixed) {
            let ports = routers.entry(*vlan).or_default();
            if !ports.contains(port) {
                ports.push(*port);
            }
        }
        Mdb {
            members: members.collect(),
            routers: routers.into_iter().map(|(vlan, ports)| (vlan, ports.into())).collect(),
            queried: self.queriers.keys().copied().collect(),
        }
    }

    /// All groups, for people.
    #[must_use]
    pub fn list(&self, now: u32) -> Vec<Group> {
        let left = |(port, until): (&PortId, &u32)| (*port, until.saturating_sub(now));
        let group = |(key, ports): (&(Vid, IpAddr), &BTreeMap<PortId, u32>)| Group {
            vlan: key.0,
            group: key.1,
            ports: ports.iter().map(left).collect(),
        };
        self.members.iter().map(group).collect()
    }

    /// Ports behind which routers were heard, with their VLAN.
    #[must_use]
    pub fn routers(&self) -> Vec<(Vid, PortId)> {
        self.routers.keys().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::Reach;
    use super::super::parse::Class;
    use super::*;
    use crate::port::DomainId;

    const P1: PortId = PortId(1);
    const P2: PortId = PortId(2);

    fn group(last: u8) -> IpAddr {
        IpAddr::from([239, 0, 0, last])
    }

    fn heard(port: PortId, vlan: Vid, said: Said) -> Heard {
        Heard { domain: DomainId(0), port, vlan, said }
    }

    fn query(group: Option<IpAddr>) -> Said {
        Said::Query { group, v6: false, response_ds: 10, router: true }
    }

    fn reach(groups: &Groups, vlan: Vid, last: u8) -> Vec<PortId> {
        match groups.mdb(&[], &[]).reach(vlan, Class::Data(group(last))) {
            Reach::All => vec![PortId(999)],
            Reach::Members(ports) => ports.to_vec(),
            Reach::Routers => Vec::new(),
        }
    }

    #[test]
    fn members_count_where_a_querier_is_heard_and_only_there() {
        let mut groups = Groups::new(&Snooping::default());
        assert!(groups.hear(&heard(P1, 7, Said::Join(group(1))), 10));
        assert!(!groups.hear(&heard(P1, 7, Said::Join(group(1))), 11), "known");
        assert_eq!(reach(&groups, 7, 1), [PortId(999)], "no querier: flooded");
        assert!(groups.hear(&heard(P2, 7, query(None)), 12));
        assert_eq!((reach(&groups, 7, 1), reach(&groups, 7, 2)), (vec![P1], vec![]));
        assert_eq!(reach(&groups, 8, 1), [PortId(999)], "another VLAN");
        let mdb = groups.mdb(&[], &[]);
        assert_eq!((mdb.routers(7), mdb.routers(8)), (&[P2][..], &[][..]));
        assert_eq!(mdb.reach(7, Class::Data(IpAddr::from([224, 0, 0, 251]))), Reach::All, "link-local");
        assert_eq!(mdb.reach(7, Class::Data("ff05::1".parse().unwrap())), Reach::All, "no MLD querier");
        assert_eq!(mdb.reach(7, Class::Other), Reach::All);
        assert_eq!(mdb.reach(7, Class::Report(group(9))), Reach::Routers);
    }

    #[test]
    fn members_queriers_and_routers_end() {
        let mut groups = Groups::new(&Snooping::default());
        groups.hear(&heard(P1, 0, Said::Join(group(1))), 0);
        groups.hear(&heard(P2, 0, query(None)), 100);
        assert!(!groups.expire(259) && groups.expire(260), "260 s after the report");
        assert_eq!(reach(&groups, 0, 1), []);
        assert!(!groups.expire(354) && groups.expire(355), "255 s after the query");
        assert_eq!((reach(&groups, 0, 1), groups.routers()), (vec![PortId(999)], vec![]));
    }

    #[test]
    fn a_group_asked_about_ends_unless_somebody_answers() {
        let mut groups = Groups::new(&Snooping::default());
        groups.hear(&heard(P2, 0, query(None)), 0);
        for port in [P1, P2] {
            groups.hear(&heard(port, 0, Said::Join(group(1))), 0);
        }
        groups.hear(&heard(P1, 0, Said::Leave(group(1))), 10);
        groups.hear(&heard(P2, 0, query(Some(group(1)))), 10);
        groups.hear(&heard(P2, 0, Said::Join(group(1))), 11);
        assert!(groups.expire(12));
        assert_eq!(reach(&groups, 0, 1), [P2]);
        assert_eq!(groups.list(12)[0].ports, [(P2, 259)]);
    }

    #[test]
    fn one_who_leaves_where_nobody_asks_is_soon_forgotten() {
        let mut groups = Groups::new(&Snooping::default());
        groups.hear(&heard(P1, 0, Said::Join(group(1))), 0);
        groups.hear(&heard(P1, 0, Said::Leave(group(1))), 1);
        assert!(groups.expire(3) && groups.list(3).is_empty());
    }

    #[test]
    fn a_port_can_fill_only_its_own_share() {
        let mut groups = Groups::new(&Snooping::default());
        let join = |n: u16| Said::Join(IpAddr::from([239, 1, n.to_be_bytes()[0], n.to_be_bytes()[1]]));
        let taken = (0..2000).filter(|n| groups.hear(&heard(P1, 0, join(*n)), 0)).count();
        assert_eq!(taken, MAX_GROUPS_PER_PORT);
        assert!(groups.hear(&heard(P2, 0, join(1999)), 0), "another port");
        assert!(groups.forget(P1, |_| false));
        assert_eq!(groups.list(0).len(), 1);
        assert!(groups.hear(&heard(P1, 0, join(7)), 0), "its share is free again");
    }

    #[test]
    fn link_local_groups_are_nobody_s() {
        let mut groups = Groups::new(&Snooping::default());
        for local in ["224.0.0.251", "ff02::1:ff00:1", "ff01::5"] {
            assert!(!groups.hear(&heard(P1, 0, Said::Join(local.parse().unwrap())), 0), "{local}");
        }
        assert!(groups.hear(&heard(P1, 0, Said::Join("ff05::5".parse().unwrap())), 0));
    }

    #[test]
    fn ports_with_a_fixed_word_on_routers() {
        let mut groups = Groups::new(&Snooping::default());
        groups.hear(&heard(P1, 0, query(None)), 0);
        let mdb = groups.mdb(&[(0, P2), (5, P2)], &[P1]);
        assert_eq!((mdb.routers(0), mdb.routers(5)), (&[P2][..], &[P2][..]));
    }
}
