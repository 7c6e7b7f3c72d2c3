//! Draws the images of a run: how large, in which form, what each layer holds, and the spare ones beside the chain.

use super::image::{Cluster, Features, Format, Image, Vouching};
use super::scenario::World;
use midstream::choice::Draw;

/// Spare images of a run whose commands need any.
const SPARES: u32 = 2;
/// The smallest clusters that can have subclusters, which are a sector each.
const SUBCLUSTERS_BITS: u32 = 14;
/// Which features an image of a simulated world has; 0 is none.
const RARE_FEATURES: [u32; 32] = [
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    LEFTOVERS,
    LEFTOVERS,
    LEFTOVERS,
    6,
    6,
    6,
    4,
    SHARED_SUBCLUSTERS,
];
/// The number of subclusters in clusters that a snapshot shares.
const SHARED_SUBCLUSTERS: u32 = 9;
/// The number of what a shrink left that was cut short.
const LEFTOVERS: u32 = 8;
/// Regions of a layer whose content is decided one by one.
const REGIONS: u64 = 12;

/// How many sectors the first layer has. In the largest of a simulated world, an image of the smallest clusters has five L2
/// tables and two refcount blocks; in that of a wide live one a stream has several chunks, and a copy several workers.
fn sizes(world: World) -> &'static [u32] {
    match world {
        World::Simulated => &[16, 16, 32, 32, 64, 128, 16, 16, 32, 32, 64, 320],
        World::Narrow => &[16, 16, 32, 32, 64, 128],
        World::Wide => &[64, 128, 128, 320, 512, 1024, 2048, 4096],
    }
}

pub(super) fn draw_images(draw: &mut Draw<'_>, world: World) -> Vec<Image> {
    let count = draw.entry("images", [0; 3], &[2, 3, 3, 3, 4, 4, 5]);
    let sectors: u32 = draw.entry("sectors", [0; 3], sizes(world));
    // One run in eight has several layers that are shorter than what they stand on.
    let is_short = world == World::Simulated && draw.below("short layers", [0; 3], 8) == 1;
    let fork = count > 2 && draw.below("fork", [0; 3], 4) == 1;
    let raw_base = draw.below("raw base", [0; 3], 4) == 1;
    (0..count)
        .map(|layer: u32| {
            let format = if layer == 0 && raw_base { Format::Raw } else { draw_format(draw, layer, world) };
            // Most layers are as large as the first one; a short or odd one is where engines go wrong.
            let sectors = match draw.below("layer # size", [layer, 0, 0], 10) {
                3..=6 if is_short && layer > 0 => sectors / 2,
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
            // Of a simulated image, its features say how large its clusters are.
            let early = (world == World::Simulated).then(|| draw_features(draw, layer, format, world));
            let (format, features) = early.unwrap_or((format, Features::default()));
            let mut clusters = draw_clusters(draw, layer, format, u64::from(sectors) * 512);
            if features.leftovers {
                clusters.push(Cluster::Data);
            }
            let path = format!("/n{layer}.{}", format.driver());
            let vouching = match world {
                World::Narrow => Vouching::Nothing,
                World::Simulated | World::Wide => draw_vouching(draw, layer, format),
            };
            let features = match world {
                World::Wide => draw_features(draw, layer, format, world).1,
                World::Simulated | World::Narrow => features,
            };
            let size_bytes = u64::from(sectors) * 512;
            Image { layer, path, format, size_bytes, backing, clusters, vouching, features }
        })
        .collect()
}

/// Empty images beside the chain. The header of some names the topmost layer, as an operator prepares one who is going
/// to put it on top, or to mirror only the top into it.
pub(super) fn draw_spares(draw: &mut Draw<'_>, images: &mut Vec<Image>, world: World) {
    let top = images.len() - 1;
    for spare in 0..SPARES {
        let layer = images.len() as u32;
        let of = [spare, 0, 0];
        let raw = draw.below("spare # raw", of, 6) == 1;
        let format = if raw { Format::Raw } else { draw_format(draw, layer, world) };
        let size_bytes = match draw.below("spare # size", of, 10) {
            0..=8 => images[top].size_bytes,
            _ => images[top].size_bytes + 1536,
        };
        let backing = (!raw && draw.below("spare # names top", of, 2) == 1).then_some(top);
        let (format, features) = draw_features(draw, layer, format, world);
        let features = Features { leftovers: false, ..features };
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
            features,
        });
    }
}

fn draw_format(draw: &mut Draw<'_>, layer: u32, world: World) -> Format {
    let bits: &[u32] = match world {
        World::Simulated | World::Narrow => &[10, 10, 9, 9, 11, 12],
        World::Wide => &[10, 9, 12, 16, 16, 16],
    };
    let cluster_bits = draw.entry("layer # cluster bits", [layer, 0, 0], bits);
    match draw.below("layer # format", [layer, 0, 0], 10) {
        0..=6 => Format::Qcow2 { version: 3, cluster_bits, refcount_order: 4 },
        7 => Format::Qcow2 { version: 2, cluster_bits, refcount_order: 4 },
        _ => {
            let orders: &[u32] = match world {
                // The widest refcounts fill a block first: the next one is soon needed.
                World::Simulated => &[4, 0, 1, 2, 3, 5, 6, 6, 6],
                World::Narrow | World::Wide => &[4, 0, 1, 2, 3, 5, 6],
            };
            let refcount_order = draw.entry("layer # refcount order", [layer, 0, 0], orders);
            Format::Qcow2 { version: 3, cluster_bits, refcount_order }
        }
    }
}

/// What an image has of its format: most have nothing. In a simulated world one with subclusters has the smallest clusters that
/// can have any.
fn draw_features(draw: &mut Draw<'_>, layer: u32, format: Format, world: World) -> (Format, Features) {
    let Format::Qcow2 { version: 3, cluster_bits, refcount_order } = format else {
        return (format, Features::default());
    };
    let of = [layer, 0, 0];
    let drawn = match world {
        World::Simulated => draw.entry("layer # features", of, &RARE_FEATURES),
        World::Narrow => 0,
        World::Wide => draw.below("layer # features", of, 8),
    };
    let has_subclusters = matches!(drawn, 5 | 7 | SHARED_SUBCLUSTERS);
    let bits = if world == World::Simulated && has_subclusters { SUBCLUSTERS_BITS } else { cluster_bits };
    let features = Features {
        lazy_refcounts: matches!(drawn, 4 | 7),
        extended_l2: has_subclusters && bits >= SUBCLUSTERS_BITS,
        snapshot: matches!(drawn, 6 | SHARED_SUBCLUSTERS) && refcount_order > 0,
        leftovers: drawn == LEFTOVERS,
    };
    (Format::Qcow2 { version: 3, cluster_bits: bits, refcount_order }, features)
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

pub(super) fn draw_read_only(draw: &mut Draw<'_>, images: &[Image]) -> Vec<bool> {
    (0..images.len())
        .map(|index| {
            let is_root = images.iter().all(|other| other.backing != Some(index));
            let odd = draw.below("layer # odd mode", [index as u32, 0, 0], 6) == 1;
            is_root == odd
        })
        .collect()
}

pub(super) fn draw_chunk(draw: &mut Draw<'_>, images: &[Image]) -> u64 {
    let largest = images.iter().map(|i| i.format.cluster_bytes()).max().expect("there are images");
    let sectors = images.iter().map(Image::sectors).max().expect("there are images");
    // A wide image in small chunks would be a run of nothing else.
    let wide = sectors.div_ceil(128).next_power_of_two();
    largest * wide * draw.entry("chunk clusters", [0; 3], &[1, 2, 4])
}
