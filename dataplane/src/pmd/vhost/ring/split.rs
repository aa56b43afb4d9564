//! The split virtqueue (virtio 1.2 §2.7): a descriptor table, an avail ring, a used ring.
//!
//! ```text
//! driver                                  device (this file)
//! descriptors, avail.ring                 (C) avail.idx, Acquire
//! (A) avail.idx, Release                      avail.ring, descriptors, buffers
//! (B) used_event or flags                     used.ring
//!     fence; then used.idx                (D) used.idx, Release
//!                                             fence; then used_event or flags: call?
//! ```
//! (A) pairs with (C), (D) with the driver's load of used.idx. The fences keep a call from being lost: either the driver
//! sees the new used.idx before it waits, or we see that it wants a call. [`arm`](Ring::arm) is the same with roles
//! exchanged.

use super::indirect_words;
use super::notify::{self, QUIET, Word};
use super::{Chain, DESC, Desc, Head, INDIRECT, MAX_SIZE, Mark, NEXT, Ring, RingError, RingFault, RingSpec};
use crate::pmd::vhost::memory::{Area, GuestMemory};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Offsets in avail and used ring: `flags`, `idx`, the ring, and behind it the event index.
const FLAGS: usize = 0;
const IDX: usize = 2;
const RING: usize = 4;
const USED_ELEMENT: usize = 8;

/// Chains that are read ahead at most: more than a burst.
const WINDOW: usize = 64;

/// How a chain begins: what the driver calls it, and its first descriptor.
#[derive(Debug, Clone, Copy)]
struct First {
    id: u16,
    desc: Desc,
}

/// See the module.
#[derive(Debug)]
pub(in crate::pmd::vhost) struct Split {
    // hot
    desc: Area,
    avail: Area,
    used: Area,
    size: u16,
    /// The next one to take.
    next: u16,
    /// The driver's avail.idx as last seen.
    seen: u16,
    /// The chains from `next` to here are in the window.
    read: u16,
    /// The next place in the used ring.
    used_idx: u16,
    event_idx: bool,
    indirect: bool,
    /// First descriptors, read ahead, so that their buffers are on their way to the cache; by index modulo the window.
    window: Box<[First; WINDOW]>,
    // cold
    memory: Arc<GuestMemory>,
    /// used.idx when the driver was last called, or not.
    signalled: u16,
}

impl Split {
    /// A ring where its driver left it: everything before used.idx is done, everything after is to do.
    pub(in crate::pmd::vhost) fn new(spec: &RingSpec) -> Result<Self, RingError> {
        let size = usize::from(spec.size);
        if !spec.size.is_power_of_two() || spec.size > MAX_SIZE {
            return Err(RingError::Size(spec.size.into()));
        }
        let area = |user, len, align, name| spec.memory.area(user, len, align).ok_or(RingError::Area(name));
        let used = area(spec.used, RING + USED_ELEMENT * size + 2, 4, "used")?;
        let idx = u16::from_le(used.u16(IDX).load(Ordering::Acquire));
        let mut ring = Self {
            desc: area(spec.desc, DESC * size, DESC, "descriptor")?,
            avail: area(spec.avail, RING + 2 * size + 2, 2, "avail")?,
            used,
            size: spec.size,
            next: idx,
            seen: idx,
            read: idx,
            window: Box::new([First { id: 0, desc: Desc { addr: 0, len: 0, flags: 0, next: 0 } }; WINDOW]),
            used_idx: idx,
            event_idx: spec.event_idx,
            indirect: spec.indirect,
            memory: Arc::clone(&spec.memory),
            signalled: idx,
        };
        ring.disarm();
        Ok(ring)
    }

    /// avail.idx now; a fault if it cannot be.
    #[inline]
    fn look(&self) -> Result<u16, RingFault> {
        // (C), pairs with (A): what it covers is read after it.
        let idx = u16::from_le(self.avail.u16(IDX).load(Ordering::Acquire));
        let waiting = idx.wrapping_sub(self.next);
        if waiting > self.size { Err(RingFault::AvailJump(waiting, self.size)) } else { Ok(idx) }
    }

    #[inline]
    fn slot(&self, index: u16) -> usize {
        usize::from(index & (self.size - 1))
    }

    /// The descriptor at `i`, which is below the size; read once.
    #[inline]
    fn desc(&self, i: u16) -> Desc {
        let at = DESC * usize::from(i);
        // Relaxed: ordered by (C).
        let word = |at| u64::from_le(self.desc.u64(at).load(Ordering::Relaxed));
        Desc::split(word(at), word(at + 8))
    }

    /// The chain available at `index`, its first descriptor.
    #[inline(always)]
    fn first(&self, index: u16) -> Result<First, RingFault> {
        // Relaxed: ordered by (C).
        let id = u16::from_le(self.avail.u16(RING + 2 * self.slot(index)).load(Ordering::Relaxed));
        Ok(First { id, desc: self.checked(id)? })
    }

    #[inline(always)]
    fn checked(&self, i: u16) -> Result<Desc, RingFault> {
        if i < self.size { Ok(self.desc(i)) } else { Err(RingFault::Index(i.into(), self.size.into())) }
    }

    /// The chain that begins with `desc`; its bytes.
    #[inline(always)]
    fn walk(&self, mut desc: Desc, chain: &mut Chain, to_write: bool) -> Result<u64, RingFault> {
        let mut bytes = 0;
        for _ in 0..self.size {
            if desc.flags & INDIRECT != 0 {
                return Ok(bytes + self.walk_table(&desc, chain, to_write)?);
            }
            bytes += chain.push(&desc, to_write)?;
            if desc.flags & NEXT == 0 {
                return Ok(bytes);
            }
            desc = self.checked(desc.next)?;
        }
        Err(RingFault::Endless(self.size))
    }

    /// The chain in an indirect table, which begins at its first descriptor (§2.7.5.3).
    #[cold]
    fn walk_table(&self, table: &Desc, chain: &mut Chain, to_write: bool) -> Result<u64, RingFault> {
        let n = table.table(self.size)?;
        if !self.indirect {
            return Err(RingFault::Indirect(table.len));
        }
        let (mut i, mut bytes) = (0, 0);
        for _ in 0..n {
            if i >= n {
                return Err(RingFault::Index(i, n));
            }
            let (addr, rest) = indirect_words(&self.memory, table.addr, i)?;
            let desc = Desc::split(addr, rest);
            if desc.flags & INDIRECT != 0 {
                return Err(RingFault::Indirect(desc.len));
            }
            bytes += chain.push(&desc, to_write)?;
            if desc.flags & NEXT == 0 {
                return Ok(bytes);
            }
            i = desc.next.into();
        }
        Err(RingFault::Endless(self.size))
    }
}

impl Ring for Split {
    #[inline(always)]
    fn take(&mut self, chain: &mut Chain, to_write: bool) -> Result<Option<Head>, RingFault> {
        if self.next == self.seen {
            self.seen = self.look()?;
            if self.next == self.seen {
                return Ok(None);
            }
        }
        let First { id, desc } = if self.next == self.read {
            self.read = self.next.wrapping_add(1);
            self.first(self.next)?
        } else {
            self.window[usize::from(self.next) % WINDOW]
        };
        chain.begin();
        let bytes = self.walk(desc, chain, to_write)?;
        self.next = self.next.wrapping_add(1);
        Ok(Some(Head { id, slots: 1, bytes }))
    }

    #[inline]
    fn prefetch(&mut self, n: u16, to_write: bool) {
        if self.next == self.seen {
            // A fault is found by `take`.
            self.seen = self.look().unwrap_or(self.seen);
        }
        let end = self.next.wrapping_add(n.min(self.seen.wrapping_sub(self.next)));
        while self.read.wrapping_sub(self.next) < end.wrapping_sub(self.next) {
            // As above.
            let Ok(first) = self.first(self.read) else { return };
            self.memory.prefetch(first.desc.addr, to_write);
            self.window[usize::from(self.read) % WINDOW] = first;
            self.read = self.read.wrapping_add(1);
        }
    }

    #[inline]
    fn mark(&self) -> Mark {
        Mark { index: self.next, wrap: false }
    }

    #[inline]
    fn rewind(&mut self, mark: Mark) {
        (self.next, self.read) = (mark.index, mark.index);
    }

    #[inline]
    fn give(&mut self, head: Head, len: u32) {
        let at = RING + USED_ELEMENT * self.slot(self.used_idx);
        // Relaxed: ordered by (D).
        self.used.u32(at).store(u32::from(head.id).to_le(), Ordering::Relaxed);
        self.used.u32(at + 4).store(len.to_le(), Ordering::Relaxed);
        self.used_idx = self.used_idx.wrapping_add(1);
    }

    #[inline]
    fn publish(&mut self) {
        // (D), pairs with the driver's load of used.idx.
        self.used.u16(IDX).store(self.used_idx.to_le(), Ordering::Release);
    }

    fn wants_call(&mut self) -> bool {
        let old = std::mem::replace(&mut self.signalled, self.used_idx);
        let event = self.event_idx.then(|| self.avail.u16(RING + 2 * usize::from(self.size)));
        notify::split_wants_call(self.avail.u16(FLAGS), event, (old, self.used_idx))
    }

    fn arm(&mut self) -> bool {
        let (at, value) = match self.event_idx {
            true => (RING + USED_ELEMENT * usize::from(self.size), self.next),
            false => (FLAGS, 0),
        };
        // A fault is found by the next burst.
        let is_empty = || self.avail.u16(IDX).get(Ordering::Relaxed) == self.next;
        notify::arm(self.used.u16(at), value, is_empty) && self.next == self.seen
    }

    fn disarm(&mut self) {
        // With event indexes the one that was asked for has been passed: the next kick comes 65536 chains later.
        if !self.event_idx {
            self.used.u16(FLAGS).put(QUIET, Ordering::Relaxed);
        }
    }

    fn pending(&self) -> u16 {
        u16::from_le(self.avail.u16(IDX).load(Ordering::Relaxed)).wrapping_sub(self.next).min(self.size)
    }

    fn base(&self) -> u32 {
        self.used_idx.into()
    }

    fn memory(&self) -> &Arc<GuestMemory> {
        &self.memory
    }
}
