//! Names in headers that describe a node: what a job writes there, the next `blockdev-add` follows; and what a hostile
//! header says is refused.

use crate::support::executor::block_on;
use crate::support::memory_disk::MemoryDisk;
use crate::support::world::World;
use block::format::qcow2::{BackingName, CreateOptions, Qcow2};
use seam::Disk;
use serde_json::{Value, json};
use std::sync::Arc;

const LEN: u64 = 64 << 10;

fn image(backing: Option<BackingName>) -> Arc<MemoryDisk> {
    let disk = MemoryDisk::new(Vec::new());
    let options = CreateOptions { len_bytes: LEN, cluster_bits: 12, backing, ..CreateOptions::default() };
    block_on(Qcow2::create(&(disk.clone() as Arc<dyn Disk>), &options)).unwrap();
    disk
}

fn file(name: &str) -> Value {
    json!({"driver": "file", "filename": name})
}

/// Adds `top` with the backing that its header names.
fn add_top(world: &mut World) -> Result<String, String> {
    world.command("blockdev-add", json!({"driver": "qcow2", "node-name": "top", "file": file("top")}))
}

/// What comes of a header that names `name`.
fn follow(name: &str, format: Option<&str>) -> Result<String, String> {
    let mut world = World::new(1);
    let backing = BackingName { file: name.to_owned(), format: format.map(str::to_owned) };
    world.file("top", image(Some(backing)));
    world.file("/base", MemoryDisk::new(vec![7; LEN as usize]));
    world.file("/image", image(None));
    add_top(&mut world)?;
    assert_eq!(world.content("top").len() as u64, LEN);
    Ok(world.content("top")[0].to_string())
}

// base <- mid <- top: mid goes, and the header of top names base in the only way that leads to it.
#[test]
fn what_a_stream_writes_is_followed() {
    let bases = [
        json!({"driver": "raw", "offset": 4096, "size": LEN, "file": file("/base")}),
        json!({"driver": "raw", "file": {"driver": "blkdebug", "image": file("/base"),
            "inject-error": [{"event": "flush_to_disk", "errno": 5, "once": true}]}}),
        json!({"driver": "raw", "file": {"driver": "blkdebug", "image": file("/base")}}),
        json!({"driver": "raw", "file": {"driver": "null-co", "size": LEN, "read-zeroes": true}}),
        json!({"driver": "raw", "file": {"driver": "null-co"}}),
        json!({"driver": "qcow2", "file": {"driver": "raw", "offset": 4096, "file": file("/shifted")}}),
    ];
    for base in bases {
        let mut world = World::new(1);
        let shifted = image(None).bytes();
        world.file("/base", MemoryDisk::new((0..LEN as usize + 8192).map(|i| (i / 4096) as u8).collect()));
        world.file("/shifted", MemoryDisk::new([vec![0; 4096], shifted].concat()));
        world.file("mid", image(None));
        world.file("top", image(None));
        let mut options = base.clone();
        options
            .as_object_mut()
            .unwrap()
            .extend([("node-name".to_owned(), json!("base")), ("read-only".to_owned(), json!(true))]);
        world.ok("blockdev-add", options);
        for (name, below) in [("mid", "base"), ("top", "mid")] {
            let options = json!({"driver": "qcow2", "node-name": name, "file": file(name), "backing": below});
            world.ok("blockdev-add", options);
        }
        world.ok("block-stream", json!({"job-id": "s", "device": "top", "base-node": "base"}));
        world.until("null", 1);
        let before = world.content("top");
        for name in ["top", "mid", "base"] {
            world.ok("blockdev-del", json!({"node-name": name}));
        }
        assert_eq!(add_top(&mut world), Ok("{}".to_owned()), "{base}");
        assert_eq!(world.content("top"), before, "{base}");
    }
}

#[test]
fn short_forms_and_formats_on_described_files_are_followed() {
    let described = r#"json:{"driver":"file","filename":"/base"}"#;
    let flat = r#"json:{"driver":"raw","file.driver":"file","file.filename":"/base","size":4096}"#;
    for (name, format, first) in [
        ("file:/base", Some("raw"), 7),
        (described, Some("raw"), 7),
        (described, Some("file"), 7),
        (described, None, 7),
        (flat, Some("raw"), 7),
        ("blkdebug::/base", Some("raw"), 7),
        ("blkdebug::file:/base", Some("raw"), 7),
        ("blkdebug::/image", Some("qcow2"), 0),
        (r#"json:{"driver":"file","filename":"/image"}"#, Some("qcow2"), 0),
    ] {
        assert_eq!(follow(name, format), Ok(first.to_string()), "{name} in {format:?}");
    }
}

#[test]
fn what_a_header_may_not_say_is_refused() {
    for (name, format) in [
        (r#"json:{"driver":"raw","file":"top"}"#, "raw"),
        (r#"json:{"driver":"raw","node-name":"x","file":{"driver":"file","filename":"/base"}}"#, "raw"),
        (r#"json:{"driver":"raw","read-only":false,"file":{"driver":"file","filename":"/base"}}"#, "raw"),
        (r#"json:{"driver":"qcow2","file":{"driver":"file","filename":"/image"}}"#, "raw"),
        (r#"json:{"driver":"nbd","server":{"type":"unix","path":"/s"}}"#, "raw"),
        ("json:{", "raw"),
        ("nbd://host/x", "raw"),
        ("blkdebug:rules:/base", "raw"),
    ] {
        let refused = follow(name, Some(format)).expect_err(name);
        assert!(
            refused.contains("Could not open backing file") || refused.contains(name),
            "{name}: {refused}"
        );
    }
}

// The image is its own backing, inside a raw node, where a count of layers alone would begin anew.
#[test]
fn a_header_that_describes_its_own_image_is_refused() {
    for name in [
        r#"json:{"driver":"raw","file":{"driver":"qcow2","file":{"driver":"file","filename":"top"}}}"#,
        r#"json:{"driver":"qcow2","file":{"driver":"file","filename":"top"}}"#,
        r#"json:{"driver":"qcow2","file":{"driver":"qcow2","file":{"driver":"file","filename":"top"}}}"#,
        "blkdebug::top",
    ] {
        let format = if name.contains(r#""raw""#) { "raw" } else { "qcow2" };
        assert!(follow(name, Some(format)).is_err(), "{name}");
    }
}
