//! Allocation and freeing of frames, one worker: what a burst of 32 costs with a warm cache, and what it costs when
//! every batch goes through the shared list.

use arrayvec::ArrayVec;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use dataplane::mem::{Arena, ArenaConfig, Burst, Hugepages, Mbuf, Mempool, MempoolCache};

fn mempool(c: &mut Criterion) {
    let pool = Mempool::new(Arena::new(&ArenaConfig { frames: 16384, hugepages: Hugepages::Auto }).unwrap());
    let mut mem = MempoolCache::new(&pool);
    let mut group = c.benchmark_group("mempool");
    group.throughput(Throughput::Elements(32));
    group.bench_function("alloc and free 32, cached", |b| {
        b.iter(|| {
            let mut burst: Burst = (0..32).filter_map(|_| mem.alloc()).collect();
            mem.free_burst(&mut burst);
        });
    });
    group.throughput(Throughput::Elements(1024));
    group.bench_function("alloc and free 1024, through the shared list", |b| {
        b.iter(|| {
            let mut held: ArrayVec<Mbuf, 1024> = (0..1024).filter_map(|_| mem.alloc()).collect();
            mem.free_burst(&mut held);
        });
    });
    group.throughput(Throughput::Elements(1));
    for len in [64, 1514, 65_000] {
        let frame = mem.alloc_len(len).unwrap();
        group.bench_function(format!("copy {len} B"), |b| {
            b.iter(|| {
                let copy = mem.copy(&frame).unwrap();
                mem.free(copy);
            });
        });
        mem.free(frame);
    }
    group.finish();
}

criterion_group!(benches, mempool);
criterion_main!(benches);
