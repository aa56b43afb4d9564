//! What machine this is, and whether anybody else is using it.

use crate::cpu::Ticks;
use crate::failure::{During, Result, fail};
use crate::process::run;
use serde_json::{Map, Value};
use std::fs;
use std::thread::sleep;
use std::time::Duration;

/// One-minute load average above which the machine may be busy. It also remembers our own last run, so it is only the
/// reason to look closer.
const LOAD: f64 = 0.5;
/// Share of all cores in use that proves it.
const IN_USE: f64 = 0.1;

/// Refuses a machine on which others are at work.
pub fn must_be_idle() -> Result<()> {
    let load = load_average()?;
    if load <= LOAD {
        return Ok(());
    }
    let before = Ticks::now(None)?;
    sleep(Duration::from_secs(1));
    let used = Ticks::now(None)?.busy_since(before);
    if used <= IN_USE {
        return Ok(());
    }
    let percent = used * 100.0;
    fail(format!(
        "the machine is busy (load average {load:.2}, {percent:.0} % of all cores in use), the figures would mean \
         little: wait until it is idle, or add --force to measure all the same"
    ))
}

fn load_average() -> Result<f64> {
    let text = fs::read_to_string("/proc/loadavg").during("/proc/loadavg")?;
    text.split_whitespace().next().unwrap_or_default().parse().during("/proc/loadavg")
}

/// The facts a reader needs before any figure.
pub fn fingerprint() -> Map<String, Value> {
    let facts = [
        ("cpu", cpu_model()),
        ("cores", cores()),
        ("hypervisor", hypervisor()),
        ("kernel", run(&["uname", "-r"]).ok()),
        ("governor", read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")),
        ("isolated", read("/sys/devices/system/cpu/isolated")),
        ("thp", read("/sys/kernel/mm/transparent_hugepage/enabled")),
        ("hugepages", hugepages()),
        ("load", read("/proc/loadavg")),
        ("commit", commit()),
        ("tcp", read("/proc/sys/net/ipv4/tcp_congestion_control")),
        ("dpdk", package("dpdk")),
        ("ovs", package("openvswitch-switch-dpdk")),
        ("iperf3", package("iperf3")),
        ("ping", package("iputils-ping")),
    ];
    let text = |fact: Option<String>| fact.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
    facts.into_iter().map(|(name, fact)| (name.to_owned(), text(fact).map_or(Value::Null, Value::String))).collect()
}

/// The fingerprint as lines for people.
pub fn lines(facts: &Map<String, Value>) -> String {
    let known = facts.iter().filter_map(|(name, fact)| Some(format!("{name}: {}\n", fact.as_str()?)));
    known.collect()
}

fn read(path: &str) -> Option<String> {
    fs::read_to_string(path).ok()
}

fn cpu_info(key: &str) -> Option<String> {
    let text = read("/proc/cpuinfo")?;
    let line = text.lines().find(|line| line.split(':').next().is_some_and(|name| name.trim() == key))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

fn cpu_model() -> Option<String> {
    let number = |key| cpu_info(key).unwrap_or_default();
    Some(format!("{} (family {}, model {})", cpu_info("model name")?, number("cpu family"), number("model")))
}

fn cores() -> Option<String> {
    let smt = read("/sys/devices/system/cpu/smt/active").map_or("", |on| if on.trim() == "1" { ", SMT" } else { "" });
    Some(format!("{}{smt}", std::thread::available_parallelism().ok()?))
}

fn hypervisor() -> Option<String> {
    cpu_info("flags")?.split(' ').any(|flag| flag == "hypervisor").then(|| "yes".to_owned())
}

fn hugepages() -> Option<String> {
    let text = read("/proc/meminfo")?;
    let of = |key: &str| {
        let line = text.lines().find(|line| line.starts_with(key))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    Some(format!("{} of {} free, {}", of("HugePages_Free")?, of("HugePages_Total")?, of("Hugepagesize")?))
}

/// Of the working copy we were started in, if any.
fn commit() -> Option<String> {
    let commit = run(&["git", "rev-parse", "--short=12", "HEAD"]).ok()?;
    let changed = run(&["git", "status", "--porcelain", "--untracked-files=no"]).ok()?;
    let dirty = if changed.trim().is_empty() { "" } else { ", with local changes" };
    Some(format!("{}{dirty}", commit.trim()))
}

fn package(name: &str) -> Option<String> {
    run(&["dpkg-query", "-W", "-f", "${Version}", name]).ok()
}
