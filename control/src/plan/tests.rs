//! Every mistake a file can make, and what a good one becomes.

use super::*;
use crate::config::document::parse;
use crate::net::Netns;

mod layer2;

const HEAD: &str = "name: t\nworkers: [1]\ndomains: { lan: {} }\nnodes: { a: {}, b: {} }\nports:\n";

fn machine() -> Machine {
    let names = |list: &[&str]| list.iter().map(|name| (*name).to_owned()).collect();
    Machine {
        mtus: [("ens3".to_owned(), 1500)].into(),
        queues: [("ens3".to_owned(), 4)].into(),
        cores: vec![0, 1],
        devices: names(&["lo", "ens3", "eth0"]),
        default_route: names(&["eth0"]),
        free_hugepages: 0,
        memory: 8 << 30,
        ..Machine::default()
    }
}

fn planned(text: &str) -> Result<Plan, Problems> {
    parse("t.yaml", text).and_then(|document| plan(&document, &machine()))
}

fn good(text: &str) -> Plan {
    planned(text).unwrap_or_else(|problems| panic!("{problems}"))
}

/// The one mistake of a file that consists of `HEAD` and these ports.
fn fault(ports: &str) -> String {
    let problems = planned(&format!("{HEAD}{ports}")).expect_err(ports);
    assert_eq!(problems.list.len(), 1, "{problems}");
    problems.to_string()
}

#[test]
fn a_lab_becomes_a_plan_with_its_defaults() {
    let plan = good(&format!(
        "{HEAD}  h1: {{ kind: tap, node: a, ifname: eth0, ip: [10.0.0.1/24], domain: lan }}\n  h2: {{ kind: veth, node: b, ifname: eth0, mac: \"02:00:00:00:00:02\", domain: lan, queues: 2 }}\n"
    ));
    assert_eq!(
        (plan.workers.as_slice(), plan.frames, plan.fdb_entries),
        ([WorkerPlan { core: 1, poll: Poll::Adaptive }].as_slice(), DEFAULT_FRAMES, DEFAULT_FDB_ENTRIES)
    );
    assert_eq!(plan.domains[0].ageing(), Some(DEFAULT_AGEING));
    let tap = plan.ports[0].netdev().unwrap();
    assert_eq!((tap.mtu, tap.queues, tap.ip[0].to_string().as_str()), (1500, 1, "10.0.0.1/24"));
    assert_eq!(tap.place, Netns::Node("a".to_owned()));
    assert_eq!(plan.ports[1].netdev().unwrap().mac.to_string(), "02:00:00:00:00:02");
}

#[test]
fn the_arena_grows_with_the_ports() {
    let ports: String = (0..8).map(|i| format!("  v{i}: {{ kind: veth, domain: lan }}\n")).collect();
    let plan = good(&format!("{HEAD}{ports}"));
    let need = Demand::of(&plan.ports, 1, &machine()).frames();
    assert!(u64::from(plan.frames) >= need && plan.frames.is_multiple_of(1024) && plan.frames > DEFAULT_FRAMES);
    assert_eq!(plan.xdp_depth, 2048);
    let ports: String = (0..256).map(|i| format!("  v{i}: {{ kind: veth, domain: lan }}\n")).collect();
    let crowded = good(&format!("{HEAD}{ports}"));
    assert_eq!(
        (crowded.xdp_depth, crowded.frames),
        (256, 256 * 512 + 4096),
        "what the kernel keeps is the product of both"
    );
    let huge = planned("name: t\nmemory: { frames: 8M }\n").unwrap_err();
    assert!(huge.to_string().contains("8388608 frames take 16384 MiB, 8192 MiB of memory are available"), "{huge}");
    let small = planned(&format!("memory: {{ frames: 1k }}\n{HEAD}  v: {{ kind: veth, domain: lan }}\n")).unwrap_err();
    assert!(
        small
            .to_string()
            .starts_with("t.yaml:1:19: memory.frames: 1024 frames are too few for these ports: 7232 are needed"),
        "{small}"
    );
}

#[test]
fn every_port_has_its_part_of_the_arena() {
    let frames = |ports: &str| Demand::of(&good(&format!("{HEAD}{ports}")).ports, 1, &machine()).frames();
    let none = frames("  n: { kind: null, domain: lan }\n");
    let nic = frames("  nic: { kind: af_xdp, dev: ens3, domain: lan }\n");
    assert_eq!(nic - none, 4 * 2 * 2048, "each queue a full fill ring and a full TX ring");
    let cable = "  r1: { kind: ring, peer: r2, domain: lan }\n  r2: { kind: ring, peer: r1, domain: lan }\n";
    assert_eq!(frames(cable) - none, 2 * 1024);
}

#[test]
fn ageing_of_zero_learns_nothing() {
    assert_eq!(good("name: t\ndomains: { lan: { ageing: 0s } }\n").domains[0].ageing(), None);
}

#[test]
fn the_default_worker_is_the_last_allowed_core() {
    assert_eq!(good("name: t\n").workers, [WorkerPlan { core: 1, poll: Poll::Adaptive }]);
}

#[test]
fn a_worker_may_have_a_policy_of_its_own() {
    let plan = good("name: t\npoll: economy\nworkers: [0, { core: 1, poll: busy }]\n");
    let polls: Vec<_> = plan.workers.iter().map(|worker| (worker.core, worker.poll)).collect();
    assert_eq!(polls, [(0, Poll::Economy), (1, Poll::Busy)]);
    for (text, said) in [
        ("name: t\nworkers: [{ core: 9, poll: busy }]\n", "t.yaml:2:19: workers.0.core: core 9 is not one"),
        ("name: t\nworkers: [1, { core: 1, poll: busy }]\n", "t.yaml:2:22: workers.1.core: core 1 is here twice"),
        ("name: t\nworkers: [{ core: 1, pool: busy }]\n", "pool"),
        ("name: t\nworkers: [{ core: 1, poll: lazy }]\n", "lazy"),
        ("name: t\nworkers: [one]\n", "a core such as 1, or { core: 1, poll: busy }"),
    ] {
        let problems = planned(text).expect_err(text).to_string();
        assert!(problems.contains(said) && problems.contains("t.yaml:2:"), "{problems}");
    }
}

/// Ports that are refused, and how the message begins.
const REFUSED: &[(&str, &str)] = &[
    ("  p: { kind: tap }\n", "t.yaml:6:3: ports.p: the port is in no domain; add `domain: lan`"),
    ("  p: { kind: tap, domain: lam }\n", "t.yaml:6:27: ports.p.domain: there is no domain `lam`; did you mean `lan`?"),
    (
        "  p: { kind: tap, domain: lan, node: c }\n",
        "t.yaml:6:38: ports.p.node: there is no node `c`; did you mean `a`?",
    ),
    (
        "  a-name-too-long-: { kind: tap, domain: lan, ifname: x }\n",
        "t.yaml:6:3: ports.a-name-too-long-: the name `a-name-too-long-` has 16 characters; at most 15 are possible",
    ),
    (
        "  p: { kind: tap, domain: lan, ifname: a/b }\n",
        "t.yaml:6:40: ports.p.ifname: `a/b` cannot be a name; use letters",
    ),
    ("  p: { kind: tap, domain: lan, mac: \"02:00\" }\n", "t.yaml:6:37: ports.p.mac: `02:00` is no MAC address"),
    (
        "  p: { kind: tap, domain: lan, mac: \"01:00:5e:00:00:01\" }\n",
        "t.yaml:6:37: ports.p.mac: 01:00:5e:00:00:01 is no address a station can have",
    ),
    (
        "  p: { kind: tap, domain: lan, ip: [10.0.0.1] }\n",
        "t.yaml:6:37: ports.p.ip.0: `10.0.0.1` has no prefix length; write an address such as 10.0.0.1/24",
    ),
    ("  p: { kind: tap, domain: lan, ip: [fd00::1/129] }\n", "t.yaml:6:37: ports.p.ip.0: "),
    (
        "  p: { kind: veth, domain: lan, mtu: 9000 }\n",
        "t.yaml:6:38: ports.p.mtu: 9000 is not the domain's MTU of 1500, and a segment has one; write `mtu: 9000` in domains.lan",
    ),
    ("  p: { kind: tap, domain: lan, mtu: 20 }\n", "t.yaml:6:37: ports.p.mtu: 20 is not the domain's MTU of 1500"),
    ("  p: { kind: tap, domain: lan, mtu: 9000 }\n", "t.yaml:6:37: ports.p.mtu: 9000 is not the domain's MTU of 1500"),
    ("  p: { kind: tap, domain: lan, queues: 0 }\n", "t.yaml:6:40: ports.p.queues: 0 queues are out of range"),
    ("  p: { kind: tap, domain: lan, dev: ens3 }\n", "t.yaml:6:37: ports.p.dev: kind tap has no `dev`; remove it"),
    (
        "  p: { kind: af_xdp, domain: lan, dev: ens3, queues: 2 }\n",
        "t.yaml:6:54: ports.p.queues: kind af_xdp has no `queues`; all queues",
    ),
    ("  p: { kind: af_xdp, domain: lan }\n", "t.yaml:6:3: ports.p: the port names no device; add `dev: NAME`"),
    (
        "  p: { kind: af_xdp, domain: lan, dev: ens4 }\n",
        "t.yaml:6:40: ports.p.dev: there is no device `ens4`; did you mean `ens3`?",
    ),
    ("  p: { kind: af_xdp, domain: lan, dev: eth0 }\n", "t.yaml:6:40: ports.p.dev: `eth0` carries the default route"),
    (
        "  p: { kind: tap, domain: lan, node: a, netns: x }\n",
        "t.yaml:6:6: ports.p: an interface can live in one namespace only",
    ),
    (
        "  p: { kind: tap, domain: lan, netns: a }\n",
        "t.yaml:6:39: ports.p.netns: `a` is a node of this switch; write `node: a`",
    ),
    (
        "  p: { kind: vhost-user, domain: lan }\n",
        "t.yaml:6:3: ports.p: the port has no socket; add `socket: /run/pollux/p.sock`",
    ),
    (
        "  p: { kind: vhost-user, domain: lan, socket: x }\n",
        "t.yaml:6:47: ports.p.socket: `x` cannot be the path of a socket; write an absolute path",
    ),
    (
        "  p: { kind: vhost-user, domain: lan, socket: /x, queues: 17 }\n",
        "t.yaml:6:59: ports.p.queues: 17 queue pairs are out of range; write 1 to 16",
    ),
    (
        "  p: { kind: vhost-user, domain: lan, socket: /x }\n  q: { kind: vhost-user, domain: lan, socket: /x }\n",
        "t.yaml:7:47: ports.q.socket: port `p` has the socket /x already",
    ),
    ("  p: { kind: tap, domain: lan, socket: /x }\n", "t.yaml:6:40: ports.p.socket: kind tap has no `socket`"),
    (
        "  p: { kind: ring, domain: lan, peer: q }\n",
        "t.yaml:6:39: ports.p.peer: `q` is not the other end of this cable",
    ),
];

#[test]
fn ports_are_refused_with_place_path_and_remedy() {
    for (ports, wanted) in REFUSED {
        assert!(fault(ports).starts_with(wanted), "wanted {wanted}\n   got {}", fault(ports));
    }
}

#[test]
fn what_may_not_exist_twice_is_refused() {
    let pair = |a: &str, b: &str| {
        fault(&format!("  p: {{ kind: tap, domain: lan, {a} }}\n  q: {{ kind: tap, domain: lan, {b} }}\n"))
    };
    let mac = "mac: \"02:00:00:00:00:01\"";
    assert!(pair(mac, mac).contains("ports.q.mac: port `p` has 02:00:00:00:00:01 already"));
    assert!(pair("ip: [10.0.0.1/24]", "ip: [10.0.0.1/8]").contains("ports.q.ip: port `p` has 10.0.0.1 already"));
    assert!(
        pair("node: a, ifname: e", "node: a, ifname: e")
            .contains("ports.q.ifname: port `p` has the interface `e` in node a already")
    );
    good(&format!(
        "{HEAD}  p: {{ kind: tap, domain: lan, node: a, ifname: e }}\n  q: {{ kind: tap, domain: lan, node: b, ifname: e }}\n"
    ));
}

#[test]
fn a_device_with_the_default_route_needs_force() {
    good(&format!("{HEAD}  p: {{ kind: af_xdp, domain: lan, dev: eth0, force: true }}\n"));
}

#[test]
fn all_mistakes_are_reported_in_text_order() {
    let text = "name: t/t\nworkers: [7, 1, 1]\nmemory: { hugepages: required }\ndomains: { mv: { mode: macvlan, uplink: x } }\nports:\n  p: { kind: tap, domain: mv, mtu: 1 }\n";
    let problems = planned(text).unwrap_err();
    let paths: Vec<_> = problems.list.iter().map(|problem| problem.path.as_str()).collect();
    assert_eq!(paths, ["name", "workers.0", "workers.2", "memory.hugepages", "domains.mv.uplink", "ports.p.mtu"]);
}

#[test]
fn fixed_entries_belong_to_a_port_of_their_domain() {
    let text = |entry: &str| {
        format!("name: t\ndomains:\n  lan: {{ static: [{entry}] }}\nports:\n  p: {{ kind: tap, domain: lan }}\n")
    };
    let plan = good(&text("{ mac: \"02:00:00:00:00:09\", port: p }"));
    assert_eq!(plan.domains[0].fixed[0].port.as_deref(), Some("p"));
    let problems = planned(&text("{ mac: x, port: q }")).unwrap_err();
    assert_eq!(problems.list.len(), 2, "{problems}");
}

#[test]
fn a_cable_has_two_ends() {
    good(
        "name: t\ndomains: { x: {}, y: {} }\nports:\n  p: { kind: ring, peer: q, domain: x }\n  q: { kind: ring, peer: p, domain: y }\n",
    );
}

#[test]
fn a_port_can_be_checked_against_a_running_plan() {
    let plan = good(&format!("{HEAD}  p: {{ kind: tap, domain: lan, node: a, ifname: e }}\n"));
    let port = |text: &str| serde_saphyr::from_str::<Port>(text).unwrap();
    let fine = port("{ kind: tap, domain: lan, node: b, ifname: e }");
    assert_eq!(add_port(&plan, "q", &fine, &machine()).unwrap().domain, "lan");
    let same_name = add_port(&plan, "p", &fine, &machine()).unwrap_err();
    assert!(same_name.to_string().starts_with("ports.p: a port of this name exists"), "{same_name}");
    let many = port("{ kind: veth, domain: lan, queues: 8 }");
    let full = add_port(&plan, "q", &many, &machine()).unwrap_err();
    assert!(full.to_string().contains("memory.frames: the arena of 16384 frames is too small"), "{full}");
}

#[test]
fn a_lab_that_overflows_the_neighbour_table_is_warned_of() {
    let said = |n: usize, limit| {
        let line = |i: usize| {
            format!("  p{i}: {{ kind: tap, node: a, ifname: e{i}, ip: [10.0.0.{}/24], domain: lan }}\n", i + 1)
        };
        let machine = Machine { neighbours: [limit, limit], ..machine() };
        let text = format!("{HEAD}{}", (0..n).map(line).collect::<String>());
        let plan = parse("t.yaml", &text).and_then(|document| plan(&document, &machine));
        plan.unwrap_or_else(|problems| panic!("{problems}")).warnings.as_warnings()
    };
    assert_eq!(said(32, Some(1024)), "", "32 × 31 = 992");
    let forty = said(40, None);
    assert!(forty.starts_with("warning: t.yaml:4:8: nodes: "), "{forty}");
    assert!(
        forty.lines().count() == 1 && forty.contains("1560 entries of the IPv4") && forty.contains("gc_thresh3=4096")
    );
    assert_eq!(said(40, Some(4096)), "");
}

#[test]
fn a_station_that_shares_no_subnet_is_warned_of() {
    let port = |name: &str, ip: &str| format!("  {name}: {{ kind: tap, node: {name}, domain: lan, ip: [{ip}] }}\n");
    let two = good(&format!("{HEAD}{}{}", port("a", "10.9.0.1/24"), port("b", "10.8.0.2/24")));
    let said = two.warnings.as_warnings();
    assert_eq!(said.lines().count(), 2, "{said}");
    let first = "warning: t.yaml:6:45: ports.a.ip: no other port of domain `lan` is in the subnet of 10.9.0.1/24; it";
    assert!(said.starts_with(first), "{said}");
    let router = "10.9.0.9/24, 10.8.0.9/24";
    for others in [
        port("b", "10.9.0.2/24"),
        port("b", router) + "  c: { kind: tap, domain: lan, ip: 10.8.0.2/24 }\n",
        // behind it there may be anything
        port("b", "10.8.0.2/24") + "  c: { kind: tap, domain: lan }\n",
    ] {
        let plan = good(&format!("{HEAD}{}{others}", port("a", "10.9.0.1/24")));
        assert_eq!(plan.warnings.as_warnings(), "", "{others}");
    }
}

#[test]
fn an_interface_that_is_there_is_not_called_ours_to_delete() {
    let said = fault("  z: { kind: tap, ifname: eth0, domain: lan }\n");
    assert!(
        said.contains("ports.z.ifname: `eth0` is an interface of this machine") && said.contains("add `node: NAME`")
    );
    assert!(fault("  default: { kind: tap, domain: lan }\n").contains("ports.default: the kernel keeps the name"));
    assert!(fault("  z: { kind: veth, node: a, ifname: lo, domain: lan }\n").contains("`lo` already"));
}

#[test]
fn a_mac_is_written_one_way() {
    for (mac, remedy) in [
        ("+2:00:00:00:00:01", "six groups"),
        ("02ab.cdef.0001", "write \"02:ab:cd:ef:00:01\""),
        ("2:0:0:0:0:4", "six groups"),
    ] {
        let said = fault(&format!("  z: {{ kind: tap, domain: lan, mac: \"{mac}\" }}\n"));
        assert!(said.contains("is no MAC address") && said.contains(remedy), "{said}");
    }
}

#[test]
fn limits_of_the_process_and_its_group_are_named() {
    let with = |text: &str, machine: Machine| parse("t.yaml", text).and_then(|document| plan(&document, &machine));
    let ports = format!("{HEAD}  v: {{ kind: veth, domain: lan }}\n");
    let locked = with(&ports, Machine { locked_memory: Some(64 << 10), ..machine() }).unwrap();
    let said = locked.warnings.as_warnings();
    assert!(said.contains("lock 32 MiB of memory, this process may lock 64 KiB; raise RLIMIT_MEMLOCK"), "{said}");
    let small = with(&ports, Machine { group_memory: Some(16 << 20), ..machine() }).unwrap_err().to_string();
    assert!(
        small.contains("16384 frames take 32 MiB, the control group may take 16 MiB more; write fewer, or raise"),
        "{small}"
    );
    let huge = Machine { free_hugepages: 64, group_hugepages: Some(2), ..machine() };
    let said = with("name: t\nmemory: { hugepages: required }\n", huge).unwrap_err().to_string();
    assert!(
        said.contains("memory.hugepages: 16 huge pages of 2 MiB are needed, the control group may take 2"),
        "{said}"
    );
}
