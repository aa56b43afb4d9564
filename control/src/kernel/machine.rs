//! What this machine offers: cores, interfaces, huge pages. Read once, before the plan, without privileges.

use super::limits;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;

/// Facts about the machine that a plan is checked against. Tests make their own.
#[derive(Clone, Debug, Default)]
pub struct Machine {
    /// Cores this process may use (its cpuset and affinity).
    pub cores: Vec<usize>,
    /// Interfaces of the namespace we run in.
    pub devices: BTreeSet<String>,
    /// Their MTUs, as far as they are known.
    pub mtus: BTreeMap<String, u32>,
    /// Their receive queues, as far as they are known.
    pub queues: BTreeMap<String, u64>,
    /// Those that carry a default route.
    pub default_route: BTreeSet<String>,
    /// Free huge pages of 2 MiB.
    pub free_hugepages: u64,
    /// Bytes of memory that can be had without swapping.
    pub memory: u64,
    /// Entries that the neighbour tables of IPv4 and IPv6 hold, if this namespace shows it.
    pub neighbours: [Option<u64>; 2],
    /// Bytes of memory that the control group may still take, if it has a limit.
    pub group_memory: Option<u64>,
    /// Huge pages of 2 MiB that the control group may still take, if it has a limit.
    pub group_hugepages: Option<u64>,
    /// Bytes that may be locked, if there is a limit.
    pub locked_memory: Option<u64>,
}

impl Machine {
    /// This machine, now. Call it before any thread is pinned.
    #[must_use]
    pub fn here() -> Self {
        let devices = devices();
        let ids = core_affinity::get_core_ids().unwrap_or_default();
        Self {
            cores: ids.into_iter().map(|core| core.id).collect(),
            mtus: devices.iter().filter_map(|name| Some((name.clone(), mtu(name)?))).collect(),
            queues: devices.iter().filter_map(|name| Some((name.clone(), queues(name)?))).collect(),
            devices,
            default_route: default_route_devices(),
            free_hugepages: free_hugepages(),
            memory: available_memory(),
            neighbours: ["ipv4", "ipv6"].map(neighbours),
            group_memory: limits::memory(),
            group_hugepages: limits::huge_pages(),
            locked_memory: limits::locked_memory(),
        }
    }
}

fn devices() -> BTreeSet<String> {
    // /proc/thread-self, not /sys: sysfs shows the namespace it was mounted in, proc the one of the asking thread
    let text = fs::read_to_string("/proc/thread-self/net/dev").unwrap_or_default();
    let name = |line: &str| line.split_once(':').map(|(name, _)| name.trim().to_owned());
    text.lines().skip(2).filter_map(name).collect()
}

fn mtu(device: &str) -> Option<u32> {
    fs::read_to_string(format!("/sys/class/net/{device}/mtu")).ok()?.trim().parse().ok()
}

/// Receive queues in use.
fn queues(device: &str) -> Option<u64> {
    let entries = fs::read_dir(format!("/sys/class/net/{device}/queues")).ok()?.flatten();
    Some(entries.filter(|entry| entry.file_name().to_string_lossy().starts_with("rx-")).count() as u64)
}

fn free_hugepages() -> u64 {
    let file = "/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages";
    fs::read_to_string(file).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}

/// Only the host's own namespace shows it.
fn neighbours(family: &str) -> Option<u64> {
    fs::read_to_string(format!("/proc/sys/net/{family}/neigh/default/gc_thresh3")).ok()?.trim().parse().ok()
}

/// Unlimited if the kernel does not say.
fn available_memory() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib =
        text.lines().find_map(|line| line.strip_prefix("MemAvailable:")?.trim().split(' ').next()?.parse::<u64>().ok());
    kib.map_or(u64::MAX, |kib| kib.saturating_mul(1024))
}

/// Interfaces with a default route in the calling thread's namespace.
#[must_use]
pub fn default_route_devices() -> BTreeSet<String> {
    let v4 = fs::read_to_string("/proc/thread-self/net/route").unwrap_or_default();
    let v6 = fs::read_to_string("/proc/thread-self/net/ipv6_route").unwrap_or_default();
    let mut found: BTreeSet<String> = v4.lines().skip(1).filter_map(default_v4).collect();
    found.extend(v6.lines().filter_map(default_v6));
    found.remove("lo");
    found
}

/// `Iface Destination Gateway Flags RefCnt Use Metric Mask ...`, numbers in hexadecimal.
fn default_v4(line: &str) -> Option<String> {
    let field: Vec<&str> = line.split_whitespace().collect();
    let is_default = field.get(1)? == &"00000000" && field.get(7)? == &"00000000";
    is_default.then(|| field[0].to_owned())
}

/// `destination length source length next-hop metric refs use flags device`; `::/0` on `lo` is the reject route.
fn default_v6(line: &str) -> Option<String> {
    let field: Vec<&str> = line.split_whitespace().collect();
    let is_default = field.first()?.bytes().all(|b| b == b'0') && field.get(1)? == &"00";
    is_default.then(|| field.last().copied().unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_routes_are_found_in_both_tables() {
        assert_eq!(default_v4("eth0\t00000000\t0102A8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0"), Some("eth0".to_owned()));
        assert_eq!(default_v4("eth0\t0002A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0"), None);
        let zero = "0".repeat(32);
        let line = format!("{zero} 00 {zero} 00 {zero} 00000064 00000001 00000000 00000003     ens3");
        assert_eq!(default_v6(&line), Some("ens3".to_owned()));
        assert_eq!(default_v6(&line.replacen(" 00 ", " 40 ", 1)), None);
    }

    #[test]
    fn this_machine_has_a_core_and_a_loopback() {
        let machine = Machine::here();
        assert!(!machine.cores.is_empty());
        assert!(machine.devices.contains("lo"));
        assert_eq!(machine.queues.get("lo"), Some(&1));
    }
}
