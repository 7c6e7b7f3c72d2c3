//! Reopens files, as the next process would: each by the chain its own header names, after a check of its own.
//!
//! Nothing of the engine that wrote them is left; a new host serves the bytes, and the image driver reads them. An image that
//! says that it needs a repair has one first, as by the next process that opens it to write.

pub mod allocation;
pub mod snapshots;

use self::allocation::{Allocation, stale_clusters};
use self::snapshots::{Snapshot, held, snapshots};
use crate::workload::image::{AUTOCLEAR_UNKNOWN, Format};
use crate::workload::scenario::Scenario;
use crate::workload::tables::number;
use block::format::Below;
use block::format::qcow2::{Qcow2, StoredBitmap, check};
use midstream::choice::Point;
use midstream::content::Tag;
use midstream::content::tags;
use midstream::history::Found;
use midstream::world::disk::{Disks, File};
use midstream::world::host::SimHost;
use midstream::world::scheduler::STEPS_MAX;
use midstream::world::scheduler::{Rest, Scheduler};
use seam::{Host, IoResult, OpenMode, Pending};
use serde_json::Value;
use std::sync::{Arc, Mutex};

/// What one file shows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Recovered {
    /// Its name.
    pub file: String,
    /// What a reader sees through the whole chain, by sector; or why nobody can.
    pub values: Result<Vec<Tag>, String>,
    /// The files of the chain by name, itself first.
    pub chain: Vec<String>,
    /// Damage that a check found.
    pub corruptions: u64,
    /// Clusters that count as used and are not.
    pub leaks: u64,
    /// What it takes of its file, if it keeps account of that.
    pub allocation: Option<Allocation>,
    /// What the check found, a line each: in which table, where, what is there and what should be.
    pub damage: Vec<String>,
    /// The bitmaps it keeps that can be read.
    pub bitmaps: Vec<Kept>,
    /// Its internal snapshots.
    pub snapshots: Vec<Snapshot>,
    /// What it holds itself, if it has an autoclear bit of a feature that nobody knows.
    pub vouched: Option<Vec<Option<Tag>>>,
}

impl Recovered {
    /// As histories keep it, or why nobody can read it.
    pub fn found(self) -> Result<Found, String> {
        let Recovered { file, values, chain, corruptions, leaks, damage, .. } = self;
        Ok(Found { file, values: values?, chain, corruptions, leaks, damage })
    }
}

/// What each file of a scenario shows, with `images` in the files, which stay as they are. Fails if the reading does not end.
pub fn read_all(scenario: &Scenario, images: &mut [Vec<u8>]) -> Result<Vec<Recovered>, &'static str> {
    let marked: Vec<Option<Vec<u8>>> =
        images.iter().map(|bytes| is_marked_dirty(bytes).then(|| bytes.clone())).collect();
    let named = images.iter_mut().map(std::mem::take).zip(&scenario.images);
    let host = SimHost::new(Disks::new(named.map(|(bytes, image)| File::new(&image.path, bytes)).collect()));
    let all = read_files(scenario, &host);
    let files = std::mem::take(&mut host.core().disks.files);
    let left = files.into_iter().zip(marked).map(|(file, marked)| marked.unwrap_or(file.bytes));
    images.iter_mut().zip(left).for_each(|(image, bytes)| *image = bytes);
    all
}

/// Whether an image says that its refcounts are not to be relied on: whoever opens it to write repairs them first.
fn is_marked_dirty(file: &[u8]) -> bool {
    file.starts_with(b"QFI\xfb") && number(file, 4, 4) >= 3 && number(file, 72, 8) & 1 == 1
}

/// What an image holds itself, if it says by a bit that somebody else may rely on that.
fn vouched(file: &[u8]) -> Option<Vec<Option<Tag>>> {
    let autoclear = if number(file, 4, 4) >= 3 { number(file, 88, 8) as u64 } else { 0 };
    (autoclear & AUTOCLEAR_UNKNOWN != 0).then(|| held(file))
}

/// Opens an image to write, and closes it. Whether that did any good, its check says.
async fn repair(host: &SimHost, path: &str) {
    let disk = host.open(path, OpenMode::ReadWrite).await.expect("every image has its file");
    if let Ok(image) = Qcow2::open(disk, path, true).await {
        let _checked_below = image.close().await;
    }
}

/// What a check of a file finds: corruptions and leaks, or why it cannot be checked; nothing, if that does not end.
pub fn findings(path: &str, bytes: Vec<u8>) -> Option<Result<(u64, u64), String>> {
    let host = SimHost::new(Disks::new(vec![File::new(path, bytes)]));
    let (found, put) = (Arc::new(Mutex::new(None)), host.clone());
    let (place, path) = (found.clone(), path.to_owned());
    let checking: Pending<'static, ()> = Box::pin(async move {
        let disk = put.open(&path, OpenMode::ReadOnly).await.expect("the file is there");
        let report = check(&*disk).await.map(|report| (report.corruptions, report.leaks));
        *place.lock().expect("nobody panics holding it") = Some(report.map_err(|error| error.to_string()));
    });
    let mut scheduler = Scheduler::new(host);
    let task = scheduler.spawn(Point::new("check", [0; 3]), checking);
    scheduler.run(&[task], STEPS_MAX, None);
    found.lock().expect("nobody panics holding it").take()
}

fn read_files(scenario: &Scenario, host: &SimHost) -> Result<Vec<Recovered>, &'static str> {
    let files: Vec<(String, Format)> = scenario.images.iter().map(|i| (i.path.clone(), i.format)).collect();
    let found = Arc::new(Mutex::new(Vec::with_capacity(files.len())));
    let mut scheduler = Scheduler::new(host.clone());
    let (put, host) = (found.clone(), host.clone());
    let reading: Pending<'static, ()> = Box::pin(async move {
        let mut layers: Vec<Layer> = Vec::with_capacity(files.len());
        for (path, format) in &files {
            layers.push(Layer::open(&host, path, *format).await);
        }
        let mut views = vec![None; layers.len()];
        for index in 0..layers.len() {
            let recovered = show(&layers, index, &mut views).await;
            put.lock().expect("nobody panics holding it").push(recovered);
        }
    });
    let task = scheduler.spawn(Point::new("recovery", [0; 3]), reading);
    match scheduler.run(&[task], STEPS_MAX, None) {
        Rest::Done => {}
        _ => return Err("reading the reopened files does not end"),
    }
    drop(scheduler);
    Ok(std::mem::take(&mut *found.lock().expect("nobody panics holding it")))
}

/// What a reader sees.
type Bytes = Arc<Vec<u8>>;

/// What readers of a layer see, or why they cannot; nothing yet, where nobody has looked.
type View = Option<Result<Bytes, String>>;

/// One file, opened.
struct Layer {
    path: String,
    image: Image,
    /// Name of the file below, by the header.
    backing: Option<String>,
    corruptions: u64,
    leaks: u64,
    allocation: Option<Allocation>,
    damage: Vec<String>,
    bitmaps: Vec<Kept>,
    snapshots: Vec<Snapshot>,
    vouched: Option<Vec<Option<Tag>>>,
}

enum Image {
    Raw(Bytes),
    Qcow2(Arc<Qcow2>),
    Unreadable(String),
}

impl Layer {
    async fn open(host: &SimHost, path: &str, format: Format) -> Layer {
        let mut layer = Layer {
            path: path.to_owned(),
            image: Image::Raw(Bytes::default()),
            backing: None,
            corruptions: 0,
            leaks: 0,
            allocation: None,
            damage: Vec::new(),
            bitmaps: Vec::new(),
            snapshots: Vec::new(),
            vouched: None,
        };
        if format == Format::Raw {
            let file = host.core().disks.find(path).expect("every image has its file");
            layer.image = Image::Raw(host.core().disks.files[file as usize].bytes.clone().into());
            return layer;
        }
        let file = host.core().disks.find(path).expect("every image has its file") as usize;
        if is_marked_dirty(&host.core().disks.files[file].bytes) {
            repair(host, path).await;
        }
        let disk = host.open(path, OpenMode::ReadOnly).await.expect("every image has its file");
        match check(&*disk).await {
            Ok(report) => {
                (layer.corruptions, layer.leaks) = (report.corruptions, report.leaks);
                layer.damage = report.lines;
                let stale_clusters = stale_clusters(&host.core().disks.files[file].bytes);
                layer.snapshots = snapshots(&host.core().disks.files[file].bytes);
                layer.vouched = vouched(&host.core().disks.files[file].bytes);
                let (taken, all) = (report.allocated_clusters, report.total_clusters);
                layer.allocation =
                    Some(Allocation { taken_clusters: taken, all_clusters: all, stale_clusters });
            }
            Err(error) => {
                layer.corruptions = 1;
                layer.damage = vec![format!("it cannot be checked: {error}")];
            }
        }
        match Qcow2::open(disk, path, false).await {
            Ok(image) => {
                layer.bitmaps = kept(&image).await;
                layer.backing = image.backing().map(|backing| plain_name(&backing.file));
                layer.image = Image::Qcow2(image);
            }
            Err(error) => layer.image = Image::Unreadable(error.to_string()),
        }
        layer
    }
}

/// The bitmaps of an image, unless their tables cannot be read; one that was not stored as it was last is left out.
async fn kept(image: &Qcow2) -> Vec<Kept> {
    let stored = image.load_bitmaps().await.unwrap_or_default();
    let is_known = |bitmap: &&StoredBitmap| !bitmap.is_inconsistent;
    let keep = |bitmap: &StoredBitmap| {
        let granules: u64 = bitmap.dirty.iter().map(|range| range.end - range.start).sum();
        Kept { name: bitmap.name.to_string(), dirty_bytes: granules * u64::from(bitmap.granularity) }
    };
    stored.iter().filter(is_known).map(keep).collect()
}

/// A bitmap that an image keeps.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Kept {
    /// Its name.
    pub name: String,
    /// How many bytes are dirty in it.
    pub dirty_bytes: u64,
}

/// The file that a name leads to: a name may be options in JSON, whose innermost `filename` is the file, unless an image
/// lies within an image there: that is no file of its own. An image on a device behind NBD goes by the name of its export.
pub fn plain_name(name: &str) -> String {
    let options = name.strip_prefix("json:").and_then(|json| serde_json::from_str::<Value>(json).ok());
    let found = options.as_ref().and_then(|options| innermost(options, OPTIONS_DEPTH_MAX));
    if let Some(export) = name.strip_prefix("nbd+unix://") {
        return export.split('?').next().unwrap_or(export).to_owned();
    }
    found.unwrap_or_else(|| name.to_owned())
}

/// Options nested deeper than this name no file anybody made.
const OPTIONS_DEPTH_MAX: usize = 32;

fn innermost(options: &Value, depth: usize) -> Option<String> {
    let member = |name: &str| options.get(name);
    let below = ["file", "image"].into_iter().filter_map(member).find(|child| child.is_object());
    match (below, depth) {
        (Some(below), _) if below["driver"] == "qcow2" => None,
        (Some(below), 1..) => innermost(below, depth - 1),
        _ if options.get("driver").is_some_and(|driver| driver == "nbd") => {
            Some(format!("/{}", options.get("export")?.as_str()?))
        }
        _ => Some(options.get("filename")?.as_str()?.to_owned()),
    }
}

async fn show(layers: &[Layer], index: usize, views: &mut [View]) -> Recovered {
    let mut recovered = Recovered {
        file: layers[index].path.clone(),
        values: Ok(Vec::new()),
        chain: Vec::new(),
        corruptions: layers[index].corruptions,
        leaks: layers[index].leaks,
        allocation: layers[index].allocation.clone(),
        damage: layers[index].damage.clone(),
        bitmaps: layers[index].bitmaps.clone(),
        snapshots: layers[index].snapshots.clone(),
        vouched: layers[index].vouched.clone(),
    };
    let mut chain: Vec<usize> = vec![index];
    while let Some(name) = &layers[chain[chain.len() - 1]].backing {
        let Some(below) = layers.iter().position(|l| l.path == *name) else {
            recovered.values = Err(format!(
                "{} names a backing file {name} that does not exist",
                layers[chain[chain.len() - 1]].path
            ));
            break;
        };
        if chain.len() > layers.len() {
            recovered.values = Err(format!("the chain of {} comes back to {name}", layers[index].path));
            break;
        }
        chain.push(below);
    }
    recovered.chain = chain.iter().map(|layer| layers[*layer].path.clone()).collect();
    if recovered.values.is_ok() {
        recovered.values = view(layers, &chain, views).await;
    }
    recovered
}

/// Reads through a chain, from its lowest layer up. Each layer is read once: whoever stands on it reads through it.
async fn view(layers: &[Layer], chain: &[usize], views: &mut [View]) -> Result<Vec<Tag>, String> {
    let mut below = None;
    for index in chain.iter().rev() {
        if views[*index].is_none() {
            views[*index] = Some(read(&layers[*index], below.take()).await);
        }
        below = views[*index].clone().transpose()?;
    }
    Ok(tags(below.as_deref().map_or(&[][..], Vec::as_slice)))
}

/// Reads a layer, with what its readers see below it.
async fn read(layer: &Layer, below: Option<Bytes>) -> Result<Bytes, String> {
    match &layer.image {
        Image::Unreadable(why) => Err(why.clone()),
        Image::Raw(raw) => Ok(raw.clone()),
        Image::Qcow2(image) => {
            let mut bytes = vec![0; image.len_bytes() as usize];
            let read = image.read(0, &mut bytes, &Seen(below)).await;
            read.map_err(|errno| format!("{} cannot be read: {errno}", layer.path))?;
            Ok(bytes.into())
        }
    }
}

/// What a reader of the layer below sees, already read.
struct Seen(Option<Bytes>);

impl Below for Seen {
    fn exists(&self) -> bool {
        self.0.is_some()
    }

    fn read<'a>(&'a self, offset: u64, buffer: &'a mut [u8]) -> Pending<'a, IoResult<()>> {
        let bytes = self.0.as_deref().map_or(&[][..], Vec::as_slice);
        let from = (offset as usize).min(bytes.len());
        let there = (bytes.len() - from).min(buffer.len());
        buffer[..there].copy_from_slice(&bytes[from..from + there]);
        buffer[there..].fill(0);
        Box::pin(std::future::ready(Ok(())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use midstream::content::initial_tag;
    use midstream::strategy;

    /// What a reader of an image sees, composed from what each layer was built from.
    fn composed(scenario: &Scenario, index: usize) -> Vec<Tag> {
        let image = &scenario.images[index];
        let below = image.backing.map(|below| composed(scenario, below)).unwrap_or_default();
        let from_below = |sector: usize| below.get(sector).copied().unwrap_or(0);
        image
            .values()
            .iter()
            .enumerate()
            .map(|(sector, own)| own.unwrap_or_else(|| from_below(sector)))
            .collect()
    }

    #[test]
    fn a_name_in_json_leads_to_its_innermost_file_unless_an_image_lies_within_an_image() {
        let through = r#"json:{"driver":"qcow2","file":{"driver":"blkdebug","image":{"driver":"file","filename":"/n0"}}}"#;
        assert_eq!(plain_name(through), "/n0");
        let within =
            r#"json:{"driver":"qcow2","file":{"driver":"qcow2","file":{"driver":"file","filename":"/t0"}}}"#;
        assert_eq!(plain_name(within), within);
        assert_eq!(plain_name("/n0.qcow2"), "/n0.qcow2");
    }

    #[test]
    fn files_as_built_are_sound_and_show_what_they_were_built_from() {
        for seed in 0..300 {
            let scenario = Scenario::draw(&mut strategy::of_seed(seed));
            let all = read_all(&scenario, &mut scenario.files()).expect("it ends");
            assert_eq!(all.len(), scenario.images.len());
            for (index, recovered) in all.iter().enumerate() {
                assert_eq!(
                    recovered.values,
                    Ok(composed(&scenario, index)),
                    "seed {seed}, {}",
                    recovered.file
                );
                assert_eq!(recovered.corruptions, 0, "seed {seed}, {}", recovered.file);
                assert_eq!(recovered.chain.len(), scenario.below(index).len() + 1);
            }
        }
    }

    #[test]
    fn a_file_that_lost_its_header_or_its_backing_is_reported() {
        let scenario = Scenario::chain(&["dd", ".d", "d."]);
        let mut files = scenario.files();
        files[0][0] = 0;
        let all = read_all(&scenario, &mut files).expect("it ends");
        assert!(all.iter().all(|recovered| recovered.values.is_err()), "{all:?}");
        assert_eq!(all[0].corruptions, 1);
        let mut images = scenario.files();
        let name = images[1].windows(9).position(|w| w == b"/n0.qcow2").expect("its backing file's name");
        images[1][name + 1] = b'm';
        let all = read_all(&scenario, &mut images).expect("it ends");
        assert_eq!(all[0].values, Ok(vec![initial_tag(0, 0), 1 << 32 | 2, 1 << 32 | 3, 1 << 32 | 4]));
        assert!(all[1].values.is_err(), "{:?}", all[1]);
    }
}
