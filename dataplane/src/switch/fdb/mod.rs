//! The forwarding database: MAC address and filtering id → port. One table for all workers, without a lock.
//!
//! Owner threads: every worker looks up and learns; control makes and removes static entries, flushes and ages.
//!
//! Two things make it small. An entry is one 64-bit word (`word`), read by one load and changed by one
//! compare-exchange, so no reader ever sees half an entry. And a key needs only 48 bits of it (`key`): a seeded
//! bijection lets the bucket number stand for the other 13. A bucket is a cache line of eight words; a key lives in one
//! of two buckets, entries are never relocated, so a look-up touches at most two lines and cannot miss an entry that is
//! on the move.
//!
//! Complications, in the order in which they bite:
//! - *Refresh.* An entry's last second is kept beside the table and written when the entry's 3-bit stamp is not the
//!   current second's: once per station and second, not once per frame.
//! - *Doubles.* Two workers may insert one key into two slots. Look-up and learn both take the first match, and each
//!   inserter afterwards removes all but the first (or the static one), so doubles do not outlive the race.
//! - *Fairness.* When both buckets of a key are full, only the oldest learned entry of the *same port* may make way:
//!   a flood of addresses costs the flooder its own entries. Limits per port and per filtering id bound the rest.
//! - *Ageing.* The sweep removes by compare-exchange, so a frame that refreshes the entry meanwhile wins.
//!
//! Nothing here loops without bound: after 16 lost races a worker goes on with the next frame.
//!
//! The table has two slots per configured entry. Random keys inserted up to a load factor: how many found both buckets
//! full, and how many entries sit in their secondary bucket (test `fill_table`, ignored, `--nocapture`):
//!
//! | load | 64 k slots: did not fit | secondary | 2 M slots: did not fit | secondary |
//! |------|-------------------------|-----------|------------------------|-----------|
//! | 0.25 | 0                       | 0.1 %     | 0                      | 0.1 %     |
//! | 0.40 | 0                       | 0.8 %     | 0                      | 0.8 %     |
//! | 0.50 | 0                       | 2.1 %     | 0                      | 2.1 %     |
//! | 0.60 | 3 (0.01 %)              | 4.3 %     | 46 (0.004 %)           | 4.2 %     |
//! | 0.70 | 34 (0.07 %)             | 6.8 %     | 1,084 (0.07 %)         | 6.9 %     |
//! | 0.80 | 289 (0.55 %)            | 9.8 %     | 9,130 (0.54 %)         | 9.9 %     |
//! | 0.90 | 1,336 (2.3 %)           | 12.3 %    | 43,379 (2.3 %)         | 12.4 %    |
//! | 0.95 | 2,439 (3.9 %)           | 13.2 %    | 78,423 (3.9 %)         | 13.3 %    |
//!
//! So a table filled to its configured number of entries (0.50) takes every key.

mod control;
mod key;
mod learn;
mod limits;
mod slots;
mod sweep;
mod word;

#[cfg(all(test, loom))]
mod loom_tests;
#[cfg(all(test, not(loom)))]
mod model_tests;
#[cfg(all(test, not(loom)))]
mod tests;

pub use self::key::{Fid, HashedKey};
pub use self::sweep::{AgeCursor, Record};

use self::key::Seed;
use self::limits::Quotas;
use self::slots::{Probe, Slot, Slots};
use self::word::Word;
use crate::eth::MacAddr;
use crate::mem::table::Backing;
use crate::port::{MAX_PORTS, PortId};
use crate::primitive::{AtomicU32, Ordering};

/// Lost races after which a call gives up.
const ATTEMPTS: usize = 16;
/// Ports with a quota; a model check has few.
const PORTS: usize = if cfg!(all(test, loom)) { 4 } else { MAX_PORTS };
/// Filtering ids with a quota; likewise.
const FIDS: usize = if cfg!(all(test, loom)) { 2 } else { Fid::COUNT };

/// How an entry came to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Learned from traffic: ages, moves, may be evicted.
    Learned,
    /// Made by control: never ages, moves with its station, as the kernel's `static`.
    Static,
    /// Made by control: never ages, never moves.
    Sticky,
    /// Made by control: frames to and from the station are dropped.
    Filter,
}

/// An entry for control to make; see [`Kind`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fixed {
    /// [`Kind::Static`].
    Static,
    /// [`Kind::Sticky`].
    Sticky,
    /// [`Kind::Filter`]; its port means nothing.
    Filter,
}

/// What a look-up found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hit {
    /// The port the station is on.
    pub port: PortId,
    /// How the entry came to be.
    pub kind: Kind,
}

/// What learning an address came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Learn {
    /// Known on this port, nothing written. Also when other workers kept changing this very entry: the next frame tries
    /// again.
    Fresh,
    /// Known on this port, its age is 0 again.
    Refreshed,
    /// New. An older entry of the same port may have made way.
    Inserted,
    /// The station moved here.
    Moved {
        /// The port it was on.
        from: PortId,
    },
    /// A sticky or filter entry says that the station is not here; whether to drop the frame is the caller's choice.
    Pinned {
        /// The port it is pinned to.
        to: PortId,
    },
    /// Not learned: both buckets are full of other ports' entries.
    Full,
    /// Not learned (or not moved here): the port has as many entries as it may have.
    PortLimit,
    /// Not learned: the filtering id has as many entries as it may have.
    DomainLimit,
}

impl Learn {
    /// Whether the station is not simply where it was, or new.
    #[inline]
    #[must_use]
    pub fn is_news(self) -> bool {
        !matches!(self, Self::Fresh | Self::Refreshed | Self::Inserted)
    }
}

/// Why a static entry was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FdbError {
    /// No such port can exist.
    #[error("static entry {mac}: port id {port} is not below {PORTS}; name an existing port")]
    Port {
        /// The address of the entry.
        mac: MacAddr,
        /// The port id.
        port: u16,
    },
    /// Frames to such an address are flooded, never looked up.
    #[error("static entry {0}: not the address of one station; use one that is not zero and has the group bit clear")]
    Address(MacAddr),
    /// Both buckets hold nothing but static entries, or workers changed them faster than control could.
    #[error("static entry {0}: no slot left in its two buckets; raise the number of fdb entries and restart")]
    Full(MacAddr),
}

/// The table. Share it by reference; all methods take `&self`.
#[derive(Debug)]
pub struct Fdb {
    slots: Slots,
    /// Learned entries per port.
    ports: Quotas,
    /// Learned entries per filtering id.
    fids: Quotas,
    /// Whose limit and count a filtering id shares; its own, unless told otherwise.
    shares: Box<[AtomicU32]>,
    statics: AtomicU32,
}

impl Fdb {
    /// A table for `entries` stations (it has at least twice as many slots), with a random seed.
    #[must_use]
    pub fn new(entries: u32) -> Self {
        Self::build(entries, Seed::random())
    }

    /// The same table every time: for tests and benches. Whoever knows the seed can make addresses collide.
    #[must_use]
    pub fn with_seed(entries: u32, seed: u64) -> Self {
        Self::build(entries, Seed::from_u64(seed))
    }

    fn build(entries: u32, seed: Seed) -> Self {
        let slots = Slots::new(entries, seed);
        let shares = (0..FIDS).map(|fid| AtomicU32::new(u32::try_from(fid).unwrap_or(0))).collect();
        Self { slots, ports: Quotas::new(PORTS), fids: Quotas::new(FIDS), shares, statics: AtomicU32::new(0) }
    }

    /// Computes where a key lives, once for [`Fdb::prefetch_at`], [`Fdb::lookup_at`] and [`Fdb::learn_at`]. Good for
    /// this table only.
    #[inline]
    #[must_use]
    pub fn hash(&self, fid: Fid, mac: MacAddr) -> HashedKey {
        self.slots.hash(fid, mac)
    }

    /// Asks the cache for the line in which the key most likely is.
    #[inline]
    pub fn prefetch(&self, fid: Fid, mac: MacAddr) {
        self.prefetch_at(self.hash(fid, mac));
    }

    /// [`Fdb::prefetch`] with the key at hand.
    #[inline]
    pub fn prefetch_at(&self, key: HashedKey) {
        self.slots.prefetch(key);
    }

    /// The port on which the station is.
    #[inline]
    #[must_use]
    pub fn lookup(&self, fid: Fid, mac: MacAddr) -> Option<PortId> {
        self.lookup_at(self.hash(fid, mac))
    }

    /// [`Fdb::lookup`] with the key at hand.
    #[inline]
    #[must_use]
    pub fn lookup_at(&self, key: HashedKey) -> Option<PortId> {
        self.slots.find(&self.slots.probe(key)).map(Word::port)
    }

    /// Port and kind of the entry of a station.
    #[inline]
    #[must_use]
    pub fn find_at(&self, key: HashedKey) -> Option<Hit> {
        let word = self.slots.find(&self.slots.probe(key))?;
        Some(Hit { port: word.port(), kind: word.kind()? })
    }

    /// The filtering id and the address that a key was made of.
    #[must_use]
    pub fn key(&self, key: HashedKey) -> (Fid, MacAddr) {
        self.slots.unhash(key)
    }

    /// Notes that the station spoke on `port` in second `now_s` (of any clock that all callers share). The caller has
    /// checked that the address is one station's: not a group address, not zero, not the switch's own.
    ///
    /// # Panics
    /// If `port` is not below [`MAX_PORTS`] and the entry is not there yet.
    #[inline]
    pub fn learn(&self, fid: Fid, mac: MacAddr, port: PortId, now_s: u32) -> Learn {
        self.learn_at(self.hash(fid, mac), port, now_s)
    }

    /// [`Fdb::learn`] with the key at hand.
    #[inline]
    pub fn learn_at(&self, key: HashedKey, port: PortId, now_s: u32) -> Learn {
        let probe = self.slots.probe(key);
        match self.slots.find(&probe) {
            Some(word) if word.port() == port && (word.is_stamped(now_s) || word.is_static()) => Learn::Fresh,
            _ => self.learn_changed(key, &probe, port, now_s),
        }
    }

    /// How many entries there are. Exact while no thread changes the table.
    #[must_use]
    pub fn len(&self) -> u32 {
        self.ports.total() + self.statics.load(Ordering::Relaxed)
    }

    /// Whether there are no entries.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many slots there are.
    #[must_use]
    pub fn slots(&self) -> usize {
        self.slots.len()
    }

    /// What the table's memory is made of.
    #[must_use]
    pub fn backing(&self) -> Backing {
        self.slots.backing()
    }

    /// The learned entries of a port.
    #[must_use]
    pub fn port_count(&self, port: PortId) -> u32 {
        self.ports.count(port.index())
    }

    /// The learned entries of a filtering id.
    #[must_use]
    pub fn fid_count(&self, fid: Fid) -> u32 {
        self.fids.count(self.quota(fid))
    }

    /// Bounds the learned entries of a port. What it has beyond a lowered limit stays until it ages out.
    ///
    /// # Panics
    /// If `port` is not below [`MAX_PORTS`].
    pub fn set_port_limit(&self, port: PortId, limit: u32) {
        self.ports.set_limit(port.index(), limit);
    }

    /// Bounds the learned entries of a filtering id, in the same way.
    pub fn set_fid_limit(&self, fid: Fid, limit: u32) {
        self.fids.set_limit(self.quota(fid), limit);
    }

    /// From now on `fid` counts towards the limit of `with`, or its own again if that is itself. Only while `fid` has no
    /// entries and no worker learns in it.
    pub fn share_limit(&self, fid: Fid, with: Fid) {
        let own = u32::from(fid.get());
        let with = if fid == with { own } else { self.shares[with.index()].load(Ordering::Relaxed) };
        // Relaxed: workers come to know the filtering id by a message sent afterwards.
        self.shares[fid.index()].store(with, Ordering::Relaxed);
    }

    /// The quota that a filtering id counts towards.
    fn quota(&self, fid: Fid) -> usize {
        self.shares[fid.index()].load(Ordering::Relaxed) as usize
    }

    /// Takes an entry that is in no slot any more out of the counts.
    fn discount(&self, slot: Slot, word: Word) {
        if word.is_learned() {
            self.ports.give(word.port().index());
            self.fids.give(self.quota(self.slots.key_at(slot, word).0));
        } else {
            // Relaxed: a count, as in `limits`.
            self.statics.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Empties the slot as long as it holds an entry that `may_go`; whether it did.
    fn clear(&self, slot: Slot, mut word: Word, may_go: impl Fn(Word) -> bool) -> bool {
        for _ in 0..ATTEMPTS {
            if word.kind().is_none() || !may_go(word) {
                return false;
            }
            match self.slots.exchange(slot, word, Word::EMPTY) {
                Ok(()) => {
                    self.discount(slot, word);
                    return true;
                }
                Err(now) => word = now,
            }
        }
        false
    }

    /// Removes all entries with that key but one: the static one, else the first. Called after each insert.
    fn remove_doubles(&self, probe: &Probe) {
        self.slots.settle();
        let mut matches = self.slots.matches(probe);
        let (Some(first), Some(_)) = (matches.next(), matches.next()) else {
            return;
        };
        let fixed = self.slots.matches(probe).find(|(_, word)| word.is_static());
        let (kept, _) = fixed.unwrap_or(first);
        for (slot, word) in self.slots.matches(probe).filter(|(slot, _)| *slot != kept) {
            self.clear(slot, word, |now| now.is_learned() && now.tag() == word.tag());
        }
    }
}
