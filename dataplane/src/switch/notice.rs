//! Events for people: which station or port did what. Bounded: a worker passes on a few per second and counts the rest.

use super::fdb::Learn;
use super::policy::Vid;
use crate::eth::MacAddr;
use crate::port::PortId;
use arrayvec::ArrayVec;

/// Notices a worker passes on per second.
const PER_SECOND: usize = 32;

/// Something worth a line in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice {
    /// A learned or static address was seen on another port than before.
    Moved {
        /// The station.
        mac: MacAddr,
        /// Its VLAN; 0 where tags are not looked at.
        vlan: Vid,
        /// The port it was on.
        from: PortId,
        /// The port it is on now.
        to: PortId,
    },
    /// An address that is pinned to one port (sticky, secured) sent on another.
    Pinned {
        /// The address.
        mac: MacAddr,
        /// Its VLAN.
        vlan: Vid,
        /// The port it belongs to.
        owner: PortId,
        /// Where it was seen.
        seen: PortId,
    },
    /// An address moves to and fro: it is held where it is, or, when only observed, would be.
    Flapping {
        /// The station.
        mac: MacAddr,
        /// Its VLAN.
        vlan: Vid,
        /// The port it was on.
        from: PortId,
        /// The port it was seen on now.
        to: PortId,
        /// Nothing is done about it.
        observed: bool,
    },
    /// A port sends more of a kind than storm control allows.
    Storm {
        /// The culprit.
        port: PortId,
        /// Of what.
        of: Traffic,
        /// Nothing is done about it.
        observed: bool,
    },
    /// An address sent on a port whose security does not list it.
    Insecure {
        /// The port.
        port: PortId,
        /// The address.
        mac: MacAddr,
        /// Its VLAN.
        vlan: Vid,
        /// Nothing is done about it.
        observed: bool,
    },
    /// A port has as many learned addresses as it may have; further ones are flooded to.
    AddressLimit {
        /// The port.
        port: PortId,
        /// The address that was not learned.
        mac: MacAddr,
        /// Its VLAN.
        vlan: Vid,
    },
    /// A probe that left on one port came home on another: there is a loop.
    Loop {
        /// Where it came home.
        port: PortId,
        /// Where it had left.
        sent: PortId,
        /// Seconds for which `port` is blocked; `None`: nothing is done about it.
        blocked_s: Option<u32>,
    },
    /// A port that was blocked because of a loop is open again.
    Unblocked {
        /// The port.
        port: PortId,
    },
    /// So many more notices were not passed on.
    Suppressed {
        /// How many.
        count: u32,
    },
}

/// What storm control tells apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Traffic {
    /// To everybody.
    Broadcast,
    /// To a group.
    Multicast,
    /// To an address that is not known.
    UnknownUnicast,
}

/// A worker's notices until it has passed them on.
#[derive(Debug, Default)]
pub(super) struct Notices {
    waiting: ArrayVec<Notice, PER_SECOND>,
    /// The second that `told` and `suppressed` are of.
    second: u32,
    told: usize,
    suppressed: u32,
}

impl Notices {
    /// Keeps a notice, or counts it if there have been too many this second.
    #[cold]
    pub(super) fn tell(&mut self, now_s: u32, notice: Notice) {
        if self.second != now_s {
            (self.second, self.told) = (now_s, 0);
        }
        if self.told == PER_SECOND || self.waiting.try_push(notice).is_err() {
            self.suppressed = self.suppressed.saturating_add(1);
        } else {
            self.told += 1;
        }
    }

    /// What learning an address came to, if it is worth telling.
    #[cold]
    pub(super) fn learned(&mut self, now_s: u32, learned: Learn, mac: MacAddr, vlan: Vid, port: PortId) {
        let notice = match learned {
            Learn::Moved { from } => Notice::Moved { mac, vlan, from, to: port },
            Learn::Pinned { to } => Notice::Pinned { mac, vlan, owner: to, seen: port },
            Learn::PortLimit => Notice::AddressLimit { port, mac, vlan },
            Learn::Fresh | Learn::Refreshed | Learn::Inserted | Learn::Full | Learn::DomainLimit => return,
        };
        self.tell(now_s, notice);
    }

    /// Whether there is something to pass on. Suppressed ones wait for the next second, so that they are told once.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Hands all over.
    pub(super) fn take(&mut self) -> impl Iterator<Item = Notice> + '_ {
        let count = std::mem::take(&mut self.suppressed);
        let suppressed = (count > 0).then_some(Notice::Suppressed { count });
        self.waiting.drain(..).chain(suppressed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_has_room_for_so_many_and_the_rest_is_counted() {
        let mut notices = Notices::default();
        let notice = Notice::Unblocked { port: PortId(1) };
        for _ in 0..PER_SECOND + 5 {
            notices.tell(7, notice);
        }
        assert_eq!(notices.take().filter(|n| *n == notice).count(), PER_SECOND);
        notices.tell(7, notice);
        assert!(notices.is_empty(), "still the same second");
        notices.tell(8, notice);
        let told: Vec<_> = notices.take().collect();
        assert_eq!(told, [notice, Notice::Suppressed { count: 1 }]);
    }
}
