//! The main job: a lab of taps and veths comes up, carries everything as the system sends it, and goes without a trace.

use crate::common::world::{run, world};
use crate::lab::{FOUR, KIND_PAIRS, Lab, Traces, ask, balanced, lan, node, ordered_pairs, pollux};
use crate::traffic::{checksum_errors, node_of, ping, tcp, udp, v4, v6};
use serde_json::Value;

#[test]
fn a_lab_carries_everything_and_leaves_nothing() {
    world("a_lab_carries_everything_and_leaves_nothing", || {
        let before = Traces::now();
        let lab = Lab::new(&lan("plxt-demo", &FOUR));
        lab.up();
        for (from, to) in ordered_pairs(FOUR.len()) {
            ping(&node_of(from), &v4(to));
            ping(&node_of(from), &v6(to));
        }
        for (from, to) in KIND_PAIRS {
            udp(&node_of(from), &node_of(to), &v4(to));
            udp(&node_of(from), &node_of(to), &v6(to));
            tcp(&node_of(from), &node_of(to), &v4(to), "20M");
            tcp(&node_of(from), &node_of(to), &v6(to), "10M");
        }
        for (port, _) in FOUR {
            assert_eq!(checksum_errors(&node(port)), 0, "checksum errors in {port}");
        }
        offloads_are_as_the_system_sets_them();
        answers_keep_the_contract();
        balanced();
        lab.down();
        before.gone();
        assert_eq!(pollux(&["status"]).code, 3, "nobody answers any more");
        pollux(&["lab", "down", &lab.file]).ok();
    });
}

/// Nobody has turned checksum offload off, neither in a node nor on our side.
fn offloads_are_as_the_system_sets_them() {
    for (port, _) in FOUR {
        let features = run(&["ip", "netns", "exec", &node(port), "ethtool", "-k", "eth0"]);
        assert!(features.contains("tx-checksum-ip-generic: on"), "{port}: {features}");
    }
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_else(|| panic!("`{key}` is text in {value:#}"))
}

fn number(value: &Value, key: &str) -> u64 {
    value[key].as_u64().unwrap_or_else(|| panic!("`{key}` is a number in {value:#}"))
}

/// The shapes that scripts rely on.
fn answers_keep_the_contract() {
    let stats = ask("stats");
    assert_eq!(number(&stats, "v"), 1);
    for (port, _) in FOUR {
        let port = &stats["ports"][port];
        for key in ["rx_frames", "rx_bytes", "tx_frames", "tx_bytes"] {
            assert!(number(port, key) > 0, "{key} counts");
        }
        assert!(port["drops"].as_object().expect("drops").values().all(Value::is_u64));
    }
    for worker in stats["workers"].as_array().expect("workers") {
        assert!(number(worker, "frames") > 0 && worker["core"].is_u64());
        assert!((0.0..=1.0).contains(&worker["busy"].as_f64().expect("a share")));
    }
    assert!(number(&stats["mempool"], "free") <= number(&stats["mempool"], "total"));
    assert!(!text(&stats["mempool"], "backing").is_empty());
    ports_keep_the_contract();
    addresses_keep_the_contract();
}

fn ports_keep_the_contract() {
    let ports = ask("ports");
    assert_eq!(number(&ports, "v"), 1);
    let ports = ports["ports"].as_array().expect("ports");
    assert_eq!(ports.len(), FOUR.len());
    for (port, (name, kind)) in ports.iter().zip(FOUR) {
        assert_eq!((text(port, "name"), text(port, "kind"), text(port, "domain")), (name, kind, "lan"));
        assert_eq!((text(port, "link"), number(port, "queues")), ("up", 1));
        let obtained = if kind == "tap" { "offloads" } else { "native" };
        assert!(text(port, "mode").contains(obtained), "{port:#}");
    }
}

/// Every node's own address is known, on its port.
fn addresses_keep_the_contract() {
    let fdb = ask("fdb");
    assert_eq!(number(&fdb, "v"), 1);
    let entries = fdb["entries"].as_array().expect("entries");
    for (port, _) in FOUR {
        let links: Value =
            serde_json::from_str(&run(&["ip", "-j", "-n", &node(port), "link", "show", "eth0"])).expect("JSON");
        let mac = text(&links[0], "address");
        let entry = entries.iter().find(|entry| entry["mac"] == mac);
        let entry = entry.unwrap_or_else(|| panic!("{mac} of {port} is not in {fdb:#}"));
        assert_eq!((text(entry, "domain"), text(entry, "port"), text(entry, "kind")), ("lan", port, "learned"));
        assert_eq!(number(entry, "vlan"), 0);
        assert!(number(entry, "age_s") < 60);
    }
}

#[test]
fn lab_test_finds_a_good_lab_good() {
    world("lab_test_finds_a_good_lab_good", || {
        let lab = Lab::new(&lan("plxt-test", &FOUR[1..3]));
        lab.up();
        let report: Value =
            serde_json::from_str(&pollux(&["lab", "test", &lab.file, "--tcp", "-j"]).ok()).expect("JSON");
        assert_eq!(report["ok"], true, "{report:#}");
        assert_eq!(report["pings"].as_array().map(Vec::len), Some(2), "{report:#}");
        assert_eq!(report["tcp"].as_array().map(Vec::len), Some(2), "{report:#}");
        lab.down();
    });
}

/// A lab of its own socket lives beside another one.
#[test]
fn two_labs_live_side_by_side() {
    world("two_labs_live_side_by_side", || {
        let before = Traces::now();
        let one = Lab::new(&lan("plxt-one", &[("a1", "tap"), ("a2", "veth")]));
        let two = Lab::new(&lan("plxt-two", &[("b1", "veth"), ("b2", "tap")]));
        let socket = format!("{}.sock", two.file);
        one.up();
        pollux(&["--socket", &socket, "lab", "up", &two.file]).ok();
        ping(&node("a1"), &v4(1));
        ping(&node("b1"), &v4(1));
        let status: Value = serde_json::from_str(&pollux(&["--socket", &socket, "status", "-j"]).ok()).expect("JSON");
        assert_eq!((text(&status, "name"), text(&ask("status"), "name")), ("plxt-two", "plxt-one"));
        one.down();
        ping(&node("b2"), &v4(0));
        // Its journal knows the socket.
        assert!(pollux(&["lab", "down", &two.file]).ok().contains("frames came home"));
        before.gone();
    });
}
