//! A campaign as a page: what broke, how it grew, which goals it reached, what is missing. It needs no script.

use super::{grids, plots};
use crate::report::growth::Point;
use crate::report::text::{counted, grouped};
use midstream::coverage::{Law, Totals};
use std::fmt::Write;
use std::time::Duration;

const STYLES: &str = include_str!("page/campaign.css");

/// A campaign, looked back on.
#[derive(Debug)]
pub struct Report<'a> {
    /// What it is called.
    pub name: &'a str,
    /// What it saw.
    pub totals: &'a Totals,
    /// The laws and goals of its subject.
    pub laws: &'a [Law],
    /// How long it took.
    pub wall: Duration,
    /// What its threads took, in seconds of a processor; none if nobody knows.
    pub cpu_seconds: Option<f64>,
    /// How it grew.
    pub points: &'a [Point],
    /// What failed.
    pub failures: &'a [Failure],
    /// What is not in it, a line each.
    pub missing: &'a [String],
    /// Whether it drove a daemon, which does not reach all that simulated runs do.
    pub is_live: bool,
}

/// A failure of a campaign.
#[derive(Clone, Debug, Default)]
pub struct Failure {
    /// The law.
    pub law: String,
    /// What of its kind it is, where the law says too little: a known defect, an assertion.
    pub kind: Option<String>,
    /// Whether it is known, so that it fails no campaign.
    pub is_known: bool,
    /// In how many runs; in all that broke the law, if nothing is said.
    pub runs: Option<u64>,
    /// What it has in common with others of its cause, or another word to it.
    pub note: String,
    /// Where its page is, from this one.
    pub page: Option<String>,
    /// Commands to paste.
    pub repro: String,
}

/// The page as one file.
pub fn page(report: &Report<'_>) -> String {
    let totals = report.totals;
    let vacuous = totals.vacuous(report.laws);
    let verdict = verdict(report, vacuous.is_empty() || report.is_live);
    let mut body = String::new();
    add(
        &mut body,
        format_args!("<h1 class=\"{}\">{}: {verdict}</h1>\n", class(verdict), escaped(report.name)),
    );
    body += &figures(report);
    body += &list("missing", "Not in this report", report.missing);
    body += &list("vacuous", "What this campaign says nothing about", &vacuous);
    body += &failures(report);
    body += &growth(report.points);
    body += &grids::pairs(report);
    body += &grids::verbs(report);
    body += &grids::silent_steps(report);
    body += &counts(report, true, "Goals");
    body += &counts(report, false, "Laws and how often they were checked");
    let title = escaped(&format!("{}: {verdict}", report.name));
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <link rel=\"icon\" href=\"data:,\">\n<title>{title}</title>\n<style>\n{STYLES}</style>\n</head>\n\
         <body>\n{body}</body>\n</html>\n"
    )
}

fn verdict(report: &Report<'_>, reaches_all: bool) -> &'static str {
    let is_clean = report.totals.broken.is_empty() && report.failures.is_empty();
    let is_known = !report.failures.is_empty() && report.failures.iter().all(|failure| failure.is_known);
    match (is_clean, reaches_all) {
        (true, true) => "no law broken",
        (true, false) => "vacuous",
        (false, _) if is_known => "known defects alone",
        (false, _) => "broken",
    }
}

fn class(verdict: &str) -> &'static str {
    if verdict == "broken" { "bad" } else { "good" }
}

fn figures(report: &Report<'_>) -> String {
    let (totals, seconds) = (report.totals, report.wall.as_secs_f64().max(1e-9));
    let mut text = format!(
        "<p>{} and {} in {seconds:.1} s: {}/s. {} failed, {} inconclusive. {:.2} states per observation, at most {}. \
         Fingerprint of all histories: <code>{:016x}</code>.</p>\n",
        counted(totals.runs, "run"),
        counted(totals.steps, "step"),
        grouped((totals.runs as f64 / seconds) as u64),
        grouped(totals.failures()),
        grouped(totals.inconclusive),
        totals.census.mean(),
        grouped(totals.census.states_max),
        totals.history_hash,
    );
    if let Some(cpu) = report.cpu_seconds {
        let per_run = cpu * 1e3 / totals.runs.max(1) as f64;
        add(
            &mut text,
            format_args!(
                "<p>Its processors worked for {cpu:.1} s, {per_run:.2} ms a run, minimising included: {:.1} of them at a time.</p>\n",
                cpu / seconds
            ),
        );
    }
    text
}

fn list(id: &str, title: &str, lines: &[String]) -> String {
    if lines.is_empty() {
        return String::new();
    }
    let items: String = lines.iter().map(|line| format!("<li>{}</li>\n", escaped(line))).collect();
    format!("<section id=\"{id}\"><h2>{title}</h2><ul>\n{items}</ul></section>\n")
}

fn failures(report: &Report<'_>) -> String {
    let mut rows = String::new();
    for failure in report.failures {
        let law = escaped(&failure.law);
        let law = match &failure.page {
            Some(page) => format!("<a href=\"{}\">{law}</a>", escaped(page)),
            None => law,
        };
        let of_law = report.totals.broken.get(&failure.law).map(|broken| broken.runs);
        let runs = failure.runs.or(of_law).map_or_else(String::new, grouped);
        let known = if failure.is_known { " (known)" } else { "" };
        let kind = failure.kind.as_ref().map(|kind| format!("<b>{}</b>{known}<br>", escaped(kind)));
        add(
            &mut rows,
            format_args!(
                "<tr><td>{}{law}<br><small>{}</small></td><td>{runs}</td><td><pre>{}</pre></td></tr>\n",
                kind.unwrap_or_default(),
                escaped(&failure.note),
                escaped(failure.repro.trim_end())
            ),
        );
    }
    // Of a daemon every failure has its kind, which may break one law or another.
    let is_without = |law: &String| !report.is_live && report.failures.iter().all(|f| f.law != *law);
    let without = report.totals.broken.iter().filter(|(law, _)| is_without(law));
    for (law, broken) in without {
        let seed = broken.seed;
        add(
            &mut rows,
            format_args!(
                "<tr><td>{}</td><td>{}</td><td><pre>seed {seed}</pre></td></tr>\n",
                escaped(law),
                grouped(broken.runs)
            ),
        );
    }
    if rows.is_empty() {
        return String::new();
    }
    let head = "<tr><th>law</th><th>runs</th><th>again</th></tr>";
    format!("<section id=\"failures\"><h2>Laws that broke</h2><table>{head}\n{rows}</table></section>\n")
}

fn growth(points: &[Point]) -> String {
    if points.len() < 2 {
        return String::new();
    }
    let speed = points.windows(2).map(|pair| {
        let seconds = (pair[1].seconds - pair[0].seconds).max(1e-3);
        (pair[1].seconds, (pair[1].runs - pair[0].runs) as f64 / seconds)
    });
    let speed = plots::line("runs a second", "s", &speed.collect::<Vec<_>>());
    let goals: Vec<(f64, f64)> = points.iter().map(|point| (point.runs as f64, point.goals as f64)).collect();
    let goals_plot = plots::line("goals reached", "runs", &goals);
    format!(
        "<section id=\"growth\"><h2>How it grew</h2>{speed}{goals_plot}<p>{}</p></section>\n",
        escaped(&saturation(points))
    )
}

/// Whether going on still finds what was not seen before: what the second half of the runs has added.
fn saturation(points: &[Point]) -> String {
    let last = points[points.len() - 1];
    let half = points.iter().rfind(|point| point.runs <= last.runs / 2).copied().unwrap_or_default();
    match last.goals - half.goals {
        0 => format!(
            "The second half of the runs reached no goal that the first had not: {} of them, saturated.",
            last.goals
        ),
        new => format!(
            "The second half of the runs reached {new} of {} goals for the first time: not saturated.",
            last.goals
        ),
    }
}

fn counts(report: &Report<'_>, goals: bool, title: &str) -> String {
    let is_pair = |name: &str| name.contains(" is tried ");
    let mut rows = String::new();
    for (name, count) in report.totals.counts(report.laws, goals).filter(|(name, _)| !is_pair(name)) {
        let class = if count == 0 { " class=\"bad\"" } else { "" };
        add(
            &mut rows,
            format_args!("<tr><th>{}</th><td{class}>{}</td></tr>\n", escaped(name), grouped(count)),
        );
    }
    format!("<details><summary>{title}</summary><table class=\"numbers\">\n{rows}</table></details>\n")
}

pub(super) fn add(text: &mut String, what: std::fmt::Arguments<'_>) {
    text.write_fmt(what).expect("a string takes any text");
}

/// A text as HTML shows it.
pub(super) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use midstream::strategy::of_seed;
    use midstream::toy;

    #[test]
    fn a_report_names_what_broke_and_what_is_missing_and_grows() {
        let mut totals = Totals::default();
        (0..400).for_each(|seed| totals.add(seed, &toy::run(of_seed(seed))));
        let point = |seconds, runs, goals| Point { seconds, runs, goals, ..Point::default() };
        let points = [point(0.0, 0, 0), point(1.0, 200, 1), point(2.0, 400, 1)];
        let failure = Failure {
            law: toy::LAW.to_owned(),
            page: Some("pages/<1>.html".to_owned()),
            repro: "fuzz --seed 1".to_owned(),
            ..Failure::default()
        };
        let missing = ["part 3 & 4".to_owned()];
        let text = page(&Report {
            name: "fuzz <x>",
            totals: &totals,
            laws: toy::SUBJECT.laws,
            wall: Duration::from_secs(2),
            cpu_seconds: Some(3.0),
            points: &points,
            failures: &[failure],
            missing: &missing,
            is_live: false,
        });
        for part in [
            "fuzz &lt;x&gt;: broken",
            "400 runs",
            ": 200/s",
            "part 3 &amp; 4",
            "href=\"pages/&lt;1&gt;.html\"",
            "<svg",
            "saturated",
            "7.50 ms a run",
        ] {
            assert!(text.contains(part), "no {part} in {text}");
        }
    }
}
