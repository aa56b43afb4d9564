//! Machines that lack something: IPv6, a writable /proc/sys or /run, file descriptors. What does not need it works, what
//! does says what and where. And names that are taken by others: whose they are, and nothing to delete.

use crate::common::wait_until;
use crate::common::world::{run, world};
use crate::lab::{Ended, FOUR, Lab, Traces, ask, binary, lan, node, pollux};
use crate::traffic::{node_of, ping, v4};
use std::io::Write;
use std::process::{Command, Stdio};

/// Two ports of a kind, one of them in the namespace `ctr` with these addresses.
fn in_container(kind: &str, ip: &str) -> Lab {
    Lab::new(&format!(
        "name: plxt-ctr\ndomains: {{ lan: {{}} }}\nnodes: {{ plxt-t2: {{}} }}\nports:\n  t1: {{ kind: {kind}, netns: plxt-t1, ifname: eth0, ip: [{ip}], domain: lan }}\n  t2: {{ kind: {kind}, node: plxt-t2, ifname: eth0, ip: [10.99.0.2/24], domain: lan }}\n"
    ))
}

fn pings_of_a_container() {
    for kind in ["tap", "veth"] {
        let before = Traces::now();
        let lab = in_container(kind, "10.99.0.1/24");
        lab.up();
        ping(&node_of(0), &v4(1));
        lab.down();
        before.gone();
    }
}

#[test]
fn without_ipv6_what_is_ipv4_works_and_the_rest_says_so() {
    world("without_ipv6_what_is_ipv4_works_and_the_rest_says_so", || {
        run(&["ip", "netns", "add", &node("t1")]);
        let off = ["net.ipv6.conf.all.disable_ipv6=1", "net.ipv6.conf.default.disable_ipv6=1"];
        run(&["ip", "netns", "exec", &node("t1"), "sysctl", "-qw", off[0], off[1]]);
        for kind in ["tap", "veth"] {
            let before = Traces::now();
            let lab = in_container(kind, "10.99.0.1/24, \"fd99::1/64\"");
            let ended = pollux(&["lab", "up", &lab.file]);
            assert_eq!(ended.code, 1, "{ended:#?}");
            for word in
                ["ports.t1", "fd99::1/64", "namespace plxt-t1", "ip netns exec plxt-t1 sysctl -w", "disable_ipv6=0"]
            {
                assert!(ended.err.contains(word), "{word}: {}", ended.err);
            }
            before.gone();
        }
        pings_of_a_container();
    });
}

#[test]
fn with_a_read_only_proc_sys_an_ipv4_lab_comes_up() {
    world("with_a_read_only_proc_sys_an_ipv4_lab_comes_up", || {
        run(&["ip", "netns", "add", &node("t1")]);
        run(&["mount", "--bind", "/proc/sys", "/proc/sys"]);
        run(&["mount", "-o", "remount,bind,ro", "/proc/sys"]);
        pings_of_a_container();
        run(&["ip", "netns", "del", &node("t1")]);
        // addresses of the file come without duplicate address detection in any case
        let lab = Lab::new(&lan("plxt-ro", &FOUR));
        lab.up();
        ping(&node_of(2), "fd99::1");
        lab.down();
    });
}

#[test]
fn a_read_only_run_is_named_with_its_remedy() {
    world("a_read_only_run_is_named_with_its_remedy", || {
        run(&["mount", "-o", "remount,ro", "/run"]);
        let lab = Lab::new(&lan("plxt-run", &FOUR[..2]));
        for command in [&["lab", "up", &lab.file][..], &["run", "-c", &lab.file]] {
            let ended = pollux(command);
            assert_eq!(ended.code, 1, "{ended:#?}");
            assert!(ended.err.contains("/run/pollux") && ended.err.contains("mount -t tmpfs"), "{}", ended.err);
        }
    });
}

/// Ends what `pollux` is given on standard input.
fn piped(args: &[&str], text: &str) -> Ended {
    let mut command = Command::new(binary());
    let command = command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("running pollux");
    child.stdin.take().expect("a pipe").write_all(text.as_bytes()).expect("writing");
    child.wait_with_output().expect("its end").into()
}

#[test]
fn a_lab_comes_up_from_a_pipe() {
    world("a_lab_comes_up_from_a_pipe", || {
        let before = Traces::now();
        let text = lan("plxt-pipe", &FOUR[..2]);
        for name in ["-", "/dev/stdin"] {
            piped(&["lab", "up", name], &text).ok();
            ping(&node_of(0), &v4(1));
            piped(&["lab", "down", name], &text).ok();
        }
        before.gone();
    });
}

#[test]
fn the_soft_limit_on_open_files_binds_nobody() {
    world("the_soft_limit_on_open_files_binds_nobody", || {
        let ports: String = (0..100).map(|i| format!("  p{i}: {{ kind: tap, node: n, domain: lan }}\n")).collect();
        let lab =
            Lab::new(&format!("name: plxt-files\ndomains: {{ lan: {{}} }}\nnodes: {{ n: {{}} }}\nports:\n{ports}"));
        let limited = "ulimit -Sn 64; exec \"$0\" lab up \"$1\"";
        let ended: Ended =
            Command::new("sh").args(["-c", limited]).arg(binary()).arg(&lab.file).output().expect("sh").into();
        ended.ok();
        assert_eq!(ask("ports")["ports"].as_array().map(Vec::len), Some(100));
        lab.down();
    });
}

#[test]
fn a_switch_that_was_killed_for_memory_is_called_so() {
    world("a_switch_that_was_killed_for_memory_is_called_so", || {
        let lab = Lab::new(&lan("plxt-killed", &FOUR[..2]));
        lab.up();
        let pid = ask("status")["pid"].as_u64().expect("a pid");
        run(&["kill", "-9", &pid.to_string()]);
        wait_until("the switch to be gone", || pollux(&["status"]).code == 3);
        let ended = pollux(&["lab", "down", &lab.file]);
        // killed by hand: nothing is said of memory
        assert!(ended.code == 0 && !ended.err.contains("memory"), "{ended:#?}");
    });
}

#[test]
fn a_taken_name_is_said_to_be_whose_it_is() {
    world("a_taken_name_is_said_to_be_whose_it_is", || {
        let lab = Lab::new(&lan("plxt-first", &FOUR[..2]));
        lab.up();
        let other = Lab::new(&lan("plxt-second", &FOUR[..2]));
        let ended = pollux(&["--socket", "/run/pollux/second.sock", "lab", "up", &other.file]);
        assert!(ended.err.contains("made by lab `plxt-first`") && ended.err.contains("lab down"), "{}", ended.err);
        assert!(!ended.err.contains("netns del"), "{}", ended.err);
        run(&["ip", "link", "add", "plxt-br", "type", "bridge"]);
        let spec = "{ kind: tap, ifname: plxt-br, domain: lan }";
        let ended = pollux(&["port", "add", "z", "--spec", spec]);
        assert!(ended.err.contains("not this lab's") && ended.err.contains("`node: NAME`"), "{}", ended.err);
        assert!(!ended.err.contains("link del"), "{}", ended.err);
        let ended = pollux(&["port", "add", "z", "--spec", "{ kind: tap, node: later, domain: lan }"]);
        assert!(ended.err.contains("ip netns add later") && ended.err.contains("netns: later"), "{}", ended.err);
        lab.down();
        assert!(run(&["ip", "-o", "link"]).contains("plxt-br"));
    });
}
