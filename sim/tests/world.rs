//! Whole worlds: the same choices give the same history, scripts do what they say, crashes are survived.

use midstream::choice::Choices;
use midstream::content::tag_of_request;
use midstream::panics::quietly;
use midstream::request::Operation;
use midstream::strategy;
use midstream::verdict::{Detail, Verdict};
use midstream::world::crash::{Crash, Ending};
use sim::workload::client::{ClientPlan, Command};
use sim::workload::guest::{GuestPlan, Place, Request};
use sim::workload::scenario::Scenario;
use sim::world::World;
use sim::world::scripted::First;

fn stream(arguments: &str) -> String {
    format!(r#"{{"execute":"block-stream","arguments":{{{arguments}}}}}"#)
}

/// base <- mid <- top, each with something of its own, and holes through which one sees the next.
fn base_mid_top() -> Scenario {
    Scenario::chain(&["ddddsd", "..d0.s", "d....."])
}

#[test]
fn the_same_seed_is_the_same_history_down_to_the_last_line() {
    for seed in 0..40 {
        let full = sim::world::run(strategy::of_seed(seed), Detail::Full);
        let quiet = sim::world::run(strategy::of_seed(seed), Detail::Quiet);
        assert_eq!(full.history_hash, quiet.history_hash, "seed {seed}");
        assert_eq!(full.history_hash, full.history.fingerprint(), "seed {seed}");
        assert_eq!(full.tape, quiet.tape, "seed {seed}");
        assert!(quiet.history.entries.is_empty());
    }
}

#[test]
fn different_seeds_are_different_histories() {
    let mut hashes: Vec<u64> =
        (0..100).map(|seed| sim::world::run(strategy::of_seed(seed), Detail::Quiet).history_hash).collect();
    hashes.sort_unstable();
    hashes.dedup();
    assert!(hashes.len() > 95, "{} histories in 100 runs", hashes.len());
}

#[test]
fn a_stream_into_the_middle_leaves_base_below_and_every_view_as_it_was() {
    let mut world = World::open(base_mid_top());
    let reply = world.execute(&stream(r#""device":"n1","job-id":"s""#));
    assert_eq!(reply, r#"{"return": {}}"#);
    world.settle();
    let outcome = world.finish();
    assert_eq!(outcome.verdict, Verdict::Passed, "{}", outcome.history.text());
    let lines = outcome.history.lines();
    let reopened: Vec<&String> = lines.iter().filter(|line| line.contains("reopened")).collect();
    assert!(reopened[1].contains("/n1.qcow2: "), "n1 stands alone: {reopened:?}");
    assert!(reopened[2].contains("/n2.qcow2 -> /n1.qcow2: "), "n2 stands on n1: {reopened:?}");
}

// The guest's write lands in a cluster that the job has not copied yet; copying must not put old data over it.
#[test]
fn a_write_before_the_copy_survives_the_copy() {
    let mut world = World::open(base_mid_top());
    let mut guest = world.attach(1, "n2", true).expect("the top is writable");
    world.execute(&stream(r#""device":"n2","job-id":"s","speed":1024"#));
    world.request(&mut guest, Operation::Write, 11, 1);
    world.execute(r#"{"execute":"block-job-set-speed","arguments":{"device":"s","speed":0}}"#);
    world.settle();
    world.request(&mut guest, Operation::Read, 10, 2);
    let log = world.log();
    let read = log.iter().rfind(|line| line.contains(" reads ")).expect("it read");
    assert!(read.ends_with("reads n1 g1.0.0"), "{read}");
    world.detach(guest);
    assert_eq!(world.finish().verdict, Verdict::Passed);
}

#[test]
fn a_writer_is_turned_away_from_a_read_only_node() {
    let mut world = World::open(base_mid_top());
    let refused = world.attach(1, "n1", true).expect_err("n1 is read-only");
    assert_eq!(refused, "Block node is read-only");
}

#[test]
fn a_flushed_write_survives_the_power_cut_and_an_unflushed_one_may_not() {
    for flush in [true, false] {
        let mut world = World::open(base_mid_top());
        let mut guest = world.attach(1, "n2", true).expect("the top is writable");
        world.request(&mut guest, Operation::Write, 4, 1);
        if flush {
            world.request(&mut guest, Operation::Flush, 0, 0);
        }
        let outcome = world.end(Ending::PowerCut, Box::new(First));
        assert_eq!(outcome.verdict, Verdict::Passed, "{}", outcome.history.text());
        let lines = outcome.history.lines();
        let top = lines.iter().find(|line| line.contains("/n2.qcow2 ->")).expect("it was read reopened");
        assert_eq!(top.contains("g1.0.0"), flush, "{top}");
    }
}

#[test]
fn a_small_stream_survives_a_crash_at_every_step() {
    let text = stream(r#""device":"n2","job-id":"s","base-node":"n0""#);
    for ending in [Ending::Kill, Ending::PowerCut] {
        let mut crashed = 0;
        for step in 0..120 {
            let mut scenario = base_mid_top();
            let command = Command { think: 0, slot: 0, text: text.clone(), awaits: None };
            scenario.clients = vec![ClientPlan { client: 0, commands: vec![command] }];
            scenario.crash = Some(Crash { step, ending });
            let outcome = sim::world::play(scenario, strategy::of_seed(step), Detail::Full);
            assert_eq!(outcome.verdict, Verdict::Passed, "step {step}: {}", outcome.history.text());
            crashed += usize::from(outcome.history.lines().iter().any(|line| line.contains(" crash ")));
        }
        assert!((20..120).contains(&crashed), "a stream of {crashed} steps");
    }
}

#[test]
fn a_run_without_any_choice_is_short_and_passes() {
    let outcome = sim::world::run(Choices::new(Box::new(First)), Detail::Full);
    assert_eq!(outcome.verdict, Verdict::Passed);
    assert!(outcome.history.entries.len() < 25, "{}", outcome.history.text());
}

// The guest writes as long as the commit works. It dirties as much as one copy takes, so only a job that holds it back
// gets in step before it has written its last.
#[test]
fn a_commit_gets_in_step_with_a_guest_that_never_rests() {
    let commit = r#"{"execute":"block-commit","arguments":{"device":"n1","job-id":"c"}}"#;
    let mut in_step_first = 0;
    for seed in 0..40 {
        let mut scenario = Scenario::chain(&["dddddddddddddddd", "d.d.d.d.d.d.d.d."]);
        let (operation, place) = (Operation::Write, Place::Sector(3));
        let tag = tag_of_request(0, 0, 0);
        let first = Request { think: 0, operation, place, sectors: 1, tag, fua: false, unmaps: false };
        let (guest, lanes, restless) = (0, vec![vec![first]], Some(32));
        scenario.guests =
            vec![GuestPlan { guest, image: 1, writable: true, by_nbd: false, think: 0, lanes, restless }];
        let command = Command { think: 0, slot: 0, text: commit.to_owned(), awaits: None };
        scenario.clients = vec![ClientPlan { client: 0, commands: vec![command] }];
        let outcome = sim::world::play(scenario, strategy::of_seed(seed), Detail::Full);
        assert_eq!(outcome.verdict, Verdict::Passed, "seed {seed}: {}", outcome.history.text());
        let lines = outcome.history.lines();
        let ready = lines.iter().position(|line| line.contains("BLOCK_JOB_READY"));
        let last = lines.iter().rposition(|line| line.contains(" g0.0."));
        in_step_first += usize::from(ready.expect("the commit ends well") < last.expect("the guest wrote"));
    }
    assert!(in_step_first >= 30, "in step before the guest was done: {in_step_first} of 40");
}

#[test]
fn some_drawn_guests_never_rest() {
    let draws = (0..200).map(|seed| Scenario::draw(&mut strategy::of_seed(seed)));
    let restless =
        draws.flat_map(|scenario| scenario.guests).filter(|guest| guest.restless.is_some()).count();
    assert!((5..100).contains(&restless), "{restless} in 200 worlds");
}

// A scenario that says of no image whether it is read-only makes the workload itself trip.
#[test]
fn a_panic_of_the_workload_is_no_verdict_about_the_engine() {
    let broken = Scenario { read_only: Vec::new(), ..Scenario::chain(&["d", "."]) };
    let played = quietly(|| sim::world::play(broken, strategy::of_seed(1), Detail::Quiet));
    let said = played.expect_err("nothing to judge");
    assert!(!said.is_below(["impl", "src"]), "{said}");
    assert!(said.to_string().contains("sim/src/workload/scenario.rs:"), "{said}");
}
