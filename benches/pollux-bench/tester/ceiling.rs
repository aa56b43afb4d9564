//! The rate of generator and sink without a switch: a figure near it says nothing of the switch.

use super::{Effort, Tester};
use crate::failure::Result;
use crate::rig::{MAC_A, MAC_B, Rig, Stations, Subject};
use crate::sample::median;
use crate::world::World;
use ::traffic::{Flow, Mac, Schedule, Sizes, Stream};

/// A rate above this share of the ceiling is the generator's, not the switch's.
pub const GENERATOR_BOUND: f64 = 0.95;
const TRIALS: usize = 3;

/// The kind of the stations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ends {
    /// Interfaces: of a veth pair, without a switch.
    Interfaces,
    /// Guests: [directly connected](super::wire).
    Guests,
}

/// Frames per second from one end to the other, by ends and size; each measured once.
#[derive(Debug, Default)]
pub struct Ceilings {
    known: Vec<((Ends, Sizes), f64)>,
}

impl Ceilings {
    /// That of stations and a size.
    pub fn of(&mut self, world: &World, effort: Effort, ends: Ends, sizes: Sizes) -> Result<f64> {
        if let Some((_, rate)) = self.known.iter().find(|(known, _)| *known == (ends, sizes)) {
            return Ok(*rate);
        }
        let rate = measure(opened(world, ends, sizes)?, effort, sizes)?;
        eprintln!("  generator to sink, {ends:?}, no switch: {:.3} Mpps", rate / 1e6);
        self.known.push(((ends, sizes), rate));
        Ok(rate)
    }
}

/// That takes frames of these sizes.
pub fn mtu(sizes: Sizes) -> u32 {
    const HEADER_AND_FCS: u16 = 18;
    u32::from(sizes.longest() - HEADER_AND_FCS).max(1500)
}

fn opened(world: &World, ends: Ends, sizes: Sizes) -> Result<Tester> {
    if ends == Ends::Guests {
        return Tester::wired();
    }
    let rig = Rig::build(world, Subject::Direct, Stations::Frames)?;
    rig.set_mtu(mtu(sizes))?;
    Tester::open(rig)
}

/// The median of a few trials at more than the sender can do.
fn measure(mut tester: Tester, effort: Effort, sizes: Sizes) -> Result<f64> {
    let flow = || one_way(ends(), sizes, Schedule::paced(20_000_000, effort.trial));
    let rates: Result<Vec<f64>> = (0..TRIALS).map(|_| Ok(tester.trial(vec![flow()])?.forwarded())).collect();
    Ok(median(&rates?))
}

/// From the first station to the second.
pub fn one_way(ends: [Mac; 2], sizes: Sizes, schedule: Schedule) -> Flow {
    Flow { stream: Stream::new(0, ends[0], ends[1], sizes), schedule, from: 0, to: vec![1] }
}

/// Addresses of the stations of a rig of two.
pub fn ends() -> [Mac; 2] {
    [MAC_A, MAC_B].map(super::mac)
}
