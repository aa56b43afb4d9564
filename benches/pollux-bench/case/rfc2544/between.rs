//! What is between the two stations, and how it is brought up.

use crate::failure::{Result, fail};
use crate::process::wait_for;
use crate::rig::guests::{Middle, Server};
use crate::rig::star::{Plan, Star, address};
use crate::rig::{Ports, Rig, Stations, Subject, ovs_installed};
use crate::tester::{Ends, Tester, ends, mtu, one_way};
use crate::words::Size;
use crate::world::World;
use ::traffic::{Flow, Mac, Schedule, Sizes, Stream};
use std::fmt;
use std::time::Duration;

const SECOND: u64 = 1_000_000_000;
/// The usual MTU.
const MTU: u32 = 1500;
/// For frames to pass both ways.
const MEETING: Duration = Duration::from_secs(20);

/// A subject with two stations of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Between {
    /// Interfaces.
    Interfaces(Subject),
    /// Guests.
    Guests(Middle),
    /// Guests, and no switch.
    Wire,
}

/// A rig's tester, and the addresses of its stations.
pub struct Bench {
    pub tester: Tester,
    pub ends: [Mac; 2],
}

impl fmt::Display for Between {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Interfaces(subject) => subject.fmt(f),
            Self::Guests(middle) => middle.fmt(f),
            Self::Wire => f.pad("no switch, guests"),
        }
    }
}

impl Between {
    /// Whether it can be measured here.
    pub fn is_installed(self) -> bool {
        !matches!(self, Self::Interfaces(Subject::Ovs) | Self::Guests(Middle::Ovs)) || ovs_installed()
    }

    /// The kind of its stations.
    pub fn ends(self) -> Ends {
        match self {
            Self::Interfaces(_) => Ends::Interfaces,
            Self::Guests(_) | Self::Wire => Ends::Guests,
        }
    }

    /// Whether the subject is configured for frames of this length; peers that need options for it are not.
    pub fn fits(self, size: Size) -> bool {
        use Subject::{Bridge, Direct, Pollux};
        let any_mtu =
            matches!(self, Self::Interfaces(Pollux(..) | Bridge | Direct) | Self::Guests(Middle::Pollux) | Self::Wire);
        any_mtu || mtu(size.0) == MTU
    }

    /// Whether its end of the pair takes XDP frames, because it has an XDP program of its own.
    pub fn takes_floods(self) -> bool {
        use Subject::{Direct, Ovs, Pollux, Testpmd};
        matches!(self, Self::Interfaces(Pollux(Ports::Veth | Ports::AfXdp, _) | Testpmd | Ovs | Direct))
    }

    /// Brings it up; the switch knows all addresses.
    pub fn open(self, world: &World, size: Size) -> Result<Bench> {
        let mut bench = match self {
            Self::Interfaces(subject) => interfaces(world, subject, mtu(size.0))?,
            Self::Guests(middle) => {
                Bench { tester: Tester::guests(Server::start(world, middle, mtu(size.0))?)?, ends: ends() }
            }
            Self::Wire => Bench { tester: Tester::wired()?, ends: ends() },
        };
        match self {
            // whether they arrive does not matter
            Self::Interfaces(_) => bench.greet(size).map(drop)?,
            Self::Guests(_) | Self::Wire => bench.meet(size)?,
        }
        Ok(bench)
    }
}

fn interfaces(world: &World, subject: Subject, mtu: u32) -> Result<Bench> {
    if mtu == MTU || subject == Subject::Direct {
        let rig = Rig::build(world, subject, Stations::Frames)?;
        rig.set_mtu(mtu)?;
        return Ok(Bench { tester: Tester::open(rig)?, ends: ends() });
    }
    let star = Star::build(world, subject, Plan { mtu, ..Plan::of(2) })?;
    Ok(Bench { tester: Tester::around(star, 2)?, ends: [0, 1].map(address) })
}

impl Bench {
    /// A few frames each way, so that the switch knows all addresses; whether all arrived.
    fn greet(&mut self, size: Size) -> Result<bool> {
        let schedule = || Schedule::paced(1000, SECOND / 20);
        let back = Stream::new(1, self.ends[1], self.ends[0], Sizes::Fixed(64));
        let flows = vec![
            one_way(self.ends, size.0, schedule()),
            Flow { stream: back, schedule: schedule(), from: 1, to: vec![0] },
        ];
        Ok(self.tester.trial(flows)?.lost() == 0)
    }

    /// The peers put a port into service some time after its guest has connected.
    fn meet(&mut self, size: Size) -> Result<()> {
        let met = wait_for(MEETING, || Ok(self.greet(size)?.then_some(())))?;
        met.map_or_else(|| fail("nothing passes between the guests"), Ok)
    }
}
