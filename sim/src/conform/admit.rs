//! What a recorded case may ask for. A case is data: it lives in its own scratch folder, and names nothing elsewhere.
//!
//! Every text of a case is looked at, whatever member it stands in, for any may be a file name to some command. What
//! could lead out is refused before anything is made: names with a folder, protocols and drivers that are no plain
//! file, addresses that are no unix socket, options of the daemon but for its objects. A program runs only if the
//! operator has said so; two things that cases do to their own files are done without one (`Change`).

use super::case::{Action, Case, Image};
use super::names::{FOLDER, NAME};
use regex_lite::Regex;
use serde_json::Value;
use std::fmt;
use std::sync::LazyLock;

/// The one folder that a case may name beside its own: there is none.
const NOWHERE: &str = "/no/such/";
/// Drivers whose only way to the world is a file name.
const DRIVERS: [&str; 9] =
    ["file", "qcow2", "raw", "blkdebug", "throttle", "copy-on-read", "compress", "null-co", "null-aio"];
/// What images are made with.
const IMAGE_OPTIONS: [&str; 8] = [
    "compat",
    "compression_type",
    "data_file",
    "data_file_raw",
    "extended_l2",
    "lazy_refcounts",
    "preallocation",
    "refcount_bits",
];
/// Members that name jobs, nodes and the like, and never a file.
const NO_FILES: [&str; 4] = ["id", "job-id", "name", "node-name"];
/// A text that is no JSON is sent as it stands, unless it could still be a command that names a file.
const NOT_IN_RAW: [&str; 6] = ["/", "\\", "driver", "file", "path", "server"];
/// Nobody waits longer.
const SECONDS_MAX: f64 = 600.0;

/// Why a case is not played.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NotAdmitted(String);

impl fmt::Display for NotAdmitted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Refuses a case that could reach out of its folder, and one that runs a program unless `runs_programs`.
pub fn admit(case: &Case, runs_programs: bool) -> Result<(), NotAdmitted> {
    let refused = |why: String| NotAdmitted(format!("case `{}`: {why}", case.name));
    case.images.iter().try_for_each(image).map_err(refused)?;
    arguments(&case.daemon_arguments).map_err(refused)?;
    case.blockdevs.iter().try_for_each(value).map_err(refused)?;
    for step in &case.steps {
        match &step.action {
            Action::Qmp(message) => qmp(message).map_err(refused)?,
            Action::Host(words) if Change::of(words).is_none() && !runs_programs => {
                let why = format!("the program `{}` runs only with --run-programs", words.join(" "));
                return Err(refused(why));
            }
            Action::Sleep(seconds) => time(*seconds).map_err(refused)?,
            Action::WaitEvent(wait) => time(wait.timeout).map_err(refused)?,
            Action::WaitJob(wait) => time(wait.timeout).map_err(refused)?,
            Action::Host(_) | Action::Io(_) | Action::Finish(_) | Action::Schema(_) => {}
        }
    }
    Ok(())
}

fn image(image: &Image) -> Result<(), String> {
    plain_name(&image.file)?;
    image.backing.iter().try_for_each(|name| text(name))?;
    for format in [Some(&image.format), image.backing_format.as_ref()].into_iter().flatten() {
        if !["qcow2", "raw"].contains(&format.as_str()) {
            return Err(format!("no image has the format `{format}`"));
        }
    }
    for (name, set) in &image.options {
        if !IMAGE_OPTIONS.contains(&name.as_str()) {
            return Err(format!("no image is made with the option `{name}`"));
        }
        let Some(word) = set.as_str() else { continue };
        if word.contains(',') {
            return Err(format!("`{word}` is more than one option"));
        }
        if name == "data_file" { plain_name(word)? } else { text(word)? }
    }
    Ok(())
}

/// A name in the folder of the case: no folder, and nothing that a tool would take for an option or a protocol.
fn plain_name(name: &str) -> Result<(), String> {
    let is_strange = |c: char| c == '/' || c == ':' || c == ',' || c.is_control();
    if name.is_empty() || name.starts_with(['.', '-']) || name.contains(is_strange) {
        return Err(format!("`{name}` is no name of a file in the folder of the case"));
    }
    Ok(())
}

fn arguments(words: &[String]) -> Result<(), String> {
    let is_object = |pair: &[String]| {
        let kinds = ["iothread,", "throttle-group,"];
        pair.len() == 2 && pair[0] == "--object" && kinds.iter().any(|kind| pair[1].starts_with(kind))
    };
    words.iter().try_for_each(|word| text(word))?;
    match words.chunks(2).all(is_object) {
        true => Ok(()),
        false => Err(format!(
            "a case gives the daemon only iothreads and throttle groups, not `{}`",
            words.join(" ")
        )),
    }
}

fn qmp(message: &Value) -> Result<(), String> {
    let Some(raw) = message.get("raw").and_then(Value::as_str) else { return value(message) };
    let parsed: Result<Vec<Value>, _> = serde_json::Deserializer::from_str(raw).into_iter().collect();
    match parsed {
        Ok(messages) => messages.iter().try_for_each(value),
        Err(_) => match NOT_IN_RAW.iter().find(|word| raw.contains(**word)) {
            Some(word) => Err(format!("a text that is no JSON holds `{word}`")),
            None => Ok(()),
        },
    }
}

/// Every text below.
fn value(of: &Value) -> Result<(), String> {
    match of {
        Value::String(word) => text(word),
        Value::Array(items) => items.iter().try_for_each(value),
        Value::Object(members) => members.iter().try_for_each(|(name, of)| member(name, of)),
        Value::Null | Value::Bool(_) | Value::Number(_) => Ok(()),
    }
}

fn member(name: &str, of: &Value) -> Result<(), String> {
    // `file.driver` is a driver too.
    let last = name.rsplit('.').next().unwrap_or(name);
    match (last, of) {
        (last, Value::String(_)) if NO_FILES.contains(&last) => Ok(()),
        ("driver", Value::String(driver)) if !DRIVERS.contains(&driver.as_str()) => {
            Err(format!("no node of a case has the driver `{driver}`"))
        }
        ("type", Value::String(kind))
            if ["inet", "vsock", "fd", "fuse", "vduse-blk", "vhost-user-blk"].contains(&kind.as_str()) =>
        {
            Err(format!("a case reaches nobody over `{kind}`"))
        }
        _ => value(of),
    }
}

/// A text that may be a file name: then of a file in the folder of the case, plainly or below `$DIR`.
fn text(text: &str) -> Result<(), String> {
    let outside = || Err(format!("`{text}` leads out of the folder of the case"));
    let bare = text.strip_prefix("file:").unwrap_or(text);
    if let Some(options) = bare.strip_prefix("json:") {
        let options: Value = serde_json::from_str(options).map_err(|_| format!("`{text}` is no JSON"))?;
        return value(&options);
    }
    if bare.contains('\0') {
        return outside();
    }
    if bare.starts_with(NOWHERE) && !bare.contains("..") {
        return Ok(());
    }
    let own = bare.strip_prefix(FOLDER).and_then(|rest| rest.strip_prefix('/'));
    // Out of the folder and in again by its own name.
    let own = own.map(|name| {
        name.strip_prefix("../").and_then(|rest| rest.strip_prefix(NAME)?.strip_prefix('/')).unwrap_or(name)
    });
    let name = own.unwrap_or(bare);
    let has_protocol = own.is_none() && PROTOCOL.is_match(bare);
    if name.contains('/') || name == ".." || name.contains(FOLDER) && name != FOLDER || has_protocol {
        return outside();
    }
    Ok(())
}

static PROTOCOL: LazyLock<Regex> =
    LazyLock::new(|| Regex::new("^[A-Za-z][A-Za-z0-9+.-]*:").expect("a pattern of ours"));

fn time(seconds: f64) -> Result<(), String> {
    match (0.0..=SECONDS_MAX).contains(&seconds) {
        true => Ok(()),
        false => Err(format!("nobody waits {seconds} seconds")),
    }
}

/// What a case does to one of its own files without a program, though it is written as one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Change {
    /// `chmod MODE FILE`
    Mode {
        /// The file's name.
        file: String,
        /// Its permissions from now on.
        mode: u32,
    },
    /// One byte is written again and again, as a Python program that writes just that.
    Bytes {
        /// The file's name.
        file: String,
        /// Where, in bytes.
        offset: u64,
        /// What.
        byte: u8,
        /// How often.
        len: usize,
    },
}

impl Change {
    /// What these words do, if it is one of the two.
    pub fn of(words: &[String]) -> Option<Change> {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let change = match words[..] {
            ["chmod", mode, file] => {
                let mode = u32::from_str_radix(mode, 8).ok().filter(|mode| *mode <= 0o777)?;
                Change::Mode { file: file.to_owned(), mode }
            }
            ["python3", "-c", program] => Change::bytes(program)?,
            _ => return None,
        };
        let (Change::Mode { file, .. } | Change::Bytes { file, .. }) = &change;
        plain_name(file).ok()?;
        Some(change)
    }

    fn bytes(program: &str) -> Option<Change> {
        static PROGRAM: LazyLock<Regex> = LazyLock::new(|| {
            Regex::new(
                r"^f=open\('([^'\\]+)','r\+b'\);f\.seek\(0x([0-9a-f]{1,8})\);f\.write\(b'\\x([0-9a-f]{2})'\*([0-9]{1,6})\)$",
            )
            .expect("a pattern of ours")
        });
        let found = PROGRAM.captures(program)?;
        Some(Change::Bytes {
            file: found[1].to_owned(),
            offset: u64::from_str_radix(&found[2], 16).ok()?,
            byte: u8::from_str_radix(&found[3], 16).ok()?,
            len: found[4].parse().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;
    use serde_json::json;

    fn refusal(change: impl FnOnce(&mut Value)) -> Option<String> {
        let mut case = json!({
            "name": "c", "category": "c", "images": [{"file": "a.qcow2", "size": 65536}],
            "blockdevs": [{"driver": "qcow2", "node-name": "n/0",
                           "file": {"driver": "file", "filename": "$DIR/a.qcow2"}}],
            "steps": [{"qmp": {"execute": "block-stream", "arguments": {"device": "n0", "job-id": "j:/"}}}],
        });
        change(&mut case);
        let case = Case::deserialize(&case).expect("a case");
        admit(&case, false).err().map(|refused| refused.to_string())
    }

    #[test]
    fn whatever_leads_out_of_the_folder_is_refused() {
        assert_eq!(refusal(|_| ()), None);
        let names = [
            "/etc/passwd",
            "../a",
            "$DIR/../a",
            "$DIR/sub/a",
            "sub/a",
            "..",
            "$DIR/..",
            "$DIR/../$DIRNAME/../a",
            "$DIR/../$DIRNAMEx/a",
            "a$DIR/b",
            "$DIR/$DIR/a",
            "/no/such/../../etc/passwd",
            "a\0b",
            "nbd://host/x",
            "nbd:localhost:1",
            "fat:..",
            "file:/etc/passwd",
            r#"json:{"driver":"file","filename":"/etc/passwd"}"#,
            r#"json:{"driver":"nbd","host":"h"}"#,
            r#"json:{"driver":"file","filename":"\u002fetc"}"#,
            "json:{",
        ];
        for name in names {
            let places: [&dyn Fn(&mut Value); 5] = [
                &|case| case["images"][0]["backing"] = json!(name),
                &|case| case["blockdevs"][0]["file"]["filename"] = json!(name),
                &|case| case["blockdevs"][0]["file.x.filename"] = json!(name),
                &|case| case["steps"][0]["qmp"]["arguments"]["backing-file"] = json!(name),
                &|case| case["steps"][0]["qmp"] = json!({"raw": json!({"a": [name]}).to_string()}),
            ];
            for (index, place) in places.iter().enumerate() {
                assert!(refusal(place).is_some(), "{name:?} in place {index}");
            }
        }
        for file in ["/a", "../a", "a/b", "", ".", "..", "-o", "a:b", "a,b", "a\0"] {
            assert!(refusal(|case| case["images"][0]["file"] = json!(file)).is_some(), "{file:?}");
            let options = json!({"data_file": file});
            assert!(refusal(|case| case["images"][0]["opts"] = options).is_some(), "{file:?}");
        }
    }

    #[test]
    fn what_reaches_the_network_or_the_system_is_refused() {
        let changes: [&dyn Fn(&mut Value); 9] = [
            &|case| case["images"][0]["fmt"] = json!("nbd"),
            &|case| case["images"][0]["opts"] = json!({"backing_file": "a"}),
            &|case| case["images"][0]["opts"] = json!({"compat": "1.1,backing_file=a"}),
            &|case| case["qsd_args"] = json!(["--pidfile", "a"]),
            &|case| case["qsd_args"] = json!(["--object", "secret,id=s,file=a"]),
            &|case| case["blockdevs"][0]["file"]["driver"] = json!("host_device"),
            &|case| case["blockdevs"][0]["file.driver"] = json!("nbd"),
            &|case| case["steps"][0]["qmp"]["arguments"]["addr"] = json!({"type": "inet", "host": "h"}),
            &|case| {
                case["steps"][0]["qmp"] = json!({"raw": "{'execute': 'x', 'arguments': {'driver': 'nbd'}}"})
            },
        ];
        for (index, change) in changes.iter().enumerate() {
            assert!(refusal(change).is_some(), "change {index}");
        }
        for seconds in [-1.0, 1e300] {
            assert!(refusal(|case| case["steps"][0] = json!({"sleep": seconds})).is_some());
        }
    }

    #[test]
    fn a_program_runs_only_if_the_operator_says_so() {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        for program in [
            &["touch", "x"][..],
            &["sh", "-c", "x"],
            &["chmod", "4755", "a"],
            &["chmod", "444", "/etc/passwd"],
            &["chmod", "444", "../a"],
            &["chmod", "-R", "444", "a"],
            &["python3", "-c", "import os"],
            &["python3", "-c", r"f=open('/a','r+b');f.seek(0x0);f.write(b'\xff'*64)"],
            &["python3", "-c", r"f=open('a','r+b');f.seek(0x0);f.write(b'\xff'*64);import os"],
        ] {
            assert_eq!(Change::of(&words(program)), None, "{program:?}");
            let why = refusal(|case| case["steps"][0] = json!({"host": program})).expect("a refusal");
            assert!(why.contains("--run-programs"), "{why}");
        }
        let file = "a.qcow2".to_owned();
        let mode = Change::Mode { file: file.clone(), mode: 0o444 };
        assert_eq!(Change::of(&words(&["chmod", "444", "a.qcow2"])), Some(mode));
        let program = r"f=open('a.qcow2','r+b');f.seek(0x40000);f.write(b'\xff'*64)";
        let bytes = Change::Bytes { file, offset: 0x40000, byte: 0xff, len: 64 };
        assert_eq!(Change::of(&words(&["python3", "-c", program])), Some(bytes));
    }
}
