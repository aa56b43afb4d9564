//! Every interleaving of a device that is about to sleep and a driver that has work for it, and the other way round, for
//! both ring formats with flags and with event indexes (`RUSTFLAGS="--cfg loom"`). The device's side is [`notify`]; the
//! driver's is Linux' (drivers/virtio/virtio_ring.c), over the same words.

use super::Mark;
use super::notify::{self, AVAIL, EVENTS_AT, EVENTS_OFF, EVENTS_ON, QUIET, USED, WRAP, Word, need_event};
use loom::sync::Arc;
use loom::sync::atomic::{AtomicU16, Ordering, fence};
use loom::thread;

impl Word for AtomicU16 {
    fn get(&self, order: Ordering) -> u16 {
        self.load(order)
    }

    fn put(&self, value: u16, order: Ordering) {
        self.store(value, order);
    }
}

/// Chains that are made available, or used, one after the other.
const CHAINS: u16 = 2;
/// Descriptors of the packed ring, and where both sides are in it: it wraps around within the model.
const SIZE: u16 = 3;
const START: Mark = Mark { index: 2, wrap: true };

/// All words that the two share.
#[derive(Default)]
struct Shared {
    /// avail.idx or used.idx.
    index: AtomicU16,
    /// The sleeper's flags.
    flags: AtomicU16,
    /// The sleeper's event index.
    event: AtomicU16,
    /// Flags of the packed descriptors.
    descriptors: [AtomicU16; SIZE as usize],
    /// The eventfd.
    bell: AtomicU16,
}

impl Shared {
    fn ring(&self) {
        self.bell.fetch_add(1, Ordering::AcqRel);
    }

    fn descriptor(&self, at: Mark) -> &AtomicU16 {
        &self.descriptors[usize::from(at.index)]
    }
}

fn after(at: Mark) -> Mark {
    let over = at.index + 1 == SIZE;
    Mark { index: if over { 0 } else { at.index + 1 }, wrap: at.wrap != over }
}

/// Position `n` steps behind the start.
fn place(n: u16) -> Mark {
    (0..n).fold(START, |at, _| after(at))
}

/// Runs both sides; a sleeper that has not seen everything was told. Whatever came first, nobody sleeps for ever.
fn model(
    prepare: impl Fn(&Shared) + Sync + Send + 'static,
    giver: impl Fn(&Shared) + Copy + Send + Sync + 'static,
    sleeper: impl Fn(&Shared, u16) -> (u16, bool) + Sync + Send + 'static,
    quiet: impl Fn(&Shared) + Sync + Send + 'static,
) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(4);
    builder.check(move || {
        let shared = Arc::new(Shared::default());
        prepare(&shared);
        let other = Arc::clone(&shared);
        let thread = thread::spawn(move || giver(&other));
        let (mut seen, mut asleep) = (0, false);
        while seen < CHAINS && !asleep {
            let (now, sleeps) = sleeper(&shared, seen);
            seen = now;
            // asleep: unless it has been told already
            asleep = sleeps && shared.bell.swap(0, Ordering::AcqRel) == 0;
            if !asleep {
                quiet(&shared);
                if !sleeps {
                    thread::yield_now();
                }
            }
        }
        thread.join().unwrap();
        let told = shared.bell.load(Ordering::Acquire) > 0;
        assert!(!asleep || told, "asleep after {seen} of {CHAINS} chains, and nobody told it");
    });
}

/// The device of a split ring polls, and asks for a kick when there is nothing.
fn split_device(shared: &Shared, wish: (&AtomicU16, u16), seen: u16) -> (u16, bool) {
    let next = shared.index.get(Ordering::Acquire);
    let sleeps = next == seen && notify::arm(wish.0, wish.1, || shared.index.get(Ordering::Relaxed) == next);
    (next, sleeps)
}

/// The driver: virtqueue_add_split, then virtqueue_kick_prepare_split.
fn split_driver(shared: &Shared, event_idx: bool) {
    for n in 1..=CHAINS {
        shared.index.put(n, Ordering::Release);
        fence(Ordering::SeqCst);
        let kick = if event_idx {
            need_event(shared.event.get(Ordering::Relaxed), n, n - 1)
        } else {
            shared.flags.get(Ordering::Relaxed) & QUIET == 0
        };
        if kick {
            shared.ring();
        }
    }
}

#[test]
fn loom_a_split_ring_with_flags_loses_no_kick() {
    model(
        |shared| shared.flags.put(QUIET, Ordering::Relaxed),
        |shared| split_driver(shared, false),
        |shared, seen| split_device(shared, (&shared.flags, 0), seen),
        |shared| shared.flags.put(QUIET, Ordering::Relaxed),
    );
}

#[test]
fn loom_a_split_ring_with_event_indexes_loses_no_kick() {
    model(
        // passed long ago
        |shared| shared.event.put(u16::MAX - 1, Ordering::Relaxed),
        |shared| split_driver(shared, true),
        |shared, seen| split_device(shared, (&shared.event, shared.index.get(Ordering::Acquire)), seen),
        |_| {},
    );
}

/// The device uses one chain after the other, each a burst of its own.
fn split_calls(shared: &Shared, event_idx: bool) {
    for n in 1..=CHAINS {
        shared.index.put(n, Ordering::Release);
        let event = event_idx.then_some(&shared.event);
        if notify::split_wants_call(&shared.flags, event, (n - 1, n)) {
            shared.ring();
        }
    }
}

/// The driver reaps, and waits for a call when there is nothing: virtqueue_enable_cb_prepare_split, virtqueue_poll.
fn split_waits(shared: &Shared, seen: u16, event_idx: bool) -> (u16, bool) {
    let now = shared.index.get(Ordering::Acquire);
    if now != seen {
        return (now, false);
    }
    if event_idx {
        shared.event.put(seen, Ordering::Relaxed);
    } else {
        shared.flags.put(0, Ordering::Relaxed);
    }
    fence(Ordering::SeqCst);
    (seen, shared.index.get(Ordering::Relaxed) == seen)
}

#[test]
fn loom_a_split_ring_with_flags_loses_no_call() {
    let quiet = |shared: &Shared| shared.flags.put(QUIET, Ordering::Relaxed);
    model(quiet, |shared| split_calls(shared, false), |shared, seen| split_waits(shared, seen, false), quiet);
}

#[test]
fn loom_a_split_ring_with_event_indexes_loses_no_call() {
    model(
        |shared| shared.event.put(u16::MAX - 1, Ordering::Relaxed),
        |shared| split_calls(shared, true),
        |shared, seen| split_waits(shared, seen, true),
        |_| {},
    );
}

fn flags(used: bool, wrap: bool) -> u16 {
    let (yes, no) = if wrap { (AVAIL, USED) } else { (USED, AVAIL) };
    if !used {
        yes
    } else if wrap {
        yes | no
    } else {
        0
    }
}

#[test]
fn loom_a_packed_ring_loses_no_kick() {
    let quiet = |shared: &Shared| shared.flags.put(EVENTS_OFF, Ordering::Relaxed);
    model(
        quiet,
        |shared| {
            for n in 0..CHAINS {
                let at = place(n);
                shared.descriptor(at).put(flags(false, at.wrap), Ordering::Release);
                fence(Ordering::SeqCst);
                if shared.flags.get(Ordering::Relaxed) != EVENTS_OFF {
                    shared.ring();
                }
            }
        },
        |shared, seen| {
            let at = place(seen);
            let there = || notify::is_available(shared.descriptor(at).get(Ordering::Acquire), at.wrap);
            if there() { (seen + 1, false) } else { (seen, notify::arm(&shared.flags, EVENTS_ON, || !there())) }
        },
        quiet,
    );
}

/// As [`split_calls`]; the call is for all that was used since the last look.
fn packed_calls(shared: &Shared, event_idx: bool) {
    for n in 0..CHAINS {
        let (at, used) = (place(n), place(n + 1));
        shared.descriptor(at).put(flags(true, at.wrap), Ordering::Release);
        let event = event_idx.then_some(&shared.event);
        if notify::packed_wants_call(&shared.flags, event, (at.index, used, SIZE)) {
            shared.ring();
        }
    }
}

/// virtqueue_enable_cb_prepare_packed, virtqueue_poll.
fn packed_waits(shared: &Shared, seen: u16, event_idx: bool) -> (u16, bool) {
    let at = place(seen);
    let is_used = || shared.descriptor(at).get(Ordering::Acquire) == flags(true, at.wrap);
    if is_used() {
        return (seen + 1, false);
    }
    if event_idx {
        let wrap = if at.wrap { WRAP } else { 0 };
        shared.event.put(at.index | wrap, Ordering::Relaxed);
        fence(Ordering::Release);
    }
    shared.flags.put(if event_idx { EVENTS_AT } else { EVENTS_ON }, Ordering::Relaxed);
    fence(Ordering::SeqCst);
    (seen, !is_used())
}

/// Descriptors that are available, and a driver that wants no calls yet.
fn packed_full(shared: &Shared) {
    (0..CHAINS).map(place).for_each(|at| shared.descriptor(at).put(flags(false, at.wrap), Ordering::Relaxed));
    shared.flags.put(EVENTS_OFF, Ordering::Relaxed);
    // passed long ago
    shared.event.put(1 | WRAP, Ordering::Relaxed);
}

fn no_calls(shared: &Shared) {
    shared.flags.put(EVENTS_OFF, Ordering::Relaxed);
}

#[test]
fn loom_a_packed_ring_with_flags_loses_no_call() {
    model(
        packed_full,
        |shared| packed_calls(shared, false),
        |shared, seen| packed_waits(shared, seen, false),
        no_calls,
    );
}

#[test]
fn loom_a_packed_ring_with_event_indexes_loses_no_call() {
    model(packed_full, |shared| packed_calls(shared, true), |shared, seen| packed_waits(shared, seen, true), no_calls);
}
