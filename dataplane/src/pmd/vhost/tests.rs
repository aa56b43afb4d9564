//! Rings with a driver by hand; and with whatever bytes.

use super::exercise::how::{INDIRECT, LOGGED, LONG_RINGS, MERGE, PACKED};
use super::exercise::{GUEST, MEMORY, RINGS, SIZE, Served, exercise};
use super::ring::RingFault;
use crate::mem::{Arena, ArenaConfig, Hugepages, Mempool, MempoolCache};
use proptest::prelude::*;

const FRAME: [u8; 80] = [7; 80];

/// Guest memory, written as a driver writes it.
struct Driver(Vec<u8>);

impl Driver {
    fn new() -> Self {
        Self(vec![0; MEMORY])
    }

    fn put(&mut self, at: usize, bytes: &[u8]) {
        self.0[at..at + bytes.len()].copy_from_slice(bytes);
    }

    /// A descriptor at byte `at`; in a packed ring the last two are id and flags.
    fn desc(&mut self, at: usize, addr: u64, len: u32, (third, fourth): (u16, u16)) {
        self.put(at, &addr.to_le_bytes());
        self.put(at + 8, &len.to_le_bytes());
        self.put(at + 12, &third.to_le_bytes());
        self.put(at + 14, &fourth.to_le_bytes());
    }

    /// Makes these heads of a split ring available.
    fn offer(&mut self, ring: usize, heads: &[u16]) {
        self.put(ring + 0x102, &u16::try_from(heads.len()).unwrap().to_le_bytes());
        for (i, head) in heads.iter().enumerate() {
            self.put(ring + 0x104 + 2 * i, &head.to_le_bytes());
        }
    }

    /// Served, with every frame home again, and every page marked that was written.
    fn serve(&self, how: u8, frames: &[&[u8]]) -> Served {
        let pool = Mempool::new(Arena::new(&ArenaConfig { frames: 1024, hugepages: Hugepages::Off }).unwrap());
        let mut mem = MempoolCache::new(&pool);
        let served = exercise(&mut mem, how, &self.0, frames);
        drop(mem);
        assert_eq!(pool.free(), pool.total(), "every frame is home again");
        if how & LOGGED != 0 && how & LONG_RINGS == 0 && served.faults.is_empty() {
            let changed = (0..MEMORY).filter(|at| self.0[*at] != served.memory[*at]);
            let page = |at: usize| (usize::try_from(GUEST).unwrap() + at) / 4096;
            changed.for_each(|at| assert!(served.marked.contains(&page(at)), "byte {at:#x} changed"));
        }
        served
    }
}

fn u16_at(memory: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([memory[at], memory[at + 1]])
}

fn used(memory: &[u8], ring: usize) -> Vec<(u8, u8)> {
    let n = usize::from(u16_at(memory, ring + 0x182));
    (0..n).map(|i| (memory[ring + 0x184 + 8 * i], memory[ring + 0x188 + 8 * i])).collect()
}

const FROM: usize = RINGS[0];
const TO: usize = RINGS[1];

#[test]
fn a_frame_in_one_in_two_and_in_indirect_buffers() {
    let mut driver = Driver::new();
    driver.put(0x1000, &[&[0; 12], &FRAME[..]].concat());
    driver.desc(FROM, GUEST + 0x1000, 92, (0, 0));
    // header and frame apart, as drivers without ANY_LAYOUT do
    driver.desc(FROM + 16, GUEST + 0x1000, 12, (1, 2));
    driver.desc(FROM + 32, GUEST + 0x100c, 80, (0, 0));
    driver.desc(FROM + 48, GUEST + 0x2000, 32, (4, 0));
    driver.desc(0x2000, GUEST + 0x1000, 20, (1, 1));
    driver.desc(0x2010, GUEST + 0x1014, 72, (0, 0));
    driver.offer(FROM, &[0, 1, 3]);
    let served = driver.serve(INDIRECT, &[]);
    assert_eq!(served.faults, []);
    assert_eq!(served.received, [FRAME, FRAME, FRAME]);
    assert_eq!(used(&served.memory, FROM), [(0, 0), (1, 0), (3, 0)]);
    assert_eq!(driver.serve(0, &[]).faults, [RingFault::Indirect(32)], "not agreed on");
}

#[test]
fn a_frame_is_spread_over_chains_or_waits_or_is_refused() {
    let mut driver = Driver::new();
    for i in 0..3 {
        driver.desc(TO + 16 * i, GUEST + 0x1000 + 64 * i as u64, 40, (2, 0));
    }
    driver.offer(TO, &[0, 1, 2]);
    let served = driver.serve(MERGE, &[&FRAME]);
    assert_eq!(used(&served.memory, TO), [(0, 40), (1, 40), (2, 12)]);
    assert_eq!(u16_at(&served.memory, 0x100a), 3, "num_buffers");
    assert_eq!(served.memory[0x100c..0x1028], FRAME[..28]);
    assert_eq!(served.memory[0x1080..0x108c], FRAME[..12]);
    // without merging no buffer is large enough: nothing is used up
    assert_eq!(used(&driver.serve(0, &[&FRAME]).memory, TO), []);
    // two buffers are too few
    driver.offer(TO, &[0, 1]);
    assert_eq!(used(&driver.serve(MERGE, &[&FRAME]).memory, TO), []);
}

#[test]
fn a_packed_ring_is_used_in_place() {
    let mut driver = Driver::new();
    driver.put(0x1000, &[&[0; 12], &FRAME[..]].concat());
    // a chain of two with id 5, then one with id 9; available in the first turn
    driver.desc(FROM, GUEST + 0x1000, 12, (0, 0x81));
    driver.desc(FROM + 16, GUEST + 0x100c, 80, (5, 0x80));
    driver.desc(FROM + 32, GUEST + 0x1000, 92, (9, 0x80));
    driver.desc(TO, GUEST + 0x3000, 200, (3, 0x82));
    let served = driver.serve(PACKED, &[&FRAME]);
    assert_eq!(served.faults, []);
    assert_eq!(served.received, [FRAME, FRAME]);
    let used = |at: usize| (u16_at(&served.memory, at + 12), u16_at(&served.memory, at + 14));
    assert_eq!((used(FROM), used(FROM + 32)), ((5, 0x8081), (9, 0x8080)));
    assert_eq!(used(TO), (3, 0x8082));
    assert_eq!(served.memory[0x300c..0x305c], FRAME);
}

/// Where a packed ring has its device event suppression: the position, then flags.
const EVENT: usize = FROM + 0x180;

/// A packed ring of the guest's at a position written down, or not, with descriptors `(len, id, flags)` from the first on;
/// the others were used in the first turn if this is a later one.
fn left_behind(position: u16, event_flags: u16, descriptors: &[(u32, u16, u16)]) -> (Vec<u16>, Served) {
    let mut driver = Driver::new();
    driver.put(0x1000, &[&[0; 12], &FRAME[..]].concat());
    let rest = (0, 0, if position == SIZE | 0x8000 { 0x8080 } else { 0 });
    for (i, (len, id, flags)) in descriptors.iter().chain(std::iter::repeat(&rest)).take(SIZE.into()).enumerate() {
        driver.desc(FROM + 16 * i, GUEST + 0x1000, *len, (*id, *flags));
    }
    driver.put(EVENT, &position.to_le_bytes());
    driver.put(EVENT + 2, &event_flags.to_le_bytes());
    let served = driver.serve(PACKED, &[]);
    assert_eq!(served.faults, []);
    let flags = (0..descriptors.len()).map(|i| u16_at(&served.memory, FROM + 16 * i + 14)).collect();
    (flags, served)
}

#[test]
fn a_packed_ring_is_taken_up_where_its_predecessor_was() {
    let old = (92, 1, 0x80);
    // the first two look available: they are the rest of a chain that was used long ago
    let (flags, served) = left_behind(2 | 0x8000, 1, &[old, old, (92, 4, 0x80)]);
    assert_eq!((served.received.len(), &flags[..]), (1, &[0x80, 0x80, 0x8080][..]));
    assert_eq!(u16_at(&served.memory, EVENT), 3 | 0x8000, "written down for the next");
    // a turn further: the driver's bits are the other way round, and the place before the first is behind the last
    let (flags, served) = left_behind(SIZE | 0x8000, 0, &[(92, 4, 0x8000)]);
    assert_eq!((served.received.len(), &flags[..], u16_at(&served.memory, EVENT)), (1, &[0][..], 1));
    // what another device asked for by RING_EVENT_FLAGS_DESC is no position of ours, nor is what cannot be
    for (word, event_flags) in [(2 | 0x8000, 2), (0, 0), (SIZE + 1, 0)] {
        let (_, served) = left_behind(word, event_flags, &[(92, 4, 0x80)]);
        assert_eq!(served.received.len(), 1, "as the front end says: {word:#x}");
    }
}

#[test]
fn a_packed_batch_that_was_never_shown_goes_back_empty() {
    // first a chain of two, as the driver made it; behind it a used chain of two, and one of one; then one to do
    let (flags, served) = left_behind(
        0x8000,
        1,
        &[
            (12, 0, 0x81),
            (80, 5, 0x80),
            (50, 7, 0x8081),
            (80, 7, 0x80),
            (50, 8, 0x8080),
            (92, 9, 0x80),
            (92, 1, 0x8000),
        ],
    );
    assert_eq!(served.received, [FRAME]);
    assert_eq!(flags, [0x8081, 0x80, 0x8081, 0x80, 0x8080, 0x8080, 0x8000]);
    let len_and_id = |i: usize| (u16_at(&served.memory, FROM + 16 * i + 8), u16_at(&served.memory, FROM + 16 * i + 12));
    assert_eq!([0, 2, 4, 5].map(len_and_id), [(0, 5), (0, 7), (0, 8), (0, 9)]);
    assert_eq!(u16_at(&served.memory, EVENT), 6 | 0x8000);
}

#[test]
fn a_packed_batch_that_was_shown_and_not_written_down_is_passed_by() {
    // two used, and the driver has made the id of the second available again
    let (flags, served) = left_behind(0x8000, 1, &[(0, 3, 0x8080), (0, 4, 0x8080), (92, 4, 0x80)]);
    assert_eq!((served.received.len(), &flags[..]), (1, &[0x8080; 3][..]));
    assert_eq!(u16_at(&served.memory, EVENT), 3 | 0x8000);
    // the driver has made the places available again: they are for the next turn
    let (flags, served) = left_behind(0x8000, 1, &[(92, 3, 0x8000), (92, 4, 0x8000), (92, 5, 0x80)]);
    assert_eq!((served.received.len(), &flags[..]), (1, &[0x8000, 0x8000, 0x8080][..]));
    // chains of two: what looks available in the middle is the rest of one
    let (flags, served) = left_behind(0x8000, 1, &[(0, 3, 0x8081), (80, 3, 0x80), (92, 3, 0x80)]);
    assert_eq!((served.received.len(), &flags[..]), (1, &[0x8081, 0x80, 0x8080][..]));
}

#[test]
fn what_no_driver_does_is_a_fault() {
    let mut jump = Driver::new();
    jump.put(FROM + 0x102, &(SIZE + 1).to_le_bytes());
    assert_eq!(jump.serve(0, &[]).faults, [RingFault::AvailJump(17, 16)]);
    let mut endless = Driver::new();
    endless.desc(FROM, GUEST, 1, (1, 0));
    endless.offer(FROM, &[0]);
    assert_eq!(endless.serve(0, &[]).faults, [RingFault::Endless(16)]);
    let mut endless = Driver::new();
    (0..16).for_each(|i| endless.desc(FROM + 16 * i, GUEST, 1, (0, 0x81)));
    assert_eq!(endless.serve(PACKED, &[]).faults, [RingFault::Endless(16)]);
    let mut outside = Driver::new();
    outside.desc(TO, GUEST + MEMORY as u64 - 8, 4096, (2, 0));
    outside.offer(TO, &[0]);
    assert!(matches!(outside.serve(0, &[&FRAME]).faults[..], [RingFault::Unmapped(_)]));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// Whatever a guest's memory holds: no panic, and what `Driver::serve` says.
    #[test]
    fn any_memory_is_survived(how in 0u8..128, words in proptest::collection::vec(any::<u16>(), 0x300), sane in any::<bool>()) {
        let mut driver = Driver::new();
        for (i, word) in words.iter().enumerate() {
            driver.put(2 * i, &word.to_le_bytes());
        }
        if sane {
            // addresses inside, lengths short, a few available: deeper than noise gets
            for (i, word) in words.iter().enumerate().take(32) {
                let at = if i < 16 { FROM + 16 * i } else { TO + 16 * (i - 16) };
                let flags = if i < 16 { word & 0x85 } else { word & 0x87 | 2 };
                let third_fourth = if how & PACKED != 0 { (u16::try_from(i).unwrap(), flags) } else { (flags & 7, word & 15) };
                driver.desc(at, GUEST + u64::from(word & 0x3fff), u32::from(word & 0x1ff), third_fourth);
            }
            driver.put(FROM + 0x102, &(words[0] % 17).to_le_bytes());
            driver.put(TO + 0x102, &(words[1] % 17).to_le_bytes());
        }
        driver.serve(how, &[&FRAME, &[1; 3000]]);
    }
}
