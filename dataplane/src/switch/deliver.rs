//! Pass 2 of domains with policies: frames get the tag of their egress port, mirrors get their copies, and a frame without
//! a destination is freed and counted.

use super::egress::{Egress, Spill};
use super::member::Member;
use super::policy::MAX_MIRRORS;
use super::tag;
use super::topology::Topology;
use super::vlan::Tagging;
use crate::mem::{Mbuf, MempoolCache};
use crate::port::PortId;
use crate::stats::{DropReason, PortCounters};
use arrayvec::ArrayVec;

/// Where frames end: on the lane of a port, or in the pool and in a count.
pub(super) struct Lanes<'a> {
    pub(super) egress: &'a mut Egress,
    pub(super) mem: &'a mut MempoolCache,
    pub(super) ports: &'a [PortCounters],
    /// Empties the lanes when they are full of copies.
    pub(super) spill: Spill<'a>,
}

impl Lanes<'_> {
    /// Frees a frame and counts it.
    #[inline]
    pub(super) fn drop_at(&mut self, port: PortId, reason: DropReason, mbuf: Mbuf) {
        self.ports[port.index()].drop_n(reason, 1);
        self.mem.free(mbuf);
    }

    /// Sends a frame out of a port.
    #[inline]
    pub(super) fn push(&mut self, port: PortId, mbuf: Mbuf) {
        if let Err(mbuf) = self.egress.push(port, mbuf) {
            self.overflow(port, mbuf);
        }
    }

    /// A lane never overflows (`Egress` says why); if it did, this frame would pay, not the switch.
    #[cold]
    fn overflow(&mut self, port: PortId, mbuf: Mbuf) {
        self.drop_at(port, DropReason::TxFull, mbuf);
        debug_assert!(false, "more than a burst for port {} between two emptyings of the lanes", port.0);
    }

    /// A copy, counted where it goes. None is made of the frames that the pool keeps for receiving.
    pub(super) fn copy_for(&mut self, port: PortId, mbuf: &Mbuf) -> Option<Mbuf> {
        if self.egress.is_full_of_copies() {
            (self.spill)(self.egress, self.mem);
        }
        let counters = &self.ports[port.index()];
        counters.flood_copies.add(1);
        let copy = if self.mem.can_spare(mbuf.segments()) { self.mem.copy(mbuf) } else { None };
        match &copy {
            Some(copy) => self.egress.count_copy(copy.segments()),
            None => counters.drop_n(DropReason::CopyRefused, 1),
        }
        copy
    }
}

/// Where frames of a burst go to, in a domain with policies.
pub(super) struct Delivery<'a> {
    pub(super) lanes: Lanes<'a>,
    pub(super) topology: &'a Topology,
    /// Ports of the frame at hand; kept between frames for its memory.
    pub(super) targets: &'a mut Vec<PortId>,
    /// Most bytes of a frame of the domain.
    pub(super) max_len: usize,
    /// Mirrors that have their copy of the frame at hand: one each, whatever it matches.
    mirrored: ArrayVec<PortId, MAX_MIRRORS>,
}

impl<'a> Delivery<'a> {
    pub(super) fn new(lanes: Lanes<'a>, topology: &'a Topology, targets: &'a mut Vec<PortId>, max_len: usize) -> Self {
        Self { lanes, topology, targets, max_len, mirrored: ArrayVec::new() }
    }

    /// Forgets the frame before.
    #[inline]
    pub(super) fn begin(&mut self) {
        self.mirrored.clear();
        self.targets.clear();
    }

    /// Frees a frame and counts it.
    #[inline]
    pub(super) fn drop_at(&mut self, port: PortId, reason: DropReason, mbuf: Mbuf) {
        self.lanes.drop_at(port, reason, mbuf);
    }

    /// A copy of the frame for each of these mirrors that has none yet.
    pub(super) fn mirror(&mut self, mbuf: &Mbuf, mirrors: u16) {
        for (bit, mirror) in self.topology.mirrors().iter().enumerate() {
            if mirrors >> bit & 1 == 0 || self.mirrored.contains(&mirror.to) {
                continue;
            }
            self.mirrored.push(mirror.to);
            if let Some(copy) = self.lanes.copy_for(mirror.to, mbuf) {
                self.lanes.push(mirror.to, copy);
            }
        }
    }

    /// Sends a frame out of a port, with the tag it wants there.
    #[inline]
    pub(super) fn send_to(&mut self, (port, member): (PortId, &Member), mut mbuf: Mbuf, tagging: Tagging) {
        if let Some(vlans) = &member.vlans {
            let retag = vlans.retag(tagging);
            if let Err(reason) = tag::apply(self.lanes.mem.pool(), &mut mbuf, retag, self.max_len) {
                return self.drop_at(port, reason, mbuf);
            }
        }
        if member.tx_mirrors() != 0 {
            self.mirror(&mbuf, member.tx_mirrors());
        }
        self.lanes.push(port, mbuf);
    }

    fn send(&mut self, port: PortId, mbuf: Mbuf, tagging: Tagging) {
        match self.topology.member(port) {
            Some(member) => self.send_to((port, member), mbuf, tagging),
            None => self.drop_at(port, DropReason::PortGone, mbuf),
        }
    }

    /// Sends a frame to all its targets: copies, and the original to the last. Gives it back if there is none.
    pub(super) fn send_all(&mut self, mbuf: Mbuf, tagging: Tagging) -> Result<(), Mbuf> {
        let Some(last) = self.targets.pop() else { return Err(mbuf) };
        for i in 0..self.targets.len() {
            let port = self.targets[i];
            if let Some(copy) = self.lanes.copy_for(port, &mbuf) {
                self.send(port, copy, tagging);
            }
        }
        self.send(last, mbuf, tagging);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mem::{Arena, ArenaConfig, Hugepages, Mempool};
    use crate::stats::PortStats;
    use crate::switch::MAX_COPIED;

    fn mem() -> MempoolCache {
        MempoolCache::new(&Mempool::new(Arena::new(&ArenaConfig { frames: 4096, hugepages: Hugepages::Off }).unwrap()))
    }

    #[test]
    fn copies_are_refused_by_name_while_the_rest_is_kept_for_receiving() {
        let mut mem = mem();
        mem.pool().keep(1024);
        let mut held = Vec::new();
        while mem.can_spare(1) {
            held.extend(mem.alloc());
        }
        let (frame, counters) = (held.pop().unwrap(), [PortCounters::default()]);
        let (egress, spill) = (&mut Egress::new(), &mut |_: &mut Egress, _: &mut MempoolCache| {});
        let copy = Lanes { egress, mem: &mut mem, ports: &counters, spill }.copy_for(PortId(0), &frame);
        let mut stats = PortStats::default();
        stats.add(&counters[0]);
        assert_eq!((copy.is_none(), stats.flood_copies), (true, 1));
        assert_eq!(stats.dropped().collect::<Vec<_>>(), [(DropReason::CopyRefused, 1)]);
        held.extend((0..1024).map(|_| mem.alloc().expect("a frame to receive into")));
        held.into_iter().chain([frame]).for_each(|mbuf| mem.free(mbuf));
    }

    #[test]
    fn lanes_that_are_full_of_copies_are_emptied_before_the_next() {
        let mut mem = mem();
        let frame = mem.alloc_len(60).unwrap();
        let counters: Vec<_> = (0..600).map(|_| PortCounters::default()).collect();
        let (mut egress, mut emptied) = (Egress::new(), Vec::new());
        let mut spill = |egress: &mut Egress, mem: &mut MempoolCache| {
            let mut n = 0;
            while let Some((_, lane)) = egress.next_dirty() {
                n += lane.len();
                mem.free_burst(lane);
            }
            emptied.push(n);
        };
        let mut lanes = Lanes { egress: &mut egress, mem: &mut mem, ports: &counters, spill: &mut spill };
        for port in (0..600).map(PortId) {
            let copy = lanes.copy_for(port, &frame).unwrap();
            lanes.push(port, copy);
        }
        spill(&mut egress, &mut mem);
        assert_eq!(emptied, [MAX_COPIED, 600 - MAX_COPIED]);
        mem.free(frame);
    }
}
