//! What guests read, and what crashes leave.

mod support;

use model::LawId;
use support::Run;

const TWO: &str = "base <- top";

#[track_caller]
fn accept(script: &str) -> Run {
    let mut run = Run::open(TWO);
    if let Err(broken) = run.play(script) {
        panic!("{broken}");
    }
    run
}

#[track_caller]
fn reject(script: &str, law: LawId, says: &str) {
    let (fine, last) = script.trim_end().rsplit_once('\n').expect("a script of several lines");
    let broken = accept(fine).play(last).expect_err("the last line breaks a law");
    assert_eq!(broken.law, law, "{broken}");
    assert!(broken.detail.contains(says), "{broken}");
}

// base <- top: sectors 0 and 1 are w10 w11 from base, 2 and 3 are w20 w21 from top, the rest w1 from base.
const ATTACHED: &str = "attach 1 top rw\n";

fn guest(then: &str) -> String {
    format!("{ATTACHED}{then}")
}

#[test]
fn a_guest_reads_what_was_written_and_nothing_else() {
    accept(&guest("read r1 1 0 4\nend r1 w10 w11 w20 w21"));
    accept(&guest("write r1 1 4 w5\nend r1\nread r2 1 3 3\nend r2 w21 w5 w1"));
    reject(
        &guest("write r1 1 4 w5\nend r1\nread r2 1 4 1\nend r2 w1"),
        LawId::GuestReads,
        "expected w5, read w1",
    );
    reject(&guest("read r2 1 4 1\nend r2 garbage"), LawId::GuestReads, "read garbage");
    reject(&guest("read r2 1 4 2\nend r2 w1"), LawId::GuestReads, "got 1");
}

#[test]
fn a_read_beside_a_write_sees_old_or_new_sector_by_sector() {
    let beside = "write r1 1 4 w5 w6\nread r2 1 4 2\nend r1\n";
    for seen in ["w1 w1", "w5 w6", "w1 w6", "w5 w1"] {
        accept(&guest(&format!("{beside}end r2 {seen}")));
    }
    reject(&guest(&format!("{beside}end r2 w5 w7")), LawId::GuestReads, "expected w1 or w6, read w7");
}

#[test]
fn on_a_real_file_the_sector_that_is_read_while_it_is_written_may_be_torn() {
    let on_file = |script: &str| {
        let run = Run::open(TWO);
        Run { model: run.model.on_real_files() }.play(&guest(script))
    };
    on_file("write r1 1 4 w5\nread r2 1 4 1\nend r1\nend r2 garbage").expect("they met");
    on_file("read r2 1 4 1\nwrite r1 1 4 w5\nend r1\nend r2 garbage").expect("they met");
    on_file("write r1 1 4 w5\nread r2 1 5 1\nend r2 garbage").expect_err("another sector");
    on_file("write r1 1 4 w5\nend r1\nread r2 1 4 1\nend r2 garbage").expect_err("the write was over");
}

#[test]
fn a_read_that_began_before_a_flush_may_still_see_what_the_flush_superseded() {
    let long = "read r9 1 4 1\nwrite r1 1 4 w5\nend r1\nflush r2 1\nend r2\n";
    accept(&guest(&format!("{long}end r9 w1")));
    reject(&guest(&format!("{long}read r3 1 4 1\nend r3 w1")), LawId::GuestReads, "expected w5");
}

#[test]
fn overlapping_writes_leave_either_until_a_later_one() {
    let both = "write r1 1 4 w5\nwrite r2 1 4 w6\nend r1\nend r2\n";
    accept(&guest(&format!("{both}read r3 1 4 1\nend r3 w5")));
    accept(&guest(&format!("{both}read r3 1 4 1\nend r3 w6")));
    reject(&guest(&format!("{both}read r3 1 4 1\nend r3 w1")), LawId::GuestReads, "expected w5 or w6");
    let third = "write r4 1 4 w7\nend r4\nread r3 1 4 1\nend r3 w6";
    reject(&guest(&format!("{both}{third}")), LawId::GuestReads, "expected w7");
}

#[test]
fn a_failed_write_and_a_discard_leave_both_values_possible() {
    let failed = "fault top.img Input/output error\nwrite r1 1 4 w5\nfail r1 Input/output error\n";
    accept(&guest(&format!("{failed}read r2 1 4 1\nend r2 w1")));
    accept(&guest(&format!("{failed}read r2 1 4 1\nend r2 w5")));
    let discarded = "discard r1 1 4 1\nend r1\nflush r2 1\nend r2\n";
    accept(&guest(&format!("{discarded}read r3 1 4 1\nend r3 w1")));
    accept(&guest(&format!("{discarded}read r3 1 4 1\nend r3 w0")));
    reject(&guest(&format!("{discarded}read r3 1 4 1\nend r3 w5")), LawId::GuestReads, "zeroes or w1");
    reject(&guest("zero r1 1 4 1\nend r1\nread r3 1 4 1\nend r3 w1"), LawId::GuestReads, "expected zeroes");
}

#[test]
fn a_guest_request_fails_only_with_a_fault_or_beyond_its_rights() {
    reject(
        &guest("read r1 1 0 1\nfail r1 Input/output error"),
        LawId::NoFaultNoFailure,
        "Input/output error",
    );
    accept(&guest("read r1 1 7 2\nfail r1 Invalid argument"));
    accept("attach 2 top ro\nwrite r1 2 0 w5\nfail r1 Operation not permitted");
}

#[test]
fn what_a_guest_may_not_write_nobody_reads() {
    let refused = "attach 2 top ro\nwrite r1 2 0 w5\nfail r1 Operation not permitted\nread r2 2 0 1\n";
    reject(&format!("{refused}end r2 w5"), LawId::GuestReads, "read w5");
}

#[test]
fn a_fault_excuses_only_what_was_under_way_when_it_struck() {
    let strike = "struck top.img Input/output error\n";
    accept(&guest(&format!("read r1 1 0 1\n{strike}fail r1 Input/output error")));
    reject(
        &guest(&format!("{strike}read r1 1 0 1\nfail r1 Input/output error")),
        LawId::NoFaultNoFailure,
        "Input/output error",
    );
}

const CHAIN: &str = "recovered top.img top.img,base.img";

#[test]
fn a_crash_leaves_what_was_flushed_or_anything_later() {
    let script =
        "write r1 1 4 w5\nend r1\nflush r2 1\nend r2\nwrite r3 1 4 w6\nend r3\nwrite r4 1 4 w7\ncrash\n";
    for left in ["w5", "w6", "w7"] {
        accept(&guest(&format!("{script}{CHAIN} w10 w11 w20 w21 {left} w1 w1 w1\nover")));
    }
    let lost = format!("{script}{CHAIN} w10 w11 w20 w21 w1 w1 w1 w1");
    reject(&guest(&lost), LawId::FlushedSurvives, "expected w5 or w6 or w7, found w1");
}

#[test]
fn a_write_with_force_unit_access_is_durable_when_it_ends_and_makes_nothing_else_so() {
    let writes = "write r1 1 6 w8\nend r1\nwrite r2 1 4 w5\nend r2\nfua r3 1 4 w6\nend r3\n";
    let script = format!("{writes}write r4 1 4 w7\nend r4\ncrash\n");
    for (durable, other) in [("w6", "w1"), ("w6", "w8"), ("w7", "w1"), ("w7", "w8")] {
        accept(&guest(&format!("{script}{CHAIN} w10 w11 w20 w21 {durable} w1 {other} w1\nover")));
    }
    let lost = format!("{script}{CHAIN} w10 w11 w20 w21 w5 w1 w8 w1");
    reject(&guest(&lost), LawId::FlushedSurvives, "expected w6 or w7, found w5");
}

#[test]
fn a_write_that_ended_after_the_flush_began_is_not_covered_by_it() {
    let script = "write r1 1 4 w5\nflush r2 1\nend r1\nend r2\ncrash\n";
    accept(&guest(&format!("{script}{CHAIN} w10 w11 w20 w21 w1 w1 w1 w1")));
}

const STREAM: &str = "> 1 block-stream job-id=j device=top\n! j created\n! j running\n< 1 ok\n";
const DONE: &str = "! j waiting\n! j pending\n! j completed 8\n! j concluded\n! j null\n";

#[test]
fn after_completion_the_header_on_disk_names_the_new_chain_and_shows_the_same() {
    let script = format!("{STREAM}{DONE}crash\n");
    accept(&format!("{script}recovered top.img top.img w10 w11 w20 w21 w1 w1 w1 w1"));
    reject(
        &format!("{script}{CHAIN} w10 w11 w20 w21 w1 w1 w1 w1"),
        LawId::ChainOnDisk,
        "expected no backing",
    );
    let lost = format!("{script}recovered top.img top.img w0 w0 w20 w21 w0 w0 w0 w0");
    reject(&lost, LawId::ChainOnDisk, "sector 0 of top.img after the crash: expected w10, found zeroes");
}

#[test]
fn while_the_header_is_rewritten_either_chain_may_be_on_disk() {
    let script = format!("{STREAM}! j waiting\n! j pending\ncrash\n");
    accept(&format!("{script}recovered top.img top.img w10 w11 w20 w21 w1 w1 w1 w1"));
    accept(&format!("{script}{CHAIN} w10 w11 w20 w21 w1 w1 w1 w1"));
    let early = format!("{STREAM}crash\nrecovered top.img top.img w10 w11 w20 w21 w1 w1 w1 w1");
    reject(&early, LawId::ChainOnDisk, "names no backing, expected base.img");
}

#[test]
fn guest_writes_beside_a_stream_stay_what_they_are() {
    let beside = "attach 1 top rw\nwrite r1 1 0 w5\nend r1\n";
    let run = accept(&format!("{STREAM}{beside}{DONE}view top w5 w11 w20 w21 w1 w1 w1 w1\nover"));
    assert_eq!(run.model.tally().of(LawId::WriteMeetsCopy), 1);
    reject(
        &format!("{STREAM}{beside}{DONE}view top w10 w11 w20 w21 w1 w1 w1 w1"),
        LawId::StreamUnseen,
        "expected w5, read w10",
    );
}

#[test]
fn what_lies_past_the_end_of_a_short_layer_stays_zeroes() {
    let stream = "> 1 block-stream job-id=j device=top base-node=base
        ! j created
        ! j running
        < 1 ok
        ! j waiting
        ! j pending
        ! j completed 8
        ! j concluded
        ! j null\n";
    let mut run = Run::open("base <- mid:4 <- top");
    run.play(&format!("view top w10 w11 w20 w21 w30 w31 w0 w0\n{stream}")).unwrap();
    assert_eq!(run.model.tally().of(LawId::ShortLayerStreamed), 1);
    run.play("view top w10 w11 w20 w21 w30 w31 w0 w0").unwrap();
    let exposed = run.play("view top w10 w11 w20 w21 w30 w31 w1 w1").unwrap_err();
    assert_eq!(exposed.law, LawId::StreamUnseen);
}

#[test]
fn a_write_to_a_target_below_shows_above_only_where_the_layers_above_do_not_decide() {
    // base <- mid <- top, stream into mid, a guest on mid: sector 0 shows through top, sector 4 does not.
    let script = "> 1 block-stream job-id=j device=mid auto-finalize=false
        ! j created
        ! j running
        < 1 ok
        attach 1 mid rw
        write r1 1 0 w5
        end r1
        write r2 1 4 w6
        end r2\n";
    let mut run = Run::open("base <- mid <- top");
    run.play(script).unwrap();
    run.play("view mid w5 w11 w20 w21 w6 w1 w1 w1\nview top w5 w11 w20 w21 w30 w31 w1 w1").unwrap();
    assert!(run.play("view top w10 w11 w20 w21 w30 w31 w1 w1").is_err());
}

/// A mirror of `top` onto `copy` that copies what guests write and nothing else.
const MIRROR: &str = "> 1 blockdev-mirror job-id=j device=top target=copy sync=none
    ! j created
    ! j running
    < 1 ok
    attach 1 top rw\n";

const FOLLOWS: &str = r#"! j ready
    !! {"event":"BLOCK_JOB_READY","data":{"type":"mirror","device":"j","offset":4096,"len":4096,"speed":0}}
    > 1 block-job-cancel device=j
    < 1 ok
    ! j waiting
    ! j pending
    !! {"event":"BLOCK_JOB_COMPLETED","data":{"type":"mirror","device":"j","offset":4096,"len":4096,"speed":0}}
    ! j concluded
    ! j null
"#;

// copy decides its sectors 2 and 3 as w20 and w21, the rest as w1.
#[test]
fn a_mirror_of_writes_alone_copies_every_write_and_a_discard_if_it_did_something() {
    let changed = |change: &str, after: &str| {
        let mut run = Run::open("top | copy");
        run.play(&format!("{MIRROR}{change}\nend r1\n{FOLLOWS}")).unwrap_or_else(|broken| panic!("{broken}"));
        run.play(&format!("view copy w1 w1 {after} w21 w1 w1 w1 w1"))
    };
    changed("write r1 1 2 w5", "w5").expect("the write was copied");
    let missed = changed("write r1 1 2 w5", "w20").expect_err("the write was not copied");
    assert_eq!(missed.law, LawId::CopyTrue, "{missed}");
    for after in ["w20", "w0", "w1"] {
        changed("discard r1 1 2 1", after).expect("what was there, zeroes, or what the source showed");
    }
    let foreign = changed("discard r1 1 2 1", "w7").expect_err("nobody wrote it");
    assert_eq!(foreign.law, LawId::CopyTrue, "{foreign}");
}

#[test]
fn a_write_that_meets_a_mirrors_beginning_or_end_may_pass_its_filter_or_not() {
    let attached = MIRROR.lines().last().expect("a guest comes");
    let starts = MIRROR.strip_suffix(&format!("{attached}\n")).expect("it comes last");
    let at_beginning = format!("{attached}\nwrite r1 1 2 w5\n{starts}end r1\n{FOLLOWS}");
    let at_end = format!("{MIRROR}write r1 1 2 w5\n{FOLLOWS}end r1\n");
    for met in [at_beginning, at_end] {
        for after in ["w20", "w5"] {
            let mut run = Run::open("top | copy");
            run.play(&met).unwrap_or_else(|broken| panic!("{broken}"));
            run.play(&format!("view copy w1 w1 {after} w21 w1 w1 w1 w1")).expect("copied or not");
        }
        let mut run = Run::open("top | copy");
        run.play(&met).expect("as before");
        run.play("view copy w1 w1 w7 w21 w1 w1 w1 w1").expect_err("nobody wrote it");
    }
}

#[test]
fn zeroes_that_a_cancelled_copy_left_need_no_cluster() {
    let script = r#"attach 1 base rw
        zero r1 1 4 1
        end r1
        > 1 blockdev-mirror job-id=j device=base target=copy sync=full
        ! j created
        ! j running
        < 1 ok
        > 1 job-cancel id=j
        < 1 ok
        ! j aborting
        !! {"event":"BLOCK_JOB_CANCELLED","data":{"type":"mirror","device":"j","offset":0,"len":4096,"speed":0}}
        ! j concluded
        ! j null
        write r2 1 4 w5
        end r2
        detach 1
        > 1 blockdev-snapshot node=base overlay=copy
        < 1 ok
"#;
    for seen in ["w5", "w0", "w1"] {
        let mut run = Run::open("base | copy");
        run.play(script).unwrap_or_else(|broken| panic!("{broken}"));
        run.play(&format!("view copy w1 w1 w20 w21 {seen} w1 w1 w1")).expect("below, copied, or not copied");
    }
    let mut run = Run::open("base | copy");
    run.play(script).expect("as before");
    run.play("view copy w1 w1 w20 w21 w7 w1 w1 w1").expect_err("nobody wrote it");
}

#[test]
fn a_mirror_that_became_ready_while_it_was_cancelled_ends_well_or_not() {
    let ready = r#"> 1 block-job-cancel device=j
    ! j ready
    !! {"event":"BLOCK_JOB_READY","data":{"type":"mirror","device":"j","offset":4096,"len":4096,"speed":0}}
    < 1 ok
"#;
    for ends in ["! j waiting\n! j pending", "! j aborting"] {
        let mut run = Run::open("top | copy");
        run.play(&format!("{MIRROR}{ready}{ends}")).unwrap_or_else(|broken| panic!("{ends}: {broken}"));
    }
    let late =
        ready.lines().skip(1).take(2).chain(["> 1 block-job-cancel device=j", "< 1 ok", "! j aborting"]);
    let late: Vec<&str> = late.collect();
    let broken =
        Run::open("top | copy").play(&format!("{MIRROR}{}", late.join("\n"))).expect_err("it was ready");
    assert_eq!(broken.law, LawId::Cause, "{broken}");
}
