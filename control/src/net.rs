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
    /// Reads `10.0.0.1/24`; `None` for what no station can have.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (addr, prefix) = text.split_once('/')?;
        let net = Self { addr: addr.parse().ok()?, prefix: prefix.parse().ok()? };
        let most = if net.addr.is_ipv4() { 32 } else { 128 };
        let unicast = !net.addr.is_unspecified() && !net.addr.is_multicast();
        (net.prefix <= most && unicast).then_some(net)
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

impl fmt::Display for IpNet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.addr, self.prefix)
    }
}
