#![allow(unsafe_code)]
//! SPSC burst ring: carries tokens (mbufs, commands) from exactly one thread to exactly one other.
//!
//! Owner threads: the worker that holds the [`Producer`] and the worker that holds the [`Consumer`]. Both halves move
//! by value and take `&mut self`, so the type system enforces the single producer and the single consumer.
//!
//! Indices are free-running `u32` that wrap by type and are masked on access: `tail` counts every item ever enqueued,
//! `head` every item ever dequeued, `tail - head` (wrapping) is the fill level. All slots are usable. Each half knows
//! its own index and keeps a stale copy of the other's, which it refreshes only when the copy says that the ring might
//! be full (producer) or might hold less than wanted (consumer): a burst costs one `Release` store, at most one
//! `Acquire` load, and no read-modify-write.
//!
//! Invariants:
//! - I1: `0 <= tail - head <= capacity` (wrapping); the stale copies only err towards "full" and "empty".
//! - I2: the slots `head..tail` are initialised and belong to the consumer; all others belong to the producer.
//! - I3: only the producer stores `tail`, only the consumer stores `head`.
//!
//! Edges:
//! - (A) the producer's `tail.store(Release)` pairs with (B) the consumer's `tail.load(Acquire)`: an item is written
//!   before the consumer can see its slot.
//! - (C) the consumer's `head.store(Release)` pairs with (D) the producer's `head.load(Acquire)`: an item is moved out
//!   before the producer can reuse its slot.
//!
//! A consumer that is about to sleep raises its flag, issues `fence(SeqCst)` and then asks [`Consumer::is_empty`],
//! which reads the shared index; the producer's waker does the mirror image (enqueue, `fence(SeqCst)`, read the flag).
//! The ring holds no flag of its own: one worker sleeps on many rings.

use crate::primitive::{Arc, AtomicU32, Ordering, UnsafeCell};
use arrayvec::ArrayVec;
use core::{fmt, mem::MaybeUninit};
use crossbeam::utils::CachePadded;

/// One slot; initialised exactly while its index is in `head..tail` (I2).
type Slot<T> = UnsafeCell<MaybeUninit<T>>;

struct Shared<T> {
    /// Written by the consumer only.
    head: CachePadded<AtomicU32>,
    /// Written by the producer only.
    tail: CachePadded<AtomicU32>,
    slots: Box<[Slot<T>]>,
}

// SAFETY: by I2 a slot is touched by one half at a time and changes hands over (A)/(B) or (C)/(D); `T: Send` allows
// that hand-over.
unsafe impl<T: Send> Send for Shared<T> {}
// SAFETY: as for `Send`; the halves share only the two atomic indices.
unsafe impl<T: Send> Sync for Shared<T> {}

/// The enqueueing half.
pub struct Producer<T> {
    shared: Arc<Shared<T>>,
    /// This half's own index; the shared one is only for the consumer to read.
    tail: u32,
    /// The consumer's index as last seen: never ahead of the true one.
    head_seen: u32,
}

/// The dequeueing half.
pub struct Consumer<T> {
    shared: Arc<Shared<T>>,
    /// This half's own index; the shared one is only for the producer to read.
    head: u32,
    /// The producer's index as last seen: never ahead of the true one.
    tail_seen: u32,
}

/// Makes a ring of `capacity` slots. This is the only allocation.
///
/// # Panics
/// If `capacity` is not a power of two.
#[must_use]
pub fn ring<T: Send>(capacity: u32) -> (Producer<T>, Consumer<T>) {
    ring_at(capacity, 0)
}

/// A ring whose indices start at `start`: tests begin just below the wrap.
fn ring_at<T: Send>(capacity: u32, start: u32) -> (Producer<T>, Consumer<T>) {
    assert!(capacity.is_power_of_two(), "ring: capacity {capacity} must be a power of two");
    let shared = Arc::new(Shared {
        head: CachePadded::new(AtomicU32::new(start)),
        tail: CachePadded::new(AtomicU32::new(start)),
        slots: (0..capacity).map(|_| UnsafeCell::new(MaybeUninit::uninit())).collect(),
    });
    let producer = Producer { shared: Arc::clone(&shared), tail: start, head_seen: start };
    (producer, Consumer { shared, head: start, tail_seen: start })
}

impl<T> Shared<T> {
    #[expect(clippy::cast_possible_truncation, reason = "built from a u32 in ring_at")]
    fn capacity(&self) -> u32 {
        self.slots.len() as u32
    }

    /// The `n` slots from `index` on: a run up to the end of the array, and the rest from its start.
    fn span(&self, index: u32, n: usize) -> impl Iterator<Item = &Slot<T>> {
        let start = (index & (self.capacity() - 1)) as usize;
        let first = n.min(self.slots.len() - start);
        self.slots[start..start + first].iter().chain(&self.slots[..n - first])
    }
}

impl<T: Send> Producer<T> {
    /// Moves the first items of the burst into the ring, as many as fit, and returns how many; the rest stays in
    /// `items`, in order, and is still the caller's.
    #[inline]
    pub fn enqueue_burst<const N: usize>(&mut self, items: &mut ArrayVec<T, N>) -> usize {
        let n = items.len().min(self.room_for(items.len()));
        self.enqueue(items.drain(..n));
        n
    }

    /// Moves items into the ring.
    ///
    /// # Panics
    /// If they do not all fit; ask [`room_for`](Self::room_for) first.
    #[inline]
    pub fn enqueue(&mut self, items: impl ExactSizeIterator<Item = T>) {
        let n = items.len();
        assert!(n <= self.room_for(n), "ring: no room for {n} items");
        if n == 0 {
            return;
        }
        let mut written = 0;
        for (slot, item) in self.shared.span(self.tail, n).zip(items) {
            // SAFETY: I2: the slot lies in `tail..head + capacity`, so it is the producer's, and vacant.
            slot.with_mut(|slot| unsafe { (*slot).write(item) });
            written += 1;
        }
        self.tail = self.tail.wrapping_add(written);
        self.shared.tail.store(self.tail, Ordering::Release); // A, matches B
    }

    /// Slots that are free; may grow any moment, shrinks only by this half's own doing. Looks at the consumer's index only
    /// when the last look does not show `wanted` of them.
    #[inline]
    pub fn room_for(&mut self, wanted: usize) -> usize {
        if self.free_after(self.head_seen) < wanted {
            self.head_seen = self.shared.head.load(Ordering::Acquire); // D, matches C
        }
        self.free_after(self.head_seen)
    }

    fn free_after(&self, head: u32) -> usize {
        self.shared.slots.len() - self.tail.wrapping_sub(head) as usize
    }
}

impl<T: Send> Consumer<T> {
    /// Appends items to `out` until it is full or the ring is empty, and returns how many.
    #[inline]
    pub fn dequeue_burst<const N: usize>(&mut self, out: &mut ArrayVec<T, N>) -> usize {
        let room = out.remaining_capacity();
        let n = room.min(self.ready_for(room));
        if n == 0 {
            return 0;
        }
        for slot in self.shared.span(self.head, n) {
            // SAFETY: I2: the slot lies in `head..tail`, so it is initialised and the consumer's; `head` moves past it
            // below, so it is read once.
            let item = slot.with(|slot| unsafe { (*slot).assume_init_read() });
            // SAFETY: `n` is at most `out.remaining_capacity()`.
            unsafe { out.push_unchecked(item) };
        }
        self.head = self.head.wrapping_add(as_index(n));
        self.shared.head.store(self.head, Ordering::Release); // C, matches D
        n
    }

    /// The items in the ring now; may grow any moment, shrinks only by this half's own doing.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.shared.tail.load(Ordering::Acquire).wrapping_sub(self.head) as usize // B, matches A
    }

    /// Whether there is nothing to dequeue now: the check before sleep (see the module head for its fence).
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Items ready; looks at the producer's index only when the last look does not show `wanted` of them.
    fn ready_for(&mut self, wanted: usize) -> usize {
        if (self.tail_seen.wrapping_sub(self.head) as usize) < wanted {
            self.tail_seen = self.shared.tail.load(Ordering::Acquire); // B, matches A
        }
        self.tail_seen.wrapping_sub(self.head) as usize
    }
}

/// A count of slots as an index distance.
#[expect(clippy::cast_possible_truncation, reason = "at most the capacity, which is a u32")]
fn as_index(n: usize) -> u32 {
    n as u32
}

impl<T> Drop for Shared<T> {
    fn drop(&mut self) {
        // Relaxed: `Arc` ordered both halves' last accesses before this.
        let head = self.head.load(Ordering::Relaxed);
        let left = self.tail.load(Ordering::Relaxed).wrapping_sub(head);
        for slot in self.span(head, left as usize) {
            // SAFETY: I2: `head..tail` is initialised, and both halves are gone.
            slot.with_mut(|slot| unsafe { (*slot).assume_init_drop() });
        }
    }
}

impl<T> fmt::Debug for Producer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Producer").field("capacity", &self.shared.capacity()).field("tail", &self.tail).finish()
    }
}

impl<T> fmt::Debug for Consumer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumer").field("capacity", &self.shared.capacity()).field("head", &self.head).finish()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::{ring, ring_at};
    use arrayvec::ArrayVec;
    use proptest::prelude::*;
    use std::{collections::VecDeque, sync::Arc};

    type Items = ArrayVec<u32, 8>;

    #[test]
    fn takes_the_first_that_fit_and_leaves_the_rest_in_order() {
        let (mut tx, mut rx) = ring::<u32>(4);
        let mut items: Items = (0..6).collect();
        assert_eq!(tx.enqueue_burst(&mut items), 4);
        assert_eq!(items.as_slice(), [4, 5]);
        assert_eq!((tx.room_for(usize::MAX), rx.len()), (0, 4));
        assert_eq!(tx.enqueue_burst(&mut items), 0);
        let mut out: ArrayVec<u32, 3> = [99].into_iter().collect();
        assert_eq!(rx.dequeue_burst(&mut out), 2, "appends until the burst is full");
        assert_eq!(out.as_slice(), [99, 0, 1]);
        assert_eq!(tx.enqueue_burst(&mut items), 2);
        let mut out = Items::new();
        assert_eq!(rx.dequeue_burst(&mut out), 4);
        assert_eq!(out.as_slice(), [2, 3, 4, 5]);
        assert!(rx.is_empty());
        assert_eq!(rx.dequeue_burst(&mut out), 0);
    }

    #[test]
    fn full_or_empty_bursts_move_nothing() {
        let (mut tx, mut rx) = ring::<u32>(1);
        assert_eq!(tx.enqueue_burst(&mut Items::new()), 0);
        assert_eq!(tx.enqueue_burst(&mut Items::from_iter([7])), 1);
        let mut full: ArrayVec<u32, 1> = [1].into_iter().collect();
        assert_eq!(rx.dequeue_burst(&mut full), 0);
        assert_eq!(rx.dequeue_burst(&mut ArrayVec::<u32, 0>::new()), 0);
        assert_eq!(rx.len(), 1);
    }

    #[test]
    #[should_panic(expected = "capacity 12 must be a power of two")]
    fn odd_capacities_are_refused() {
        let _ = ring::<u32>(12);
    }

    #[test]
    fn drop_frees_what_is_left_across_the_wrap() {
        let witness = Arc::new(());
        let (mut tx, mut rx) = ring_at::<Arc<()>>(8, u32::MAX - 2);
        let mut items: ArrayVec<_, 8> = (0..8).map(|_| witness.clone()).collect();
        assert_eq!(tx.enqueue_burst(&mut items), 8);
        let mut out = ArrayVec::<_, 2>::new();
        assert_eq!(rx.dequeue_burst(&mut out), 2);
        drop((tx, rx));
        assert_eq!(Arc::strong_count(&witness), 1 + out.len());
    }

    #[test]
    fn bursts_at_the_loop_edges_keep_order() {
        for size in [1, 31, 32, 33, 64] {
            let (mut tx, mut rx) = ring_at::<u32>(64, u32::MAX - 40);
            let mut expected = 0;
            for round in 0..50u32 {
                let mut items: ArrayVec<u32, 64> = (0..size).map(|i| round * size + i).collect();
                assert_eq!(tx.enqueue_burst(&mut items), size as usize);
                let mut out = ArrayVec::<u32, 64>::new();
                assert_eq!(rx.dequeue_burst(&mut out), size as usize);
                for item in out {
                    assert_eq!(item, expected);
                    expected += 1;
                }
            }
        }
    }

    #[derive(Debug, Clone)]
    enum Op {
        Enqueue(usize),
        Dequeue(usize),
    }

    fn op() -> impl Strategy<Value = Op> {
        prop_oneof![(0..=8usize).prop_map(Op::Enqueue), (0..=8usize).prop_map(Op::Dequeue)]
    }

    proptest! {
        #[test]
        fn behaves_like_a_bounded_queue(ops in prop::collection::vec(op(), 0..200), bits in 0..5u32, back in 0..40u32) {
            let capacity = 1 << bits;
            let (mut tx, mut rx) = ring_at::<Box<u32>>(capacity, 0u32.wrapping_sub(back));
            let mut model = VecDeque::new();
            let mut next = 0;
            for op in ops {
                match op {
                    Op::Enqueue(n) => {
                        let mut items: ArrayVec<_, 8> = (next..).take(n).map(Box::new).collect();
                        let fit = n.min(capacity as usize - model.len());
                        prop_assert_eq!(tx.enqueue_burst(&mut items), fit);
                        prop_assert_eq!(items.len(), n - fit);
                        prop_assert!(items.iter().all(|item| **item >= next + u32::try_from(fit).unwrap()));
                        model.extend((next..).take(fit));
                        next += 8;
                    }
                    Op::Dequeue(n) => {
                        let mut out: ArrayVec<_, 8> = (n..8).map(|_| Box::new(u32::MAX)).collect();
                        let want = n.min(model.len());
                        prop_assert_eq!(rx.dequeue_burst(&mut out), want);
                        for item in out.drain(8 - n..) {
                            prop_assert_eq!(Some(*item), model.pop_front());
                        }
                    }
                }
                prop_assert_eq!(rx.len(), model.len());
                prop_assert_eq!(rx.is_empty(), model.is_empty());
                prop_assert_eq!(tx.room_for(usize::MAX), capacity as usize - model.len());
            }
        }
    }

    #[test]
    fn two_threads_hand_over_every_item_once_and_in_order() {
        const ITEMS: u32 = 2_000_000;
        let (mut tx, mut rx) = ring_at::<u32>(64, u32::MAX - ITEMS / 2);
        let producer = std::thread::spawn(move || {
            let mut next = 0;
            let mut items = ArrayVec::<u32, 32>::new();
            while next < ITEMS || !items.is_empty() {
                while next < ITEMS && items.try_push(next).is_ok() {
                    next += 1;
                }
                if tx.enqueue_burst(&mut items) == 0 {
                    std::thread::yield_now();
                }
            }
        });
        let mut expected = 0;
        while expected < ITEMS {
            let mut out = ArrayVec::<u32, 32>::new();
            if rx.dequeue_burst(&mut out) == 0 {
                std::thread::yield_now();
            }
            for item in out {
                assert_eq!(item, expected);
                expected += 1;
            }
        }
        producer.join().unwrap();
        assert!(rx.is_empty());
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use super::ring_at;
    use arrayvec::ArrayVec;
    use loom::{sync::Arc, thread};

    /// Items are boxed: a slot read before it is written, or written before it is emptied, is an access violation that
    /// loom's cell reports; a lost or doubled item fails the order check or loom's leak check.
    #[test]
    fn loom_hands_over_in_order_through_a_full_ring() {
        loom::model(|| {
            let (mut tx, mut rx) = ring_at::<Box<u32>>(2, u32::MAX - 1);
            let producer = thread::spawn(move || {
                let mut items: ArrayVec<_, 3> = (0..3).map(Box::new).collect();
                while !items.is_empty() {
                    if tx.enqueue_burst(&mut items) == 0 {
                        thread::yield_now();
                    }
                }
            });
            let mut got = ArrayVec::<Box<u32>, 3>::new();
            while !got.is_full() {
                let ready = rx.len();
                let n = rx.dequeue_burst(&mut got);
                assert!(n >= ready, "what len() showed can be dequeued");
                if n == 0 {
                    thread::yield_now();
                }
            }
            producer.join().unwrap();
            assert!(got.iter().map(|item| **item).eq(0..3));
        });
    }

    #[test]
    fn loom_slots_seen_free_can_be_filled() {
        loom::model(|| {
            let (mut tx, mut rx) = ring_at::<u32>(2, 0);
            tx.enqueue_burst(&mut ArrayVec::<u32, 2>::from([0, 1]));
            let consumer = thread::spawn(move || {
                rx.dequeue_burst(&mut ArrayVec::<u32, 1>::new());
                rx
            });
            let free = tx.room_for(usize::MAX);
            let n = tx.enqueue_burst(&mut ArrayVec::<u32, 2>::from([2, 3]));
            assert!(n >= free);
            let rx = consumer.join().unwrap();
            assert_eq!(rx.len(), 1 + n);
        });
    }

    #[test]
    fn loom_whoever_drops_last_frees_the_rest() {
        loom::model(|| {
            let witness = Arc::new(());
            let (mut tx, mut rx) = ring_at::<Arc<()>>(2, u32::MAX);
            let item = witness.clone();
            let producer = thread::spawn(move || {
                tx.enqueue_burst(&mut ArrayVec::<_, 2>::from([item.clone(), item]));
            });
            let mut out = ArrayVec::<_, 1>::new();
            rx.dequeue_burst(&mut out);
            drop((rx, out));
            producer.join().unwrap();
            assert_eq!(Arc::strong_count(&witness), 1);
        });
    }
}
