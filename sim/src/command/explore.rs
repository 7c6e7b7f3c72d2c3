//! `midstream explore`: every schedule and every crash of small scenarios.

mod progress;
mod table;

use super::limits::{check_file, check_folder, jobs, seconds};
use super::reported::write_outcomes;
use super::{Exit, guarded, refuse};
use crate::layer::Ours;
use crate::report::junit::{self, Case};
use crate::report::text;
use clap::Args;
use midstream::check::{Counts, Effort, End, Explored, with_explored};
use midstream::explore;
use midstream::scenario::ScenarioFile;
use midstream::terminal::shown;
use midstream::trace::Trace;
use midstream::verdict::Detail;
use progress::Progress;
use signal_hook::consts::{SIGINT, SIGTERM};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

pub use table::{Row, row_of};

/// Take every schedule of small scenarios on the engine, and end the world at every step of each.
///
/// Ends with 0 if every exploration is complete within the bounds of its file, with 1 if a law breaks, with 5 if something
/// is left to do.
#[derive(Args, Debug)]
pub(super) struct Explore {
    /// Scenario files, or folders of them.
    #[arg(required = true, value_name = "SCENARIO")]
    scenarios: Vec<PathBuf>,
    /// Threads; all cores when not given. The counts do not depend on it.
    #[arg(long, value_name = "N", value_parser = jobs())]
    jobs: Option<u64>,
    /// Stop after so many seconds.
    #[arg(long, value_name = "T", value_parser = seconds())]
    seconds: Option<u64>,
    /// Go on where an exploration was left, by this file; one that is left again is kept there.
    #[arg(long, value_name = "FILE")]
    resume: Option<PathBuf>,
    /// Where the trace of a failure goes.
    #[arg(long, value_name = "DIR", default_value = "traces/new")]
    out: PathBuf,
    /// Write the table of what was explored into this page, between its two marks.
    #[arg(long, value_name = "PAGE")]
    table: Option<PathBuf>,
    /// Write a report to DIR: a page and JUnit XML.
    #[arg(long, value_name = "DIR")]
    report: Option<PathBuf>,
}

impl Explore {
    pub(super) fn run(&self) -> Exit {
        self.all().unwrap_or_else(|problem| refuse(&problem))
    }

    fn all(&self) -> Result<Exit, String> {
        check_folder("--out", &self.out)?;
        self.report.iter().try_for_each(|folder| check_folder("--report", folder))?;
        let began = Instant::now();
        let mut cases = Vec::new();
        let exit = self.each(&mut cases)?;
        if let Some(folder) = &self.report {
            let heads = ["what was explored"];
            let index = write_outcomes(folder, "explorations", &heads, &cases, began.elapsed())?;
            say!("report  {}", shown(&index));
        }
        Ok(exit)
    }

    /// Explores one after the other; each that was begun is a case.
    fn each(&self, cases: &mut Vec<(Case, Vec<String>)>) -> Result<Exit, String> {
        for (option, file) in [("--resume", &self.resume), ("--table", &self.table)] {
            file.as_ref().map_or(Ok(()), |file| check_file(option, file))?;
        }
        let files = files(&self.scenarios)?;
        let mut progress = self.resume.as_deref().map_or(Ok(Progress::default()), Progress::read)?;
        let effort = self.effort()?;
        let mut rows = Vec::new();
        let mut exit = Exit::Clean;
        for path in &files {
            let read = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
            let file = ScenarioFile::parse(&read).map_err(|error| format!("{}: {error}", path.display()))?;
            if let Some(counts) = progress.counts(&read) {
                say!("{}: complete before", shown(path));
                cases.push((case(path, &End::Complete), vec!["complete before".to_owned()]));
                rows.push(row_of(path, &file, counts));
                continue;
            }
            let began = Instant::now();
            let resumed = progress.take(&read);
            let explored = explore(
                Ours::<true>,
                file.scenario.clone(),
                &file.bounds,
                &Effort { resumed, ..effort.clone() },
            );
            let explored = explored.map_err(|failure| format!("{}: {failure}", path.display()))?;
            let line = line(path, &explored, began.elapsed());
            say!("{line}");
            cases.push((case(path, &explored.end), vec![line]));
            rows.push(row_of(path, &file, &explored.counts));
            match explored.end {
                End::Complete => progress.done(&read, explored.counts),
                End::Broken => return self.broken(path, &read, &file, &explored),
                End::Runs | End::Stopped => {
                    exit = Exit::Early;
                    progress.left(&read, explored.saved);
                    if explored.end == End::Stopped {
                        break;
                    }
                }
            }
        }
        if let Some(resume) = &self.resume {
            progress.write(resume)?;
        }
        if let (Some(page), Exit::Clean) = (&self.table, exit) {
            table::write(page, &rows)?;
        }
        Ok(exit)
    }

    fn effort(&self) -> Result<Effort, String> {
        let stop: Arc<AtomicBool> = Arc::default();
        for signal in [SIGINT, SIGTERM] {
            signal_hook::flag::register_conditional_shutdown(signal, 130, Arc::clone(&stop))
                .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&stop)))
                .map_err(|error| format!("no signals: {error}"))?;
        }
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let jobs = self.jobs.map_or(cores, |jobs| jobs as usize);
        let until = self.seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds));
        Ok(Effort { jobs, until, stop, ..Effort::default() })
    }

    /// A law broke: shows it, and keeps its trace.
    fn broken(
        &self,
        path: &Path,
        text: &str,
        file: &ScenarioFile,
        explored: &Explored,
    ) -> Result<Exit, String> {
        let Some((_, trace)) = &explored.broken else { return Ok(Exit::Broken) };
        let trace = Trace { scenario: Some(text.to_owned()), ..trace.clone() };
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let kept = self.out.join(format!("explored-{name}.json"));
        trace.write(&kept).map_err(|error| format!("{}: {error}", kept.display()))?;
        let replayed = guarded(&kept, &trace, || {
            with_explored(Ours::<true>, file.scenario.clone(), &file.bounds, |subject| {
                trace.replay(subject, Detail::Full).outcome
            })
        });
        match replayed {
            Ok(Ok(outcome)) => put!("{}", text::failure(&outcome)),
            Ok(Err(failure)) => return Err(failure.to_string()),
            Err(exit) => return Ok(exit),
        }
        say!("repro   cargo midstream explore {}", shown(path));
        say!("trace   cargo midstream replay {}", shown(&kept));
        say!("show    cargo midstream show {}", shown(&kept));
        Ok(Exit::Broken)
    }
}

fn case(path: &Path, end: &End) -> Case {
    let end = match end {
        End::Complete => junit::End::Passed,
        End::Runs | End::Stopped => junit::End::Skipped("ended early".to_owned()),
        End::Broken => junit::End::Failed("a law broke".to_owned(), format!("explore {}", path.display())),
    };
    Case { class: "scenario", name: path.display().to_string(), end }
}

/// The files themselves, and those in folders, by name.
fn files(given: &[PathBuf]) -> Result<Vec<PathBuf>, String> {
    let mut files = Vec::new();
    for path in given {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        let entries = fs::read_dir(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let paths: Result<Vec<PathBuf>, _> = entries.map(|entry| entry.map(|entry| entry.path())).collect();
        let mut paths = paths.map_err(|error| format!("{}: {error}", path.display()))?;
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
        if paths.is_empty() {
            return Err(format!("{}: no scenario here", path.display()));
        }
        paths.sort();
        files.extend(paths);
    }
    Ok(files)
}

/// What became of one exploration.
fn line(path: &Path, explored: &Explored, took: Duration) -> String {
    let Counts { schedules, pruned, states, crash_points, crashes, sampled_points, inconclusive } =
        explored.counts;
    let end = match explored.end {
        End::Complete => "complete",
        End::Runs => "ended early, at its bound of runs",
        End::Stopped => "ended early",
        End::Broken => "FAIL",
    };
    let unjudged = match inconclusive {
        0 => String::new(),
        runs => format!(", {runs} inconclusive"),
    };
    let sampled = match sampled_points {
        0 => String::new(),
        points => format!(" ({points} with a sample of their subsets)"),
    };
    format!(
        "{}: {end}: {schedules} schedules, {pruned} pruned, {states} states, {crash_points} crash points{sampled}, \
         {crashes} contents judged{unjudged}, {:.1} s",
        shown(path),
        took.as_secs_f64()
    )
}
