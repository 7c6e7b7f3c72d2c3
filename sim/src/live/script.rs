//! A failing sequence as a shell script that needs only the daemon, qemu-img and python3: ready for a bug report.
//!
//! It prints every command and reply, what is wrong, and ends with 1 if the defect shows, with 0 if not. Most of it is the
//! driver, the same for every sequence: a script has it within, or names the one that lies beside many scripts.

use super::action::Action;
use super::judge::{CRASHED, EXPORT_STAYS, HUNG, SPINS, STUCK};
use super::sequence::Record;
use flate2::Compression;
use flate2::write::ZlibEncoder;
use midstream::request::Operation;
use midstream::trace::verdict_text;
use model::law::LawId;
use regex_lite::Regex;
use serde_json::{Value, json};
use std::fmt::Write;
use std::io::Write as _;
use std::sync::LazyLock;

/// Why a sequence has no script.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NoScript(pub String);

/// What plays a script's data: its file beside scripts, and its text.
pub const DRIVER: (&str, &str) = ("driver.py", include_str!("script.py"));

/// Where a script has its driver.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Driver {
    /// Within: the script stands alone.
    Within,
    /// In a file beside it.
    Beside,
}

/// Whether a sequence fails every time it is taken, as far as anybody has seen.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Fails {
    /// Every time.
    Always,
    /// Now and then: it depends on timing.
    Sometimes,
}

/// The script that does what `record` did and looks for what it found.
pub fn script(title: &str, record: &Record, fails: Fails, driver: Driver) -> Result<String, NoScript> {
    if record.actions.iter().any(|action| matches!(action, Action::Cut(_))) {
        return Err(NoScript(
            "what a crash leaves on the simulated disk is shown by `midstream replay` only".to_owned(),
        ));
    }
    let mut text = String::from("#!/bin/sh\n");
    for line in title.lines() {
        writeln!(text, "# {line}").expect("a string takes any text");
    }
    let (file, code) = DRIVER;
    let (needed, argument, tail) = match driver {
        Driver::Within => (String::new(), String::new(), code.to_owned()),
        Driver::Beside => (
            format!(", and {file} beside it"),
            format!(" \"$(dirname \"$0\")/{file}\""),
            "import runpy, sys\n\nrunpy.run_path(sys.argv[1], globals())\n".to_owned(),
        ),
    };
    writeln!(
        text,
        "# Needs qemu-storage-daemon, qemu-img and python3{needed}; QSD names another daemon. Ends with 1 if the defect shows."
    )
    .expect("a string takes any text");
    writeln!(text, "exec python3 -{argument} <<'END_OF_SCRIPT'").expect("a string takes any text");
    Ok(text + &data(record, fails)? + &tail + "END_OF_SCRIPT\n")
}

/// What the driver gets: how the defect is recognised, the images, and what is done.
fn data(record: &Record, fails: Fails) -> Result<String, NoScript> {
    let defect = Defect::of(record)?;
    let mut text = String::new();
    let mut define = |name: &str, value: &str| {
        writeln!(text, "{name} = {value}").expect("a string takes any text");
    };
    define("DETAIL", &python(&json!(verdict_text(&record.outcome.verdict))));
    define("DEFECT", &python(&json!(defect.name())));
    define("TRIES", &defect.tries(fails).to_string());
    match &defect {
        Defect::Sector { sector, expected } => {
            define("SECTOR", &sector.to_string());
            define("EXPECTED", &python(&json!(expected)));
        }
        Defect::Length { sectors } => define("SECTORS", &sectors.to_string()),
        Defect::Reply(reply) => define("UNTRUE", &python(&json!(reply))),
        Defect::Crash | Defect::Hang | Defect::Progress | Defect::JobError | Defect::Corrupt => {}
    }
    define("IMAGES", &images(record));
    text += "ACTIONS = [\n";
    let is_reopened = matches!(record.actions.last(), Some(Action::Reopened { .. }));
    for (index, action) in record.actions.iter().enumerate() {
        // Only the last file that was reopened is the one that was wrong.
        let is_last = index + 1 == record.actions.len();
        if let Some(line) = line(action, record, is_reopened && is_last) {
            writeln!(text, "    {},", python(&line)).expect("a string takes any text");
        }
    }
    Ok(text + "]\n")
}

/// How the defect is recognised.
pub(super) enum Defect {
    Crash,
    Hang,
    Sector {
        sector: u64,
        expected: Vec<String>,
    },
    /// An image has become shorter than it was asked to be.
    Length {
        sectors: u64,
    },
    Reply(String),
    /// A job's offset is reported past its len.
    Progress,
    /// A job meets an I/O error though nothing was to fail.
    JobError,
    /// A check of an image finds damage.
    Corrupt,
}

impl Defect {
    fn name(&self) -> &'static str {
        match self {
            Defect::Crash => "crash",
            Defect::Hang => "hang",
            Defect::Sector { .. } => "sector",
            Defect::Length { .. } => "length",
            Defect::Reply(_) => "reply",
            Defect::Progress => "progress",
            Defect::JobError => "job error",
            Defect::Corrupt => "corrupt",
        }
    }

    /// How often a script tries it. What a script meets at another pace than midstream may need more than one try even
    /// if it fails every time here.
    fn tries(&self, fails: Fails) -> u32 {
        match (fails, self) {
            (Fails::Sometimes, _) => 1000,
            (_, Defect::Sector { .. } | Defect::Length { .. } | Defect::JobError) => 1,
            (_, Defect::Crash | Defect::Hang | Defect::Reply(_) | Defect::Progress | Defect::Corrupt) => 40,
        }
    }

    pub(super) fn of(record: &Record) -> Result<Defect, NoScript> {
        static SECTOR: LazyLock<Regex> = LazyLock::new(|| {
            Regex::new(r"^sector (\d+) of .*expected (.*), (read|found) (.+)$").expect("a pattern of ours")
        });
        static LENGTH: LazyLock<Regex> = LazyLock::new(|| {
            Regex::new(r"^/\S+ has (\d+) sectors and showed \d+$").expect("a pattern of ours")
        });
        let verdict = &record.outcome.verdict;
        let first = verdict_text(verdict).lines().next().unwrap_or_default();
        if verdict.law().starts_with(CRASHED) {
            return Ok(Defect::Crash);
        }
        if [HUNG, SPINS, STUCK].contains(&verdict.law()) {
            return Ok(Defect::Hang);
        }
        if verdict.law() == EXPORT_STAYS {
            return Err(NoScript("the script does not wait for exports to go".to_owned()));
        }
        if [LawId::NoFaultNoFailure, LawId::Cause].iter().any(|law| verdict.law() == law.name()) {
            return Ok(Defect::JobError);
        }
        if verdict.law() == LawId::NoCorruption.name() {
            return Ok(Defect::Corrupt);
        }
        if verdict.law() == LawId::Progress.name() {
            return Ok(Defect::Progress);
        }
        if let Some(found) = SECTOR.captures(first) {
            let sector = found[1].parse().map_err(|_| NoScript(format!("no sector in `{first}`")))?;
            return Ok(Defect::Sector {
                sector,
                expected: found[2].split(" or ").map(str::to_owned).collect(),
            });
        }
        if let Some(found) = LENGTH.captures(first) {
            let sectors = found[1].parse().map_err(|_| NoScript(format!("no length in `{first}`")))?;
            return Ok(Defect::Length { sectors });
        }
        match (record.actions.last(), &record.last_reply) {
            (Some(Action::Command(_)), Some(reply)) => Ok(Defect::Reply(reply.clone())),
            _ => Err(NoScript(format!("no script can show `{first}`"))),
        }
    }
}

/// JSON as Python reads it.
fn python(value: &Value) -> String {
    match value {
        Value::Null => "None".to_owned(),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        Value::Array(items) => format!("[{}]", items.iter().map(python).collect::<Vec<_>>().join(", ")),
        other => other.to_string(),
    }
}

/// The images as they were at first; their headers name each other without a folder.
fn images(record: &Record) -> String {
    let mut scenario = record.scenario.clone();
    for image in &mut scenario.images {
        image.path = image.path.trim_start_matches('/').to_owned();
    }
    let mut text = String::from("{\n");
    for (image, bytes) in scenario.images.iter().zip(scenario.files()) {
        writeln!(text, "    \"/{}\": \"{}\",", image.path, base64(&pack(&bytes)))
            .expect("a string takes any text");
    }
    text + "}"
}

fn line(action: &Action, record: &Record, is_wanted_reopened: bool) -> Option<Value> {
    Some(match action {
        Action::Command(text) => json!(["qmp", text]),
        Action::Settle => json!(["settle"]),
        Action::Connect { guest, export } => json!(["connect", guest, export]),
        Action::Request { guest, operation, sector, sectors, tag, is_in_flight } => {
            let (name, command) = match operation {
                Operation::Read => ("read", 0),
                Operation::Write => ("write", 1),
                Operation::Flush => ("flush", 3),
                Operation::Discard => ("discard", 4),
                Operation::WriteZeroes => ("write zeroes", 6),
            };
            let (sector, sectors) = if *operation == Operation::Flush { (&0, &0) } else { (sector, sectors) };
            json!([name, guest, command, sector, sectors, tag, is_in_flight])
        }
        Action::Answered { guest } => json!(["answered", guest]),
        Action::Leave { guest } => json!(["leave", guest]),
        Action::Kill => json!(["kill"]),
        Action::Quit => json!(["quit"]),
        Action::Reopened { image, .. } if is_wanted_reopened => {
            let image = &record.scenario.images[*image];
            json!(["reopened", image.path, image.format.driver()])
        }
        Action::Reopened { .. } | Action::Look { .. } | Action::Cut(_) => return None,
    })
}

fn pack(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).and_then(|()| encoder.finish()).expect("memory takes any bytes")
}

/// Bytes as text, four characters for three (RFC 4648).
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let number =
            three.iter().fold(0u32, |sum, byte| sum << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
        for digit in 0..4 {
            let is_there = digit <= three.len();
            let value = number >> (18 - 6 * digit) & 63;
            text.push(if is_there { DIGITS[value as usize] as char } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    // What is compared is shown, so that whoever runs a script sees why it ends as it does.
    #[test]
    fn every_comparison_prints_what_it_compares() {
        let (_, script) = DRIVER;
        let comparisons: Vec<&str> = script.split("    if DEFECT == ").skip(1).collect();
        assert!(comparisons.len() >= 6, "{}", comparisons.len());
        // What a check found was printed when it was asked.
        for comparison in comparisons.into_iter().filter(|text| !text.starts_with("\"corrupt\"")) {
            let (shown, _) = comparison.split_once("return ").expect("it comes to something");
            assert!(shown.contains("print("), "{shown}");
        }
    }

    #[test]
    fn base64_fills_up_to_four() {
        assert_eq!([&b"M"[..], b"Ma", b"Man", b""].map(base64), ["TQ==", "TWE=", "TWFu", ""]);
    }
}
