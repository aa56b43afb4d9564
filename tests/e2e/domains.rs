//! Two domains of one switch never hear each other, though they use the same addresses.

use crate::common::frame;
use crate::common::packet::Wire;
use crate::common::world::{inside, silence, world};
use crate::lab::{Lab, ask};
use crate::traffic::ping;

const YAML: &str = "\
name: plxt-domains
domains:
  red: {}
  blue: {}
nodes: { plxt-r1: {}, plxt-r2: {}, plxt-b1: {}, plxt-b2: {} }
ports:
  r1: { kind: tap,  node: plxt-r1, ifname: eth0, ip: [10.99.0.1/24], domain: red }
  r2: { kind: veth, node: plxt-r2, ifname: eth0, ip: [10.99.0.2/24], domain: red }
  b1: { kind: veth, node: plxt-b1, ifname: eth0, ip: [10.99.0.1/24], domain: blue }
  b2: { kind: tap,  node: plxt-b2, ifname: eth0, ip: [10.99.0.2/24], domain: blue }
";

const BROADCAST: [u8; 6] = [0xff; 6];
/// One station on each side, of the same address.
const TWIN: [u8; 6] = [0x02, 0, 0, 0, 0, 0x77];

fn wire(node: &str) -> Wire {
    inside(node, || {
        silence();
        Wire::open("eth0")
    })
}

/// What a station must not get through to the other domain: broadcast, multicast, unknown and known unicast.
fn attempts(serial: u32, known: [u8; 6]) -> Vec<Vec<u8>> {
    let destinations = [BROADCAST, [0x33, 0x33, 0, 0, 0, 1], [0x01, 0, 0x5e, 0, 0, 1], [0x02, 9, 9, 9, 9, 9], known];
    destinations.iter().zip(serial..).map(|(dst, serial)| frame(*dst, TWIN, serial, 200)).collect()
}

/// Sends a frame from one wire, which the other must get as its very next one.
fn next_is(from: &Wire, to: &Wire, what: &[u8]) {
    from.send(what).expect("sending");
    assert_eq!(to.receive_all(1), [what], "a frame of another domain came first");
}

#[test]
fn two_domains_never_hear_each_other() {
    world("two_domains_never_hear_each_other", || {
        let lab = Lab::new(YAML);
        lab.up();
        ping("plxt-r1", "10.99.0.2");
        ping("plxt-b1", "10.99.0.2");
        let [r1, r2, b1, b2] = ["plxt-r1", "plxt-r2", "plxt-b1", "plxt-b2"].map(wire);
        let blue_station = [0x02, 0, 0, 0, 0, 0xb1];
        // Known in blue, on b1.
        next_is(&b1, &b2, &frame(BROADCAST, blue_station, 1, 60));
        for (from, to, serial) in [(&r1, &r2, 100), (&r2, &r1, 200)] {
            for sent in attempts(serial, blue_station) {
                from.send(&sent).expect("sending");
                // When its own domain has it, the switch is done with it.
                assert_eq!(to.receive_all(1), [sent]);
            }
        }
        next_is(&b1, &b2, &frame(BROADCAST, blue_station, 300, 60));
        next_is(&b2, &b1, &frame(blue_station, [0x02, 0, 0, 0, 0, 0xb2], 301, 60));
        // The twin speaks in both domains, and is known in both, on different ports.
        next_is(&b2, &b1, &frame(BROADCAST, TWIN, 302, 60));
        next_is(&r1, &r2, &frame(TWIN_PEER, TWIN, 303, 60));
        homes_of_the_twin();
        lab.down();
    });
}

/// An address nobody has: flooded.
const TWIN_PEER: [u8; 6] = [0x02, 0, 0, 0, 0, 0x78];

fn homes_of_the_twin() {
    let fdb = ask("fdb");
    let twins = fdb["entries"].as_array().expect("entries").iter().filter(|entry| entry["mac"] == "02:00:00:00:00:77");
    let mut homes: Vec<_> = twins.map(|entry| format!("{} {}", entry["domain"], entry["port"])).collect();
    homes.sort();
    assert_eq!(homes, ["\"blue\" \"b2\"", "\"red\" \"r1\""]);
}
