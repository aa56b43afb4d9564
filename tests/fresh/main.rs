//! A fresh machine suffices: what tests, benches, scripts and configurations start is read from the code ([`rust`],
//! [`shell`]) and looked for in a bare Debian after `make deps` and after `make deps-bench`. `make fresh` makes that Debian
//! (`machine.sh`) and runs the tests that are ignored here.

mod rust;
mod shell;
mod token;

use rust::Source;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// What the Rust toolchain brings.
const TOOLCHAIN: [&str; 6] = ["cargo", "cargo-build", "cargo-test", "cargo-bench", "cargo-clean", "cargo-install"];

/// Programs that may be missing, and why.
const EXCEPTIONS: &[(&str, &str)] = &[
    ("cargo-clippy", "a component of the toolchain"),
    ("cargo-doc", "of cargo itself"),
    ("cargo-fmt", "a component of the toolchain"),
    ("git", "the report of a benchmark names the commit if there is one"),
    ("image.sh", "tests/vm/image.sh"),
    ("vpp", "Debian has no package: `--vpp PATH` names the binary"),
    ("/usr/bin/linux", "the name of linux.uml in other releases"),
];

/// Code that runs only if the switches we are measured against are installed: `make deps-bench`.
const PEERS: &[&str] = &["benches/pollux-bench/rig/ovs.rs"];

/// The script that runs before there is a machine.
const OUTSIDE: &str = "tests/fresh/machine.sh";

/// The first process of a guest: all it has is busybox.
const GUEST: &str = "tests/vm/init";

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(file: &str) -> String {
    fs::read_to_string(root().join(file)).unwrap_or_else(|e| panic!("{file}: {e}"))
}

/// Every file under `directory` that `wanted` says, by its path from the root.
fn files(directory: &Path, wanted: &dyn Fn(&str) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap_or_else(|e| panic!("{}: {e}", directory.display())) {
        let path = entry.expect("an entry").path();
        let name = path.strip_prefix(root()).expect("below the root").display().to_string();
        if path.is_dir() && !name.ends_with("target") && !name.starts_with(".git") {
            found.extend(files(&path, wanted));
        } else if path.is_file() && wanted(&name) {
            found.push(name);
        }
    }
    found
}

/// What this repository starts: each program with the places that start it.
#[derive(Default)]
struct Starts {
    programs: BTreeMap<String, BTreeSet<String>>,
    riddles: Vec<String>,
    ours: BTreeSet<String>,
}

impl Starts {
    fn of_this_repository() -> Self {
        let mut starts = Self::default();
        let code = files(&root(), &|name| name.ends_with(".rs") && !name.starts_with("tests/fresh/"));
        let sources: Vec<Source> = code.into_iter().map(|file| Source::new(file.clone(), &read(&file))).collect();
        let found = rust::programs(&sources);
        for (program, place) in found.programs {
            starts.add(program, &place);
        }
        for (script, place) in &found.scripts {
            starts.script(script, place, "");
        }
        let shell = |name: &str| name.ends_with(".sh") && name != OUTSIDE || name == ".ci/run";
        for file in files(&root(), &shell) {
            starts.script(&read(&file), &file, "");
        }
        starts.script(&read(GUEST), GUEST, "busybox/");
        starts.script(&recipes(&read("Makefile")), "Makefile", "");
        (starts.riddles, starts.ours) = (found.riddles, found.ours);
        starts
    }

    fn add(&mut self, program: String, place: &str) {
        self.programs.entry(program).or_default().insert(place.to_owned());
    }

    fn script(&mut self, text: &str, place: &str, before: &str) {
        for program in shell::programs(text) {
            self.add(format!("{before}{program}"), place);
        }
    }

    /// Those that are not among the files of a machine, with the places that start them.
    fn missing(&self, machine: &BTreeSet<String>, skipped: &[&str]) -> Vec<String> {
        let excepted = |name: &str| TOOLCHAIN.contains(&name) || EXCEPTIONS.iter().any(|(own, _)| *own == name);
        let there = |name: &str| {
            let folders = ["usr/local/sbin/", "usr/local/bin/", "usr/sbin/", "usr/bin/", "root/.cargo/bin/", ""];
            folders.iter().any(|folder| machine.contains(&format!("{folder}{}", name.trim_start_matches('/'))))
        };
        let wanted =
            |places: &&BTreeSet<String>| places.iter().any(|place| !skipped.iter().any(|file| place.starts_with(file)));
        let programs = self.programs.iter().filter(|(name, places)| !excepted(name) && wanted(places));
        programs.filter(|(name, _)| !there(name)).map(|(name, places)| format!("{name}: {places:?}")).collect()
    }
}

/// The recipes of a Makefile as the shell gets them.
fn recipes(text: &str) -> String {
    // of a rule, or of a variable that is called as one
    let lines = text.lines().filter_map(|line| line.strip_prefix('\t').or_else(|| Some(line.split_once("= @")?.1)));
    let lines = lines.map(|line| line.trim_start_matches(['@', '-']));
    let text: String = lines.flat_map(|line| [line, "\n"]).collect();
    // what make replaces is no command; what it hands on with `$$` is the shell's
    let text = text.replace("$(CARGO)", "cargo").replace("$$", "\0");
    let mut parts = text.split("$(");
    let first = parts.next().unwrap_or_default().to_owned();
    let rest = parts.map(|part| part.split_once(')').map_or(part, |(_, rest)| rest));
    rest.fold(first, |text, part| text + "$make" + part).replace('\0', "$")
}

/// The files of the machine that `make fresh` made, as they were after a step.
fn machine(step: &str) -> BTreeSet<String> {
    let list = format!("target/fresh/{step}");
    assert!(root().join(&list).exists(), "{list} is not there: `make fresh` makes it and runs this test");
    read(&list).lines().map(str::to_owned).collect()
}

#[test]
fn every_start_of_a_program_is_understood() {
    let starts = Starts::of_this_repository();
    assert!(starts.riddles.is_empty(), "name it with a string where it is started:\n{}", starts.riddles.join("\n"));
    for expected in ["dpdk-testpmd", "modprobe", "cpio", "tc", "sysctl", "busybox/httpd", "cargo-nextest", "iperf3"] {
        assert!(starts.programs.contains_key(expected), "{expected} was not read: {:?}", starts.programs.keys());
    }
}

#[test]
fn no_exception_has_outlived_its_reason() {
    let starts = Starts::of_this_repository();
    let programs = EXCEPTIONS.iter().map(|(name, _)| *name).chain(TOOLCHAIN);
    let stale: Vec<&str> = programs.filter(|name| !starts.programs.contains_key(*name)).collect();
    assert!(stale.is_empty(), "nothing starts these any more: {stale:?}");
    let unmet: Vec<&str> = rust::OURS.into_iter().filter(|name| !starts.ours.contains(*name)).collect();
    assert!(unmet.is_empty(), "no value that is started is called so any more: {unmet:?}");
}

#[test]
#[ignore = "`make fresh` runs it"]
fn make_deps_brings_what_tests_start() {
    let missing = Starts::of_this_repository().missing(&machine("deps"), PEERS);
    assert!(missing.is_empty(), "`make deps` brings no package with\n{}", missing.join("\n"));
}

#[test]
#[ignore = "`make fresh` runs it"]
fn make_deps_bench_brings_what_benches_start() {
    let missing = Starts::of_this_repository().missing(&machine("bench"), &[]);
    assert!(missing.is_empty(), "`make deps-bench` brings no package with\n{}", missing.join("\n"));
}

#[test]
fn the_reader_of_code_follows_values() {
    let text = r#"
        fn output(argv: &[&str]) { Command::new(argv[0]).args(&argv[1..]); } // Command::new("comment")
        fn within<'a>(netns: &'a str, argv: &[&'a str]) -> Vec<&'a str> { [&["ip", "netns", "exec", netns], argv].concat() }
        fn all(text: &str) {
            let set = ["sysctl", "-q"];
            output(&within(text, &set));
            output(&["ip", "netns", "exec", &name(1, 2), "timeout", "30", "ping"]);
            let mut child = Command::new("ip").args(["netns", "exec", text, "tcpdump", "-i"]);
            output(&[&text[..], "x"]);
            other.output(&["not"]);
        }
        fn gone() { output(&UNKNOWN); }
        const INIT: &str = "\
#!/bin/sh
modprobe x
";
    "#;
    let found = rust::programs(&[Source::new("tests/a.rs".into(), text)]);
    let programs: BTreeSet<&str> = found.programs.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(programs.into_iter().collect::<Vec<_>>(), ["ip", "ping", "sysctl", "tcpdump", "timeout"]);
    assert_eq!(found.riddles, ["tests/a.rs:12: which program is started here?"]);
    assert_eq!(shell::programs(&found.scripts[0].0), ["modprobe"]);
}

#[test]
fn the_reader_of_scripts_knows_the_shell() {
    let text = r#"
        x=$(one "$(two -c 'no # no')") || exit 1   # never
        step() { three; }
        if ! four; then (five; six) & fi
        step seven >&2; trap 'eight' EXIT
        ip netns exec n nine -x "$POLLUX" | timeout 3 ten
        taskset -c 1 sh -c "while eleven; do i=\$((i + 1)); done" &
        cp "$(command -v twelve)" there; for w in a b; do /bin/thirteen; done; cargo nextest run
    "#;
    let words = "two one three four five six eight ip nine timeout ten taskset sh eleven twelve cp thirteen cargo-nextest cargo";
    let (mut found, mut expected) = (shell::programs(text), words.split(' ').collect::<Vec<_>>());
    found.sort();
    expected.sort_unstable();
    assert_eq!(found, expected);
}
