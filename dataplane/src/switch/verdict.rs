//! What becomes of a frame: pure functions over what the FDB said. Each has its table test.

use crate::eth::MacAddr;
use crate::port::PortId;
use crate::stats::DropReason;

/// The decision on one frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// To one port.
    Unicast(PortId),
    /// To every other member of the domain.
    Flood,
    /// Nowhere, for this reason.
    Drop(DropReason),
}

/// A frame to a group address: flooded, save PAUSE (802.1D Table 7-10; br_handle_frame drops it too).
pub(super) fn group(dst: MacAddr) -> Verdict {
    if dst == MacAddr::PAUSE { Verdict::Drop(DropReason::Pause) } else { Verdict::Flood }
}

/// A unicast frame: to the port its destination was seen on, never back where it came from, flooded on a miss.
pub(super) fn unicast(ingress: PortId, hit: Option<PortId>) -> Verdict {
    match hit {
        Some(port) if port == ingress => Verdict::Drop(DropReason::SamePort),
        Some(port) => Verdict::Unicast(port),
        None => Verdict::Flood,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unicast_table() {
        let (a, b) = (PortId(1), PortId(2));
        for (hit, verdict) in
            [(None, Verdict::Flood), (Some(a), Verdict::Drop(DropReason::SamePort)), (Some(b), Verdict::Unicast(b))]
        {
            assert_eq!(unicast(a, hit), verdict);
        }
    }

    #[test]
    fn group_table() {
        assert_eq!(group(MacAddr::BROADCAST), Verdict::Flood);
        assert_eq!(group(MacAddr([0x01, 0x80, 0xc2, 0, 0, 0])), Verdict::Flood);
        assert_eq!(group(MacAddr::PAUSE), Verdict::Drop(DropReason::Pause));
    }
}
