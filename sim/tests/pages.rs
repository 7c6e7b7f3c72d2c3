//! Pages of runs in a browser: they open without errors, a reader gets by keyboard to where a law breaks, and finds there the
//! law, the chain and the sector that differs. All pages are opened in one start of the browser.
//!
//! Without Chromium the tests say that they are skipped.

use serde_json::Value;
use sim::programs::{Program, skipped};
use std::fmt::Write as _;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const WALK: &str = include_str!("pages/walk.js");
/// Comes before all else on a page: what the console would show.
const LISTEN: &str = "<head><script>window.errors = []; window.onerror = (text) => { errors.push(String(text)); }; \
                      console.error = (...texts) => { errors.push(texts.join(' ')); };</script>";
/// The five worst defects of a live daemon: their traces, which say what was to be done, and what was recorded of them.
const LIVE: [&str; 5] =
    ["short-layer-memory", "discard-under-write", "no-flush", "mirror-bypassed", "short-layer"];
/// A page of a usual trace is smaller.
const LEN_BYTES_MAX: usize = 1 << 20;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn midstream(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_midstream"));
    command.args(arguments).current_dir(root()).output().expect("the program starts")
}

/// The page of a trace or a history, and more options.
fn page_of(path: &str, more: &[&str]) -> String {
    let folder = tempfile::tempdir().expect("a scratch folder");
    let out = folder.path().join("page.html");
    let mut arguments = vec!["show", path, "--html", out.to_str().expect("a plain name")];
    arguments.extend(more);
    let output = midstream(&arguments);
    assert!(output.status.success(), "{path}: {output:?}");
    fs::read_to_string(out).expect("the page is there")
}

/// What the browser finds on pages; nothing if there is no browser.
fn walked(test: &str, pages: &[(String, String)]) -> Option<Vec<Value>> {
    let chromium = Program::named("chromium").expect("it is listed");
    if chromium.version().is_none() {
        let why = skipped(&["chromium"]);
        writeln!(std::io::stderr(), "{test}: {why}").expect("standard error takes it");
        return None;
    }
    let mut text = "<!doctype html><meta charset=\"utf-8\"><body><pre id=\"found\"></pre>".to_owned();
    for (name, page) in pages {
        let page = page.replacen("<head>", LISTEN, 1);
        let coded = base64(page.as_bytes());
        write!(text, "<script type=\"text/page\" data-name=\"{name}\">{coded}</script>")
            .expect("a string takes all");
    }
    write!(text, "<script>{WALK}</script>").expect("a string takes all");
    let folder = tempfile::tempdir().expect("a scratch folder");
    let path = folder.path().join("all.html");
    fs::write(&path, text).expect("writable");
    let output = Command::new(chromium.name)
        .args(["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"])
        .args(["--virtual-time-budget=600000", "--dump-dom"])
        .arg(format!("--user-data-dir={}", folder.path().join("profile").display()))
        .arg(format!("file://{}", path.display()))
        .output()
        .expect("it was there before");
    let dom = String::from_utf8_lossy(&output.stdout).into_owned();
    let coded =
        dom.split("<pre id=\"found\">").nth(1).and_then(|rest| rest.split('<').next()).unwrap_or_default();
    let found: Vec<Value> = serde_json::from_slice(&unbase64(coded)).unwrap_or_else(|error| {
        panic!("{error}: the browser found nothing: {}", String::from_utf8_lossy(&output.stderr))
    });
    assert_eq!(found.len(), pages.len(), "every page is opened");
    Some(found)
}

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

fn base64(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 4 / 3 + 4);
    for part in bytes.chunks(3) {
        let number =
            part.iter().fold(0u32, |all, byte| all << 8 | u32::from(*byte)) << (8 * (3 - part.len()));
        for digit in 0..4 {
            let is_there = digit <= part.len();
            text.push(if is_there {
                char::from(DIGITS[(number >> (18 - 6 * digit) & 63) as usize])
            } else {
                '='
            });
        }
    }
    text
}

fn unbase64(text: &str) -> Vec<u8> {
    let digits: Vec<u32> = text
        .bytes()
        .filter_map(|byte| DIGITS.iter().position(|digit| *digit == byte))
        .map(|at| at as u32)
        .collect();
    let bytes = digits.chunks(4).flat_map(|part| {
        let number = part.iter().fold(0u32, |all, digit| all << 6 | digit) << (6 * (4 - part.len()));
        number.to_be_bytes()[1..part.len()].to_vec()
    });
    bytes.collect()
}

fn has_no_errors(found: &Value) {
    assert_eq!(found["errors"].as_array().map(Vec::len), Some(0), "{}: {}", found["name"], found["errors"]);
    assert_eq!(found["unnamed"], 0, "{}: every control and picture has a name", found["name"]);
    assert_eq!(found["wide"], 0, "{}: nothing reaches out of the page", found["name"]);
}

#[test]
fn what_a_page_is_coded_in_comes_back() {
    for text in ["", "a", "ab", "abc", "abcd é"] {
        assert_eq!(unbase64(&base64(text.as_bytes())), text.as_bytes());
    }
    assert_eq!(base64(b"hello"), "aGVsbG8=");
}

#[test]
fn every_kept_trace_opens_as_a_small_page_without_an_error() {
    let mut paths: Vec<String> = fs::read_dir(root().join("traces"))
        .expect("a folder")
        .filter_map(|entry| entry.expect("an entry").file_name().into_string().ok())
        .filter(|name| name.ends_with(".json"))
        .map(|name| format!("traces/{name}"))
        .collect();
    paths.extend(LIVE.map(|name| format!("traces/live/{name}.json")));
    paths.extend(LIVE.map(|name| format!("tests/known/{name}.jsonl")));
    paths.sort();
    assert!(paths.len() > 60, "{}", paths.len());
    let pages: Vec<(String, String)> = paths.iter().map(|path| (path.clone(), page_of(path, &[]))).collect();
    let mut lens: Vec<usize> = pages.iter().map(|(_, page)| page.len()).collect();
    lens.sort_unstable();
    assert!(lens[lens.len() / 2] < LEN_BYTES_MAX, "{lens:?}");
    let Some(found) = walked("every_kept_trace_opens_as_a_small_page_without_an_error", &pages) else {
        return;
    };
    for found in &found {
        has_no_errors(found);
        // Of a live run only what was to be done is known, which may be one command.
        let rows = found["rows"].as_u64().expect("a number");
        assert!(rows > 0, "{found}");
        assert!(rows == 1 || found["walked"]["first"] != found["walked"]["second"], "{found}");
        assert_eq!(found["walked"]["first"], found["walked"]["back"], "{found}");
        let name = found["name"].as_str().expect("a path");
        let (is_live, is_recorded) = (name.starts_with("traces/live"), name.ends_with(".jsonl"));
        assert_eq!(found["verdict"], if is_live || is_recorded { "BROKEN" } else { "PASSED" }, "{found}");
        assert!(is_live || rows > 3, "{found}");
        assert!(is_live || found["nodes"].as_array().is_some_and(|nodes| !nodes.is_empty()), "{found}");
    }
    let mut milliseconds: Vec<f64> =
        found.iter().filter_map(|found| found["milliseconds"].as_f64()).collect();
    milliseconds.sort_by(f64::total_cmp);
    println!(
        "pages: {} bytes and {:.0} ms in the median",
        lens[lens.len() / 2],
        milliseconds[milliseconds.len() / 2]
    );
}

#[test]
fn by_keyboard_a_reader_comes_to_where_it_breaks_and_finds_law_chain_and_sector() {
    let path = "tests/screens/serialise-on-request.jsonl";
    let page = page_of(path, &["--beside", "tests/screens/pause-ignored.jsonl"]);
    let test = "by_keyboard_a_reader_comes_to_where_it_breaks_and_finds_law_chain_and_sector";
    let Some(found) = walked(test, &[(path.to_owned(), page)]) else { return };
    let found = &found[0];
    has_no_errors(found);
    assert_eq!(found["verdict"], "BROKEN");
    assert_eq!(found["walked"]["arrived"], true, "{found}");
    assert!(found["walked"]["steps"].as_u64() > Some(10), "{found}");
    assert_eq!(found["law"], "stream never changes what the guest reads");
    assert_eq!(found["chain"], "n0 <- n1; n2", "{found}");
    let differs = found["differs"].as_array().expect("a list");
    let sector = differs[0].as_str().expect("a text");
    assert!(
        sector.starts_with("sector 11 of /n2.qcow2: ") && sector.ends_with("; must be g1.0.7, found 0"),
        "{sector}"
    );
    assert!(found["causes"].as_u64() > Some(0) && found["arrows"].as_u64() > Some(0), "{found}");
    assert!(found["belief"].as_str().is_some_and(|belief| belief.contains("No state is left")), "{found}");
    assert!(found["beside"].as_u64() > Some(3), "{found}");
}

/// Histories of engines with a bug each, and what their pages say of the value that is missing.
const FATES: [(&str, &str); 3] = [
    // A backup's job copied a chunk beside the guest's write before which it was saved.
    (
        "copied-beside-a-write",
        "sector 8 seen through t1: must be n2, found g2.1.2 — it must be so since step 139, \
         BLOCK_JOB_COMPLETED {device:j6,len:8192,offset:8192,speed:0,type:backup} — it was written by step 107, \
         g2.1: write /t1.qcow2 0x2c00+0x800 (n2*2 0 g2.0.1) and overwritten by step 119, \
         job j6: write /t1.qcow2 0x2c00+0x800 (g2.1.2 n2 0 g2.0.1), since 116",
    ),
    // A mirror took a chunk of which a guest wrote a half for copied.
    (
        "half-a-chunk-forgotten",
        "sector 9 seen through t0: must be n2, found zeroes — it must be so since step 66, \
         BLOCK_JOB_COMPLETED {device:j0,len:4096,offset:4096,speed:0,type:mirror} — no request wrote it to t0",
    ),
    // A cluster was given away while the table on the disk led to it.
    (
        "freed-before-its-flush",
        "sector 0 seen through n4: must be zeroes, found g0.0.6 of sector 14 — what was found was written by step 100, \
         g0.0: write /n4.qcow2 0x1400+0x400 (g0.0.6 0) in the place of step 67, g0.0: write /n4.qcow2 0x1400+0x400",
    ),
];

#[test]
fn a_page_says_which_request_wrote_what_is_missing_and_which_one_overwrote_it() {
    let path = |name: &str| format!("sim/tests/pages/{name}.jsonl");
    let pages = FATES.map(|(name, _)| (name.to_owned(), page_of(&path(name), &[])));
    let test = "a_page_says_which_request_wrote_what_is_missing_and_which_one_overwrote_it";
    let Some(found) = walked(test, &pages) else { return };
    for (found, (name, fate)) in found.iter().zip(FATES) {
        has_no_errors(found);
        assert_eq!(found["fates"], serde_json::json!([fate]), "{name}");
    }
}

#[test]
fn a_page_says_nothing_of_requests_of_disks_that_nobody_recorded() {
    let path = "tests/known/short-layer-memory.jsonl";
    let page = page_of(path, &[]);
    let test = "a_page_says_nothing_of_requests_of_disks_that_nobody_recorded";
    let Some(found) = walked(test, &[(path.to_owned(), page)]) else { return };
    let fates = found[0]["fates"].as_array().expect("a list");
    let [fate] = &fates[..] else { panic!("one line for sectors side by side: {fates:?}") };
    let fate = fate.as_str().expect("a text");
    assert!(fate.starts_with("sectors 30 to 31 seen through t0: must be n1, found zeroes"), "{fate}");
    assert!(!fate.contains("request"), "{fate}");
}

/// What the server answers to a request line and its host.
fn asked(address: &str, path: &str, host: &str) -> String {
    use std::io::Read;
    let mut stream = std::net::TcpStream::connect(address).expect("it listens");
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").expect("it reads");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("it answers");
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn view_answers_on_this_machine_alone_and_shows_what_show_writes() {
    use std::io::{BufRead, BufReader};
    use std::process::Stdio;
    let mut command = Command::new(env!("CARGO_BIN_EXE_midstream"));
    let mut view = command
        .args(["view", "tests/screens", "--port", "0"])
        .current_dir(root())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut line = String::new();
    BufReader::new(view.stdout.take().expect("it is piped")).read_line(&mut line).expect("its address");
    let address = line.trim().strip_prefix("view    http://").and_then(|rest| rest.strip_suffix('/'));
    let address = address.unwrap_or_else(|| panic!("{line}"));
    assert!(address.starts_with("127.0.0.1:"), "{address}");
    let list = asked(address, "/", address);
    assert!(list.starts_with("HTTP/1.1 200") && list.contains("serialise-on-request.jsonl"), "{list}");
    assert!(list.contains("Content-Security-Policy: default-src 'none'"), "{list}");
    let number = list.split("<a href=\"/run/").find(|part| part.contains(">serialise-on-request.jsonl<"));
    let number = number.and_then(|part| part.split('"').next()).expect("its number");
    let run = asked(address, &format!("/run/{number}"), address);
    let page = page_of("tests/screens/serialise-on-request.jsonl", &[]);
    assert!(run.contains("stream never changes what the guest reads") && page.len() > 10_000);
    let both = asked(address, &format!("/run/{number}/beside/{number}"), address);
    assert!(both.contains("\"beside\":{"), "two beside each other");
    assert!(asked(address, "/", "evil.example").starts_with("HTTP/1.1 403"), "a name of somebody else's");
    assert!(asked(address, "/run/99999", address).starts_with("HTTP/1.1 404"));
    assert!(asked(address, "/../Cargo.toml", address).starts_with("HTTP/1.1 404"));
    let sent = Command::new("kill").args(["-TERM", &view.id().to_string()]).status().expect("kill is there");
    assert!(sent.success());
    assert_eq!(view.wait().expect("it ends").code(), Some(0));
}

#[test]
fn other_programs_get_what_they_read() {
    let path = "tests/screens/serialise-on-request.jsonl";
    let perfetto = midstream(&["show", path, "--format", "perfetto"]);
    let events: Value = serde_json::from_slice(&perfetto.stdout).expect("JSON");
    let events = events["traceEvents"].as_array().expect("a list");
    let of = |phase: &str| events.iter().filter(|event| event["ph"] == phase).count();
    assert!(of("X") > 20 && of("s") == of("f") && of("s") > 5, "{} {}", of("X"), of("s"));
    let mermaid = midstream(&["show", path, "--format", "mermaid"]);
    let text = String::from_utf8(mermaid.stdout).expect("text");
    assert!(text.contains("sequenceDiagram\n") && text.contains("flowchart TD\n"), "{text}");
    assert!(text.contains("law broken here"), "{text}");
    let folder = tempfile::tempdir().expect("a scratch folder");
    let copy = folder.path().join("copy.jsonl");
    fs::write(&copy, midstream(&["show", path, "--format", "jsonl"]).stdout).expect("writable");
    let verdict = |path: &str| {
        let output = midstream(&["judge", path]);
        (output.status.code(), String::from_utf8_lossy(&output.stdout).contains("stream never changes"))
    };
    assert_eq!(verdict(copy.to_str().expect("a plain name")), verdict(path));
    assert_eq!(verdict(path), (Some(1), true));
}
