//! Writes what a fuzzer begins with, from runs of ours: `cargo run --release --bin corpora` in this folder.

// What is built for the fuzzer calls it in every block.
use libfuzzer_sys as _;

use hostile::nbd::valid_stream;
use hostile::random::Random;
use midstream::history::What;
use midstream::history::observed::Observed;
use midstream::strategy::of_seed;
use midstream::verdict::Outcome;
use midstream_fuzz::choices;
use sim::subject::subject;
use std::fs;
use std::path::Path;

/// The runs that are taken.
const SEEDS: u64 = 400;
/// The longest input of each target, and how much of it there may be.
const BUDGETS: [(&str, usize, usize); 5] = [
    ("choices", 1 << 10, 40 << 10),
    ("qmp", 2 << 10, 40 << 10),
    ("nbd", 1 << 10, 20 << 10),
    ("qcow2", 24 << 10, 100 << 10),
    ("history", 8 << 10, 80 << 10),
];

fn main() {
    let outcomes: Vec<Outcome> = (1..=SEEDS).map(|seed| subject().full(of_seed(seed))).collect();
    for (target, one_max, all_max) in BUDGETS {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
        fs::create_dir_all(&folder).expect("a folder");
        let mut all = 0;
        for (number, outcome) in outcomes.iter().enumerate() {
            if let Some(input) = input(target, number as u64, outcome) {
                if input.len() <= one_max && all + input.len() <= all_max {
                    all += input.len();
                    fs::write(folder.join(format!("seed-{:03}", number + 1)), &input).expect("room");
                }
            }
        }
        println!("{target}: {all} bytes");
    }
}

fn input(target: &str, number: u64, outcome: &Outcome) -> Option<Vec<u8>> {
    match target {
        "choices" => Some(choices::bytes(&outcome.tape)),
        "nbd" => Some(valid_stream(1 << 20, &mut Random::new(number))),
        "qmp" => Some(commands(outcome)),
        "qcow2" => {
            outcome.files.iter().map(|(_, bytes)| bytes.clone()).find(|bytes| bytes.starts_with(b"QFI"))
        }
        _ => {
            let mut text = Vec::new();
            outcome.history.write(None, &mut text).expect("it fits in memory");
            Some(text)
        }
    }
}

/// What clients sent in a run, of nodes that the target has.
fn commands(outcome: &Outcome) -> Vec<u8> {
    let sent = outcome.history.entries.iter().filter_map(|entry| match &entry.what {
        What::Observed(Observed::Sent { text, .. }) => Some(format!("{text}\n")),
        _ => None,
    });
    let text: String = sent.collect();
    text.replace("\"n0\"", "\"base\"").replace("\"n1\"", "\"top\"").into_bytes()
}
