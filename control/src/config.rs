//! The configuration as written in the YAML file.
//!
//! These types say what may be written, nothing more: unknown and duplicate keys and wrong types are refused here,
//! everything that needs a second look (names, ranges, references) is refused by [`crate::plan`]. The same [`Port`] is
//! the body of `POST /v1/ports`, so a port can be added to a running switch in the words of the file.
//!
//! A port is one flat struct and not an enum tagged by `kind`: serde buffers tagged enums and would lose the line
//! and column of every mistake inside them.

use crate::named::Named;
use crate::units::{Size, Span};
use crate::vhost::Role;
use schemars::JsonSchema;
use serde::de::value::MapAccessDeserializer;
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use std::fmt;

/// A whole file.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "Pollux configuration")]
pub struct Config {
    /// Name of the switch; names its state and log files under /run/pollux.
    pub name: String,
    /// Cores to pin workers to. Default: one core, the last one this process may use.
    #[serde(default)]
    pub workers: Option<Vec<Worker>>,
    /// What an idle worker does, unless it names something else.
    #[serde(default)]
    pub poll: Poll,
    /// The arena all frames live in.
    #[serde(default)]
    pub memory: Memory,
    /// Broadcast segments by name.
    #[serde(default)]
    pub domains: Named<Domain>,
    /// Network namespaces made at start and removed at stop, by name.
    #[serde(default)]
    pub nodes: Named<Node>,
    /// Ports by name.
    #[serde(default)]
    pub ports: Named<Port>,
}

/// A worker: its core, and what it does when idle if not what `poll` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, JsonSchema)]
#[schemars(untagged)]
pub enum Worker {
    /// `1`
    Core(usize),
    /// `{ core: 1, poll: busy }`
    Own(OwnWorker),
}

/// A worker with a policy of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OwnWorker {
    /// Its core.
    pub core: usize,
    /// What it does when idle.
    pub poll: Poll,
}

impl<'de> Deserialize<'de> for Worker {
    /// By hand: serde's untagged enums forget where a mistake was.
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Worker;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a core such as 1, or { core: 1, poll: busy }")
            }

            fn visit_u64<E: serde::de::Error>(self, core: u64) -> Result<Worker, E> {
                usize::try_from(core).map(Worker::Core).map_err(E::custom)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Worker, A::Error> {
                OwnWorker::deserialize(MapAccessDeserializer::new(map)).map(Worker::Own)
            }
        }
        source.deserialize_any(Either)
    }
}

/// What an idle worker does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Poll {
    /// Spin for a moment, then sleep until a frame comes.
    #[default]
    Adaptive,
    /// Sleep whenever there is nothing to do: least CPU, some 20 µs more of latency.
    Economy,
    /// Never sleep: lowest latency, one whole core per worker.
    Busy,
}

impl fmt::Display for Poll {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Adaptive => "adaptive",
            Self::Economy => "economy",
            Self::Busy => "busy",
        })
    }
}

/// The arena all frames live in.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Memory {
    /// Frames of 2048 bytes in the arena. Default: what the ports need, at least 16384.
    pub frames: Option<Size>,
    /// Whether the arena lies in huge pages.
    #[serde(default)]
    pub hugepages: Hugepages,
    /// Addresses the forwarding table can hold, all domains together. Default: 64k.
    pub fdb_entries: Option<Size>,
}

/// Whether the arena lies in huge pages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Hugepages {
    /// The best the system offers; `pollux status` says what that was.
    #[default]
    Auto,
    /// Huge pages or do not start.
    Required,
    /// Normal pages.
    Off,
}

/// A broadcast segment.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Domain {
    /// How the domain forwards.
    #[serde(default)]
    pub mode: Mode,
    /// How long an address is remembered without being seen. Default 300s; 0 = learn nothing, flood everything.
    pub ageing: Option<Span>,
    /// MTU of the domain and all its ports. Default 1500.
    pub mtu: Option<u32>,
    /// Addresses the domain may learn. Default: as many as the table holds.
    pub fdb_limit: Option<u32>,
    /// Addresses that are known from the start and never age or move.
    #[serde(default, rename = "static")]
    pub fixed: Vec<FixedEntry>,
    #[serde(default)]
    #[schemars(skip)]
    #[doc(hidden)]
    pub uplink: Later,
}

/// How a domain forwards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// A bridge: learns addresses, floods what it does not know.
    #[default]
    Learning,
    #[doc(hidden)]
    #[schemars(skip)]
    Macvlan,
}

/// An address that never ages or moves.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FixedEntry {
    /// The address.
    pub mac: String,
    /// The port it lives behind.
    pub port: String,
}

/// A network namespace of the lab; it has no settings yet.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Node {}

/// A port, in the file and in `POST /v1/ports`.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Port {
    /// What drives the port.
    pub kind: PortKind,
    /// The domain it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
    /// af_xdp: the existing interface to take.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dev: Option<String>,
    /// af_xdp: take the interface even if it carries the default route.
    #[serde(default)]
    pub force: bool,
    /// The node its interface lives in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// An existing named namespace its interface lives in, instead of a node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub netns: Option<String>,
    /// A process in whose namespace its interface lives, instead of a node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// tap, veth: name of the interface that is made. Default: the port's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ifname: Option<String>,
    /// The address the port owns and its interface gets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mac: Option<String>,
    /// Addresses of the interface, with prefix length.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ip: Vec<String>,
    /// af_xdp: set the device's MTU to that of the domain while the port is ours. Elsewhere it is the domain's anyway.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// Queue pairs. Default 1; af_xdp always takes all the device has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queues: Option<u16>,
    /// Addresses that may be learned on the port. Default: no limit of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fdb_limit: Option<u32>,
    /// ring: the ring port at the other end of the cable.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
    #[serde(default, skip_serializing_if = "Later::is_absent")]
    #[schemars(skip)]
    #[doc(hidden)]
    pub vlan: Later,
    #[serde(default, skip_serializing_if = "Later::is_absent")]
    #[schemars(skip)]
    #[doc(hidden)]
    pub macvlan: Later,
    /// vhost-user: the unix socket between the switch and the guest's front end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub socket: Option<String>,
    /// vhost-user: who listens on the socket. Default: server, the switch does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
}

/// What drives a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PortKind {
    /// An existing interface, by AF_XDP.
    AfXdp,
    /// A pair made for the port: one end in a namespace, ours by AF_XDP.
    Veth,
    /// A TAP interface made for the port.
    Tap,
    /// Swallows every frame.
    Null,
    /// One end of a patch cable inside the switch; `peer` is the other.
    Ring,
    /// A guest's virtio-net device: QEMU, or a DPDK process with virtio-user.
    #[serde(rename = "vhost-user")]
    VhostUser,
}

impl PortKind {
    /// As written in the file.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::AfXdp => "af_xdp",
            Self::Veth => "veth",
            Self::Tap => "tap",
            Self::Null => "null",
            Self::Ring => "ring",
            Self::VhostUser => "vhost-user",
        }
    }
}

impl fmt::Display for PortKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A key this version knows but cannot obey: remembered so that the plan refuses it instead of ignoring it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Later(pub bool);

impl Later {
    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
    fn is_absent(&self) -> bool {
        !self.0
    }
}

impl<'de> Deserialize<'de> for Later {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        IgnoredAny::deserialize(source).map(|_| Self(true))
    }
}

/// The JSON Schema of the file, as editors use it.
#[must_use]
pub fn schema() -> String {
    let mut text = format!("{:#}", schemars::schema_for!(Config).as_value());
    text.push('\n');
    text
}
