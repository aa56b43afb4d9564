//! The files in configs/ and the JSON Schema beside them.

use control::config::document::{Document, load};
use control::kernel::machine::Machine;
use control::plan::{PortPlan, plan};
use std::path::{Path, PathBuf};

fn configs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs")
}

/// A machine on which every example can run.
fn machine() -> Machine {
    let devices = ["lo", "eth0", "ens3"].map(str::to_owned).into();
    let default_route = ["eth0".to_owned()].into();
    let (cores, free_hugepages, memory) = (vec![0, 1], 64, 8 << 30);
    Machine { cores, devices, default_route, free_hugepages, memory, ..Machine::default() }
}

fn read(name: &str) -> Document {
    let file = configs().join(name);
    load(&file.to_string_lossy()).unwrap_or_else(|problems| panic!("{problems}"))
}

#[test]
fn every_example_is_a_plan() {
    let mut seen = 0;
    for entry in std::fs::read_dir(configs()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if !name.ends_with(".yaml") {
            continue;
        }
        seen += 1;
        plan(&read(&name), &machine()).unwrap_or_else(|problems| panic!("{problems}"));
    }
    assert!(seen >= 4, "only {seen} examples in {}", configs().display());
}

#[test]
fn every_example_names_the_schema_for_editors() {
    for entry in std::fs::read_dir(configs()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            let text = std::fs::read_to_string(&path).unwrap();
            assert!(text.starts_with("# yaml-language-server: $schema=pollux.schema.json\n"), "{}", path.display());
        }
    }
}

#[test]
fn the_demo_joins_two_taps_and_two_veths() {
    let plan = plan(&read("demo.yaml"), &machine()).unwrap();
    let kinds: Vec<_> = plan.ports.iter().map(PortPlan::kind).map(|kind| kind.name()).collect();
    assert_eq!(kinds, ["tap", "tap", "veth", "veth"]);
    assert_eq!((plan.nodes.len(), plan.domains.len()), (4, 1));
}

#[test]
fn the_schema_is_that_of_the_types() {
    let file = configs().join("pollux.schema.json");
    let committed = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(
        committed == control::config::schema(),
        "{} is out of date; `cargo run -p control -- schema > configs/pollux.schema.json` writes it",
        file.display()
    );
}

#[test]
fn the_schema_knows_no_other_keys() {
    let schema: serde_json::Value = serde_json::from_str(&control::config::schema()).unwrap();
    assert_eq!(schema["additionalProperties"], false);
}
