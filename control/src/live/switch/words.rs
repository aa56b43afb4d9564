//! Policies in words, as `ports` and `status` show them: the file's words, and only what is not the default.

use crate::plan::{DomainPlan, PortPlan, spell_vlan};
use dataplane::switch::policy::{
    Action, BridgePort, DomainMode, MacvlanMode, PortPolicy, Rate, Role, RouterPort, Security, Storm,
};

/// What the port is to its domain.
pub(super) fn role(policy: &PortPolicy) -> &'static str {
    match &policy.role {
        Role::Bridge(_) => "bridge",
        Role::Uplink => "uplink",
        Role::Host { .. } => "host",
        Role::Macvlan(device) => match device.mode {
            MacvlanMode::Private => "private",
            MacvlanMode::Vepa => "vepa",
            MacvlanMode::Bridge => "bridge",
            MacvlanMode::Passthru => "passthru",
            MacvlanMode::Source(_) => "source",
        },
    }
}

/// VLANs of the port, as in the file but without brackets.
pub(super) fn vlan(port: &PortPlan) -> String {
    port.policy.vlan.as_ref().map_or_else(|| "-".to_owned(), spell_vlan)
}

/// What else is not the default.
pub(super) fn flags(policy: &PortPolicy) -> Vec<String> {
    let mut flags = Vec::new();
    let mut say = |flag: &str, on: bool| {
        if on {
            flags.push(flag.to_owned());
        }
    };
    say("disabled", !policy.enabled);
    match &policy.role {
        Role::Bridge(port) => bridge_flags(port, &mut say),
        Role::Macvlan(device) => {
            say("nodst", device.nodst);
            say("promisc_rx", device.promisc_rx);
            if let MacvlanMode::Source(list) = &device.mode {
                say(&format!("sources {}", list.len()), true);
            }
        }
        Role::Uplink | Role::Host { .. } => {}
    }
    say("multicast_router always", policy.router == RouterPort::Always);
    say("multicast_router never", policy.router == RouterPort::Never);
    say(&format!("fdb_limit {}", policy.fdb_limit), policy.fdb_limit != u32::MAX);
    flags.extend(storm(&policy.storm));
    flags.extend(policy.security.as_ref().map(security));
    flags
}

fn bridge_flags(port: &BridgePort, say: &mut impl FnMut(&str, bool)) {
    for (flag, on) in [
        ("no-learning", !port.learning),
        ("no-flood-unicast", !port.flood),
        ("no-flood-multicast", !port.mcast_flood),
        ("no-flood-broadcast", !port.bcast_flood),
        ("hairpin", port.hairpin),
        ("isolated", port.isolated),
        ("locked", port.locked),
    ] {
        say(flag, on);
    }
}

fn observed(act: Action) -> &'static str {
    if act == Action::Observe { " (observed)" } else { "" }
}

fn storm(storm: &Storm) -> Option<String> {
    let named = [("broadcast", storm.broadcast), ("multicast", storm.multicast), ("unknown", storm.unknown_unicast)];
    let one = |(name, rate): (&str, Option<Rate>)| rate.map(|rate| format!("{name} {}/s", rate.per_second));
    let limits: Vec<_> = named.into_iter().filter_map(one).collect();
    (!limits.is_empty()).then(|| format!("storm {}{}", limits.join(" "), observed(storm.act)))
}

fn security(security: &Security) -> String {
    format!("port_security {} addresses{}", security.macs.len(), observed(security.act))
}

/// What a domain has that is off by default.
pub(super) fn features(domain: &DomainPlan) -> Vec<String> {
    match &domain.policy.mode {
        DomainMode::Macvlan(mode) => {
            let all = [("strict_private", mode.strict_private), ("host_reach", mode.host_reach)];
            all.into_iter().filter(|(_, on)| *on).map(|(name, _)| name.to_owned()).collect()
        }
        DomainMode::Learning(mode) => {
            let snooping = mode.snooping.map(|_| "snooping".to_owned());
            let moves = mode.moves.map(|guard| {
                let (window, hold) = (guard.window.as_secs(), guard.hold.as_secs());
                format!("moves {} in {window}s, then held {hold}s{}", guard.moves, observed(guard.act))
            });
            let loops = mode.loops.map(|guard| {
                let (interval, block) = (guard.interval.as_secs(), guard.block.as_secs());
                format!("loops probed every {interval}s, blocked {block}s{}", observed(guard.act))
            });
            snooping.into_iter().chain(moves).chain(loops).collect()
        }
    }
}
