//! The real image tools: they make the images and look at them afterwards.

use crate::conform::admit::Change;
use crate::conform::case::{Image, WriteOp};
use crate::conform::hash::hash;
use crate::conform::names::Names;
use crate::fence;
use rustix::fs::{Mode, OFlags};
use serde_json::{Map, Value, json};
use std::fs;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// A disk larger than this is not read.
const CONTENT_BYTES_MAX: u64 = 64 << 20;
/// More extents than this are not listed one by one.
const EXTENTS_LISTED: usize = 200;
/// Of what a program says, so many characters are kept.
const SAID_CHARACTERS: usize = 400;

/// What a program said.
#[derive(Debug)]
pub struct Run {
    /// Its exit status.
    pub code: i32,
    /// The end of its output.
    pub out: String,
    /// The end of its complaints.
    pub error: String,
    whole: Vec<u8>,
    complaints: String,
}

/// Which tool is missing.
pub fn missing() -> Option<String> {
    let lacks = |tool: &&str| {
        let asked = Command::new(tool).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        !asked.is_ok_and(|status| status.success())
    };
    let tool = ["qemu-img", "qemu-io"].into_iter().find(lacks)?;
    Some(format!("{tool} is needed to make images for a daemon, and it is not on the PATH"))
}

/// Runs a program in the folder, and fenced in there.
pub fn run(words: &[&str], folder: &Path) -> Run {
    run_by(words, folder, |command| fence::output(command, folder))
}

/// Runs a program in the folder that may do anything.
pub fn run_freely(words: &[&str], folder: &Path) -> Run {
    run_by(words, folder, Command::output)
}

fn run_by(words: &[&str], folder: &Path, start: impl FnOnce(&mut Command) -> io::Result<Output>) -> Run {
    let Some((program, arguments)) = words.split_first() else {
        return Run {
            code: 0,
            out: String::new(),
            error: String::new(),
            whole: Vec::new(),
            complaints: String::new(),
        };
    };
    let mut command = Command::new(program);
    command.args(arguments).current_dir(folder).stdin(Stdio::null());
    match start(&mut command) {
        Ok(output) => {
            let complaints = String::from_utf8_lossy(&output.stderr).into_owned();
            Run {
                code: output.status.code().unwrap_or(-1),
                out: tail(&String::from_utf8_lossy(&output.stdout)),
                error: tail(&complaints),
                whole: output.stdout,
                complaints,
            }
        }
        Err(error) => {
            let said = error.to_string();
            Run { code: -1, out: String::new(), error: said.clone(), whole: Vec::new(), complaints: said }
        }
    }
}

/// Changes a file in the folder; a link is not followed.
pub fn change(change: &Change, folder: &Path) -> std::io::Result<()> {
    let open = |file: &str, access: OFlags| {
        let flags = access | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        rustix::fs::open(folder.join(file), flags, Mode::empty())
    };
    match change {
        Change::Mode { file, mode } => {
            rustix::fs::fchmod(open(file, OFlags::RDONLY)?, Mode::from_raw_mode(*mode))?;
        }
        Change::Bytes { file, offset, byte, len } => {
            fs::File::from(open(file, OFlags::RDWR)?).write_all_at(&vec![*byte; *len], *offset)?;
        }
    }
    Ok(())
}

fn tail(text: &str) -> String {
    let skipped = text.chars().count().saturating_sub(SAID_CHARACTERS);
    text.chars().skip(skipped).collect()
}

/// Makes an image; what went wrong.
pub fn make(image: &Image, folder: &Path) -> Option<Value> {
    let path = folder.join(&image.file).display().to_string();
    let mut options: Vec<String> =
        image.cluster_size.iter().map(|bytes| format!("cluster_size={bytes}")).collect();
    options.extend(image.options.iter().map(|(name, value)| match value.as_str() {
        Some(text) => format!("{name}={text}"),
        None => format!("{name}={value}"),
    }));
    let options = options.join(",");
    let backing = image.backing.as_ref().map(|name| Names::new(&folder.display().to_string()).fill(name));
    let size = image.size.to_string();
    let mut words = vec!["qemu-img", "create", "-q", "-f", &image.format];
    if !options.is_empty() {
        words.extend(["-o", &options]);
    }
    if let Some(backing) = &backing {
        words.extend(["-b", backing, "-F", image.backing_format.as_deref().unwrap_or("qcow2")]);
    }
    words.extend([path.as_str(), size.as_str()]);
    let made = run(&words, folder);
    if made.code != 0 {
        return Some(json!({"file": image.file, "create_error": made.complaints.trim()}));
    }
    fill(image, &path, folder)
}

fn fill(image: &Image, path: &str, folder: &Path) -> Option<Value> {
    let commands: Vec<String> = image
        .writes
        .iter()
        .map(|write| {
            let (offset, len) = (write.offset, write.len);
            match write.op {
                WriteOp::Write => {
                    let compressed = if write.compressed { "-c " } else { "" };
                    format!("write -q {compressed}-P {} {offset} {len}", write.pattern)
                }
                WriteOp::Zero => {
                    format!("write -q -z {}{offset} {len}", if write.unmap { "-u " } else { "" })
                }
                WriteOp::Discard => format!("discard -q {offset} {len}"),
            }
        })
        .collect();
    if commands.is_empty() {
        return None;
    }
    let mut words = vec!["qemu-io", "-f", &image.format];
    commands.iter().for_each(|command| words.extend(["-c", command]));
    words.push(path);
    let written = run(&words, folder);
    let wrong = written.code != 0 || !written.complaints.is_empty();
    let said = format!("{}{}", written.complaints, written.out);
    wrong.then(|| json!({"file": image.file, "write_error": said.trim()}))
}

/// What an image holds, now that nobody has it open.
pub fn look(image: &Image, folder: &Path) -> Value {
    let path = folder.join(&image.file).display().to_string();
    if !Path::new(&path).exists() {
        return json!({"missing": true});
    }
    let ask = |words: &[&str]| {
        let words: Vec<&str> = [&["qemu-img"], words, &["-f", &image.format, &path]].concat();
        run(&words, folder)
    };
    let mut shown = Map::new();
    if image.format == "qcow2" {
        let checked = ask(&["check", "--output=json"]);
        shown.insert("check_rc".to_owned(), json!(checked.code));
        let members = [
            "check-errors",
            "corruptions",
            "leaks",
            "allocated-clusters",
            "total-clusters",
            "image-end-offset",
        ];
        let report = serde_json::from_slice(&checked.whole).ok();
        put(&mut shown, "check", "check_err", report.map(|report| pick(&report, &members)), &checked);
    }
    let members =
        ["filename", "format", "virtual-size", "backing-filename", "backing-filename-format", "cluster-size"];
    let info = ask(&["info", "--backing-chain", "--output=json"]);
    let chain = list(&info).map(|layers| layers.iter().map(|layer| pick(layer, &members)).collect());
    put(&mut shown, "chain", "info_err", chain, &info);
    let mapped = ask(&["map", "--output=json"]);
    put(&mut shown, "map", "map_err", list(&mapped).map(|extents| map(&extents)), &mapped);
    if image.size <= CONTENT_BYTES_MAX {
        let raw = folder.join("content.raw");
        let raw_text = raw.display().to_string();
        let converted =
            run(&["qemu-img", "convert", "-f", &image.format, "-O", "raw", &path, &raw_text], folder);
        let bytes = if converted.code == 0 { fs::read(&raw).ok() } else { None };
        let content = bytes.map(|bytes| json!({"size": bytes.len(), "sha256": hash(&bytes, 24)}));
        put(&mut shown, "content", "convert_err", content, &converted);
        // The next image's content takes its place in any case.
        let _gone = fs::remove_file(raw);
    }
    Value::Object(shown)
}

fn put(shown: &mut Map<String, Value>, name: &str, error_name: &str, what: Option<Value>, run: &Run) {
    match what {
        Some(value) => shown.insert(name.to_owned(), value),
        None => shown.insert(error_name.to_owned(), json!(run.complaints.trim())),
    };
}

fn list(run: &Run) -> Option<Vec<Value>> {
    if run.code == 0 { serde_json::from_slice(&run.whole).ok() } else { None }
}

fn pick(from: &Value, members: &[&str]) -> Value {
    let there = |member: &&str| from.get(*member).map(|value| ((*member).to_owned(), value.clone()));
    Value::Object(members.iter().filter_map(there).collect())
}

fn map(extents: &[Value]) -> Value {
    let line = |extent: &Value| {
        let flag = |name: &str, letter: char, default: bool| {
            if extent[name].as_bool().unwrap_or(default) { letter } else { '-' }
        };
        let (data, zero, present) =
            (flag("data", 'D', false), flag("zero", 'Z', false), flag("present", 'P', true));
        format!("{}+{} d{} {data}{zero}{present}", extent["start"], extent["length"], extent["depth"])
    };
    let lines: Vec<String> = extents.iter().map(line).collect();
    if lines.len() <= EXTENTS_LISTED {
        return json!(lines);
    }
    json!({"entries": lines.len(), "sha256": hash(lines.join("\n").as_bytes(), 16)})
}
