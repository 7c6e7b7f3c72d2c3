//! A script as a test in the manner of QEMU's own: a Python file that imports its package `iotests`.
//!
//! It asserts what ought to be true, so it fails on a daemon that has the defect, below the line that says so, and passes
//! on one that has not. What comes above that line is the control.

use super::python::{Python, class_name, literal, variable};
use super::shell::key_values;
use super::translate::MUST_FAIL;
use super::{Control, Image, Repro, Shows, Step};
use serde_json::{Map, Value};

/// From this comment on a daemon with the defect fails.
pub(super) const FROM_HERE: &str = "# What ought to be true:";
/// Jobs and a daemon that take longer hang.
const SECONDS_MAX: u32 = 10;

/// What the daemon replied to a command: nothing if it was accepted, and the class of the error if not.
pub(super) type Refused = Option<String>;

/// What becomes of the requests of guests that nobody looks at.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) enum Guests {
    /// They succeed, which the test asserts.
    Succeed,
    /// They may fail: an error was injected.
    MayFail,
}

/// The whole test. `replies` are those to the commands of the script, in order; what has none was not answered.
pub(super) fn text(name: &str, title: &[&str], repro: &Repro, replies: &[Refused], guests: Guests) -> String {
    let mut test = Test { python: Python::default(), repro, replies: replies.iter(), guests };
    test.head(title);
    let class = class_name(name);
    test.python.line(0, &format!("class Test{class}(iotests.QMPTestCase):"));
    test.python.line(1, "qsd: iotests.QemuStorageDaemon");
    test.python.blank(1);
    test.set_up();
    if repro.steps.iter().any(|step| !matches!(step, Step::Qmp(_))) || repro.shows.is_seen_late() {
        test.settle();
    }
    test.body(&name.replace('-', "_"));
    test.python.line(0, "if __name__ == '__main__':");
    test.python.line(1, "iotests.main(supported_fmts=['qcow2'], supported_protocols=['file'])");
    test.python.text
}

impl Shows {
    /// Whether jobs must come to rest after the last step before anybody can see it.
    fn is_seen_late(&self) -> bool {
        match self {
            Shows::Crash | Shows::FileReads { .. } | Shows::Corrupt { .. } | Shows::Unreadable { .. } => true,
            Shows::Says(any) => any.iter().any(|what| is_of_an_event(what)),
            Shows::Hang | Shows::GuestReads => false,
        }
    }
}

/// What [`Shows::Says`] looks for where a job fails.
pub(super) const JOB_ERROR: &str = "BLOCK_JOB_ERROR";

/// Whether a pattern is one of events, and not of a reply.
fn is_of_an_event(pattern: &str) -> bool {
    pattern == JOB_ERROR || pattern.contains("\"offset\"")
}

struct Test<'a> {
    python: Python,
    repro: &'a Repro,
    replies: std::slice::Iter<'a, Refused>,
    guests: Guests,
}

impl Test<'_> {
    fn head(&mut self, title: &[&str]) {
        let (uses_qemu_io, looks_at_events) = (self.uses_qemu_io(), self.looks_at_events());
        let python = &mut self.python;
        ["#!/usr/bin/env python3", "# group: rw", "#"].iter().for_each(|line| python.line(0, line));
        title.iter().flat_map(|part| part.lines()).for_each(|part| python.comment(0, part));
        let has_files = !self.repro.images.is_empty() || self.repro.has_exports();
        let is_json = |node: &Map<String, Value>| key_values(node).starts_with('\'');
        python.line(0, "");
        let uses_json = self.repro.nodes.iter().any(is_json) || looks_at_events;
        let libraries = [(uses_json, "import json"), (has_files, "import os")];
        libraries.iter().filter(|(is_used, _)| *is_used).for_each(|(_, line)| python.line(0, line));
        python.blank(usize::from(uses_json || has_files));
        python.line(0, "import iotests");
        let checks = matches!(self.repro.shows, Shows::Corrupt { .. } | Shows::Unreadable { .. });
        let used = [
            (checks, "qemu_img"),
            (!self.repro.images.is_empty(), "qemu_img_create"),
            (uses_qemu_io, "qemu_io"),
        ];
        let used: Vec<&str> =
            used.into_iter().filter(|(is_used, _)| *is_used).map(|(_, name)| name).collect();
        if !used.is_empty() {
            python.line(0, &format!("from iotests import {}", used.join(", ")));
        }
        python.blank(usize::from(has_files));
        for image in &self.repro.images {
            let path = format!("os.path.join(iotests.test_dir, '{}')", image.file);
            python.line(0, &format!("{} = {path}", variable(&image.file)));
        }
        if self.repro.has_exports() {
            python.line(0, "nbd_sock = os.path.join(iotests.sock_dir, 'nbd.sock')");
        }
        python.blank(2);
        if self.repro.steps.iter().any(|step| matches!(step, Step::Guest { .. })) {
            python.line(0, "def nbd(export: str) -> str:");
            python.line(1, "return f'nbd+unix:///{export}?socket={nbd_sock}'");
            python.blank(2);
        }
    }

    fn uses_qemu_io(&self) -> bool {
        self.repro.images.iter().any(|image| !image.content.is_empty())
            || self.repro.steps.iter().any(|step| matches!(step, Step::Guest { .. }))
            || !self.repro.look.is_empty()
    }

    fn set_up(&mut self) {
        if self.repro.images.is_empty() {
            return;
        }
        self.python.line(1, "def setUp(self) -> None:");
        self.repro.images.iter().for_each(|image| self.image(image));
        self.python.blank(1);
        self.python.line(1, "def tearDown(self) -> None:");
        for image in &self.repro.images {
            self.python.line(2, &format!("os.remove({})", variable(&image.file)));
        }
        self.python.blank(1);
    }

    fn image(&mut self, image: &Image) {
        let mut words = vec!["'-f'".to_owned(), format!("'{}'", image.format)];
        if let Some((file, format)) = &image.backing {
            words.extend(["'-b'".to_owned(), variable(file), "'-F'".to_owned(), format!("'{format}'")]);
        }
        if !image.options.is_empty() {
            words.extend(["'-o'".to_owned(), format!("'{}'", image.options.join(","))]);
        }
        words.extend([variable(&image.file), format!("'{}'", super::shell::size(image.size_bytes))]);
        self.python.call(2, "qemu_img_create", &words);
        if !image.content.is_empty() {
            self.qemu_io("", &["-f", image.format], &image.content, &variable(&image.file), true);
        }
    }

    /// A call of `qemu-io`; one that is not `checked` may fail.
    fn qemu_io(&mut self, result: &str, options: &[&str], commands: &[String], image: &str, checked: bool) {
        let mut words: Vec<String> = options.iter().map(|word| format!("'{word}'")).collect();
        commands.iter().for_each(|command| words.push(format!("'-c', '{command}'")));
        words.push(image.to_owned());
        words.extend((!checked).then(|| "check=False".to_owned()));
        self.python.call(2, &format!("{result}qemu_io"), &words);
    }

    /// Waits as long as a job is at work. One that is slowed down stays where it is.
    fn settle(&mut self) {
        let lines = [
            (1, "def settle(self) -> None:"),
            (2, "def is_busy(job) -> bool:"),
            (3, "if job['status'] in ('running', 'ready'):"),
            (4, "return job['busy'] or job['offset'] < job['len']"),
            (3, "return job['status'] in ('created', 'aborting')"),
            (0, ""),
        ];
        lines.iter().for_each(|(depth, line)| self.python.line(*depth, line));
        self.python.line(2, &format!("with iotests.Timeout({SECONDS_MAX}, 'a job is at work without end'):"));
        self.python.line(3, "while any(is_busy(job) and not job['speed']");
        self.python.line(3, "          for job in self.qsd.cmd('query-block-jobs')):");
        self.python.line(4, "pass");
        self.python.blank(1);
    }

    fn body(&mut self, name: &str) {
        self.python.line(1, &format!("def test_{name}(self) -> None:"));
        if let Control::FileBefore { file, format } = &self.repro.control {
            let look = [self.repro.look.clone()];
            self.qemu_io("", &["-r", "-f", format], &look, &variable(file), true);
        }
        if let Control::ChecksBefore { file } = &self.repro.control {
            self.python.call(2, "qemu_img", &["'check'".to_owned(), variable(file)]);
        }
        self.start();
        let last_command = self.repro.steps.iter().rev().find_map(|step| match step {
            Step::Qmp(command) => Some(command),
            _ => None,
        });
        if let (Control::RefusedBefore, Some(command)) = (&self.repro.control, last_command) {
            let refused = self.replies.next().cloned().flatten();
            self.command(command, Some(&refused.unwrap_or_else(|| "GenericError".to_owned())));
        }
        for (at, step) in self.repro.steps.iter().enumerate() {
            self.step(step, at + 1 == self.repro.steps.len());
        }
        self.verdict();
        self.python.blank(2);
    }

    /// The daemon starts, and stops whatever becomes of the test.
    fn start(&mut self) {
        self.python.line(2, "self.qsd = iotests.QemuStorageDaemon(");
        if self.repro.has_exports() {
            self.python.line(3, "'--nbd-server', f'addr.type=unix,addr.path={nbd_sock}',");
        }
        for node in &self.repro.nodes {
            self.node(node);
        }
        self.python.line(3, "qmp=True)");
        if !self.stops_itself() {
            self.python.line(2, "self.addCleanup(self.qsd.stop, kill_signal=9)");
        }
    }

    fn node(&mut self, node: &Map<String, Value>) {
        let files: Vec<&str> = self.repro.images.iter().map(|image| image.file.as_str()).collect();
        match key_values(node) {
            text if text.starts_with('\'') => {
                let options = literal(&Value::Object(node.clone()), &files);
                self.python.line(3, "'--blockdev',");
                self.python.wrapped(3, &format!("json.dumps({options}),"));
            }
            text => {
                self.python.line(3, "'--blockdev',");
                self.python.option(3, &text, &files);
            }
        }
    }

    fn stops_itself(&self) -> bool {
        let reads_files = matches!(
            self.repro.shows,
            Shows::FileReads { .. } | Shows::Corrupt { .. } | Shows::Unreadable { .. }
        );
        reads_files || self.repro.shows == Shows::Hang || self.repro.steps.contains(&Step::Kill)
    }

    fn step(&mut self, step: &Step, is_last: bool) {
        let is_the_one = is_last && matches!(self.repro.shows, Shows::GuestReads | Shows::Says(_));
        let is_the_one = is_the_one && !self.repro.shows.is_seen_late();
        let is_end = is_last && matches!(self.repro.shows, Shows::Crash | Shows::Hang);
        if !matches!(step, Step::Qmp(_)) {
            self.python.line(2, "self.settle()");
        }
        if is_the_one || is_end {
            self.python.line(2, FROM_HERE);
        }
        match step {
            Step::Wait => {}
            Step::Kill => self.python.line(2, "self.qsd.stop(kill_signal=9)"),
            Step::Qmp(command) => {
                let reply = self.replies.next().cloned();
                match &self.repro.shows {
                    Shows::Says(_) if is_the_one => self.says(command),
                    // Whether a daemon that lives on accepts it or refuses it is its own affair.
                    _ if reply.is_none() => {
                        let words = self.words(command);
                        self.python.call(2, "self.qsd.qmp", &words);
                    }
                    _ => self.command(command, reply.flatten().as_deref()),
                }
            }
            Step::Guest { export, commands } => {
                let reads = commands.iter().all(|command| command.starts_with("read"));
                let options: &[&str] = if reads { &["-r", "-f", "raw"] } else { &["-f", "raw"] };
                let to = format!("nbd('{export}')");
                match is_the_one {
                    true => self.reads(options, commands, &to),
                    false => {
                        let is_control = commands.contains(&self.repro.look);
                        let checked = is_control || self.guests == Guests::Succeed;
                        self.qemu_io("", options, commands, &to, checked);
                    }
                }
            }
        }
    }

    /// A read that finds what it looks for.
    fn reads(&mut self, options: &[&str], commands: &[String], image: &str) {
        self.qemu_io("result = ", options, commands, image, false);
        self.python.line(2, "self.assertNotIn('failed', result.stdout)");
    }

    /// A command that is accepted, or refused with an error of this class.
    fn command(&mut self, command: &Value, refused: Option<&str>) {
        let words = self.words(command);
        match refused {
            None => self.python.call(2, "self.qsd.cmd", &words),
            Some(class) => {
                self.python.call(2, "result = self.qsd.qmp", &words);
                self.python.line(2, &format!("self.assert_qmp(result, 'error/class', '{class}')"));
            }
        }
    }

    fn words(&self, command: &Value) -> Vec<String> {
        let files: Vec<&str> = self.repro.images.iter().map(|image| image.file.as_str()).collect();
        let arguments = command.get("arguments").filter(|it| it.as_object().is_some_and(|it| !it.is_empty()));
        let name = literal(&command["execute"], &[]);
        std::iter::once(name).chain(arguments.map(|it| literal(it, &files))).collect()
    }

    /// The last command, whose reply is wrong.
    fn says(&mut self, command: &Value) {
        let Shows::Says(patterns) = &self.repro.shows else { return };
        let words = self.words(command);
        self.python.call(2, "result = self.qsd.qmp", &words);
        if command["id"] == MUST_FAIL {
            self.python.line(2, "self.assertIn('error', result)");
            return;
        }
        for pattern in patterns {
            let parts: Vec<String> = pattern.split("[0-9]*").map(regex_lite::escape).collect();
            let pattern = parts.join("[0-9]*").replace('"', "\\\"");
            self.python.line(2, "self.assertNotRegex(");
            self.python.line(3, "result.get('error', {}).get('desc', ''),");
            self.python.line(3, &format!("r\"{pattern}\")"));
        }
    }

    /// What is looked at after the last step.
    fn verdict(&mut self) {
        let is_killed = self.repro.steps.contains(&Step::Kill);
        let stop = |test: &mut Self| {
            if !is_killed {
                test.python.line(2, "self.settle()");
                test.python.line(2, "self.qsd.stop()");
            }
        };
        match &self.repro.shows {
            Shows::GuestReads => {}
            Shows::Crash => {
                self.python.line(2, "self.settle()");
                self.python.line(2, "self.qsd.cmd('query-version')");
            }
            Shows::Hang => {
                self.python
                    .line(2, &format!("with iotests.Timeout({SECONDS_MAX}, 'the daemon does not end'):"));
                self.python.line(3, "self.qsd.stop()");
            }
            Shows::FileReads { file, format } => {
                stop(self);
                self.python.line(2, FROM_HERE);
                let look = [self.repro.look.clone()];
                self.reads(&["-r", "-f", format], &look, &variable(file));
            }
            Shows::Corrupt { file } | Shows::Unreadable { file } => {
                stop(self);
                self.python.line(2, FROM_HERE);
                let file = variable(file);
                self.python.line(2, &format!("result = qemu_img('check', {file}, check=False)"));
                let line = match &self.repro.shows {
                    Shows::Corrupt { .. } => "self.assertNotEqual(result.returncode, 2, result.stdout)",
                    _ => "self.assertEqual(result.returncode, 0, result.stdout)",
                };
                self.python.line(2, line);
            }
            Shows::Says(patterns) if patterns.iter().any(|what| what == JOB_ERROR) => {
                self.python.line(2, "self.settle()");
                self.python.line(2, FROM_HERE);
                self.python.line(2, "for event in self.qsd.get_qmp().get_events():");
                self.python.line(3, &format!("self.assertNotEqual(event['event'], '{JOB_ERROR}')"));
                self.python.line(3, "self.assertNotIn('error', event.get('data', {}))");
            }
            Shows::Says(patterns) if self.looks_at_events() => {
                self.python.line(2, "self.settle()");
                self.python.line(2, FROM_HERE);
                self.python.line(2, "for event in self.qsd.get_qmp().get_events():");
                for pattern in patterns {
                    self.python.line(3, "self.assertNotRegex(");
                    self.python.line(4, "json.dumps(event),");
                    self.python.line(4, &format!("r'{pattern}')"));
                }
            }
            Shows::Says(_) => {}
        }
    }

    /// Whether events are searched for a pattern.
    fn looks_at_events(&self) -> bool {
        let is_one = |pattern: &String| pattern != JOB_ERROR && is_of_an_event(pattern);
        matches!(&self.repro.shows, Shows::Says(any) if any.iter().any(is_one))
    }
}
