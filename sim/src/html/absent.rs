//! What is not there: where something did not survive a power cut, the flush that did not follow a write.
//!
//! The rows of the disks say which request was completed when. What names no write without a flush says nothing: the cause
//! is another one then, or nobody recorded the disks.

use super::data::{Absent, Page, Row};
use crate::report::lanes::Lane;
use model::LawId;

/// Laws that speak of what survives.
const LAWS: [LawId; 2] = [LawId::FlushedSurvives, LawId::ChainOnDisk];
/// How the row of a power cut begins.
const POWER_CUT: &str = "crash power cut";
/// What tables of an image lead to its data or to its chain, those first that are written last.
const TABLES: [&str; 4] = ["header", "L1 table", "L2 table", "refcounts"];
/// So many are named.
const ABSENT_MAX: usize = 3;

/// A request of a disk, as its row has it: `job j0: write /n1.qcow2 0x400+0x200 (g0.0.1), since 3`.
struct Request<'a> {
    row: usize,
    step: u64,
    since: u64,
    what: &'a str,
    file: &'a str,
    holds: &'a str,
}

impl<'a> Request<'a> {
    fn of(at: usize, row: &'a Row) -> Option<Request<'a>> {
        let step = row.s.parse().ok().filter(|_| row.l == Lane::Disk as u8)?;
        let (_, asked) = row.t.split_once(": ")?;
        let (asked, since) = asked.split_once(", since ").unwrap_or((asked, ""));
        let (asked, holds) = asked.split_once(" (").unwrap_or((asked, ""));
        let mut words = asked.split(' ');
        let (what, file) = (words.next()?, words.next()?);
        let holds = holds.trim_end_matches(')');
        Some(Request { row: at, step, since: since.parse().unwrap_or(step), what, file, holds })
    }

    fn is_change(&self) -> bool {
        ["write", "zero", "resize"].contains(&self.what)
    }

    /// Whether a value is among what it writes.
    fn has(&self, value: &str) -> bool {
        let value = value.split(' ').next().unwrap_or_default();
        self.holds.split(' ').any(|word| word.split('*').next() == Some(value))
    }
}

/// The flushes that should have been, for a page whose law broke in row `at`.
pub(super) fn absent(page: &Page, at: usize) -> Vec<Absent> {
    let rows = &page.rows[..at];
    let crash = rows.iter().rposition(|row| row.t.starts_with(POWER_CUT));
    let Some(crash) = crash.filter(|_| LAWS.iter().any(|law| law.name() == page.law)) else {
        return Vec::new();
    };
    let requests: Vec<Request<'_>> =
        rows[..crash].iter().enumerate().filter_map(|(at, row)| Request::of(at, row)).collect();
    let is_concerned = |file: &str| page.rows[at].t.contains(file) || page.what.contains(file);
    let is_durable = |write: &Request<'_>| {
        let is_flush = |other: &&Request<'_>| other.what == "flush" && other.file == write.file;
        requests.iter().filter(is_flush).any(|flush| flush.since >= write.step)
    };
    let lost =
        |request: &&Request<'_>| request.is_change() && is_concerned(request.file) && !is_durable(request);
    let lost: Vec<&Request<'_>> = requests.iter().filter(lost).collect();
    let named = of_cause(page, &lost);
    let text = |write: &&Request<'_>| {
        let file = write.file.trim_start_matches('/');
        let node = file.strip_suffix(".qcow2").or(file.strip_suffix(".raw")).unwrap_or(file);
        Absent { text: format!("no flush of {node} since the write at step {}", write.step), row: write.row }
    };
    named.iter().take(ABSENT_MAX).map(text).collect()
}

/// Of writes without a flush those that explain the verdict: of the data that is not there, or of the tables that lead there.
fn of_cause<'a>(page: &Page, lost: &[&'a Request<'a>]) -> Vec<&'a Request<'a>> {
    let expected = |request: &&&Request<'_>| {
        let values = page.differs.iter().flat_map(|differs| &differs.expected);
        values.filter(|value| *value != "0").any(|value| request.has(value))
    };
    let of_data: Vec<&Request<'_>> = lost.iter().rev().filter(expected).copied().collect();
    if !of_data.is_empty() {
        return of_data;
    }
    let of_table = |table: &&str| lost.iter().rev().find(|request| request.holds == *table).copied();
    let is_of_length = page.differs.is_empty() && !page.what.contains("header");
    let of_length = lost.iter().rev().find(|request| is_of_length && request.what == "resize").copied();
    of_length.into_iter().chain(TABLES.iter().filter_map(of_table)).take(1).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::html::data::Differs;

    fn page(law: LawId, rows: &[(u64, &str)]) -> Page {
        let row = |(step, text): &(u64, &str)| {
            let lane =
                if text.contains(": ") && !text.starts_with("reopened") { Lane::Disk } else { Lane::World };
            Row { s: step.to_string(), l: lane as u8, t: (*text).to_owned(), ..Row::default() }
        };
        Page { law: law.name().to_owned(), rows: rows.iter().map(row).collect(), ..Page::default() }
    }

    fn texts(page: &Page) -> Vec<String> {
        absent(page, page.rows.len() - 1).into_iter().map(|absent| absent.text).collect()
    }

    #[test]
    fn the_write_of_lost_data_that_no_flush_followed_is_named() {
        let differs =
            Differs { expected: vec!["g0.0.1".to_owned()], found: "0".to_owned(), ..Differs::default() };
        let mut page = page(
            LawId::FlushedSurvives,
            &[
                (3, "g0.0: write /n1.qcow2 0x400+0x400 (0 g0.0.1)"),
                (4, "g0.0: write /n1.qcow2 0x800+0x200 (L2 table)"),
                (9, "g0.0: flush /n1.qcow2, since 2"),
                (9, "g0.0: flush /n0.qcow2"),
                (11, "crash power cut"),
                (11, "reopened /n1.qcow2 -> /n0.qcow2: 0*16"),
            ],
        );
        page.differs = vec![differs];
        assert_eq!(texts(&page), ["no flush of n1 since the write at step 3"]);
        page.rows[2].t = "g0.0: flush /n1.qcow2".to_owned();
        assert_eq!(texts(&page), [""; 0], "it was flushed");
        page.rows[4].t = "crash kill".to_owned();
        page.rows[2].t.clear();
        assert_eq!(texts(&page), [""; 0], "a kill leaves what was written");
    }

    #[test]
    fn tables_stand_for_the_data_that_they_lead_to() {
        let mut page = page(
            LawId::ChainOnDisk,
            &[
                (3, "job j0: write /n1.qcow2 0x400+0x400 (n0)"),
                (5, "job j0: flush /n1.qcow2"),
                (6, "job j0: write /n1.qcow2 0x0+0x200 (header)"),
                (7, "crash power cut"),
                (7, "reopened /n1.qcow2: 0*16"),
            ],
        );
        page.what = "the header of /n1.qcow2 names /n0.qcow2, expected no backing".to_owned();
        assert_eq!(texts(&page), ["no flush of n1 since the write at step 6"]);
        page.law = LawId::NoLeak.name().to_owned();
        assert_eq!(texts(&page), [""; 0], "a law about something else");
    }
}
