//! What a reader sees first of three planted bugs: the screen of a campaign, from a recording of the bug at work.
//!
//! For each bug below `tests/mutants`, `tests/screens` keeps the trace and the history of the shortest run on an engine that
//! has it, and the screen. No such engine is built here: the model judges the history again, and the screen is drawn again.

use midstream::content::request_of;
use midstream::history::file::header::Header;
use midstream::history::file::line::Line;
use midstream::history::observed::Observed;
use midstream::history::{History, Recorder, What};
use midstream::request::RequestId;
use midstream::trace::Trace;
use midstream::verdict::{LIVENESS, Outcome, Verdict};
use midstream::world::on_disk::OnDisk;
use sim::judge::{Verdict as Judged, judge};
use sim::mutants::Mutant;
use sim::report::story;
use std::fs;
use std::path::{Path, PathBuf};

/// A terminal of 80 columns and this many lines shows all of it, and the commands below it.
const LINES_MAX: usize = 36;

const BUGS: [&str; 3] = ["serialise-on-request", "last-cluster-uncounted", "pause-ignored"];

fn file(bug: &str, kind: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/screens/{bug}.{kind}"))
}

fn text_of(bug: &str, kind: &str) -> String {
    let path = file(bug, kind);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn trace(bug: &str) -> Trace {
    Trace::parse(&text_of(bug, "json")).unwrap_or_else(|error| panic!("{bug}: {error}"))
}

/// A history with its steps, its notes, and the names of requests, by what they write or by their numbers; and the step at which the law
/// broke, which stands in its last note.
fn history(text: &str) -> (History, u64) {
    let mut lines: Vec<&str> = text.lines().collect();
    let last: Line = serde_json::from_str(lines.pop().expect("lines")).expect("a note");
    let note = last.note.expect("a note");
    let (_, broken_at) = note.rsplit_once(", at step ").expect("which law broke, at which step");
    let mut lines = lines.into_iter();
    let header: Header = serde_json::from_str(lines.next().expect("a header")).expect("a header");
    let images = header.setups(header.spec).expect("images");
    let mut history = History::new(Recorder::World, images);
    for line in lines {
        let line: Line = serde_json::from_str(line).expect("a line of a history");
        let (step, note) = (line.step.unwrap_or_default(), line.note.clone());
        let observed = line.observed().expect("a line that says something");
        let what = match (observed, note.unwrap_or_default()) {
            (Some(observed), _) => What::Observed(named(observed)),
            (None, note) if note == "no more faults" => What::FaultsStopped,
            (None, note) => match note.strip_prefix("disk ") {
                Some(done) => {
                    history.disk.push(on_disk(step, done.trim_start()));
                    continue;
                }
                None => What::Note(note),
            },
        };
        history.push(step, 0, what);
    }
    (history, broken_at.parse().expect("a step"))
}

/// `job j0: write /n1.qcow2 0x400+0x200 (g0.0.1), since 3`
fn on_disk(step: u64, done: &str) -> OnDisk {
    const WORDS: [&str; 6] = ["read", "write", "zero", "resize", "flush", "open"];
    let (by, asked) = done.split_once(": ").expect("who asked for what");
    let (asked, since) = asked.split_once(", since ").unwrap_or((asked, ""));
    let (asked, holds) = asked.split_once(" (").unwrap_or((asked, ""));
    let parts: Vec<&str> = asked.split(' ').collect();
    let number = |hex: &str| u64::from_str_radix(hex.trim_start_matches("0x"), 16).expect("a number");
    let range = parts.get(2).and_then(|range| range.split_once('+'));
    OnDisk {
        step,
        since: since.parse().unwrap_or(step),
        what: WORDS.into_iter().find(|word| *word == parts[0]).expect("a word for it"),
        file: parts[1].to_owned(),
        range: range.map(|(offset, len)| (number(offset), number(len))),
        holds: holds.trim_end_matches(')').to_owned(),
        by: by.to_owned(),
    }
}

fn named(observed: Observed) -> Observed {
    let Observed::Began { request, guest, asked, .. } = observed else { return observed };
    let part = |shift: u64| (request >> shift) as u32 & 0xff;
    let by_number = RequestId { guest, lane: part(8), slot: part(0) };
    let name = asked.values.first().and_then(|tag| request_of(*tag)).or(Some(by_number));
    Observed::Began { request, guest, name, asked }
}

/// The screen of a recorded run.
fn screen(bug: &str) -> String {
    let trace = trace(bug);
    let (history, broken_at) = history(&text_of(bug, "jsonl"));
    let verdict = match trace.law.as_str() {
        LIVENESS => Verdict::Stuck { who: trace.verdict.clone() },
        law => Verdict::Broken { law: law.to_owned(), detail: trace.verdict.clone() },
    };
    let mut outcome = Outcome::of(verdict);
    outcome.steps = broken_at;
    outcome.history = history;
    outcome.tape = trace.choices;
    story::screen(&outcome)
}

#[test]
fn the_screens_are_drawn_as_they_were() {
    for bug in BUGS {
        let drawn = screen(bug);
        let is_kept = drawn == text_of(bug, "txt");
        assert!(is_kept, "{bug}: this is not the screen that is kept\n{drawn}");
    }
}

#[test]
fn a_screen_is_no_larger_than_a_terminal() {
    for bug in BUGS {
        let screen = text_of(bug, "txt");
        assert!(screen.lines().count() <= LINES_MAX, "{bug} has {} lines", screen.lines().count());
        assert!(screen.lines().all(|line| line.chars().count() <= 80), "{bug}");
    }
}

#[test]
fn the_model_says_today_what_the_screens_say() {
    for bug in BUGS {
        let trace = trace(bug);
        let judged = judge(text_of(bug, "jsonl").as_bytes(), None).verdict;
        match judged {
            Judged::Broken { law, detail, .. } => {
                assert_eq!(law, trace.law, "{bug}");
                let detail = midstream::content::named(&detail);
                // Between its lines, traces have what the check of an image found.
                let mut verdict = trace.verdict.lines();
                let is_there =
                    detail.lines().all(|line| verdict.any(|line_of_verdict| line_of_verdict == line));
                assert!(is_there, "{bug}: {detail}\nis not\n{}", trace.verdict);
            }
            clean => assert!(trace.law == LIVENESS && clean == Judged::Clean, "{bug}: {clean:?}"),
        }
    }
}

#[test]
fn the_page_that_reads_a_failure_has_a_screen_that_is_kept() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/how-to-read-a-failure.md");
    let page = fs::read_to_string(page).expect("the page");
    let shown = page.split("```text\n").nth(1).and_then(|rest| rest.split("```").next());
    assert_eq!(shown, Some(&*text_of("serialise-on-request", "txt")));
    assert!(page.contains("tests/mutants/serialise-on-request.patch"));
}

#[test]
fn every_screen_is_of_a_mutant_that_is_kept_and_breaks_one_of_its_laws() {
    for bug in BUGS {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/mutants/{bug}.patch"));
        let mutant = Mutant::read(&path).unwrap_or_else(|error| panic!("{bug}: {error}"));
        assert!(mutant.laws.contains(&trace(bug).law), "{bug}");
    }
}
