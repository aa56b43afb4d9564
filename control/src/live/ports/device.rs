//! The `af_xdp` kind: an existing interface, taken with all its queues and put back as it was.

use super::{OpenPort, PortBuilder, PortError};
use crate::kernel::machine::default_route_devices;
use crate::kernel::monitor::Watch;
use crate::kernel::netlink::{Change, Link, Netlink};
use crate::kernel::netns;
use crate::live::journal::Resource;
use crate::net::Netns;
use crate::plan::{PortPlan, XdpDevice};
use dataplane::pmd::af_xdp::{self, XdpConfig};
use dataplane::port::DomainId;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use std::fs;
use std::io;
use std::path::Path;

pub(super) fn open(
    builder: &mut PortBuilder<'_>,
    plan: &PortPlan,
    device: &XdpDevice,
    (domain, open): (DomainId, &mut OpenPort),
) -> Result<(), PortError> {
    let depth = builder.depth;
    let (link, config) = netns::inside(&device.place, || probe(device, depth))??;
    let before = Resource::Device {
        place: device.place.clone(),
        name: device.dev.clone(),
        index: link.index,
        mtu: link.mtu,
        up: link.up,
        promiscuous: link.promiscuous,
    };
    builder.record(before, open)?;
    if device.place != Netns::Host {
        open.watch = Some(Watch::start(&device.place, builder.gone)?);
    }
    open.link = Some((device.place.clone(), link.index));
    open.interface.clone_from(&open.link);
    let pool = builder.engine.pool();
    let port = netns::inside(&device.place, || {
        let change = Change { mtu: device.mtu, up: Some(true), promiscuous: Some(device.promiscuous), mac: None };
        Netlink::open()?.set(link.index, &change)?;
        Ok::<_, PortError>(af_xdp::open(&config, pool)?)
    })??;
    builder.connect_xdp(plan, domain, port, open)
}

/// What the interface is, if it may be taken.
fn probe(device: &XdpDevice, depth: u32) -> Result<(Link, XdpConfig), PortError> {
    let missing = || PortError::NoDevice { dev: device.dev.clone(), place: device.place.clone() };
    let link = Netlink::open()?.link(&device.dev)?.ok_or_else(missing)?;
    if !device.force && default_route_devices().contains(&device.dev) {
        return Err(PortError::DefaultRoute(device.dev.clone()));
    }
    let mtu = device.mtu.unwrap_or(link.mtu);
    if mtu < device.domain_mtu {
        return Err(PortError::Mtu { dev: device.dev.clone(), has: mtu, needed: device.domain_mtu });
    }
    if device.place != Netns::Host {
        own_sysfs().map_err(|error| PortError::Io { what: "mounting sysfs".to_owned(), error })?;
    }
    let sysfs = Path::new("/sys/class/net").join(&device.dev);
    let config = XdpConfig {
        ifname: device.dev.clone(),
        ifindex: link.index,
        rx_queues: queues(&sysfs, "rx-", link.rx_queues),
        tx_queues: queues(&sysfs, "tx-", link.tx_queues),
        driver: driver(&sysfs, &link),
        mtu,
        depth,
    };
    Ok((link, config))
}

/// sysfs shows the namespace it was mounted in: the thread, which ends soon, gets a view of its own (as `ip netns exec`
/// does it).
fn own_sysfs() -> io::Result<()> {
    unshare(CloneFlags::CLONE_NEWNS)?;
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_SLAVE | MsFlags::MS_REC, None::<&str>)?;
    Ok(mount(Some("sysfs"), "/sys", Some("sysfs"), MsFlags::empty(), None::<&str>)?)
}

/// Queues in use, which netlink does not tell: it counts those that could be.
fn queues(sysfs: &Path, prefix: &str, possible: u32) -> u16 {
    let entries = fs::read_dir(sysfs.join("queues")).into_iter().flatten().flatten();
    let used = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix)).count();
    u16::try_from(if used == 0 { possible as usize } else { used }).unwrap_or(u16::MAX)
}

fn driver(sysfs: &Path, link: &Link) -> String {
    match fs::read_link(sysfs.join("device/driver")) {
        Ok(path) => path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default(),
        Err(_) => link.kind.clone(),
    }
}
