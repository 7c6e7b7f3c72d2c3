//! Takes a live sequence again: once, or until it is seen how reliably it fails.

use super::sequence::{Record, run};
use super::target::Target;
use midstream::choice::Decision;
use midstream::strategy::replay::{Recording, tolerant};
use midstream::verdict::Detail;
use std::cell::RefCell;
use std::sync::Arc;

/// So often a sequence is taken again to see how reliably it fails.
pub const AGAIN: u32 = 5;

/// Takes a sequence again by its choice log, as far as it fits.
pub fn again(target: &Target, tape: &[Decision], detail: Detail) -> Record {
    let kept = RefCell::new(None);
    let recording = Arc::new(Recording::new(tape.to_vec()));
    let run = |choices| {
        let record = run(target, choices, detail);
        let outcome = record.outcome.clone();
        kept.replace(Some(record));
        outcome
    };
    let _outcome = tolerant(run, &recording, recording.values());
    kept.into_inner().expect("one run was taken")
}

/// A sequence that was taken several times.
#[derive(Debug)]
pub struct Retaken {
    /// The last run that failed.
    pub failed: Option<Record>,
    /// So many failed,
    pub failures: u32,
    /// of so many.
    pub times: u32,
}

/// Takes a sequence `AGAIN` times, and on until it fails once: what depends on timing may need up to `tries_max`.
pub fn retake(
    target: &Target,
    tape: &[Decision],
    detail: Detail,
    tries_max: u32,
    fails: &dyn Fn(&Record) -> bool,
) -> Retaken {
    let mut retaken = Retaken { failed: None, failures: 0, times: 0 };
    while retaken.times < AGAIN || retaken.failures == 0 && retaken.times < tries_max {
        retaken.times += 1;
        let record = again(target, tape, detail);
        if fails(&record) {
            retaken.failures += 1;
            retaken.failed = Some(record);
        }
    }
    retaken
}
