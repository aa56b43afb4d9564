//! How full a lab makes the kernel's neighbour tables. There is one for IPv4 and one for IPv6, and all namespaces of the host
//! share them: of what is over `gc_thresh3`, pings fail at random.

use super::{Driver, Plan, PortPlan};
use crate::kernel::machine::Machine;
use crate::net::IpNet;
use std::collections::BTreeMap;

/// What the kernel begins with (arp_tbl, nd_tbl).
const DEFAULT_LIMIT: u64 = 1024;

/// What is to be said of them, with what to type.
#[must_use]
pub fn warnings(plan: &Plan, machine: &Machine) -> Vec<String> {
    let [v4, v6] = machine.neighbours;
    let tables = [("IPv4", "ipv4", v4), ("IPv6", "ipv6", v6)];
    tables
        .iter()
        .filter_map(|(family, key, limit)| warning(plan, family, key, limit.unwrap_or(DEFAULT_LIMIT)))
        .collect()
}

fn warning(plan: &Plan, family: &str, key: &str, limit: u64) -> Option<String> {
    let needed = entries(plan, family == "IPv4");
    let enough = needed.saturating_mul(2).next_power_of_two();
    (needed > limit).then(|| {
        format!(
            "the nodes can need {needed} entries of the {family} neighbour table, which holds {limit} for all namespaces of this host: beyond that pings fail at random; `sysctl -w net.{key}.neigh.default.gc_thresh3={enough}` on the host makes room"
        )
    })
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
