//! Ports come and go on a running switch, through its API, and cost the others nothing: not one frame.

use crate::common::frame;
use crate::common::packet::Wire;
use crate::common::world::{inside, output, silence, world};
use crate::lab::{FOUR, Lab, Traces, ask, drops, lan, node, pollux};
use crate::traffic::{node_of, ping, v4};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

const STATION_T: [u8; 6] = [0x02, 0, 0, 0, 1, 1];
const STATION_V: [u8; 6] = [0x02, 0, 0, 0, 1, 2];
/// Frames under way at a time: less than any queue on the path holds, so that a busy machine loses none either.
const WINDOW: u32 = 24;

/// A ping-pong of windows between two wires; every frame must arrive, in order. How many did.
fn ping_pong(there: &Wire, back: &Wire, stop: &AtomicBool) -> u32 {
    let mut serial = 0;
    while !stop.load(Ordering::Relaxed) {
        for (from, to, dst, src) in [(there, back, STATION_V, STATION_T), (back, there, STATION_T, STATION_V)] {
            let window: Vec<_> = (serial..serial + WINDOW).map(|i| frame(dst, src, i, 300)).collect();
            for frame in &window {
                from.send(frame).expect("sending");
            }
            assert_eq!(to.receive_all(window.len()), window, "a frame was lost or came out of order");
            serial += WINDOW;
        }
    }
    serial
}

/// Adds a port, uses it, removes it.
fn visit(kind: &str) {
    let place = format!("node: {}, ifname: guest, ip: [10.99.0.99/24]", node("g"));
    let spec = match kind {
        "null" => "{ kind: null, domain: lan }".to_owned(),
        _ => format!("{{ kind: {kind}, {place}, domain: lan }}"),
    };
    pollux(&["port", "add", "guest", "--spec", &spec.replace("kind: null", "kind: \"null\"")]).ok();
    if kind != "null" {
        ping(&node("g"), &v4(1));
    }
    assert_eq!(ask("ports")["ports"].as_array().map(Vec::len), Some(FOUR.len() + 2));
    pollux(&["port", "del", "guest"]).ok();
    let fdb = ask("fdb");
    assert!(fdb["entries"].as_array().expect("entries").iter().all(|entry| entry["port"] != "guest"), "{fdb:#}");
    assert!(!output(&["ip", "-n", &node("g"), "link", "show", "guest"]).status.success(), "its interface is gone");
}

/// The lab of four ports, and a namespace for guests.
fn lab_with_room(name: &str) -> Lab {
    let ports = [&FOUR[..], &[("g", "tap")]].concat();
    Lab::new(&lan(name, &ports))
}

#[test]
fn ports_that_come_and_go_cost_the_others_nothing() {
    world("ports_that_come_and_go_cost_the_others_nothing", || {
        let before = Traces::now();
        let lab = lab_with_room("plxt-churn");
        lab.up();
        ping(&node_of(0), &v4(2));
        let [there, back] = [0, 2].map(|n| {
            inside(&node_of(n), || {
                silence();
                Wire::open("eth0")
            })
        });
        let stop = AtomicBool::new(false);
        let passed = thread::scope(|scope| {
            let traffic = scope.spawn(|| ping_pong(&there, &back, &stop));
            let visits = std::panic::catch_unwind(|| {
                for kind in ["tap", "veth", "null"].iter().cycle().take(18) {
                    visit(kind);
                }
            });
            stop.store(true, Ordering::Relaxed);
            let passed = traffic.join();
            visits.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            passed.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        });
        assert!(passed > 1000, "{passed} frames are too few to prove anything");
        for reason in ["tx_full", "ring_full", "port_gone", "no_mbuf"] {
            assert_eq!((drops("t1", reason), drops("v1", reason)), (0, 0), "{reason}");
        }
        lab.down();
        before.gone();
    });
}

/// What the API refuses leaves the switch as it was.
#[test]
fn a_port_that_cannot_be_added_leaves_nothing() {
    world("a_port_that_cannot_be_added_leaves_nothing", || {
        let lab = Lab::new(&lan("plxt-refused", &FOUR[..2]));
        lab.up();
        let before = Traces::now();
        let links = || output(&["ip", "-n", &node("t1"), "-o", "link"]).stdout;
        let links_before = links();
        let attempts = [
            ("x", "{ kind: tap, domain: nowhere }", "nowhere"),
            ("x", "{ kind: tap, domain: lan, node: plxt-t1, ifname: eth0 }", "eth0"),
            ("x", "{ kind: af_xdp, domain: lan, dev: plxt-none }", "plxt-none"),
            ("x", "{ kind: tap, domain: lan, netns: plxt-none }", "plxt-none"),
            ("x", "{ kind: veth, domain: lan, node: plxt-t1, ifname: e1, mtu: 9000 }", "9000"),
            ("x", "{ kind: tap, domain: lan, colour: red }", "colour"),
            ("t1", "{ kind: tap, domain: lan }", "t1"),
            ("a-name-too-long-for-a-port", "{ kind: tap, domain: lan }", "15"),
        ];
        for (name, spec, word) in attempts {
            let ended = pollux(&["port", "add", name, "--spec", spec]);
            assert!(ended.code == 1 && ended.err.contains(word), "{name} {spec}: {ended:#?}");
        }
        assert_eq!(pollux(&["port", "del", "x"]).code, 1, "there is no such port");
        assert_eq!(ask("ports")["ports"].as_array().map(Vec::len), Some(2));
        before.gone();
        assert_eq!(String::from_utf8(links()), String::from_utf8(links_before));
        ping(&node_of(0), &v4(1));
        lab.down();
    });
}
