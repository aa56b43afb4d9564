//! Which capabilities this process holds (capabilities(7)).

use std::fs;

/// Whether the capability of that number (`linux/capability.h`) is in the effective set.
#[must_use]
pub fn held(number: u32) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let set = line.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).unwrap_or(0);
    set >> number & 1 == 1
}
