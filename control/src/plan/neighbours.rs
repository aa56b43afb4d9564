//! How full a lab makes the kernel's neighbour tables. There is one for IPv4 and one for IPv6, and all namespaces of the host
//! share them: of what is over `gc_thresh3`, pings fail at random.

use super::{Check, Driver, Plan, PortPlan};
use crate::kernel::machine::Machine;
use crate::net::IpNet;
use std::collections::BTreeMap;

/// What the kernel begins with (arp_tbl, nd_tbl).
const DEFAULT_LIMIT: u64 = 1024;

/// Warns of a lab whose nodes need more entries than the tables hold.
pub(super) fn warn(plan: &Plan, machine: &Machine, check: &mut Check<'_>) {
    let [v4, v6] = machine.neighbours;
    for (family, key, limit) in [("IPv4", "ipv4", v4), ("IPv6", "ipv6", v6)] {
        let limit = limit.unwrap_or(DEFAULT_LIMIT);
        let needed = entries(plan, family == "IPv4");
        if needed > limit {
            let enough = needed.saturating_mul(2).next_power_of_two();
            let what = format!(
                "the nodes can need {needed} entries of the {family} neighbour table, which holds {limit} for all namespaces of this host: beyond that pings fail at random"
            );
            check.warn("nodes", what, format!("`sysctl -w net.{key}.neigh.default.gc_thresh3={enough}` on the host"));
        }
    }
}

/// Every interface in a namespace can have an entry for each other station of its domain and subnet.
fn entries(plan: &Plan, v4: bool) -> u64 {
    let mut subnets: BTreeMap<_, (u64, u64)> = BTreeMap::new();
    for port in &plan.ports {
        let (nets, asks) = addresses(port);
        for net in nets.iter().filter(|net| net.addr.is_ipv4() == v4) {
            let (asking, all) = subnets.entry((&port.domain, net.network(), net.prefix)).or_default();
            *asking += u64::from(asks);
            *all += 1;
        }
    }
    subnets.values().map(|(asking, all)| asking * (all - 1)).sum()
}

/// Addresses of the station behind a port, and whether it uses this kernel's tables: a virtual machine has its own.
fn addresses(port: &PortPlan) -> (&[IpNet], bool) {
    match (&port.shape, port.netdev()) {
        (Driver::VhostUser(offer), _) => (offer.nic.as_ref().map_or(&[], |nic| &nic.ip), false),
        (_, netdev) => (netdev.map_or(&[], |netdev| &netdev.ip), true),
    }
}
