//! What every frame of a port with a policy goes through, whatever the mode of its domain: is the port open, may the
//! source send here, is it too much of a kind.

use super::bridge::{self, Guarded};
use super::guard::Guards;
use super::member::Member;
use super::notice::{Notice, Notices, Traffic};
use super::policy::Vid;
use super::probe::Returned;
use super::snoop::Heard;
use crate::eth::MacAddr;
use crate::port::PortId;
use crate::stats::{DropReason, PortCounters};
use arrayvec::ArrayVec;

/// The port of a burst, and the time.
pub(super) struct Gate<'a> {
    pub(super) ingress: PortId,
    pub(super) member: &'a Member,
    /// Counters of the port.
    pub(super) counters: &'a PortCounters,
    /// Seconds.
    pub(super) now: u32,
    /// Cycles, as of this turn.
    pub(super) cycles: u64,
}

/// What a worker remembers from frame to frame.
pub(super) struct Memory<'a> {
    pub(super) guards: &'a mut Guards,
    pub(super) notices: &'a mut Notices,
    /// Membership messages for control.
    pub(super) heard: &'a mut ArrayVec<Heard, MAX_HEARD>,
    /// A loop probe for control. One is enough: a burst comes from one port, and a port reports one per second.
    pub(super) returned: &'a mut Option<Returned>,
}

/// Membership messages a worker keeps until it has passed them on; what more there is in a burst is lost, and said
/// again by the hosts.
pub(super) const MAX_HEARD: usize = 256;

impl Gate<'_> {
    /// Port security's word on a source.
    #[inline]
    pub(super) fn secure(&self, mac: MacAddr, vlan: Vid, memory: &mut Memory<'_>) -> Result<(), DropReason> {
        let word = bridge::secure(self.member, mac);
        if word == Guarded::Pass {
            return Ok(());
        }
        let (port, observed) = (self.ingress, word == Guarded::Observed);
        memory.notices.tell(self.now, Notice::Insecure { port, mac, vlan, observed });
        self.obey(word)
    }

    /// Storm control's word on a frame that is to be copied to many.
    #[inline]
    pub(super) fn storm(&self, traffic: Traffic, memory: &mut Memory<'_>) -> Result<(), DropReason> {
        let port = self.ingress;
        if memory.guards.calm(port.index(), &self.member.paces, traffic, self.cycles) {
            return Ok(());
        }
        let reason = match traffic {
            Traffic::Broadcast => DropReason::StormBroadcast,
            Traffic::Multicast => DropReason::StormMulticast,
            Traffic::UnknownUnicast => DropReason::StormUnknown,
        };
        let word = Guarded::violation(self.member.policy().storm.act, reason);
        if memory.guards.is_news(port.index(), traffic, self.now) {
            let observed = word == Guarded::Observed;
            memory.notices.tell(self.now, Notice::Storm { port, of: traffic, observed });
        }
        self.obey(word)
    }

    /// Does what a guard says, or counts what it would have.
    pub(super) fn obey(&self, word: Guarded) -> Result<(), DropReason> {
        match word {
            Guarded::Pass => Ok(()),
            Guarded::Observed => {
                self.counters.observed.add(1);
                Ok(())
            }
            Guarded::Drop(reason) => Err(reason),
        }
    }
}
