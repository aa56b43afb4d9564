//! VLAN tags pass the switch untouched, from every kind of port to every other. A kernel that takes a tag out of a frame
//! on its way in hands it to a veth beside the frame, where we do not see it unless the XDP program asks.
//!
//! A bridge in the sending node does just that, on every kernel; its VLAN interfaces, where it has them, then carry real
//! traffic.

use crate::common::packet::Wire;
use crate::common::world::{inside, output, run, silence, world};
use crate::common::{ETHERTYPE, PATIENCE, frame, wait_until};
use crate::lab::{FOUR, KIND_PAIRS, Lab, drops, lan, ordered_pairs};
use crate::traffic::{checksum_errors, node_of, ping, tcp};
use std::io::{self, BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;

const STATION: [u8; 6] = [0x02, 0, 0, 0, 3, 1];
const BROADCAST: [u8; 6] = [0xff; 6];

/// tcpdump in a node: packet sockets show a frame without its tag, libpcap puts it back.
struct Capture {
    tcpdump: Child,
    /// Read by a thread of its own, so that one can stop waiting.
    frames: Receiver<Vec<u8>>,
}

impl Drop for Capture {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.tcpdump.kill();
        let _ = self.tcpdump.wait();
    }
}

impl Capture {
    /// Frames of tests that come in on `eth0`, from now on.
    fn start(netns: &str) -> Self {
        let filter = format!("ether src {}", STATION.map(|byte| format!("{byte:02x}")).join(":"));
        let mut tcpdump = Command::new("ip")
            .args([
                "netns",
                "exec",
                netns,
                "tcpdump",
                "-i",
                "eth0",
                "-Q",
                "in",
                "-U",
                "--immediate-mode",
                "-w",
                "-",
                &filter,
            ])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("tcpdump");
        let mut words = BufReader::new(tcpdump.stderr.take().expect("its messages")).lines();
        assert!(
            words.any(|line| line.is_ok_and(|line| line.contains("listening on"))),
            "tcpdump in {netns} does not listen"
        );
        let mut file = tcpdump.stdout.take().expect("its output");
        // The file header of pcap.
        file.read_exact(&mut [0; 24]).expect("a header");
        let (sender, frames) = mpsc::channel();
        thread::spawn(move || {
            while let Ok(frame) = record(&mut file) {
                // The test is over.
                let Ok(()) = sender.send(frame) else { return };
            }
        });
        Self { tcpdump, frames }
    }

    /// The next frame.
    fn next(&mut self) -> Option<Vec<u8>> {
        self.frames.recv_timeout(PATIENCE).ok()
    }
}

/// The next frame of a pcap file.
fn record(file: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut header = [0; 16];
    file.read_exact(&mut header)?;
    let len = u32::from_ne_bytes([header[8], header[9], header[10], header[11]]);
    let mut bytes = vec![0; len as usize];
    file.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// A bridge in the node from a new interface `source` to `eth0`.
fn bridge(node: &str) -> Wire {
    for command in [
        &["add", "bridge0", "type", "bridge"][..],
        &["add", "source", "type", "veth", "peer", "name", "inner"],
        // For frames with two tags.
        &["set", "source", "mtu", "1600"],
        &["set", "inner", "mtu", "1600"],
        &["set", "inner", "master", "bridge0"],
        &["set", "eth0", "master", "bridge0"],
        &["set", "inner", "up"],
        &["set", "source", "up"],
        &["set", "bridge0", "up"],
    ] {
        run(&[&["ip", "-n", node, "link"], command].concat());
    }
    inside(node, || {
        silence();
        Wire::open("source")
    })
}

/// A frame with these tags, outermost first.
fn tagged(tags: &[[u8; 4]], serial: u32, len: usize) -> Vec<u8> {
    let mut bytes = frame(BROADCAST, STATION, serial, len);
    bytes.splice(12..12, tags.concat());
    bytes
}

#[test]
fn vlan_tags_survive_between_all_kinds_of_ports() {
    world("vlan_tags_survive_between_all_kinds_of_ports", || {
        let lab = Lab::new(&lan("plxt-tags", &FOUR));
        lab.up();
        let sources = [0, 2].map(|n| (n, bridge(&node_of(n))));
        for (n, source) in &sources {
            for to in (0..FOUR.len()).filter(|to| to != n && !sources.iter().any(|(s, _)| s == to)) {
                tags_arrive(source, &node_of(to));
                longest_of_two_tags(source, to);
            }
        }
        lab.down();
    });
}

/// Priority and drop eligibility are part of the tag; so is its absence.
fn tags_arrive(source: &Wire, to: &str) {
    let c_tag = |tci: u16| [0x81, 0x00, tci.to_be_bytes()[0], tci.to_be_bytes()[1]];
    let s_tag = |tci: u16| [0x88, 0xa8, tci.to_be_bytes()[0], tci.to_be_bytes()[1]];
    let stacks =
        [vec![], vec![c_tag(7)], vec![c_tag(0xbfff)], vec![c_tag(0)], vec![s_tag(5)], vec![s_tag(5), c_tag(9)]];
    let mut capture = Capture::start(to);
    for (serial, (tags, len)) in (0..).zip(stacks.iter().flat_map(|tags| [60, 1514].map(|len| (tags, len)))) {
        // A veth takes MTU + 18 bytes and no more (is_skb_forwardable in net/core/dev.c): room for one tag.
        let sent = tagged(tags, serial, len.min(1518 - 4 * tags.len()));
        source.send(&sent).expect("sending");
        let got = capture.next().unwrap_or_else(|| panic!("{len} bytes with {tags:x?} do not arrive at {to}"));
        let ethertype = 12 + 4 * tags.len();
        assert_eq!(got[..ethertype], sent[..ethertype], "addresses and tags at {to} of {tags:x?}");
        assert_eq!(got[ethertype..ethertype + 2], ETHERTYPE, "behind the tags at {to}");
        assert!(got == sent, "{len} bytes with {tags:x?} at {to}");
    }
}

/// A whole packet with two tags does not fit through a veth, and is counted where it ends; a TAP takes it.
fn longest_of_two_tags(source: &Wire, to: usize) {
    let (port, kind) = FOUR[to];
    let sent = tagged(&[[0x88, 0xa8, 0, 5], [0x81, 0, 0, 9]], 99, 1514);
    let (mut capture, before) = (Capture::start(&node_of(to)), drops(port, "oversize"));
    source.send(&sent).expect("sending");
    if kind == "veth" {
        wait_until("the frame to be counted as too long", || drops(port, "oversize") == before + 1);
    } else {
        assert!(capture.next() == Some(sent), "1522 bytes with two tags at {port}");
    }
}

/// An interface of a VLAN on top of another.
fn stack(node: &str, below: &str, name: &str, protocol: &str, id: &str) {
    run(&["ip", "-n", node, "link", "add", "link", below, "name", name, "type", "vlan", "proto", protocol, "id", id]);
    run(&["ip", "-n", node, "link", "set", name, "up"]);
}

/// Whether this kernel has VLAN interfaces at all.
fn kernel_has_vlans() -> bool {
    output(&["ip", "link", "add", "link", "lo", "name", "probe", "type", "vlan", "id", "1"]).status.success()
}

#[test]
fn traffic_of_vlan_interfaces_passes() {
    world("traffic_of_vlan_interfaces_passes", || {
        if !kernel_has_vlans() {
            eprintln!("skipped: traffic_of_vlan_interfaces_passes needs a kernel with CONFIG_VLAN_8021Q");
            return;
        }
        let lab = Lab::new(&lan("plxt-vlan", &FOUR));
        lab.up();
        for n in 0..FOUR.len() {
            let node = node_of(n);
            stack(&node, "eth0", "eth0.7", "802.1Q", "7");
            stack(&node, "eth0", "eth0.s5", "802.1ad", "5");
            stack(&node, "eth0.s5", "eth0.s5.9", "802.1Q", "9");
            run(&["ip", "-n", &node, "addr", "add", &format!("10.97.0.{}/24", n + 1), "dev", "eth0.7"]);
            // Two tags in a frame of 1522 bytes: the IP packet inside is 4 bytes shorter than with one.
            run(&["ip", "-n", &node, "link", "set", "eth0.s5.9", "mtu", "1496"]);
            run(&["ip", "-n", &node, "addr", "add", &format!("10.96.0.{}/24", n + 1), "dev", "eth0.s5.9"]);
        }
        // Only a frame with these very tags reaches these interfaces.
        for (from, to) in ordered_pairs(FOUR.len()) {
            ping(&node_of(from), &format!("10.97.0.{}", to + 1));
            ping(&node_of(from), &format!("10.96.0.{}", to + 1));
        }
        for (from, to) in KIND_PAIRS {
            tcp(&node_of(from), &node_of(to), &format!("10.97.0.{}", to + 1), "10M");
            tcp(&node_of(from), &node_of(to), &format!("10.96.0.{}", to + 1), "5M");
        }
        for n in 0..FOUR.len() {
            assert_eq!(checksum_errors(&node_of(n)), 0, "checksum errors in {}", node_of(n));
        }
        lab.down();
    });
}

/// Two domains and a patch cable between them: an access port of VLAN 10 on one side, of 110 on the other.
fn across(near: &str, far: &str) -> String {
    let port = |n: usize, kind: &str, domain: &str, vid: u16| {
        format!(
            "  p{n}: {{ kind: {kind}, node: {}, ifname: eth0, ip: [10.98.0.{n}/24], domain: {domain}, vlan: {{ access: {vid} }} }}\n",
            node_of(n)
        )
    };
    let ends = port(1, near, "left", 10) + &port(2, far, "right", 110);
    format!(
        "name: plxt-across\nmemory: {{ hugepages: off }}\ndomains: {{ left: {{}}, right: {{}} }}\nnodes: {{ {}: {{}}, {}: {{}} }}\nports:\n{ends}\
           \x20 cable1: {{ kind: ring, peer: cable2, domain: left, vlan: {{ trunk: [10, 20] }} }}\n\
           \x20 cable2: {{ kind: ring, peer: cable1, domain: right, vlan: {{ map: {{ 10: 110 }} }} }}\n",
        node_of(1),
        node_of(2)
    )
}

/// Tags come and go in frames of up to 64 KiB whose checksums and segments are still to be made.
#[test]
fn tcp_crosses_a_translating_trunk_with_offloads_on() {
    world("tcp_crosses_a_translating_trunk_with_offloads_on", || {
        for (near, far) in [("tap", "tap"), ("tap", "veth"), ("veth", "tap")] {
            let lab = Lab::new(&across(near, far));
            lab.up();
            let (a, b) = (node_of(1), node_of(2));
            ping(&a, "10.98.0.2");
            tcp(&a, &b, "10.98.0.2", "20M");
            tcp(&b, &a, "10.98.0.1", "20M");
            for node in [&a, &b] {
                assert_eq!(checksum_errors(node), 0, "checksum errors in {node}, {near} to {far}");
            }
            lab.down();
        }
    });
}
