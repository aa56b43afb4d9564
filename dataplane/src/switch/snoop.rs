//! IGMP and MLD snooping (RFC 4541): multicast goes to the ports that asked for it, and to routers.
//!
//! Ownership: workers read membership messages ([`parse`]) and tell control, one [`Heard`] each; control alone keeps
//! the state ([`groups`]) and sends every worker the same [`Mdb`], an answer to "which ports want this group", made anew
//! when it changes. So there is no shared state to lock, and workers differ for as long as a message takes.
//!
//! Pruned is only what is known to be safe: a group beyond the link's scope, in a VLAN where a querier is heard, so that
//! members keep reporting. Everything else is flooded: link-local groups (neighbour discovery, mDNS, routing), groups in
//! a VLAN without a querier, and what is not IP.

pub mod groups;
pub mod parse;

use super::macs::Seeded;
use super::policy::Vid;
use crate::port::{DomainId, PortId};
use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

/// What a membership message says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Said {
    /// A host behind the port wants the group.
    Join(IpAddr),
    /// A host left the group; others may still be in it.
    Leave(IpAddr),
    /// A querier asks.
    Query {
        /// The group whose members must answer; `None`: members of every group.
        group: Option<IpAddr>,
        /// MLD, not IGMP.
        v6: bool,
        /// Tenths of a second in which members must answer.
        response_ds: u32,
        /// It has an address; one that has none (a proxy) is no router (RFC 4541 §2.1.1).
        router: bool,
    },
    /// A multicast router is there (PIM hello).
    Router {
        /// Over IPv6.
        v6: bool,
    },
}

/// A worker's word to control.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heard {
    /// The domain.
    pub domain: DomainId,
    /// Where it was said.
    pub port: PortId,
    /// In which VLAN.
    pub vlan: Vid,
    /// What was said.
    pub said: Said,
}

/// Where a multicast frame goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach<'a> {
    /// To everybody.
    All,
    /// To these, and to routers.
    Members(&'a [PortId]),
    /// To routers.
    Routers,
}

/// Which ports want which group, in all VLANs of a domain.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Mdb {
    members: HashMap<(Vid, IpAddr), Box<[PortId]>, Seeded>,
    routers: HashMap<Vid, Box<[PortId]>, Seeded>,
    /// VLANs in which a querier is heard, IPv4 and IPv6 apart.
    queried: HashSet<(Vid, bool), Seeded>,
}

impl Mdb {
    /// Where a frame goes that carries `class`.
    #[must_use]
    pub fn reach(&self, vlan: Vid, class: parse::Class) -> Reach<'_> {
        let queried = |group: &IpAddr| self.queried.contains(&(vlan, group.is_ipv6()));
        match class {
            parse::Class::Report(group) if queried(&group) => Reach::Routers,
            parse::Class::Data(group) if !is_link_local(&group) && queried(&group) => {
                self.members.get(&(vlan, group)).map_or(Reach::Routers, |ports| Reach::Members(ports))
            }
            _ => Reach::All,
        }
    }

    /// The ports behind which multicast routers are.
    #[must_use]
    pub fn routers(&self, vlan: Vid) -> &[PortId] {
        self.routers.get(&vlan).map_or(&[], |ports| ports)
    }
}

/// Groups that no bridge may prune: those of the link and of the interface (224.0.0.0/24, ff02::/16, ff01::/16).
#[must_use]
pub fn is_link_local(group: &IpAddr) -> bool {
    match group {
        IpAddr::V4(group) => group.octets()[..3] == [224, 0, 0],
        IpAddr::V6(group) => group.octets()[1] & 0xf <= 2,
    }
}
