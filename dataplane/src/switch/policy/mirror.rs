//! Mirrors (SPAN): copies of what passes some ports or VLANs go to one port.

use super::Vid;
use crate::port::{DomainId, PortId};

/// Most mirrors at a time: a port knows its mirrors by a bit each.
pub const MAX_MIRRORS: usize = 16;

/// A mirror. The port it ends at belongs to it alone: it gets copies and nothing else, and what it sends is dropped, so
/// that nothing loops. A frame yields at most one copy per such port, whatever it matches, so that nothing multiplies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirror {
    /// What is copied.
    pub from: Vec<MirrorSource>,
    /// Where copies go.
    pub to: PortId,
}

/// What is copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MirrorSource {
    /// Frames that come in on a port, as they came.
    Rx(PortId),
    /// Frames that leave on a port, as they leave.
    Tx(PortId),
    /// Frames that come in on a VLAN of a domain, as they came. VLAN 0: those of ports that look at no tag.
    Vlan(DomainId, Vid),
}
