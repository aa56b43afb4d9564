//! The harness itself: a switch that got slower and one that loses frames are noticed, and a sound one is not blamed.
//!
//! What was measured before somebody interrupts it is kept.
//!
//! Both switches run as the `pollux` that `pollux-bench` is told to measure (`POLLUX_BIN`): scripts that spoil the switch's
//! surroundings and then become it.

#[path = "common/mod.rs"]
mod common;

use common::world::world;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Output, Stdio};
use tempfile::TempDir;

/// Somebody else is busy on the switch's core as long as it runs.
const SLOW: &str = r#"#!/bin/sh
if [ "$1" = run ]; then
    taskset -c 1 sh -c "while kill -0 $$ 2>/dev/null; do i=0; while [ \$i -lt 10000 ]; do i=\$((i + 1)); done; done" &
fi
exec "$POLLUX" "$@"
"#;

/// Of what the switch sends to station B, one frame of 50 is lost on the way.
const LOSSY: &str = r#"#!/bin/sh
if [ "$1" = run ]; then
    cd "${0%/*}"
    clang -O2 -target bpf -c lossy.bpf.c -o lossy.o || exit 1
    # as soon as the switch has made the interface; ip wants a file system of that kind to load a program
    ip netns exec plxb-b sh -c "mount -t bpf bpf /sys/fs/bpf
        until ip link set w1 xdpgeneric obj lossy.o sec xdp 2>/dev/null; do sleep 0.02; done" &
fi
exec "$POLLUX" "$@"
"#;

// without headers, which are where each distribution puts them: the helper goes by its number
const LOSSY_PROGRAM: &str = r#"
static unsigned int (*random)(void) = (void *)7;
__attribute__((section("xdp"), used)) int lossy(void *frame) { return random() % 50 ? 2 /* PASS */ : 1 /* DROP */; }
char licence_of_program[] __attribute__((section("license"), used)) = "GPL";
"#;

/// What VPP is asked for, done by the kernel. It ends if the configuration is not one that VPP would take, as far as a
/// script can tell; there is no VPP to be had where these tests run.
const STAND_IN: &str = r#"#!/bin/sh
set -e
[ "$1" = -c ]
[ "$(tr -cd '{' < "$2" | wc -c)" = "$(tr -cd '}' < "$2" | wc -c)" ]
if grep -vE '^((unix|cpu|memory|buffers|statseg|plugins) [{]|  [a-z].*|[}])$' "$2"; then exit 1; fi
script=$(sed -n 's/^  exec //p' "$2")
if grep -vE '^(create (interface af_xdp|bridge-domain)|set interface|l2fib add [0-9a-f:]{17} 1 w0 static|show bridge-domain 1)' "$script"; then exit 1; fi
ip link del stand-in 2>/dev/null || true
ip link add stand-in type bridge
ip link set stand-in up
for dev in $(sed -n 's/^create interface af_xdp host-if \([a-z0-9]*\) .*/\1/p' "$script"); do ip link set "$dev" master stand-in; done
echo "  BD-ID   Index   BSN"
exec sleep 1000
"#;

/// The switch as it is, beside the harness.
fn pollux() -> PathBuf {
    Path::new(env!("CARGO_BIN_EXE_pollux-bench")).with_file_name("pollux")
}

/// A script that is taken for the switch.
fn spoiled(directory: &TempDir, script: &str) -> PathBuf {
    let path = directory.path().join("pollux");
    fs::write(&path, script).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
    fs::write(directory.path().join("lossy.bpf.c"), LOSSY_PROGRAM).unwrap();
    path
}

fn bench(switch: &Path, words: &[&str]) -> Output {
    let bench = env!("CARGO_BIN_EXE_pollux-bench");
    // the machine is a test's: whether it is idle is nobody's promise
    let command = &mut Command::new(bench);
    command.args(words).arg("--force").env("POLLUX_BIN", switch).env("POLLUX", pollux()).output().unwrap()
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Frames per second of one subject of ours, saved.
fn measure(switch: &Path, file: &Path) {
    let file = file.display().to_string();
    let done = bench(switch, &["xdp", "--only", "adaptive", "--rounds", "3", "--seconds", "1", "--save", &file]);
    assert!(done.status.success(), "{}", said(&done));
}

fn compare(old: &Path, new: &Path) -> (Option<i32>, String) {
    let output = bench(&pollux(), &["compare", &old.display().to_string(), &new.display().to_string()]);
    (output.status.code(), said(&output))
}

#[test]
fn a_slowed_switch_is_noticed_and_an_unhindered_one_is_not() {
    world("a_slowed_switch_is_noticed_and_an_unhindered_one_is_not", || {
        let directory = TempDir::new().unwrap();
        let [before, again, slowed] = ["before", "again", "slowed"].map(|name| directory.path().join(name));
        measure(&pollux(), &before);
        measure(&pollux(), &again);
        measure(&spoiled(&directory, SLOW), &slowed);
        let (code, text) = compare(&before, &again);
        assert_eq!(code, Some(0), "{text}");
        let (code, text) = compare(&before, &slowed);
        assert_eq!(code, Some(1), "{text}");
        assert!(text.contains("SLOWER  xdp, 64 B: pollux af_xdp, adaptive"), "{text}");
    });
}

#[test]
fn a_lossy_switch_is_noticed_and_a_sound_one_is_not() {
    world("a_lossy_switch_is_noticed_and_a_sound_one_is_not", || {
        let directory = TempDir::new().unwrap();
        let words = ["rtt", "--only", "economy", "--quick", "--rounds", "1"];
        let sound = bench(&pollux(), &words);
        assert!(sound.status.success(), "{}", said(&sound));
        let lossy = bench(&spoiled(&directory, LOSSY), &words);
        assert_eq!(lossy.status.code(), Some(1), "{}", said(&lossy));
        assert!(said(&lossy).contains("pings were not answered"), "{}", said(&lossy));
    });
}

#[test]
fn a_vpp_is_measured_where_its_binary_is_named() {
    world("a_vpp_is_measured_where_its_binary_is_named", || {
        let directory = TempDir::new().unwrap();
        let vpp = spoiled(&directory, STAND_IN).display().to_string();
        let words = ["xdp", "--only", "vpp", "--rounds", "1", "--seconds", "1"];
        let done = bench(&pollux(), &[&words[..], &["--vpp", &vpp]].concat());
        assert!(done.status.success() && said(&done).contains("| 64 B | vpp l2 | "), "{}", said(&done));
        let unnamed = bench(&pollux(), &words);
        assert!(said(&unnamed).contains("no subject of this case is named vpp"), "{}", said(&unnamed));
    });
}

#[test]
fn a_vpp_that_is_not_there_is_said_before_anything_is_measured() {
    let done = bench(&pollux(), &["xdp", "--vpp", "/nowhere/vpp"]);
    assert_eq!(done.status.code(), Some(2), "{}", said(&done));
    assert!(said(&done).contains("'/nowhere/vpp' for '--vpp <PATH>': it is no file: name VPP's"), "{}", said(&done));
}

/// Reads what the harness says until a line has these words.
fn wait_for_words(said: &mut BufReader<ChildStderr>, words: &str) {
    let mut all = String::new();
    while !all.lines().last().is_some_and(|line| line.contains(words)) {
        assert!(said.read_line(&mut all).unwrap() > 0, "it ended without `{words}`: {all}");
    }
}

fn interrupt(harness: &Child) {
    kill(Pid::from_raw(harness.id().try_into().unwrap()), Signal::SIGINT).unwrap();
}

#[test]
fn what_was_measured_before_an_interruption_is_kept() {
    world("what_was_measured_before_an_interruption_is_kept", || {
        let directory = TempDir::new().unwrap();
        let (file, scratch) = (directory.path().join("results.json"), directory.path().join("scratch"));
        fs::create_dir(&scratch).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_pollux-bench"));
        command.args(["rtt", "--only", "bridge,macvlan", "--rounds", "1000", "--seconds", "1", "--force", "--save"]);
        command.arg(&file).env("POLLUX_BIN", pollux()).env("TMPDIR", &scratch);
        let mut harness = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stderr = BufReader::new(harness.stderr.take().unwrap());
        wait_for_words(&mut stderr, "rtt 1/1000: 1 k/s: macvlan");
        interrupt(&harness);
        wait_for_words(&mut stderr, "partial: the run ended early during rtt");
        let done = harness.wait_with_output().unwrap();
        assert_eq!(done.status.code(), Some(1));
        assert!(String::from_utf8_lossy(&done.stdout).contains("| 1 k/s | bridge |"), "{}", said(&done));
        let saved: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        assert_eq!(saved["host"]["partial"][0], "rtt");
        let rows = saved["sections"][0]["rows"].as_array().unwrap();
        assert!(["bridge", "macvlan"].iter().all(|subject| rows.iter().any(|row| row["subject"] == *subject)));
        assert!(rows[0]["values"][0].as_f64() > Some(0.0), "{saved}");
        assert_eq!(fs::read_dir(&scratch).unwrap().count(), 0, "something was left behind");
    });
}
