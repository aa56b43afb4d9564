//! `lab test`: what a lab's nodes can do over the switch, found out with the tools everybody trusts.
//!
//! ping between every ordered pair of interfaces that share a domain and a subnet; with `--tcp` iperf3 between every ordered
//! pair of port kinds. Waits are for conditions: iperf3's own "Server listening".

use crate::kernel::netns;
use crate::net::{IpNet, Netns};
use crate::plan::{Driver, Plan, PortPlan};
use crate::view::text::table;
use serde::Serialize;
use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader};
use std::net::IpAddr;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Pings at a time.
const AT_ONCE: usize = 4;
/// A TCP connection slower than this is broken, not slow: super-frames or checksums get lost.
const SLOWEST: f64 = 1e6;

/// What came of it.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// Version of this shape.
    pub v: u32,
    /// Whether everything passed.
    pub ok: bool,
    /// By ordered pair.
    pub pings: Vec<Ping>,
    /// By ordered pair of kinds.
    pub tcp: Vec<Tcp>,
    /// What was not tested, by domain, and why.
    pub left_out: Vec<String>,
}

/// One ordered pair, pinged.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Ping {
    /// Port the pings left from.
    pub from: String,
    /// Port they went to.
    pub to: String,
    /// Echo requests sent.
    pub sent: u32,
    /// Replies.
    pub received: u32,
    /// Mean round trip, if any came back.
    pub rtt_ms: Option<f64>,
    /// Whether all came back.
    pub ok: bool,
    /// Why not.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub error: String,
}

/// One ordered pair of kinds, by iperf3.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Tcp {
    /// Port of the sender.
    pub from: String,
    /// Port of the receiver.
    pub to: String,
    /// Their kinds.
    pub kinds: String,
    /// Received.
    pub bits_per_second: f64,
    /// Segments sent again.
    pub retransmits: u64,
    /// Whether data flowed.
    pub ok: bool,
    /// Why not.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub error: String,
}

/// An interface with an address.
#[derive(Clone, Debug)]
struct End<'a> {
    port: &'a str,
    kind: &'static str,
    domain: &'a str,
    /// None: in a virtual machine, which can be called and does not call.
    place: Option<&'a Netns>,
    ifname: &'a str,
    nets: &'a [IpNet],
}

/// Tests a lab that is up.
#[must_use]
pub fn run(plan: &Plan, tcp: bool) -> Report {
    let pairs = pairs(plan);
    let pings = ping_all(&pairs);
    let tcp: Vec<Tcp> = if tcp { one_per_kinds(&pairs).into_iter().map(iperf).collect() } else { Vec::new() };
    let ok = !pings.is_empty() && pings.iter().all(|ping| ping.ok) && tcp.iter().all(|tcp| tcp.ok);
    Report { v: crate::view::VERSION, ok, pings, tcp, left_out: left_out(plan) }
}

type Pair<'a> = (End<'a>, End<'a>, IpAddr);

/// Ordered pairs that share a domain and a subnet, with the address to call.
fn pairs(plan: &Plan) -> Vec<Pair<'_>> {
    let ends = ends(plan);
    let mut pairs = Vec::new();
    for from in ends.iter().filter(|end| end.place.is_some()) {
        for to in ends.iter().filter(|to| to.port != from.port && to.domain == from.domain) {
            if let Some(net) = reached(from, to) {
                pairs.push((from.clone(), to.clone(), net.addr));
            }
        }
    }
    pairs
}

/// The address of `to` that is in a subnet of `from`.
fn reached<'a>(from: &End<'_>, to: &'a End<'_>) -> Option<&'a IpNet> {
    to.nets.iter().find(|net| from.nets.iter().any(|mine| mine.contains(net.addr)))
}

/// Stations of one domain that share no subnet: a switch does not bring them together.
fn left_out(plan: &Plan) -> Vec<String> {
    let ends = ends(plan);
    let mut apart: BTreeMap<&str, Vec<(&End<'_>, &End<'_>)>> = BTreeMap::new();
    for (i, a) in ends.iter().enumerate() {
        let others = ends[i + 1..].iter().filter(|b| b.domain == a.domain);
        for b in others.filter(|b| reached(a, b).is_none() && reached(b, a).is_none()) {
            apart.entry(a.domain).or_default().push((a, b));
        }
    }
    let line = |(domain, pairs): (&str, Vec<(&End<'_>, &End<'_>)>)| {
        let (a, b) = pairs.first()?;
        let (n, a_net, b_net) = (pairs.len(), a.nets.first()?, b.nets.first()?);
        let (a, b) = (a.port, b.port);
        Some(format!("{n} pairs of domain {domain} share no subnet, such as {a} ({a_net}) and {b} ({b_net})"))
    };
    apart.into_iter().filter_map(line).collect()
}

fn ends(plan: &Plan) -> Vec<End<'_>> {
    plan.ports.iter().filter_map(end).filter(|end| !end.nets.is_empty()).collect()
}

fn end(port: &PortPlan) -> Option<End<'_>> {
    let (place, ifname, nets) = match (&port.shape, port.netdev()) {
        (Driver::VhostUser(offer), _) => (None, "", &offer.nic.as_ref()?.ip),
        (_, netdev) => netdev.map(|netdev| (Some(&netdev.place), netdev.ifname.as_str(), &netdev.ip))?,
    };
    Some(End { port: &port.name, kind: port.kind().name(), domain: &port.domain, place, ifname, nets })
}

fn ping_all(pairs: &[Pair<'_>]) -> Vec<Ping> {
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE.min(pairs.len()) {
            scope.spawn(|| {
                // Relaxed: a ticket counter, nothing is published by it
                while let Some(pair) = pairs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let result = ping(pair);
                    done.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(result);
                }
            });
        }
    });
    let mut all = done.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    let place = |ping: &Ping| pairs.iter().position(|(from, to, _)| from.port == ping.from && to.port == ping.to);
    all.sort_by_key(place);
    all
}

fn ping((from, to, addr): &Pair<'_>) -> Ping {
    let mut command = Command::new("ping");
    command.args(["-n", "-q", "-c", "3", "-i", "0.01", "-W", "1", "-w", "5", "-I", from.ifname]).arg(addr.to_string());
    let mut result = Ping { from: from.port.to_owned(), to: to.port.to_owned(), ..Ping::default() };
    match in_place(from.place.unwrap_or(&Netns::Host), || command.output()) {
        Ok(output) => read_ping(&output, &mut result),
        Err(error) => result.error = error,
    }
    result
}

fn in_place<T: Send>(place: &Netns, job: impl FnOnce() -> io::Result<T> + Send) -> Result<T, String> {
    match netns::inside(place, job) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) if error.kind() == io::ErrorKind::NotFound => {
            Err("the tool is not installed; `apt install iputils-ping iperf3`".to_owned())
        }
        Ok(Err(error)) => Err(error.to_string()),
        Err(error) => Err(error.to_string()),
    }
}

/// `3 packets transmitted, 3 received, ...` and `rtt min/avg/max/mdev = 0.03/0.05/0.08/0.01 ms`.
fn read_ping(output: &Output, result: &mut Ping) {
    let text = String::from_utf8_lossy(&output.stdout);
    let before = |word: &str| {
        let words: Vec<&str> = text.split_whitespace().collect();
        let at = words.iter().position(|w| w.trim_end_matches(',') == word)?;
        words[..at].iter().rev().find_map(|w| w.parse().ok())
    };
    result.sent = before("transmitted").unwrap_or(0);
    result.received = before("received").unwrap_or(0);
    let rtt = text.lines().find_map(|line| line.split_once("= ").filter(|_| line.starts_with("rtt")));
    result.rtt_ms = rtt.and_then(|(_, values)| values.split('/').nth(1)?.parse().ok());
    // with a deadline ping goes on until `-c` replies have come: a fourth request may be under way when it ends
    result.ok = output.status.success() && result.received >= 3;
    if !result.ok {
        let complaint = String::from_utf8_lossy(&output.stderr);
        result.error = complaint.lines().next().unwrap_or("no answer").to_owned();
    }
}

/// The first pair of every ordered pair of kinds.
fn one_per_kinds<'a, 'b>(pairs: &'b [Pair<'a>]) -> Vec<&'b Pair<'a>> {
    let mut chosen: Vec<&Pair<'_>> = Vec::new();
    for pair in pairs.iter().filter(|(_, to, _)| to.place.is_some()) {
        let same = |other: &&Pair<'_>| (other.0.kind, other.1.kind) == (pair.0.kind, pair.1.kind);
        if !chosen.iter().any(same) {
            chosen.push(pair);
        }
    }
    chosen
}

fn iperf(pair: &Pair<'_>) -> Tcp {
    let (from, to, addr) = pair;
    let kinds = format!("{} → {}", from.kind, to.kind);
    let mut result = Tcp { from: from.port.to_owned(), to: to.port.to_owned(), kinds, ..Tcp::default() };
    match transfer(from, to, *addr) {
        Ok(output) => read_iperf(&output, &mut result),
        Err(error) => result.error = error,
    }
    result
}

fn transfer(from: &End<'_>, to: &End<'_>, addr: IpAddr) -> Result<Output, String> {
    let addr = addr.to_string();
    let mut server = in_place(to.place.unwrap_or(&Netns::Host), || serve(&addr))?;
    // `timeout`: a connection that breaks in the middle would keep iperf3 waiting for ever
    let mut client = Command::new("timeout");
    client.args(["-k", "1", "15", "iperf3", "-J", "-t", "1", "--connect-timeout", "3000", "-c", &addr]);
    let output = in_place(from.place.unwrap_or(&Netns::Host), || client.output());
    // it ends by itself after one client, unless that never came
    let _ = server.kill();
    let _ = server.wait();
    output
}

/// Starts a server for one client; returns when it listens.
fn serve(addr: &str) -> io::Result<Child> {
    let mut server = Command::new("iperf3")
        .args(["-s", "-1", "--forceflush", "-B", addr])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let output = server.stdout.take().ok_or_else(|| io::Error::other("iperf3 has no output"))?;
    let mut lines = BufReader::new(output).lines();
    let listening = lines.any(|line| line.is_ok_and(|line| line.contains("Server listening")));
    // what else it says must not fill the pipe
    std::thread::spawn(move || lines.for_each(drop));
    if listening {
        return Ok(server);
    }
    let _ = server.wait();
    Err(io::Error::other("iperf3 -s ended before it listened"))
}

fn read_iperf(output: &Output, result: &mut Tcp) {
    let said: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    let end = &said["end"];
    result.bits_per_second = end["sum_received"]["bits_per_second"].as_f64().unwrap_or(0.0);
    result.retransmits = end["sum_sent"]["retransmits"].as_u64().unwrap_or(0);
    result.ok = output.status.success() && result.bits_per_second > SLOWEST;
    if !result.ok {
        let words = said["error"].as_str().map(str::to_owned);
        result.error = words.unwrap_or_else(|| format!("{:.0} bit/s passed", result.bits_per_second));
    }
}

impl Report {
    /// For people.
    #[must_use]
    pub fn text(&self) -> String {
        let ok = |ok: bool, error: &str| if ok { "ok".to_owned() } else { format!("FAILED: {error}") };
        let ping = |ping: &Ping| {
            let count = format!("{}/{}", ping.received, ping.sent);
            let rtt = ping.rtt_ms.map_or_else(|| "-".to_owned(), |rtt| format!("{rtt:.3} ms"));
            vec![ping.from.clone(), ping.to.clone(), count, rtt, ok(ping.ok, &ping.error)]
        };
        let rows: Vec<_> = self.pings.iter().map(ping).collect();
        let mut text = table(&["PING", "TO", "REPLIES", "RTT", ""], &rows, &[2, 3]);
        if !self.tcp.is_empty() {
            let tcp = |tcp: &Tcp| {
                let rate = format!("{:.2} Gbit/s", tcp.bits_per_second / 1e9);
                vec![
                    tcp.kinds.clone(),
                    format!("{} → {}", tcp.from, tcp.to),
                    rate,
                    tcp.retransmits.to_string(),
                    ok(tcp.ok, &tcp.error),
                ]
            };
            let rows: Vec<_> = self.tcp.iter().map(tcp).collect();
            text.push('\n');
            text.push_str(&table(&["TCP", "PORTS", "RATE", "RETRANSMITS", ""], &rows, &[2, 3]));
        }
        text.extend(self.left_out.iter().map(|what| format!("\nnot tested: {what}\n")));
        text
    }
}

#[cfg(test)]
mod unit {
    use super::*;
    use std::os::unix::process::ExitStatusExt;
    use std::process::ExitStatus;

    fn output(stdout: &str) -> Output {
        Output { status: ExitStatus::from_raw(0), stdout: stdout.into(), stderr: Vec::new() }
    }

    #[test]
    fn subnets_decide_who_can_be_called() {
        let net = |addr: &str, prefix| IpNet { addr: addr.parse().unwrap(), prefix };
        assert!(net("10.0.0.1", 24).contains("10.0.0.2".parse().unwrap()));
        assert!(!net("10.0.0.1", 24).contains("10.0.1.2".parse().unwrap()));
        assert!(!net("10.0.0.1", 24).contains("fd00::1".parse().unwrap()));
        assert!(net("fd00::1", 64).contains("fd00::2".parse().unwrap()));
        assert!(net("10.0.0.1", 0).contains("192.0.2.1".parse().unwrap()));
        assert!(!net("10.0.0.1", 32).contains("10.0.0.0".parse().unwrap()));
    }

    #[test]
    fn what_no_switch_brings_together_is_said() {
        let port = |name: &str, ip: &str| format!("  {name}: {{ kind: tap, ip: [{ip}], domain: lan }}\n");
        let ports = port("a", "10.0.0.1/24") + &port("b", "10.0.0.2/24") + &port("c", "10.8.0.1/24");
        let document =
            crate::config::document::parse("t.yaml", &format!("name: t\ndomains: {{ lan: {{}} }}\nports:\n{ports}"));
        let machine = crate::kernel::machine::Machine { cores: vec![0], memory: 8 << 30, ..Default::default() };
        let plan = crate::plan::plan(&document.unwrap(), &machine).unwrap();
        assert_eq!((pairs(&plan).len(), left_out(&plan).len()), (2, 1));
        let said = "2 pairs of domain lan share no subnet, such as a (10.0.0.1/24) and c (10.8.0.1/24)";
        assert_eq!(left_out(&plan), [said]);
    }

    #[test]
    fn what_ping_and_iperf3_say_is_understood() {
        let mut ping = Ping::default();
        read_ping(
            &output(
                "--- 10.0.0.2 ping statistics ---\n3 packets transmitted, 3 received, 0% packet loss, time 20ms\nrtt min/avg/max/mdev = 0.036/0.052/0.081/0.019 ms\n",
            ),
            &mut ping,
        );
        assert_eq!((ping.sent, ping.received, ping.rtt_ms, ping.ok), (3, 3, Some(0.052), true));
        read_ping(&output("3 packets transmitted, 0 received, +3 errors, 100% packet loss\n"), &mut ping);
        assert_eq!((ping.received, ping.rtt_ms, ping.ok, ping.error.as_str()), (0, None, false, "no answer"));
        let mut tcp = Tcp::default();
        read_iperf(
            &output("{\"end\":{\"sum_sent\":{\"retransmits\":2},\"sum_received\":{\"bits_per_second\":5e9}}}"),
            &mut tcp,
        );
        assert_eq!((tcp.ok, tcp.retransmits, tcp.bits_per_second), (true, 2, 5e9));
        read_iperf(&output("{\"error\":\"unable to connect\"}"), &mut tcp);
        assert_eq!((tcp.ok, tcp.error.as_str()), (false, "unable to connect"));
    }
}
