//! Running `pollux`, and looking at what it leaves.

use crate::common::wait_until;
use crate::common::world::{processes, run};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;

/// The binary under test: `$POLLUX_BIN`, or the one built beside this test.
pub fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("POLLUX_BIN") {
        return path.into();
    }
    let here = std::env::current_exe().expect("our own path");
    // target/PROFILE/deps/e2e-HASH
    let path = here.parent().and_then(Path::parent).expect("a target directory").join("pollux");
    assert!(path.exists(), "{} is not there: run `cargo build` first", path.display());
    path
}

/// How a command ended.
#[derive(Debug)]
pub struct Ended {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
        Self { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) }
    }
}

impl Ended {
    /// It must have ended with 0; its output.
    pub fn ok(self) -> String {
        assert_eq!(self.code, 0, "{self:#?}");
        self.out
    }
}

/// Runs `pollux` to its end.
pub fn pollux(args: &[&str]) -> Ended {
    Command::new(binary()).args(args).output().expect("running pollux").into()
}

/// What a daemon answers with `-j`.
pub fn ask(question: &str) -> Value {
    serde_json::from_str(&pollux(&[question, "-j"]).ok()).expect("JSON")
}

/// A configuration in a directory of its own.
#[derive(Debug)]
pub struct Lab {
    _directory: TempDir,
    pub file: String,
}

impl Lab {
    pub fn new(yaml: &str) -> Self {
        let directory = tempfile::Builder::new().prefix("plxt-").tempdir().expect("a directory");
        // Readable by whoever a test runs the command as.
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(directory.path(), open).expect("permissions");
        let file = directory.path().join("lab.yaml");
        fs::write(&file, yaml).expect("a configuration");
        Self { _directory: directory, file: file.to_str().expect("a path of text").to_owned() }
    }

    pub fn up(&self) {
        pollux(&["lab", "up", &self.file]).ok();
    }

    /// Takes it down after checking the books; every frame must have come home.
    pub fn down(&self) {
        balanced();
        let said = pollux(&["lab", "down", &self.file]).ok();
        assert!(said.contains("frames came home"), "{said}");
    }
}

/// A configuration of one domain `lan`. A port is `(name, kind)`: in a node `plxt-NAME`, as `eth0`, with the addresses
/// 10.99.0.N/24 and fd99::N/64, N counted from 1.
pub fn lan(name: &str, ports: &[(&str, &str)]) -> String {
    let nodes: String = ports.iter().map(|(port, _)| format!("  {}: {{}}\n", node(port))).collect();
    let line = |(i, (port, kind)): (usize, &(&str, &str))| {
        let (n, node) = (i + 1, node(port));
        format!(
            "  {port}: {{ kind: {kind}, node: {node}, ifname: eth0, ip: [10.99.0.{n}/24, \"fd99::{n}/64\"], domain: lan }}\n"
        )
    };
    let lines: String = ports.iter().enumerate().map(line).collect();
    format!("name: {name}\ndomains:\n  lan: {{}}\nnodes:\n{nodes}ports:\n{lines}")
}

/// Two ports on TAP, two on veth.
pub const FOUR: [(&str, &str); 4] = [("t1", "tap"), ("t2", "tap"), ("v1", "veth"), ("v2", "veth")];

/// One port of each kind to and from each kind, by index into [`FOUR`].
pub const KIND_PAIRS: [(usize, usize); 4] = [(0, 1), (0, 2), (2, 0), (2, 3)];

/// The namespace of a port of [`lan`].
pub fn node(port: &str) -> String {
    format!("plxt-{port}")
}

/// All ordered pairs of the first `n` numbers.
pub fn ordered_pairs(n: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..n).flat_map(move |a| (0..n).map(move |b| (a, b))).filter(|(a, b)| a != b)
}

/// Frames in minus frames out and dropped, over all ports there ever were.
fn balance(stats: &Value) -> i64 {
    let all = stats["ports"].as_object().expect("ports").values().chain([&stats["removed"]]);
    let count = |value: &Value| value.as_i64().expect("a count");
    let one = |port: &Value| {
        let drops: i64 = port["drops"].as_object().expect("drops").values().map(count).sum();
        let entered = ["rx_frames", "rx_lost", "flood_copies"].map(|key| count(&port[key]));
        entered.into_iter().sum::<i64>() - count(&port["tx_frames"]) - drops
    };
    all.map(one).sum()
}

/// The design's promise 2. Frames may be under way when one looks, so it is looked at until the sum is right.
pub fn balanced() {
    let mut last = Value::Null;
    let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        wait_until("conservation of frames", || {
            last = ask("stats");
            balance(&last) == 0
        });
    }));
    assert!(done.is_ok(), "rx + rx_lost + flood_copies - tx - drops = {}:\n{last:#}", balance(&last));
}

/// Drops of one reason at a port; one that has not occurred is left out.
pub fn drops(port: &str, reason: &str) -> u64 {
    let stats = ask("stats");
    let drops = stats["ports"][port]["drops"].as_object().unwrap_or_else(|| panic!("no port {port} in {stats:#}"));
    drops.get(reason).map_or(0, |n| n.as_u64().expect("a count"))
}

/// What outlives a process, as far as this world can see.
#[derive(Debug, PartialEq, Eq)]
pub struct Traces {
    namespaces: BTreeSet<String>,
    /// Name, and whether an XDP program is attached.
    links: BTreeSet<(String, bool)>,
    /// Of `/run/pollux`, without logs.
    files: BTreeSet<String>,
    processes: BTreeSet<i32>,
}

impl Traces {
    pub fn now() -> Self {
        let links: Value = serde_json::from_str(&run(&["ip", "-j", "-d", "link"])).expect("JSON");
        let link = |link: &Value| (link["ifname"].as_str().unwrap_or_default().to_owned(), !link["xdp"].is_null());
        Self {
            namespaces: names("/run/netns").collect(),
            links: links.as_array().expect("a list").iter().map(link).collect(),
            files: names("/run/pollux").filter(|name| !name.ends_with(".log")).collect(),
            processes: processes().into_iter().map(nix::unistd::Pid::as_raw).collect(),
        }
    }

    /// Waits until everything is as it was. Kernels take namespaces apart in the background.
    pub fn gone(&self) {
        let mut now = Self::now();
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            wait_until("everything to be gone", || {
                now = Self::now();
                now == *self
            });
        }));
        assert!(done.is_ok(), "left behind: {now:#?}\nbefore: {self:#?}");
    }
}

fn names(directory: &str) -> impl Iterator<Item = String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned())
}
