//! `midstream rounds`: kill -9, SIGTERM and a full disk, many times each.

use super::limits::{at_least_1, jobs};
use super::seeds::Seed;
use super::{Exit, refuse};
use crate::live::plan::Ordeal;
use crate::live::rounds::{Broken, ORDEALS, Rounds, Totals};
use crate::live::target::Target;
use crate::report::progress::Progress;
use clap::Args;
use seam::escape::one_line;
use serde_json::json;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

/// Stop a real daemon in the middle of guests' writes, flushes and jobs: by SIGKILL, by SIGTERM, and after its disk got full.
///
/// After each round the images are reopened: nothing that was flushed is lost and nothing is corrupt; clusters that leaked
/// are given back by our own repair. SIGTERM must end the daemon within 5 seconds, with status 0 and no leak. The full disk is
/// a blkdebug node below one image, which refuses with ENOSPC whatever needs new space from some moment on.
///
/// Exit codes: 0 clean, 1 a law broke, 2 usage, 4 no round had what it is about, 5 ended early.
#[derive(Args, Debug)]
pub(super) struct RoundsArgs {
    /// Rounds of each kind.
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = at_least_1())]
    rounds: u64,
    /// The seed of the first round: a number, or `random`, a fresh one. It is printed.
    #[arg(long, value_name = "S", default_value = "random", value_parser = Seed::number)]
    seed: u64,
    /// The daemon: `midstreamd` or `qemu`, with or without its path.
    #[arg(long, value_name = "KIND[:PATH]", default_value = "midstreamd")]
    target: Target,
    /// Daemons side by side.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = jobs())]
    jobs: u64,
    /// End with one line of JSON on stdout.
    #[arg(long)]
    json: bool,
}

impl RoundsArgs {
    pub(super) fn run(&self) -> Exit {
        self.play().unwrap_or_else(|problem| refuse(&problem))
    }

    fn play(&self) -> Result<Exit, String> {
        self.target.check().map_err(|problem| format!("--target: {problem}"))?;
        let stop = Arc::new(AtomicBool::new(false));
        let registered = signal_hook::flag::register(signal_hook::consts::SIGINT, Arc::clone(&stop));
        registered.map_err(|error| error.to_string())?;
        let mut rows = Vec::new();
        let mut is_broken = false;
        for (ordeal, name) in ORDEALS {
            let (target, jobs) = (self.target.clone(), self.jobs as usize);
            let rounds = Rounds { target, ordeal, seed: self.seed, rounds: self.rounds, jobs };
            complain!("{name}: {} rounds from seed {}", self.rounds, self.seed);
            let progress = Mutex::new(Progress::new(Some(self.rounds), None));
            let report = |rounds, broken| {
                progress.lock().expect("it does not panic").report(rounds, broken, String::new)
            };
            let (totals, broken) = rounds.run(&stop, &report);
            progress.into_inner().expect("it does not panic").end();
            is_broken |= !broken.is_empty();
            broken.iter().for_each(|broken| report_broken(name, broken));
            rows.push((ordeal, name, totals));
        }
        if self.json {
            let of = |(_, name, totals): &(Ordeal, &str, Totals)| ((*name).to_owned(), as_json(totals));
            say!("{}", serde_json::Value::Object(rows.iter().map(of).collect()));
        } else {
            put!("{}", table(&rows));
        }
        Ok(match () {
            () if is_broken => Exit::Broken,
            () if stop.load(Ordering::Relaxed) => Exit::Early,
            () if rows.iter().any(|(ordeal, _, totals)| is_vacuous(*ordeal, totals)) => {
                complain!(
                    "vacuous: no round had a write, a flush, a job under way, or the error it was to meet"
                );
                Exit::Vacuous
            }
            () => Exit::Clean,
        })
    }
}

/// Whether no round had what they are about. A few rounds need not.
fn is_vacuous(ordeal: Ordeal, totals: &Totals) -> bool {
    const FEW: u64 = 50;
    let has_all = totals.writes > 0 && totals.flushes > 0 && totals.with_jobs > 0;
    totals.rounds >= FEW && (!has_all || ordeal == Ordeal::Full && totals.errors == 0)
}

fn report_broken(name: &str, broken: &Broken) {
    let Broken { seed, law, detail, .. } = broken;
    complain!("FAIL  {name}, seed {seed}: law `{}`\n{}", one_line(law), one_line(detail));
}

fn table(rows: &[(Ordeal, &str, Totals)]) -> String {
    let mut text = format!(
        "{:<8} {:>7} {:>12} {:>9} {:>7} {:>8} {:>7} {:>6} {:>7}\n",
        "round", "rounds", "inconclusive", "with jobs", "writes", "flushes", "errors", "leaks", "broken"
    );
    for (_, name, totals) in rows {
        text += &format!(
            "{:<8} {:>7} {:>12} {:>9} {:>7} {:>8} {:>7} {:>6} {:>7}\n",
            name,
            totals.rounds,
            totals.inconclusive,
            totals.with_jobs,
            totals.writes,
            totals.flushes,
            totals.errors,
            totals.leaks,
            totals.broken
        );
    }
    text
}

fn as_json(totals: &Totals) -> serde_json::Value {
    json!({
        "rounds": totals.rounds, "inconclusive": totals.inconclusive, "with_jobs": totals.with_jobs, "writes": totals.writes,
        "flushes": totals.flushes, "errors": totals.errors, "leaks": totals.leaks, "broken": totals.broken,
    })
}
