//! A machine that moves while it runs: QEMU's live migration from one port of the switch to another. The switch logs every
//! page of the guest that it writes, or the machine would arrive with old ones; then the switch learns where it is, from
//! the machine's own announcement or, where it makes none, from the front end's.

use super::machine::{Machine, image};
use super::vm::{VM1, serve_for_ever, up, yaml};
use crate::common::wait_until;
use crate::common::world::world;
use crate::lab::{Lab, ask, balanced, node};
use crate::traffic::{answers, ping};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

const MONITOR: &str = "/run/pollux/monitor";
const WAY: &str = "unix:/run/pollux/moving";

/// Says something to QEMU; what it answers, up to its next prompt.
fn monitor(command: &str) -> String {
    let mut stream = UnixStream::connect(MONITOR).expect("a monitor");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
    let mut prompt = || {
        let mut said = Vec::new();
        let mut byte = [0];
        while !said.ends_with(b"(qemu) ") {
            stream.read_exact(&mut byte).expect("QEMU's monitor");
            said.push(byte[0]);
        }
        (String::from_utf8_lossy(&said).into_owned(), stream.try_clone().expect("a descriptor"))
    };
    let (_, mut input) = prompt();
    writeln!(input, "{command}").expect("a monitor");
    prompt().0
}

/// The port behind which the switch has the machine's address.
fn whereabouts(machine: &mut Machine) -> String {
    let mac = machine.run("cat /sys/class/net/eth0/address");
    let mac = mac.lines().last().unwrap_or_default().trim().to_owned();
    let fdb = ask("fdb");
    let entry = fdb["entries"].as_array().expect("entries").iter().find(|entry| entry["mac"] == *mac);
    entry.map_or_else(String::new, |entry| entry["port"].as_str().unwrap_or_default().to_owned())
}

fn moves(name: &str, image: &Path, more: &[&str]) {
    world(name, || {
        let lab = Lab::new(&yaml("server", 1));
        lab.up();
        let socket = format!("unix:{MONITOR},server=on,wait=off");
        let monitored = [more, &["-monitor", &socket]].concat();
        let mut first = Machine::boot(image, "vm1", VM1, &monitored);
        let mut second = Machine::awaiting(image, "vm2", (VM1, WAY), more);
        serve_for_ever(&node("t1"));
        first.ping("10.99.0.2");
        // data that must arrive as it is, before, while and after it moves
        first.run("(while :; do wget -q -O - http://10.99.0.1/data | md5sum >>/tmp/sums; done) & true");
        first.run("ping 10.99.0.2 >/tmp/pings & true");
        first.run("while ! [ -s /tmp/sums ]; do usleep 10000; done");
        monitor(&format!("migrate -d {WAY}"));
        wait_until("the machine to have moved", || {
            let how = monitor("info migrate");
            assert!(!how.contains("failed"), "{how}");
            how.contains("Migration status: completed")
        });
        wait_until("frames at the other port", || up("vm2"));
        wait_until("an answer", || answers(&node("t1"), VM1));
        let pings = |machine: &mut Machine| machine.run("grep -c seq= /tmp/pings").trim().parse::<u64>().ok();
        let before = pings(&mut second);
        wait_until("more answers to its pings", || pings(&mut second) > before);
        assert_eq!(whereabouts(&mut second), "vm2");
        second.run("n=$(wc -l </tmp/sums); while [ $(wc -l </tmp/sums) -lt $((n + 2)) ]; do usleep 10000; done");
        second.run(&format!("! grep -v {} /tmp/sums", super::machine::DATA_MD5));
        second.ping("10.99.0.2");
        ping(&node("v1"), VM1);
        first.kill();
        wait_until("the old port to be left", || !up("vm1"));
        assert!(answers(&node("v1"), VM1));
        balanced();
        drop(second);
        lab.down();
    });
}

#[test]
fn a_machine_moves_to_another_port_while_it_runs() {
    moves("a_machine_moves_to_another_port_while_it_runs", &image(), &[]);
}

/// Packed rings have no used index that could be looked up; and a guest that announces nothing is announced.
#[test]
fn a_machine_with_packed_rings_that_announces_nothing_moves() {
    let more = ["-global", "virtio-net-pci.packed=on", "-global", "virtio-net-pci.guest_announce=off"];
    moves("a_machine_with_packed_rings_that_announces_nothing_moves", &image(), &more);
}
