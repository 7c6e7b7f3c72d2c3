//! What is written through a stack of drivers is read back through it, lies where it should, and reads the same in QEMU.

use crate::support::executor::block_on;
use crate::support::layer::Layer;
use crate::support::memory_disk::MemoryDisk;
use crate::support::qemu::find;
use crate::support::random::Random;
use crate::support::world::World;
use block::format::qcow2::{CreateOptions, Qcow2, check};
use seam::Disk;
use serde_json::{Value, json};
use std::sync::Arc;

/// The guest's disk.
const LEN: u64 = 1 << 20;
/// What lies around a window.
const AROUND: u8 = 0xee;
/// Where windows begin, in sectors of the file.
const WINDOW_AT: usize = 17 * 512;
/// How long they are, if they say.
const WINDOW: usize = 4 << 20;

/// A file, and the nodes on it; the last one is called `top`.
struct Stack {
    file: Vec<u8>,
    nodes: Vec<Value>,
    /// Where the image lies in the file.
    image: std::ops::Range<usize>,
}

fn empty_image() -> Vec<u8> {
    let disk = MemoryDisk::new(Vec::new());
    let options = CreateOptions { len_bytes: LEN, cluster_bits: 12, ..CreateOptions::default() };
    block_on(Qcow2::create(&(disk.clone() as Arc<dyn Disk>), &options)).unwrap();
    disk.bytes()
}

fn file() -> Value {
    json!({"driver": "file", "node-name": "file", "filename": "disk"})
}

fn qcow2(name: &str, file: &str) -> Value {
    json!({"driver": "qcow2", "node-name": name, "file": file})
}

fn throttle(name: &str, file: &str) -> Value {
    json!({"driver": "throttle", "node-name": name, "throttle-group": "g", "file": file})
}

/// The whole file is the image.
fn plain(nodes: Vec<Value>) -> Stack {
    Stack { file: empty_image(), nodes, image: 0..usize::MAX }
}

/// The image lies in the middle of a file, or at its end.
fn windowed(mut window: Value, has_end: bool, nodes: Vec<Value>) -> Stack {
    window["offset"] = json!(WINDOW_AT);
    let mut file_bytes = [vec![AROUND; WINDOW_AT], empty_image()].concat();
    let mut image = WINDOW_AT..usize::MAX;
    if has_end {
        window["size"] = json!(WINDOW);
        image.end = WINDOW_AT + WINDOW;
        file_bytes.resize(image.end, 0);
        file_bytes.extend([AROUND; 4096]);
    }
    Stack { file: file_bytes, nodes: [vec![file(), window], nodes].concat(), image }
}

fn stacks() -> Vec<Stack> {
    let window = json!({"driver": "raw", "node-name": "window", "file": "file"});
    vec![
        plain(vec![file(), qcow2("top", "file")]),
        windowed(window.clone(), true, vec![qcow2("top", "window")]),
        windowed(window.clone(), false, vec![qcow2("top", "window")]),
        windowed(window, true, vec![throttle("slow", "window"), qcow2("top", "slow")]),
        plain(vec![file(), throttle("slow", "file"), qcow2("top", "slow")]),
        plain(vec![file(), qcow2("image", "file"), throttle("top", "image")]),
        plain(vec![
            file(),
            qcow2("image", "file"),
            json!({"driver": "compress", "node-name": "top", "file": "image"}),
        ]),
    ]
}

/// Reads, writes and zeroes, whole clusters and parts of them; every read is compared.
fn use_it(world: &mut World, random: &mut Random) -> Vec<u8> {
    let mut expected = vec![0; LEN as usize];
    let guest = world.guest("top", true);
    for number in 0..120_u64 {
        let unit = [1, 512, 4096][random.below(3) as usize];
        let (offset, len) = random.range(LEN, unit, (64 << 10) / unit);
        let range = offset as usize..(offset + len) as usize;
        match random.below(4) {
            0 => {
                world.run(guest.write_zeroes(offset, len)).unwrap();
                expected[range].fill(0);
            }
            1 => assert!(world.run(guest.read(offset, len)).unwrap() == expected[range], "read {number}"),
            _ => {
                // Something that can be packed, in half of the cases.
                let mut byte = |at: u64| if number % 2 == 0 { (at / 700) as u8 } else { random.any() as u8 };
                let data: Vec<u8> = (0..len).map(&mut byte).collect();
                world.run(guest.write(offset, data.clone())).unwrap();
                expected[range].copy_from_slice(&data);
            }
        }
    }
    world.run(guest.flush()).unwrap();
    world.run(guest.detach());
    expected
}

#[test]
fn what_goes_through_a_stack_of_drivers_comes_back_and_lies_where_it_should() {
    let qemu = find();
    for (number, stack) in stacks().into_iter().enumerate() {
        let mut world = World::new(number as u64);
        world.file("disk", MemoryDisk::new(stack.file.clone()));
        let limits = json!({"iops-total": 2000});
        world.ok("object-add", json!({"qom-type": "throttle-group", "id": "g", "limits": limits}));
        for node in &stack.nodes {
            world.ok("blockdev-add", node.clone());
        }
        let expected = use_it(&mut world, &mut Random::new(number as u64));
        assert!(world.content("top") == expected, "stack {number}");
        for node in stack.nodes.iter().rev() {
            world.ok("blockdev-del", json!({"node-name": node["node-name"]}));
        }

        let file = world.disk("disk").bytes();
        let image = stack.image.start..stack.image.end.min(file.len());
        assert!(file[..image.start].iter().all(|byte| *byte == AROUND), "stack {number}: before the window");
        assert!(file[image.end..].iter().all(|byte| *byte == AROUND), "stack {number}: after the window");
        let disk = MemoryDisk::new(file[image].to_vec());
        assert!(block_on(check(&*disk)).unwrap().is_clean(), "stack {number}");
        let alone = block_on(Qcow2::open(disk.clone(), "alone.qcow2", false)).unwrap();
        let mut content = vec![9; LEN as usize];
        block_on(alone.read(0, &mut content, &Layer(None))).unwrap();
        assert!(content == expected, "stack {number}: the image alone");

        let packs = stack.nodes.iter().any(|node| node["driver"] == "compress");
        if let Some(qemu) = &qemu {
            qemu.put("alone.qcow2", &disk.bytes());
            assert!(qemu.content("alone.qcow2") == expected, "stack {number}: QEMU reads something else");
            let counts = qemu.counts("alone.qcow2");
            assert_eq!(counts.compressed > 0, packs, "stack {number}: {counts:?}");
            assert_eq!(counts.verdict.corruptions, 0);
        }
    }
}
