//! Parameters and answers of the engine.

use super::{MAX_DOMAINS, MAX_PORTS};
use crate::eth::MacAddr;
use crate::idle::Poll;
use crate::mem::Mempool;
use crate::pmd::Pmd;
use crate::port::{DomainId, PortId};
use crate::stats::{PortStats, WorkerStats};
use crate::switch::fdb::{FdbError, Fid, Kind};
use crate::switch::policy::{DomainPolicy, PolicyError, PortPolicy, Vid};
use std::io;
use std::sync::Arc;

/// What to start.
#[derive(Debug, Clone)]
pub struct EngineConfig {
    /// A worker for each of these cores, pinned, and how it waits.
    pub workers: Vec<(usize, Poll)>,
    /// Addresses the FDB is sized for.
    pub fdb_entries: u32,
    /// All frames.
    pub pool: Arc<Mempool>,
}

/// A broadcast segment to add.
#[derive(Debug, Clone)]
pub struct DomainSpec {
    /// Layer-3 MTU.
    pub mtu: u32,
    /// How frames find their port.
    pub policy: DomainPolicy,
}

/// A port to add.
#[derive(Debug)]
pub struct PortSpec {
    /// The segment it is on.
    pub domain: DomainId,
    /// Its policy.
    pub policy: PortPolicy,
    /// Its queues, spread over the workers.
    pub queues: Vec<Pmd>,
}

/// An FDB entry for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FdbRecord {
    /// The segment.
    pub domain: DomainId,
    /// VLAN; 0 where tags are not looked at.
    pub vlan: Vid,
    /// The address.
    pub mac: MacAddr,
    /// The port it is behind; `None` for a filter.
    pub port: Option<PortId>,
    /// How it came to be. The addresses that macvlan ports own are sticky.
    pub kind: Kind,
    /// Seconds since it was last seen.
    pub age_s: u32,
}

/// A fixed entry for the FDB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FdbEntry {
    /// Never ages; moves when its station is seen elsewhere, as the kernel's `static`.
    Static(PortId),
    /// Never ages, never moves.
    Sticky(PortId),
    /// Frames to and from the address are dropped.
    Filter,
}

/// Which entries to flush: those that match everything that is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Flush {
    /// Of this domain.
    pub domain: Option<DomainId>,
    /// Of this VLAN (0: where tags are not looked at).
    pub vlan: Option<Vid>,
    /// Behind this port.
    pub port: Option<PortId>,
    /// Of this address.
    pub mac: Option<MacAddr>,
    /// Of this kind; `None`: learned ones.
    pub kind: Option<Kind>,
}

/// All counters as of some recent moment.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// By port.
    pub ports: Vec<(PortId, PortStats)>,
    /// By worker.
    pub workers: Vec<WorkerStats>,
    /// Sums of ports that were removed.
    pub removed: PortStats,
}

/// Frames of the pool after every port is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StopReport {
    /// Frames of the pool.
    pub total: u32,
    /// Of them free: the same, or frames were lost.
    pub free: u32,
}

/// Why the engine refused.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// No core to run on.
    #[error("no worker cores given; list at least one in `workers`")]
    NoCores,
    /// The kernel refused to pin.
    #[error("core {0} cannot be used: outside the cpuset; `taskset -p $$` shows the allowed ones")]
    Pin(usize),
    /// Threads, eventfds, epoll.
    #[error("starting a worker: {0}")]
    Io(#[from] io::Error),
    /// A worker does not answer just now.
    #[error(
        "the worker on core {core} does not answer; what waits for it is done when it does (`pollux stats` shows it)"
    )]
    Late {
        /// Its core.
        core: usize,
    },
    /// All port ids are taken.
    #[error("the switch has {MAX_PORTS} ports, and that is the most it can have")]
    TooManyPorts,
    /// All domain ids are taken.
    #[error("the switch has {MAX_DOMAINS} domains, and that is the most it can have")]
    TooManyDomains,
    /// No such port.
    #[error("no port with id {}", .0.0)]
    NoPort(PortId),
    /// No such domain.
    #[error("no domain with id {}", .0.0)]
    NoDomain(DomainId),
    /// A domain that still has ports.
    #[error("domain {} still has ports; remove them first", .0.0)]
    DomainBusy(DomainId),
    /// All filtering ids are taken.
    #[error("domain {}, VLAN {vlan}: all {} pairs of domain and VLAN are in use; put ports in fewer VLANs", .domain.0, Fid::COUNT)]
    TooManyVlans {
        /// The domain.
        domain: DomainId,
        /// The VLAN that found none.
        vlan: Vid,
    },
    /// No port of the domain is in the VLAN.
    #[error("no port of the domain is in VLAN {0}; 0 is for ports that look at no tags")]
    NoVlan(Vid),
    /// A policy that contradicts itself or its neighbours'.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// The FDB refused.
    #[error(transparent)]
    Fdb(#[from] FdbError),
}
