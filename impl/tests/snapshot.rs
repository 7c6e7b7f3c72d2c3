//! `blockdev-snapshot` moves everybody who uses a node onto its overlay, but not what the overlay itself stands on.

use crate::support::executor::block_on;
use crate::support::memory_disk::MemoryDisk;
use crate::support::world::World;
use block::format::qcow2::{CreateOptions, Qcow2};
use seam::Disk;
use serde_json::{Value, json};
use std::sync::Arc;

const GRAPH: &str = "x-debug-query-block-graph";

/// The links of the graph: parent, name, child.
fn links(world: &mut World) -> Vec<(String, String, String)> {
    let graph: Value = serde_json::from_str(&world.command(GRAPH, json!({})).unwrap()).unwrap();
    let name = |id: &Value| {
        let of_id = |node: &&Value| node["id"] == *id;
        graph["nodes"].as_array().unwrap().iter().find(of_id).unwrap()["name"].as_str().unwrap().to_owned()
    };
    let link = |edge: &Value| {
        (name(&edge["parent"]), edge["name"].as_str().unwrap().to_owned(), name(&edge["child"]))
    };
    let mut links: Vec<_> = graph["edges"].as_array().unwrap().iter().map(link).collect();
    links.sort();
    links
}

// QEMU 10.0.2 takes this too and leaves the same links.
#[test]
fn a_snapshot_of_the_file_that_its_overlay_lies_in_makes_no_loop() {
    let disk = MemoryDisk::new(Vec::new());
    let options = CreateOptions { len_bytes: 64 << 10, cluster_bits: 12, ..CreateOptions::default() };
    block_on(Qcow2::create(&(disk.clone() as Arc<dyn Disk>), &options)).unwrap();
    let mut world = World::new(1);
    world.file("image", disk);
    world.ok("blockdev-add", json!({"driver": "file", "node-name": "f", "filename": "image"}));
    world.ok("blockdev-add", json!({"driver": "blkdebug", "node-name": "d", "image": "f"}));
    let node = json!({"driver": "qcow2", "node-name": "n", "file": "d", "backing": null, "read-only": true});
    world.ok("blockdev-add", node);
    world.ok("blockdev-snapshot", json!({"node": "f", "overlay": "n"}));
    let link = |parent: &str, name: &str, child: &str| (parent.to_owned(), name.to_owned(), child.to_owned());
    assert_eq!(
        links(&mut world),
        [link("d", "image", "f"), link("n", "backing", "f"), link("n", "file", "d")]
    );
}
