//! The verdict on a run that anybody recorded: reads a history line by line and shows it to a specification.
//!
//! What is held does not grow with the file: a line, the requests and commands without an end, and what the specification
//! keeps of the images. Where a bound of these is reached, the verdict says that it is none.

mod input;
mod protocol;
mod spec;

use input::{Lines, parsed};
use midstream::content::request_of;
use midstream::history::file::header::{Header, Spec, Version};
use midstream::history::file::line::Line;
use midstream::history::file::{LINE_BYTES_MAX, OURS, VERSION};
use midstream::history::observed::Observed;
use midstream::history::{History, Recorder, What};
use midstream::recording::commands::Commands;
use midstream::request::RequestId;
use model::Quirk;
use protocol::Protocol;
use spec::{Judge, Stop};
use std::fmt;
use std::io::BufRead;

/// More lines are not read: their numbers are moments to the specification.
const LINES_MAX: u64 = 1 << 31;

/// A run, judged.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Judged {
    /// By what.
    pub spec: Option<Spec>,
    /// Lines read, the header's too.
    pub lines: u64,
    /// How often a law was checked.
    pub checks: u64,
    /// The verdict.
    pub verdict: Verdict,
}

/// What there is to say of a run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Nothing broke.
    Clean,
    /// A law was broken.
    Broken {
        /// In this line.
        line: u64,
        /// Which: a sentence.
        law: String,
        /// Expected and found.
        detail: String,
    },
    /// The input makes no sense.
    Bad(Bad),
    /// Not all of it could be judged.
    Inconclusive {
        /// From this line on.
        line: u64,
        /// Why.
        why: String,
    },
    /// No law was checked at all.
    Vacuous,
}

/// What makes no sense.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Bad {
    /// In this line, counted from 1.
    pub line: u64,
    /// Which member; empty for the line as a whole.
    pub field: String,
    /// Why.
    pub reason: String,
}

impl fmt::Display for Bad {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.field.as_str() {
            "" => write!(f, "line {}: {}", self.line, self.reason),
            field => write!(f, "line {}, {field}: {}", self.line, self.reason),
        }
    }
}

/// A member that makes no sense, and why.
type Fault = (String, String);

fn fault<T>(field: &str, reason: impl Into<String>) -> Result<T, Fault> {
    Err((field.to_owned(), reason.into()))
}

/// Judges a history by the specification that its header names, or by another one.
pub fn judge(input: impl BufRead, spec: Option<Spec>) -> Judged {
    judge_with(input, spec, &[])
}

/// The same, of a daemon that is wrong in these ways.
pub fn judge_with(input: impl BufRead, spec: Option<Spec>, quirks: &[Quirk]) -> Judged {
    let mut judged = Judged { spec, lines: 0, checks: 0, verdict: Verdict::Clean };
    let mut lines = Lines::new(input, LINE_BYTES_MAX);
    if let Err(stop) = all(&mut lines, spec, quirks, &mut judged) {
        judged.verdict = match stop {
            Stop::Broken { law, detail } => Verdict::Broken { line: lines.number, law, detail },
            Stop::Bad((field, reason)) => Verdict::Bad(Bad { line: lines.number.max(1), field, reason }),
            Stop::Bound(why) => Verdict::Inconclusive { line: lines.number, why },
        };
    }
    judged.lines = lines.number;
    judged
}

fn all(
    lines: &mut Lines<impl BufRead>,
    spec: Option<Spec>,
    quirks: &[Quirk],
    judged: &mut Judged,
) -> Result<(), Stop> {
    let Some(first) = lines.next()? else {
        return Err(Stop::Bad((String::new(), "there is no header: the input is empty".to_owned())));
    };
    let header = header(first)?;
    let spec = spec.unwrap_or(header.spec);
    judged.spec = Some(spec);
    let images = header.setups(spec)?;
    let mut protocol = Protocol::new(spec);
    let mut judge = Judge::new(spec, &images, header.torn_reads, quirks);
    let judged_all = follow(lines, &mut protocol, &mut judge);
    let is_ours = header.note.as_deref() == Some(OURS);
    let judged_all = judged_all.map_err(|stop| if is_ours { stop.named() } else { stop });
    judged.checks = judge.checks();
    judged.verdict = match judged_all? {
        Some((line, why)) => Verdict::Inconclusive { line, why },
        None if judged.checks == 0 => Verdict::Vacuous,
        None => Verdict::Clean,
    };
    Ok(())
}

/// Reads a history for the model, without a verdict; nothing if it is for another specification.
pub fn read(input: impl BufRead) -> Result<Option<History>, Bad> {
    let mut lines = Lines::new(input, LINE_BYTES_MAX);
    observations(&mut lines).map_err(|stop| {
        let (field, reason) = match stop {
            Stop::Bad(fault) => fault,
            Stop::Bound(why) | Stop::Broken { detail: why, .. } => (String::new(), why),
        };
        Bad { line: lines.number.max(1), field, reason }
    })
}

fn observations(lines: &mut Lines<impl BufRead>) -> Result<Option<History>, Stop> {
    let Some(first) = lines.next()? else { return Ok(None) };
    let header = header(first)?;
    let Some(release) = header.spec.release() else { return Ok(None) };
    let recorder = if header.torn_reads { Recorder::Live } else { Recorder::World };
    let mut history = History { release, ..History::new(recorder, header.setups(header.spec)?) };
    let mut protocol = Protocol::new(header.spec);
    let judge = Judge::new(header.spec, &[], header.torn_reads, &[]);
    while let Some(text) = lines.next()? {
        let line: Line = parsed(text)?;
        let (step, at) = (line.step.unwrap_or(0), line.at_ns.unwrap_or(0));
        let note = line.note.clone();
        let observed = line.observed().or_else(|why| fault("", why))?;
        if let Some(observed) = observed {
            let name = name_of(&observed);
            let admitted = protocol.admit(observed, &judge)?;
            history.push(step, at, What::Observed(with_name(admitted, name)));
        } else if let Some(note) = note {
            history.push(step, at, What::Note(note));
        }
    }
    Ok(Some(history))
}

/// A write of ours has a name, which is in what it writes.
fn name_of(observed: &Observed) -> Option<RequestId> {
    match observed {
        Observed::Began { guest, asked, .. } => {
            let written = asked.values.first().and_then(|value| request_of(*value));
            written.filter(|name| name.guest == *guest)
        }
        _ => None,
    }
}

fn with_name(observed: Observed, name: Option<RequestId>) -> Observed {
    match observed {
        Observed::Began { request, guest, asked, .. } => Observed::Began { request, guest, name, asked },
        other => other,
    }
}

/// Shows every line to the judge. Gives the line from which on not everything was judged, and why.
fn follow(
    lines: &mut Lines<impl BufRead>,
    protocol: &mut Protocol,
    judge: &mut Judge,
) -> Result<Option<(u64, String)>, Stop> {
    // The first line from which on not everything was judged.
    let mut inconclusive = None;
    let mut commands = Commands::default();
    while let Some(text) = lines.next()? {
        let line: Line = parsed(text)?;
        let observed = match line.observed() {
            Ok(Some(observed)) => observed,
            Ok(None) => continue,
            Err(why) => return fault("", why).map_err(Stop::Bad),
        };
        let admitted = protocol.admit(observed, judge)?;
        commands.see(&admitted);
        judge.show(&admitted).map_err(|stop| stop.by(&commands, &admitted))?;
        if inconclusive.is_none() {
            inconclusive = judge.inconclusive().map(|why| (lines.number, why));
        }
        if lines.number >= LINES_MAX {
            return Err(Stop::Bound(format!("more than {LINES_MAX} lines")));
        }
    }
    Ok(inconclusive)
}

fn header(line: &[u8]) -> Result<Header, Fault> {
    let Version { version } = parsed(line)?;
    if version != VERSION {
        let reason = format!("version {version} is not known; this program reads {VERSION}");
        return fault("midstream-history", reason);
    }
    parsed(line)
}
