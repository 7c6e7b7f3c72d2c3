//! The recorded corpus of the real daemon, played through the model: it must accept every case but those that are named
//! here, each with the law it breaks; and it must reject recordings in which anything was changed.

#[path = "../../sim/src/mutants/kept/recorded/mod.rs"]
mod recorded;

use model::quirk::QUIRKS;
use model::{Judge, LawId, Quirk};
use recorded::{Contents, Recording, Run, Seen, corpus, images, jobs, seen};
use serde_json::Value;

/// Recorded cases, without those that are for engines.
const CASES: usize = 644;

/// What the model refuses, with the law that is broken and the known defect that is behind it.
const REFUSED: [(&str, LawId, &str); 14] = [
    ("corrupt-short-middle-raw-middle", LawId::StreamUnseen, "short-layer"),
    ("corrupt-short-middle-stream-mid-base-n0", LawId::StreamUnseen, "short-layer"),
    ("corrupt-short-middle-stream-top-base-n0", LawId::StreamUnseen, "short-layer"),
    ("corrupt-short-middle-unaligned-stream-top", LawId::StreamUnseen, "short-layer"),
    ("corrupt-short-middle-zero-length-stream-top", LawId::StreamUnseen, "short-layer"),
    ("corrupt-short-second-middle-stream-top-base-n1", LawId::StreamUnseen, "short-layer"),
    ("crash-query-named-block-nodes-concluded-stream-filt", LawId::CommandsAnswered, "query-crash"),
    (
        "crash-query-named-block-nodes-concluded-stream-manual-both-filt",
        LawId::CommandsAnswered,
        "query-crash",
    ),
    (
        "crash-query-named-block-nodes-concluded-stream-manual-both-implicit",
        LawId::CommandsAnswered,
        "query-crash",
    ),
    ("crash-query-named-block-nodes-concluded-stream-top-implicit", LawId::CommandsAnswered, "query-crash"),
    ("error-header-update-error-full-stream", LawId::GraphKept, "half-finalize"),
    ("error-header-update-error-on-finalize", LawId::GraphKept, "half-finalize"),
    ("error-header-update-error-on-finalize-mid", LawId::GraphKept, "half-finalize"),
    ("size-short-middle-unaligned-base-n0", LawId::StreamUnseen, "short-layer"),
];

/// What happens in these lies outside what the model can be shown: it must refuse them, and would be blind if it did not.
const BEYOND: [(&str, LawId, &str); 2] = [
    ("error-corrupt-base-l2", LawId::NoFaultNoFailure, "somebody overwrites an image file from outside"),
    (
        "size-opt-datafile-mid",
        LawId::DroppedGone,
        "an image keeps its data in a second file, which opens a node",
    ),
];

fn verdict(recording: &Recording, contents: &mut Contents) -> Result<(), (Seen, model::Broken)> {
    let setups = images(&recording.case, contents);
    let seen = seen(&recording.case, &recording.result);
    let mut run = Run::new(&setups, contents);
    run.play(&seen).map_err(|(index, broken)| (seen[index].clone(), broken))
}

#[test]
fn every_recorded_case_is_accepted_but_those_that_are_named() {
    let mut contents = Contents::default();
    let all = corpus();
    assert_eq!(all.len(), CASES, "recorded cases");
    let (mut accepted, mut wrong) = (0, Vec::new());
    for recording in &all {
        let named = |(name, ..): &&(&str, LawId, &str)| *name == recording.name;
        let expected = REFUSED.iter().chain(&BEYOND).find(named);
        match (verdict(recording, &mut contents), expected) {
            (Ok(()), None) => accepted += 1,
            (Err((_, broken)), Some((_, law, _))) if broken.law == *law => {}
            (Ok(()), Some((name, law, _))) => wrong.push(format!("{name} was accepted; it breaks {law:?}")),
            (Err((seen, broken)), _) => wrong.push(format!("{}: {seen:?}\n{broken}", recording.name)),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    assert_eq!(accepted, CASES - REFUSED.len() - BEYOND.len(), "accepted cases");
}

#[test]
fn jobs_beside_streams_do_what_the_model_says() {
    let mut contents = Contents::default();
    let mut wrong = Vec::new();
    let all = jobs();
    assert_eq!(all.len(), 42, "recordings");
    for recording in all {
        if let Err((seen, broken)) = verdict(&recording, &mut contents) {
            wrong.push(format!("{}: {seen:?}\n{broken}", recording.name));
        }
    }
    assert!(wrong.is_empty(), "{} refused:\n{}", wrong.len(), wrong.join("\n\n"));
}

/// What a crash ends is no quirk: there is nothing after it that could be explained.
const CRASH: &str = "query-crash";

#[test]
fn each_named_refusal_is_explained_by_its_quirk_and_by_no_other() {
    let mut contents = Contents::default();
    let all = corpus();
    for (name, _, defect) in REFUSED.iter().filter(|(.., defect)| *defect != CRASH) {
        let recording = all.iter().find(|recording| recording.name == *name).expect("a recorded case");
        let (setups, seen) =
            (images(&recording.case, &mut contents), seen(&recording.case, &recording.result));
        let mut explains = |quirks: &[Quirk]| {
            let mut run = Run::new(&setups, &mut contents);
            run.model = Judge::new(&setups).with(quirks);
            run.play(&seen).map_err(|(_, broken)| broken)
        };
        let (own, others): (Vec<Quirk>, Vec<Quirk>) =
            QUIRKS.into_iter().partition(|quirk| quirk.name() == *defect);
        assert_eq!(own.len(), 1, "{defect} is a quirk");
        assert_eq!(explains(&own), Ok(()), "{name}");
        assert!(explains(&others).is_err(), "{name} is explained without {defect}");
    }
}

/// One way to spoil a recording, at one place of it.
struct Mutation {
    kind: &'static str,
    seen: Vec<Seen>,
    from: usize,
}

fn event(seen: &Seen) -> Option<Value> {
    match seen {
        Seen::Event(text) => serde_json::from_str(text).ok(),
        _ => None,
    }
}

fn job(event: &Value) -> &Value {
    if event["data"]["id"].is_null() { &event["data"]["device"] } else { &event["data"]["id"] }
}

/// What stands in the place of an observation; nothing, if it is left out.
type Spoilt = (&'static str, Option<Seen>);

fn spoilt_event(text: &str) -> Vec<Spoilt> {
    let mut found = Vec::new();
    let mut changed = |kind, new| found.push((kind, new));
    changed("an event is lost", None);
    if text.contains("\"offset\"") {
        let other = text.replacen("\"speed\":0", "\"speed\":7", 1);
        changed("an event reports another speed", (other != text).then_some(Seen::Event(other)));
        for kind in ["stream", "commit", "mirror", "backup"] {
            let old = format!("\"type\":\"{kind}\"");
            if text.contains(&old) {
                let other = text.replacen(&old, "\"type\":\"create\"", 1);
                changed("an event reports another type", Some(Seen::Event(other)));
            }
        }
    }
    found
}

fn spoilt_reply(text: &str) -> Vec<Spoilt> {
    let mut found = Vec::new();
    let mut changed = |kind, new| found.push((kind, new));
    if text.starts_with("{\"error\"") {
        let fine = "{\"return\":{}}".to_owned();
        changed("a refusal becomes a success", Some(Seen::Reply(fine)));
        let mut value: Value = serde_json::from_str(text).unwrap();
        let desc = value["error"]["desc"].as_str().unwrap_or("").to_owned();
        value["error"]["desc"] = format!("{desc}!").into();
        changed("a refusal has another text", Some(Seen::Reply(value.to_string())));
        if desc.contains("block job: ") {
            value["error"]["desc"] = desc.replace("block job: ", "block job: un").into();
            changed("a blocker is another job's", Some(Seen::Reply(value.to_string())));
            value["error"]["desc"] = desc.replacen("Node '", "Node 'x", 1).into();
            changed("a blocker stands on another node", Some(Seen::Reply(value.to_string())));
        }
    } else if text == "{\"return\":{}}" {
        let other = "{\"error\":{\"class\":\"GenericError\",\"desc\":\"Job is tired\"}}".to_owned();
        changed("a success becomes a refusal", Some(Seen::Reply(other)));
    } else if text.contains("\"shared-perm\"") {
        let other = text.replacen("\"shared-perm\":[\"write-unchanged\"", "\"shared-perm\":[\"resize\"", 1);
        changed("an edge shares something else", (other != text).then_some(Seen::Reply(other)));
    } else if text.contains("\"backing_file\"") {
        let other = text.replacen("\"backing_file\":\"", "\"backing_file\":\"/elsewhere", 1);
        changed("a node has another backing", Some(Seen::Reply(other)));
    } else if text.contains("\"status\":\"running\"") {
        let other = text.replacen("\"status\":\"running\"", "\"status\":\"aborting\"", 1);
        changed("a job is reported in another status", Some(Seen::Reply(other)));
    }
    found
}

fn spoilt_file(seen: &Seen) -> Vec<Spoilt> {
    let mut found = Vec::new();
    let mut changed = |kind, new| found.push((kind, new));
    let Seen::File { file, hash, chain, corruptions, leaks } = seen else { return found };
    let (file, leaks) = (file.clone(), *leaks);
    let file_of =
        |chain, corruptions| Seen::File { file: file.clone(), hash: hash.clone(), chain, corruptions, leaks };
    changed("an image is corrupt", Some(file_of(chain.clone(), corruptions + 1)));
    if chain.len() > 1 {
        changed("a header names nothing", Some(file_of(chain[..1].to_vec(), *corruptions)));
    }
    if chain.len() > 2 {
        let mut skipped = chain.clone();
        skipped.remove(1);
        changed("a header names another base", Some(file_of(skipped, *corruptions)));
    }
    found
}

/// Every way to spoil the observation at `index`.
fn mutations(all: &[Seen], index: usize) -> Vec<Mutation> {
    let spoilt = match &all[index] {
        Seen::Event(text) => spoilt_event(text),
        Seen::Reply(text) => spoilt_reply(text),
        Seen::Node { node, .. } => {
            let hash = "0".repeat(24);
            vec![("a node shows something else", Some(Seen::Node { node: node.clone(), hash }))]
        }
        seen => spoilt_file(seen),
    };
    let mut found = Vec::new();
    for (kind, new) in spoilt {
        let mut seen = all.to_vec();
        match new {
            Some(new) => seen[index] = new,
            None => drop(seen.remove(index)),
        }
        found.push(Mutation { kind, seen, from: index });
    }
    if let (Some(this), Some(next)) = (event(&all[index]), all.get(index + 1).and_then(event))
        && job(&this) == job(&next)
        && this != next
    {
        let mut seen = all.to_vec();
        seen.swap(index, index + 1);
        found.push(Mutation { kind: "two events change places", seen, from: index });
    }
    found.retain(|mutation| mutation.seen != all);
    found
}

/// Of the spoilt recordings at least so many of a thousand must be rejected.
const REJECTED_OF_THOUSAND: usize = 998;
/// In these a job meets errors again and again, or fails by one that it may report nowhere: one report more or less says nothing.
const MANY_ERRORS: &str = "commit-fails-";

/// One case of the corpus in so many is spoilt, at every place; and all those about jobs beside streams.
const EVERY: usize = 4;

#[test]
fn spoilt_recordings_are_rejected() {
    let mut contents = Contents::default();
    let mut tally: std::collections::BTreeMap<&str, (usize, usize)> = Default::default();
    let mut missed = Vec::new();
    let is_spoilt = |recording: &Recording| !recording.name.starts_with(MANY_ERRORS);
    for recording in corpus().into_iter().filter(is_spoilt).step_by(EVERY).chain(jobs()) {
        let setups = images(&recording.case, &mut contents);
        let seen = seen(&recording.case, &recording.result);
        let mut run = Run::new(&setups, &mut contents);
        for index in 0..seen.len() {
            let before = run.model.clone();
            for mutation in mutations(&seen, index) {
                let mut spoilt = Run { model: before.clone(), contents: run.contents, listener: None };
                let rejected = spoilt.play(&mutation.seen[mutation.from..]).is_err();
                let (killed, all) = tally.entry(mutation.kind).or_default();
                *all += 1;
                if rejected {
                    *killed += 1;
                } else {
                    missed
                        .push(format!("{}: {} at {index}: {:?}", recording.name, mutation.kind, seen[index]));
                }
            }
            if run.show(&seen[index]).is_err() {
                break;
            }
        }
    }
    let (killed, all) = tally.values().fold((0, 0), |(k, a), (killed, all)| (k + killed, a + all));
    println!("{tally:#?}\n{killed} of {all}");
    missed.truncate(40);
    assert!(all > 5_000, "only {all} recordings were spoilt");
    assert!(tally.len() >= 15, "only these were spoilt: {tally:?}");
    assert!(
        killed * 1000 >= all * REJECTED_OF_THOUSAND,
        "only {killed} of {all} spoilt recordings were rejected: {tally:#?}\n{}",
        missed.join("\n")
    );
}
