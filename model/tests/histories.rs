//! Histories recorded from QEMU 10.0.2, played through the model: it must accept each as it is, and reject
//! each as soon as anything in it is missing, swapped or changed.
//!
//! A history is a list of observations; runs of sectors are written as `[count, value]`.

use std::path::PathBuf;

use model::{Broken, FaultKind, Format, GuestOp, ImageSetup, Judge, LawId, Observation};
use serde_json::Value;

#[derive(Clone)]
struct History {
    name: String,
    images: Vec<ImageSetup>,
    steps: Vec<Value>,
}

fn all() -> Vec<History> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    paths.sort();
    assert!(paths.len() > 12, "histories are missing");
    paths.iter().map(load).collect()
}

fn load(path: &PathBuf) -> History {
    let value: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    History {
        name: path.file_stem().unwrap().to_string_lossy().into_owned(),
        images: value["images"].as_array().unwrap().iter().map(image).collect(),
        steps: value["history"].as_array().unwrap().clone(),
    }
}

fn image(value: &Value) -> ImageSetup {
    let mut own = Vec::new();
    for run in value["own"].as_array().unwrap() {
        let (first, count, tag) = (number(&run[0]), number(&run[1]), number(&run[2]));
        own.extend((first..first + count).map(|sector| (sector, tag)));
    }
    ImageSetup {
        file: text(&value["file"]).to_owned(),
        format: if value["format"] == "raw" { Format::Raw } else { Format::Qcow2 },
        size_bytes: number(&value["size"]),
        cluster_bytes: number(&value["cluster"]),
        bitmaps: false,
        subclusters: false,
        backing: value["backing"].as_str().map(str::to_owned),
        own,
    }
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap()
}

fn small(value: &Value) -> u32 {
    u32::try_from(number(value)).unwrap()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

/// Commands that are no JSON are kept as strings.
fn qmp(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn play(history: &History) -> Result<(), Broken> {
    let mut model = Judge::new(&history.images);
    for step in &history.steps {
        observe(&mut model, step)?;
    }
    Ok(())
}

fn observe(model: &mut Judge, step: &Value) -> Result<(), Broken> {
    let began = |op| Observation::GuestBegan { request: number(&step[1]), guest: small(&step[2]), op };
    let run = || (number(&step[3]), number(&step[4]));
    match text(&step[0]) {
        "sent" => model.observe(&Observation::Sent { client: small(&step[1]), text: &qmp(&step[2]) }),
        "reply" => model.observe(&Observation::Reply { client: small(&step[1]), text: &qmp(&step[2]) }),
        "event" => model.observe(&Observation::Event { text: &qmp(&step[1]) }),
        "attached" => {
            let (node, writable) = (text(&step[2]), step[3] == true);
            model.observe(&Observation::GuestAttached { guest: small(&step[1]), node, writable })
        }
        "detached" => model.observe(&Observation::GuestDetached { guest: small(&step[1]) }),
        "write" => {
            let values = vec![number(&step[5]); run().1 as usize];
            model.observe(&began(GuestOp::Write { sector: run().0, values: &values, fua: false }))
        }
        "zero" => model.observe(&began(GuestOp::WriteZeroes { sector: run().0, count: run().1 })),
        "discard" => model.observe(&began(GuestOp::Discard { sector: run().0, count: run().1 })),
        "flush" => model.observe(&began(GuestOp::Flush)),
        "ended" => model.observe(&Observation::GuestEnded { request: number(&step[1]), result: Ok(&[]) }),
        "fault" => {
            let error = text(&step[1]);
            model.observe(&Observation::FaultArmed { file: "", kind: FaultKind::Any, error })
        }
        "view" => {
            let values = sectors(&step[2]);
            model.observe(&Observation::View { node: text(&step[1]), values: &values })
        }
        "end" => model.observe(&Observation::End),
        other => panic!("a step `{other}`"),
    }
}

fn sectors(runs: &Value) -> Vec<u64> {
    let runs = runs.as_array().unwrap();
    runs.iter().flat_map(|run| vec![number(&run[1]); number(&run[0]) as usize]).collect()
}

#[test]
fn recorded_histories_are_accepted() {
    for history in all() {
        if let Err(broken) = play(&history) {
            panic!("{}: {broken}", history.name);
        }
    }
}

fn is_event(step: &Value) -> bool {
    step[0] == "event"
}

fn job(step: &Value) -> &Value {
    let data = &step[1]["data"];
    if data["id"].is_null() { &data["device"] } else { &data["id"] }
}

#[test]
fn a_lost_event_is_missed() {
    let mut lost = 0;
    for history in all() {
        for index in (0..history.steps.len()).filter(|index| is_event(&history.steps[*index])) {
            let mut history = history.clone();
            let event = history.steps.remove(index);
            let Err(broken) = play(&history) else { panic!("{}: {event} was not missed", history.name) };
            let laws = [
                LawId::StatusTable,
                LawId::EventOrder,
                LawId::Cause,
                LawId::JobsEnd,
                LawId::Reply,
                LawId::QueryTruth,
                LawId::NoFaultNoFailure,
            ];
            assert!(laws.contains(&broken.law), "{}: {event}: {broken}", history.name);
            lost += 1;
        }
    }
    assert!(lost > 100, "only {lost} events were lost");
}

#[test]
fn two_events_of_a_job_cannot_change_places() {
    for history in all() {
        for index in 1..history.steps.len() {
            let (first, second) = (&history.steps[index - 1], &history.steps[index]);
            if !is_event(first) || !is_event(second) || job(first) != job(second) {
                continue;
            }
            let mut history = history.clone();
            history.steps.swap(index - 1, index);
            let Err(broken) = play(&history) else { panic!("{}: swapped at {index}", history.name) };
            let laws = [LawId::StatusTable, LawId::EventOrder, LawId::Cause];
            assert!(laws.contains(&broken.law), "{}: {broken}", history.name);
        }
    }
}

#[test]
fn a_wrong_text_is_no_reply_of_qemu() {
    let mut changed = 0;
    for history in all() {
        for index in 0..history.steps.len() {
            let description = &history.steps[index][2]["error"]["desc"];
            let Some(description) = description.as_str().map(|text| format!("{text}!")) else { continue };
            let mut history = history.clone();
            history.steps[index][2]["error"]["desc"] = description.into();
            let broken = play(&history).expect_err("a reply with a wrong text");
            assert_eq!(broken.law, LawId::Reply, "{}: {broken}", history.name);
            changed += 1;
        }
    }
    assert!(changed > 5, "only {changed} refusals were changed");
}

#[test]
fn what_was_refused_cannot_succeed_and_what_succeeded_cannot_be_refused() {
    for history in all() {
        for index in 0..history.steps.len() {
            if history.steps[index][0] != "reply" {
                continue;
            }
            let mut history = history.clone();
            let refused = history.steps[index][2].get("error").is_some();
            if refused && is_event(&history.steps[index - 1]) {
                // The job moved on meanwhile: the command could have come at a better moment.
                continue;
            }
            history.steps[index][2] = match refused {
                true => serde_json::json!({"return": {}}),
                false => serde_json::json!({"error": {"class": "GenericError", "desc": "Job is tired"}}),
            };
            let Err(broken) = play(&history) else {
                panic!(
                    "{}: the reply at {index} was turned round unnoticed: {}",
                    history.name,
                    history.steps[index - 1]
                );
            };
            let laws = [LawId::Reply, LawId::OverlapRefused];
            assert!(laws.contains(&broken.law), "{}: {broken}", history.name);
        }
    }
}

#[test]
fn a_wrong_sector_in_any_run_of_a_view_is_found() {
    let mut changed = 0;
    for history in all() {
        for index in (0..history.steps.len()).filter(|index| history.steps[*index][0] == "view") {
            for run in 0..history.steps[index][2].as_array().unwrap().len() {
                let mut history = history.clone();
                history.steps[index][2][run][1] = 4711.into();
                let broken = play(&history).expect_err("a view with foreign sectors");
                let laws = [LawId::GuestReads, LawId::StreamUnseen];
                assert!(laws.contains(&broken.law), "{}: {broken}", history.name);
                assert!(broken.detail.contains("read w4711"), "{broken}");
                changed += 1;
            }
        }
    }
    assert!(changed > 50, "only {changed} runs were changed");
}

#[test]
fn a_refused_overlap_that_succeeds_breaks_its_own_law() {
    let mut history = all().into_iter().find(|history| history.name == "overlap_refused").unwrap();
    let busy = |step: &Value| step[2]["error"]["desc"].as_str().is_some_and(|text| text.contains("is busy"));
    let index = history.steps.iter().position(busy).expect("the recording has a refused overlap");
    history.steps[index][2] = serde_json::json!({"return": {}});
    let broken = play(&history).expect_err("an overlap must be refused");
    assert_eq!(broken.law, LawId::OverlapRefused);
    assert!(broken.detail.contains("Node 'n2' is busy"), "{broken}");
}
