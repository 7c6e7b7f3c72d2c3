//! The model follows runs: what it explains, and what it does not.

mod support;

use model::{LawId, Observation, Tally};
use support::Run;

const THREE: &str = "base <- mid <- top";

/// The run is accepted to its end.
#[track_caller]
fn accept(chain: &str, script: &str) -> Tally {
    let mut run = Run::open(chain);
    if let Err(broken) = run.play(script) {
        panic!("{broken}");
    }
    run.model.tally().clone()
}

/// The run is accepted up to its last line, which breaks this law and says this.
#[track_caller]
fn reject(chain: &str, script: &str, law: LawId, says: &str) {
    let mut run = Run::open(chain);
    let (fine, last) = script.trim_end().rsplit_once('\n').expect("a script of several lines");
    if let Err(broken) = run.play(fine) {
        panic!("too early: {broken}");
    }
    let broken = run.play(last).expect_err("the last line breaks a law");
    assert_eq!(broken.law, law, "{broken}");
    assert!(broken.detail.contains(says), "{broken}");
}

/// A stream into top that runs.
const RUNNING: &str = "> 1 block-stream job-id=j device=top
    ! j created
    ! j running
    < 1 ok\n";

fn running(then: &str) -> String {
    format!("{RUNNING}{then}")
}

const COMPLETES: &str = "! j waiting
    ! j pending
    ! j completed 8
    ! j concluded
    ! j null\n";

// base <- mid <- top: sectors 0 and 1 are decided by base alone, 2 and 3 by mid, 4 and 5 by top.
const VIEW: &str = "view top w10 w11 w20 w21 w30 w31 w1 w1\n";

#[test]
fn a_stream_without_base_leaves_one_node_and_the_same_view() {
    let tally = accept(THREE, &running(&format!("{VIEW}{COMPLETES}{VIEW}over")));
    assert_eq!(tally.of(LawId::StreamActiveCompletes), 1);
    assert_eq!(tally.of(LawId::StreamWithoutBase), 1);
    assert!(tally.of(LawId::StreamUnseen) > 0);
    let mut run = Run::open(THREE);
    run.play(&running(COMPLETES)).unwrap();
    assert_eq!(run.model.chain_text(), "base <- mid\ntop");
}

#[test]
fn a_stream_into_an_intermediate_node_drops_only_what_lies_between() {
    let script = "> 1 block-stream job-id=j device=c base-node=a
        ! j created
        ! j running
        < 1 ok
        ! j waiting
        ! j pending
        ! j completed 8
        ! j concluded
        ! j null
        over";
    let mut run = Run::open("a <- b <- c <- d");
    run.play(script).unwrap();
    assert!(run.model.chain_text().contains("a <- c <- d"), "{}", run.model.chain_text());
    assert_eq!(run.model.tally().of(LawId::StreamIntermediateCompletes), 1);
    assert_eq!(run.model.tally().of(LawId::ReadOnlyTarget), 1);
}

#[test]
fn events_come_before_the_reply_of_the_command_that_causes_them() {
    accept(
        THREE,
        &running("> 2 job-cancel id=j\n! j aborting\n< 2 ok\n! j cancelled 2\n! j concluded\n! j null\nover"),
    );
    accept(
        THREE,
        &running("> 2 job-cancel id=j\n< 2 ok\n! j aborting\n! j cancelled 2\n! j concluded\n! j null\nover"),
    );
}

#[test]
fn a_cancel_that_explained_an_event_cannot_be_refused() {
    let says = "expected success";
    reject(THREE, &running("> 2 job-cancel id=j\n! j aborting\n< 2 Job not found"), LawId::Reply, says);
}

#[test]
fn a_job_aborts_only_for_a_cause() {
    reject(THREE, &running("! j aborting"), LawId::Cause, "aborts without cancel or error");
}

#[test]
fn of_two_cancels_the_second_may_find_the_job_gone() {
    let script = "> 2 job-cancel id=j
        > 3 job-cancel id=j
        ! j aborting
        ! j cancelled 2
        ! j concluded
        ! j null
        < 2 ok
        < 3 Job not found
        over";
    accept(THREE, &running(script));
}

#[test]
fn a_refusal_may_speak_of_any_moment_since_the_command_was_sent_and_of_no_other() {
    let late = "> 2 job-pause id=j
        ! j waiting
        ! j pending
        < 2 Job 'j' in state 'waiting' cannot accept command verb 'pause'";
    accept(THREE, &running(late));
    let never = "! j waiting
        ! j pending
        > 2 job-pause id=j
        < 2 Job 'j' in state 'waiting' cannot accept command verb 'pause'";
    reject(THREE, &running(never), LawId::Reply, "in state 'pending'");
}

#[test]
fn one_of_two_streams_with_one_id_is_refused_whichever_it_is() {
    let both = "> 1 block-stream job-id=j device=top bottom=top
        > 2 block-stream job-id=j device=mid
        ! j created
        ! j running\n";
    let taken = "Job ID 'j' already in use";
    accept(THREE, &format!("{both}< 1 ok\n< 2 {taken}"));
    accept(THREE, &format!("{both}< 2 ok\n< 1 {taken}"));
    accept(THREE, &format!("{both}< 2 {taken}\n< 1 ok"));
    accept(THREE, &format!("{both}< 1 {taken}\n< 2 ok"));
    let mut run = Run::open(THREE);
    run.play(&format!("{both}< 1 {taken}\n< 2 ok")).unwrap();
    let text = run.model.chain_text();
    assert!(text.contains("base <- mid <- (filter) <- top"), "{text}");
}

#[test]
fn a_job_paused_by_an_operator_runs_again_only_when_resumed() {
    let paused = "> 2 job-pause id=j\n< 2 ok\n! j paused\n";
    reject(THREE, &running(&format!("{paused}! j running")), LawId::Cause, "nobody resumed");
    let tally = accept(
        THREE,
        &running(&format!("{paused}> 2 job-resume id=j\n! j running\n< 2 ok\n{COMPLETES}over")),
    );
    assert_eq!((tally.of(LawId::JobPaused), tally.of(LawId::JobResumed)), (1, 1));
}

#[test]
fn a_drain_may_pause_a_job_as_often_as_it_likes() {
    accept(THREE, &running(&format!("! j paused\n! j running\n! j paused\n! j running\n{COMPLETES}over")));
}

#[test]
fn an_io_error_needs_a_fault() {
    reject(
        THREE,
        &running("! j error report"),
        LawId::NoFaultNoFailure,
        "no fault has struck since it began",
    );
    let tail =
        "! j error report\n! j aborting\n! j failed 2 Input/output error\n! j concluded\n! j null\nover";
    let tally = accept(THREE, &running(&format!("fault mid.img Input/output error\n{tail}")));
    assert_eq!(tally.of(LawId::ErrorReported), 1);
}

#[test]
fn a_fault_from_before_a_job_is_none_of_its_errors() {
    let strike = "struck mid.img Input/output error";
    accept(THREE, &running(&format!("{strike}\n! j error report\n! j aborting")));
    let before = format!("{strike}\n{}", running("! j error report"));
    reject(THREE, &before, LawId::NoFaultNoFailure, "no fault has struck since it began");
}

#[test]
fn an_error_in_a_jobs_end_has_the_text_of_an_armed_fault() {
    let script = "fault mid.img Input/output error
        ! j error report
        ! j aborting
        ! j failed 2 No space left on device";
    reject(THREE, &running(script), LawId::NoFaultNoFailure, "Input/output error");
}

#[test]
fn a_job_that_met_an_error_does_not_complete() {
    let script = "fault mid.img Input/output error\n! j error report\n! j waiting";
    reject(THREE, &running(script), LawId::EventOrder, "after an error");
}

#[test]
fn a_failed_header_write_leaves_the_chain_as_it_was() {
    let script = "fault top.img Input/output error
        ! j waiting
        ! j pending
        ! j aborting
        ! j failed 8 Input/output error
        ! j concluded
        ! j null
        over";
    let mut run = Run::open(THREE);
    run.play(&running(script)).unwrap();
    assert!(run.model.chain_text().contains("base <- mid <- top"), "{}", run.model.chain_text());
    assert_eq!(run.model.tally().of(LawId::FinalizeFailed), 1);
}

#[test]
fn a_stream_completes_at_the_end_of_its_target() {
    let script = "! j waiting\n! j pending\n! j completed 6";
    reject(THREE, &running(script), LawId::Progress, "3072 of 4096");
}

#[test]
fn a_job_that_stays_is_stuck_unless_it_waits_for_an_operator() {
    reject(THREE, &running("over"), LawId::JobsEnd, "job j running");
    accept(THREE, &running("> 1 job-pause id=j\n< 1 ok\n! j paused\nover"));
    let manual = "> 1 block-stream job-id=j device=top auto-finalize=false
        ! j created
        ! j running
        < 1 ok
        ! j waiting
        ! j pending
        ! j pending-reported
        over";
    accept(THREE, manual);
}

#[test]
fn pending_is_left_only_when_finalizing_is_asked_for() {
    let manual = "> 1 block-stream job-id=j device=top auto-finalize=false
        ! j created
        ! j running
        < 1 ok
        ! j waiting
        ! j pending
        ! j pending-reported\n";
    reject(THREE, &format!("{manual}! j completed 8"), LawId::Cause, "finalizing allowed: false");
    accept(
        THREE,
        &format!("{manual}> 1 job-finalize id=j\n! j completed 8\n! j concluded\n! j null\n< 1 ok\nover"),
    );
}

#[test]
fn a_command_without_a_reply_is_missed_at_the_end() {
    reject(THREE, "> 1 query-jobs\nover", LawId::CommandsAnswered, "client 1");
}

#[test]
fn nobody_writes_to_a_node_that_is_being_streamed_away() {
    // The nodes between are read-only here, so the writer comes first and the stream is refused.
    let writable = "> 0 blockdev-add driver=qcow2 node-name=over backing=top file={\"driver\":\"file\",\"filename\":\"x.img\"}";
    let mut run = Run::open("base <- mid <- top <- x");
    run.play("> 0 blockdev-del node-name=x\n< 0 ok").unwrap();
    run.play("> 0 blockdev-del node-name=top\n< 0 ok").unwrap();
    let add = "driver=qcow2 node-name=top backing=mid file={\"driver\":\"file\",\"filename\":\"top.img\"}";
    run.play(&format!("> 0 blockdev-add {add}\n< 0 ok\n{writable}\n< 0 ok\nattach 1 top rw")).unwrap();
    let refused = "> 1 block-stream job-id=j device=over
        ! j created
        ! j null
        < 1 Permission conflict on node 'top': permissions 'write' are both required by an unnamed block device \
        (uses node 'top' as 'root' child) and unshared by stream job 'j' (uses node 'top' as 'intermediate node' child).";
    run.play(refused).unwrap();
    assert!(run.model.may_attach("top", true));
    run.play("detach 1\n> 1 block-stream job-id=j device=over\n! j created\n! j running\n< 1 ok").unwrap();
    assert!(!run.model.may_attach("top", true));
    assert!(run.model.may_attach("top", false));
    let broken = run.play("attach 1 top rw").unwrap_err();
    assert_eq!(broken.law, LawId::WriterRefused);
}

#[test]
fn an_undismissed_job_keeps_its_nodes_busy() {
    let script = "> 1 block-stream job-id=j device=top auto-dismiss=false
        ! j created
        ! j running
        < 1 ok
        ! j waiting
        ! j pending
        ! j completed 8
        ! j concluded
        > 1 block-stream job-id=k device=top
        < 1 Node 'top' is busy: block device is in use by block job: stream
        > 1 blockdev-del node-name=mid
        < 1 Node 'mid' is busy: block device is in use by block job: stream
        > 1 job-dismiss id=j
        ! j null
        < 1 ok
        > 1 blockdev-del node-name=mid
        < 1 ok
        over";
    let tally = accept(THREE, script);
    assert_eq!(tally.of(LawId::DismissedByHand), 1);
    assert_eq!(tally.of(LawId::OverlapSeenRefused), 2);
}

#[test]
fn a_reply_echoes_the_id_of_its_command() {
    let mut run = Run::open(THREE);
    let text = r#"{"execute": "query-jobs", "id": [1, "x"]}"#;
    run.model.observe(&Observation::Sent { client: 1, text }).unwrap();
    let mut other = run.model.clone();
    run.model.observe(&Observation::Reply { client: 1, text: r#"{"return": [], "id": [1, "x"]}"# }).unwrap();
    let broken = other.observe(&Observation::Reply { client: 1, text: r#"{"return": []}"# }).unwrap_err();
    assert_eq!(broken.law, LawId::Reply);
}

#[test]
fn bytes_that_are_no_command_never_stop_the_model() {
    for text in [
        "",
        "\"",
        "[[[[",
        "{\"execute\":",
        "{\"execute\":\"block-stream\",\"arguments\":{\"device\":\"\\u0000\"}}",
    ] {
        let mut run = Run::open(THREE);
        run.model.observe(&Observation::Sent { client: 1, text }).unwrap();
        assert!(run.model.observe(&Observation::Reply { client: 1, text }).is_err(), "{text} is no reply");
        assert!(run.model.observe(&Observation::Event { text }).is_err(), "{text} is no event");
    }
}

// A query was answered, and before its reply was on the wire events reported more.
#[test]
fn a_query_may_report_progress_of_the_moment_it_was_asked_and_no_older() {
    let jobs = |sectors: u64| {
        let job = serde_json::json!({
            "device": "j", "type": "stream", "status": "running", "offset": sectors * 512, "len": 4096, "speed": 0,
            "auto-finalize": true, "auto-dismiss": true, "busy": true, "paused": false, "ready": false,
            "io-status": "ok",
        });
        serde_json::json!({ "return": [job] }).to_string()
    };
    let query = |run: &mut Run, meanwhile: &str, sectors: u64| {
        let text = r#"{"execute":"query-block-jobs"}"#;
        run.model.observe(&Observation::Sent { client: 9, text }).expect("anybody may ask");
        run.play(meanwhile).expect("the job goes on");
        run.model.observe(&Observation::Reply { client: 9, text: &jobs(sectors) })
    };
    let mut run = Run::open(THREE);
    run.play(RUNNING).expect("the stream starts");
    query(&mut run, "", 4).expect("it has got that far");
    let ends = "! j waiting\n! j pending\n! j completed 8";
    let mut other = Run { model: run.model.clone() };
    query(&mut run, ends, 4).expect("so it was when it was asked");
    let broken = query(&mut other, ends, 3).expect_err("it had got further before it was asked");
    assert_eq!(broken.law, LawId::Progress, "{broken}");
}

/// A commit of high into mid fails before it has copied anything.
const COMMIT_FAILS: &str = r#"> 1 block-commit job-id=j device=top top-node=high base-node=mid
    ! j created
    ! j running
    ! j aborting
    !! {"event":"BLOCK_JOB_COMPLETED","data":{"type":"commit","device":"j","offset":0,"len":4096,"speed":0,"error":"Operation not supported"}}
    ! j concluded
    ! j null
    < 1 ok
    view top w10 w11 w20 w21 w1 w1 w40 w41
    over"#;

// An image of the old version has no clusters that read as zeroes, which would hide what base has past its end.
#[test]
fn a_commit_may_fail_to_grow_its_base_only_over_a_longer_layer() {
    accept("base <- mid:4 <- high:8 <- top:8", &COMMIT_FAILS.replace("w20 w21 w1 w1", "w20 w21 w30 w31"));
    let upto = COMMIT_FAILS.split_once("aborting").expect("it aborts").0.to_owned() + "aborting";
    let says = "aborts without cancel or error";
    reject("base:4 <- mid:4 <- high:8 <- top:8", &upto, LawId::Cause, says);
    reject("base <- mid:8 <- high:8 <- top:8", &upto, LawId::Cause, says);
}

#[test]
fn after_a_crash_a_header_names_what_an_unanswered_command_asked_for_or_what_it_named() {
    let asked = "> 1 change-backing-file device=top image-node-name=top backing-file=base.img\n";
    for chain in ["top.img,base.img", "top.img,mid.img,base.img"] {
        accept(THREE, &format!("{asked}crash\nrecovered top.img {chain} w10 w11 w20 w21 w30 w31 w1 w1"));
    }
    let recovered = "crash\nrecovered top.img top.img,base.img w10 w11 w1 w1 w30 w31 w1 w1";
    reject(THREE, recovered, LawId::ChainOnDisk, "the header of top.img names base.img");
}

#[test]
fn what_is_in_an_image_is_not_known_any_more_once_its_raw_bytes_were_written() {
    let alone = r#"> 9 blockdev-del node-name=top
    < 9 ok
    > 9 blockdev-add driver=file filename=top.img node-name=bytes
    < 9 ok
    attach 1 bytes rw
"#;
    let recovered = "crash\nrecovered top.img top.img,mid.img,base.img w10 w11 w20 w21 w1 w1 w1 w1";
    let says = "expected w30, found w1";
    reject(THREE, &format!("{alone}flush r1 1\nend r1\n{recovered}"), LawId::FlushedSurvives, says);
    accept(THREE, &format!("{alone}write r1 1 0 w5\nend r1\n{recovered}"));
}

// After a fault a start may be refused for it, or for a chain that goes by another name then. That excuses an error; where
// there was none, it is nothing that anybody expected.
#[test]
fn what_excuses_an_error_is_listed_only_where_there_was_one() {
    let answered = |reply: &str| {
        let mut run = Run::open(THREE);
        run.play("fault mid.img Input/output error\n> 1 block-stream job-id=j device=nowhere").unwrap();
        run.play(&format!("< 1 {reply}")).expect_err("nobody is called so").detail
    };
    let refusal = "expected GenericError: Cannot find device='nowhere' nor node-name='nowhere'";
    let success = answered("ok");
    assert!(success.contains(refusal) && !success.contains("      or "), "{success}");
    let error = answered("Out of luck");
    assert!(error.contains("found    GenericError: Out of luck\n"), "{error}");
    assert!(error.contains("an error about `in the backing chain`"), "{error}");
}
