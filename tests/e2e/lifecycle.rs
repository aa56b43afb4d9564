//! Interfaces that get another name while they are ports, and ports that are taken out and put in again.

use crate::common::wait_until;
use crate::common::world::{output, run, world};
use crate::lab::{Lab, Traces, ask, balanced, lan, node, pollux};
use crate::traffic::{answers, ping, v4, v6};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

/// Renames an interface, in a namespace or here; kernels before 6.2 want it down for that.
fn rename(netns: Option<&str>, from: &str, to: &str) {
    let place: Vec<&str> = netns.iter().flat_map(|name| ["-n", name]).collect();
    let ip = |args: &[&str]| output(&[&["ip"], place.as_slice(), args].concat()).status.success();
    if !ip(&["link", "set", from, "name", to]) {
        assert!(ip(&["link", "set", from, "down"]) && ip(&["link", "set", from, "name", to]), "{from} to {to}");
        assert!(ip(&["link", "set", to, "up"]));
    }
}

/// What a user would see changed: flags, MTU, promiscuity, XDP.
fn state(device: &str) -> String {
    let links: Value = serde_json::from_str(&run(&["ip", "-j", "-d", "link", "show", device])).expect("JSON");
    let link = &links[0];
    format!("{} {} {} {}", link["flags"], link["mtu"], link["promiscuity"], link["xdp"])
}

fn shown(port: &str) -> String {
    let ports = ask("ports");
    let found = ports["ports"].as_array().expect("ports").iter().find(|it| it["name"] == port);
    found.and_then(|port| port["ifname"].as_str()).unwrap_or_default().to_owned()
}

/// A device that is down and has an MTU of its own, whose far end is a station.
fn device(name: &str) {
    run(&["ip", "netns", "add", "plxt-far"]);
    run(&["ip", "link", "add", name, "mtu", "9000", "type", "veth", "peer", "name", "eth0", "netns", "plxt-far"]);
    run(&["ip", "-n", "plxt-far", "link", "set", "eth0", "up"]);
    run(&["ip", "-n", "plxt-far", "addr", "add", "10.99.0.9/24", "dev", "eth0"]);
}

const TWO: [(&str, &str); 2] = [("t1", "tap"), ("v1", "veth")];

#[test]
fn renamed_interfaces_go_on_and_are_put_back() {
    world("renamed_interfaces_go_on_and_are_put_back", || {
        device("plxt-dev");
        let as_it_was = state("plxt-dev");
        let lab = Lab::new(&format!(
            "{}  up: {{ kind: af_xdp, dev: plxt-dev, mtu: 1500, domain: lan }}\n",
            lan("plxt-name", &TWO)
        ));
        lab.up();
        rename(None, "plxt-dev", "plxt-new");
        for (port, _) in TWO {
            rename(Some(&node(port)), "eth0", "wan0");
            wait_until("an answer over renamed interfaces", || answers(&node(port), "10.99.0.9"));
            assert_eq!(shown(port), "wan0");
            pollux(&["port", "set", port, "enabled=false"]).ok();
            pollux(&["port", "set", port, "enabled=true"]).ok();
        }
        assert_eq!(shown("up"), "plxt-new");
        wait_until("an answer between the nodes", || answers(&node("t1"), &v4(1)));
        lab.down();
        assert_eq!(state("plxt-new"), as_it_was);

        rename(None, "plxt-new", "plxt-dev");
        run(&["ip", "link", "set", "plxt-dev", "down"]);
        lab.up();
        let ours: Value = serde_json::from_str(&run(&["ip", "-j", "link"])).expect("JSON");
        let ours = ours.as_array().expect("links").iter().filter_map(|link| link["ifname"].as_str());
        let ours: Vec<_> = ours.filter(|name| name.starts_with("plx-")).collect();
        rename(None, "plxt-dev", "plxt-new");
        rename(None, ours[0], "plxt-mine");
        let pid = Pid::from_raw(i32::try_from(ask("status")["pid"].as_i64().expect("a pid")).expect("a pid"));
        kill(pid, Signal::SIGKILL).expect("a daemon");
        wait_until("the daemon to be gone", || kill(pid, None).is_err());
        pollux(&["lab", "down", &lab.file]).ok();
        assert_eq!(state("plxt-new"), as_it_was, "after SIGKILL");
        assert!(!output(&["ip", "link", "show", "plxt-mine"]).status.success(), "our end of the pair is gone");
    });
}

fn mac_of(port: &str) -> String {
    let links: Value =
        serde_json::from_str(&run(&["ip", "-n", &node(port), "-j", "link", "show", "eth0"])).expect("JSON");
    links[0]["address"].as_str().expect("an address").to_owned()
}

/// What the node of `port` believes to be the address of `neighbour`.
fn believed(port: &str, neighbour: &str) -> String {
    run(&["ip", "-n", &node(port), "neigh", "show", neighbour, "dev", "eth0"])
}

#[test]
fn a_port_put_in_again_is_reached_at_once() {
    world("a_port_put_in_again_is_reached_at_once", || {
        let before = Traces::now();
        let ports = [("t1", "tap"), ("v1", "veth"), ("h", "tap")];
        let lab = Lab::new(&lan("plxt-again", &ports));
        lab.up();
        for (n, (port, kind)) in ports[..2].iter().enumerate() {
            ping(&node("h"), &v4(n));
            ping(&node("h"), &v6(n));
            let mac = mac_of(port);
            let spec = |more: &str| {
                let (node, v4, v6) = (node(port), v4(n), v6(n));
                format!("{{ kind: {kind}, node: {node}, ifname: eth0, ip: [{v4}/24, \"{v6}/64\"], domain: lan{more} }}")
            };
            let again = |spec: &str| {
                pollux(&["port", "del", port]).ok();
                pollux(&["port", "add", port, "--spec", spec]).ok();
            };
            again(&spec(""));
            assert_eq!(mac_of(port), mac, "{kind}: the address it had");
            ping(&node("h"), &v4(n));
            ping(&node("h"), &v6(n));
            // With another address it says so itself: nobody asks for it here.
            let other = format!("02:00:00:00:09:0{n}");
            again(&spec(&format!(", mac: \"{other}\"")));
            for address in [v4(n), v6(n)] {
                let heard = || believed("h", &address).contains(&other);
                wait_until(&format!("{kind}: {address} to be announced"), heard);
            }
            balanced();
        }
        lab.down();
        before.gone();
    });
}

/// The kernel asks for a neighbour a second time after a second: who is there at once is found before.
#[test]
fn addresses_work_as_soon_as_the_lab_is_up() {
    world("addresses_work_as_soon_as_the_lab_is_up", || {
        let lab = Lab::new(&lan("plxt-once", &[("v1", "veth"), ("t1", "tap"), ("v2", "veth"), ("t2", "tap")]));
        lab.up();
        let once = |from: &str, to: &str| {
            let ping = ["ip", "netns", "exec", &node(from), "ping", "-n", "-c", "1", "-W", "1", to];
            assert!(output(&ping).status.success(), "{from} reaches {to} at once");
        };
        once("t1", &v6(0));
        once("v1", &v6(3));
        once("t2", &v6(2));
        once("v2", &v4(1));
        lab.down();
    });
}
