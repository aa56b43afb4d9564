//! Policies of ports and domains, as plain data: control writes it, [`check`](PolicyError) refuses contradictions,
//! and each worker compiles it into what its verdicts read ([`topology`](super::Topology)).
//!
//! Everything here is off by default: a port with [`PortPolicy::default`] in a learning domain learns, floods and looks
//! at no VLAN tag, and such a domain takes the short path through the switch.

mod check;
mod guard;
mod mirror;
mod protocols;
mod vlan;

pub use check::PolicyError;
pub use guard::{Action, LoopGuard, MoveGuard, Rate, Security, Storm};
pub use mirror::{MAX_MIRRORS, Mirror, MirrorSource};
pub use protocols::ControlProtocols;
pub use vlan::{TagProtocol, Vid, VidSet, VlanPolicy};

use crate::eth::MacAddr;
use std::time::Duration;

/// The policy of a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortPolicy {
    /// Administratively up. A port that is down takes nothing and sends nothing.
    pub enabled: bool,
    /// Most addresses learned behind it.
    pub fdb_limit: u32,
    /// What it is to its domain.
    pub role: Role,
    /// VLANs; `None`: tags are not looked at, and frames reach only ports of which the same holds.
    pub vlan: Option<VlanPolicy>,
    /// Which layer-2 control protocols may enter here.
    pub control: ControlProtocols,
    /// Limits on what is copied to everybody.
    pub storm: Storm,
    /// Source addresses that may enter here; `None`: all.
    pub security: Option<Security>,
    /// Where multicast routers are, for snooping.
    pub router: RouterPort,
}

impl Default for PortPolicy {
    fn default() -> Self {
        Self {
            enabled: true,
            fdb_limit: u32::MAX,
            role: Role::default(),
            vlan: None,
            control: ControlProtocols::default(),
            storm: Storm::default(),
            security: None,
            router: RouterPort::Auto,
        }
    }
}

impl PortPolicy {
    /// The default, but with a limit on learned addresses.
    #[must_use]
    pub fn limited(fdb_limit: u32) -> Self {
        Self { fdb_limit, ..Self::default() }
    }
}

/// What a port is to its domain. `Bridge` belongs in a learning domain, the others in one of mode macvlan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Role {
    /// A port of a bridge.
    Bridge(BridgePort),
    /// A device that owns addresses.
    Macvlan(MacvlanPort),
    /// The wire under all macvlan devices; one per domain.
    Uplink,
    /// The lower device's own stack; at most one per domain. Frames for unknown addresses end here.
    Host {
        /// Its addresses: what [`MacvlanDomain::host_reach`] needs to know.
        macs: Vec<MacAddr>,
    },
}

impl Default for Role {
    fn default() -> Self {
        Self::Bridge(BridgePort::default())
    }
}

/// Flags of a bridge port, named and meant as by `bridge link set` (net/bridge/br_private.h).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "the flags of a bridge port")]
pub struct BridgePort {
    /// Source addresses are learned here.
    pub learning: bool,
    /// Unicast frames to unknown addresses leave here.
    pub flood: bool,
    /// Multicast frames whose group has no known member leave here.
    pub mcast_flood: bool,
    /// Broadcast frames leave here.
    pub bcast_flood: bool,
    /// Frames may leave where they came in.
    pub hairpin: bool,
    /// No frame passes between two isolated ports.
    pub isolated: bool,
    /// Only addresses that are known on this port may send; none is learned or moves here.
    pub locked: bool,
}

impl Default for BridgePort {
    fn default() -> Self {
        Self {
            learning: true,
            flood: true,
            mcast_flood: true,
            bcast_flood: true,
            hairpin: false,
            isolated: false,
            locked: false,
        }
    }
}

/// A macvlan device (drivers/net/macvlan.c).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MacvlanPort {
    /// Which ports reach it.
    pub mode: MacvlanMode,
    /// The addresses it owns, the first its own; not looked at in mode passthru, which takes every address.
    pub macs: Vec<MacAddr>,
    /// A frame that matched a source list goes to no other device (MACVLAN_FLAG_NODST).
    pub nodst: bool,
    /// Multicast frames from the wire that are copied per millisecond, the largest of all devices of the domain; 0:
    /// none. The kernel queues so many (IFLA_MACVLAN_BC_QUEUE_LEN); here nothing waits, so it is a rate.
    pub bc_queue_len: u32,
    /// Extension: unicast frames for unknown addresses are delivered here too (a VM with addresses of its own).
    pub promisc_rx: bool,
}

impl MacvlanPort {
    /// The kernel's MACVLAN_DEFAULT_BC_QUEUE_LEN.
    pub const BC_QUEUE_LEN: u32 = 1000;

    /// A device of that mode that owns `macs`, flags as by default.
    #[must_use]
    pub fn new(mode: MacvlanMode, macs: Vec<MacAddr>) -> Self {
        Self { mode, macs, nodst: false, bc_queue_len: Self::BC_QUEUE_LEN, promisc_rx: false }
    }
}

/// Modes of a macvlan device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MacvlanMode {
    /// Its frames go to the wire; its own that come back do not reach its siblings.
    Private,
    /// Its frames go to the wire, for a switch there to send back.
    Vepa,
    /// Reaches other devices of this mode directly.
    Bridge,
    /// The only device: every frame from the wire is its own.
    Passthru,
    /// Receives what these addresses send, whatever the destination.
    Source(Vec<MacAddr>),
}

/// Whether a port leads to a multicast router.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RouterPort {
    /// While queries or PIM hellos come from it.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// The policy of a domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DomainPolicy {
    /// How frames find their port.
    pub mode: DomainMode,
    /// Most addresses learned in the domain, over all its VLANs.
    pub fdb_limit: u32,
}

impl DomainPolicy {
    /// A learning domain without extras. `ageing`: see [`Learning::ageing`].
    #[must_use]
    pub fn learning(ageing: Option<Duration>, fdb_limit: u32) -> Self {
        Self { mode: DomainMode::Learning(Learning { ageing, ..Learning::default() }), fdb_limit }
    }

    /// A macvlan domain without extensions.
    #[must_use]
    pub fn macvlan() -> Self {
        Self { mode: DomainMode::Macvlan(MacvlanDomain::default()), fdb_limit: u32::MAX }
    }
}

/// How frames find their port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DomainMode {
    /// By what was learned; what is unknown is flooded.
    Learning(Learning),
    /// By the addresses that ports own; nothing is learned, nothing unknown is flooded.
    Macvlan(MacvlanDomain),
}

/// A learning domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Learning {
    /// After how long an unused address is forgotten; `None`: addresses are not learned.
    pub ageing: Option<Duration>,
    /// IGMP and MLD snooping; `None`: multicast is flooded.
    pub snooping: Option<Snooping>,
    /// Damping of addresses that move to and fro.
    pub moves: Option<MoveGuard>,
    /// Detection of loops.
    pub loops: Option<LoopGuard>,
}

/// Extensions of a macvlan domain, all off by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MacvlanDomain {
    /// Unicast frames of siblings that a switch on the wire sends back do not reach private devices either.
    pub strict_private: bool,
    /// The host and the devices reach each other without the wire.
    pub host_reach: bool,
}

/// Times of IGMP and MLD snooping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Snooping {
    /// How long a report keeps a port in a group (RFC 3376 §8.4: 260 s).
    pub membership: Duration,
    /// How long a query proves that there is a querier, and a router behind that port (RFC 3376 §8.5: 255 s).
    pub querier: Duration,
}

impl Default for Snooping {
    fn default() -> Self {
        Self { membership: Duration::from_secs(260), querier: Duration::from_secs(255) }
    }
}
