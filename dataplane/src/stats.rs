//! Counters and the table of drop reasons.
//!
//! Each worker counts on its own cache lines with plain loads and stores; the reader sums over workers. So that
//! frames are conserved, every frame that enters is counted once as received, and leaves as exactly one of
//! transmitted or dropped by reason; copies made by flooding count as entering:
//!
//! `Σ rx_frames + Σ flood_copies = Σ tx_frames + Σ drops` over all ports, whenever nothing is in flight.

use std::sync::atomic::{AtomicU64, Ordering};

/// Why a frame was dropped; each reason is declared once, here, with its name and its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum DropReason {
    /// See [`DropReason::text`]; so for all.
    Runt,
    /// Longer than the domain's MTU allows.
    Oversize,
    /// Source is a group address or zero.
    BadSource,
    /// Offload header contradicts the frame.
    BadOffload,
    /// The kernel cut the frame short.
    Truncated,
    /// PAUSE never crosses a bridge.
    Pause,
    /// The destination was learned on the port the frame came from.
    SamePort,
    /// Nobody else in the domain.
    NoDestination,
    /// Pool exhausted.
    NoMbuf,
    /// Egress queue full.
    TxFull,
    /// Ring to the worker that owns the egress port full.
    RingFull,
    /// The kernel refused the frame.
    TxError,
    /// The egress port was removed meanwhile.
    PortGone,
    /// The egress port has no carrier or is closed.
    LinkDown,
    /// A descriptor from outside that is not to be believed.
    BadDescriptor,
    /// Of a VLAN that the ingress port is not in.
    VlanDenied,
    /// Untagged where there is no native VLAN.
    VlanUntagged,
    /// Of a VLAN that the egress port is not in.
    VlanEgress,
    /// A VLAN tag without the rest.
    BadTag,
    /// A VLAN tag does not fit in front.
    NoHeadroom,
    /// Between two isolated ports.
    Isolated,
    /// A stranger on a locked port.
    Locked,
    /// To or from a filtered address.
    Filtered,
    /// A reserved group address that does not pass.
    ControlProtocol,
    /// The port is down.
    PortDown,
    /// The port is blocked because of a loop.
    Blocked,
    /// A probe of our own, home again.
    LoopProbe,
    /// Sent by who listens to a mirror.
    MirrorPort,
    /// Beyond the rate of broadcast.
    StormBroadcast,
    /// Beyond the rate of multicast.
    StormMulticast,
    /// Beyond the rate of unknown unicast.
    StormUnknown,
    /// An address that moves too often.
    MacMove,
    /// A source that port security does not list.
    Insecure,
    /// A group nobody is in.
    NoMember,
    /// A membership message that contradicts itself.
    BadMembership,
    /// An address nobody owns.
    NoOwner,
    /// Reflected, for a private port.
    PrivateReflected,
    /// A source list's own (NODST).
    SourceOnly,
    /// Beyond the broadcast limit of macvlan.
    BroadcastQueue,
}

impl DropReason {
    /// All reasons, in the order of their counters.
    pub const ALL: [Self; Self::COUNT] = [
        Self::Runt,
        Self::Oversize,
        Self::BadSource,
        Self::BadOffload,
        Self::Truncated,
        Self::Pause,
        Self::SamePort,
        Self::NoDestination,
        Self::NoMbuf,
        Self::TxFull,
        Self::RingFull,
        Self::TxError,
        Self::PortGone,
        Self::LinkDown,
        Self::BadDescriptor,
        Self::VlanDenied,
        Self::VlanUntagged,
        Self::VlanEgress,
        Self::BadTag,
        Self::NoHeadroom,
        Self::Isolated,
        Self::Locked,
        Self::Filtered,
        Self::ControlProtocol,
        Self::PortDown,
        Self::Blocked,
        Self::LoopProbe,
        Self::MirrorPort,
        Self::StormBroadcast,
        Self::StormMulticast,
        Self::StormUnknown,
        Self::MacMove,
        Self::Insecure,
        Self::NoMember,
        Self::BadMembership,
        Self::NoOwner,
        Self::PrivateReflected,
        Self::SourceOnly,
        Self::BroadcastQueue,
    ];

    /// Number of reasons.
    pub const COUNT: usize = 39;

    /// The name in `stats -j`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.entry().0
    }

    /// What it means, for people.
    #[must_use]
    pub const fn text(self) -> &'static str {
        self.entry().1
    }

    const fn entry(self) -> (&'static str, &'static str) {
        match self {
            Self::Runt => ("runt", "shorter than an Ethernet header"),
            Self::Oversize => ("oversize", "longer than the MTU allows"),
            Self::BadSource => ("bad_source", "source address is multicast or zero"),
            Self::BadOffload => ("bad_offload", "offload header contradicts the frame"),
            Self::Truncated => ("truncated", "cut short on the way in"),
            Self::Pause => ("pause", "802.3 PAUSE is never forwarded"),
            Self::SamePort => ("same_port", "destination is behind the port it came from"),
            Self::NoDestination => ("no_destination", "no other port in the domain"),
            Self::NoMbuf => ("no_mbuf", "pool exhausted"),
            Self::TxFull => ("tx_full", "transmit queue full"),
            Self::RingFull => ("ring_full", "ring to the owning worker full"),
            Self::TxError => ("tx_error", "refused by the kernel"),
            Self::PortGone => ("port_gone", "port removed while the frame was on its way"),
            Self::LinkDown => ("link_down", "port without carrier"),
            Self::BadDescriptor => ("bad_descriptor", "descriptor that names no frame of ours"),
            Self::VlanDenied => ("vlan_denied", "the port is not in the frame's VLAN"),
            Self::VlanUntagged => ("vlan_untagged", "untagged, and the port has no native VLAN"),
            Self::VlanEgress => ("vlan_egress", "the destination's port is not in the VLAN"),
            Self::BadTag => ("bad_tag", "VLAN tag cut short"),
            Self::NoHeadroom => ("no_headroom", "no room in front of the frame for a VLAN tag"),
            Self::Isolated => ("isolated", "both ports are isolated"),
            Self::Locked => ("locked", "source address unknown on a locked port"),
            Self::Filtered => ("filtered", "an address of the frame is filtered"),
            Self::ControlProtocol => ("control_protocol", "layer-2 control protocol that the port does not pass"),
            Self::PortDown => ("port_down", "port administratively down"),
            Self::Blocked => ("blocked", "port blocked because of a loop"),
            Self::LoopProbe => ("loop_probe", "loop probe that came home"),
            Self::MirrorPort => ("mirror_port", "ports that mirrors end at take no frames"),
            Self::StormBroadcast => ("storm_broadcast", "storm control: broadcast"),
            Self::StormMulticast => ("storm_multicast", "storm control: multicast"),
            Self::StormUnknown => ("storm_unknown_unicast", "storm control: unknown unicast"),
            Self::MacMove => ("mac_move", "address held on another port because it moved too often"),
            Self::Insecure => ("insecure", "port security: source address not allowed"),
            Self::NoMember => ("no_member", "no port has asked for the multicast group"),
            Self::BadMembership => ("bad_membership", "malformed IGMP or MLD message"),
            Self::NoOwner => ("no_owner", "no macvlan port owns the address"),
            Self::PrivateReflected => {
                ("private_reflected", "a sibling's frame, sent back by the wire, for a private port")
            }
            Self::SourceOnly => ("source_only", "taken by source list, and by nobody else"),
            Self::BroadcastQueue => ("broadcast_queue", "more broadcast from the wire than the limit"),
        }
    }
}

/// A count with one writer: a load and a store, no locked instruction.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`. Only the worker that owns the counter calls this.
    #[inline]
    pub fn add(&self, n: u64) {
        // Relaxed both: one writer, and readers want a recent value, not an order.
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
    }

    /// The value as of some recent moment.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What one worker counts for one port.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct PortCounters {
    /// Frames received; a GSO frame counts once.
    pub rx_frames: Counter,
    /// Bytes received, without FCS.
    pub rx_bytes: Counter,
    /// Frames the port took.
    pub tx_frames: Counter,
    /// Bytes the port took.
    pub tx_bytes: Counter,
    /// Copies made for this port by flooding and mirroring, and probes made for it.
    pub flood_copies: Counter,
    /// Frames that a guard would have dropped here, had it not been told to observe only.
    pub observed: Counter,
    /// Segments made in software of GSO frames on the way out.
    pub tx_segments: Counter,
    /// Checksums completed in software on the way out.
    pub tx_checksums: Counter,
    drops: DropCounters,
}

/// A counter per reason.
#[derive(Debug)]
struct DropCounters([Counter; DropReason::COUNT]);

impl Default for DropCounters {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Counter::default()))
    }
}

impl PortCounters {
    /// Counts `n` frames dropped at this port.
    #[inline]
    pub fn drop_n(&self, reason: DropReason, n: usize) {
        self.drops.0[reason as usize].add(n as u64);
    }

    /// Counts a burst received.
    #[inline]
    pub fn received(&self, frames: usize, bytes: usize) {
        self.rx_frames.add(frames as u64);
        self.rx_bytes.add(bytes as u64);
    }

    /// Counts a burst sent.
    #[inline]
    pub fn sent(&self, frames: usize, bytes: usize) {
        self.tx_frames.add(frames as u64);
        self.tx_bytes.add(bytes as u64);
    }
}

/// What one worker counts for itself.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct WorkerCounters {
    /// Turns of the poll loop.
    pub turns: Counter,
    /// Turns that moved at least one frame.
    pub busy_turns: Counter,
    /// Frames received from ports.
    pub frames: Counter,
    /// Bursts they came in.
    pub bursts: Counter,
    /// Time-stamp cycles spent in busy turns.
    pub busy_cycles: Counter,
    /// Time-stamp cycles since the start, asleep or not.
    pub total_cycles: Counter,
    /// Times the worker slept.
    pub sleeps: Counter,
    /// Times something woke it, and not the clock.
    pub wakeups: Counter,
}

/// A port's counters, summed over workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "as in PortCounters")]
pub struct PortStats {
    pub rx_frames: u64,
    pub rx_bytes: u64,
    pub tx_frames: u64,
    pub tx_bytes: u64,
    pub flood_copies: u64,
    pub observed: u64,
    pub tx_segments: u64,
    pub tx_checksums: u64,
    /// By [`DropReason`], in the order of [`DropReason::ALL`].
    pub drops: [u64; DropReason::COUNT],
}

impl Default for PortStats {
    fn default() -> Self {
        Self {
            rx_frames: 0,
            rx_bytes: 0,
            tx_frames: 0,
            tx_bytes: 0,
            flood_copies: 0,
            observed: 0,
            tx_segments: 0,
            tx_checksums: 0,
            drops: [0; DropReason::COUNT],
        }
    }
}

impl PortStats {
    /// Adds what one worker counted.
    pub fn add(&mut self, counters: &PortCounters) {
        self.rx_frames += counters.rx_frames.get();
        self.rx_bytes += counters.rx_bytes.get();
        self.tx_frames += counters.tx_frames.get();
        self.tx_bytes += counters.tx_bytes.get();
        self.flood_copies += counters.flood_copies.get();
        self.observed += counters.observed.get();
        self.tx_segments += counters.tx_segments.get();
        self.tx_checksums += counters.tx_checksums.get();
        for (sum, drop) in self.drops.iter_mut().zip(&counters.drops.0) {
            *sum += drop.get();
        }
    }

    /// Frames that entered here minus frames that ended here; over all ports the sum is 0 when nothing is in flight.
    #[must_use]
    pub fn balance(&self) -> i128 {
        let entered = i128::from(self.rx_frames) + i128::from(self.flood_copies);
        let ended = i128::from(self.tx_frames) + self.drops.iter().map(|d| i128::from(*d)).sum::<i128>();
        entered - ended
    }

    /// The reasons that have occurred, with their counts.
    pub fn dropped(&self) -> impl Iterator<Item = (DropReason, u64)> + '_ {
        DropReason::ALL.into_iter().zip(self.drops).filter(|(_, n)| *n > 0)
    }
}

/// A worker's counters as of some recent moment.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct WorkerStats {
    /// The core it is pinned to.
    pub core: usize,
    /// Share of time spent on turns that moved frames, 0..=1.
    pub busy: f64,
    /// Frames received from ports.
    pub frames: u64,
    /// Mean frames per non-empty burst.
    pub frames_per_burst: f64,
    /// Mean nanoseconds of busy time per frame.
    pub ns_per_frame: f64,
    /// Turns of the poll loop.
    pub turns: u64,
    /// Times it slept.
    pub sleeps: u64,
    /// Times something woke it, and not the clock.
    pub wakeups: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_lists_each_reason_once_and_in_order() {
        for (i, reason) in DropReason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, i);
            assert!(!reason.text().is_empty());
        }
        let mut names: Vec<_> = DropReason::ALL.iter().map(|r| r.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), DropReason::COUNT);
    }

    #[test]
    fn a_port_balances_when_every_frame_ended_once() {
        let counters = PortCounters::default();
        counters.received(5, 500);
        counters.sent(3, 300);
        counters.drop_n(DropReason::Runt, 2);
        let mut stats = PortStats::default();
        stats.add(&counters);
        assert_eq!(stats.balance(), 0);
        assert_eq!(stats.dropped().collect::<Vec<_>>(), [(DropReason::Runt, 2)]);
    }
}
