//! Where a program spends its time, from samples of its stack by perf(1).
//!
//! What a compiler has made part of its caller counts as the caller's.

use std::env;
use std::process::{Command, Stdio};

/// The functions of one sample, the innermost first.
type Stack = Vec<String>;

/// How samples are divided: names, and what a function's name has in it that belongs there.
pub type Rules = &'static [(&'static str, &'static [&'static str])];

/// By the first that holds of the outermost function: what a run does one after the other.
pub const PHASES: Rules = &[
    ("judging, wherever it comes up", &["model::judge::Judge::observe"]),
    ("reading what is left after an end, also one that is only tried", &["sim::recovery::read_all"]),
    ("drawing what is to happen", &["workload::scenario::Scenario::draw"]),
    ("making the images, the engine and the laws", &["sim::world::World::new"]),
    ("opening the nodes", &["sim::world::World::set_up"]),
    ("looking at what guests read in the end", &["sim::world::World::look"]),
    ("closing and ending", &["World::close", "World::quit", "World::crash"]),
    ("guests, clients, jobs and disks", &["sim::world::World::live"]),
];

/// By the innermost function that one of them holds of.
pub const PLACES: Rules = &[
    ("allocator", &["mi_", "_mi_", "__rust_alloc", "__rust_dealloc", "__rust_realloc"]),
    ("the specification", &["model::"]),
    ("the engine: texts of QMP", &["block::qmp", "block::qapi"]),
    ("the engine: everything else", &["block::"]),
    ("the world: scheduler, choices, disks, history", &["midstream::"]),
    ("laws beside the specification", &["sim::oracle"]),
    ("images: made, and read when they are reopened", &["sim::recovery", "sim::workload"]),
    ("guests, clients and phases of a run", &["sim::world"]),
];

/// Samples of this program, started with that argument; nothing, if there is no perf.
pub fn of(argument: &str) -> Option<Vec<Stack>> {
    let folder = tempfile::tempdir().expect("a scratch folder");
    let data = folder.path().join("perf.data");
    let program = env::current_exe().expect("this program has a name");
    let mut record = Command::new("perf");
    record.args(["record", "-q", "-F", "997", "--call-graph", "dwarf,16384", "-o"]).arg(&data);
    let recorded = record.arg(program).arg(argument).stdout(Stdio::null()).stderr(Stdio::null()).status();
    if !recorded.is_ok_and(|status| status.success()) {
        return None;
    }
    let mut script = Command::new("perf");
    let script =
        script.args(["script", "-F", "ip,sym", "-i"]).arg(&data).stderr(Stdio::null()).output().ok()?;
    Some(stacks(&String::from_utf8_lossy(&script.stdout)))
}

/// One function a line, an empty line between two samples.
fn stacks(text: &str) -> Vec<Stack> {
    let name = |line: &str| line.trim().split_once(' ').map_or_else(String::new, |(_, name)| name.to_owned());
    let stack = |part: &str| part.lines().map(name).collect();
    text.split("\n\n").filter(|part| !part.trim().is_empty()).map(stack).collect()
}

/// The share of each rule, and of what none holds of.
pub fn shares(stacks: &[Stack], rules: Rules) -> Vec<(&'static str, f64)> {
    let by_phase = std::ptr::eq(rules, PHASES);
    let mut counts = vec![0_usize; rules.len() + 1];
    for stack in stacks {
        let found = if by_phase { first_rule(stack, rules) } else { innermost(stack, rules) };
        counts[found.unwrap_or(rules.len())] += 1;
    }
    let names = rules.iter().map(|(name, _)| *name).chain(["anything else"]);
    names.zip(counts).map(|(name, count)| (name, count as f64 / stacks.len().max(1) as f64)).collect()
}

fn first_rule(stack: &Stack, rules: Rules) -> Option<usize> {
    rules.iter().position(|(_, words)| stack.iter().any(|function| holds(function, words)))
}

fn innermost(stack: &Stack, rules: Rules) -> Option<usize> {
    stack.iter().find_map(|function| rules.iter().position(|(_, words)| holds(function, words)))
}

fn holds(function: &str, words: &[&str]) -> bool {
    words.iter().any(|word| match word.strip_suffix("::") {
        // A crate, not a module that is called so.
        Some(_) => function.starts_with(word) || function.starts_with(&format!("<{word}")),
        None if word.ends_with('_') => function.starts_with(word),
        None => function.contains(word),
    })
}
