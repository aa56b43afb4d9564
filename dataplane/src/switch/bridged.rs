//! A burst through a learning domain of which something is asked: VLANs, port flags, guards, mirrors, snooping. The
//! verdicts are in [`bridge`]; here is the order in which they are asked for, which is the kernel's.

use super::bridge::{self, Guarded, Verdict};
use super::deliver::Delivery;
use super::fdb::{Fdb, Hit, Kind, Scattered};
use super::gate::{Gate, Memory};
use super::guard::Move;
use super::member::Member;
use super::notice::{Notice, Traffic};
use super::policy::Learning;
use super::probe::{self, Returned};
use super::snoop::parse::{self, Class};
use super::snoop::{Heard, Mdb, Reach};
use super::topology::{Domain, Topology};
use super::vlan::Tagging;
use super::{Facts, headers};
use crate::eth::{EthHdr, MacAddr, TAG_LEN, field};
use crate::mem::{Burst, Mbuf, Mempool};
use crate::port::PortId;
use crate::stats::DropReason;

/// What a frame alone says.
#[derive(Debug, Clone, Copy)]
struct Header {
    src: MacAddr,
    dst: MacAddr,
    tagging: Tagging,
    from: Scattered,
    to: Scattered,
}

/// A port, and what is asked of it.
type To<'t> = (PortId, &'t Member);

/// What decides about frames from one port.
pub(super) struct Bridged<'a> {
    pub(super) gate: Gate<'a>,
    pub(super) domain: &'a Domain,
    pub(super) learning: &'a Learning,
    pub(super) fdb: &'a Fdb,
    /// What marks loop probes as ours.
    pub(super) probe_id: u64,
}

impl Bridged<'_> {
    /// Switches a burst; empties it.
    pub(super) fn forward(&self, burst: &mut Burst, out: &mut Delivery<'_>, memory: &mut Memory<'_>) {
        let mut facts = Facts::new();
        headers(burst, out.lanes.mem.pool(), &mut facts, |pool, mbuf| self.facts(pool, mbuf));
        for (mbuf, facts) in burst.drain(..).zip(facts) {
            self.switch(mbuf, facts, out, memory);
        }
    }

    /// Reads a frame, and asks the cache for what the FDB may say of it.
    #[inline]
    fn facts(&self, pool: &Mempool, mbuf: &Mbuf) -> Result<Header, DropReason> {
        if let Some(reason) = self.gate.member.closed() {
            return Err(reason);
        }
        let head = pool.data(mbuf);
        let hdr = EthHdr::new_checked(head).ok_or(DropReason::Runt)?;
        if mbuf.len() > self.domain.max_len && !pool.is_gso(mbuf) {
            return Err(DropReason::Oversize);
        }
        let (dst, src) = (hdr.dst(), hdr.src());
        if dst == probe::GROUP && self.learning.loops.is_some() && probe::sender(self.probe_id, head).is_some() {
            return Err(DropReason::LoopProbe);
        }
        if src.is_multicast() || src.is_zero() {
            return Err(DropReason::BadSource);
        }
        if dst == MacAddr::PAUSE {
            return Err(DropReason::Pause);
        }
        let tagging = self.gate.member.vlans.as_ref().map_or(Ok(Tagging::NONE), |vlans| vlans.classify(head))?;
        let fid = self.domain.fids.get(tagging.vid).ok_or(DropReason::VlanDenied)?;
        let (from, to) = (self.fdb.scatter(fid, src), self.fdb.scatter(fid, dst));
        self.fdb.prefetch_at(from);
        if !dst.is_multicast() {
            self.fdb.prefetch_at(to);
        }
        Ok(Header { src, dst, tagging, from, to })
    }

    fn switch(&self, mbuf: Mbuf, facts: Result<Header, DropReason>, out: &mut Delivery<'_>, memory: &mut Memory<'_>) {
        out.begin();
        if self.gate.member.rx_mirrors() != 0 && self.gate.member.closed().is_none() {
            out.mirror(&mbuf, self.gate.member.rx_mirrors());
        }
        let facts = match facts {
            Ok(facts) => facts,
            Err(reason) => {
                if reason == DropReason::LoopProbe {
                    self.report_loop(&mbuf, out, memory);
                }
                return out.drop_at(self.gate.ingress, reason, mbuf);
            }
        };
        let mirrors = self.domain.mirrors(facts.tagging.vid);
        if mirrors != 0 {
            out.mirror(&mbuf, mirrors);
        }
        match self.decide(&facts, &mbuf, out, memory) {
            Ok(Some(to)) => out.send_to(to, mbuf, facts.tagging),
            Ok(None) => {
                if let Err(mbuf) = out.send_all(mbuf, facts.tagging) {
                    out.drop_at(self.gate.ingress, DropReason::NoDestination, mbuf);
                }
            }
            Err(reason) => out.drop_at(self.gate.ingress, reason, mbuf),
        }
    }

    /// Tells control of a probe that came home; it decides which port to block, for all workers. Not a notice: those
    /// are limited, and a loop alone uses the limit up.
    #[cold]
    fn report_loop(&self, mbuf: &Mbuf, out: &Delivery<'_>, memory: &mut Memory<'_>) {
        let (port, now) = (self.gate.ingress, self.gate.now);
        if let Some(sent) = probe::sender(self.probe_id, out.lanes.mem.pool().data(mbuf))
            && memory.guards.is_new_loop(port.index(), now)
        {
            *memory.returned = Some(Returned { port, sent });
        }
    }

    /// Learns, looks up, decides: the frame goes to one port, or to those that are then `out.targets`.
    #[inline]
    fn decide<'t>(
        &self,
        facts: &Header,
        mbuf: &Mbuf,
        out: &mut Delivery<'t>,
        memory: &mut Memory<'_>,
    ) -> Result<Option<To<'t>>, DropReason> {
        self.source(facts, memory)?;
        let topology = out.topology;
        let (verdict, member) = if facts.dst.is_multicast() {
            (bridge::group(facts.dst, self.gate.member.policy().control.pass(facts.dst)), None)
        } else {
            self.unicast(facts, topology)
        };
        match (verdict, member) {
            (Verdict::Drop(reason), _) => Err(reason),
            (Verdict::To(port), Some(member)) => {
                let to = (port, member);
                bridge::may_leave((self.gate.ingress, self.gate.member), to, facts.tagging.vid)?;
                Ok(Some(to))
            }
            (Verdict::To(_), None) => Err(DropReason::PortGone),
            (Verdict::Flood(traffic), _) => {
                self.gate.storm(traffic, memory)?;
                match &self.domain.mdb {
                    Some(mdb) if traffic == Traffic::Multicast => self.multicast(facts, mbuf, mdb, out, memory)?,
                    _ => self.flood(traffic, facts, out),
                }
                Ok(None)
            }
        }
    }

    /// The verdict on a unicast frame, with the port it names. What was found may be of another domain if it is about to
    /// be flushed, and then counts as nothing.
    #[inline]
    fn unicast<'t>(&self, facts: &Header, topology: &'t Topology) -> (Verdict, Option<&'t Member>) {
        let hit = self.fdb.find_at(facts.to);
        let member = hit.and_then(|hit| topology.member(hit.port)).filter(|m| m.domain == self.gate.member.domain);
        (bridge::unicast(hit.filter(|hit| hit.kind == Kind::Filter || member.is_some())), member)
    }

    /// A multicast frame where snooping is on.
    fn multicast(
        &self,
        facts: &Header,
        mbuf: &Mbuf,
        mdb: &Mdb,
        out: &mut Delivery<'_>,
        memory: &mut Memory<'_>,
    ) -> Result<(), DropReason> {
        let vlan = facts.tagging.vid;
        let members = match mdb.reach(vlan, self.class(facts, mbuf, out, memory)?) {
            Reach::All => {
                self.flood(Traffic::Multicast, facts, out);
                return Ok(());
            }
            Reach::Members(ports) => ports,
            Reach::Routers => &[],
        };
        let routers = mdb.routers(vlan).iter().filter(|port| !members.contains(port));
        for port in members.iter().chain(routers) {
            let to = out.topology.member(*port).filter(|to| to.domain == self.gate.member.domain);
            let from = (self.gate.ingress, self.gate.member);
            if to.is_some_and(|to| bridge::may_leave(from, (*port, to), vlan).is_ok()) {
                out.targets.push(*port);
            }
        }
        if out.targets.is_empty() { Err(DropReason::NoMember) } else { Ok(()) }
    }

    /// What a multicast frame carries; control is told what a membership message says.
    fn class(
        &self,
        facts: &Header,
        mbuf: &Mbuf,
        out: &Delivery<'_>,
        memory: &mut Memory<'_>,
    ) -> Result<Class, DropReason> {
        let (domain, port, vlan) = (self.gate.member.domain, self.gate.ingress, facts.tagging.vid);
        let Memory { guards, heard, .. } = memory;
        let mut tell = |said| {
            if !heard.is_full() && guards.hear(port.index(), self.gate.cycles) {
                heard.push(Heard { domain, port, vlan, said });
            }
        };
        let at = field::ETHERTYPE.start + if facts.tagging.tagged { TAG_LEN } else { 0 };
        match parse::look(out.lanes.mem.pool().data(mbuf), at, &mut tell) {
            Ok(class) => Ok(class),
            // A message in several chunks was not seen whole.
            Err(parse::Malformed) if mbuf.segments() > 1 => Ok(Class::Other),
            Err(parse::Malformed) => Err(DropReason::BadMembership),
        }
    }

    /// Whether the source may send here, and what is learned from it.
    #[inline]
    fn source(&self, facts: &Header, memory: &mut Memory<'_>) -> Result<(), DropReason> {
        self.gate.secure(facts.src, facts.tagging.vid, memory)?;
        let locked = self.gate.member.bridge.locked;
        if locked || self.domain.filters || self.learning.moves.is_some() {
            let known = self.fdb.find_at(facts.from);
            bridge::admit(self.gate.ingress, locked, known)?;
            self.damp(facts, known, memory)?;
        }
        if self.gate.member.bridge.learning && self.domain.learns() {
            let learned = self.fdb.learn_at(facts.from, self.gate.ingress, self.gate.now);
            if learned.is_news() {
                memory.notices.learned(self.gate.now, learned, facts.src, facts.tagging.vid, self.gate.ingress);
            }
        }
        Ok(())
    }

    /// The move guard's word on a source that is known elsewhere.
    fn damp(&self, facts: &Header, known: Option<Hit>, memory: &mut Memory<'_>) -> Result<(), DropReason> {
        let elsewhere = |hit: &Hit| hit.port != self.gate.ingress && matches!(hit.kind, Kind::Learned | Kind::Static);
        let (Some(guard), Some(hit)) = (&self.learning.moves, known.filter(elsewhere)) else { return Ok(()) };
        let word = memory.guards.moves(facts.from, guard, self.gate.now);
        if word == Move::Go {
            return Ok(());
        }
        let guarded = Guarded::violation(guard.act, DropReason::MacMove);
        if word == Move::Caught {
            let (mac, vlan, observed) = (facts.src, facts.tagging.vid, guarded == Guarded::Observed);
            let notice = Notice::Flapping { mac, vlan, from: hit.port, to: self.gate.ingress, observed };
            memory.notices.tell(self.gate.now, notice);
        }
        self.gate.obey(guarded)
    }

    fn flood(&self, traffic: Traffic, facts: &Header, out: &mut Delivery<'_>) {
        let from = (self.gate.ingress, self.gate.member);
        for port in self.domain.members() {
            let Some(member) = out.topology.member(*port) else { continue };
            if bridge::floods(member, traffic) && bridge::may_leave(from, (*port, member), facts.tagging.vid).is_ok() {
                out.targets.push(*port);
            }
        }
    }
}
