//! SPSC ring, per item: the burst calls alone on one thread, and the hand-over between two pinned threads.
//!
//! `cargo bench --bench ring`; every line of output is per iteration of `BURST` items, the element throughput is the
//! per-item figure. The item is as wide as an mbuf token.

use arrayvec::ArrayVec;
use core_affinity::CoreId;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use dataplane::ring::{Consumer, Producer, ring};
use pipeline_cases::best::Best;
use std::{
    hint::{black_box, spin_loop},
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

/// As wide as an mbuf token.
type Item = [u64; 2];
const CAPACITY: u32 = 1024;
/// Items of a sample that counts.
const ENOUGH: u64 = 10_000;

fn burst<const N: usize>(seed: u64) -> ArrayVec<Item, N> {
    (0..N as u64).map(|i| [seed, i]).collect()
}

/// One enqueue and one dequeue of `N` items on one thread: the cost of the calls without any cache-line transfer.
fn single<const N: usize>(c: &mut Criterion) {
    let (mut tx, mut rx) = ring::<Item>(CAPACITY);
    let mut best = Best::of(ENOUGH);
    let name = format!("single/{N}");
    let mut group = c.benchmark_group("ring");
    group.throughput(Throughput::Elements(N as u64));
    group.bench_function(&name, |b| {
        b.iter_custom(|iters| {
            let mut items = burst::<N>(iters);
            best.time(iters * N as u64, || {
                for _ in 0..iters {
                    tx.enqueue_burst(&mut items);
                    rx.dequeue_burst(black_box(&mut items));
                }
            })
        });
    });
    best.report(&format!("ring/{name}"), "item");
}

/// Enqueues bursts of `N` until told to stop.
fn feed<const N: usize>(mut tx: Producer<Item>, stop: &AtomicBool) {
    let mut items = ArrayVec::<Item, N>::new();
    while !stop.load(Ordering::Relaxed) {
        if items.is_empty() {
            items = burst(7);
        }
        if tx.enqueue_burst(&mut items) == 0 {
            spin_loop();
        }
    }
}

/// Dequeues `wanted` items in bursts of up to `N`.
fn drain<const N: usize>(rx: &mut Consumer<Item>, wanted: u64) {
    let mut got = 0;
    while got < wanted {
        let mut out = ArrayVec::<Item, N>::new();
        got += rx.dequeue_burst(&mut out) as u64;
        if black_box(out).is_empty() {
            spin_loop();
        }
    }
}

/// A producer thread and this one, on two cores, as fast as they can.
fn hand_over<const N: usize>(c: &mut Criterion, [here, there]: [CoreId; 2]) {
    core_affinity::set_for_current(here);
    let (tx, mut rx) = ring::<Item>(CAPACITY);
    let stop = AtomicBool::new(false);
    let mut best = Best::of(ENOUGH);
    let name = format!("hand-over/{N}");
    std::thread::scope(|threads| {
        threads.spawn(|| {
            core_affinity::set_for_current(there);
            feed::<N>(tx, &stop);
        });
        let mut group = c.benchmark_group("ring");
        group.throughput(Throughput::Elements(N as u64));
        group.bench_function(&name, |b| {
            b.iter_custom(|iters| {
                let items = iters * N as u64;
                best.time(items, || drain::<N>(&mut rx, items))
            });
        });
        stop.store(true, Ordering::Relaxed);
    });
    best.report(&format!("ring/{name}"), "item");
}

fn benches(c: &mut Criterion) {
    single::<1>(c);
    single::<8>(c);
    single::<32>(c);
    let cores = core_affinity::get_core_ids().unwrap_or_default();
    let [here, there, ..] = cores[..] else {
        println!("ring/hand-over: skipped, needs two cores");
        return;
    };
    hand_over::<1>(c, [here, there]);
    hand_over::<8>(c, [here, there]);
    hand_over::<32>(c, [here, there]);
}

criterion_group! {
    name = ring_benches;
    config = Criterion::default().warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2));
    targets = benches
}
criterion_main!(ring_benches);
