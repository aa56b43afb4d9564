//! A subject with two vhost-user ports, at whose sockets it listens for guests.

mod circuit;

pub use circuit::Loop;

use super::ovs::{Ovs, Wires};
use super::pollux::{Daemon, Ledger};
use super::{LOAD_CORE, SWITCH_CORE};
use crate::failure::{During, Failure, Result};
use crate::process::{Job, wait_for};
use crate::rounds::Findings;
use crate::world::World;
use ::traffic::{Station, TrafficError};
use std::fmt;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

const STARTING: Duration = Duration::from_secs(20);
/// Descriptors of each ring, on both sides.
const RINGS: [&str; 2] = ["--rxd=1024", "--txd=1024"];

/// What is between two vhost-user ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Middle {
    /// Us: a learning domain.
    Pollux,
    /// testpmd `io` on net_vhost: a cross-connect that reads no frame.
    Testpmd,
    /// Open vSwitch with DPDK: the NORMAL action, which learns.
    Ovs,
}

impl fmt::Display for Middle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Pollux => "pollux vhost-user, busy",
            Self::Testpmd => "testpmd io, net_vhost",
            Self::Ovs => "ovs dpdkvhostuser",
        })
    }
}

/// The subject, without guests. Dropping it ends it.
#[derive(Debug)]
pub struct Server {
    switch: Switch,
    sockets: [PathBuf; 2],
}

#[derive(Debug)]
enum Switch {
    Pollux(Daemon),
    Other { _job: Job },
    Ovs { _ovs: Ovs },
}

impl Server {
    /// Starts the subject, for guests of an MTU; its sockets are there.
    pub fn start(world: &World, middle: Middle, mtu: u32) -> Result<Self> {
        let directory = match middle {
            // where it puts its sockets
            Middle::Ovs => world.directory.join("ovs"),
            _ => world.directory.clone(),
        };
        let sockets = ["vm1", "vm2"].map(|name| directory.join(name));
        for socket in &sockets {
            // of the round before
            let _not_there = std::fs::remove_file(socket);
        }
        let switch = Switch::start(world, middle, &sockets, mtu)?;
        for socket in &sockets {
            let there = wait_for(STARTING, || Ok(socket.exists().then_some(())))?;
            there.ok_or_else(|| Failure(format!("{middle} made no {}", socket.display())))?;
        }
        Ok(Self { switch, sockets })
    }

    /// Where it listens.
    pub fn sockets(&self) -> &[PathBuf; 2] {
        &self.sockets
    }

    /// The subject's own counters, if it is ours.
    pub fn ledger(&self) -> Result<Option<Ledger>> {
        match &self.switch {
            Switch::Pollux(daemon) => daemon.ledger().map(Some),
            _ => Ok(None),
        }
    }

    /// Stops it, once the guests are gone; returns what was found.
    pub fn inspect(self) -> Result<Findings> {
        match self.switch {
            // guests that disconnect are no fault
            Switch::Pollux(daemon) => daemon.close().map(|mut findings| {
                findings.faults.retain(|fault| !fault.contains("guest is down"));
                findings
            }),
            Switch::Other { .. } | Switch::Ovs { .. } => Ok(Findings::default()),
        }
    }
}

impl Switch {
    fn start(world: &World, middle: Middle, sockets: &[PathBuf; 2], mtu: u32) -> Result<Self> {
        let sockets = sockets.each_ref().map(|socket| socket.display().to_string());
        Ok(match middle {
            Middle::Pollux => Self::Pollux(Daemon::start(world, &configuration(&sockets, mtu))?),
            Middle::Testpmd => Self::Other { _job: testpmd(world, &sockets)? },
            Middle::Ovs => Self::Ovs { _ovs: Ovs::start(world, Wires::Guests, &[SWITCH_CORE])? },
        })
    }
}

fn configuration([one, two]: &[String; 2], mtu: u32) -> String {
    let port = |socket: &str| format!("{{ kind: vhost-user, socket: {socket}, domain: lan }}");
    let (one, two) = (port(one), port(two));
    format!(
        "name: bench\nworkers: [{SWITCH_CORE}]\npoll: busy\ndomains: {{ lan: {{ mtu: {mtu} }} }}\nports:\n  a: {one}\n  b: {two}\n"
    )
}

fn testpmd(world: &World, [one, two]: &[String; 2]) -> Result<Job> {
    let lcores = format!("0@{LOAD_CORE},1@{SWITCH_CORE}");
    let devices = [format!("--vdev=net_vhost0,iface={one}"), format!("--vdev=net_vhost1,iface={two}")];
    let eal = super::testpmd::eal(world, &lcores, "switch");
    let more = ["--", "--forward-mode=io", "--auto-start", "--total-num-mbufs=8192"];
    let argv = [&eal[..], &[&devices[0], &devices[1]], &more, &RINGS, &["--stats-period", "1000"]].concat();
    Job::start(&world.directory, "testpmd", &argv)
}

/// A guest of the switch at `socket`, as soon as it listens.
pub fn join(socket: &Path) -> Result<Station> {
    let early = |error: &TrafficError| match error {
        TrafficError::Guest { source, .. } => source.kind() == ErrorKind::ConnectionRefused,
        _ => false,
    };
    let connected = wait_for(STARTING, || match Station::guest(socket) {
        Err(error) if early(&error) => Ok(None),
        done => done.during("a guest").map(Some),
    })?;
    connected.ok_or_else(|| Failure(format!("nobody listens at {}", socket.display())))
}
