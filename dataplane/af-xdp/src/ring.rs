//! The four rings. We write two of them ([`Fill`], [`Tx`]) and read the others ([`Rx`], [`Completion`]).
//!
//! A ring is a window into memory shared with the kernel: entries are read and written in place. Each half is owned by
//! one thread at a time (`Send`, not `Sync`). The memory stays mapped as long as the half lives.
#![allow(unsafe_code)]

use crate::cursor::{Consumer, Indices, Producer};
use crate::mmap::Mmap;
use crate::primitive::{AtomicU32, Ordering};
use crate::testing::Region;
use crate::uapi::Desc;
use std::ptr::NonNull;
use std::sync::Arc;

/// Frames the kernel received.
pub type Rx = ConsumerRing<Desc>;
/// Frames to transmit.
pub type Tx = ProducerRing<Desc>;
/// Addresses of empty frames the kernel may receive into.
pub type Fill = ProducerRing<u64>;
/// Addresses of frames the kernel has transmitted.
pub type Completion = ConsumerRing<u64>;

/// What keeps the memory of a ring alive.
#[derive(Debug)]
#[allow(dead_code, reason = "held for its Drop")]
pub(crate) enum Memory<T> {
    /// A ring of a socket.
    Kernel(Mmap),
    /// Both halves are in this process.
    Shared(Arc<Region<T>>),
}

/// Where the parts of a ring lie in its memory.
#[derive(Debug)]
pub(crate) struct Layout<T> {
    pub(crate) indices: Indices,
    pub(crate) flags: NonNull<AtomicU32>,
    pub(crate) slots: NonNull<T>,
    pub(crate) size: u32,
}

/// A ring we write to.
#[derive(Debug)]
pub struct ProducerRing<T> {
    cursor: Producer,
    slots: NonNull<T>,
    flags: NonNull<AtomicU32>,
    _memory: Memory<T>,
}

/// A ring we read from.
#[derive(Debug)]
pub struct ConsumerRing<T> {
    cursor: Consumer,
    slots: NonNull<T>,
    flags: NonNull<AtomicU32>,
    _memory: Memory<T>,
}

// SAFETY: the pointers lead into memory that the half keeps alive itself; the cursors hand a slot to one side at a time.
unsafe impl<T: Send> Send for ProducerRing<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Send for ConsumerRing<T> {}

impl<T: Copy> ProducerRing<T> {
    /// # Safety
    /// `layout` lies in `memory`, `size` is a power of two and counts the slots, and this is the ring's only producer.
    pub(crate) unsafe fn new(layout: &Layout<T>, memory: Memory<T>) -> Self {
        // SAFETY: the indices lie in `memory`, which lives as long as the cursor; the rest is the caller's promise.
        let cursor = unsafe { Producer::new(layout.indices, layout.size) };
        ProducerRing { cursor, slots: layout.slots, flags: layout.flags, _memory: memory }
    }

    /// Entries the ring can hold.
    pub fn size(&self) -> u32 {
        self.cursor.size()
    }

    /// Reserves up to `n` entries and returns how many; 0 when the ring is full. Replaces an earlier reservation.
    #[inline]
    pub fn reserve(&mut self, n: u32) -> u32 {
        self.cursor.reserve(n)
    }

    /// Writes the `i`-th reserved entry.
    ///
    /// # Panics
    /// If `i` is not below what [`reserve`](Self::reserve) returned (less what was submitted since).
    #[inline]
    pub fn write(&mut self, i: u32, entry: T) {
        let slot = self.cursor.slot(i);
        // SAFETY: `slot` < size, and a reserved slot is not touched by the other side before it is submitted.
        unsafe { self.slots.add(slot).write(entry) }
    }

    /// Publishes the first `n` reserved entries at once; what is left stays reserved, counted from 0 again.
    ///
    /// # Panics
    /// If `n` is more than what is reserved.
    #[inline]
    pub fn submit(&mut self, n: u32) {
        self.cursor.submit(n);
    }

    /// Free entries right now (loads the kernel's index).
    pub fn free_slots(&mut self) -> u32 {
        self.cursor.free_slots()
    }

    /// Entries submitted and not taken by the kernel yet (loads the kernel's index).
    ///
    /// Kick on `backlog() > 0 && needs_wakeup()`, at every turn: in copy mode one kick takes a bounded number of frames,
    /// and the flag may be raised just after it was looked at.
    #[inline]
    pub fn backlog(&mut self) -> u32 {
        self.cursor.backlog()
    }

    /// Does the kernel want a kick before it looks at this ring again? In copy mode: TX always, fill never.
    #[inline]
    pub fn needs_wakeup(&self) -> bool {
        // SAFETY: the flags word lies in the memory this half keeps alive.
        let flags = unsafe { self.flags.as_ref() };
        // Relaxed: a hint that pairs with nothing; a stale value is corrected when the owner looks again next turn.
        flags.load(Ordering::Relaxed) & libc::XDP_RING_NEED_WAKEUP != 0
    }
}

impl<T: Copy> ConsumerRing<T> {
    /// # Safety
    /// `layout` lies in `memory`, `size` is a power of two and counts the slots, all of them initialised and every bit
    /// pattern a valid `T`, and this is the ring's only consumer.
    pub(crate) unsafe fn new(layout: &Layout<T>, memory: Memory<T>) -> Self {
        // SAFETY: the indices lie in `memory`, which lives as long as the cursor; the rest is the caller's promise.
        let cursor = unsafe { Consumer::new(layout.indices, layout.size) };
        ConsumerRing { cursor, slots: layout.slots, flags: layout.flags, _memory: memory }
    }

    /// Entries the ring can hold.
    pub fn size(&self) -> u32 {
        self.cursor.size()
    }

    /// Looks for up to `max` entries and returns how many there are. They stay in the ring until released.
    #[inline]
    pub fn peek(&mut self, max: u32) -> u32 {
        self.cursor.peek(max)
    }

    /// Reads the `i`-th peeked entry.
    ///
    /// # Panics
    /// If `i` is not below what [`peek`](Self::peek) returned (less what was released since).
    #[inline]
    pub fn read(&self, i: u32) -> T {
        let slot = self.cursor.slot(i);
        // SAFETY: `slot` < size, and a peeked slot is not touched by the other side before it is released.
        unsafe { self.slots.add(slot).read() }
    }

    /// Gives the first `n` peeked entries back at once; what is left stays peeked, counted from 0 again.
    ///
    /// # Panics
    /// If `n` is more than what is peeked.
    #[inline]
    pub fn release(&mut self, n: u32) {
        self.cursor.release(n);
    }

    /// Entries in the ring right now (loads the kernel's index): what to check before going to sleep.
    pub fn available(&mut self) -> u32 {
        self.cursor.available()
    }

    /// Raises or clears the flag that [`ProducerRing::needs_wakeup`] reads: the kernel's part, played by a test.
    pub(crate) fn set_flag(&mut self, up: bool) {
        let value = if up { libc::XDP_RING_NEED_WAKEUP } else { 0 };
        // SAFETY: the flags word lies in the memory this half keeps alive.
        let flags = unsafe { self.flags.as_ref() };
        // Relaxed: pairs with nothing, see needs_wakeup.
        flags.store(value, Ordering::Relaxed);
    }
}
