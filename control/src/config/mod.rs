//! The configuration as written in the YAML file.
//!
//! These types say what may be written, nothing more: unknown and duplicate keys and wrong types are refused here,
//! everything that needs a second look (names, ranges, references) is refused by [`crate::plan`]. The same [`Port`] is
//! the body of `POST /v1/ports`, so a port can be added to a running switch in the words of the file.
//!
//! A port is one flat struct and not an enum tagged by `kind`: serde buffers tagged enums and would lose the line
//! and column of every mistake inside them.

pub mod document;
mod layer2;
mod vlan;

pub use layer2::{
    Action, ControlProtocols, Flood, Guards, Loops, Macvlan, Mirror, Moves, PortSecurity, Router, Snooping, Storm,
};
pub use vlan::{Protocol, VidRange, Vlan};

use crate::named::Named;
use crate::units::{Size, Span};
use schemars::JsonSchema;
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
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
    /// Network namespaces and virtual machines, made at start and removed at stop, by name.
    #[serde(default)]
    pub nodes: Named<Node>,
    /// Ports by name.
    #[serde(default)]
    pub ports: Named<Port>,
    /// Mirrors by name: copies of what passes some ports, to one port.
    #[serde(default)]
    pub mirrors: Named<Mirror>,
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
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
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
    /// Addresses that are known from the start and do not age.
    #[serde(default, rename = "static")]
    pub fixed: Vec<FixedEntry>,
    /// Control protocols (STP, LACP, LLDP ...) that may enter the ports that do not say it themselves. Default:
    /// transparent.
    pub control_protocols: Option<ControlProtocols>,
    /// learning: IGMP and MLD snooping. Default: off, multicast is flooded.
    pub snooping: Option<Snooping>,
    /// learning: guards against addresses that move and loops.
    pub guards: Option<Guards>,
    /// macvlan: the port that is the wire.
    pub uplink: Option<String>,
    /// macvlan: the port that stands for the stack of the lower device.
    pub host: Option<String>,
    /// macvlan: unicast that comes back from the wire does not reach private ports either.
    #[serde(default)]
    pub strict_private: bool,
    /// macvlan: `host` and the ports reach each other without the wire.
    #[serde(default)]
    pub host_reach: bool,
}

/// How a domain forwards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// A bridge: learns addresses, floods what it does not know.
    #[default]
    Learning,
    /// Ports own their addresses; nothing is learned, nothing unknown is flooded.
    Macvlan,
}

/// An address that does not age.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FixedEntry {
    /// The address.
    pub mac: String,
    /// The port it lives behind; none for a filter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<String>,
    /// Its VLAN, if the port looks at tags. Default: the one of frames without a tag.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vlan: Option<u16>,
    /// Whether it moves.
    #[serde(default)]
    pub kind: FixedKind,
}

/// What an address that does not age may do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum FixedKind {
    /// Move to another port, when its station is seen there.
    #[default]
    Static,
    /// Stay where it is.
    Sticky,
    /// Nothing: frames from and to it are dropped.
    Filter,
}

/// A station of the lab.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Node {
    /// What it is.
    #[serde(default)]
    pub kind: NodeKind,
    /// qemu: the kernel to boot.
    pub kernel: Option<String>,
    /// qemu: the initramfs.
    pub initrd: Option<String>,
    /// qemu: more words for the kernel's command line.
    pub append: Option<String>,
    /// qemu: memory. Default 256M.
    pub memory: Option<Size>,
    /// qemu: virtual processors. Default 1.
    pub cpus: Option<u16>,
    /// qemu: by what the machine is run.
    #[serde(default)]
    pub accel: Accel,
}

/// What a node is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum NodeKind {
    /// A network namespace.
    #[default]
    Namespace,
    /// A virtual machine on vhost-user ports.
    Qemu,
}

/// By what a virtual machine is run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Accel {
    /// Emulated: everywhere.
    #[default]
    Tcg,
    /// By the processor: needs /dev/kvm.
    Kvm,
}

/// A port, in the file and in `POST /v1/ports`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
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
    /// An existing namespace its interface lives in, instead of a node: its name, or a path such as /proc/PID/ns/net.
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
    /// vhost-user: the unix socket between the switch and the guest's front end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub socket: Option<String>,
    /// vhost-user: who listens on the socket. Default: server, the switch does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// vhost-user, role server: who may connect, in octal: `mode: "0666"`. Default: 0660, its owner and group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// vhost-user, role server: the user who owns the socket, by name or number. Default: whoever runs the switch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// vhost-user, role server: the group of the socket, by name or number. libvirt runs QEMU as libvirt-qemu.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Whether frames pass. Default true; false is as if its cable were out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// VLANs. Default: tags are not looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vlan: Option<Vlan>,
    /// Which layer-2 control protocols may come in. Default: that of the domain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub control_protocols: Option<ControlProtocols>,
    /// learning: source addresses are learned here. Default true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub learning: Option<bool>,
    /// learning: what leaves here though nobody knows that it is for somebody here. Default: everything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flood: Option<Flood>,
    /// learning: frames may leave where they came in.
    #[serde(default, skip_serializing_if = "is_false")]
    pub hairpin: bool,
    /// learning: isolated ports do not reach each other.
    #[serde(default, skip_serializing_if = "is_false")]
    pub isolated: bool,
    /// learning: only addresses that `static` puts here may send.
    #[serde(default, skip_serializing_if = "is_false")]
    pub locked: bool,
    /// learning: multicast routers behind the port, for snooping. Default auto.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub multicast_router: Option<Router>,
    /// macvlan: the port's mode. Default vepa, as the kernel's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub macvlan: Option<Macvlan>,
    /// macvlan, mode source: whose frames it receives.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<String>,
    /// macvlan, mode source: what it receives goes to nobody else.
    #[serde(default, skip_serializing_if = "is_false")]
    pub nodst: bool,
    /// macvlan, mode passthru: the device of the uplink is not made promiscuous.
    #[serde(default, skip_serializing_if = "is_false")]
    pub nopromisc: bool,
    /// macvlan: unicast for nobody is received too, for a bridge or VM with addresses of its own behind the port.
    #[serde(default, skip_serializing_if = "is_false")]
    pub promisc_rx: bool,
    /// macvlan: groups' frames from the wire that are copied per millisecond, the most of all ports. Default 1000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bc_queue: Option<u32>,
    /// macvlan: more addresses that the port owns.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub macs: Vec<String>,
    /// Limits on frames for everybody that come in here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storm: Option<Storm>,
    /// Source addresses that may come in here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port_security: Option<PortSecurity>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_false(flag: &bool) -> bool {
    !flag
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

/// The JSON Schema of the file, as editors use it.
#[must_use]
pub fn schema() -> String {
    let mut text = format!("{:#}", schemars::schema_for!(Config).as_value());
    text.push('\n');
    text
}

/// Who listens on the socket of a vhost-user port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// We listen; the front end connects (QEMU: `-chardev socket,path=...,reconnect=1`).
    #[default]
    Server,
    /// The front end listens (QEMU: `server=on`); we connect, for ever, with back-off.
    Client,
}
