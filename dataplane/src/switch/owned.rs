//! A burst through a domain of mode macvlan; the verdicts are in [`macvlan`].

use super::deliver::Delivery;
use super::gate::{Gate, WorkerState};
use super::macvlan::{Frame, Table};
use super::notice::Traffic;
use super::policy::Role;
use super::topology::Domain;
use super::vlan::Tagging;
use super::{Facts, headers};
use crate::eth::{EthHdr, MacAddr};
use crate::mem::{Burst, Mbuf, Mempool};
use crate::stats::DropReason;

/// EtherType of MAC control, PAUSE among it (802.3 Annex 31B).
const MAC_CONTROL: u16 = 0x8808;

/// What decides about frames from one port.
pub(super) struct Owned<'a> {
    pub(super) gate: Gate<'a>,
    pub(super) domain: &'a Domain,
    pub(super) table: &'a Table,
}

impl Owned<'_> {
    /// Switches a burst; empties it.
    pub(super) fn forward(&self, burst: &mut Burst, out: &mut Delivery<'_>, state: &mut WorkerState<'_>) {
        let mut frames = Facts::new();
        headers(burst, out.lanes.mem.pool(), &mut frames, |pool, mbuf| self.frame(pool, mbuf));
        for (mbuf, frame) in burst.drain(..).zip(frames) {
            self.switch(mbuf, frame, out, state);
        }
    }

    /// Reads a frame.
    #[inline]
    fn frame(&self, pool: &Mempool, mbuf: &Mbuf) -> Result<Frame, DropReason> {
        let hdr = EthHdr::new_checked(pool.data(mbuf)).ok_or(DropReason::Runt)?;
        if mbuf.len() > self.domain.max_len && !pool.is_gso(mbuf) {
            return Err(DropReason::Oversize);
        }
        let dst = hdr.dst();
        if dst == MacAddr::PAUSE {
            return Err(DropReason::Pause);
        }
        if !self.gate.member.policy().control.pass(dst) {
            return Err(DropReason::ControlProtocol);
        }
        Ok(Frame { dst, src: hdr.src(), mac_control: hdr.ethertype() == MAC_CONTROL })
    }

    fn switch(
        &self,
        mbuf: Mbuf,
        frame: Result<Frame, DropReason>,
        out: &mut Delivery<'_>,
        state: &mut WorkerState<'_>,
    ) {
        out.begin();
        let Gate { ingress, member, .. } = self.gate;
        if let Some(reason) = member.closed() {
            return out.drop_at(ingress, reason, mbuf);
        }
        let mirrors = member.rx_mirrors() | self.domain.mirrors(0);
        if mirrors != 0 {
            out.mirror(&mbuf, mirrors);
        }
        let decided = frame.and_then(|frame| self.decide(&frame, out, state));
        let mbuf = match decided {
            Ok(()) => out.send_all(mbuf, Tagging::NONE),
            Err(reason) => return out.drop_at(ingress, reason, mbuf),
        };
        if let Err(mbuf) = mbuf {
            out.drop_at(ingress, DropReason::NoDestination, mbuf);
        }
    }

    #[inline]
    fn decide(&self, frame: &Frame, out: &mut Delivery<'_>, state: &mut WorkerState<'_>) -> Result<(), DropReason> {
        self.gate.secure(frame.src, 0, state)?;
        if frame.dst.is_multicast() {
            let broadcast = frame.dst == MacAddr::BROADCAST;
            self.gate.storm(if broadcast { Traffic::Broadcast } else { Traffic::Multicast }, state)?;
        }
        let role = &self.gate.member.policy().role;
        if self.is_too_much(role, frame, state) {
            return self.overflow(frame, out);
        }
        self.table.verdict((self.gate.ingress, role), frame, out.targets)?;
        self.shut(out)
    }

    /// Takes ports off that the table does not know to be closed: those that mirrors end at.
    fn shut(&self, out: &mut Delivery<'_>) -> Result<(), DropReason> {
        let Delivery { topology, targets, .. } = out;
        targets.retain(|port| topology.is_on(*port, self.gate.member.domain));
        if targets.is_empty() { Err(DropReason::MirrorPort) } else { Ok(()) }
    }

    /// Whether the frame is more multicast from the wire than the devices' queues would hold.
    fn is_too_much(&self, role: &Role, frame: &Frame, state: &mut WorkerState<'_>) -> bool {
        let port = self.gate.ingress.index();
        self.table.is_queued(role, frame) && !state.guards.queue(port, self.table.broadcast_pace(), self.gate.cycles)
    }

    /// Counts a copy that was not made, and lets the others have theirs.
    fn overflow(&self, frame: &Frame, out: &mut Delivery<'_>) -> Result<(), DropReason> {
        self.table.overflow(frame, out.targets)?;
        self.shut(out)?;
        self.gate.counters.flood_copies.add(1);
        self.gate.counters.drop_n(DropReason::BroadcastQueue, 1);
        Ok(())
    }
}
