//! The report of a campaign as files: `index.html`, a page for each failure, and `junit.xml`.

use super::show::run::page_of;
use crate::html;
use crate::html::campaign::{Failure, Report};
use crate::report::Cost;
use crate::report::growth::Point;
use crate::report::junit::{self, Case};
use midstream::campaign::{Campaign, Subject};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A failure with its trace.
#[derive(Clone, Debug)]
pub(super) struct Failed {
    pub(super) law: String,
    pub(super) trace: PathBuf,
    pub(super) repro: String,
}

/// Writes the report of a campaign; gives the file to begin with.
pub(super) fn write_report(
    folder: &Path,
    name: &str,
    campaign: &Campaign,
    cost: Cost,
    points: &[Point],
    failed: &[Failed],
    subject: &Subject,
) -> Result<PathBuf, String> {
    let failures =
        failed.iter().map(|failed| failure(folder, failed, subject)).collect::<Result<Vec<_>, _>>()?;
    let trouble =
        campaign.nondeterminism.as_ref().map(|found| format!("the same choices gave two histories: {found}"));
    let panicked = campaign.panicked.as_ref().map(|panic| format!("the harness panicked: {panic}"));
    let early = campaign.is_early.then(|| "the campaign was ended early".to_owned());
    let missing: Vec<String> = [trouble, panicked, early].into_iter().flatten().collect();
    let report = Report {
        name,
        totals: &campaign.totals,
        laws: subject.laws,
        wall: cost.wall,
        cpu_seconds: Some(cost.cpu_seconds),
        points,
        failures: &failures,
        missing: &missing,
        is_live: false,
    };
    let trace = |law: &str| {
        failed.iter().find(|failed| failed.law == law).map(|failed| failed.trace.display().to_string())
    };
    write(folder, &report, trace)
}

/// Writes a report; gives the file to begin with.
pub(super) fn write(
    folder: &Path,
    report: &Report<'_>,
    trace: impl Fn(&str) -> Option<String>,
) -> Result<PathBuf, String> {
    write_cases(folder, report, &junit::of_campaign(report.totals, report.laws, trace))
}

/// Writes a report with these cases; gives the file to begin with.
pub(super) fn write_cases(folder: &Path, report: &Report<'_>, cases: &[Case]) -> Result<PathBuf, String> {
    let index = folder.join("index.html");
    let xml = junit::xml(report.name, cases, report.wall);
    put_file(&index, &html::campaign::page(report))?;
    put_file(&folder.join("junit.xml"), &xml)?;
    Ok(index)
}

/// A failure of a report, with its page beside it.
pub(super) fn failure(folder: &Path, failed: &Failed, subject: &Subject) -> Result<Failure, String> {
    let stem = failed.trace.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let name = format!("pages/{stem}.html");
    // A trace that cannot be taken again has no page, and says so itself.
    let page = page_of(&failed.trace, subject).ok();
    let note = page.as_ref().map(|page| page.what.clone()).unwrap_or_default();
    if let Some(page) = &page {
        put_file(&folder.join(&name), &html::page(page))?;
    }
    let (law, repro) = (failed.law.clone(), failed.repro.clone());
    Ok(Failure { law, note, page: page.map(|_| name), repro, ..Failure::default() })
}

/// Writes the report of many things that were tried; gives the file to begin with.
pub(super) fn write_outcomes(
    folder: &Path,
    name: &str,
    heads: &[&str],
    rows: &[(Case, Vec<String>)],
    wall: Duration,
) -> Result<PathBuf, String> {
    let index = folder.join("index.html");
    let cases: Vec<Case> = rows.iter().map(|(case, _)| case.clone()).collect();
    put_file(&index, &html::outcomes::page(name, heads, rows))?;
    put_file(&folder.join("junit.xml"), &junit::xml(name, &cases, wall))?;
    Ok(index)
}

pub(super) fn put_file(path: &Path, text: &str) -> Result<(), String> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let written = fs::create_dir_all(folder).and_then(|()| fs::write(path, text));
    written.map_err(|error| format!("--report {}: {error}", path.display()))
}
