//! Draws the commands that change nodes and links while jobs run: reopen, snapshot, resize, headers and bitmaps.

use super::client::{execute, image};
use super::guest::{Place, Request};
use super::image::{BITMAP, Format, Image, Vouching};
use super::scenario::{Profile, Scenario, World};
use midstream::choice::Draw;
use midstream::content::SECTOR_BYTES;
use midstream::request::Operation;
use midstream::world::fault::{Fault, Kind};

/// `blockdev-reopen` of one layer: as it is, read-only or not, or standing on something else. Or of two layers in one
/// command, each of which may have the other mode.
pub fn reopen(draw: &mut Draw<'_>, scenario: &Scenario, profile: Profile, of: [u32; 3]) -> String {
    let layer = image(draw, scenario, of);
    let second = match profile.world {
        World::Narrow => 0,
        World::Simulated | World::Wide => draw.below("client # command # second", of, 8) as usize,
    };
    // Where a disk is to fail at it, somebody tries, with another node before it that has to be put back.
    let is_struck = |fault: &&Fault| fault.kind == Kind::Reopen && (fault.file as usize) < scenario.layers;
    let struck = scenario.faults.iter().find(is_struck).map(|fault| fault.file as usize);
    let second = second.checked_sub(4).map(|other| struck.unwrap_or(other % scenario.layers));
    let second = second.filter(|other| *other != layer);
    let others = if struck.is_some() && second.is_some() { 2 } else { 4 };
    let first = options_of(draw, scenario, of, layer, others);
    let both = match second {
        Some(other) => format!("{first},{}", other_mode_of(scenario, other)),
        None => first,
    };
    execute("blockdev-reopen", &format!(r#""options":[{both}]"#))
}

/// A layer as it is, but in the other mode.
fn other_mode_of(scenario: &Scenario, layer: usize) -> String {
    let backing = match (scenario.images[layer].format, scenario.below(layer).first()) {
        (Format::Raw, _) => String::new(),
        (_, Some(below)) => format!(r#","backing":"n{below}""#),
        (_, None) => r#","backing":null"#.to_owned(),
    };
    options(scenario, layer, &backing, !scenario.read_only[layer])
}

fn options(scenario: &Scenario, layer: usize, backing: &str, read_only: bool) -> String {
    let driver = scenario.images[layer].format.driver();
    format!(
        r#"{{"driver":"{driver}","node-name":"n{layer}","file":"f{layer}"{backing},"read-only":{read_only},"discard":"unmap"}}"#
    )
}

/// The options of one layer: one in so many has the other mode.
fn options_of(draw: &mut Draw<'_>, scenario: &Scenario, of: [u32; 3], layer: usize, others: u32) -> String {
    let facts = &scenario.images[layer];
    let is_other = draw.below("client # command # other mode", of, others) == 1;
    let read_only = scenario.read_only[layer] != is_other;
    let below = scenario.below(layer);
    let backing = match (facts.format, draw.below("client # command # new backing", of, 8)) {
        (Format::Raw, _) => String::new(),
        (_, 6) => r#","backing":null"#.to_owned(),
        (_, 7) if below.len() > 1 => format!(r#","backing":"n{}""#, below[1]),
        _ => match below.first() {
            Some(below) => format!(r#","backing":"n{below}""#),
            None => r#","backing":null"#.to_owned(),
        },
    };
    options(scenario, layer, &backing, read_only)
}

/// `blockdev-snapshot`: a spare image goes on top of a layer.
pub fn snapshot(draw: &mut Draw<'_>, scenario: &Scenario, of: [u32; 3]) -> String {
    let layer = match draw.below("client # command # device", of, 4) {
        0..=2 => scenario.layers - 1,
        _ => image(draw, scenario, of),
    };
    let overlay = draw.below("client # command # overlay", of, 8) as usize % scenario.spares().max(1);
    execute("blockdev-snapshot", &format!(r#""node":"n{layer}","overlay":"t{overlay}""#))
}

/// `block_resize`: a little longer, past what the last table maps, shorter, or to an odd size.
pub fn resize(draw: &mut Draw<'_>, scenario: &Scenario, of: [u32; 3]) -> String {
    let layer = match draw.below("client # command # device", of, 4) {
        0..=2 => scenario.layers - 1,
        _ => image(draw, scenario, of),
    };
    // Where a disk is to fail at it, somebody tries.
    let struck = scenario.faults.iter().find(|fault| fault.kind == Kind::Resize);
    let layer = struck.map_or(layer, |fault| fault.file as usize);
    let sectors = scenario.images[layer].sectors();
    let sectors = match draw.below("client # command # new size", of, 8) {
        0 | 1 => sectors + 8,
        2 => past_the_last_table(&scenario.images[layer]).unwrap_or(sectors + 8),
        3 => sectors + 1,
        4 => sectors * 2,
        5 => sectors,
        6 => sectors - sectors / 4,
        _ => sectors / 2 + 1,
    };
    let size = sectors * SECTOR_BYTES as u64;
    execute("block_resize", &format!(r#""node-name":"{}","size":{size}"#, scenario.node(layer)))
}

/// So many sectors that an image of these needs one more table; unless they were too many for a small world.
fn past_the_last_table(image: &Image) -> Option<u64> {
    const MORE_MAX: u64 = 256;
    let entry_bytes = if image.features.extended_l2 { 16 } else { 8 };
    let cluster_bytes = image.format.cluster_bytes();
    let per_table = cluster_bytes / entry_bytes * (cluster_bytes / SECTOR_BYTES as u64);
    let sectors = image.sectors().next_multiple_of(per_table) + 1;
    (image.format != Format::Raw && sectors - image.sectors() <= MORE_MAX).then_some(sectors)
}

/// `change-backing-file`: the header of a layer names what lies below it, or what lies further down.
pub fn change_backing_file(draw: &mut Draw<'_>, scenario: &Scenario, of: [u32; 3]) -> String {
    let layer = image(draw, scenario, of);
    let below = scenario.below(layer);
    let backing = below.first().map_or("/n0.qcow2", |below| scenario.images[*below].path.as_str());
    let top = scenario.layers - 1;
    execute(
        "change-backing-file",
        &format!(r#""device":"n{top}","image-node-name":"n{layer}","backing-file":"{backing}""#),
    )
}

/// `block-dirty-bitmap-add`, `-clear`, `-remove`, `-disable` and `-enable`; the mark past which a write is reported; internal snapshots; and a command
/// of which the model knows nothing.
pub fn mark(draw: &mut Draw<'_>, scenario: &Scenario, profile: Profile, of: [u32; 3]) -> String {
    let layer =
        if profile.world == World::Narrow { image(draw, scenario, of) } else { marked(draw, scenario, of) };
    let words: &[&str] = match profile.world {
        World::Narrow => &["add", "add", "clear", "remove", "mark"],
        World::Wide => {
            &["add", "add", "clear", "remove", "mark", "snapshot", "snapshot", "delete", "object", "mark"]
        }
        World::Simulated => &[
            "add", "add", "clear", "remove", "mark", "snapshot", "snapshot", "delete", "object", "mark",
            "delete", "disable", "enable", "enable",
        ],
    };
    let verb = draw.entry("client # command # bitmap", of, words);
    let top = scenario.layers - 1;
    // An image of version 2 cannot say that its flags are behind: what a kill leaves of a snapshot half made is harmless there,
    // and no check distinguishes it from damage.
    let is_old = matches!(scenario.images[top].format, Format::Qcow2 { version: 2, .. });
    match if is_old && verb == "snapshot" { "object" } else { verb } {
        "snapshot" => {
            return execute("blockdev-snapshot-internal-sync", &format!(r#""device":"n{top}","name":"s0""#));
        }
        "delete" => {
            let name = "blockdev-snapshot-delete-internal-sync";
            let gone = if scenario.images[top].features.snapshot { "s" } else { "s0" };
            return execute(name, &format!(r#""device":"n{top}","name":"{gone}""#));
        }
        "object" => return execute("object-add", r#""qom-type":"throttle-group","id":"g0""#),
        _ => {}
    }
    if verb == "mark" {
        let bytes = match profile.world {
            World::Narrow => 4096,
            World::Simulated | World::Wide => threshold(draw, scenario, layer, of),
        };
        let arguments = format!(r#""node-name":"n{layer}","write-threshold":{bytes}"#);
        return execute("block-set-write-threshold", &arguments);
    }
    let kind = match verb {
        "add" => {
            let kind = draw.entry("client # command # persistent", of, &["", r#","persistent":true"#]);
            let fine = match profile.world {
                World::Narrow => "",
                World::Simulated | World::Wide => {
                    let fine = r#","granularity":512"#;
                    let coarse = if profile.world == World::Wide { fine } else { r#","granularity":2048"# };
                    draw.entry("client # command # fine", of, &["", fine, fine, coarse])
                }
            };
            format!("{kind}{fine}")
        }
        _ => String::new(),
    };
    // The one that an image has from the beginning, where it has one.
    let is_first = profile.world == World::Simulated && scenario.images[layer].vouching == Vouching::Bitmap;
    let name = if is_first && ["enable", "disable", "clear"].contains(&verb) { BITMAP } else { "b0" };
    execute(&format!("block-dirty-bitmap-{verb}"), &format!(r#""node":"n{layer}","name":"{name}"{kind}"#))
}

/// A layer to put a mark on: mostly one where some guest is, for nobody else's changes are followed.
fn marked(draw: &mut Draw<'_>, scenario: &Scenario, of: [u32; 3]) -> usize {
    let whose = draw.below("client # command # whose", of, 4) as usize;
    match scenario.guests.len() {
        guests if guests > 0 && whose > 0 => scenario.guests[whose % guests].image,
        _ => image(draw, scenario, of),
    }
}

/// Where a mark is: half of them at the end of what some guest writes there, or a sector before it.
fn threshold(draw: &mut Draw<'_>, scenario: &Scenario, layer: usize, of: [u32; 3]) -> u64 {
    const FIXED: [Option<u64>; 12] = {
        let [a, b, c] = [Some(512), Some(1024), Some(3072)];
        [Some(4096), a, b, c, Some(8192), Some(0), None, None, None, None, None, None]
    };
    if let Some(bytes) = draw.entry("client # command # threshold", of, &FIXED) {
        return bytes;
    }
    let here = scenario.guests.iter().filter(|guest| guest.image == layer);
    let size = scenario.images[layer].sectors();
    let end = |request: &Request| match (request.operation, request.place) {
        (Operation::Write | Operation::WriteZeroes, Place::Sector(first)) => {
            Some((first + request.sectors).min(size))
        }
        _ => None,
    };
    let ends: Vec<u64> = here.flat_map(|guest| guest.lanes.iter().flatten().filter_map(end)).collect();
    let which = draw.below("client # command # write", of, 16) as usize;
    let before = u64::from(draw.below("client # command # before", of, 2));
    ends.get(which % ends.len().max(1)).map_or(4096, |end| (end - before) * SECTOR_BYTES as u64)
}
