//! Where an interface is, and what addresses it has.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

/// A network namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Netns {
    /// The one the switch runs in.
    #[default]
    Host,
    /// One the switch makes and removes.
    Node(String),
    /// An existing one by name.
    Named(String),
    /// The one this file stands for, such as /proc/PID/ns/net.
    File(PathBuf),
    /// That of a process.
    Pid(u32),
}

impl fmt::Display for Netns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host => f.write_str("the host"),
            Self::Node(name) => write!(f, "node {name}"),
            Self::Named(name) => write!(f, "namespace {name}"),
            Self::File(path) => write!(f, "namespace {}", path.display()),
            Self::Pid(pid) => write!(f, "the namespace of process {pid}"),
        }
    }
}

/// An address with its prefix length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IpNet {
    /// The address.
    pub addr: IpAddr,
    /// Bits of the prefix.
    pub prefix: u8,
}

impl IpNet {
    /// Reads `10.0.0.1/24`; else what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let Some((addr, prefix)) = text.split_once('/') else {
            return Err(format!("`{text}` has no prefix length"));
        };
        let addr: IpAddr = addr.parse().map_err(|_| format!("`{text}` is no address: {}", fault(addr)))?;
        let most = if addr.is_ipv4() { 32 } else { 128 };
        let wrong = || format!("`{text}` has the prefix length `{prefix}`; it must be 0 to {most}");
        let digits = prefix.bytes().all(|byte| byte.is_ascii_digit());
        let prefix: u8 = prefix.parse().ok().filter(|prefix| digits && *prefix <= most).ok_or_else(wrong)?;
        match unusable(addr) {
            Some(what) => Err(format!("{addr} is {what}, which no interface of a lab can have")),
            None => Ok(Self { addr, prefix }),
        }
    }

    /// The first address of the subnet, as a number.
    #[must_use]
    pub fn network(&self) -> u128 {
        let (bits, width) = match self.addr {
            IpAddr::V4(v4) => (u128::from(v4.to_bits()), 32),
            IpAddr::V6(v6) => (v6.to_bits(), 128),
        };
        let host = u32::from(width - self.prefix);
        bits.checked_shr(host).and_then(|bits| bits.checked_shl(host)).unwrap_or(0)
    }

    /// Whether `addr` is in this subnet.
    #[must_use]
    pub fn contains(&self, addr: IpAddr) -> bool {
        let bits = |addr: IpAddr| match addr {
            IpAddr::V4(v4) => u128::from(v4.to_bits()) << 96,
            IpAddr::V6(v6) => v6.to_bits(),
        };
        let host = u32::from(128 - self.prefix);
        let differ = bits(self.addr) ^ bits(addr);
        self.addr.is_ipv4() == addr.is_ipv4() && differ.checked_shr(host).unwrap_or(0) == 0
    }
}

/// What the kernel refuses to give an interface, or what nobody could reach there.
fn unusable(addr: IpAddr) -> Option<&'static str> {
    let broadcast = matches!(addr, IpAddr::V4(v4) if v4.is_broadcast());
    [
        (addr.is_unspecified(), "no address at all"),
        (addr.is_multicast(), "a multicast address"),
        (addr.is_loopback(), "a loopback address"),
        (broadcast, "the broadcast address"),
    ]
    .into_iter()
    .find_map(|(is_it, what)| is_it.then_some(what))
}

/// The part of an address that is wrong.
fn fault(addr: &str) -> String {
    if addr.contains(':') {
        let long = |group: &str| group.len() > 4 || !group.bytes().all(|byte| byte.is_ascii_hexdigit());
        return match addr.split(':').find(|group| long(group)) {
            Some(group) => format!("`{group}` is not one to four hexadecimal digits"),
            None => "IPv6 has eight groups, or `::` once in place of zeros".to_owned(),
        };
    }
    let octets: Vec<&str> = addr.split('.').collect();
    let wrong = octets.iter().find(|octet| octet.parse::<u8>().is_err() || (octet.len() > 1 && octet.starts_with('0')));
    match wrong {
        Some(octet) if octet.len() > 1 && octet.starts_with('0') => format!("`{octet}` begins with a zero"),
        Some(octet) => format!("`{octet}` is not a number from 0 to 255"),
        None => format!("IPv4 has four numbers, here are {}", octets.len()),
    }
}

impl fmt::Display for IpNet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.addr, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_cannot_be_says_which_part_is_wrong() {
        for (text, words) in [
            ("10.9.0.1", "no prefix length"),
            ("10.9.0.300/24", "`300` is not a number from 0 to 255"),
            ("10.9.0/24", "four numbers, here are 3"),
            ("10.09.0.1/24", "`09` begins with a zero"),
            ("10.9.0.1/33", "prefix length `33`; it must be 0 to 32"),
            ("10.9.0.1/+8", "prefix length `+8`"),
            ("10.9.0.1/", "prefix length ``"),
            ("fd00::1/129", "prefix length `129`; it must be 0 to 128"),
            ("fd00::12345/64", "`12345` is not one to four"),
            ("fd00::1::2/64", "`::` once"),
            ("h1/24", "`h1` is not a number"),
            ("0.0.0.0/0", "no address at all"),
            ("224.0.0.1/24", "multicast"),
            ("ff02::1/64", "multicast"),
            ("127.0.0.1/8", "loopback"),
            ("::1/128", "loopback"),
            ("255.255.255.255/32", "broadcast"),
        ] {
            let said = IpNet::parse(text).expect_err(text);
            assert!(said.contains(words), "{text}: {said}");
        }
        for text in ["10.9.0.1/24", "10.9.0.0/31", "fd00::1/64", "FE80::1/10", "10.9.0.1/32"] {
            assert!(IpNet::parse(text).is_ok(), "{text}");
        }
    }
}
