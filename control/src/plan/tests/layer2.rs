//! Layer 2: what is refused, with its place and remedy, and what the rest becomes.

use super::{good, planned};
use crate::plan::{Plan, change_port, spell_protocols, spell_vlan};
use dataplane::switch::policy::{Action, ControlProtocols, DomainMode, MacvlanMode, Role, RouterPort, TagProtocol};

/// A macvlan domain `mv` with its uplink, and a learning one.
const HEAD: &str = "name: t\ndomains: { lan: {}, mv: { mode: macvlan, uplink: w, host: h } }\nports:\n  w: { kind: tap, domain: mv }\n  h: { kind: tap, domain: mv, mac: \"02:00:00:00:00:01\" }\n";

fn faults(text: &str) -> String {
    planned(text).expect_err(text).to_string()
}

/// Ports behind [`HEAD`] that are refused, and what the message must contain.
const REFUSED: &[(&str, &str)] = &[
    (
        "  p: { kind: tap, domain: lan, vlan: { access: 0 } }\n",
        "t.yaml:6:48: ports.p.vlan.access: there is no VLAN 0; use 1 to 4094",
    ),
    ("  p: { kind: tap, domain: lan, vlan: { access: 4095 } }\n", "ports.p.vlan.access: there is no VLAN 4095"),
    (
        "  p: { kind: tap, domain: lan, vlan: { trunk: [10, 20-4095] } }\n",
        "ports.p.vlan.trunk.1: there is no VLAN 4095",
    ),
    (
        "  p: { kind: tap, domain: lan, vlan: { trunk: [20-10] } }\n",
        "the range 20-10 ends before it begins; write 10-20",
    ),
    (
        "  p: { kind: tap, domain: lan, vlan: { trunk: [x] } }\n",
        "ports.p.vlan.trunk.0: `x` is no VLAN; write a number such as 10, or a range such as 20-29",
    ),
    ("  p: { kind: tap, domain: lan, vlan: { trunk: [] } }\n", "a trunk without VLANs carries nothing"),
    (
        "  p: { kind: tap, domain: lan, vlan: { trunk: [10], native: 1 } }\n",
        "ports.p.vlan.native: the native VLAN 1 is not one of the trunk's; add 1 to `trunk`",
    ),
    (
        "  p: { kind: tap, domain: lan, vlan: { access: 1, trunk: [1] } }\n",
        "ports.p.vlan.trunk: `access` and `trunk` contradict each other; keep one of them",
    ),
    (
        "  p: { kind: tap, domain: lan, vlan: { access: 1, native: 1 } }\n",
        "ports.p.vlan.native: `access` has no native VLAN",
    ),
    ("  p: { kind: tap, domain: lan, vlan: {} }\n", "ports.p.vlan: this says no VLAN"),
    (
        "  p: { kind: tap, domain: lan, vlan: { map: { 10: 110, 11: 110 } } }\n",
        "ports.p.vlan.map.11: two VLANs become 110",
    ),
    ("  p: { kind: tap, domain: lan, vlan: { access: 1, pcp: 8 } }\n", "there is no priority 8; use 0 to 7"),
    (
        "  p: { kind: tap, domain: lan, vlan: { access: 1 } }\n  q: { kind: tap, domain: lan }\n",
        "ports.q: port `p` of this domain has VLANs, this one looks at no tags",
    ),
    (
        "  p: { kind: tap, domain: lan, macvlan: bridge }\n",
        "ports.p.macvlan: `macvlan` is for ports of macvlan domains, and `lan` is a learning one",
    ),
    (
        "  p: { kind: tap, domain: lan, macs: [\"02:00:00:00:00:05\"] }\n",
        "ports.p.macs: `macs` is for ports of macvlan domains",
    ),
    (
        "  p: { kind: tap, domain: mv, isolated: true }\n",
        "ports.p.isolated: `isolated` is for ports of learning domains, and `mv` is a macvlan one",
    ),
    (
        "  p: { kind: tap, domain: mv, vlan: { access: 1 } }\n",
        "ports.p.vlan: domain `mv` is a macvlan one, which looks at no tags",
    ),
    (
        "  p: { kind: tap, domain: mv, macvlan: source }\n",
        "ports.p.macvlan: a port of mode source without a list receives nothing; add `sources:",
    ),
    (
        "  p: { kind: tap, domain: mv, macvlan: bridge, sources: [\"02:00:00:00:00:05\"] }\n",
        "ports.p.sources: only mode source has `sources`",
    ),
    ("  p: { kind: tap, domain: mv, macvlan: private, nodst: true }\n", "ports.p.nodst: only mode source has `nodst`"),
    (
        "  p: { kind: tap, domain: mv, macvlan: private, nopromisc: true }\n",
        "ports.p.nopromisc: only mode passthru has `nopromisc`",
    ),
    (
        "  p: { kind: tap, domain: mv, macvlan: passthru }\n  q: { kind: tap, domain: mv }\n",
        "ports.q.macvlan: a passthru port is the only one of its domain, and `p` is there too",
    ),
    (
        "  p: { kind: tap, domain: mv, mac: \"02:00:00:00:00:01\" }\n",
        "ports.p.mac: port `h` has 02:00:00:00:00:01 already",
    ),
    (
        "  p: { kind: tap, domain: mv, macs: [\"02:00:00:00:00:01\"] }\n",
        "ports.p.macs: port `h` has 02:00:00:00:00:01 already",
    ),
    (
        "  p: { kind: \"null\", domain: mv }\n",
        "ports.p: a port of a macvlan domain owns an address, and this has none; add `mac:",
    ),
    (
        "  p: { kind: tap, domain: lan, control_protocols: [lacp, stpp] }\n",
        "ports.p.control_protocols.1: `stpp` is no control protocol; write transparent, ieee, or a list of stp",
    ),
    ("  p: { kind: tap, domain: lan, control_protocols: [\"01:80:c2:00:00:01\"] }\n", "PAUSE never passes a switch"),
    (
        "  p: { kind: tap, domain: lan, control_protocols: all }\n",
        "ports.p.control_protocols.0: `all` is no control protocol; write transparent, ieee, or a list",
    ),
    ("  p: { kind: tap, domain: lan, storm: {} }\n", "ports.p.storm: this limits nothing"),
    (
        "  p: { kind: null, domain: lan, port_security: {} }\n",
        "ports.p.port_security: nobody may send here; add `macs:",
    ),
    (
        "  p: { kind: tap, domain: lan }\nmirrors:\n  m: { to: p, rx: [p] }\n",
        "mirrors.m.rx.0: a mirror cannot copy the port it ends at",
    ),
    (
        "  p: { kind: tap, domain: lan }\n  q: { kind: tap, domain: lan }\nmirrors:\n  m: { to: p, rx: [q] }\n  n: { to: q, tx: [h] }\n",
        "mirrors.m.rx.0: mirror `n` ends at port `q`, which cannot be copied again",
    ),
    ("  p: { kind: tap, domain: lan }\nmirrors:\n  m: { to: p }\n", "mirrors.m: the mirror copies nothing"),
    ("  p: { kind: tap, domain: lan }\nmirrors:\n  m: { to: x, rx: [p] }\n", "mirrors.m.to: there is no port `x`"),
    (
        "  p: { kind: tap, domain: lan }\nmirrors:\n  m: { to: p, vlans: { wan: [1] } }\n",
        "mirrors.m.vlans.wan: there is no domain `wan`",
    ),
];

#[test]
fn contradictions_are_refused_with_path_and_remedy() {
    for (ports, wanted) in REFUSED {
        let said = faults(&format!("{HEAD}{ports}"));
        assert!(said.contains(wanted), "wanted {wanted}\n   got {said}");
    }
}

/// Domains that are refused.
const DOMAINS: &[(&str, &str)] = &[
    ("{ mode: macvlan, uplink: x }", "t.yaml:2:40: domains.d.uplink: there is no port `x`"),
    ("{ mode: macvlan, uplink: p, host: p }", "domains.d.host: one port cannot be both the wire and the host"),
    ("{ mode: macvlan, uplink: q }", "domains.d.uplink: port `q` is not in domain `d`; write `domain: d` there"),
    ("{ mode: macvlan, host_reach: true }", "domains.d.host_reach: the domain has no host to reach; add `host: PORT`"),
    ("{ mode: macvlan, ageing: 3s }", "domains.d.ageing: a macvlan domain has no `ageing`"),
    ("{ mode: macvlan, snooping: true }", "domains.d.snooping: a macvlan domain has no `snooping`"),
    ("{ uplink: p }", "domains.d.uplink: a learning domain has no `uplink`; remove it, or write `mode: macvlan`"),
    ("{ strict_private: true }", "domains.d.strict_private: a learning domain has no `strict_private`"),
    ("{ guards: { moves: { hold: 500ms } } }", "domains.d.guards.moves.hold: this time is counted in whole seconds"),
    ("{ static: [{ mac: \"02:00:00:00:00:05\" }] }", "domains.d.static.0.port: the address has no port"),
    (
        "{ static: [{ mac: \"02:00:00:00:00:05\", port: p, kind: filter }] }",
        "domains.d.static.0.port: a filter is for every port",
    ),
    (
        "{ static: [{ mac: \"02:00:00:00:00:05\", port: p, vlan: 4095 }] }",
        "domains.d.static.0.vlan: there is no VLAN 4095",
    ),
];

#[test]
fn domains_are_refused_with_path_and_remedy() {
    for (domain, wanted) in DOMAINS {
        let said = faults(&format!(
            "name: t\ndomains: {{ d: {domain}, e: {{}} }}\nports:\n  p: {{ kind: tap, domain: d }}\n  q: {{ kind: tap, domain: e }}\n"
        ));
        assert!(said.contains(wanted), "wanted {wanted}\n   got {said}");
    }
}

fn macvlan_mode(plan: &Plan, port: &str) -> MacvlanMode {
    match &plan.port(port).unwrap().policy.role {
        Role::Macvlan(device) => device.mode.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_macvlan_domain_becomes_roles() {
    let plan = good(&format!(
        "{HEAD}  a: {{ kind: tap, domain: mv }}\n  b: {{ kind: tap, domain: mv, macvlan: source, nodst: true, sources: [\"02:00:00:00:00:09\"], mac: \"02:00:00:00:00:05\", macs: [\"02:00:00:00:00:06\"] }}\n"
    ));
    let role = |name: &str| &plan.port(name).unwrap().policy.role;
    let host = dataplane::eth::MacAddr([2, 0, 0, 0, 0, 1]);
    assert_eq!((role("w"), role("h")), (&Role::Uplink, &Role::Host { macs: vec![host] }));
    assert_eq!(macvlan_mode(&plan, "a"), MacvlanMode::Vepa, "the kernel's default");
    let Role::Macvlan(b) = role("b") else { panic!("{:?}", role("b")) };
    assert_eq!((b.macs.len(), b.nodst, matches!(b.mode, MacvlanMode::Source(_))), (2, true, true));
    let invented = plan.port("a").unwrap().netdev().unwrap().mac;
    assert_eq!(
        plan,
        good(&format!(
            "{HEAD}  a: {{ kind: tap, domain: mv }}\n  b: {{ kind: tap, domain: mv, macvlan: source, nodst: true, sources: [\"02:00:00:00:00:09\"], mac: \"02:00:00:00:00:05\", macs: [\"02:00:00:00:00:06\"] }}\n"
        )),
        "the same address {invented} each time"
    );
}

#[test]
fn vlans_are_spelled_as_they_were_written() {
    for (written, spelled) in [
        ("{ access: 10 }", "access 10"),
        ("{ trunk: [10, 20-29, 11], native: 10 }", "trunk 10-11,20-29 native 10"),
        ("{ tunnel: 100 }", "tunnel 100"),
        ("{ trunk: [100], protocol: 802.1ad }", "trunk 100 802.1ad"),
        ("{ map: { 10: 110, 11: 111 }, native: 110 }", "map 10:110,11:111 native 110"),
        ("{ access: 10, pcp: 5 }", "access 10 pcp 5"),
    ] {
        let plan = good(&format!("{HEAD}  p: {{ kind: tap, domain: lan, vlan: {written} }}\n"));
        assert_eq!(spell_vlan(plan.port("p").unwrap().policy.vlan.as_ref().unwrap()), spelled);
    }
    let plan = good(&format!("{HEAD}  p: {{ kind: tap, domain: lan, vlan: {{ tunnel: 7 }} }}\n"));
    assert_eq!(plan.port("p").unwrap().policy.vlan.as_ref().unwrap().protocol, TagProtocol::Dot1ad);
}

#[test]
fn control_protocols_are_of_the_domain_unless_the_port_says() {
    let text = "name: t\ndomains: { lan: { control_protocols: ieee } }\nports:\n  p: { kind: tap, domain: lan }\n  q: { kind: tap, domain: lan, control_protocols: [lldp, stp, cisco, \"01:80:c2:00:00:0f\"] }\n  r: { kind: tap, domain: lan, control_protocols: transparent }\n";
    let plan = good(text);
    let control = |name: &str| plan.port(name).unwrap().policy.control;
    assert_eq!(control("p"), ControlProtocols::IEEE);
    assert_eq!(control("q"), ControlProtocols { ieee: 1 | 1 << 14 | 1 << 15, cisco: true });
    assert_eq!(spell_protocols(control("q")), "stp lldp 01:80:c2:00:00:0f cisco");
    assert_eq!((spell_protocols(control("p")), spell_protocols(control("r"))), ("ieee".into(), "transparent".into()));
}

#[test]
fn guards_snooping_and_mirrors_have_defaults() {
    let plan = good(
        "name: t\ndomains: { lan: { snooping: true, guards: { moves: {}, loops: { action: observe } } } }\nports:\n  p: { kind: tap, domain: lan, storm: { broadcast: 10 }, multicast_router: always }\n  q: { kind: tap, domain: lan, mac: \"02:00:00:00:00:05\", port_security: { action: observe } }\n  m: { kind: tap, domain: lan }\nmirrors:\n  all: { to: m, ports: [p], rx: [q] }\n",
    );
    let DomainMode::Learning(learning) = plan.domains[0].policy.mode else { panic!() };
    let (moves, loops) = (learning.moves.unwrap(), learning.loops.unwrap());
    assert_eq!((moves.moves, moves.window.as_secs(), moves.hold.as_secs(), moves.act), (5, 10, 60, Action::Drop));
    assert_eq!((loops.interval.as_secs(), loops.block.as_secs(), loops.act), (2, 60, Action::Observe));
    assert_eq!(learning.snooping.unwrap().membership.as_secs(), 260);
    let port = |name: &str| &plan.port(name).unwrap().policy;
    assert_eq!(port("p").storm.broadcast.map(|rate| (rate.per_second, rate.burst)), Some((10, 10)));
    assert_eq!(port("p").router, RouterPort::Always);
    assert_eq!(
        port("q").security.as_ref().map(|security| (security.macs.len(), security.act)),
        Some((1, Action::Observe))
    );
    let mirror = &plan.mirrors[0];
    assert_eq!((mirror.rx.join(" "), mirror.tx.join(" ")), ("p q".to_owned(), "p".to_owned()));
}

#[test]
fn networks_in_vlans_of_their_own_may_have_the_same_addresses() {
    let ports = |vlan: u16| {
        format!(
            "{HEAD}  p: {{ kind: tap, domain: lan, ip: [10.0.0.1/8], vlan: {{ access: 10 }} }}\n  q: {{ kind: tap, domain: lan, ip: [10.0.0.1/8], vlan: {{ access: {vlan} }} }}\n"
        )
    };
    good(&ports(20));
    assert!(faults(&ports(10)).contains("ports.q.ip: port `p` has 10.0.0.1 already"));
}

#[test]
fn a_port_changes_but_not_its_device() {
    let plan = good(&format!("{HEAD}  p: {{ kind: tap, domain: lan }}\n  q: {{ kind: tap, domain: lan }}\n"));
    let change = |text: &str| change_port(&plan, "p", &serde_saphyr::from_str(text).unwrap(), &super::machine());
    assert!(change("{ kind: tap, domain: lan, isolated: true }").is_ok());
    for (wrong, wanted) in [
        ("{ kind: tap, domain: lan, queues: 2 }", "cannot change while it is there; `pollux port del p`"),
        ("{ kind: tap, domain: mv }", "cannot change while it is there"),
        ("{ kind: tap, domain: lan, vlan: { access: 0 } }", "there is no VLAN 0"),
    ] {
        let said = change(wrong).map(drop).map_err(|problems| problems.to_string());
        assert!(said.as_ref().is_err_and(|said| said.contains(wanted)), "{wrong}: {said:?}");
    }
}
