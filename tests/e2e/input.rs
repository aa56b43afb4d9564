//! Bad input: one message with file, line, path and remedy, the right exit code, and nothing half-made left behind.

use crate::common::world::{run, world};
use crate::lab::{Ended, FOUR, Lab, Traces, ask, binary, lan, node, pollux};
use crate::traffic::{node_of, ping, v4};
use dataplane::pmd::af_xdp::{self, XdpConfig};
use std::fs;
use std::process::Command;

/// Files that are wrong by themselves: what is wrong with the file, the line it must name, words that must be there.
const FILES: &[(&str, &str, usize, &[&str])] = &[
    (
        "unknown key",
        "name: plxt-x\ndomains: { lan: {} }\nports:\n  a: { kind: tap, domain: lan, colour: red }\n",
        4,
        &["colour", "ifname"],
    ),
    ("duplicate key", "name: plxt-x\ndomains: { lan: {} }\nname: plxt-y\n", 3, &["`name`", "twice"]),
    (
        "duplicate port",
        "name: plxt-x\ndomains: { lan: {} }\nports:\n  a: { kind: tap, domain: lan }\n  a: { kind: tap, domain: lan }\n",
        5,
        &["`a`", "twice"],
    ),
    (
        "wrong type",
        "name: plxt-x\ndomains: { lan: {} }\nports:\n  a: { kind: tap, domain: lan, queues: many }\n",
        4,
        &["ports.a.queues"],
    ),
    ("no YAML", "name: plxt-x\nports: { a: { kind: tap\n", 2, &[]),
    (
        "unknown kind",
        "name: plxt-x\ndomains: { lan: {} }\nports:\n  a: { kind: tun, domain: lan }\n",
        4,
        &["ports.a.kind", "tun"],
    ),
    (
        "duplicate MACs",
        "name: plxt-x\ndomains: { lan: {} }\nports:\n  a: { kind: tap, domain: lan, mac: \"02:00:00:00:00:01\" }\n  b: { kind: tap, domain: lan, mac: \"02:00:00:00:00:01\" }\n",
        5,
        &["ports.b.mac", "02:00:00:00:00:01", "; "],
    ),
    ("no domain", "name: plxt-x\ndomains: { lan: {} }\nports:\n  a: { kind: tap }\n", 4, &["ports.a", "domain: lan"]),
    (
        "unknown domain",
        "name: plxt-x\ndomains: { lan: {} }\nports:\n  a: { kind: tap, domain: lna }\n",
        4,
        &["ports.a.domain", "lna", "lan"],
    ),
    (
        "unknown node",
        "name: plxt-x\ndomains: { lan: {} }\nnodes: { h1: {} }\nports:\n  a: { kind: tap, domain: lan, node: h2 }\n",
        5,
        &["ports.a.node", "h2", "h1"],
    ),
    (
        "missing device",
        "name: plxt-x\ndomains: { lan: {} }\nports:\n  a: { kind: af_xdp, domain: lan, dev: plxt-none }\n",
        4,
        &["ports.a.dev", "plxt-none", "; "],
    ),
    (
        "no device",
        "name: plxt-x\ndomains: { lan: {} }\nports:\n  a: { kind: af_xdp, domain: lan }\n",
        4,
        &["ports.a", "dev:"],
    ),
    ("core outside the cpuset", "name: plxt-x\nworkers: [4095]\ndomains: { lan: {} }\n", 2, &["workers", "4095", "; "]),
    (
        "too few huge pages",
        "name: plxt-x\nmemory:\n  frames: 16M\n  hugepages: required\ndomains: { lan: {} }\n",
        4,
        &["memory.hugepages", "16384", "sysctl vm.nr_hugepages"],
    ),
    (
        "too few frames",
        "name: plxt-x\nmemory: { frames: 100 }\ndomains: { lan: {} }\nports:\n  a: { kind: veth, domain: lan }\n",
        2,
        &["memory.frames", "100", "; "],
    ),
    (
        "name over 15 characters",
        "name: plxt-x\ndomains: { lan: {} }\nports:\n  a: { kind: tap, domain: lan, ifname: abcdefghijklmnop }\n",
        4,
        &["ports.a.ifname", "15"],
    ),
    (
        "port name over 15 characters",
        "name: plxt-x\ndomains: { lan: {} }\nports:\n  abcdefghijklmnop: { kind: tap, domain: lan }\n",
        4,
        &["15"],
    ),
    (
        "no IP",
        "name: plxt-x\ndomains: { lan: {} }\nports:\n  a: { kind: tap, domain: lan, ip: [10.0.0.300/24] }\n",
        4,
        &["ports.a.ip.0", "10.0.0.300/24", "; "],
    ),
    (
        "IPv6 on a small MTU",
        "name: plxt-x\ndomains: { lan: { mtu: 1279 } }\nports:\n  a: { kind: tap, domain: lan, ip: [\"fd00::1/64\"] }\n",
        4,
        &["ports.a.ip.0", "1280"],
    ),
    (
        "a name of the kernel's",
        "name: plxt-x\ndomains: { lan: {} }\nports:\n  a: { kind: tap, domain: lan, ifname: all }\n",
        4,
        &["ports.a.ifname", "`all`", "eth0"],
    ),
    (
        "one socket by two paths",
        "name: plxt-x\ndomains: { lan: {} }\nports:\n  a: { kind: vhost-user, domain: lan, socket: /run/x.sock }\n  b: { kind: vhost-user, domain: lan, socket: /run/../run/x.sock }\n",
        5,
        &["ports.b.socket", "`a`"],
    ),
    (
        "no MAC",
        "name: plxt-x\ndomains: { lan: {} }\nports:\n  a: { kind: tap, domain: lan, mac: \"01:00:5e:00:00:01\" }\n",
        4,
        &["ports.a.mac"],
    ),
    (
        "two MTUs in a segment",
        "name: plxt-x\ndomains: { lan: { mtu: 9000 } }\nports:\n  a: { kind: veth, domain: lan, mtu: 1500 }\n",
        4,
        &["ports.a.mtu", "9000"],
    ),
    (
        "more than AF_XDP carries",
        "name: plxt-x\ndomains: { lan: { mtu: 60000 } }\nports:\n  a: { kind: veth, domain: lan }\n",
        4,
        &["ports.a", "33514"],
    ),
    (
        "two interfaces of a name",
        "name: plxt-x\ndomains: { lan: {} }\nnodes: { h: {} }\nports:\n  a: { kind: tap, domain: lan, node: h, ifname: e }\n  b: { kind: tap, domain: lan, node: h, ifname: e }\n",
        6,
        &["ports.b.ifname", "`a`"],
    ),
    (
        "cable without end",
        "name: plxt-x\ndomains: { lan: {} }\nports:\n  a: { kind: ring, domain: lan, peer: b }\n",
        4,
        &["ports.a", "b"],
    ),
    ("ageing without unit", "name: plxt-x\ndomains:\n  lan: { ageing: 300 }\n", 3, &["domains.lan.ageing", "300s"]),
    (
        "guest without socket",
        "name: plxt-x\ndomains: { lan: {} }\nports:\n  a: { kind: vhost-user, domain: lan }\n",
        4,
        &["ports.a", "socket: /run/pollux/a.sock"],
    ),
    (
        "no uplink",
        "name: plxt-x\ndomains:\n  mv: { mode: macvlan, uplink: w }\n",
        3,
        &["domains.mv.uplink", "`w`", "; "],
    ),
];

/// A refusal: its code, no standard output, one line per mistake, and the words.
fn refused(what: &str, ended: &Ended, code: i32, words: &[&str]) {
    assert_eq!((ended.code, ended.out.as_str()), (code, ""), "{what}: {ended:#?}");
    for word in words {
        assert!(ended.err.contains(word), "{what}: `{word}` is not in {}", ended.err);
    }
    assert!(!ended.err.contains("panicked"), "{what}: {}", ended.err);
}

#[test]
fn files_that_are_wrong_are_refused_with_their_place() {
    for (what, yaml, line, words) in FILES {
        let lab = Lab::new(yaml);
        let ended = pollux(&["check", &lab.file]);
        refused(what, &ended, 1, words);
        let place = format!("{}:{line}:", lab.file);
        assert!(ended.err.contains(&place), "{what}: `{place}` is not in {}", ended.err);
    }
}

#[test]
fn all_mistakes_of_a_file_are_told_at_once() {
    let lab =
        Lab::new("name: plxt-x\ndomains: { lan: {} }\nports:\n  a: { kind: tap }\n  b: { kind: tap, domain: nix }\n");
    let ended = pollux(&["check", &lab.file]);
    refused("two mistakes", &ended, 1, &["ports.a", "ports.b.domain"]);
    assert_eq!(ended.err.lines().count(), 2, "{}", ended.err);
}

#[test]
fn command_lines_that_are_wrong_are_usage_errors() {
    for args in [&["frobnicate"][..], &["run"], &["check"], &["stats", "--colour"], &["lab", "sideways", "x"], &[]] {
        assert_eq!(pollux(args).code, 2, "{args:?}");
    }
    refused("no file", &pollux(&["check", "/nonexistent/lab.yaml"]), 1, &["/nonexistent/lab.yaml"]);
    refused("no daemon", &pollux(&["--socket", "/nonexistent/sock", "stats"]), 3, &["/nonexistent/sock"]);
    assert_eq!(pollux(&["--help"]).code, 0);
}

/// What `check` refuses `lab up` and `run` refuse too, and leave no trace.
#[test]
fn nothing_is_made_of_a_file_that_is_wrong() {
    world("nothing_is_made_of_a_file_that_is_wrong", || {
        let before = Traces::now();
        for (what, yaml, line, words) in FILES {
            let lab = Lab::new(yaml);
            let ended = pollux(&["lab", "up", &lab.file]);
            refused(what, &ended, 1, words);
            assert!(ended.err.contains(&format!("{}:{line}:", lab.file)), "{what}: {}", ended.err);
            refused(what, &pollux(&["run", "-c", &lab.file]), 1, words);
        }
        before.gone();
    });
}

/// A lab of one good port, then one port as given: refused by `lab up`, leaving the world as it is now.
fn second_port_fails(what: &str, port: &str, words: &[&str]) {
    let before = Traces::now();
    let good = lan("plxt-half", &[("t9", "tap"), ("v9", "veth")]);
    let lab = Lab::new(&format!("{good}  bad: {{ {port}, domain: lan }}\n"));
    let ended = pollux(&["lab", "up", &lab.file]);
    refused(what, &ended, 1, words);
    let line = good.lines().count() + 1;
    assert!(ended.err.contains(&format!("{}:{line}:", lab.file)), "{what}: no place in {}", ended.err);
    before.gone();
}

#[test]
fn what_only_shows_when_it_is_made_leaves_nothing_either() {
    world("what_only_shows_when_it_is_made_leaves_nothing_either", || {
        second_port_fails("missing namespace", "kind: tap, netns: plxt-none", &["ports.bad", "plxt-none"]);
        run(&["ip", "netns", "add", "plxt-mine"]);
        run(&["ip", "-n", "plxt-mine", "link", "add", "taken", "type", "bridge"]);
        for kind in ["tap", "veth"] {
            let port = format!("kind: {kind}, netns: plxt-mine, ifname: taken");
            second_port_fails("interface taken", &port, &["ports.bad", "taken"]);
        }
        second_port_fails("missing device", "kind: af_xdp, netns: plxt-mine, dev: none0", &["ports.bad", "none0"]);
        second_port_fails("process is gone", "kind: tap, pid: 4194304", &["ports.bad", "4194304"]);
        assert!(run(&["ip", "-n", "plxt-mine", "-o", "link"]).contains("taken"), "what is not ours stays");
    });
}

#[test]
fn a_namespace_of_somebody_else_is_not_touched() {
    world("a_namespace_of_somebody_else_is_not_touched", || {
        run(&["ip", "netns", "add", &node("t2")]);
        run(&["ip", "-n", &node("t2"), "link", "add", "precious", "type", "bridge"]);
        let before = Traces::now();
        let lab = Lab::new(&lan("plxt-foreign", &FOUR));
        refused("node exists", &pollux(&["lab", "up", &lab.file]), 1, &["nodes.plxt-t2", "plxt-t2", "rename the node"]);
        before.gone();
        pollux(&["lab", "down", &lab.file]).ok();
        assert!(run(&["ip", "-n", &node("t2"), "-o", "link"]).contains("precious"));
    });
}

/// A veth pair of the test's own, as an interface that exists already.
fn device(name: &str) {
    run(&["ip", "link", "add", name, "type", "veth", "peer", "name", &format!("{name}p")]);
    run(&["ip", "link", "set", name, "up"]);
    run(&["ip", "link", "set", &format!("{name}p"), "up"]);
}

#[test]
fn the_device_with_the_default_route_needs_force() {
    world("the_device_with_the_default_route_needs_force", || {
        device("plxt-def");
        run(&["ip", "addr", "add", "192.0.2.1/24", "dev", "plxt-def"]);
        run(&["ip", "route", "add", "default", "via", "192.0.2.2"]);
        let before = Traces::now();
        let yaml = |more: &str| {
            format!(
                "name: plxt-def\ndomains: {{ lan: {{}} }}\nports:\n  up: {{ kind: af_xdp, domain: lan, dev: plxt-def{more} }}\n"
            )
        };
        let lab = Lab::new(&yaml(""));
        for command in [&["check", &lab.file][..], &["lab", "up", &lab.file]] {
            refused(
                "default route",
                &pollux(command),
                1,
                &[&format!("{}:4:", lab.file), "ports.up.dev", "force: true"],
            );
        }
        before.gone();
        let lab = Lab::new(&yaml(", force: true"));
        lab.up();
        assert_eq!(ask("ports")["ports"][0]["link"], "up");
        lab.down();
        before.gone();
        assert!(run(&["ip", "route"]).contains("default via 192.0.2.2"), "the device is as it was");
    });
}

#[test]
fn a_device_that_is_taken_is_refused() {
    world("a_device_that_is_taken_is_refused", || {
        device("plxt-dev");
        let before = Traces::now();
        let port = "kind: af_xdp, dev: plxt-dev";
        let config = XdpConfig {
            ifname: "plxt-dev".into(),
            ifindex: nix::net::if_::if_nametoindex("plxt-dev").expect("an index"),
            rx_queues: 1,
            tx_queues: 1,
            driver: "veth".into(),
            mtu: 1500,
            depth: af_xdp::MAX_DEPTH,
        };
        let holder = af_xdp::open(&config, &crate::common::pool(16384)).expect("an AF_XDP port of the test");
        second_port_fails("an XDP program is there", port, &["ports.bad", "plxt-dev", "xdp off"]);
        // Only the queue is taken now.
        drop(holder.program);
        second_port_fails("the queue is taken", port, &["ports.bad", "plxt-dev", "queue 0"]);
        let mut mem = dataplane::mem::MempoolCache::new(&crate::common::pool(64));
        drop(
            holder.queues.into_iter().map(|queue| dataplane::pmd::Pmd::from(queue).close(&mut mem)).collect::<Vec<_>>(),
        );
        before.gone();
    });
}

#[test]
fn a_taken_name_and_a_taken_socket_are_refused() {
    world("a_taken_name_and_a_taken_socket_are_refused", || {
        let lab = Lab::new(&lan("plxt-first", &[("t1", "tap"), ("t2", "veth")]));
        lab.up();
        let before = Traces::now();
        refused("the lab is up", &pollux(&["lab", "up", &lab.file]), 1, &["plxt-first", "pid", "lab down"]);
        let other = Lab::new(&lan("plxt-second", &[("t3", "tap")]));
        refused("the socket is taken", &pollux(&["lab", "up", &other.file]), 1, &["pollux.sock", "--socket"]);
        before.gone();
        ping(&node_of(0), &v4(1));
        lab.down();
        // A file that is no socket is somebody's; it stays.
        fs::write("/run/pollux/pollux.sock", "mine").expect("a file");
        let before = Traces::now();
        assert_eq!(pollux(&["lab", "up", &other.file]).code, 1);
        assert_eq!(fs::read_to_string("/run/pollux/pollux.sock").expect("the file"), "mine");
        before.gone();
    });
}

#[test]
fn without_privileges_it_says_which_are_missing() {
    world("without_privileges_it_says_which_are_missing", || {
        let before = Traces::now();
        let lab = Lab::new(&lan("plxt-nobody", &FOUR));
        for command in [&["run", "-c", &lab.file][..], &["lab", "up", &lab.file]] {
            let nobody = ["--reuid=65534", "--regid=65534", "--clear-groups", "--bounding-set=-all", "--inh-caps=-all"];
            let ended: Ended =
                Command::new("setpriv").args(nobody).arg(binary()).args(command).output().expect("setpriv").into();
            refused("nobody", &ended, 4, &["CAP_NET_ADMIN", "root"]);
        }
        before.gone();
    });
}
