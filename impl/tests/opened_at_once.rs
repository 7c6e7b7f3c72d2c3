//! Nodes that several threads open at the same moment.

use super::support::executor::block_on;
use super::support::world::World;
use block::qmp::Monitor;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::thread;

const THREADS: usize = 4;
const NODES: usize = 150;

#[test]
fn nodes_that_are_opened_at_once_have_identities_of_their_own() {
    let engine = World::new(1).engine;
    let add = |client: usize| {
        let monitor = Monitor::new(engine.clone());
        block_on(monitor.execute(r#"{"execute":"qmp_capabilities"}"#)).expect("a reply");
        for at in 0..NODES {
            let node = json!({"driver": "null-co", "node-name": format!("c{client}n{at}")});
            let reply =
                block_on(monitor.execute(&json!({"execute": "blockdev-add", "arguments": node}).to_string()));
            assert_eq!(reply.as_deref(), Some(r#"{"return": {}}"#), "{node}");
        }
        monitor
    };
    let monitors: Vec<_> = thread::scope(|scope| {
        let add = &add;
        let clients: Vec<_> = (0..THREADS).map(|client| scope.spawn(move || add(client))).collect();
        clients.into_iter().map(|client| client.join().expect("no client panics")).collect()
    });
    let graph = block_on(monitors[0].execute(r#"{"execute":"x-debug-query-block-graph"}"#)).expect("a reply");
    let graph: Value = serde_json::from_str(&graph).expect("JSON");
    let nodes = graph["return"]["nodes"].as_array().expect("a list");
    let names: BTreeSet<&str> = nodes.iter().filter_map(|node| node["name"].as_str()).collect();
    let identities: BTreeSet<u64> = nodes.iter().filter_map(|node| node["id"].as_u64()).collect();
    assert_eq!((names.len(), identities.len()), (THREADS * NODES, THREADS * NODES));
}
