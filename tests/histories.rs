//! Recorded runs and the verdict each must get: some our campaigns wrote, some were written by hand, some are spoilt.
//!
//! `tests/histories/verdicts.json` names every file with its verdict. Beside them, whatever a campaign writes is judged as
//! the campaign judged it, and no spoilt file brings the judge down.

use hostile::lines::mutated;
use hostile::random::Random;
use midstream::history::file::header::Spec;
use midstream::strategy::of_seed;
use midstream::verdict::{Detail, Verdict as WorldVerdict};
use model::Rule;
use model::law::LawId;
use model::rule::RULES;
use serde_json::Value;
use sim::judge::{Judged, Verdict, judge};
use sim::mutants::kept::Kept;
use sim::mutants::rules::{Run, Table};
use sim::oracle::laws;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

const HISTORIES: usize = 67;
const BYTES_MAX: usize = 60 << 10;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/histories")
}

fn read(name: &str) -> Vec<u8> {
    fs::read(folder().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// What is expected of each file: words that `said` gives of its verdict.
fn expected() -> BTreeMap<String, String> {
    let text = read("verdicts.json");
    let all: BTreeMap<String, Value> = serde_json::from_slice(&text).expect("a table of verdicts");
    all.into_iter()
        .map(|(name, verdict)| (name, verdict.as_str().expect("a verdict in words").to_owned()))
        .collect()
}

/// A verdict in words: what, in which line, which law or field.
fn said(judged: &Judged) -> String {
    match &judged.verdict {
        Verdict::Clean => "clean".to_owned(),
        Verdict::Broken { line, law, .. } => format!("broken in line {line}: {law}"),
        Verdict::Bad(bad) => format!("bad {bad}"),
        Verdict::Inconclusive { line, .. } => format!("inconclusive from line {line} on"),
        Verdict::Vacuous => "vacuous".to_owned(),
    }
}

/// Histories that were kept because they need rules of the specification that little else needs.
const NEEDED: [(&str, &[Rule]); 41] = [
    ("campaign-export-as-a-commit-ends.jsonl", &[Rule::ExportStillReadOnly]),
    ("campaign-two-jobs-rename-one-overlay.jsonl", &[Rule::HeaderNamesEither]),
    ("campaign-stream-of-what-stayed-writable.jsonl", &[Rule::KeptWritable]),
    (
        "daemon-answers.jsonl",
        &[
            Rule::NegotiatedUnwatched,
            Rule::ThrottleGroupRefused,
            Rule::ServerRefuses,
            Rule::HeaderChangeRefused,
            Rule::SnapshotSyncRefused,
            Rule::ResizeZeroes,
            Rule::BitmapRefused,
            Rule::UnmodelledJobVerb,
            Rule::BackupRounded,
            Rule::ChangeRefused,
        ],
    ),
    ("daemon-base-by-another-name.jsonl", &[Rule::BaseByAnotherName]),
    ("daemon-base-of-a-faulty-node.jsonl", &[Rule::ChainOfFaultyNodes]),
    ("daemon-last-output-lost.jsonl", &[Rule::LastOutputLost]),
    ("daemon-mirror-zeroes-first.jsonl", &[Rule::MirrorZeroesTarget]),
    ("campaign-qemu-export-still-read-only.jsonl", &[Rule::ExportStillReadOnly]),
    ("campaign-copies-interfere.jsonl", &[Rule::CopiesInterfere]),
    ("campaign-turned-away-from-growing.jsonl", &[Rule::TurnedAwayFromGrowing]),
    ("campaign-commit-of-unknown-length.jsonl", &[Rule::CommitOfUnknownLength]),
    ("hand-torn-read-of-a-node.jsonl", &[Rule::TornRead]),
    ("campaign-backup-into-a-read-only-image.jsonl", &[Rule::BackupTargetReadOnly]),
    ("campaign-backup-of-unknown-length.jsonl", &[Rule::BackupOfUnknownLength]),
    ("campaign-leak-after-a-fault.jsonl", &[Rule::LeakAfterFault]),
    ("campaign-read-only-before-the-end-is-reported.jsonl", &[Rule::JobRestoresNode]),
    ("campaign-orphan-in-a-query.jsonl", &[Rule::OrphanShown]),
    ("campaign-reopen-beside-a-writer.jsonl", &[Rule::ReopenConflict]),
    ("campaign-snapshot-under-a-backup-of-the-top.jsonl", &[Rule::BackupOfTopLosesTrack]),
    ("campaign-stopped-in-pending.jsonl", &[Rule::CrashInPending]),
    ("campaign-stream-makes-a-conflicting-chain.jsonl", &[Rule::ChainConflict]),
    ("campaign-two-ask-for-one-job.jsonl", &[Rule::EitherAskerCreates]),
    ("campaign-write-under-way-as-a-copy-starts.jsonl", &[Rule::CopySeesWrite]),
    ("daemon-bitmap-of-a-read-only-image.jsonl", &[Rule::ReopenBitmaps]),
    ("daemon-bitmaps-stay-read-only.jsonl", &[Rule::BitmapsStayReadOnly]),
    ("daemon-commit-into-what-failed-to-shrink.jsonl", &[Rule::UnknownLengthNeeds]),
    ("daemon-filter-gone-when-its-name-is-reported.jsonl", &[Rule::RefusalNamesEither]),
    ("daemon-header-changed-and-not-flushed.jsonl", &[Rule::HeaderChangeFails]),
    ("daemon-query-answered-late.jsonl", &[Rule::ProgressOfBefore]),
    ("campaign-discard-as-a-reopen-takes-the-backing.jsonl", &[Rule::WrittenZeroes]),
    ("campaign-a-query-meets-a-resize.jsonl", &[Rule::ResizeUnderWay]),
    ("hand-a-drain-ends-after-a-pause.jsonl", &[Rule::DrainEndsLate]),
    ("hand-a-stop-is-seen-late.jsonl", &[Rule::StopSeenLate]),
    ("hand-bitmaps-that-cannot-be-read.jsonl", &[Rule::QueryMeetsFault]),
    ("hand-nodes-in-two-threads.jsonl", &[Rule::ThreadRefused]),
    ("hand-cancel-comes-too-late.jsonl", &[Rule::LateCancel]),
    ("daemon-reopen-past-a-commits-filter.jsonl", &[Rule::ReopenFrozen]),
    ("hand-killed-while-an-image-is-made-shorter.jsonl", &[Rule::GivenUpEarly]),
    ("hand-mirror-into-a-read-only-image-after-a-fault.jsonl", &[Rule::MirrorTargetReadOnly]),
    ("hand-read-ends-after-a-reopen.jsonl", &[Rule::ReadOvertaken]),
];

#[test]
fn without_a_rule_a_history_that_needs_it_is_refused() {
    for (name, rules) in NEEDED {
        let history = sim::judge::read(&read(name)[..]).expect("a history").expect("for the model");
        let run = |_| Some(Run { kind: "history", name: name.to_owned(), history: history.clone() });
        let mut table = Table::new(rules, 1);
        assert_eq!(table.look_at(1, run), 1);
        assert_eq!(table.left(), [], "{name} is accepted without them");
    }
}

/// Nobody needs a rule that allows what no trace, recording or history shows.
#[test]
fn something_that_was_kept_needs_every_rule() {
    let kept = Kept::read(env!("CARGO_MANIFEST_DIR").as_ref(), &[]).expect("what was kept");
    let mut table = Table::new(&RULES, 2);
    table.look_at(kept.count(), |index| kept.run(index));
    assert_eq!(table.left(), []);
}

#[test]
fn every_recorded_history_gets_its_verdict() {
    let expected = expected();
    assert_eq!(expected.len(), HISTORIES);
    let files = fs::read_dir(folder()).expect("the folder").map(|entry| entry.expect("an entry").file_name());
    let files: BTreeSet<String> = files.map(|name| name.into_string().expect("a plain name")).collect();
    let named: BTreeSet<String> = expected.keys().cloned().chain(["verdicts.json".to_owned()]).collect();
    assert_eq!(files, named);
    for (name, verdict) in &expected {
        let bytes = read(name);
        assert!(bytes.len() < BYTES_MAX, "{name} has {} bytes", bytes.len());
        assert_eq!(&said(&judge(&bytes[..], None)), verdict, "{name}");
    }
}

#[test]
fn what_a_campaign_writes_is_judged_as_it_was() {
    let (mut clean, mut crashed) = (0, 0);
    for seed in 1..=150 {
        let outcome = sim::world::run(of_seed(seed), Detail::Full);
        // What is on disks that lie is judged for safety alone, by who knows which of them did.
        if laws().zip(&outcome.laws_checked).any(|(law, checks)| law == LawId::RotSeen && *checks > 0) {
            continue;
        }
        let mut file = Vec::new();
        outcome.history.write(None, &mut file).expect("a vector takes all");
        let judged = judge(&file[..], None);
        match (&outcome.verdict, &judged.verdict) {
            (WorldVerdict::Passed, Verdict::Clean) => clean += 1,
            (WorldVerdict::Passed, Verdict::Inconclusive { .. }) if outcome.is_inconclusive => {}
            (WorldVerdict::Broken { law: seen, .. }, Verdict::Broken { law, .. }) => assert_eq!(law, seen),
            (seen, judged) => panic!("seed {seed}: {seen:?} was judged {judged:?}"),
        }
        // How far a job has got and how fast, how long a guest waits, what a file takes or keeps and how it is open, and which
        // disk lies, is seen by the world alone: no line of a history shows it.
        let of_the_world = [
            LawId::BoundedProgress,
            LawId::RequestBound,
            LawId::SpaceReturned,
            LawId::BitmapCovers,
            LawId::AutoclearTrue,
            LawId::ThresholdReported,
            LawId::SnapshotKept,
            LawId::SpeedHeld,
            LawId::ModesTrue,
            LawId::RotSeen,
            LawId::RotContained,
        ];
        let checked = laws().zip(&outcome.laws_checked).filter(|(law, _)| !of_the_world.contains(law));
        assert_eq!(judged.checks, checked.map(|(_, checks)| checks).sum::<u64>(), "seed {seed}");
        crashed += usize::from(String::from_utf8_lossy(&file).contains("\"crash\":{"));
    }
    assert!(clean > 100 && crashed > 10, "{clean} clean, {crashed} crashed");
}

#[test]
fn another_specification_than_the_files_own_can_be_asked_for() {
    let bytes = read("hand-lost-flush.jsonl");
    let judged = judge(&bytes[..], Some(Spec::Qemu10));
    assert_ne!(said(&judged), said(&judge(&bytes[..], None)));
    assert_eq!(judged.spec, Some(Spec::Qemu10));
}

#[test]
fn no_spoilt_history_brings_the_judge_down() {
    let names: Vec<String> = expected().into_keys().collect();
    for seed in 0..600 {
        let mut random = Random::new(seed);
        let name = random.pick(&names);
        let text = mutated(&read(name), &mut random);
        let judged = judge(&text[..], None);
        assert!(judged.lines <= text.split(|byte| *byte == b'\n').count() as u64, "seed {seed}");
    }
}
