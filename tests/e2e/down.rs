//! `lab down` and `lab test`, whatever became of the file and of the lab meanwhile.

use crate::common::wait_until;
use crate::common::world::{run, world};
use crate::lab::{Ended, FOUR, Lab, Traces, binary, lan, node, pollux};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

const DEFAULT_SOCKET: &str = "/run/pollux/pollux.sock";

fn two(name: &str) -> String {
    lan(name, &FOUR[1..3])
}

/// Comes up, is edited, goes down; nothing is left of it.
fn goes_down_after(edit: impl FnOnce(&str), down: impl FnOnce(&str) -> Ended) {
    let before = Traces::now();
    let lab = Lab::new(&two("plxt-down"));
    lab.up();
    edit(&lab.file);
    down(&lab.file).ok();
    before.gone();
    assert!(!Path::new("/run/pollux/plxt-down.log").exists(), "its log goes too");
}

#[test]
fn a_lab_goes_down_whatever_became_of_its_file() {
    world("a_lab_goes_down_whatever_became_of_its_file", || {
        let append = |text: &'static str| {
            move |file: &str| {
                let all = fs::read_to_string(file).expect("the file") + text;
                fs::write(file, all).expect("the file");
            }
        };
        let by_file = |file: &str| pollux(&["lab", "down", file]);
        let remove = |file: &str| fs::remove_file(file).expect("the file");
        goes_down_after(append("colour: red\n"), by_file);
        goes_down_after(append("ports: [oops\n"), by_file);
        goes_down_after(remove, by_file);
        goes_down_after(remove, |_| pollux(&["lab", "down", "plxt-down"]));
        goes_down_after(remove, |_| pollux(&["lab", "down", "--socket", DEFAULT_SOCKET]));
        goes_down_after(append(""), |file| {
            // Down is down: nobody's lab is what a second one stops.
            pollux(&["lab", "down", file]).ok();
            pollux(&["lab", "down", file])
        });
    });
}

#[test]
fn no_down_reports_success_while_the_lab_runs() {
    world("no_down_reports_success_while_the_lab_runs", || {
        let before = Traces::now();
        let lab = Lab::new(&two("plxt-old"));
        lab.up();
        fs::write(&lab.file, two("plxt-new")).expect("the file");
        for (which, says) in [(lab.file.as_str(), "pollux lab down plxt-old"), ("plxt-odl", "up: plxt-old")] {
            let refused = pollux(&["lab", "down", which]);
            assert!(refused.code == 1 && refused.err.contains(says), "{which}: {refused:?}");
        }
        assert_eq!(pollux(&["status"]).code, 0, "it runs");
        let nodes_of_another = pollux(&["lab", "test", &lab.file]);
        assert_eq!(nodes_of_another.code, 3, "{nodes_of_another:?}");
        assert!(nodes_of_another.err.contains("`plxt-new` is not up"), "{nodes_of_another:?}");
        let second = pollux(&["lab", "up", &Lab::new("name: plxt-second\n").file]);
        assert!(second.out.is_empty() && second.err.contains("--socket /run/pollux/plxt-second.sock"), "{second:?}");
        assert!(!Path::new("/run/pollux/plxt-second.log").exists(), "a failed start leaves no log");
        pollux(&["lab", "down", "plxt-old"]).ok();
        before.gone();
    });
}

#[test]
fn directories_made_for_sockets_go_with_them() {
    world("directories_made_for_sockets_go_with_them", || {
        let before = Traces::now();
        let guest = "  g: { kind: vhost-user, socket: /run/plxt/guests/g.sock, domain: lan }\n";
        let fails = "  f: { kind: tap, netns: plxt-nowhere, domain: lan }\n";
        let lab = Lab::new(&(two("plxt-dirs") + guest));
        let up = |file: &str| pollux(&["--socket", "/run/plxt/api/plx.sock", "lab", "up", file]);
        up(&lab.file).ok();
        assert!(Path::new("/run/plxt/guests/g.sock").exists());
        pollux(&["lab", "down", &lab.file]).ok();
        assert!(!Path::new("/run/plxt").exists());
        let lab = Lab::new(&(two("plxt-dirs") + guest + fails));
        assert_eq!(up(&lab.file).code, 1);
        assert!(!Path::new("/run/plxt").exists(), "nor after a failed start");
        before.gone();
    });
}

#[test]
fn processes_that_outlive_their_node_are_named() {
    world("processes_that_outlive_their_node_are_named", || {
        let lab = Lab::new(&two("plxt-proc"));
        lab.up();
        let mut process =
            Command::new("ip").args(["netns", "exec", &node("t2"), "sleep", "1000"]).spawn().expect("a process");
        let is_there = || run(&["ip", "netns", "pids", &node("t2")]).trim() == process.id().to_string();
        wait_until("the process to be in its node", is_there);
        let down = pollux(&["lab", "down", &lab.file]);
        let named = format!("still running in node plxt-t2: sleep 1000 (pid {})", process.id());
        assert!(down.code == 0 && down.err.contains(&named), "{down:?}");
        process.kill().and_then(|()| process.wait()).expect("its end");
    });
}

#[test]
fn an_interrupted_up_leaves_nothing() {
    world("an_interrupted_up_leaves_nothing", || {
        let before = Traces::now();
        let lab = Lab::new(&two("plxt-int"));
        for stage in ["/run/pollux/plxt-int.state", "/run/netns/plxt-t2"] {
            let mut up =
                Command::new(binary()).args(["lab", "up", &lab.file]).stderr(Stdio::null()).spawn().expect("pollux");
            // No pause between looks: a whole start takes some hundredths of a second.
            while !Path::new(stage).exists() {
                assert!(up.try_wait().expect("a child").is_none(), "ended before {stage} was there");
            }
            // It may have come up just before: then the lab stays.
            let came_up = up.try_wait().expect("a child").is_some();
            kill(Pid::from_raw(i32::try_from(up.id()).expect("a pid")), Signal::SIGINT).expect("pollux");
            if came_up || up.wait().expect("its end").success() {
                pollux(&["lab", "down", &lab.file]).ok();
            }
            before.gone();
        }
    });
}
