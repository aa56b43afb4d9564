//! Identifiers of ports and domains: the leaf that the switch, the ports and control all name.

/// Most ports one switch can have: an FDB entry names its port in 10 bits.
pub const MAX_PORTS: usize = 1024;

/// A logical port of the switch, `0..MAX_PORTS`. It may have several queues.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortId(pub u16);

impl PortId {
    /// The port as an index into a table of [`MAX_PORTS`] entries.
    #[must_use]
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// A broadcast segment: frames never leave the domain they came in on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DomainId(pub u16);

impl DomainId {
    /// The domain as an index.
    #[must_use]
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}
