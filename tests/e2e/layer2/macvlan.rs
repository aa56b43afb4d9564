//! All modes of a macvlan domain, between kernels.

use super::Example;
use crate::common::world::world;
use crate::lab::{ask, pollux};
use crate::traffic::{answers, ping};

/// Who reaches whom: `relay` sends back what comes from the wire, so vepa ports are joined.
const REACHES: &[(&str, &str)] = &[
    ("a", "10.0.0.12"),
    ("b", "10.0.0.11"),
    ("a", "10.0.0.1"),
    ("out", "10.0.0.12"),
    ("v1", "10.0.0.22"),
    ("v1", "10.0.0.11"),
    ("a", "10.0.0.21"),
    ("host", "10.0.0.11"),
    ("host", "10.0.0.1"),
    ("p1", "10.0.0.1"),
    ("other", "10.0.0.31"),
    ("t", "10.0.0.1"),
    ("other", "10.0.0.41"),
    ("a", "10.0.0.41"),
    ("s", "10.0.0.1"),
    ("out", "10.0.0.51"),
];

const DOES_NOT: &[(&str, &str)] =
    &[("p1", "10.0.0.32"), ("a", "10.0.0.31"), ("p1", "10.0.0.11"), ("s", "10.0.0.2"), ("other", "10.0.0.51")];

#[test]
fn modes_reach_whom_they_should() {
    world("modes_reach_whom_they_should", || {
        let lab = Example::up("macvlan.yaml");
        for (from, to) in REACHES {
            ping(from, to);
        }
        for (from, to) in DOES_NOT {
            assert!(!answers(from, to), "{from} reaches {to}");
        }
        modes_change();
        shown();
        lab.down();
    });
}

/// A port changes its mode while it runs, but not into passthru beside others.
fn modes_change() {
    pollux(&["port", "set", "p2", "macvlan=bridge"]).ok();
    ping("a", "10.0.0.32");
    let refused = pollux(&["port", "set", "p2", "macvlan=passthru"]);
    assert!(refused.code == 1 && refused.err.contains("a passthru port is the only one"), "{refused:?}");
    let refused = pollux(&["port", "set", "p2", "macvlan=source"]);
    assert!(refused.err.contains("without a list receives nothing"), "{refused:?}");
    pollux(&["port", "set", "p2", "macvlan="]).ok();
    // vepa again, the default: by way of the relay
    ping("a", "10.0.0.32");
}

fn shown() {
    let ports = ask("ports");
    let role = |name: &str| {
        let port = ports["ports"].as_array().expect("ports").iter().find(|port| port["name"] == name);
        port.expect("a port")["role"].as_str().expect("a role").to_owned()
    };
    let roles = ["wire", "host", "a", "v1", "p1", "t", "s", "relay"].map(role);
    assert_eq!(roles, ["uplink", "host", "bridge", "vepa", "private", "passthru", "source", "bridge"]);
    let fdb = ask("fdb");
    let owned = fdb["entries"]
        .as_array()
        .expect("entries")
        .iter()
        .find(|entry| entry["domain"] == "mv" && entry["mac"] == "02:00:00:00:00:12");
    assert_eq!(
        owned.map(|entry| (&entry["port"], &entry["kind"])).map(|(p, k)| format!("{p} {k}")),
        Some("\"b\" \"sticky\"".into())
    );
}
