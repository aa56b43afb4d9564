//! The packed virtqueue (virtio 1.2 §2.8): one ring of descriptors that driver and device write in turn.
//!
//! A descriptor is available when its AVAIL bit equals the driver's wrap counter and its USED bit does not; it is used
//! when both equal the device's. Since chains are used in order, one position says where the device is.
//!
//! ```text
//! driver                                  device (this file)
//! addr, len, id; rest of the chain        (B) flags of the head, Acquire
//! (A) flags of the head, Release              the rest
//!                                             id, len
//!                                         (C) flags, Release; the first of a batch last
//! ```
//! (A) pairs with (B), (C) with the driver's load of the flags.

use super::indirect_words;
use super::notify::{self, AVAIL, EVENTS_OFF, EVENTS_ON, USED, WRAP, Word};
use super::{Chain, DESC, Desc, Head, INDIRECT, MAX_SIZE, Mark, NEXT, Ring, RingError, RingFault, RingSpec, WRITE};
use crate::pmd::vhost::memory::{Area, GuestMemory};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Offset of the flags in a descriptor, and of id and len.
const FLAGS: usize = 14;
const LEN: usize = 8;
const ID: usize = 12;

/// Offsets in an event suppression structure (§2.8.14).
const EVENT_INDEX: usize = 0;
const EVENT_FLAGS: usize = 2;

/// See the module.
#[derive(Debug)]
pub(in crate::pmd::vhost) struct Packed {
    // hot
    desc: Area,
    size: u16,
    /// The next one to take.
    next: Mark,
    /// The next one to give.
    used: Mark,
    /// The first one of the batch being given, and its flags, written last.
    first: Option<(u16, u16)>,
    event_idx: bool,
    indirect: bool,
    // cold
    driver_event: Area,
    device_event: Area,
    memory: Arc<GuestMemory>,
    /// `used` when the driver was last called, or not.
    signalled: u16,
}

impl Packed {
    /// A ring at the position its front end knows.
    pub(in crate::pmd::vhost) fn new(spec: &RingSpec) -> Result<Self, RingError> {
        if spec.size == 0 || spec.size > MAX_SIZE {
            return Err(RingError::Size(spec.size.into()));
        }
        let area = |user, len, align, name| spec.memory.area(user, len, align).ok_or(RingError::Area(name));
        // Everything taken was given: where we take is where we give.
        let low = u16::try_from(spec.base & 0xffff).unwrap_or(0);
        let next = Mark { index: low & !WRAP, wrap: low & WRAP != 0 };
        if next.index >= spec.size {
            return Err(RingError::Base(spec.base, spec.size));
        }
        let mut ring = Self {
            desc: area(spec.desc, DESC * usize::from(spec.size), DESC, "descriptor")?,
            size: spec.size,
            next,
            used: next,
            first: None,
            event_idx: spec.event_idx,
            indirect: spec.indirect,
            driver_event: area(spec.avail, 4, 2, "driver event")?,
            device_event: area(spec.used, 4, 2, "device event")?,
            memory: Arc::clone(&spec.memory),
            signalled: next.index,
        };
        ring.disarm();
        Ok(ring)
    }

    #[inline]
    fn is_available(&self, at: Mark) -> bool {
        // (B), pairs with (A): the descriptor is read after its flags.
        let flags = u16::from_le(self.desc.u16(DESC * usize::from(at.index) + FLAGS).load(Ordering::Acquire));
        notify::is_available(flags, at.wrap)
    }

    /// `n` descriptors further, at most a whole turn.
    #[inline]
    fn after(&self, at: Mark, n: u16) -> Mark {
        // Below 2^16: both are at most MAX_SIZE, and the index is below it.
        let index = at.index + n;
        match index.checked_sub(self.size) {
            Some(over) => Mark { index: over, wrap: !at.wrap },
            None => Mark { index, wrap: at.wrap },
        }
    }

    #[inline]
    fn desc(&self, i: u16) -> Desc {
        let at = DESC * usize::from(i);
        // Relaxed: ordered by (B).
        let word = |at| u64::from_le(self.desc.u64(at).load(Ordering::Relaxed));
        Desc::packed(word(at), word(at + 8))
    }

    /// All of an indirect table, in order (§2.8.8).
    fn walk_table(&self, table: &Desc, chain: &mut Chain, to_write: bool) -> Result<u64, RingFault> {
        let n = table.table(self.size)?;
        if !self.indirect {
            return Err(RingFault::Indirect(table.len));
        }
        let mut bytes = 0;
        for i in 0..n {
            let (addr, rest) = indirect_words(&self.memory, table.addr, i)?;
            let desc = Desc::packed(addr, rest);
            if desc.flags & INDIRECT != 0 {
                return Err(RingFault::Indirect(desc.len));
            }
            bytes += chain.push(&desc, to_write, self.size)?;
        }
        Ok(bytes)
    }

    fn write_flags(&self, i: u16, flags: u16) {
        // (C), pairs with the driver's load of the flags.
        self.desc.u16(DESC * usize::from(i) + FLAGS).store(flags.to_le(), Ordering::Release);
    }
}

impl Ring for Packed {
    #[inline(always)]
    fn take(&mut self, chain: &mut Chain, to_write: bool) -> Result<Option<Head>, RingFault> {
        if !self.is_available(self.next) {
            return Ok(None);
        }
        let (mut at, mut bytes) = (self.next, 0);
        for slots in 1..=self.size {
            let desc = self.desc(at.index);
            at = self.after(at, 1);
            if desc.flags & INDIRECT != 0 {
                bytes += self.walk_table(&desc, chain, to_write)?;
            } else {
                bytes += chain.push(&desc, to_write, self.size)?;
            }
            if desc.flags & NEXT == 0 {
                self.next = at;
                return Ok(Some(Head { id: desc.next, slots, bytes }));
            }
        }
        Err(RingFault::Endless(self.size))
    }

    #[inline]
    fn prefetch(&mut self, n: u16, to_write: bool) {
        if !self.is_available(self.next) {
            return;
        }
        for i in 0..n.min(self.size) {
            let at = DESC * usize::from(self.after(self.next, i).index);
            self.memory.prefetch(u64::from_le(self.desc.u64(at).load(Ordering::Relaxed)), to_write);
        }
    }

    #[inline]
    fn mark(&self) -> Mark {
        self.next
    }

    #[inline]
    fn rewind(&mut self, mark: Mark) {
        self.next = mark;
    }

    #[inline]
    fn give(&mut self, head: Head, len: u32) {
        let Mark { index, wrap } = self.used;
        let at = DESC * usize::from(index);
        // Relaxed: ordered by (C).
        self.desc.u16(at + ID).store(head.id.to_le(), Ordering::Relaxed);
        self.desc.u32(at + LEN).store(len.to_le(), Ordering::Relaxed);
        let flags = if wrap { AVAIL | USED } else { 0 } | if len > 0 { WRITE } else { 0 };
        match self.first {
            None => self.first = Some((index, flags)),
            Some(_) => self.write_flags(index, flags),
        }
        self.used = self.after(self.used, head.slots);
    }

    #[inline]
    fn publish(&mut self) {
        if let Some((index, flags)) = self.first.take() {
            self.write_flags(index, flags);
        }
    }

    fn wants_call(&mut self) -> bool {
        let old = std::mem::replace(&mut self.signalled, self.used.index);
        let event = self.event_idx.then(|| self.driver_event.u16(EVENT_INDEX));
        notify::packed_wants_call(self.driver_event.u16(EVENT_FLAGS), event, (old, self.used, self.size))
    }

    fn arm(&mut self) -> bool {
        notify::arm(self.device_event.u16(EVENT_FLAGS), EVENTS_ON, || !self.is_available(self.next))
    }

    fn disarm(&mut self) {
        self.device_event.u16(EVENT_FLAGS).put(EVENTS_OFF, Ordering::Relaxed);
    }

    fn pending(&self) -> u16 {
        let mut at = self.next;
        let mut n = 0;
        while n < self.size && self.is_available(at) {
            (at, n) = (self.after(at, 1), n + 1);
        }
        n
    }

    fn base(&self) -> u32 {
        let half = u32::from(self.used.index) | if self.used.wrap { u32::from(WRAP) } else { 0 };
        half << 16 | half
    }

    fn memory(&self) -> &Arc<GuestMemory> {
        &self.memory
    }
}
