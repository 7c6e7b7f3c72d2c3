//! `midstream judge`: the verdict on a run that anybody recorded.

use super::mistaken::not_a_history;
use super::{Exit, refuse};
use crate::judge::{Judged, Verdict, judge, judge_with};
use crate::live::known::smallest_by;
use crate::report::text::grouped;
use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use midstream::history::file::header::Spec;
use midstream::panics::quietly;
use midstream::terminal::shown;
use model::{Quirk, Release};
use std::fs::File;
use std::io::{BufRead, BufReader, stdin};
use std::path::PathBuf;

/// Judge a run that anybody recorded, in the form that docs/history.md specifies.
///
/// Ends with 0 if nothing broke, with 1 if a law did (reported with the line and the values), with 2 if the file makes no
/// sense (reported with the line, the field and the reason), with 4 if nothing was checked, or not everything could be: the
/// run is larger than what is followed, or may have come about in too many ways.
#[derive(Args, Debug)]
pub(super) struct Judge {
    /// The history, or `-` for the standard input.
    history: PathBuf,
    /// By this specification rather than the one that the file names.
    #[arg(long, value_parser = spec())]
    spec: Option<Spec>,
    /// If a law breaks, say also by which known defects of QEMU that can have come about: the smallest set of them that
    /// explains the whole file.
    #[arg(long)]
    quirks: bool,
}

/// One of the specifications, by its name.
fn spec() -> impl TypedValueParser<Value = Spec> {
    PossibleValuesParser::new(Spec::ALL.map(Spec::name))
        .map(|name| Spec::named(&name).expect("only these names are possible"))
}

impl Judge {
    pub(super) fn run(&self) -> Exit {
        if self.quirks && self.history.as_os_str() == "-" {
            return refuse("--quirks reads the history more than once, so it cannot be the standard input");
        }
        let input: Box<dyn BufRead> = match self.history.as_os_str() == "-" {
            true => Box::new(stdin().lock()),
            false => match File::open(&self.history) {
                Ok(file) => Box::new(BufReader::new(file)),
                Err(error) => return refuse(&format!("{}: {error}", self.history.display())),
            },
        };
        match quietly(|| judge(input, self.spec)) {
            Ok(judged) => self.report(&judged),
            Err(panic) => {
                complain!("FAIL  the harness panicked\n{}: {panic}", shown(&self.history));
                Exit::Panicked
            }
        }
    }

    /// Which quirks explain it all.
    fn explain(&self, spec: Option<Spec>) {
        let all = Quirk::of(spec.and_then(Spec::release).unwrap_or(Release::NEWEST));
        let explains = |quirks: &[Quirk]| {
            let file = File::open(&self.history).ok();
            file.is_some_and(|file| {
                let judged = judge_with(BufReader::new(file), self.spec, quirks);
                matches!(judged.verdict, Verdict::Clean | Verdict::Inconclusive { .. })
            })
        };
        match smallest_by(&all, &explains) {
            None => {
                let with_all = File::open(&self.history)
                    .map(|file| judge_with(BufReader::new(file), self.spec, &all).verdict);
                if let Ok(Verdict::Broken { line, law, detail }) = with_all {
                    say!("UNKNOWN  with all quirks law `{law}` breaks at line {line}");
                    detail.lines().for_each(|line| say!("      {line}"));
                }
            }
            Some(quirks) => {
                let names: Vec<&str> = quirks.iter().map(|quirk| quirk.name()).collect();
                say!("KNOWN  {}", names.join(" + "));
                quirks.iter().for_each(|quirk| say!("      {}", quirk.about().what));
            }
        }
    }

    fn report(&self, judged: &Judged) -> Exit {
        let spec = judged.spec.map_or("", Spec::name);
        let counts =
            format!("{} lines, {} checks, spec {spec}", grouped(judged.lines), grouped(judged.checks));
        match &judged.verdict {
            Verdict::Clean => {
                say!("PASS  {counts}");
                Exit::Clean
            }
            Verdict::Broken { line, law, detail } => {
                say!("FAIL  law `{law}`  at line {line}");
                detail.lines().for_each(|line| say!("      {line}"));
                if self.quirks {
                    self.explain(judged.spec);
                }
                Exit::Broken
            }
            Verdict::Bad(bad) => {
                let hint = not_a_history(&self.history);
                refuse(&format!("{}: {bad}{hint}", self.history.display()))
            }
            Verdict::Inconclusive { line, why } => {
                say!("INCONCLUSIVE  from line {line} on: {why}\n      {counts}");
                Exit::Vacuous
            }
            Verdict::Vacuous => {
                say!("VACUOUS  no law was checked: {counts}");
                Exit::Vacuous
            }
        }
    }
}
