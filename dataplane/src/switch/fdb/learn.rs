//! The frames, about one per station and second, for which the table must change.

use crate::port::PortId;
use crate::switch::fdb::key::HashedKey;
use crate::switch::fdb::slots::{Probe, Slot};
use crate::switch::fdb::word::Word;
use crate::switch::fdb::{ATTEMPTS, Fdb, Learn};

impl Fdb {
    /// What [`Fdb::learn_at`] does when the entry is not there or not as it should be.
    #[cold]
    #[inline(never)]
    pub(super) fn learn_changed(&self, key: HashedKey, probe: &Probe, port: PortId, now_s: u32) -> Learn {
        for _ in 0..ATTEMPTS {
            let learned = match self.slots.locate(probe) {
                Some((slot, word)) => self.touch(slot, word, port, now_s),
                None => self.insert(key, probe, port, now_s),
            };
            if let Some(learned) = learned {
                return learned;
            }
        }
        Learn::Fresh
    }

    /// Refreshes or moves an entry; `None` when another thread changed it meanwhile.
    fn touch(&self, slot: Slot, word: Word, port: PortId, now_s: u32) -> Option<Learn> {
        let here = word.port() == port;
        match (here, word.is_static()) {
            (true, true) => Some(Learn::Fresh),
            (false, true) if word.may_roam() => {
                let moved = self.slots.exchange(slot, word, word.on(port)).is_ok();
                moved.then_some(Learn::Moved { from: word.port() })
            }
            (false, true) => Some(Learn::Pinned { to: word.port() }),
            (true, false) if word.is_stamped(now_s) => Some(Learn::Fresh),
            (true, false) => {
                let new = Word::learned(word.tag(), port, now_s);
                self.slots.exchange_seen(slot, word, new, now_s).then_some(Learn::Refreshed)
            }
            (false, false) => self.relocate(slot, word, port, now_s),
        }
    }

    /// Points an entry to another port.
    fn relocate(&self, slot: Slot, word: Word, port: PortId, now_s: u32) -> Option<Learn> {
        if !self.ports.take(port.index()) {
            return Some(Learn::PortLimit);
        }
        let moved = self.slots.exchange_seen(slot, word, Word::learned(word.tag(), port, now_s), now_s);
        let from = word.port();
        self.ports.give(if moved { from } else { port }.index());
        moved.then_some(Learn::Moved { from })
    }

    /// Counts and places a new entry; `None` when another thread took the slot.
    fn insert(&self, key: HashedKey, probe: &Probe, port: PortId, now_s: u32) -> Option<Learn> {
        let fid = self.quota(self.slots.unhash(key).0);
        if !self.ports.take(port.index()) {
            return Some(Learn::PortLimit);
        }
        if !self.fids.take(fid) {
            self.ports.give(port.index());
            return Some(Learn::DomainLimit);
        }
        let placed = self.place(probe, port, now_s);
        if placed == Some(Learn::Inserted) {
            self.remove_doubles(probe);
        } else {
            self.fids.give(fid);
            self.ports.give(port.index());
        }
        placed
    }

    /// Writes a new entry into a free slot, or over the port's own oldest entry in its way.
    fn place(&self, probe: &Probe, port: PortId, now_s: u32) -> Option<Learn> {
        if let Some((slot, tag)) = self.slots.vacancy(probe) {
            let new = Word::learned(tag, port, now_s);
            return self.slots.exchange_seen(slot, Word::EMPTY, new, now_s).then_some(Learn::Inserted);
        }
        let own = |word: Word| word.is_learned() && word.port() == port;
        let Some((slot, tag, old)) = self.slots.victim(probe, own) else {
            return Some(Learn::Full);
        };
        let replaced = self.slots.exchange_seen(slot, old, Word::learned(tag, port, now_s), now_s);
        if replaced {
            self.discount(slot, old);
        }
        replaced.then_some(Learn::Inserted)
    }
}
