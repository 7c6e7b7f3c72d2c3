//! `midstream laws`: what can break, by name; and what a name that nobody has may have meant.

mod page;

use super::{Exit, refuse};
use crate::live::judge::OF_DAEMONS;
use crate::mutants::{Mutant, tree};
use clap::Args;
use midstream::campaign::Subject;
use midstream::verdict::{INVARIANTS, LIVENESS};
use model::law::{LAWS, LawId};
use std::convert::Infallible;
use std::path::{Path, PathBuf};

/// Names that are less alike than this mean something else.
const ALIKE_MIN: f64 = 0.7;

/// List the laws, one a line: a short name and the law; `fuzz --law` takes either.
#[derive(Args, Debug)]
pub(super) struct Laws {
    /// The goals instead: what some run of a campaign must reach, or the campaign has proved little.
    #[arg(long)]
    goals: bool,
    /// Those that only a live daemon can break, too.
    #[arg(long, conflicts_with = "goals")]
    live: bool,
    /// Write the page about them instead: what they say, why, and which mutants break them.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["goals", "live"])]
    page: Option<PathBuf>,
}

impl Laws {
    pub(super) fn run(&self, subject: &Subject) -> Exit {
        if let Some(page) = &self.page {
            return match write(page) {
                Ok(()) => Exit::Clean,
                Err(problem) => refuse(&problem),
            };
        }
        if self.goals {
            subject.laws.iter().filter(|law| law.is_goal).for_each(|goal| say!("{}", goal.name));
        } else if self.live {
            live_names(subject).for_each(say_law);
        } else {
            names(subject).for_each(say_law);
        }
        Exit::Clean
    }
}

fn say_law(sentence: &str) {
    let identifier = LAWS.into_iter().find(|law| law.name() == sentence).and_then(LawId::identifier);
    say!("{:<20}  {sentence}", identifier.unwrap_or("-"));
}

fn write(page: &Path) -> Result<(), String> {
    let here = std::env::current_dir().map_err(|error| error.to_string())?;
    let root = tree::workspace(&here).ok_or("no workspace with tests/mutants around here")?;
    let mutants = Mutant::read_all(&root.join("tests/mutants"));
    let mutants = mutants.map_err(|(path, error)| format!("{}: {error}", path.display()))?;
    std::fs::write(page, page::page(&mutants)).map_err(|error| format!("{}: {error}", page.display()))
}

/// The sentence of a law that is named in short; any other text as it is.
pub(super) fn sentence(law: &str) -> Result<String, Infallible> {
    let named = LAWS.into_iter().find(|known| known.identifier() == Some(law));
    Ok(named.map_or_else(|| law.to_owned(), |named| named.name().to_owned()))
}

/// Everything that can break a run.
fn names(subject: &Subject) -> impl Iterator<Item = &'static str> {
    let of_model = subject.laws.iter().filter(|law| !law.is_goal).map(|law| law.name);
    of_model.chain([LIVENESS, INVARIANTS])
}

/// Everything that can break a sequence on a live daemon.
fn live_names(subject: &Subject) -> impl Iterator<Item = &'static str> {
    names(subject).chain(OF_DAEMONS)
}

/// Refuses what no run can break: a law by another name would be waited for in vain.
pub(super) fn check_law(subject: &Subject, law: &str) -> Result<(), String> {
    check(law, names(subject), "midstream laws")
}

/// The same for what is found on a live daemon.
pub(super) fn check_live_law(subject: &Subject, law: &str) -> Result<(), String> {
    check(law, live_names(subject), "midstream laws --live")
}

fn check(law: &str, names: impl Iterator<Item = &'static str>, list: &str) -> Result<(), String> {
    let names: Vec<&str> = names.collect();
    if names.contains(&law) {
        return Ok(());
    }
    let short = LAWS.into_iter().filter_map(LawId::identifier);
    let all: Vec<&str> = names.into_iter().chain(short).collect();
    Err(format!("no law is called `{law}`{}; `{list}` lists all", meant(law, &all)))
}

/// What a wrong name may have meant, as the end of a sentence.
pub(super) fn meant(wrong: &str, names: &[&str]) -> String {
    nearest(wrong, names).map(|name| format!(", but one is `{name}`")).unwrap_or_default()
}

/// The name that a wrong one is most like, or that holds it.
fn nearest<'a>(wrong: &str, names: &[&'a str]) -> Option<&'a str> {
    let wrong = wrong.to_lowercase();
    let alike = |name: &str| match !wrong.is_empty() && name.to_lowercase().contains(&wrong) {
        true => 1.0,
        false => strsim::jaro_winkler(&wrong, &name.to_lowercase()),
    };
    let (alike, name) = names.iter().map(|name| (alike(name), *name)).max_by(|a, b| a.0.total_cmp(&b.0))?;
    (alike >= ALIKE_MIN).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::subject::subject;

    #[test]
    fn a_name_that_is_nearly_right_leads_to_the_law() {
        for (wrong, law) in [
            ("every job end", "every job ends"),
            ("Every Job Ends", "every job ends"),
            ("survives a crash", "what was flushed survives a crash"),
            ("no image is corupt after crash", "no image is corrupt after a crash"),
            ("every job and request end", LIVENESS),
        ] {
            let why = check_law(&subject(), wrong).expect_err("it is not its name");
            assert!(why.contains(&format!("but one is `{law}`")), "{why}");
            assert_eq!(check_law(&subject(), law), Ok(()));
        }
        let why = check_live_law(&subject(), "daemon crash").expect_err("it is not its name");
        assert!(why.contains("but one is `daemon crashed`"), "{why}");
    }

    #[test]
    fn a_law_is_taken_by_its_short_name_too() {
        assert_eq!(sentence("crash.durable"), Ok("what was flushed survives a crash".to_owned()));
        assert_eq!(sentence("every job ends"), Ok("every job ends".to_owned()));
    }

    #[test]
    fn a_name_that_is_like_nothing_leads_to_the_list() {
        let why = check_law(&subject(), "xyzzy").expect_err("no law");
        assert_eq!(why, "no law is called `xyzzy`; `midstream laws` lists all");
    }
}
