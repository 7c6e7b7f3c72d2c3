//! The image driver alone on the simulated disk: concurrent requests, then a crash at any step.
//!
//! After the crash the image must be sound, and every sector must show something written to it since the last
//! flush that ended, or what that flush kept.

use block::format::Nothing;
use block::format::qcow2::Qcow2;
use midstream::choice::{Choices, Point};
use midstream::content::tag_of_request;
use midstream::content::{Tag, fill};
use midstream::strategy;
use midstream::world::crash::{Ending, crash_images};
use midstream::world::disk::{Disks, File};
use midstream::world::host::SimHost;
use midstream::world::scheduler::{Rest, Scheduler};
use seam::{Host, OpenMode};
use sim::recovery::read_all;
use sim::workload::image::{Cluster, Format, Image};
use sim::workload::scenario::Scenario;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

/// What each sector may show after a crash: what it may show by the last flush, and everything written since.
#[derive(Default)]
struct Allowed(Vec<BTreeSet<Tag>>);

const SECTORS: u64 = 48;
const WRITERS: u32 = 3;
const WRITES: u32 = 6;

fn scenario(choices: &mut Choices) -> Scenario {
    let cluster_bits = 9 + choices.choose(Point::new("cluster bits", [0; 3]), 3);
    let refcount_order = choices.choose(Point::new("refcount order", [0; 3]), 7);
    let mut scenario = Scenario::chain(&["........................"]);
    scenario.images[0] = Image {
        format: Format::Qcow2 { version: 3, cluster_bits, refcount_order },
        clusters: vec![Cluster::Unallocated; ((SECTORS * 512) >> cluster_bits) as usize],
        ..scenario.images[0].clone()
    };
    scenario
}

/// Writes, zeroes and discards ranges, each of which says what it may leave before it begins.
async fn writer(image: Arc<Qcow2>, writer: u32, script: Vec<(u32, u64, u64)>, allowed: Arc<Mutex<Allowed>>) {
    for (slot, (kind, sector, sectors)) in script.into_iter().enumerate() {
        let tag = if kind == 0 { tag_of_request(writer, 0, slot as u32) } else { 0 };
        let touched = sector as usize..(sector + sectors) as usize;
        for sector in &mut allowed.lock().expect("nobody panics holding it").0[touched] {
            sector.insert(tag);
        }
        let mut data = vec![0; sectors as usize * 512];
        fill(&mut data, tag);
        match kind {
            0 => image.write(sector * 512, &data, &Nothing).await,
            1 => image.write_zeroes(sector * 512, sectors * 512, &Nothing).await,
            _ => image.discard(sector * 512, sectors * 512, false).await,
        }
        .expect("no fault was armed");
    }
}

fn script(writer: u32, choices: &mut Choices) -> Vec<(u32, u64, u64)> {
    let mut draw = |name, slot, of| choices.choose(Point::new(name, [writer, slot, 0]), of);
    (0..WRITES)
        .map(|slot| {
            let kind = [0, 0, 0, 1, 2][draw("writer # request # kind", slot, 5) as usize];
            let sector = u64::from(draw("writer # request # sector", slot, SECTORS as u32));
            let sectors = 1 + u64::from(draw("writer # request # sectors", slot, 6));
            (kind, sector, sectors.min(SECTORS - sector))
        })
        .collect()
}

/// Opens the one image of a world.
fn open(scheduler: &mut Scheduler, host: &SimHost) -> Arc<Qcow2> {
    let opened = Arc::new(Mutex::new(None));
    let (put, world) = (opened.clone(), host.clone());
    let open = scheduler.spawn(
        Point::new("open", [0; 3]),
        Box::pin(async move {
            let disk = world.open("/n0.qcow2", OpenMode::ReadWrite).await.expect("it exists");
            *put.lock().unwrap() = Some(Qcow2::open(disk, "n0", true).await.expect("it is sound"));
        }),
    );
    assert_eq!(scheduler.run(&[open], 1_000, None), Rest::Done);
    opened.lock().unwrap().take().expect("it was opened")
}

/// Everything is written: what a last flush keeps is what a reader sees now.
fn last_flush(scheduler: &mut Scheduler, image: Arc<Qcow2>, choices: &mut Choices) -> Vec<Tag> {
    let flushed = Arc::new(Mutex::new(None));
    let put = flushed.clone();
    let last = scheduler.spawn(
        Point::new("last flush", [0; 3]),
        Box::pin(async move {
            image.flush().await.expect("no fault was armed");
            let mut bytes = vec![0; SECTORS as usize * 512];
            image.read(0, &mut bytes, &Nothing).await.expect("no fault was armed");
            *put.lock().unwrap() = Some(midstream::content::tags(&bytes));
        }),
    );
    assert_eq!(scheduler.run(&[last], 10_000, Some(choices)), Rest::Done);
    flushed.lock().unwrap().take().expect("it was flushed")
}

fn crash_once(seed: u64) -> bool {
    let mut choices = strategy::of_seed(seed);
    let scenario = scenario(&mut choices);
    let host = SimHost::new(Disks::new(vec![File::new("/n0.qcow2", scenario.files().remove(0))]));
    let mut scheduler = Scheduler::new(host.clone());
    let allowed = Arc::new(Mutex::new(Allowed(vec![BTreeSet::from([0]); SECTORS as usize])));
    let scripts: Vec<_> = (0..WRITERS).map(|w| script(w, &mut choices)).collect();
    let image = open(&mut scheduler, &host);
    let mut tasks = Vec::new();
    for (number, script) in scripts.into_iter().enumerate() {
        let task = writer(image.clone(), number as u32, script, allowed.clone());
        tasks.push(scheduler.spawn(Point::new("writer #", [number as u32, 0, 0]), Box::pin(task)));
    }
    // A flush alone settles nothing here, for writes may overlap it: only after all writers is all of it kept.
    let flusher = image.clone();
    tasks.push(scheduler.spawn(
        Point::new("flusher", [0; 3]),
        Box::pin(async move {
            for _ in 0..3 {
                flusher.flush().await.expect("no fault was armed");
            }
        }),
    ));
    let crash_after = u64::from(choices.choose(Point::new("crash after", [0; 3]), 220));
    let is_done = scheduler.run(&tasks, crash_after, Some(&mut choices)) == Rest::Done;
    let kept = is_done.then(|| last_flush(&mut scheduler, image, &mut choices));
    let ending = if seed.is_multiple_of(2) { Ending::Kill } else { Ending::PowerCut };
    let mut images = crash_images(&host.core().disks, ending, &mut choices);
    let recovered = read_all(&scenario, &mut images).expect("it ends").remove(0);
    let values = recovered.values.unwrap_or_else(|why| panic!("seed {seed}: {why}"));
    assert_eq!(recovered.corruptions, 0, "seed {seed}: corrupt after a {ending:?}");
    for (sector, value) in values.into_iter().enumerate() {
        match &kept {
            Some(kept) => {
                assert_eq!(value, kept[sector], "seed {seed}, sector {sector}: flushed, then {ending:?}")
            }
            None => {
                let may = &allowed.lock().unwrap().0[sector];
                assert!(may.contains(&value), "seed {seed}, sector {sector}: {value:x} is none of {may:x?}");
            }
        }
    }
    kept.is_none()
}

#[test]
fn a_crash_in_the_middle_of_anything_leaves_a_sound_image() {
    let in_the_middle = (0..2_000).filter(|seed| crash_once(*seed)).count();
    assert!((500..1_900).contains(&in_the_middle), "{in_the_middle} of 2000 crashed in the middle");
}
