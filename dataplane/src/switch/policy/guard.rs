//! Guards: limits on what a port may do to the others. Each can observe only: it reports and counts, and drops nothing.

use crate::eth::MacAddr;
use std::time::Duration;

/// What a guard does beyond its limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Action {
    /// Drop, and report.
    #[default]
    Drop,
    /// Report and count ([`observed`](crate::stats::PortStats::observed)).
    Observe,
}

/// So many frames per second, and so many at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Frames per second in the long run; 0: none. Of a port whose queues are on several workers, each worker gets its
    /// share.
    pub per_second: u32,
    /// Frames at once; at least 1 is taken.
    pub burst: u32,
}

/// Storm control: what a port may have copied to everybody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Storm {
    /// Broadcast frames.
    pub broadcast: Option<Rate>,
    /// Multicast frames.
    pub multicast: Option<Rate>,
    /// Unicast frames to unknown addresses.
    pub unknown_unicast: Option<Rate>,
    /// What to do beyond.
    pub act: Action,
}

/// Port security: the addresses that may send here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Security {
    /// The source addresses allowed. In a learning domain none of them is learned on another port.
    pub macs: Vec<MacAddr>,
    /// What to do with others.
    pub act: Action,
}

/// An address that moves more than `moves` times within `window` stays where it is for `hold`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MoveGuard {
    /// Moves allowed.
    pub moves: u32,
    /// Within this time, whole seconds.
    pub window: Duration,
    /// For so long it then moves no more, and what it sends from elsewhere is dropped; whole seconds.
    pub hold: Duration,
    /// What to do beyond.
    pub act: Action,
}

/// Loop detection without STP: each port sends a probe now and then, and one on which a probe of ours comes home is
/// blocked for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoopGuard {
    /// Time between probes, whole seconds.
    pub interval: Duration,
    /// For so long the port then takes and sends nothing, whole seconds.
    pub block: Duration,
    /// What to do.
    pub act: Action,
}
