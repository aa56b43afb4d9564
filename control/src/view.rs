//! What the API says, as JSON. The first field of every answer is the version of its shape.

use crate::vhost::GuestView;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Version of all answers.
pub const VERSION: u32 = 1;

/// `GET /v1/status`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Status {
    /// Version of this shape.
    pub v: u32,
    /// Name of the switch.
    pub name: String,
    /// Version of the program.
    pub version: String,
    /// Its process.
    pub pid: u32,
    /// Seconds since every port was up.
    pub uptime_s: u64,
    /// Where the API listens.
    pub socket: String,
    /// adaptive, economy or busy: of workers that name none of their own.
    pub poll: String,
    /// The same for each worker.
    pub polls: Vec<String>,
    /// Cores, one worker each.
    pub workers: Vec<usize>,
    /// The arena.
    pub memory: Memory,
    /// Domains by name.
    pub domains: BTreeMap<String, Domain>,
    /// Namespaces the switch made.
    pub nodes: Vec<String>,
    /// Ports that are open.
    pub ports_open: usize,
    /// Ports that failed.
    pub ports_failed: usize,
}

/// The arena.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Memory {
    /// Frames in it.
    pub frames: u32,
    /// Bytes of it.
    pub bytes: u64,
    /// What pages it lies in.
    pub backing: String,
    /// Why no better ones were obtained.
    pub report: Vec<String>,
    /// Bytes the kernel holds besides, unswappable: 128 for each frame and AF_XDP queue.
    pub kernel_bytes: u64,
}

/// A domain.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Domain {
    /// How it forwards.
    pub mode: String,
    /// Seconds an address lives unseen; 0: none is learned.
    pub ageing_s: u64,
    /// Its MTU.
    pub mtu: u32,
    /// Its ports.
    pub ports: usize,
    /// Addresses known in it.
    pub addresses: usize,
}

/// `GET /v1/ports`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Ports {
    /// Version of this shape.
    pub v: u32,
    /// In the order they were added.
    pub ports: Vec<Port>,
}

/// A port.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Port {
    /// Its name.
    pub name: String,
    /// What drives it.
    pub kind: String,
    /// Its domain.
    pub domain: String,
    /// up, no-carrier, down, failed, or unknown (its interface was moved elsewhere).
    pub link: String,
    /// Queue pairs.
    pub queues: usize,
    /// What was obtained, and why not more.
    pub mode: String,
    /// Its interface.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub ifname: Option<String>,
    /// Where that is.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub place: Option<String>,
    /// MTU of the interface.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub mtu: Option<u32>,
    /// Its IP addresses.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub ip: Vec<String>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason: Option<String>,
    /// Its guest.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub guest: Option<GuestView>,
}

/// `GET /v1/fdb`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Fdb {
    /// Version of this shape.
    pub v: u32,
    /// Sorted by domain, VLAN, address.
    pub entries: Vec<FdbEntry>,
}

/// A known address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct FdbEntry {
    /// Its domain.
    pub domain: String,
    /// Its VLAN; 0: tags are not looked at.
    pub vlan: u16,
    /// The address.
    pub mac: String,
    /// The port it is behind.
    pub port: String,
    /// learned or static.
    pub kind: String,
    /// Seconds since it was seen.
    pub age_s: u32,
}

/// `GET /v1/stats`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Stats {
    /// Version of this shape.
    pub v: u32,
    /// By port name.
    pub ports: BTreeMap<String, PortStats>,
    /// Sums of the ports that were removed.
    pub removed: PortStats,
    /// By worker.
    pub workers: Vec<Worker>,
    /// The pool.
    pub mempool: Pool,
}

/// Counters of a port.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct PortStats {
    /// Frames received.
    pub rx_frames: u64,
    /// Bytes received.
    pub rx_bytes: u64,
    /// Frames sent.
    pub tx_frames: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Copies made for this port by flooding.
    pub flood_copies: u64,
    /// Segments made in software on the way out.
    pub tx_segments: u64,
    /// Checksums completed in software on the way out.
    pub tx_checksums: u64,
    /// Frames dropped at this port, by every reason there is.
    pub drops: BTreeMap<String, u64>,
}

/// Counters of a worker.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Worker {
    /// Its core.
    pub core: usize,
    /// Share of time spent on turns that moved frames.
    pub busy: f64,
    /// Frames received.
    pub frames: u64,
    /// Mean frames per burst.
    pub frames_per_burst: f64,
    /// Mean nanoseconds of work per frame.
    pub ns_per_frame: f64,
    /// Turns of its loop.
    pub turns: u64,
    /// Times it slept.
    pub sleeps: u64,
    /// Times something woke it, and not the clock.
    pub wakeups: u64,
}

/// The pool.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Pool {
    /// Frames.
    pub total: u32,
    /// Of them free.
    pub free: u32,
    /// What pages they lie in.
    pub backing: String,
}

/// Answer of `POST /v1/stop`, once everything is removed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Stopped {
    /// Version of this shape.
    pub v: u32,
    /// Frames of the pool.
    pub total: u32,
    /// Of them free: the same, or frames were lost.
    pub free: u32,
}

/// Answer to a change.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Done {
    /// Version of this shape.
    pub v: u32,
}

/// An error.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Fault {
    /// What is wrong.
    pub error: String,
    /// Where: `ports.p2.mtu`.
    #[serde(default)]
    pub path: String,
    /// What to do about it.
    #[serde(default)]
    pub remedy: String,
    /// All mistakes, if there are several.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub problems: Vec<Fault>,
}

/// Body of `POST /v1/fdb`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PinAddress {
    /// The domain.
    pub domain: String,
    /// The address.
    pub mac: String,
    /// The port it lives behind.
    pub port: String,
}

/// Body of `DELETE /v1/fdb`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnpinAddress {
    /// The domain.
    pub domain: String,
    /// The address.
    pub mac: String,
}
