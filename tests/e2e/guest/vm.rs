//! Virtual machines on vhost-user ports: to each other, to TAP and to veth ports, with all offloads on; rebooted, killed,
//! and the switch killed under them.

use super::machine::{Machine, data, fetch, image};
use crate::common::wait_until;
use crate::common::world::{inside, world};
use crate::lab::{Lab, Traces, ask, balanced, binary, lan, node};
use crate::traffic::{answers, ping};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};

/// Addresses of the machines; those of the other ports are 10.99.0.1 (tap) and 10.99.0.2 (veth).
pub const VM1: &str = "10.99.0.11";
const VM2: &str = "10.99.0.12";

pub fn yaml(role: &str, queues: u16) -> String {
    let two = lan("plxt-vm", &[("t1", "tap"), ("v1", "veth")]);
    let guest = |name: &str| {
        format!(
            "  {name}: {{ kind: vhost-user, socket: /run/pollux/{name}.sock, role: {role}, queues: {queues}, domain: lan }}\n"
        )
    };
    two + &guest("vm1") + &guest("vm2")
}

pub fn port(name: &str) -> Value {
    let ports = ask("ports");
    ports["ports"].as_array().expect("ports").iter().find(|port| port["name"] == name).expect("a port").clone()
}

pub fn up(name: &str) -> bool {
    port(name)["link"] == "up"
}

fn agreed(name: &str, feature: &str) -> bool {
    port(name)["guest"]["features"].as_array().expect("features").iter().any(|it| it == feature)
}

/// Serves the machines' data in a node, to `clients` one after the other.
pub fn serve(netns: &str, clients: usize) -> std::thread::JoinHandle<()> {
    let listener = inside(netns, || TcpListener::bind("[::]:80")).expect("a listener");
    let one = move |_| serve_one(listener.accept().expect("a client").0).expect("sending");
    std::thread::spawn(move || (0..clients).for_each(one))
}

/// The same to whoever comes, at once, and whether or not they stay.
pub fn serve_for_ever(netns: &str) {
    let listener = inside(netns, || TcpListener::bind("[::]:80")).expect("a listener");
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || serve_one(stream));
        }
    });
}

fn serve_one(mut stream: TcpStream) -> std::io::Result<()> {
    let body = data();
    let head = format!("HTTP/1.0 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
    // read is what was asked: a reset would follow a close with unread bytes
    let _some = std::io::Read::read(&mut stream, &mut [0; 1024])?;
    stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body))
}

#[test]
fn two_machines_talk_to_each_other_and_to_tap_and_veth_with_offloads() {
    let image = image();
    world("two_machines_talk_to_each_other_and_to_tap_and_veth_with_offloads", || {
        let before = Traces::now();
        let lab = Lab::new(&yaml("server", 1));
        lab.up();
        let mut first = Machine::boot(&image, "vm1", VM1, &[]);
        let mut second = Machine::boot(&image, "vm2", VM2, &[]);
        wait_until("both links", || up("vm1") && up("vm2"));
        for feature in ["csum", "guest_csum", "guest_tso4", "host_tso4", "mrg_rxbuf", "event_idx", "version_1"] {
            assert!(agreed("vm1", feature), "{feature}: {:#}", port("vm1"));
        }
        for to in [VM2, "10.99.0.1", "10.99.0.2"] {
            first.ping(to);
        }
        for (n, from) in ["t1", "v1"].into_iter().enumerate() {
            ping(&node(from), VM2);
            let server = serve(&node(from), 1);
            first.fetch(&format!("10.99.0.{}", n + 1));
            server.join().expect("a served machine");
            assert!(inside(&node(from), || fetch(VM2)) == data(), "what {from} gets from the machine");
        }
        first.fetch(VM2);
        second.fetch(VM1);
        drop((first, second));
        wait_until("both links down", || !up("vm1") && !up("vm2"));
        lab.down();
        before.gone();
    });
}

#[test]
fn a_machine_reboots_and_is_killed_and_comes_back() {
    let image = image();
    world("a_machine_reboots_and_is_killed_and_comes_back", || {
        let lab = Lab::new(&yaml("server", 1));
        lab.up();
        let mut machine = Machine::boot(&image, "vm1", VM1, &[]);
        ping(&node("t1"), VM1);
        machine.tell("reboot -f");
        machine.wait_for("vm is up");
        ping(&node("t1"), VM1);
        machine.kill();
        wait_until("the link to go", || !up("vm1"));
        assert_eq!(port("vm1")["guest"]["last"], "the front end has gone");
        ping(&node("t1"), "10.99.0.2");
        let mut machine = Machine::boot(&image, "vm1", VM1, &[]);
        machine.ping("10.99.0.1");
        machine.ping("10.99.0.2");
        balanced();
        lab.down();
    });
}

/// The switch dies and starts again, some times; the machine is not told, and what it was sending goes on.
fn survives(role: &str, more: &[&str], kills: usize) {
    let image = image();
    world(&format!("a_machine_survives_its_switch_{role}_{}", more.concat()), || {
        let lab = Lab::new(&yaml(role, 1));
        lab.up();
        let mut machine = Machine::boot(&image, "vm1", VM1, more);
        machine.ping("10.99.0.1");
        // one that hangs because its switch was away for long is begun anew
        machine.run("(while :; do timeout 3 wget -q -O /dev/null http://10.99.0.1/data; done) & true");
        serve_for_ever(&node("t1"));
        let mut switch = None;
        for _ in 0..kills {
            let before = ask("stats")["ports"]["vm1"]["tx_frames"].as_u64().expect("a count");
            wait_until("traffic", || ask("stats")["ports"]["vm1"]["tx_frames"].as_u64() > Some(before + 100));
            let daemon = Pid::from_raw(i32::try_from(ask("status")["pid"].as_i64().expect("a pid")).expect("a pid"));
            kill(daemon, Signal::SIGKILL).expect("a daemon");
            switch.take().map(|mut killed: Child| killed.wait().expect("its end"));
            wait_until("the daemon to be gone", || kill(daemon, None).is_err());
            let run = Command::new(binary()).args(["run", "-c", &lab.file]).stderr(Stdio::null()).spawn();
            switch = Some(run.expect("pollux"));
            wait_until("the machine to be back", || crate::lab::pollux(&["status"]).code == 0 && up("vm1"));
            wait_until("an answer", || answers(&node("t1"), VM1));
        }
        machine.ping("10.99.0.2");
        balanced();
        let mut switch = switch.expect("a switch");
        kill(Pid::from_raw(i32::try_from(switch.id()).expect("a pid")), Signal::SIGTERM).expect("a switch");
        assert!(switch.wait().expect("its end").success(), "frames are missing");
    });
}

#[test]
fn a_machine_survives_its_switch_that_listens() {
    survives("server", &[], 1);
}

#[test]
fn a_machine_survives_its_switch_that_connects() {
    survives("client", &[], 1);
}

/// Of a packed ring nobody but the killed switch knew the position.
#[test]
fn a_machine_with_a_packed_ring_survives_its_switch() {
    survives("server", &["-global", "virtio-net-pci.packed=on"], 4);
}

#[test]
fn a_machine_with_a_packed_ring_and_two_queue_pairs() {
    let image = image();
    world("a_machine_with_a_packed_ring_and_two_queue_pairs", || {
        let lab = Lab::new(&yaml("server", 2));
        lab.up();
        let packed = ["-global", "virtio-net-pci.packed=on", "-smp", "2"];
        let mut machine = Machine::boot(&image, "vm1", VM1, &packed);
        assert!(agreed("vm1", "ring_packed") && agreed("vm1", "mq"), "{:#}", port("vm1"));
        machine.ping("10.99.0.1");
        let server = serve(&node("t1"), 1);
        machine.fetch("10.99.0.1");
        server.join().expect("a served machine");
        assert!(inside(&node("t1"), || fetch(VM1)) == data(), "what the machine sends");
        lab.down();
    });
}

#[test]
fn memory_that_is_not_shared_gets_one_line_with_the_flag_to_add() {
    let image = image();
    world("memory_that_is_not_shared_gets_one_line_with_the_flag_to_add", || {
        let lab = Lab::new(&yaml("server", 1));
        lab.up();
        let args = crate::lab::pollux(&["port", "qemu-args", "vm1", "--memory", "128M"]).ok();
        let private = args.trim().replace(",share=on", ",share=off");
        let _machine = Machine::start(&image, &private, VM1, &[]);
        wait_until("the reason", || {
            port("vm1")["guest"]["last"].as_str().is_some_and(|last| last.contains("share=on"))
        });
        lab.down();
    });
}

/// `configs/vm.yaml` as it is: two machines, a TAP and a veth host, by `lab up`, `lab test` and `lab down`.
#[test]
fn the_lab_of_two_machines_comes_up_and_passes() {
    image();
    world("the_lab_of_two_machines_comes_up_and_passes", || {
        let before = Traces::now();
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/configs/vm.yaml");
        crate::lab::pollux(&["lab", "up", file]).ok();
        assert!(up("vm1") && up("vm2"));
        let report = crate::lab::pollux(&["lab", "test", file]).ok();
        // from each namespace to each machine and to the other namespace
        assert_eq!(report.matches(" ok").count(), 6, "{report}");
        balanced();
        crate::lab::pollux(&["lab", "down", file]).ok();
        before.gone();
    });
}
