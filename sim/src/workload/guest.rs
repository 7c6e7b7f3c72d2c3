//! Draws what guests do: reads, writes, zeroes, discards and flushes, in one or two lanes each.
//!
//! A lane is sequential; lanes of one guest run at the same time, so that requests overlap. Places are biased to
//! the edges of clusters and to where a job is copying. Some guests never rest: when their script is over they go on
//! writing as long as a job works, which must not keep the job from its end.

use super::image::Image;
use super::scenario::{Profile, Scenario, World};
use midstream::choice::Draw;
use midstream::content::{Tag, tag_of_request};
use midstream::request::{Operation, TABLES};

/// Lanes of a guest.
const LANES: u32 = 2;
/// Request slots of a lane.
pub const REQUESTS: u32 = 6;
/// Where guests come to the same places, these are so many clusters.
pub const HOT: u64 = 2;
/// So many places are distinguished, evenly over an image.
const SPOTS: u64 = 128;
/// What a guest does.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GuestPlan {
    /// Its number.
    pub guest: u32,
    /// Index of the image whose node it uses.
    pub image: usize,
    /// Whether it may write.
    pub writable: bool,
    /// Whether it comes by NBD, to an export of its own.
    pub by_nbd: bool,
    /// Steps to think before it attaches.
    pub think: u32,
    /// Scripts that run at the same time.
    pub lanes: Vec<Vec<Request>>,
    /// Over how many sectors it goes on writing, if it never rests: those of the largest image.
    pub restless: Option<u64>,
}

/// One request.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Request {
    /// Steps to think before it.
    pub think: u32,
    /// What.
    pub operation: Operation,
    /// Where.
    pub place: Place,
    /// How many sectors.
    pub sectors: u64,
    /// The tag a write leaves.
    pub tag: Tag,
    /// Whether it is to be durable when it ends: for writes by NBD, of data or zeroes.
    pub fua: bool,
    /// Whether the space of what it makes zero is not needed: for writes of zeroes by NBD.
    pub unmaps: bool,
}

/// Where a request begins.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Place {
    /// At a sector.
    Sector(u64),
    /// So many sectors after (or before) where the oldest job has got to.
    NearJob(i64),
}

/// Draws guest number `guest`; nobody, if all of its slots are empty.
pub fn draw(draw: &mut Draw<'_>, scenario: &Scenario, profile: Profile, guest: u32) -> Option<GuestPlan> {
    // 0 is the topmost node, where a guest belongs; the others read below, and some write there.
    let count = scenario.layers;
    let image = match draw.below("guest # node", [guest, 0, 0], 8) {
        0..=3 => count - 1,
        other => (other as usize) % count,
    };
    // 1 is a writer where none belongs or a reader at the top; 2 is a reader who tries to write; 7 never rests.
    let mode = draw.below("guest # mode", [guest, 0, 0], 8);
    let writable = scenario.is_root(image) != (mode == 1);
    let odd = mode == 2;
    let mut lanes = Vec::new();
    for lane in 0..LANES {
        let requests: Vec<Request> =
            (0..REQUESTS)
                .filter_map(|slot| draw_request(draw, scenario, profile, image, [guest, lane, slot]))
                .map(|request| {
                    if writable || odd { request } else { Request { operation: Operation::Read, ..request } }
                })
                .collect();
        if !requests.is_empty() {
            lanes.push(requests);
        }
    }
    let think = draw.entry("guest # think", [guest, 0, 0], &[0, 0, 0, 0, 8, 16, 64]);
    let sectors = scenario.images.iter().map(Image::sectors).max().filter(|_| mode == 7 && writable);
    let by_nbd = profile.world == World::Simulated && draw.below("guest # door", [guest, 0, 0], 4) == 3;
    if by_nbd {
        draw_access(draw, guest, &mut lanes);
    }
    (!lanes.is_empty()).then_some(GuestPlan {
        guest,
        image,
        writable,
        by_nbd,
        think,
        lanes,
        restless: sectors,
    })
}

/// Draws which writes are to be durable when they end, and which zeroes need no space.
fn draw_access(draw: &mut Draw<'_>, guest: u32, lanes: &mut [Vec<Request>]) {
    for (lane, requests) in (0..).zip(lanes) {
        let is_write =
            |request: &&mut Request| matches!(request.operation, Operation::Write | Operation::WriteZeroes);
        for request in requests.iter_mut().filter(is_write) {
            let of = [guest, lane, request.slot()];
            request.fua = draw.below("guest # lane # request # access", of, 3) == 2;
            if request.operation == Operation::WriteZeroes {
                request.unmaps = draw.below("guest # lane # request # unmaps", of, 2) == 1;
            }
        }
    }
}

fn draw_request(
    draw: &mut Draw<'_>,
    scenario: &Scenario,
    profile: Profile,
    image: usize,
    of: [u32; 3],
) -> Option<Request> {
    // The second lane is there to overlap with the first; half of it is empty.
    let table = TABLES[profile.operations as usize];
    let operation = draw.entry("guest # lane # request #", of, table)?;
    if of[1] == 1 && !profile.is_storm && draw.below("guest # lane # request # present", of, 2) == 0 {
        return None;
    }
    let size = scenario.images[image].sectors();
    let per_cluster = scenario.images[image].format.cluster_bytes() / 512;
    let sectors = match draw.below("guest # lane # request # length", of, 8) {
        0..=2 => 1,
        3 => 2,
        4 => per_cluster,
        5 => per_cluster + 1,
        6 => 3,
        // Across tables, where an image has several.
        _ if size > SPOTS => size / 2,
        _ => per_cluster * 2,
    };
    let place = match draw.below("guest # lane # request # place", of, 4) {
        0 | 1 => {
            let clusters = size.div_ceil(per_cluster);
            let spot = u64::from(draw.below("guest # lane # request # cluster", of, SPOTS as u32));
            let cluster = spot * clusters.div_ceil(SPOTS)
                % profile.hot_clusters.map_or(clusters, |hot| hot.min(clusters));
            let edge = draw.entry("guest # lane # request # edge", of, &[0, 0, 1, per_cluster - 1]);
            Place::Sector((cluster * per_cluster + edge).min(size - 1))
        }
        2 => {
            let spot = u64::from(draw.below("guest # lane # request # sector", of, SPOTS as u32));
            Place::Sector(
                spot * size.div_ceil(SPOTS)
                    % profile.hot_clusters.map_or(size, |hot| (hot * per_cluster).min(size)),
            )
        }
        _ => Place::NearJob(draw.entry("guest # lane # request # beside", of, &[0, 1, 2, -1, -2, 4])),
    };
    let think = match profile.is_storm {
        true => 0,
        false => draw.entry("guest # lane # request # think", of, &[0, 0, 1, 2, 4, 8, 16, 32, 64, 128]),
    };
    let tag = tag_of_request(of[0], of[1], of[2]);
    Some(Request { think, operation, place, sectors, tag, fua: false, unmaps: false })
}

impl Request {
    /// The slot of its lane that it was drawn in.
    pub fn slot(&self) -> u32 {
        (self.tag >> 32 & 0xff) as u32
    }
}

impl Place {
    /// The first sector, in an image of `size` sectors while the oldest job is at `job`.
    pub fn sector(self, size: u64, job: u64) -> u64 {
        match self {
            Place::Sector(sector) => sector.min(size - 1),
            Place::NearJob(beside) => job.saturating_add_signed(beside).min(size - 1),
        }
    }
}
