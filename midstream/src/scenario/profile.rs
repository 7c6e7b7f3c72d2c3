//! What runs are drawn from.

use super::{Action, Content, Guest, Request, Scenario};
use crate::choice::{Choices, Draw};
use crate::content::SECTOR_BYTES;
use crate::layer::Image;
use crate::request::{Operation, PROFILES, TABLES};
use crate::world::crash::Ending;
use crate::world::repertoire::{self, Repertoire, Turn};

/// Request slots of a lane, and lanes of a guest.
const REQUESTS: u32 = 6;
const LANES: u32 = 2;
/// Regions of an image whose content is decided one by one.
const REGIONS: u64 = 8;

/// The points at which something can be left out of a run: requests, faults, the crash, content of images.
pub const SLOTS: &[&str] = &["guest # lane # request #", "fault #", "crash", "layer # region #"];

/// What runs are drawn from. Make a [`Default`] one and change what you want otherwise.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Profile {
    /// At most so many images.
    pub images: u32,
    /// Sizes of images, in sectors of 512 bytes; the first is what minimised runs get.
    pub sectors: Vec<u64>,
    /// At most so many guests.
    pub guests: u32,
    /// At most so many faults.
    pub faults: u32,
    /// Whether what a flush was to make durable may be lost once that flush has failed, although a later one succeeds, as
    /// on Linux ([`Effect::Forgets`](crate::world::fault::Effect::Forgets)). A layer above a host that remembers which
    /// flush has failed need not know of it; one that meets the system's files itself has to.
    pub flushes_forget: bool,
    /// How the world may end early.
    pub crashes: Vec<Ending>,
}

/// Half of the faults stay as they were drawn.
const OF_LAYER: Repertoire = Repertoire {
    opens: false,
    turns: &[None, None, None, Some(Turn::Resize), Some(Turn::Late), Some(Turn::Full)],
};

/// The same, where flushes forget.
const OF_FORGETFUL: Repertoire = Repertoire {
    opens: false,
    turns: &[
        None,
        None,
        None,
        Some(Turn::Resize),
        Some(Turn::Late),
        Some(Turn::Full),
        Some(Turn::Forgets),
        Some(Turn::Forgets),
    ],
};

impl Default for Profile {
    fn default() -> Profile {
        Profile {
            images: 2,
            sectors: vec![16, 16, 32, 64, 128],
            guests: 3,
            faults: 2,
            flushes_forget: false,
            crashes: vec![Ending::PowerCut, Ending::Kill],
        }
    }
}

/// What a layer can do beside reading, writing and flushing.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) struct Abilities {
    pub(crate) chains: bool,
    pub(crate) write_zeroes: bool,
    pub(crate) discard: bool,
    pub(crate) resize: bool,
    /// Whether it has a monitor.
    pub(crate) commands: bool,
    /// How many operations of its own.
    pub(crate) own: u32,
}

impl Abilities {
    pub(crate) fn has(self, action: Action) -> bool {
        match action {
            Action::Io { operation: Operation::WriteZeroes, .. } => self.write_zeroes,
            Action::Io { operation: Operation::Discard, .. } => self.discard,
            Action::Io { operation: Operation::Read | Operation::Write | Operation::Flush, .. } => true,
            Action::Resize { .. } => self.resize,
            Action::Own(operation) => operation < self.own as usize,
        }
    }
}

impl Profile {
    /// Draws a scenario for a layer that can do so much.
    pub(crate) fn draw(&self, abilities: Abilities, choices: &mut Choices) -> Scenario {
        let mut draw = Draw::new(choices);
        let operations = draw.below("profile operations", [0; 3], PROFILES);
        let mut scenario = Scenario { images: self.draw_images(abilities, &mut draw), ..Scenario::default() };
        for guest in 0..self.guests {
            let drawn = draw_guest(&scenario, guest, operations, abilities, &mut draw);
            scenario.guests.extend(drawn);
        }
        // Two runs in three have healthy disks: an error ends most of what could otherwise go wrong.
        if self.faults > 0 && draw.below("profile faults", [0; 3], 3) == 1 {
            let of_layer = if self.flushes_forget { OF_FORGETFUL } else { OF_LAYER };
            scenario.faults =
                repertoire::draw(&mut draw, scenario.images.len() as u32, self.faults, &of_layer);
        }
        // Every second run ends early: what is left then is what layers get wrong.
        let endings = self.crashes.len() as u32;
        let crash = draw.below("crash", [0; 3], 2 * endings + 1);
        scenario.crash = crash.checked_sub(1).map(|ending| self.crashes[(ending % endings) as usize]);
        scenario
    }

    fn draw_images(&self, abilities: Abilities, draw: &mut Draw<'_>) -> Vec<Content> {
        let count = 1 + draw.below("images", [0; 3], self.images.max(1));
        let is_chain = abilities.chains && count > 1 && draw.below("images are a chain", [0; 3], 2) == 1;
        let mut images: Vec<Content> = Vec::new();
        for image in 0..count {
            let sectors = draw.entry("layer # size", [image, 0, 0], &self.sectors);
            let backing = images.last().filter(|_| is_chain).map(|below| below.image.path.clone());
            let data = draw_data(image, sectors, draw);
            let size_bytes = sectors * SECTOR_BYTES as u64;
            let image = Image { path: format!("disk{image}"), size_bytes, backing };
            images.push(Content { image, data, is_open: true });
        }
        images
    }
}

fn draw_data(image: u32, sectors: u64, draw: &mut Draw<'_>) -> Vec<bool> {
    let per_region = sectors.div_ceil(REGIONS).max(1);
    let regions = sectors.div_ceil(per_region) as u32;
    let drawn: Vec<bool> =
        (0..regions).map(|region| draw.below("layer # region #", [image, region, 0], 3) == 1).collect();
    (0..sectors).map(|sector| drawn[(sector / per_region) as usize]).collect()
}

/// A guest; nobody, if all of its slots are empty.
fn draw_guest(
    scenario: &Scenario,
    guest: u32,
    operations: u32,
    abilities: Abilities,
    draw: &mut Draw<'_>,
) -> Option<Guest> {
    // 0 is the topmost image.
    let image = scenario.images.len()
        - 1
        - draw.below("guest # image", [guest, 0, 0], scenario.images.len() as u32) as usize;
    let mut lanes = Vec::new();
    for lane in 0..LANES {
        let drawn = (0..REQUESTS).filter_map(|slot| {
            draw_request(scenario, image, operations, abilities, [guest, lane, slot], draw)
        });
        lanes.push(drawn.filter(|request| abilities.has(request.action)).collect());
    }
    lanes.iter().any(|lane: &Vec<Request>| !lane.is_empty()).then_some(Guest { guest, image, lanes })
}

fn draw_request(
    scenario: &Scenario,
    image: usize,
    operations: u32,
    abilities: Abilities,
    of: [u32; 3],
    draw: &mut Draw<'_>,
) -> Option<Request> {
    let operation = draw.entry("guest # lane # request #", of, TABLES[operations as usize])?;
    // The second lane is there to overlap with the first; half of it is empty.
    if of[1] == 1 && draw.below("guest # lane # request # present", of, 2) == 0 {
        return None;
    }
    let operation = if scenario.is_backing(image) { Operation::Read } else { operation };
    let size = scenario.images[image].sectors();
    let sectors = draw.entry("guest # lane # request # length", of, &[1, 1, 1, 2, 3, 8, 9, 16]);
    let sector = u64::from(draw.below("guest # lane # request # sector", of, 128)) % size;
    let think = draw.entry("guest # lane # request # think", of, &[0, 0, 1, 2, 4, 8, 16, 32]);
    let rare = if scenario.is_backing(image) { None } else { draw_rare(size, abilities, of, draw) };
    let action = rare.unwrap_or(Action::Io { operation, sector, sectors });
    Some(Request { slot: of[2], think, action })
}

/// What only some layers have, in place of a request: once in a while, each of it as often as the others. Nothing is
/// drawn for a layer that has none of it, whose runs stay as they are.
fn draw_rare(size: u64, abilities: Abilities, of: [u32; 3], draw: &mut Draw<'_>) -> Option<Action> {
    /// So many requests in a row have nothing rare in their place, on average.
    const USUAL: u32 = 5;
    let kinds = u32::from(abilities.resize) + abilities.own;
    if kinds == 0 {
        return None;
    }
    let kind =
        draw.below("guest # lane # request # rare", of, kinds * (1 + USUAL)).checked_sub(kinds * USUAL)?;
    if kind < abilities.own {
        return Some(Action::Own(kind as usize));
    }
    let lengths = [size, size / 2, size + size / 2, 2 * size, size - 1, size + 1];
    let sectors = draw.entry("guest # lane # request # length in sectors", of, &lengths);
    Some(Action::Resize { sectors: sectors.max(1) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::strategy::of_seed;

    const ALL: Abilities =
        Abilities { chains: true, write_zeroes: true, discard: true, resize: true, commands: true, own: 2 };

    #[test]
    fn what_a_layer_lacks_is_not_drawn() {
        let (write_zeroes, discard, resize) = (false, false, false);
        let none = Abilities { chains: false, write_zeroes, discard, resize, commands: false, own: 0 };
        let mut seen = [false; 2];
        for seed in 0..200 {
            for (abilities, seen) in [none, ALL].into_iter().zip(&mut seen) {
                let scenario = Profile::default().draw(abilities, &mut of_seed(seed));
                let requests = scenario.guests.iter().flat_map(|guest| guest.lanes.iter().flatten());
                let lacks = |request: &Request| !none.has(request.action);
                *seen |= requests.into_iter().any(lacks)
                    || scenario.images.iter().any(|content| content.image.backing.is_some());
            }
        }
        assert_eq!(seen, [false, true]);
    }

    #[test]
    fn nobody_writes_below_another_image() {
        for seed in 0..300 {
            let scenario = Profile::default().draw(ALL, &mut of_seed(seed));
            for guest in scenario.guests.iter().filter(|guest| scenario.is_backing(guest.image)) {
                let is_read = |request: &Request| {
                    matches!(request.action, Action::Io { operation: Operation::Read, .. })
                };
                assert!(guest.lanes.iter().flatten().all(is_read), "seed {seed}: {guest:?}");
            }
        }
    }

    #[test]
    fn every_slot_is_a_point_that_is_asked_for() {
        let mut asked = std::collections::BTreeSet::new();
        for seed in 0..100 {
            let mut choices = of_seed(seed);
            Profile::default().draw(ALL, &mut choices);
            asked.extend(choices.tape().iter().map(|decision| decision.at().name));
        }
        for slot in SLOTS {
            assert!(asked.contains(slot), "{slot} is not among {asked:?}");
        }
    }
}
