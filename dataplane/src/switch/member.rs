//! A port as verdicts see it: its policy, compiled.

use super::guard::Paces;
use super::macs::{self, Macs};
use super::policy::{BridgePort, MAX_MIRRORS, Mirror, MirrorSource, PortPolicy, Role, RouterPort, Vid};
use super::vlan::PortVlans;
use crate::eth::MacAddr;
use crate::port::{DomainId, PortId};
use crate::stats::DropReason;
use std::sync::Arc;

/// A port of a domain.
#[derive(Debug, Clone)]
pub struct Member {
    /// The segment it is on.
    pub domain: DomainId,
    /// Flags of a bridge port; the default for others.
    pub bridge: BridgePort,
    /// Its VLANs; `None`: its frames' tags are not looked at.
    pub vlans: Option<Arc<PortVlans>>,
    /// Why nothing may enter or leave here: compiled from what follows.
    closed: Option<DropReason>,
    /// Blocked for a while because of a loop.
    blocked: bool,
    pub(super) paces: Paces,
    /// The sources that port security allows.
    secured: Option<Arc<Macs<()>>>,
    policy: Arc<PortPolicy>,
    /// Mirrors that copy what comes in, by bit.
    rx_mirrors: u16,
    /// Mirrors that copy what leaves.
    tx_mirrors: u16,
    /// A mirror ends here.
    is_mirror: bool,
}

impl Member {
    /// A port with that policy.
    #[must_use]
    pub fn new(domain: DomainId, policy: &PortPolicy) -> Self {
        let bridge = match policy.role {
            Role::Bridge(flags) => flags,
            _ => BridgePort::default(),
        };
        Self {
            domain,
            bridge,
            vlans: policy.vlan.as_ref().map(|vlan| Arc::new(PortVlans::new(vlan))),
            closed: (!policy.enabled).then_some(DropReason::PortDown),
            blocked: false,
            paces: Paces::new(&policy.storm, 1),
            secured: policy.security.as_ref().map(|security| Arc::new(macs::set(&security.macs))),
            policy: Arc::new(policy.clone()),
            rx_mirrors: 0,
            tx_mirrors: 0,
            is_mirror: false,
        }
    }

    /// The same on one of so many workers that take frames in here: each allows its share of the rates.
    #[must_use]
    pub fn on_workers(self, workers: u32) -> Self {
        Self { paces: Paces::new(&self.policy.storm, workers), ..self }
    }

    /// Whether it is in the VLAN; 0: that of ports that look at no tags.
    #[inline]
    #[must_use]
    pub fn is_in(&self, vid: Vid) -> bool {
        self.vlans.as_ref().map_or(vid == 0, |vlans| vlans.contains(vid))
    }

    /// Whether port security lets a source send here.
    #[inline]
    #[must_use]
    pub fn allows(&self, source: MacAddr) -> bool {
        self.secured.as_ref().is_none_or(|allowed| allowed.contains_key(&source.to_u64()))
    }

    /// Its policy.
    #[must_use]
    pub fn policy(&self) -> &PortPolicy {
        &self.policy
    }

    /// Why nothing may enter or leave here.
    #[inline]
    #[must_use]
    pub fn closed(&self) -> Option<DropReason> {
        self.closed
    }

    /// The same, blocked because of a loop or open again.
    #[must_use]
    pub fn with_block(mut self, blocked: bool) -> Self {
        self.blocked = blocked;
        self.close();
        self
    }

    fn close(&mut self) {
        self.closed = match (self.policy.enabled, self.is_mirror, self.blocked) {
            (true, false, false) => None,
            (false, ..) => Some(DropReason::PortDown),
            (_, true, _) => Some(DropReason::MirrorPort),
            (_, _, true) => Some(DropReason::Blocked),
        };
    }

    /// Whether frames may enter and leave here.
    #[inline]
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.closed().is_none()
    }

    /// Mirrors that copy what comes in, a bit each.
    #[must_use]
    pub fn rx_mirrors(&self) -> u16 {
        self.rx_mirrors
    }

    /// Mirrors that copy what leaves.
    #[must_use]
    pub fn tx_mirrors(&self) -> u16 {
        self.tx_mirrors
    }

    /// Whether it learns and floods, and has no other policy.
    pub(super) fn is_plain(&self) -> bool {
        let usual = PortPolicy { fdb_limit: self.policy.fdb_limit, router: RouterPort::Auto, ..PortPolicy::default() };
        *self.policy == usual && self.rx_mirrors | self.tx_mirrors == 0
    }

    /// Notes what the mirrors want of it.
    pub(super) fn mirror(&mut self, port: PortId, mirrors: &[Mirror]) {
        let bits = |source: MirrorSource| {
            let wants = |(bit, mirror): (usize, &Mirror)| u16::from(mirror.from.contains(&source)) << bit;
            mirrors.iter().take(MAX_MIRRORS).enumerate().map(wants).fold(0, |all, bit| all | bit)
        };
        self.rx_mirrors = bits(MirrorSource::Rx(port));
        self.tx_mirrors = bits(MirrorSource::Tx(port));
        self.is_mirror = mirrors.iter().any(|mirror| mirror.to == port);
        self.close();
    }
}
