//! The flows of each test: from which station to which.

use super::STATIONS;
use crate::rig::star::address;
use ::traffic::{Flow, Mac, Schedule, Sizes, Stream};
use std::fmt;

const EVERYBODY: Mac = [0xff; 6];
const SECOND: u64 = 1_000_000_000;
const SIZE: Sizes = Sizes::Fixed(64);

/// Traffic between all stations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// Every station to all others (5.1).
    Mesh,
    /// The first to all others (5.2).
    OneToMany,
    /// All others to the first (5.2).
    ManyToOne,
    /// The first half to the second (5.4).
    OneWay,
    /// The first half and the second, on switches of their own, to each other (5.3).
    TwoSwitches,
    /// The first to all others by broadcast (5.10).
    Broadcast,
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Mesh => "mesh",
            Self::OneToMany => "one to many",
            Self::ManyToOne => "many to one",
            Self::OneWay => "one way",
            Self::TwoSwitches => "two switches",
            Self::Broadcast => "broadcast",
        })
    }
}

impl Pattern {
    fn has(self, from: usize, to: usize) -> bool {
        let second_half = |station| station >= STATIONS / 2;
        match self {
            Self::Mesh => true,
            Self::OneToMany | Self::Broadcast => from == 0,
            Self::ManyToOne => to == 0,
            Self::OneWay => !second_half(from) && second_half(to),
            Self::TwoSwitches => second_half(from) != second_half(to),
        }
    }

    /// Its flows at a rate over all of them, for `time` nanoseconds.
    pub fn flows(self, rate: f64, time: u64) -> Vec<Flow> {
        if self == Self::Broadcast {
            return vec![broadcast(0, Schedule::paced(super::whole(rate), time))];
        }
        let all = (0..STATIONS).flat_map(|from| (0..STATIONS).map(move |to| (from, to)));
        let pairs: Vec<_> = all.filter(|(from, to)| from != to && self.has(*from, *to)).collect();
        let each = super::whole(rate / pairs.len() as f64);
        pairs.iter().map(|(from, to)| flow(*from, *to, Schedule::paced(each, time))).collect()
    }
}

/// From one station to another.
pub fn flow(from: usize, to: usize, schedule: Schedule) -> Flow {
    let stream = Stream::new(0, address(from), address(to), SIZE);
    Flow { stream, schedule, from, to: vec![to] }
}

/// From one station to all others.
pub fn broadcast(from: usize, schedule: Schedule) -> Flow {
    let stream = Stream::new(0, address(from), EVERYBODY, SIZE);
    let to = (0..STATIONS).filter(|to| *to != from).collect();
    Flow { stream, schedule, from, to }
}

/// A few broadcasts of every station, so that the switch knows all of them.
pub fn greetings() -> Vec<Flow> {
    (0..STATIONS).map(|from| broadcast(from, Schedule::paced(500, SECOND / 50))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_have_the_flows_of_the_rfc() {
        let count = |pattern: Pattern| pattern.flows(1e6, SECOND).len();
        assert_eq!((count(Pattern::Mesh), count(Pattern::OneToMany), count(Pattern::ManyToOne)), (12, 3, 3));
        assert_eq!((count(Pattern::OneWay), count(Pattern::TwoSwitches), count(Pattern::Broadcast)), (4, 8, 1));
        let mesh = Pattern::Mesh.flows(1.2e6, SECOND);
        assert!(mesh.iter().all(|flow| flow.schedule.frames() == 100_000 && flow.to != [flow.from]));
    }
}
