//! midstreamd and qemu-storage-daemon in turn, on this machine, in this minute: streams, and requests over NBD. Ends with
//! the ratios of the medians.

use criterion::{BenchmarkId, Criterion, Throughput};
use midstream_benches::{Contender, MIB, contenders, strewn_requests};
use std::cell::RefCell;
use std::time::Duration;

/// Requests of one sample over NBD.
const REQUESTS: u64 = 2000;

/// What is measured, by whom, and every sample.
#[derive(Default)]
struct Samples(Vec<(String, &'static str, Vec<Duration>)>);

impl Samples {
    fn note(&mut self, what: &str, who: &'static str, took: Duration) {
        match self.0.iter_mut().find(|(known, by, _)| known == what && *by == who) {
            Some((_, _, samples)) => samples.push(took),
            None => self.0.push((what.to_owned(), who, vec![took])),
        }
    }

    fn median(&self, what: &str, who: &str) -> Option<Duration> {
        let (_, _, samples) = self.0.iter().find(|(known, by, _)| known == what && *by == who)?;
        let mut sorted = samples.clone();
        sorted.sort();
        Some(sorted[sorted.len() / 2])
    }

    fn print_ratios(&self) {
        for (what, _, _) in self.0.iter().filter(|(_, who, _)| *who == "midstreamd") {
            let ours = self.median(what, "midstreamd").expect("it was just found").as_secs_f64();
            match self.median(what, "qemu-storage-daemon") {
                None => println!("{what}: midstreamd {:.1} ms; skipped: nothing to compare with", ours * 1e3),
                Some(theirs) => println!(
                    "{what}: midstreamd {:.1} ms, qemu-storage-daemon {:.1} ms: {:.2} times as fast",
                    ours * 1e3,
                    theirs.as_secs_f64() * 1e3,
                    theirs.as_secs_f64() / ours
                ),
            }
        }
    }
}

fn streams(criterion: &mut Criterion, samples: &RefCell<Samples>) {
    for (what, no_flush) in [("stream of 64 MiB", false), ("stream of 64 MiB, cache.no-flush", true)] {
        let mut group = criterion.benchmark_group(what);
        group.throughput(Throughput::Bytes(MIB << 20));
        for (who, program) in contenders() {
            let mut contender = Contender::start(&program);
            group.bench_function(BenchmarkId::from_parameter(who), |bencher| {
                bencher.iter_custom(|times| {
                    let took = (0..times).map(|_| contender.stream(no_flush));
                    took.inspect(|took| samples.borrow_mut().note(what, who, *took)).sum()
                });
            });
        }
        group.finish();
    }
}

fn requests(criterion: &mut Criterion, samples: &RefCell<Samples>) {
    for (what, writes) in [("2000 reads over NBD", false), ("2000 writes over NBD", true)] {
        let mut group = criterion.benchmark_group(what);
        group.throughput(Throughput::Elements(REQUESTS));
        for (who, program) in contenders() {
            let mut contender = Contender::start(&program);
            let uri = contender.serve();
            group.bench_function(BenchmarkId::from_parameter(who), |bencher| {
                bencher.iter_custom(|times| {
                    let took = (0..times).map(|_| strewn_requests(&uri, REQUESTS, writes));
                    took.inspect(|took| samples.borrow_mut().note(what, who, *took)).sum()
                });
            });
        }
        group.finish();
    }
}

fn main() {
    let mut criterion =
        Criterion::default().sample_size(10).measurement_time(Duration::from_secs(5)).configure_from_args();
    let samples = RefCell::default();
    streams(&mut criterion, &samples);
    requests(&mut criterion, &samples);
    criterion.final_summary();
    samples.borrow().print_ratios();
}
