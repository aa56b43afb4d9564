//! The buckets: eight words to a cache line, a key in one of two lines.
//!
//! Edges (on a slot's word):
//! - (A) a refresh or insert stores `seen`, then publishes the word (Release); the sweep loads the word (Acquire), then
//!   `seen`: a word that looks refreshed has a `seen` that is.
//! - (B) a quota is taken before the word is published (Release), and given back by the one whose exchange removed the
//!   word (Acquire).
//! - (C) a fence (SeqCst) stands between publishing an entry and looking for its doubles: of two workers that insert
//!   one key into two slots, at least one sees both.
//!
//! Look-ups are Relaxed: the word is the whole entry, nothing else is read on its strength.

use crate::eth::MacAddr;
use crate::mem::table::{Backing, Line, Table, WORDS_PER_LINE};
use crate::primitive::{AtomicU32, AtomicU64, Ordering, fence};
use crate::switch::fdb::key::{Fid, HashedKey, MAX_BUCKET_BITS, MIN_BUCKET_BITS, Seed};
use crate::switch::fdb::word::{Tag, Word};

/// Where an entry is: bucket × words per line + word.
pub(super) type Slot = usize;

/// The primary bucket takes a new entry while it has more free words than this, then the emptier of the two does. With
/// 0 a half-full table refuses 0.03 % of its keys; with 2 it keeps 4.6 % of them in their secondary bucket, at two
/// cache lines per look-up; with 1 it refuses none and keeps 2.1 % there (the table in the module `fdb`).
const SPARE: usize = 1;

/// The two places of a key: bucket, and tag there.
#[derive(Debug, Clone, Copy)]
pub(super) struct Probe([(usize, Tag); 2]);

#[cfg(test)]
impl Probe {
    pub(super) fn buckets(&self) -> [usize; 2] {
        self.0.map(|(bucket, _)| bucket)
    }
}

/// The words of the table and, beside them, the second at which each was last seen.
#[derive(Debug)]
pub(super) struct Slots {
    // hot: read for every frame
    lines: Table<Line>,
    bucket_bits: u32,
    seed: Seed,
    // warm: written at most once per second and station
    seen: Table<AtomicU32>,
}

impl Slots {
    /// Twice `entries` slots, rounded up to a power of two, and at least as many as the key's width needs.
    pub(super) fn new(entries: u32, seed: Seed) -> Self {
        let words = (u64::from(entries) * 2).next_power_of_two();
        let bits = words.trailing_zeros().saturating_sub(WORDS_PER_LINE.trailing_zeros());
        let bucket_bits = bits.clamp(MIN_BUCKET_BITS, MAX_BUCKET_BITS);
        let lines = Table::zeroed(1 << bucket_bits);
        let seen = Table::zeroed(WORDS_PER_LINE << bucket_bits);
        Self { lines, bucket_bits, seed, seen }
    }

    pub(super) fn len(&self) -> usize {
        self.seen.len()
    }

    pub(super) fn backing(&self) -> Backing {
        self.lines.backing()
    }

    #[inline]
    pub(super) fn hash(&self, fid: Fid, mac: MacAddr) -> HashedKey {
        self.seed.hash(fid, mac)
    }

    pub(super) fn unhash(&self, key: HashedKey) -> (Fid, MacAddr) {
        self.seed.unhash(key)
    }

    /// The key of an entry.
    pub(super) fn key_at(&self, slot: Slot, word: Word) -> (Fid, MacAddr) {
        let remainder = word.tag().remainder();
        let offset = if word.tag().is_alt() { self.seed.offset(remainder, self.bucket_bits) } else { 0 };
        self.unhash(HashedKey::join((slot / WORDS_PER_LINE) ^ offset, remainder, self.bucket_bits))
    }

    #[inline]
    pub(super) fn prefetch(&self, key: HashedKey) {
        self.lines.prefetch(key.bucket(self.bucket_bits));
    }

    #[inline]
    pub(super) fn probe(&self, key: HashedKey) -> Probe {
        let (bucket, remainder) = (key.bucket(self.bucket_bits), key.remainder(self.bucket_bits));
        let other = bucket ^ self.seed.offset(remainder, self.bucket_bits);
        Probe([(bucket, Tag::new(remainder, false)), (other, Tag::new(remainder, true))])
    }

    /// The first entry with that key.
    #[inline]
    pub(super) fn find(&self, Probe([primary, secondary]): &Probe) -> Option<Word> {
        self.find_in(primary).or_else(|| self.find_in(secondary))
    }

    /// Compares all words before it branches: which of them matches is random, and a wrong guess costs more.
    #[inline]
    fn find_in(&self, &(bucket, tag): &(usize, Tag)) -> Option<Word> {
        let words = self.lines[bucket].0.iter().rev();
        let found = words
            .map(|word| Word(word.load(Ordering::Relaxed)))
            .fold(Word::EMPTY, |found, word| if word.has(tag) { word } else { found });
        (found != Word::EMPTY).then_some(found)
    }

    /// The first entry with that key, and where it is.
    pub(super) fn locate(&self, probe: &Probe) -> Option<(Slot, Word)> {
        self.matches(probe).next()
    }

    /// The slots in which that key may be, with what each holds.
    fn candidates(&self, probe: &Probe) -> impl Iterator<Item = (Slot, Tag, Word)> {
        let slots = probe.0.map(|(bucket, tag)| (0..WORDS_PER_LINE).map(move |i| (bucket * WORDS_PER_LINE + i, tag)));
        slots.into_iter().flatten().map(|(slot, tag)| (slot, tag, self.load(slot)))
    }

    /// Every entry with that key; more than one only while two workers insert it at once.
    pub(super) fn matches(&self, probe: &Probe) -> impl Iterator<Item = (Slot, Word)> {
        self.candidates(probe).filter(|(_, tag, word)| word.has(*tag)).map(|(slot, _, word)| (slot, word))
    }

    /// What to call after an entry was published and before its doubles are looked for.
    pub(super) fn settle(&self) {
        fence(Ordering::SeqCst); // C
    }

    /// The slot a new entry with that key goes to, and its tag there.
    pub(super) fn vacancy(&self, probe: &Probe) -> Option<(Slot, Tag)> {
        let free = probe.0.map(|(bucket, _)| self.lines[bucket].0.iter().filter(|word| is_empty(word)).count());
        let (bucket, tag) = probe.0[usize::from(free[0] <= SPARE && free[1] > free[0])];
        let i = self.lines[bucket].0.iter().position(is_empty)?;
        Some((bucket * WORDS_PER_LINE + i, tag))
    }

    /// Of the entries in that key's way, the one that was not seen for longest among those that `may_go`.
    pub(super) fn victim(&self, probe: &Probe, may_go: impl Fn(Word) -> bool) -> Option<(Slot, Tag, Word)> {
        self.candidates(probe).filter(|(_, _, word)| may_go(*word)).min_by_key(|(slot, ..)| self.seen(*slot))
    }

    pub(super) fn load(&self, slot: Slot) -> Word {
        Word(self.word(slot).load(Ordering::Acquire)) // A, B
    }

    /// Publishes `new` in place of `old`, or tells what is there instead.
    pub(super) fn exchange(&self, slot: Slot, old: Word, new: Word) -> Result<(), Word> {
        let exchanged = self.word(slot).compare_exchange(old.0, new.0, Ordering::AcqRel, Ordering::Acquire); // A, B
        exchanged.map(|_| ()).map_err(Word)
    }

    /// Publishes `new` in place of `old` as seen at `now_s`.
    pub(super) fn exchange_seen(&self, slot: Slot, old: Word, new: Word, now_s: u32) -> bool {
        // Relaxed: ordered by A. If the exchange fails, the slot's new owner is credited with `now_s`, which is now.
        self.seen[slot].store(now_s, Ordering::Relaxed);
        self.exchange(slot, old, new).is_ok()
    }

    /// The second at which the entry was last seen.
    pub(super) fn seen(&self, slot: Slot) -> u32 {
        self.seen[slot].load(Ordering::Relaxed) // after `load`: A
    }

    fn word(&self, slot: Slot) -> &AtomicU64 {
        &self.lines[slot / WORDS_PER_LINE].0[slot % WORDS_PER_LINE]
    }
}

fn is_empty(word: &AtomicU64) -> bool {
    word.load(Ordering::Relaxed) == Word::EMPTY.0
}
