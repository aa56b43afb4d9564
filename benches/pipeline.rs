//! The pipeline in memory, see the crate `pipeline-cases`.
//!
//! Criterion prints time per frame; `cargo bench --bench pipeline` ends with cycles per frame of the time-stamp
//! counter, medians of 101 rounds: first the plain path at bursts of 1, 8 and 32, then what each feature of layer 2
//! costs, at 32. The cost of a feature is the difference to the line it is compared with.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use pipeline_cases::{Case, Pipeline, features};

fn pipeline(c: &mut Criterion) {
    let mut pipeline = Pipeline::new(Case::plain());
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
    for (name, case) in features() {
        println!("layer 2: {name}: {:.1} cycles per frame", Pipeline::new(case).cycles(32));
    }
}

criterion_group!(benches, pipeline);
criterion_main!(benches);
