//! VLANs of a port. Every way to say it (access, trunk, tunnel, translation) is one table: which VLANs the port is in,
//! which of them untagged frames belong to, and which tag is looked at.

use std::fmt;

/// A VLAN id, 1..=4094; 0 stands for frames whose tags are not looked at.
pub type Vid = u16;

/// A set of VLANs.
#[derive(Clone, PartialEq, Eq)]
pub struct VidSet([u64; 64]);

impl VidSet {
    /// The id that 802.1Q reserves (Table 9-2): never in a set, so frames that carry it are refused.
    pub const RESERVED: Vid = 4095;
    /// No VLAN.
    pub const EMPTY: Self = Self([0; 64]);

    /// Adds a VLAN; false if it is not 1..=4094.
    pub fn insert(&mut self, vid: Vid) -> bool {
        let valid = (1..Self::RESERVED).contains(&vid);
        if valid {
            self.0[usize::from(vid / 64)] |= 1 << (vid % 64);
        }
        valid
    }

    /// Whether the VLAN is in the set.
    #[inline]
    #[must_use]
    pub fn contains(&self, vid: Vid) -> bool {
        self.0.get(usize::from(vid / 64)).is_some_and(|word| word >> (vid % 64) & 1 == 1)
    }

    /// Its VLANs, ascending.
    pub fn iter(&self) -> impl Iterator<Item = Vid> + '_ {
        (1..Self::RESERVED).filter(|vid| self.contains(*vid))
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0 == [0; 64]
    }
}

impl FromIterator<Vid> for VidSet {
    /// Ids outside 1..=4094 are left out.
    fn from_iter<I: IntoIterator<Item = Vid>>(vids: I) -> Self {
        let mut set = Self::EMPTY;
        for vid in vids {
            set.insert(vid);
        }
        set
    }
}

impl fmt::Debug for VidSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

/// Which tag a port looks at and writes; one of the other kind is payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TagProtocol {
    /// 802.1Q, 0x8100.
    #[default]
    Dot1q,
    /// 802.1ad, 0x88a8.
    Dot1ad,
}

/// VLANs of a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VlanPolicy {
    /// The tag that counts.
    pub protocol: TagProtocol,
    /// VLANs of the domain that the port is in.
    pub members: VidSet,
    /// The VLAN of frames without a tag (and with one of VID 0); its frames leave without a tag. One of `members`.
    pub native: Option<Vid>,
    /// Translation: `(on the wire, in the domain)`; VLANs that are not named here are the same on both sides.
    pub map: Vec<(Vid, Vid)>,
    /// The priority frames get that come in here; `None`: what their tag says, 0 without one.
    pub pcp: Option<u8>,
}

impl VlanPolicy {
    /// In one VLAN, without tags. A frame that does carry this VLAN's tag is taken too, as by the kernel's bridge.
    #[must_use]
    pub fn access(vid: Vid) -> Self {
        Self::trunk([vid].into_iter().collect(), Some(vid))
    }

    /// In several VLANs, with tags, save that of `native`.
    #[must_use]
    pub fn trunk(members: VidSet, native: Option<Vid>) -> Self {
        Self { protocol: TagProtocol::Dot1q, members, native, map: Vec::new(), pcp: None }
    }

    /// Customer side of a provider bridge (QinQ): whatever 802.1Q tag a frame has is payload, VLAN `vid` is around it.
    #[must_use]
    pub fn tunnel(vid: Vid) -> Self {
        Self { protocol: TagProtocol::Dot1ad, ..Self::access(vid) }
    }

    /// A trunk whose VLANs have other ids on the wire: pairs of `(on the wire, in the domain)`.
    #[must_use]
    pub fn translated(map: Vec<(Vid, Vid)>) -> Self {
        let members = map.iter().map(|(_, inner)| *inner).collect();
        Self { map, ..Self::trunk(members, None) }
    }

    /// The same with that tag protocol.
    #[must_use]
    pub fn with_protocol(self, protocol: TagProtocol) -> Self {
        Self { protocol, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_takes_the_ids_of_vlans_only() {
        let mut set = VidSet::EMPTY;
        for vid in [1, 63, 64, 4094] {
            assert!(set.insert(vid) && set.contains(vid));
        }
        for vid in [0, 4095, 4096, u16::MAX] {
            assert!(!set.insert(vid) && !set.contains(vid));
        }
        assert_eq!(set.iter().collect::<Vec<_>>(), [1, 63, 64, 4094]);
        assert_eq!(format!("{set:?}"), "{1, 63, 64, 4094}");
    }
}
