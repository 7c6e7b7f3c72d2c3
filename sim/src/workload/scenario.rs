//! Draws what a world is built from: images and their content, nodes, guests, clients, faults, crash.
//!
//! First a profile is drawn (swarm): which kinds of things happen at all, and how often. Then every slot is drawn at
//! its own named choice, where 0 is the default.

use super::client::{self, ClientPlan};
use super::faults;
use super::guest::{self, GuestPlan};
use super::image::{Cluster, Features, Format, Image, Vouching};
use super::images;
use super::increments;
use super::lies::{self, Rot};
use super::patient;
use super::threads::{THREADS, Threads};
use midstream::choice::{Choices, Draw};
use midstream::request::PROFILES;
use midstream::world::crash::{self, Crash, WhatIf};
use midstream::world::fault::{Effect, Fault};
use midstream::world::repertoire::Repertoire;

/// Slots of a run; what is drawn into most of them may be nothing.
const GUESTS: u32 = 3;
const GUESTS_WIDE: u32 = 5;
const CLIENTS: u32 = 3;
/// How many tables of an image stay in memory.
const TABLES_MAX: [Option<usize>; 4] = [None, None, None, Some(4)];

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
    /// In which threads a live daemon serves its exports.
    pub threads: Threads,
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
    /// Of how many clusters guests come to the same ones, where they meet; nothing: they come to all.
    pub hot_clusters: Option<u64>,
    /// Whether they do so without a pause; nor do clients that only have verbs rest.
    pub is_storm: bool,
    /// Which world it is drawn for.
    pub world: World,
}

/// Which world a run is drawn for.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum World {
    /// A simulated one.
    Simulated,
    /// A live daemon, with small images and the commands that the first recorded sequences had.
    Narrow,
    /// A live daemon, with images of common sizes and everything else that its specification knows.
    Wide,
}

impl Scenario {
    /// Draws a scenario of a simulated world.
    pub fn draw(choices: &mut Choices) -> Scenario {
        let mut scenario = Scenario::draw_on(choices, &faults::OF_ENGINE, World::Simulated);
        let mut draw = Draw::new(choices);
        if scenario.guests.iter().any(|guest| guest.restless.is_some()) {
            scenario.byte_nanos = draw.entry("disk bandwidth", [0; 3], &[0, 0, 20, 1_000]);
        }
        scenario.has_large_sectors = draw.below("disk sectors", [0; 3], 4) == 1;
        let (lies, rots) = lies::draw(&mut draw, &scenario.images);
        scenario.faults.extend(lies);
        scenario.rots = rots;
        scenario.clients.extend(increments::draw(&mut draw, &scenario));
        scenario
    }

    /// Draws a scenario of a live daemon, whose disks are as they are.
    pub fn draw_live(choices: &mut Choices) -> Scenario {
        let worlds = [World::Narrow, World::Wide];
        let world = Draw::new(choices).entry("live world", [0; 3], &worlds);
        let mut scenario = Scenario::draw_on(choices, &faults::OF_LIVE, world);
        if world == World::Wide {
            let operator = increments::draw(&mut Draw::new(choices), &scenario);
            scenario.clients.extend(operator);
        }
        scenario
    }

    fn draw_on(choices: &mut Choices, disks: &Repertoire, world: World) -> Scenario {
        let is_live = world != World::Simulated;
        let mut draw = Draw::new(choices);
        let (commands, operations) =
            (draw_commands(&mut draw, world), draw.below("profile operations", [0; 3], PROFILES));
        let heat = match world {
            World::Narrow => 0,
            World::Simulated | World::Wide => draw.below("profile hot", [0; 3], 4),
        };
        let is_storm = world == World::Simulated && heat == 3;
        let storm = if is_storm { draw.entry("storm clusters", [0; 3], &[1, guest::HOT]) } else { 0 };
        let hot_clusters = if is_storm { Some(storm) } else { (heat == 1).then_some(guest::HOT) };
        let profile = Profile { commands, operations, hot_clusters, is_storm, world };
        let mut images = images::draw_images(&mut draw, world);
        let layers = images.len();
        let read_only = images::draw_read_only(&mut draw, &images);
        let nodes = draw.entry("nodes", [0; 3], &[Nodes::Named, Nodes::Named, Nodes::InlineFile]);
        let stream_chunk_bytes = images::draw_chunk(&mut draw, &images);
        if client::needs_spares(profile.commands) {
            images::draw_spares(&mut draw, &mut images, world);
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
            threads: match world {
                World::Wide => draw.entry("iothreads", [0; 3], &THREADS),
                World::Simulated | World::Narrow => Threads::Main,
            },
            images,
        };
        for guest in 0..if world == World::Wide { GUESTS_WIDE } else { GUESTS } {
            scenario.guests.extend(guest::draw(&mut draw, &scenario, profile, guest));
        }
        // Who never rests meets disks that answer in an order of their own, and disks that are as fast as they are.
        if scenario.guests.iter().any(|guest| guest.restless.is_some()) {
            scenario.request_nanos = draw.entry("disk speed", [0; 3], &[0, 100_000, 10_000_000]);
        }
        // The last operator may be one who follows a job.
        let can_follow = world == World::Simulated && client::needs_spares(profile.commands);
        let follows = can_follow && draw.below("patient", [0; 3], 2) == 1;
        for client in 0..CLIENTS {
            let draw_one = if follows && client + 1 == CLIENTS { patient::draw } else { client::draw };
            scenario.clients.push(draw_one(&mut draw, &scenario, profile, client));
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
            threads: Threads::Main,
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
        features: Features::default(),
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
fn draw_commands(draw: &mut Draw<'_>, world: World) -> u32 {
    let plain = draw_stream_commands(draw);
    let tables: [Option<u32>; 10] =
        [None, None, None, None, Some(4), Some(5), Some(6), Some(7), Some(8), Some(9)];
    let tables = if world == World::Narrow { &tables[..8] } else { &tables };
    draw.entry("profile all jobs", [0; 3], tables).unwrap_or(plain)
}
