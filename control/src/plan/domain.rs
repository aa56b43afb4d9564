//! Domains and mirrors.

use super::{Check, DEFAULT_AGEING, DEFAULT_MTU, DomainPlan, FixedPlan, MAX_MTU, MirrorPlan, Plan};
use super::{macvlan, mtu_range, names, policy, vlan};
use crate::config::{Config, Domain, FixedEntry, FixedKind, Guards, Mirror, Mode, Snooping};
use crate::units::Span;
use dataplane::switch::policy::{
    self as asked, DomainMode, DomainPolicy, Learning, LoopGuard, MacvlanDomain, MoveGuard, VidSet,
};
use std::collections::BTreeMap;
use std::time::Duration;

/// Checks a domain by itself.
pub(super) fn domain(name: &str, config: &Domain, fdb_entries: u32, check: &mut Check<'_>) -> DomainPlan {
    let path = format!("domains.{name}");
    names::check_key(name, "domains", names::LONG, check);
    macvlan::domain_keys(config, &path, check);
    let mtu = config.mtu.unwrap_or(DEFAULT_MTU);
    mtu_range(&format!("{path}.mtu"), mtu, MAX_MTU, check);
    let control = config.control_protocols.as_ref();
    DomainPlan {
        name: name.to_owned(),
        mtu,
        policy: DomainPolicy { mode: mode(config, &path, check), fdb_limit: config.fdb_limit.unwrap_or(fdb_entries) },
        control: control
            .map(|written| policy::protocols(written, &format!("{path}.control_protocols"), check))
            .unwrap_or_default(),
        uplink: config.uplink.clone(),
        host: config.host.clone(),
        fixed: Vec::new(),
        written: Box::new(config.clone()),
    }
}

fn mode(config: &Domain, path: &str, check: &mut Check<'_>) -> DomainMode {
    if config.mode == Mode::Macvlan {
        let (strict_private, host_reach) = (config.strict_private, config.host_reach);
        return DomainMode::Macvlan(MacvlanDomain { strict_private, host_reach });
    }
    let guards = config.guards.unwrap_or_default();
    DomainMode::Learning(Learning {
        ageing: Some(config.ageing.map_or(DEFAULT_AGEING, |span| span.0)).filter(|ageing| !ageing.is_zero()),
        snooping: config.snooping.filter(|snooping| snooping.on).map(|written| snooping(written, path, check)),
        moves: moves(guards, path, check),
        loops: loops(guards, path, check),
    })
}

/// A time of a guard: whole seconds, at least one.
fn seconds(written: Option<Span>, default: u64, path: &str, check: &mut Check<'_>) -> Duration {
    let span = written.map_or(Duration::from_secs(default), |span| span.0);
    if span.as_secs() == 0 || span.subsec_millis() != 0 {
        check.bad(path, "this time is counted in whole seconds", format!("write 1s or more, such as {default}s"));
    }
    span
}

fn snooping(written: Snooping, path: &str, check: &mut Check<'_>) -> asked::Snooping {
    let default = asked::Snooping::default();
    let time = |written, default: Duration, key: &str, check: &mut Check<'_>| {
        seconds(written, default.as_secs(), &format!("{path}.snooping.{key}"), check)
    };
    asked::Snooping {
        membership: time(written.membership, default.membership, "membership", check),
        querier: time(written.querier, default.querier, "querier", check),
    }
}

fn moves(guards: Guards, path: &str, check: &mut Check<'_>) -> Option<MoveGuard> {
    let written = guards.moves?;
    let path = format!("{path}.guards.moves");
    Some(MoveGuard {
        moves: written.allowed.unwrap_or(5),
        window: seconds(written.within, 10, &format!("{path}.within"), check),
        hold: seconds(written.hold, 60, &format!("{path}.hold"), check),
        act: policy::act(written.action),
    })
}

fn loops(guards: Guards, path: &str, check: &mut Check<'_>) -> Option<LoopGuard> {
    let written = guards.loops?;
    let path = format!("{path}.guards.loops");
    Some(LoopGuard {
        interval: seconds(written.interval, 2, &format!("{path}.interval"), check),
        block: seconds(written.block, 60, &format!("{path}.block"), check),
        act: policy::act(written.action),
    })
}

/// Addresses known from the start.
pub(super) fn fixed_entries(plan: &mut Plan, config: &Config, check: &mut Check<'_>) {
    for domain in &mut plan.domains {
        let Some(written) = config.domains.get(&domain.name) else { continue };
        for (i, entry) in written.fixed.iter().enumerate() {
            let path = format!("domains.{}.static.{i}", domain.name);
            home(entry, &path, &domain.name, config, check);
            let vlan = entry.vlan.filter(|vid| vlan::id(*vid, &format!("{path}.vlan"), check));
            let Some(mac) = names::mac(&entry.mac, &format!("{path}.mac"), check) else { continue };
            if domain.fixed.iter().any(|other| other.mac == mac && other.vlan == vlan) {
                check.bad(&format!("{path}.mac"), format!("{mac} is here twice"), "keep one of them");
            }
            domain.fixed.push(FixedPlan { mac, vlan, kind: entry.kind, port: entry.port.clone() });
        }
    }
}

/// The port of an entry must be one of the domain; a filter has none.
fn home(entry: &FixedEntry, path: &str, domain: &str, config: &Config, check: &mut Check<'_>) {
    let path = format!("{path}.port");
    match (&entry.port, entry.kind) {
        (Some(_), FixedKind::Filter) => check.bad(&path, "a filter is for every port", "remove it"),
        (None, FixedKind::Filter) => {}
        (None, _) => check.bad(&path, "the address has no port", "add `port: NAME`, or write `kind: filter`"),
        (Some(port), _) if config.ports.get(port).and_then(|port| port.domain.as_deref()) != Some(domain) => {
            let known = config.ports.iter().filter(|(_, port)| port.domain.as_deref() == Some(domain));
            let remedy = names::choose(port, known.map(|(name, _)| name));
            check.bad(&path, format!("`{port}` is no port of domain `{domain}`"), remedy);
        }
        _ => {}
    }
}

/// Mirrors: where they end and what they copy.
pub(super) fn mirrors(plan: &mut Plan, config: &Config, check: &mut Check<'_>) {
    let ends: BTreeMap<&str, &str> = config.mirrors.iter().map(|(name, mirror)| (mirror.to.as_str(), name)).collect();
    for (name, written) in config.mirrors.iter() {
        names::check_key(name, "mirrors", names::LONG, check);
        let path = format!("mirrors.{name}");
        known_port(&written.to, &format!("{path}.to"), config, check);
        if ends.get(written.to.as_str()).is_some_and(|other| *other != name) {
            check.bad(
                &format!("{path}.to"),
                format!("port `{}` is the end of another mirror", written.to),
                "name another port",
            );
        }
        for (key, list) in [("ports", &written.ports), ("rx", &written.rx), ("tx", &written.tx)] {
            for (i, port) in list.iter().enumerate() {
                source(port, &format!("{path}.{key}.{i}"), (written, &ends, config), check);
            }
        }
        let vlans = mirrored_vlans(written, &path, plan, check);
        if written.ports.is_empty() && written.rx.is_empty() && written.tx.is_empty() && written.vlans.is_empty() {
            check.bad_name(&path, "the mirror copies nothing", "add `ports:`, `rx:`, `tx:` or `vlans:`");
        }
        let both = |more: &[String]| written.ports.iter().chain(more).cloned().collect();
        let (rx, tx) = (both(&written.rx), both(&written.tx));
        plan.mirrors.push(MirrorPlan { name: name.to_owned(), to: written.to.clone(), rx, tx, vlans });
    }
    if plan.mirrors.len() > asked::MAX_MIRRORS {
        let what = format!("{} mirrors are too many", plan.mirrors.len());
        check.bad("mirrors", what, format!("a switch has at most {}", asked::MAX_MIRRORS));
    }
}

fn known_port(port: &str, path: &str, config: &Config, check: &mut Check<'_>) {
    if !config.ports.contains(port) {
        check.bad(path, format!("there is no port `{port}`"), names::choose(port, config.ports.names()));
    }
}

/// A port that is copied must not be one where copies go: they would be copied again.
fn source(
    port: &str,
    path: &str,
    (mirror, ends, config): (&Mirror, &BTreeMap<&str, &str>, &Config),
    check: &mut Check<'_>,
) {
    known_port(port, path, config, check);
    if port == mirror.to {
        check.bad(path, "a mirror cannot copy the port it ends at", "remove it");
    } else if let Some(other) = ends.get(port) {
        check.bad(path, format!("mirror `{other}` ends at port `{port}`, which cannot be copied again"), "remove it");
    }
}

fn mirrored_vlans(written: &Mirror, path: &str, plan: &Plan, check: &mut Check<'_>) -> Vec<(String, VidSet)> {
    let mut vlans = Vec::new();
    for (domain, ranges) in written.vlans.iter() {
        let path = format!("{path}.vlans.{domain}");
        if plan.domain(domain).is_none() {
            let known = plan.domains.iter().map(|domain| domain.name.as_str());
            check.bad_name(&path, format!("there is no domain `{domain}`"), names::choose(domain, known));
        }
        let mut set = VidSet::EMPTY;
        for (i, range) in ranges.iter().enumerate() {
            vlan::add(*range, &format!("{path}.{i}"), &mut set, check);
        }
        vlans.push((domain.to_owned(), set));
    }
    vlans
}
