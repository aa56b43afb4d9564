//! The forwarding database, per frame, with 1 to 1 M stations in random order.
//!
//! `cargo bench --bench fdb`; criterion prints nanoseconds, the last line of each case the fewest TSC cycles that any
//! sample took. The cases:
//! - `lookup`: a hit, one call per frame.
//! - `lookup-burst`: the same in bursts of 32: hash and prefetch all, then look up all.
//! - `fresh`: learning a station that was heard in the same second: the common case, nothing is written.
//! - `fresh-burst`: the same in bursts of 32.
//! - `insert`: learning stations that are not there, into a table that was empty before.
//! - `age-step`: one call of the ageing sweep (65,536 slots) over a half-full table of idle entries.
//!
//! The cost at 1 M should be at most twice that at 1 k when the burst calls are used.

use criterion::{Criterion, criterion_group, criterion_main};
use dataplane::eth::MacAddr;
use dataplane::port::PortId;
use dataplane::switch::fdb::{AgeCursor, Fdb, Fid, Learn};
use pipeline_cases::best::Best;
use pipeline_cases::fdb::stations;
use std::{hint::black_box, time::Duration};

const SIZES: [(&str, u32); 4] = [("1", 1), ("1k", 1_000), ("100k", 100_000), ("1M", 1_000_000)];
const FID: Fid = Fid::new(1).unwrap();
const NOW: u32 = 1000;
/// Frames of a sample that counts.
const ENOUGH: u64 = 1000;

fn learn_all(fdb: &Fdb, stations: &[(MacAddr, PortId)]) {
    for (mac, port) in stations {
        let _ = black_box(fdb.learn(FID, *mac, *port, NOW));
    }
}

/// The stations over and over, in bursts of 32. It goes on where it stopped, so that no sample finds entries
/// in the cache that a walk over the whole table would have evicted.
struct Traffic {
    stations: Vec<(MacAddr, PortId)>,
    next: usize,
}

impl Traffic {
    fn bursts(&mut self, frames: u64, mut each: impl FnMut(&[(MacAddr, PortId)])) {
        for _ in 0..frames.div_ceil(32) {
            let burst = &self.stations[self.next..self.next + 32];
            each(burst);
            self.next = if self.next + 64 > self.stations.len() { 0 } else { self.next + 32 };
        }
    }
}

fn one_by_one(fdb: &Fdb, burst: &[(MacAddr, PortId)]) {
    for (mac, _) in burst {
        black_box(fdb.lookup(FID, *mac));
    }
}

fn as_burst(fdb: &Fdb, burst: &[(MacAddr, PortId)]) {
    let mut keys = [fdb.hash(FID, burst.first().map_or(MacAddr([0; 6]), |(mac, _)| *mac)); 32];
    for (key, (mac, _)) in keys.iter_mut().zip(burst) {
        *key = fdb.hash(FID, *mac);
        fdb.prefetch_at(*key);
    }
    for key in &keys[..burst.len()] {
        black_box(fdb.lookup_at(*key));
    }
}

fn fresh_one_by_one(fdb: &Fdb, burst: &[(MacAddr, PortId)]) {
    for (mac, port) in burst {
        let _ = black_box(fdb.learn(FID, *mac, *port, NOW));
    }
}

fn fresh_as_burst(fdb: &Fdb, burst: &[(MacAddr, PortId)]) {
    let mut keys = [fdb.hash(FID, burst.first().map_or(MacAddr([0; 6]), |(mac, _)| *mac)); 32];
    for (key, (mac, _)) in keys.iter_mut().zip(burst) {
        *key = fdb.hash(FID, *mac);
        fdb.prefetch_at(*key);
    }
    for (key, (_, port)) in keys.iter().zip(burst) {
        let _ = black_box(fdb.learn_at(*key, *port, NOW));
    }
}

/// What is done to a burst of frames.
type PerBurst = fn(&Fdb, &[(MacAddr, PortId)]);

fn reads(c: &mut Criterion) {
    let cases: [(&str, PerBurst); 4] = [
        ("lookup", one_by_one),
        ("lookup-burst", as_burst),
        ("fresh", fresh_one_by_one),
        ("fresh-burst", fresh_as_burst),
    ];
    for (size, n) in SIZES {
        let (fdb, mut stations) = (Fdb::new(n), stations(n));
        // A burst is full even when all its frames are from one station.
        stations.resize(stations.len().next_multiple_of(32), stations[0]);
        learn_all(&fdb, &stations);
        assert_eq!(fdb.learn(FID, stations[0].0, stations[0].1, NOW), Learn::Fresh);
        println!("fdb of {n}: {} entries in {} slots, {:?} memory", fdb.len(), fdb.slots(), fdb.backing());
        let mut traffic = Traffic { stations, next: 0 };
        for (case, per_burst) in cases {
            let mut best = Best::of(ENOUGH);
            c.bench_function(&format!("fdb/{case}/{size}"), |b| {
                b.iter_custom(|frames| best.time(frames, || traffic.bursts(frames, |burst| per_burst(&fdb, burst))));
            });
            best.report(&format!("fdb/{case}/{size}"), "frame");
        }
    }
}

fn inserts(c: &mut Criterion) {
    for (size, n) in &SIZES[1..] {
        let (fdb, stations) = (Fdb::new(*n), stations(*n));
        let mut best = Best::of(ENOUGH);
        c.bench_function(&format!("fdb/insert/{size}"), |b| {
            b.iter_custom(|frames| {
                let mut elapsed = Duration::ZERO;
                let mut left = frames;
                while left > 0 {
                    let n = usize::try_from(left).map_or(stations.len(), |left| left.min(stations.len()));
                    fdb.flush_fid(FID);
                    elapsed += best.time(n as u64, || learn_all(&fdb, &stations[..n]));
                    left -= n as u64;
                }
                elapsed
            });
        });
        best.report(&format!("fdb/insert/{size}"), "frame");
    }
}

fn age_step(c: &mut Criterion) {
    let (fdb, mut cursor) = (Fdb::new(1_000_000), AgeCursor::default());
    learn_all(&fdb, &stations(1_000_000));
    c.bench_function("fdb/age-step/1M", |b| b.iter(|| fdb.age_step(&mut cursor, NOW + 5, |_| black_box(300))));
}

criterion_group! {
    name = fdb_benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .sample_size(30);
    targets = reads, inserts, age_step
}
criterion_main!(fdb_benches);
