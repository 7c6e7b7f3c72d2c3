//! `midstream conform`: recorded cases of the real daemon, played on our engine or on any daemon.

use super::limits::jobs;
use super::{Exit, refuse};
use crate::conform::admit::admit;
use crate::conform::campaign::{Totals, play_all};
use crate::conform::case::Case;
use crate::conform::corpus::{self, Recording};
use crate::conform::daemon::{self, Daemon};
use crate::conform::engine::Inside;
use crate::conform::subject::Subject;
use crate::conform::verdict::{Difference, Divergences, Verdict};
use clap::Args;
use regex_lite::Regex;
use serde::Deserialize;
use serde_json::{Value, json};
use std::fmt::Write;
use std::path::PathBuf;

/// Differing places that are shown of a case.
const PATHS_SHOWN: usize = 4;

/// Play recorded cases of the real daemon on the engine, or on a daemon; exit status 0 if all are equal.
#[derive(Args, Debug)]
pub(super) struct Conform {
    /// The folder of the corpus.
    folder: PathBuf,
    /// Play on this daemon, over real sockets and files, instead of the engine in this process.
    #[arg(long, value_name = "PATH")]
    daemon: Option<PathBuf>,
    /// Run the programs that cases name beside the daemon, too. They may do anything: only for cases that you trust.
    #[arg(long, requires = "daemon")]
    run_programs: bool,
    /// Only cases whose name this regular expression finds.
    #[arg(long = "match", value_name = "REGEX", default_value = "")]
    matching: String,
    /// How many differing cases are shown.
    #[arg(long, value_name = "N", default_value_t = 20)]
    list: usize,
    /// Show what differs, too.
    #[arg(long)]
    values: bool,
    /// How many cases are played at a time.
    #[arg(long, value_name = "N", value_parser = jobs(), default_value_t = 2)]
    jobs: u64,
    /// The totals and every difference as one JSON object.
    #[arg(long)]
    json: bool,
}

impl Conform {
    pub(super) fn run(&self) -> Exit {
        match self.played() {
            Ok((recordings, verdicts)) => self.report(&recordings, &verdicts),
            Err(why) => refuse(&why),
        }
    }

    fn played(&self) -> Result<(Vec<Recording>, Vec<Verdict>), String> {
        let pattern = Regex::new(&self.matching).map_err(|error| format!("--match: {error}"))?;
        let mut recordings = corpus::read(&self.folder).map_err(|error| error.to_string())?;
        let divergences = Divergences::read(&self.folder)?;
        recordings.retain(|recording| pattern.is_match(recording.name()));
        if recordings.is_empty() {
            return Err(format!("no case is called like `{}`", self.matching));
        }
        for recording in &recordings {
            // What is no case at all is reported when its turn comes.
            let Ok(case) = Case::deserialize(&recording.case) else { continue };
            // The engine in this process runs no programs: such a case says so itself.
            admit(&case, self.run_programs || self.daemon.is_none())
                .map_err(|refused| refused.to_string())?;
        }
        if let Some(why) = self.daemon.as_deref().and_then(daemon::missing) {
            return Err(why);
        }
        let subject = || -> Box<dyn Subject> {
            match &self.daemon {
                Some(binary) => {
                    let daemon = Daemon::new(binary, self.run_programs);
                    Box::new(daemon.expect("a folder for temporary files takes a folder"))
                }
                None => Box::new(Inside::new()),
            }
        };
        let verdicts = play_all(&recordings, &divergences, self.jobs as usize, &subject);
        Ok((recordings, verdicts))
    }

    fn report(&self, recordings: &[Recording], verdicts: &[Verdict]) -> Exit {
        let totals = Totals::count(recordings, verdicts);
        if self.json {
            say!("{}", json_report(recordings, verdicts, &totals));
        } else {
            put!("{}", self.text(recordings, verdicts, &totals));
        }
        if totals.is_clean() { Exit::Clean } else { Exit::Broken }
    }

    fn text(&self, recordings: &[Recording], verdicts: &[Verdict], totals: &Totals) -> String {
        let mut text = String::new();
        let shown = recordings.iter().zip(verdicts).filter_map(|(recording, verdict)| match verdict {
            Verdict::Differs(places) => Some(("differs", recording, places.as_slice(), "")),
            Verdict::NotRight(places) => Some(("wrong", recording, places.as_slice(), "")),
            Verdict::Panicked(why) => Some(("panics", recording, [].as_slice(), why.as_str())),
            Verdict::NotHere(why) => Some(("skipped", recording, [].as_slice(), why.as_str())),
            Verdict::Equal | Verdict::RightInstead | Verdict::Unstable => None,
        });
        for (what, recording, places, why) in shown.take(self.list) {
            let paths: Vec<&str> = places.iter().take(PATHS_SHOWN).map(|place| place.path.as_str()).collect();
            line(&mut text, format!("{what:<8} {:<50} {}{why}", recording.name(), paths.join(" ")));
            if self.values {
                places.iter().for_each(|place| show(&mut text, place));
            }
        }
        for (category, (equal, all)) in &totals.categories {
            line(&mut text, format!("{category:<10} {equal} of {all}"));
        }
        let (known, right) = totals.divergences;
        if known > 0 {
            line(
                &mut text,
                format!("where the recorded daemon is wrong: {right} of {known} are right instead"),
            );
        }
        if totals.unstable > 0 {
            line(
                &mut text,
                format!("where the recorded daemon does not agree with itself: {}", totals.unstable),
            );
        }
        if totals.not_here > 0 {
            line(&mut text, format!("not possible here: {}", totals.not_here));
        }
        line(&mut text, format!("{} of {} cases equal", totals.equal(), totals.compared()));
        text
    }
}

fn line(text: &mut String, line: String) {
    writeln!(text, "{}", line.trim_end()).expect("a string takes any text");
}

fn show(text: &mut String, place: &Difference) {
    let shown = |value: &Option<Value>| value.as_ref().map_or("nothing".to_owned(), Value::to_string);
    line(text, format!("    {}", place.path));
    line(text, format!("        recorded {}", shown(&place.want)));
    line(text, format!("        played   {}", shown(&place.got)));
}

fn json_report(recordings: &[Recording], verdicts: &[Verdict], totals: &Totals) -> Value {
    let cases = recordings.iter().zip(verdicts).map(|(recording, verdict)| {
        let (verdict, places, why) = match verdict {
            Verdict::Equal => ("equal", &[][..], None),
            Verdict::Differs(places) => ("differs", &places[..], None),
            Verdict::RightInstead => ("right instead", &[][..], None),
            Verdict::NotRight(places) => ("not right", &places[..], None),
            Verdict::Unstable => ("unstable", &[][..], None),
            Verdict::NotHere(why) => ("not here", &[][..], Some(why)),
            Verdict::Panicked(why) => ("panicked", &[][..], Some(why)),
        };
        let mut entry = json!({"name": recording.name(), "verdict": verdict});
        let place =
            |place: &Difference| json!({"path": place.path, "recorded": place.want, "played": place.got});
        if !places.is_empty() {
            entry["differences"] = places.iter().map(place).collect();
        }
        if let Some(why) = why {
            entry["why"] = json!(why);
        }
        entry
    });
    let categories = totals.categories.iter();
    let categories =
        categories.map(|(name, (equal, all))| (name.clone(), json!({"equal": equal, "cases": all})));
    json!({
        "equal": totals.equal(),
        "compared": totals.compared(),
        "divergences": {"known": totals.divergences.0, "right": totals.divergences.1},
        "unstable": totals.unstable,
        "not_here": totals.not_here,
        "categories": categories.collect::<serde_json::Map<_, _>>(),
        "cases": cases.collect::<Vec<_>>(),
    })
}
