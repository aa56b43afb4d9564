//! RFC 2889 with four stations around a switch: its ten tests, as far as they apply to virtual ports.
//!
//! | RFC 2889 | here |
//! |---|---|
//! | 5.1, 5.2, 5.4 meshed traffic | `mesh`, `one to many`, `many to one`, `one way`: rate without loss |
//! | 5.3 two devices | `two switches`: two domains (or bridges), half of the stations on each, a veth pair between |
//! | 5.5 congestion | `congestion`: loss at a free port beside one (a TAP's, a guest's) that is offered one and a half times its line rate |
//! | 5.6 forward pressure, maximum rate | FRMOL and MFR; a virtual port has no interframe gap |
//! | 5.7, 5.8 address caching, learning rate | `capacity`, `learning`: until frames to an address show at a third station |
//! | 5.9 errored frames | `errors`: share that arrives of frames with a group or zero source, cut within a tag, PAUSE, to a reserved group |
//! | 5.10 broadcast | `broadcast`: rate and latency |

mod congestion;
mod errors;
mod flows;
mod learning;

use super::rfc2544::{rate_facts, whole};
use super::{chosen, names};
use crate::cli::Options;
use crate::failure::Result;
use crate::report::{Better, Section};
use crate::rig::star::{Last, Layout, Plan, Star};
use crate::rig::{Poll, Ports, Subject};
use crate::rounds::{Course, Reading, Taken};
use crate::tester::{Effort, Tester};
use crate::world::World;
use ::traffic::{Flow, Schedule};
use flows::{Pattern, greetings};
use std::fmt;

/// Around the switch.
pub const STATIONS: usize = 4;
const SUBJECTS: [Subject; 4] = [
    Subject::Pollux(Ports::Veth, Poll::Busy),
    Subject::Pollux(Ports::AfXdp, Poll::Busy),
    Subject::Pollux(Ports::Tap, Poll::Busy),
    Subject::Bridge,
];

/// A test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Work {
    Rate(Pattern),
    Capacity,
    Learning,
    Errors,
    Congestion(Last),
}

const WORKS: [Work; 11] = [
    Work::Rate(Pattern::Mesh),
    Work::Rate(Pattern::OneToMany),
    Work::Rate(Pattern::ManyToOne),
    Work::Rate(Pattern::OneWay),
    Work::Rate(Pattern::TwoSwitches),
    Work::Rate(Pattern::Broadcast),
    Work::Capacity,
    Work::Learning,
    Work::Errors,
    Work::Congestion(Last::Tap),
    Work::Congestion(Last::Guest),
];

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rate(pattern) => pattern.fmt(f),
            Self::Capacity => f.write_str("capacity"),
            Self::Learning => f.write_str("learning"),
            Self::Errors => f.write_str("errors"),
            Self::Congestion(Last::Guest) => f.write_str("congestion, guest"),
            Self::Congestion(_) => f.write_str("congestion"),
        }
    }
}

impl Work {
    /// What it needs around the switch.
    fn plan(self) -> Plan {
        let plan = Plan::of(STATIONS);
        match self {
            Self::Rate(Pattern::TwoSwitches) => Plan { layout: Layout::TwoSwitches, ..plan },
            Self::Congestion(last) => Plan { last, ..plan },
            _ => plan,
        }
    }

    /// Whether the subject has what it needs: a bridge has no guests.
    fn fits(self, subject: Subject) -> bool {
        self != Self::Congestion(Last::Guest) || matches!(subject, Subject::Pollux(..))
    }
}

/// The section of a reading; in the order of [`sections`].
const RATES: usize = 0;
const LATENCY: usize = 1;
const CAPACITY: usize = 2;
const LEARNING: usize = 3;
const ERRORS: usize = 4;
const CONGESTION: usize = 5;

pub fn measure(world: &World, options: &Options) -> Result<Vec<Section>> {
    let subjects = chosen(&SUBJECTS, options)?;
    let mut sections = sections(&subjects);
    let effort = Effort::of(options);
    let course = Course { rounds: options.rounds, subjects: &subjects, works: &WORKS };
    course.run_all(&mut sections, |subject, work| {
        if !work.fits(*subject) {
            return Ok(Vec::new());
        }
        let star = Star::build(world, *subject, work.plan())?;
        let mut tester = Tester::around(star, STATIONS)?;
        tester.trial(greetings())?;
        let mut taken = match work {
            Work::Rate(pattern) => rate(&mut tester, effort, *pattern)?,
            Work::Capacity => vec![learning::capacity(&mut tester, options)?],
            Work::Learning => vec![learning::rate(&mut tester, effort)?],
            Work::Errors => errors::all(&mut tester)?,
            Work::Congestion(_) => vec![congestion::measure(&mut tester, effort, work.to_string())?],
        };
        let findings = tester.close()?;
        if let Some(Ok(reading)) = taken.first_mut().map(|taken| &mut taken.reading) {
            reading.findings.faults.extend(findings.faults);
            reading.findings.remarks.extend(findings.remarks);
        }
        Ok(taken)
    });
    Ok(sections)
}

fn section(name: &'static str, title: &'static str, unit: &'static str, better: Better) -> Section {
    Section { name: name.into(), title: title.into(), unit: unit.into(), better, ..Section::default() }
}

fn sections(subjects: &[Subject]) -> Vec<Section> {
    let mut all = vec![
        section(
            "rfc2889",
            "Highest rate offered without loss, all flows together, 64 B, four stations, one thread on core 0 sends and \
             receives for all of them, switch on core 1. FRMOL: delivered when the most is offered; MFR: the most delivered.",
            "Mpps",
            Better::More,
        ),
        section(
            "rfc2889 broadcast latency",
            "From the moment a broadcast was due until it reached each of the three others, at half the rate without loss.",
            "µs",
            Better::Less,
        ),
        section(
            "rfc2889 address caching",
            "Addresses learned at one port without frames to any of them showing at a third.",
            "k addresses",
            Better::More,
        ),
        section(
            "rfc2889 learning rate",
            "New addresses per second that are all known afterwards.",
            "k/s",
            Better::More,
        ),
        section("rfc2889 errored frames", "Share of wrong frames that arrived anywhere.", "%", Better::Less),
        section(
            "rfc2889 congestion",
            "Share of frames lost at a free port (head-of-line blocking) while another, a TAP's or a guest's that takes 50 000 frames \
             per second, is offered 75 000. Latency is the free port's; `open`: the same frames while the other takes them all.",
            "%",
            Better::Less,
        ),
    ];
    let bridge = names(&[Subject::Bridge]);
    if subjects.contains(&Subject::Bridge) {
        all.iter_mut().take(ERRORS).for_each(|section| section.references = bridge.clone());
    }
    all
}

/// The rate of a pattern without loss, and for broadcasts the latency at half of it.
fn rate(tester: &mut Tester, effort: Effort, pattern: Pattern) -> Result<Vec<Taken>> {
    let flows = |rate: f64| pattern.flows(rate, effort.trial);
    let rates = tester.search(effort.search(), &[0.0, 0.005], flows)?;
    let mut taken = vec![Taken { section: RATES, work: pattern.to_string(), reading: Ok(rate_facts(&rates)) }];
    if pattern == Pattern::Broadcast {
        let mut flows = pattern.flows(rates.found[0].rate / 2.0, effort.trial);
        flows.iter_mut().for_each(|flow| flow.stream.timed = true);
        let latency = tester.trial(flows)?.latency();
        let value = latency.value_at_quantile(0.5) as f64 / 1e3;
        let reading = Ok(Reading { value, latency: Some(latency), ..Reading::default() });
        taken.push(Taken { section: LATENCY, work: "broadcast at 50 %".into(), reading });
    }
    Ok(taken)
}

/// `frames` of a flow at a rate, whole.
fn counted(rate: f64, frames: u64) -> Schedule {
    Schedule::new([::traffic::Phase { frames, rate: whole(rate).max(1), burst: 1 }])
}

/// A flow of its own.
fn alone(flow: Flow) -> Vec<Flow> {
    vec![flow]
}
