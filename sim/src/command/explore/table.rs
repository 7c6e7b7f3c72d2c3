//! The table of what was explored, in the page about it.

use midstream::check::Counts;
use midstream::scenario::ScenarioFile;
use midstream::world::crash::Ending;
use std::fmt::Write;
use std::fs;
use std::path::Path;

/// The marks that the table stands between.
const MARKS: [&str; 2] = ["<!-- explored -->\n", "<!-- end -->\n"];

/// One exploration.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Row {
    name: String,
    about: String,
    crashes: String,
    counts: Counts,
}

/// The row of a scenario.
pub fn row_of(path: &Path, file: &ScenarioFile, counts: &Counts) -> Row {
    let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let words = file.bounds.crashes.iter().map(|ending| match ending {
        Ending::Kill => "kill",
        Ending::PowerCut => "power cut",
    });
    let words: Vec<&str> = words.collect();
    Row { name, about: file.about.clone(), crashes: words.join(", "), counts: counts.clone() }
}

impl Row {
    /// The row as the page has it.
    pub fn text(&self) -> String {
        let Row { name, about, crashes, counts } = self;
        let Counts { schedules, pruned, states, crash_points, crashes: contents, sampled_points, .. } =
            counts;
        format!(
            "| `{name}` | {about} | {crashes} | {schedules} | {pruned} | {states} | {crash_points} | {sampled_points} \
             | {contents} |"
        )
    }
}

/// The whole table.
fn table(rows: &[Row]) -> String {
    let mut text = "| scenario | what | ends | schedules | pruned | states | crash points | of these sampled | contents \
                    judged |\n|---|---|---|---|---|---|---|---|---|\n"
        .to_owned();
    for row in rows {
        writeln!(text, "{}", row.text()).expect("a string takes any text");
    }
    text
}

/// Puts the table into its page.
pub(super) fn write(page: &Path, rows: &[Row]) -> Result<(), String> {
    let problem = |error: &dyn std::fmt::Display| format!("--table {}: {error}", page.display());
    let text = fs::read_to_string(page).map_err(|error| problem(&error))?;
    let place =
        text.split_once(MARKS[0]).and_then(|(before, rest)| Some((before, rest.split_once(MARKS[1])?.1)));
    let (before, after) = place.ok_or_else(|| problem(&"its two marks are not there"))?;
    let text = format!("{before}{}{}{}{after}", MARKS[0], table(rows), MARKS[1]);
    fs::write(page, text).map_err(|error| problem(&error))
}
