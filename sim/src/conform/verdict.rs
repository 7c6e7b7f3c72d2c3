//! Holds what was played against what was recorded, and against what is right where the recorded daemon is wrong.

use super::canonical::{at, canonical, differences};
use super::corpus::Recording;
use super::player::Played;
use serde::Deserialize;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// What came of a case.
#[derive(Clone, PartialEq, Debug)]
pub enum Verdict {
    /// What was recorded.
    Equal,
    /// Something else, at these paths.
    Differs(Vec<Difference>),
    /// The recorded daemon is wrong here, and what was played is right.
    RightInstead,
    /// The recorded daemon is wrong here, and what was played is not what is right, at these paths.
    NotRight(Vec<Difference>),
    /// The recorded daemon does not agree with itself here.
    Unstable,
    /// The case asks for something that is not possible here.
    NotHere(String),
    /// It could not be played to its end.
    Panicked(String),
}

/// A place where two results differ.
#[derive(Clone, PartialEq, Debug)]
pub struct Difference {
    /// Where.
    pub path: String,
    /// What should be there, if anything.
    pub want: Option<Value>,
    /// What is there, if anything.
    pub got: Option<Value>,
}

/// In which cases the recorded daemon is wrong or does not agree with itself.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Divergences {
    /// What the file is, for its readers.
    #[serde(default)]
    #[allow(dead_code)]
    about: String,
    cases: BTreeMap<String, Divergence>,
    unstable: BTreeSet<String>,
}

/// A case in which the recorded daemon is wrong.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Divergence {
    /// What it does, and what is right.
    pub why: String,
    /// The paths at which results must differ, with what is right there: `null` for nothing at all, `"*"` for anything
    /// at all; beside a member `"..."` there may be others.
    pub right: BTreeMap<String, Value>,
}

impl Divergences {
    /// Reads `divergences.json` of a corpus; without the file there are none.
    pub fn read(folder: &Path) -> Result<Divergences, String> {
        let path = folder.join("divergences.json");
        match std::fs::read_to_string(&path) {
            Ok(text) => serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Divergences::default()),
            Err(error) => Err(format!("{}: {error}", path.display())),
        }
    }

    /// Judges what was played.
    pub fn judge(&self, recording: &Recording, played: Played) -> Verdict {
        let got = match played {
            Played::NotHere(what) => return Verdict::NotHere(what),
            Played::Result(result) => canonical(result),
        };
        if self.unstable.contains(recording.name()) {
            return Verdict::Unstable;
        }
        let want = canonical(recording.result.clone());
        let paths = differences(&want, &got);
        let Some(divergence) = self.cases.get(recording.name()) else {
            let differs: Vec<Difference> =
                paths.into_iter().map(|path| difference(&want, &got, path)).collect();
            return if differs.is_empty() { Verdict::Equal } else { Verdict::Differs(differs) };
        };
        if divergence.right.is_empty() {
            // Nobody has said yet what is right, so nothing is.
            return Verdict::NotRight(paths.into_iter().map(|path| difference(&want, &got, path)).collect());
        }
        let wrong = divergence.wrong(&want, &got, paths);
        if wrong.is_empty() { Verdict::RightInstead } else { Verdict::NotRight(wrong) }
    }
}

impl Divergence {
    /// Whether what is right at a path is given: by itself, or with the whole list that it is an element of.
    fn covers(&self, path: &str) -> bool {
        let lists = self.right.keys().filter_map(|key| key.strip_suffix("#len"));
        let mut members = lists.filter_map(|list| path.strip_prefix(list));
        self.right.contains_key(path) || members.any(|rest| rest.starts_with('/'))
    }

    /// Where something differs that should not, or is not what is right.
    fn wrong(&self, want: &Value, got: &Value, paths: Vec<String>) -> Vec<Difference> {
        let unexpected = paths.into_iter().filter(|path| !self.covers(path));
        let mut wrong: Vec<Difference> = unexpected.map(|path| difference(want, got, path)).collect();
        for (path, right) in &self.right {
            let found = at(got, path);
            if !matches(right, found.unwrap_or(&Value::Null)) {
                wrong.push(Difference { path: path.clone(), want: Some(right.clone()), got: found.cloned() });
            }
        }
        wrong
    }
}

/// Whether something is what is right.
fn matches(right: &Value, found: &Value) -> bool {
    match (right, found) {
        (Value::String(any), found) if any == "*" => !found.is_null(),
        (Value::Array(right), Value::Array(found)) => {
            right.len() == found.len() && right.iter().zip(found).all(|(right, found)| matches(right, found))
        }
        (Value::Object(right), Value::Object(found)) => {
            let mut named = right.iter().filter(|(name, _)| *name != "...");
            let more = found.keys().any(|name| !right.contains_key(name));
            (right.contains_key("...") || !more)
                && named.all(|(name, right)| found.get(name).is_some_and(|found| matches(right, found)))
        }
        _ => right == found,
    }
}

fn difference(want: &Value, got: &Value, path: String) -> Difference {
    let (want, got) = (at(want, &path).cloned(), at(got, &path).cloned());
    Difference { path, want, got }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn recording(result: Value) -> Recording {
        Recording { case: json!({"name": "a-1", "category": "a"}), result }
    }

    fn divergences() -> Divergences {
        serde_json::from_value(json!({
            "cases": {"a-1": {"why": "it dies", "right": {"/exit": 0, "/died": null}}}, "unstable": [],
        }))
        .unwrap()
    }

    #[test]
    fn what_is_right_instead_must_be_there_exactly() {
        let judge = |got: Value| {
            divergences().judge(&recording(json!({"exit": -11, "died": true, "x": 1})), Played::Result(got))
        };
        assert_eq!(judge(json!({"exit": 0, "x": 1})), Verdict::RightInstead);
        assert!(matches!(judge(json!({"exit": 0, "x": 2})), Verdict::NotRight(wrong) if wrong.len() == 1));
        assert!(matches!(judge(json!({"exit": -11, "died": true, "x": 1})), Verdict::NotRight(_)));
    }

    // A list of another length shifts what is in it, so its elements differ one by one too.
    #[test]
    fn what_is_right_of_a_list_is_right_of_its_elements() {
        let right = json!({"/a#len": [{"b": 1}]});
        let divergence = Divergence { why: String::new(), right: serde_json::from_value(right).unwrap() };
        let want = json!({"a": [{"b": 0}, {"b": 1}], "ab": [{"c": 1}]});
        let wrong = |got: Value| divergence.wrong(&want, &got, differences(&want, &got)).len();
        assert_eq!(wrong(json!({"a": [{"b": 1}], "ab": [{"c": 1}]})), 0);
        assert_eq!(wrong(json!({"a": [{"b": 2}], "ab": [{"c": 1}]})), 1);
        assert_eq!(wrong(json!({"a": [{"b": 1}], "ab": [{"c": 2}]})), 1);
    }

    #[test]
    fn what_is_right_may_leave_open_what_does_not_matter() {
        let found = json!({"a": [1, {"b": 2}], "c": 3});
        for (right, is_right) in [
            (json!({"a": [1, "*"], "c": 3}), true),
            (json!({"a": [1, {"b": 2}], "...": "*"}), true),
            (json!({"a": [1, {"b": 2}]}), false),
            (json!({"a": [1], "...": "*"}), false),
            (json!({"d": "*", "...": "*"}), false),
        ] {
            assert_eq!(matches(&right, &found), is_right, "{right}");
        }
        assert!(!matches(&json!("*"), &Value::Null));
    }

    #[test]
    fn a_difference_is_reported_with_both_values() {
        let verdict =
            Divergences::default().judge(&recording(json!({"x": 1})), Played::Result(json!({"x": 2})));
        let difference = Difference { path: "/x".to_owned(), want: Some(json!(1)), got: Some(json!(2)) };
        assert_eq!(verdict, Verdict::Differs(vec![difference]));
    }
}
