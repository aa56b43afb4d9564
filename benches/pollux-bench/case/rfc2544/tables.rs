//! The tables, in this order: those of interfaces, then those of guests.

use super::between::Between;
use crate::case::names;
use crate::report::{Better, Section};
use crate::rig::Subject;
use crate::rig::guests::Middle;
use crate::tester::Ends;

/// Rate without loss.
pub const THROUGHPUT: usize = 0;
/// Latency at shares of it.
pub const LATENCY: usize = 1;
/// Longest burst.
pub const BURST: usize = 2;
/// After overload.
pub const RECOVERY: usize = 3;

const PEERS: [Between; 5] = [
    Between::Interfaces(Subject::Testpmd),
    Between::Interfaces(Subject::Ovs),
    Between::Interfaces(Subject::Bridge),
    Between::Guests(Middle::Testpmd),
    Between::Guests(Middle::Ovs),
];

/// Of the tables of such stations.
pub fn first(ends: Ends) -> usize {
    match ends {
        Ends::Interfaces => 0,
        Ends::Guests => RECOVERY + 1,
    }
}

/// Without rows.
pub fn empty(subjects: &[Between]) -> Vec<Section> {
    let all = |ends| {
        let mut peers = PEERS.to_vec();
        peers.retain(|peer| peer.ends() == ends && subjects.contains(peer));
        let references = names(&peers);
        KINDS.map(|kind| kind.table(ends, references.clone()))
    };
    [Ends::Interfaces, Ends::Guests].map(all).into_iter().flatten().collect()
}

/// A table, of interfaces and of guests.
struct Kind {
    names: [&'static str; 2],
    titles: [&'static str; 2],
    unit: &'static str,
    better: Better,
}

const KINDS: [Kind; 4] = [
    Kind {
        names: ["rfc2544", "rfc2544 guests"],
        titles: [
            "Highest rate without loss (NDR), one direction, generator and sink one thread on core 0, switch on core 1. PDR: \
             with 0.5 % loss; FRMOL: delivered when the most is offered; MFR: the most delivered.",
            "The same between two vhost-user ports: the stations are guests, virtio drivers of the tester's own with rings of \
             1024. % of generator: of two such guests with a wire between them, a thread on core 1 that copies frames.",
        ],
        unit: "Mpps",
        better: Better::More,
    },
    Kind {
        names: ["rfc2544 latency", "rfc2544 guests latency"],
        titles: [
            "From the moment a frame was due until it reached the receiver's interface, at shares of the rate without loss.",
            "From the moment a frame was due until the receiving guest looked and saw it, at shares of the rate without loss.",
        ],
        unit: "µs",
        better: Better::Less,
    },
    Kind {
        names: ["rfc2544 back-to-back", "rfc2544 guests back-to-back"],
        titles: ["Longest burst without loss, sent as fast as the generator can."; 2],
        unit: "k frames",
        better: Better::More,
    },
    Kind {
        names: ["rfc2544 recovery", "rfc2544 guests recovery"],
        titles: ["From the end of an overload (110 % of the rate without loss) to the last frame lost, at half of that rate.";
            2],
        unit: "ms",
        better: Better::Less,
    },
];

impl Kind {
    fn table(self, ends: Ends, references: Vec<String>) -> Section {
        let of = |words: [&'static str; 2]| match ends {
            Ends::Interfaces => words[0].into(),
            Ends::Guests => words[1].into(),
        };
        Section {
            name: of(self.names),
            title: of(self.titles),
            unit: self.unit.into(),
            better: self.better,
            references,
            ..Section::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_peers_that_are_measured_are_compared_with() {
        let tables = empty(&[Between::Interfaces(Subject::Bridge), Between::Guests(Middle::Ovs)]);
        assert_eq!(tables[THROUGHPUT].references, ["bridge"]);
        assert_eq!(tables[first(Ends::Guests) + LATENCY].references, ["ovs dpdkvhostuser"]);
        assert_eq!(tables[first(Ends::Guests) + RECOVERY].name, "rfc2544 guests recovery");
    }
}
