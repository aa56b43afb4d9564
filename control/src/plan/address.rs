//! What a port's interface gets: a MAC address, IP addresses, and the MTU of its domain.

use super::unique::apart;
use super::{Check, Driver, Plan, PortPlan, names};
use crate::config::{Port, PortKind};
use crate::net::IpNet;
use dataplane::eth::MacAddr;
use dataplane::pmd::af_xdp::MAX_MTU as XDP_MTU;
use std::hash::{DefaultHasher, Hash, Hasher};

/// The address of an interface that is made. A port that is taken out and put in again has the same one: its neighbours
/// have it in their caches.
pub(super) fn mac(name: &str, port: &Port, plan: &Plan, check: &mut Check<'_>) -> MacAddr {
    let written = port.mac.as_ref().and_then(|text| names::mac(text, &format!("ports.{name}.mac"), check));
    written.unwrap_or_else(|| invented(&plan.name, name))
}

/// The same for the same names. 02: locally administered, so it is no vendor's.
fn invented(switch: &str, port: &str) -> MacAddr {
    let mut hasher = DefaultHasher::new();
    (switch, port).hash(&mut hasher);
    let [_, _, _, a, b, c, d, e] = hasher.finish().to_be_bytes();
    MacAddr([0x02, a, b, c, d, e])
}

/// Least MTU of a link that carries IPv6 (RFC 8200 section 5): below it the kernel takes no IPv6 address.
const MIN_IPV6_MTU: u32 = 1280;

/// The addresses of an interface of this MTU.
pub(super) fn addresses(port: &Port, mtu: u32, path: &str, check: &mut Check<'_>) -> Vec<IpNet> {
    let mut nets: Vec<IpNet> = Vec::new();
    for (i, text) in port.ip.iter().enumerate() {
        let path = format!("{path}.ip.{i}");
        match IpNet::parse(text) {
            Ok(net) => {
                if nets.iter().any(|other| other.addr == net.addr) {
                    check.bad(&path, format!("{} is here twice", net.addr), "keep one of them");
                }
                if net.addr.is_ipv6() && mtu < MIN_IPV6_MTU {
                    let what = format!("IPv6 needs an MTU of {MIN_IPV6_MTU}, the domain has {mtu}");
                    check.bad(&path, what, "raise `mtu` of the domain, or remove this address");
                }
                nets.push(net);
            }
            Err(what) => check.bad(&path, what, "write an address such as 10.0.0.1/24 or fd00::1/64"),
        }
    }
    nets
}

/// Addresses of the station behind a port, if the file says what is there.
fn station(port: &PortPlan) -> Option<&[IpNet]> {
    let nets = match &port.shape {
        Driver::VhostUser(offer) => offer.nic.as_ref()?.ip.as_slice(),
        _ => port.netdev()?.ip.as_slice(),
    };
    (!nets.is_empty()).then_some(nets)
}

/// Warns of a station whose subnet no other of its domain shares. Not where a station is unknown: it may be a router.
pub(super) fn subnets(plan: &Plan, check: &mut Check<'_>) {
    for port in &plan.ports {
        let others: Vec<&PortPlan> =
            plan.ports.iter().filter(|other| other.domain == port.domain && other.name != port.name).collect();
        let Some(mine) = station(port) else { continue };
        let Some(theirs) = others.iter().map(|other| station(other)).collect::<Option<Vec<_>>>() else { continue };
        let near = |(other, nets): (&&PortPlan, &&[IpNet])| {
            apart(port, other) || nets.iter().any(|net| mine.iter().any(|my| my.contains(net.addr)))
        };
        if others.is_empty() || others.iter().zip(&theirs).any(near) {
            continue;
        }
        let subnets: Vec<String> = mine.iter().map(ToString::to_string).collect();
        let what = format!("no other port of domain `{}` is in the subnet of {}", port.domain, subnets.join(", "));
        check.warn(&format!("ports.{}.ip", port.name), what, "it reaches none of them without a router");
    }
}

/// The MTU of the port, which is that of its domain: a switch cannot say "fragmentation needed", so a frame that one
/// station of the segment may send, all others must be able to receive.
pub(super) fn mtu(port: &Port, path: &str, plan: &Plan, check: &mut Check<'_>) -> u32 {
    let Some(domain) = port.domain.as_deref().and_then(|name| plan.domain(name)) else {
        return port.mtu.unwrap_or(super::DEFAULT_MTU);
    };
    let of_domain = domain.mtu;
    if let Some(mtu) = port.mtu.filter(|mtu| *mtu != of_domain) {
        let what = format!("{mtu} is not the domain's MTU of {of_domain}, and a segment has one");
        check.bad(&format!("{path}.mtu"), what, format!("write `mtu: {mtu}` in domains.{} instead", domain.name));
    }
    let driven_by_xdp = matches!(port.kind, PortKind::AfXdp | PortKind::Veth);
    if driven_by_xdp && of_domain > XDP_MTU {
        let what = format!("the domain's MTU of {of_domain} is more than AF_XDP carries");
        check.bad(&format!("{path}.kind"), what, format!("write `mtu: {XDP_MTU}` or less in domains.{}", domain.name));
    }
    of_domain
}
