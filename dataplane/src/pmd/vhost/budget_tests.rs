//! What a guest can make us look at in a burst: rings as long as can be, full of the longest chains of nothing.

use super::exercise::how::{INDIRECT, LOGGED, MERGE, PACKED};
use super::exercise::{BUFFERS, GUEST, LARGE, Served, serve};
use super::ring::{MAX_CHAIN, MAX_COST, RingFault};
use crate::mem::{Arena, ArenaConfig, BURST_SIZE, Hugepages, Mempool, MempoolCache};
use crate::stats::DropReason;

const NEXT: u16 = 1;
const WRITE: u16 = 2;
const TABLE: u16 = 4;
/// Of a packed descriptor in the first turn.
const AVAIL: u16 = 0x80;
const FRAME: [u8; 80] = [7; 80];

/// The rings, by index into `Layout::rings`.
const FROM: usize = 0;
const TO: usize = 1;

/// A descriptor; in a packed ring `flags` and `next` change places.
fn desc(how: u8, addr: u64, len: u32, (flags, next): (u16, u16)) -> [u8; 16] {
    let [third, fourth] = if how & PACKED == 0 { [flags, next] } else { [next, flags] };
    let words = u64::from(len) | u64::from(third) << 32 | u64::from(fourth) << 48;
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&addr.to_le_bytes());
    bytes[8..].copy_from_slice(&words.to_le_bytes());
    bytes
}

/// A full ring of chains of `n` buffers of `len` bytes each, as `(place, bytes)`: the ring's parts, and a table of buffers.
fn full(how: u8, ring: usize, n: u32, len: u32) -> Vec<(usize, Vec<u8>)> {
    let write = if ring == TO { WRITE } else { 0 };
    let avail = if how & PACKED == 0 { 0 } else { AVAIL };
    let n16 = u16::try_from(n).unwrap();
    let chained = |i: u16| if (i + 1).is_multiple_of(n16) { 0 } else { NEXT };
    let [descriptors, heads, _] = LARGE.rings[ring];
    let direct = |i: u16| desc(how, GUEST + BUFFERS as u64, len, (write | avail | chained(i), i.wrapping_add(1)));
    let table = |i: u16| {
        let next = if how & PACKED == 0 { chained(i) } else { 0 };
        desc(how, GUEST + BUFFERS as u64, len, (write | next, i + 1))
    };
    let to_table = desc(how, GUEST + BUFFERS as u64 + 0x10_0000, 16 * n, (TABLE | avail, 0));
    let indirect = how & INDIRECT != 0;
    let entry = |i: u16| if indirect { to_table } else { direct(i) };
    // the same chains again and again, as far as the index goes: nobody forbids it
    let step = if indirect { 1 } else { n16 };
    let head = |i: u16| (i % (LARGE.size / step)) * step;
    let ring = [LARGE.size.to_le_bytes()].into_iter().chain((0..LARGE.size).map(|i| head(i).to_le_bytes()));
    let mut pieces = vec![
        (descriptors, (0..LARGE.size).flat_map(entry).collect()),
        (BUFFERS + 0x10_0000, (0..n16).flat_map(table).collect()),
    ];
    if how & PACKED == 0 {
        pieces.push((heads + 2, ring.flatten().collect()));
    }
    pieces
}

fn served(how: u8, pieces: &[(usize, Vec<u8>)], frames: usize) -> Served {
    let pool = Mempool::new(Arena::new(&ArenaConfig { frames: 1024, hugepages: Hugepages::Off }).unwrap());
    let mut mem = MempoolCache::new(&pool);
    let pieces: Vec<(usize, &[u8])> = pieces.iter().map(|(at, bytes)| (*at, &bytes[..])).collect();
    let served = serve(&mut mem, how, (&LARGE, &pieces), &vec![&FRAME[..]; frames]);
    drop(mem);
    assert_eq!(pool.free(), pool.total(), "every frame is home again");
    served
}

const FORMATS: [u8; 4] = [0, INDIRECT, PACKED, PACKED | INDIRECT];

#[test]
fn what_a_guest_sends_costs_a_burst_no_more_than_its_budget() {
    for how in FORMATS {
        let served = served(how, &full(how, FROM, MAX_CHAIN, 0), 0);
        assert_eq!(served.faults, [], "{how}");
        let costs: Vec<u32> = served.costs.iter().copied().filter(|cost| *cost > 0).collect();
        assert_eq!(costs, [MAX_COST - 2 * MAX_CHAIN; 4], "{how}: as much in each turn as there may be");
        assert_eq!(served.drops, [(DropReason::Runt, 4 * 4)], "{how}: four chains a turn");
    }
}

#[test]
fn what_a_guest_offers_to_receive_in_is_walked_once() {
    for how in FORMATS.map(|how| how | MERGE) {
        let served = served(how, &full(how, TO, MAX_CHAIN, 0), BURST_SIZE);
        assert_eq!(served.faults, [], "{how}");
        let costs: Vec<u32> = served.costs.iter().copied().filter(|cost| *cost > 0).collect();
        assert_eq!(costs, [MAX_CHAIN], "{how}: one chain, by the first frame of the first burst");
        assert_eq!(served.drops, [(DropReason::Oversize, 4 * BURST_SIZE as u64)], "{how}");
    }
}

/// Buffers that fill slowly: each frame takes nearly as many descriptors as a frame may.
#[test]
fn what_a_guest_receives_costs_a_burst_no_more_than_its_budget() {
    for how in FORMATS.map(|how| how | MERGE) {
        // 92 bytes in buffers of one byte: chains of 91 are one too short, so each frame takes two
        let served = served(how, &full(how, TO, 64, 1), BURST_SIZE);
        assert_eq!(served.faults, [], "{how}");
        let most = served.costs.iter().max();
        assert_eq!(most, Some(&(128 * 32)), "{how}: two chains of 64 for each of 32 frames");
        let served = self::served(how, &full(how, TO, 1024, 1), BURST_SIZE);
        assert_eq!(
            (served.costs.iter().max(), &served.drops[..]),
            (Some(&4096), &[][..]),
            "{how}: four frames a burst"
        );
    }
}

#[test]
fn a_chain_longer_than_any_device_takes_is_a_fault() {
    for how in FORMATS {
        let served = served(how, &full(how, FROM, 2 * MAX_CHAIN, 0), 0);
        assert_eq!(served.faults, [RingFault::Long], "{how}");
    }
}

/// Every page that is marked is an atomic operation, and a buffer of 4 GiB has a million of them.
#[test]
fn what_is_logged_is_what_was_written() {
    for how in FORMATS.map(|how| how | MERGE | LOGGED) {
        let served = served(how, &full(how, TO, MAX_CHAIN, u32::MAX), BURST_SIZE);
        assert_eq!((&served.faults[..], &served.drops[..]), (&[][..], &[][..]), "{how}");
        let page = |place: usize| (usize::try_from(GUEST).unwrap() + place) / 4096;
        // of the rings all is marked
        let rings = LARGE.rings.map(|[desc, ..]| page(desc)..page(desc) + 0x100);
        let outside = served.marked.into_iter().filter(|page| !rings.iter().any(|ring| ring.contains(page)));
        assert_eq!(outside.collect::<Vec<_>>(), [page(BUFFERS)], "{how}");
    }
}

/// A frame that found no room is not walked for again; a shorter one has room, and from then on all is looked at anew.
#[test]
fn what_is_too_small_for_one_frame_holds_a_shorter_one() {
    let how = 0;
    let pool = Mempool::new(Arena::new(&ArenaConfig { frames: 1024, hugepages: Hugepages::Off }).unwrap());
    let mut mem = MempoolCache::new(&pool);
    let pieces = full(how, TO, 1, 200);
    let pieces: Vec<(usize, &[u8])> = pieces.iter().map(|(at, bytes)| (*at, &bytes[..])).collect();
    let long = [1; 300];
    let served = serve(&mut mem, how, (&LARGE, &pieces), &[&long, &long, &FRAME, &long]);
    // in each turn: one buffer looked at by the first, none by the second, one by the third, one by the fourth
    assert_eq!(served.costs.iter().copied().filter(|cost| *cost > 0).collect::<Vec<_>>(), [3, 2, 2, 2]);
    assert_eq!(served.drops, [(DropReason::Oversize, 12)]);
}
