//! Snooping: groups go to who has asked for them, by real IGMP of real kernels.

use super::{Example, wire};
use crate::common::wait_for;
use crate::common::world::{inside, world};
use crate::lab::ask;
use crate::wire::Wire;
use std::net::{Ipv4Addr, UdpSocket};

const GROUP: [u8; 4] = [239, 1, 2, 3];
const OTHER: [u8; 4] = [239, 9, 9, 9];
/// Link-local: never pruned.
const LOCAL: [u8; 4] = [224, 0, 0, 66];

/// An IPv4 packet in a frame to the group's address (RFC 1112 §6.4).
fn packet(from: u8, group: [u8; 4], options: &[u8], (protocol, payload): (u8, &[u8])) -> Vec<u8> {
    let [_, a, b, c] = group;
    let mut frame = vec![0x01, 0, 0x5e, a & 0x7f, b, c, 0x02, 0, 0, 0, 0, from, 0x08, 0x00];
    let words = u8::try_from(5 + options.len() / 4).expect("few options");
    let len = u8::try_from(usize::from(words) * 4 + payload.len()).expect("a short packet");
    let fixed = [0x40 | words, 0xc0, 0, len, 0, 0, 0, 0, 1, protocol, 0, 0, 10, 0, 0, from];
    frame.extend(with_checksum(&[&fixed, &group[..], options].concat(), 10));
    frame.extend(payload);
    frame.resize(frame.len().max(60), 0);
    frame
}

/// A general IGMPv2 query (RFC 2236 §2), with the router alert it must have, answers wanted within a second.
fn query() -> Vec<u8> {
    packet(254, [224, 0, 0, 1], &[0x94, 4, 0, 0], (2, &with_checksum(&[0x11, 10, 0, 0, 0, 0, 0, 0], 2)))
}

/// "Use for experimentation and testing" (RFC 3692): no stack answers it.
const EXPERIMENT: u8 = 253;

fn numbered(group: [u8; 4], serial: u32) -> Vec<u8> {
    packet(4, group, &[], (EXPERIMENT, &serial.to_be_bytes()))
}

/// The next of them that has come in.
fn heard(wire: &Wire) -> Option<Vec<u8>> {
    std::iter::from_fn(|| wire.receive()).find(|frame| frame[12..14] == [8, 0] && frame[23] == EXPERIMENT)
}

/// The internet checksum (RFC 1071) put in its place.
fn with_checksum(bytes: &[u8], at: usize) -> Vec<u8> {
    let sum: u32 = bytes.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    let folded = !u16::try_from((sum & 0xffff) + (sum >> 16)).expect("few bytes");
    let mut all = bytes.to_vec();
    all[at..at + 2].copy_from_slice(&folded.to_be_bytes());
    all
}

/// The next that each hears is this.
fn hear(who: &[(&str, &Wire)], wanted: &[u8]) {
    for (name, wire) in who {
        let got = wait_for(&format!("a packet at {name}"), || heard(wire));
        assert!(got == wanted, "{name} heard {got:02x?} instead of {wanted:02x?}");
    }
}

#[test]
fn groups_go_to_who_asked() {
    world("groups_go_to_who_asked", || {
        let lab = Example::up("snooping.yaml");
        let [tv, phone, source, router] = ["tv", "phone", "source", "router"].map(wire);
        let send = |group, serial| {
            let sent = numbered(group, serial);
            source.send(&sent);
            sent
        };
        let (asked, all) = ([("tv", &tv), ("router", &router)], [("tv", &tv), ("router", &router), ("phone", &phone)]);
        // without a querier everything is flooded
        hear(&all, &send(GROUP, 1));
        let member = inside("tv", || {
            let socket = UdpSocket::bind("0.0.0.0:0").expect("a socket");
            socket.join_multicast_v4(&GROUP.into(), &Ipv4Addr::new(10, 0, 0, 1)).expect("joining");
            socket
        });
        router.send(&query());
        wait_for("the station's report", || ask("groups")["groups"].to_string().contains("239.1.2.3").then_some(()));
        let mut serial = 10;
        wait_for("the group to go to who asked only", || {
            serial += 1;
            hear(&asked, &send(GROUP, serial));
            // flooded in any case, behind the other
            let last = send(LOCAL, serial);
            hear(&asked, &last);
            let first = wait_for("a packet at phone", || heard(&phone));
            if first != last {
                hear(&[("phone", &phone)], &last);
            }
            (first == last).then_some(())
        });
        // a group that nobody asked for goes to routers only
        let (sent, last) = (send(OTHER, 1000), send(LOCAL, 1001));
        hear(&[("router", &router)], &sent);
        hear(&all, &last);
        drop(member);
        lab.down();
    });
}
