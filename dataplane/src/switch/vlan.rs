//! VLAN ingress and egress: which VLAN a frame is in, and with which tag it leaves. Pure.
//!
//! A port looks at one kind of tag (its *protocol*), the outermost of a frame; a frame with none of that kind, or with
//! VID 0, is in the port's native VLAN (net/bridge/br_vlan.c, `__allowed_ingress`). What lies behind the tag, other
//! tags included, is payload. Tags are in the frame's bytes, always.

use super::fdb::Fid;
use super::policy::{TagProtocol, Vid, VidSet, VlanPolicy};
use crate::eth::{HEADER_LEN, TAG_LEN, TPID_8021AD, TPID_8021Q, field};
use crate::stats::DropReason;
use std::sync::Arc;

/// The VID part of a tag.
const VID_MASK: u16 = 0xfff;
/// Where its priority begins.
const PCP_SHIFT: u16 = 13;

/// The filtering ids of a domain, by VLAN.
#[derive(Debug, Clone)]
pub struct FidMap {
    base: Fid,
    /// Of VLANs 0..4096, [`FidMap::NONE`] for those that no port is in; empty while no port looks at tags.
    vlans: Arc<[u16]>,
}

impl FidMap {
    const NONE: u16 = u16::MAX;

    /// No VLANs but the one of frames whose tags are not looked at.
    #[must_use]
    pub fn new(base: Fid) -> Self {
        Self { base, vlans: Arc::new([]) }
    }

    /// The same with these VLANs.
    #[must_use]
    pub fn with(&self, vlans: impl IntoIterator<Item = (Vid, Fid)>) -> Self {
        let mut table = Vec::new();
        for (vid, fid) in vlans {
            table.resize(usize::from(VID_MASK) + 1, Self::NONE);
            if let Some(slot) = table.get_mut(usize::from(vid)) {
                *slot = fid.get();
            }
        }
        Self { base: self.base, vlans: table.into() }
    }

    /// The filtering id of frames whose tags are not looked at.
    #[inline]
    #[must_use]
    pub fn base(&self) -> Fid {
        self.base
    }

    /// The filtering id of a VLAN; VLAN 0 is that of frames whose tags are not looked at.
    #[inline]
    #[must_use]
    pub fn get(&self, vid: Vid) -> Option<Fid> {
        if vid == 0 { Some(self.base) } else { self.vlans.get(usize::from(vid)).copied().and_then(Fid::new) }
    }

    /// Whether a filtering id is one of the domain's.
    #[must_use]
    pub fn contains(&self, fid: Fid) -> bool {
        fid == self.base || self.vlans.contains(&fid.get())
    }
}

/// VLANs of a port, compiled.
#[derive(Debug, Clone)]
pub struct PortVlans {
    tpid: u16,
    /// 0: none.
    native: Vid,
    members: VidSet,
    pcp: Option<u8>,
    /// By VID on the wire: VLAN in the domain, 0 for one that is refused. Empty without translation.
    inward: Box<[Vid]>,
    /// By VLAN in the domain: VID on the wire.
    outward: Box<[Vid]>,
}

/// The VLAN of a frame, and what its tag says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tagging {
    /// VLAN in the domain; 0: tags are not looked at.
    pub vid: Vid,
    /// Priority and drop eligibility, at their place in the tag.
    pub priority: u16,
    /// The frame has a tag that counted, which is to be replaced or removed.
    pub tagged: bool,
}

impl Tagging {
    /// Of a frame whose tags are not looked at.
    pub const NONE: Self = Self { vid: 0, priority: 0, tagged: false };
}

/// What is to be done to the front of a frame before it leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retag {
    /// Nothing.
    Keep,
    /// Insert a tag.
    Push {
        /// Tag protocol id.
        tpid: u16,
        /// Priority, drop eligibility and VID.
        tci: u16,
    },
    /// Remove the outermost tag.
    Pop,
    /// Write over the outermost tag.
    Set {
        /// Tag protocol id.
        tpid: u16,
        /// Priority, drop eligibility and VID.
        tci: u16,
    },
}

impl PortVlans {
    /// Compiles a policy.
    #[must_use]
    pub fn new(policy: &VlanPolicy) -> Self {
        let tpid = match policy.protocol {
            TagProtocol::Dot1q => TPID_8021Q,
            TagProtocol::Dot1ad => TPID_8021AD,
        };
        let (inward, outward) = translation(policy);
        let native = policy.native.unwrap_or(0);
        Self { tpid, native, members: policy.members.clone(), pcp: policy.pcp, inward, outward }
    }

    /// Whether the port is in the VLAN.
    #[inline]
    #[must_use]
    pub fn contains(&self, vid: Vid) -> bool {
        self.members.contains(vid)
    }

    /// The VLAN of a frame that begins with `head`.
    ///
    /// # Errors
    /// [`DropReason::BadTag`] for a tag cut short, [`DropReason::VlanUntagged`] for a frame without a tag where there is
    /// no native VLAN, [`DropReason::VlanDenied`] for a VLAN that the port is not in.
    #[inline]
    pub fn classify(&self, head: &[u8]) -> Result<Tagging, DropReason> {
        let tci = self.tci(head)?;
        let wire = tci.map_or(0, |tci| tci & VID_MASK);
        let vid = if wire == 0 { self.native } else { self.inside(wire) };
        if !self.members.contains(vid) {
            return Err(if wire == 0 { DropReason::VlanUntagged } else { DropReason::VlanDenied });
        }
        let kept = tci.unwrap_or(0) & !VID_MASK;
        let priority = self.pcp.map_or(kept, |pcp| kept & 1 << 12 | u16::from(pcp) << PCP_SHIFT);
        Ok(Tagging { vid, priority, tagged: tci.is_some() })
    }

    /// The tag that counts, if there is one.
    #[inline]
    fn tci(&self, head: &[u8]) -> Result<Option<u16>, DropReason> {
        let tpid = head.get(field::ETHERTYPE).map(|b| u16::from_be_bytes([b[0], b[1]]));
        if tpid != Some(self.tpid) {
            return Ok(None);
        }
        // A tag is followed by an EtherType, or it is no whole tag (skb_vlan_untag).
        match head.get(HEADER_LEN..HEADER_LEN + TAG_LEN) {
            Some(tag) => Ok(Some(u16::from_be_bytes([tag[0], tag[1]]))),
            None => Err(DropReason::BadTag),
        }
    }

    #[inline]
    fn inside(&self, wire: Vid) -> Vid {
        if self.inward.is_empty() { wire } else { self.inward[usize::from(wire & VID_MASK)] }
    }

    /// What to do to a frame that leaves here.
    #[inline]
    #[must_use]
    pub fn retag(&self, frame: Tagging) -> Retag {
        if frame.vid == self.native {
            return if frame.tagged { Retag::Pop } else { Retag::Keep };
        }
        let wire = if self.outward.is_empty() { frame.vid } else { self.outward[usize::from(frame.vid & VID_MASK)] };
        let (tpid, tci) = (self.tpid, frame.priority | wire);
        if frame.tagged { Retag::Set { tpid, tci } } else { Retag::Push { tpid, tci } }
    }
}

/// The tables of a translation, or two empty ones.
fn translation(policy: &VlanPolicy) -> (Box<[Vid]>, Box<[Vid]>) {
    if policy.map.is_empty() {
        return (Box::new([]), Box::new([]));
    }
    let same = |vid: Vid| if policy.members.contains(vid) { vid } else { 0 };
    let mut inward: Vec<Vid> = (0..=VID_MASK).map(same).collect();
    let mut outward: Vec<Vid> = (0..=VID_MASK).collect();
    // First what a translation takes away, then what it gives: one VLAN's id on the wire may be another's in the domain.
    for (_, inner) in &policy.map {
        inward[usize::from(inner & VID_MASK)] = 0;
    }
    for (wire, inner) in &policy.map {
        inward[usize::from(wire & VID_MASK)] = *inner;
        outward[usize::from(inner & VID_MASK)] = *wire;
    }
    (inward.into(), outward.into())
}

#[cfg(test)]
mod tests;
