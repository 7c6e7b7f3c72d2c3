//! The data-only specification: what it lets pass and what it refuses, by hand and against a toy disk.

mod toy;

use model::data_only::{Broken, DataOnly, Inconclusive, Law};
use model::{CrashKind, Format, GuestOp, ImageSetup, Observation};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use toy::Toy;

const SECTORS: u64 = 4;

fn disk(format: Format) -> ImageSetup {
    ImageSetup {
        file: "disk".to_owned(),
        format,
        size_bytes: SECTORS * 512,
        cluster_bytes: 65_536,
        bitmaps: false,
        subclusters: false,
        backing: None,
        own: vec![(3, 30)],
    }
}

/// A run in short words.
struct Run {
    judge: DataOnly,
    next: u64,
}

impl Run {
    fn new(format: Format, tears: bool) -> Run {
        let mut run = Run { judge: DataOnly::new(&[disk(format)], tears), next: 0 };
        run.attach();
        run
    }

    fn attach(&mut self) {
        let attached = Observation::GuestAttached { guest: 1, node: "disk", writable: true };
        self.judge.observe(&attached).expect("nobody is refused");
    }

    fn began(&mut self, op: GuestOp<'_>) -> u64 {
        self.next += 1;
        let began = Observation::GuestBegan { request: self.next, guest: 1, op };
        self.judge.observe(&began).expect("a beginning breaks nothing");
        self.next
    }

    fn ended(&mut self, request: u64, result: Result<&[u64], &str>) -> Result<(), Broken> {
        self.judge.observe(&Observation::GuestEnded { request, result })
    }

    fn writes(&mut self, sector: u64, value: u64) -> u64 {
        self.began(GuestOp::Write { sector, values: &[value], fua: false })
    }

    fn done(&mut self, request: u64) {
        self.ended(request, Ok(&[])).expect("a change breaks nothing");
    }

    fn write(&mut self, sector: u64, value: u64) {
        let request = self.writes(sector, value);
        self.done(request);
    }

    fn flush(&mut self) {
        let request = self.began(GuestOp::Flush);
        self.done(request);
    }

    fn reads(&mut self, sector: u64) -> u64 {
        self.began(GuestOp::Read { sector, count: 1 })
    }

    fn read(&mut self, sector: u64, value: u64) -> Result<(), Law> {
        let request = self.reads(sector);
        self.ended(request, Ok(&[value])).map_err(|broken| broken.law)
    }

    fn crash(&mut self, kind: CrashKind) {
        self.judge.observe(&Observation::Crash { kind }).expect("a crash breaks nothing");
        self.attach();
    }

    fn recovered(&mut self, values: &[u64; 4]) -> Result<(), Law> {
        let found = Observation::Recovered { file: "disk", values, chain: &["disk"], check_corruptions: 0 };
        self.judge.observe(&found).map_err(|broken| broken.law)
    }
}

#[test]
fn of_writes_at_once_any_may_be_last_and_a_read_settles_which() {
    let mut run = Run::new(Format::Raw, false);
    let (a, b) = (run.writes(0, 1), run.writes(0, 2));
    assert_eq!(run.read(0, 0), Ok(()));
    assert_eq!(run.read(0, 2), Ok(()));
    run.done(a);
    run.done(b);
    assert_eq!(run.read(0, 1), Ok(()));
    assert_eq!(run.read(0, 2), Err(Law::Reads));
    assert_eq!(run.read(3, 30), Ok(()));
}

#[test]
fn a_write_that_ended_hides_what_was_there_from_reads_that_begin_later() {
    let mut run = Run::new(Format::Raw, false);
    run.write(0, 1);
    let early = run.reads(0);
    run.write(0, 2);
    assert_eq!(run.read(0, 1), Err(Law::Reads));
    assert_eq!(run.ended(early, Ok(&[1])), Ok(()));
}

#[test]
fn a_failed_write_leaves_old_or_new_until_a_read_shows_it() {
    let mut run = Run::new(Format::Raw, false);
    let failed = run.writes(0, 1);
    run.ended(failed, Err("Input/output error")).unwrap();
    assert_eq!(run.read(0, 0), Ok(()));
    assert_eq!(run.read(0, 1), Err(Law::Reads));
}

#[test]
fn a_discarded_sector_is_old_or_zeroes_until_it_is_written() {
    let mut run = Run::new(Format::Raw, false);
    let discard = run.began(GuestOp::Discard { sector: 3, count: 1 });
    run.done(discard);
    for value in [30, 0, 30] {
        assert_eq!(run.read(3, value), Ok(()));
    }
    run.write(3, 5);
    assert_eq!(run.read(3, 0), Err(Law::Reads));
}

#[test]
fn a_torn_read_passes_only_beside_a_write_and_only_if_reads_may_be_torn() {
    for tears in [true, false] {
        let mut run = Run::new(Format::Raw, tears);
        let write = run.writes(0, 1);
        assert_eq!(run.read(0, 99).is_ok(), tears);
        run.done(write);
        assert_eq!(run.read(0, 99), Err(Law::Reads));
    }
}

#[test]
fn a_kill_keeps_what_ended_unless_the_format_keeps_something_back() {
    for (format, kept) in [(Format::Raw, Err(Law::KillKeeps)), (Format::Qcow2, Ok(()))] {
        let mut run = Run::new(format, false);
        run.write(0, 1);
        run.crash(CrashKind::Kill);
        assert_eq!(run.recovered(&[0, 0, 0, 30]), kept);
    }
}

#[test]
fn a_power_cut_keeps_what_was_flushed_and_any_part_of_the_rest() {
    for (value, kept) in [(1, Err(Law::FlushedStays)), (2, Ok(())), (3, Ok(())), (4, Ok(()))] {
        let mut run = Run::new(Format::Raw, false);
        run.write(0, 1);
        run.write(0, 2);
        run.flush();
        run.write(0, 3);
        run.writes(0, 4);
        run.crash(CrashKind::PowerCut);
        assert_eq!(run.recovered(&[value, 0, 0, 30]), kept, "{value}");
    }
}

#[test]
fn a_flush_makes_durable_only_what_ended_before_it_began() {
    let mut run = Run::new(Format::Raw, false);
    let write = run.writes(0, 1);
    let flush = run.began(GuestOp::Flush);
    run.done(write);
    run.done(flush);
    run.crash(CrashKind::PowerCut);
    assert_eq!(run.recovered(&[0, 0, 0, 30]), Ok(()));
}

#[test]
fn what_is_read_after_a_power_cut_is_the_truth_and_stays() {
    let mut run = Run::new(Format::Raw, false);
    run.write(0, 1);
    run.crash(CrashKind::PowerCut);
    assert_eq!(run.recovered(&[0, 0, 0, 30]), Ok(()));
    assert_eq!(run.read(0, 1), Err(Law::Reads));
    run.crash(CrashKind::PowerCut);
    assert_eq!(run.recovered(&[1, 0, 0, 30]), Err(Law::FlushedStays));
}

// The killed process's write waits in the host's memory; the power cut may still lose it.
#[test]
fn what_is_read_after_a_kill_may_still_be_lost_with_the_power() {
    let mut run = Run::new(Format::Raw, false);
    run.write(0, 1);
    run.crash(CrashKind::Kill);
    assert_eq!(run.recovered(&[1, 0, 0, 30]), Ok(()));
    run.crash(CrashKind::PowerCut);
    assert_eq!(run.recovered(&[0, 0, 0, 30]), Ok(()));
}

#[test]
fn a_sector_that_nobody_wrote_survives_every_crash() {
    let mut run = Run::new(Format::Raw, false);
    run.crash(CrashKind::PowerCut);
    assert_eq!(run.recovered(&[0, 0, 0, 31]), Err(Law::FlushedStays));
}

#[test]
fn a_clean_end_keeps_what_was_never_flushed() {
    let mut run = Run::new(Format::Qcow2, false);
    run.write(0, 1);
    let closed = Observation::Closed {
        file: "disk",
        values: &[0, 0, 0, 30],
        chain: &["disk"],
        check_corruptions: 0,
        check_leaks: 0,
    };
    assert_eq!(run.judge.observe(&closed).unwrap_err().law, Law::CleanEnd);
}

// More values than are kept: what was kept is judged, and what may be one of the others is not.
#[test]
fn a_sector_with_too_many_values_is_judged_only_as_far_as_they_are_kept() {
    let mut run = Run::new(Format::Raw, false);
    for value in 1..=100 {
        run.write(0, value);
    }
    assert_eq!(run.judge.inconclusive(), None);
    assert_eq!(run.read(0, 99), Err(Law::Reads));
    run.crash(CrashKind::PowerCut);
    assert_eq!(run.recovered(&[3, 0, 0, 30]), Ok(()));
    assert_eq!(run.judge.inconclusive(), Some(Inconclusive::Versions));
}

#[test]
fn a_flush_makes_up_for_values_that_were_not_kept() {
    let mut run = Run::new(Format::Raw, false);
    for value in 1..=100 {
        run.write(0, value);
    }
    run.flush();
    run.crash(CrashKind::PowerCut);
    assert_eq!(run.recovered(&[3, 0, 0, 30]), Err(Law::FlushedStays));
}

fn steps() -> impl Strategy<Value = Vec<[u8; 3]>> {
    prop::collection::vec(any::<[u8; 3]>(), 0..120)
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 2_000,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(1),
        ..ProptestConfig::default()
    })]

    #[test]
    fn what_a_true_disk_does_is_accepted(steps in steps()) {
        let toy = Toy::live(&steps);
        prop_assert_eq!(toy.run.judge.inconclusive(), None);
    }

    #[test]
    fn a_read_that_is_given_the_value_of_another_sector_is_refused(steps in steps(), at in 0..4usize) {
        let mut toy = Toy::live(&steps);
        // Zeroes may be anywhere.
        let others = Some(toy.now((at + 1) % 4)).filter(|value| *value != 0).unwrap_or(7);
        prop_assert!(toy.run.read(at as u64, others).is_err());
    }

    // Whatever came before: a write that nothing overlaps, a flush, and the power cut. Without the flush both are right.
    #[test]
    fn a_durable_sector_that_is_lost_is_refused(steps in steps(), at in 0..4usize, is_flushed: bool) {
        let mut toy = Toy::live(&steps);
        toy.end_all();
        let before = toy.now(at);
        toy.run.write(at as u64, 7);
        if is_flushed {
            toy.run.flush();
        }
        toy.run.crash(CrashKind::PowerCut);
        let mut values = [0, 1, 2, 3].map(|at| toy.now(at));
        values[at] = before;
        let found = toy.run.recovered(&values);
        prop_assert_eq!(found, if is_flushed { Err(Law::FlushedStays) } else { Ok(()) });
    }

    #[test]
    fn a_read_of_what_was_replaced_is_refused(steps in steps(), at in 0..4usize) {
        let mut toy = Toy::live(&steps);
        toy.end_all();
        toy.run.write(at as u64, 7);
        toy.run.write(at as u64, 8);
        prop_assert_eq!(toy.run.read(at as u64, 7), Err(Law::Reads));
        prop_assert_eq!(toy.run.read(at as u64, 8), Ok(()));
    }
}

// What took its place beside it is not durable, and what it took the place of is gone.
#[test]
fn a_write_with_force_unit_access_is_durable_when_it_ends_and_makes_nothing_else_so() {
    let power_cut = |left: u64, other: u64| {
        let mut run = Run::new(Format::Raw, false);
        run.write(1, 5);
        let through = run.began(GuestOp::Write { sector: 0, values: &[1], fua: true });
        run.write(2, 6);
        run.done(through);
        run.write(0, 2);
        run.crash(CrashKind::PowerCut);
        run.recovered(&[left, 0, other, 30])
    };
    for left in [1, 2] {
        for other in [0, 6] {
            assert_eq!(power_cut(left, other), Ok(()), "{left} and {other} may be left");
        }
    }
    assert_eq!(power_cut(0, 6), Err(Law::FlushedStays));
}
