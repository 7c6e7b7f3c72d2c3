//! How many complete simulated runs one core does in a second: engine, world, model and all checks.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use midstream::strategy::of_seed;
use mimalloc::MiMalloc;
use sim::subject::subject;

/// As the command has it.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Runs of one sample: enough for light and heavy worlds to even out.
const RUNS: u64 = 200;

fn worlds(criterion: &mut Criterion) {
    let subject = subject();
    let mut group = criterion.benchmark_group("fuzz");
    group.sample_size(10).throughput(Throughput::Elements(RUNS));
    group.bench_function("200 worlds, one core", |bencher| {
        bencher.iter(|| (1..=RUNS).map(|seed| subject.quiet(of_seed(seed)).steps).sum::<u64>());
    });
    group.finish();
}

criterion_group!(benches, worlds);
criterion_main!(benches);
