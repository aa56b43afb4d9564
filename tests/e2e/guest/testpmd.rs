//! DPDK's testpmd as the guest: two virtio-user ports that forward what they get to each other, so that bursts go round
//! and round through the switch, in every variant of the driver.

use crate::common::wait_until;
use crate::common::world::world;
use crate::lab::{Lab, ask, balanced, binary, pollux};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::io::Write;
use std::process::{Child, Command, Stdio};

/// Frames that have gone round before a variant has passed.
const ENOUGH: u64 = 20_000;
/// Bursts in flight come from one burst of 32 per port.
const COMMON: &[&str] = &[
    "--lcores",
    "0@0,1@0",
    "--main-lcore",
    "0",
    "--no-pci",
    "--no-huge",
    "-m",
    "128",
    "--no-shconf",
    "--file-prefix",
    "plxt",
];

/// testpmd between both ports; stopped in order when asked.
struct Testpmd(Child);

impl Testpmd {
    fn start(variant: &str, queues: u16) -> Self {
        Self::forward(variant, queues, &["--forward-mode=io", "--tx-first", "--no-lsc-interrupt"])
    }

    fn forward(variant: &str, queues: u16, mode: &[&str]) -> Self {
        let device =
            |n: u16, mac: &str| format!("--vdev=net_virtio_user{n},path=/run/pollux/p{n}.sock,mac={mac}{variant}");
        let (zero, one) = ("02:00:00:00:00:a0", "02:00:00:00:00:a1");
        let queues = queues.to_string();
        let child = Command::new("dpdk-testpmd")
            .args(COMMON)
            .args([device(0, zero), device(1, one)])
            .args(["--", "--total-num-mbufs=8192"])
            .args(mode)
            .args([&format!("--rxq={queues}"), &format!("--txq={queues}")])
            .args([format!("--eth-peer=0,{one}"), format!("--eth-peer=1,{zero}")])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("dpdk-testpmd");
        Self(child)
    }

    /// Types a command, of one that was started with `-i`.
    fn say(&mut self, command: &str) {
        let input = self.0.stdin.as_mut().expect("its input");
        writeln!(input, "{command}").expect("a running testpmd");
    }

    /// A newline ends it.
    fn stop(mut self) {
        let mut input = self.0.stdin.take().expect("its input");
        input.write_all(b"\n").expect("a running testpmd");
        drop(input);
        assert!(self.0.wait().expect("its end").success(), "testpmd failed");
    }
}

impl Drop for Testpmd {
    fn drop(&mut self) {
        // it may have ended by itself
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn sent(port: &str) -> u64 {
    ask("stats")["ports"][port]["tx_frames"].as_u64().expect("a count")
}

fn links(state: &str) -> bool {
    ask("ports")["ports"].as_array().expect("ports").iter().all(|port| port["link"] == state)
}

fn lab(role: &str, queues: u16, workers: &str) -> Lab {
    let port = |n| {
        format!(
            "  p{n}: {{ kind: vhost-user, socket: /run/pollux/p{n}.sock, role: {role}, queues: {queues}, domain: lan }}\n"
        )
    };
    Lab::new(&format!("name: plxt-dpdk\nworkers: {workers}\ndomains: {{ lan: {{}} }}\nports:\n{}{}", port(0), port(1)))
}

/// Forwards in one variant, twice on the same ports: the second front end finds them as the first did.
fn forwards(role: &str, variants: &[&str], queues: u16, workers: &str) {
    let lab = lab(role, queues, workers);
    lab.up();
    for variant in variants {
        eprintln!("{variant}");
        let before = (sent("p0"), sent("p1"));
        let guest = Testpmd::start(variant, queues);
        wait_until("frames to go round", || sent("p0") > before.0 + ENOUGH && sent("p1") > before.1 + ENOUGH);
        assert!(links("up"));
        guest.stop();
        wait_until("the links to go", || links("no-carrier"));
        balanced();
    }
    lab.down();
}

#[test]
fn every_split_variant_forwards() {
    let variants = [
        "",
        ",mrg_rxbuf=0",
        ",in_order=0",
        ",mrg_rxbuf=0,in_order=0",
        ",vectorized=1,mrg_rxbuf=0",
        ",queue_size=1024",
        "",
    ];
    world("every_split_variant_forwards", || forwards("server", &variants, 1, "[1]"));
}

#[test]
fn every_packed_variant_forwards() {
    let variants = [
        ",packed_vq=1",
        ",packed_vq=1,mrg_rxbuf=0",
        ",packed_vq=1,in_order=0",
        ",packed_vq=1,vectorized=1",
        ",packed_vq=1,mrg_rxbuf=0,in_order=0",
    ];
    world("every_packed_variant_forwards", || forwards("server", &variants, 1, "[1]"));
}

#[test]
fn several_queue_pairs_on_two_workers_forward() {
    world("several_queue_pairs_on_two_workers_forward", || {
        forwards("server", &[",queues=4", ",queues=4,packed_vq=1"], 4, "[0, 1]");
    });
}

#[test]
fn a_front_end_that_listens_is_connected_to() {
    world("a_front_end_that_listens_is_connected_to", || {
        forwards("client", &[",server=1", ",server=1,packed_vq=1", ",server=1"], 1, "[1]");
    });
}

/// A front end that uses two of four queue pairs: frames go to those.
#[test]
fn queue_pairs_that_are_not_used_get_no_frames() {
    world("queue_pairs_that_are_not_used_get_no_frames", || {
        let lab = lab("server", 4, "[0, 1]");
        lab.up();
        let guest = Testpmd::start(",queues=1", 1);
        wait_until("frames to go round", || sent("p0") > ENOUGH && sent("p1") > ENOUGH);
        guest.stop();
        wait_until("the links to go", || links("no-carrier"));
        balanced();
        lab.down();
    });
}

/// The switch is killed while frames go round, and the front end listens for the next one: its rings go on. Frames that
/// were in the switch are gone, so testpmd makes new ones.
#[test]
fn frames_go_on_after_the_switch_was_killed() {
    world("frames_go_on_after_the_switch_was_killed", || {
        for variant in [",server=1", ",server=1,packed_vq=1", ",server=1,packed_vq=1,vectorized=1"] {
            eprintln!("{variant}");
            let lab = lab("client", 1, "[1]");
            lab.up();
            // with interrupts for the link's state, lest nobody looks for the next switch
            let mut guest = Testpmd::forward(variant, 1, &["--forward-mode=io", "-i"]);
            guest.say("start tx_first");
            let mut switches = Vec::new();
            for _ in 0..3 {
                wait_until("frames to go round", || sent("p0") > ENOUGH && sent("p1") > ENOUGH);
                let daemon = i32::try_from(ask("status")["pid"].as_i64().expect("a pid")).expect("a pid");
                kill(Pid::from_raw(daemon), Signal::SIGKILL).expect("a daemon");
                switches.drain(..).for_each(|mut killed: Child| assert!(!killed.wait().expect("its end").success()));
                wait_until("the daemon to be gone", || kill(Pid::from_raw(daemon), None).is_err());
                let run = Command::new(binary()).args(["run", "-c", &lab.file]).stderr(Stdio::null()).spawn();
                switches.push(run.expect("pollux"));
                wait_until("the links to come", || pollux(&["status"]).code == 0 && links("up"));
                guest.say("stop");
                guest.say("start tx_first");
            }
            wait_until("frames to go round", || sent("p0") > ENOUGH && sent("p1") > ENOUGH);
            guest.say("quit");
            guest.stop();
            wait_until("the links to go", || links("no-carrier"));
            balanced();
            for mut switch in switches {
                kill(Pid::from_raw(i32::try_from(switch.id()).expect("a pid")), Signal::SIGTERM).expect("a switch");
                assert!(switch.wait().expect("its end").success(), "frames are missing");
            }
        }
    });
}
