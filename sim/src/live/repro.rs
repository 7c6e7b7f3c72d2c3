//! A failing sequence as a script that a person reads: `qemu-img`, `qemu-io` and QMP, in a few lines and common sizes.
//!
//! A record is translated (`translate`), written as shell (`shell`), run (`run`), and made shorter as long as the defect
//! still shows (`shrink`). What cannot be said so, such as requests in flight, has the long script instead.

mod iotest;
mod nodes;
mod python;
mod read;
mod run;
mod shell;
mod shrink;
mod translate;

use super::script::NoScript;
use super::sequence::Record;
use super::target::Target;
use iotest::Guests;
use serde_json::{Map, Value};
use shell::Pace;

/// A script, before it is text.
#[derive(Clone, PartialEq, Debug)]
struct Repro {
    images: Vec<Image>,
    /// Options of nodes that the daemon starts with, in order.
    nodes: Vec<Map<String, Value>>,
    steps: Vec<Step>,
    shows: Shows,
    /// What shows that the script asks for the right thing.
    control: Control,
    /// What `qemu-io` reads where a reader is wrong: `read -P 1 64k 64k`. The control reads the same.
    look: String,
}

/// An image and what is written into it before the daemon starts.
#[derive(Clone, PartialEq, Debug)]
struct Image {
    file: String,
    format: &'static str,
    size_bytes: u64,
    /// Options of its creation beside the size: `cluster_size=1k`.
    options: Vec<String>,
    /// File and format of the image below.
    backing: Option<(String, &'static str)>,
    /// Commands of `qemu-io`.
    content: Vec<String>,
}

/// One thing done while the daemon runs.
#[derive(Clone, PartialEq, Debug)]
enum Step {
    /// A command on the monitor.
    Qmp(Value),
    /// Jobs get time to go on.
    Wait,
    /// Somebody at an export, by its name: commands of `qemu-io`.
    Guest { export: String, commands: Vec<String> },
    /// The daemon is killed.
    Kill,
}

/// By what the defect is recognised.
#[derive(Clone, PartialEq, Debug)]
enum Shows {
    /// The daemon ends by a signal.
    Crash,
    /// The daemon does not end.
    Hang,
    /// The last read of a guest finds another pattern than it looks for.
    GuestReads,
    /// A read of this file afterwards does; the file and its format.
    FileReads { file: String, format: &'static str },
    /// One of these is in what the daemon says; patterns of `grep`.
    Says(Vec<String>),
    /// `qemu-img check` finds damage in this file.
    Corrupt { file: String },
    /// `qemu-img check` cannot read this file, or an image below it.
    Unreadable { file: String },
}

/// What a defect is held against: without it a script that has lost its meaning would show anything.
#[derive(Clone, PartialEq, Debug)]
enum Control {
    /// Nothing: a crash, a hang and damage are never right.
    Needless,
    /// The same read of this file passes before the daemon starts; the file and its format.
    FileBefore { file: String, format: &'static str },
    /// Whoever wrote it reads it back at once.
    ReadBack,
    /// `qemu-img check` can read this file before the daemon starts.
    ChecksBefore { file: String },
    /// The last command is refused before anything else was done.
    RefusedBefore,
    /// There is none: the script is only made shorter where that cannot change what is right.
    Missing,
}

impl Repro {
    /// Whether anybody comes to the daemon's NBD server, or would.
    fn has_exports(&self) -> bool {
        let exports = |step: &Step| match step {
            Step::Qmp(command) => command["execute"] == "block-export-add",
            step => matches!(step, Step::Guest { .. }),
        };
        self.steps.iter().any(exports)
    }
}

pub use run::{Iotests, Verdict, shows};
pub use shell::is_never_right;

/// The shortest form of a failure that was found, which several writers make a text of.
#[derive(Clone, Debug)]
pub struct Shortest {
    repro: Repro,
}

impl Shortest {
    /// That of a script that is kept, if it is one of this form.
    pub fn kept(script: &str) -> Option<Shortest> {
        read::repro(script).map(|repro| Shortest { repro })
    }

    /// As a shell script; `title` is its comment.
    pub fn sh(&self, title: &[&str]) -> String {
        shell::text(title, &self.repro, Pace::Kept)
    }

    /// As a test for QEMU's own package `iotests`, called `name`, with the replies that `target` gives: the first of them that
    /// `is_true`. A client that stays is left to the shell.
    pub fn iotest(
        &self,
        name: &str,
        title: &[&str],
        target: &Target,
        is_true: impl Fn(&String) -> bool,
    ) -> Option<String> {
        let stays = |step: &Step| matches!(step, Step::Guest { commands, .. } if shell::stays(commands));
        if self.repro.steps.iter().any(stays) {
            return None;
        }
        let replies = run::replies(&self.sh(&[]), target);
        let text = |guests| iotest::text(name, title, &self.repro, &replies, guests);
        [Guests::Succeed, Guests::MayFail].into_iter().map(text).find(is_true)
    }
}

/// The shortest form found that shows on `target` what `record` showed.
pub fn shortest(record: &Record, target: &Target) -> Result<Shortest, NoScript> {
    let run = |repro: &Repro, pace: Pace| run::run(&shell::text(&[], repro, pace), target);
    let mut why = NoScript(String::new());
    for manner in translate::MANNERS {
        let repro = match translate::repro(record, manner) {
            Ok(repro) => repro,
            Err(no) => {
                why = no;
                continue;
            }
        };
        let first = run(&repro, Pace::Kept);
        if !first.shows {
            let text = shell::text(&[], &repro, Pace::Kept);
            why = NoScript(format!(
                "no short script shows it, this one neither; --as full writes everything that was done\n{text}"
            ));
            continue;
        }
        let is_never_right = matches!(repro.control, Control::Needless | Control::ChecksBefore { .. });
        let is_like = |pace: Pace| {
            move |shorter: &Repro| {
                let ran = run(shorter, pace);
                ran.is_like(first) || is_never_right && ran.shows
            }
        };
        let (at_leisure, quickly) = (is_like(Pace::Kept), is_like(Pace::Quick));
        let quick = quickly(&repro).then(|| shrink::shortest(repro.clone(), &quickly)).filter(&at_leisure);
        let repro = quick.unwrap_or_else(|| shrink::shortest(repro, &at_leisure));
        return Ok(Shortest { repro });
    }
    Err(why)
}
