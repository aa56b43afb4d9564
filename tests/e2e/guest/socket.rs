//! The socket of a port: who may connect, and who of those that connect is served.

use super::frontend::FrontEnd;
use super::frontend::request::GET_FEATURES;
use super::hostile::{SOCKET, behaves, link, with_evil_port};
use crate::common::wait_until;
use crate::common::world::{output, run, world};
use crate::lab::{Lab, ask, lan, pollux};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::Path;

/// Where the lab of [`with_evil_port`] logs.
const LOG: &str = "/run/pollux/plxt-evil.log";

#[test]
fn a_connection_that_says_nothing_keeps_nobody_out() {
    world("a_connection_that_says_nothing_keeps_nobody_out", || {
        with_evil_port(|others| {
            let silent = UnixStream::connect(SOCKET).expect("a socket");
            behaves(others);
            drop(silent);
            // one that hangs half-way
            let mut half = FrontEnd::connect(SOCKET);
            half.negotiate();
            let guest = FrontEnd::ready(SOCKET);
            wait_until("the guest to be up", || link() == "up");
            assert!(half.hung_up());
            assert!(FrontEnd::connect(SOCKET).hung_up(), "now there is a guest");
            assert_eq!(link(), "up");
            drop(guest);
        });
    });
}

#[test]
fn connections_that_come_and_go_cost_next_to_nothing() {
    world("connections_that_come_and_go_cost_next_to_nothing", || {
        with_evil_port(|others| {
            let lines = || fs::read_to_string(LOG).expect("a log").lines().count();
            let before = lines();
            others.lose_nothing(|| {
                for _ in 0..2000 {
                    drop(UnixStream::connect(SOCKET).expect("a socket"));
                }
                for _ in 0..200 {
                    FrontEnd::connect(SOCKET).ask(GET_FEATURES, &[]);
                }
            });
            behaves(others);
            let more = lines() - before;
            assert!(more < 60, "{more} lines for 2200 connections:\n{}", fs::read_to_string(LOG).expect("a log"));
        });
    });
}

/// No file descriptors: it passes, and whoever knocked meanwhile is served.
#[test]
fn a_shortage_of_descriptors_passes() {
    world("a_shortage_of_descriptors_passes", || {
        with_evil_port(|others| {
            let pid = ask("status")["pid"].to_string();
            let free = (0..).find(|fd| !Path::new(&format!("/proc/{pid}/fd/{fd}")).exists()).expect("a number");
            let limit = |soft: u32| run(&["prlimit", "--pid", &pid, &format!("--nofile={soft}:")]);
            limit(free);
            let mut knocks = FrontEnd::connect(SOCKET);
            knocks.tell(GET_FEATURES, &[], &[]);
            limit(1024);
            assert!(knocks.answers());
            drop(knocks);
            behaves(others);
        });
    });
}

#[test]
fn a_socket_is_given_to_whom_the_file_says() {
    world("a_socket_is_given_to_whom_the_file_says", || {
        let yaml = lan("plxt-rights", &[("t1", "tap")]);
        let port = |keys: &str| format!("{yaml}  vm: {{ kind: vhost-user, socket: {SOCKET}, domain: lan{keys} }}\n");
        let lab = Lab::new(&port(", mode: \"0600\", owner: nobody, group: 12345"));
        lab.up();
        let meta = fs::metadata(SOCKET).expect("a socket");
        let nobody = output(&["id", "-u", "nobody"]).stdout;
        assert_eq!(meta.uid().to_string(), String::from_utf8_lossy(&nobody).trim());
        assert_eq!((meta.gid(), meta.permissions().mode() & 0o777), (12345, 0o600));
        lab.down();
        for (keys, where_) in [
            (", mode: rw", "ports.vm.mode"),
            (", owner: who-is-this", "ports.vm.owner"),
            (", role: client, group: nogroup", "ports.vm.group"),
        ] {
            let refused = pollux(&["check", &Lab::new(&port(keys)).file]);
            assert!(refused.code == 1 && refused.err.contains(where_), "{keys}: {refused:#?}");
        }
    });
}
