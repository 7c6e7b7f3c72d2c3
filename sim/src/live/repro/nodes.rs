//! Nodes of a script: options of the daemon, one within the other where nobody names the inner one.

use super::{Repro, Step};
use serde_json::{Map, Value};

/// Nodes that are added before anything else become options of the daemon, each with the node that only it uses inside.
pub(super) fn start_with_nodes(repro: &mut Repro) {
    let is_add = |step: &Step| matches!(step, Step::Qmp(command) if command["execute"] == "blockdev-add");
    let count = repro.steps.iter().take_while(|step| is_add(step)).count();
    for step in repro.steps.drain(..count) {
        let Step::Qmp(Value::Object(mut command)) = step else { continue };
        if let Some(Value::Object(options)) = command.remove("arguments") {
            repro.nodes.push(options);
        }
    }
    put_inside(repro);
}

/// A node that is named nowhere but in one other goes into that one, without a name.
pub(super) fn put_inside(repro: &mut Repro) {
    let mut at = 0;
    while at < repro.nodes.len() {
        let name = repro.nodes[at].get("node-name").and_then(Value::as_str).unwrap_or_default().to_owned();
        let is_named = |value: &Value| names_it(value, &name);
        let in_steps = repro.steps.iter().any(|step| matches!(step, Step::Qmp(c) if is_named(c)));
        let users = |nodes: &[Map<String, Value>]| -> Vec<usize> {
            let uses = |options: &Map<String, Value>| {
                options.iter().any(|(member, value)| member != "node-name" && is_named(value))
            };
            (0..nodes.len()).filter(|user| uses(&nodes[*user])).collect()
        };
        let direct = |options: &Map<String, Value>| {
            let holds = |child: &&str| options.get(*child).and_then(Value::as_str) == Some(name.as_str());
            ["file", "image"].into_iter().find(holds)
        };
        match users(&repro.nodes).as_slice() {
            [user] if !in_steps && direct(&repro.nodes[*user]).is_some() => {
                let child = direct(&repro.nodes[*user]).expect("it was looked for above");
                let mut inner = repro.nodes[at].clone();
                inner.remove("node-name");
                repro.nodes[*user].insert(child.to_owned(), Value::Object(inner));
                repro.nodes.remove(at);
            }
            _ => at += 1,
        }
    }
}

/// Whether a name stands somewhere in a value.
fn names_it(value: &Value, name: &str) -> bool {
    match value {
        Value::String(text) => text == name,
        Value::Array(items) => items.iter().any(|item| names_it(item, name)),
        Value::Object(members) => members.values().any(|member| names_it(member, name)),
        _ => false,
    }
}
