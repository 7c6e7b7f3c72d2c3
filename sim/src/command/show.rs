//! `midstream show`: a recorded run, to be read: what it was built from, who did what, and what came of it.

mod nearest;
pub(super) mod run;

use super::{Exit, guarded, on_its_subject, read, recorded, refuse};
use crate::live::planned::planned;
use crate::report::chain::{chain, scenario_of};
use crate::report::lanes::{lanes, rows};
use crate::report::page::{self, Line, Paint, plain, wrapped};
use crate::report::text;
use clap::Args;
use midstream::campaign::Subject;
use midstream::choice::Decision;
use midstream::history::History;
use midstream::request::RequestId;
use midstream::trace::{PASSED, Replayed, Trace};
use midstream::verdict::{Detail, Verdict};
use seam::escape::one_line;
use std::path::PathBuf;

/// Where a guest's request is drawn.
const REQUEST: &str = "guest # lane # request #";

/// Show a recorded run: the chain and what was planned to go wrong, the history lane by lane, the law, the final chain.
///
/// As wide as the terminal, or 100 columns; in colours on a terminal, unless NO_COLOR is set. Nodes are added at first,
/// which is shown in one line. The lane of the disks has the engine's own requests, each when it is completed.
///
/// Of a live run, what stands in the trace: the chain, what operators and guests were to do, and what was found. No
/// daemon is started; `replay --history` does that, and its history can be shown with --html and --format.
#[derive(Args, Debug)]
pub(super) struct Show {
    /// The trace file; with --html or --format a history, FILE.jsonl, too.
    trace: PathBuf,
    /// Write a page to look at: one file, which loads nothing. `docs/how-to-read-a-failure.md` explains it.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["decisions", "wide"])]
    html: Option<PathBuf>,
    /// Put another run beside it on the page: a trace or a history. `nearest` looks for the run that is most alike and ends
    /// otherwise.
    #[arg(long, value_name = "TRACE", requires = "html")]
    beside: Option<PathBuf>,
    /// Write it to stdout for other programs: `perfetto` (trace events, for ui.perfetto.dev), `mermaid` (a sequence diagram
    /// and the chain, for a report), `jsonl` (the history, for `midstream judge`).
    #[arg(long, value_name = "FORMAT", conflicts_with_all = ["decisions", "wide", "html"])]
    format: Option<run::Format>,
    /// Every decision that is not option 0, too.
    #[arg(long)]
    decisions: bool,
    /// Keep long replies whole, and show the set-up, too.
    #[arg(long)]
    wide: bool,
}

impl Show {
    pub(super) fn run(&self, subject: &Subject) -> Exit {
        if let Some(html) = &self.html {
            return run::write_page(&self.trace, self.beside.as_deref(), html, subject);
        }
        if let Some(format) = self.format {
            return run::print(&self.trace, format, subject);
        }
        self.shown(subject).map_or_else(
            |exit| exit,
            |lines| {
                page::show(&lines);
                Exit::Clean
            },
        )
    }

    fn shown(&self, subject: &Subject) -> Result<Vec<Line>, Exit> {
        let trace = read(&self.trace)?;
        if trace.target.is_some() {
            return self.live(&trace);
        }
        let lines = |subject: &Subject| {
            let replayed = trace.replay_somehow(subject, Detail::Full);
            self.lines(&trace, &replayed, page::width())
        };
        guarded(&self.trace, &trace, || on_its_subject(&self.trace, &trace, subject, lines))?
    }

    /// Nothing is started to show a trace, so a live one is shown by what stands in it.
    fn live(&self, trace: &Trace) -> Result<Vec<Line>, Exit> {
        let recorded = recorded(&self.trace, trace)?;
        if let Some(program) = &recorded.program {
            let problem =
                format!("a trace names a kind of daemon and no program, and this one names `{program}`");
            return Err(refuse(&format!("{}: {problem}", self.trace.display())));
        }
        let width = page::width();
        let mut lines = self.head(trace, width);
        lines.extend(plain(&format!("on a live daemon: {}", trace.target.as_deref().unwrap_or_default())));
        lines.extend(plain("\n"));
        match guarded(&self.trace, trace, || planned(&trace.choices))? {
            Some(planned) => {
                lines.extend(block(&planned.chain, width));
                lines.extend(lanes(&planned.rows, width, self.wide));
                lines.extend(plain(&format!("{}\n\n", planned.end)));
            }
            None => lines.extend(plain("the trace does not fit what would be drawn today\n\n")),
        }
        if self.decisions {
            lines.extend(block(&decisions(&trace.choices), width));
        }
        lines.extend(verdict(&text::recorded(trace), trace.law == PASSED, width));
        lines.extend(plain(&text::on_trace("trace", "replay", &self.trace)));
        Ok(lines)
    }

    fn head(&self, trace: &Trace, width: usize) -> Vec<Line> {
        let seed = trace.seed.map(|seed| format!(", seed {seed}")).unwrap_or_default();
        let version = one_line(&trace.midstream);
        block(&format!("recorded by midstream {version}{seed}: law `{}`", one_line(&trace.law)), width)
    }

    fn lines(&self, trace: &Trace, replayed: &Replayed, width: usize) -> Vec<Line> {
        let outcome = &replayed.outcome;
        let mut lines = self.head(trace, width);
        if replayed.drifts > 0 {
            lines.extend(plain(&format!("the trace does not fit any more: {} drifts", replayed.drifts)));
        }
        lines.extend(plain("\n"));
        if let Some(scenario) = scenario_of(&outcome.tape) {
            lines.extend(block(&(chain(&scenario) + "\n"), width));
        }
        lines.extend(lanes(&rows(&outcome.history, self.wide), width, self.wide));
        lines.extend(plain("\n"));
        if self.decisions {
            lines.extend(block(&(decisions(&outcome.tape) + "\n"), width));
        }
        lines.extend(verdict(&text::failure(outcome), outcome.verdict == Verdict::Passed, width));
        lines.extend(block(&final_chain(&outcome.history), width));
        lines
    }
}

/// Lines of a text, none wider than the page.
fn block(text: &str, width: usize) -> Vec<Line> {
    let inset = |line: &str| line.len() - line.trim_start().len();
    let lines = text.lines().flat_map(|line| wrapped(line.trim_start(), inset(line), width));
    lines.map(|text| Line { paint: Paint::Plain, text: text.trim_end().to_owned() }).collect()
}

/// What came of it, the law in colour.
fn verdict(text: &str, is_good: bool, width: usize) -> Vec<Line> {
    let (head, values) = text.split_once('\n').unwrap_or((text, ""));
    let paint = if is_good { Paint::Good } else { Paint::Bad };
    let mut lines: Vec<Line> = block(head, width).into_iter().map(|line| Line { paint, ..line }).collect();
    lines.extend(block(values, width));
    lines
}

/// Every decision that is not option 0.
fn decisions(tape: &[Decision]) -> String {
    let remarkable = tape.iter().filter(|decision| decision.value() > 0);
    remarkable.map(|decision| format!("  {}\n", called(decision))).collect()
}

/// A decision, what was drawn for a guest's request by the name that the request has everywhere.
fn called(decision: &Decision) -> String {
    let (at, text) = (decision.at(), decision.to_string());
    let drawn = ["", " present", " length", " place", " cluster", " edge", " sector", " beside", " think"];
    let Some(what) = at.name.strip_prefix(REQUEST).filter(|what| drawn.contains(what)) else { return text };
    let [guest, lane, slot] = at.of;
    let before = at.to_string().len();
    format!("{}{what}{}", RequestId { guest, lane, slot }, &text[before..])
}

/// What the files show when they are reopened, overlays last. A run that a broken law ended has none: then the
/// chain stands with the law's values.
fn final_chain(history: &History) -> String {
    let files: String = history.reopened().map(|found| format!("      {}\n", found.text())).collect();
    if files.is_empty() { files } else { format!("final chain, files reopened\n{files}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::subject::subject;
    use midstream::choice::Point;
    use midstream::toy;
    use std::path::Path;

    fn show() -> Show {
        Show { trace: PathBuf::new(), html: None, beside: None, format: None, decisions: true, wide: false }
    }

    fn text(trace: &Trace, replayed: &Replayed, width: usize) -> String {
        let lines = show().lines(trace, replayed, width);
        lines.into_iter().map(|line| line.text + "\n").collect()
    }

    #[test]
    fn the_history_the_decisions_and_the_law_are_shown() {
        let (seed, outcome) = toy::first_failure();
        let trace = Trace::of(&outcome, Some(seed));
        let replayed = trace.replay(&toy::SUBJECT, Detail::Full);
        let text = text(&trace, &replayed, 100);
        assert!(text.contains(&format!(", seed {seed}: law `{}`\n", toy::LAW)), "{text}");
        assert!(text.contains(": command "), "{text}");
        assert!(text.contains("\n  schedule: client "), "{text}");
        assert!(text.contains(&format!("\nFAIL  law `{}`", toy::LAW)), "{text}");
    }

    fn recorded(name: &str) -> Trace {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../traces");
        Trace::read(&folder.join(name)).expect("a recorded trace")
    }

    #[test]
    fn a_recorded_trace_is_shown_from_its_chain_to_its_final_chain() {
        let trace = recorded("crash-undoes-write-that-hid-a-lower-layer.json");
        let replayed = trace.replay_somehow(&subject(), Detail::Full);
        let shown = text(&trace, &replayed, 80);
        let place = |part: &str| shown.find(part).unwrap_or_else(|| panic!("no {part:?} in\n{shown}"));
        let parts = [
            "\nn0  base ",
            "\ncrash  the process is killed ",
            "\nstep ",
            "set-up: ",
            "write /n2.qcow2 0xa00+0x200",
            "\nPASS",
            "\nfinal chain",
            "/n1.qcow2",
        ];
        let places = parts.map(place);
        assert!(places[..7].is_sorted(), "{places:?} in\n{shown}");
        assert!(shown.lines().all(|line| line.chars().count() <= 80), "{shown}");
        assert!(!shown.contains("blockdev-add driver") && !shown.contains("fault no more"), "{shown}");
        let again = text(&trace, &trace.replay_somehow(&subject(), Detail::Full), 80);
        assert_eq!(shown, again, "the same trace is the same text");
    }

    #[test]
    fn what_is_drawn_for_a_request_goes_by_its_name() {
        let at = |name: &'static str| Point::new(name, [2, 1, 3]);
        let decision = |name| Decision::Number { at: at(name), of: 16, value: 4 };
        assert_eq!(called(&decision("guest # lane # request #")), "g2.1.3: 4 of 16");
        assert_eq!(called(&decision("guest # lane # request # edge")), "g2.1.3 edge: 4 of 16");
        assert_eq!(called(&decision("client # command #")), "client 2 command 1: 4 of 16");
    }
}
