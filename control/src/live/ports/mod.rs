//! Opening and closing ports: interface, queues, engine, addresses, in an order that can be undone at every step.
//!
//! Opening: make or take the interface → open its queues → hand them to the engine → addresses, up. The far end comes up
//! last, so that the first frame finds a switch behind the port. Closing is the reverse. What was made so far is kept in
//! [`OpenPort`], and a failed opening closes just that: nothing half-made stays. Everything that would outlive the process
//! is in the journal before it exists.

mod cable;
mod device;
mod guest;
pub mod losses;
mod owner;
mod tap;
mod veth;

pub use cable::Cables;
pub(super) use owner::node_taken;

use crate::kernel::monitor::{LinkNews, Watch};
use crate::kernel::netlink::{Change, Netlink, NetlinkError, announce_addresses, ipv6_is_off, ipv6_setting};
use crate::kernel::netns::{self, NetnsError};
use crate::live::journal::{EntryId, Journal, Resource, StateError, restore};
use crate::live::vhost::{Guest, News};
use crate::net::{IpNet, Netns};
use crate::plan::{Driver, Netdev, PortPlan};
use dataplane::engine::{Engine, EngineError, PortSpec};
use dataplane::eth::MacAddr;
use dataplane::pmd::af_xdp::{XdpError, XdpPort, XdpProgram};
use dataplane::pmd::tap::{Carrier, TapError};
use dataplane::pmd::{Pmd, null::Null};
use dataplane::port::{DomainId, PortId};
use dataplane::switch::policy::Role;
use losses::Outside;
use std::io;
use std::path::PathBuf;
use tokio::sync::mpsc::UnboundedSender;

/// A port could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum PortError {
    /// Its namespace.
    #[error(transparent)]
    Netns(#[from] NetnsError),
    /// Its interface.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
    /// Its AF_XDP queues.
    #[error(transparent)]
    Xdp(#[from] XdpError),
    /// Its TAP queues.
    #[error(transparent)]
    Tap(#[from] TapError),
    /// The engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The journal.
    #[error(transparent)]
    State(#[from] StateError),
    /// Eventfds, sysctls.
    #[error("{what}: {error}")]
    Io {
        /// What was tried.
        what: String,
        /// The answer.
        error: io::Error,
    },
    /// An interface of that name is there already.
    #[error("there is an interface `{ifname}` in {place} already, {owner}")]
    Taken {
        /// Its name.
        ifname: String,
        /// Where.
        place: Netns,
        /// Whose it is, and what to do.
        owner: String,
    },
    /// A namespace has the name of a node.
    #[error("there is a namespace `{name}` already, {owner}")]
    NodeTaken {
        /// Its name.
        name: String,
        /// Whose it is, and what to do.
        owner: String,
    },
    /// IPv6 is switched off, or not there.
    #[error("{net} cannot be added in {place}: {}", no_ipv6(place, *in_kernel))]
    NoIpv6 {
        /// The address.
        net: IpNet,
        /// Where.
        place: Netns,
        /// The kernel has IPv6.
        in_kernel: bool,
    },
    /// No such interface.
    #[error("there is no device `{dev}` in {place}; `ip link` lists those that are")]
    NoDevice {
        /// Its name.
        dev: String,
        /// Where.
        place: Netns,
    },
    /// Frames of the domain would not fit.
    #[error("`{dev}` has an MTU of {has}, its domain {needed}; add `mtu: {needed}` to the port, or lower the domain's")]
    Mtu {
        /// Its name.
        dev: String,
        /// What it has.
        has: u32,
        /// What it needs.
        needed: u32,
    },
    /// The machine would lose its network.
    #[error(
        "`{0}` carries the default route: taking it would cut this machine off; name another device, or add `force: true`"
    )]
    DefaultRoute(String),
}

fn no_ipv6(place: &Netns, in_kernel: bool) -> String {
    if !in_kernel {
        return "this kernel has no IPv6; remove the address".to_owned();
    }
    let set = "sysctl -w net.ipv6.conf.all.disable_ipv6=0 net.ipv6.conf.default.disable_ipv6=0";
    let command = match place {
        Netns::Host => set.to_owned(),
        Netns::Node(name) | Netns::Named(name) => format!("ip netns exec {name} {set}"),
        Netns::File(path) => format!("nsenter --net={} {set}", path.display()),
        Netns::Pid(pid) => format!("nsenter -t {pid} -n {set}"),
    };
    format!("IPv6 is switched off there (disable_ipv6); `{command}` switches it on, or remove the address")
}

/// An open port.
#[derive(Debug, Default)]
pub struct OpenPort {
    /// The engine's name for it.
    pub id: Option<PortId>,
    /// What was obtained, and why not more.
    pub mode: String,
    /// Queue pairs.
    pub queues: usize,
    /// The interface whose link is the port's: where, index. Names change.
    pub link: Option<(Netns, u32)>,
    /// The interface that the file names; of a veth pair, the far end.
    pub interface: Option<(Netns, u32)>,
    /// Whether that was down when last looked at.
    pub down: bool,
    /// The address of its interface when last looked at.
    pub mac: Option<MacAddr>,
    /// Its MTU when last looked at.
    pub mtu: Option<u32>,
    /// The file its namespace is known by and the kernel's number of it, if that can end with a process.
    pub namespace: Option<(PathBuf, u64)>,
    /// The cable it is an end of.
    pub cable: Option<u64>,
    /// Its guest, present or awaited.
    pub guest: Option<Guest>,
    /// Where the kernel counts what it loses.
    pub outside: Outside,
    program: Option<XdpProgram>,
    carrier: Option<Carrier>,
    made: Vec<Created>,
    /// Tells when an interface in a foreign namespace goes.
    watch: Option<Watch>,
}

/// Something to undo.
#[derive(Debug)]
struct Created {
    thing: Resource,
    ticket: EntryId,
}

/// What ports are made with.
#[derive(Debug)]
pub struct PortBuilder<'a> {
    /// The engine they go to.
    pub engine: &'a mut Engine,
    /// Depth of AF_XDP queues.
    pub depth: u32,
    /// The journal.
    pub journal: &'a mut Journal,
    /// Cables with one end free.
    pub cables: &'a mut Cables,
    /// The switch's name.
    pub switch: &'a str,
    /// Where to report interfaces that go.
    pub gone: &'a UnboundedSender<LinkNews>,
    /// Where to report what happens to guests, by port.
    pub guests: &'a UnboundedSender<(String, News)>,
}

impl OpenPort {
    /// Whether a TAP's interface is set up; `None` for other ports.
    #[must_use]
    pub fn tap_is_up(&self) -> Option<bool> {
        self.carrier.as_ref().map(Carrier::is_up)
    }

    /// Shows the far end of an interface that we made whether anybody is here.
    ///
    /// # Errors
    /// When the kernel refuses, or the interface is gone.
    pub fn set_carrier(&self, on: bool) -> Result<(), PortError> {
        if let Some(carrier) = &self.carrier {
            return carrier.set(on).map_err(|error| PortError::Io { what: "setting the carrier".to_owned(), error });
        }
        let of_a_pair = self.made.iter().any(|made| matches!(made.thing, Resource::Veth { .. }));
        match &self.link {
            Some((_, index)) if of_a_pair => veth::set_up(*index, on),
            _ => Ok(()),
        }
    }
}

/// Opens a port, or leaves everything as it was.
pub fn open(builder: &mut PortBuilder<'_>, plan: &PortPlan, domain: DomainId) -> Result<OpenPort, PortError> {
    let namespace = plan.interface().and_then(|(place, _)| netns::passing(place));
    let mut open = OpenPort { namespace, ..OpenPort::default() };
    let built = match &plan.shape {
        Driver::Tap(netdev) => tap::open(builder, plan, netdev, (domain, &mut open)),
        Driver::Veth(netdev) => veth::open(builder, plan, netdev, (domain, &mut open)),
        Driver::AfXdp(device) => device::open(builder, plan, device, (domain, &mut open)),
        Driver::Ring { peer } => cable::open(builder, plan, peer, (domain, &mut open)),
        Driver::VhostUser(offer) => guest::open(builder, plan, offer, (domain, &mut open)),
        Driver::Null => {
            open.mode = "swallows every frame".to_owned();
            builder.connect(plan, domain, vec![Null::new().into()], &mut open)
        }
    };
    let built = built.and_then(|()| watch_address(builder, plan, &mut open));
    let built = built.and_then(|()| if plan.policy.enabled { Ok(()) } else { open.set_carrier(false) });
    match built {
        Ok(()) => Ok(open),
        Err(error) => {
            let _logged = close(builder, &plan.name, open);
            Err(error)
        }
    }
}

/// A port of a macvlan domain is told when its interface changes the address that it owns.
fn watch_address(builder: &PortBuilder<'_>, plan: &PortPlan, open: &mut OpenPort) -> Result<(), PortError> {
    let owns = matches!(plan.policy.role, Role::Macvlan(_) | Role::Host { .. });
    let place = open.interface.as_ref().map(|(place, _)| place).filter(|place| owns && **place != Netns::Host);
    if let (Some(place), None) = (place, &open.watch) {
        open.watch = Some(Watch::start(place, builder.gone)?);
    }
    Ok(())
}

/// Closes a port: frames freed, program off, interface removed or put back as it was.
///
/// # Errors
/// When a worker is late to give its queues back, which the engine waits for then; all else is done.
pub fn close(builder: &mut PortBuilder<'_>, name: &str, open: OpenPort) -> Result<(), EngineError> {
    // first: its rings come back while the workers still know the port
    drop(open.guest);
    let removed = open.id.map_or(Ok(()), |id| builder.engine.remove_port(id));
    if let Err(error) = &removed {
        tracing::error!(port = name, %error, "the port's queues are not back yet");
    }
    builder.cables.discard(name, builder.engine.pool());
    // the device goes with the last descriptor of it
    drop(open.carrier);
    drop(open.program);
    for made in open.made.into_iter().rev() {
        undo(&made.thing);
        builder.journal.erase(made.ticket);
    }
    removed
}

fn undo(thing: &Resource) {
    match thing {
        Resource::Veth { name, mac } => veth::remove(name, mac),
        Resource::Device { .. } => drop(restore(thing)),
        // a TAP went with its queues; the others are not ports
        Resource::Tap { .. } | Resource::Netns { .. } => {}
        // it may be gone already: whoever removed it wanted just that
        Resource::Socket { path } => drop(std::fs::remove_file(path)),
        // not if somebody else has put something there
        Resource::Directory { path } => drop(std::fs::remove_dir(path)),
    }
}

impl PortBuilder<'_> {
    /// Writes down what is about to be made, so that it is undone in any case.
    fn record(&mut self, thing: Resource, open: &mut OpenPort) -> Result<(), PortError> {
        let ticket = self.journal.record(thing.clone())?;
        open.made.push(Created { thing, ticket });
        Ok(())
    }

    /// Hands queues to the engine: frames flow from here on.
    fn connect(
        &mut self,
        plan: &PortPlan,
        domain: DomainId,
        queues: Vec<Pmd>,
        open: &mut OpenPort,
    ) -> Result<(), PortError> {
        open.queues = queues.len();
        open.id = Some(self.engine.add_port(PortSpec { domain, policy: plan.policy.clone(), queues })?);
        Ok(())
    }

    /// The same for the queues of an AF_XDP port, whose program stays here.
    fn connect_xdp(
        &mut self,
        plan: &PortPlan,
        domain: DomainId,
        port: XdpPort,
        open: &mut OpenPort,
    ) -> Result<(), PortError> {
        open.outside.program = Some(port.program.drop_counters());
        open.program = Some(port.program);
        open.mode = port.mode;
        self.connect(plan, domain, port.queues.into_iter().map(Pmd::from).collect(), open)
    }
}

/// Names and addresses an interface in its namespace, and sets it up. Without duplicate address detection: a lab has no
/// duplicates, and its addresses are to work at once. So they are put on when it is up: IPv6 addresses that are there before
/// wait until the kernel has looked at the link, up to a second. And its MAC address is set once more at the end: the kernel
/// announces the IP addresses of an interface whose MAC address is set (NETDEV_CHANGEADDR in inetdev_event and
/// ndisc_netdev_event).
fn bring_up(netdev: &Netdev) -> Result<u32, PortError> {
    netns::inside(&netdev.place, || {
        let netlink = Netlink::open()?;
        let missing = || PortError::NoDevice { dev: netdev.ifname.clone(), place: netdev.place.clone() };
        let link = netlink.link(&netdev.ifname)?.ok_or_else(missing)?;
        let mac = Change { mac: Some(netdev.mac), ..Change::default() };
        without_dad(&netdev.ifname);
        announce_addresses(&netdev.ifname);
        netlink.set(link.index, &Change { mtu: Some(netdev.mtu), ..mac })?;
        netlink.set(link.index, &Change { up: Some(true), ..Change::default() })?;
        for net in &netdev.ip {
            if net.addr.is_ipv6() {
                has_ipv6(netdev, *net)?;
            }
            netlink.add_address(link.index, *net)?;
        }
        if !netdev.ip.is_empty() {
            netlink.set(link.index, &mac)?;
        }
        Ok(link.index)
    })?
}

/// No duplicate address detection, if the kernel lets us: the addresses of the file come without it anyway, so that a
/// read-only /proc/sys costs only the link-local ones a second.
pub(super) fn without_dad(which: &str) {
    if let Err(error) = ipv6_setting(which, "accept_dad", "0") {
        tracing::warn!("net.ipv6.conf.{which}.accept_dad is not set: {error}; link-local addresses take a second");
    }
}

/// Refuses an address where IPv6 is switched off: the kernel would say "permission denied".
fn has_ipv6(netdev: &Netdev, net: IpNet) -> Result<(), PortError> {
    match ipv6_is_off(&netdev.ifname) {
        Some(false) => Ok(()),
        off => Err(PortError::NoIpv6 { net, place: netdev.place.clone(), in_kernel: off.is_some() }),
    }
}

/// Refuses a name that is taken where the interface is to be.
fn must_be_free(netdev: &Netdev) -> Result<(), PortError> {
    let found = netns::inside(&netdev.place, || Netlink::open()?.link(&netdev.ifname))??;
    match found {
        Some(_) => {
            let (ifname, place) = (netdev.ifname.clone(), netdev.place.clone());
            let owner = owner::of_interface(&ifname, &place);
            Err(PortError::Taken { ifname, place, owner })
        }
        None => Ok(()),
    }
}
