//! The page about what a live daemon does wrong: every quirk and every bucket, as its trace shows it today.

use super::bucket::{Bucket, buckets};
use super::sequence::Record;
use midstream::minimise::entries;
use midstream::trace::{Trace, verdict_text};
use model::Quirk;
use model::quirk::{About, QUIRKS};
use std::fmt::Write;

/// One known defect: a quirk, or what falls into a bucket.
#[derive(Clone, Debug)]
pub struct Defect {
    /// Its short name.
    pub name: &'static str,
    /// The name it has in the list that was known before, or nothing.
    pub id: &'static str,
    /// What is wrong, in a sentence.
    pub what: &'static str,
    /// What is right instead.
    pub right: &'static str,
    /// Its trace, by file name; nothing, if it has none.
    pub trace: &'static str,
    /// Its trace shows it at least once in so many times.
    pub tries: u32,
    /// How long a campaign searched until it met it.
    pub found_after_seconds: Option<f64>,
}

/// Every known defect: first what mars data and what is reported, then what ends or stops the daemon.
pub fn defects() -> impl Iterator<Item = Defect> {
    let of_quirk = |quirk: Quirk| {
        let About { name, id, what, right, trace, tries, found_after_seconds, .. } = quirk.about();
        Defect { name, id, what, right, trace, tries, found_after_seconds }
    };
    let of_bucket = |bucket: &'static Bucket| Defect {
        name: &bucket.name,
        id: bucket.id.as_deref().unwrap_or_default(),
        what: &bucket.what,
        right: &bucket.right,
        trace: bucket.trace.as_deref().unwrap_or_default(),
        tries: bucket.tries,
        found_after_seconds: bucket.found_after_seconds,
    };
    QUIRKS.into_iter().map(of_quirk).chain(buckets().iter().map(of_bucket))
}

/// One known defect with what its trace gave when it was taken again.
#[derive(Debug)]
pub struct Shown {
    /// Which.
    pub defect: Defect,
    /// Its trace.
    pub trace: Trace,
    /// The sequence, with its readable history; none if it did not fail again.
    pub record: Option<Record>,
    /// It failed again so often,
    pub reproduced: u32,
    /// of so many times.
    pub times: u32,
    /// The file of its script, below the page.
    pub script: Option<String>,
}

/// The whole page.
pub fn page(version: &str, all: &[Shown], command: &str) -> String {
    let mut text = format!("# What midstream finds in qemu-storage-daemon {version}\n\n");
    text += "Generated from the traces in `traces/live` by `cargo midstream document`; do not edit.\n\n\
        Each sequence was found by the live campaign (`cargo midstream fuzz --target qemu`) and minimised by machine: the \
        nodes are added, the commands below are sent, jobs are then brought to their end and everything is read. Sequences \
        are drawn at random over images, commands, guest requests, injected errors and kills; nothing in the search is made \
        for one of these cases. Where it says *killed* or *power cut* after a step, the images lay on the simulated disk \
        (`--disk`), and the requests that it had seen by then stand between the commands; such a sequence has no script, \
        for it needs that disk. The names in brackets are those of the list that was known before the search began; the \
        others were not on it.\n\n\
        What is not established: whether other versions do the same, and whether anybody has reported it before. Only the \
        version above was run. That behaviour is *wrong* is the judgement of our model, whose reason stands with each \
        entry; an author of the daemon may call some of it a limitation.\n\n";
    text += "| defect | law | first found after | commands | reproduced |\n|---|---|---|---|---|\n";
    for shown in all {
        writeln!(
            text,
            "| [{}](#{}) | {} | {} | {} | {} of {} |",
            title(&shown.defect),
            shown.defect.name,
            shown.trace.law,
            found_after(&shown.defect),
            entries(&shown.trace.choices, command),
            shown.reproduced,
            shown.times
        )
        .expect("a string takes any text");
    }
    for shown in all {
        text += &section(shown, command);
    }
    printable(&text)
}

/// A text with a mark for every byte that is no character: what a torn header leaves of a name.
fn printable(text: &str) -> String {
    text.replace(|of: char| of.is_control() && of != '\n', "\u{b7}")
}

fn title(defect: &Defect) -> String {
    match defect.id {
        "" => defect.name.to_owned(),
        id => format!("{} ({id})", defect.name),
    }
}

fn found_after(defect: &Defect) -> String {
    defect.found_after_seconds.map_or("-".to_owned(), |seconds| format!("{seconds:.0} s"))
}

fn section(shown: &Shown, command: &str) -> String {
    let known = &shown.defect;
    let mut text = format!("\n<a id=\"{}\"></a>\n\n## {}\n\n", known.name, title(known));
    let mut part = |what: String| writeln!(text, "{what}\n").expect("a string takes any text");
    part(format!("{}.", capital(known.what)));
    part(format!("Right instead: {}.", known.right));
    let Some(record) = &shown.record else {
        part("The trace did not fail when this page was made.".to_owned());
        return text;
    };
    part(format!("```text\n{}\n```", steps(record)));
    part(format!(
        "law `{}`\n\n```text\n{}\n```",
        record.outcome.verdict.law(),
        verdict_text(&record.outcome.verdict)
    ));
    let script =
        shown.script.as_ref().map_or(String::new(), |script| format!(", alone: [`{script}`]({script})"));
    let trace = known.trace;
    part(format!(
        "{} commands; reproduced {} of {}; `cargo midstream replay traces/live/{trace}`{script}",
        entries(&shown.trace.choices, command),
        shown.reproduced,
        shown.times
    ));
    text
}

/// The history without looking after jobs and without what goes well.
fn steps(record: &Record) -> String {
    const DULL: [&str; 8] = [
        "query-block-jobs",
        r#"<- {"return": []}"#,
        r#"<- {"return": {}}"#,
        r#"<- {"return": [{"auto-finalize""#,
        r#"<- {"return": [{"iops_rd""#,
        r#"<- {"return": {"edges""#,
        "BLOCK_EXPORT_DELETED",
        "connects to",
    ];
    const LINE_MAX: usize = 220;
    let story = record.outcome.history.story();
    let lines = story.iter().filter(|line| !DULL.iter().any(|dull| line.contains(dull)));
    let lines = lines.map(|line| line.chars().take(LINE_MAX).collect::<String>());
    once(lines).join("\n")
}

/// Lines that follow each other and are the same, as one.
fn once(lines: impl Iterator<Item = String>) -> Vec<String> {
    let mut counted: Vec<(String, usize)> = Vec::new();
    for line in lines {
        match counted.last_mut() {
            Some((last, times)) if *last == line => *times += 1,
            _ => counted.push((line, 1)),
        }
    }
    let say = |(line, times)| if times == 1 { line } else { format!("{line} (so {times} times)") };
    counted.into_iter().map(say).collect()
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or(String::new(), |first| first.to_uppercase().collect::<String>() + letters.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_a_name_can_be_read() {
        assert_eq!(printable("named /n1\0\0,\nexpected /n0"), "named /n1\u{b7}\u{b7},\nexpected /n0");
    }

    #[test]
    fn what_is_said_again_and_again_is_shown_once() {
        let lines = ["a", "b", "b", "b", "a"].map(str::to_owned).into_iter();
        assert_eq!(once(lines), ["a", "b (so 3 times)", "a"]);
    }
}
