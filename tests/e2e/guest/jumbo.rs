//! Frames of 9000 bytes, TCP and UDP with segmentation offload between virtual machines and every other kind of port, IPv4
//! and IPv6, untagged and tagged. Both kernels check every checksum.

use super::machine::{Machine, data, fetch, image};
use super::vm::serve;
use crate::common::wait_until;
use crate::common::world::{inside, world};
use crate::lab::balanced;
use crate::offloads::{DATAGRAMS, full_ping, lab, node, send_uso, tag_all};
use crate::traffic::{checksum_errors, checksum_errors_in, v4, v6};
use std::path::Path;

/// One station of each kind: a TAP, a veth, a device (of [`crate::offloads`]).
const STATIONS: [usize; 3] = [0, 2, 4];
/// Numbers of the machines' addresses.
const MACHINES: [usize; 2] = [10, 11];
/// Nobody listens there.
const PORT: u16 = 9;

/// As in a URL.
fn url(address: &str) -> String {
    if address.contains(':') { format!("[{address}]") } else { address.to_owned() }
}

/// Boots a machine with both addresses on `dev`, `eth0` or a VLAN of it.
fn boot(image: &Path, n: usize, dev: &str) -> Machine {
    let mut machine = Machine::boot(image, &format!("vm{n}"), "0.0.0.0", &[]);
    machine.run("ip link set eth0 mtu 9000");
    if dev != "eth0" {
        machine.run("vconfig add eth0 5 && ip link set eth0.5 mtu 9000");
    }
    machine.run(&format!("echo 0 >/proc/sys/net/ipv6/conf/{dev}/accept_dad"));
    machine.run(&format!("ip addr flush dev eth0; ip link set {dev} up"));
    machine.run(&format!("ip addr add {}/24 dev {dev} && ip -6 addr add {}/64 dev {dev}", v4(n), v6(n)));
    machine
}

/// Datagrams for nobody that passed the machine's check of their checksums, so far.
fn datagrams(machine: &mut Machine) -> usize {
    let said = machine.run("awk '/^Udp: [0-9]/{n+=$3} /^Udp6NoPorts/{n+=$2} END{print \"seen\", n}' /proc/net/snmp*");
    let number = said.lines().find_map(|line| line.trim_end().strip_prefix("seen ")?.parse().ok());
    number.unwrap_or_else(|| panic!("{said}"))
}

fn to_machine(from: usize, n: usize, machine: &mut Machine) {
    for address in [v4(n), v6(n)] {
        full_ping(from, &address);
        assert!(inside(&node(from), || fetch(&address)) == data(), "TCP from {address} to {}", node(from));
        let before = datagrams(machine);
        send_uso(from, &address, PORT);
        wait_until("all datagrams of one piece", || datagrams(machine) == before + DATAGRAMS);
    }
}

fn from_machine(machine: &mut Machine, address: &str) {
    let payload = if address.contains(':') { 8952 } else { 8972 };
    machine.run(&format!("ping -q -c 1 -W 5 -s {payload} {address}"));
    machine.fetch(&url(address));
}

fn everything(name: &'static str, dev: &str, prepare: impl FnOnce() + Send) {
    let image = image();
    world(name, || {
        let guest = |n: usize| {
            format!("  vm{n}: {{ kind: vhost-user, socket: /run/pollux/vm{n}.sock, role: server, domain: lan }}\n")
        };
        let lab = lab("plxt-vmjumbo", &MACHINES.map(guest).concat());
        lab.up();
        prepare();
        let mut machines = MACHINES.map(|n| boot(&image, n, dev));
        let [first, _] = &mut machines;
        for station in STATIONS {
            to_machine(station, MACHINES[0], first);
            let server = serve(&node(station), 2);
            [v4(station), v6(station)].iter().for_each(|address| from_machine(first, address));
            server.join().expect("two served machines");
        }
        [v4(MACHINES[1]), v6(MACHINES[1])].iter().for_each(|address| from_machine(first, address));
        for machine in &mut machines {
            assert_eq!(checksum_errors_in(&machine.run("cat /proc/net/snmp /proc/net/snmp6")), 0);
        }
        STATIONS.iter().for_each(|n| assert_eq!(checksum_errors(&node(*n)), 0, "in {}", node(*n)));
        balanced();
        drop(machines);
        lab.down();
    });
}

#[test]
fn jumbo_tcp_and_uso_pass_to_and_from_machines() {
    everything("jumbo_tcp_and_uso_pass_to_and_from_machines", "eth0", || ());
}

#[test]
fn tagged_jumbo_tcp_and_uso_pass_to_and_from_machines() {
    everything("tagged_jumbo_tcp_and_uso_pass_to_and_from_machines", "eth0.5", tag_all);
}
