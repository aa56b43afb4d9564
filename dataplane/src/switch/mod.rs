//! Switching: from a received burst to per-port batches, by MAC address. Pure of I/O: names no driver and no ring.
//!
//! [`Switch::forward`] makes two short passes over a burst: decide (parse, learn, look up → [`Verdict`]), then act
//! (push to an egress lane, flood, or free and count). Each worker has its own `Switch`; the [`Fdb`] is shared and
//! lock-free; ports and domains reach every worker by message.
//!
//! Nothing leaks between domains: the FDB key contains the domain's filtering id, flooding walks the members of the
//! ingress domain, and a look-up that names a port outside the domain (an entry about to be flushed) is treated as a
//! miss.

mod egress;
pub mod fdb;
pub mod macvlan;
mod member;
mod notice;
pub mod policy;
mod topology;
mod verdict;
pub mod vlan;

pub use egress::Egress;
pub use member::Member;
pub use notice::{Notice, Traffic};
pub use topology::{Domain, Forwarding, Topology};
pub use verdict::Verdict;

use crate::eth::{EthHdr, HEADER_LEN, MacAddr, TAG_LEN};
use crate::mem::{BURST_SIZE, Burst, Mbuf, Mempool, MempoolCache};
use crate::port::PortId;
use crate::stats::{DropReason, PortCounters};
use arrayvec::ArrayVec;
use fdb::{Fdb, Fid, Learn, Scattered};
use notice::Notices;
use std::sync::Arc;

/// Frames ahead whose header is fetched while one is decided.
const PREFETCH: usize = 4;

/// Bytes a frame may be longer than the MTU: the Ethernet header and two tags.
pub const MAX_OVERHEAD: usize = HEADER_LEN + 2 * TAG_LEN;

/// What a frame alone says.
enum Parsed {
    Drop(DropReason),
    Group { src: Scattered },
    Unicast { src: Scattered, dst: Scattered },
}

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
    notices: Notices,
}

impl Switch {
    /// A switch without ports over a shared FDB.
    #[must_use]
    pub fn new(fdb: Arc<Fdb>) -> Self {
        Self { topology: Topology::default(), fdb, egress: Egress::new(), now: 0, notices: Notices::default() }
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

    /// Whether there is something to tell.
    #[inline]
    #[must_use]
    pub fn has_notices(&self) -> bool {
        !self.notices.is_empty()
    }

    /// What was noticed since the last call.
    pub fn take_notices(&mut self) -> impl Iterator<Item = Notice> + '_ {
        self.notices.take()
    }

    /// Switches a burst that came in on `ingress`; empties it. `ports` are this worker's counters, by port index.
    pub fn forward(&mut self, ingress: PortId, burst: &mut Burst, mem: &mut MempoolCache, ports: &[PortCounters]) {
        let mut verdicts = ArrayVec::<Verdict, BURST_SIZE>::new();
        self.decide(ingress, burst, mem.pool(), &mut verdicts);
        for (mbuf, verdict) in burst.drain(..).zip(verdicts) {
            match verdict {
                Verdict::Unicast(port) => self.egress.push(port, mbuf),
                Verdict::Flood => self.flood(ingress, mbuf, mem, ports),
                Verdict::Drop(reason) => {
                    ports[ingress.index()].drop_n(reason, 1);
                    mem.free(mbuf);
                }
            }
        }
    }

    /// Pass 1: a verdict for each frame. Headers are parsed first, so that the FDB lines of the whole burst are on
    /// their way to the cache before the first is looked at.
    fn decide(&mut self, ingress: PortId, burst: &Burst, pool: &Mempool, out: &mut ArrayVec<Verdict, BURST_SIZE>) {
        let Some((_, domain)) = self.topology.ingress(ingress) else {
            out.extend(burst.iter().map(|_| Verdict::Drop(DropReason::PortGone)));
            return;
        };
        let mut parsed = ArrayVec::<Parsed, BURST_SIZE>::new();
        for mbuf in burst.iter().take(PREFETCH) {
            pool.prefetch(mbuf);
        }
        for (i, mbuf) in burst.iter().enumerate() {
            if let Some(ahead) = burst.get(i + PREFETCH) {
                pool.prefetch(ahead);
            }
            parsed.push(self.parse(domain, pool, mbuf));
        }
        let (learns, view) = (domain.learns(), View { topology: &self.topology, fdb: &self.fdb, now: self.now });
        out.extend(parsed.iter().map(|frame| view.verdict(ingress, learns, frame, &mut self.notices)));
    }

    /// What the frame alone says, and a prefetch of what the FDB may say.
    #[inline]
    fn parse(&self, domain: &Domain, pool: &Mempool, mbuf: &Mbuf) -> Parsed {
        let Some(hdr) = EthHdr::new_checked(pool.data(mbuf)) else {
            return Parsed::Drop(DropReason::Runt);
        };
        if mbuf.len() > domain.max_len && !pool.is_gso(mbuf) {
            return Parsed::Drop(DropReason::Oversize);
        }
        let (dst, src) = (hdr.dst(), hdr.src());
        // PAUSE is not even learned from (br_handle_frame).
        if dst == MacAddr::PAUSE {
            return Parsed::Drop(DropReason::Pause);
        }
        if src.is_multicast() || src.is_zero() {
            return Parsed::Drop(DropReason::BadSource);
        }
        let src = self.scatter(domain.fids.base(), src);
        if dst.is_multicast() {
            Parsed::Group { src }
        } else {
            Parsed::Unicast { src, dst: self.scatter(domain.fids.base(), dst) }
        }
    }

    #[inline]
    fn scatter(&self, fid: Fid, mac: MacAddr) -> Scattered {
        let key = self.fdb.scatter(fid, mac);
        self.fdb.prefetch_at(key);
        key
    }

    /// Pass 2 of a flooded frame: a copy for each other member of the domain, the original for the last.
    fn flood(&mut self, ingress: PortId, mbuf: Mbuf, mem: &mut MempoolCache, ports: &[PortCounters]) {
        let mut targets = self.topology.others(ingress);
        let Some(mut target) = targets.next() else {
            ports[ingress.index()].drop_n(DropReason::NoDestination, 1);
            return mem.free(mbuf);
        };
        for next in targets {
            let counters = &ports[target.index()];
            counters.flood_copies.add(1);
            match mem.copy(&mbuf) {
                Some(copy) => self.egress.push(target, copy),
                None => counters.drop_n(DropReason::NoMbuf, 1),
            }
            target = next;
        }
        self.egress.push(target, mbuf);
    }
}

/// What a plain verdict reads.
struct View<'a> {
    topology: &'a Topology,
    fdb: &'a Fdb,
    now: u32,
}

impl View<'_> {
    /// Learns, looks up, decides. Learning comes before the look-up (net/bridge/br_input.c).
    #[inline]
    fn verdict(&self, ingress: PortId, learns: bool, frame: &Parsed, notices: &mut Notices) -> Verdict {
        match *frame {
            Parsed::Drop(reason) => Verdict::Drop(reason),
            Parsed::Group { src } => {
                self.learn(learns, ingress, src, notices);
                Verdict::Flood
            }
            Parsed::Unicast { src, dst } => {
                self.learn(learns, ingress, src, notices);
                let hit = self.fdb.lookup_at(dst);
                verdict::unicast(ingress, hit.filter(|port| self.topology.same_domain(ingress, *port)))
            }
        }
    }

    #[inline]
    fn learn(&self, learns: bool, ingress: PortId, src: Scattered, notices: &mut Notices) {
        if learns {
            match self.fdb.learn_at(src, ingress, self.now) {
                Learn::Fresh | Learn::Refreshed | Learn::Inserted => {}
                other => notices.learning(self.now, other, self.fdb.key(src).1, 0, ingress),
            }
        }
    }
}
