//! Hostile traces and histories, read by this command's own readers, in this process, which may be the end of it.

use super::Kind;
use super::finding::{LATE, PANIC};
use super::round::Played;
use super::victim::peak_bytes;
use crate::judge::judge;
use crate::live::planned::planned;
use midstream::campaign::Subject;
use midstream::history::file::header::Spec;
use midstream::panics::{Panic, quietly};
use midstream::trace::Trace;
use midstream::verdict::{Detail, Verdict};
use std::time::{Duration, Instant};

/// A text of a few hundred kilobytes is read, or refused, within this.
const READ_MAX: Duration = Duration::from_secs(5);

/// Why a reader is wrong, if it is: the verdict, and what happened.
type Wrong = Option<(&'static str, String)>;

/// Reads one after the other, until something is wrong.
pub(super) fn all(kind: Kind, inputs: &[Vec<u8>], subject: &Subject) -> Played {
    let mut played = Played::default();
    for input in inputs {
        played.inputs += 1;
        let wrong = match kind {
            Kind::Traces => trace(input, subject),
            _ => history(input),
        };
        if let Some((verdict, detail)) = wrong {
            played.wrong = Some((verdict.to_owned(), detail));
            break;
        }
    }
    played.peak_bytes = peak_bytes(std::process::id());
    played
}

/// A trace: read, and taken again as `show` does.
fn trace(bytes: &[u8], subject: &Subject) -> Wrong {
    read(|| {
        let Ok(trace) =
            std::str::from_utf8(bytes).map_err(drop).and_then(|text| Trace::parse(text).map_err(drop))
        else {
            return None;
        };
        let _planned = planned(&trace.choices);
        let outcome = trace.replay_somehow(subject, Detail::Full).outcome;
        let _shown = outcome.history.lines();
        match outcome.verdict {
            Verdict::Panicked { message } => Some((PANIC, format!("the engine panicked: {message}"))),
            _ => None,
        }
    })
}

/// A history: judged by its own specification, and by the other.
fn history(bytes: &[u8]) -> Wrong {
    read(|| {
        for spec in [None, Some(Spec::DataOnly)] {
            let _verdict = judge(bytes, spec);
        }
        None
    })
}

fn read(reader: impl FnOnce() -> Wrong) -> Wrong {
    let began = Instant::now();
    let ended: Result<Wrong, Panic> = quietly(reader);
    match ended {
        Err(panic) => Some((PANIC, panic.to_string())),
        Ok(wrong) => wrong.or_else(|| {
            let is_late = began.elapsed() > READ_MAX;
            is_late.then(|| (LATE, format!("a reader took {:.1} s", began.elapsed().as_secs_f64())))
        }),
    }
}
