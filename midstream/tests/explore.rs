//! Explorations of small layers: what the reduction leaves out changes no outcome, counts do not depend on threads, what is
//! left can be gone on with, and a bug in one order of many is found that chance misses.

use midstream::check::{Effort, End, Explored, Reduction, with_explored};
use midstream::scenario::{Bounds, Scenario, flush, kill, power_cut, read, write};
use midstream::seam::footprint::{Access, Object};
use midstream::seam::{Disk, Host, IoResult, OpenMode};
use midstream::verdict::Detail;
use midstream::{BlockLayer, Device, Image, explore, find};
use std::sync::{Arc, Mutex};

const SECTOR: u64 = 512;

/// Every sector where it belongs. Its tasks share nothing but the disk; one that does not say so is `NOTES = false`.
#[derive(Clone)]
struct Plain<const NOTES: bool>;
struct Open(Arc<dyn Disk>);

async fn opened(host: &dyn Host, images: &[Image]) -> IoResult<Vec<Arc<dyn Disk>>> {
    let mut disks = Vec::new();
    for image in images {
        disks.push(host.open(&image.path, OpenMode::ReadWrite).await?);
    }
    Ok(disks)
}

impl<const NOTES: bool> BlockLayer for Plain<NOTES> {
    type Device = Open;
    const NOTES_WHAT_IT_SHARES: bool = NOTES;

    async fn open(&self, host: Arc<dyn Host>, images: &[Image]) -> IoResult<Vec<Open>> {
        Ok(opened(&*host, images).await?.into_iter().map(Open).collect())
    }
}

impl Device for Open {
    async fn read(&self, offset: u64, len: u64) -> IoResult<Vec<u8>> {
        self.0.read(offset, vec![0; len as usize]).await
    }
    async fn write(&self, offset: u64, data: Vec<u8>) -> IoResult<()> {
        self.0.write(offset, data).await
    }
    async fn flush(&self) -> IoResult<()> {
        self.0.flush().await
    }
}

/// Two guests of whom one writes over what the other flushes.
fn two_guests() -> Scenario {
    Scenario::chain(["disk ...."])
        .guest("disk", [write(0, 2), flush()])
        .guest("disk", [write(1, 1), read(0, 2)])
}

fn bounds() -> Bounds {
    Bounds { crashes: vec![kill(), power_cut()], ..Bounds::default() }
}

fn explored<L: BlockLayer>(layer: L, scenario: Scenario, effort: &Effort) -> Explored {
    explore(layer, scenario, &bounds(), effort).unwrap_or_else(|failure| panic!("{failure}"))
}

fn by(reduction: Reduction) -> Effort {
    Effort { reduction, ..Effort::default() }
}

#[test]
fn what_is_left_out_changes_no_outcome() {
    let [plain, asleep, full] = [Reduction::Nothing, Reduction::Sleep, Reduction::Full]
        .map(|reduction| explored(Plain::<true>, two_guests(), &by(reduction)));
    for reduced in [&asleep, &full] {
        assert_eq!(reduced.end, End::Complete);
        assert_eq!(reduced.last_contents, plain.last_contents);
        assert_eq!(reduced.crash_contents, plain.crash_contents);
    }
    let runs = |explored: &Explored| explored.counts.schedules + explored.counts.pruned;
    // Orders in which requests begin are different states to a judge that notes moments, so there are no more of them.
    assert!(full.counts.states <= plain.counts.states);
    assert!(runs(&full) <= runs(&asleep) && runs(&asleep) < runs(&plain), "{:?}", asleep.counts);
}

#[test]
fn a_layer_that_notes_nothing_has_the_same_outcomes() {
    let noted = explored(Plain::<true>, two_guests(), &Effort::default());
    let unnoted = explored(Plain::<false>, two_guests(), &Effort::default());
    assert_eq!(noted.last_contents, unnoted.last_contents);
    assert_eq!(noted.crash_contents, unnoted.crash_contents);
    assert!(noted.counts.schedules < unnoted.counts.schedules, "{:?}", unnoted.counts);
}

#[test]
fn counts_do_not_depend_on_threads_nor_on_where_it_was_left() {
    let once = explored(Plain::<true>, two_guests(), &Effort::default());
    let beside = explored(Plain::<true>, two_guests(), &Effort { jobs: 3, ..Effort::default() });
    assert_eq!(once.counts, beside.counts);
    let few = Bounds { runs_max: 10, ..bounds() };
    let left = explore(Plain::<true>, two_guests(), &few, &Effort::default()).expect("it is sound");
    assert_eq!(left.end, End::Runs);
    let resumed = Effort { resumed: left.saved, ..Effort::default() };
    let gone_on = explored(Plain::<true>, two_guests(), &resumed);
    assert_eq!((gone_on.end, gone_on.counts), (End::Complete, once.counts));
}

/// Forgets that a flush is to reach the disk.
struct Unflushed;
struct Lazy(Open);

impl BlockLayer for Unflushed {
    type Device = Lazy;
    const NOTES_WHAT_IT_SHARES: bool = true;

    async fn open(&self, host: Arc<dyn Host>, images: &[Image]) -> IoResult<Vec<Lazy>> {
        Ok(opened(&*host, images).await?.into_iter().map(|disk| Lazy(Open(disk))).collect())
    }
}

impl Device for Lazy {
    async fn read(&self, offset: u64, len: u64) -> IoResult<Vec<u8>> {
        self.0.read(offset, len).await
    }
    async fn write(&self, offset: u64, data: Vec<u8>) -> IoResult<()> {
        self.0.write(offset, data).await
    }
    async fn flush(&self) -> IoResult<()> {
        Ok(())
    }
}

#[test]
fn a_forgotten_flush_is_found_and_its_trace_replays() {
    let scenario = || Scenario::chain(["disk .."]).guest("disk", [write(0, 1), flush()]);
    let explored = explored(Unflushed, scenario(), &Effort::default());
    assert_eq!(explored.end, End::Broken);
    let (failure, trace) = explored.broken.expect("a law broke");
    let law = "what was flushed survives a power cut";
    assert_eq!(failure.law.as_deref(), Some(law), "{failure}");
    let again =
        with_explored(Unflushed, scenario(), &bounds(), |subject| trace.replay(subject, Detail::Quiet));
    let again = again.expect("it is the same layer");
    assert!(again.is_expected(&trace) && again.law() == law, "{again:?}");
}

/// Each write of sector n passes a gate three times, after four reads of its own. Who passes in one order of 1,680 loses the
/// last write; and each of these orders comes about in very many schedules.
struct Gated;
struct Passing {
    disk: Open,
    passed: Mutex<Vec<u64>>,
    noted: Object,
}

const LOSES: [u64; 9] = [0, 1, 0, 1, 0, 2, 2, 2, 1];

impl BlockLayer for Gated {
    type Device = Passing;
    const NOTES_WHAT_IT_SHARES: bool = true;

    async fn open(&self, host: Arc<dyn Host>, images: &[Image]) -> IoResult<Vec<Passing>> {
        let disks = opened(&*host, images).await?;
        let passing = |disk| Passing { disk: Open(disk), passed: Mutex::default(), noted: Object::new() };
        Ok(disks.into_iter().map(passing).collect())
    }
}

impl Device for Passing {
    async fn read(&self, offset: u64, len: u64) -> IoResult<Vec<u8>> {
        self.disk.read(offset, len).await
    }
    async fn write(&self, offset: u64, data: Vec<u8>) -> IoResult<()> {
        let mut loses = false;
        for _ in 0..3 {
            for _ in 0..4 {
                self.disk.read(offset, SECTOR).await?;
            }
            self.noted.touch(Access::Write);
            let mut passed = self.passed.lock().expect("nobody panics");
            passed.push(offset / SECTOR);
            loses = *passed == LOSES;
        }
        if loses { Ok(()) } else { self.disk.write(offset, data).await }
    }
    async fn flush(&self) -> IoResult<()> {
        self.disk.flush().await
    }
}

#[test]
fn the_one_order_that_loses_a_write_is_found_and_chance_misses_it() {
    let scenario = || {
        (0..3).fold(Scenario::chain(["disk ..."]), |scenario, sector| {
            scenario.guest("disk", [write(sector, 1)])
        })
    };
    let found = explore(Gated, scenario(), &Bounds::default(), &Effort::default()).expect("it can be judged");
    assert_eq!(found.end, End::Broken);
    let runs = found.counts.schedules + found.counts.pruned;
    let missed = find(Gated, scenario(), runs);
    assert!(missed.is_ok(), "chance found it in {runs} runs");
}
