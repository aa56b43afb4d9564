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

/// The same for `control/src`; its leaves name each other freely.
const CONTROL_LEAVES: &[&str] = &["net", "units", "named", "list", "problem", "socket", "failure"];

/// What each group of `control/src` may name besides itself and the leaves.
const CONTROL_ARROWS: &[(&str, &[&str])] = &[
    ("config", &[]),
    ("kernel", &[]),
    ("view", &["config"]),
    ("plan", &["config", "kernel"]),
    ("live", &["plan", "view", "kernel", "config"]),
    ("api", &["live", "plan", "view", "kernel", "config"]),
    ("lab", &["api", "live", "plan", "view", "kernel", "config"]),
    ("cli", &["lab", "api", "live", "plan", "view", "kernel", "config"]),
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
fn arrows_of_control_go_one_way() {
    let src = root().join("control/src");
    let mut wrong = Vec::new();
    for file in sources(&src).into_iter().filter(|f| !f.ends_with("lib.rs") && !f.ends_with("main.rs")) {
        let (group, depth) = module(&file, &src);
        let leaf = CONTROL_LEAVES.contains(&group.as_str());
        let allowed = CONTROL_ARROWS.iter().find(|(name, _)| *name == group).map(|(_, allowed)| *allowed);
        if allowed.is_none() && !leaf {
            wrong.push(format!("{}: `{group}` has no place in CONTROL_ARROWS", relative(&file)));
            continue;
        }
        let code = code(&read(&file));
        let mut names = named_behind(&code, "crate::");
        names.extend(named_behind(&code, &"super::".repeat(depth)));
        let known = |name: &&String| CONTROL_ARROWS.iter().any(|(known, _)| known == name);
        let bad = names
            .iter()
            .filter(known)
            .filter(|name| **name != group && !allowed.unwrap_or(&[]).contains(&name.as_str()));
        wrong.extend(bad.map(|name| format!("{}: {group} -> {name}", relative(&file))));
    }
    assert!(wrong.is_empty(), "arrows that control/src/lib.rs does not allow:\n{}", wrong.join("\n"));
}

/// Where each module of `control/src` is, by its path: `live::ports` for `live/ports/mod.rs` and `live/ports.rs`.
fn modules(src: &Path) -> BTreeMap<Vec<String>, PathBuf> {
    let path = |file: &Path| {
        let inside = file.strip_prefix(src).unwrap().with_extension("");
        let mut parts: Vec<String> = inside.iter().map(|p| p.to_str().unwrap().to_owned()).collect();
        parts.pop_if(|last| *last == "mod");
        parts
    };
    let tests = |path: &Vec<String>| path.iter().any(|part| part == "tests");
    let all = sources(src).into_iter().filter(|f| !f.ends_with("lib.rs") && !f.ends_with("main.rs"));
    all.map(|file| (path(&file), file)).filter(|(path, _)| !tests(path)).collect()
}

/// Paths that `code` names behind `crate::` or `super::`, seen from module `here`; groups in braces are opened one level.
fn paths_named(code: &str, here: &[String]) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for (prefix, base) in [("crate::", Vec::new()), ("super::", here[..here.len() - 1].to_vec())] {
        for (at, _) in code.match_indices(prefix) {
            let before = &code[..at];
            if before.chars().next_back().is_some_and(|c| c.is_alphanumeric() || c == '_')
                || before.ends_with("pub(in ")
            {
                continue;
            }
            // `super::super::x`: what stands before has gone up already
            let ups = before.len() - before.trim_end_matches("super::").len();
            let base = &base[..base.len().saturating_sub(ups / "super::".len())];
            found.extend(tails(&code[at + prefix.len()..]).into_iter().map(|tail| [base, &tail].concat()));
        }
    }
    found
}

/// `a::b::C` and `a::{b::C, d}` as lists of names.
fn tails(text: &str) -> Vec<Vec<String>> {
    if let Some(group) = text.strip_prefix('{') {
        let (mut depth, mut start, mut all) = (0, true, Vec::new());
        for (i, c) in group.char_indices() {
            match c {
                '}' if depth == 0 => break,
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 0 => start = true,
                c if start && !c.is_whitespace() => {
                    all.extend(tails(&group[i..]));
                    start = false;
                }
                _ => {}
            }
        }
        return all;
    }
    let Some(name) = identifier(text) else { return vec![Vec::new()] };
    let rest = &text[name.len()..];
    match rest.strip_prefix("::") {
        Some(rest) => tails(rest).into_iter().map(|tail| [vec![name.clone()], tail].concat()).collect(),
        None => vec![vec![name]],
    }
}

/// Which modules each module names, folder by folder: a file deep in `live` that names one deep in `plan` is an arrow from
/// `live` to `plan`, and one between two files of a folder an arrow between these. What a child takes of its parent is
/// none.
fn graph(src: &Path) -> BTreeMap<Vec<String>, BTreeSet<Vec<String>>> {
    let modules = modules(src);
    let mut graph: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for (here, file) in &modules {
        let text = code(&read(file));
        let text = text.split("#[cfg(test)]\nmod tests").next().unwrap_or("");
        for mut other in paths_named(text, here) {
            while !other.is_empty() && !modules.contains_key(&other) {
                other.pop();
            }
            let common = here.iter().zip(&other).take_while(|(a, b)| a == b).count();
            if common < here.len() && common < other.len() {
                graph.entry(here[..=common].to_vec()).or_default().insert(other[..=common].to_vec());
            }
        }
    }
    graph
}

#[test]
fn no_module_of_control_reaches_itself() {
    let graph = graph(&root().join("control/src"));
    let mut circles = Vec::new();
    for from in graph.keys() {
        let mut came_from: BTreeMap<&Vec<String>, &Vec<String>> = BTreeMap::new();
        let mut open = vec![from];
        while let Some(at) = open.pop() {
            for next in graph.get(at).into_iter().flatten() {
                if came_from.insert(next, at).is_none() {
                    open.push(next);
                }
            }
        }
        if let Some(last) = came_from.get(from) {
            circles.push(format!("{} … {}", from.join("::"), last.join("::")));
        }
    }
    assert!(circles.is_empty(), "modules of control that reach themselves:\n{}", circles.join("\n"));
}

#[test]
fn the_reader_of_paths_knows_groups_and_parents() {
    let here = ["live".to_owned(), "ports".to_owned(), "tap".to_owned()];
    let text = "use crate::{plan::{Plan, port::IpNet}, net};\nuse super::super::journal::Entry;\nuse super::cable;";
    let named: BTreeSet<String> = paths_named(text, &here).iter().map(|path| path.join("::")).collect();
    let expected = ["plan::Plan", "plan::port::IpNet", "net", "live::journal::Entry", "live::ports::cable"];
    for path in expected {
        assert!(named.contains(path), "{path} is missing in {named:?}");
    }
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
