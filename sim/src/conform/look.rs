//! The look after a step: the jobs, and the graph reduced to what matters.

use super::session::Session;
use super::subject::Lost;
use serde_json::{Map, Value, json};

/// Adds what is to be seen now; the graph only if it is not the one seen last.
pub fn look(
    session: &mut Session<'_>,
    last: &mut Option<Value>,
    into: &mut Map<String, Value>,
) -> Result<(), Lost> {
    let graph = graph(session)?;
    let jobs = session.jobs()?;
    let jobs = jobs.into_iter().map(|(id, job)| (id, Value::Object(job))).collect();
    into.insert("jobs".to_owned(), session.names.value(&Value::Object(jobs)));
    let shown = if last.as_ref() == Some(&graph) { json!("same") } else { graph.clone() };
    into.insert("graph".to_owned(), shown);
    *last = Some(graph);
    Ok(())
}

/// Nodes by name, and the edges as lines.
///
/// While a job is concluded the nodes are left out: the real daemon may crash when it is asked for them.
fn graph(session: &mut Session<'_>) -> Result<Value, Lost> {
    let concluded = session.list("query-jobs")?.iter().any(|job| job["status"] == "concluded");
    let nodes = if concluded {
        Vec::new()
    } else {
        let mut reply = session.command("query-named-block-nodes", json!({"flat": true}))?;
        reply["return"].as_array_mut().map(std::mem::take).unwrap_or_default()
    };
    let mut drawn = session.command("x-debug-query-block-graph", json!({}))?;
    let (mut lines, children) = edges(&drawn["return"].take());
    let names = &mut session.names;
    let mut by_name = Map::new();
    // Generated names are numbered as they appear, so nodes and members come in the order in which they were reported.
    for node in &nodes {
        let reported = node["node-name"].as_str().unwrap_or_default();
        let name = names.text(reported);
        let mut members = Map::new();
        for (place, member) in
            [("drv", "drv"), ("ro", "ro"), ("file", "file"), ("backing_file", "backing_file")]
        {
            if let Some(value) = node.get(member) {
                members.insert(place.to_owned(), names.value(value));
            }
        }
        if node["active"] == false {
            members.insert("active".to_owned(), json!(false));
        }
        let mine: Map<String, Value> = children
            .iter()
            .filter(|child| child.parent == reported)
            .map(|child| (child.role.clone(), Value::String(names.text(&child.node))))
            .collect();
        if !mine.is_empty() {
            members.insert("children".to_owned(), Value::Object(mine));
        }
        by_name.insert(name, Value::Object(members));
    }
    lines.sort();
    let lines: Vec<String> = lines.iter().map(|line| names.text(line)).collect();
    let mut graph = json!({"nodes": by_name, "edges": lines});
    if concluded {
        graph["nodes_skipped"] = json!("concluded job");
    }
    Ok(graph)
}

/// A child that a node names: what it lies on, or what lies below it.
struct Child {
    parent: String,
    role: String,
    node: String,
}

fn edges(drawn: &Value) -> (Vec<String>, Vec<Child>) {
    let list = |name: &str| drawn[name].as_array().map(Vec::as_slice).unwrap_or_default();
    let named = |id: &Value| {
        let vertex = list("nodes").iter().find(|vertex| vertex["id"] == *id);
        vertex.map(vertex_name).unwrap_or_default()
    };
    let mut lines = Vec::new();
    let mut children: Vec<Child> = Vec::new();
    for edge in list("edges") {
        let (parent, node) = (named(&edge["parent"]), named(&edge["child"]));
        let role = edge["name"].as_str().unwrap_or_default();
        let (needs, lets) = (letters(&edge["perm"]), letters(&edge["shared-perm"]));
        lines.push(format!("{parent} -{role}-> {node} [{needs}/{lets}]"));
        if ["backing", "file"].contains(&role) && !parent.starts_with("blk:") && !parent.starts_with("job:") {
            match children.iter_mut().find(|child| child.parent == parent && child.role == role) {
                Some(child) => child.node = node,
                None => children.push(Child { parent, role: role.to_owned(), node }),
            }
        }
    }
    (lines, children)
}

fn vertex_name(vertex: &Value) -> String {
    let name = vertex["name"].as_str().unwrap_or_default();
    match vertex["type"].as_str() {
        Some("block-backend") => format!("blk:{name}"),
        Some("block-job") => format!("job:{name}"),
        _ => name.to_owned(),
    }
}

/// Permissions as letters, in the order in which they were reported.
fn letters(permissions: &Value) -> String {
    let list = permissions.as_array().map(Vec::as_slice).unwrap_or_default();
    let letter = |permission: &Value| match permission.as_str() {
        Some("consistent-read") => "c".to_owned(),
        Some("write") => "w".to_owned(),
        Some("write-unchanged") => "u".to_owned(),
        Some("resize") => "r".to_owned(),
        Some("graph-mod") => "g".to_owned(),
        other => format!("?{}", other.unwrap_or_default()),
    };
    let letters: String = list.iter().map(letter).collect();
    if letters.is_empty() { "-".to_owned() } else { letters }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edges_are_shown_with_their_permissions() {
        let drawn = json!({
            "nodes": [{"id": 1, "type": "block-driver", "name": "n0"}, {"id": 2, "type": "block-driver", "name": "f0"},
                {"id": 3, "type": "block-job", "name": "j"}, {"id": 4, "type": "block-backend", "name": ""}],
            "edges": [
                {"parent": 1, "child": 2, "name": "file", "perm": ["resize", "write"], "shared-perm": []},
                {"parent": 3, "child": 1, "name": "main node", "perm": [], "shared-perm": ["consistent-read"]},
                {"parent": 4, "child": 1, "name": "root", "perm": ["write-unchanged"], "shared-perm": []}],
        });
        let (lines, children) = edges(&drawn);
        let expected = ["n0 -file-> f0 [rw/-]", "job:j -main node-> n0 [-/c]", "blk: -root-> n0 [u/-]"];
        assert_eq!(lines, expected);
        assert_eq!(children.len(), 1);
    }
}
