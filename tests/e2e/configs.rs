//! Every file in `configs/` is good, and the schema there is that of the program.

use crate::common::world::{run, world};
use crate::lab::pollux;
use std::fs;
use std::path::{Path, PathBuf};

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("configs")
}

fn files() -> Vec<PathBuf> {
    let entries = fs::read_dir(directory()).expect("configs/").map(|entry| entry.expect("an entry").path());
    let mut yaml: Vec<_> = entries.filter(|path| path.extension().is_some_and(|e| e == "yaml")).collect();
    yaml.sort();
    assert!(yaml.len() >= 4, "{yaml:?}");
    yaml
}

/// Interfaces that a file takes for granted: the values of `dev:`.
fn devices(text: &str) -> Vec<&str> {
    let word = |rest: &str| rest.find(|c: char| !c.is_alphanumeric() && c != '-' && c != '.').unwrap_or(rest.len());
    let code = text.lines().map(|line| line.split('#').next().unwrap_or_default());
    let values = code.filter_map(|line| line.split_once("dev:").map(|(_, rest)| rest.trim_start()));
    values.map(|rest| &rest[..word(rest)]).collect()
}

fn check(path: &Path) {
    let said = pollux(&["check", path.to_str().expect("a path of text")]).ok();
    assert!(said.contains("ok"), "{said}");
}

#[test]
fn every_example_is_good() {
    for path in files() {
        if devices(&fs::read_to_string(&path).expect("a file")).is_empty() {
            check(&path);
        }
    }
}

/// Examples that name an existing device are checked where it exists.
#[test]
fn examples_with_devices_are_good() {
    world("examples_with_devices_are_good", || {
        for path in files() {
            let text = fs::read_to_string(&path).expect("a file");
            for device in devices(&text) {
                run(&["ip", "link", "add", device, "type", "bridge"]);
            }
            check(&path);
        }
    });
}

#[test]
fn the_schema_is_that_of_the_program() {
    let file = fs::read_to_string(directory().join("pollux.schema.json")).expect("configs/pollux.schema.json");
    assert_eq!(file, pollux(&["schema"]).ok(), "`pollux schema > configs/pollux.schema.json`");
}
