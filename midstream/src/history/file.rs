//! A history as a file that any program can write and anybody may judge: a header, then a line for each observation.
//!
//! `docs/history.md` specifies the form. Here are its limits, and how a recorded run is written; the command `judge` reads.

pub mod header;
pub mod line;
pub mod values;

use super::{Entry, History, Recorder, What};
use crate::world::on_disk::OnDisk;
use header::{Header, ImageForm, Spec};
use line::Line;
use std::io::{self, Write};

/// What the header of a history says that we recorded: the values in it have names.
pub const OURS: &str = "recorded by midstream";
/// The version of the form that is written and read.
pub const VERSION: u64 = 1;
/// A line is at most so long, its end left out.
pub const LINE_BYTES_MAX: usize = 4 << 20;
/// A list has at most so many values, runs counted in full.
pub const VALUES_MAX: usize = 1 << 20;
/// A run has at most so many images.
pub const IMAGES_MAX: usize = 64;
/// A name is at most so long.
pub const NAME_BYTES_MAX: usize = 4096;
/// No device reaches further, so that no offset in bytes overflows.
pub const SECTOR_MAX: u64 = u64::MAX / 512;

impl History {
    /// Writes it down, for `midstream judge`: a run that was cut afterwards up to the cut. `last` is a note at its end.
    pub fn write(&self, last: Option<&str>, out: &mut dyn Write) -> io::Result<()> {
        let run = self.cut.as_deref().unwrap_or(self);
        let header = Header {
            version: VERSION,
            spec: Spec::of(run.release),
            torn_reads: run.recorder == Recorder::Live,
            images: run.images.iter().map(ImageForm::of).collect(),
            note: Some(OURS.to_owned()),
        };
        write_line(out, &header)?;
        let mut disk = run.disk.iter().peekable();
        for entry in &run.entries {
            while let Some(done) = disk.next_if(|done| done.step < entry.step) {
                write_line(out, &Line::of_disk(done))?;
            }
            write_line(out, &Line::of(entry))?;
        }
        for done in disk {
            write_line(out, &Line::of_disk(done))?;
        }
        if let Some(last) = last {
            write_line(out, &Line { note: Some(last.to_owned()), ..Line::default() })?;
        }
        Ok(())
    }
}

fn write_line(out: &mut dyn Write, line: &impl serde::Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *out, line)?;
    out.write_all(b"\n")
}

impl Line {
    /// The line of an entry.
    pub fn of(entry: &Entry) -> Line {
        let line = match &entry.what {
            What::Observed(observed) => Line::of_observed(observed),
            What::Armed(fault, file) => {
                let (kind, errno, after) = (fault.kind.word(), fault.errno, fault.after);
                Line::of_note(format!("armed: {kind} of {file}: {errno} after {after}"))
            }
            What::FaultsStopped => Line::of_note("no more faults".to_owned()),
            What::Note(text) => Line::of_note(text.clone()),
        };
        let number = |number: u64| Some(number).filter(|number| *number > 0);
        Line { step: number(entry.step), at_ns: number(entry.at), ..line }
    }

    /// What a disk has completed is a note.
    fn of_disk(done: &OnDisk) -> Line {
        Line { step: Some(done.step), ..Line::of_note(format!("disk      {}", done.line())) }
    }

    fn of_note(text: String) -> Line {
        Line { note: Some(text), ..Line::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::Found;
    use crate::history::observed::{Asked, Failure, Observed};
    use crate::request::Operation;
    use model::{CrashKind, FaultKind};

    fn every_observation() -> Vec<Observed> {
        use Operation::{Discard, Flush, Read, WriteZeroes};
        let name = || "n0".to_owned();
        let began = |operation, sector, count, values| Observed::Began {
            request: 7,
            guest: 1,
            name: None,
            asked: Asked { operation, sector, count, values, fua: false },
        };
        let found = |leaks| Found {
            file: name(),
            values: vec![0, 0, 0, u64::MAX],
            chain: vec![name(), "base".to_owned()],
            corruptions: 2,
            leaks,
            damage: vec!["cluster 0x400: refcount 1, reference 2".to_owned()],
        };
        let mut durable = began(Operation::Write, 3, 1, vec![6]);
        if let Observed::Began { asked, .. } = &mut durable {
            asked.fua = true;
        }
        vec![
            Observed::Sent { client: 1, text: r#"{"execute":"quit"}"#.to_owned() },
            Observed::Reply { client: 1, text: "{\"return\": {}}".to_owned() },
            Observed::Event { text: "{\"event\": \"STOP\"}".to_owned() },
            Observed::SchemaCommand,
            Observed::SchemaCommandRefused { text: r#"{"execute":"quit"}"#.to_owned() },
            Observed::Attached { guest: 1, node: name(), writable: true },
            Observed::Connected { guest: 1, export: name() },
            Observed::Refused { guest: 1, node: name(), writable: false, why: "busy".to_owned() },
            Observed::Detached { guest: 1 },
            began(Read, 3, 4, Vec::new()),
            began(Operation::Write, 3, 2, vec![1 << 60, 5]),
            durable,
            began(WriteZeroes, 3, 4, Vec::new()),
            began(Discard, 3, 4, Vec::new()),
            began(Flush, 0, 0, Vec::new()),
            Observed::Ended { request: 7, result: Ok(Vec::new()) },
            Observed::Ended { request: 7, result: Ok(vec![1, 2]) },
            Observed::Ended { request: 7, result: Err(Failure { errno: 0, text: "no".to_owned() }) },
            Observed::FaultStruck { file: name(), kind: FaultKind::Flush, error: "no".to_owned() },
            Observed::FaultArmed { file: name(), kind: FaultKind::Any, error: "no".to_owned() },
            Observed::View { node: name(), values: vec![9] },
            Observed::Crash { kind: CrashKind::KillUnheard },
            Observed::Recovered(found(0)),
            Observed::Closed(found(3)),
            Observed::Unreadable { file: name(), why: "torn".to_owned() },
            Observed::End,
        ]
    }

    #[test]
    fn every_observation_is_read_as_it_was_written() {
        for observed in every_observation() {
            let entry = Entry { step: 3, at: 4_000, what: What::Observed(observed.clone()) };
            let text = serde_json::to_string(&Line::of(&entry)).expect("a line");
            let line: Line = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!((line.step, line.at_ns), (Some(3), Some(4_000)));
            assert_eq!(line.observed(), Ok(Some(observed)), "{text}");
        }
    }

    #[test]
    fn what_disks_did_stands_between_as_notes() {
        let mut history = History::new(Recorder::World, Vec::new());
        history.push(4, 0, What::Observed(Observed::End));
        let (what, file, by) = ("flush", "/a".to_owned(), "job j0".to_owned());
        let done = |step, since| {
            let (file, by) = (file.clone(), by.clone());
            OnDisk { step, since, what, file, by, ..OnDisk::default() }
        };
        history.disk = vec![done(3, 0), done(5, 4)];
        let mut text = Vec::new();
        history.write(None, &mut text).expect("a vector takes all");
        let text = String::from_utf8(text).expect("JSON");
        let lines: Vec<&str> = text.lines().skip(1).collect();
        let notes = ["disk      job j0: flush /a, since 0", "disk      job j0: flush /a"];
        let [first, last] = [(3, notes[0]), (5, notes[1])]
            .map(|(step, note)| format!(r#"{{"step":{step},"note":"{note}"}}"#));
        assert_eq!(lines, [first.as_str(), r#"{"step":4,"end":{}}"#, last.as_str()]);
    }

    #[test]
    fn a_run_that_was_cut_is_written_up_to_its_cut() {
        let mut history = History::new(Recorder::Live, Vec::new());
        history.push(1, 0, What::Observed(Observed::End));
        let mut cut = History::new(Recorder::Live, Vec::new());
        cut.push(0, 0, What::Observed(Observed::Crash { kind: CrashKind::PowerCut }));
        history.cut = Some(Box::new(cut));
        let mut text = Vec::new();
        history.write(Some("lost"), &mut text).expect("a vector takes all");
        let text = String::from_utf8(text).expect("JSON");
        let header = r#"{"midstream-history":1,"spec":"qemu-10.0","torn-reads":true,"images":[],"note":"recorded by midstream"}"#;
        assert_eq!(
            text,
            format!("{header}\n{{\"crash\":{{\"kind\":\"power-cut\"}}}}\n{{\"note\":\"lost\"}}\n")
        );
        assert_eq!(history.lines().last().map(String::as_str), Some("step 0     crash     power cut"));
    }
}
