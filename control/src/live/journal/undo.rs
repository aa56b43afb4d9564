//! Undoing one entry of a dead switch's journal.

use super::Resource;
use crate::kernel::netlink::{Change, Link, Netlink, NetlinkError};
use crate::kernel::netns;
use crate::net::Netns;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

/// Longest that a TAP of a killed process stays: measured about one second with io_uring.
const TAP_LINGERS: Duration = Duration::from_secs(5);

/// Undoes `thing`; says what was done, `None` if there was nothing to do.
pub(super) fn undo(thing: &Resource) -> Option<String> {
    match thing {
        Resource::Netns { name, number } => netns::delete(name, *number).then(|| format!("namespace {name}")),
        Resource::Veth { name, mac } => remove_veth(name, mac),
        Resource::Tap { place, name } => wait_for_tap(place, name),
        Resource::Device { .. } => restore(thing),
        Resource::Socket { path } => remove_socket(path),
        // not if somebody else has put something there
        Resource::Directory { path } => {
            std::fs::remove_dir(path).is_ok().then(|| format!("directory {}", path.display()))
        }
    }
}

fn remove_veth(name: &str, mac: &str) -> Option<String> {
    netns::inside(&Netns::Host, || {
        let netlink = Netlink::open().ok()?;
        let link = find_veth(&netlink, name, mac).ok()??;
        netlink.delete(link.index).ok()?;
        Some(format!("interface {}", link.name))
    })
    .ok()?
}

/// Our end of a veth pair, by its address: under its own name in most cases, else under any.
pub(crate) fn find_veth(netlink: &Netlink, name: &str, mac: &str) -> Result<Option<Link>, NetlinkError> {
    let ours = |link: &Link| link.kind == "veth" && link.mac.is_some_and(|its| its.to_string() == mac);
    match netlink.link(name)?.filter(ours) {
        Some(link) => Ok(Some(link)),
        None => Ok(netlink.links()?.into_iter().find(ours)),
    }
}

/// The kernel is removing it; until then its name is taken.
fn wait_for_tap(place: &Netns, name: &str) -> Option<String> {
    netns::inside(place, || {
        let netlink = Netlink::open().ok()?;
        let end = Instant::now() + TAP_LINGERS;
        while netlink.link(name).ok()?.is_some_and(|link| link.kind == "tun") && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(5));
        }
        None
    })
    .ok()?
}

/// Puts an existing interface back as it was. Shared with the orderly end of a port.
pub(crate) fn restore(before: &Resource) -> Option<String> {
    let Resource::Device { place, index, mtu, up, promiscuous, .. } = before else { return None };
    let change = Change { mtu: Some(*mtu), up: Some(*up), promiscuous: Some(*promiscuous), mac: None };
    netns::inside(place, || {
        let netlink = Netlink::open().ok()?;
        let link = netlink.link_at(*index).ok()??;
        netlink.set(*index, &change).ok()?;
        Some(format!("settings of {}", link.name))
    })
    .ok()?
}

/// Removes a socket nobody listens on.
fn remove_socket(path: &Path) -> Option<String> {
    if UnixStream::connect(path).is_ok() {
        return None;
    }
    std::fs::remove_file(path).ok()?;
    Some(format!("socket {}", path.display()))
}
