//! `midstream mutants --of model`: is every permissive rule of the specification needed?
//!
//! Each rule is taken away in turn. It is caught if something that is right is refused then: a recording of the real
//! daemon, a trace, or a run of one of the first seeds.

use super::{Exit, refuse};
use crate::mutants::rules::{Kept, catching_seed};
use crate::mutants::tree;
use model::Rule;
use model::rule::RULES;
use std::env;
use std::thread;

/// Takes away these rules, or all.
pub(super) fn run(names: &[String], seeds: u64) -> Exit {
    all(names, seeds).unwrap_or_else(|problem| refuse(&problem))
}

fn all(names: &[String], seeds: u64) -> Result<Exit, String> {
    let rules = selected(names)?;
    let here = env::current_dir().map_err(|error| error.to_string())?;
    let root = tree::workspace(&here).ok_or("no workspace with tests/mutants around here")?;
    let mut kept = Kept::read(root)?;
    let (cases, traces) = kept.counts();
    say!("{cases} recordings, {traces} traces, {seeds} seeds");
    say!("{:<24} {:<7} by", "rule", "caught");
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let mut missed = 0;
    for rule in rules {
        let caught = kept.catch(rule).or_else(|| catching_seed(rule, seeds, threads));
        match caught {
            Some(by) => say!("{:<24} {:<7} {by}", format!("{rule:?}"), "yes"),
            None => {
                missed += 1;
                say!("{:<24} {:<7} nothing needs it: {}", format!("{rule:?}"), "NO", rule.sentence());
            }
        }
    }
    Ok(if missed == 0 { Exit::Clean } else { Exit::Broken })
}

fn selected(names: &[String]) -> Result<Vec<Rule>, String> {
    let is_named = |rule: &Rule, name: &String| format!("{rule:?}") == *name;
    let unknown = names.iter().find(|name| !RULES.iter().any(|rule| is_named(rule, name)));
    if let Some(unknown) = unknown {
        return Err(format!("no rule is called `{unknown}`"));
    }
    let wanted = |rule: &Rule| names.is_empty() || names.iter().any(|name| is_named(rule, name));
    Ok(RULES.into_iter().filter(wanted).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_called_by_their_names() {
        assert_eq!(selected(&["LateCancel".to_owned()]).expect("a rule"), [Rule::LateCancel]);
        assert_eq!(selected(&[]).expect("all").len(), RULES.len());
        assert!(selected(&["latecancel".to_owned()]).expect_err("none").contains("`latecancel`"));
    }
}
