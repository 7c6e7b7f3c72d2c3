//! A run as a page and as files for other programs: from its trace, which is taken again, or from its history.

use super::super::{Exit, guarded, on_its_subject, read, recorded, refuse};
use super::nearest;
use crate::html::data::{Beside, Page};
use crate::html::{self, Heading};
use crate::judge;
use crate::live::planned::planned;
use crate::report::chain::{chain, scenario_of};
use crate::report::text;
use clap::ValueEnum;
use midstream::campaign::Subject;
use midstream::history::History;
use midstream::terminal::shown;
use midstream::trace::{Trace, verdict_text};
use midstream::verdict::{Detail, Outcome};
use seam::escape::one_line;
use std::fs;
use std::io::BufReader;
use std::path::Path;

/// Instead of a file: whatever ends otherwise and is most alike.
const NEAREST: &str = "nearest";
/// What a history is called.
const HISTORY: &str = "jsonl";

/// What other programs read.
#[derive(Copy, Clone, PartialEq, Eq, Debug, ValueEnum)]
pub(in crate::command) enum Format {
    /// Trace events.
    Perfetto,
    /// Diagrams.
    Mermaid,
    /// The history.
    Jsonl,
}

/// Writes the page of a run, with another run beside it if one is named.
pub(in crate::command) fn write_page(
    path: &Path,
    beside: Option<&Path>,
    out: &Path,
    subject: &Subject,
) -> Exit {
    let page = match beside {
        Some(beside) => compared(path, beside, subject),
        None => page_of(path, subject),
    };
    let written = page.and_then(|page| {
        let problem = |error| refuse(&format!("--html {}: {error}", out.display()));
        fs::write(out, html::page(&page)).map_err(problem)
    });
    match written {
        Ok(()) => {
            say!("page    {}", shown(out));
            Exit::Clean
        }
        Err(exit) => exit,
    }
}

/// The page of a run with another one beside it.
pub(in crate::command) fn compared(path: &Path, beside: &Path, subject: &Subject) -> Result<Page, Exit> {
    let mut page = page_of(path, subject)?;
    let other = if beside == Path::new(NEAREST) { nearest(path, subject)? } else { other(beside, subject)? };
    page.beside = Some(Box::new(other));
    Ok(page)
}

fn other(path: &Path, subject: &Subject) -> Result<Beside, Exit> {
    let page = page_of(path, subject)?;
    Ok(Beside { title: page.title, law: page.law, choice: page.origin, rows: page.rows })
}

/// The run that decides otherwise as late as possible, and ends otherwise.
fn nearest(path: &Path, subject: &Subject) -> Result<Beside, Exit> {
    let problem = |why: &str| refuse(&format!("{}: {why}", path.display()));
    if is_history(path) {
        return Err(problem("of a history no other run can be taken: `--beside nearest` is for traces"));
    }
    let trace = read(path)?;
    if trace.target.is_some() {
        return Err(problem(
            "no daemon is started to show a trace: `--beside nearest` is for simulated runs",
        ));
    }
    let find = |subject: &Subject| nearest::nearest(subject, &trace.choices);
    let found = guarded(path, &trace, || on_its_subject(path, &trace, subject, find))??;
    let Some(found) = found else { return Err(problem("every run that was tried ends as this one does")) };
    let heading = Heading { law: found.outcome.verdict.law().to_owned(), ..Heading::default() };
    let page = html::of_history(&heading, &found.outcome.history);
    Ok(Beside { title: "nearest".to_owned(), law: page.law, choice: found.choice, rows: page.rows })
}

/// Prints a run for other programs.
pub(in crate::command) fn print(path: &Path, format: Format, subject: &Subject) -> Exit {
    let text = match format {
        Format::Perfetto => page_of(path, subject).map(|page| html::perfetto::events(&page)),
        Format::Mermaid => page_of(path, subject).map(|page| html::mermaid::diagrams(&page)),
        Format::Jsonl => history_text(path, subject),
    };
    match text {
        Ok(text) => {
            put!("{text}");
            Exit::Clean
        }
        Err(exit) => exit,
    }
}

fn history_text(path: &Path, subject: &Subject) -> Result<String, Exit> {
    let history = if is_history(path) {
        read_history(path)?
    } else {
        let trace = read(path)?;
        if trace.target.is_some() {
            let problem = "a live run's history is what `replay --history DIR` records";
            return Err(refuse(&format!("{}: {problem}", path.display())));
        }
        outcome_of(path, &trace, subject)?.history
    };
    let mut bytes = Vec::new();
    history.write(None, &mut bytes).expect("memory takes everything");
    Ok(String::from_utf8(bytes).expect("JSON is UTF-8"))
}

/// The page of a trace or a history.
pub(in crate::command) fn page_of(path: &Path, subject: &Subject) -> Result<Page, Exit> {
    let title = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    if is_history(path) {
        let history = read_history(path)?;
        let heading = Heading {
            title,
            origin: "a recorded history".to_owned(),
            repro: vec![text::on_trace("judge", "judge", path)],
            ..Heading::default()
        };
        return Ok(html::of_history(&heading, &history));
    }
    let trace = read(path)?;
    let heading = Heading { title, origin: origin(&trace), repro: repro(path, &trace), ..Heading::default() };
    if trace.target.is_some() {
        return live(path, &trace, heading);
    }
    let outcome = outcome_of(path, &trace, subject)?;
    let setup = scenario_of(&outcome.tape).map(|scenario| chain(&scenario)).unwrap_or_default();
    let (law, verdict) = (outcome.verdict.law().to_owned(), verdict_text(&outcome.verdict).to_owned());
    Ok(html::of_history(&Heading { law, verdict, setup, ..heading }, &outcome.history))
}

/// Of a live run only what was to be done, and what was found.
fn live(path: &Path, trace: &Trace, heading: Heading) -> Result<Page, Exit> {
    recorded(path, trace)?;
    let planned = guarded(path, trace, || planned(&trace.choices))?;
    let verdict = midstream::content::named(&trace.verdict);
    let heading = Heading { law: trace.law.clone(), verdict, ..heading };
    Ok(match planned {
        Some(planned) => html::planned(&Heading { setup: planned.chain, ..heading }, &planned.rows),
        None => html::planned(&heading, &[]),
    })
}

fn outcome_of(path: &Path, trace: &Trace, subject: &Subject) -> Result<Outcome, Exit> {
    let replay = |subject: &Subject| trace.replay_somehow(subject, Detail::Full).outcome;
    guarded(path, trace, || on_its_subject(path, trace, subject, replay))?
}

fn is_history(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == HISTORY)
}

fn read_history(path: &Path) -> Result<History, Exit> {
    let problem = |why: &dyn std::fmt::Display| refuse(&format!("{}: {why}", path.display()));
    let file = fs::File::open(path).map_err(|error| problem(&error))?;
    let history = judge::read(BufReader::new(file)).map_err(|bad| problem(&bad))?;
    history.ok_or_else(|| problem(&"a history for another specification than QEMU's is not shown"))
}

fn origin(trace: &Trace) -> String {
    let seed = trace.seed.map(|seed| format!(", seed {seed}")).unwrap_or_default();
    let target = trace.target.as_ref().map(|target| format!(" on a live {}", one_line(target)));
    format!("recorded by midstream {}{seed}{}", one_line(&trace.midstream), target.unwrap_or_default())
}

fn repro(path: &Path, trace: &Trace) -> Vec<String> {
    let seed = trace.seed.filter(|_| trace.target.is_none() && trace.scenario.is_none());
    text::repro(seed, Some(path)).lines().map(str::to_owned).collect()
}
