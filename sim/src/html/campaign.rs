//! A campaign as a page: what broke, how it grew, which goals it reached, what is missing. It needs no script.

use super::plots;
use crate::report::growth::Point;
use crate::report::text::{counted, grouped};
use midstream::coverage::{Law, Totals};
use model::law::PAIRS;
use std::fmt::Write;
use std::time::Duration;

const STYLES: &str = include_str!("page/campaign.css");
/// Job types in the order of the table of pairs.
const JOBS: [&str; 5] = ["stream", "commit", "active commit", "mirror", "backup"];
/// Relations, in that order, too.
const RELATIONS: [&str; 5] = ["above", "below", "adjacent", "overlapping", "identical"];

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
}

/// A failure of a campaign.
#[derive(Clone, Debug, Default)]
pub struct Failure {
    /// The law.
    pub law: String,
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
    let is_clean = totals.broken.is_empty();
    let vacuous = totals.vacuous(report.laws);
    let verdict = match (is_clean, report.failures.is_empty(), vacuous.is_empty()) {
        (true, true, true) => "no law broken",
        (true, true, false) => "vacuous",
        _ => "broken",
    };
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
    body += &pairs(report);
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
        let broken = report.totals.broken.get(&failure.law);
        let runs = broken.map_or_else(String::new, |broken| grouped(broken.runs));
        add(
            &mut rows,
            format_args!(
                "<tr><td>{law}<br><small>{}</small></td><td>{runs}</td><td><pre>{}</pre></td></tr>\n",
                escaped(&failure.note),
                escaped(failure.repro.trim_end())
            ),
        );
    }
    let without =
        report.totals.broken.iter().filter(|(law, _)| report.failures.iter().all(|f| f.law != **law));
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

/// The grid of two jobs in each relation: how many runs reached it.
fn pairs(report: &Report<'_>) -> String {
    let count = |name: &str| {
        report.totals.counts(report.laws, true).find(|(goal, _)| *goal == name).map(|(_, count)| count)
    };
    let mut rows = String::new();
    for (started, of_started) in JOBS.iter().zip(&PAIRS) {
        for (running, relations) in JOBS.iter().zip(of_started) {
            let cells = relations.iter().map(|goal| match goal.map(|goal| count(goal.name())) {
                None => "<td class=\"none\">-</td>".to_owned(),
                Some(None) => "<td></td>".to_owned(),
                Some(Some(0)) => "<td class=\"bad\">0</td>".to_owned(),
                Some(Some(count)) => format!("<td>{}</td>", grouped(count)),
            });
            let cells: String = cells.collect();
            add(&mut rows, format_args!("<tr><th>{started} beside {running}</th>{cells}</tr>\n"));
        }
    }
    if PAIRS[0][0][0].is_none_or(|goal| count(goal.name()).is_none()) {
        return String::new();
    }
    let head: String = RELATIONS.iter().map(|relation| format!("<th>{relation}</th>")).collect();
    format!(
        "<section id=\"pairs\"><h2>Two jobs, by how their regions lie</h2>\n\
         <table class=\"numbers\"><tr><th></th>{head}</tr>\n{rows}</table>\
         <p>Runs that reached it; a dash where two jobs cannot lie so.</p></section>\n"
    )
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

fn add(text: &mut String, what: std::fmt::Arguments<'_>) {
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
