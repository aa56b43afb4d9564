//! Who tells whom, and when nobody need: the decisions of both ring formats, over the words that driver and device share.
//!
//! ```text
//! the one that works                 the one that is to sleep
//! (A) publishes: an index, flags     (C) its wish: a flag, an event index
//!     fence SeqCst                       fence SeqCst
//! (B) the wish: tell?                (D) what was published: sleep?
//! ```
//! Either (B) sees (C) and tells, or (D) sees (A) and stays awake. The device has the left side for calls
//! ([`split_wants_call`], [`packed_wants_call`]) and the right side for kicks ([`arm`]); the driver has the others. The
//! models in `loom_tests` walk every order of both sides, over these same functions.

use super::Mark;
use crate::primitive::{Ordering, fence};

/// used.flags: no kicks wanted (VIRTQ_USED_F_NO_NOTIFY); avail.flags: no calls wanted (VIRTQ_AVAIL_F_NO_INTERRUPT).
pub(super) const QUIET: u16 = 1;
/// Event suppression of a packed ring (§2.8.14).
pub(super) const EVENTS_ON: u16 = 0;
pub(super) const EVENTS_OFF: u16 = 1;
pub(super) const EVENTS_AT: u16 = 2;
/// Of an event index, and of a base.
pub(super) const WRAP: u16 = 1 << 15;
/// Descriptor flags of a packed ring: made available, used.
pub(super) const AVAIL: u16 = 1 << 7;
pub(super) const USED: u16 = 1 << 15;

/// A little-endian word that both sides see.
pub(super) trait Word {
    fn get(&self, order: Ordering) -> u16;
    fn put(&self, value: u16, order: Ordering);
}

impl Word for core::sync::atomic::AtomicU16 {
    #[inline]
    fn get(&self, order: Ordering) -> u16 {
        u16::from_le(self.load(order))
    }

    #[inline]
    fn put(&self, value: u16, order: Ordering) {
        self.store(value.to_le(), order);
    }
}

/// Asks for a kick; true if none of what it would announce is there yet.
#[inline]
pub(super) fn arm(wish: &impl Word, value: u16, is_empty: impl FnOnce() -> bool) -> bool {
    // (C)
    wish.put(value, Ordering::Relaxed);
    // Orders (C) before (D); pairs with the driver's fence between what it publishes and its look at the wish.
    fence(Ordering::SeqCst);
    is_empty()
}

/// Whether the other side asked to be told of a step that an index took from `old` to `new` (`vring_need_event`,
/// linux/virtio_ring.h).
#[inline]
pub(super) fn need_event(event: u16, new: u16, old: u16) -> bool {
    new.wrapping_sub(event).wrapping_sub(1) < new.wrapping_sub(old)
}

/// Whether the driver of a split ring wants a call for the step of used.idx from `old` to `new`, which was published. With
/// event indexes `event` is used_event, and the flags count for nothing (§2.7.7).
#[inline]
pub(super) fn split_wants_call<W: Word>(flags: &W, event: Option<&W>, (old, new): (u16, u16)) -> bool {
    // Orders (A), used.idx, before (B); pairs with the driver's fence between its wish and its look at used.idx.
    fence(Ordering::SeqCst);
    match event {
        None => flags.get(Ordering::Relaxed) & QUIET == 0,
        Some(event) => need_event(event.get(Ordering::Relaxed), new, old),
    }
}

/// Whether the driver of a packed ring of `size` wants a call for the step from index `old` to `used`, which was published.
/// `event` is its event index if those were agreed on.
#[inline]
pub(super) fn packed_wants_call<W: Word>(flags: &W, event: Option<&W>, (old, used, size): (u16, Mark, u16)) -> bool {
    // Orders (A), descriptor flags, before (B); pairs with the driver's fence between its wish and its look at them.
    fence(Ordering::SeqCst);
    // Acquire: the index was written before the flag that says to mind it (virtqueue_enable_cb_prepare_packed).
    let flags = flags.get(Ordering::Acquire);
    let Some(event) = event.filter(|_| flags == EVENTS_AT) else { return flags != EVENTS_OFF };
    let at = event.get(Ordering::Relaxed);
    let mut event = at & !WRAP;
    // As in Linux, both are brought to the present turn (virtqueue_kick_prepare_packed, virtio_ring.c).
    if (at & WRAP != 0) != used.wrap {
        event = event.wrapping_sub(size);
    }
    let old = if used.index <= old { old.wrapping_sub(size) } else { old };
    need_event(event, used.index, old)
}

/// Whether these flags of a packed descriptor say that it is available to a device at `wrap`.
#[inline]
pub(super) fn is_available(flags: u16, wrap: bool) -> bool {
    (flags & AVAIL != 0) == wrap && (flags & USED != 0) != wrap
}
