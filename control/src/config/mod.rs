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
mod places;
mod vlan;
mod wanted;
mod words;
mod worker;

pub use layer2::{
    Action, ControlProtocols, Flood, Guards, Loops, Macvlan, Mirror, Moves, PortSecurity, Router, Snooping, Storm,
};
pub use vlan::{Protocol, VidRange, Vlan};
pub use worker::{OwnWorker, Worker};

use crate::list::List;
use crate::named::Named;
use crate::units::{Size, Span};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::fmt;

/// A whole file.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "Pollux configuration", example = json!({ "name": "demo", "domains": { "lan": {} }, "ports": { "h1": port() } }))]
pub struct Config {
    /// Name of the switch; names its state and log files under /run/pollux.
    #[schemars(example = &"demo")]
    pub name: String,
    /// Cores to pin workers to. Default: one core, the last one this process may use.
    #[serde(default)]
    #[schemars(example = [1])]
    pub workers: Option<List<Worker>>,
    /// What an idle worker does, unless it has a `poll` of its own.
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
    /// Mirrors by name: frames of some ports, copied to one port.
    #[serde(default)]
    pub mirrors: Named<Mirror>,
}

/// A port as examples show it.
fn port() -> serde_json::Value {
    json!({ "kind": "tap", "domain": "lan" })
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
    #[schemars(example = &"64k")]
    pub frames: Option<Size>,
    /// Whether the arena lies in huge pages.
    #[serde(default)]
    pub hugepages: Hugepages,
    /// Addresses the forwarding table can hold, all domains together. Default: 64k.
    #[schemars(example = &"64k")]
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
    #[schemars(example = &"300s")]
    pub ageing: Option<Span>,
    /// MTU of the domain and all its ports. Default 1500.
    #[schemars(example = 1500)]
    pub mtu: Option<u32>,
    /// Addresses the domain may learn. Default: as many as the table holds.
    #[schemars(example = 1000)]
    pub fdb_limit: Option<u32>,
    /// Addresses that are known from the start and do not age.
    #[serde(default, rename = "static")]
    #[schemars(example = [json!({ "mac": "02:00:00:00:00:01", "port": "h1" })])]
    pub fixed: List<FixedEntry>,
    /// Control protocols (STP, LACP, LLDP ...) that may enter the ports that do not say it themselves. Default:
    /// transparent.
    #[schemars(example = &"transparent")]
    pub control_protocols: Option<ControlProtocols>,
    /// learning: IGMP and MLD snooping. Default: off, multicast is flooded.
    #[schemars(example = true)]
    pub snooping: Option<Snooping>,
    /// learning: guards against addresses that move and loops.
    #[schemars(example = json!({ "loops": {} }))]
    pub guards: Option<Guards>,
    /// macvlan: the port that is the uplink.
    #[schemars(example = &"nic0")]
    pub uplink: Option<String>,
    /// macvlan: the port of the host, the lower device in the kernel's macvlan.
    #[schemars(example = &"host0")]
    pub host: Option<String>,
    /// macvlan: unicast sent back by the uplink does not reach private ports either.
    #[serde(default)]
    pub strict_private: bool,
    /// macvlan: `host` and the ports reach each other directly.
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
    #[schemars(example = &"02:00:00:00:00:01")]
    pub mac: String,
    /// The port it lives behind; none for a filter.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"h1")]
    pub port: Option<String>,
    /// Its VLAN, if the port looks at tags. Default: the one of frames without a tag.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 4094), example = 10)]
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
    /// A filter: frames from and to it are dropped.
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
    #[schemars(example = &"/boot/vmlinuz")]
    pub kernel: Option<String>,
    /// qemu: the initramfs.
    #[schemars(example = &"initrd.img")]
    pub initrd: Option<String>,
    /// qemu: further words of the kernel's command line.
    #[schemars(example = &"quiet")]
    pub append: Option<String>,
    /// qemu: memory. Default 256M.
    #[schemars(example = &"256M")]
    pub memory: Option<Size>,
    /// qemu: virtual processors. Default 1.
    #[schemars(example = 2)]
    pub cpus: Option<u16>,
    /// qemu: how the machine is run.
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

/// How a virtual machine is run.
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
#[schemars(example = port())]
pub struct Port {
    /// What drives the port.
    #[schemars(example = &"tap")]
    pub kind: PortKind,
    /// The domain it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"lan")]
    pub domain: Option<String>,
    /// af_xdp: the existing interface to take.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"ens3")]
    pub dev: Option<String>,
    /// af_xdp: take the interface even if it carries the default route.
    #[serde(default)]
    pub force: bool,
    /// The node its interface lives in.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"h1")]
    pub node: Option<String>,
    /// An existing namespace its interface lives in, instead of a node: its name, or a path such as /proc/PID/ns/net.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"blue")]
    pub netns: Option<String>,
    /// A process in whose namespace its interface lives, instead of a node.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = 1234)]
    pub pid: Option<u32>,
    /// tap, veth: name of the interface that is made. Default: the port's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"eth0")]
    pub ifname: Option<String>,
    /// The address the port owns and its interface gets.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"02:00:00:00:00:01")]
    pub mac: Option<String>,
    /// Addresses of the interface, with prefix length.
    #[serde(default, skip_serializing_if = "List::is_empty")]
    #[schemars(example = ["10.0.0.1/24"])]
    pub ip: List<String>,
    /// af_xdp: set the device's MTU to that of the domain while the port is ours. Elsewhere it is the domain's anyway.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = 1500)]
    pub mtu: Option<u32>,
    /// Queue pairs. Default 1; af_xdp always takes all the device has.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = 2)]
    pub queues: Option<u16>,
    /// Addresses that may be learned on the port. Default: no limit of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = 1000)]
    pub fdb_limit: Option<u32>,
    /// ring: the ring port at the other end of the cable.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"r2")]
    pub peer: Option<String>,
    /// vhost-user: the unix socket between the switch and the guest's front end.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"/run/pollux/vm1.sock")]
    pub socket: Option<String>,
    /// vhost-user: who listens on the socket. Default: server, the switch does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// vhost-user, role server: who may connect, in octal: `mode: "0666"`. Default: 0660, its owner and group.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"0666")]
    pub mode: Option<String>,
    /// vhost-user, role server: the user who owns the socket, by name or number. Default: whoever runs the switch.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"libvirt-qemu")]
    pub owner: Option<String>,
    /// vhost-user, role server: the group of the socket, by name or number. libvirt runs QEMU as libvirt-qemu.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"kvm")]
    pub group: Option<String>,
    /// Whether the port is on. Default true; false is as an unplugged cable.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// VLANs. Default: the port ignores tags.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = json!({ "access": 10 }))]
    pub vlan: Option<Vlan>,
    /// Which layer-2 control protocols may come in. Default: that of the domain.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"transparent")]
    pub control_protocols: Option<ControlProtocols>,
    /// learning: source addresses are learned here. Default true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub learning: Option<bool>,
    /// learning: which kinds of flooded frames leave here. Default: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = json!({ "unicast": false }))]
    pub flood: Option<Flood>,
    /// learning: frames may leave by the port they came in.
    #[serde(default, skip_serializing_if = "is_false")]
    pub hairpin: bool,
    /// learning: isolated ports do not reach each other.
    #[serde(default, skip_serializing_if = "is_false")]
    pub isolated: bool,
    /// learning: only stations that `static` ties to this port may send.
    #[serde(default, skip_serializing_if = "is_false")]
    pub locked: bool,
    /// learning: multicast routers behind the port, for snooping. Default auto.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub multicast_router: Option<Router>,
    /// macvlan: the port's mode. Default vepa, as the kernel's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub macvlan: Option<Macvlan>,
    /// macvlan, mode source: stations whose frames it receives.
    #[serde(default, skip_serializing_if = "List::is_empty")]
    #[schemars(example = ["02:00:00:00:00:01"])]
    pub sources: List<String>,
    /// macvlan, mode source: frames it receives go to no other port.
    #[serde(default, skip_serializing_if = "is_false")]
    pub nodst: bool,
    /// macvlan, mode passthru: the device of the uplink is not made promiscuous.
    #[serde(default, skip_serializing_if = "is_false")]
    pub nopromisc: bool,
    /// macvlan: unicast to unknown addresses is received too, for a bridge or VM with more addresses behind the port.
    #[serde(default, skip_serializing_if = "is_false")]
    pub promisc_rx: bool,
    /// macvlan: broadcast and multicast frames from the uplink that are copied per millisecond; the largest of all ports counts. Default 1000.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = 1000)]
    pub bc_queue: Option<u32>,
    /// macvlan: further addresses of the port.
    #[serde(default, skip_serializing_if = "List::is_empty")]
    #[schemars(example = ["02:00:00:00:00:01"])]
    pub macs: List<String>,
    /// Storm control: limits on flooded frames that come in here.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = json!({ "broadcast": 1000 }))]
    pub storm: Option<Storm>,
    /// Source addresses that may come in here.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = json!({ "macs": ["02:00:00:00:00:01"] }))]
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
