//! `midstream attack`: hostile input of every kind against a real daemon, for minutes.

use super::limits::{at_least_1, check_folder, seconds};
use super::seeds::Seed;
use super::{Exit, refuse};
use crate::attack::campaign::{Attack, Attacked, News};
use crate::attack::finding::Finding;
use crate::attack::round::Played;
use crate::attack::{KINDS, Kind};
use crate::live::target::Target;
use crate::report::progress::Progress;
use crate::report::text::{program, quoted};
use clap::{Args, value_parser};
use midstream::campaign::Subject;
use seam::escape::one_line;
use serde_json::json;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// More memory than this, in MiB, is a slip of the hand: a TiB.
const BUDGET_MAX: u64 = 1 << 20;

/// Attack a real daemon with hostile input of every kind: bytes and commands on its monitor, NBD clients, images; and this
/// command's own readers with traces and histories.
///
/// Every round has a fresh daemon, confined to a scratch folder and held to little memory, while a second monitor asks it
/// questions all the time. A finding is: it ends by itself or does not end when asked to, an answer on the other monitor after
/// more than 5 seconds, more memory than the budget and 64 MiB, a reader that panics or dies. Each is made small and kept as a file
/// that `--replay` and `cargo test` play again.
///
/// Exit codes: 0 nothing was found, 1 something was, 2 usage, 4 of some kind there was no input, 5 ended early.
#[derive(Args, Debug)]
pub(super) struct AttackArgs {
    /// How long; no new round after that.
    #[arg(long, value_name = "T", default_value_t = 60, value_parser = seconds())]
    seconds: u64,
    /// At most so many rounds.
    #[arg(long, value_name = "N", value_parser = at_least_1())]
    rounds: Option<u64>,
    /// The seed of the first round: a number, or `random`, a fresh one. It is printed.
    #[arg(long, value_name = "S", default_value = "random", value_parser = Seed::number)]
    seed: u64,
    /// The daemon, with or without its path.
    #[arg(long, value_name = "midstreamd[:PATH]", default_value = "midstreamd")]
    target: Target,
    /// Only this kind of input; may be given several times.
    #[arg(long, value_name = "KIND")]
    kind: Vec<Kind>,
    /// What images may make the daemon hold, in MiB.
    #[arg(long, value_name = "MIB", default_value_t = 128, value_parser = value_parser!(u64).range(1..=BUDGET_MAX))]
    budget: u64,
    /// Where findings go.
    #[arg(long, value_name = "DIR", default_value = "tests/hostile/new")]
    out: PathBuf,
    /// Play one finding again instead.
    #[arg(long, value_name = "FILE")]
    replay: Option<PathBuf>,
    /// End with one line of JSON on stdout.
    #[arg(long)]
    json: bool,
}

impl AttackArgs {
    pub(super) fn run(&self, subject: &Subject) -> Exit {
        self.attack(subject).unwrap_or_else(|problem| refuse(&problem))
    }

    fn attack(&self, subject: &Subject) -> Result<Exit, String> {
        check_folder("--out", &self.out)?;
        let replayed = self
            .replay
            .as_ref()
            .map(|path| Finding::read(path).map_err(|why| format!("{}: {why}", path.display())));
        let replayed = replayed.transpose()?;
        self.target.check().map_err(|problem| format!("--target: {problem}"))?;
        let attack = Attack {
            target: self.target.clone(),
            command: std::env::current_exe().map_err(|error| format!("this command's own file: {error}"))?,
            seed: self.seed,
            rounds: self.rounds.unwrap_or(u64::MAX),
            time: Some(Duration::from_secs(self.seconds)),
            budget: self.budget << 20,
            kinds: self.kind.clone(),
        };
        if let Some(finding) = replayed {
            let played = attack.replay(&finding, subject)?;
            self.report_replay(&finding, &played);
            return Ok(if played.wrong.is_some() { Exit::Broken } else { Exit::Clean });
        }
        let stop = Arc::new(AtomicBool::new(false));
        let registered = signal_hook::flag::register(signal_hook::consts::SIGINT, Arc::clone(&stop));
        registered.map_err(|error| error.to_string())?;
        complain!("attack from seed {}, {} s", self.seed, self.seconds);
        let mut progress = Progress::new(self.rounds, attack.time);
        let attacked = attack.run(&stop, &mut |news| match news {
            News::Round(rounds, findings) => progress.report(rounds, findings, String::new),
            News::Found(finding) => progress.print(|| self.report_finding(finding)),
        })?;
        progress.end();
        Ok(self.report(&attacked))
    }

    fn report_finding(&self, finding: &Finding) {
        let kept = match finding.write(&self.out) {
            Ok(path) => format!("{} attack --replay {}", program(), quoted(&path.display().to_string())),
            Err(why) => format!("it could not be kept in {}: {why}", self.out.display()),
        };
        complain!(
            "FAIL  {}: {}: {}\nrepro   {}",
            finding.kind,
            finding.verdict,
            one_line(&finding.detail),
            one_line(&kept)
        );
    }

    fn report_replay(&self, finding: &Finding, played: &Played) {
        match &played.wrong {
            _ if self.json => {
                say!("{}", serde_json::to_string(played).expect("text and numbers are always JSON"))
            }
            Some((verdict, detail)) => say!("FAIL  {}: {verdict}: {}", finding.kind, one_line(detail)),
            None => say!("nothing wrong"),
        }
    }

    fn report(&self, attacked: &Attacked) -> Exit {
        let kinds = if self.kind.is_empty() { &KINDS[..] } else { &self.kind };
        if self.json {
            say!("{}", totals(attacked));
        } else {
            put!("{}", table(attacked));
        }
        if attacked.late_once > 0 {
            complain!("{} rounds were late once, and not again: is the machine busy?", attacked.late_once);
        }
        let missing = attacked.missing(kinds);
        if !attacked.findings.is_empty() {
            return Exit::Broken;
        }
        if attacked.is_early {
            return Exit::Early;
        }
        if !missing.is_empty() {
            let names: Vec<&str> = missing.iter().map(|kind| kind.name()).collect();
            complain!("vacuous: no input at all of {}", names.join(", "));
            return Exit::Vacuous;
        }
        Exit::Clean
    }
}

fn table(attacked: &Attacked) -> String {
    let mut text = format!(
        "{:<14} {:>7} {:>9} {:>9} {:>9} {:>9} {:>8}\n",
        "kind", "rounds", "inputs", "answers", "longest", "peak MiB", "findings"
    );
    for (kind, totals) in &attacked.totals {
        text += &format!(
            "{:<14} {:>7} {:>9} {:>9} {:>7.2} s {:>9} {:>8}\n",
            kind.name(),
            totals.rounds,
            totals.inputs,
            totals.answers,
            totals.longest.as_secs_f64(),
            totals.peak_bytes >> 20,
            totals.findings
        );
    }
    text
}

fn totals(attacked: &Attacked) -> serde_json::Value {
    let of = |totals: &crate::attack::campaign::Totals| {
        json!({
            "rounds": totals.rounds, "inputs": totals.inputs, "answers": totals.answers,
            "longest_seconds": totals.longest.as_secs_f64(), "peak_bytes": totals.peak_bytes,
            "findings": totals.findings,
        })
    };
    let kinds: serde_json::Map<String, serde_json::Value> =
        attacked.totals.iter().map(|(kind, totals)| (kind.name().to_owned(), of(totals))).collect();
    let found: Vec<_> = attacked
        .findings
        .iter()
        .map(|finding| json!({"kind": finding.kind.name(), "verdict": finding.verdict, "detail": finding.detail}))
        .collect();
    json!({"kinds": kinds, "findings": found, "late_once": attacked.late_once, "ended_early": attacked.is_early})
}
