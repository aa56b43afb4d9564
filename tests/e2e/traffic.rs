//! Traffic between nodes, with the tools everybody trusts and with sockets of our own.

use crate::common::world::{inside, output, run};
use crate::lab::{FOUR, node};
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::net::UdpSocket;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

/// Longest that one answer may take.
const ANSWER: Duration = Duration::from_secs(5);

/// Address of the n-th port (from 0) of [`crate::lab::lan`].
pub fn v4(n: usize) -> String {
    format!("10.99.0.{}", n + 1)
}

/// The same for IPv6.
pub fn v6(n: usize) -> String {
    format!("fd99::{}", n + 1)
}

/// The namespace of the n-th port of [`FOUR`].
pub fn node_of(n: usize) -> String {
    node(FOUR[n].0)
}

/// Two pings, two answers. One by one: after a first answer ping waits for others no longer than two round trips, which is
/// too short on a busy machine.
pub fn ping(from: &str, to: &str) {
    for _ in 0..2 {
        run(&["ip", "netns", "exec", from, "ping", "-n", "-q", "-c", "1", "-W", "5", to]);
    }
}

/// Whether one ping is answered.
pub fn answers(from: &str, to: &str) -> bool {
    output(&["ip", "netns", "exec", from, "ping", "-n", "-q", "-c", "1", "-W", "1", to]).status.success()
}

/// An iperf3 server for one client, listening; ends with the value.
pub struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts iperf3 for one client in `netns`; returns when it listens.
pub fn serve(netns: &str) -> Server {
    let mut child = Command::new("ip")
        .args(["netns", "exec", netns, "iperf3", "-s", "-1", "--forceflush"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("iperf3");
    let mut lines = BufReader::new(child.stdout.take().expect("its output")).lines();
    let listening = lines.any(|line| line.is_ok_and(|line| line.contains("Server listening")));
    // What else it says must not fill the pipe.
    thread::spawn(move || lines.for_each(drop));
    let server = Server(child);
    assert!(listening, "iperf3 -s in {netns} ended before it listened");
    server
}

/// Sends bytes by TCP, more than a switch with a broken offload gets through; bits per second.
pub fn tcp(from: &str, to: &str, addr: &str, bytes: &str) -> f64 {
    let _server = serve(to);
    let client = [
        "ip",
        "netns",
        "exec",
        from,
        "timeout",
        "30",
        "iperf3",
        "-J",
        "-n",
        bytes,
        "--connect-timeout",
        "5000",
        "-c",
        addr,
    ];
    let said: Value = serde_json::from_slice(&output(&client).stdout).unwrap_or_default();
    let received = &said["end"]["sum_received"];
    let rate = received["bits_per_second"].as_f64().unwrap_or(0.0);
    assert!(said["error"].is_null() && rate > 1e7, "TCP {from} to {to} ({addr}): {rate} bit/s: {}", said["error"]);
    rate
}

/// Datagrams there and back, from one byte to several IP fragments; each must return as it was.
pub fn udp(from: &str, to: &str, addr: &str) {
    let bind = if addr.contains(':') { "[::]:0" } else { "0.0.0.0:0" };
    let server = inside(to, || UdpSocket::bind(bind)).expect("a socket");
    let client = inside(from, || UdpSocket::bind(bind)).expect("a socket");
    let port = server.local_addr().expect("an address").port();
    client.connect((addr, port)).expect("an address");
    for socket in [&server, &client] {
        socket.set_read_timeout(Some(ANSWER)).expect("a timeout");
    }
    let mut buffer = [0; 9000];
    for len in [1, 18, 100, 1000, 1400, 1472, 4000, 8000] {
        let sent: Vec<u8> = (0..len).map(|i: u32| i.to_le_bytes()[0] ^ len.to_le_bytes()[0]).collect();
        client.send(&sent).expect("sending");
        let (n, back) = server.recv_from(&mut buffer).unwrap_or_else(|e| panic!("{len} bytes {from} to {to}: {e}"));
        server.send_to(&buffer[..n], back).expect("answering");
        let n = client.recv(&mut buffer).unwrap_or_else(|e| panic!("{len} bytes back from {to}: {e}"));
        assert_eq!(buffer[..n], sent, "{len} bytes {from} to {to} and back");
    }
}

/// Checksum errors that the stack of a namespace has counted, all protocols together.
pub fn checksum_errors(netns: &str) -> u64 {
    checksum_errors_in(&run(&["ip", "netns", "exec", netns, "cat", "/proc/net/snmp", "/proc/net/snmp6"]))
}

/// The same from what `/proc/net/snmp` and `snmp6` say.
pub fn checksum_errors_in(text: &str) -> u64 {
    let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
    // v4: a line of names, then one of numbers; v6: a name and a number per line
    let v4 = lines.windows(2).filter(|pair| pair[0][0].ends_with(':') && pair[0][0] == pair[1][0]);
    let v4 =
        v4.flat_map(|pair| pair[0].iter().zip(&pair[1]).map(|(name, number)| (*name, *number)).collect::<Vec<_>>());
    let v6 = lines.iter().filter(|line| line.len() == 2).map(|line| (line[0], line[1]));
    let errors = v4.chain(v6).filter(|(name, _)| name.ends_with("InCsumErrors"));
    let numbers: Vec<u64> = errors.map(|(_, number)| number.parse().expect("a count")).collect();
    assert!(numbers.len() > 3, "no checksum counters in {text}");
    numbers.iter().sum()
}
