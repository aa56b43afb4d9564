//! The plan: the configuration validated and resolved. It names everything that will exist, and nothing it says can
//! be wrong for a reason that could have been known without privileges.
//!
//! [`plan`] collects every mistake, each with its place in the file. [`add_port`] checks one more port against a plan that
//! already runs, for the API.

mod address;
mod domain;
mod guest;
mod machine;
mod macvlan;
mod memory;
mod names;
mod neighbours;
mod policy;
mod port;
pub mod privilege;
mod rights;
mod unique;
mod vlan;

pub use guest::{Offer, VmNic};
pub use machine::MachinePlan;
pub use memory::{DEFAULT_FDB_ENTRIES, DEFAULT_FRAMES, Demand};
pub use policy::spell_protocols;
pub use port::{Driver, Netdev, PortPlan, XdpDevice};
pub use rights::Rights;
pub use vlan::spell as spell_vlan;

use crate::config::document::{Document, Places};
use crate::config::{Config, Domain, FixedKind, Hugepages, NodeKind, Poll, Port, Worker};
use crate::kernel::machine::Machine;
use crate::problem::{Problem, Problems};
use dataplane::eth::MacAddr;
use dataplane::port::MAX_PORTS;
use dataplane::switch::policy::{ControlProtocols, DomainMode, DomainPolicy, VidSet};
use std::time::Duration;

/// How long an address lives unseen unless the file says otherwise: IEEE 802.1Q table 8-6.
pub const DEFAULT_AGEING: Duration = Duration::from_secs(300);
/// MTU of a domain unless the file says otherwise.
pub const DEFAULT_MTU: u32 = 1500;
/// Largest MTU any port takes: a TAP's, what an IP packet can hold less its Ethernet header (tun_net_init).
pub const MAX_MTU: u32 = 65535 - 14;
/// Smallest MTU: what IPv4 requires of a link (RFC 791).
pub const MIN_MTU: u32 = 68;

/// A switch to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Name of the switch.
    pub name: String,
    /// Workers, one per core.
    pub workers: Vec<WorkerPlan>,
    /// What idle workers do unless told otherwise.
    pub poll: Poll,
    /// Frames in the arena.
    pub frames: u32,
    /// Frames in the fill ring of each AF_XDP queue, and entries of its TX ring.
    pub xdp_depth: u32,
    /// Where the arena lies.
    pub hugepages: Hugepages,
    /// Addresses the forwarding table holds.
    pub fdb_entries: u32,
    /// Domains in file order.
    pub domains: Vec<DomainPlan>,
    /// Namespaces to make.
    pub nodes: Vec<String>,
    /// Virtual machines to start.
    pub machines: Vec<MachinePlan>,
    /// Ports in file order.
    pub ports: Vec<PortPlan>,
    /// Mirrors in file order.
    pub mirrors: Vec<MirrorPlan>,
    /// What can be, but is seldom meant.
    pub warnings: Problems,
}

/// A worker to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkerPlan {
    /// Its core.
    pub core: usize,
    /// What it does when idle.
    pub poll: Poll,
}

/// A domain to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DomainPlan {
    /// Its name.
    pub name: String,
    /// Largest frame payload.
    pub mtu: u32,
    /// How frames find their port.
    pub policy: DomainPolicy,
    /// Control protocols that may enter ports which do not say it themselves.
    pub control: ControlProtocols,
    /// macvlan: the port that is the wire.
    pub uplink: Option<String>,
    /// macvlan: the port that stands for the lower device's stack.
    pub host: Option<String>,
    /// Addresses known from the start.
    pub fixed: Vec<FixedPlan>,
    /// As written in the file, for changes at run time.
    pub written: Box<Domain>,
}

impl DomainPlan {
    /// Life of a learned address; `None`: none is learned.
    #[must_use]
    pub fn ageing(&self) -> Option<Duration> {
        match &self.policy.mode {
            DomainMode::Learning(learning) => learning.ageing,
            DomainMode::Macvlan(_) => None,
        }
    }
}

/// An address known from the start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FixedPlan {
    /// The address.
    pub mac: MacAddr,
    /// Its VLAN; `None`: that of frames without a tag.
    pub vlan: Option<u16>,
    /// Whether it moves.
    pub kind: FixedKind,
    /// Its port; none for a filter.
    pub port: Option<String>,
}

/// A mirror to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MirrorPlan {
    /// Its name.
    pub name: String,
    /// The port copies go to.
    pub to: String,
    /// Ports of which what comes in is copied.
    pub rx: Vec<String>,
    /// Ports of which what leaves is copied.
    pub tx: Vec<String>,
    /// VLANs by domain.
    pub vlans: Vec<(String, VidSet)>,
}

impl Plan {
    /// A plan of nothing.
    #[must_use]
    pub fn empty() -> Self {
        Self {
            name: String::new(),
            workers: Vec::new(),
            poll: Poll::default(),
            frames: 0,
            xdp_depth: 0,
            hugepages: Hugepages::default(),
            fdb_entries: 0,
            domains: Vec::new(),
            nodes: Vec::new(),
            machines: Vec::new(),
            ports: Vec::new(),
            mirrors: Vec::new(),
            warnings: Problems::default(),
        }
    }

    /// The domain called `name`.
    #[must_use]
    pub fn domain(&self, name: &str) -> Option<&DomainPlan> {
        self.domains.iter().find(|domain| domain.name == name)
    }

    /// The port called `name`.
    #[must_use]
    pub fn port(&self, name: &str) -> Option<&PortPlan> {
        self.ports.iter().find(|port| port.name == name)
    }
}

/// Mistakes and warnings found so far, and where the file's parts stand.
pub(crate) struct Check<'a> {
    places: Option<&'a Places>,
    found: Vec<Problem>,
    warned: Vec<Problem>,
}

impl<'a> Check<'a> {
    /// Nothing found yet. A change of a running switch has no places.
    fn new(places: Option<&'a Places>) -> Self {
        Self { places, found: Vec::new(), warned: Vec::new() }
    }

    /// Whether it is a running switch that is changed.
    pub(crate) fn is_live(&self) -> bool {
        self.places.is_none()
    }

    /// Something seldom meant in the value at `path`.
    pub(crate) fn warn(&mut self, path: &str, what: impl Into<String>, remedy: impl Into<String>) {
        let place = self.places.map(|places| places.value(path)).unwrap_or_default();
        self.warned.push(Problem { place, ..Problem::new(path, what, remedy) });
    }

    /// A mistake in the value at `path`.
    pub(crate) fn bad(&mut self, path: &str, what: impl Into<String>, remedy: impl Into<String>) {
        let place = self.places.map(|places| places.value(path)).unwrap_or_default();
        self.found.push(Problem { place, ..Problem::new(path, what, remedy) });
    }

    /// A mistake in the name that ends `path`.
    pub(crate) fn bad_name(&mut self, path: &str, what: impl Into<String>, remedy: impl Into<String>) {
        let place = self.places.map(|places| places.key(path)).unwrap_or_default();
        self.found.push(Problem { place, ..Problem::new(path, what, remedy) });
    }
}

/// Whether a switch, domain or node can have this name.
#[must_use]
pub fn is_name(name: &str) -> bool {
    names::fault(name, names::LONG).is_none()
}

/// Checks a whole file.
pub fn plan(document: &Document, machine: &Machine) -> Result<Plan, Problems> {
    let mut check = Check::new(Some(&document.places));
    let config = &document.config;
    let mut plan = outline((config, &document.file), machine, &mut check);
    add_ports(&mut plan, config, machine, &mut check);
    macvlan::anchors(config, &mut check);
    macvlan::quiet_uplinks(&mut plan, config);
    domain::fixed_entries(&mut plan, config, &mut check);
    domain::mirrors(&mut plan, config, &mut check);
    plan.ports.iter().for_each(|port| vlan::together(port, &plan, &mut check));
    (plan.frames, plan.xdp_depth) = memory::frames(config, &plan, machine, &mut check);
    address::subnets(&plan, &mut check);
    neighbours::warn(&plan, machine, &mut check);
    if check.found.is_empty() {
        check.warned.sort_by_key(|problem| problem.place);
        plan.warnings = Problems { file: document.file.clone(), list: check.warned };
        return Ok(plan);
    }
    check.found.sort_by_key(|problem| problem.place);
    Err(Problems { file: document.file.clone(), list: check.found })
}

/// Checks one more port against a plan that runs; the plan is not changed.
pub fn add_port(plan: &Plan, name: &str, port: &Port, machine: &Machine) -> Result<PortPlan, Problems> {
    let mut check = Check::new(None);
    if plan.port(name).is_some() {
        check.bad(
            &format!("ports.{name}"),
            "a port of this name exists",
            "choose another name, or remove that port first",
        );
    }
    let made = port::port(name, port, &port::Around { plan, machine }, &mut check);
    memory::one_more(plan, made.as_ref(), machine, &mut check);
    if let Some(made) = &made {
        vlan::together(made, plan, &mut check);
    }
    match made {
        Some(made) if check.found.is_empty() => Ok(made),
        _ => Err(Problems { file: String::new(), list: check.found }),
    }
}

/// Checks a domain that runs as it would be with other keys; the plan is not changed.
pub fn change_domain(plan: &Plan, name: &str, config: &Domain) -> Result<DomainPlan, Problems> {
    let mut check = Check::new(None);
    let path = format!("domains.{name}");
    let made = domain::domain(name, config, plan.fdb_entries, &mut check);
    let Some(before) = plan.domain(name) else {
        check.bad(&path, format!("there is no domain `{name}`"), "`pollux status` lists them");
        return Err(Problems { file: String::new(), list: check.found });
    };
    let old = &before.written;
    for (key, differs) in [
        ("mode", old.mode != config.mode),
        ("mtu", made.mtu != before.mtu),
        ("uplink", made.uplink != before.uplink),
        ("host", made.host != before.host),
        ("static", old.fixed != config.fixed),
        ("control_protocols", made.control != before.control),
    ] {
        if differs {
            let remedy = "stop the switch, change the file, and start it again";
            check.bad(&format!("{path}.{key}"), "this cannot change while the domain is there", remedy);
        }
    }
    if check.found.is_empty() {
        Ok(DomainPlan { fixed: before.fixed.clone(), ..made })
    } else {
        Err(Problems { file: String::new(), list: check.found })
    }
}

/// Checks a port that runs as it would be with other keys; the plan is not changed.
pub fn change_port(plan: &Plan, name: &str, port: &Port, machine: &Machine) -> Result<PortPlan, Problems> {
    let mut check = Check::new(None);
    let path = format!("ports.{name}");
    let (mine, others): (Vec<PortPlan>, _) = plan.ports.iter().cloned().partition(|port| port.name == name);
    let around = Plan { ports: others, ..plan.clone() };
    let made = port::port(name, port, &port::Around { plan: &around, machine }, &mut check);
    let (Some(made), Some(before)) = (made, mine.first()) else {
        check.bad(&path, format!("there is no port `{name}`"), "`pollux ports` lists them");
        return Err(Problems { file: String::new(), list: check.found });
    };
    // not whether others have VLANs: a domain that gets some changes port by port
    if made.shape != before.shape || made.domain != before.domain {
        let what = "its domain, its device and its interface cannot change while it is there";
        check.bad(&path, what, format!("`pollux port del {name}`, then add it anew"));
    }
    if check.found.is_empty() { Ok(made) } else { Err(Problems { file: String::new(), list: check.found }) }
}

/// Everything but the ports.
fn outline((config, file): (&Config, &str), machine: &Machine, check: &mut Check<'_>) -> Plan {
    names::check(&config.name, "name", names::LONG, check);
    let fdb_entries = memory::fdb_entries(config, check);
    for name in config.nodes.names() {
        names::check_key(name, "nodes", names::LONG, check);
    }
    Plan {
        name: config.name.clone(),
        workers: workers(config, machine, check),
        poll: config.poll,
        frames: 0,
        xdp_depth: 0,
        hugepages: config.memory.hugepages,
        fdb_entries,
        domains: config.domains.iter().map(|(name, d)| domain::domain(name, d, fdb_entries, check)).collect(),
        nodes: config
            .nodes
            .iter()
            .filter(|(_, n)| n.kind == NodeKind::Namespace)
            .map(|(name, _)| name.to_owned())
            .collect(),
        machines: machine::machines(config, file, check),
        ports: Vec::new(),
        mirrors: Vec::new(),
        warnings: Problems::default(),
    }
}

fn workers(config: &Config, machine: &Machine, check: &mut Check<'_>) -> Vec<WorkerPlan> {
    let Some(asked) = &config.workers else {
        // the last core: interrupts and other people's work gather on the first ones
        let core = machine.cores.last().copied();
        return core.map(|core| WorkerPlan { core, poll: config.poll }).into_iter().collect();
    };
    if asked.is_empty() {
        check.bad("workers", "a switch needs a worker", "name a core, or leave `workers` out");
    }
    let mut made: Vec<WorkerPlan> = Vec::new();
    for (i, worker) in asked.iter().enumerate() {
        let (path, core, poll) = match worker {
            Worker::Core(core) => (format!("workers.{i}"), *core, config.poll),
            Worker::Own(own) => (format!("workers.{i}.core"), own.core, own.poll),
        };
        if !machine.cores.contains(&core) {
            let remedy = format!("choose from {:?}", machine.cores);
            check.bad(&path, format!("core {core} is not one this process may use"), remedy);
        }
        if made.iter().any(|other| other.core == core) {
            check.bad(&path, format!("core {core} is here twice"), "one worker per core");
        }
        made.push(WorkerPlan { core, poll });
    }
    made
}

pub(crate) fn mtu_range(path: &str, mtu: u32, most: u32, check: &mut Check<'_>) {
    if !(MIN_MTU..=most).contains(&mtu) {
        check.bad(path, format!("an MTU of {mtu} is out of range"), format!("write {MIN_MTU} to {most}"));
    }
}

fn add_ports(plan: &mut Plan, config: &Config, machine: &Machine, check: &mut Check<'_>) {
    for (name, port) in config.ports.iter() {
        let made = port::port(name, port, &port::Around { plan, machine }, check);
        plan.ports.extend(made);
    }
    if config.ports.len() > MAX_PORTS {
        check.bad(
            "ports",
            format!("{} ports are too many", config.ports.len()),
            format!("a switch has at most {MAX_PORTS}"),
        );
    }
    for (name, port) in config.ports.iter() {
        port::cable(name, port, config, check);
    }
}

#[cfg(test)]
mod tests;
