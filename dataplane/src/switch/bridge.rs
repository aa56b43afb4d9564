//! Verdicts on frames in a learning domain with policies: pure functions, in
//! the order of net/bridge/br_input.c and br_forward.c. Each has its table test.

use super::fdb::{Hit, Kind};
use super::member::Member;
use super::notice::Traffic;
use super::policy::{Action, Vid};
use crate::eth::MacAddr;
use crate::port::PortId;
use crate::stats::DropReason;

/// The decision on one frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// To one port, if [`may_leave`] says so.
    To(PortId),
    /// To every port that floods this.
    Flood(Traffic),
    /// Nowhere, for this reason.
    Drop(DropReason),
}

/// A guard's verdict on a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GuardResult {
    /// Go on.
    Pass,
    /// It would be dropped, were the guard not to observe only.
    WouldDrop,
    /// Drop it.
    Drop(DropReason),
}

impl GuardResult {
    /// What `act` makes of a violation.
    #[must_use]
    pub fn violation(act: Action, reason: DropReason) -> Self {
        match act {
            Action::Drop => Self::Drop(reason),
            Action::Observe => Self::WouldDrop,
        }
    }
}

/// Whether a source may send on the port at all, as far as the FDB tells.
///
/// # Errors
/// [`DropReason::Filtered`]; [`DropReason::Locked`] where the address is not known on this very port.
#[inline]
pub fn admit(ingress: PortId, locked: bool, source: Option<Hit>) -> Result<(), DropReason> {
    match source {
        Some(Hit { kind: Kind::Filter, .. }) => Err(DropReason::Filtered),
        Some(hit) if locked && hit.port != ingress => Err(DropReason::Locked),
        None if locked => Err(DropReason::Locked),
        _ => Ok(()),
    }
}

/// What port security says to a source address.
#[inline]
#[must_use]
pub fn secure(member: &Member, source: MacAddr) -> GuardResult {
    if member.allows(source) {
        return GuardResult::Pass;
    }
    let act = member.policy().security.as_ref().map_or(Action::Drop, |security| security.act);
    GuardResult::violation(act, DropReason::Insecure)
}

/// A unicast frame, by what the FDB says of its destination.
#[inline]
#[must_use]
pub fn unicast(hit: Option<Hit>) -> Verdict {
    match hit {
        Some(Hit { kind: Kind::Filter, .. }) => Verdict::Drop(DropReason::Filtered),
        Some(hit) => Verdict::To(hit.port),
        None => Verdict::Flood(Traffic::UnknownUnicast),
    }
}

/// A frame to a group address, whether the ingress port lets it pass given.
#[inline]
#[must_use]
pub fn group(dst: MacAddr, passes: bool) -> Verdict {
    match (passes, dst == MacAddr::BROADCAST) {
        (false, _) => Verdict::Drop(DropReason::ControlProtocol),
        (true, true) => Verdict::Flood(Traffic::Broadcast),
        (true, false) => Verdict::Flood(Traffic::Multicast),
    }
}

/// Whether a frame that came in on `from` may leave on `to` (`should_deliver`).
///
/// # Errors
/// The reason against it. That one of a flooded frame's many ports does not want it is no drop.
#[inline]
pub fn may_leave(from: (PortId, &Member), to: (PortId, &Member), vid: Vid) -> Result<(), DropReason> {
    if let Some(reason) = to.1.closed() {
        return Err(reason);
    }
    if from.0 == to.0 && !to.1.bridge.hairpin {
        return Err(DropReason::SamePort);
    }
    if !to.1.is_in(vid) {
        return Err(DropReason::VlanEgress);
    }
    if from.1.bridge.isolated && to.1.bridge.isolated {
        return Err(DropReason::Isolated);
    }
    Ok(())
}

/// Whether a port takes part in flooding this.
#[inline]
#[must_use]
pub fn floods(member: &Member, traffic: Traffic) -> bool {
    match traffic {
        Traffic::Broadcast => member.bridge.bcast_flood,
        Traffic::Multicast => member.bridge.mcast_flood,
        Traffic::UnknownUnicast => member.bridge.flood,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::port::DomainId;
    use crate::switch::policy::{BridgePort, PortPolicy, Role, Security, VlanPolicy};

    const HERE: PortId = PortId(1);
    const THERE: PortId = PortId(2);
    const KINDS: [Kind; 4] = [Kind::Learned, Kind::Static, Kind::Sticky, Kind::Filter];

    fn hits() -> impl Iterator<Item = Option<Hit>> {
        let known = KINDS.into_iter().flat_map(|kind| [HERE, THERE].map(|port| Some(Hit { port, kind })));
        known.chain([None])
    }

    fn member(bridge: BridgePort, vlan: Option<VlanPolicy>) -> Member {
        Member::new(DomainId(0), &PortPolicy { role: Role::Bridge(bridge), vlan, ..PortPolicy::default() })
    }

    #[test]
    fn admission_table() {
        for (locked, hit) in [false, true].into_iter().flat_map(|locked| hits().map(move |hit| (locked, hit))) {
            let filtered = hit.is_some_and(|hit| hit.kind == Kind::Filter);
            let known_here = hit.is_some_and(|hit| hit.port == HERE);
            let expected = match (filtered, locked && !known_here) {
                (true, _) => Err(DropReason::Filtered),
                (false, true) => Err(DropReason::Locked),
                (false, false) => Ok(()),
            };
            assert_eq!(admit(HERE, locked, hit), expected, "locked {locked}, {hit:?}");
        }
    }

    #[test]
    fn destination_tables() {
        for hit in hits() {
            let expected = match hit {
                None => Verdict::Flood(Traffic::UnknownUnicast),
                Some(Hit { kind: Kind::Filter, .. }) => Verdict::Drop(DropReason::Filtered),
                Some(Hit { port, .. }) => Verdict::To(port),
            };
            assert_eq!(unicast(hit), expected);
        }
        let stp = MacAddr([0x01, 0x80, 0xc2, 0, 0, 0]);
        assert_eq!(group(stp, false), Verdict::Drop(DropReason::ControlProtocol));
        assert_eq!(group(stp, true), Verdict::Flood(Traffic::Multicast));
        assert_eq!(group(MacAddr::BROADCAST, true), Verdict::Flood(Traffic::Broadcast));
    }

    #[test]
    fn leaving_table() {
        let bits = |n: u8| [n & 1 == 1, n & 2 == 2, n & 4 == 4, n & 8 == 8];
        for n in 0..16 {
            let [same, hairpin, from_isolated, to_isolated] = bits(n);
            let from = member(BridgePort { isolated: from_isolated, ..BridgePort::default() }, None);
            for (vid, vlan, inside) in [
                (0, None, true),
                (5, None, false),
                (0, Some(5), false),
                (5, Some(5), true),
                (5, Some(6), false),
                (6, Some(5), false),
            ] {
                let flags = BridgePort { isolated: to_isolated, hairpin, ..BridgePort::default() };
                let to = member(flags, vlan.map(VlanPolicy::access));
                let expected = if same && !hairpin {
                    Err(DropReason::SamePort)
                } else if !inside {
                    Err(DropReason::VlanEgress)
                } else if from_isolated && to_isolated {
                    Err(DropReason::Isolated)
                } else {
                    Ok(())
                };
                let port = if same { HERE } else { THERE };
                assert_eq!(may_leave((HERE, &from), (port, &to), vid), expected, "{n:04b} {vid} {vlan:?}");
            }
        }
    }

    #[test]
    fn nothing_leaves_a_closed_port() {
        let from = member(BridgePort::default(), None);
        let down = Member::new(DomainId(0), &PortPolicy { enabled: false, ..PortPolicy::default() });
        assert_eq!(may_leave((HERE, &from), (THERE, &down), 0), Err(DropReason::PortDown));
        let blocked = member(BridgePort::default(), None).with_block(true);
        assert_eq!(may_leave((HERE, &from), (THERE, &blocked), 0), Err(DropReason::Blocked));
    }

    #[test]
    fn flooding_table() {
        for (n, traffic) in [Traffic::UnknownUnicast, Traffic::Multicast, Traffic::Broadcast].into_iter().enumerate() {
            for flags in 0..8u8 {
                let on = |bit: usize| flags >> bit & 1 == 1;
                let bridge =
                    BridgePort { flood: on(0), mcast_flood: on(1), bcast_flood: on(2), ..BridgePort::default() };
                assert_eq!(floods(&member(bridge, None), traffic), on(n));
            }
        }
    }

    #[test]
    fn security_table() {
        let (mine, other) = (MacAddr([2, 0, 0, 0, 0, 1]), MacAddr([2, 0, 0, 0, 0, 2]));
        let with = |security| Member::new(DomainId(0), &PortPolicy { security, ..PortPolicy::default() });
        assert_eq!(secure(&with(None), other), GuardResult::Pass);
        for (act, violation) in
            [(Action::Drop, GuardResult::Drop(DropReason::Insecure)), (Action::Observe, GuardResult::WouldDrop)]
        {
            let member = with(Some(Security { macs: vec![mine], act }));
            assert_eq!((secure(&member, mine), secure(&member, other)), (GuardResult::Pass, violation));
        }
    }
}
