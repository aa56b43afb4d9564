use super::*;
use crate::mem::{ArenaConfig, Gso, Hugepages};
use crate::mem::{CHUNK_SIZE, FIRST_SEGMENT, NEXT_SEGMENT, chunks_for};
use proptest::prelude::*;

fn pool(frames: u32) -> Arc<Mempool> {
    Mempool::new(Arena::new(&ArenaConfig { frames, hugepages: Hugepages::Off }).unwrap())
}

fn bytes(pool: &Mempool, mbuf: &Mbuf) -> Vec<u8> {
    pool.segments(mbuf).flatten().copied().collect()
}

#[test]
fn every_chunk_once_and_all_of_them() {
    let pool = pool(1024);
    let mut mem = MempoolCache::new(&pool);
    let mut all: Vec<Mbuf> = std::iter::from_fn(|| mem.alloc()).collect();
    assert_eq!(all.len(), 1024);
    mem.publish();
    assert_eq!(pool.free(), 0);
    all.sort_by_key(|m| m.chunk());
    all.dedup_by(|a, b| {
        assert_ne!(a.chunk(), b.chunk());
        false
    });
    for mbuf in all {
        mem.free(mbuf);
    }
    drop(mem);
    assert_eq!(pool.free(), 1024);
}

#[test]
fn a_chain_holds_64k_and_comes_home() {
    let pool = pool(1024);
    let mut mem = MempoolCache::new(&pool);
    let content: Vec<u8> = (0..65_549u32).map(|i| i.to_le_bytes()[0] ^ i.to_le_bytes()[1]).collect();
    let mbuf = mem.alloc_from(&content).unwrap();
    assert_eq!((mbuf.len(), mbuf.segments()), (65_549, chunks_for(65_549)));
    assert_eq!(bytes(&pool, &mbuf), content);
    let mut part = [0; 5000];
    assert_eq!(pool.read_at(&mbuf, 1790, &mut part), 5000);
    assert_eq!(part[..], content[1790..6790]);
    assert_eq!(pool.read_at(&mbuf, 65_540, &mut part), 9);
    mem.free(mbuf);
    drop(mem);
    assert_eq!(pool.free(), 1024);
}

#[test]
fn copies_carry_bytes_and_offload() {
    let pool = pool(1024);
    let mut mem = MempoolCache::new(&pool);
    let mut mbuf = mem.alloc_from(&[7; 4000]).unwrap();
    let offload = Offload { csum_start: 34, csum_offset: 16, gso: Gso::Tcp4, gso_size: 1448, ..Offload::NONE };
    pool.set_offload(&mut mbuf, offload);
    let copy = mem.copy(&mbuf).unwrap();
    assert_eq!(bytes(&pool, &copy), bytes(&pool, &mbuf));
    assert_eq!(pool.offload(&copy), offload);
    mem.free(mbuf);
    mem.free(copy);
}

#[test]
fn an_exhausted_pool_says_none_and_loses_nothing() {
    let pool = pool(1024);
    let mut mem = MempoolCache::new(&pool);
    let held: Vec<Mbuf> = std::iter::from_fn(|| mem.alloc_len(60_000)).collect();
    assert_eq!(held.len(), 1024 / chunks_for(60_000));
    for mbuf in held {
        mem.free(mbuf);
    }
    drop(mem);
    assert_eq!(pool.free(), 1024);
}

#[test]
fn headroom_grows_and_shrinks_a_frame() {
    let pool = pool(1024);
    let mut mem = MempoolCache::new(&pool);
    let mut mbuf = mem.alloc_from(&[1, 2, 3]).unwrap();
    pool.prepend(&mut mbuf, 2).unwrap()[..2].copy_from_slice(&[8, 9]);
    assert_eq!(pool.data(&mbuf), [8, 9, 1, 2, 3]);
    assert!(pool.trim_front(&mut mbuf, 3) && !pool.trim_front(&mut mbuf, 3));
    assert_eq!(pool.data(&mbuf), [2, 3]);
    assert!(pool.prepend(&mut mbuf, 300).is_none());
    assert!(!pool.set_len(&mut mbuf, CHUNK_SIZE));
    mem.free(mbuf);
}

#[test]
fn room_reaches_the_end_of_the_chunk() {
    let pool = pool(1024);
    let mut mem = MempoolCache::new(&pool);
    let mut mbuf = mem.alloc().unwrap();
    pool.prepend(&mut mbuf, 12).unwrap();
    let room = pool.room_mut(&mut mbuf);
    assert_eq!(room.len(), FIRST_SEGMENT + 12);
    room[FIRST_SEGMENT + 11] = 9;
    assert!(pool.set_len(&mut mbuf, FIRST_SEGMENT + 12));
    assert_eq!(pool.data(&mbuf).last(), Some(&9));
    mem.free(mbuf);
}

#[test]
fn what_is_reserved_is_there() {
    let pool = pool(1024);
    let (mut mem, mut other) = (MempoolCache::new(&pool), MempoolCache::new(&pool));
    assert!(!mem.reserve(MAX_RESERVE + 1));
    assert!(mem.reserve(200) && mem.reserve(MAX_RESERVE));
    let rest: Vec<Mbuf> = std::iter::from_fn(|| other.alloc()).collect();
    let kept: Vec<Mbuf> = (0..MAX_RESERVE).map(|_| mem.alloc().unwrap()).collect();
    assert_eq!(rest.len() + kept.len(), 1024);
    assert!(!mem.reserve(1) && mem.reserve(0));
    kept.into_iter().for_each(|m| mem.free(m));
    rest.into_iter().for_each(|m| other.free(m));
    drop((mem, other));
    assert_eq!(pool.free(), 1024);
}

#[test]
fn only_what_was_lent_comes_back_and_once() {
    let pool = pool(1024);
    let mut mem = MempoolCache::new(&pool);
    let (mut kernel, mut other) = (pool.new_owner(), pool.new_owner());
    let (lent, rest) = kernel.lend(mem.alloc_from(&[5; 100]).unwrap());
    assert!(rest.is_none());
    assert!(other.reclaim(lent.addr, 100).is_none());
    assert!(kernel.reclaim(lent.addr, 4096).is_none());
    assert!(kernel.reclaim(u64::MAX, 1).is_none());
    let mbuf = kernel.reclaim(lent.addr, 100).unwrap();
    assert!(kernel.reclaim(lent.addr, 100).is_none());
    assert_eq!(pool.data(&mbuf), [5; 100]);
    mem.free(mbuf);
}

#[test]
fn lending_a_chain_goes_chunk_by_chunk() {
    let pool = pool(1024);
    let mut mem = MempoolCache::new(&pool);
    let mut owner = pool.new_owner();
    let mut next = mem.alloc_from(&[3; 5000]);
    let mut sizes = Vec::new();
    while let Some(mbuf) = next {
        let (lent, rest) = owner.lend(mbuf);
        sizes.push(lent.len as usize);
        next = rest;
    }
    assert_eq!(sizes, [FIRST_SEGMENT, NEXT_SEGMENT, 5000 - FIRST_SEGMENT - NEXT_SEGMENT]);
    assert_eq!(pool.sweep(owner), 3);
    drop(mem);
    assert_eq!(pool.free(), 1024);
}

#[test]
#[should_panic(expected = "mbuf of another pool")]
fn a_token_is_refused_by_another_pool() {
    let (a, b) = (pool(64), pool(64));
    let mbuf = MempoolCache::new(&a).alloc().unwrap();
    let _ = b.data(&mbuf);
}

#[test]
#[cfg(debug_assertions)]
#[should_panic(expected = "mbuf leaked")]
fn a_dropped_token_is_noticed() {
    drop(MempoolCache::new(&pool(64)).alloc());
}

#[test]
fn two_workers_and_a_million_frames_balance() {
    let pool = pool(4096);
    std::thread::scope(|scope| {
        for seed in 0..2usize {
            let pool = &pool;
            scope.spawn(move || {
                let mut mem = MempoolCache::new(pool);
                let mut held = Vec::new();
                for i in 0..20_000usize {
                    held.extend((0..(i * 7 + seed) % 64).filter_map(|_| mem.alloc_len((i % 5) * 1000)));
                    held.drain(..held.len().min((i * 13) % 71)).for_each(|m| mem.free(m));
                }
                held.drain(..).for_each(|m| mem.free(m));
            });
        }
    });
    assert_eq!(pool.free(), 4096);
}

proptest! {
    /// Any sequence of operations leaves what a list of byte vectors says.
    #[test]
    fn frames_keep_their_bytes(ops in prop::collection::vec((0u8..4, 0usize..6000), 1..60)) {
        let pool = pool(1024);
        let mut mem = MempoolCache::new(&pool);
        let mut model: Vec<(Mbuf, Vec<u8>)> = Vec::new();
        for (op, n) in ops {
            let pick = n % model.len().max(1);
            match op {
                0 => {
                    let content: Vec<u8> = (0..n).map(|i| u8::try_from(i % 251).unwrap()).collect();
                    if let Some(mbuf) = mem.alloc_from(&content) { model.push((mbuf, content)); }
                }
                1 if !model.is_empty() => mem.free(model.swap_remove(pick).0),
                2 if !model.is_empty() => {
                    let content = model[pick].1.clone();
                    if let Some(copy) = mem.copy(&model[pick].0) { model.push((copy, content)); }
                }
                3 if model.len() > 1 => {
                    let (tail, content) = model.swap_remove(pick);
                    let (head, target) = model.last_mut().unwrap();
                    match pool.append(head, tail) {
                        Ok(()) => target.extend(content),
                        Err(tail) => model.push((tail, content)),
                    }
                }
                _ => {}
            }
            for (mbuf, content) in &model {
                prop_assert_eq!(&bytes(&pool, mbuf), content);
            }
        }
        model.drain(..).for_each(|(mbuf, _)| mem.free(mbuf));
        drop(mem);
        prop_assert_eq!(pool.free(), 1024);
    }
}
