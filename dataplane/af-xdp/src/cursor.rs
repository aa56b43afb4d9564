//! The index pair of a single-producer single-consumer ring in shared memory.
//!
//! Both indices run freely over `u32` and wrap; `index & (size - 1)` is the slot. The ring holds
//! `producer - consumer` entries, `0 ..= size`. Each side owns one index and keeps a cached copy of the other, which
//! is loaded again only when the cached one has less than the caller wants. An index is published by a plain store, once
//! per burst: its only writer knows its value, so no read-modify-write is needed.
//!
//! Ordering, with the names of Linux `net/xdp/xsk_queue.h`:
//!
//! ```text
//!   producer                             consumer
//!   load  consumer  Acquire  (A)         load  producer  Acquire  (C)
//!   write slots                          read  slots
//!   store producer  Release  (B)         store consumer  Release  (D)
//! ```
//!
//! (B) pairs with (C): the consumer sees the slots it was promised. (D) pairs with (A): the producer does not write
//! into a slot that is still being read.
//!
//! The opposite index comes from outside (the kernel, a test): a value that makes no sense yields less room or fewer
//! entries, never a slot outside the ring.
#![allow(unsafe_code)]

use crate::primitive::{AtomicU32, Ordering};
use std::ptr::NonNull;

/// Where the two shared indices live.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Indices {
    pub(crate) producer: NonNull<AtomicU32>,
    pub(crate) consumer: NonNull<AtomicU32>,
}

impl Indices {
    fn producer(&self) -> &AtomicU32 {
        // SAFETY: the maker of the cursor promised that the index stays valid as long as the cursor lives.
        unsafe { self.producer.as_ref() }
    }

    fn consumer(&self) -> &AtomicU32 {
        // SAFETY: the maker of the cursor promised that the index stays valid as long as the cursor lives.
        unsafe { self.consumer.as_ref() }
    }
}

/// The writing side. `reserved` slots from `head` on are ours to write.
#[derive(Debug)]
pub(crate) struct Producer {
    head: u32,
    /// The consumer's index as last seen.
    tail: u32,
    reserved: u32,
    size: u32,
    shared: Indices,
}

impl Producer {
    /// # Safety
    /// Both indices outlive the cursor, no one else writes the producer index, and `size` is a power of two.
    pub(crate) unsafe fn new(shared: Indices, size: u32) -> Self {
        debug_assert!(size.is_power_of_two());
        // Relaxed: only we write it. Acquire: (A), pairs with (D).
        let head = shared.producer().load(Ordering::Relaxed);
        let tail = shared.consumer().load(Ordering::Acquire);
        Producer { head, tail, reserved: 0, size, shared }
    }

    pub(crate) fn size(&self) -> u32 {
        self.size
    }

    /// Slots that are free for certain.
    fn free(&self) -> u32 {
        self.size.saturating_sub(self.head.wrapping_sub(self.tail))
    }

    fn refresh(&mut self) {
        // (A), pairs with (D).
        self.tail = self.shared.consumer().load(Ordering::Acquire);
    }

    /// Free slots, freshly loaded.
    pub(crate) fn free_slots(&mut self) -> u32 {
        self.refresh();
        self.free()
    }

    /// Entries submitted and not consumed yet, freshly loaded.
    pub(crate) fn backlog(&mut self) -> u32 {
        self.size - self.free_slots()
    }

    #[inline]
    pub(crate) fn reserve(&mut self, want: u32) -> u32 {
        // possibly full ...
        if self.free() < want {
            // ... and is it really?
            self.refresh();
        }
        self.reserved = want.min(self.free());
        self.reserved
    }

    /// Slot number of the `i`-th reserved entry.
    #[inline]
    pub(crate) fn slot(&self, i: u32) -> usize {
        assert!(i < self.reserved, "write beyond the reservation");
        slot(self.head.wrapping_add(i), self.size)
    }

    #[inline]
    pub(crate) fn submit(&mut self, n: u32) {
        assert!(n <= self.reserved, "submit beyond the reservation");
        self.reserved -= n;
        self.head = self.head.wrapping_add(n);
        // (B), pairs with (C).
        self.shared.producer().store(self.head, Ordering::Release);
    }
}

/// The reading side. `peeked` slots from `tail` on are ours to read.
#[derive(Debug)]
pub(crate) struct Consumer {
    tail: u32,
    /// The producer's index as last seen.
    head: u32,
    peeked: u32,
    size: u32,
    shared: Indices,
}

impl Consumer {
    /// # Safety
    /// Both indices outlive the cursor, no one else writes the consumer index, and `size` is a power of two.
    pub(crate) unsafe fn new(shared: Indices, size: u32) -> Self {
        debug_assert!(size.is_power_of_two());
        // Relaxed: only we write it. Acquire: (C), pairs with (B).
        let tail = shared.consumer().load(Ordering::Relaxed);
        let head = shared.producer().load(Ordering::Acquire);
        Consumer { tail, head, peeked: 0, size, shared }
    }

    pub(crate) fn size(&self) -> u32 {
        self.size
    }

    /// Entries that are there for certain.
    fn filled(&self) -> u32 {
        self.head.wrapping_sub(self.tail).min(self.size)
    }

    fn refresh(&mut self) {
        // (C), pairs with (B).
        self.head = self.shared.producer().load(Ordering::Acquire);
    }

    /// Entries to read, freshly loaded.
    pub(crate) fn available(&mut self) -> u32 {
        self.refresh();
        self.filled()
    }

    #[inline]
    pub(crate) fn peek(&mut self, max: u32) -> u32 {
        // possibly empty ...
        if self.filled() < max {
            // ... and is it really?
            self.refresh();
        }
        self.peeked = max.min(self.filled());
        self.peeked
    }

    /// Slot number of the `i`-th peeked entry.
    #[inline]
    pub(crate) fn slot(&self, i: u32) -> usize {
        assert!(i < self.peeked, "read beyond the peeked entries");
        slot(self.tail.wrapping_add(i), self.size)
    }

    #[inline]
    pub(crate) fn release(&mut self, n: u32) {
        assert!(n <= self.peeked, "release beyond the peeked entries");
        self.peeked -= n;
        self.tail = self.tail.wrapping_add(n);
        // (D), pairs with (A).
        self.shared.consumer().store(self.tail, Ordering::Release);
    }
}

#[inline]
fn slot(index: u32, size: u32) -> usize {
    // u32 to usize: lossless on every target Linux has AF_XDP on
    (index & (size - 1)) as usize
}

#[cfg(test)]
#[path = "cursor_tests.rs"]
mod tests;
