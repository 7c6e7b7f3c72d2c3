//! Every bug under `mutants/` can be put back into the engine as it is today, and names laws that exist.

use midstream::verdict::{INVARIANTS, LIVENESS};
use sim::mutants::Mutant;
use sim::mutants::tree::SCENARIOS;
use sim::subject::subject;
use std::fs;
use std::path::Path;

/// Fewer bugs would say little about the harness.
const MUTANTS_MIN: usize = 40;
/// So many are found by every schedule of a scenario.
const EXPLORED_MIN: usize = 6;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn mutants() -> Vec<Mutant> {
    let read = Mutant::read_all(&root().join("tests/mutants"));
    read.unwrap_or_else(|(path, error)| panic!("{}: {error}", path.display()))
}

/// The sources of the engine that some mutant may change.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder of the engine") {
        let path = entry.expect("an entry").path();
        let to = to.join(path.file_name().expect("an entry has a name"));
        if path.is_dir() {
            copy(&path, &to);
        } else {
            fs::copy(&path, &to).expect("a file");
        }
    }
}

#[test]
fn there_are_enough_mutants_and_each_has_its_own_name() {
    let mut names: Vec<String> = mutants().into_iter().map(|mutant| mutant.name).collect();
    assert!(names.len() >= MUTANTS_MIN, "only {names:?}");
    names.sort();
    let count = names.len();
    names.dedup();
    assert_eq!(names.len(), count, "{names:?}");
}

#[test]
fn every_mutant_names_laws_that_a_run_can_break() {
    let laws = subject().laws.iter().filter(|law| !law.is_goal).map(|law| law.name);
    let laws: Vec<&str> = laws.chain([LIVENESS, INVARIANTS]).collect();
    for mutant in mutants() {
        assert!(!mutant.laws.is_empty(), "{} names no law", mutant.name);
        for law in &mutant.laws {
            assert!(laws.contains(&law.as_str()), "{}: no law is called `{law}`", mutant.name);
        }
    }
}

#[test]
fn every_scenario_that_a_mutant_names_is_there() {
    let named: Vec<String> = mutants().into_iter().filter_map(|mutant| mutant.scenario).collect();
    for scenario in &named {
        assert!(root().join(SCENARIOS).join(format!("{scenario}.toml")).is_file(), "no scenario {scenario}");
    }
    assert!(named.len() >= EXPLORED_MIN, "only {named:?}");
}

/// The page is made by the command; whoever adds a mutant makes it anew.
#[test]
fn the_page_has_a_row_for_every_mutant_and_no_other() {
    let page = fs::read_to_string(root().join("docs/mutants.md")).expect("the page");
    let named = page.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
    let rows: Vec<&str> = named.map(|(name, _)| name).collect();
    let mutants = mutants();
    let names: Vec<&str> = mutants.iter().map(|mutant| mutant.name.as_str()).collect();
    assert_eq!(rows, names);
}

#[test]
fn every_mutant_applies_to_the_engine_as_it_is() {
    for mutant in mutants() {
        let scratch = tempfile::tempdir().expect("a scratch folder");
        let engine = scratch.path().join("impl/src");
        copy(&root().join("impl/src"), &engine);
        mutant.apply(scratch.path()).unwrap_or_else(|error| panic!("{}: {error}", mutant.name));
        assert!(is_changed(&root().join("impl/src"), &engine), "{} changes nothing", mutant.name);
    }
}

fn is_changed(before: &Path, after: &Path) -> bool {
    fs::read_dir(before).expect("a folder of the engine").any(|entry| {
        let path = entry.expect("an entry").path();
        let copy = after.join(path.file_name().expect("an entry has a name"));
        if path.is_dir() {
            is_changed(&path, &copy)
        } else {
            fs::read(&path).expect("a file") != fs::read(&copy).expect("its copy")
        }
    })
}
