//! `midstream mutants --of model`: is every permissive rule of the specification needed?
//!
//! Each rule is taken away in turn. It is caught if something that is right is refused then: a trace, a recording of the real
//! daemon, a history that was kept, or a run of one of the first seeds.

use super::laws::meant;
use super::limits::check_folder;
use super::reported::write_outcomes;
use super::{Exit, refuse};
use crate::mutants::kept::{Kept, fresh};
use crate::mutants::rules::{Catch, Table};
use crate::mutants::tree;
use crate::report::junit::{Case, End};
use crate::report::text::grouped;
use midstream::terminal::shown;
use model::Rule;
use model::rule::RULES;
use std::env;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Instant;

/// Takes away these rules, or all.
pub(super) fn run(names: &[String], seeds: u64, histories: &[PathBuf], report: Option<&Path>) -> Exit {
    all(names, seeds, histories, report).unwrap_or_else(|problem| refuse(&problem))
}

fn all(names: &[String], seeds: u64, histories: &[PathBuf], report: Option<&Path>) -> Result<Exit, String> {
    report.iter().try_for_each(|folder| check_folder("--report", folder))?;
    let began = Instant::now();
    let rules = selected(names)?;
    let here = env::current_dir().map_err(|error| error.to_string())?;
    let root = tree::workspace(&here).ok_or("no workspace with tests/mutants around here")?;
    let kept = Kept::read(root, histories)?;
    let mut table = Table::new(&rules, thread::available_parallelism().map_or(1, usize::from));
    table.look_at(kept.count(), |index| kept.run(index));
    let (traces, recordings, histories) = kept.counts();
    complain!(
        "{traces} traces, {recordings} recordings, {histories} histories: {} rules left",
        table.left().len()
    );
    let seeds = table.look_at(usize::try_from(seeds).unwrap_or(usize::MAX), |index| fresh(index as u64 + 1));
    complain!("{} seeds: {} rules left", grouped(seeds as u64), table.left().len());
    say!("{:<24} {:<7} by", "rule", "caught");
    for (rule, catch) in table.rows() {
        let (caught, by) = match catch {
            Some(catch) => ("yes", catch.to_string()),
            None => ("NO", format!("nothing needs it: {}", rule.sentence())),
        };
        say!("{:<24} {caught:<7} {by}", rule.name());
    }
    if let Some(folder) = report {
        let rows: Vec<(Case, Vec<String>)> =
            table.rows().iter().map(|(rule, catch)| row(*rule, catch.as_ref())).collect();
        let heads = ["what it allows", "needed by"];
        let index =
            write_outcomes(folder, "the specification without a rule", &heads, &rows, began.elapsed())?;
        say!("report  {}", shown(&index));
    }
    Ok(if table.left().is_empty() { Exit::Clean } else { Exit::Broken })
}

/// A rule that is taken away, as a report has it.
fn row(rule: Rule, catch: Option<&Catch>) -> (Case, Vec<String>) {
    let end = match catch {
        Some(_) => End::Passed,
        None => End::Failed("not caught".to_owned(), "nothing that was tried needs it".to_owned()),
    };
    let by = catch.map(ToString::to_string).unwrap_or_default();
    let case = Case { class: "rule", name: rule.name().to_owned(), end };
    (case, vec![rule.sentence().to_owned(), by])
}

fn selected(names: &[String]) -> Result<Vec<Rule>, String> {
    let is_named = |rule: &Rule, name: &String| rule.name() == name;
    let unknown = names.iter().find(|name| !RULES.iter().any(|rule| is_named(rule, name)));
    if let Some(unknown) = unknown {
        let known = RULES.map(Rule::name);
        return Err(format!("no rule is called `{unknown}`{}", meant(unknown, &known)));
    }
    let wanted = |rule: &Rule| names.is_empty() || names.iter().any(|name| is_named(rule, name));
    Ok(RULES.into_iter().filter(wanted).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_that_nothing_needs_fails_its_row() {
        let (case, cells) = row(Rule::TornRead, None);
        assert!(matches!(case.end, End::Failed(..)), "{:?}", case.end);
        assert_eq!((case.name.as_str(), cells.len(), cells[1].as_str()), ("TornRead", 2, ""));
    }

    #[test]
    fn rules_are_called_by_their_names() {
        assert_eq!(selected(&["TornRead".to_owned()]).expect("a rule"), [Rule::TornRead]);
        assert_eq!(selected(&[]).expect("all").len(), RULES.len());
        assert!(selected(&["latecancel".to_owned()]).expect_err("none").contains("`latecancel`"));
    }
}
