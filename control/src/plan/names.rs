//! Names and addresses: what may be one.

use super::Check;
use crate::problem::meant;
use dataplane::eth::MacAddr;

/// Longest interface name the kernel takes (`IFNAMSIZ` with its final zero is 16); ports share the bound.
pub(super) const SHORT: usize = 15;
/// Longest name of a switch, domain or node: they become file names.
pub(super) const LONG: usize = 63;

/// Checks the name that is the value at `path`.
pub(super) fn check(name: &str, path: &str, most: usize, check: &mut Check<'_>) {
    if let Some((what, remedy)) = fault(name, most) {
        check.bad(path, what, remedy);
    }
}

/// Checks the name that is a key of the map at `path`.
pub(super) fn check_key(name: &str, path: &str, most: usize, check: &mut Check<'_>) {
    if let Some((what, remedy)) = fault(name, most) {
        check.bad_name(&format!("{path}.{name}"), what, remedy);
    }
}

/// What is wrong with a name, and the remedy.
pub(super) fn fault(name: &str, most: usize) -> Option<(String, String)> {
    if name.len() > most {
        let what = format!("the name `{name}` has {} characters", name.len());
        return Some((what, format!("at most {most} are possible")));
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    if name.is_empty() || name.starts_with(['.', '-']) || !name.chars().all(plain) {
        let what = format!("`{name}` cannot be a name");
        return Some((what, "use letters, digits, `_`, `-` and `.`, beginning with a letter, digit or `_`".to_owned()));
    }
    None
}

/// What the kernel has under these names in every namespace: its settings for all interfaces, and the loopback.
const RESERVED: &[&str] = &["all", "default", "lo"];

/// Why no interface can be made under a name, and the remedy.
pub(super) fn reserved(ifname: &str) -> Option<(String, String)> {
    let what = match ifname {
        "lo" => "every namespace has an interface `lo` already".to_owned(),
        _ => format!("the kernel keeps the name `{ifname}` for its settings of interfaces"),
    };
    RESERVED.contains(&ifname).then(|| (what, "choose another `ifname`, such as eth0".to_owned()))
}

/// A unicast address.
pub(super) fn mac(text: &str, path: &str, check: &mut Check<'_>) -> Option<MacAddr> {
    let Ok(mac) = text.parse::<MacAddr>() else {
        check.bad(path, format!("`{text}` is no MAC address"), spelled(text));
        return None;
    };
    if mac.is_multicast() || mac.is_zero() {
        check.bad(
            path,
            format!("{mac} is no address a station can have"),
            "use a unicast address; 02:… is free for local use",
        );
        return None;
    }
    Some(mac)
}

/// An address as it should be written, if there are as many digits as one has.
fn spelled(text: &str) -> String {
    let digits: String = text.chars().filter(char::is_ascii_hexdigit).collect();
    let others = text.chars().filter(|c| !c.is_ascii_hexdigit()).all(|c| ":-. ".contains(c));
    if digits.len() != 12 || !others {
        return "write six groups of two hexadecimal digits in quotes, such as \"02:00:00:00:00:01\"".to_owned();
    }
    let groups: Vec<&str> = (0..6).map(|i| &digits[2 * i..2 * i + 2]).collect();
    format!("write \"{}\"", groups.join(":").to_lowercase())
}

/// The remedy for a name that refers to nothing.
pub(super) fn choose<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let known: Vec<&str> = known.into_iter().collect();
    match meant(name, known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None if known.is_empty() => "there is none yet: add it".to_owned(),
        None => format!("known: {}", known.join(", ")),
    }
}
