//! The table of planted bugs as a page, in Markdown. What was not looked for keeps its place in a page that is there, so that one
//! can be made in pieces.

use super::caught::Caught;
use super::explored::Explored;
use super::{Row, middle};
use std::collections::BTreeMap;
use std::fmt::Write;

const MISSED: &str = "**not caught**";
const UNFOUND: &str = "**not found**";

/// What the page says of one bug: law, runs, seconds, commands and choices; and the scenario.
type Cells = [String; 6];

/// The whole page, of so many campaigns with so many seconds for each bug. `old` is the page that was there, `bugs` are all that
/// there are, by name, each with what it does.
pub(super) fn page(
    old: &str,
    bugs: &[(&str, &str)],
    rows: &[Row<'_>],
    campaigns: u64,
    seconds: u64,
) -> String {
    let mut cells = read(old);
    for row in rows {
        let of = cells.entry(row.mutant.name.clone()).or_default();
        if let Some(caught) = &row.caught {
            of[..5].clone_from_slice(&caught.as_ref().map_or_else(|_| missed(), figures));
        }
        of[5] = match &row.explored {
            None if row.mutant.scenario.is_some() => of[5].clone(),
            None => String::new(),
            Some(Ok(Explored { scenario, runs, .. })) => format!("`{scenario}`, {runs}"),
            Some(Err(_)) => UNFOUND.to_owned(),
        };
    }
    let mut page = head(&cells, bugs, campaigns, seconds);
    for (name, bug) in bugs {
        let cells = cells.remove(*name).unwrap_or_default().join(" | ");
        let _ = writeln!(page, "| `{name}` | {} | {cells} |", bug.replace('|', "\\|"));
    }
    page
}

fn head(cells: &BTreeMap<String, Cells>, bugs: &[(&str, &str)], campaigns: u64, seconds: u64) -> String {
    let here = bugs.iter().filter_map(|(name, _)| cells.get(*name));
    // A page that is made in pieces has rows that nobody has filled yet.
    let here: Vec<&Cells> = here.filter(|cells| !cells[0].is_empty() || !cells[5].is_empty()).collect();
    let caught: Vec<&&Cells> = here.iter().filter(|cells| !["", MISSED].contains(&&*cells[0])).collect();
    let explored = here.iter().filter(|cells| !["", UNFOUND].contains(&&*cells[5])).count();
    let mut page = format!(
        "# Planted bugs\n\nBugs of other block layers, and of this one's past, put back into a copy of the engine one at a \
         time (`tests/mutants`), and how\n`fuzz` finds each, in {campaigns} campaigns from different seeds with at most \
         {seconds} s for each. Runs, seconds, commands and choices that\nare not the default are medians; seconds are of \
         processors, in a build for mutants, and have the minimising in them.\nWritten by `midstream mutants --campaigns \
         {campaigns} --seconds {seconds} --page docs/mutants.md`.\n\n{} of {} are caught",
        caught.len(),
        here.len()
    );
    if here.len() < bugs.len() {
        let _ = write!(page, ", {} are still to be looked for", bugs.len() - here.len());
    }
    let median = |column: usize| {
        let figures: Vec<f64> = caught.iter().filter_map(|cells| cells[column].parse().ok()).collect();
        if figures.is_empty() { 0.0 } else { middle(figures.into_iter()) }
    };
    let _ = write!(
        page,
        "; in the median after {:.1} s, and the trace has {} commands and {} choices.\n{explored} are found for certain as \
         well, without a seed: `explore` takes every schedule and every crash of the scenario in the last\ncolumn, and a law \
         breaks after so many of its runs.\n\n\
         | bug | what it does | law | runs | CPU s | commands | choices | found by every schedule of |\n\
         |---|---|---|---|---|---|---|---|\n",
        median(2),
        median(3),
        median(4)
    );
    page
}

/// What a page says, by name.
fn read(page: &str) -> BTreeMap<String, Cells> {
    let row = |line: &str| {
        let (name, rest) = line.strip_prefix("| `")?.split_once("` | ")?;
        // What a bug does may have a bar of its own: the other cells are counted from the end.
        let cells: Vec<&str> = rest.strip_suffix(" |")?.rsplitn(7, " | ").collect();
        let mut cells = cells.into_iter().take(6).map(str::to_owned);
        let mut last_first: Cells = std::array::from_fn(|_| cells.next().unwrap_or_default());
        last_first.reverse();
        Some((name.to_owned(), last_first))
    };
    page.lines().filter_map(row).collect()
}

fn missed() -> [String; 5] {
    [MISSED, "", "", "", ""].map(str::to_owned)
}

fn figures(caught: &Caught) -> [String; 5] {
    let Caught { law, runs, cpu_seconds, commands, choices, .. } = caught;
    [law.clone(), runs.to_string(), format!("{cpu_seconds:.1}"), commands.to_string(), choices.to_string()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mutants::Mutant;

    fn mutant(name: &str) -> Mutant {
        let patch = format!(
            "name: {name}\nbug: a | b\nsource: a test\nscenario: stream-write\nlaw: a law\n\n--- a/impl/x\n+++ b/impl/x\n"
        );
        Mutant::parse(&patch).expect("well formed")
    }

    const BUGS: [(&str, &str); 3] = [("one", "a | b"), ("two", "a | b"), ("three", "a | b")];

    fn first() -> String {
        let caught = |cpu_seconds, commands| {
            let (law, trace) = ("a law".to_owned(), "new/3.json".into());
            let (runs, choices, drifts, masked) = (7, 2 * commands, 0, None);
            Some(Ok(Caught { law, runs, cpu_seconds, commands, choices, trace, drifts, masked }))
        };
        let mutants = ["one", "two", "three"].map(mutant);
        let explored = Explored { scenario: "stream-write".to_owned(), law: "a law".to_owned(), runs: 12 };
        let rows = [
            Row { mutant: &mutants[0], caught: caught(0.3, 2), explored: Some(Ok(explored)) },
            Row { mutant: &mutants[1], caught: Some(Err("no law broken".to_owned().into())), explored: None },
            Row { mutant: &mutants[2], caught: caught(4.0, 1), explored: Some(Err("complete".to_owned())) },
        ];
        page("", &BUGS, &rows, 5, 60)
    }

    #[test]
    fn the_page_has_a_row_for_each_bug_and_says_how_many_are_caught() {
        let page = first();
        let said = "2 of 3 are caught; in the median after 4.0 s, and the trace has 2 commands and 4 choices.\n1 are";
        assert!(page.contains(said), "{page}");
        let one = "| `one` | a \\| b | a law | 7 | 0.3 | 2 | 4 | `stream-write`, 12 |\n";
        let two = "| `two` | a \\| b | **not caught** |  |  |  |  |  |\n";
        let three = "| `three` | a \\| b | a law | 7 | 4.0 | 1 | 2 | **not found** |\n";
        assert!(page.contains(&format!("{one}{two}{three}")), "{page}");
    }

    #[test]
    fn what_was_not_looked_for_stays_in_the_page() {
        assert_eq!(page(&first(), &BUGS, &[], 5, 60), first());
        let two = mutant("two");
        let explored = Explored { scenario: "stream-write".to_owned(), law: "a law".to_owned(), runs: 9 };
        let rows = [Row { mutant: &two, caught: None, explored: Some(Ok(explored)) }];
        let page = page(&first(), &BUGS[..2], &rows, 5, 60);
        let left = super::page(&first(), &[BUGS[0], ("four", "c")], &[], 5, 60);
        assert!(left.contains("1 of 1 are caught, 1 are still to be looked for; in the median"), "{left}");
        assert!(page.contains("1 of 2 are caught; in the median after 0.3 s"), "{page}");
        assert!(page.ends_with("| **not caught** |  |  |  |  | `stream-write`, 9 |\n"), "{page}");
    }
}
