//! What senders leave to the hardware, between all ordered pairs of port kinds that have a kernel behind them: pings of 9000
//! bytes, TCP with super-frames, UDP with segmentation offload; IPv4 and IPv6, untagged and tagged. The receivers check
//! every checksum.

use crate::common::world::{inside, output, run, world};
use crate::lab::{Lab, balanced};
use crate::traffic::{checksum_errors, tcp, v4, v6};
use nix::sys::socket::{setsockopt, sockopt};
use std::io::{BufRead, BufReader};
use std::net::UdpSocket;
use std::process::{Command, Stdio};
use std::time::Duration;

/// Two stations on each kind of port, `eth0` in namespaces `plxt-NAME`.
const STATIONS: [&str; 6] = ["t1", "t2", "v1", "v2", "x1", "x2"];

/// One station of each kind to one of each kind.
const PAIRS: [(usize, usize); 9] = [(0, 1), (0, 2), (0, 4), (2, 0), (2, 3), (2, 4), (4, 0), (4, 2), (4, 5)];

/// The namespace of a station.
pub fn node(n: usize) -> String {
    format!("plxt-{}", STATIONS[n])
}

/// IPv4 and IPv6 address of a station.
fn addresses(n: usize) -> [String; 2] {
    [v4(n), v6(n)]
}

fn with_prefix(n: usize) -> [String; 2] {
    let [v4, v6] = addresses(n);
    [format!("{v4}/24"), format!("{v6}/64")]
}

/// The lab: TAP and veth ports made by the switch, devices made here, all with room for 9000 bytes; and the ports of
/// `more`.
pub fn lab(name: &str, more: &str) -> Lab {
    for n in [4, 5] {
        let (node, nic) = (node(n), format!("nic{n}"));
        run(&["ip", "netns", "add", &node]);
        run(&["ip", "link", "add", &nic, "mtu", "9000", "type", "veth", "peer", "name", "eth0", "netns", &node]);
        run(&["ip", "-n", &node, "link", "set", "eth0", "mtu", "9000", "up"]);
        for address in with_prefix(n) {
            let nodad = if address.contains(':') { &["nodad"][..] } else { &[] };
            run(&[&["ip", "-n", &node, "addr", "add", &address, "dev", "eth0"], nodad].concat());
        }
    }
    let made = (0..4).map(|n| {
        let (port, kind, [v4, v6]) = (STATIONS[n], if n < 2 { "tap" } else { "veth" }, with_prefix(n));
        format!("  {port}: {{ kind: {kind}, node: plxt-{port}, ifname: eth0, ip: [{v4}, \"{v6}\"], domain: lan }}\n")
    });
    let taken = [4, 5].map(|n| format!("  {}: {{ kind: af_xdp, dev: nic{n}, domain: lan }}\n", STATIONS[n]));
    let nodes: String = (0..4).map(|n| format!("  {}: {{}}\n", node(n))).collect();
    let ports: String = made.chain(taken).collect();
    Lab::new(&format!("name: {name}\ndomains:\n  lan: {{ mtu: 9000 }}\nnodes:\n{nodes}ports:\n{ports}{more}"))
}

/// Puts `eth0` of every station into VLAN 5, by BPF: not every kernel has VLAN interfaces.
pub fn tag_all() {
    let directory = tempfile::tempdir().expect("a directory");
    let [source, object] = ["tag.bpf.c", "tag.o"].map(|file| directory.path().join(file).display().to_string());
    std::fs::write(&source, include_str!("tag.bpf.c")).expect("a program");
    run(&["clang", "-O2", "-target", "bpf", "-c", &source, "-o", &object]);
    for node in (0..STATIONS.len()).map(node) {
        run(&["ip", "netns", "exec", &node, "tc", "qdisc", "add", "dev", "eth0", "clsact"]);
        for (hook, section) in [("egress", "push"), ("ingress", "pop")] {
            let filter = ["tc", "filter", "add", "dev", "eth0", hook, "bpf", "da", "obj", &object, "sec", section];
            run(&[&["ip", "netns", "exec", &node][..], &filter].concat());
        }
        // What was learned before the tag.
        run(&["ip", "-n", &node, "neigh", "flush", "all"]);
    }
}

/// One ping that fills the MTU to the last byte and may not be fragmented.
pub fn full_ping(from: usize, to: &str) {
    let payload = if to.contains(':') { "8952" } else { "8972" };
    let node = node(from);
    let ping = ["ip", "netns", "exec", &node, "ping", "-n", "-q", "-M", "do", "-c", "1", "-W", "5", "-s", payload, to];
    let ended = output(&ping);
    assert!(ended.status.success(), "9000 bytes from {node} to {to}: {}", String::from_utf8_lossy(&ended.stdout));
}

/// Bytes of the datagrams that [`send_uso`] sends.
const SIZE: usize = 1000;
/// How many, the last one short.
pub const DATAGRAMS: usize = 21;

/// Hands datagrams to the kernel in one piece (UDP_SEGMENT); what was sent.
pub fn send_uso(from: usize, address: &str, port: u16) -> Vec<u8> {
    let any = if address.contains(':') { "[::]:0" } else { "0.0.0.0:0" };
    let client = inside(&node(from), || UdpSocket::bind(any)).expect("a socket");
    client.connect((address, port)).expect("an address");
    setsockopt(&client, sockopt::UdpGsoSegment, &i32::try_from(SIZE).expect("small")).expect("UDP_SEGMENT");
    let sent: Vec<u8> = (0..(DATAGRAMS - 1) * SIZE + 17).map(|i: usize| (i * 7 + i / SIZE).to_le_bytes()[0]).collect();
    assert_eq!(client.send(&sent).expect("sending"), sent.len());
    sent
}

/// Such datagrams arrive one by one, as they were.
fn uso(from: usize, to: usize, address: &str) {
    let any = if address.contains(':') { "[::]:0" } else { "0.0.0.0:0" };
    let server = inside(&node(to), || UdpSocket::bind(any)).expect("a socket");
    server.set_read_timeout(Some(Duration::from_secs(5))).expect("a timeout");
    let sent = send_uso(from, address, server.local_addr().expect("an address").port());
    let mut buffer = [0; 2 * SIZE];
    for (i, datagram) in sent.chunks(SIZE).enumerate() {
        let n =
            server.recv(&mut buffer).unwrap_or_else(|e| panic!("datagram {i} from {} to {address}: {e}", node(from)));
        assert!(buffer[..n] == *datagram, "datagram {i} from {} to {address}", node(from));
    }
}

/// Everything between all pairs of kinds; the switch must have lost nothing.
fn everything() {
    for (from, to) in PAIRS {
        for address in addresses(to) {
            full_ping(from, &address);
            uso(from, to, &address);
            tcp(&node(from), &node(to), &address, "10M");
        }
    }
    for n in 0..STATIONS.len() {
        assert_eq!(checksum_errors(&node(n)), 0, "checksum errors in {}", node(n));
    }
    balanced();
}

#[test]
fn jumbo_tcp_and_uso_pass_between_all_pairs_of_kinds() {
    world("jumbo_tcp_and_uso_pass_between_all_pairs_of_kinds", || {
        let lab = lab("plxt-offload", "");
        lab.up();
        everything();
        lab.down();
    });
}

#[test]
fn tagged_jumbo_tcp_and_uso_pass_between_all_pairs_of_kinds() {
    world("tagged_jumbo_tcp_and_uso_pass_between_all_pairs_of_kinds", || {
        let lab = lab("plxt-tagged", "");
        lab.up();
        tag_all();
        everything();
        lab.down();
    });
}

/// The lines of `tcpdump -vv` about packets with payload that `eth0` of a node receives while `job` runs.
fn captured(node: &str, job: impl FnOnce()) -> Vec<String> {
    let mut tcpdump = Command::new("ip")
        .args(["netns", "exec", node, "tcpdump", "-i", "eth0", "-Q", "in", "-nn", "-vv", "-l", "tcp or udp"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("tcpdump");
    let mut words = BufReader::new(tcpdump.stderr.take().expect("its messages")).lines();
    assert!(words.any(|line| line.is_ok_and(|line| line.contains("listening on"))), "tcpdump does not listen");
    let lines = BufReader::new(tcpdump.stdout.take().expect("its output")).lines();
    let reader = std::thread::spawn(move || lines.map_while(Result::ok).collect::<Vec<_>>());
    job();
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(i32::try_from(tcpdump.id()).expect("a pid")),
        nix::sys::signal::SIGINT,
    )
    .expect("tcpdump");
    tcpdump.wait().expect("tcpdump");
    reader.join().expect("its lines")
}

/// A device that offloads nothing gets frames as they would be on a wire: tcpdump recomputes every checksum.
#[test]
fn a_wire_without_offloads_sees_complete_checksums() {
    world("a_wire_without_offloads_sees_complete_checksums", || {
        let lab = lab("plxt-wire", "");
        // Checksums that the device cannot do are done before the frame reaches it.
        run(&["ethtool", "-K", "nic4", "tx", "off"]);
        lab.up();
        for from in [0, 2, 5] {
            let lines = captured(&node(4), || {
                let [v4, v6] = addresses(4);
                for address in [v4, v6] {
                    uso(from, 4, &address);
                    tcp(&node(from), &node(4), &address, "1M");
                }
            });
            let checked = |word: &str| lines.iter().filter(|line| line.contains(word)).count();
            assert!(checked("(correct)") + checked("udp sum ok") > 40, "packets were seen: {}", lines.len());
            let wrong: Vec<_> =
                lines.iter().filter(|line| line.contains("incorrect") || line.contains("bad udp cksum")).collect();
            assert!(wrong.is_empty(), "from {}: {wrong:#?}", node(from));
        }
        lab.down();
    });
}
