//! Hostile traces and histories, read by this command's own readers, in this process.

use super::finding::{LATE, PANIC};
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
pub(super) type Wrong = Option<(&'static str, String)>;

/// A trace: read, and taken again as `show` does.
pub(super) fn trace(bytes: &[u8], subject: &Subject) -> Wrong {
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
pub(super) fn history(bytes: &[u8]) -> Wrong {
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
