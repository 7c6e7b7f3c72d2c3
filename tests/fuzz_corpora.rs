//! What fuzzers begin with, and what they found, on the stable toolchain: `fuzz/corpus` has a folder for each target of `fuzz/`.

#[path = "../fuzz/src/lib.rs"]
mod targets;

use std::fs;
use std::path::{Path, PathBuf};

/// All corpora together: they are in every clone of the repository.
const BYTES_MAX: usize = 300 << 10;

fn inputs(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    paths.into_iter().map(|path| (path.clone(), fs::read(&path).expect("a file"))).collect()
}

#[test]
fn every_input_of_a_corpus_is_as_its_target_wants_it() {
    let mut bytes = 0;
    for (target, check) in targets::TARGETS {
        let inputs = inputs(target);
        assert!(inputs.len() >= 5, "{target}: {} inputs", inputs.len());
        for (path, input) in inputs {
            bytes += input.len();
            println!("{}", path.display());
            check(&input);
            // What a fuzzer does first.
            check(&input[..input.len() / 2]);
        }
    }
    assert!(bytes <= BYTES_MAX, "{bytes} bytes");
}

#[test]
fn the_bytes_of_a_choice_log_lead_to_its_run() {
    use midstream::strategy::of_seed;
    let outcome = sim::subject::subject().quiet(of_seed(7));
    let bytes = targets::choices::bytes(&outcome.tape);
    let again = targets::choices::run(&bytes);
    assert_eq!(again.history_hash, outcome.history_hash);
    assert!(again.tape == outcome.tape);
}
