//! Guards: who runs into one is named, and harms nobody else.

use super::{Example, heard, wire};
use crate::common::world::{run, world};
use crate::common::{frame, wait_for, wait_until};
use crate::lab::{ask, drops, pollux};
use crate::traffic::ping;

const STRANGER: [u8; 6] = [0x02, 0, 0, 0, 9, 9];
const GATEWAY: [u8; 6] = [0x02, 0, 0, 0, 0, 0xfe];
const FILTERED: [u8; 6] = [0x02, 0, 0, 0, 0, 0x66];

/// Waits for an event of that kind whose text has all the words.
fn told(kind: &str, words: &[&str]) {
    wait_until(&format!("an event `{kind}` with {words:?}"), || {
        let events = ask("events");
        let matches = |event: &serde_json::Value| {
            event["kind"] == kind
                && words.iter().all(|word| event["text"].as_str().is_some_and(|text| text.contains(word)))
        };
        events["events"].as_array().expect("events").iter().any(matches)
    });
}

#[test]
fn guards_name_the_culprit() {
    world("guards_name_the_culprit", || {
        let lab = Example::up("guards.yaml");
        ping("h1", "10.0.0.254");
        ping("h2", "10.0.0.3");
        storm();
        strangers();
        pinned_and_filtered();
        moves();
        ping("h2", "10.0.0.254");
        ping("h3", "10.0.0.2");
        lab.down();
    });
}

/// Far more broadcast than h1 may send: it is cut, and others' is not.
fn storm() {
    let [h1, h2, h3] = ["h1", "h2", "h3"].map(wire);
    for serial in 0..1000 {
        h1.send(&frame([0xff; 6], [0x02, 0, 0, 0, 1, 1], serial, 60));
    }
    wait_until("the storm to be cut", || drops("h1", "storm_broadcast") > 500);
    told("storm", &["h1", "broadcast", "dropped"]);
    let sent = frame([0xff; 6], [0x02, 0, 0, 0, 0, 3], 5000, 60);
    h3.send(&sent);
    wait_for("a broadcast of another port", || std::iter::from_fn(|| heard(&h2)).find(|got| *got == sent));
}

/// h2 may send with its own address only; h3 is only observed.
fn strangers() {
    let [gw, h2, h3] = ["gw", "h2", "h3"].map(wire);
    let before = drops("h2", "insecure");
    h2.send(&frame([0xff; 6], STRANGER, 1, 60));
    wait_until("the stranger to be dropped", || drops("h2", "insecure") == before + 1);
    told("insecure", &["h2", "02:00:00:00:09:09", "dropped"]);
    let sent = frame([0xff; 6], STRANGER, 2, 60);
    h3.send(&sent);
    wait_for("the stranger that is only observed", || std::iter::from_fn(|| heard(&gw)).find(|got| *got == sent));
    told("insecure", &["h3", "only observed"]);
    assert!(ask("stats")["ports"]["h3"]["observed"].as_u64().is_some_and(|n| n > 0));
}

fn pinned_and_filtered() {
    let h1 = wire("h1");
    let before = drops("h1", "filtered");
    h1.send(&frame([0x02, 0, 0, 0, 0, 3], FILTERED, 1, 60));
    wait_until("the filtered station to be dropped", || drops("h1", "filtered") == before + 1);
    h1.send(&frame([0x02, 0, 0, 0, 0, 3], GATEWAY, 2, 60));
    told("pinned", &["02:00:00:00:00:fe", "gw", "h1"]);
    let fdb = ask("fdb");
    let home = fdb["entries"].as_array().expect("entries").iter().find(|entry| entry["mac"] == "02:00:00:00:00:fe");
    assert_eq!(home.expect("the gateway")["port"], "gw");
}

/// Frames that have come in, on all ports.
fn received() -> u64 {
    let stats = ask("stats");
    let ports = stats["ports"].as_object().expect("ports").values();
    ports.map(|port| port["rx_frames"].as_u64().expect("a count")).sum()
}

/// An address that is seen here and there.
fn moves() {
    let [gw, h1] = ["gw", "h1"].map(wire);
    let mac = [0x02, 0, 0, 0, 5, 5];
    for serial in 0..10 {
        for from in [&gw, &h1] {
            let before = received();
            from.send(&frame([0x02, 0, 0, 0, 0, 3], mac, serial, 60));
            // one by one: the switch polls its ports in an order of its own
            wait_until("the switch to have taken the frame", || received() > before);
        }
    }
    told("flapping", &["02:00:00:00:05:05", "gw", "h1"]);
}

/// One of the two ports of the loop is shown as blocked, with the other, to people and to programs.
fn shown_as_blocked() {
    let ports = ask("ports");
    let ports = ports["ports"].as_array().expect("ports");
    let blocked: Vec<_> = ports.iter().filter(|port| port["link"] == "blocked").collect();
    let [port] = blocked[..] else { panic!("{blocked:#?}") };
    let names = [port["name"].as_str(), port["blocked"]["loop_with"].as_str()];
    assert!(names == [Some("l1"), Some("l2")] || names == [Some("l2"), Some("l1")], "{port:#}");
    assert!(port["blocked"]["seconds"].as_u64().is_some_and(|seconds| seconds <= 30), "{port:#}");
    assert_eq!(ask("status")["ports_blocked"], 1);
    assert!(pollux(&["status"]).ok().contains("1 blocked because of a loop"));
}

/// A loop through a node: probes come home, a port is blocked, and the rest of the lab goes on.
#[test]
fn a_loop_is_found_and_blocked() {
    world("a_loop_is_found_and_blocked", || {
        let lab = Example::up("guards.yaml");
        for port in ["l1", "l2"] {
            let spec = format!("{{ kind: tap, domain: lan, node: h3, ifname: {port} }}");
            pollux(&["port", "add", port, "--spec", &spec]).ok();
        }
        for command in [
            &["add", "name", "loop", "type", "bridge"][..],
            &["set", "dev", "l1", "master", "loop"],
            &["set", "dev", "l2", "master", "loop"],
            &["set", "dev", "loop", "up"],
        ] {
            run(&[&["ip", "-n", "h3", "link"], command].concat());
        }
        told("loop", &["there is a loop", "is blocked"]);
        shown_as_blocked();
        ping("h1", "10.0.0.254");
        lab.down();
    });
}
