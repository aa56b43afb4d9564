//! The bridge `br`; each of its ports `b-NAME` is one end of a pair whose other end is `NAME`.

use super::batch;
use crate::common::world::run;
use crate::script::{Port, Scenario, address, colons};

/// Flags of a bridge port by their names in `bridge link set`.
const ON: [&str; 4] = ["learning", "flood", "mcast_flood", "bcast_flood"];
const OFF: [&str; 3] = ["hairpin", "isolated", "locked"];

/// Lines of `ip`.
pub fn links(scenario: &Scenario) -> Vec<String> {
    let after = |word: &str| {
        let at = scenario.options.iter().position(|option| option == word)?;
        scenario.options.get(at + 1)
    };
    let mut lines = vec!["link add name br type bridge mcast_snooping 0".to_owned()];
    if let Some(protocol) = after("vlan") {
        lines
            .push(format!("link set dev br type bridge vlan_default_pvid 0 vlan_protocol {protocol} vlan_filtering 1"));
    }
    if let Some(time) = after("ageing") {
        lines.push(format!("link set dev br type bridge ageing_time {time}00"));
    }
    lines.push("link set dev br up".to_owned());
    for Port { name, .. } in &scenario.ports {
        lines.push(format!("link add name b-{name} type veth peer name {name}"));
        lines.push(format!("link set dev b-{name} master br"));
        lines.extend([format!("link set dev {name} up"), format!("link set dev b-{name} up")]);
    }
    for port in &scenario.ports {
        let mask = port.after("forward").map(|list| format!("type bridge_slave group_fwd_mask {}", mask(list)));
        lines.extend(mask.map(|mask| format!("link set dev b-{} {mask}", port.name)));
    }
    lines
}

/// One bit for each address of 01:80:C2:00:00:00 to 0F in a list of names and last octets.
fn mask(list: &str) -> u16 {
    let last = |word: &str| match u8::from_str_radix(word, 16) {
        Ok(octet) => octet,
        Err(_) => address(word, &[])[5],
    };
    list.split(',').filter(|word| !["none", "cisco"].contains(word)).fold(0, |mask, word| mask | 1 << last(word))
}

/// Lines of `bridge`.
pub fn settings(scenario: &Scenario) -> Vec<String> {
    let mut lines = Vec::new();
    for port in &scenario.ports {
        let off = ON.iter().filter(|flag| port.has(&format!("-{flag}"))).map(|flag| (flag, "off"));
        let on = OFF.iter().filter(|flag| port.has(flag)).map(|flag| (flag, "on"));
        lines.extend(off.chain(on).map(|(flag, state)| format!("link set dev b-{} {flag} {state}", port.name)));
        lines.extend(vlans(port));
    }
    lines
}

fn vlans(port: &Port) -> Vec<String> {
    let add = |ids: &str, flags: &str| format!("vlan add dev b-{} vid {ids} {flags}", port.name);
    let mut lines: Vec<String> =
        port.after("trunk").into_iter().flat_map(|ids| ids.split(',')).map(|ids| add(ids, "")).collect();
    for word in ["access", "native"] {
        lines.extend(port.after(word).map(|id| add(id, "pvid untagged")));
    }
    lines
}

/// Whether all `n` ports have come so far.
pub fn forwards(n: usize) -> bool {
    run(&["bridge", "link"]).matches("state forwarding").count() == n
}

/// Learned addresses there are.
pub fn knows(ports: &[Port]) -> usize {
    let fdb = run(&["bridge", "fdb", "show", "br", "br"]);
    let learned = |line: &&str| !line.contains("permanent") && !line.contains("static");
    fdb.lines()
        .filter(learned)
        .filter(|line| ports.iter().any(|port| line.contains(&format!("dev b-{} ", port.name))))
        .count()
}

/// Obeys a `do` line.
pub fn change(words: &[&str], ports: &[Port]) {
    let mac = |word: &str| colons(address(word, ports));
    let line = match words {
        ["set", port, flag, state] => format!("link set dev b-{port} {flag} {state}"),
        ["fdb", "add", port, station, how @ ..] => {
            format!("fdb replace {} dev b-{port} master {}", mac(station), how.join(" "))
        }
        ["fdb", "del", port, station, how @ ..] => {
            format!("fdb del {} dev b-{port} master {}", mac(station), how.join(" "))
        }
        ["flush"] => return batch("ip", &["link set dev br type bridge fdb_flush".to_owned()]),
        ["flush", port] => return batch("ip", &[format!("link set dev b-{port} type bridge_slave fdb_flush")]),
        _ => panic!("do {words:?}"),
    };
    batch("bridge", &[line]);
}
