//! Answers to questions about a running switch.

use super::{LivePort, PortState, Switch, words};
use crate::kernel::netlink::{Link, Netlink};
use crate::kernel::netns;
use crate::live::vhost::shown;
use crate::net::Netns;
use crate::plan::{Driver, MirrorPlan, spell_protocols};
use crate::view::{self, GuestView, VERSION};
use dataplane::mem::CHUNK_SIZE;
use dataplane::port::PortId;
use dataplane::switch::fdb::Kind;
use dataplane::switch::policy::{DomainMode, Role};
use std::collections::BTreeMap;

/// Bytes the kernel allocates for each chunk of the arena and AF_XDP queue (measured).
const KERNEL_BYTES: u64 = 128;

impl Switch {
    /// `GET /v1/status`.
    #[must_use]
    pub fn status(&self) -> view::Status {
        let open = self.ports.iter().filter(|port| matches!(port.state, PortState::Open(_))).count();
        view::Status {
            v: VERSION,
            name: self.plan.name.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            uptime_s: self.started.elapsed().as_secs(),
            socket: self.socket.display().to_string(),
            poll: self.plan.poll.to_string(),
            workers: self.plan.workers.iter().map(|worker| worker.core).collect(),
            polls: self.plan.workers.iter().map(|worker| worker.poll.to_string()).collect(),
            memory: self.memory(),
            domains: self.domain_views(),
            mirrors: self.plan.mirrors.iter().map(|mirror| (mirror.name.clone(), mirror_text(mirror))).collect(),
            nodes: self.plan.nodes.clone(),
            ports_open: open,
            ports_failed: self.ports.len() - open,
            ports_blocked: self.ports.iter().filter(|port| self.blocked(port).is_some()).count(),
        }
    }

    fn memory(&self) -> view::Memory {
        let pool = self.engine.pool();
        let frames = u64::from(pool.total());
        view::Memory {
            frames: pool.total(),
            bytes: frames * CHUNK_SIZE as u64,
            backing: pool.arena().backing().to_string(),
            report: pool.arena().report().to_vec(),
            kernel_bytes: frames * KERNEL_BYTES * self.xdp_queues(),
        }
    }

    fn xdp_queues(&self) -> u64 {
        let queues = |port: &LivePort| match (&port.state, &port.plan.shape) {
            (PortState::Open(open), Driver::AfXdp(_) | Driver::Veth(_)) => open.queues as u64,
            _ => 0,
        };
        self.ports.iter().map(queues).sum()
    }

    fn domain_views(&self) -> BTreeMap<String, view::Domain> {
        let known = self.engine.fdb();
        let view = |domain: &crate::plan::DomainPlan| view::Domain {
            mode: match domain.policy.mode {
                DomainMode::Learning(_) => "learning".to_owned(),
                DomainMode::Macvlan(_) => "macvlan".to_owned(),
            },
            features: words::features(domain),
            uplink: domain.uplink.clone(),
            host: domain.host.clone(),
            ageing_s: domain.ageing().map_or(0, |ageing| ageing.as_secs()),
            mtu: domain.mtu,
            ports: self.ports.iter().filter(|port| port.plan.domain == domain.name).count(),
            addresses: known.iter().filter(|record| self.domains.get(&domain.name) == Some(&record.domain)).count(),
        };
        self.plan.domains.iter().map(|domain| (domain.name.clone(), view(domain))).collect()
    }

    /// `GET /v1/ports`.
    #[must_use]
    pub fn ports(&self) -> view::Ports {
        let links = self.links();
        view::Ports { v: VERSION, ports: self.ports.iter().map(|port| self.port_view(port, &links)).collect() }
    }

    fn port_view(&self, port: &LivePort, links: &Links) -> view::Port {
        let plan = &port.plan;
        let interface = plan.interface();
        let blocked = self.blocked(port);
        let (link, queues, mode, reason) = match (&port.state, &blocked) {
            (PortState::Failed(reason), _) => ("failed", 0, "", Some(reason.clone())),
            (PortState::Open(open), Some(blocked)) => {
                let reason = format!("a loop with {}, open again in {}s", blocked.loop_with, blocked.seconds);
                ("blocked", open.queues, open.mode.as_str(), Some(reason))
            }
            (PortState::Open(open), None) => (self.link_state(port, links), open.queues, open.mode.as_str(), None),
        };
        view::Port {
            name: plan.name.clone(),
            kind: plan.kind().to_string(),
            domain: plan.domain.clone(),
            link: link.to_owned(),
            queues,
            mode: mode.to_owned(),
            ifname: interface.map(|(_, ifname)| called(port, links).unwrap_or(ifname).to_owned()),
            place: interface.map(|(place, _)| place.to_string()),
            mtu: plan.netdev().map(|netdev| netdev.mtu),
            ip: plan.netdev().map(|netdev| netdev.ip.iter().map(ToString::to_string).collect()).unwrap_or_default(),
            reason,
            blocked,
            guest: guest(port),
            role: if self.plan.mirrors.iter().any(|mirror| mirror.to == plan.name) {
                "mirror".to_owned()
            } else {
                words::role(&plan.policy).to_owned()
            },
            vlan: words::vlan(plan),
            macs: match &plan.policy.role {
                Role::Macvlan(device) => device.macs.iter().map(ToString::to_string).collect(),
                Role::Host { macs } => macs.iter().map(ToString::to_string).collect(),
                _ => plan.netdev().map(|netdev| netdev.mac.to_string()).into_iter().collect(),
            },
            control_protocols: spell_protocols(plan.policy.control),
            flags: words::flags(&plan.policy),
        }
    }

    fn blocked(&self, port: &LivePort) -> Option<view::Blocked> {
        let PortState::Open(open) = &port.state else { return None };
        let blocked = self.engine.blocked(open.id?)?;
        Some(view::Blocked { seconds: blocked.seconds, loop_with: self.name_of(blocked.sent) })
    }

    fn link_state(&self, port: &LivePort, links: &Links) -> &'static str {
        let PortState::Open(open) = &port.state else { return "failed" };
        if let Some(cable) = open.cable {
            let same = |other: &&LivePort| matches!(&other.state, PortState::Open(open) if open.cable == Some(cable));
            return if self.ports.iter().filter(same).count() == 2 { "up" } else { "no-carrier" };
        }
        if let Some(guest) = &open.guest {
            return if guest.status().is_up() { "up" } else { "no-carrier" };
        }
        let Some(at) = &open.link else { return "up" };
        match found(links, at).map_or("unknown", Link::state) {
            // the kernel has said so, but the workers were not told yet
            "up" if open.down => "no-carrier",
            state => state,
        }
    }

    /// The interfaces of every namespace a port's link is in, asked for now.
    fn links(&self) -> Links {
        let mut links = Links::new();
        for port in &self.ports {
            let PortState::Open(open) = &port.state else { continue };
            for (place, _) in open.link.iter().chain(&open.interface) {
                if links.iter().any(|(its, _)| its == place) {
                    continue;
                }
                let all = netns::inside(place, || Netlink::open().and_then(|netlink| netlink.links()));
                links.push((place.clone(), all.ok().and_then(Result::ok).unwrap_or_default()));
            }
        }
        links
    }

    /// `GET /v1/fdb`.
    #[must_use]
    pub fn fdb(&self) -> view::Fdb {
        let ports = self.port_names();
        let domains: BTreeMap<_, _> = self.domains.iter().map(|(name, id)| (id, name)).collect();
        let entry = |record: dataplane::engine::FdbRecord| {
            Some(view::FdbEntry {
                domain: (*domains.get(&record.domain)?).clone(),
                vlan: record.vlan,
                mac: record.mac.to_string(),
                port: record.port.map_or(Some(""), |port| ports.get(&port).copied())?.to_owned(),
                kind: kind(record.kind).to_owned(),
                age_s: record.age_s,
            })
        };
        let mut entries: Vec<_> = self.engine.fdb().into_iter().filter_map(entry).collect();
        entries.sort();
        view::Fdb { v: VERSION, entries }
    }

    fn port_names(&self) -> BTreeMap<PortId, &str> {
        let id = |port: &LivePort| match &port.state {
            PortState::Open(open) => open.id,
            PortState::Failed(_) => None,
        };
        self.ports.iter().filter_map(|port| Some((id(port)?, port.plan.name.as_str()))).collect()
    }
}

/// What a vhost-user port says of its guest.
fn guest(port: &LivePort) -> Option<GuestView> {
    match (&port.state, &port.plan.shape) {
        (PortState::Open(open), Driver::VhostUser(offer)) => Some(shown::guest(offer, open.guest.as_ref()?)),
        _ => None,
    }
}

type Links = Vec<(Netns, Vec<Link>)>;

/// The interface of that place and index.
fn found<'a>(links: &'a Links, (place, index): &(Netns, u32)) -> Option<&'a Link> {
    let (_, all) = links.iter().find(|(its, _)| its == place)?;
    all.iter().find(|link| link.index == *index)
}

/// What the interface the file names is called by now.
fn called<'a>(port: &LivePort, links: &'a Links) -> Option<&'a str> {
    let PortState::Open(open) = &port.state else { return None };
    Some(&found(links, open.interface.as_ref()?)?.name)
}

fn mirror_text(mirror: &MirrorPlan) -> String {
    let of = |what: &str, list: &[String]| (!list.is_empty()).then(|| format!("{what} {}", list.join(" ")));
    let vlans = mirror.vlans.iter().map(|(domain, set)| format!("{} VLANs of {domain}", set.iter().count()));
    let parts: Vec<_> = of("rx of", &mirror.rx).into_iter().chain(of("tx of", &mirror.tx)).chain(vlans).collect();
    format!("{} to {}", parts.join(", "), mirror.to)
}

fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Learned => "learned",
        Kind::Static => "static",
        Kind::Sticky => "sticky",
        Kind::Filter => "filter",
    }
}
