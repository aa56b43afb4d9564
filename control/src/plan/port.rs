//! One port, checked: which keys its kind takes, what they refer to, what may not be there twice.

use super::Offer;
use super::address::{addresses, mac, mtu};
use super::names::{self, SHORT};
use super::{Check, Plan, guest, macvlan, policy, unique};
use crate::config::{Config, Port, PortKind};
use crate::kernel::machine::Machine;
use crate::net::{IpNet, Netns};
use dataplane::eth::MacAddr;
use dataplane::switch::policy::PortPolicy;

/// More queues than any worker count makes use of.
const MOST_QUEUES: u16 = 64;

/// A port to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortPlan {
    /// Its name.
    pub name: String,
    /// The domain it belongs to.
    pub domain: String,
    /// Its policy.
    pub policy: PortPolicy,
    /// What drives it.
    pub shape: Driver,
    /// As written in the file, for changes at run time.
    pub written: Box<Port>,
}

/// What drives a port, with what that needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Driver {
    /// An existing interface.
    AfXdp(XdpDevice),
    /// A pair whose far end is this interface.
    Veth(Netdev),
    /// This interface.
    Tap(Netdev),
    /// Nothing.
    Null,
    /// A cable to another port.
    Ring {
        /// That port.
        peer: String,
    },
    /// A guest.
    VhostUser(Offer),
}

/// An existing interface to be taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct XdpDevice {
    /// Its name.
    pub dev: String,
    /// Where it is.
    pub place: Netns,
    /// Its MTU while it is ours, the domain's; `None` leaves it.
    pub mtu: Option<u32>,
    /// MTU of its domain, below which its own may not be.
    pub domain_mtu: u32,
    /// Take it even if it carries the default route.
    pub force: bool,
    /// It is to receive every frame, not only those for its own address.
    pub promiscuous: bool,
}

/// An interface to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Netdev {
    /// Where it will be.
    pub place: Netns,
    /// Its name there.
    pub ifname: String,
    /// Its address: as written, else invented from the names of switch and port.
    pub mac: MacAddr,
    /// Its IP addresses.
    pub ip: Vec<IpNet>,
    /// Its MTU.
    pub mtu: u32,
    /// Its queue pairs.
    pub queues: u16,
}

impl PortPlan {
    /// The kind as the file names it.
    #[must_use]
    pub fn kind(&self) -> PortKind {
        match &self.shape {
            Driver::AfXdp(_) => PortKind::AfXdp,
            Driver::Veth(_) => PortKind::Veth,
            Driver::Tap(_) => PortKind::Tap,
            Driver::Null => PortKind::Null,
            Driver::Ring { .. } => PortKind::Ring,
            Driver::VhostUser(_) => PortKind::VhostUser,
        }
    }

    /// The interface that is made for it.
    #[must_use]
    pub fn netdev(&self) -> Option<&Netdev> {
        match &self.shape {
            Driver::Veth(netdev) | Driver::Tap(netdev) => Some(netdev),
            _ => None,
        }
    }

    /// Where its interface is, and that interface's name.
    #[must_use]
    pub fn interface(&self) -> Option<(&Netns, &str)> {
        match &self.shape {
            Driver::AfXdp(device) => Some((&device.place, &device.dev)),
            _ => self.netdev().map(|netdev| (&netdev.place, netdev.ifname.as_str())),
        }
    }
}

/// What a port is checked against.
pub(super) struct Around<'a> {
    pub(super) plan: &'a Plan,
    pub(super) machine: &'a Machine,
}

/// Checks one port; `None` only if nothing sensible can be made of it.
pub(super) fn port(name: &str, port: &Port, around: &Around<'_>, check: &mut Check<'_>) -> Option<PortPlan> {
    names::check_key(name, "ports", SHORT, check);
    let path = format!("ports.{name}");
    keys_of_kind(port, &path, check);
    let domain = domain(port, &path, around.plan, check);
    let shape = shape(name, port, around, check)?;
    let mac = own_mac(port, &shape, &path, check);
    let policy = policy::port((name, port), mac, around.plan.domain(&domain), check);
    let made = PortPlan { name: name.to_owned(), domain, policy, shape, written: Box::new(port.clone()) };
    unique::twice(&made, &path, around.plan, check);
    macvlan::siblings(&made, &path, around.plan, check);
    Some(made)
}

/// The address the port owns: that of the interface made for it, else the one written.
fn own_mac(port: &Port, shape: &Driver, path: &str, check: &mut Check<'_>) -> Option<MacAddr> {
    match shape {
        Driver::Veth(netdev) | Driver::Tap(netdev) => Some(netdev.mac),
        _ => port.mac.as_ref().and_then(|mac| names::mac(mac, &format!("{path}.mac"), check)),
    }
}

/// Refuses keys that mean nothing for the port's kind, instead of ignoring them.
fn keys_of_kind(port: &Port, path: &str, check: &mut Check<'_>) {
    let written = [
        ("dev", port.dev.is_some()),
        ("force", port.force),
        ("node", port.node.is_some()),
        ("netns", port.netns.is_some()),
        ("pid", port.pid.is_some()),
        ("ifname", port.ifname.is_some()),
        ("mac", port.mac.is_some()),
        ("ip", !port.ip.is_empty()),
        ("mtu", port.mtu.is_some()),
        ("queues", port.queues.is_some()),
        ("peer", port.peer.is_some()),
        ("socket", port.socket.is_some()),
        ("role", port.role.is_some()),
        ("mode", port.mode.is_some()),
        ("owner", port.owner.is_some()),
        ("group", port.group.is_some()),
    ];
    let known: &[&str] = match port.kind {
        PortKind::AfXdp => &["dev", "force", "node", "netns", "pid", "mtu", "mac"],
        PortKind::Veth | PortKind::Tap => &["node", "netns", "pid", "ifname", "mac", "ip", "mtu", "queues"],
        PortKind::Null => &["mac"],
        PortKind::Ring => &["peer", "mac"],
        PortKind::VhostUser => &["socket", "role", "mode", "owner", "group", "queues", "mtu", "node", "mac", "ip"],
    };
    for (key, _) in written.iter().filter(|(key, there)| *there && !known.contains(key)) {
        let known = ["kind", "domain", "fdb_limit"].iter().chain(known).copied().collect::<Vec<_>>().join(", ");
        let remedy = match (port.kind, *key) {
            (PortKind::AfXdp, "queues") => {
                "all queues of the device are taken; `ethtool -L DEV combined N` sets their number".to_owned()
            }
            _ => format!("remove it; {} takes {known}", port.kind),
        };
        check.bad(&format!("{path}.{key}"), format!("kind {} has no `{key}`", port.kind), remedy);
    }
}

fn domain(port: &Port, path: &str, plan: &Plan, check: &mut Check<'_>) -> String {
    let known = || plan.domains.iter().map(|domain| domain.name.as_str());
    match &port.domain {
        None => {
            let example = known().next().unwrap_or("lan");
            check.bad_name(path, "the port is in no domain", format!("add `domain: {example}`"));
        }
        Some(domain) if plan.domain(domain).is_none() => {
            check.bad(
                &format!("{path}.domain"),
                format!("there is no domain `{domain}`"),
                names::choose(domain, known()),
            );
        }
        Some(_) => {}
    }
    port.domain.clone().unwrap_or_default()
}

fn shape(name: &str, port: &Port, around: &Around<'_>, check: &mut Check<'_>) -> Option<Driver> {
    Some(match port.kind {
        PortKind::AfXdp => Driver::AfXdp(device(name, port, around, check)),
        PortKind::Veth => Driver::Veth(netdev(name, port, around, check)),
        PortKind::Tap => Driver::Tap(netdev(name, port, around, check)),
        PortKind::Null => Driver::Null,
        PortKind::Ring => Driver::Ring { peer: port.peer.clone().unwrap_or_default() },
        PortKind::VhostUser => Driver::VhostUser(guest::offer(name, port, around.plan, check)?),
    })
}

fn device(name: &str, port: &Port, around: &Around<'_>, check: &mut Check<'_>) -> XdpDevice {
    let path = format!("ports.{name}");
    let place = place(port, &path, around.plan, check);
    let Some(dev) = port.dev.clone() else {
        check.bad_name(&path, "the port names no device", "add `dev: NAME`");
        return XdpDevice {
            dev: String::new(),
            place,
            mtu: port.mtu,
            domain_mtu: super::DEFAULT_MTU,
            force: port.force,
            promiscuous: true,
        };
    };
    names::check(&dev, &format!("{path}.dev"), SHORT, check);
    if place == Netns::Host {
        present(&dev, &format!("{path}.dev"), port.force, around.machine, check);
    }
    let domain = mtu(port, &path, around.plan, check);
    if let Some(has) = around.machine.mtus.get(&dev).filter(|has| port.mtu.is_none() && **has < domain) {
        let remedy = format!("add `mtu: {domain}` to set it while the port is ours, or lower the domain's");
        check.bad(&format!("{path}.dev"), format!("`{dev}` has an MTU of {has}, its domain {domain}"), remedy);
    }
    XdpDevice { dev, place, mtu: port.mtu, domain_mtu: domain, force: port.force, promiscuous: true }
}

/// The device must be there, and not be the one that keeps the machine reachable.
fn present(dev: &str, path: &str, force: bool, machine: &Machine, check: &mut Check<'_>) {
    if !machine.devices.contains(dev) {
        let known = machine.devices.iter().map(String::as_str).filter(|name| *name != "lo");
        check.bad(path, format!("there is no device `{dev}`"), names::choose(dev, known));
    } else if dev == "lo" {
        check.bad(path, "the loopback device cannot be a port", "name another device");
    } else if machine.default_route.contains(dev) && !force {
        let what = format!("`{dev}` carries the default route: taking it would cut this machine off");
        check.bad(path, what, "name another device, or add `force: true` to take it nevertheless");
    }
}

/// No interface can be made whose name the kernel keeps, or that carries the machine's default route.
fn free(ifname: &str, place: &Netns, (port, path): (&Port, &str), machine: &Machine, check: &mut Check<'_>) {
    let routes = *place == Netns::Host && machine.default_route.contains(ifname);
    let fault = if routes {
        let what = format!("`{ifname}` is an interface of this machine, and carries its default route");
        let remedy = "add `node: NAME` if the interface belongs in a node, or choose another `ifname`";
        Some((what, remedy.to_owned()))
    } else {
        names::reserved(ifname)
    };
    match fault {
        Some((what, remedy)) if port.ifname.is_some() => check.bad(&format!("{path}.ifname"), what, remedy),
        Some((what, remedy)) => check.bad_name(path, what, remedy),
        None => {}
    }
}

fn netdev(name: &str, port: &Port, around: &Around<'_>, check: &mut Check<'_>) -> Netdev {
    let Around { plan, machine } = around;
    let path = format!("ports.{name}");
    let ifname = port.ifname.clone().unwrap_or_else(|| name.to_owned());
    if port.ifname.is_some() {
        names::check(&ifname, &format!("{path}.ifname"), SHORT, check);
    }
    let place = place(port, &path, plan, check);
    free(&ifname, &place, (port, &path), machine, check);
    let queues = port.queues.unwrap_or(1);
    if !(1..=MOST_QUEUES).contains(&queues) {
        check.bad(
            &format!("{path}.queues"),
            format!("{queues} queues are out of range"),
            format!("write 1 to {MOST_QUEUES}"),
        );
    }
    let mtu = mtu(port, &path, plan, check);
    Netdev { place, ifname, mac: mac(name, port, plan, check), ip: addresses(port, mtu, &path, check), mtu, queues }
}

fn place(port: &Port, path: &str, plan: &Plan, check: &mut Check<'_>) -> Netns {
    let count = [port.node.is_some(), port.netns.is_some(), port.pid.is_some()].iter().filter(|there| **there).count();
    if count > 1 {
        check.bad(path, "an interface can live in one namespace only", "keep one of `node`, `netns` and `pid`");
    }
    if let Some(node) = &port.node {
        if !plan.nodes.contains(node) {
            let remedy = if check.is_live() {
                format!("a running switch makes no nodes: `ip netns add {node}`, and write `netns: {node}`")
            } else {
                names::choose(node, plan.nodes.iter().map(String::as_str))
            };
            check.bad(&format!("{path}.node"), format!("there is no node `{node}`"), remedy);
        }
        return Netns::Node(node.clone());
    }
    if let Some(netns) = port.netns.as_ref().filter(|netns| netns.starts_with('/')) {
        return Netns::File(netns.into());
    }
    if let Some(netns) = &port.netns {
        names::check(netns, &format!("{path}.netns"), 255, check);
        if plan.nodes.contains(netns) {
            check.bad(
                &format!("{path}.netns"),
                format!("`{netns}` is a node of this switch"),
                format!("write `node: {netns}`"),
            );
        }
        return Netns::Named(netns.clone());
    }
    port.pid.map_or(Netns::Host, Netns::Pid)
}

/// Both ends of a cable must name each other.
pub(super) fn cable(name: &str, port: &Port, config: &Config, check: &mut Check<'_>) {
    if port.kind != PortKind::Ring {
        return;
    }
    let path = format!("ports.{name}");
    let Some(peer) = &port.peer else {
        check.bad_name(&path, "the cable has no other end", "add `peer: PORT`");
        return;
    };
    let other = config.ports.get(peer).filter(|_| peer != name);
    let answers = other.is_some_and(|other| other.kind == PortKind::Ring && other.peer.as_deref() == Some(name));
    if !answers {
        let remedy = match other {
            Some(other) if other.kind != PortKind::Ring => {
                format!("`{peer}` is {}; name a port with `kind: ring`", other.kind)
            }
            Some(_) => format!("write `peer: {name}` in ports.{peer}"),
            None => format!("add a port `{peer}: {{ kind: ring, peer: {name}, domain: … }}`"),
        };
        check.bad(&format!("{path}.peer"), format!("`{peer}` is not the other end of this cable"), remedy);
    }
}
