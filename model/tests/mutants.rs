//! The specification without one of its permissive rules refuses recordings of the real daemon that need the rule.
//!
//! Here are the rules that a short recording needs; `midstream mutants --of model` takes all of them away, and looks at
//! traces and fresh runs as well.

#[path = "../../sim/src/mutants/kept/recorded/mod.rs"]
mod recorded;

use model::Rule;
use recorded::{Contents, Recording, Run, corpus, images, jobs, seen};

/// A rule, and a recording that needs it.
const NEEDED: [(Rule, &str); 13] = [
    (Rule::JobReleasesFilter, "commit-mid-manual"),
    (Rule::EarlierAnswer, "backup-group-refused"),
    (Rule::UnknownAccepted, "schema-query-commands"),
    (Rule::UnknownRefused, "graphop-internal-snapshot-n2"),
    (Rule::UnmodelledStart, "readonly-mid-force-share"),
    (Rule::ResizeConflict, "edit-resize"),
    (Rule::ResizeReadOnly, "backup-busy"),
    (Rule::DeviceLeftBehind, "export-n0-w-stream-n2"),
    (Rule::SeveralErrors, "error-mirror-write-error-while-stream"),
    (Rule::CommitForgetsOverlay, "backup-busy"),
    (Rule::StaleNeeds, "auto-finalize-manual-dismiss-manual-top-success"),
    (Rule::RequestMeetsFault, "error-guest-read-hits-base-error-then-job"),
    (Rule::DiscardKeeps, "guestio-zero-discard-n1"),
];

fn is_accepted(recording: &Recording, without: Option<Rule>) -> bool {
    let mut contents = Contents::default();
    let setups = images(&recording.case, &mut contents);
    let seen = seen(&recording.case, &recording.result);
    let mut run = Run::new(&setups, &mut contents);
    if let Some(rule) = without {
        run.model = run.model.without(rule);
    }
    run.play(&seen).is_ok()
}

#[test]
fn without_a_rule_a_recording_that_needs_it_is_refused() {
    let all: Vec<Recording> = corpus().into_iter().chain(jobs()).collect();
    for (rule, name) in NEEDED {
        let recording = all.iter().find(|recording| recording.name == name);
        let recording = recording.unwrap_or_else(|| panic!("no recording `{name}`"));
        assert!(is_accepted(recording, None), "{name} is refused with every rule");
        assert!(!is_accepted(recording, Some(rule)), "{name} does not need `{}`", rule.sentence());
    }
}

#[test]
fn every_rule_says_something_of_its_own() {
    let mut sentences: Vec<&str> = model::rule::RULES.iter().map(|rule| rule.sentence()).collect();
    sentences.sort_unstable();
    let count = sentences.len();
    sentences.dedup();
    assert_eq!(sentences.len(), count);
}
