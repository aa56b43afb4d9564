//! An interface of a macvlan domain that changes its address behind the port which owns the old one.

use crate::common::wait_until;
use crate::common::world::{run, world};
use crate::lab::{Lab, ask, node, pollux};
use crate::traffic::{answers, ping};

const YAML: &str = "\
name: plxt-address
domains: { mv: { mode: macvlan } }
nodes: { plxt-a: {}, plxt-b: {}, plxt-c: {} }
ports:
  a: { kind: tap, node: plxt-a, ifname: eth0, ip: [10.99.0.1/24], domain: mv, macvlan: bridge }
  b: { kind: veth, node: plxt-b, ifname: eth0, ip: [10.99.0.2/24], domain: mv, macvlan: bridge }
  c: { kind: tap, node: plxt-c, ifname: eth0, ip: [10.99.0.3/24], domain: mv, macvlan: bridge }
";

#[test]
fn a_changed_address_is_told_with_the_command_that_adds_it() {
    world("a_changed_address_is_told_with_the_command_that_adds_it", || {
        let lab = Lab::new(YAML);
        lab.up();
        for (n, (port, addr)) in [("a", "10.99.0.1"), ("b", "10.99.0.2")].into_iter().enumerate() {
            ping(&node("c"), addr);
            let mac = format!("02:00:00:00:07:0{n}");
            run(&["ip", "-n", &node(port), "link", "set", "eth0", "address", &mac]);
            let adds = format!("macs=[\"{mac}\"]");
            let told = || {
                let events = ask("events");
                let mut all = events["events"].as_array().expect("events").iter();
                all.any(|it| {
                    let text = it["text"].as_str().unwrap_or_default();
                    it["kind"] == "address" && it["port"] == port && text.contains(&format!("port set {port} '{adds}'"))
                })
            };
            wait_until("the new address to be told", told);
            pollux(&["port", "set", port, &adds]).ok();
            wait_until("an answer from the new address", || answers(&node("c"), addr));
        }
        lab.down();
    });
}
