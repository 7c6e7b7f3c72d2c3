//! The table of planted bugs as a page, in Markdown.

use super::{Caught, Missed};
use crate::mutants::Mutant;
use std::fmt::Write;

/// The whole page.
pub(super) fn page(rows: &[(&Mutant, Result<Caught, Missed>)]) -> String {
    let caught: Vec<&Caught> = rows.iter().filter_map(|(_, row)| row.as_ref().ok()).collect();
    let mut seconds: Vec<f64> = caught.iter().map(|caught| caught.cpu_seconds).collect();
    seconds.sort_by(f64::total_cmp);
    let mut commands: Vec<usize> = caught.iter().map(|caught| caught.commands).collect();
    commands.sort_unstable();
    let mut page = format!(
        "# Planted bugs\n\nBugs of other block layers, and of this one's past, put back into a copy of the engine one at a \
         time (`tests/mutants`), and how a\ncampaign from seed 1 finds each: written by `midstream mutants --page \
         docs/mutants.md`. Seconds are of processors, in an\nunoptimised build, and have the minimising in them.\n\n\
         {} of {} are caught",
        caught.len(),
        rows.len()
    );
    if let (Some(seconds), Some(commands)) = (median(&seconds), median(&commands)) {
        let _ = write!(page, "; in the median after {seconds:.1} s, and the trace has {commands} commands");
    }
    page += ".\n\n| bug | what it does | caught by | runs | CPU s | commands |\n|---|---|---|---|---|---|\n";
    for (mutant, row) in rows {
        let how = match row {
            Err(_) => "**not caught** | | |".to_owned(),
            Ok(Caught { law, runs, cpu_seconds, commands, .. }) => {
                format!("{law} | {runs} | {cpu_seconds:.1} | {commands}")
            }
        };
        let _ = writeln!(page, "| `{}` | {} | {how} |", mutant.name, mutant.bug.replace('|', "\\|"));
    }
    page
}

/// The middle of values in order; of two, the larger one.
fn median<T: Copy>(sorted: &[T]) -> Option<T> {
    sorted.get(sorted.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_a_row_for_each_bug_and_says_how_many_are_caught() {
        let mutant = |name: &str| {
            let patch =
                format!("name: {name}\nbug: a|b\nsource: a test\nlaw: a law\n\n--- a/impl/x\n+++ b/impl/x\n");
            Mutant::parse(&patch).expect("well formed")
        };
        let caught = |cpu_seconds, commands| {
            let (law, trace) = ("a law".to_owned(), "new/3.json".into());
            Ok(Caught { law, runs: 7, cpu_seconds, commands, trace, drifts: 0, masked: None })
        };
        let mutants = ["one", "two", "three"].map(mutant);
        let rows = [caught(0.3, 2), Err("no law broken".to_owned().into()), caught(4.0, 1)];
        let rows: Vec<_> = mutants.iter().zip(rows).collect();
        let page = page(&rows);
        assert!(page.contains("2 of 3 are caught; in the median after 4.0 s, and the trace has 2 commands."));
        let last = "| `one` | a\\|b | a law | 7 | 0.3 | 2 |\n| `two` | a\\|b | **not caught** | | | |\n";
        assert!(page.contains(last), "{page}");
    }
}
