//! Rules C1 to C5: the form in which two results are compared. `tests/conformance/README.md` says why.

use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Counters and flags that depend on the moment of the look (C3).
#[rustfmt::skip]
const NOISE: [&str; 11] = [
    "offset", "len", "current-progress", "total-progress", "busy", "actual-speed", "actual-size",
    "date-sec", "date-nsec", "vm-clock-sec", "vm-clock-nsec",
];

/// Brings a result into the form in which it is compared.
pub fn canonical(mut result: Value) -> Value {
    let Some(members) = result.as_object_mut() else {
        return result;
    };
    members.remove("_stability");
    members.remove("event_step");
    let events = members.remove("events");
    members.insert("events_by_id".to_owned(), group(events));
    if let Some(Value::Object(images)) = members.get_mut("offline") {
        images.values_mut().for_each(merge_map);
    }
    let looks = ["initial", "final"];
    for look in looks {
        members.get_mut(look).into_iter().for_each(mask_look);
    }
    if let Some(Value::Array(steps)) = members.get_mut("steps") {
        steps.iter_mut().for_each(mask_look);
    }
    result
}

/// C1: events by whom they are about.
fn group(events: Option<Value>) -> Value {
    let Some(Value::Array(events)) = events else {
        return json!({});
    };
    let mut groups: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for event in events {
        groups.entry(about(&event)).or_default().push(event);
    }
    let simplified = groups.into_iter().map(|(id, events)| (id, Value::Array(simplify(events))));
    Value::Object(simplified.collect())
}

fn about(event: &Value) -> String {
    let data = &event["data"];
    let name = event["event"].as_str().unwrap_or_default();
    let of_job = name.starts_with("JOB_") || name.starts_with("BLOCK_EXPORT");
    let id = if of_job { data.get("id") } else { data.get("device").or(data.get("node-name")) };
    match id {
        Some(Value::String(id)) => id.clone(),
        Some(other) => other.to_string(),
        None if of_job => "None".to_owned(),
        None => String::new(),
    }
}

/// C5: a drain's pauses go, and repeats are one. C2: progress at an interruption is masked.
fn simplify(events: Vec<Value>) -> Vec<Value> {
    let mut last = String::new();
    let mut kept = Vec::with_capacity(events.len());
    for mut event in events {
        if event["event"] == "JOB_STATUS_CHANGE" {
            let status = event["data"]["status"].as_str().unwrap_or_default();
            if ["paused", "standby"].contains(&status) || status == last {
                continue;
            }
            last = status.to_owned();
        }
        mask_progress(&mut event);
        kept.push(event);
    }
    kept
}

fn mask_progress(event: &mut Value) {
    let failed = event["data"].get("error").is_some_and(|error| error != "");
    let by_chance = match event["event"].as_str() {
        Some("BLOCK_JOB_CANCELLED" | "BLOCK_JOB_READY") => true,
        Some("BLOCK_JOB_COMPLETED") => failed,
        _ => false,
    };
    if by_chance && let Some(data) = event["data"].as_object_mut() {
        for member in ["offset", "len"] {
            data.get_mut(member).into_iter().for_each(|value| *value = json!("*"));
        }
    }
}

/// C3, for the look after a step and for what the step asked for.
fn mask_look(look: &mut Value) {
    let Some(look) = look.as_object_mut() else {
        return;
    };
    look.get_mut("jobs").into_iter().for_each(mask);
    let shown = look.get_mut("reply").and_then(|reply| reply.get_mut("return"));
    shown.into_iter().for_each(mask);
}

fn mask(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(mask),
        Value::Object(members) => {
            for (name, value) in members {
                if NOISE.contains(&name.as_str()) && !value.is_array() && !value.is_object() {
                    *value = json!("*");
                } else {
                    mask(value);
                }
            }
        }
        _ => {}
    }
}

/// C4: neighbours of equal depth and flags are one extent.
fn merge_map(image: &mut Value) {
    let Some(Value::Array(lines)) = image.get_mut("map") else {
        return;
    };
    let mut extents: Vec<(u64, u64, String)> = Vec::with_capacity(lines.len());
    for line in lines.iter() {
        let Some((start, len, what)) = line.as_str().and_then(parse_extent) else {
            return;
        };
        match extents.last_mut() {
            Some((first, so_far, same)) if *same == what && *first + *so_far == start => *so_far += len,
            _ => extents.push((start, len, what.to_owned())),
        }
    }
    let texts = extents.into_iter().map(|(start, len, what)| Value::String(format!("{start}+{len} {what}")));
    *lines = texts.collect();
}

fn parse_extent(line: &str) -> Option<(u64, u64, &str)> {
    let (range, what) = line.split_once(' ')?;
    let (start, len) = range.split_once('+')?;
    Some((start.parse().ok()?, len.parse().ok()?, what))
}

/// The paths at which two values differ. `#len` ends a path to lists of different lengths.
pub fn differences(want: &Value, got: &Value) -> Vec<String> {
    let mut paths = Vec::new();
    compare(want, got, &mut String::new(), &mut paths);
    paths
}

fn compare(want: &Value, got: &Value, path: &mut String, paths: &mut Vec<String>) {
    match (want, got) {
        (Value::Object(want), Value::Object(got)) => compare_members(want, got, path, paths),
        (Value::Array(want), Value::Array(got)) if want.len() == got.len() => {
            for (index, (want, got)) in want.iter().zip(got).enumerate() {
                below(path, &index.to_string(), |path| compare(want, got, path, paths));
            }
        }
        (Value::Array(want), Value::Array(got)) => {
            paths.push(format!("{path}#len"));
            // Lines that shift say nothing one by one; steps and events do.
            let objects = want.iter().zip(got).enumerate().filter(|(_, (want, _))| want.is_object());
            for (index, (want, got)) in objects {
                below(path, &index.to_string(), |path| compare(want, got, path, paths));
            }
        }
        _ if want == got => {}
        _ => paths.push(path.clone()),
    }
}

fn compare_members(
    want: &Map<String, Value>,
    got: &Map<String, Value>,
    path: &mut String,
    paths: &mut Vec<String>,
) {
    let mut names: Vec<&String> = want.keys().chain(got.keys()).collect();
    names.sort();
    names.dedup();
    for name in names {
        below(path, name, |path| match (want.get(name), got.get(name)) {
            (Some(want), Some(got)) => compare(want, got, path, paths),
            _ => paths.push(path.clone()),
        });
    }
}

fn below(path: &mut String, name: &str, visit: impl FnOnce(&mut String)) {
    let len = path.len();
    path.push('/');
    path.push_str(name);
    visit(path);
    path.truncate(len);
}

/// The value at a path that `differences` gave.
pub fn at<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    // Names of files and commands hold no slash, so a path is taken apart as it was put together.
    path.trim_end_matches("#len").split('/').skip(1).try_fold(value, |value, name| match value {
        Value::Array(items) => items.get(name.parse::<usize>().ok()?),
        other => other.get(name),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(id: &str, status: &str) -> Value {
        json!({"event": "JOB_STATUS_CHANGE", "data": {"id": id, "status": status}})
    }

    #[test]
    fn events_of_two_jobs_may_interleave_and_pauses_of_drains_go() {
        let one = json!({"events": [status("a", "running"), status("b", "running"), status("a", "paused"),
            status("a", "running"), status("a", "waiting")]});
        let other =
            json!({"events": [status("b", "running"), status("a", "running"), status("a", "waiting")]});
        assert_eq!(canonical(one), canonical(other));
    }

    #[test]
    fn the_order_within_a_job_counts() {
        let one = json!({"events": [status("a", "running"), status("a", "waiting")]});
        let other = json!({"events": [status("a", "waiting"), status("a", "running")]});
        assert_eq!(differences(&canonical(one), &canonical(other)).len(), 2);
    }

    #[test]
    fn progress_is_kept_only_where_it_is_certain() {
        let event = |name: &str, error: Option<&str>| {
            let mut event = json!({"event": name, "data": {"device": "j", "offset": 1, "len": 2}});
            error.into_iter().for_each(|error| event["data"]["error"] = json!(error));
            canonical(json!({"events": [event]}))["events_by_id"]["j"][0]["data"]["offset"].clone()
        };
        assert_eq!(event("BLOCK_JOB_COMPLETED", None), 1);
        assert_eq!(event("BLOCK_JOB_COMPLETED", Some("Input/output error")), "*");
        assert_eq!(event("BLOCK_JOB_CANCELLED", None), "*");
    }

    #[test]
    fn equal_neighbours_in_a_map_are_one_extent() {
        let lines =
            json!({"offline": {"a": {"map": ["0+10 d0 D-P", "10+5 d0 D-P", "15+5 d0 -Z-", "25+5 d0 -Z-"]}}});
        let merged = json!(["0+15 d0 D-P", "15+5 d0 -Z-", "25+5 d0 -Z-"]);
        assert_eq!(canonical(lines)["offline"]["a"]["map"], merged);
    }

    #[test]
    fn differences_are_named_by_their_paths() {
        let want = json!({"a": [1, {"b": 2}], "c": 1, "e": [1]});
        let got = json!({"a": [1, {"b": 3}], "d": 1, "e": []});
        assert_eq!(differences(&want, &got), ["/a/1/b", "/c", "/d", "/e#len"]);
        assert_eq!(at(&want, "/a/1/b"), Some(&json!(2)));
    }
}
