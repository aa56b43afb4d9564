//! What may not exist twice: a MAC or an IP address in one domain, an interface in one namespace.

use super::{Check, Plan, PortPlan};
use crate::config::PortKind;
use crate::net::Netns;
use dataplane::eth::MacAddr;
use dataplane::switch::policy::Role;

/// Every address that is the port's.
fn addresses_of(port: &PortPlan) -> Vec<MacAddr> {
    match &port.policy.role {
        Role::Macvlan(device) => device.macs.clone(),
        Role::Host { macs } => macs.clone(),
        _ => port.netdev().map(|netdev| netdev.mac).into_iter().collect(),
    }
}

/// Compares a port with those that are planned already.
pub(super) fn twice(made: &PortPlan, path: &str, plan: &Plan, check: &mut Check<'_>) {
    for other in &plan.ports {
        if made.interface().is_some() && made.interface() == other.interface() {
            let (place, ifname) = made.interface().unwrap_or((&Netns::Host, ""));
            let key = if made.kind() == PortKind::AfXdp { "dev" } else { "ifname" };
            check.bad(
                &format!("{path}.{key}"),
                format!("port `{}` has the interface `{ifname}` in {place} already", other.name),
                "choose another",
            );
        }
        if other.domain != made.domain || other.name == made.name || apart(made, other) {
            continue;
        }
        same_address(made, other, path, check);
        let (Some(mine), Some(its)) = (made.netdev(), other.netdev()) else { continue };
        for net in mine.ip.iter().filter(|net| its.ip.iter().any(|other| other.addr == net.addr)) {
            check.bad(
                &format!("{path}.ip"),
                format!("port `{}` has {} already", other.name, net.addr),
                "give every port of a domain its own",
            );
        }
    }
}

/// Whether the ports share no VLAN: then they may be two networks with the same addresses.
pub(super) fn apart(a: &PortPlan, b: &PortPlan) -> bool {
    match (&a.policy.vlan, &b.policy.vlan) {
        (Some(a), Some(b)) => !a.members.iter().any(|vid| b.members.contains(vid)),
        _ => false,
    }
}

fn same_address(made: &PortPlan, other: &PortPlan, path: &str, check: &mut Check<'_>) {
    let its = addresses_of(other);
    for (i, mac) in addresses_of(made).iter().enumerate().filter(|(_, mac)| its.contains(mac)) {
        let path = if i == 0 { format!("{path}.mac") } else { format!("{path}.macs") };
        let remedy = "give every port of a domain its own";
        check.bad(&path, format!("port `{}` has {mac} already", other.name), remedy);
    }
}
