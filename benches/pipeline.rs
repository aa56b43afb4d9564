//! The pipeline in memory: a burst is learned, looked up and sorted into egress lanes, then the lanes are emptied, as
//! a worker does between `rx_burst` and `tx_burst`. 64-byte frames, 1000 addresses on two ports.
//!
//! Criterion prints time per frame; `cargo bench --bench pipeline` ends with cycles per frame of the time-stamp
//! counter, medians of 101 rounds.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use dataplane::lcore;
use dataplane::mem::{Arena, ArenaConfig, Burst, Hugepages, Mempool, MempoolCache};
use dataplane::port::{DomainId, PortId};
use dataplane::stats::PortCounters;
use dataplane::switch::fdb::{Fdb, Fid};
use dataplane::switch::policy::{DomainPolicy, PortPolicy};
use dataplane::switch::{Domain, Member, Switch};
use std::sync::Arc;
use std::time::Duration;

const MACS: u64 = 1000;

struct Pipeline {
    switch: Switch,
    mem: MempoolCache,
    counters: Vec<PortCounters>,
    next: u64,
}

impl Pipeline {
    fn new() -> Self {
        let pool = Mempool::new(Arena::new(&ArenaConfig { frames: 16384, hugepages: Hugepages::Auto }).unwrap());
        let mut switch = Switch::new(Arc::new(Fdb::new(8192)));
        let policy = DomainPolicy::learning(Some(Duration::from_secs(300)), u32::MAX);
        switch.topology_mut().put_domain(DomainId(0), Domain::new(&policy, 1500, Fid::new(0).unwrap()));
        for port in 0..2 {
            switch.topology_mut().put_port(PortId(port), Member::new(DomainId(0), &PortPolicy::default()));
        }
        let counters = (0..2).map(|_| PortCounters::default()).collect();
        let mut pipeline = Self { switch, mem: MempoolCache::new(&pool), counters, next: 0 };
        // Both sides are learned before anything is measured.
        for _ in 0..MACS / 16 {
            let mut burst = pipeline.burst(32, 0);
            pipeline.forward(0, &mut burst);
            let mut burst = pipeline.burst(32, 1);
            pipeline.forward(1, &mut burst);
        }
        pipeline
    }

    /// Frames from station n behind `from` to station n behind the other port.
    fn burst(&mut self, n: usize, from: u8) -> Burst {
        (0..n)
            .map(|_| {
                self.next = (self.next + 1) % MACS;
                let station = u16::try_from(self.next).unwrap().to_be_bytes();
                let mut frame = [0u8; 64];
                frame[..6].copy_from_slice(&[2, 0, 0, 1 - from, station[0], station[1]]);
                frame[6..12].copy_from_slice(&[2, 0, 0, from, station[0], station[1]]);
                self.mem.alloc_from(&frame).unwrap()
            })
            .collect()
    }

    fn forward(&mut self, from: u16, burst: &mut Burst) {
        self.switch.forward(PortId(from), burst, &mut self.mem, &self.counters);
        while let Some((_, lane)) = self.switch.egress.next_dirty() {
            self.mem.free_burst(lane);
        }
    }

    /// Cycles per frame of `forward` alone, the median of 101 rounds over 1024 bursts.
    fn cycles(&mut self, n: usize) -> f64 {
        let mut rounds: Vec<u64> = (0..101).map(|_| self.round(n)).collect();
        rounds.sort_unstable();
        rounds[50] as f64 / (1024.0 * n as f64)
    }

    fn round(&mut self, n: usize) -> u64 {
        let mut spent = 0;
        for _ in 0..1024 {
            let mut burst = self.burst(n, 0);
            let from = lcore::cycles();
            self.forward(0, &mut burst);
            spent += lcore::cycles() - from;
        }
        spent
    }
}

fn pipeline(c: &mut Criterion) {
    let mut pipeline = Pipeline::new();
    let mut group = c.benchmark_group("pipeline");
    for n in [1, 8, 32] {
        group.throughput(Throughput::Elements(n as u64));
        group.bench_with_input(BenchmarkId::new("build, switch and free, burst of", n), &n, |b, &n| {
            b.iter(|| {
                let mut burst = pipeline.burst(n, 0);
                pipeline.forward(0, &mut burst);
            });
        });
    }
    group.finish();
    for n in [1, 8, 32] {
        println!("pipeline: burst {n}: {:.1} cycles per frame", pipeline.cycles(n));
    }
}

criterion_group!(benches, pipeline);
criterion_main!(benches);
