//! `midstream show`: a recorded run, to be read: what it was built from, who did what, and what came of it.

use super::{Exit, guarded, read, recorded, refuse};
use crate::live::planned::planned;
use crate::report::chain::{chain, scenario_of};
use crate::report::lanes::lanes;
use crate::report::text;
use clap::Args;
use midstream::campaign::Subject;
use midstream::choice::Decision;
use midstream::history::History;
use midstream::trace::{Replayed, Trace};
use midstream::verdict::Detail;
use seam::escape::one_line;
use std::fmt::Write;
use std::path::PathBuf;

/// Show a recorded run: the chain and what was planned to go wrong, the history lane by lane, the law, the final chain.
///
/// Of a live run, what stands in the trace: the chain, what operators and guests were to do, and what was found. No
/// daemon is started; `replay` does that.
#[derive(Args, Debug)]
pub(super) struct Show {
    /// The trace file.
    trace: PathBuf,
    /// Every decision that is not the plainest, too.
    #[arg(long)]
    decisions: bool,
    /// Keep long texts whole, past the end of their column.
    #[arg(long)]
    wide: bool,
}

impl Show {
    pub(super) fn run(&self, subject: &Subject) -> Exit {
        self.shown(subject).map_or_else(
            |exit| exit,
            |text| {
                put!("{text}");
                Exit::Clean
            },
        )
    }

    fn shown(&self, subject: &Subject) -> Result<String, Exit> {
        let trace = read(&self.trace)?;
        if trace.target.is_some() {
            return self.live(&trace);
        }
        guarded(&self.trace, &trace, || {
            let replayed = trace.replay_somehow(subject, Detail::Full);
            self.text(&trace, &replayed)
        })
    }

    /// Nothing is started to show a trace, so a live one is shown by what stands in it.
    fn live(&self, trace: &Trace) -> Result<String, Exit> {
        let recorded = recorded(&self.trace, trace)?;
        if let Some(program) = &recorded.program {
            let problem =
                format!("a trace names a kind of daemon and no program, and this one names `{program}`");
            return Err(refuse(&format!("{}: {problem}", self.trace.display())));
        }
        let mut text = String::new();
        let seed = trace.seed.map(|seed| format!(", seed {seed}")).unwrap_or_default();
        let mut part = |what: String| writeln!(text, "{what}").expect("a string takes any text");
        let target = trace.target.as_deref().unwrap_or_default();
        part(format!(
            "recorded by midstream {}{seed}: law `{}`",
            one_line(&trace.midstream),
            one_line(&trace.law)
        ));
        part(format!("on a live daemon: {target}\n"));
        let planned = guarded(&self.trace, trace, || planned(&trace.choices))?;
        part(planned.unwrap_or_else(|| "the trace does not fit what would be drawn today\n".to_owned()));
        if self.decisions {
            part(decisions(&trace.choices));
        }
        part(format!("{}{}", text::recorded(trace), text::repro(None, Some(&self.trace))));
        Ok(text.trim_end().to_owned() + "\n")
    }

    fn text(&self, trace: &Trace, replayed: &Replayed) -> String {
        let outcome = &replayed.outcome;
        let mut text = String::new();
        let seed = trace.seed.map(|seed| format!(", seed {seed}")).unwrap_or_default();
        let mut part = |what: String| writeln!(text, "{what}").expect("a string takes any text");
        part(format!(
            "recorded by midstream {}{seed}: law `{}`",
            one_line(&trace.midstream),
            one_line(&trace.law)
        ));
        if replayed.drifts > 0 {
            part(format!("the trace does not fit any more: {} drifts", replayed.drifts));
        }
        part(String::new());
        if let Some(scenario) = scenario_of(&outcome.tape) {
            part(chain(&scenario));
        }
        part(lanes(&outcome.history.lines(), self.wide));
        if self.decisions {
            part(decisions(&outcome.tape));
        }
        text + &text::failure(outcome) + &final_chain(&outcome.history)
    }
}

/// Every decision that is not the plainest.
fn decisions(tape: &[Decision]) -> String {
    let remarkable = tape.iter().filter(|decision| decision.value() > 0);
    remarkable.map(|decision| format!("  {decision}\n")).collect()
}

/// What the files show when they are read afresh, overlays last. A run that a broken law ended has none: then the
/// chain stands with the law's values.
fn final_chain(history: &History) -> String {
    let files: String = history.read_afresh().map(|found| format!("      {}\n", found.text())).collect();
    if files.is_empty() { files } else { format!("final chain, files read afresh\n{files}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::subject::subject;
    use midstream::toy;
    use std::path::Path;

    fn show() -> Show {
        Show { trace: PathBuf::new(), decisions: true, wide: false }
    }

    #[test]
    fn the_history_the_decisions_and_the_law_are_shown() {
        let (seed, outcome) = toy::first_failure();
        let trace = Trace::of(&outcome, Some(seed));
        let replayed = trace.replay(&toy::SUBJECT, Detail::Full);
        let text = show().text(&trace, &replayed);
        assert!(text.contains(&format!(", seed {seed}: law `{}`\n", toy::LAW)), "{text}");
        assert!(text.contains(": command "), "{text}");
        assert!(text.contains("\n  schedule: client "), "{text}");
        assert!(text.contains(&format!("\nFAIL  law `{}`", toy::LAW)), "{text}");
    }

    #[test]
    fn a_recorded_trace_is_shown_from_its_chain_to_its_final_chain() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../traces");
        let path = folder.join("crash-undoes-write-that-hid-a-lower-layer.json");
        let trace = Trace::read(&path).expect("a recorded trace");
        let replayed = trace.replay_somehow(&subject(), Detail::Full);
        let text = show().text(&trace, &replayed);
        let place = |part: &str| text.find(part).unwrap_or_else(|| panic!("no {part:?} in\n{text}"));
        let parts = [
            "\nn0  base ",
            "\ncrash  the process is killed ",
            "\nstep ",
            "\nPASS",
            "\nfinal chain",
            "/n1.qcow2",
        ];
        let places = parts.map(place);
        assert!(places[..5].is_sorted(), "{places:?} in\n{text}");
        let again = show().text(&trace, &trace.replay_somehow(&subject(), Detail::Full));
        assert_eq!(text, again, "the same trace is the same text");
    }
}
