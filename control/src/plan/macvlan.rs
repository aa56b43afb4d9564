//! Ports of macvlan domains: the uplink, the host, and those that own addresses.

use super::{Check, DomainPlan, Driver, Plan, PortPlan, names};
use crate::config::{Config, Domain, Macvlan, Mode, Port};
use dataplane::eth::MacAddr;
use dataplane::switch::policy::{MacvlanMode, MacvlanPort, Role};

/// Keys that only a port of a macvlan domain has.
fn macvlan_keys(port: &Port) -> [(&'static str, bool); 7] {
    [
        ("macvlan", port.macvlan.is_some()),
        ("sources", !port.sources.is_empty()),
        ("nodst", port.nodst),
        ("nopromisc", port.nopromisc),
        ("promisc_rx", port.promisc_rx),
        ("bc_queue", port.bc_queue.is_some()),
        ("macs", !port.macs.is_empty()),
    ]
}

/// Keys that only a port of a learning domain has.
fn bridge_keys(port: &Port) -> [(&'static str, bool); 8] {
    [
        ("vlan", port.vlan.is_some()),
        ("learning", port.learning.is_some()),
        ("flood", port.flood.is_some()),
        ("hairpin", port.hairpin),
        ("isolated", port.isolated),
        ("locked", port.locked),
        ("multicast_router", port.multicast_router.is_some()),
        ("fdb_limit", port.fdb_limit.is_some()),
    ]
}

/// Refuses what means nothing in a learning domain.
pub(super) fn keys_in_learning(port: &Port, path: &str, domain: &DomainPlan, check: &mut Check<'_>) {
    for (key, _) in macvlan_keys(port).iter().filter(|(_, said)| *said) {
        let what = format!("`{key}` is for ports of macvlan domains, and `{}` is a learning one", domain.name);
        check.bad(
            &format!("{path}.{key}"),
            what,
            format!("remove it, or write `mode: macvlan` in domains.{}", domain.name),
        );
    }
}

fn keys_in_macvlan(port: &Port, path: &str, domain: &DomainPlan, check: &mut Check<'_>) {
    for (key, _) in bridge_keys(port).iter().filter(|(_, said)| *said) {
        let what = match *key {
            "vlan" => format!("domain `{}` is a macvlan one, which looks at no tags", domain.name),
            _ => format!("`{key}` is for ports of learning domains, and `{}` is a macvlan one", domain.name),
        };
        check.bad(&format!("{path}.{key}"), what, "remove it");
    }
}

/// The role of a port of a macvlan domain.
pub(super) fn role(
    (name, port): (&str, &Port),
    mac: Option<MacAddr>,
    domain: &DomainPlan,
    check: &mut Check<'_>,
) -> Role {
    let path = format!("ports.{name}");
    keys_in_macvlan(port, &path, domain, check);
    let anchor = |key: &Option<String>| key.as_deref() == Some(name);
    if anchor(&domain.uplink) || anchor(&domain.host) {
        return anchor_role(port, mac, (&path, anchor(&domain.host)), check);
    }
    let mode = mode(port, &path, check);
    let macs = own_addresses(port, &mode, mac, &path, check);
    let bc_queue_len = port.bc_queue.unwrap_or(MacvlanPort::BC_QUEUE_LEN);
    Role::Macvlan(MacvlanPort {
        nodst: port.nodst,
        promisc_rx: port.promisc_rx,
        bc_queue_len,
        ..MacvlanPort::new(mode, macs)
    })
}

/// The uplink owns no address; the host may have several.
fn anchor_role(port: &Port, mac: Option<MacAddr>, (path, host): (&str, bool), check: &mut Check<'_>) -> Role {
    let what = if host { "host" } else { "uplink" };
    for (key, _) in macvlan_keys(port).iter().filter(|(key, said)| *said && !(host && *key == "macs")) {
        check.bad(&format!("{path}.{key}"), format!("the {what} of a domain has no `{key}`"), "remove it");
    }
    let more = list(&port.macs, &format!("{path}.macs"), check);
    if host { Role::Host { macs: mac.into_iter().chain(more).collect() } } else { Role::Uplink }
}

fn mode(port: &Port, path: &str, check: &mut Check<'_>) -> MacvlanMode {
    let written = port.macvlan.unwrap_or(Macvlan::Vepa);
    let source = written == Macvlan::Source;
    let misplaced = [
        ("sources", !port.sources.is_empty() && !source, "source"),
        ("nodst", port.nodst && !source, "source"),
        ("nopromisc", port.nopromisc && written != Macvlan::Passthru, "passthru"),
    ];
    for (key, _, its) in misplaced.iter().filter(|(_, misplaced, _)| *misplaced) {
        check.bad(
            &format!("{path}.{key}"),
            format!("only mode {its} has `{key}`"),
            format!("write `macvlan: {its}`, or remove it"),
        );
    }
    match written {
        Macvlan::Private => MacvlanMode::Private,
        Macvlan::Vepa => MacvlanMode::Vepa,
        Macvlan::Bridge => MacvlanMode::Bridge,
        Macvlan::Passthru => MacvlanMode::Passthru,
        Macvlan::Source => MacvlanMode::Source(sources(port, path, check)),
    }
}

fn sources(port: &Port, path: &str, check: &mut Check<'_>) -> Vec<MacAddr> {
    if port.sources.is_empty() {
        let remedy = "add `sources: [\"02:00:00:00:00:01\"]`: it receives what these stations send";
        check.bad(&format!("{path}.macvlan"), "a port of mode source without a list receives nothing", remedy);
    }
    list(&port.sources, &format!("{path}.sources"), check)
}

fn list(texts: &[String], path: &str, check: &mut Check<'_>) -> Vec<MacAddr> {
    let mut macs = Vec::new();
    for (i, text) in texts.iter().enumerate() {
        let path = format!("{path}.{i}");
        let Some(mac) = names::mac(text, &path, check) else { continue };
        if macs.contains(&mac) {
            check.bad(&path, format!("{mac} is here twice"), "keep one of them");
        } else {
            macs.push(mac);
        }
    }
    macs
}

fn own_addresses(
    port: &Port,
    mode: &MacvlanMode,
    mac: Option<MacAddr>,
    path: &str,
    check: &mut Check<'_>,
) -> Vec<MacAddr> {
    let more = list(&port.macs, &format!("{path}.macs"), check);
    if *mode == MacvlanMode::Passthru {
        if !more.is_empty() {
            check.bad(&format!("{path}.macs"), "a passthru port takes every address", "remove it");
        }
        return Vec::new();
    }
    if mac.is_none() {
        let remedy = "add `mac: \"02:00:00:00:00:01\"`";
        check.bad_name(path, "a port of a macvlan domain owns an address, and this has none", remedy);
    }
    if let Some(mac) = mac.filter(|mac| more.contains(mac)) {
        check.bad(&format!("{path}.macs"), format!("{mac} is the port's `mac` already"), "remove it");
    }
    mac.into_iter().chain(more).collect()
}

/// The device under a passthru port with `nopromisc` receives its own address only.
pub(super) fn quiet_uplinks(plan: &mut Plan, config: &Config) {
    for (name, domain) in config.domains.iter() {
        let quiet = |(_, port): (&str, &Port)| port.domain.as_deref() == Some(name) && port.nopromisc;
        if !config.ports.iter().any(quiet) {
            continue;
        }
        let uplink = plan.ports.iter_mut().find(|port| domain.uplink.as_ref() == Some(&port.name));
        if let Some(Driver::AfXdp(device)) = uplink.map(|port| &mut port.shape) {
            device.promiscuous = false;
        }
    }
}

/// Passthru is alone: every frame from the wire is its own.
pub(super) fn siblings(made: &PortPlan, path: &str, plan: &Plan, check: &mut Check<'_>) {
    let Role::Macvlan(mine) = &made.policy.role else { return };
    for other in plan.ports.iter().filter(|other| other.domain == made.domain && other.name != made.name) {
        let Role::Macvlan(its) = &other.policy.role else { continue };
        if MacvlanMode::Passthru == mine.mode || MacvlanMode::Passthru == its.mode {
            let what = format!("a passthru port is the only one of its domain, and `{}` is there too", other.name);
            check.bad(&format!("{path}.macvlan"), what, "give one of them another mode, or a domain of its own");
            return;
        }
    }
}

/// `uplink` and `host` must be ports of the domain, and two different ones.
pub(super) fn anchors(config: &Config, check: &mut Check<'_>) {
    for (name, domain) in config.domains.iter().filter(|(_, domain)| domain.mode == Mode::Macvlan) {
        let path = format!("domains.{name}");
        for (key, port) in [("uplink", &domain.uplink), ("host", &domain.host)] {
            if let Some(port) = port {
                anchor(config, name, port, &format!("{path}.{key}"), check);
            }
        }
        if domain.uplink.is_some() && domain.uplink == domain.host {
            check.bad(
                &format!("{path}.host"),
                "one port cannot be both the wire and the host",
                "name another, or remove it",
            );
        }
    }
}

fn anchor(config: &Config, domain: &str, port: &str, path: &str, check: &mut Check<'_>) {
    let of_domain =
        || config.ports.iter().filter(|(_, port)| port.domain.as_deref() == Some(domain)).map(|(name, _)| name);
    match config.ports.get(port) {
        None => check.bad(path, format!("there is no port `{port}`"), names::choose(port, of_domain())),
        Some(found) if found.domain.as_deref() != Some(domain) => {
            check.bad(
                path,
                format!("port `{port}` is not in domain `{domain}`"),
                format!("write `domain: {domain}` there"),
            );
        }
        Some(_) => {}
    }
}

/// Keys of a domain that its mode does not know.
pub(super) fn domain_keys(domain: &Domain, path: &str, check: &mut Check<'_>) {
    let learning = domain.mode == Mode::Learning;
    let keys = [
        ("ageing", !learning && domain.ageing.is_some()),
        ("fdb_limit", !learning && domain.fdb_limit.is_some()),
        ("snooping", !learning && domain.snooping.is_some()),
        ("guards", !learning && domain.guards.is_some()),
        ("static", !learning && !domain.fixed.is_empty()),
        ("uplink", learning && domain.uplink.is_some()),
        ("host", learning && domain.host.is_some()),
        ("strict_private", learning && domain.strict_private),
        ("host_reach", learning && domain.host_reach),
    ];
    let (mode, other) = if learning { ("learning", "macvlan") } else { ("macvlan", "learning") };
    for (key, _) in keys.iter().filter(|(_, misplaced)| *misplaced) {
        check.bad(
            &format!("{path}.{key}"),
            format!("a {mode} domain has no `{key}`"),
            format!("remove it, or write `mode: {other}`"),
        );
    }
    if domain.host_reach && domain.host.is_none() && !learning {
        check.bad(&format!("{path}.host_reach"), "the domain has no host to reach", "add `host: PORT`, or remove it");
    }
}
