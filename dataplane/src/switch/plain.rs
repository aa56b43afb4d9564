//! A burst through a plain domain: learn, look up, flood what is unknown. The short path, and the usual one.

use super::deliver::Lanes;
use super::fdb::{Fdb, Fid, HashedKey};
use super::member::Member;
use super::notice::Notices;
use super::topology::{Domain, Topology};
use super::verdict::{self, Verdict};
use super::{Facts, headers};
use crate::eth::{EthHdr, MacAddr};
use crate::mem::{Burst, Mbuf, Mempool};
use crate::port::{DomainId, PortId};
use crate::stats::DropReason;

/// What a frame alone says.
enum Parsed {
    Drop(DropReason),
    Group {
        src: HashedKey,
    },
    Unicast {
        src: HashedKey,
        dst: HashedKey,
    },
    /// What the frame before it was, which is unicast and has both its addresses.
    Again,
}

/// Both addresses of the frame before as they lie in the header, if it was unicast; otherwise zeros, which no frame with a
/// valid source has.
type Before = (u64, u32);

/// What decides about frames from one port.
pub(super) struct Plain<'a> {
    pub(super) ingress: PortId,
    pub(super) home: DomainId,
    pub(super) domain: &'a Domain,
    pub(super) topology: &'a Topology,
    pub(super) fdb: &'a Fdb,
    /// Seconds.
    pub(super) now: u32,
}

impl Plain<'_> {
    /// Switches a burst; empties it. Headers are parsed first, so that the FDB lines of the whole burst are on their
    /// way to the cache before the first is looked at. Frames of one flow tend to come one after the other: what was
    /// found for one holds for those that follow it.
    #[inline]
    pub(super) fn forward(&self, burst: &mut Burst, out: &mut Lanes<'_>, notices: &mut Notices) {
        let mut parsed = Facts::new();
        let mut before = Before::default();
        headers(burst, out.mem.pool(), &mut parsed, |pool, mbuf| self.parse(pool, mbuf, &mut before));
        let learns = self.domain.learns();
        let mut verdicts = Facts::<Verdict>::new();
        let mut last = Verdict::Flood;
        verdicts.extend(parsed.iter().map(|frame| {
            last = self.verdict(learns, frame, last, notices);
            last
        }));
        for (mbuf, verdict) in burst.drain(..).zip(verdicts) {
            match verdict {
                Verdict::Unicast(port) => out.push(port, mbuf),
                Verdict::Flood => self.flood(mbuf, out),
                Verdict::Drop(reason) => out.drop_at(self.ingress, reason, mbuf),
            }
        }
    }

    /// What the frame alone says, and a prefetch of what the FDB may say.
    #[inline]
    fn parse(&self, pool: &Mempool, mbuf: &Mbuf, before: &mut Before) -> Parsed {
        let previous = std::mem::take(before);
        let Some(hdr) = EthHdr::new_checked(pool.data(mbuf)) else {
            return Parsed::Drop(DropReason::Runt);
        };
        if mbuf.len() > self.domain.max_len && !pool.is_gso(mbuf) {
            return Parsed::Drop(DropReason::Oversize);
        }
        let (dst, src) = (hdr.dst(), hdr.src());
        if src.is_multicast() || src.is_zero() {
            return Parsed::Drop(DropReason::BadSource);
        }
        let addresses = hdr.addresses();
        if addresses == previous {
            *before = addresses;
            return Parsed::Again;
        }
        let fid = self.domain.fids.base();
        let src = self.hash(fid, src);
        if !dst.is_multicast() {
            *before = addresses;
            Parsed::Unicast { src, dst: self.hash(fid, dst) }
        } else if dst == MacAddr::PAUSE {
            // Not even learned from (br_handle_frame).
            Parsed::Drop(DropReason::Pause)
        } else {
            Parsed::Group { src }
        }
    }

    #[inline]
    fn hash(&self, fid: Fid, mac: MacAddr) -> HashedKey {
        let key = self.fdb.hash(fid, mac);
        self.fdb.prefetch_at(key);
        key
    }

    /// Learns, looks up, decides. Learning comes before the look-up (net/bridge/br_input.c).
    #[inline]
    fn verdict(&self, learns: bool, frame: &Parsed, last: Verdict, notices: &mut Notices) -> Verdict {
        match *frame {
            Parsed::Drop(reason) => Verdict::Drop(reason),
            Parsed::Again => last,
            Parsed::Group { src } => {
                self.learn(learns, src, notices);
                Verdict::Flood
            }
            Parsed::Unicast { src, dst } => {
                self.learn(learns, src, notices);
                let hit = self.fdb.lookup_at(dst);
                match hit {
                    Some(port) if !self.topology.is_on(port, self.home) => self.elsewhere(port),
                    hit => verdict::unicast(self.ingress, hit),
                }
            }
        }
    }

    /// A look-up that named a port that is not open here: one of this domain that is closed, or an entry about to be
    /// flushed.
    #[cold]
    fn elsewhere(&self, port: PortId) -> Verdict {
        let neighbour = self.topology.member(port).filter(|member| member.domain == self.home);
        neighbour.and_then(Member::closed).map_or(Verdict::Flood, Verdict::Drop)
    }

    #[inline]
    fn learn(&self, learns: bool, src: HashedKey, notices: &mut Notices) {
        if learns {
            let learned = self.fdb.learn_at(src, self.ingress, self.now);
            if learned.is_news() {
                notices.learned(self.now, learned, self.fdb.key(src).1, 0, self.ingress);
            }
        }
    }

    /// A copy for each other member of the domain, the original for the last.
    fn flood(&self, mbuf: Mbuf, out: &mut Lanes<'_>) {
        let mut targets = self.topology.others(self.ingress);
        let Some(mut target) = targets.next() else {
            return out.drop_at(self.ingress, DropReason::NoDestination, mbuf);
        };
        for next in targets {
            if let Some(copy) = out.copy_for(target, &mbuf) {
                out.push(target, copy);
            }
            target = next;
        }
        out.push(target, mbuf);
    }
}

#[cfg(test)]
mod tests {
    use super::super::Switch;
    use super::*;
    use crate::mem::{Arena, ArenaConfig, Hugepages, MempoolCache};
    use crate::stats::PortCounters;
    use crate::switch::policy::{DomainPolicy, PortPolicy};
    use std::sync::Arc;

    const A: [u8; 6] = [2, 0, 0, 0, 0, 1];
    const B: [u8; 6] = [2, 0, 0, 0, 0, 2];
    const NOBODY: [u8; 6] = [0; 6];

    /// What becomes of frames (from, to, length) that come in on port 0 in one burst, station B being behind port 1 of
    /// three: frames sent by ports 1 and 2, and drops of port 0 for a length and for a source.
    fn burst(frames: &[([u8; 6], [u8; 6], usize)]) -> ([usize; 2], [u64; 2]) {
        let pool = Mempool::new(Arena::new(&ArenaConfig { frames: 1024, hugepages: Hugepages::Off }).unwrap());
        let (mut mem, mut switch) = (MempoolCache::new(&pool), Switch::new(Arc::new(Fdb::new(64))));
        let (domain, fid) = (DomainId(0), Fid::new(0).unwrap());
        switch.topology_mut().put_domain(domain, Domain::new(&DomainPolicy::learning(None, 100), 1500, fid));
        for port in [0, 1, 2].map(PortId) {
            switch.topology_mut().put_port(port, Member::new(domain, &PortPolicy::default()));
        }
        let _new = switch.fdb().learn(fid, MacAddr(B), PortId(1), 0);
        let frame = |(from, to, len): &([u8; 6], [u8; 6], usize)| {
            let mut bytes = [&to[..], &from[..], &[0x88, 0xb5]].concat();
            bytes.resize(*len, 0);
            mem.alloc_from(&bytes).unwrap()
        };
        let mut burst: Burst = frames.iter().map(frame).collect();
        let counters: Vec<PortCounters> = (0..3).map(|_| PortCounters::default()).collect();
        switch.forward(PortId(0), &mut burst, &mut mem, &counters, &mut |_, _| panic!("too few copies for that"));
        let mut sent = [0; 2];
        while let Some((port, lane)) = switch.egress.next_dirty() {
            sent[port.index() - 1] = lane.len();
            mem.free_burst(lane);
        }
        drop(mem);
        assert_eq!(pool.free(), pool.total(), "every frame is home again");
        let mut stats = crate::stats::PortStats::default();
        stats.add(&counters[0]);
        (sent, [DropReason::Oversize, DropReason::BadSource].map(|reason| stats.drops[reason as usize]))
    }

    #[test]
    fn followers_go_where_the_first_of_their_flow_went() {
        assert_eq!(burst(&[(A, B, 60); 5]), ([5, 0], [0, 0]));
        assert_eq!(burst(&[(A, [2; 6], 60); 5]), ([5, 5], [0, 0]), "an unknown station: each is flooded");
    }

    #[test]
    fn what_is_wrong_with_a_frame_is_no_verdict_on_its_followers() {
        assert_eq!(burst(&[(A, B, 60), (A, B, 1800), (A, B, 60)]), ([2, 0], [1, 0]));
        assert_eq!(burst(&[(A, B, 1800), (A, B, 60)]), ([1, 0], [1, 0]));
        assert_eq!(burst(&[(A, [0xff; 6], 60), (A, B, 60)]), ([2, 1], [0, 0]));
        assert_eq!(burst(&[(NOBODY, NOBODY, 60), (A, B, 60), (NOBODY, NOBODY, 60)]), ([1, 0], [0, 2]));
    }
}
