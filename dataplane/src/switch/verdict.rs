//! What becomes of a frame in a plain domain: pure functions over what the FDB said. Each has its table test.

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

/// A unicast frame: to the port its destination was seen on, never back where it came from, flooded on a miss.
#[must_use]
pub fn unicast(ingress: PortId, hit: Option<PortId>) -> Verdict {
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
}
