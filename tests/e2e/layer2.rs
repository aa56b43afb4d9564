//! The examples of layer 2 in configs/, each as it stands, with real kernels at its ends.

mod address;
mod guards;
mod macvlan;
mod mirror;
mod snooping;
mod vlan;

use crate::common::world::inside;
use crate::lab::{balanced, pollux};
use crate::wire::{Sight, Wire};
use std::path::Path;

/// An example that is up.
struct Example(String);

impl Example {
    fn up(name: &str) -> Self {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs").join(name);
        let file = file.to_str().expect("a path of text").to_owned();
        pollux(&["lab", "up", &file]).ok();
        Self(file)
    }

    /// Takes it down after checking the books; every frame must have come home.
    fn down(self) {
        balanced();
        let said = pollux(&["lab", "down", &self.0]).ok();
        assert!(said.contains("frames came home"), "{said}");
    }
}

/// The interface in a node, whose stack goes on speaking.
fn wire(node: &str) -> Wire {
    inside(node, || Wire::open("eth0", Sight::All))
}

/// The next frame of a test that has come in, if one has.
fn heard(wire: &Wire) -> Option<Vec<u8>> {
    std::iter::from_fn(|| wire.receive()).find(|frame| is_ours(frame))
}

/// Whether a frame is of a test: its EtherType is behind its tags.
fn is_ours(frame: &[u8]) -> bool {
    let tags = (0..3).take_while(|n| {
        frame.get(12 + 4 * n).is_some_and(|byte| [0x81, 0x88].contains(byte) && frame[13 + 4 * n] != 0xb5)
    });
    let at = 12 + 4 * tags.count();
    frame.get(at..at + 2) == Some(&crate::common::ETHERTYPE)
}
