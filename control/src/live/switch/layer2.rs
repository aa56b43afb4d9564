//! Layer 2 of a running switch: addresses, mirrors, changes of ports, and what the workers notice.

use super::{LivePort, PortState, Switch};
use crate::config::FixedKind;
use crate::config::document;
use crate::kernel::machine::Machine;
use crate::live::ports::{OpenPort, PortError};
use crate::plan::{self, FixedPlan, PortPlan};
use crate::problem::{Problem, Problems};
use crate::view::{self, FlushAddresses, PinAddress, UnpinAddress, VERSION};
use dataplane::engine::{EngineError, FdbEntry, Flush};
use dataplane::eth::MacAddr;
use dataplane::port::{DomainId, PortId};
use dataplane::switch::fdb::Kind;
use dataplane::switch::policy::{Mirror, MirrorSource};
use dataplane::switch::{Notice, Traffic};
use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::VecDeque;
use std::time::{SystemTime, UNIX_EPOCH};

/// Events that are kept for who asks later.
const KEPT: usize = 256;

/// The last events, oldest first.
#[derive(Debug, Default)]
pub(super) struct Events {
    kept: VecDeque<view::Event>,
    count: u64,
}

impl Events {
    fn keep(&mut self, event: view::Event) {
        self.count += 1;
        if self.kept.len() == KEPT {
            self.kept.pop_front();
        }
        self.kept.push_back(view::Event { number: self.count, ..event });
    }
}

/// The VLAN of an entry that names none: that of frames without a tag.
fn untagged(port: &PortPlan) -> u16 {
    port.policy.vlan.as_ref().and_then(|vlan| vlan.native).unwrap_or(0)
}

impl Switch {
    /// Makes the entries the file names for this port.
    pub(super) fn pin_fixed(&mut self, plan: &PortPlan, domain: DomainId, open: &OpenPort) -> Result<(), PortError> {
        let fixed = self.plan.domain(&plan.domain).map(|domain| domain.fixed.clone()).unwrap_or_default();
        for entry in fixed.into_iter().filter(|entry| entry.port.as_ref() == Some(&plan.name)) {
            let Some(id) = open.id else { continue };
            let made = if entry.kind == FixedKind::Sticky { FdbEntry::Sticky(id) } else { FdbEntry::Static(id) };
            self.engine.add_entry(domain, entry.vlan.unwrap_or_else(|| untagged(plan)), entry.mac, made)?;
        }
        Ok(())
    }

    /// Makes the filters the file names; on an error its path and text.
    pub(super) fn set_filters(&mut self) -> Result<(), (String, String)> {
        for domain in self.plan.domains.clone() {
            let Some(id) = self.domains.get(&domain.name).copied() else { continue };
            let filter = |(i, entry): (usize, FixedPlan)| (entry.kind == FixedKind::Filter).then_some((i, entry));
            for (i, entry) in domain.fixed.into_iter().enumerate().filter_map(filter) {
                let made = self.engine.add_entry(id, entry.vlan.unwrap_or(0), entry.mac, FdbEntry::Filter);
                made.map_err(|error| (format!("domains.{}.static.{i}", domain.name), error.to_string()))?;
            }
        }
        Ok(())
    }

    /// Tells the engine the mirrors, as far as their ports are there.
    pub(super) fn set_mirrors(&mut self) -> Result<(), EngineError> {
        let mut mirrors = Vec::new();
        for plan in &self.plan.mirrors {
            let id = |name: &String| self.port_id(name).ok();
            let Some(to) = id(&plan.to) else { continue };
            let rx = plan.rx.iter().filter_map(id).map(MirrorSource::Rx);
            let tx = plan.tx.iter().filter_map(id).map(MirrorSource::Tx);
            let domains = plan.vlans.iter().filter_map(|(name, set)| Some((*self.domains.get(name)?, set)));
            let vlans = domains.flat_map(|(id, set)| set.iter().map(move |vid| MirrorSource::Vlan(id, vid)));
            mirrors.push(Mirror { from: rx.chain(tx).chain(vlans).collect(), to });
        }
        if mirrors.is_empty() && self.plan.mirrors.is_empty() { Ok(()) } else { self.engine.set_mirrors(mirrors) }
    }

    /// Changes keys of a port that runs: `null` puts one back to its default.
    pub fn change_port(
        &mut self,
        name: &str,
        change: &serde_json::Map<String, serde_json::Value>,
    ) -> Result<(), Problems> {
        let path = format!("ports.{name}");
        let refused = |what: String, remedy: &str| Problems::one("", Problem::new(path.clone(), what, remedy));
        let at = self.ports.iter().position(|port| port.plan.name == name);
        let Some(at) = at else {
            return Err(refused(format!("there is no port `{name}`"), "`pollux ports` lists them"));
        };
        let id = self.port_id(name).map_err(|problem| Problems::one("", problem))?;
        let port = merged(&path, &*self.ports[at].plan.written, change)?;
        self.machine = Machine::here();
        let made = plan::change_port(&self.plan, name, &port, &self.machine)?;
        self.engine.set_port_policy(id, made.policy.clone()).map_err(|error| refused(error.to_string(), ""))?;
        if let Some(planned) = self.plan.ports.iter_mut().find(|port| port.name == name) {
            planned.clone_from(&made);
        }
        self.show_carrier(at, &made);
        self.ports[at].plan = made;
        let keys = change.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
        tracing::info!(port = name, keys, "port is changed");
        Ok(())
    }

    /// The far end of a port that is disabled sees no carrier.
    fn show_carrier(&self, at: usize, made: &PortPlan) {
        let port = &self.ports[at];
        let PortState::Open(open) = &port.state else { return };
        if port.plan.policy.enabled != made.policy.enabled
            && let Err(error) = open.set_carrier(made.policy.enabled)
        {
            tracing::warn!(port = made.name, %error, "the far end keeps its carrier");
        }
    }

    /// Changes keys of a domain: `null` puts one back to its default.
    pub fn change_domain(
        &mut self,
        name: &str,
        change: &serde_json::Map<String, serde_json::Value>,
    ) -> Result<(), Problems> {
        let path = format!("domains.{name}");
        let refused = |what: String, remedy: &str| Problems::one("", Problem::new(path.clone(), what, remedy));
        let id = self.domain_id(name).map_err(|problem| Problems::one("", problem))?;
        let Some(before) = self.plan.domain(name) else { return Err(refused("it is not there".to_owned(), "")) };
        let domain = merged(&path, &*before.written, change)?;
        let made = plan::change_domain(&self.plan, name, &domain)?;
        self.engine.set_domain_policy(id, made.policy.clone()).map_err(|error| refused(error.to_string(), ""))?;
        if let Some(planned) = self.plan.domains.iter_mut().find(|domain| domain.name == name) {
            *planned = made;
        }
        let keys = change.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
        tracing::info!(domain = name, keys, "domain is changed");
        Ok(())
    }

    /// Makes an entry in the FDB.
    pub fn pin(&mut self, mac: MacAddr, entry: &PinAddress) -> Result<(), Problem> {
        let domain = self.domain_id(&entry.domain)?;
        let (made, vlan) = match (&entry.port, entry.kind) {
            (None, FixedKind::Filter) => (FdbEntry::Filter, 0),
            (Some(_), FixedKind::Filter) => {
                return Err(Problem::new("port", "a filter is for every port", "leave the port out"));
            }
            (None, _) => return Err(Problem::new("port", "the address has no port", "name one")),
            (Some(name), kind) => {
                let id = self.port_id(name)?;
                let vlan = self.plan.port(name).map_or(0, untagged);
                (if kind == FixedKind::Sticky { FdbEntry::Sticky(id) } else { FdbEntry::Static(id) }, vlan)
            }
        };
        let done = self.engine.add_entry(domain, entry.vlan.unwrap_or(vlan), mac, made);
        done.map_err(|error| {
            Problem::new("port", error.to_string(), "name a port of that domain, and one of its VLANs")
        })
    }

    /// Forgets an address; false if it was not known.
    pub fn unpin(&mut self, mac: MacAddr, entry: &UnpinAddress) -> Result<bool, Problem> {
        let domain = self.domain_id(&entry.domain)?;
        if let Some(vlan) = entry.vlan {
            return Ok(self.engine.remove_entry(domain, vlan, mac));
        }
        let known = self.engine.fdb().into_iter().filter(|record| record.domain == domain && record.mac == mac);
        let removed = known.filter(|record| self.engine.remove_entry(domain, record.vlan, mac));
        Ok(removed.count() > 0)
    }

    /// Forgets all addresses that match; how many.
    pub fn flush(&mut self, mac: Option<MacAddr>, what: &FlushAddresses) -> Result<usize, Problem> {
        let domain = what.domain.as_ref().map(|name| self.domain_id(name)).transpose()?;
        let port = what.port.as_ref().map(|name| self.port_id(name)).transpose()?;
        let kind = match what.kind.as_deref() {
            None | Some("learned") => Kind::Learned,
            Some("static") => Kind::Static,
            Some("sticky") => Kind::Sticky,
            Some("filter") => Kind::Filter,
            Some(other) => {
                let what = format!("there are no `{other}` addresses");
                return Err(Problem::new("kind", what, "learned, static, sticky or filter"));
            }
        };
        Ok(self.engine.flush(&Flush { domain, vlan: what.vlan, port, mac, kind: Some(kind) }))
    }

    pub(super) fn domain_id(&self, name: &str) -> Result<DomainId, Problem> {
        let unknown = || Problem::new("domain", format!("there is no domain `{name}`"), "`pollux status` lists them");
        self.domains.get(name).copied().ok_or_else(unknown)
    }

    pub(super) fn port_id(&self, name: &str) -> Result<PortId, Problem> {
        let unknown = || Problem::new("port", format!("there is no open port `{name}`"), "`pollux ports` lists them");
        let port = self.ports.iter().find(|port| port.plan.name == name).ok_or_else(unknown)?;
        match &port.state {
            PortState::Open(open) => open.id.ok_or_else(unknown),
            PortState::Failed(_) => Err(unknown()),
        }
    }

    /// `GET /v1/groups`.
    #[must_use]
    pub fn groups(&self) -> view::Groups {
        let (mut groups, mut routers) = (Vec::new(), Vec::new());
        for (name, id) in &self.domains {
            for group in self.engine.groups(*id) {
                let ports = group.ports.iter().map(|(port, seconds)| (self.name_of(*port), *seconds)).collect();
                let (domain, vlan) = (name.clone(), group.vlan);
                groups.push(view::Group { domain, vlan, group: group.group.to_string(), ports });
            }
            for (vlan, port) in self.engine.multicast_routers(*id) {
                routers.push(view::Router { domain: name.clone(), vlan, port: self.name_of(port) });
            }
        }
        view::Groups { v: VERSION, groups, routers }
    }

    /// `GET /v1/events`.
    #[must_use]
    pub fn events(&self) -> view::Events {
        view::Events { v: VERSION, events: self.events.kept.iter().cloned().collect() }
    }

    /// Something a worker noticed: into the log, and kept.
    pub(super) fn notice(&mut self, notice: Notice) {
        let event = self.event(notice);
        match event.kind.as_str() {
            "moved" | "unblocked" => tracing::info!(kind = event.kind, "{}", event.text),
            _ => tracing::warn!(kind = event.kind, "{}", event.text),
        }
        self.events.keep(event);
    }

    /// Something happened to a port: into the log, and kept.
    pub(super) fn note(&mut self, kind: &str, port: &str, text: String) {
        tracing::info!(kind, "{text}");
        let (kind, port) = (kind.to_owned(), Some(port.to_owned()));
        self.events.keep(view::Event { number: 0, unix_ms: now(), kind, port, mac: None, vlan: 0, text });
    }

    fn event(&self, notice: Notice) -> view::Event {
        let name = |port: PortId| self.name_of(port);
        let (kind, port, mac, vlan, text) = match notice {
            Notice::Moved { mac, vlan, from, to } => {
                ("moved", Some(to), Some(mac), vlan, format!("{mac} moved from {} to {}", name(from), name(to)))
            }
            Notice::Pinned { mac, vlan, owner, seen } => {
                let text = format!("{mac} belongs to {} and was seen on {}", name(owner), name(seen));
                ("pinned", Some(seen), Some(mac), vlan, text)
            }
            Notice::Flapping { mac, vlan, from, to, observed } => {
                let done = if observed { "only observed" } else { "held where it is" };
                let text = format!("{mac} keeps moving between {} and {}: {done}", name(from), name(to));
                ("flapping", Some(to), Some(mac), vlan, text)
            }
            Notice::Storm { port, of, observed } => {
                let done = if observed { "only observed" } else { "the rest is dropped" };
                let text = format!("{} sends more {} than it may: {done}", name(port), traffic(of));
                ("storm", Some(port), None, 0, text)
            }
            Notice::Insecure { port, mac, vlan, observed } => {
                let done = if observed { "only observed" } else { "dropped" };
                ("insecure", Some(port), Some(mac), vlan, format!("{mac} may not send on {}: {done}", name(port)))
            }
            Notice::AddressLimit { port, mac, vlan } => {
                let text = format!("{} has as many addresses as it may, {mac} is not learned", name(port));
                ("address_limit", Some(port), Some(mac), vlan, text)
            }
            Notice::Loop { port, sent, blocked_s } => {
                let done =
                    blocked_s.map_or("only observed".to_owned(), |s| format!("{} is blocked for {s}s", name(port)));
                let text = format!("a probe of {} came back on {}, there is a loop: {done}", name(sent), name(port));
                ("loop", Some(port), None, 0, text)
            }
            Notice::Unblocked { port } => ("unblocked", Some(port), None, 0, format!("{} is open again", name(port))),
            Notice::Suppressed { count } => ("suppressed", None, None, 0, format!("{count} more events were left out")),
        };
        view::Event {
            number: 0,
            unix_ms: now(),
            kind: kind.to_owned(),
            port: port.map(name),
            mac: mac.map(|mac| mac.to_string()),
            vlan,
            text,
        }
    }

    pub(super) fn name_of(&self, port: PortId) -> String {
        let is_it = |live: &&LivePort| matches!(&live.state, PortState::Open(open) if open.id == Some(port));
        self.ports.iter().find(is_it).map_or_else(|| "a port that is gone".to_owned(), |live| live.plan.name.clone())
    }
}

/// A port or domain as written, with some keys changed. `path` is where it stands in the file.
fn merged<T: Serialize + DeserializeOwned + JsonSchema>(
    path: &str,
    written: &T,
    change: &serde_json::Map<String, serde_json::Value>,
) -> Result<T, Problems> {
    let broken = |error: serde_json::Error| Problems::one("", Problem::new(path, error.to_string(), ""));
    let mut all = serde_json::to_value(written).map_err(broken)?;
    merge(&mut all, &serde_json::Value::Object(change.clone()));
    document::from_json(path, &all).map_err(|problem| Problems::one("", problem))
}

/// JSON Merge Patch (RFC 7396).
fn merge(target: &mut serde_json::Value, patch: &serde_json::Value) {
    let serde_json::Value::Object(patch) = patch else {
        target.clone_from(patch);
        return;
    };
    if !target.is_object() {
        *target = serde_json::Value::Object(serde_json::Map::new());
    }
    for (key, value) in patch {
        if value.is_null() {
            target.as_object_mut().map(|target| target.remove(key));
        } else {
            merge(&mut target[key], value);
        }
    }
}

fn traffic(of: Traffic) -> &'static str {
    match of {
        Traffic::Broadcast => "broadcast",
        Traffic::Multicast => "multicast",
        Traffic::UnknownUnicast => "unicast to unknown addresses",
    }
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
