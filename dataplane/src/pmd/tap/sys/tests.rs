//! Without a TAP: a datagram socket keeps message borders as a TAP does.

use super::*;
use crate::mem::{Arena, ArenaConfig, Hugepages};
use std::os::fd::AsFd;
use std::os::unix::net::UnixDatagram;

fn pool(frames: u32) -> Arc<Mempool> {
    Mempool::new(Arena::new(&ArenaConfig { frames, hugepages: Hugepages::Off }).unwrap())
}

fn pair() -> (UnixDatagram, UnixDatagram) {
    let (tx, rx) = UnixDatagram::pair().unwrap();
    rx.set_nonblocking(true).unwrap();
    (tx, rx)
}

/// A header that counts from `seed` and a frame of `n` bytes.
fn message(seed: u8, n: usize) -> Vec<u8> {
    (0..vnet::LEN + n).map(|i| seed.wrapping_add((i % 251).to_le_bytes()[0])).collect()
}

fn check(received: &Received, pool: &Mempool, sent: &[u8]) {
    let (hdr, frame) = sent.split_at(vnet::LEN);
    let got: Vec<u8> = pool.segments(&received.mbuf).flatten().copied().collect();
    assert_eq!((&received.hdr[..], received.mbuf.len()), (hdr, frame.len()));
    assert!(got == frame, "{:?}", received.mbuf);
}

#[test]
fn every_length_at_a_border() {
    let pool = pool(1024);
    let (mut mem, mut standing, (tx, rx)) = (MempoolCache::new(&pool), Standing::default(), pair());
    let borders = (0..CHUNKS).map(|chunks| FIRST_SEGMENT + chunks * CHUNK_SIZE).chain([1, 60, 14 + 65_535]);
    for (seed, border) in borders.enumerate() {
        for n in [border - 1, border, border + 1] {
            let sent = message(seed.to_le_bytes()[0], n);
            tx.send(&sent).unwrap();
            let received = standing.read(rx.as_fd(), &mut mem).unwrap().unwrap();
            assert_eq!(received.truncated, sent.len() >= CAPACITY, "{n}");
            check(&received, &pool, &sent[..sent.len().min(CAPACITY)]);
            let chunks = 1 + n.min(CAPACITY - vnet::LEN).saturating_sub(FIRST_SEGMENT).div_ceil(CHUNK_SIZE);
            assert_eq!(received.mbuf.segments(), chunks);
            mem.free(received.mbuf);
        }
    }
    assert!(standing.read(rx.as_fd(), &mut mem).unwrap().is_none(), "nothing waits");
    standing.release(&mut mem);
    drop((standing, mem));
    assert_eq!(pool.free(), 1024);
}

#[test]
fn less_than_a_header_is_an_empty_frame() {
    let pool = pool(1024);
    let (mut mem, mut standing, (tx, rx)) = (MempoolCache::new(&pool), Standing::default(), pair());
    for n in [1, vnet::LEN - 1, vnet::LEN] {
        tx.send(&vec![1; n]).unwrap();
        let received = standing.read(rx.as_fd(), &mut mem).unwrap().unwrap();
        assert_eq!(received.mbuf.len(), 0);
        mem.free(received.mbuf);
    }
}

/// All free chunks, in order of address.
fn drain(mem: &mut MempoolCache, pool: &Mempool) -> Vec<Mbuf> {
    let mut all: Vec<Mbuf> = std::iter::from_fn(|| mem.alloc()).collect();
    sort(&mut all, pool);
    all
}

#[test]
fn short_frames_bring_scattered_chunks_together() {
    let pool = pool(1024);
    let (mut mem, mut standing, (tx, rx)) = (MempoolCache::new(&pool), Standing::default(), pair());
    // Every second chunk is held, so that none that is free has a neighbour.
    let (even, odd): (Vec<_>, Vec<_>) = drain(&mut mem, &pool).into_iter().enumerate().partition(|(i, _)| i & 1 == 0);
    odd.into_iter().for_each(|(_, m)| mem.free(m));
    let mut read = |mem: &mut MempoolCache, n: usize| {
        tx.send(&message(1, n)).unwrap();
        let received = standing.read(rx.as_fd(), mem).unwrap().unwrap();
        check(&received, &pool, &message(1, n));
        mem.free(received.mbuf);
        standing.iovecs.len()
    };
    assert_eq!(read(&mut mem, 100), CHUNKS);
    assert_eq!(read(&mut mem, 60_000), 0, "struck out while incomplete");
    assert_eq!(read(&mut mem, 100), CHUNKS);
    even.into_iter().for_each(|(_, m)| mem.free(m));
    drain(&mut mem, &pool).into_iter().for_each(|m| mem.free(m));
    for _ in 2..REGROUP_AFTER {
        assert_eq!(read(&mut mem, 100), CHUNKS);
    }
    assert_eq!(read(&mut mem, 100), 1);
    drop((standing, mem));
    assert_eq!(pool.free(), 1024);
}

#[test]
fn a_short_pool_leaves_the_message_where_it_is() {
    let pool = pool(1024);
    let (mut mem, mut standing, (tx, rx)) = (MempoolCache::new(&pool), Standing::default(), pair());
    tx.send(&message(3, 50)).unwrap();
    let mut hoard: Vec<Mbuf> = std::iter::from_fn(|| mem.alloc()).collect();
    // Room for the longest frame and one chunk for a copy.
    for free in 0..=CHUNKS {
        assert!(standing.read(rx.as_fd(), &mut mem).unwrap().is_none(), "{free} free");
        mem.free(hoard.pop().unwrap());
    }
    let received = standing.read(rx.as_fd(), &mut mem).unwrap().unwrap();
    check(&received, &pool, &message(3, 50));
    mem.free(received.mbuf);
    hoard.into_iter().for_each(|m| mem.free(m));
    drop((standing, mem));
    assert_eq!(pool.free(), 1024);
}

#[test]
fn gaps_are_counted_and_the_densest_window_wins() {
    let pool = pool(1024);
    let mut mem = MempoolCache::new(&pool);
    let mut all: Vec<Mbuf> = std::iter::from_fn(|| mem.alloc()).take(3 * CHUNKS).collect();
    sort(&mut all, &pool);
    let (mut kept, mut given) = (Vec::new(), Vec::new());
    for (i, mbuf) in all.into_iter().enumerate() {
        if i < 40 && i % 3 == 0 { given.push(mbuf) } else { kept.push(mbuf) }
    }
    let start = densest(&kept, &pool).unwrap();
    assert_eq!(
        chunk_start(&pool, &kept[start + CHUNKS - 1]) - chunk_start(&pool, &kept[start]),
        (CHUNKS - 1) * CHUNK_SIZE
    );
    assert_eq!(densest(&kept[..CHUNKS - 1], &pool), None);
    kept.into_iter().chain(given).for_each(|m| mem.free(m));
}
