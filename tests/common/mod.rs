//! Fixtures of the tests in this directory: memory, frames, waiting for conditions, private machines.

#![allow(dead_code, unreachable_pub, reason = "each test binary uses its own part of the fixtures")]

pub mod packet;
pub mod world;

use dataplane::mem::{Arena, ArenaConfig, Hugepages, Mbuf, Mempool, MempoolCache};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// EtherType "local experimental 1": no stack answers it.
pub const ETHERTYPE: [u8; 2] = [0x88, 0xb5];

/// How long a condition may take to come true before the test fails.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// A pool of at least `frames` chunks.
pub fn pool(frames: u32) -> Arc<Mempool> {
    Mempool::new(Arena::new(&ArenaConfig { frames, hugepages: Hugepages::Off }).expect("memory for an arena"))
}

/// Waits until `done` yields something; fails with `what` when it never does.
pub fn wait_for<T>(what: &str, mut done: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = done() {
            return value;
        }
        assert!(Instant::now() < end, "waited {PATIENCE:?} in vain for {what}");
        std::thread::sleep(Duration::from_micros(200));
    }
}

/// Waits until `done` is true.
pub fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    wait_for(what, || done().then_some(()));
}

/// A frame of `len` bytes that carries `serial` as far as there is room, and bytes that depend on it after that.
pub fn frame(dst: [u8; 6], src: [u8; 6], serial: u32, len: usize) -> Vec<u8> {
    let head = [&dst[..], &src[..], &ETHERTYPE[..], &serial.to_be_bytes()[..]].concat();
    let body = (0u32..).map(|i| i.wrapping_mul(31).wrapping_add(serial).to_le_bytes()[0]);
    head.into_iter().chain(body).take(len).collect()
}

/// The bytes of a frame, all segments together.
pub fn bytes_of(pool: &Mempool, mbuf: &Mbuf) -> Vec<u8> {
    pool.segments(mbuf).flatten().copied().collect()
}

/// Takes a frame's bytes and frees it.
pub fn take_bytes(mem: &mut MempoolCache, mbuf: Mbuf) -> Vec<u8> {
    let bytes = bytes_of(mem.pool(), &mbuf);
    mem.free(mbuf);
    bytes
}
