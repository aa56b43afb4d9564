//! The memory of a guest, rings and buffers: the first byte chooses the ring's format and features, the rest is memory.
//! Whatever the bytes: no panic, nothing outside the memory is touched, every frame home again.

#![no_main]

use dataplane::mem::{Arena, ArenaConfig, Hugepages, Mempool, MempoolCache};
use dataplane::pmd::vhost::exercise::exercise;
use libfuzzer_sys::fuzz_target;
use std::sync::{Arc, OnceLock};

/// Frames that are sent to the guest: a short one, and one in two chunks.
const FRAMES: [&[u8]; 2] = [&[7; 60], &[9; 3000]];

fn pool() -> &'static Arc<Mempool> {
    static POOL: OnceLock<Arc<Mempool>> = OnceLock::new();
    let arena = || Arena::new(&ArenaConfig { frames: 1024, hugepages: Hugepages::Off }).expect("memory");
    POOL.get_or_init(|| Mempool::new(arena()))
}

fuzz_target!(|data: &[u8]| {
    let Some((how, memory)) = data.split_first() else { return };
    let mut mem = MempoolCache::new(pool());
    exercise(&mut mem, *how, memory, &FRAMES);
    drop(mem);
    assert_eq!(pool().free(), pool().total(), "a frame is lost");
});
