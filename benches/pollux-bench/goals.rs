//! The goals of the design: ours beside theirs, and whether they are met.
//!
//! Everything is judged by pairs: what counts is the ratio of figures that were taken in the same round. A goal that is
//! missed by the median and reached by the better quarter of the rounds is within the noise.

use crate::report::{Better, Results, Section, Series, figure};
use crate::sample::{median, pairs, quantile};
use std::fmt::{self, Display, Write};

/// What our figure is compared with.
enum Against {
    /// Peers of the same section and work: so many times their figure. Without a factor they are only shown.
    Peers(&'static [(&'static str, Option<f64>)]),
    /// A figure; the peers are only shown.
    Figure(f64, &'static [&'static str]),
    /// So many times its own figure for another work.
    Itself(&'static str, f64),
}

struct Aim {
    what: &'static str,
    aim: &'static str,
    section: &'static str,
    work: &'static str,
    ours: &'static str,
    against: Against,
    /// What is known of peers that are not measured here.
    besides: &'static str,
}

const XDP: Against = Against::Peers(&[
    ("testpmd io", Some(1.0)),
    ("ovs afxdp", Some(1.0)),
    ("vpp l2", Some(1.0)),
    ("macvlan", Some(1.0)),
    ("bridge", Some(1.0)),
]);
const KERNELS: &[&str] = &["testpmd io", "ovs afxdp", "vpp l2", "bridge", "macvlan"];

const AIMS: [Aim; 11] = [
    Aim {
        what: "vhost-user, 64 B, closed loop, one core, learning",
        aim: "≥ testpmd, ≥ 1.4 × OVS",
        section: "vhost",
        work: "64 B",
        ours: "pollux vhost-user, busy",
        against: Against::Peers(&[("testpmd io, net_vhost", Some(1.0)), ("ovs dpdkvhostuser", Some(1.4))]),
        besides: "",
    },
    Aim {
        what: "AF_XDP, veth to veth, 64 B",
        aim: "≥ the best of them",
        section: "xdp",
        work: "64 B",
        ours: "pollux af_xdp, busy",
        against: XDP,
        besides: "",
    },
    Aim {
        what: "AF_XDP, veth to veth, 1500 B",
        aim: "≥ the best of them",
        section: "xdp",
        work: "1500 B",
        ours: "pollux af_xdp, busy",
        against: XDP,
        besides: "",
    },
    Aim {
        what: "CPU per frame at 100 kpps, 64 B, `economy`",
        aim: "the least of them",
        section: "cpu",
        work: "100 kpps",
        ours: "pollux af_xdp, economy",
        against: Against::Peers(&[("testpmd io", Some(1.0)), ("ovs afxdp", Some(1.0)), ("vpp l2", Some(1.0))]),
        besides: "",
    },
    Aim {
        what: "TCP over TAPs, one stream, offloads untouched",
        aim: "≥ 1.1 × the kernel bridge",
        section: "tcp",
        work: "1 stream",
        ours: "pollux tap, adaptive",
        against: Against::Peers(&[("bridge", Some(1.1)), ("macvlan", None)]),
        besides: "",
    },
    Aim {
        what: "TCP over veth, one stream, offloads untouched",
        aim: "≥ what AF_XDP peers reach with offloads off",
        section: "tcp",
        work: "1 stream",
        ours: "pollux veth, adaptive",
        against: Against::Peers(&[
            ("testpmd io", None),
            ("testpmd io, tx off", Some(1.0)),
            ("ovs afxdp", None),
            ("ovs afxdp, tx off", Some(1.0)),
            ("vpp l2", None),
            ("vpp l2, tx off", Some(1.0)),
        ]),
        besides: "",
    },
    Aim {
        what: "round trip at 1000 per second, busy",
        aim: "≤ 10 µs",
        section: "rtt",
        work: "1 k/s",
        ours: "pollux veth, busy",
        against: Against::Figure(10.0, KERNELS),
        besides: "",
    },
    Aim {
        what: "round trip at 1000 per second, adaptive: from sleep",
        aim: "≤ 50 µs",
        section: "rtt",
        work: "1 k/s",
        ours: "pollux veth, adaptive",
        against: Against::Figure(50.0, KERNELS),
        besides: "",
    },
    Aim {
        what: "in memory: learn, look up, sort; 1000 stations",
        aim: "≤ 60 cycles per frame",
        section: "pipeline",
        work: "burst of 32",
        ours: "pollux pipeline",
        against: Against::Figure(60.0, &[]),
        besides: "published: VPP ~100, grout 160",
    },
    Aim {
        what: "FDB with 1 M stations",
        aim: "≤ 2 × the cost with 1000",
        section: "fdb",
        work: "1 M",
        ours: "pollux fdb, burst of 32",
        against: Against::Itself("1 k", 2.0),
        besides: "published: VPP −37 % at 10 k",
    },
    Aim {
        what: "CPU of an idle switch with 8 ports",
        aim: "< 1 % of a core",
        section: "idle",
        work: "idle",
        ours: "pollux, adaptive",
        against: Against::Figure(1.0, KERNELS),
        besides: "testpmd, OVS: always poll",
    },
];

/// Whether a goal is met.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Met {
    /// It was not measured, or there is no peer to compare with.
    Unknown,
    /// It is.
    Yes,
    /// In the better quarter of the rounds.
    Near,
    /// It is not.
    No,
}

impl Display for Met {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Unknown => "not measured",
            Self::Yes => "yes",
            Self::Near => "within the noise",
            Self::No => "no",
        })
    }
}

/// A peer beside us.
#[derive(Clone, Debug)]
pub struct Peer {
    /// The peer, or another work of ours.
    pub name: String,
    /// Its figure.
    pub value: f64,
    /// Ours by its, by pairs.
    pub ratio: f64,
}

/// A row of the table.
#[derive(Debug)]
pub struct Goal {
    /// The work.
    pub what: &'static str,
    /// The aim.
    pub aim: &'static str,
    /// The same as a figure.
    pub line: Option<f64>,
    /// Our figure.
    pub value: Option<f64>,
    /// Its unit.
    pub unit: String,
    /// Which side of the aim is the good one.
    pub better: Better,
    /// The peers.
    pub theirs: Vec<Peer>,
    /// What is known of peers that are not measured here.
    pub besides: &'static str,
    /// Whether it is met.
    pub met: Met,
}

/// All goals, as far as they were measured.
pub fn goals(results: &Results) -> Vec<Goal> {
    AIMS.iter().map(|aim| aim.judge(results)).collect()
}

/// As a Markdown table.
pub fn markdown(results: &Results) -> String {
    let mut text = "### Goals\n\nOurs and theirs, medians; in brackets ours ÷ theirs by pairs of the same round.\n\n\
                    | goal | aim | ours | theirs | met? |\n|---|---|---|---|---|\n"
        .to_owned();
    for goal in goals(results) {
        let Goal { what, aim, met, .. } = &goal;
        // writing to a String does not fail
        let _ = writeln!(text, "| {what} | {aim} | {} | {} | {met} |", goal.ours(), goal.others());
    }
    text
}

impl Goal {
    /// Our figure with its unit.
    pub fn ours(&self) -> String {
        self.value.map_or_else(|| "–".to_owned(), |value| format!("{} {}", figure(value), self.unit))
    }

    /// The peers' figures, with the ratio of ours to each.
    pub fn others(&self) -> String {
        let peer = |peer: &Peer| format!("{} {} ({})", peer.name, figure(peer.value), figure(peer.ratio));
        let besides = (!self.besides.is_empty()).then(|| self.besides.to_owned());
        self.theirs.iter().map(peer).chain(besides).collect::<Vec<_>>().join(", ")
    }
}

impl Aim {
    fn judge(&self, results: &Results) -> Goal {
        let (what, aim, besides) = (self.what, self.aim, self.besides);
        let (unit, better, theirs, met) = (String::new(), Better::More, Vec::new(), Met::Unknown);
        let nothing = Goal { what, aim, line: None, value: None, unit, better, theirs, besides, met };
        let section = results.sections.iter().find(|section| section.name == self.section);
        let ours = section.and_then(|section| Some((section, section.find(self.ours, self.work)?)));
        match ours.filter(|(_, ours)| median(&ours.values).is_finite()) {
            Some((section, ours)) => {
                let (value, unit) = (Some(median(&ours.values)), section.unit.to_string());
                self.held_against(section, ours, Goal { value, unit, better: section.better, ..nothing })
            }
            None => nothing,
        }
    }

    /// Completes `goal` with the others and the verdict.
    fn held_against(&self, section: &Section, ours: &Series, goal: Goal) -> Goal {
        let known = |name: &str, work: &str| section.find(name, work).filter(|one| median(&one.values).is_finite());
        match &self.against {
            Against::Peers(list) => {
                let peers = list.iter().filter_map(|(name, factor)| Some((known(name, self.work)?, *factor)));
                against_peers(section.better, ours, &peers.collect::<Vec<_>>(), goal)
            }
            Against::Figure(aim, list) => {
                let peers = list.iter().filter_map(|name| known(name, self.work));
                let theirs = peers.map(|peer| beside(ours, peer, &peer.subject)).collect();
                Goal { theirs, line: Some(*aim), met: reached(section.better, &ours.values, *aim), ..goal }
            }
            Against::Itself(work, factor) => match known(self.ours, work) {
                Some(other) => {
                    let (theirs, line) = (vec![beside(ours, other, work)], Some(factor * median(&other.values)));
                    Goal { theirs, line, met: verdict(section.better, ours, other, Some(*factor)), ..goal }
                }
                None => goal,
            },
        }
    }
}

fn against_peers(better: Better, ours: &Series, peers: &[(&Series, Option<f64>)], goal: Goal) -> Goal {
    let lines = peers.iter().filter_map(|(peer, factor)| Some(median(&peer.values) * (*factor)?));
    let line = match better {
        Better::More => lines.reduce(f64::max),
        Better::Less => lines.reduce(f64::min),
    };
    let verdicts = peers.iter().map(|(peer, factor)| verdict(better, ours, peer, *factor));
    let met = verdicts.max().unwrap_or(Met::Unknown);
    let theirs = peers.iter().map(|(peer, _)| beside(ours, peer, &peer.subject)).collect();
    Goal { theirs, line, met, ..goal }
}

fn beside(ours: &Series, peer: &Series, name: &str) -> Peer {
    let ratio = median(&pairs(&ours.values, &peer.values));
    Peer { name: name.to_owned(), value: median(&peer.values), ratio }
}

fn verdict(better: Better, ours: &Series, peer: &Series, factor: Option<f64>) -> Met {
    factor.map_or(Met::Unknown, |factor| reached(better, &pairs(&ours.values, &peer.values), factor))
}

/// Whether values reach the aim.
fn reached(better: Better, values: &[f64], aim: f64) -> Met {
    let (good, reaches): (f64, fn(f64, f64) -> bool) = match better {
        Better::More => (0.75, |value, aim| value >= aim),
        Better::Less => (0.25, |value, aim| value <= aim),
    };
    match median(values) {
        middle if middle.is_nan() => Met::Unknown,
        middle if reaches(middle, aim) => Met::Yes,
        _ if reaches(quantile(values, good), aim) => Met::Near,
        _ => Met::No,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Map;

    fn results(ours: [f64; 3], testpmd: [f64; 3], ovs: [f64; 3]) -> Results {
        let of = [("pollux vhost-user, busy", ours), ("testpmd io, net_vhost", testpmd), ("ovs dpdkvhostuser", ovs)];
        let series = of.map(|(subject, values)| Series {
            subject: subject.into(),
            work: "64 B".into(),
            values: values.into(),
            ..Series::default()
        });
        let section =
            Section { name: "vhost".into(), unit: "Mpps".into(), series: series.into(), ..Section::default() };
        Results::new(Map::new(), vec![section])
    }

    #[test]
    fn a_goal_with_two_peers_is_met_when_both_are() {
        let met = |results| goals(&results)[0].met;
        assert_eq!(met(results([14.0; 3], [13.0; 3], [10.0; 3])), Met::Yes);
        assert_eq!(met(results([14.0; 3], [13.0; 3], [10.5; 3])), Met::No);
        assert_eq!(met(results([14.0; 3], [15.0, 14.1, 13.0], [8.0; 3])), Met::Near);
    }

    #[test]
    fn what_was_not_measured_is_said_to_be_so() {
        let goals = goals(&results([14.0; 3], [13.0; 3], [10.0; 3]));
        assert_eq!(goals[0].others(), "testpmd io, net_vhost 13.0 (1.08), ovs dpdkvhostuser 10.0 (1.40)");
        assert!(goals[1..].iter().all(|goal| goal.met == Met::Unknown));
    }
}
