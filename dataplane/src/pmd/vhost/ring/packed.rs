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
//!
//! Nothing in the ring says how far the device is: what it used looks, after a turn, like what it never had, and the rest
//! of a used chain looks available. A front end knows the position from GET_VRING_BASE; of a switch that is killed nobody
//! asks it (QEMU then gives the position of its last start, `virtio_queue_packed_restore_last_avail_idx`). So after each
//! batch it is written where the guest keeps it and nobody reads it: in the index of the device's event suppression,
//! which counts only with RING_EVENT_FLAGS_DESC (§2.8.14), which we never set. A batch that a killed predecessor had
//! begun to give is given back empty ([`Packed::repair`]).

use super::indirect_words;
use super::notify::{self, AVAIL, EVENTS_AT, EVENTS_OFF, EVENTS_ON, USED, WRAP, Word};
use super::{Chain, DESC, Desc, Head, INDIRECT, MAX_SIZE, Mark, NEXT, Ring, RingError, RingFault, RingSpec, WRITE};
use crate::pmd::vhost::memory::{Area, GuestMemory};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Offset of the flags in a descriptor, and of the word of len, id and flags.
const FLAGS: usize = 14;
const LEN: usize = 8;

/// Most descriptors that are counted as waiting: each is looked at, by the worker.
const PENDING: u16 = 1024;

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
    /// The first one of the batch being given, and what is written there last.
    first: Option<(u16, u64)>,
    event_idx: bool,
    indirect: bool,
    // cold
    driver_event: Area,
    device_event: Area,
    memory: Arc<GuestMemory>,
    /// `used` when the driver was last called, or not.
    signalled: u16,
}

/// The position that is written down in the device's event suppression, if one is.
fn recorded(event: &Area, size: u16) -> Option<Mark> {
    let word = event.u16(EVENT_INDEX).get(Ordering::Relaxed);
    let (index, wrap) = (word & !WRAP, word & WRAP != 0);
    let theirs = event.u16(EVENT_FLAGS).get(Ordering::Relaxed) == EVENTS_AT;
    match index {
        _ if word == 0 || theirs || index > size => None,
        index if index == size => Some(Mark { index: 0, wrap: !wrap }),
        index => Some(Mark { index, wrap }),
    }
}

/// Length, id and flags of a used descriptor. NEXT, which drivers ignore there (§2.8.6), tells a successor that the chain
/// goes on behind it.
#[inline]
fn used_word(wrap: bool, head: Head, len: u32) -> u64 {
    let turn = if wrap { AVAIL | USED } else { 0 };
    let flags = turn | if len > 0 { WRITE } else { 0 } | if head.slots > 1 { NEXT } else { 0 };
    u64::from(len) | u64::from(head.id) << 32 | u64::from(flags) << 48
}

impl Packed {
    /// A ring at the position that is written down in it, or else at the one its front end knows.
    pub(in crate::pmd::vhost) fn new(spec: &RingSpec) -> Result<Self, RingError> {
        if spec.size == 0 || spec.size > MAX_SIZE {
            return Err(RingError::Size(spec.size.into()));
        }
        let area = |user, len, align, name| spec.memory.area(user, len, align).ok_or(RingError::Area(name));
        // Everything taken was given: where we take is where we give.
        let low = u16::try_from(spec.base & 0xffff).unwrap_or(0);
        let device_event = area(spec.used, 4, 2, "device event")?;
        let known = Mark { index: low & !WRAP, wrap: low & WRAP != 0 };
        let next = recorded(&device_event, spec.size).unwrap_or(known);
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
            device_event,
            memory: Arc::clone(&spec.memory),
            signalled: next.index,
        };
        ring.repair();
        ring.disarm();
        Ok(ring)
    }

    /// Writes down how far we are; 0 is nothing, as a driver leaves it.
    #[inline]
    fn record(&self) {
        let Mark { index, wrap } = self.used;
        let word = match (index, wrap) {
            // the same place, said otherwise; in the largest ring there is no room for that
            (0, false) if self.size < MAX_SIZE => self.size | WRAP,
            (index, wrap) => index | if wrap { WRAP } else { 0 },
        };
        // Release: the batch is shown before it is written down.
        self.device_event.u16(EVENT_INDEX).put(word, Ordering::Release);
    }

    /// Ends what a predecessor began to give and did not show: those buffers go back empty, and their frames are lost.
    ///
    /// Of an unfinished batch the first chain is as the driver made it, and what follows is used.
    fn repair(&mut self) {
        self.pass_by();
        let Some(first) = self.extent(self.next).filter(|_| self.is_available(self.next)) else { return };
        let begun = self.next;
        let mut at = self.after(begun, first.slots);
        for _ in 0..self.size {
            if at.index == begun.index || !self.is_used(at) {
                break;
            }
            let chain = Head { id: self.desc(at.index).next, slots: self.span(at), bytes: 0 };
            self.write(at.index, used_word(at.wrap, chain, 0));
            self.next = self.after(at, chain.slots);
            at = self.next;
        }
        if self.next != begun {
            self.write(begun.index, used_word(begun.wrap, first, 0));
            (self.used, self.signalled) = (self.next, self.next.index);
            self.record();
        }
    }

    /// Passes by a batch that was shown and not written down: these are two stores, and a predecessor may have been killed
    /// between them. The driver may have made it available anew since; that can be told from the rest of old chains
    /// only where there are none.
    fn pass_by(&mut self) {
        let plain = (0..self.size).all(|i| self.desc(i).flags & NEXT == 0);
        for _ in 0..self.size {
            let next_turn = Mark { wrap: !self.next.wrap, ..self.next };
            let is_behind = self.is_used(self.next) || plain && self.is_available(next_turn);
            if !is_behind {
                break;
            }
            self.next = self.after(self.next, self.span(self.next));
        }
        (self.used, self.signalled) = (self.next, self.next.index);
    }

    fn is_used(&self, at: Mark) -> bool {
        let flags = self.desc(at.index).flags;
        (flags & AVAIL != 0) == at.wrap && (flags & USED != 0) == at.wrap
    }

    /// The chain that begins at `at`; none if it does not end.
    fn extent(&self, mut at: Mark) -> Option<Head> {
        for slots in 1..=self.size {
            let desc = self.desc(at.index);
            if desc.flags & NEXT == 0 {
                return Some(Head { id: desc.next, slots, bytes: 0 });
            }
            at = self.after(at, 1);
        }
        None
    }

    /// Descriptors of the used chain at `at`: those behind the first are as the driver made them.
    fn span(&self, at: Mark) -> u16 {
        self.extent(at).map_or(self.size, |chain| chain.slots)
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
            bytes += chain.push(&desc, to_write)?;
        }
        Ok(bytes)
    }

    /// Shows the driver one used descriptor: length, id and flags in one word.
    #[inline]
    fn write(&self, i: u16, used: u64) {
        // (C), pairs with the driver's load of the flags.
        self.desc.u64(DESC * usize::from(i) + LEN).store(used.to_le(), Ordering::Release);
    }
}

impl Ring for Packed {
    #[inline(always)]
    fn take(&mut self, chain: &mut Chain, to_write: bool) -> Result<Option<Head>, RingFault> {
        if !self.is_available(self.next) {
            return Ok(None);
        }
        chain.begin();
        let (mut at, mut bytes) = (self.next, 0);
        for slots in 1..=self.size {
            let desc = self.desc(at.index);
            at = self.after(at, 1);
            if desc.flags & INDIRECT != 0 {
                bytes += self.walk_table(&desc, chain, to_write)?;
            } else {
                bytes += chain.push(&desc, to_write)?;
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
        let used = used_word(wrap, head, len);
        match self.first {
            None => self.first = Some((index, used)),
            Some(_) => self.write(index, used),
        }
        self.used = self.after(self.used, head.slots);
    }

    #[inline]
    fn publish(&mut self) {
        if let Some((index, used)) = self.first.take() {
            self.write(index, used);
            self.record();
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
        // enough to see that it does not take them
        while n < self.size.min(PENDING) && self.is_available(at) {
            (at, n) = (self.after(at, 1), n + 1);
        }
        n
    }

    fn base(&self) -> u32 {
        let half = u32::from(self.used.index) | if self.used.wrap { u32::from(WRAP) } else { 0 };
        half << 16 | half
    }

    fn forget(&mut self) {
        self.device_event.u16(EVENT_INDEX).put(0, Ordering::Relaxed);
    }

    fn memory(&self) -> &Arc<GuestMemory> {
        &self.memory
    }
}
