//! The tables, in this order.

use crate::case::names;
use crate::report::{Better, Section};
use crate::rig::Subject;

/// Rate without loss.
pub const THROUGHPUT: usize = 0;
/// Latency at shares of it.
pub const LATENCY: usize = 1;
/// Longest burst.
pub const BURST: usize = 2;
/// After overload.
pub const RECOVERY: usize = 3;

/// Without rows.
pub fn empty(subjects: &[Subject]) -> Vec<Section> {
    let mut references = names(&[Subject::Testpmd, Subject::Ovs, Subject::Bridge]);
    references.retain(|reference| subjects.iter().any(|subject| subject.to_string() == *reference));
    let table = |name: &'static str, title: &'static str, unit: &'static str, better| Section {
        name: name.into(),
        title: title.into(),
        unit: unit.into(),
        better,
        references: references.clone(),
        ..Section::default()
    };
    vec![
        table(
            "rfc2544",
            "Highest rate without loss (NDR), one direction, generator and sink one thread on core 0, switch on core 1. PDR: \
             with 0.5 % loss; FRMOL: delivered when the most is offered; MFR: the most delivered.",
            "Mpps",
            Better::More,
        ),
        table(
            "rfc2544 latency",
            "From the moment a frame was due until it reached the receiver's interface, at shares of the rate without loss.",
            "µs",
            Better::Less,
        ),
        table(
            "rfc2544 back-to-back",
            "Longest burst without loss, sent as fast as the generator can.",
            "k frames",
            Better::More,
        ),
        table(
            "rfc2544 recovery",
            "From the end of an overload (110 % of the rate without loss) to the last frame lost, at half of that rate.",
            "ms",
            Better::Less,
        ),
    ]
}
