//! Links and addresses over rtnetlink, for the thread that calls.
//!
//! A [`Netlink`] belongs to the namespace its thread is in. It has a small runtime of its own and blocks, so it is used inside
//! [`crate::kernel::netns::inside`] only, never on the control thread.

use crate::net::IpNet;
use dataplane::eth::MacAddr;
use futures::stream::TryStreamExt;
use rtnetlink::packet_route::address::AddressFlags;
use rtnetlink::packet_route::link::{
    AfSpecInet6, AfSpecUnspec, In6AddrGenMode, InfoData, InfoKind, InfoVeth, LinkAttribute, LinkFlags, LinkInfo,
    LinkMessage,
};
use rtnetlink::{Error, Handle, LinkGetRequest, LinkMessageBuilder, LinkUnspec, LinkVeth};
use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use tokio::runtime::{Builder, Runtime};

/// The kernel refused something.
#[derive(Debug, thiserror::Error)]
#[error("{step}: {error}")]
pub struct NetlinkError {
    /// What was tried.
    pub step: String,
    /// The answer.
    pub error: io::Error,
}

fn failed(step: impl Into<String>) -> impl FnOnce(Error) -> NetlinkError {
    let step = step.into();
    |error| NetlinkError { step, error: to_io(error) }
}

fn to_io(error: Error) -> io::Error {
    match error {
        Error::NetlinkError(message) => message.to_io(),
        other => io::Error::other(other.to_string()),
    }
}

/// What the kernel says about an interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// Its index.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Its address.
    pub mac: Option<MacAddr>,
    /// Its MTU.
    pub mtu: u32,
    /// Set up by somebody.
    pub up: bool,
    /// A signal on the line (and the other end up).
    pub carrier: bool,
    /// Promiscuous because somebody said so.
    pub promiscuous: bool,
    /// What made it: `veth`, `tun`, ...; empty for hardware.
    pub kind: String,
    /// Queues it was made with.
    pub rx_queues: u32,
    /// Queues it was made with.
    pub tx_queues: u32,
}

impl Link {
    /// `up`, `down` (nobody set it up) or `no-carrier`.
    #[must_use]
    pub fn state(&self) -> &'static str {
        match (self.up, self.carrier) {
            (true, true) => "up",
            (true, false) => "no-carrier",
            (false, _) => "down",
        }
    }
}

impl From<LinkMessage> for Link {
    fn from(message: LinkMessage) -> Self {
        let flags = message.header.flags;
        let mut link = Self {
            index: message.header.index,
            up: flags.contains(LinkFlags::Up),
            carrier: flags.contains(LinkFlags::LowerUp),
            promiscuous: flags.contains(LinkFlags::Promisc),
            ..Self::default()
        };
        for attribute in message.attributes {
            link.take(attribute);
        }
        link
    }
}

impl Link {
    fn take(&mut self, attribute: LinkAttribute) {
        match attribute {
            LinkAttribute::IfName(name) => self.name = name,
            LinkAttribute::Address(mac) => self.mac = mac.try_into().ok().map(MacAddr),
            LinkAttribute::Mtu(mtu) => self.mtu = mtu,
            LinkAttribute::NumRxQueues(n) => self.rx_queues = n,
            LinkAttribute::NumTxQueues(n) => self.tx_queues = n,
            LinkAttribute::LinkInfo(infos) => {
                for info in infos {
                    if let LinkInfo::Kind(kind) = info {
                        self.kind = kind.to_string();
                    }
                }
            }
            _ => {}
        }
    }
}

/// A veth pair to make: our end here, the far end in another namespace.
#[derive(Debug)]
pub struct VethPair<'a> {
    /// Name of our end.
    pub ours: &'a str,
    /// Address of our end, by which it is recognised later.
    pub our_mac: MacAddr,
    /// Name of the far end.
    pub theirs: &'a str,
    /// Address of the far end.
    pub their_mac: Option<MacAddr>,
    /// MTU of both.
    pub mtu: u32,
    /// Queue pairs of both.
    pub queues: u16,
    /// Namespace of the far end.
    pub far: &'a File,
}

/// What to change about an interface.
#[derive(Clone, Debug, Default)]
pub struct Change {
    /// Its address.
    pub mac: Option<MacAddr>,
    /// Its MTU.
    pub mtu: Option<u32>,
    /// Up or down.
    pub up: Option<bool>,
    /// Promiscuous or not.
    pub promiscuous: Option<bool>,
}

/// A conversation with the kernel about the calling thread's namespace.
#[derive(Debug)]
pub struct Netlink {
    runtime: Runtime,
    handle: Handle,
}

impl Netlink {
    /// Opens one.
    pub fn open() -> Result<Self, NetlinkError> {
        let fault = |error| NetlinkError { step: "opening a netlink socket".to_owned(), error };
        let runtime = Builder::new_current_thread().enable_io().build().map_err(fault)?;
        let (connection, handle, _) = {
            let _inside = runtime.enter();
            rtnetlink::new_connection().map_err(fault)?
        };
        runtime.spawn(connection);
        Ok(Self { runtime, handle })
    }

    /// The interface called `name`, if there is one.
    pub fn link(&self, name: &str) -> Result<Option<Link>, NetlinkError> {
        self.one(self.handle.link().get().match_name(name), || format!("looking for {name}"))
    }

    /// The interface with this index, whatever it is called by now.
    pub fn link_at(&self, index: u32) -> Result<Option<Link>, NetlinkError> {
        self.one(self.handle.link().get().match_index(index), || format!("looking for interface {index}"))
    }

    fn one(&self, request: LinkGetRequest, step: impl FnOnce() -> String) -> Result<Option<Link>, NetlinkError> {
        let request = request.execute();
        match self.runtime.block_on(async {
            futures::pin_mut!(request);
            request.try_next().await
        }) {
            Ok(found) => Ok(found.map(Link::from)),
            Err(error) => match to_io(error) {
                error if error.raw_os_error() == Some(nix::libc::ENODEV) => Ok(None),
                error => Err(NetlinkError { step: step(), error }),
            },
        }
    }

    /// All interfaces.
    pub fn links(&self) -> Result<Vec<Link>, NetlinkError> {
        let all = self.handle.link().get().execute().map_ok(Link::from).try_collect();
        self.runtime.block_on(all).map_err(failed("listing interfaces"))
    }

    /// Makes a veth pair, each end in its place from the start.
    pub fn add_veth(&self, pair: &VethPair<'_>) -> Result<(), NetlinkError> {
        let queues = u32::from(pair.queues);
        let far = sized(LinkMessageBuilder::<LinkUnspec>::default().name(pair.theirs), pair.mtu, queues);
        let far = with_mac(far.setns_by_fd(pair.far.as_raw_fd()), pair.their_mac).build();
        let ours = LinkMessageBuilder::<LinkVeth>::new_with_info_kind(InfoKind::Veth).name(pair.ours);
        let ours = with_mac(sized(ours, pair.mtu, queues), Some(pair.our_mac))
            .set_info_data(InfoData::Veth(InfoVeth::Peer(far)));
        let request = self.handle.link().add(ours.build()).execute();
        self.runtime.block_on(request).map_err(failed(format!("making the veth pair {} - {}", pair.ours, pair.theirs)))
    }

    /// Changes an interface.
    pub fn set(&self, index: u32, change: &Change) -> Result<(), NetlinkError> {
        let mut message = with_mac(LinkUnspec::new_with_index(index), change.mac);
        if let Some(mtu) = change.mtu {
            message = message.mtu(mtu);
        }
        if let Some(on) = change.promiscuous {
            message = message.promiscuous(on);
        }
        message = match change.up {
            Some(true) => message.up(),
            Some(false) => message.down(),
            None => message,
        };
        let request = self.handle.link().change(message.build()).execute();
        self.runtime.block_on(request).map_err(failed(format!("changing interface {index} ({change:?})")))
    }

    /// Keeps an interface from giving itself an IPv6 address, without which it says nothing.
    pub fn without_ipv6_address(&self, index: u32) -> Result<(), NetlinkError> {
        let none = AfSpecUnspec::Inet6(vec![AfSpecInet6::AddrGenMode(In6AddrGenMode::None)]);
        let message = LinkUnspec::new_with_index(index).append_extra_attribute(LinkAttribute::AfSpecUnspec(vec![none]));
        let request = self.handle.link().change(message.build()).execute();
        self.runtime.block_on(request).map_err(failed(format!("silencing interface {index}")))
    }

    /// Gives an interface an address, usable at once (no duplicate address detection).
    pub fn add_address(&self, index: u32, net: IpNet) -> Result<(), NetlinkError> {
        let mut request = self.handle.address().add(index, net.addr, net.prefix);
        if net.addr.is_ipv6() {
            let attribute = rtnetlink::packet_route::address::AddressAttribute::Flags(
                AddressFlags::Nodad | AddressFlags::Permanent,
            );
            request.message_mut().attributes.push(attribute);
        }
        self.runtime.block_on(request.execute()).map_err(failed(format!("adding address {net}")))
    }

    /// Removes an interface.
    pub fn delete(&self, index: u32) -> Result<(), NetlinkError> {
        let request = self.handle.link().del(index).execute();
        self.runtime.block_on(request).map_err(failed(format!("removing interface {index}")))
    }
}

fn sized<T>(message: LinkMessageBuilder<T>, mtu: u32, queues: u32) -> LinkMessageBuilder<T> {
    message
        .mtu(mtu)
        .append_extra_attribute(LinkAttribute::NumTxQueues(queues))
        .append_extra_attribute(LinkAttribute::NumRxQueues(queues))
}

fn with_mac<T>(message: LinkMessageBuilder<T>, mac: Option<MacAddr>) -> LinkMessageBuilder<T> {
    match mac {
        Some(mac) => message.address(mac.0.to_vec()),
        None => message,
    }
}

/// Sets an IPv6 setting of `ifname` (or `default`, `all`) in the calling thread's namespace. A kernel without IPv6 has none to
/// set, which is as good.
pub fn ipv6_setting(ifname: &str, setting: &str, value: &str) -> io::Result<()> {
    match fs::write(format!("/proc/sys/net/ipv6/conf/{ifname}/{setting}"), value) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Has the kernel announce the addresses of `ifname` to its neighbours whenever it comes up or its MAC address is set:
/// gratuitous ARP, unsolicited neighbour advertisement. Best effort, where /proc/sys can be written: neighbours that hear
/// nothing ask again when their entry is stale.
pub fn announce_addresses(ifname: &str) {
    for setting in [format!("ipv4/conf/{ifname}/arp_notify"), format!("ipv6/conf/{ifname}/ndisc_notify")] {
        let _best_effort = fs::write(format!("/proc/sys/net/{setting}"), "1");
    }
}

/// Whether IPv6 is switched off for `ifname` in the calling thread's namespace; `None` for a kernel without IPv6.
#[must_use]
pub fn ipv6_is_off(ifname: &str) -> Option<bool> {
    let text = fs::read_to_string(format!("/proc/sys/net/ipv6/conf/{ifname}/disable_ipv6")).ok()?;
    Some(text.trim() != "0")
}

#[cfg(test)]
mod tests;
