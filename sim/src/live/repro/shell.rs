//! A script as shell.

use super::{Control, Image, Repro, Shows, Step};
use serde_json::{Map, Value, json};
use std::fmt::Write;

/// What the command of a control is called.
pub(super) const BEFORE: &str = "before";

/// How long a job gets to go on. This is a script for people, who see what happens; no test waits so.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) enum Pace {
    /// As scripts are kept.
    Kept,
    /// For trying many of them.
    Quick,
}

impl Pace {
    pub(super) fn wait(self) -> &'static str {
        match self {
            Pace::Kept => "sleep 0.5",
            Pace::Quick => "sleep 0.1",
        }
    }

    /// The daemon is killed when jobs have had their time.
    pub(super) fn kill(self) -> String {
        format!("{}; kill -9 $(cat pid)", self.wait())
    }

    /// After so long a daemon that was asked to quit hangs.
    fn seconds_max(self) -> u32 {
        match self {
            Pace::Kept => 10,
            Pace::Quick => 2,
        }
    }
}

/// The whole script. It ends with 1 if the defect shows, and with 0 if it does not.
pub(super) fn text(title: &[&str], repro: &Repro, pace: Pace) -> String {
    let mut text = String::from("#!/bin/sh\n");
    let mut line = |line: &str| writeln!(text, "{line}").expect("a string takes any text");
    title.iter().flat_map(|part| part.lines()).for_each(|part| line(&format!("# {part}")));
    line("cd \"$(mktemp -d)\" || exit 2");
    repro.images.iter().flat_map(image).for_each(|command| line(&command));
    if let Control::FileBefore { file, format } = &repro.control {
        line(&format!("qemu-io -r -f {format} -c '{}' {file} | grep failed && exit 2", repro.look));
    }
    if let Control::ChecksBefore { file } = &repro.control {
        line(&format!("qemu-img check -q {file} || exit 2"));
    }
    daemon(repro, pace).iter().for_each(|part| line(part));
    verdict(repro).iter().for_each(|part| line(part));
    text
}

/// How it is made and filled.
fn image(image: &Image) -> Vec<String> {
    let mut create = format!("qemu-img create -q -f {}", image.format);
    if let Some((file, format)) = &image.backing {
        create += &format!(" -b {file} -F {format}");
    }
    if !image.options.is_empty() {
        create += &format!(" -o {}", image.options.join(","));
    }
    create += &format!(" {} {}", image.file, size(image.size_bytes));
    let mut lines = vec![create];
    if !image.content.is_empty() {
        lines.push(format!(
            "qemu-io -f {} {} {} >/dev/null",
            image.format,
            commands(&image.content),
            image.file
        ));
    }
    lines
}

fn commands(all: &[String]) -> String {
    all.iter().map(|command| format!("-c '{command}'")).collect::<Vec<_>>().join(" ")
}

/// What is done while the daemon runs, and the daemon.
fn daemon(repro: &Repro, pace: Pace) -> Vec<String> {
    let wait = pace.wait();
    let mut lines = vec!["{ cat <<'QMP'".to_owned(), r#"{"execute":"qmp_capabilities"}"#.to_owned()];
    let last = repro.steps.iter().rev().find_map(|step| match step {
        Step::Qmp(command) => Some(command.clone()),
        _ => None,
    });
    if let (Control::RefusedBefore, Some(mut before)) = (&repro.control, last) {
        before["id"] = json!(BEFORE);
        lines.push(command_text(&before));
    }
    let mut is_open = true;
    for (at, step) in repro.steps.iter().enumerate() {
        let is_command = matches!(step, Step::Qmp(_));
        match (is_open, is_command) {
            (false, true) => lines.push("cat <<'QMP'".to_owned()),
            (true, false) => lines.push("QMP".to_owned()),
            _ => {}
        }
        is_open = is_command;
        let is_last = at + 1 == repro.steps.len();
        lines.push(match step {
            Step::Qmp(command) => command_text(command),
            Step::Wait => wait.to_owned(),
            Step::Kill => pace.kill(),
            Step::Guest { export, commands: all } => {
                let to = match is_last && repro.shows == Shows::GuestReads {
                    true => "read.txt",
                    false if all.contains(&repro.look) => "wrote.txt",
                    false => "/dev/null",
                };
                let url = format!("'nbd+unix:///{export}?socket=nbd.sock'");
                let reads = if all.iter().all(|command| command.starts_with("read")) { "-r " } else { "" };
                let behind = if stays(all) { " &" } else { "" };
                format!("{wait}; qemu-io {reads}-f raw {} {url} >{to}{behind}", commands(all))
            }
        });
    }
    let ends_alone = repro.steps.contains(&Step::Kill);
    if is_open {
        lines.push("QMP".to_owned());
    }
    lines.push(if ends_alone {
        format!("{wait}; }} |")
    } else {
        format!(r#"{wait}; echo '{{"execute":"quit"}}'; }} |"#)
    });
    lines.extend(start(repro, pace));
    lines
}

/// Whether a client stays connected while other things are done.
pub(super) fn stays(commands: &[String]) -> bool {
    commands.last().is_some_and(|command| command.starts_with("sleep "))
}

/// A command as people write it: what to do before what with.
fn command_text(command: &Value) -> String {
    let members = ["execute", "arguments", "id"].into_iter();
    let member = |name| command.get(name).map(|value| format!("\"{name}\":{value}"));
    format!("{{{}}}", members.filter_map(member).collect::<Vec<_>>().join(","))
}

/// The daemon's command line.
fn start(repro: &Repro, pace: Pace) -> Vec<String> {
    let mut first = String::from("qemu-storage-daemon --chardev stdio,id=m --monitor m");
    if repro.shows == Shows::Hang {
        first = format!("timeout -k 1 {} {first}", pace.seconds_max());
    }
    if repro.has_exports() {
        first += " --nbd-server addr.type=unix,addr.path=nbd.sock";
    }
    if repro.steps.contains(&Step::Kill) {
        first += " --pidfile pid";
    }
    let mut lines = vec![first];
    lines.extend(repro.nodes.iter().map(|node| format!("  --blockdev {}", key_values(node))));
    if matches!(repro.shows, Shows::Says(_)) {
        let last = lines.last_mut().expect("there is the first");
        *last += " | tee said.txt";
    }
    let count = lines.len();
    lines.iter_mut().take(count - 1).for_each(|line| *line += " \\");
    lines
}

/// How the script finds out.
fn verdict(repro: &Repro) -> Vec<String> {
    const FAILED: &str = "! grep 'Pattern verification failed' read.txt";
    let mut lines: Vec<String> = match repro.control {
        Control::ReadBack => vec!["[ -s wrote.txt ] && ! grep failed wrote.txt || exit 2".to_owned()],
        Control::RefusedBefore => {
            let refused =
                format!(r#"grep -q -e '"error".*{BEFORE}' -e '{BEFORE}.*"error"' said.txt || exit 2"#);
            vec![refused]
        }
        _ => Vec::new(),
    };
    lines.extend(match &repro.shows {
        // A program that a signal ends has a status of over 128.
        Shows::Crash => vec!["[ $? -lt 128 ]".to_owned()],
        // So does `timeout` itself if a daemon that hangs has to be killed; one that ends when asked to has 124.
        Shows::Hang => vec!["[ $? -lt 124 ]".to_owned()],
        Shows::GuestReads => vec![FAILED.to_owned()],
        Shows::FileReads { file, format } => {
            let read = format!("qemu-io -r -f {format} -c '{}' {file} >read.txt", repro.look);
            vec![read, FAILED.to_owned()]
        }
        Shows::Says(any) => {
            let patterns = any.iter().map(|what| format!("-e {}", quoted(what))).collect::<Vec<_>>();
            vec![format!("! grep {} said.txt", patterns.join(" "))]
        }
        Shows::Unreadable { file } => vec![format!("qemu-img check {file}")],
        Shows::Corrupt { file } => vec![format!("qemu-img check {file}"), "[ $? -ne 2 ]".to_owned()],
    });
    lines
}

/// Whether what a script looks for is never right, whatever came before: a crash, a hang, damage.
pub fn is_never_right(text: &str) -> bool {
    text.lines().last().is_some_and(|line| line.starts_with("[ $?") || line.starts_with("qemu-img check"))
}

/// A text as one word of a shell.
fn quoted(text: &str) -> String {
    if text.contains('\'') && !text.contains(['"', '$', '`', '\\', '!']) {
        return format!("\"{text}\"");
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// Options as the daemon's command line has them: `driver=qcow2,file.driver=file`. What it cannot say is JSON.
pub(super) fn key_values(options: &Map<String, Value>) -> String {
    let mut pairs = Vec::new();
    if flatten("", &Value::Object(options.clone()), &mut pairs) {
        return pairs.join(",");
    }
    quoted(&Value::Object(options.clone()).to_string())
}

/// Whether all of it could be said.
fn flatten(name: &str, value: &Value, pairs: &mut Vec<String>) -> bool {
    let below = |part: &str| if name.is_empty() { part.to_owned() } else { format!("{name}.{part}") };
    match value {
        Value::Object(members) => members.iter().all(|(part, value)| flatten(&below(part), value, pairs)),
        Value::Array(items) => {
            items.iter().enumerate().all(|(at, value)| flatten(&below(&at.to_string()), value, pairs))
        }
        Value::Null => false,
        Value::Bool(is_on) => {
            pairs.push(format!("{name}={}", if *is_on { "on" } else { "off" }));
            true
        }
        Value::Number(number) => {
            pairs.push(format!("{name}={number}"));
            true
        }
        Value::String(text) => {
            pairs.push(format!("{name}={text}"));
            text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_./#".contains(&byte))
        }
    }
}

/// A size as people write it.
pub(super) fn size(bytes: u64) -> String {
    match bytes {
        bytes if bytes > 0 && bytes.is_multiple_of(1 << 20) => format!("{}M", bytes >> 20),
        bytes if bytes > 0 && bytes.is_multiple_of(1 << 10) => format!("{}k", bytes >> 10),
        bytes => bytes.to_string(),
    }
}

/// The bytes that [`size`] wrote.
pub(super) fn bytes_of(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(['k', 'M']);
    let unit = match &text[digits.len()..] {
        "" => 1,
        "k" => 1 << 10,
        "M" => 1 << 20,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_words_where_they_can_be() {
        let of = |value: Value| key_values(value.as_object().expect("options"));
        assert_eq!(
            of(
                json!({"driver": "qcow2", "file": {"driver": "file", "filename": "a.qcow2"}, "read-only": true})
            ),
            "driver=qcow2,file.driver=file,file.filename=a.qcow2,read-only=on"
        );
        assert_eq!(of(json!({"driver": "qcow2", "backing": null})), r#"'{"backing":null,"driver":"qcow2"}'"#);
        assert_eq!(of(json!({"inject-error": [{"errno": 5}]})), "inject-error.0.errno=5");
    }

    #[test]
    fn sizes_are_as_people_write_them() {
        let sizes = [0, 512, 65536, 3 << 20];
        assert_eq!(sizes.map(size), ["0", "512", "64k", "3M"]);
        assert_eq!(sizes.map(|bytes| bytes_of(&size(bytes))), sizes.map(Some));
        assert_eq!(["", "k", "x", "4G"].map(bytes_of), [None; 4]);
    }
}
