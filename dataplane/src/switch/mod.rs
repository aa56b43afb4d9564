//! Switching: from a received burst to per-port batches, by MAC address. Pure of I/O: names no driver and no ring.
//!
//! [`Switch::forward`] makes two short passes over a burst: decide (parse, learn, look up → verdict), then act (push to
//! an egress lane, flood, or free and count). Each worker has its own `Switch`; the [`Fdb`] is shared and lock-free;
//! ports and domains reach every worker by message.
//!
//! There are three ways through, by domain: `plain` for learning domains without policies; `bridged` for
//! those with VLANs, port flags, guards, mirrors or snooping; `macvlan`. Their verdicts are pure functions ([`verdict`],
//! [`bridge`], [`macvlan`]) over what [`policy`] says; `deliver` and `tag` act.
//!
//! Nothing leaks between domains and VLANs: the FDB key contains the filtering id of domain and VLAN, flooding walks
//! the members of the ingress domain that are in the VLAN, and a look-up that names a port outside the domain (an entry
//! about to be flushed) is treated as a miss.

pub mod bridge;
mod bridged;
mod deliver;
mod egress;
pub mod fdb;
mod gate;
mod guard;
mod macs;
pub mod macvlan;
mod member;
mod notice;
mod owned;
mod plain;
pub mod policy;
pub mod probe;
pub mod snoop;
mod tag;
mod topology;
pub mod verdict;
pub mod vlan;

pub use egress::{Egress, MAX_COPIED, Spill};
pub use member::Member;
pub use notice::{Notice, Traffic};
pub use topology::{Domain, Forwarding, Topology};

use crate::eth::{HEADER_LEN, TAG_LEN};
use crate::mem::{BURST_SIZE, Burst, Mbuf, Mempool, MempoolCache};
use crate::port::{DomainId, MAX_PORTS, PortId};
use crate::stats::{DropReason, PortCounters};
use arrayvec::ArrayVec;
use bridged::Bridged;
use deliver::{Delivery, Lanes};
use fdb::Fdb;
use gate::{Gate, MAX_HEARD, WorkerState};
use guard::Guards;
use notice::Notices;
use owned::Owned;
use plain::Plain;
use probe::Returned;
use snoop::Heard;
use std::sync::Arc;

/// Frames ahead whose header is fetched while one is decided.
const PREFETCH: usize = 4;

/// Bytes a frame may be longer than the MTU: the Ethernet header and two tags.
pub const MAX_OVERHEAD: usize = HEADER_LEN + 2 * TAG_LEN;

/// One worker's view of the switch.
#[derive(Debug)]
pub struct Switch {
    // hot
    topology: Topology,
    fdb: Arc<Fdb>,
    /// Batches per egress port, emptied by the worker after each burst.
    pub egress: Egress,
    /// Seconds, for ageing; set by the worker once per turn.
    pub now: u32,
    /// Cycles of the time-stamp counter, for rates; likewise.
    pub cycles: u64,
    /// What marks loop probes as this process's.
    pub probe_id: u64,
    notices: Notices,
    guards: Guards,
    heard: ArrayVec<Heard, MAX_HEARD>,
    returned: Option<Returned>,
    /// The ports of one frame; kept for its memory.
    targets: Vec<PortId>,
}

impl Switch {
    /// A switch without ports over a shared FDB.
    #[must_use]
    pub fn new(fdb: Arc<Fdb>) -> Self {
        Self {
            topology: Topology::default(),
            fdb,
            egress: Egress::new(),
            now: 0,
            cycles: 0,
            probe_id: 0,
            notices: Notices::default(),
            guards: Guards::new(),
            heard: ArrayVec::new(),
            returned: None,
            targets: Vec::with_capacity(MAX_PORTS),
        }
    }

    /// The table of addresses.
    #[must_use]
    pub fn fdb(&self) -> &Fdb {
        &self.fdb
    }

    /// Ports and domains, as control last said.
    pub fn topology_mut(&mut self) -> &mut Topology {
        &mut self.topology
    }

    /// Ports and domains.
    #[must_use]
    pub fn topology(&self) -> &Topology {
        &self.topology
    }

    /// Whether there is something to pass on to control.
    #[inline]
    #[must_use]
    pub fn has_notices(&self) -> bool {
        !self.notices.is_empty() || !self.heard.is_empty() || self.returned.is_some()
    }

    /// What was noticed since the last call.
    pub fn take_notices(&mut self) -> impl Iterator<Item = Notice> + '_ {
        self.notices.take()
    }

    /// Membership messages heard since the last call.
    pub fn take_heard(&mut self) -> impl Iterator<Item = Heard> + '_ {
        self.heard.drain(..)
    }

    /// The loop probe that came home since the last call.
    pub fn take_returned(&mut self) -> Option<Returned> {
        self.returned.take()
    }

    /// Adds a port to its domain, or changes it; gives back what it was. What storm control remembers of it is brought in
    /// line with its rates.
    pub fn put_port(&mut self, port: PortId, member: Member) -> Option<Member> {
        self.guards.repace(port.index(), &member.paces, self.cycles);
        self.topology.put_port(port, member)
    }

    /// Removes a port, and what guards remember of it.
    pub fn drop_port(&mut self, port: PortId) -> Option<Member> {
        self.guards.forget(port.index());
        self.topology.drop_port(port)
    }

    /// Forgets which addresses of a domain moved, and holds none of them any longer.
    pub fn forget_moves(&mut self, id: DomainId) {
        let Self { topology, fdb, guards, .. } = self;
        if let Some(domain) = topology.domain(id) {
            guards.forget_moves(|key| domain.fids.contains(fdb.key(key).0));
        }
    }

    /// Puts a frame that is decided on into the lane of its port.
    pub fn push(&mut self, port: PortId, mbuf: Mbuf, mem: &mut MempoolCache, ports: &[PortCounters]) {
        Lanes { egress: &mut self.egress, mem, ports, spill: &mut |_, _| {} }.push(port, mbuf);
    }

    /// Switches a burst that came in on `ingress`; empties it. `ports` are this worker's counters, by port index; `spill`
    /// empties the lanes when flooding fills them.
    #[inline]
    pub fn forward(
        &mut self,
        ingress: PortId,
        burst: &mut Burst,
        mem: &mut MempoolCache,
        ports: &[PortCounters],
        spill: Spill<'_>,
    ) {
        let Self { topology, fdb, egress, now, notices, .. } = self;
        let mut out = Lanes { egress, mem, ports, spill };
        match topology.ingress(ingress) {
            Some((member, domain)) if domain.is_plain() && member.is_open() => {
                let home = member.domain;
                Plain { ingress, home, domain, topology, fdb, now: *now }.forward(burst, &mut out, notices);
            }
            Some(_) => self.forward_policed(ingress, burst, mem, ports, spill),
            None => burst.drain(..).for_each(|mbuf| out.drop_at(ingress, DropReason::PortGone, mbuf)),
        }
    }

    /// The same for ports and domains with policies.
    #[inline(never)]
    fn forward_policed(
        &mut self,
        ingress: PortId,
        burst: &mut Burst,
        mem: &mut MempoolCache,
        ports: &[PortCounters],
        spill: Spill<'_>,
    ) {
        let Self { topology, fdb, egress, now, cycles, notices, guards, targets, heard, returned, probe_id } = self;
        let Some((member, domain)) = topology.ingress(ingress) else { return };
        let mut out = Delivery::new(Lanes { egress, mem, ports, spill }, topology, targets, domain.max_len);
        let gate = Gate { ingress, member, counters: &ports[ingress.index()], now: *now, cycles: *cycles };
        let mut state = WorkerState { guards, notices, heard, returned };
        match &domain.forwarding {
            Forwarding::Learning(learning) => {
                Bridged { gate, domain, learning, fdb, probe_id: *probe_id }.forward(burst, &mut out, &mut state);
            }
            Forwarding::Macvlan(table) => Owned { gate, domain, table }.forward(burst, &mut out, &mut state),
        }
    }
}

/// What pass 1 knows of each frame of a burst.
type Facts<T> = ArrayVec<T, BURST_SIZE>;

/// Pass 1: reads the header of each frame while those after it are on their way to the cache. `facts` is the caller's,
/// and empty: to return it would copy all of it.
#[inline]
fn headers<T>(burst: &Burst, pool: &Mempool, facts: &mut Facts<T>, mut read: impl FnMut(&Mempool, &Mbuf) -> T) {
    for mbuf in burst.iter().take(PREFETCH) {
        pool.prefetch(mbuf);
    }
    for (i, mbuf) in burst.iter().enumerate() {
        if let Some(ahead) = burst.get(i + PREFETCH) {
            pool.prefetch(ahead);
        }
        facts.push(read(pool, mbuf));
    }
}
