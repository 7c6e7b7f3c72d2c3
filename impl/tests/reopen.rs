//! `blockdev-reopen` changes what requests become: zeroes found in data, and discards.

use crate::support::executor::block_on;
use crate::support::memory_disk::MemoryDisk;
use crate::support::world::World;
use block::format::qcow2::{CreateOptions, Qcow2};
use seam::Disk;
use serde_json::{Value, json};
use std::sync::Arc;

const LEN: u64 = 256 << 10;

fn world() -> World {
    let disk = MemoryDisk::new(Vec::new());
    let options = CreateOptions { len_bytes: LEN, cluster_bits: 12, ..CreateOptions::default() };
    block_on(Qcow2::create(&(disk.clone() as Arc<dyn Disk>), &options)).unwrap();
    let mut world = World::new(1);
    world.file("image", disk);
    world.ok("blockdev-add", json!({"driver": "file", "node-name": "f", "filename": "image"}));
    world.ok("blockdev-add", json!({"driver": "qcow2", "node-name": "n", "file": "f"}));
    world
}

fn reopen(world: &mut World, node: Value) -> Result<String, String> {
    world.command("blockdev-reopen", json!({"options": [node]}))
}

/// Writes a cluster of zeroes as data: whether it became a zero cluster.
fn zeroes_are_found(world: &mut World, offset: u64) -> bool {
    let guest = world.guest("n", true);
    world.run(guest.write(offset, vec![0; 4096])).unwrap();
    let extents = world.run(guest.extents(offset, 4096, 1)).unwrap();
    world.run(guest.detach());
    extents[0].is_zero
}

#[test]
fn a_reopened_node_looks_for_zeroes_as_its_options_say() {
    let mut world = world();
    assert!(!zeroes_are_found(&mut world, 0));
    let mut node = json!({"driver": "qcow2", "node-name": "n", "file": "f", "detect-zeroes": "on"});
    reopen(&mut world, node.clone()).unwrap();
    assert!(zeroes_are_found(&mut world, 8192));
    // What is not said is as it is when nothing is ever said.
    node.as_object_mut().unwrap().remove("detect-zeroes");
    reopen(&mut world, node).unwrap();
    assert!(!zeroes_are_found(&mut world, 16384));
}

#[test]
fn a_reopened_node_takes_discards_as_its_options_say() {
    let mut world = world();
    let discarded = |world: &mut World| {
        let guest = world.guest("n", true);
        world.run(guest.write(0, vec![7; 4096])).unwrap();
        world.run(guest.discard(0, 4096)).unwrap();
        let content = world.run(guest.read(0, 4096)).unwrap();
        world.run(guest.detach());
        content == [0; 4096]
    };
    assert!(!discarded(&mut world), "nobody has asked for it");
    let node = json!({"driver": "qcow2", "node-name": "n", "file": "f", "discard": "unmap"});
    reopen(&mut world, node).unwrap();
    assert!(discarded(&mut world));
}

#[test]
fn the_locks_of_a_file_stay_as_they_were() {
    let mut world = world();
    let file =
        |locking: &str| json!({"driver": "file", "node-name": "f", "filename": "image", "locking": locking});
    let refused = reopen(&mut world, file("off"));
    assert_eq!(refused, Err("Cannot change the option 'locking'".to_owned()));
}

// A writable image may grow, which whoever is on its file does not let it. The text is QEMU 10.0's.
#[test]
fn an_image_whose_file_somebody_uses_is_not_made_writable_for_a_job() {
    let disk = MemoryDisk::new(Vec::new());
    let options = CreateOptions { len_bytes: LEN, ..CreateOptions::default() };
    block_on(Qcow2::create(&(disk.clone() as Arc<dyn Disk>), &options)).unwrap();
    let mut world = World::new(1);
    world.file("image", disk);
    let file = json!({"driver": "file", "node-name": "f", "filename": "image", "auto-read-only": true});
    world.ok("blockdev-add", file);
    world.ok("blockdev-add", json!({"driver": "qcow2", "node-name": "n", "file": "f", "read-only": true}));
    let guest = world.guest("f", false);
    let stream = json!({"device": "n", "job-id": "j", "auto-dismiss": false});
    let refused = world.command("block-stream", stream.clone()).unwrap_err();
    let expected = "Permission conflict on node 'f': permissions 'resize' are both required by node 'n' (uses node \
                    'f' as 'file' child) and unshared by an unnamed block device (uses node 'f' as 'root' child).";
    assert!(refused.contains(expected), "{refused}");
    let nodes = world.ok("query-named-block-nodes", json!({}));
    let image = nodes.as_array().unwrap().iter().find(|node| node["node-name"] == "n").unwrap();
    assert_eq!(image["ro"], true, "{nodes}");
    world.run(guest.detach());
    world.ok("block-stream", stream);
}
