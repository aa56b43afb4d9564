//! What happens to a running switch from outside: frames that should not be, interfaces and namespaces that vanish, links
//! that go down. Each is counted or reported; the other ports go on.

use crate::common::packet::Wire;
use crate::common::world::{inside, run, silence, world};
use crate::common::{frame, wait_until};
use crate::lab::{FOUR, Lab, Traces, ask, balanced, drops, lan, node, pollux};
use crate::shapes::learned;
use crate::traffic::{answers, node_of, ping, v4};
use serde_json::Value;
use std::fs;
use std::process::Command;

const BROADCAST: [u8; 6] = [0xff; 6];
const STATION: [u8; 6] = [0x02, 0, 0, 0, 2, 1];

fn port(name: &str) -> Value {
    let ports = ask("ports");
    let found = ports["ports"].as_array().expect("ports").iter().find(|port| port["name"] == name).cloned();
    found.unwrap_or_else(|| panic!("no port {name} in {ports:#}"))
}

fn wire(n: usize) -> Wire {
    inside(&node_of(n), || {
        silence();
        Wire::open("eth0")
    })
}

/// Sends `frame` `n` times from the port, and waits until that many are counted under `reason`.
fn dropped(wire: &Wire, port: &str, bytes: &[u8], reason: &str, n: u64) {
    let before = drops(port, reason);
    for _ in 0..n {
        wire.send(bytes).expect("sending");
    }
    wait_until(&format!("{n} frames dropped by {reason} at {port}"), || drops(port, reason) == before + n);
}

#[test]
fn frames_that_should_not_be_are_counted() {
    world("frames_that_should_not_be_are_counted", || {
        let lab = Lab::new(&lan("plxt-frames", &FOUR));
        lab.up();
        for (n, (name, kind)) in FOUR.into_iter().enumerate().step_by(2) {
            let (wire, peer) = (wire(n), wire(n + 1));
            dropped(&wire, name, &frame(BROADCAST, [0; 6], 1, 60), "bad_source", 50);
            dropped(&wire, name, &frame(BROADCAST, BROADCAST, 2, 60), "bad_source", 50);
            dropped(&wire, name, &frame(BROADCAST, [0x01, 0, 0x5e, 0, 0, 9], 3, 1000), "bad_source", 50);
            dropped(&wire, name, &frame([0x01, 0x80, 0xc2, 0, 0, 1], STATION, 4, 60), "pause", 50);
            if kind == "tap" {
                // The user has raised the interface's MTU beyond that of the domain.
                run(&["ip", "-n", &node_of(n), "link", "set", "eth0", "mtu", "9000"]);
                dropped(&wire, name, &frame(BROADCAST, STATION, 5, 4000), "oversize", 50);
                dropped(&wire, name, &frame(BROADCAST, STATION, 6, 1523), "oversize", 50);
            }
            // A bare header is a frame.
            let shortest = frame(BROADCAST, STATION, 0, 14);
            wire.send(&shortest).expect("sending");
            assert!(peer.receive_all(1)[0].starts_with(&shortest), "{name}: 14 bytes pass");
        }
        let fdb = ask("fdb");
        let known = |mac: &str| fdb["entries"].as_array().expect("entries").iter().any(|entry| entry["mac"] == mac);
        assert!(known("02:00:00:00:02:01"));
        assert!(!known("00:00:00:00:00:00") && !known("ff:ff:ff:ff:ff:ff") && !known("01:00:5e:00:00:09"));
        ping(&node_of(1), &v4(3));
        lab.down();
    });
}

/// A port is reported as failed, with a reason; the two others still talk.
fn fails_alone(name: &str, others: (usize, usize)) {
    wait_until(&format!("{name} to be reported as failed"), || port(name)["link"] == "failed");
    let reason = port(name)["reason"].as_str().map(str::to_owned);
    assert!(reason.is_some_and(|reason| !reason.is_empty()), "{:#}", port(name));
    ping(&node_of(others.0), &v4(others.1));
    ping(&node_of(others.1), &v4(others.0));
    balanced();
}

#[test]
fn interfaces_deleted_under_us_fail_alone() {
    world("interfaces_deleted_under_us_fail_alone", || {
        let before = Traces::now();
        let lab = Lab::new(&lan("plxt-netdev", &FOUR));
        lab.up();
        ping(&node_of(1), &v4(3));
        run(&["ip", "-n", &node("v2"), "link", "del", "eth0"]);
        fails_alone("v2", (0, 2));
        run(&["ip", "-n", &node("t2"), "link", "del", "eth0"]);
        fails_alone("t2", (0, 2));
        let fdb = ask("fdb");
        let entries = fdb["entries"].as_array().expect("entries");
        assert!(entries.iter().all(|entry| entry["port"] != "v2" && entry["port"] != "t2"), "{fdb:#}");
        lab.down();
        before.gone();
    });
}

#[test]
fn our_own_end_of_a_veth_pair_deleted_under_us_fails_alone() {
    world("our_own_end_of_a_veth_pair_deleted_under_us_fails_alone", || {
        let before = Traces::now();
        let lab = Lab::new(&lan("plxt-ourend", &FOUR[1..]));
        lab.up();
        let links: Value = serde_json::from_str(&run(&["ip", "-j", "link"])).expect("JSON");
        let ours = links.as_array().expect("links").iter().filter_map(|link| link["ifname"].as_str());
        let ours: Vec<_> = ours.filter(|name| name.starts_with("plx-")).collect();
        assert_eq!(ours.len(), 2, "{links:#}");
        run(&["ip", "link", "del", ours[0]]);
        wait_until("one port to fail", || {
            ["v1", "v2"].iter().filter(|name| port(name)["link"] == "failed").count() == 1
        });
        balanced();
        lab.down();
        before.gone();
    });
}

#[test]
fn namespaces_deleted_under_us_fail_alone() {
    world("namespaces_deleted_under_us_fail_alone", || {
        let before = Traces::now();
        let lab = Lab::new(&lan("plxt-netns", &FOUR));
        lab.up();
        ping(&node_of(1), &v4(3));
        run(&["ip", "netns", "del", &node("v2")]);
        fails_alone("v2", (0, 2));
        run(&["ip", "netns", "del", &node("t2")]);
        fails_alone("t2", (0, 2));
        lab.down();
        before.gone();
    });
}

#[test]
fn a_process_that_ends_takes_its_port_along() {
    world("a_process_that_ends_takes_its_port_along", || {
        let before = Traces::now();
        let mut process = Command::new("unshare").args(["--net", "sleep", "1000"]).spawn().expect("unshare");
        let namespace = || fs::read_link(format!("/proc/{}/ns/net", process.id())).ok();
        let ours = fs::read_link("/proc/thread-self/ns/net").ok();
        wait_until("a namespace of its own", || namespace() != ours);
        let good = lan("plxt-pid", &FOUR[..2]);
        let lab = Lab::new(&format!(
            "{good}  p: {{ kind: tap, pid: {}, ifname: eth9, ip: [10.99.0.9/24], domain: lan }}\n",
            process.id()
        ));
        lab.up();
        ping(&node_of(0), "10.99.0.9");
        process.kill().and_then(|()| process.wait()).expect("its end");
        fails_alone("p", (0, 1));
        lab.down();
        before.gone();
    });
}

/// Waits for an event of that kind about the port.
fn told(kind: &str, port: &str) {
    wait_until(&format!("an event {kind} of {port}"), || {
        let events = ask("events");
        events["events"].as_array().expect("events").iter().any(|event| event["kind"] == kind && event["port"] == port)
    });
}

#[test]
fn a_link_that_goes_down_comes_back() {
    world("a_link_that_goes_down_comes_back", || {
        let lab = Lab::new(&lan("plxt-link", &FOUR));
        lab.up();
        for (n, (name, _)) in FOUR.into_iter().enumerate().step_by(2) {
            let neighbour = node_of(n + 1);
            ping(&neighbour, &v4(n));
            run(&["ip", "-n", &node(name), "link", "set", "eth0", "down"]);
            wait_until("the link to be reported down", || port(name)["link"] != "up");
            assert_ne!(port(name)["link"], "failed", "a link that is down is no failure");
            wait_until("what was learned there to be forgotten", || learned(name) == 0);
            told("link_down", name);
            assert!(!answers(&neighbour, &v4(n)), "nobody is there");
            balanced();
            run(&["ip", "-n", &node(name), "link", "set", "eth0", "up"]);
            wait_until("the link to be reported up", || port(name)["link"] == "up");
            told("link_up", name);
            wait_until("an answer over the link", || answers(&neighbour, &v4(n)));
            ping(&node_of(n), &v4(n + 1));
        }
        lab.down();
    });
}

#[test]
fn a_disabled_port_has_no_carrier() {
    world("a_disabled_port_has_no_carrier", || {
        let lab = Lab::new(&lan("plxt-carrier", &FOUR).replace("node: plxt-t2,", "node: plxt-t2, enabled: false,"));
        lab.up();
        let carrier = |n: usize| {
            let links = run(&["ip", "-n", &node_of(n), "-o", "link", "show", "dev", "eth0"]);
            !links.contains("NO-CARRIER")
        };
        assert!(carrier(0) && !carrier(1) && carrier(2), "as the file says");
        pollux(&["port", "set", "t2", "enabled=true"]).ok();
        wait_until("the carrier of t2", || carrier(1));
        for n in [0, 2] {
            let name = FOUR[n].0;
            ping(&node_of(n), &v4(n + 1));
            pollux(&["port", "set", name, "enabled=false"]).ok();
            wait_until("the carrier to be gone", || !carrier(n));
            assert!(!answers(&node_of(n + 1), &v4(n)), "nobody hears {name}");
            pollux(&["port", "set", name, "enabled=true"]).ok();
            wait_until("the carrier to be back", || carrier(n));
            wait_until("an answer over the link", || answers(&node_of(n + 1), &v4(n)));
        }
        lab.down();
    });
}
