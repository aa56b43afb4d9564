//! Ageing, flushing and listing: the control thread walks the slots while the workers go on.

use crate::eth::MacAddr;
use crate::port::PortId;
use crate::switch::fdb::slots::Slot;
use crate::switch::fdb::word::Word;
use crate::switch::fdb::{Fdb, Fid, Kind};

/// Slots per call of [`Fdb::age_step`]: below 1 ms even when every slot holds an idle entry.
const STEP: usize = 1 << 16;
/// Seconds without a frame after which an entry is marked stale. A full sweep in fewer than 7 - `IDLE` seconds marks
/// every entry before its stamp comes round again.
const IDLE: u32 = 2;

/// Where the next ageing step goes on.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct AgeCursor(Slot);

/// One entry, for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record {
    /// The filtering id.
    pub fid: Fid,
    /// The station.
    pub mac: MacAddr,
    /// The port it is on.
    pub port: PortId,
    /// How the entry came to be.
    pub kind: Kind,
    /// Seconds since the station was last heard; 0 for a static entry.
    pub age_s: u32,
}

impl Fdb {
    /// Removes what was not heard of for its filtering id's ageing time (`u32::MAX`: never); how many.
    pub fn age(&self, now_s: u32, ageing: impl Fn(Fid) -> u32) -> usize {
        self.age_slots(0..self.slots.len(), now_s, &ageing)
    }

    /// [`Fdb::age`], a part of the table at a time. The cursor wraps; [`Fdb::steps_per_second`] says how often to call.
    pub fn age_step(&self, cursor: &mut AgeCursor, now_s: u32, ageing: impl Fn(Fid) -> u32) -> usize {
        let end = (cursor.0 + STEP).min(self.slots.len());
        let removed = self.age_slots(cursor.0..end, now_s, &ageing);
        cursor.0 = if end == self.slots.len() { 0 } else { end };
        removed
    }

    /// How many ageing steps per second keep refreshing exact: with fewer, a station that speaks every 7 seconds (or
    /// 14, or ...) and no second in between may be forgotten.
    #[must_use]
    pub fn steps_per_second(&self) -> usize {
        self.slots.len().div_ceil(STEP).div_ceil(4)
    }

    fn age_slots(&self, slots: core::ops::Range<Slot>, now_s: u32, ageing: &impl Fn(Fid) -> u32) -> usize {
        slots.filter(|slot| self.age_slot(*slot, now_s, ageing)).count()
    }

    /// Removes or marks one entry, unless a frame refreshes it first; whether it is gone.
    fn age_slot(&self, slot: Slot, now_s: u32, ageing: &impl Fn(Fid) -> u32) -> bool {
        let word = self.slots.load(slot);
        if !word.is_learned() {
            return false;
        }
        let idle = now_s.saturating_sub(self.slots.seen(slot));
        if idle == 0 {
            return false;
        }
        if idle >= ageing(self.slots.key_at(slot, word).0) {
            let removed = self.slots.exchange(slot, word, Word::EMPTY).is_ok();
            if removed {
                self.discount(slot, word);
            }
            return removed;
        }
        if idle >= IDLE && !word.is_stale() {
            // A lost race is a frame: the entry is not idle.
            let _ = self.slots.exchange(slot, word, word.stale());
        }
        false
    }

    /// Removes every entry that points to `port`, filters aside; how many. For a port that is gone: no worker learns on it any more.
    pub fn flush_port(&self, port: PortId) -> usize {
        self.flush(|_, word| word.port() == port && word.kind() != Some(Kind::Filter))
    }

    /// Removes every entry of a filtering id; how many.
    pub fn flush_fid(&self, fid: Fid) -> usize {
        self.flush(|slot, word| self.slots.key_at(slot, word).0 == fid)
    }

    /// Removes every entry that `goes`, as a record whose age is not told; how many.
    pub fn flush_matching(&self, goes: impl Fn(Record) -> bool) -> usize {
        let record = |slot: Slot, word: Word| {
            let ((fid, mac), kind) = (self.slots.key_at(slot, word), word.kind()?);
            Some(Record { fid, mac, port: word.port(), kind, age_s: 0 })
        };
        self.flush(|slot, word| record(slot, word).is_some_and(&goes))
    }

    fn flush(&self, goes: impl Fn(Slot, Word) -> bool) -> usize {
        let clear = |slot: &Slot| self.clear(*slot, self.slots.load(*slot), |word| goes(*slot, word));
        (0..self.slots.len()).filter(clear).count()
    }

    /// All entries as they are now, in no order.
    #[must_use]
    pub fn dump(&self, now_s: u32) -> Vec<Record> {
        self.iter(now_s).collect()
    }

    /// The entries one by one; what changes meanwhile may or may not be seen.
    pub fn iter(&self, now_s: u32) -> impl Iterator<Item = Record> {
        (0..self.slots.len()).filter_map(move |slot| self.record(slot, now_s))
    }

    fn record(&self, slot: Slot, now_s: u32) -> Option<Record> {
        let word = self.slots.load(slot);
        let kind = word.kind()?;
        let (fid, mac) = self.slots.key_at(slot, word);
        let age_s = if word.is_static() { 0 } else { now_s.saturating_sub(self.slots.seen(slot)) };
        Some(Record { fid, mac, port: word.port(), kind, age_s })
    }
}
