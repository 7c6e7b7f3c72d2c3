//! QEMU as the judge: each reads what the other wrote, and the checker finds what `qemu-img check` finds.
//!
//! Skipped, with a line that says so, where there is no QEMU.

use crate::support::crash::killed;
use crate::support::executor::block_on;
use crate::support::layer::Layer;
use crate::support::memory_disk::MemoryDisk;
use crate::support::qemu::{Qemu, Verdict, find};
use crate::support::random::Random;
use block::format::RunKind;
use block::format::qcow2::{BackingName, CreateOptions, OpenCause, Qcow2, check};
use seam::Disk;
use std::sync::Arc;

const GEOMETRIES: [(u32, u32, u32); 10] = [
    (2, 9, 4),
    (2, 16, 4),
    (3, 9, 0),
    (3, 9, 4),
    (3, 10, 1),
    (3, 11, 6),
    (3, 12, 2),
    (3, 12, 5),
    (3, 16, 3),
    (3, 21, 4),
];

fn options(version: u32, cluster_bits: u32, refcount_order: u32) -> CreateOptions {
    let len_bytes = (40u64 << cluster_bits).min(3 << 20) - 512;
    CreateOptions { version, len_bytes, cluster_bits, refcount_order, ..CreateOptions::default() }
}

/// Every kind of image there is.
fn geometries() -> Vec<CreateOptions> {
    let plain = GEOMETRIES.map(|(version, bits, order)| options(version, bits, order));
    let extended = [(14, 4), (16, 4), (14, 0), (15, 6)]
        .map(|(bits, order)| CreateOptions { extended_l2: true, ..options(3, bits, order) });
    plain.into_iter().chain(extended).collect()
}

fn created(options: &CreateOptions) -> Arc<MemoryDisk> {
    let disk = MemoryDisk::new(Vec::new());
    block_on(Qcow2::create(&(disk.clone() as Arc<dyn Disk>), options)).unwrap();
    disk
}

fn open(disk: &Arc<MemoryDisk>) -> Arc<Qcow2> {
    block_on(Qcow2::open(disk.clone(), "test.qcow2", true)).unwrap()
}

/// The same image, made by qemu-img.
fn created_by_qemu(qemu: &Qemu, name: &str, options: &CreateOptions, more: &str) {
    let compat = if options.version == 2 { "0.10" } else { "1.1" };
    let cluster = 1u64 << options.cluster_bits;
    let bits = 1 << options.refcount_order;
    let extended = if options.extended_l2 { ",extended_l2=on" } else { "" };
    let settings = format!("compat={compat},cluster_size={cluster},refcount_bits={bits}{extended}{more}");
    qemu.img_ok(&["create", "-q", "-f", "qcow2", "-o", &settings, name, &options.len_bytes.to_string()]);
}

/// Random requests that leave every kind of cluster.
fn scribble(image: &Qcow2, below: &Layer, random: &mut Random, expected: &mut [u8]) {
    let len = image.len_bytes();
    for _ in 0..40 {
        let (offset, count) = random.range(len, 512, 3 * image.cluster_bytes() / 512);
        let range = offset as usize..(offset + count) as usize;
        if random.one_in(4) {
            block_on(image.write_zeroes(offset, count, below)).unwrap();
            expected[range].fill(0);
        } else {
            let value = random.any() as u8;
            block_on(image.write(offset, &vec![value; count as usize], below)).unwrap();
            expected[range].fill(value);
        }
    }
}

fn our_verdict(disk: &MemoryDisk) -> Option<Verdict> {
    let report = block_on(check(disk)).ok()?;
    Some(Verdict { corruptions: report.corruptions, leaks: report.leaks })
}

#[test]
fn qemu_reads_what_we_wrote() {
    let Some(qemu) = find() else { return };
    for (seed, options) in geometries().into_iter().enumerate() {
        let disk = created(&options);
        qemu.put("empty.qcow2", &disk.bytes());
        assert_eq!(qemu.check("empty.qcow2"), Some(Verdict { corruptions: 0, leaks: 0 }), "{options:?}");
        let image = open(&disk);
        let mut expected = vec![0; options.len_bytes as usize];
        scribble(&image, &Layer(None), &mut Random::new(seed as u64), &mut expected);
        block_on(image.close()).unwrap();
        qemu.put("image.qcow2", &disk.bytes());
        assert_eq!(qemu.check("image.qcow2"), Some(Verdict { corruptions: 0, leaks: 0 }), "{options:?}");
        assert!(qemu.content("image.qcow2") == expected, "{options:?}");
    }
}

#[test]
fn we_read_and_rewrite_what_qemu_wrote() {
    let Some(qemu) = find() else { return };
    for (seed, options) in geometries().into_iter().enumerate() {
        created_by_qemu(&qemu, "image.qcow2", &options, "");
        let mut random = Random::new(seed as u64);
        let write = |random: &mut Random| {
            let (offset, count) = random.range(options.len_bytes, 512, 300);
            match random.below(4) {
                0 => format!("write -z {offset} {count}"),
                1 => format!("discard {offset} {count}"),
                _ => format!("write -P {} {offset} {count}", 1 + random.below(255)),
            }
        };
        let commands: Vec<_> = (0..30).map(|_| write(&mut random)).collect();
        qemu.io("image.qcow2", &commands);
        let mut expected = qemu.content("image.qcow2");
        let disk = MemoryDisk::new(qemu.get("image.qcow2"));
        let image = open(&disk);
        let mut content = vec![0; options.len_bytes as usize];
        block_on(image.read(0, &mut content, &Layer(None))).unwrap();
        assert!(content == expected, "{options:?}");
        scribble(&image, &Layer(None), &mut random, &mut expected);
        block_on(image.close()).unwrap();
        qemu.put("image.qcow2", &disk.bytes());
        assert_eq!(qemu.check("image.qcow2"), Some(Verdict { corruptions: 0, leaks: 0 }), "{options:?}");
        assert!(qemu.content("image.qcow2") == expected, "{options:?}");
    }
}

#[test]
fn qemu_maps_the_same_runs() {
    let Some(qemu) = find() else { return };
    let extended = CreateOptions { extended_l2: true, ..options(3, 14, 4) };
    let plain = [9, 12, 16].map(|bits| options(3, bits, 4));
    for (seed, options) in plain.into_iter().chain([extended]).enumerate() {
        let seed = seed as u64 + 1;
        let backing = BackingName { file: "base.raw".into(), format: Some("raw".into()) };
        let disk = created(&CreateOptions { backing: Some(backing), ..options.clone() });
        let below = Layer(Some(vec![0x55; options.len_bytes as usize]));
        qemu.put("base.raw", below.0.as_deref().unwrap());
        let image = open(&disk);
        let mut expected = below.bytes(0, options.len_bytes as usize);
        scribble(&image, &below, &mut Random::new(seed), &mut expected);
        block_on(image.close()).unwrap();
        qemu.put("image.qcow2", &disk.bytes());
        assert!(qemu.content("image.qcow2") == expected, "through the backing file");
        let map: Vec<serde_json::Value> =
            serde_json::from_str(&qemu.img_ok(&["map", "-f", "qcow2", "--output=json", "image.qcow2"]))
                .unwrap();
        for run in map {
            let (start, len) = (run["start"].as_u64().unwrap(), run["length"].as_u64().unwrap());
            let kind = match (run["depth"].as_u64(), run["zero"].as_bool()) {
                (Some(1), _) => RunKind::Unallocated,
                (_, Some(true)) => RunKind::Zero,
                _ => RunKind::Data,
            };
            let mut at = start;
            while at < start + len {
                let found = block_on(image.status(at, start + len - at)).unwrap();
                assert_eq!(found.kind, kind, "at {at} of {run}");
                at += found.len;
            }
        }
    }
}

#[test]
fn compressed_images_are_read_and_rewritten() {
    let Some(qemu) = find() else { return };
    for (bits, kind) in [(9, "zlib"), (12, "zlib"), (12, "zstd"), (16, "zlib"), (16, "zstd"), (21, "zstd")] {
        // qemu-img compresses nothing below 64 KiB of zstd's granularity, but any zlib.
        let len = 2usize << 20;
        let mut random = Random::new(bits);
        let source: Vec<u8> = (0..len / 64)
            .flat_map(|n| [if n % 5 == 0 { random.any() as u8 } else { (n / 40) as u8 }; 64])
            .collect();
        qemu.put("source.raw", &source);
        let settings = format!("cluster_size={},compression_type={kind}", 1u64 << bits);
        qemu.img_ok(&[
            "convert",
            "-c",
            "-f",
            "raw",
            "-O",
            "qcow2",
            "-o",
            &settings,
            "source.raw",
            "image.qcow2",
        ]);
        let disk = MemoryDisk::new(qemu.get("image.qcow2"));
        let image = open(&disk);
        assert_eq!(image.is_zstd(), kind == "zstd");
        let compressed = qemu.img_ok(&["check", "-f", "qcow2", "image.qcow2"]);
        assert!(!compressed.contains(" 0.00% compressed"), "the set-up compresses: {compressed}");
        let mut content = vec![0; len];
        block_on(image.read(0, &mut content, &Layer(None))).unwrap();
        assert!(content == source, "{bits} {kind}");
        assert_eq!(our_verdict(&disk), Some(Verdict { corruptions: 0, leaks: 0 }), "{bits} {kind}");

        let mut expected = source;
        scribble(&image, &Layer(None), &mut random, &mut expected);
        block_on(image.discard(0, 1 << 20, false)).unwrap();
        let end = (1usize << 20) >> bits << bits;
        expected[..end].fill(0);
        block_on(image.close()).unwrap();
        qemu.put("image.qcow2", &disk.bytes());
        assert_eq!(qemu.check("image.qcow2"), Some(Verdict { corruptions: 0, leaks: 0 }), "{bits} {kind}");
        assert!(qemu.content("image.qcow2") == expected, "{bits} {kind}");
    }
}

#[test]
fn snapshots_survive_writes_to_the_image() {
    let Some(qemu) = find() else { return };
    let extended = CreateOptions { extended_l2: true, ..options(3, 14, 4) };
    let plain = [(3, 9), (3, 12), (2, 16)].map(|(version, bits)| options(version, bits, 4));
    for options in plain.into_iter().chain([extended]) {
        let bits = options.cluster_bits;
        created_by_qemu(&qemu, "image.qcow2", &options, "");
        let half = options.len_bytes / 2 / 512 * 512;
        qemu.io("image.qcow2", &[format!("write -P 1 0 {half}")]);
        qemu.img_ok(&["snapshot", "-c", "first", "image.qcow2"]);
        qemu.io("image.qcow2", &[format!("write -P 2 {} {half}", half / 2 / 512 * 512)]);
        qemu.img_ok(&["snapshot", "-c", "second", "image.qcow2"]);
        let mut expected = qemu.content("image.qcow2");
        let of_snapshot = |name: &str| {
            qemu.img_ok(&["convert", "-f", "qcow2", "-O", "raw", "-l", name, "image.qcow2", "snapshot.raw"]);
            qemu.get("snapshot.raw")
        };
        let before = [of_snapshot("first"), of_snapshot("second")];

        let disk = MemoryDisk::new(qemu.get("image.qcow2"));
        assert_eq!(our_verdict(&disk), Some(Verdict { corruptions: 0, leaks: 0 }));
        let image = open(&disk);
        assert_eq!(image.snapshots(), 2);
        let mut random = Random::new(bits.into());
        scribble(&image, &Layer(None), &mut random, &mut expected);
        block_on(image.discard(0, half / 2, false)).unwrap();
        let end = (half as usize / 2) >> bits << bits;
        expected[..end].fill(0);
        block_on(image.flush()).unwrap();
        scribble(&image, &Layer(None), &mut random, &mut expected);
        block_on(image.close()).unwrap();
        qemu.put("image.qcow2", &disk.bytes());
        assert_eq!(qemu.check("image.qcow2"), Some(Verdict { corruptions: 0, leaks: 0 }), "{options:?}");
        assert_eq!(our_verdict(&disk), Some(Verdict { corruptions: 0, leaks: 0 }));
        assert!(qemu.content("image.qcow2") == expected);
        assert!([of_snapshot("first"), of_snapshot("second")] == before, "the snapshots changed");
        // QEMU can go back and delete what we left.
        qemu.img_ok(&["snapshot", "-a", "first", "image.qcow2"]);
        qemu.img_ok(&["snapshot", "-d", "second", "image.qcow2"]);
        assert_eq!(qemu.check("image.qcow2"), Some(Verdict { corruptions: 0, leaks: 0 }));
    }
}

#[test]
fn the_checker_counts_leaks_as_qemu_does() {
    let Some(qemu) = find() else { return };
    for (seed, options) in geometries().into_iter().enumerate().filter(|(_, g)| g.cluster_bits < 16) {
        let disk = created(&options);
        let start = disk.bytes();
        disk.take_log();
        let image = open(&disk);
        let mut random = Random::new(seed as u64);
        let mut content = vec![0; image.len_bytes() as usize];
        scribble(&image, &Layer(None), &mut random, &mut content);
        block_on(image.flush()).unwrap();
        block_on(image.discard(0, image.len_bytes(), false)).unwrap();
        block_on(image.flush()).unwrap();
        let events = disk.take_log();
        let mut leaking = 0;
        for at in (events.len() - 12)..=events.len() {
            let cut = MemoryDisk::new(killed(&start, &events, at));
            qemu.put("cut.qcow2", &cut.bytes());
            let ours = our_verdict(&cut);
            assert_eq!(ours, qemu.check("cut.qcow2"), "{options:?}, cut at {at}");
            leaking += u64::from(ours.is_some_and(|v| v.leaks > 0));
        }
        assert!(leaking > 0, "the set-up leaks somewhere");
    }
}

// Flips bits where the metadata lies. Whatever they break, both checkers count the same.
#[test]
fn the_checker_counts_corruptions_as_qemu_does() {
    let Some(qemu) = find() else { return };
    let (mut compared, mut corrupt) = (0, 0);
    for (seed, options) in geometries().into_iter().enumerate().filter(|(_, g)| g.cluster_bits <= 14) {
        let disk = created(&options);
        let image = open(&disk);
        let mut random = Random::new(seed as u64);
        let mut content = vec![0; image.len_bytes() as usize];
        scribble(&image, &Layer(None), &mut random, &mut content);
        block_on(image.close()).unwrap();
        let healthy = disk.bytes();
        let metadata = metadata_bytes(&healthy);
        for round in 0..25 {
            let mut bytes = healthy.clone();
            for _ in 0..1 + random.below(3) {
                let at = metadata[random.below(metadata.len() as u64) as usize];
                bytes[at] ^= 1 << random.below(8);
            }
            qemu.put("bad.qcow2", &bytes);
            let theirs = qemu.check("bad.qcow2");
            let disk = MemoryDisk::new(bytes);
            let report = block_on(check(&*disk));
            let (Some(theirs), Ok(report)) = (theirs, &report) else { continue };
            let ours = Verdict { corruptions: report.corruptions, leaks: report.leaks };
            assert_eq!(ours, theirs, "{options:?}, round {round}: {:#?}", report.lines);
            compared += 1;
            corrupt += u64::from(ours.corruptions > 0);
        }
    }
    assert!(compared > 100, "only {compared} images compared");
    assert!(corrupt > 50, "only {corrupt} of {compared} images are corrupt");
}

/// Where the non-zero bytes of L1 table, L2 tables, refcount table and refcount blocks are.
fn metadata_bytes(image: &[u8]) -> Vec<usize> {
    let be64 = |at: usize| u64::from_be_bytes(image[at..at + 8].try_into().unwrap());
    let be32 = |at: usize| u32::from_be_bytes(image[at..at + 4].try_into().unwrap());
    let cluster = 1usize << be32(20);
    let (l1, l1_len) = (be64(40) as usize, be32(36) as usize * 8);
    let (table, table_len) = (be64(48) as usize, be32(56) as usize * cluster);
    let mut ranges = vec![l1..l1 + l1_len, table..table + table_len];
    for at in (l1..l1 + l1_len).step_by(8).chain((table..table + table_len).step_by(8)) {
        let host = (be64(at) & 0x00ff_ffff_ffff_fe00) as usize;
        if host != 0 {
            ranges.push(host..host + cluster);
        }
    }
    ranges.into_iter().flatten().filter(|at| image[*at] != 0).collect()
}

#[test]
fn a_changed_backing_name_is_what_qemu_sees() {
    let Some(qemu) = find() else { return };
    for (version, bits) in [(2, 9), (3, 9), (3, 16)] {
        let options = options(version, bits, 4);
        qemu.put("base.raw", &vec![1; options.len_bytes as usize]);
        qemu.put("other.raw", &vec![2; options.len_bytes as usize]);
        created_by_qemu(&qemu, "image.qcow2", &options, ",backing_file=base.raw,backing_fmt=raw");
        let disk = MemoryDisk::new(qemu.get("image.qcow2"));
        let image = open(&disk);
        let base = BackingName { file: "base.raw".into(), format: Some("raw".into()) };
        assert_eq!(image.backing(), Some(base));
        let other = BackingName { file: "other.raw".into(), format: Some("raw".into()) };
        block_on(image.change_backing(Some(other))).unwrap();
        qemu.put("image.qcow2", &disk.bytes());
        assert!(qemu.content("image.qcow2").iter().all(|b| *b == 2));
        block_on(image.change_backing(None)).unwrap();
        qemu.put("image.qcow2", &disk.bytes());
        assert!(qemu.content("image.qcow2").iter().all(|b| *b == 0));
        assert_eq!(qemu.check("image.qcow2"), Some(Verdict { corruptions: 0, leaks: 0 }));
    }
}

// A field of the header is set to a bad value: both refuse, in the same words.
#[test]
fn refusals_have_qemus_words() {
    let Some(qemu) = find() else { return };
    let options = CreateOptions { len_bytes: 1 << 20, ..CreateOptions::default() };
    let healthy = created(&options).bytes();
    let cases: [(usize, &[u8]); 21] = [
        (0, b"X"),
        (4, &[0, 0, 0, 7]),
        (8, &[0, 0, 0, 0, 0, 2]),
        (20, &[0, 0, 0, 6]),
        (24, &[0x20, 0, 0, 0]),
        (32, &[0, 0, 0, 7]),
        (36, &[1, 0, 0, 0]),
        (36, &[0, 0, 0, 0]),
        (40, &[0, 0, 0, 0, 0, 0, 0, 1]),
        (48, &[0, 0, 0, 0, 0, 0, 0, 1]),
        (56, &[0, 0, 0, 0]),
        (56, &[0, 1, 0, 0]),
        (60, &[0, 1, 0, 1]),
        (72, &[0, 0, 0, 0, 0, 0, 0, 2]),
        (72, &[0, 0, 0, 0, 0, 0, 0, 8]),
        (72, &[0, 0, 0, 0, 0, 0, 0, 0x20]),
        (96, &[0, 0, 0, 7]),
        (100, &[0, 0, 0, 8]),
        (100, &[0, 2, 0, 0]),
        (104, &[2]),
        (112, &[1, 2, 3, 4, 7, 0, 0, 0]),
    ];
    let small = CreateOptions { len_bytes: 1 << 20, cluster_bits: 13, ..CreateOptions::default() };
    // Extended L2 entries, with clusters too small for them.
    let too_small = (created(&small).bytes(), 72, [0, 0, 0, 0, 0, 0, 0, 0x10].as_slice());
    for (mut image, at, bytes) in
        cases.map(|(at, bytes)| (healthy.clone(), at, bytes)).into_iter().chain([too_small])
    {
        image[at..at + bytes.len()].copy_from_slice(bytes);
        qemu.put("bad.qcow2", &image);
        let disk = MemoryDisk::new(image);
        let Err(ours) = block_on(Qcow2::open(disk.clone(), "bad.qcow2", true)) else {
            panic!("byte {at}: a bad image opens");
        };
        let ours = ours.cause;
        assert_eq!(disk.events(), 0, "nothing was written");
        let theirs = qemu.open_error("bad.qcow2");
        assert!(theirs.ends_with(&format!(": {ours}")), "byte {at}: {ours:?}, but QEMU says {theirs}");
        assert!(!matches!(ours, OpenCause::Unreadable { .. }));
    }
}
