//! The same requests, asked of QEMU and of us: the image takes as many clusters, ends at the same offset and maps the
//! same runs.
//!
//! Skipped, with a line that says so, where there is no QEMU.

use crate::support::executor::block_on;
use crate::support::layer::Layer;
use crate::support::memory_disk::MemoryDisk;
use crate::support::qemu::{Qemu, find};
use crate::support::random::Random;
use block::format::qcow2::{CreateOptions, Qcow2, Zeroing};
use seam::Disk;
use std::sync::Arc;

const NONE: Layer = Layer(None);

/// A request, to either.
#[derive(Copy, Clone, Debug)]
struct Ask {
    kind: Kind,
    offset: u64,
    len: u64,
    value: u8,
}

#[derive(Copy, Clone, PartialEq, Debug)]
enum Kind {
    Write,
    Zero,
    ZeroAndFree,
    Discard,
}

impl Ask {
    fn draw(random: &mut Random, len: u64, cluster: u64, kinds: &[Kind]) -> Ask {
        let kind = kinds[random.below(kinds.len() as u64) as usize];
        let unit = if random.one_in(2) { 512 } else { cluster };
        let (offset, len) = random.range(len, unit, (6 * cluster / unit).min(40));
        Ask { kind, offset, len, value: 1 + random.below(200) as u8 }
    }

    fn command(&self) -> String {
        let Ask { kind, offset, len, value } = self;
        match kind {
            Kind::Write => format!("write -P {value} {offset} {len}"),
            Kind::Zero => format!("write -z {offset} {len}"),
            Kind::ZeroAndFree => format!("write -z -u {offset} {len}"),
            Kind::Discard => format!("discard {offset} {len}"),
        }
    }

    fn run(&self, image: &Qcow2) {
        let done = match self.kind {
            Kind::Write => block_on(image.write(self.offset, &vec![self.value; self.len as usize], &NONE)),
            Kind::Zero => block_on(image.write_zeroes(self.offset, self.len, &NONE)),
            Kind::ZeroAndFree => block_on(image.zero(self.offset, self.len, Zeroing::FreeClusters, &NONE)),
            Kind::Discard => block_on(image.discard(self.offset, self.len, false)),
        };
        done.unwrap();
    }
}

fn created(options: &CreateOptions) -> Arc<MemoryDisk> {
    let disk = MemoryDisk::new(Vec::new());
    block_on(Qcow2::create(&(disk.clone() as Arc<dyn Disk>), options)).unwrap();
    disk
}

fn created_by_qemu(qemu: &Qemu, name: &str, options: &CreateOptions) {
    let compat = if options.version == 2 { "0.10" } else { "1.1" };
    let (cluster, bits) = (1u64 << options.cluster_bits, 1 << options.refcount_order);
    let extended = if options.extended_l2 { ",extended_l2=on" } else { "" };
    let settings = format!("compat={compat},cluster_size={cluster},refcount_bits={bits}{extended}");
    qemu.img_ok(&["create", "-q", "-f", "qcow2", "-o", &settings, name, &options.len_bytes.to_string()]);
}

fn map(qemu: &Qemu, name: &str) -> Vec<(u64, u64, bool, bool)> {
    let text = qemu.img_ok(&["map", "-f", "qcow2", "--output=json", name]);
    let runs: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap();
    let mut map: Vec<(u64, u64, bool, bool)> = Vec::new();
    for run in runs {
        let (start, len) = (run["start"].as_u64().unwrap(), run["length"].as_u64().unwrap());
        let kind = (run["data"].as_bool().unwrap(), run["present"].as_bool().unwrap());
        match map.last_mut() {
            // Runs are also cut where host offsets jump, which is nobody's business.
            Some(last) if (last.2, last.3) == kind => last.1 += len,
            _ => map.push((start, len, kind.0, kind.1)),
        }
    }
    map
}

fn options(version: u32, cluster_bits: u32, refcount_order: u32, len_bytes: u64) -> CreateOptions {
    CreateOptions { version, cluster_bits, refcount_order, len_bytes, ..CreateOptions::default() }
}

#[test]
fn a_new_image_ends_where_qemus_does() {
    let Some(qemu) = find() else { return };
    for version in [2, 3] {
        for bits in 9..=21 {
            let orders: &[u32] = if version == 2 { &[4] } else { &[0, 3, 4, 6] };
            for order in orders {
                let options = options(version, bits, *order, 64 << 20);
                qemu.put("ours.qcow2", &created(&options).bytes());
                created_by_qemu(&qemu, "theirs.qcow2", &options);
                assert_eq!(qemu.counts("ours.qcow2"), qemu.counts("theirs.qcow2"), "{options:?}");
            }
        }
    }
}

#[test]
fn a_new_header_says_what_qemus_does() {
    let Some(qemu) = find() else { return };
    for options in [options(3, 16, 4, 1 << 30), options(2, 16, 4, 1 << 20), options(3, 9, 0, 1 << 20)] {
        created_by_qemu(&qemu, "theirs.qcow2", &options);
        let (ours, theirs) = (created(&options).bytes(), qemu.get("theirs.qcow2"));
        assert!(ours[..512] == theirs[..512], "{options:?}");
    }
}

/// The kinds of image that are compared.
fn kinds_of_image() -> Vec<CreateOptions> {
    let extended = CreateOptions { extended_l2: true, ..options(3, 14, 4, 1 << 20) };
    vec![
        options(3, 9, 4, 64 << 10),
        options(2, 9, 4, 64 << 10),
        options(3, 9, 4, 512 << 10),
        options(3, 12, 4, 1 << 20),
        options(3, 16, 0, 4 << 20),
        options(2, 16, 4, 4 << 20),
        options(3, 16, 4, (4 << 20) - 512),
        extended.clone(),
        CreateOptions { cluster_bits: 16, len_bytes: 4 << 20, ..extended },
    ]
}

/// Puts both images, after the same requests, into the folder.
fn run_both(qemu: &Qemu, options: &CreateOptions, seed: u64, count: usize, kinds: &[Kind]) {
    let mut random = Random::new(seed);
    let cluster = 1 << options.cluster_bits;
    let draw = |_| Ask::draw(&mut random, options.len_bytes, cluster, kinds);
    let asks: Vec<_> = (0..count).map(draw).collect();
    created_by_qemu(qemu, "theirs.qcow2", options);
    let commands: Vec<String> = asks.iter().map(Ask::command).collect();
    qemu.io("theirs.qcow2", &commands);
    let disk = created(options);
    let image = block_on(Qcow2::open(disk.clone(), "ours.qcow2", true)).unwrap();
    asks.iter().for_each(|ask| ask.run(&image));
    block_on(image.close()).unwrap();
    qemu.put("ours.qcow2", &disk.bytes());
    assert!(qemu.content("ours.qcow2") == qemu.content("theirs.qcow2"), "seed {seed}: {commands:?}");
    assert_eq!(map(qemu, "ours.qcow2"), map(qemu, "theirs.qcow2"), "seed {seed}: {commands:?}");
}

#[test]
fn the_same_writes_take_the_same_place() {
    let Some(qemu) = find() else { return };
    for (seed, options) in kinds_of_image().iter().cycle().take(27).enumerate() {
        let kinds = [Kind::Write, Kind::Write, Kind::Zero];
        let kinds = if options.version == 2 { &kinds[..2] } else { &kinds };
        run_both(&qemu, options, seed as u64, 25, kinds);
        assert_eq!(qemu.counts("ours.qcow2"), qemu.counts("theirs.qcow2"), "seed {seed}, {options:?}");
    }
}

// Refcount blocks are made on the way: one for 256 clusters, or for 64.
#[test]
fn many_small_clusters_take_the_same_place() {
    let Some(qemu) = find() else { return };
    let kinds = [options(3, 9, 4, 4 << 20), options(3, 9, 6, 4 << 20), options(3, 10, 4, 8 << 20)];
    for (seed, options) in kinds.iter().enumerate() {
        run_both(&qemu, options, 200 + seed as u64, 300, &[Kind::Write]);
        assert_eq!(qemu.counts("ours.qcow2"), qemu.counts("theirs.qcow2"), "seed {seed}, {options:?}");
    }
}

// Where an image ends is not compared: QEMU gives a freed cluster away at once, we do when it is durable that nobody
// refers to it any more.
#[test]
fn the_same_requests_leave_the_same_clusters() {
    let Some(qemu) = find() else { return };
    for (seed, options) in kinds_of_image().iter().cycle().take(27).enumerate() {
        let kinds = [Kind::Write, Kind::Write, Kind::Write, Kind::Zero, Kind::ZeroAndFree, Kind::Discard];
        run_both(&qemu, options, 100 + seed as u64, 25, &kinds);
        let (ours, theirs) = (qemu.counts("ours.qcow2"), qemu.counts("theirs.qcow2"));
        assert_eq!((ours.verdict, ours.allocated), (theirs.verdict, theirs.allocated), "seed {seed}");
    }
}
