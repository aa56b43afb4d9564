//! A scenario on `pollux run`: every port is a TAP, whose interface stands for what is outside of it.
//!
//! A frame has been dealt with when the switch has counted it in and its books balance: a frame counts as sent when the
//! kernel has taken it.

use crate::common::wait_until;
use crate::lab::{Lab, binary, pollux};
use crate::rig::Rig;
use crate::script::{HOST, Kind, Port, Scenario, address, colons};
use crate::wire::{Sight, Wire};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};

const SOCKET: &str = "/run/pollux/pollux.sock";

/// A switch of ours.
#[derive(Debug)]
pub struct Pollux {
    daemon: Child,
    _config: Lab,
    ports: Vec<Port>,
    wires: BTreeMap<String, Vec<Wire>>,
    sources: BTreeMap<String, Vec<String>>,
    sent: i64,
}

impl Drop for Pollux {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

impl Pollux {
    /// Starts it in the namespace of the calling thread.
    pub fn build(scenario: &Scenario) -> Self {
        let config = Lab::new(&yaml(scenario));
        let mut daemon = Command::new(binary())
            .args(["run", "-c", &config.file])
            .stderr(Stdio::piped())
            .spawn()
            .expect("running pollux");
        let mut lines = BufReader::new(daemon.stderr.take().expect("its log")).lines().map_while(Result::ok);
        let mut log = String::new();
        let up = lines.by_ref().any(|line| {
            log += &format!("{line}\n");
            line.contains("every port is up")
        });
        std::thread::spawn(move || lines.for_each(drop));
        assert!(up, "{}: pollux did not start:\n{log}\n{}", scenario.name, yaml(scenario));
        let mut wires: BTreeMap<_, _> =
            scenario.ports.iter().map(|port| (port.name.clone(), vec![Wire::open(&port.name, Sight::All)])).collect();
        if scenario.kind == Kind::Macvlan {
            wires.insert("wire".to_owned(), vec![Wire::open("wire", Sight::All)]);
            let types = [u16::from_be_bytes(crate::common::ETHERTYPE), 0x8808];
            wires.insert("host".to_owned(), types.map(|it| Wire::open("host", Sight::Stack(it))).into());
        }
        let sources = scenario.ports.iter().map(|port| (port.name.clone(), sources(port, &scenario.ports))).collect();
        Self { daemon, _config: config, ports: scenario.ports.clone(), wires, sources, sent: 0 }
    }

    /// Stops it; every frame must have come home.
    pub fn stop(mut self) {
        let stopped = call("POST", "/v1/stop");
        assert_eq!(stopped["free"], stopped["total"], "frames of the pool");
        self.daemon.wait().expect("the end of pollux");
    }
}

/// A question to the daemon, without a process of its own: it is asked after every frame.
fn call(method: &str, path: &str) -> Value {
    let mut stream = UnixStream::connect(SOCKET).expect("the daemon");
    let request = format!("{method} {path} HTTP/1.1\r\nhost: pollux\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("asking the daemon");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let body = answer.split_once("\r\n\r\n").expect("a body").1;
    serde_json::from_str(body).expect("JSON")
}

/// Frames in, and frames in minus frames out or dropped.
fn books() -> (i64, i64) {
    let stats = call("GET", "/v1/stats");
    let count = |value: &Value| value.as_i64().expect("a count");
    let (mut received, mut balance) = (0, 0);
    for port in stats["ports"].as_object().expect("ports").values() {
        let drops: i64 = port["drops"].as_object().expect("drops").values().map(count).sum();
        received += count(&port["rx_frames"]);
        let entered = ["rx_frames", "rx_lost", "flood_copies"].map(|key| count(&port[key]));
        balance += entered.into_iter().sum::<i64>() - count(&port["tx_frames"]) - drops;
    }
    (received, balance)
}

impl Rig for Pollux {
    fn wires(&self) -> &BTreeMap<String, Vec<Wire>> {
        &self.wires
    }

    fn sending(&mut self) {
        self.sent += 1;
    }

    fn settle(&mut self) {
        let mut last = (0, 0);
        wait_until("the switch to have dealt with the frame", || {
            last = books();
            last == (self.sent, 0)
        });
    }

    fn change(&mut self, words: &[&str]) {
        let mac = |word: &str| colons(address(word, &self.ports));
        match words {
            ["down", port] => set(port, "enabled=false"),
            ["up", port] => {
                set(port, "enabled=true");
                // the kernel gives the interface its carrier back in its own time
                wait_until("the port's link", || link(port) == "up");
            }
            ["mode", port, mode] => set(port, &format!("macvlan={mode}")),
            ["source", how, port, rest @ ..] => {
                let rest: Vec<_> = rest.iter().map(|word| mac(word)).collect();
                let list = self.sources.get_mut(*port).expect("a source port");
                match *how {
                    "add" => list.extend(rest),
                    "del" => list.retain(|mac| !rest.contains(mac)),
                    // a list must have somebody: nobody who speaks here
                    _ => *list = vec!["02:00:00:00:fe:fe".to_owned()],
                }
                set(port, &format!("sources={list:?}"));
            }
            ["set", port, flag, state] => {
                let key = match *flag {
                    "flood" => "flood.unicast",
                    "mcast_flood" => "flood.multicast",
                    "bcast_flood" => "flood.broadcast",
                    other => other,
                };
                set(port, &format!("{key}={}", *state == "on"));
            }
            ["fdb", "add", port, station, how @ ..] => {
                let sticky = how.contains(&"sticky").then_some("--sticky");
                let line = ["fdb", "add", "lan", &mac(station), port];
                pollux(&line.into_iter().chain(sticky).collect::<Vec<_>>()).ok();
            }
            ["fdb", "del", _, station] => drop(pollux(&["fdb", "del", "lan", &mac(station)]).ok()),
            ["flush"] => drop(pollux(&["fdb", "flush", "--domain", "lan"]).ok()),
            ["flush", port] => drop(pollux(&["fdb", "flush", "--port", port]).ok()),
            ["forgotten"] => wait_until("learned addresses to be forgotten", || {
                let fdb = call("GET", "/v1/fdb");
                fdb["entries"].as_array().expect("entries").iter().all(|entry| entry["kind"] != "learned")
            }),
            _ => panic!("do {words:?}"),
        }
    }
}

fn link(port: &str) -> String {
    let ports = call("GET", "/v1/ports");
    let mut all = ports["ports"].as_array().expect("ports").iter();
    let found = all.find(|found| found["name"] == port).expect("the port");
    found["link"].as_str().expect("a link").to_owned()
}

fn set(port: &str, change: &str) {
    pollux(&["port", "set", port, change]).ok();
}

/// The scenario as a configuration.
fn yaml(scenario: &Scenario) -> String {
    let lines: String = scenario.ports.iter().map(|port| line(port, scenario)).collect();
    let head = "name: plxt-kit\n";
    match scenario.kind {
        Kind::Bridge => {
            let ageing = after(&scenario.options, "ageing").map_or(String::new(), |time| format!("ageing: {time}s"));
            format!("{head}domains:\n  lan: {{ {ageing} }}\nports:\n{lines}")
        }
        Kind::Macvlan => {
            let extensions: String = scenario.options.iter().map(|option| format!(", {option}: true")).collect();
            let anchors = format!(
                "  wire: {{ kind: tap, domain: lan }}\n  host: {{ kind: tap, domain: lan, mac: \"{}\" }}\n",
                colons(HOST)
            );
            format!(
                "{head}domains:\n  lan: {{ mode: macvlan, uplink: wire, host: host{extensions} }}\nports:\n{anchors}{lines}"
            )
        }
    }
}

fn after<'a>(options: &'a [String], word: &str) -> Option<&'a String> {
    let at = options.iter().position(|option| option == word)?;
    options.get(at + 1)
}

fn line(port: &Port, scenario: &Scenario) -> String {
    let mut keys = vec!["kind: tap".to_owned(), "domain: lan".to_owned()];
    if port.has("down") {
        keys.push("enabled: false".to_owned());
    }
    match scenario.kind {
        Kind::Bridge => keys.extend(bridge(port, scenario)),
        Kind::Macvlan => keys.extend(macvlan(port, &scenario.ports)),
    }
    format!("  {}: {{ {} }}\n", port.name, keys.join(", "))
}

fn bridge(port: &Port, scenario: &Scenario) -> Vec<String> {
    let mut keys = Vec::new();
    let flags = ["hairpin", "isolated", "locked"].iter().filter(|flag| port.has(flag));
    keys.extend(flags.map(|flag| format!("{flag}: true")));
    for (word, key) in [
        ("-learning", "learning: false"),
        ("-flood", "flood: { unicast: false }"),
        ("-mcast_flood", "flood: { multicast: false }"),
        ("-bcast_flood", "flood: { broadcast: false }"),
    ] {
        keys.extend(port.has(word).then(|| key.to_owned()));
    }
    keys.extend(port.after("forward").map(|list| format!("control_protocols: {}", protocols(list))));
    let provider = after(&scenario.options, "vlan").is_some_and(|protocol| protocol == "802.1ad");
    let protocol = if provider { ", protocol: 802.1ad" } else { "" };
    let native = port.after("native").map_or(String::new(), |vid| format!(", native: {vid}"));
    keys.extend(port.after("trunk").map(|list| {
        let list = [list].into_iter().chain(port.after("native")).collect::<Vec<_>>().join(", ");
        format!("vlan: {{ trunk: [{list}]{native}{protocol} }}")
    }));
    let access = if provider { "tunnel" } else { "access" };
    keys.extend(port.after("access").map(|vid| format!("vlan: {{ {access}: {vid} }}")));
    keys
}

fn protocols(list: &str) -> String {
    let name = |word: &str| match u8::from_str_radix(word, 16) {
        Ok(last) => format!("\"01:80:c2:00:00:{last:02x}\""),
        Err(_) => word.to_owned(),
    };
    match list {
        "none" => "ieee".to_owned(),
        list => format!("[{}]", list.split(',').map(name).collect::<Vec<_>>().join(", ")),
    }
}

fn macvlan(port: &Port, all: &[Port]) -> Vec<String> {
    let mut keys = vec![format!("macvlan: {}", port.options[0])];
    if !port.has("passthru") {
        keys.push(format!("mac: \"{}\"", colons(port.mac)));
    }
    let flags = ["nodst", "nopromisc", "promisc_rx"].iter().filter(|flag| port.has(flag));
    keys.extend(flags.map(|flag| format!("{flag}: true")));
    let sources = sources(port, all);
    if !sources.is_empty() {
        keys.push(format!("sources: {sources:?}"));
    }
    keys
}

fn sources(port: &Port, all: &[Port]) -> Vec<String> {
    let listed = port.options.iter().skip_while(|option| *option != "of").skip(1);
    listed.map(|word| colons(address(word, all))).collect()
}
