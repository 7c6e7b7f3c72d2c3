//! The engine behind the door that is there for anybody's block layer: no oracle, no QMP, only its data.

use midstream::scenario::{Scenario, eio, flush, own, power_cut, read, resize, write};
use midstream::{Profile, event_log, find};
use sim::layer::Ours;

const RUNS: u64 = 300;

#[test]
fn the_engine_is_a_block_layer_like_any_other() {
    let totals = find(Ours::<false>, Profile::default(), RUNS).unwrap_or_else(|f| panic!("{f}"));
    assert_eq!((totals.runs, totals.inconclusive), (RUNS, 0));
    // Reads, kills, power cuts, clean ends, checkers, openings. A kill may lose what was not flushed.
    let checks: Vec<bool> = totals.laws_checked.iter().map(|checks| *checks > 0).collect();
    assert_eq!(checks, [true, false, true, true, true, true]);
}

#[test]
fn chains_are_streamed_under_guests_faults_and_crashes() {
    midstream::check(Ours::<true>, Profile::default(), RUNS);
    let log = |seed| event_log(Ours::<true>, Profile::default(), seed).unwrap_or_else(|f| panic!("{f}"));
    let streams = (1..RUNS).flat_map(log).filter(|line| line.ends_with(" block-stream")).count();
    assert!(streams > 10, "only {streams} streams in {RUNS} runs");
}

#[test]
fn a_stream_is_played_in_every_order_with_what_guests_do() {
    let busy = || {
        Scenario::chain(["base dddddddddddddddd", "mid  ....dddd........", "top  d..............."])
            .guest("top", [own(0), read(0, 16)])
            .guest("top", [write(2, 8), flush(), write(0, 3), read(0, 16)])
            .guest("mid", [read(0, 16)])
    };
    midstream::check(Ours::<true>, busy(), RUNS);
    midstream::check(Ours::<true>, busy().crash(power_cut()), RUNS);
    midstream::check(Ours::<true>, busy().fault(eio("base").on_read().once()), RUNS);
}

#[test]
fn images_change_their_length_under_guests_streams_and_crashes() {
    // The base is longer than what lies on it: nothing of it may show where top grows.
    let busy = || {
        Scenario::chain(["base dddddddddddddddddddddddd", "top  d..............."])
            .guest("top", [own(0), resize(8), resize(24), flush(), read(0, 24)])
            .guest("top", [write(4, 8), read(0, 16), flush()])
    };
    midstream::check(Ours::<true>, busy(), RUNS);
    midstream::check(Ours::<true>, busy().crash(power_cut()), RUNS);
    midstream::check(Ours::<true>, busy().fault(eio("top").after(3).once()), RUNS);
    let log = |seed| event_log(Ours::<false>, Profile::default(), seed).unwrap_or_else(|f| panic!("{f}"));
    let resizes = (1..RUNS).flat_map(log).filter(|line| line.contains(" Resize to ")).count();
    assert!(resizes > 50, "only {resizes} resizes in {RUNS} runs");
}
