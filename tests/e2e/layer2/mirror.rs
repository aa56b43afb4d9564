//! Mirrors: copies of what they say and of nothing else.

use super::{Example, heard, wire};
use crate::common::world::world;
use crate::common::{frame, wait_for, wait_until};
use crate::lab::{ask, drops};
use crate::traffic::ping;
use crate::wire::Wire;

const STATION: [u8; 6] = [0x02, 0, 0, 0, 8, 1];
const PEER: [u8; 6] = [0x02, 0, 0, 0, 8, 2];

fn hears(name: &str, wire: &Wire, wanted: &[u8]) {
    let got = wait_for(&format!("a frame at {name}"), || heard(wire));
    assert!(got == wanted, "{name} heard {got:02x?}");
}

#[test]
fn a_mirror_copies_what_it_says() {
    world("a_mirror_copies_what_it_says", || {
        let lab = Example::up("mirror.yaml");
        ping("h1", "10.0.0.2");
        ping("d1", "10.1.0.2");
        let [h1, h2, h3, d1, d2, mon, mon2] = ["h1", "h2", "h3", "d1", "d2", "mon", "mon2"].map(wire);
        // into h1, and, flooded by h2, out of it
        let sent = frame([0xff; 6], STATION, 1, 100);
        h1.send(&sent);
        [("h2", &h2), ("h3", &h3), ("mon", &mon)].iter().for_each(|(name, wire)| hears(name, wire, &sent));
        let sent = frame([0xff; 6], PEER, 2, 100);
        h2.send(&sent);
        [("h1", &h1), ("h3", &h3), ("mon", &mon)].iter().for_each(|(name, wire)| hears(name, wire, &sent));
        // between others: no copy, or it would come before the next
        let sent = frame(PEER, [0x02, 0, 0, 0, 8, 3], 3, 100);
        h3.send(&sent);
        hears("h2", &h2, &sent);
        let sent = frame(PEER, STATION, 4, 1500);
        h1.send(&sent);
        hears("h2", &h2, &sent);
        hears("mon", &mon, &sent);
        let sent = frame([0xff; 6], STATION, 5, 60);
        d1.send(&sent);
        [("d2", &d2), ("mon2", &mon2)].iter().for_each(|(name, wire)| hears(name, wire, &sent));
        nothing_comes_back(&mon, &h1, &h2);
        assert!(heard(&mon).is_none() && heard(&mon2).is_none() && heard(&d1).is_none(), "one copy of each");
        lab.down();
    });
}

/// What a mirror's port sends is dropped, by name.
fn nothing_comes_back(mon: &Wire, h1: &Wire, h2: &Wire) {
    let before = drops("mon", "mirror_port");
    mon.send(&frame([0xff; 6], STATION, 6, 60));
    wait_until("the frame to be dropped", || drops("mon", "mirror_port") > before);
    assert!(heard(h1).is_none() && heard(h2).is_none());
    let status = ask("status");
    assert_eq!(status["mirrors"]["station"], "rx of h1, tx of h1 to mon");
}
