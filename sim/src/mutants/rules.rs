//! Mutants of the specification: it lacks one of its permissive rules, and something that is right must be refused then.
//!
//! A run is recorded once, and judged again without a rule. First all rules that nothing has needed so far are taken away
//! at once: a run that is right even so needs none of them, and of most runs that is all that is to be asked. Runs are taken
//! in blocks, and rules leave between two blocks, so that the table is the same on any number of threads.

use midstream::history::{History, Recorder, What};
use midstream::panics::quietly;
use model::{Judge, Rule};
use std::fmt;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// So many runs are looked at before rules leave.
const BLOCK: usize = 32;

/// A run that may need rules.
#[derive(Debug)]
pub struct Run {
    /// Where it is kept: `trace`, `case`, `history` or `seed`.
    pub kind: &'static str,
    /// Which of these it is.
    pub name: String,
    /// What was seen of it.
    pub history: History,
}

/// What needs a rule: without it, it breaks a law.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Catch {
    kind: &'static str,
    name: String,
    law: String,
}

impl fmt::Display for Catch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<8} {}: {}", self.kind, self.name, self.law)
    }
}

/// Rules, each with the first run that needs it.
#[derive(Debug)]
pub struct Table {
    rows: Vec<(Rule, Option<Catch>)>,
    threads: usize,
}

impl Table {
    /// These rules, and nothing that needs one yet.
    pub fn new(rules: &[Rule], threads: usize) -> Table {
        Table { rows: rules.iter().map(|rule| (*rule, None)).collect(), threads: threads.max(1) }
    }

    /// Every rule, with what needs it.
    pub fn rows(&self) -> &[(Rule, Option<Catch>)] {
        &self.rows
    }

    /// The rules that nothing has needed so far.
    pub fn left(&self) -> Vec<Rule> {
        self.rows.iter().filter(|(_, catch)| catch.is_none()).map(|(rule, _)| *rule).collect()
    }

    /// Looks at so many runs, as long as rules are left. Gives back how many it looked at.
    pub fn look_at(&mut self, runs: usize, run: impl Fn(usize) -> Option<Run> + Sync) -> usize {
        let mut looked_at = 0;
        while looked_at < runs && self.rows.iter().any(|(_, catch)| catch.is_none()) {
            let block = looked_at..runs.min(looked_at + BLOCK);
            let left = self.left();
            let needed = in_parallel(block.clone(), self.threads, |index| {
                run(index).map_or_else(Vec::new, |run| needs(&run, &left))
            });
            for (rule, catch) in needed.into_iter().flatten() {
                let row = self.rows.iter_mut().find(|(other, _)| *other == rule);
                row.expect("only rules of the table are asked for").1.get_or_insert(catch);
            }
            looked_at = block.end;
        }
        looked_at
    }
}

/// Which of these rules a run needs. One that is wrong with all of them needs none.
fn needs(run: &Run, rules: &[Rule]) -> Vec<(Rule, Catch)> {
    if law_broken(&run.history, rules).is_none() || law_broken(&run.history, &[]).is_some() {
        return Vec::new();
    }
    let catch = |rule: &Rule| {
        let law = law_broken(&run.history, &[*rule])?;
        Some((*rule, Catch { kind: run.kind, name: run.name.clone(), law }))
    };
    rules.iter().filter_map(catch).collect()
}

/// The law that a run breaks by the specification without these rules.
fn law_broken(history: &History, without: &[Rule]) -> Option<String> {
    let broken = quietly(|| {
        let mut judge = without.iter().fold(Judge::new(&history.images), |judge, rule| judge.without(*rule));
        if history.recorder == Recorder::Live {
            judge = judge.on_real_files();
        }
        history.entries.iter().find_map(|entry| match &entry.what {
            What::Observed(observed) => observed.show(|seen| judge.observe(seen)).err(),
            _ => None,
        })
    });
    match broken {
        Ok(broken) => broken.map(|broken| broken.law.name().to_owned()),
        // A specification with a hole may trip over itself.
        Err(panic) => Some(format!("the judge stops: {panic}")),
    }
}

/// Does some work for each of these numbers, on so many threads. The results stand in the order of the numbers.
fn in_parallel<T: Send>(numbers: Range<usize>, threads: usize, work: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let (next, done) = (AtomicUsize::new(numbers.start), Mutex::new(Vec::new()));
    let worker = || {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= numbers.end {
                return;
            }
            let result = work(number);
            done.lock().expect("nobody panics while holding it").push((number, result));
        }
    };
    thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(worker))));
    let mut done = done.into_inner().expect("every worker has ended");
    done.sort_unstable_by_key(|(number, _)| *number);
    done.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mutants::kept::fresh;
    use model::rule::RULES;

    #[test]
    fn the_table_is_the_same_on_any_number_of_threads() {
        let table = |threads| {
            let rules = [Rule::CommandTakesEffect, Rule::JobEditsGraph, Rule::TornRead];
            let mut table = Table::new(&rules, threads);
            assert_eq!(table.look_at(300, |seed| fresh(seed as u64 + 1)), 300);
            table
        };
        let (one, three) = (table(1), table(3));
        assert_eq!(one.rows(), three.rows());
        assert!(!one.left().contains(&Rule::CommandTakesEffect) && one.left().contains(&Rule::TornRead));
    }

    #[test]
    fn a_run_that_is_wrong_needs_no_rule() {
        let mut run = fresh(1).expect("it is right");
        let text = "{\"return\": {}}".to_owned();
        let unasked = midstream::history::observed::Observed::Reply { client: 1, text };
        run.history
            .entries
            .insert(0, midstream::history::Entry { step: 0, at: 0, what: What::Observed(unasked) });
        assert_eq!(law_broken(&run.history, &[]).as_deref(), Some("a reply is one QEMU would give"));
        assert_eq!(needs(&run, &RULES), []);
    }
}
