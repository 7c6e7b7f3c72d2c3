//! A history made into a page: it is shown to a judge once more, and each thing that happened becomes a row with what the
//! judge believed behind it.

use super::absent::absent;
use super::belief::{SECTORS_MAX, Tables, graph, jobs, ways};
use super::cause::{Causes, last_changes};
use super::data::{Graph, Image, Page, Row};
use super::differs::{Reads, Sight};
use crate::report::lanes::{self, Lane};
use midstream::content::named;
use midstream::history::observed::Observed;
use midstream::history::{Entry, History, Recorder, What};
use midstream::request::Operation;
use midstream::world::on_disk::OnDisk;
use model::law::LAWS;
use model::{Format, ImageSetup, Judge};
use std::collections::BTreeMap;

/// How the last note of a run that failed begins.
const BROKE: &str = "broke the law: ";
/// A longer text of a row is cut.
const TEXT_CHARS_MAX: usize = 2000;

/// How a run ended, as whoever asks for the page knows.
#[derive(Clone, Default, Debug)]
pub struct Heading {
    /// What it is called.
    pub title: String,
    /// The law that broke, or `passed`; nothing if nobody knows, and the judge shall say.
    pub law: String,
    /// What was found, in lines.
    pub verdict: String,
    /// Who recorded it, from which seed.
    pub origin: String,
    /// How the images were made, a line each.
    pub setup: String,
    /// Commands to paste.
    pub repro: Vec<String>,
}

/// The page of a run.
pub fn of_history(heading: &Heading, history: &History) -> Page {
    let run = history.cut.as_deref().unwrap_or(history);
    let mut builder = Builder::new(run);
    builder.page.images = run.images.iter().map(image).collect();
    builder.begin();
    let mut disk = run.disk.iter().peekable();
    for (entry, line) in run.entries.iter().zip(run.lines_by_entry()) {
        while let Some(done) = disk.next_if(|done| done.step < entry.step) {
            builder.disk(done);
        }
        builder.entry(entry, line);
    }
    disk.for_each(|done| builder.disk(done));
    builder.end(heading)
}

/// The page of a run of which is only known what was to be done.
pub fn planned(heading: &Heading, rows: &[lanes::Row]) -> Page {
    let rows = rows.iter().map(|row| row_of(row.clone())).collect();
    let mut page = Page { rows, graphs: vec![Graph::default()], jobs: vec![Vec::new()], ..Page::default() };
    head(&mut page, heading);
    page
}

struct Builder {
    page: Page,
    judge: Judge,
    /// Whether the judge still follows.
    is_judging: bool,
    /// What the judge said at last.
    broken: Option<model::Broken>,
    tables: Tables,
    causes: Causes,
    reads: Reads,
    guests: BTreeMap<u64, u32>,
    is_set_up: bool,
}

impl Builder {
    fn new(run: &History) -> Builder {
        let judge = Judge::new(&run.images);
        Builder {
            page: Page::default(),
            judge: if run.recorder == Recorder::Live { judge.on_real_files() } else { judge },
            is_judging: !run.images.is_empty(),
            broken: None,
            tables: Tables::default(),
            causes: Causes::default(),
            reads: Reads::new(),
            guests: BTreeMap::new(),
            is_set_up: true,
        }
    }

    fn begin(&mut self) {
        if !self.is_judging {
            self.page.graphs.push(Graph::default());
            self.page.jobs.push(Vec::new());
            return;
        }
        for (image, sector, cell) in self.tables.changes(&self.judge, &mut self.page) {
            let cells = &mut self.page.images[usize::from(image)].cells;
            debug_assert_eq!(cells.len(), sector as usize, "sectors come in their order");
            cells.push(cell);
        }
        self.believe(&mut Row::default());
    }

    fn entry(&mut self, entry: &Entry, line: Option<String>) {
        let shown = line.map(|line| lanes::Row::of(&format!("step {} {line}", entry.step)));
        let is_shown = shown.is_some();
        let continues_set_up = shown.as_ref().is_none_or(lanes::Row::is_set_up);
        let mut row = shown.map(row_of).unwrap_or_default();
        match &entry.what {
            What::Observed(observed) => {
                self.is_set_up &= continues_set_up;
                self.observed(observed, is_shown, &mut row);
            }
            other => {
                row.k = matches!(other, What::Armed(..));
                self.stay(&mut row);
                row.n = self.page.rows.last().map_or(1, |last| last.n);
                if row.l == Lane::Disk as u8 {
                    row.c = self.causes.of_disk(&row.t);
                }
            }
        }
        // A fault may be armed in the middle of a set-up, and is no part of it.
        row.f = self.is_set_up && !matches!(entry.what, What::Armed(..));
        if is_shown {
            self.page.rows.push(row);
        }
    }

    fn observed(&mut self, observed: &Observed, is_shown: bool, row: &mut Row) {
        row.k = matches!(observed, Observed::Sent { .. } | Observed::Began { .. } | Observed::Crash { .. });
        if is_shown {
            row.c = self.causes.of(self.page.rows.len(), observed);
        }
        self.judge(observed, row);
    }

    /// Shows it to the judge, and keeps what that believes then.
    fn judge(&mut self, observed: &Observed, row: &mut Row) {
        if !self.is_judging {
            return self.stay(row);
        }
        if let Some(sight) = Sight::of(observed, &self.judge, &self.reads) {
            row.v = Some(sight.shown());
        }
        let before = self.judge.clone();
        row.w = observed.show(|seen| ways(&before, seen, &mut self.page));
        self.follow(observed);
        match observed.show(|seen| self.judge.observe(seen)) {
            Ok(()) => {
                row.d = self.tables.changes(&self.judge, &mut self.page);
                self.believe(row);
            }
            Err(broken) => {
                self.is_judging = false;
                self.page.at = Some(self.page.rows.len());
                let sight = Sight::of(observed, &before, &self.reads);
                self.page.differs = sight.map(|sight| sight.differs(&before)).unwrap_or_default();
                self.stay(row);
                self.broken = Some(broken);
            }
        }
        if let Observed::Ended { request, .. } = observed {
            self.reads.remove(request);
        }
    }

    /// Where requests go.
    fn follow(&mut self, observed: &Observed) {
        if let Observed::Began { request, guest, asked, .. } = observed {
            self.guests.insert(*request, *guest);
            let image = self.judge.image_of_guest(*guest).filter(|_| asked.operation == Operation::Read);
            if let Some(image) = image {
                self.reads.insert(*request, (image, asked.sector));
            }
        }
    }

    fn believe(&mut self, row: &mut Row) {
        let beliefs = self.judge.beliefs();
        row.n = beliefs.len();
        if let Some(plain) = beliefs.first() {
            row.g = graph(plain, &mut self.page);
            row.j = jobs(plain, &mut self.page);
        }
    }

    /// All is as it was behind the row before.
    fn stay(&self, row: &mut Row) {
        if let Some(last) = self.page.rows.last() {
            (row.g, row.j) = (last.g, last.j);
        }
    }

    fn disk(&mut self, done: &OnDisk) {
        let mut row = Row {
            s: done.step.to_string(),
            l: Lane::Disk as u8,
            t: cut(done.line()),
            c: self.causes.of_disk(&done.line()),
            f: self.is_set_up,
            ..Row::default()
        };
        self.stay(&mut row);
        row.n = self.page.rows.last().map_or(1, |last| last.n);
        self.page.rows.push(row);
    }

    fn end(mut self, heading: &Heading) -> Page {
        let mut heading = heading.clone();
        // A run with a verdict of its own was judged by rules that this judge may not have: of disks that lie, say.
        let is_open = heading.law.is_empty();
        if is_open {
            heading.law = midstream::trace::PASSED.to_owned();
        }
        if let (true, Some(broken)) = (is_open, &self.broken) {
            heading.law = broken.law.name().to_owned();
            heading.verdict = named(&broken.detail);
        } else if let (true, Some(law)) = (is_open, self.law_of_last_note()) {
            heading.law = law;
        }
        head(&mut self.page, &heading);
        let is_broken = self.page.broken;
        if !is_broken {
            self.page.differs.clear();
        }
        // A law that needs no model to be seen broken ends a run with what was seen last.
        let last = self.page.rows.len().checked_sub(1);
        self.page.at = if is_broken { self.page.at.min(last).or(last) } else { None };
        if let Some(at) = self.page.at {
            let sectors: Vec<(u16, u32)> =
                self.page.differs.iter().map(|differs| (differs.image, differs.sector as u32)).collect();
            let more = last_changes(&self.page, at, &sectors);
            let causes = &mut self.page.rows[at].c;
            causes.extend(more);
            causes.sort_unstable();
            causes.dedup();
            self.page.absent = absent(&self.page, at);
        }
        self.page
    }

    /// The law that whoever recorded the history saw broken: a crash of a daemon is no observation.
    fn law_of_last_note(&self) -> Option<String> {
        let law = self.page.rows.last()?.t.strip_prefix(BROKE)?;
        Some(law.rsplit_once(", at step ").map_or(law, |(law, _)| law).to_owned())
    }
}

fn head(page: &mut Page, heading: &Heading) {
    let (what, detail) = heading.verdict.split_once('\n').unwrap_or((&heading.verdict, ""));
    let why = LAWS.iter().find(|law| law.name() == heading.law).and_then(|law| law.why());
    page.title = heading.title.clone();
    page.law = heading.law.clone();
    page.broken = heading.law != midstream::trace::PASSED;
    page.what = what.to_owned();
    page.detail = detail.to_owned();
    page.why = why.unwrap_or_default().to_owned();
    page.origin = heading.origin.clone();
    page.setup = heading.setup.clone();
    page.repro = heading.repro.clone();
}

fn row_of(row: lanes::Row) -> Row {
    Row { s: row.step, l: row.lane as u8, t: cut(row.text), ..Row::default() }
}

fn cut(text: String) -> String {
    if text.chars().nth(TEXT_CHARS_MAX).is_none() {
        return text;
    }
    text.chars().take(TEXT_CHARS_MAX).chain([' ', '…']).collect()
}

fn image(image: &ImageSetup) -> Image {
    Image {
        file: image.file.clone(),
        format: if image.format == Format::Raw { "raw" } else { "qcow2" },
        backing: image.backing.clone().unwrap_or_default(),
        sectors: (image.size_bytes / 512).min(u64::from(SECTORS_MAX)),
        cluster: (image.cluster_bytes / 512).max(1),
        cells: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::html;
    use crate::judge;
    use midstream::toy;
    use std::fs;
    use std::path::Path;

    fn screen(name: &str) -> Page {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../tests/screens/{name}.jsonl"));
        let text = fs::read(path).expect("a history");
        let history = judge::read(&text[..]).expect("it makes sense").expect("it is QEMU's");
        of_history(&Heading::default(), &history)
    }

    #[test]
    fn the_row_that_breaks_has_its_law_its_sector_and_what_wrote_it() {
        let page = screen("serialise-on-request");
        assert_eq!(page.law, "stream never changes what the guest reads");
        let at = page.at.expect("it breaks");
        let [differs] = &page.differs[..] else { panic!("one sector differs") };
        assert_eq!(
            (differs.sector, differs.expected.as_slice(), differs.found.as_str()),
            (11, &["g1.0.7".to_owned()][..], "0")
        );
        let causes: Vec<&str> = page.rows[at].c.iter().map(|cause| page.rows[*cause].t.as_str()).collect();
        assert_eq!(causes, ["g1.0.7 is done"], "what changed that sector last");
        assert!(page.ways[page.rows[at].w.expect("there are ways")].iter().all(|way| way.no.is_some()));
        let jobs = page.rows.iter().filter(|row| row.l == Lane::Jobs as u8);
        assert!(
            jobs.clone().count() > 3 && jobs.skip(1).all(|row| !row.c.is_empty()),
            "each event has a cause"
        );
    }

    #[test]
    fn the_images_begin_with_every_sector_and_change_row_by_row() {
        let page = screen("serialise-on-request");
        for image in &page.images {
            assert_eq!(image.cells.len() as u64, image.sectors, "{}", image.file);
        }
        assert!(page.rows.iter().any(|row| !row.d.is_empty()));
        assert!(page.rows.iter().flat_map(|row| &row.d).all(|(_, _, cell)| *cell < page.cells.len()));
        let frozen = |graph: &Graph| {
            graph.nodes.iter().any(|node| node.to.iter().any(|(_, _, by)| by.contains(&"j2".to_owned())))
        };
        assert!(page.graphs.iter().any(frozen), "the stream froze a link");
    }

    #[test]
    fn a_world_of_another_kind_is_shown_without_a_judge() {
        let (_, outcome) = toy::first_failure();
        let (full, _) =
            midstream::strategy::replay::strict(|choices| toy::SUBJECT.full(choices), &outcome.tape);
        let heading =
            Heading { law: toy::LAW.to_owned(), verdict: "values".to_owned(), ..Heading::default() };
        let page = of_history(&heading, &full.history);
        assert_eq!((page.law.as_str(), page.what.as_str()), (toy::LAW, "values"));
        assert!(page.rows.len() > 1 && page.at == Some(page.rows.len() - 1));
        assert!(html::page(&page).contains("values"));
    }
}
