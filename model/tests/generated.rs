//! Histories that nobody recorded: random walks through a small world of streams, verbs, queries, guests and crashes.
//!
//! Each is right by the way it was made, so the judge must accept it, and must accept it as well when observations of
//! different parties change places. Spoilt in one place, it must be refused; not every spoilt history is wrong, so each
//! kind of spoiling has its own bound.

mod generator;
mod support;

use generator::spoil::{Kind, spoil};
use generator::world::history;
use generator::{Tape, widened};
use proptest::collection::vec;
use proptest::prelude::any;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use std::collections::BTreeMap;
use support::Run;

/// Histories, the same in every run of this test.
const HISTORIES: usize = 600;

/// How often each is shown in another order.
const ORDERS: usize = 4;

/// Of a hundred spoilt histories at least so many are refused.
const REFUSED_OF_HUNDRED: [(Kind, usize); 7] = [
    (Kind::EventLost, 91),
    (Kind::EventTwice, 99),
    (Kind::EventBeforeCause, 99),
    (Kind::ReadOfAnother, 100),
    (Kind::RefusalTurned, 93),
    (Kind::SuccessTurned, 100),
    (Kind::DurableLost, 100),
];

/// Tapes of random numbers.
fn tapes() -> Vec<Tape> {
    let mut runner = TestRunner::deterministic();
    let numbers = vec(any::<u16>(), 700);
    let tape = |_| Tape::new(numbers.new_tree(&mut runner).expect("no filter").current());
    (0..HISTORIES).map(tape).collect()
}

fn judge(lines: &[String]) -> Result<Run, String> {
    let mut run = Run::open(generator::world::CHAINS);
    for (at, line) in lines.iter().enumerate() {
        run.play(line).map_err(|broken| format!("line {at}: {line}\n{broken}\n{}", lines.join("\n")))?;
    }
    Ok(run)
}

#[test]
fn every_generated_history_is_accepted_in_whatever_order_it_is_shown() {
    let mut reached = model::Tally::default();
    for mut tape in tapes() {
        let lines = history(&mut tape).lines;
        let run = judge(&lines).unwrap_or_else(|wrong| panic!("{wrong}"));
        assert!(!run.model.is_inconclusive());
        reached.merge(&run.model.tally());
        for _ in 0..ORDERS {
            let other = widened(&lines, &mut tape);
            judge(&other).map(drop).unwrap_or_else(|wrong| panic!("in another order: {wrong}"));
        }
    }
    for goal in [
        model::LawId::CancelledRunning,
        model::LawId::CancelledPaused,
        model::LawId::FinalizedByHand,
        model::LawId::DismissedByHand,
        model::LawId::StreamActiveCompletes,
        model::LawId::StreamIntermediateCompletes,
        model::LawId::CrashWhileRunning,
        model::LawId::GuestFlushed,
        model::LawId::VerbRefused,
    ] {
        assert!(reached.of(goal) > 0, "no history reaches `{}`", goal.name());
    }
}

#[test]
fn spoilt_histories_are_refused() {
    let mut tally: BTreeMap<Kind, (usize, usize)> = BTreeMap::new();
    let mut missed: BTreeMap<Kind, String> = BTreeMap::new();
    for mut tape in tapes() {
        let history = history(&mut tape);
        for (kind, _) in REFUSED_OF_HUNDRED {
            let Some((at, spoilt)) = spoil(kind, &history, &mut tape) else { continue };
            let (refused, all) = tally.entry(kind).or_default();
            *all += 1;
            match judge(&spoilt) {
                Err(_) => *refused += 1,
                Ok(_) => drop(
                    missed.insert(kind, format!("at {at}: {}\n{}", history.lines[at], spoilt.join("\n"))),
                ),
            }
        }
    }
    for (kind, least) in REFUSED_OF_HUNDRED {
        let (refused, all) = tally.get(&kind).copied().unwrap_or_default();
        println!("{kind:?}: {refused} of {all} refused");
        assert!(all >= 50, "{kind:?}: only {all} histories were spoilt");
        let example = missed.get(&kind).map_or("", String::as_str);
        assert!(refused * 100 >= all * least, "{kind:?}: {refused} of {all} refused, e.g. not {example}");
    }
}
