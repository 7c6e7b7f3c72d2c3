//! A reader at a keyboard: real keys, by WebDriver, from the beginning of a run to where its law breaks. Law, chain, drained
//! nodes and the sector that differs are read from what the page shows there.
//!
//! Without Chromium and its driver the test says that it is skipped.

#[path = "pages/driver.rs"]
mod driver;

use driver::Window;
use serde_json::json;
use sim::programs::{Program, skipped};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

const RUN: &str = "tests/screens/serialise-on-request.jsonl";
/// Comes before all else on a page: what the console would show.
const LISTEN: &str = "<head><script>window.errors = []; window.onerror = (text) => { errors.push(String(text)); }; \
                      console.error = (...texts) => { errors.push(texts.join(' ')); };</script>";
/// Whether the chosen row is, once the browser has laid out what came into sight with it.
const IS_IN_SIGHT: &str = "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => { \
                           const [row, box] = [document.querySelector('.row.now'), document.querySelector('#lanes')]\
                           .map((part) => part.getBoundingClientRect()); done(row.top >= box.top && row.bottom <= box.bottom); })))";
/// No run of a kept history has more rows.
const ROWS_MAX: usize = 2_000;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The address of a run's page, written into `folder`.
fn page(folder: &Path, run: &Path) -> String {
    let path = folder.join("page.html");
    let mut command = Command::new(env!("CARGO_BIN_EXE_midstream"));
    let output = command.arg("show").arg(run).arg("--html").arg(&path).current_dir(root()).output();
    assert!(output.as_ref().is_ok_and(|output| output.status.success()), "{output:?}");
    let text = std::fs::read_to_string(&path).expect("the page is there");
    std::fs::write(&path, text.replacen("<head>", LISTEN, 1)).expect("writable");
    format!("file://{}", path.display())
}

/// The driver's name, if both it and its browser are here.
fn driver_here(test: &str) -> Option<&'static str> {
    let names = ["chromium", "chromedriver"];
    let is_here = |name: &&str| Program::named(name).is_some_and(|program| program.version().is_some());
    if names.iter().all(is_here) {
        return Some(names[1]);
    }
    say(&format!("{test}: {}", skipped(&names)));
    None
}

/// For whoever reads the output of tests, which does not have what goes well otherwise.
fn say(line: &str) {
    writeln!(std::io::stderr(), "{line}").expect("standard error takes it");
}

#[test]
fn keys_lead_to_where_it_breaks_and_the_page_shows_law_chain_and_sector() {
    let Some(driver) = driver_here("keys_lead_to_where_it_breaks") else { return };
    let folder = tempfile::tempdir().expect("a scratch folder");
    let address = page(folder.path(), Path::new(RUN));
    let window = Window::open(driver, &folder.path().join("profile"), (1280, 900));
    window.go_to(&address);
    let timing = "(({ domInteractive, loadEventEnd }) => [domInteractive, loadEventEnd])\
                  (performance.getEntriesByType('navigation')[0])";
    let opened = window.read(timing);
    say(&format!("the page of {RUN}: {} ms to its elements, {} ms until it was there", opened[0], opened[1]));

    let now = || window.text("#now");
    // It opens where the law breaks.
    let breaking = now();
    assert!(breaking.contains("look n2"), "{breaking}");
    window.press(&["Home"]);
    let first = now();
    let drained = walk(&window, &breaking);
    assert!(
        drained.iter().any(|nodes| nodes.contains("n2")),
        "a stream changes the links of its target: {drained:?}"
    );
    assert_eq!(window.text("#law"), "stream never changes what the guest reads");
    assert_eq!(window.text("#chain-text"), "n0 <- n1; n2");
    let sector = window.read("document.querySelector('[data-differs]').getAttribute('aria-label')");
    let sector = sector.as_str().expect("a label");
    assert!(sector.starts_with("sector 11 of /n2.qcow2: "), "{sector}");
    assert!(sector.ends_with("; must be g1.0.7, found 0"), "{sector}");
    // Which write was lost, and by which request.
    let fate = window.text("#differs li");
    let written = "it was written by step 43, g1.0: write /n2.qcow2 0x6000+0x1000 (0*3 g1.0.7 0*2 n1*2) and overwritten by \
                   step 46, job j2: write /n2.qcow2 0x6000+0x1000 (0*6 n1*2)";
    assert!(fate.ends_with(written), "{fate}");
    let suspects =
        window.read("[...document.querySelectorAll('.suspect .step')].map((step) => step.textContent)");
    assert_eq!(suspects, json!(["43", "44", "46"]), "the rows that the head points at are marked");
    assert_eq!(window.read(IS_IN_SIGHT), json!(true), "the row that breaks is in sight");

    window.press(&["Home"]);
    assert_eq!(now(), first);
    window.press(&["n"]);
    let choice = now();
    window.press(&["n", "p"]);
    assert_eq!(now(), choice, "to the next choice and back");
    window.press(&["b"]);
    assert_eq!(now(), breaking);
    window.press(&["ArrowLeft", "ArrowRight"]);
    assert_eq!(now(), breaking);
    search(&window, "g1.0.7");
    window.press(&["Escape", "Home"]);
    assert_eq!(now(), first, "keys lead on again");
    assert_eq!(window.read("errors"), json!([]), "{address}");
}

#[test]
fn a_window_that_gets_narrow_has_the_chain_laid_out_anew() {
    let Some(driver) = driver_here("a_window_that_gets_narrow") else { return };
    let folder = tempfile::tempdir().expect("a scratch folder");
    let address = page(folder.path(), Path::new(RUN));
    let window = Window::open(driver, &folder.path().join("profile"), (1280, 900));
    window.go_to(&address);
    assert_eq!(window.read("chainTexts(run.graphs[run.rows[now].g])"), json!(["n0 <- n1", "n2"]));
    let tops =
        "['n1', 'n2'].map((node) => document.querySelector(`[data-node=${node}] rect`).getAttribute('y'))";
    let beside = window.read(tops);
    assert_eq!(beside[0], beside[1], "there is room for two chains beside each other: {beside}");
    window.resize((400, 900));
    // Until the browser has laid out the narrow window; so many frames are more than it takes.
    let below = format!(
        "new Promise((done) => {{ const look = (left) => {{ const [one, other] = {tops}; \
         if (one !== other || left === 0) done([one, other]); else requestAnimationFrame(() => look(left - 1)); }}; look(600); }})"
    );
    let below = window.read(&below);
    assert_ne!(below[0], below[1], "what has no room beside the first chain stands below it");
    assert_eq!(
        window.read("document.documentElement.scrollWidth - document.documentElement.clientWidth"),
        json!(0)
    );
    assert_eq!(window.read("errors"), json!([]), "{address}");
}

/// A guest that writes one sector after another, 10,000 rows long, and at last reads what it wrote first.
fn long_history() -> String {
    let image = json!({ "file": "/n0.raw", "format": "raw", "size-bytes": 65536, "cluster-bytes": 512 });
    let mut lines = vec![json!({ "midstream-history": 1, "spec": "qemu-10.0", "images": [image] })];
    let file = json!({ "driver": "file", "filename": "/n0.raw", "node-name": "f0" });
    for arguments in [file, json!({ "driver": "raw", "file": "f0", "node-name": "n0" })] {
        let command = json!({ "execute": "blockdev-add", "arguments": arguments }).to_string();
        lines.push(json!({ "sent": { "client": 99, "text": command } }));
        lines.push(json!({ "reply": { "client": 99, "text": "{\"return\": {}}" } }));
    }
    lines.push(json!({ "attached": { "guest": 1, "node": "n0", "writable": true } }));
    for request in 0..5_000 {
        let (sector, values) = (request % 128, [request + 1]);
        lines
            .push(json!({ "write": { "request": request, "guest": 1, "sector": sector, "values": values } }));
        lines.push(json!({ "ended": { "request": request } }));
    }
    lines.push(json!({ "read": { "request": 5_000, "guest": 1, "sector": 7, "count": 1 } }));
    lines.push(json!({ "ended": { "request": 5_000, "values": [8] } }));
    lines.iter().map(|line| format!("{line}\n")).collect()
}

// A row that is chosen far away lies in a part of the list that was never laid out, where nobody knows how high the rows are.
#[test]
fn in_a_long_history_whatever_is_chosen_comes_into_sight() {
    let Some(driver) = driver_here("in_a_long_history") else { return };
    let folder = tempfile::tempdir().expect("a scratch folder");
    let run = folder.path().join("long.jsonl");
    std::fs::write(&run, long_history()).expect("writable");
    let address = page(folder.path(), &run);
    let window = Window::open(driver, &folder.path().join("profile"), (1280, 900));
    window.go_to(&address);
    let in_sight = |what: &str| assert_eq!(window.read(IS_IN_SIGHT), json!(true), "{what}");
    let rows = window.read("run.rows.length").as_u64().expect("a number");
    assert!(rows > 10_000, "{rows}");
    in_sight("where it breaks");
    window.press(&["Home"]);
    in_sight("the first row");
    // All that the guest ever does follows from its coming.
    window.read("choose(run.rows.findIndex((row) => row.t.includes('attaches')))");
    assert!(window.read("lanes.effects[now].length").as_u64() > Some(5_000), "{}", window.text("#now"));
    assert!(window.read("document.querySelectorAll('#arrows path').length").as_u64() < Some(100));
    window.press(&["ArrowRight", "ArrowRight", "ArrowLeft"]);
    in_sight("a row further on");
    window.press(&["End"]);
    in_sight("the last row");
    window.read("choose(5000)");
    in_sight("a row in the middle");
    assert_eq!(window.read("document.querySelectorAll('.row.later').length"), json!(rows - 5_001));
    assert_eq!(window.read("errors"), json!([]), "{address}");
}

/// Goes on row by row until it breaks; gives the nodes that were drained on the way, row by row.
fn walk(window: &Window, breaking: &str) -> Vec<String> {
    let mut drained = Vec::new();
    let both = "[document.querySelector('#now').textContent, \
                [...document.querySelectorAll('[data-drained]')].map((node) => node.dataset.node).join(' ')]";
    for _ in 0..ROWS_MAX {
        let seen = window.read(both);
        let nodes = seen[1].as_str().expect("names");
        if !nodes.is_empty() {
            drained.push(nodes.to_owned());
        }
        if seen[0] == breaking {
            return drained;
        }
        window.press(&["ArrowRight"]);
    }
    panic!("{ROWS_MAX} keys lead nowhere");
}

/// Types a word into the search, which takes it as text and not as keys of its own.
fn search(window: &Window, word: &str) {
    window.press(&["Home", "/"]);
    let keys: Vec<String> = word.chars().map(String::from).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    window.press(&keys);
    window.press(&["Enter"]);
    assert_eq!(window.read("document.activeElement.id"), "search");
    assert_eq!(window.read("document.activeElement.value"), word);
    assert!(window.text("#now").contains(word), "{}", window.text("#now"));
}
