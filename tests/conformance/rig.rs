//! What a scenario is played on: the kernel, or us.

use crate::frames;
use crate::script::{Outcome, Scenario, Sent, Step};
use crate::wire::Wire;
use std::collections::BTreeMap;

/// Something that joins ports.
pub trait Rig {
    /// The interface outside of each port, and where to see what came out of it.
    fn wires(&self) -> &BTreeMap<String, Vec<Wire>>;
    /// A frame is about to go in.
    fn sending(&mut self) {}
    /// Returns when every frame that went in has come out wherever it does.
    fn settle(&mut self);
    /// Obeys a `do` line.
    fn change(&mut self, words: &[&str]);
}

/// Plays a scenario: for each frame that went in, in order, what came out.
pub fn play(scenario: &Scenario, rig: &mut impl Rig) -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    rig.settle();
    collect(rig, None);
    for step in &scenario.steps {
        match step {
            Step::Do(words) => rig.change(&words.iter().map(String::as_str).collect::<Vec<_>>()),
            Step::Send(sent) => {
                rig.sending();
                let number = u32::try_from(outcomes.len()).expect("few frames");
                let wires = rig.wires().get(&sent.port).unwrap_or_else(|| panic!("no port {}", sent.port));
                let bytes = frames::bytes(sent, number);
                wires[0].send(&bytes);
                rig.settle();
                outcomes.push(collect(rig, Some((sent, number))));
            }
        }
    }
    outcomes
}

/// What has come out everywhere. A frame of an earlier step is a fault of the rig.
fn collect(rig: &impl Rig, of: Option<(&Sent, u32)>) -> Outcome {
    let mut copies = Vec::new();
    for (port, wires) in rig.wires() {
        for frame in wires.iter().flat_map(|wire| std::iter::from_fn(|| wire.receive())) {
            match (of, frames::read(&frame)) {
                (Some((sent, number)), Some((seen, _))) if seen == number => {
                    copies.push(frames::copy(sent, number, port, &frame));
                }
                (_, Some((seen, _))) if seen != u32::MAX => panic!("{port}: frame {seen} came too late"),
                _ => {}
            }
        }
    }
    Outcome::new(copies)
}
