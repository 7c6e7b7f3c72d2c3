//! The table of docs/performance.md.

use crate::workload::{ROUNDS, TASKS};
use std::fmt::Write;
use std::fs;

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/performance.md");
const LOCK: &str = include_str!("../Cargo.lock");
const BEGIN: &str = "<!-- scheduler: written by peers/, not by hand -->\n";
const END: &str = "<!-- end of scheduler -->\n";

/// What was measured of somebody.
pub struct Row {
    /// Who, and how.
    pub name: &'static str,
    /// Its package; `this` is ours.
    pub package: &'static str,
    /// The processor's time for one execution.
    pub nanos: f64,
}

/// The table, ours first, and how far ours is ahead of the best of the others.
pub fn text(rows: &[Row]) -> String {
    let ours = rows[0].nanos;
    let mut text = "| who | version | executions/s | ns for each of the draws | ratio |\n".to_owned();
    text += "|---|---|---:|---:|---:|\n";
    for Row { name, package, nanos } in rows {
        let (rate, each) = (1e9 / nanos, nanos / f64::from(TASKS * ROUNDS));
        let ratio = nanos / ours;
        let version = if *package == "this" { "this tree" } else { version(package) };
        writeln!(text, "| {name} | {version} | {rate:.0} | {each:.0} | {ratio:.1} |")
            .expect("texts take anything");
    }
    let best = rows[1..].iter().min_by(|a, b| a.nanos.total_cmp(&b.nanos)).expect("there are others");
    let ahead = best.nanos / ours;
    writeln!(text, "\nmidstream is {ahead:.1} times as fast as the best of them, {}.", best.name)
        .expect("texts take anything");
    text
}

/// The version that the lock file has of a package.
fn version(package: &str) -> &'static str {
    let entry = format!("name = \"{package}\"\nversion = \"");
    let (_, rest) = LOCK.split_once(&entry).expect("a dependency");
    rest.split('"').next().expect("the version ends")
}

/// Puts the table into the page.
pub fn write(table: &str) {
    let page = fs::read_to_string(PAGE).expect("the page is there");
    let (before, rest) = page.split_once(BEGIN).expect("the page has a place for the table");
    let (_, after) = rest.split_once(END).expect("the place has an end");
    fs::write(PAGE, format!("{before}{BEGIN}\n{table}\n{END}{after}")).expect("the page can be written");
}
