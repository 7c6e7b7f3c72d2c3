//! Text for people. A failure ends with the two commands that repeat it.

use crate::report::Cost;
use midstream::content::named;
use midstream::coverage::{Law, Totals};
use midstream::trace::{PASSED, Trace, verdict_text};
use midstream::verdict::{Outcome, Verdict};
use seam::escape::{one_line, steers};
use std::ffi::OsStr;
use std::fmt::Write;
use std::path::Path;

/// The law, the step and the values of a failure.
pub fn failure(outcome: &Outcome) -> String {
    let head = match &outcome.verdict {
        Verdict::Passed => "PASS".to_owned(),
        broken => format!("FAIL  law `{}`", broken.law()),
    };
    let mut text = format!("{head}  at step {}\n", outcome.steps);
    for line in verdict_text(&outcome.verdict).lines() {
        writeln!(text, "      {line}").expect("a string takes any text");
    }
    text
}

/// A failure whose cause was reported for another law, briefly: shorter forms of the one run broke the other's law.
pub fn reported_already(outcome: &Outcome, seed: u64, other: &str) -> String {
    let (law, step) = (outcome.verdict.law(), outcome.steps);
    format!("ALSO  law `{law}`  at step {step}\n      most likely by the cause of seed {seed}: `{other}`\n")
}

/// A law that shorter forms of a run broke, too.
pub fn also(law: &str, count: u64) -> String {
    let forms =
        if count == 1 { "one shorter form".to_owned() } else { format!("{} shorter forms", grouped(count)) };
    format!("also    law `{law}`, in {forms} of this run\n")
}

/// What a trace says that was found: nothing is known of the step.
pub fn recorded(trace: &Trace) -> String {
    if trace.law == PASSED {
        return "PASS\n".to_owned();
    }
    let mut text = format!("FAIL  law `{}`\n", one_line(&trace.law));
    for line in named(&trace.verdict).lines() {
        writeln!(text, "      {line}").expect("a string takes any text");
    }
    text
}

/// How a shell calls this program: ours by its alias, one of somebody else's by the name it was called by.
pub fn program() -> String {
    called(std::env::args_os().next().as_deref())
}

fn called(first_word: Option<&OsStr>) -> String {
    match first_word.map(Path::new) {
        Some(path) if path.file_name() != Some(OsStr::new("midstream")) => quoted(&path.to_string_lossy()),
        _ => "cargo midstream".to_owned(),
    }
}

/// The commands to paste. Without a trace there is only the seed.
pub fn repro(seed: Option<u64>, trace: Option<&Path>) -> String {
    let mut text = String::new();
    if let Some(seed) = seed {
        writeln!(text, "repro   {} fuzz --seed {seed} --runs 1", program()).expect("a string takes any text");
    }
    if let Some(trace) = trace {
        text += &on_trace("trace", "replay", trace);
        text += &on_trace("show", "show", trace);
    }
    text
}

/// A command on a trace, to paste.
pub fn on_trace(head: &str, command: &str, trace: &Path) -> String {
    format!("{head:<8}{} {command} {}\n", program(), quoted(&trace.display().to_string()))
}

/// One line of totals.
pub fn totals(totals: &Totals, laws: &[Law], seed: u64, cost: Cost) -> String {
    let (goals, checks): (Vec<_>, Vec<_>) =
        (totals.counts(laws, true).collect(), totals.counts(laws, false).collect());
    let reached = goals.iter().filter(|(_, count)| *count > 0).count();
    let broken = match totals.broken.len() {
        0 => "no law broken".to_owned(),
        1 => format!("1 law broken in {}", runs(totals.failures())),
        laws => format!("{laws} laws broken in {}", runs(totals.failures())),
    };
    format!(
        "{} in {:.1} s ({}/s, {} steps/s): {broken}; {} checks of {} laws, {reached} of {} goals reached; \
         {} inconclusive{}; seed {seed}, history {:016x}",
        runs(totals.runs),
        cost.wall.as_secs_f64(),
        grouped(cost.runs_per_second(totals) as u64),
        grouped(cost.steps_per_second(totals) as u64),
        grouped(checks.iter().map(|(_, count)| count).sum()),
        checks.len(),
        goals.len(),
        runs(totals.inconclusive),
        seeds(totals),
        totals.history_hash,
    )
}

/// Which runs were inconclusive, the lowest seeds first.
fn seeds(totals: &Totals) -> String {
    let seeds: Vec<String> = totals.inconclusive_seeds.iter().map(u64::to_string).collect();
    let more = if totals.inconclusive > seeds.len() as u64 { ", ..." } else { "" };
    if seeds.is_empty() { String::new() } else { format!(" (seeds {}{more})", seeds.join(", ")) }
}

fn runs(count: u64) -> String {
    counted(count, "run")
}

/// So many of something: `1 run`, `1,000 runs`.
pub fn counted(count: u64, what: &str) -> String {
    format!("{} {what}{}", grouped(count), if count == 1 { "" } else { "s" })
}

/// How short a trace has become: `1 command, 115 decisions instead of 302, minimised in 599 runs`. Fewer commands may
/// take more decisions.
///
/// None were needed where an earlier campaign has done it.
pub fn minimised(commands: usize, decisions: [usize; 2], took: u64) -> String {
    let [after, before] = decisions;
    let instead = if after < before { format!(" instead of {before}") } else { String::new() };
    let how =
        if took == 0 { "as it was left before".to_owned() } else { format!("minimised in {}", runs(took)) };
    format!("{}, {after} decisions{instead}, {how}", counted(commands as u64, "command"))
}

/// A word as a shell reads it back.
pub fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    if word.contains(steers) {
        return format!("$'{}'", one_line(&word.replace('\\', r"\\").replace('\'', r"\'")));
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// A number with commas between its thousands.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.char_indices() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use midstream::strategy::of_seed;
    use midstream::toy;
    use std::time::Duration;

    #[test]
    fn a_failure_is_the_law_its_values_and_two_commands() {
        let (seed, outcome) = toy::first_failure();
        let text = failure(&outcome) + &repro(Some(seed), Some(Path::new("traces/new/1.json")));
        let lines: Vec<&str> = text.lines().collect();
        let steps = outcome.steps;
        assert_eq!(lines[0], format!("FAIL  law `cancel never loses a fault`  at step {steps}"));
        assert!(lines[1].starts_with("      client "), "{text}");
        assert_eq!(lines[2], format!("repro   {} fuzz --seed {seed} --runs 1", program()));
        assert_eq!(lines[3], format!("trace   {} replay traces/new/1.json", program()));
        assert_eq!(lines[4], format!("show    {} show traces/new/1.json", program()));
    }

    #[test]
    fn other_programs_are_called_by_their_own_names() {
        let called = |name: &str| called(Some(OsStr::new(name)));
        assert_eq!(called("target/release/midstream"), "cargo midstream");
        assert_eq!(called("target/debug/my-engine"), "target/debug/my-engine");
        assert_eq!(called("/home/a b/my-engine"), "'/home/a b/my-engine'");
        assert_eq!(super::called(None), "cargo midstream");
    }

    #[test]
    fn a_quoted_word_is_read_back_by_a_shell() {
        for word in ["plain/1.json", "a b", "it's", "", "e\u{1b}[2J\n\\n'\u{202e}x"] {
            let command = format!("printf %s {}", quoted(word));
            assert!(!command.contains(steers), "{command}");
            let mut bash = std::process::Command::new("bash");
            let output = bash.args(["-c", &command]).env("LC_ALL", "C.UTF-8").output();
            let Ok(output) = output else { continue };
            assert_eq!(String::from_utf8_lossy(&output.stdout), word, "{command}");
        }
    }

    #[test]
    fn a_trace_is_never_reported_with_more_decisions_than_there_were() {
        assert_eq!(
            minimised(1, [115, 302], 599),
            "1 command, 115 decisions instead of 302, minimised in 599 runs"
        );
        assert_eq!(minimised(2, [13, 9], 1), "2 commands, 13 decisions, minimised in 1 run");
    }

    #[test]
    fn totals_are_one_line() {
        let mut sum = Totals::default();
        (0..1000).for_each(|seed| sum.add(seed, &toy::run(of_seed(seed))));
        let cost = Cost { wall: Duration::from_secs(2), cpu_seconds: 4.0, children_cpu_seconds: 0.0 };
        let text = totals(&sum, toy::SUBJECT.laws, 0, cost);
        assert!(text.starts_with("1,000 runs in 2.0 s (500/s, "), "{text}");
        assert!(text.contains("): 1 law broken in "), "{text}");
        assert!(
            text.contains(" checks of 2 laws, 1 of 1 goals reached; 0 runs inconclusive; seed 0, history "),
            "{text}"
        );
    }

    #[test]
    fn words_that_a_shell_would_split_are_quoted() {
        assert_eq!(
            ["traces/new", "a b", "it's", ""].map(quoted),
            ["traces/new", "'a b'", r"'it'\''s'", "''"]
        );
    }

    #[test]
    fn thousands_are_set_apart() {
        assert_eq!([0, 999, 1000, 1234567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
    }
}
