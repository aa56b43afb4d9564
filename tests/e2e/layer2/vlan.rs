//! Access ports, trunks, translation and QinQ between kernels.

use super::{Example, heard, wire};
use crate::common::world::{run, world};
use crate::common::{frame, wait_for};
use crate::lab::ask;
use crate::traffic::{answers, ping};
use crate::wire::Wire;

const STATION: [u8; 6] = [0x02, 0, 0, 0, 7, 1];

fn broadcast(tags: &[[u8; 4]], serial: u32) -> Vec<u8> {
    let mut bytes = frame([0xff; 6], STATION, serial, 60);
    bytes.splice(12..12, tags.concat());
    bytes
}

/// What `from` sends must be the next frame of a test that each of `to` hears, with these tags.
fn next_is(from: &Wire, sent: &[[u8; 4]], serial: u32, to: &[(&str, &Wire, &[[u8; 4]])]) {
    from.send(&broadcast(sent, serial));
    for (name, wire, tags) in to {
        let got = wait_for(&format!("frame {serial} at {name}"), || heard(wire));
        assert!(got.starts_with(&broadcast(tags, serial)), "{name} heard {got:02x?} instead of frame {serial}");
    }
}

fn c_tag(tci: u16) -> [u8; 4] {
    let [a, b] = tci.to_be_bytes();
    [0x81, 0, a, b]
}

#[test]
fn vlans_pass_a_trunk_and_stay_apart() {
    world("vlans_pass_a_trunk_and_stay_apart", || {
        let lab = Example::up("vlan.yaml");
        ping("h1", "10.0.10.3");
        ping("h2", "10.0.20.4");
        let [h1, h2, h3, h4, r] = ["h1", "h2", "h3", "h4", "r"].map(wire);
        // each hears its own VLAN only: a frame of the other would have come before the next one
        next_is(&h1, &[], 1, &[("h3", &h3, &[]), ("r", &r, &[c_tag(10)])]);
        next_is(&h2, &[], 2, &[("h4", &h4, &[]), ("r", &r, &[c_tag(120)])]);
        // priority 5, given where the frame came in
        next_is(&h4, &[], 3, &[("h2", &h2, &[]), ("r", &r, &[c_tag(5 << 13 | 120)])]);
        next_is(&r, &[c_tag(120)], 4, &[("h2", &h2, &[]), ("h4", &h4, &[])]);
        next_is(&r, &[c_tag(10)], 5, &[("h1", &h1, &[]), ("h3", &h3, &[])]);
        // neither of them
        r.send(&broadcast(&[c_tag(20)], 6));
        r.send(&broadcast(&[], 7));
        next_is(&r, &[c_tag(120)], 8, &[("h2", &h2, &[]), ("h4", &h4, &[])]);
        next_is(&h3, &[], 9, &[("h1", &h1, &[]), ("r", &r, &[c_tag(10)])]);
        known_by_vlan();
        lab.down();
    });
}

fn known_by_vlan() {
    let fdb = ask("fdb");
    let entries =
        fdb["entries"].as_array().expect("entries").iter().filter(|entry| entry["mac"] == "02:00:00:00:07:01");
    let mut known: Vec<_> =
        entries.map(|entry| format!("{} {} {}", entry["domain"], entry["vlan"], entry["port"])).collect();
    known.sort();
    assert_eq!(
        known,
        ["\"floor1\" 10 \"up\"", "\"floor1\" 20 \"r\"", "\"floor2\" 10 \"h3\"", "\"floor2\" 20 \"down\""]
    );
}

#[test]
fn customers_of_a_provider_stay_apart() {
    world("customers_of_a_provider_stay_apart", || {
        let lab = Example::up("qinq.yaml");
        ping("a-east", "10.0.0.2");
        ping("b-east", "10.0.0.2");
        run(&["ip", "-n", "b-west", "link", "set", "eth0", "down"]);
        assert!(!answers("b-east", "10.0.0.2"), "the other customer's station answered");
        ping("a-east", "10.0.0.2");
        run(&["ip", "-n", "b-west", "link", "set", "eth0", "up"]);
        let [a1, a2, b1, b2] = ["a-east", "a-west", "b-east", "b-west"].map(wire);
        // customers' own tags, one or two, come out as they went in
        for (serial, tags) in (0..).zip([&[][..], &[c_tag(7)], &[c_tag(0xbfff)], &[c_tag(100), c_tag(200)]]) {
            next_is(&a1, tags, 10 + serial, &[("a-west", &a2, tags)]);
            next_is(&b2, tags, 20 + serial, &[("b-east", &b1, tags)]);
        }
        lab.down();
    });
}
