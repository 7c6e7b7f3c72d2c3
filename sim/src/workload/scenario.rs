//! Draws what a world is built from: images and their content, nodes, guests, clients, faults, crash.
//!
//! First a profile is drawn (swarm): which kinds of things happen at all, and how often. Then every slot is drawn at
//! its own named choice, where 0 is the default.

use super::client::{self, ClientPlan};
use super::faults;
use super::guest::{self, GuestPlan};
use super::image::{Cluster, Format, Image, Vouching};
use super::lies::{self, Rot};
use midstream::choice::{Choices, Draw};
use midstream::request::PROFILES;
use midstream::world::crash::{self, Crash, WhatIf};
use midstream::world::fault::{Effect, Fault};
use midstream::world::repertoire::Repertoire;

/// Slots of a run; what is drawn into most of them may be nothing.
const GUESTS: u32 = 3;
const CLIENTS: u32 = 3;
/// Spare images of a run whose commands need any.
const SPARES: u32 = 2;
/// How many tables of an image stay in memory.
const TABLES_MAX: [Option<usize>; 4] = [None, None, None, Some(4)];
/// Regions of a layer whose content is decided one by one.
const REGIONS: u64 = 12;

/// Everything a world is built from and everything done to it, as plain data.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Scenario {
    /// Images, from the bottom up: a backing image comes before its overlays. Behind the layers lie the spare ones.
    pub images: Vec<Image>,
    /// How many of them are layers of the chain; the others are there to be mirrored or backed up into, or to be put
    /// on top as a snapshot.
    pub layers: usize,
    /// Which nodes are opened read-only.
    pub read_only: Vec<bool>,
    /// How nodes are added.
    pub nodes: Nodes,
    /// How much a stream copies at a time.
    pub stream_chunk_bytes: u64,
    /// How many tables of one image the engine keeps in memory, if not as many as it likes.
    pub tables_max: Option<usize>,
    /// Guests, each on one node.
    pub guests: Vec<GuestPlan>,
    /// Operators, each with a script.
    pub clients: Vec<ClientPlan>,
    /// Faults, armed when the scripts begin.
    pub faults: Vec<Fault>,
    /// Bits that flip: the disks lie, and the run is judged for safety alone. So it is if a fault is a lie.
    pub rots: Vec<Rot>,
    /// Whether disks have sectors of 4 KiB.
    pub has_large_sectors: bool,
    /// How long a request is on its way to a disk, in virtual time. 0 for disks without a speed: a request takes as long
    /// as the schedule lets it.
    pub request_nanos: u64,
    /// How long a disk is busy with each byte that it moves. 0 for disks of any bandwidth.
    pub byte_nanos: u64,
    /// The end of the world, if it comes early.
    pub crash: Option<Crash>,
    /// When the run is looked at as if the world ended there.
    pub what_ifs: Vec<WhatIf>,
}

/// How `blockdev-add` builds a node.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub enum Nodes {
    /// A file node by itself, then the format node on it, its backing by reference: libvirt's way.
    #[default]
    Named,
    /// The file node inside the format node's options.
    InlineFile,
}

/// Which kinds of things a run does, and how often.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Profile {
    /// Index of the table of commands.
    pub commands: u32,
    /// Index of the table of guest operations.
    pub operations: u32,
    /// Whether guests come to the same few places, where they meet.
    pub is_hot: bool,
    /// Whether it is of a live daemon, whose recorded sequences are to be drawn as they were.
    pub is_live: bool,
}

impl Scenario {
    /// Draws a scenario of a simulated world.
    pub fn draw(choices: &mut Choices) -> Scenario {
        let mut scenario = Scenario::draw_on(choices, &faults::OF_ENGINE, false);
        let mut draw = Draw::new(choices);
        if scenario.guests.iter().any(|guest| guest.restless.is_some()) {
            scenario.byte_nanos = draw.entry("disk bandwidth", [0; 3], &[0, 0, 20, 1_000]);
        }
        scenario.has_large_sectors = draw.below("disk sectors", [0; 3], 4) == 1;
        let (lies, rots) = lies::draw(&mut draw, &scenario.images);
        scenario.faults.extend(lies);
        scenario.rots = rots;
        scenario
    }

    /// Draws a scenario of a live daemon, whose disks are as they are.
    pub fn draw_live(choices: &mut Choices) -> Scenario {
        Scenario::draw_on(choices, &faults::OF_LIVE, true)
    }

    fn draw_on(choices: &mut Choices, disks: &Repertoire, is_live: bool) -> Scenario {
        let mut draw = Draw::new(choices);
        let profile = Profile {
            commands: draw_commands(&mut draw, is_live),
            operations: draw.below("profile operations", [0; 3], PROFILES),
            is_hot: !is_live && draw.below("profile hot", [0; 3], 4) == 1,
            is_live,
        };
        let mut images = draw_images(&mut draw, is_live);
        let layers = images.len();
        let read_only = draw_read_only(&mut draw, &images);
        let nodes = draw.entry("nodes", [0; 3], &[Nodes::Named, Nodes::Named, Nodes::InlineFile]);
        let stream_chunk_bytes = draw_chunk(&mut draw, &images);
        if client::needs_spares(profile.commands) {
            draw_spares(&mut draw, &mut images);
        }
        let mut scenario = Scenario {
            read_only,
            layers,
            nodes,
            stream_chunk_bytes,
            tables_max: if is_live { None } else { draw.entry("tables in memory", [0; 3], &TABLES_MAX) },
            guests: Vec::new(),
            clients: Vec::new(),
            faults: faults::draw(&mut draw, &images, disks),
            crash: crash::draw(&mut draw),
            what_ifs: if is_live { Vec::new() } else { crash::draw_what_ifs(&mut draw) },
            rots: Vec::new(),
            has_large_sectors: false,
            request_nanos: 0,
            byte_nanos: 0,
            images,
        };
        for guest in 0..GUESTS {
            scenario.guests.extend(guest::draw(&mut draw, &scenario, profile, guest));
        }
        // Who never rests meets disks that answer in an order of their own, and disks that are as fast as they are.
        if scenario.guests.iter().any(|guest| guest.restless.is_some()) {
            scenario.request_nanos = draw.entry("disk speed", [0; 3], &[0, 100_000, 10_000_000]);
        }
        for client in 0..CLIENTS {
            scenario.clients.push(client::draw(&mut draw, &scenario, profile, client));
        }
        scenario
    }

    /// A chain drawn as text, the lowest layer first, one character for each cluster of 1 KiB: `.` unallocated,
    /// `d` data, `s` striped data, `0` zeroes, `z` zeroes with space, `_` zeroes written out.
    /// All layers but the topmost are read-only; nothing happens in it yet.
    pub fn chain(layers: &[&str]) -> Scenario {
        let images: Vec<Image> =
            layers.iter().enumerate().map(|(layer, drawn)| image_of(layer, drawn)).collect();
        Scenario {
            read_only: (1..=images.len()).map(|above| above < images.len()).collect(),
            layers: images.len(),
            nodes: Nodes::Named,
            stream_chunk_bytes: 1024,
            tables_max: None,
            guests: Vec::new(),
            clients: Vec::new(),
            faults: Vec::new(),
            crash: None,
            what_ifs: Vec::new(),
            rots: Vec::new(),
            has_large_sectors: false,
            request_nanos: 0,
            byte_nanos: 0,
            images,
        }
    }

    /// Name of an image's node.
    pub fn node(&self, image: usize) -> String {
        match image.checked_sub(self.layers) {
            None => format!("n{image}"),
            Some(spare) => format!("t{spare}"),
        }
    }

    /// Whether an image is opened read-only; a spare one never is.
    pub fn is_read_only(&self, image: usize) -> bool {
        image < self.layers && self.read_only[image]
    }

    /// How many images are spare.
    pub fn spares(&self) -> usize {
        self.images.len() - self.layers
    }

    /// The `blockdev-add` commands that build the nodes, in order.
    pub fn setup(&self) -> Vec<String> {
        let mut commands = Vec::with_capacity(self.images.len() * 2);
        for (index, image) in self.images.iter().enumerate() {
            let file = format!(r#""driver":"file","filename":"{}","auto-read-only":true"#, image.path);
            let child = match self.nodes {
                Nodes::Named => {
                    commands.push(add(&format!(r#"{file},"node-name":"f{index}""#)));
                    format!(r#""f{index}""#)
                }
                Nodes::InlineFile => format!(r#"{{{file},"node-name":"f{index}"}}"#),
            };
            let is_spare = index >= self.layers;
            let backing = match (image.format, image.backing) {
                (Format::Raw, _) => String::new(),
                // What a spare's header names becomes its backing when a command puts it there.
                (_, Some(below)) if !is_spare => format!(r#","backing":"{}""#, self.node(below)),
                _ => r#","backing":null"#.to_owned(),
            };
            let (driver, node) = (image.format.driver(), self.node(index));
            let read_only = self.is_read_only(index);
            commands.push(add(&format!(
                r#""driver":"{driver}","node-name":"{node}","file":{child}{backing},"read-only":{read_only},"discard":"unmap""#
            )));
        }
        commands
    }

    /// The files, ready to be read.
    pub fn files(&self) -> Vec<Vec<u8>> {
        let below = |image: &Image| {
            image.backing.map(|b| (self.images[b].path.as_str(), self.images[b].format.driver()))
        };
        self.images.iter().map(|image| image.build(below(image))).collect()
    }

    /// Whether the disks do what no honest disk does.
    pub fn is_on_liars(&self) -> bool {
        let is_lie = |fault: &Fault| matches!(fault.effect, Effect::Lies | Effect::Astray(_));
        !self.rots.is_empty() || self.faults.iter().any(is_lie)
    }

    /// Whether no layer lies on this one.
    pub fn is_root(&self, image: usize) -> bool {
        self.images[..self.layers].iter().all(|other| other.backing != Some(image))
    }

    /// The images below one, nearest first.
    pub fn below(&self, image: usize) -> Vec<usize> {
        std::iter::successors(self.images[image].backing, |i| self.images[*i].backing).collect()
    }
}

fn image_of(layer: usize, drawn: &str) -> Image {
    let cluster = |c: char| match c {
        '.' => Cluster::Unallocated,
        'd' => Cluster::Data,
        's' => Cluster::Striped,
        '0' => Cluster::Zero,
        'z' => Cluster::ZeroAllocated,
        '_' => Cluster::ZeroData,
        other => panic!("'{other}' draws no cluster"),
    };
    Image {
        layer: layer as u32,
        path: format!("/n{layer}.qcow2"),
        format: Format::Qcow2 { version: 3, cluster_bits: 10, refcount_order: 4 },
        size_bytes: drawn.len() as u64 * 1024,
        backing: layer.checked_sub(1),
        clusters: drawn.chars().map(cluster).collect(),
        vouching: Vouching::Nothing,
    }
}

fn add(arguments: &str) -> String {
    format!(r#"{{"execute":"blockdev-add","arguments":{{{arguments}}}}}"#)
}

/// Which table of commands, of those that only start streams.
fn draw_stream_commands(draw: &mut Draw<'_>) -> u32 {
    draw.below("profile commands", [0; 3], client::FIRST_WITH_SPARES)
}

/// Which table of commands: half of the runs stay with streams, the others have every kind of job.
fn draw_commands(draw: &mut Draw<'_>, is_live: bool) -> u32 {
    let plain = draw_stream_commands(draw);
    let tables: [Option<u32>; 10] =
        [None, None, None, None, Some(4), Some(5), Some(6), Some(7), Some(8), Some(9)];
    let tables = if is_live { &tables[..8] } else { &tables };
    draw.entry("profile all jobs", [0; 3], tables).unwrap_or(plain)
}

fn draw_images(draw: &mut Draw<'_>, is_live: bool) -> Vec<Image> {
    let count = draw.entry("images", [0; 3], &[2, 3, 3, 3, 4, 4, 5]);
    // In the widest, an image of the smallest clusters has five L2 tables and two refcount blocks.
    let sizes = [16, 16, 32, 32, 64, 128, 16, 16, 32, 32, 64, 320];
    let sectors: u32 = draw.entry("sectors", [0; 3], if is_live { &sizes[..6] } else { &sizes });
    let fork = count > 2 && draw.below("fork", [0; 3], 4) == 1;
    let raw_base = draw.below("raw base", [0; 3], 4) == 1;
    (0..count)
        .map(|layer: u32| {
            let format = if layer == 0 && raw_base { Format::Raw } else { draw_format(draw, layer) };
            // Most layers are as large as the first one; a short or odd one is where engines go wrong.
            let sectors = match draw.below("layer # size", [layer, 0, 0], 10) {
                0..=6 => sectors,
                7 => sectors / 2,
                8 => sectors - 1,
                _ => sectors / 4 + 3,
            };
            let backing = match layer {
                0 => None,
                // Two overlays on one base: the last image sits beside the one before it.
                _ if fork && layer + 1 == count => Some(layer as usize - 2),
                _ => Some(layer as usize - 1),
            };
            let clusters = draw_clusters(draw, layer, format, u64::from(sectors) * 512);
            let path = format!("/n{layer}.{}", format.driver());
            let vouching = if is_live { Vouching::Nothing } else { draw_vouching(draw, layer, format) };
            Image { layer, path, format, size_bytes: u64::from(sectors) * 512, backing, clusters, vouching }
        })
        .collect()
}

/// Empty images beside the chain. The header of some names the topmost layer, as an operator prepares one who is going
/// to put it on top, or to mirror only the top into it.
fn draw_spares(draw: &mut Draw<'_>, images: &mut Vec<Image>) {
    let top = images.len() - 1;
    for spare in 0..SPARES {
        let layer = images.len() as u32;
        let of = [spare, 0, 0];
        let raw = draw.below("spare # raw", of, 6) == 1;
        let format = if raw { Format::Raw } else { draw_format(draw, layer) };
        let size_bytes = match draw.below("spare # size", of, 10) {
            0..=8 => images[top].size_bytes,
            _ => images[top].size_bytes + 1536,
        };
        let backing = (!raw && draw.below("spare # names top", of, 2) == 1).then_some(top);
        let clusters = vec![Cluster::Unallocated; size_bytes.div_ceil(format.cluster_bytes()) as usize];
        let path = format!("/t{spare}.{}", format.driver());
        images.push(Image {
            layer,
            path,
            format,
            size_bytes,
            backing,
            clusters,
            vouching: Vouching::Nothing,
        });
    }
}

fn draw_format(draw: &mut Draw<'_>, layer: u32) -> Format {
    let cluster_bits = draw.entry("layer # cluster bits", [layer, 0, 0], &[10, 10, 9, 9, 11, 12]);
    match draw.below("layer # format", [layer, 0, 0], 10) {
        0..=6 => Format::Qcow2 { version: 3, cluster_bits, refcount_order: 4 },
        7 => Format::Qcow2 { version: 2, cluster_bits, refcount_order: 4 },
        _ => {
            let refcount_order = draw.entry("layer # refcount order", [layer, 0, 0], &[4, 0, 1, 2, 3, 5, 6]);
            Format::Qcow2 { version: 3, cluster_bits, refcount_order }
        }
    }
}

/// What an image says of its content: most say nothing.
fn draw_vouching(draw: &mut Draw<'_>, layer: u32, format: Format) -> Vouching {
    match (format, draw.below("layer # vouching", [layer, 0, 0], 16)) {
        (Format::Qcow2 { version: 3, .. }, 1) => Vouching::Unknown,
        (Format::Qcow2 { version: 3, .. }, 2 | 3) => Vouching::Bitmap,
        _ => Vouching::Nothing,
    }
}

fn draw_clusters(draw: &mut Draw<'_>, layer: u32, format: Format, size_bytes: u64) -> Vec<Cluster> {
    use Cluster::{Data, Striped, Unallocated, Zero, ZeroAllocated, ZeroData};
    let table: &[Cluster] = match format {
        Format::Raw => &[Unallocated, Data, Data, Data],
        Format::Qcow2 { version: 2, .. } => {
            &[Unallocated, Data, Unallocated, Unallocated, Data, Striped, ZeroData, Unallocated]
        }
        Format::Qcow2 { .. } => {
            &[Unallocated, Data, Unallocated, Unallocated, Data, Striped, Zero, Zero, ZeroAllocated, ZeroData]
        }
    };
    let clusters = size_bytes.div_ceil(format.cluster_bytes());
    let per_region = clusters.div_ceil(REGIONS);
    let mut content = Vec::with_capacity(clusters as usize);
    for region in 0..clusters.div_ceil(per_region.max(1)) {
        let kind = draw.entry("layer # region #", [layer, region as u32, 0], table);
        let len = per_region.min(clusters - content.len() as u64);
        content.extend(std::iter::repeat_n(kind, len as usize));
    }
    content
}

fn draw_read_only(draw: &mut Draw<'_>, images: &[Image]) -> Vec<bool> {
    (0..images.len())
        .map(|index| {
            let is_root = images.iter().all(|other| other.backing != Some(index));
            let odd = draw.below("layer # odd mode", [index as u32, 0, 0], 6) == 1;
            is_root == odd
        })
        .collect()
}

fn draw_chunk(draw: &mut Draw<'_>, images: &[Image]) -> u64 {
    let largest = images.iter().map(|i| i.format.cluster_bytes()).max().expect("there are images");
    let sectors = images.iter().map(Image::sectors).max().expect("there are images");
    // A wide image in small chunks would be a run of nothing else.
    let wide = sectors.div_ceil(128).next_power_of_two();
    largest * wide * draw.entry("chunk clusters", [0; 3], &[1, 2, 4])
}
