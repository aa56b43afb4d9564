//! Checks on every frame of a port with a policy, whatever the mode of its domain: may the source send here, and is it
//! more of its kind than storm control allows.

use super::bridge::{self, GuardResult};
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

/// A worker's state that outlives a frame.
pub(super) struct WorkerState<'a> {
    pub(super) guards: &'a mut Guards,
    pub(super) notices: &'a mut Notices,
    /// Membership messages for control.
    pub(super) heard: &'a mut ArrayVec<Heard, MAX_HEARD>,
    /// A loop probe for control. One is enough: a burst comes from one port, and a port reports one per second.
    pub(super) returned: &'a mut Option<Returned>,
}

/// Membership messages a worker keeps until it has passed them on; what more there is in a burst is lost; the hosts
/// send it again.
pub(super) const MAX_HEARD: usize = 256;

impl Gate<'_> {
    /// Port security's verdict on a source.
    #[inline]
    pub(super) fn secure(&self, mac: MacAddr, vlan: Vid, state: &mut WorkerState<'_>) -> Result<(), DropReason> {
        let result = bridge::secure(self.member, mac);
        if result == GuardResult::Pass {
            return Ok(());
        }
        let (port, observed) = (self.ingress, result == GuardResult::WouldDrop);
        state.notices.tell(self.now, Notice::Insecure { port, mac, vlan, observed });
        self.apply(result)
    }

    /// Storm control's verdict on a frame that is to be copied to many.
    #[inline]
    pub(super) fn storm(&self, traffic: Traffic, state: &mut WorkerState<'_>) -> Result<(), DropReason> {
        let port = self.ingress;
        if state.guards.calm(port.index(), &self.member.paces, traffic, self.cycles) {
            return Ok(());
        }
        let reason = match traffic {
            Traffic::Broadcast => DropReason::StormBroadcast,
            Traffic::Multicast => DropReason::StormMulticast,
            Traffic::UnknownUnicast => DropReason::StormUnknown,
        };
        let result = GuardResult::violation(self.member.policy().storm.act, reason);
        if state.guards.is_news(port.index(), traffic, self.now) {
            let observed = result == GuardResult::WouldDrop;
            state.notices.tell(self.now, Notice::Storm { port, of: traffic, observed });
        }
        self.apply(result)
    }

    /// Applies a guard's verdict; counts the frame if the guard only observes.
    pub(super) fn apply(&self, result: GuardResult) -> Result<(), DropReason> {
        match result {
            GuardResult::Pass => Ok(()),
            GuardResult::WouldDrop => {
                self.counters.observed.add(1);
                Ok(())
            }
            GuardResult::Drop(reason) => Err(reason),
        }
    }
}
