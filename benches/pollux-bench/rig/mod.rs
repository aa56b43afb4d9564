//! A rig: two stations in namespaces of their own, and the subject that connects them.
//!
//! Station A owns `v1` in namespace plxb-a, station B owns `w1` in plxb-b, whatever the subject is. The peers get a veth
//! pair to each station (`v0` and `w0` are their ends). Pollux gets the same pairs by `af_xdp`, or creates its own
//! interfaces (`tap`, `veth`).
//!
//! To add a peer:
//! - add a variant to [`Subject`], with the name that tables show;
//! - make its interfaces in `wiring`;
//! - write `rig/PEER.rs`, which starts it on core 1 and ends it when dropped. Its database, sockets and configuration are in
//!   a directory of the run ([`World`]), never the system's;
//! - add it to the `SUBJECTS` of the cases it supports, and to `chosen` (`case/mod.rs`) if it may be missing;
//! - add its package to `PEERS` in the Makefile. A peer without a package is measured where its binary is named, as VPP is.
//!
//! If a peer works only with a feature turned off, the title of the section says so.

mod change;
pub mod crowd;
mod extent;
pub mod guests;
mod ovs;
mod pollux;
pub mod star;
mod testpmd;
mod vpp;
mod wiring;

pub use change::Change;
pub use ovs::installed as ovs_installed;
pub use pollux::{Daemon, Ledger, ask, warnings};
pub use testpmd::Load;

use crate::cpu;
use crate::failure::Result;
use crate::process::Job;
use crate::rounds::Findings;
use crate::world::{A, B, World};
use crowd::Crowd;
use extent::Extent;
use ovs::{Ovs, Wires};
use std::fmt;
use vpp::Vpp;

/// Core of the generator.
pub const LOAD_CORE: usize = 0;
/// Core of the switch.
pub const SWITCH_CORE: usize = 1;

/// Interface of station A.
pub const DEV_A: &str = "v1";
/// Interface of station B.
pub const DEV_B: &str = "w1";
/// Address of station A.
pub const MAC_A: &str = "02:00:00:00:0a:01";
/// Address of station B.
pub const MAC_B: &str = "02:00:00:00:0b:01";
/// The fixed destination of testpmd's flowgen; station B has it too.
pub const MAC_FLOWS: &str = "00:01:02:03:04:01";
/// IP address of station A.
pub const IP_A: &str = "10.77.0.1";
/// IP address of station B.
pub const IP_B: &str = "10.77.0.2";

/// What Pollux's ports are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ports {
    /// The ends of existing pairs.
    AfXdp,
    /// Pairs it makes.
    Veth,
    /// TAP interfaces it makes.
    Tap,
}

/// What an idle worker does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Poll {
    /// Spins, then sleeps.
    Adaptive,
    /// Sleeps.
    Economy,
    /// Spins.
    Busy,
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// Us.
    Pollux(Ports, Poll),
    /// DPDK's testpmd, AF_XDP, `io`: a static cross-connect that reads no frame.
    Testpmd,
    /// Open vSwitch, userspace datapath, AF_XDP.
    Ovs,
    /// VPP, AF_XDP: a bridge domain, which learns; if its binary is named.
    Vpp,
    /// An XDP program on each pair that redirects to the other: the kernel's shortest path, which reads no frame.
    XdpRedirect,
    /// The kernel's bridge.
    Bridge,
    /// The kernel's macvlan.
    Macvlan,
    /// One veth pair and no switch: the limit of generator and sink.
    Direct,
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Self::Pollux(ports, poll) => {
                let ports = match ports {
                    Ports::AfXdp => "af_xdp",
                    Ports::Veth => "veth",
                    Ports::Tap => "tap",
                };
                return f.pad(&format!("pollux {ports}, {}", poll.name()));
            }
            Self::Testpmd => "testpmd io",
            Self::Ovs => "ovs afxdp",
            Self::Vpp => "vpp l2",
            Self::XdpRedirect => "xdp redirect",
            Self::Bridge => "bridge",
            Self::Macvlan => "macvlan",
            Self::Direct => "no switch",
        };
        f.pad(name)
    }
}

impl Subject {
    /// Whether it forwards incomplete checksums, so that TCP moves nothing until `ethtool -K tx off`.
    pub fn needs_offloads_off(self) -> bool {
        matches!(self, Self::Testpmd | Self::Ovs | Self::Vpp | Self::XdpRedirect)
    }
}

impl Poll {
    /// As in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Adaptive => "adaptive",
            Self::Economy => "economy",
            Self::Busy => "busy",
        }
    }
}

/// What the stations do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stations {
    /// Raw frames from A to B.
    Frames,
    /// IP traffic; offloads are off where nothing would pass otherwise.
    Ip,
    /// The same, with default offloads.
    AsSet,
}

/// Two stations and the subject between them. Dropping it removes everything.
#[derive(Debug)]
pub struct Rig {
    // dropped in this order: nothing uses the interfaces when they are removed
    switch: Switch,
    _wiring: wiring::Wiring,
}

#[derive(Debug)]
enum Switch {
    Kernel,
    Testpmd(Job),
    Pollux(Daemon),
    Ovs(Ovs),
    Vpp(Vpp),
}

impl Rig {
    /// Connects the stations to `subject` and starts it.
    pub fn build(world: &World, subject: Subject, stations: Stations) -> Result<Self> {
        Self::wire(world, subject, stations, Extent::default())
    }

    /// The same among more ports.
    pub fn build_among(world: &World, subject: Subject, stations: Stations, crowd: Crowd) -> Result<Self> {
        Self::wire(world, subject, stations, Extent { among: Some(crowd), ..Extent::default() })
    }

    /// The same with a worker on each of these cores, and as many queues.
    pub fn build_on(world: &World, subject: Subject, stations: Stations, cores: &[usize]) -> Result<Self> {
        Self::wire(world, subject, stations, Extent { cores, ..Extent::default() })
    }

    fn wire(world: &World, subject: Subject, stations: Stations, extent: Extent<'_>) -> Result<Self> {
        let wiring = wiring::Wiring::lay(world, subject, stations, extent)?;
        let switch = match subject {
            Subject::Pollux(ports, poll) => {
                Switch::Pollux(Daemon::start(world, &pollux::between_stations(ports, poll, extent))?)
            }
            Subject::Testpmd => Switch::Testpmd(testpmd::switch(world)?),
            Subject::Ovs => Switch::Ovs(Ovs::start(world, Wires::Pairs(extent.crowd()), extent.cores)?),
            Subject::Vpp => Switch::Vpp(Vpp::start(world)?),
            Subject::XdpRedirect | Subject::Bridge | Subject::Macvlan | Subject::Direct => Switch::Kernel,
        };
        wiring::raise(subject, stations)?;
        extent.crowd().raise(world)?;
        Ok(Self { switch, _wiring: wiring })
    }

    /// Changes the MTU of both stations' interfaces.
    pub fn set_mtu(&self, mtu: u32) -> Result<()> {
        [(A, DEV_A), (B, DEV_B)]
            .iter()
            .try_for_each(|(netns, dev)| crate::process::ip(&format!("-n {netns} link set {dev} mtu {mtu}")).map(drop))
    }

    /// The switch's process; none if the kernel is the switch.
    pub fn pid(&self) -> Option<u32> {
        let pid = match &self.switch {
            Switch::Kernel => return None,
            Switch::Testpmd(job) => job.pid(),
            Switch::Pollux(daemon) => daemon.pid(),
            Switch::Ovs(ovs) => ovs.pid(),
            Switch::Vpp(vpp) => vpp.pid(),
        };
        Some(pid)
    }

    /// CPU time of the switch's process so far.
    pub fn cpu_ns(&self) -> Result<Option<u64>> {
        self.pid().map(cpu::of_process).transpose()
    }

    /// The subject's own counters, if it is ours.
    pub fn ledger(&self) -> Result<Option<Ledger>> {
        match &self.switch {
            Switch::Pollux(daemon) => daemon.ledger().map(Some),
            _ => Ok(None),
        }
    }

    /// Stops the subject, if it is ours; returns what was found. Traffic must have ended.
    pub fn inspect(self) -> Result<Findings> {
        match self.switch {
            Switch::Pollux(daemon) => daemon.close(),
            _ => Ok(Findings::default()),
        }
    }
}

/// Starts testpmd as generator in station A.
pub fn generator(world: &World, load: &Load<'_>) -> Result<Job> {
    testpmd::generator(world, load)
}
