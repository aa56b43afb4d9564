//! Domains of mode macvlan: frames go to the port that owns the address, as drivers/net/macvlan.c does it.

use super::policy::MacvlanDomain;

/// The ports of a domain and the addresses they own: made by control, the same for all workers, never changed.
#[derive(Debug)]
pub struct Table {
    /// What the domain does beyond the kernel's macvlan.
    pub extensions: MacvlanDomain,
}

impl Table {
    /// No ports.
    #[must_use]
    pub fn empty(extensions: MacvlanDomain) -> Self {
        Self { extensions }
    }
}
