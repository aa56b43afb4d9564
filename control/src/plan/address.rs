//! What a port's interface gets: a MAC address, IP addresses, and the MTU of its domain.

use super::{Check, Plan, names};
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

pub(super) fn addresses(port: &Port, path: &str, check: &mut Check<'_>) -> Vec<IpNet> {
    let mut nets = Vec::new();
    for (i, text) in port.ip.iter().enumerate() {
        match IpNet::parse(text) {
            Some(net) => nets.push(net),
            None => check.bad(
                &format!("{path}.ip.{i}"),
                format!("`{text}` is no address an interface can have"),
                "write it with its prefix length, such as 10.0.0.1/24 or fd00::1/64",
            ),
        }
    }
    nets
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
