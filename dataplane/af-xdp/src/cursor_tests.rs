//! The index pair against a model, and in every interleaving.

use super::*;

/// Two indices that start at `first`, and the two cursors over them. Dropped after the cursors.
struct Pair {
    producer: AtomicU32,
    consumer: AtomicU32,
}

impl Pair {
    fn new(first: u32) -> Box<Self> {
        Box::new(Pair { producer: AtomicU32::new(first), consumer: AtomicU32::new(first) })
    }

    fn indices(&self) -> Indices {
        Indices { producer: NonNull::from(&self.producer), consumer: NonNull::from(&self.consumer) }
    }

    #[cfg(not(loom))]
    fn cursors(&self, size: u32) -> (Producer, Consumer) {
        // SAFETY: every test keeps the pair alive longer than its one producer and one consumer.
        unsafe { (Producer::new(self.indices(), size), Consumer::new(self.indices(), size)) }
    }
}

#[cfg(not(loom))]
mod model {
    use super::*;
    use proptest::prelude::*;
    use std::collections::VecDeque;

    /// The oracle: a queue, and the ring's slots as a plain array indexed by what the cursors say.
    struct Oracle {
        queue: VecDeque<u32>,
        slots: Vec<u32>,
        next: u32,
    }

    #[derive(Clone, Debug)]
    enum Op {
        Produce { want: u32, submit: u32 },
        Consume { want: u32, release: u32 },
    }

    fn op() -> impl Strategy<Value = Op> {
        prop_oneof![
            (0..40_u32, 0..40_u32).prop_map(|(want, submit)| Op::Produce { want, submit }),
            (0..40_u32, 0..40_u32).prop_map(|(want, release)| Op::Consume { want, release }),
        ]
    }

    impl Oracle {
        fn filled(&self) -> u32 {
            u32::try_from(self.queue.len()).unwrap()
        }

        fn produce(&mut self, p: &mut Producer, want: u32, submit: u32) {
            let filled = self.filled();
            let n = p.reserve(want);
            assert_eq!(n, want.min(p.size() - filled), "a single thread sees every free slot");
            let submit = submit.min(n);
            for i in 0..submit {
                self.slots[p.slot(i)] = self.next;
                self.queue.push_back(self.next);
                self.next += 1;
            }
            p.submit(submit);
            assert_eq!(p.backlog(), filled + submit);
            assert_eq!(p.free_slots(), p.size() - filled - submit);
        }

        fn consume(&mut self, c: &mut Consumer, want: u32, release: u32) {
            let filled = self.filled();
            let n = c.peek(want);
            assert_eq!(n, want.min(filled), "a single thread sees every entry");
            for (i, expected) in (0..n).zip(&self.queue) {
                assert_eq!(self.slots[c.slot(i)], *expected);
            }
            let release = release.min(n);
            c.release(release);
            self.queue.drain(..release as usize);
            assert_eq!(c.available(), filled - release);
        }
    }

    proptest! {
        /// Any sequence of bursts keeps order and content, also where the indices pass `u32::MAX`.
        #[test]
        fn behaves_like_a_queue(
            bits in 0..6_u32,
            before_wrap in 0..100_u32,
            ops in prop::collection::vec(op(), 1..200),
        ) {
            let size = 1 << bits;
            let pair = Pair::new(0_u32.wrapping_sub(before_wrap));
            let (mut p, mut c) = pair.cursors(size);
            let mut oracle = Oracle { queue: VecDeque::new(), slots: vec![0; size as usize], next: 0 };
            for op in ops {
                match op {
                    Op::Produce { want, submit } => oracle.produce(&mut p, want, submit),
                    Op::Consume { want, release } => oracle.consume(&mut c, want, release),
                }
            }
        }
    }

    #[test]
    fn a_full_ring_across_the_wrap() {
        let pair = Pair::new(u32::MAX - 1);
        let (mut p, mut c) = pair.cursors(4);
        assert_eq!(p.reserve(9), 4);
        assert_eq!([p.slot(0), p.slot(1), p.slot(2), p.slot(3)], [2, 3, 0, 1]);
        p.submit(4);
        assert_eq!(p.reserve(1), 0);
        assert_eq!(c.peek(9), 4);
        c.release(3);
        assert_eq!((p.reserve(9), c.peek(9)), (3, 1));
    }

    #[test]
    fn what_was_not_submitted_stays_reserved_from_index_zero() {
        let pair = Pair::new(0);
        let (mut p, mut c) = pair.cursors(8);
        assert_eq!(p.reserve(5), 5);
        p.submit(2);
        assert_eq!((p.slot(0), c.peek(8)), (2, 2));
        p.submit(3);
        assert_eq!(c.peek(8), 5);
        c.release(4);
        assert_eq!((c.slot(0), c.peek(8)), (4, 1));
    }

    #[test]
    fn senseless_opposite_indices_give_nothing_outside_the_ring() {
        let pair = Pair::new(0);
        let (mut p, mut c) = pair.cursors(8);
        pair.consumer.store(77, Ordering::Release);
        assert_eq!(p.free_slots(), 0);
        pair.producer.store(1 << 31, Ordering::Release);
        assert_eq!(c.peek(100), 8);
        assert!((0..8).all(|i| c.slot(i) < 8));
    }

    #[test]
    #[should_panic(expected = "write beyond the reservation")]
    fn a_slot_that_was_not_reserved_is_refused() {
        let pair = Pair::new(0);
        let (mut p, _) = pair.cursors(8);
        p.reserve(2);
        p.slot(2);
    }

    #[test]
    #[should_panic(expected = "submit beyond the reservation")]
    fn submitting_more_than_reserved_is_refused() {
        let pair = Pair::new(0);
        let (mut p, _) = pair.cursors(8);
        p.reserve(2);
        p.submit(3);
    }

    #[test]
    #[should_panic(expected = "read beyond the peeked entries")]
    fn a_slot_that_was_not_peeked_is_refused() {
        let pair = Pair::new(0);
        let (_, mut c) = pair.cursors(8);
        c.peek(1);
        c.slot(0);
    }

    #[test]
    #[should_panic(expected = "release beyond the peeked entries")]
    fn releasing_more_than_peeked_is_refused() {
        let pair = Pair::new(0);
        let (_, mut c) = pair.cursors(8);
        c.release(1);
    }
}

#[cfg(loom)]
mod loom_model {
    use super::*;
    use loom::cell::UnsafeCell;
    use loom::sync::Arc;
    use loom::thread;

    const SIZE: u32 = 2;
    /// Bursts each side tries. Nobody waits, so that every interleaving can be visited.
    const TURNS: u32 = 3;

    /// A ring whose slots are watched: loom fails if two threads touch one without an edge between them.
    struct Watched {
        pair: Box<Pair>,
        slots: Vec<UnsafeCell<u32>>,
    }

    // SAFETY: the slots are shared under the cursors' protocol, which is what the model checks.
    unsafe impl Send for Watched {}
    // SAFETY: as above.
    unsafe impl Sync for Watched {}

    impl Watched {
        fn new(first: u32) -> Arc<Self> {
            Arc::new(Watched { pair: Pair::new(first), slots: (0..SIZE).map(|_| UnsafeCell::new(0)).collect() })
        }
    }

    /// Sends 0, 1, 2, ... as far as there is room; returns how many.
    fn produce(ring: &Watched, burst: u32) -> u32 {
        // SAFETY: the caller's Arc keeps the pair; this thread makes the only producer.
        let mut p = unsafe { Producer::new(ring.pair.indices(), SIZE) };
        let mut sent = 0;
        for _ in 0..TURNS {
            let n = p.reserve(burst);
            for i in 0..n {
                // SAFETY: a reserved slot is ours.
                ring.slots[p.slot(i)].with_mut(|s| unsafe { *s = sent + i });
            }
            p.submit(n);
            sent += n;
        }
        sent
    }

    /// Expects `seen`, `seen + 1`, ...; returns what comes next.
    fn consume(ring: &Watched, c: &mut Consumer, seen: u32) -> u32 {
        let n = c.peek(SIZE);
        for i in 0..n {
            // SAFETY: a peeked slot is ours.
            let value = ring.slots[c.slot(i)].with(|s| unsafe { *s });
            assert_eq!(value, seen + i);
        }
        c.release(n);
        seen + n
    }

    fn check(first: u32, burst: u32) {
        loom::model(move || {
            let ring = Watched::new(first);
            let theirs = ring.clone();
            let producer = thread::spawn(move || produce(&theirs, burst));
            // SAFETY: `ring` keeps the pair; this is the only consumer.
            let mut c = unsafe { Consumer::new(ring.pair.indices(), SIZE) };
            let seen = (0..TURNS).fold(0, |seen, _| consume(&ring, &mut c, seen));
            let sent = producer.join().unwrap();
            assert_eq!(consume(&ring, &mut c, seen), sent, "every entry arrives");
        });
    }

    #[test]
    fn loom_single_entries() {
        check(0, 1);
    }

    #[test]
    fn loom_bursts_across_the_wrap() {
        check(u32::MAX, 2);
    }
}
