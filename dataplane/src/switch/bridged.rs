//! A burst through a learning domain with policies: VLANs, port flags, guards, mirrors, snooping. The verdicts are in
//! [`bridge`]; here is their order, which is the kernel's.

use super::bridge::{self, GuardResult, Verdict};
use super::deliver::Delivery;
use super::fdb::{Fdb, HashedKey, Hit, Kind};
use super::gate::{Gate, WorkerState};
use super::guard::MoveResult;
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
    from: HashedKey,
    to: HashedKey,
}

/// A port and its policy.
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
    pub(super) fn forward(&self, burst: &mut Burst, out: &mut Delivery<'_>, state: &mut WorkerState<'_>) {
        let mut facts = Facts::new();
        headers(burst, out.lanes.mem.pool(), &mut facts, |pool, mbuf| self.facts(pool, mbuf));
        for (mbuf, facts) in burst.drain(..).zip(facts) {
            self.switch(mbuf, facts, out, state);
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
        let (from, to) = (self.fdb.hash(fid, src), self.fdb.hash(fid, dst));
        self.fdb.prefetch_at(from);
        if !dst.is_multicast() {
            self.fdb.prefetch_at(to);
        }
        Ok(Header { src, dst, tagging, from, to })
    }

    fn switch(
        &self,
        mbuf: Mbuf,
        facts: Result<Header, DropReason>,
        out: &mut Delivery<'_>,
        state: &mut WorkerState<'_>,
    ) {
        out.begin();
        if self.gate.member.rx_mirrors() != 0 && self.gate.member.closed().is_none() {
            out.mirror(&mbuf, self.gate.member.rx_mirrors());
        }
        let facts = match facts {
            Ok(facts) => facts,
            Err(reason) => {
                if reason == DropReason::LoopProbe {
                    self.report_loop(&mbuf, out, state);
                }
                return out.drop_at(self.gate.ingress, reason, mbuf);
            }
        };
        let mirrors = self.domain.mirrors(facts.tagging.vid);
        if mirrors != 0 {
            out.mirror(&mbuf, mirrors);
        }
        match self.decide(&facts, &mbuf, out, state) {
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
    fn report_loop(&self, mbuf: &Mbuf, out: &Delivery<'_>, state: &mut WorkerState<'_>) {
        let (port, now) = (self.gate.ingress, self.gate.now);
        if let Some(sent) = probe::sender(self.probe_id, out.lanes.mem.pool().data(mbuf))
            && state.guards.is_new_loop(port.index(), now)
        {
            *state.returned = Some(Returned { port, sent });
        }
    }

    /// Learns, looks up, decides: the frame goes to one port, or to those that are then `out.targets`.
    #[inline]
    fn decide<'t>(
        &self,
        facts: &Header,
        mbuf: &Mbuf,
        out: &mut Delivery<'t>,
        state: &mut WorkerState<'_>,
    ) -> Result<Option<To<'t>>, DropReason> {
        self.source(facts, state)?;
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
                self.gate.storm(traffic, state)?;
                match &self.domain.mdb {
                    Some(mdb) if traffic == Traffic::Multicast => self.multicast(facts, mbuf, mdb, out, state)?,
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
        state: &mut WorkerState<'_>,
    ) -> Result<(), DropReason> {
        let vlan = facts.tagging.vid;
        let members = match mdb.reach(vlan, self.class(facts, mbuf, out, state)?) {
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
        state: &mut WorkerState<'_>,
    ) -> Result<Class, DropReason> {
        let (domain, port, vlan) = (self.gate.member.domain, self.gate.ingress, facts.tagging.vid);
        let WorkerState { guards, heard, .. } = state;
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
    fn source(&self, facts: &Header, state: &mut WorkerState<'_>) -> Result<(), DropReason> {
        self.gate.secure(facts.src, facts.tagging.vid, state)?;
        let locked = self.gate.member.bridge.locked;
        if locked || self.domain.filters || self.learning.moves.is_some() {
            let known = self.fdb.find_at(facts.from);
            bridge::admit(self.gate.ingress, locked, known)?;
            self.damp(facts, known, state)?;
        }
        if self.gate.member.bridge.learning && self.domain.learns() {
            let learned = self.fdb.learn_at(facts.from, self.gate.ingress, self.gate.now);
            if learned.is_news() {
                state.notices.learned(self.gate.now, learned, facts.src, facts.tagging.vid, self.gate.ingress);
            }
        }
        Ok(())
    }

    /// The move guard's verdict on a source that is known elsewhere.
    fn damp(&self, facts: &Header, known: Option<Hit>, state: &mut WorkerState<'_>) -> Result<(), DropReason> {
        let elsewhere = |hit: &Hit| hit.port != self.gate.ingress && matches!(hit.kind, Kind::Learned | Kind::Static);
        let (Some(guard), Some(hit)) = (&self.learning.moves, known.filter(elsewhere)) else { return Ok(()) };
        let result = state.guards.moves(facts.from, guard, self.gate.now);
        if result == MoveResult::Allowed {
            return Ok(());
        }
        let guarded = GuardResult::violation(guard.act, DropReason::MacMove);
        if result == MoveResult::Exceeded {
            let (mac, vlan, observed) = (facts.src, facts.tagging.vid, guarded == GuardResult::WouldDrop);
            let notice = Notice::Flapping { mac, vlan, from: hit.port, to: self.gate.ingress, observed };
            state.notices.tell(self.gate.now, notice);
        }
        self.gate.apply(guarded)
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
