//! The README's compatibility table names recorded cases: they are there, are about what the row says, and come out as
//! it says.

use sim::conform::corpus;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

struct Row {
    operation: String,
    case: String,
    differs: String,
}

/// The rows under the heading, the table's own head left out.
fn rows(readme: &str) -> Vec<Row> {
    let (_, section) = readme.split_once("\n## Compatibility\n").expect("the section is there");
    let section = section.split("\n## ").next().expect("a section has text");
    let is_row = |line: &&str| line.starts_with("| ") && !line.starts_with("| operation ");
    let row = |line: &str| {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let [operation, case, _, differs] = cells[..] else { panic!("not four cells: {line}") };
        let case = case.trim_matches('`').to_owned();
        Row { operation: operation.to_owned(), case, differs: differs.to_owned() }
    };
    section.lines().filter(is_row).map(row).collect()
}

/// What stands between backquotes, as far as it is a command.
fn commands(operation: &str) -> impl Iterator<Item = &str> {
    operation.split('`').skip(1).step_by(2).filter(|word| !word.contains(':'))
}

// A build takes minutes: whoever starts the command sees it going on.
#[test]
fn the_command_is_never_built_in_silence() {
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join(".cargo/config.toml");
    let config = fs::read_to_string(config).expect("the aliases");
    let alias = config.lines().find(|line| line.starts_with("midstream = ")).expect("the alias");
    assert!(alias.contains("run --release") && !alias.contains("-q"), "{alias}");
}

// A link that leads nowhere is a door that does not open.
#[test]
fn every_link_of_the_pages_leads_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let pages =
        fs::read_dir(root.join("docs")).expect("the pages").map(|entry| entry.expect("an entry").path());
    let pages = pages.filter(|path| path.extension().is_some_and(|extension| extension == "md"));
    for page in pages.chain(["README.md", "ARCHITECTURE.md"].map(|name| root.join(name))) {
        let text = fs::read_to_string(&page).expect("a page");
        let headings: Vec<String> =
            text.lines().filter_map(|line| line.strip_prefix("## ")).map(anchor).collect();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let (file, place) = link.split_once('#').unwrap_or((link, ""));
            let is_elsewhere = link.contains("://") || link.contains(' ');
            let is_file = is_elsewhere || file.is_empty() || page.with_file_name(file).exists();
            assert!(is_file, "{}: {link}", page.display());
            let is_heading = headings.iter().any(|heading| heading == place);
            let is_place = !file.is_empty() || is_heading || text.contains(&format!("<a id=\"{place}\">"));
            assert!(is_elsewhere || is_place, "{}: {link}", page.display());
        }
    }
}

/// What a heading is called in a link.
fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || *c == ' ' || *c == '-');
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

#[test]
fn the_compatibility_table_shows_what_the_corpus_shows() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |path: &str| fs::read_to_string(root.join(path)).expect("a file of the workspace");
    let recordings = corpus::read(&root.join("tests/conformance")).expect("the corpus can be read");
    let recordings: BTreeMap<&str, _> = recordings.iter().map(|r| (r.name(), &r.case)).collect();
    let divergences: serde_json::Value =
        serde_json::from_str(&read("tests/conformance/divergences.json")).expect("JSON");

    let rows = rows(&read("README.md"));
    assert!(rows.len() >= 10, "the ten most used cases at least, not {}", rows.len());
    for Row { operation, case, differs } in &rows {
        let recorded = recordings.get(case.as_str()).unwrap_or_else(|| panic!("{case} is not recorded"));
        // A job's own completion is part of the step that brings every job to its end.
        let steps = recorded["steps"].to_string() + r#""block-job-complete""#;
        let does = |command: &str| steps.contains(&format!("\"{command}\""));
        // A look at the nodes follows every step.
        let is_look = |command: &str| command == "query-named-block-nodes";
        for command in commands(operation) {
            assert!(does(command) || is_look(command), "{case} does not show {command}");
        }
        let diverges = divergences["cases"].get(case.as_str()).is_some();
        assert_eq!(diverges, differs != "nothing", "{case}: {differs}");
    }
}
