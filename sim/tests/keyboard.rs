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
/// No run of a kept history has more rows.
const ROWS_MAX: usize = 2_000;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The address of the run's page, written into `folder`.
fn page(folder: &Path) -> String {
    let path = folder.join("page.html");
    let mut command = Command::new(env!("CARGO_BIN_EXE_midstream"));
    let output = command.args(["show", RUN, "--html"]).arg(&path).current_dir(root()).output();
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
    let address = page(folder.path());
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
    let is_in_sight = "(() => { const [row, box] = [document.querySelector('.row.now'), document.querySelector('#lanes')]\
                       .map((part) => part.getBoundingClientRect()); return row.top >= box.top && row.bottom <= box.bottom; })()";
    assert_eq!(window.read(is_in_sight), json!(true), "the row that breaks is in sight");

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
