//! The engine, commanded in QEMU's language through the door that is there for everybody's: it breaks no law, and a daemon
//! that lies around it does.

use midstream::scenario::{
    Scenario, cancel, commit, complete, eio, enospc, flush, kill, pause, power_cut, qmp, read, resume,
    stream, write,
};
use midstream::seam::{Host, IoResult, Pending};
use midstream::{BlockLayer, Checked, Events, Failure, Image, Monitor, event_log, find};
use sim::layer::{Open, Ours};
use std::sync::Arc;

const RUNS: u64 = 100;

/// What is wrong with a daemon.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
enum Lie {
    /// It drops the event that says how a job ended.
    ForgetsEnd,
    /// It says that whatever it refused is done.
    RefusesNothing,
    /// It leaves a word out of what it answers.
    AnswersLess,
    /// It says `running` before `created`.
    SwapsEvents,
}

struct Lying(Lie);

struct Liar {
    lie: Lie,
    honest: Arc<dyn Monitor<Open>>,
}

impl BlockLayer for Lying {
    type Device = Open;

    const CHAINS: bool = true;
    const CLUSTER_BYTES: u64 = Ours::<true>::CLUSTER_BYTES;

    async fn create(&self, host: Arc<dyn Host>, image: &Image) -> IoResult<()> {
        Ours::<true>.create(host, image).await
    }

    async fn open(&self, host: Arc<dyn Host>, images: &[Image]) -> IoResult<Vec<Open>> {
        Ours::<true>.open(host, images).await
    }

    async fn check(&self, host: Arc<dyn Host>, image: &Image) -> IoResult<Option<Checked>> {
        Ours::<true>.check(host, image).await
    }

    async fn backing(&self, host: Arc<dyn Host>, image: &Image) -> IoResult<Option<String>> {
        Ours::<true>.backing(host, image).await
    }

    fn monitor(&self, host: Arc<dyn Host>, events: Events) -> Option<Arc<dyn Monitor<Open>>> {
        let lie = self.0;
        let emitted: Events = Arc::new(move |event: String| match lie {
            Lie::ForgetsEnd if event.contains("BLOCK_JOB_COMPLETED") => {}
            Lie::SwapsEvents => events(event.replace("\"created\"", "\"running\"")),
            _ => events(event),
        });
        let honest = Ours::<true>.monitor(host, emitted)?;
        Some(Arc::new(Liar { lie, honest }))
    }
}

impl Monitor<Open> for Liar {
    fn execute(&self, command: String) -> Pending<'_, String> {
        Box::pin(async move {
            let reply = self.honest.execute(command).await;
            match self.lie {
                Lie::RefusesNothing if reply.contains("\"error\"") => r#"{"return": {}}"#.to_owned(),
                Lie::AnswersLess => reply.replace("\"drv\"", "\"driver\""),
                _ => reply,
            }
        })
    }

    fn attach(&self, node: String, writable: bool) -> Pending<'_, IoResult<Open>> {
        self.honest.attach(node, writable)
    }
}

/// A chain in which a stream has much to copy, and guests on two of its nodes.
fn chain() -> Scenario {
    Scenario::chain([
        "base dddddddddddddddddddddddddddddddd",
        "mid  ........dddddddd................",
        "top  ................................",
    ])
    .guest("top", [read(0, 32), write(4, 6), flush(), write(20, 3), read(0, 32)])
    .guest("mid", [read(0, 32), read(8, 8)])
}

fn streams() -> Scenario {
    chain().client(stream("mid").job("s")).client([stream("top").base("mid").job("t"), cancel("t")])
}

fn broken(lie: Lie, scenario: Scenario) -> Box<Failure> {
    find(Lying(lie), scenario, RUNS).expect_err("it lies")
}

#[test]
fn the_engine_does_what_qemu_would_in_every_order() {
    let paused = || chain().client(stream("top").base("base").job("s")).client([pause("s"), resume("s")]);
    let committed =
        || chain().client([commit("top").job("c"), complete("c")]).client(commit("top").top("mid"));
    for scenario in [streams(), paused(), committed()] {
        for cut in [None, Some(kill()), Some(power_cut())] {
            let scenario = Scenario { crash: cut, ..scenario.clone() };
            let totals = find(Ours::<true>, scenario, RUNS).unwrap_or_else(|failure| panic!("{failure}"));
            assert_eq!((totals.runs, totals.inconclusive), (RUNS, 0));
        }
    }
}

#[test]
fn a_fault_excuses_what_it_strikes() {
    for fault in [eio("base").on_read().once(), enospc("top").after(3), eio("mid").on_flush()] {
        let totals = find(Ours::<true>, streams().fault(fault), RUNS);
        assert!(totals.is_ok(), "{}", totals.expect_err("it was said to be one"));
    }
}

#[test]
fn what_is_said_and_answered_is_seen() {
    let log = event_log(Ours::<true>, streams(), 1).unwrap_or_else(|failure| panic!("{failure}"));
    let is_there = |what: &str| log.iter().any(|line| line.contains(what));
    for what in ["client 1", "block-stream", "JOB_STATUS_CHANGE", "query-named-block-nodes", "quit"] {
        assert!(is_there(what), "{what} is not in {log:#?}");
    }
}

#[test]
fn a_daemon_that_lies_is_found() {
    let overlapping = || chain().client(stream("mid").job("s")).client(stream("mid").job("t"));
    for (lie, scenario, law) in [
        (Lie::ForgetsEnd, streams(), "events come in a job's order"),
        (Lie::RefusesNothing, overlapping(), "an overlapping job is refused"),
        (Lie::AnswersLess, streams(), "a query tells nodes and jobs as they are"),
        (Lie::SwapsEvents, streams(), "events come in a job's order"),
    ] {
        let failure = broken(lie, scenario);
        assert_eq!(failure.law.as_deref(), Some(law), "{lie:?}: {failure}");
    }
}

#[test]
fn a_failure_names_the_command_behind_it() {
    let unknown =
        chain().client(qmp(r#"{"execute":"block-stream","arguments":{"device":"none","job-id":"s"}}"#));
    let failure = broken(Lie::RefusesNothing, unknown);
    assert!(failure.detail.contains("in reply to client 1: block-stream device:none"), "{failure}");
}
