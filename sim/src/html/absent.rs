//! What is not there: where something did not survive a power cut, the flush that did not follow a write.
//!
//! The rows of the disks say which request was completed when. What names no write without a flush says nothing: the cause
//! is another one then, or nobody recorded the disks. A simulated disk knows what a write holds; the devices of a live daemon
//! know only where it went, and their rows have no step.

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

/// A request that a disk has completed.
struct Request<'a> {
    row: usize,
    /// When it was submitted and completed, by the clock of its kind of rows: steps, or places among the rows.
    since: u64,
    done: u64,
    what: &'a str,
    file: &'a str,
    holds: &'a str,
    /// How many bytes from where on, if what they hold is not known.
    range: Option<(u64, u64)>,
}

impl<'a> Request<'a> {
    /// Of row `at`, if it is one.
    fn of(at: usize, page: &'a Page) -> Option<Request<'a>> {
        let row = page.rows.get(at).filter(|row| row.l == Lane::Disk as u8)?;
        match row.t.strip_suffix(", done") {
            Some(asked) => Request::of_device(at, asked, page),
            None => Request::of_world(at, row),
        }
    }

    /// As a world has it: `job j0: write /n1.qcow2 0x400+0x200 (g0.0.1), since 3`.
    fn of_world(at: usize, row: &'a Row) -> Option<Request<'a>> {
        let done = row.s.parse().ok()?;
        let (_, asked) = row.t.split_once(": ")?;
        let (asked, since) = asked.split_once(", since ").unwrap_or((asked, ""));
        let (asked, holds) = asked.split_once(" (").unwrap_or((asked, ""));
        let mut words = asked.split(' ');
        let (what, file) = (words.next()?, words.next()?);
        let holds = holds.trim_end_matches(')');
        Some(Request { row: at, since: since.parse().unwrap_or(done), done, what, file, holds, range: None })
    }

    /// As devices have it: `write 2048 bytes at 14336 of n1.qcow2`, or `flush n1.qcow2`.
    fn of_device(at: usize, asked: &'a str, page: &'a Page) -> Option<Request<'a>> {
        // Of flushes that overlap, the row does not say which is done: the last one covers most, so nothing is claimed wrongly.
        let since = page.rows[..at].iter().rposition(|row| row.t == asked)? as u64;
        let (what, rest) = asked.split_once(' ')?;
        let known = Request { row: at, since, done: at as u64, what, file: rest, holds: "", range: None };
        if what == "flush" {
            return Some(known);
        }
        let (range, file) = rest.split_once(" of ")?;
        let (len, offset) = range.split_once(" bytes at ")?;
        let (len, offset) = (len.parse().ok()?, offset.parse().ok()?);
        let is_header = offset == 0 && !is_raw(file, page);
        Some(Request {
            file,
            holds: if is_header { "header" } else { "" },
            range: Some((len, offset)),
            ..known
        })
    }

    fn is_change(&self) -> bool {
        ["write", "zero", "zeroes", "resize"].contains(&self.what)
    }

    /// Whether a value is among what it writes.
    fn has(&self, value: &str) -> bool {
        let value = value.split(' ').next().unwrap_or_default();
        self.holds.split(' ').any(|word| word.split('*').next() == Some(value))
    }

    /// Whether it may have written the data that is not there, or what leads to it, as far as its place says: a raw file has
    /// each sector in its place.
    fn may_be_of_data(&self, page: &Page) -> bool {
        let Some((len, offset)) = self.range.filter(|_| self.holds.is_empty()) else { return false };
        let sectors = offset / 512..(offset + len).div_ceil(512);
        !is_raw(self.file, page) || page.differs.iter().any(|differs| sectors.contains(&differs.sector))
    }

    fn text(&self) -> String {
        let file = self.file.trim_start_matches('/');
        let node = file.strip_suffix(".qcow2").or(file.strip_suffix(".raw")).unwrap_or(file);
        let write = match self.range {
            Some((len, offset)) => format!("of {len} bytes at {offset}"),
            None => format!("at step {}", self.done),
        };
        format!("no flush of {node} since the write {write}")
    }
}

fn is_raw(file: &str, page: &Page) -> bool {
    page.images.iter().any(|image| image.file.trim_start_matches('/') == file && image.format == "raw")
}

/// The flushes that should have been, for a page whose law broke in row `at`.
pub(super) fn absent(page: &Page, at: usize) -> Vec<Absent> {
    let crash = page.rows[..at].iter().rposition(|row| row.t.starts_with(POWER_CUT));
    let Some(crash) = crash.filter(|_| LAWS.iter().any(|law| law.name() == page.law)) else {
        return Vec::new();
    };
    let requests: Vec<Request<'_>> = (0..crash).filter_map(|row| Request::of(row, page)).collect();
    let is_concerned = |file: &str| page.rows[at].t.contains(file) || page.what.contains(file);
    let is_durable = |write: &Request<'_>| {
        let is_flush = |other: &&Request<'_>| other.what == "flush" && other.file == write.file;
        requests.iter().filter(is_flush).any(|flush| flush.since >= write.done)
    };
    let lost =
        |request: &&Request<'_>| request.is_change() && is_concerned(request.file) && !is_durable(request);
    let lost: Vec<&Request<'_>> = requests.iter().filter(lost).collect();
    let named = of_cause(page, &lost).into_iter().take(ABSENT_MAX);
    named.map(|write| Absent { text: write.text(), row: write.row }).collect()
}

/// Of writes without a flush those that explain the verdict: of the data that is not there, or of the tables that lead there.
fn of_cause<'a>(page: &Page, lost: &[&'a Request<'a>]) -> Vec<&'a Request<'a>> {
    let is_of_data = !page.what.contains("header");
    let expected = |request: &&&Request<'_>| {
        let mut values = page.differs.iter().flat_map(|differs| &differs.expected);
        values.any(|value| *value != "0" && request.has(value)) || is_of_data && request.may_be_of_data(page)
    };
    let of_data: Vec<&Request<'_>> = lost.iter().rev().filter(expected).copied().collect();
    if !of_data.is_empty() {
        return of_data;
    }
    let of_table = |table: &&str| lost.iter().rev().find(|request| request.holds == *table).copied();
    let is_of_length = page.differs.is_empty() && is_of_data;
    let of_length = lost.iter().rev().find(|request| is_of_length && request.what == "resize").copied();
    of_length.into_iter().chain(TABLES.iter().filter_map(of_table)).take(1).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::html::data::{Differs, Image};
    use crate::html::{Heading, of_history};
    use crate::judge;
    use std::fs;
    use std::path::Path;

    fn page(law: LawId, rows: &[(u64, &str)]) -> Page {
        let row = |(step, text): &(u64, &str)| {
            let lane =
                if text.contains(": ") && !text.starts_with("reopened") { Lane::Disk } else { Lane::World };
            Row { s: step.to_string(), l: lane as u8, t: (*text).to_owned(), ..Row::default() }
        };
        Page { law: law.name().to_owned(), rows: rows.iter().map(row).collect(), ..Page::default() }
    }

    fn recorded(name: &str) -> Page {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../tests/histories/{name}.jsonl"));
        let text = fs::read(path).expect("a history");
        let history = judge::read(&text[..]).expect("it makes sense").expect("it is QEMU's");
        of_history(&Heading::default(), &history)
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

    #[test]
    fn devices_of_a_live_daemon_say_where_the_writes_went() {
        let mut page = recorded("campaign-qemu-cut-on-disk");
        let lost = [
            "no flush of n1 since the write of 2048 bytes at 16384",
            "no flush of n1 since the write of 2048 bytes at 14336",
        ];
        let shown: Vec<&str> = page.absent.iter().map(|absent| absent.text.as_str()).collect();
        assert_eq!(shown, lost);
        let rows: Vec<&str> = page.absent.iter().map(|absent| page.rows[absent.row].t.as_str()).collect();
        assert_eq!(rows[0], "write 2048 bytes at 16384 of n1.qcow2, done");
        let at = page.at.expect("it breaks");
        let header =
            page.rows.iter().rposition(|row| row.t == "write 2048 bytes at 0 of n1.qcow2").expect("a header");
        let disk =
            |text: &str| Row { s: "0".to_owned(), l: Lane::Disk as u8, t: text.to_owned(), ..Row::default() };
        page.rows.insert(header, disk("flush n1.qcow2"));
        let texts = |page: &Page| -> Vec<String> {
            absent(page, at + 1).into_iter().map(|absent| absent.text).collect()
        };
        assert_eq!(texts(&page), lost, "it was only submitted");
        page.rows[header + 1] = disk("flush n1.qcow2, done");
        assert_eq!(texts(&page), [""; 0], "it was flushed");
    }

    #[test]
    fn of_devices_the_header_and_a_raw_files_sectors_are_known_by_their_place() {
        let mut page = page(
            LawId::ChainOnDisk,
            &[
                (0, "write 512 bytes at 1024 of n1.qcow2"),
                (0, "write 512 bytes at 1024 of n1.qcow2, done"),
                (0, "write 512 bytes at 0 of n1.qcow2"),
                (0, "write 512 bytes at 0 of n1.qcow2, done"),
                (0, "zeroes 1024 bytes at 0 of n0.raw"),
                (0, "zeroes 1024 bytes at 0 of n0.raw, done"),
                (0, "crash power cut"),
                (0, "reopened /n1.qcow2 -> /n0.raw: 0*16"),
            ],
        );
        page.rows[..6].iter_mut().for_each(|row| row.l = Lane::Disk as u8);
        page.images = vec![Image { file: "/n0.raw".to_owned(), format: "raw", ..Image::default() }];
        page.what = "the header of /n1.qcow2 names /n0.raw, expected no backing".to_owned();
        assert_eq!(texts(&page), ["no flush of n1 since the write of 512 bytes at 0"]);
        page.what = "sector 1 of /n0.raw".to_owned();
        page.differs = vec![Differs { sector: 1, ..Differs::default() }];
        let of_n1 = "no flush of n1 since the write of 512 bytes at 1024";
        assert_eq!(texts(&page), ["no flush of n0 since the write of 1024 bytes at 0", of_n1]);
        page.differs[0].sector = 2;
        assert_eq!(texts(&page), [of_n1], "its place in the raw file was not written");
    }
}
