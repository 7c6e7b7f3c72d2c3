//! `midstream show`: a recorded run as readable text.

use super::{Exit, read};
use crate::campaign::Subject;
use crate::choice::Decision;
use crate::report::text;
use crate::trace::{Replayed, Trace};
use crate::verdict::Detail;
use clap::Args;
use std::fmt::Write;
use std::path::PathBuf;

/// Show a recorded run: the chain, what clients, guests and jobs did by step, events, and the broken law.
#[derive(Args, Debug)]
pub(super) struct Show {
    /// The trace file.
    trace: PathBuf,
    /// Every decision that is not the plainest, too.
    #[arg(long)]
    decisions: bool,
}

impl Show {
    pub(super) fn run(&self, subject: &Subject) -> Exit {
        let trace = match read(&self.trace) {
            Ok(trace) => trace,
            Err(exit) => return exit,
        };
        let replayed = trace.replay_somehow(subject, Detail::Full);
        print!("{}", self.text(&trace, &replayed));
        Exit::Clean
    }

    fn text(&self, trace: &Trace, replayed: &Replayed) -> String {
        let mut text = String::new();
        let seed = trace.seed.map(|seed| format!(", seed {seed}")).unwrap_or_default();
        let mut line = |what: String| writeln!(text, "{what}").expect("a string takes any text");
        line(format!("recorded by midstream {}{seed}: law `{}`", trace.midstream, trace.law));
        if replayed.drifts > 0 {
            line(format!("the trace does not fit any more: {} drifts", replayed.drifts));
        }
        line(String::new());
        replayed.outcome.history.iter().for_each(|event| line(event.clone()));
        line(String::new());
        if self.decisions {
            let remarkable = replayed.outcome.tape.iter().filter(|d| d.value() > 0);
            remarkable.for_each(|decision: &Decision| line(format!("  {decision}")));
            line(String::new());
        }
        text + &text::failure(&replayed.outcome)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::toy;

    #[test]
    fn the_history_the_decisions_and_the_law_are_shown() {
        let (seed, outcome) = toy::first_failure();
        let trace = Trace::of(&outcome, Some(seed));
        let replayed = trace.replay(&toy::SUBJECT, Detail::Full);
        let show = Show { trace: PathBuf::new(), decisions: true };
        let text = show.text(&trace, &replayed);
        assert!(text.contains(&format!(", seed {seed}: law `{}`\n", toy::LAW)), "{text}");
        assert!(text.contains("\nclient 0: command "), "{text}");
        assert!(text.contains("\n  schedule: client "), "{text}");
        assert!(text.contains(&format!("\nFAIL  law `{}`", toy::LAW)), "{text}");
    }
}
