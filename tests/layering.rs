//! The shape of the house: which module may name which, where unsafe code may be, how long a file may get.
//!
//! `dataplane/src/lib.rs` is the contract: its arrows are the table [`ARROWS`], its list of files with unsafe code is
//! read from its text. What is checked is the source, not the build: a wrong arrow fails even if it compiles.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Modules that import nothing of ours but each other.
const LEAVES: &[&str] = &["eth", "port", "stats", "lcore", "primitive", "ring", "wake"];

/// What each module may name besides itself. A module that is not here may not exist.
const ARROWS: &[(&str, &[&str])] = &[
    ("eth", LEAVES),
    ("port", LEAVES),
    ("stats", LEAVES),
    ("lcore", LEAVES),
    ("primitive", LEAVES),
    ("ring", LEAVES),
    ("wake", LEAVES),
    // memory knows no ports
    ("mem", &["eth", "stats", "lcore", "primitive", "ring", "wake"]),
    ("offload", &["mem", "eth", "stats"]),
    // drivers and decisions never name each other
    ("pmd", &["offload", "mem", "eth", "port", "stats", "lcore", "primitive", "ring", "wake"]),
    ("switch", &["offload", "mem", "eth", "port", "stats", "lcore", "primitive", "ring", "wake"]),
    ("mesh", &["mem", "port", "ring", "wake"]),
    ("idle", &["pmd", "lcore", "wake"]),
    ("command", &["pmd", "switch", "port", "wake"]),
    ("worker", &["command", "idle", "mesh", "pmd", "switch", "mem", "port", "stats", "lcore", "ring", "wake"]),
    ("engine", &["worker", "command", "idle", "mesh", "pmd", "switch", "mem", "eth", "port", "stats", "lcore", "wake"]),
];

/// Files longer than this are to be split.
const MAX_LINES: usize = 500;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every Rust file under `dir`, in a fixed order.
fn sources(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![dir.to_owned()];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(&dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display())) {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.ends_with("target") {
                open.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn relative(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}

/// The source without comments: a module named in prose is no import.
fn code(text: &str) -> String {
    text.lines().map(|line| line.split("//").next().unwrap_or("")).collect::<Vec<_>>().join("\n")
}

/// The top-level module a file of `dataplane/src` belongs to, and how many `super` lead from it to the crate root.
fn module(file: &Path, src: &Path) -> (String, usize) {
    let inside = file.strip_prefix(src).unwrap().with_extension("");
    let mut parts: Vec<_> = inside.iter().map(|p| p.to_str().unwrap().to_owned()).collect();
    if parts.last().is_some_and(|p| p == "mod") {
        parts.pop();
    }
    (parts[0].clone(), parts.len())
}

/// First names behind `prefix`: `crate::a::B` and `crate::{a::B, c}` name `a`, and `a` and `c`.
fn named_behind(code: &str, prefix: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (at, _) in code.match_indices(prefix) {
        let before = code[..at].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':') {
            continue;
        }
        let rest = &code[at + prefix.len()..];
        match rest.strip_prefix('{') {
            Some(group) => names.extend(group_heads(group)),
            None => names.extend(identifier(rest)),
        }
    }
    names
}

fn identifier(text: &str) -> Option<String> {
    let name: String = text.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    (!name.is_empty()).then_some(name)
}

/// The names at depth 0 of a `{...}` group whose brace is already open.
fn group_heads(group: &str) -> Vec<String> {
    let (mut depth, mut start, mut heads) = (0, true, Vec::new());
    for (i, c) in group.char_indices() {
        match c {
            '}' if depth == 0 => break,
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => start = true,
            c if start && !c.is_whitespace() => {
                heads.extend(identifier(&group[i..]));
                start = false;
            }
            _ => {}
        }
    }
    heads
}

/// Which top-level modules each file of the data path names.
fn imports(src: &Path) -> BTreeMap<PathBuf, (String, BTreeSet<String>)> {
    let known: BTreeSet<&str> = ARROWS.iter().map(|(name, _)| *name).collect();
    let mut all = BTreeMap::new();
    for file in sources(src).into_iter().filter(|f| !f.ends_with("lib.rs")) {
        let (module, depth) = module(&file, src);
        let code = code(&read(&file));
        let mut names = named_behind(&code, "crate::");
        names.extend(named_behind(&code, &"super::".repeat(depth)));
        names.retain(|name| known.contains(name.as_str()) && *name != module);
        all.insert(file, (module, names));
    }
    all
}

#[test]
fn arrows_of_the_data_path_go_one_way() {
    let src = root().join("dataplane/src");
    let mut wrong = Vec::new();
    for (file, (module, names)) in imports(&src) {
        let Some((_, allowed)) = ARROWS.iter().find(|(name, _)| *name == module) else {
            wrong.push(format!("{}: module `{module}` has no place in ARROWS", relative(&file)));
            continue;
        };
        let bad = names.iter().filter(|name| !allowed.contains(&name.as_str()));
        wrong.extend(bad.map(|name| format!("{}: {module} -> {name}", relative(&file))));
    }
    assert!(wrong.is_empty(), "arrows that dataplane/src/lib.rs does not allow:\n{}", wrong.join("\n"));
}

#[test]
fn the_table_of_arrows_has_no_cycle() {
    let below: BTreeMap<&str, &[&str]> = ARROWS.iter().copied().collect();
    let reach = |from: &str| {
        let mut seen = BTreeSet::new();
        let mut open: Vec<&str> = below[from].to_vec();
        while let Some(name) = open.pop() {
            if seen.insert(name) && !LEAVES.contains(&name) {
                open.extend(below[name]);
            }
        }
        seen
    };
    for (name, _) in ARROWS.iter().filter(|(name, _)| !LEAVES.contains(name)) {
        assert!(!reach(name).contains(name), "{name} reaches itself");
    }
    assert!(!reach("pmd").contains("switch") && !reach("switch").contains("pmd"));
}

#[test]
fn the_reader_of_imports_reads_groups_and_paths() {
    let text = "use crate::{mem::{Burst, Mbuf}, port::PortId};\nfn f(_: crate::eth::MacAddr) {} // crate::worker";
    let names = named_behind(&code(text), "crate::");
    assert_eq!(names.iter().map(String::as_str).collect::<Vec<_>>(), ["eth", "mem", "port"]);
    assert!(named_behind("pub(crate) use dataplane_crate::x", "crate::").is_empty());
}

/// The files that the head of `dataplane/src/lib.rs` allows unsafe code in.
fn listed_unsafe(lib: &str) -> BTreeSet<String> {
    let from = lib.find("# Unsafe code").expect("lib.rs has a section on unsafe code");
    let section = &lib[from..];
    let section = &section[..section.find("#![deny(unsafe_code)]").expect("lib.rs denies unsafe code")];
    section.split('`').filter(|word| word.ends_with(".rs")).map(str::to_owned).collect()
}

#[test]
fn unsafe_code_is_exactly_where_the_map_says() {
    let src = root().join("dataplane/src");
    let listed = listed_unsafe(&read(&src.join("lib.rs")));
    let allowing = |file: &PathBuf| code(&read(file)).contains("allow(unsafe_code)");
    let found: BTreeSet<String> = sources(&src)
        .into_iter()
        .filter(allowing)
        .map(|file| file.strip_prefix(&src).unwrap().display().to_string())
        .collect();
    assert_eq!(found, listed, "left: files that allow unsafe code; right: the list in dataplane/src/lib.rs");
}

#[test]
fn control_forbids_unsafe_code() {
    for file in ["control/src/lib.rs", "control/src/main.rs"] {
        assert!(code(&read(&root().join(file))).contains("#![forbid(unsafe_code)]"), "{file} does not forbid it");
    }
}

/// Every Rust file of the repository.
fn everything() -> Vec<PathBuf> {
    ["dataplane", "control", "tests", "benches"].iter().flat_map(|dir| sources(&root().join(dir))).collect()
}

#[test]
fn files_stay_short() {
    let lines = |file: &PathBuf| read(file).lines().count();
    let long: Vec<String> = everything()
        .iter()
        .filter(|file| lines(file) > MAX_LINES)
        .map(|file| format!("{}: {} lines", relative(file), lines(file)))
        .collect();
    assert!(long.is_empty(), "files over {MAX_LINES} lines, to be split:\n{}", long.join("\n"));
}

#[test]
fn nothing_is_left_to_do() {
    let words = ["todo", "unimplemented"].map(|word| format!("{word}!"));
    let marks = ["TODO", "FIXME", "XXX"].map(|word| format!("{word}:"));
    let mut found = Vec::new();
    for file in everything() {
        for (n, line) in read(&file).lines().enumerate() {
            if words.iter().chain(&marks).any(|word| line.contains(word.as_str())) {
                found.push(format!("{}:{}: {}", relative(&file), n + 1, line.trim()));
            }
        }
    }
    assert!(found.is_empty(), "stubs:\n{}", found.join("\n"));
}
