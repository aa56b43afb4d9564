//! The harness's tester on the real switch: what it says it measured must have been measured.
//!
//! Figures of a test machine mean nothing; that every frame is accounted for, and that latencies were taken, does.

#[path = "common/mod.rs"]
mod common;

use common::world::world;
use serde_json::Value;
use std::fs;
use std::process::Command;

/// Runs the harness; what it saved.
fn measured(words: &[&str]) -> Value {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("results.json");
    let mut command = Command::new(env!("CARGO_BIN_EXE_pollux-bench"));
    command.args(words).args(["--quick", "--rounds", "1", "--force", "--save"]).arg(&file);
    let done = command.output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success(), "{words:?}: {said}");
    serde_json::from_slice(&fs::read(&file).unwrap()).unwrap()
}

/// The section of this name.
fn section<'a>(results: &'a Value, name: &str) -> &'a Value {
    let sections = results["sections"].as_array().unwrap();
    sections.iter().find(|section| section["name"] == name).unwrap_or_else(|| panic!("{name} is not in {results}"))
}

/// The only value of a row.
fn value(row: &Value) -> f64 {
    row["values"][0].as_f64().unwrap_or_else(|| panic!("no value in {row}"))
}

#[test]
fn generator_and_sink_are_measured_without_a_switch() {
    world("generator_and_sink_are_measured_without_a_switch", || {
        let results = measured(&["--self-test"]);
        let row = &section(&results, "rfc2544")["rows"][0];
        assert_eq!((&row["subject"], &row["work"]), (&"no switch".into(), &"64 B".into()));
        assert!(value(row) > 0.01, "Mpps: {row}");
        let remarks = section(&results, "rfc2544")["remarks"].to_string();
        assert!(remarks.contains("generator-bound"), "what else could bound it: {remarks}");
        let row = &section(&results, "rfc2544 guests")["rows"][0];
        assert_eq!(row["subject"], "no switch, guests");
        assert!(value(row) > 0.01, "Mpps: {row}");
    });
}

#[test]
fn a_switch_is_searched_and_every_frame_accounted_for() {
    world("a_switch_is_searched_and_every_frame_accounted_for", || {
        let results = measured(&["rfc2544", "--sizes", "64", "--only", "pollux veth"]);
        let throughput = section(&results, "rfc2544");
        assert_eq!(throughput["faults"], Value::Array(Vec::new()));
        let row = &throughput["rows"][0];
        assert!(value(row) > 0.0 && row["facts"]["trials"][0].as_f64() > Some(1.0), "{row}");
        let latency = &section(&results, "rfc2544 latency")["rows"];
        let at: Vec<&str> = latency.as_array().unwrap().iter().filter_map(|row| row["work"].as_str()).collect();
        assert_eq!(at, ["64 B at 10 %", "64 B at 50 %", "64 B at 90 %"]);
        assert!(value(&latency[0]) > 0.5, "no frame passes two pairs of interfaces in half a microsecond: {latency}");
    });
}

#[test]
fn guests_of_a_switch_are_stations_too() {
    world("guests_of_a_switch_are_stations_too", || {
        let results = measured(&["rfc2544", "--sizes", "64,9018", "--only", "pollux vhost"]);
        let throughput = section(&results, "rfc2544 guests");
        assert_eq!(throughput["faults"], Value::Array(Vec::new()));
        let rows = throughput["rows"].as_array().unwrap();
        assert!(rows.len() == 2 && rows.iter().all(|row| value(row) > 0.0), "{rows:?}");
        let others = results["sections"].as_array().unwrap();
        assert!(others.iter().all(|section| section["name"] != "rfc2544"), "nobody asked for interfaces");
    });
}
