//! The policy of a port: its role in its domain, VLANs, control protocols, guards.

use super::{Check, DomainPlan, macvlan, names, vlan};
use crate::config::{Action, ControlProtocols, Port, PortSecurity, Router, Storm};
use dataplane::eth::MacAddr;
use dataplane::switch::policy::{
    self, BridgePort, ControlProtocols as Mask, DomainMode, PortPolicy, Rate, Role, RouterPort, Security,
};

/// The port's policy. `mac` is the address it owns, if it has one.
pub(super) fn port(
    (name, port): (&str, &Port),
    mac: Option<MacAddr>,
    domain: Option<&DomainPlan>,
    check: &mut Check<'_>,
) -> PortPolicy {
    let path = format!("ports.{name}");
    let inherited = domain.map_or(Mask::TRANSPARENT, |domain| domain.control);
    let written = port.control_protocols.as_ref();
    PortPolicy {
        enabled: port.enabled.unwrap_or(true),
        fdb_limit: port.fdb_limit.unwrap_or(u32::MAX),
        role: role((name, port), mac, domain, check),
        vlan: port.vlan.as_ref().and_then(|written| vlan::vlan(written, &format!("{path}.vlan"), check)),
        control: written.map_or(inherited, |list| protocols(list, &format!("{path}.control_protocols"), check)),
        storm: port.storm.map(|written| storm(written, &format!("{path}.storm"), check)).unwrap_or_default(),
        security: port.port_security.as_ref().map(|written| security(written, mac, &path, check)),
        router: match port.multicast_router {
            None | Some(Router::Auto) => RouterPort::Auto,
            Some(Router::Always) => RouterPort::Always,
            Some(Router::Never) => RouterPort::Never,
        },
    }
}

fn role((name, port): (&str, &Port), mac: Option<MacAddr>, domain: Option<&DomainPlan>, check: &mut Check<'_>) -> Role {
    // a port in no domain is a mistake that is reported already
    let Some(domain) = domain else { return Role::default() };
    let path = format!("ports.{name}");
    match &domain.policy.mode {
        DomainMode::Learning(_) => {
            macvlan::keys_in_learning(port, &path, domain, check);
            Role::Bridge(bridge(port))
        }
        DomainMode::Macvlan(_) => macvlan::role((name, port), mac, domain, check),
    }
}

fn bridge(port: &Port) -> BridgePort {
    let flood = port.flood.unwrap_or_default();
    BridgePort {
        learning: port.learning.unwrap_or(true),
        flood: flood.unicast.unwrap_or(true),
        mcast_flood: flood.multicast.unwrap_or(true),
        bcast_flood: flood.broadcast.unwrap_or(true),
        hairpin: port.hairpin,
        isolated: port.isolated,
        locked: port.locked,
    }
}

pub(super) fn act(action: Action) -> policy::Action {
    match action {
        Action::Drop => policy::Action::Drop,
        Action::Observe => policy::Action::Observe,
    }
}

fn storm(written: Storm, path: &str, check: &mut Check<'_>) -> policy::Storm {
    let rate = |per_second: u32| Rate { per_second, burst: written.burst.unwrap_or(per_second).max(1) };
    let made = policy::Storm {
        broadcast: written.broadcast.map(rate),
        multicast: written.multicast.map(rate),
        unknown_unicast: written.unknown_unicast.map(rate),
        act: act(written.action),
    };
    if made.broadcast.or(made.multicast).or(made.unknown_unicast).is_none() {
        check.bad(
            path,
            "this limits nothing",
            "add `broadcast: 1000`, `multicast:` or `unknown_unicast:`, in frames per second",
        );
    }
    made
}

fn security(written: &PortSecurity, mac: Option<MacAddr>, path: &str, check: &mut Check<'_>) -> Security {
    let listed = written.macs.iter().enumerate();
    let mut macs: Vec<_> =
        listed.filter_map(|(i, text)| names::mac(text, &format!("{path}.port_security.macs.{i}"), check)).collect();
    if written.macs.is_empty() {
        macs.extend(mac);
        if mac.is_none() {
            let remedy = "add `macs: [\"02:00:00:00:00:01\"]`, or give the port a `mac`";
            check.bad(&format!("{path}.port_security"), "nobody may send here", remedy);
        }
    }
    Security { macs, act: act(written.action) }
}

/// Names of 01:80:C2:00:00:0X (802.1Q Table 8-1).
const PROTOCOLS: &[(&str, u8)] = &[("stp", 0), ("lacp", 2), ("eapol", 3), ("lldp", 0xe), ("mvrp", 0xd)];
const REMEDY: &str = "write transparent, ieee, or a list of stp, lacp, eapol, lldp, mvrp, cisco, and 01:80:c2:00:00:00 to 01:80:c2:00:00:0f";

/// Which control protocols pass.
pub(super) fn protocols(written: &ControlProtocols, path: &str, check: &mut Check<'_>) -> Mask {
    let names = match written {
        ControlProtocols::Transparent => return Mask::TRANSPARENT,
        ControlProtocols::Ieee => return Mask::IEEE,
        ControlProtocols::List(names) => names,
    };
    let mut mask = Mask::IEEE;
    for (i, name) in names.iter().enumerate() {
        let path = format!("{path}.{i}");
        match protocol(name) {
            Some(1) => check.bad(&path, "PAUSE never passes a switch (802.1Q §8.6.3)", "remove it"),
            Some(bit) => mask.ieee |= 1 << bit,
            None if name == "cisco" => mask.cisco = true,
            None => check.bad(&path, format!("`{name}` is no control protocol"), REMEDY),
        }
    }
    mask
}

/// The last digit of the protocol's address.
fn protocol(name: &str) -> Option<u8> {
    let named = PROTOCOLS.iter().find(|(known, _)| *known == name).map(|(_, bit)| *bit);
    named.or_else(|| match name.parse::<MacAddr>().ok()?.0 {
        [0x01, 0x80, 0xc2, 0, 0, bit @ 0..=0xf] => Some(bit),
        _ => None,
    })
}

/// Control protocols as written in the file.
#[must_use]
pub fn spell_protocols(mask: Mask) -> String {
    if mask == Mask::TRANSPARENT {
        return "transparent".to_owned();
    }
    if mask == Mask::IEEE {
        return "ieee".to_owned();
    }
    let name = |bit: u8| {
        let known = PROTOCOLS.iter().find(|(_, its)| *its == bit);
        known.map_or_else(|| format!("01:80:c2:00:00:{bit:02x}"), |(name, _)| (*name).to_owned())
    };
    let set = (0..16).filter(|bit| *bit != 1 && mask.ieee >> bit & 1 == 1).map(name);
    set.chain(mask.cisco.then(|| "cisco".to_owned())).collect::<Vec<_>>().join(" ")
}
