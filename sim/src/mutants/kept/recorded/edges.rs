//! The block graph of a recorded case, as a daemon would report it.

use serde_json::{Value, json};

/// Edges as the runner keeps them, as the daemon reported them.
pub fn block_graph(edges: &[Value]) -> Value {
    let mut names: Vec<String> = Vec::new();
    let mut list = Vec::new();
    for (index, edge) in edges.iter().enumerate() {
        let text = edge.as_str().unwrap();
        let (parent, rest) = text.split_once(" -").unwrap();
        let (name, rest) = rest.split_once("-> ").unwrap();
        let (child, permissions) = rest.rsplit_once(" [").unwrap();
        let (needs, shares) = permissions.trim_end_matches(']').split_once('/').unwrap();
        // Every device is one of its own.
        let parent = if parent.starts_with("blk:") { format!("blk:{index}") } else { parent.to_owned() };
        let mut place = |name: &str| {
            names.iter().position(|other| other == name).unwrap_or_else(|| {
                names.push(name.to_owned());
                names.len() - 1
            })
        };
        let (parent, child) = (place(&parent), place(child));
        list.push(json!({"parent": parent, "child": child, "name": name, "perm": words(needs),
            "shared-perm": words(shares)}));
    }
    let nodes: Vec<Value> = names
        .iter()
        .enumerate()
        .map(|(id, name)| match name.split_once(':') {
            Some(("blk", _)) => json!({"id": id, "type": "block-backend", "name": ""}),
            Some((_, job)) => json!({"id": id, "type": "block-job", "name": job}),
            None => json!({"id": id, "type": "block-driver", "name": name}),
        })
        .collect();
    json!({"nodes": nodes, "edges": list})
}

fn words(letters: &str) -> Vec<&'static str> {
    let word = |letter| match letter {
        'c' => "consistent-read",
        'w' => "write",
        'u' => "write-unchanged",
        'r' => "resize",
        other => panic!("no permission {other}"),
    };
    letters.chars().filter(|letter| *letter != '-').map(word).collect()
}
