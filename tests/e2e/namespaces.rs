//! A port whose interface is in the namespace of a process fails when that ends, whatever the namespace was called.

use crate::common::wait_until;
use crate::common::world::world;
use crate::lab::{FOUR, Lab, Traces, ask, lan};
use crate::traffic::{node_of, ping, v4};
use std::fs;
use std::process::{Child, Command};

/// A process with a network namespace of its own.
fn process() -> Child {
    let process = Command::new("unshare").args(["--net", "sleep", "1000"]).spawn().expect("unshare");
    let namespace = || fs::read_link(format!("/proc/{}/ns/net", process.id())).ok();
    let ours = fs::read_link("/proc/thread-self/ns/net").ok();
    wait_until("a namespace of its own", || namespace().is_some() && namespace() != ours);
    process
}

fn failed(port: &str) -> bool {
    let ports = ask("ports");
    let mut all = ports["ports"].as_array().expect("ports").iter();
    all.any(|it| {
        it["name"] == port && it["link"] == "failed" && it["reason"].as_str().is_some_and(|why| !why.is_empty())
    })
}

#[test]
fn a_process_that_ends_fails_its_port_by_every_name() {
    world("a_process_that_ends_fails_its_port_by_every_name", || {
        let before = Traces::now();
        let [mut linked, mut by_path, mut by_pid] = [process(), process(), process()];
        let file = |process: &Child| format!("/proc/{}/ns/net", process.id());
        fs::create_dir_all("/run/netns").expect("a directory");
        std::os::unix::fs::symlink(file(&linked), "/run/netns/plxt-link").expect("a link");
        let port = |n: usize, kind: &str, place: String| {
            format!("  p{n}: {{ kind: {kind}, {place}, ifname: eth9, ip: [10.99.0.10{n}/24], domain: lan }}\n")
        };
        let ports = port(0, "tap", "netns: plxt-link".to_owned())
            + &port(1, "tap", format!("netns: {}", file(&by_path)))
            + &port(2, "veth", format!("pid: {}", by_pid.id()));
        let lab = Lab::new(&(lan("plxt-ended", &FOUR[..2]) + &ports));
        lab.up();
        for (n, process) in [&mut linked, &mut by_path, &mut by_pid].into_iter().enumerate() {
            let name = format!("p{n}");
            ping(&node_of(0), &format!("10.99.0.10{n}"));
            assert!(!failed(&name));
            process.kill().and_then(|()| process.wait()).expect("its end");
            wait_until("the port to fail", || failed(&name));
            ping(&node_of(0), &v4(1));
        }
        lab.down();
        fs::remove_file("/run/netns/plxt-link").expect("the link");
        before.gone();
    });
}
