//! Static entries and removal by key: calls of the control thread.

use crate::eth::MacAddr;
use crate::port::PortId;
use crate::primitive::Ordering;
use crate::switch::fdb::slots::{Probe, Slot};
use crate::switch::fdb::word::Word;
use crate::switch::fdb::{ATTEMPTS, Fdb, FdbError, Fid, Fixed, PORTS};

impl Fdb {
    /// Makes the station's entry a fixed one, on `port`, whatever it was. A fixed entry counts towards no limit, and any
    /// learned entry makes way for it.
    ///
    /// # Errors
    /// If the address is not a station's, the port cannot exist, or there is no slot.
    pub fn insert_fixed(&self, fid: Fid, mac: MacAddr, port: PortId, fixed: Fixed) -> Result<(), FdbError> {
        if mac.is_multicast() || mac.is_zero() {
            return Err(FdbError::Address(mac));
        }
        if port.index() >= PORTS {
            return Err(FdbError::Port { mac, port: port.0 });
        }
        let probe = self.slots.probe(self.hash(fid, mac));
        if !(0..ATTEMPTS).any(|_| self.fix(&probe, port, fixed)) {
            return Err(FdbError::Full(mac));
        }
        self.remove_doubles(&probe);
        Ok(())
    }

    /// Writes a static entry over the station's own, into a free slot, or over the oldest learned one in its way; false
    /// when there is none or another thread changed it meanwhile.
    fn fix(&self, probe: &Probe, port: PortId, fixed: Fixed) -> bool {
        let own = || self.slots.locate(probe).map(|(slot, word)| (slot, word.tag(), word));
        let free = || self.slots.vacancy(probe).map(|(slot, tag)| (slot, tag, Word::EMPTY));
        let oldest = || self.slots.victim(probe, Word::is_learned);
        let Some((slot, tag, old)) = own().or_else(free).or_else(oldest) else {
            return false;
        };
        // Relaxed: a count, as in `limits`; taken before, given back after.
        self.statics.fetch_add(1, Ordering::Relaxed);
        let done = self.slots.exchange(slot, old, Word::fixed(tag, port, fixed)).is_ok();
        self.settle_counts(slot, old, done);
        done
    }

    /// Gives back the count of the entry that went, or of the static one that did not come.
    fn settle_counts(&self, slot: Slot, old: Word, fixed: bool) {
        if !fixed {
            self.statics.fetch_sub(1, Ordering::Relaxed);
        } else if old != Word::EMPTY {
            self.discount(slot, old);
        }
    }

    /// Removes the station's entry, learned or static; whether there was one.
    pub fn remove(&self, fid: Fid, mac: MacAddr) -> bool {
        let probe = self.slots.probe(self.hash(fid, mac));
        let clear = |(slot, word): (Slot, Word)| self.clear(slot, word, |now| now.tag() == word.tag());
        self.slots.matches(&probe).map(clear).fold(false, |any, cleared| any | cleared)
    }
}
