//! The scenarios of `tests/scenarios`: a handful is explored here, to the counts in `docs/exhaustive.md`, whose table is
//! made from all of them.

use midstream::check::{Effort, End};
use midstream::explore;
use midstream::scenario::ScenarioFile;
use sim::command::explore::row_of;
use sim::layer::Ours;
use std::fs;
use std::path::{Path, PathBuf};

/// Small ones: two pairs of guests, a job beside a guest, a job beside a verb.
const QUICK: [&str; 4] =
    ["guests-read-read", "guests-write-flush-write", "stream-write", "active-commit-set-speed"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn scenarios() -> Vec<PathBuf> {
    let entries = fs::read_dir(root().join("tests/scenarios")).expect("the folder of scenarios");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    paths
}

fn page() -> String {
    fs::read_to_string(root().join("docs/exhaustive.md")).expect("the page")
}

#[test]
fn a_handful_of_scenarios_is_complete_with_the_counts_in_the_page() {
    let page = page();
    for name in QUICK {
        let path = root().join(format!("tests/scenarios/{name}.toml"));
        let file = ScenarioFile::read(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
        let effort = Effort { jobs: 2, ..Effort::default() };
        let explored = explore(Ours::<true>, file.scenario.clone(), &file.bounds, &effort);
        let explored = explored.unwrap_or_else(|failure| panic!("{name}: {failure}"));
        assert_eq!(explored.end, End::Complete, "{name}");
        let row = row_of(&path, &file, &explored.counts).text();
        assert!(page.contains(&row), "docs/exhaustive.md lacks the row\n{row}");
    }
}

#[test]
fn every_scenario_has_its_row_and_every_row_its_scenario() {
    let page = page();
    let names: Vec<&str> = page
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once('`'))
        .map(|(name, _)| name)
        .collect();
    let mut found = Vec::new();
    for path in scenarios() {
        let file = ScenarioFile::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let text = fs::read_to_string(&path).expect("it was read");
        assert!(text.starts_with("# "), "{} does not say what it is for", path.display());
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        assert!(page.contains(&format!("| `{name}` | {} |", file.about)), "{name} says something else");
        found.push(name);
    }
    assert_eq!(names, found);
}
