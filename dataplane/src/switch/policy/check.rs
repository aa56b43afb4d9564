//! Contradictions in a policy. Control checks the whole file before; this keeps the data path safe whoever calls.

use super::{DomainMode, DomainPolicy, MacvlanMode, MacvlanPort, PortPolicy, Role, Vid, VidSet, VlanPolicy};
use crate::eth::MacAddr;

/// Why a policy was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// 0, 4095 and beyond are no VLANs.
    #[error("VLAN {0} does not exist; use 1 to 4094")]
    Vid(Vid),
    /// A port in no VLAN would be mute.
    #[error("a port with VLANs must be in at least one")]
    NoVlan,
    /// The native VLAN must be one of the port's.
    #[error("native VLAN {0} is not among the VLANs of the port; add it")]
    Native(Vid),
    /// Two VLANs with one id, on the wire or in the domain.
    #[error("VLAN {0} is translated twice")]
    MappedTwice(Vid),
    /// A wire id that is already that of an untranslated VLAN.
    #[error("VLAN {0} is in use untranslated and as a translation")]
    MappedOver(Vid),
    /// Priorities have three bits.
    #[error("priority {0} does not exist; use 0 to 7")]
    Pcp(u8),
    /// A port role that the domain's mode does not know.
    #[error("a {role} port does not belong in a {mode} domain")]
    Role {
        /// The role.
        role: &'static str,
        /// The domain's mode.
        mode: &'static str,
    },
    /// VLANs are a matter of learning domains; macvlan devices pass tags on.
    #[error("macvlan domains look at no VLAN tags; remove the port's VLANs")]
    MacvlanVlan,
    /// A device without an address could receive nothing.
    #[error("a macvlan device needs an address")]
    NoAddress,
    /// Mode source receives by its list only.
    #[error("mode source needs a list of source addresses")]
    NoSources,
    /// Not the address of one station.
    #[error("{0} is not the address of one station")]
    Address(MacAddr),
    /// Two ports with one address.
    #[error("{0} belongs to another port of the domain already")]
    AddressTaken(MacAddr),
    /// Passthru takes everything.
    #[error("a passthru device must be the only one of its domain")]
    PassthruSiblings,
    /// The kernel has it so too: what others rely on cannot be taken from under them.
    #[error("mode passthru can neither be entered nor left while the port is there; remove it and add it anew")]
    PassthruChange,
    /// One wire, one host.
    #[error("the domain already has a {0} port")]
    Second(&'static str),
    /// Ports of one mode mean nothing in the other.
    #[error("a domain's mode cannot change while it exists; remove it and add it anew")]
    DomainMode,
    /// Too many mirrors.
    #[error("at most {} mirrors", super::MAX_MIRRORS)]
    Mirrors,
    /// A mirror must not feed itself.
    #[error("a mirror cannot copy the port that a mirror ends at")]
    MirrorLoop,
    /// A guard with a window of nothing.
    #[error("times of a guard must be at least a second")]
    Instant,
}

impl PortPolicy {
    /// Whether the policy makes sense in a domain of that policy, its neighbours aside.
    pub(crate) fn check(&self, domain: &DomainPolicy) -> Result<(), PolicyError> {
        match (&self.role, &domain.mode) {
            (Role::Bridge(_), DomainMode::Learning(_)) => self.vlan.as_ref().map_or(Ok(()), VlanPolicy::check)?,
            (role, DomainMode::Learning(_)) => return Err(PolicyError::Role { role: role.name(), mode: "learning" }),
            (Role::Bridge(_), DomainMode::Macvlan(_)) => {
                return Err(PolicyError::Role { role: "bridge", mode: "macvlan" });
            }
            (_, DomainMode::Macvlan(_)) if self.vlan.is_some() => return Err(PolicyError::MacvlanVlan),
            (Role::Macvlan(device), _) => device.check()?,
            (Role::Host { macs }, _) => macs.iter().copied().try_for_each(station)?,
            (Role::Uplink, _) => {}
        }
        let secured = self.security.iter().flat_map(|security| &security.macs);
        secured.copied().try_for_each(station)
    }
}

impl Role {
    /// For error messages.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Bridge(_) => "bridge",
            Self::Macvlan(_) => "macvlan",
            Self::Uplink => "uplink",
            Self::Host { .. } => "host",
        }
    }
}

impl VlanPolicy {
    fn check(&self) -> Result<(), PolicyError> {
        if self.members.is_empty() {
            return Err(PolicyError::NoVlan);
        }
        if let Some(native) = self.native.filter(|native| !self.members.contains(*native)) {
            return Err(PolicyError::Native(native));
        }
        if let Some(pcp) = self.pcp.filter(|pcp| *pcp > 7) {
            return Err(PolicyError::Pcp(pcp));
        }
        self.check_map()
    }

    /// Each id once on either side, and no wire id that is also that of an untranslated member.
    fn check_map(&self) -> Result<(), PolicyError> {
        let (mut wire, mut inner) = (VidSet::EMPTY, VidSet::EMPTY);
        for &(out, inside) in &self.map {
            for (set, vid) in [(&mut wire, out), (&mut inner, inside)] {
                if set.contains(vid) {
                    return Err(PolicyError::MappedTwice(vid));
                }
                if !set.insert(vid) {
                    return Err(PolicyError::Vid(vid));
                }
            }
        }
        let over = wire.iter().find(|vid| self.members.contains(*vid) && !inner.contains(*vid));
        over.map_or(Ok(()), |vid| Err(PolicyError::MappedOver(vid)))
    }
}

impl MacvlanPort {
    fn check(&self) -> Result<(), PolicyError> {
        if self.macs.is_empty() && self.mode != MacvlanMode::Passthru {
            return Err(PolicyError::NoAddress);
        }
        self.macs.iter().copied().try_for_each(station)?;
        match &self.mode {
            MacvlanMode::Source(list) if list.is_empty() => Err(PolicyError::NoSources),
            MacvlanMode::Source(list) => list.iter().copied().try_for_each(station),
            _ => Ok(()),
        }
    }
}

impl DomainPolicy {
    /// Whether the policy makes sense by itself.
    pub(crate) fn check(&self) -> Result<(), PolicyError> {
        let DomainMode::Learning(learning) = &self.mode else { return Ok(()) };
        let moves = learning.moves.iter().flat_map(|guard| [guard.window, guard.hold]);
        let loops = learning.loops.iter().flat_map(|guard| [guard.interval, guard.block]);
        let instant = moves.chain(loops).any(|time| time.as_secs() == 0);
        if instant { Err(PolicyError::Instant) } else { Ok(()) }
    }
}

fn station(mac: MacAddr) -> Result<(), PolicyError> {
    if mac.is_multicast() || mac.is_zero() { Err(PolicyError::Address(mac)) } else { Ok(()) }
}
