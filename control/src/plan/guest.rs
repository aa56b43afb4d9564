//! A vhost-user port, checked.

use super::address::{addresses, mtu};
use super::rights::{Rights, rights};
use super::{Check, Driver, Plan, PortPlan, names};
use crate::config::{Port, Role};
use crate::net::IpNet;
use crate::socket::LONGEST;
use dataplane::eth::MacAddr;
use dataplane::pmd::vhost::MAX_PAIRS;
use std::path::{Component, Path, PathBuf};

/// What a port offers its guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// The socket.
    pub socket: PathBuf,
    /// Who listens on it.
    pub role: Role,
    /// Who may connect to it, if we listen.
    pub rights: Rights,
    /// Queue pairs.
    pub pairs: u16,
    /// Largest MTU the guest may be told.
    pub mtu: u32,
    /// The machine of the lab that is the guest.
    pub nic: Option<VmNic>,
}

impl Offer {
    /// The machine's name.
    #[must_use]
    pub fn node(&self) -> Option<&String> {
        self.nic.as_ref().map(|station| &station.node)
    }
}

/// A machine of the lab, as one of its ports sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VmNic {
    /// Its name.
    pub node: String,
    /// The address of its device.
    pub mac: Option<MacAddr>,
    /// Its IP addresses.
    pub ip: Vec<IpNet>,
}

pub(super) fn offer(name: &str, port: &Port, plan: &Plan, check: &mut Check<'_>) -> Option<Offer> {
    let path = format!("ports.{name}");
    let Some(socket) = &port.socket else {
        check.bad_name(&path, "the port has no socket", format!("add `socket: /run/pollux/{name}.sock`"));
        return None;
    };
    if !socket.starts_with('/') || socket.len() > LONGEST {
        let what = format!("`{socket}` cannot be the path of a socket");
        let remedy = format!("write an absolute path of at most {LONGEST} bytes");
        check.bad(&format!("{path}.socket"), what, remedy);
    }
    let socket = plain(Path::new(socket));
    let taken = |other: &&PortPlan| matches!(&other.shape, Driver::VhostUser(offer) if offer.socket == socket);
    if let Some(other) = plan.ports.iter().find(taken) {
        let what = format!("port `{}` has the socket {} already", other.name, socket.display());
        check.bad(&format!("{path}.socket"), what, "give every port its own");
    }
    let pairs = port.queues.unwrap_or(1);
    if !(1..=MAX_PAIRS).contains(&pairs) {
        let what = format!("{pairs} queue pairs are out of range");
        check.bad(&format!("{path}.queues"), what, format!("write 1 to {MAX_PAIRS}"));
    }
    let mtu = mtu(port, &path, plan, check);
    Some(Offer {
        socket,
        role: port.role.unwrap_or_default(),
        rights: rights(port, &path, check),
        pairs: pairs.clamp(1, MAX_PAIRS),
        mtu,
        nic: vm_nic(port, mtu, &path, plan, check),
    })
}

/// The path without `.` and `..`, so that a socket has one name. Links are not followed.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => drop(plain.pop()),
            _ => plain.push(part),
        }
    }
    plain
}

/// The machine of the lab behind the port, if there is one.
fn vm_nic(port: &Port, mtu: u32, path: &str, plan: &Plan, check: &mut Check<'_>) -> Option<VmNic> {
    let Some(node) = &port.node else {
        for (key, there) in [("mac", port.mac.is_some()), ("ip", !port.ip.is_empty())] {
            if there {
                let what = format!("`{key}` of a guest that is not a machine of this lab");
                check.bad(&format!("{path}.{key}"), what, "add `node: MACHINE`, or set it in the guest");
            }
        }
        return None;
    };
    if !plan.machines.iter().any(|machine| machine.name == *node) {
        let remedy = names::choose(node, plan.machines.iter().map(|machine| machine.name.as_str()));
        check.bad(&format!("{path}.node"), format!("there is no machine `{node}`"), remedy);
    }
    let mac = port.mac.as_deref().and_then(|text| names::mac(text, &format!("{path}.mac"), check));
    Some(VmNic { node: node.clone(), mac, ip: addresses(port, mtu, path, check) })
}
