//! However it ends, nothing is left: orderly by signal, or by the next start after SIGKILL.

use crate::common::wait_until;
use crate::common::world::world;
use crate::lab::{FOUR, Lab, Traces, ask, balanced, binary, lan, pollux};
use crate::traffic::{node_of, ping, serve, v4};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// The daemon.
fn daemon() -> Pid {
    let pid = ask("status")["pid"].as_i64().expect("a pid");
    Pid::from_raw(i32::try_from(pid).expect("a pid"))
}

/// TCP from the first port to the third until it is told to stop.
fn endless_traffic() -> (crate::traffic::Server, Child) {
    let server = serve(&node_of(2));
    let client = Command::new("ip")
        .args(["netns", "exec", &node_of(0), "iperf3", "-t", "60", "-c", &v4(2)])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("iperf3");
    let frames = || ask("stats")["ports"]["v1"]["tx_frames"].as_u64();
    wait_until("traffic to flow", || frames() > Some(1000));
    (server, client)
}

fn end(mut child: Child) {
    // It may have ended by itself.
    let _ = child.kill();
    let _ = child.wait();
}

fn kill_mid_traffic() {
    let (_server, client) = endless_traffic();
    let daemon = daemon();
    kill(daemon, Signal::SIGKILL).expect("a daemon");
    // Not before its last thread is gone is its socket closed.
    wait_until("the daemon to be gone", || kill(daemon, None).is_err());
    end(client);
}

#[test]
fn after_kill_9_the_next_start_cleans_up_and_succeeds() {
    world("after_kill_9_the_next_start_cleans_up_and_succeeds", || {
        let before = Traces::now();
        let lab = Lab::new(&lan("plxt-crash", &FOUR));
        lab.up();
        kill_mid_traffic();
        assert_eq!(pollux(&["status"]).code, 3, "a stale socket is no daemon");
        lab.up();
        ping(&node_of(0), &v4(3));
        ping(&node_of(3), &v4(0));
        lab.down();
        before.gone();
    });
}

#[test]
fn after_kill_9_lab_down_removes_everything() {
    world("after_kill_9_lab_down_removes_everything", || {
        let before = Traces::now();
        let lab = Lab::new(&lan("plxt-crash", &FOUR));
        lab.up();
        kill_mid_traffic();
        pollux(&["lab", "down", &lab.file]).ok();
        before.gone();
    });
}

/// Killed at each stage of starting: the next start finds a journal of half a lab.
#[test]
fn after_kill_9_while_starting_the_next_start_succeeds() {
    world("after_kill_9_while_starting_the_next_start_succeeds", || {
        let before = Traces::now();
        let lab = Lab::new(&lan("plxt-start", &FOUR));
        for stage in
            ["/run/pollux/plxt-start.state", "/run/pollux/pollux.sock", "/run/netns/plxt-t1", "/run/netns/plxt-v2"]
        {
            let mut switch =
                Command::new(binary()).args(["run", "-c", &lab.file]).stderr(Stdio::null()).spawn().expect("pollux");
            // No pause between looks: a whole start takes some hundredths of a second.
            while !Path::new(stage).exists() {
                assert!(switch.try_wait().expect("a child").is_none(), "ended before {stage} was there");
            }
            end(switch);
        }
        lab.up();
        ping(&node_of(0), &v4(3));
        lab.down();
        before.gone();
    });
}

/// `run` in the foreground, stopped in the middle of traffic.
fn stopped_by(signal: Signal) {
    let before = Traces::now();
    let lab = Lab::new(&lan("plxt-signal", &FOUR));
    let mut switch =
        Command::new(binary()).args(["run", "-c", &lab.file]).stderr(Stdio::null()).spawn().expect("pollux");
    wait_until("the switch to answer", || pollux(&["status"]).code == 0);
    ping(&node_of(0), &v4(2));
    balanced();
    let (server, client) = endless_traffic();
    kill(Pid::from_raw(i32::try_from(switch.id()).expect("a pid")), signal).expect("a switch");
    let status = switch.wait().expect("its end");
    assert!(status.success(), "{signal}: {status}; frames are missing, or something was not removed");
    end(client);
    drop(server);
    before.gone();
}

#[test]
fn sigterm_leaves_nothing() {
    world("sigterm_leaves_nothing", || stopped_by(Signal::SIGTERM));
}

#[test]
fn sigint_leaves_nothing() {
    world("sigint_leaves_nothing", || stopped_by(Signal::SIGINT));
}
