//! What the API says, as JSON. The first field of every answer is the version of its shape.

mod guest;
pub mod text;

pub use guest::{GuestView, PairView, SocketRights};

use crate::config::FixedKind;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
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
    /// Mirrors: name, and what goes where.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub mirrors: BTreeMap<String, String>,
    /// Namespaces the switch made.
    pub nodes: Vec<String>,
    /// Ports that are open.
    pub ports_open: usize,
    /// Ports that failed.
    pub ports_failed: usize,
    /// Open ports that are blocked because of a loop.
    #[serde(default)]
    pub ports_blocked: usize,
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
    /// learning or macvlan.
    pub mode: String,
    /// What differs from the default: snooping, guards, extensions.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub features: Vec<String>,
    /// macvlan: the port that is the wire.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub uplink: Option<String>,
    /// macvlan: the port that is the host.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub host: Option<String>,
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
    /// up, no-carrier, down, failed, blocked (because of a loop), or unknown (its interface was moved elsewhere).
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
    /// Why it failed or is blocked.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason: Option<String>,
    /// The loop that has it blocked.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub blocked: Option<Blocked>,
    /// Its guest.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub guest: Option<GuestView>,
    /// Its role in the domain: bridge, private, vepa, passthru, source, uplink, host; or where a mirror ends.
    pub role: String,
    /// VLANs: -, access 10, trunk 10,20-29 native 1 ...
    pub vlan: String,
    /// Addresses it owns.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub macs: Vec<String>,
    /// Which control protocols may come in: transparent, ieee, or a list.
    pub control_protocols: String,
    /// What else differs from the default: isolated, hairpin, no-learning, storm ...
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub flags: Vec<String>,
}

/// A loop that has a port blocked.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Blocked {
    /// Seconds until the port is opened again.
    pub seconds: u32,
    /// The other end of the loop: the port whose probe came back here.
    pub loop_with: String,
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
    /// The port it is behind; empty for a filter.
    pub port: String,
    /// learned, static, sticky or filter; the addresses of macvlan ports are sticky.
    pub kind: String,
    /// Seconds since it was seen.
    pub age_s: u32,
}

/// Counts by name; what has not occurred is left out.
pub type Counts = BTreeMap<Cow<'static, str>, u64>;

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
    /// Frames lost before the switch could read them; by reason they are among `drops`:
    /// `rx_frames + rx_lost + flood_copies = tx_frames + drops`, over all ports, while nothing is under way.
    #[serde(default)]
    pub rx_lost: u64,
    /// Frames sent.
    pub tx_frames: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Frames that the kernel lost after the port took them, by reason: of `tx_frames`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub tx_lost: Counts,
    /// Copies made for this port by flooding.
    pub flood_copies: u64,
    /// Segments made in software on the way out.
    pub tx_segments: u64,
    /// Checksums completed in software on the way out.
    pub tx_checksums: u64,
    /// Frames that guards would have dropped, were they not only observing.
    #[serde(default)]
    pub observed: u64,
    /// Frames dropped at this port or lost on the way to it, by reason.
    pub drops: Counts,
    /// Frames of the pool that the port holds, by cause: `fill_ring`, `tx_ring`, `rx_buffers`, `cable`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub held: Counts,
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
    /// Of the others, what ports hold, by cause: `fill_ring`, `tx_ring`, `rx_buffers`, `cable`.
    #[serde(default)]
    pub held: Counts,
    /// The rest: in the hands of workers, and between them. 0 while nothing flows.
    #[serde(default)]
    pub under_way: u64,
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
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PinAddress {
    /// The domain.
    #[schemars(example = &"lan")]
    pub domain: String,
    /// The address.
    #[schemars(example = &"02:00:00:00:00:01")]
    pub mac: String,
    /// The port it lives behind; none for a filter.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    #[schemars(example = &"h1")]
    pub port: Option<String>,
    /// Its VLAN. Default: that of the port's frames without a tag.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    #[schemars(range(min = 1, max = 4094), example = 10)]
    pub vlan: Option<u16>,
    /// static, sticky or filter.
    #[serde(default)]
    pub kind: FixedKind,
}

/// Body of `DELETE /v1/fdb`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UnpinAddress {
    /// The domain.
    #[schemars(example = &"lan")]
    pub domain: String,
    /// The address.
    #[schemars(example = &"02:00:00:00:00:01")]
    pub mac: String,
    /// Its VLAN. Default: all.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    #[schemars(range(min = 1, max = 4094), example = 10)]
    pub vlan: Option<u16>,
}

/// Body of `POST /v1/fdb/flush`: what matches everything that is given is forgotten.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FlushAddresses {
    /// Of this domain.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    #[schemars(example = &"lan")]
    pub domain: Option<String>,
    /// Behind this port.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    #[schemars(example = &"h1")]
    pub port: Option<String>,
    /// In this VLAN.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    #[schemars(range(min = 1, max = 4094), example = 10)]
    pub vlan: Option<u16>,
    /// Of this station.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    #[schemars(example = &"02:00:00:00:00:01")]
    pub mac: Option<String>,
    /// learned, static, sticky or filter. Default: learned.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    #[schemars(example = &"learned")]
    pub kind: Option<String>,
}

/// Answer of `POST /v1/fdb/flush`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Flushed {
    /// Version of this shape.
    pub v: u32,
    /// Addresses forgotten.
    pub entries: usize,
}

/// `GET /v1/groups`: what snooping knows.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Groups {
    /// Version of this shape.
    pub v: u32,
    /// Groups that have members.
    pub groups: Vec<Group>,
    /// Ports behind which routers or queriers were heard.
    pub routers: Vec<Router>,
}

/// A multicast group.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Group {
    /// Its domain.
    pub domain: String,
    /// Its VLAN; 0: tags are not looked at.
    pub vlan: u16,
    /// Its address.
    pub group: String,
    /// Its member ports, and the seconds until each membership ends.
    pub ports: BTreeMap<String, u32>,
}

/// A port that gets every group.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Router {
    /// Its domain.
    pub domain: String,
    /// Its VLAN; 0: tags are not looked at.
    pub vlan: u16,
    /// The port.
    pub port: String,
}

/// `GET /v1/events`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Events {
    /// Version of this shape.
    pub v: u32,
    /// The last ones, oldest first.
    pub events: Vec<Event>,
}

/// Something the switch noticed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Event {
    /// Counted from 1 since the start.
    pub number: u64,
    /// When, in milliseconds since 1970.
    pub unix_ms: u64,
    /// moved, pinned, flapping, storm, insecure, address_limit, loop, unblocked, link_down, link_up, address or suppressed.
    pub kind: String,
    /// Where: the culprit.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub port: Option<String>,
    /// Who.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub mac: Option<String>,
    /// In which VLAN; 0: tags are not looked at.
    pub vlan: u16,
    /// In words.
    pub text: String,
}
