//! How many executions a second the scheduler of `midstream/` makes of a workload, and its peers of the same one.
//!
//! All in turn, in several rounds, on one core; the medians, with `--write` into docs/performance.md.

mod ours;
mod peers;
mod table;
mod workload;

use rustix::time::{ClockId, clock_gettime};
use std::env;
use std::process::ExitCode;
use table::Row;

/// As the command has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How often everybody has a turn.
const TURNS: usize = 9;
/// How much of the processor a turn takes, about.
const TURN_NANOS: u64 = 250_000_000;

/// Somebody who executes the workload so often, from a seed on, and says what it came to.
type Run = fn(u64, u64) -> u64;

const CONTENDERS: [(&str, &str, Run); 7] = [
    ("midstream", "this", ours::run),
    ("shuttle, its tasks", "shuttle", peers::shuttle_tasks),
    ("shuttle, its threads and mutex", "shuttle", peers::shuttle),
    ("loom", "loom", peers::loom),
    ("madsim", "madsim", peers::madsim),
    ("turmoil", "turmoil", peers::turmoil),
    ("tokio, paused clock", "tokio", peers::tokio),
];

fn main() -> ExitCode {
    let writes = match env::args().nth(1).as_deref() {
        None => false,
        Some("--write") => true,
        Some(other) => {
            eprintln!(
                "`{other}` is not known: only --write, which writes the table into docs/performance.md"
            );
            return ExitCode::from(2);
        }
    };
    let table = table::text(&measured());
    print!("{table}");
    if writes {
        table::write(&table);
    }
    ExitCode::SUCCESS
}

/// Everybody's medians.
fn measured() -> Vec<Row> {
    let counts = CONTENDERS.map(|(name, _, run)| {
        assert_eq!(run(20, 1), run(20, 1), "{name} comes to the same from the same seed");
        // The first executions of all are slower.
        let each = (nanos(run, 100, 1) / 100).max(1);
        (TURN_NANOS / each).max(10)
    });
    let mut samples = CONTENDERS.map(|_| Vec::new());
    for turn in 0..TURNS {
        for (number, (_, _, run)) in CONTENDERS.iter().enumerate() {
            let seed = 1 + turn as u64 * 10_000_000;
            samples[number].push(nanos(*run, counts[number], seed) as f64 / counts[number] as f64);
        }
    }
    let row = |(number, samples): (usize, Vec<f64>)| {
        let (name, package, _) = CONTENDERS[number];
        Row { name, package, nanos: median(samples) }
    };
    samples.into_iter().enumerate().map(row).collect()
}

/// How long the process had the processor for so many executions.
fn nanos(run: Run, executions: u64, seed: u64) -> u64 {
    let before = processor_nanos();
    run(executions, seed);
    processor_nanos() - before
}

/// What else the machine does counts for nothing.
fn processor_nanos() -> u64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples[samples.len() / 2]
}
