//! The recorded behaviour of the real daemon, held against ours.
//!
//! Every case gives what was recorded, or what `tests/conformance/divergences.json` says is right instead, and why.

#[allow(dead_code, reason = "each test uses its part of it")]
mod support;

use sim::conform::campaign::{Totals, play_all};
use sim::conform::corpus;
use sim::conform::daemon::{self, Daemon};
use sim::conform::engine::Inside;
use sim::conform::subject::Subject;
use sim::conform::verdict::{Divergences, Verdict};
use std::path::{Path, PathBuf};

/// Cases of the corpus.
const CASES: usize = 1277;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance")
}

#[test]
fn the_corpus_holds_every_recorded_case() {
    let recordings = corpus::read(&folder()).expect("the corpus can be read");
    assert_eq!(recordings.len(), CASES);
    for recording in &recordings {
        assert!(
            recording.name().starts_with(recording.category()),
            "{} is in another file",
            recording.name()
        );
        assert_eq!(recording.case["name"], recording.result["name"]);
    }
}

#[test]
fn every_recorded_case_gives_what_was_recorded_or_what_is_right_instead() {
    let recordings = corpus::read(&folder()).expect("the corpus can be read");
    let divergences = Divergences::read(&folder()).expect("what diverges is known");
    let subject = || -> Box<dyn Subject> { Box::new(Inside::new()) };
    let verdicts = play_all(&recordings, &divergences, 2, &subject);

    let totals = Totals::count(&recordings, &verdicts);
    let played = totals.compared() + totals.divergences.0 + totals.unstable + totals.not_here;
    assert_eq!(played, CASES, "{totals:?}");

    let is_right =
        |verdict: &Verdict| matches!(verdict, Verdict::Equal | Verdict::RightInstead | Verdict::Unstable);
    let wrong = recordings.iter().zip(&verdicts).filter(|(_, verdict)| !is_right(verdict));
    let wrong: Vec<&str> = wrong.map(|(recording, _)| recording.name()).collect();
    assert!(wrong.is_empty(), "neither what was recorded nor what is right instead: {wrong:?}");
}

// The same cases over real sockets and files: what the engine in this process may get wrong together with its world,
// the daemon would show.
#[test]
fn a_daemon_behind_its_sockets_gives_what_was_recorded() {
    let binary = support::daemon::binary();
    if let Some(why) = daemon::missing(binary) {
        return support::tools::skip("a_daemon_behind_its_sockets_gives_what_was_recorded", &why);
    }
    let mut recordings = corpus::read(&folder()).expect("the corpus can be read");
    let chosen =
        ["topo-chain3", "size-short", "crash-query-named-block-nodes-concluded-stream", "error-write-e"];
    recordings.retain(|recording| chosen.iter().any(|start| recording.name().starts_with(start)));
    assert!(recordings.len() >= 10, "only {} cases", recordings.len());
    let divergences = Divergences::read(&folder()).expect("what diverges is known");
    let subject = || -> Box<dyn Subject> { Box::new(Daemon::new(binary, false).expect("a scratch folder")) };
    let verdicts = play_all(&recordings, &divergences, 2, &subject);
    for (recording, verdict) in recordings.iter().zip(&verdicts) {
        let is_right = matches!(verdict, Verdict::Equal | Verdict::RightInstead);
        assert!(is_right, "{}: {verdict:?}", recording.name());
    }
}
