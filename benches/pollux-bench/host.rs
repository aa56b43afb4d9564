//! Facts of the machine, and whether it is busy.

use crate::cpu::Ticks;
use crate::failure::{During, Result, fail};
use crate::process::run;
use crate::world::pollux_binary;
use serde_json::{Map, Value};
use std::fs;
use std::path::Path;
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
pub fn fingerprint(vpp: Option<&Path>) -> Map<String, Value> {
    let facts = [
        ("date", run(&["date", "-u", "+%F %R UTC"]).ok()),
        ("commit", commit()),
        ("pollux", version()),
        ("cpu", cpu_model()),
        ("cores", cores()),
        ("memory", meminfo("MemTotal")),
        ("hypervisor", hypervisor()),
        ("kernel", run(&["uname", "-r"]).ok()),
        ("mitigations", mitigations()),
        ("governor", read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")),
        ("turbo", turbo()),
        ("isolated", read("/sys/devices/system/cpu/isolated")),
        ("nohz_full", read("/sys/devices/system/cpu/nohz_full")),
        ("thp", chosen("/sys/kernel/mm/transparent_hugepage/enabled")),
        ("hugepages", hugepages()),
        ("load", read("/proc/loadavg")),
        ("tcp", read("/proc/sys/net/ipv4/tcp_congestion_control")),
        ("dpdk", package("dpdk")),
        ("ovs", package("openvswitch-switch-dpdk")),
        ("vpp", vpp.map(vpp_version)),
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

fn meminfo(key: &str) -> Option<String> {
    let text = read("/proc/meminfo")?;
    let line = text.lines().find(|line| line.starts_with(key))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

fn hugepages() -> Option<String> {
    let (free, total) = (meminfo("HugePages_Free")?, meminfo("HugePages_Total")?);
    Some(format!("{free} of {total} free, {}", meminfo("Hugepagesize")?))
}

/// The choice in brackets.
fn chosen(path: &str) -> Option<String> {
    Some(read(path)?.split_once('[')?.1.split_once(']')?.0.to_owned())
}

/// The kernel's mitigations, which make system calls slower.
fn mitigations() -> Option<String> {
    let directory = fs::read_dir("/sys/devices/system/cpu/vulnerabilities").ok()?;
    let mut active: Vec<String> = directory
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let text = fs::read_to_string(entry.path()).ok()?;
            let measure = text.trim().strip_prefix("Mitigation: ")?;
            Some(format!("{}: {measure}", entry.file_name().to_string_lossy()))
        })
        .collect();
    active.sort();
    Some(if active.is_empty() { "none".to_owned() } else { active.join("; ") })
}

fn turbo() -> Option<String> {
    let is = |path: &str, on: &str| read(path).map(|text| if text.trim() == on { "on" } else { "off" }.to_owned());
    is("/sys/devices/system/cpu/cpufreq/boost", "1")
        .or_else(|| is("/sys/devices/system/cpu/intel_pstate/no_turbo", "0"))
}

/// What the binary under test says it is.
fn version() -> Option<String> {
    let binary = pollux_binary().ok()?.display().to_string();
    run(&[&binary, "--version"]).ok()
}

/// The version in its binary ("vpp v24.06-release built by ..."); it prints it on its own command line only.
fn vpp_version(binary: &Path) -> String {
    const START: &[u8] = b"vpp v";
    let bytes = fs::read(binary).unwrap_or_default();
    let texts = bytes.split(|byte| *byte == 0).filter(|text| text.starts_with(START));
    let version = texts.map(String::from_utf8_lossy).find(|text| text.contains(" built by "));
    version.map_or_else(|| format!("{}, of unknown version", binary.display()), std::borrow::Cow::into_owned)
}

/// Of the working copy we were started in, if any.
fn commit() -> Option<String> {
    let commit = run(&["git", "rev-parse", "--short=12", "HEAD"]).ok()?;
    let changed = run(&["git", "status", "--porcelain", "--untracked-files=no"]).ok()?;
    let dirty = if changed.trim().is_empty() { "" } else { ", with local changes" };
    Some(format!("{}{dirty}", commit.trim()))
}

/// Says which peers are missing, so that their absence from a table is explained.
fn package(name: &str) -> Option<String> {
    let version = run(&["dpkg-query", "-W", "-f", "${Version}", name]);
    Some(version.unwrap_or_else(|_| format!("package {name} is not installed")))
}
