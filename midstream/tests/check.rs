//! What `check` finds in small layers with one bug each, and that it finds nothing where there is none.

mod layers;

use layers::{Bug, Cached, Cow};
use midstream::campaign::{Plan, Seeds};
use midstream::scenario::{Scenario, discard, eio, flush, kill, power_cut, read, write, write_zeroes};
use midstream::seam::{Disk, Host, IoResult, OpenMode};
use midstream::{BlockLayer, Device, Failure, Image, Profile, event_log, explain, find, replay, survey};
use std::sync::Arc;

const FLUSHED: &str = "what was flushed survives a power cut";
const READS: &str = "a read returns what was written";
const KILLED: &str = "what was written survives a kill";
const CLEAN: &str = "a clean end keeps everything";
const OPENS: &str = "whatever a crash leaves can be opened and read";
const SOUND: &str = "images are sound after a crash and after a clean end";

/// A layer that promises nothing of what was not flushed.
fn cached(bug: Bug) -> Cached<false> {
    Cached { bug }
}

fn failure(bug: Bug) -> Box<Failure> {
    find(cached(bug), Profile::default(), 3_000).expect_err("it has a bug")
}

fn law_of(bug: Bug) -> String {
    failure(bug).law.expect("a law")
}

#[test]
fn a_layer_without_a_bug_breaks_nothing() {
    let totals = find(cached(Bug::None), Profile::default(), 1_000).unwrap_or_else(|f| panic!("{f}"));
    assert_eq!(totals.runs, 1_000);
    // Reads, kills, power cuts, clean ends, checkers, openings. It promises nothing of a kill, so none is judged so.
    let checks: Vec<bool> = totals.laws_checked.iter().map(|checks| *checks > 0).collect();
    assert_eq!(checks, [true, false, true, true, true, true]);
    assert_eq!(totals.inconclusive, 0);
}

#[test]
fn every_bug_breaks_the_law_that_it_should() {
    assert_eq!(law_of(Bug::ForgetsFlush), FLUSHED);
    assert_eq!(law_of(Bug::ReadsDisk), READS);
    assert_eq!(law_of(Bug::FailsToOpen), OPENS);
    assert_eq!(law_of(Bug::Leaks), SOUND);
    // What it holds before the run is written and closed too, so here it holds nothing.
    let one_write = Scenario::chain(["disk ...."]).guest("disk", [write(0, 1)]);
    let found = find(cached(Bug::LosesCacheAtClose), one_write, 10).expect_err("the write is lost");
    assert_eq!(found.law.as_deref(), Some(CLEAN));
    let promises = Cached::<true> { bug: Bug::None };
    let found = find(promises, Profile::default(), 3_000).expect_err("a kill loses its cache");
    assert_eq!(found.law.as_deref(), Some(KILLED));
}

/// Asks the disk for everything, and keeps nothing.
struct Plain;

impl BlockLayer for Plain {
    type Device = PlainDisk;

    async fn open(&self, host: Arc<dyn Host>, images: &[Image]) -> IoResult<Vec<PlainDisk>> {
        let mut disks = Vec::new();
        for image in images {
            disks.push(PlainDisk(host.open(&image.path, OpenMode::ReadWrite).await?));
        }
        Ok(disks)
    }
}

struct PlainDisk(Arc<dyn Disk>);

impl Device for PlainDisk {
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

// One flush fails and the next succeeds. Who writes all of it again has it on the disk then; who only flushes again has not.
#[test]
fn who_believes_the_flush_after_a_failed_one_is_found_where_flushes_forget() {
    let profile = |flushes_forget| Profile { flushes_forget, ..Profile::default() };
    find(Plain, profile(false), 3_000).unwrap_or_else(|f| panic!("{f}"));
    find(cached(Bug::None), profile(true), 3_000).unwrap_or_else(|f| panic!("{f}"));
    let found = find(Plain, profile(true), 3_000).expect_err("it believes the second flush");
    assert_eq!(found.law.as_deref(), Some(FLUSHED), "{found}");
}

#[test]
fn who_waits_for_ever_and_who_panics_is_reported() {
    assert_eq!(law_of(Bug::Hangs), midstream::verdict::LIVENESS);
    let panicked = failure(Bug::Panics);
    assert_eq!(panicked.law.as_deref(), Some(midstream::verdict::INVARIANTS));
    assert!(panicked.detail.contains("nobody reads sector 5 (midstream/tests/layers/mod.rs:"), "{panicked}");
}

#[test]
fn a_law_that_only_the_last_look_breaks_is_reported_as_itself() {
    let one_write = Scenario::chain(["disk ...."]).guest("disk", [write(0, 1)]);
    let found = find(cached(Bug::ReadsDisk), one_write, 10).expect_err("the look shows it");
    assert_eq!(found.law.as_deref(), Some(READS), "{found}");
}

#[test]
fn a_survey_goes_on_past_what_breaks_and_each_seed_can_be_explained_and_replayed() {
    let plan = Plan {
        seeds: Seeds::From(1),
        runs: 1_000,
        time: None,
        jobs: 2,
        until_failure: false,
        ending_laws: Vec::new(),
        history: None,
    };
    let layer = || cached(Bug::ForgetsFlush);
    let totals = survey(layer(), Profile::default(), &plan).unwrap_or_else(|f| panic!("{f}"));
    assert_eq!(totals.runs, 1_000);
    let broken = totals.broken.get(FLUSHED).expect("it forgets to flush");
    assert!(broken.runs > 1);
    let (found, trace) = explain(layer(), Profile::default(), broken.seed).unwrap_or_else(|f| panic!("{f}"));
    let again = replay(layer(), Profile::default(), &trace).expect_err("the trace shows it");
    assert_eq!((again.law.as_deref(), &again.steps), (Some(FLUSHED), &found.steps));
    let log = |seed| event_log(layer(), Profile::default(), seed).unwrap_or_else(|f| panic!("{f}"));
    assert_eq!(log(broken.seed), log(broken.seed));
    assert!(log(broken.seed).len() > found.steps.len());
}

#[test]
fn a_failure_is_small_and_says_how_to_repeat_it() {
    let found = failure(Bug::ForgetsFlush);
    let text = found.to_string();
    let requests = found.steps.iter().filter(|step| step.contains(" of ")).count();
    assert!(requests <= 3, "{text}");
    assert!(found.steps.iter().any(|step| step.ends_with("crash     power cut")), "{text}");
    let (seed, trace) = (found.seed.expect("a run has a seed"), found.trace.expect("it was written"));
    let again = "cargo test -p midstream-check -- --exact a_failure_is_small_and_says_how_to_repeat_it";
    assert!(text.contains(&format!("\nrepro   MIDSTREAM_SEED={seed} MIDSTREAM_RUNS=1 {again}\n")), "{text}");
    assert!(text.ends_with(&format!("\ntrace   MIDSTREAM_TRACE={} {again}", trace.display())), "{text}");
    assert!(trace.parent().is_some_and(|folder| folder.ends_with("midstream")), "{text}");
    assert!(text.starts_with(&format!("the law `{FLUSHED}` is broken\n")), "{text}");
    assert!(text.contains("\nimages  disk0  ................\n"), "{text}");
}

#[test]
fn the_same_seeds_give_the_same_runs() {
    let hash = || find(cached(Bug::None), Profile::default(), 200).map(|totals| totals.history_hash);
    let hashes = [hash(), hash()].map(|hash| hash.unwrap_or_else(|f| panic!("{f}")));
    assert_eq!(hashes[0], hashes[1]);
}

#[test]
fn a_layer_that_leaves_something_to_chance_is_reported() {
    let found = failure(Bug::Chance);
    assert_eq!(found.law, None);
    assert!(found.detail.contains("the order of a hash map"), "{found}");
}

#[test]
fn a_scenario_of_ones_own_is_played_in_every_order() {
    let overlap = || {
        Scenario::chain(["disk dddd...."])
            .guest("disk", [write(0, 4), flush(), read(0, 8)])
            .guest("disk", [write(2, 4), read(0, 8)])
    };
    let law = |bug, scenario: Scenario| find(cached(bug), scenario, 500).err().map(|found| found.to_string());
    assert_eq!(law(Bug::None, overlap().crash(power_cut())), None);
    assert_eq!(law(Bug::None, overlap().crash(kill()).fault(eio("disk").on_flush().once())), None);
    let found = law(Bug::ForgetsFlush, overlap().crash(power_cut())).expect("it has a bug");
    assert!(found.contains(FLUSHED) && found.contains("\nimages  disk  dddd....\n"), "{found}");
}

#[test]
fn what_a_layer_lacks_is_not_asked_of_it() {
    // It answers ENOTSUP to both, so profiles draw neither; a scenario may ask all the same.
    let asks =
        Scenario::chain(["disk d......."]).guest("disk", [write_zeroes(0, 1), discard(0, 1), read(0, 1)]);
    assert!(find(cached(Bug::None), asks, 50).is_ok());
    let chain = Scenario::chain(["base d...", "top ...."]);
    let refused = find(cached(Bug::None), chain, 50).expect_err("it has no chains");
    assert!(refused.detail.contains("BlockLayer::CHAINS"), "{refused}");
}

#[test]
fn readers_of_a_chain_see_what_lies_below() {
    let chain = || {
        Scenario::chain(["base dddd....", "mid  ..dd..dd", "top  d......."])
            .guest("top", [write(0, 4), flush(), read(0, 8)])
            .guest("mid", [read(0, 8)])
    };
    let law = |is_right| find(Cow { is_right }, chain(), 200).err().and_then(|found| found.law);
    assert_eq!(law(true), None);
    assert_eq!(law(false).as_deref(), Some(READS));
    let drawn = find(Cow { is_right: true }, Profile::default(), 1_000).unwrap_or_else(|f| panic!("{f}"));
    assert!(drawn.laws_checked[1] > 0, "it promises that a kill loses nothing");
}

#[test]
#[should_panic(expected = "the law `what was flushed survives a power cut` is broken")]
fn check_panics_with_what_it_found() {
    midstream::check(cached(Bug::ForgetsFlush), Profile::default(), 3_000);
}
