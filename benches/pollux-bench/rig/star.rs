//! Many stations and one switch, or two switches and a link between them.
//!
//! Station `i` owns `s<i>` in namespace plxb-s`<i>`; the switch's end of a pair, where there is one, is `t<i>`. With
//! [`Layout::TwoSwitches`] the first half of the stations is on the one, the second on the other; for Pollux those are two
//! learning domains of one process with an `af_xdp` port each at the ends of the link.
//!
//! With [`Last::Tap`] the last station is behind a TAP: `t<i>` is the TAP's interface, which the switch uses, and the station
//! holds the other side. For Pollux it is an `af_xdp` port, whatever the others are. With [`Last::Guest`] it is a guest at a
//! vhost-user port, which only Pollux has here.

use super::guests::join;
use super::pollux::Daemon;
use super::{Ledger, Poll, Ports, SWITCH_CORE, Subject};
use crate::failure::{During, Result, fail};
use crate::process::{ip, wait_for};
use crate::rounds::Findings;
use crate::world::{World, add_netns};
use ::traffic::Station;
use std::path::Path;
use std::time::Duration;

const ONE_QUEUE: &str = "numtxqueues 1 numrxqueues 1";
const RAISED: Duration = Duration::from_secs(5);

/// What is to be built.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// How many.
    pub stations: usize,
    /// How they are connected.
    pub layout: Layout,
    /// Of all interfaces.
    pub mtu: u32,
    /// What the last of them is.
    pub last: Last,
}

/// What the last station is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Last {
    /// One like the others.
    Same,
    /// The far side of a TAP.
    Tap,
    /// A guest of the switch.
    Guest,
}

impl Plan {
    /// So many on one switch, with the usual MTU.
    pub fn of(stations: usize) -> Self {
        Self { stations, layout: Layout::OneSwitch, mtu: 1500, last: Last::Same }
    }

    /// Stations that have an interface in a namespace of theirs; they come first.
    fn inside(self) -> usize {
        self.stations - usize::from(self.last != Last::Same)
    }
}

/// How the stations are connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// All to one switch.
    OneSwitch,
    /// Half to each of two.
    TwoSwitches,
}

/// The stations and the switch. Dropping it removes everything.
#[derive(Debug)]
pub struct Star {
    // before the interfaces
    daemon: Option<Daemon>,
    wires: Wires,
    last: Option<Station>,
}

#[derive(Debug, Default)]
struct Wires {
    links: Vec<String>,
    stations: usize,
    bridges: usize,
}

/// Namespace of a station.
pub fn netns(station: usize) -> String {
    format!("plxb-s{station}")
}

/// Interface of a station.
pub fn dev(station: usize) -> String {
    format!("s{station}")
}

/// Address of a station.
pub fn address(station: usize) -> [u8; 6] {
    [2, 0, 0, 5, u8::try_from(station).unwrap_or(u8::MAX), 1]
}

fn written(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

impl Star {
    /// Makes the stations and connects them by `subject`: Pollux or the bridge.
    pub fn build(world: &World, subject: Subject, plan: Plan) -> Result<Self> {
        let Plan { stations, layout, mtu, .. } = plan;
        let (mut wires, socket) = (Wires::default(), world.directory.join("guest.sock"));
        for station in 0..plan.inside() {
            add_netns(&netns(station))?;
            wires.stations += 1;
        }
        if !matches!(subject, Subject::Pollux(Ports::Veth | Ports::Tap, _)) {
            wires.pairs(plan.inside(), mtu)?;
        }
        let mut last = (plan.last == Last::Tap).then(|| tap(stations - 1, mtu)).transpose()?;
        if layout == Layout::TwoSwitches {
            wires.between()?;
        }
        let daemon = match subject {
            Subject::Pollux(ports, poll) => Some(Daemon::start(world, &configuration(ports, poll, plan, &socket))?),
            Subject::Bridge => {
                wires.bridge(stations, layout)?;
                None
            }
            other => return fail(format!("{other} does not connect {stations} stations here")),
        };
        for station in 0..plan.inside() {
            ip(&format!("-n {} link set {} up", netns(station), dev(station)))?;
            carrier(station)?;
        }
        if plan.last == Last::Guest {
            last = Some(join(&socket)?);
        }
        Ok(Self { daemon, wires, last })
    }

    /// The last station, if it is one that was made with the switch.
    pub fn take_last(&mut self) -> Option<Station> {
        self.last.take()
    }

    /// Forgets all learned addresses.
    pub fn flush(&self) -> Result<()> {
        if let Some(daemon) = &self.daemon {
            return daemon.tell(&["fdb", "flush"]);
        }
        (0..self.wires.bridges).try_for_each(|n| ip(&format!("link set br{n} type bridge fdb_flush")).map(drop))
    }

    /// The switch's own counters, if it is ours.
    pub fn ledger(&self) -> Result<Option<Ledger>> {
        self.daemon.as_ref().map(Daemon::ledger).transpose()
    }

    /// Stops it; returns what was found.
    pub fn inspect(self) -> Result<Findings> {
        self.daemon.map_or_else(|| Ok(Findings::default()), Daemon::close)
    }
}

/// A station behind a TAP whose interface is the switch's.
fn tap(station: usize, mtu: u32) -> Result<Station> {
    let dev = format!("t{station}");
    let tap = Station::tap(None, &dev).during(&dev)?;
    ip(&format!("link set {dev} mtu {mtu} up"))?;
    Ok(tap)
}

/// Waits until the station's interface has a carrier: a bridge's port forwards from then on.
fn carrier(station: usize) -> Result<()> {
    let (netns, dev) = (netns(station), dev(station));
    let up = || Ok(ip(&format!("-n {netns} -br link show dev {dev}"))?.contains("LOWER_UP").then_some(()));
    wait_for(RAISED, up)?.map_or_else(|| fail(format!("{dev} in {netns} has no carrier")), Ok)
}

fn configuration(ports: Ports, poll: Poll, plan: Plan, socket: &Path) -> String {
    let Plan { stations, layout, mtu, last } = plan;
    let domain = |station| if layout == Layout::TwoSwitches && station >= stations / 2 { "far" } else { "lan" };
    let port = |station: usize| {
        let (netns, dev, mac) = (netns(station), dev(station), written(address(station)));
        let ports = if station < plan.inside() { ports } else { Ports::AfXdp };
        let what = match ports {
            _ if station == plan.inside() && last == Last::Guest => {
                format!("kind: vhost-user, socket: {}", socket.display())
            }
            Ports::AfXdp => format!("kind: af_xdp, dev: t{station}"),
            Ports::Veth => format!("kind: veth, netns: {netns}, ifname: {dev}, mac: \"{mac}\""),
            Ports::Tap => format!("kind: tap, netns: {netns}, ifname: {dev}, mac: \"{mac}\""),
        };
        format!("  p{station}: {{ {what}, domain: {} }}\n", domain(station))
    };
    let all: String = (0..stations).map(port).collect();
    let wire = match layout {
        Layout::OneSwitch => "",
        Layout::TwoSwitches => {
            "  x0: { kind: af_xdp, dev: x0, domain: lan }\n  x1: { kind: af_xdp, dev: x1, domain: far }\n"
        }
    };
    let far = if layout == Layout::TwoSwitches { ", far: {}" } else { "" };
    format!(
        "name: bench\nworkers: [{SWITCH_CORE}]\npoll: {}\ndomains: {{ lan: {{ mtu: {mtu} }}{far} }}\nports:\n{all}{wire}",
        poll.name()
    )
}

impl Wires {
    fn pairs(&mut self, stations: usize, mtu: u32) -> Result<()> {
        for station in 0..stations {
            let (netns, dev, mac) = (netns(station), dev(station), written(address(station)));
            self.links.push(format!("t{station}"));
            ip(&format!(
                "link add t{station} mtu {mtu} {ONE_QUEUE} type veth peer name {dev} mtu {mtu} netns {netns} address {mac} {ONE_QUEUE}"
            ))?;
            ip(&format!("link set t{station} up"))?;
        }
        Ok(())
    }

    fn between(&mut self) -> Result<()> {
        self.links.push("x0".into());
        ip(&format!("link add x0 {ONE_QUEUE} type veth peer name x1 {ONE_QUEUE}"))?;
        ip("link set x0 up")?;
        ip("link set x1 up").map(drop)
    }

    fn bridge(&mut self, stations: usize, layout: Layout) -> Result<()> {
        self.bridges = if layout == Layout::TwoSwitches { 2 } else { 1 };
        for n in 0..self.bridges {
            self.links.push(format!("br{n}"));
            ip(&format!("link add br{n} type bridge stp_state 0 mcast_snooping 0"))?;
            ip(&format!("link set br{n} up"))?;
        }
        for station in 0..stations {
            ip(&format!("link set t{station} master br{}", station * self.bridges / stations))?;
        }
        for n in 0..if self.bridges == 2 { 2 } else { 0 } {
            ip(&format!("link set x{n} master br{n}"))?;
        }
        Ok(())
    }
}

impl Drop for Wires {
    fn drop(&mut self) {
        for link in self.links.iter().rev() {
            let _not_made = ip(&format!("link del {link}"));
        }
        for station in 0..self.stations {
            let _not_made = ip(&format!("netns del {}", netns(station)));
        }
    }
}
