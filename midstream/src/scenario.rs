//! What a run of a block layer is built from: images and what they hold, guests, faults, a crash. A test writes it down
//! ([`Scenario`]), or it is drawn ([`Profile`]).

use crate::choice::{Choices, Draw};
use crate::content::SECTOR_BYTES;
use crate::layer::Image;
use crate::request::{Operation, PROFILES, RequestId, TABLES};
use crate::world::crash::Ending;
use crate::world::fault::{self, Fault, Kind, Often};
use seam::Errno;

/// Request slots of a lane, and lanes of a guest.
const REQUESTS: u32 = 6;
const LANES: u32 = 2;
/// Regions of an image whose content is decided one by one.
const REGIONS: u64 = 8;

/// The points at which something can be left out of a run: requests, faults, the crash, content of images.
pub const SLOTS: &[&str] = &["guest # lane # request #", "fault #", "crash", "layer # region #"];

/// Everything that a run is built from. What is left to chance is the schedule, the moment of the crash, and what
/// survives it.
///
/// ```
/// use midstream::scenario::{Scenario, eio, flush, power_cut, read, write};
///
/// let scenario = Scenario::chain(["base dddd....", "mid  ..dd..dd", "top  d......."])
///     .guest("top", [write(0, 4), flush(), read(0, 8)])
///     .fault(eio("mid").on_read().once())
///     .crash(power_cut());
/// assert_eq!(scenario.images.len(), 3);
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Scenario {
    /// The images, a backing image before those that lie on it.
    pub images: Vec<Content>,
    /// Who uses them.
    pub guests: Vec<Guest>,
    /// What the disk does badly while they do.
    pub faults: Vec<Fault>,
    /// Whether the world ends at some step, and how.
    pub crash: Option<Ending>,
}

/// An image, and what it holds before the run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Content {
    /// The image.
    pub image: Image,
    /// For each sector, whether this image has data of its own there.
    pub data: Vec<bool>,
}

/// Who uses an image.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Guest {
    /// Its number.
    pub guest: u32,
    /// Index of the image.
    pub image: usize,
    /// What it does: lanes run at the same time, the requests of a lane one after the other. A lane may be empty.
    pub lanes: Vec<Vec<Request>>,
}

/// One request.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Request {
    /// Its number in its lane, under which traces and values know it.
    pub slot: u32,
    /// Steps to think before it.
    pub think: u32,
    /// What.
    pub operation: Operation,
    /// First sector.
    pub sector: u64,
    /// How many; what lies past the end of the image is left out.
    pub sectors: u64,
}

/// Reads so many sectors.
pub fn read(sector: u64, sectors: u64) -> Request {
    Request { slot: 0, think: 0, operation: Operation::Read, sector, sectors }
}

/// Writes so many sectors.
pub fn write(sector: u64, sectors: u64) -> Request {
    Request { operation: Operation::Write, ..read(sector, sectors) }
}

/// Makes so many sectors zeroes.
pub fn write_zeroes(sector: u64, sectors: u64) -> Request {
    Request { operation: Operation::WriteZeroes, ..read(sector, sectors) }
}

/// Discards so many sectors.
pub fn discard(sector: u64, sectors: u64) -> Request {
    Request { operation: Operation::Discard, ..read(sector, sectors) }
}

/// Makes durable what was written.
pub fn flush() -> Request {
    Request { operation: Operation::Flush, ..read(0, 1) }
}

/// The machine dies: the disk keeps what was flushed, and any part of the rest.
pub fn power_cut() -> Ending {
    Ending::PowerCut
}

/// The process dies, the machine lives: the kernel keeps what it was given.
pub fn kill() -> Ending {
    Ending::Kill
}

/// A fault, before it is known which file the image's name means. Strikes writes, always, unless told otherwise.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FaultOf {
    image: String,
    fault: Fault,
}

/// Requests on the file of that image fail: input/output error.
pub fn eio(image: &str) -> FaultOf {
    FaultOf { image: image.to_owned(), fault: Fault::new(Errno::EIO) }
}

/// Requests on the file of that image fail: no space left on device.
pub fn enospc(image: &str) -> FaultOf {
    FaultOf { image: image.to_owned(), fault: Fault::new(Errno::ENOSPC) }
}

impl FaultOf {
    /// Strikes reads.
    pub fn on_read(mut self) -> FaultOf {
        self.fault.kind = Kind::Read;
        self
    }

    /// Strikes flushes.
    pub fn on_flush(mut self) -> FaultOf {
        self.fault.kind = Kind::Flush;
        self
    }

    /// Strikes one time.
    pub fn once(mut self) -> FaultOf {
        self.fault.often = Often::Once;
        self
    }

    /// Lets so many requests pass before.
    pub fn after(mut self, requests: u32) -> FaultOf {
        self.fault.after = requests;
        self
    }
}

impl Scenario {
    /// Images on top of each other, the lowest first: a name, then a letter for each sector of 512 bytes, `d` for data
    /// and `.` for nothing. One image alone needs no [`BlockLayer::CHAINS`](crate::BlockLayer::CHAINS).
    ///
    /// # Panics
    ///
    /// If a line does not read so.
    pub fn chain<const IMAGES: usize>(lines: [&str; IMAGES]) -> Scenario {
        let mut scenario = Scenario::default();
        for line in lines {
            let backing = scenario.images.last().map(|below: &Content| below.image.path.clone());
            scenario.images.push(Content::of_line(line, backing));
        }
        scenario
    }

    /// One more guest, with one lane of requests.
    ///
    /// # Panics
    ///
    /// If there is no image of that name.
    pub fn guest(mut self, image: &str, requests: impl IntoIterator<Item = Request>) -> Scenario {
        let (guest, image) = (self.guests.len() as u32, self.index(image));
        let numbered = (0..).zip(requests).map(|(slot, request)| Request { slot, ..request });
        self.guests.push(Guest { guest, image, lanes: vec![numbered.collect()] });
        self
    }

    /// One more fault.
    ///
    /// # Panics
    ///
    /// If there is no image of that name.
    pub fn fault(mut self, fault: FaultOf) -> Scenario {
        let file = self.index(&fault.image) as u32;
        self.faults.push(Fault { file, ..fault.fault });
        self
    }

    /// The world ends at any step.
    pub fn crash(mut self, ending: Ending) -> Scenario {
        self.crash = Some(ending);
        self
    }

    fn index(&self, image: &str) -> usize {
        let found = self.images.iter().position(|content| content.image.path == image);
        found.unwrap_or_else(|| panic!("no image is called {image}"))
    }

    /// Every request, the last of the last guest first.
    pub(crate) fn requests(&self) -> Vec<RequestId> {
        let mut all = Vec::new();
        for Guest { guest, lanes, .. } in &self.guests {
            for (lane, requests) in (0..).zip(lanes) {
                all.extend(requests.iter().map(|r| RequestId { guest: *guest, lane, slot: r.slot }));
            }
        }
        all.reverse();
        all
    }

    /// Whether another image lies on this one; then nobody may write to it.
    pub fn is_backing(&self, image: usize) -> bool {
        let path = &self.images[image].image.path;
        self.images.iter().any(|other| other.image.backing.as_ref() == Some(path))
    }

    /// The images as the layer knows them.
    pub(crate) fn plain_images(&self) -> Vec<Image> {
        self.images.iter().map(|content| content.image.clone()).collect()
    }

    /// The scenario in the letters that [`Scenario::chain`] reads, then the faults and the crash.
    pub fn lines(&self) -> Vec<String> {
        let mut lines: Vec<String> = self.images.iter().map(Content::line).collect();
        for fault in &self.faults {
            let path = self.images.get(fault.file as usize).map_or("?", |content| &content.image.path);
            let (kind, often) = (fault.kind.word(), fault.often.words());
            lines.push(format!("fault  {kind} of {path}: {} after {}, {often}", fault.errno, fault.after));
        }
        lines
    }
}

impl Content {
    fn of_line(line: &str, backing: Option<String>) -> Content {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [path, letters] = words[..] else { panic!("`{line}` is not a name and what it holds") };
        let data: Vec<bool> = letters
            .chars()
            .map(|letter| match letter {
                'd' => true,
                '.' => false,
                other => panic!("'{other}' in `{line}` draws no sector"),
            })
            .collect();
        let size_bytes = (data.len() * SECTOR_BYTES) as u64;
        Content { image: Image { path: path.to_owned(), size_bytes, backing }, data }
    }

    fn line(&self) -> String {
        let letters: String = self.data.iter().map(|data| if *data { 'd' } else { '.' }).collect();
        let on = self.image.backing.as_ref().map_or_else(String::new, |below| format!("  on {below}"));
        format!("{}  {letters}{on}", self.image.path)
    }

    /// Whole sectors of the guest's view.
    pub fn sectors(&self) -> u64 {
        self.data.len() as u64
    }
}

/// What runs are drawn from. Make a [`Default`] one and change what you want otherwise.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Profile {
    /// At most so many images.
    pub images: u32,
    /// Sizes of images, in sectors of 512 bytes; the first is the plainest.
    pub sectors: Vec<u64>,
    /// At most so many guests.
    pub guests: u32,
    /// At most so many faults.
    pub faults: u32,
    /// How the world may end early.
    pub crashes: Vec<Ending>,
}

impl Default for Profile {
    fn default() -> Profile {
        Profile {
            images: 2,
            sectors: vec![16, 16, 32, 64, 128],
            guests: 3,
            faults: 2,
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
}

impl Abilities {
    pub(crate) fn has(self, operation: Operation) -> bool {
        match operation {
            Operation::WriteZeroes => self.write_zeroes,
            Operation::Discard => self.discard,
            Operation::Read | Operation::Write | Operation::Flush => true,
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
            scenario.faults = fault::draw(&mut draw, scenario.images.len() as u32, self.faults, false);
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
            images.push(Content { image: Image { path: format!("disk{image}"), size_bytes, backing }, data });
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
        let drawn = (0..REQUESTS)
            .filter_map(|slot| draw_request(scenario, image, operations, [guest, lane, slot], draw));
        lanes.push(drawn.filter(|request| abilities.has(request.operation)).collect());
    }
    lanes.iter().any(|lane: &Vec<Request>| !lane.is_empty()).then_some(Guest { guest, image, lanes })
}

fn draw_request(
    scenario: &Scenario,
    image: usize,
    operations: u32,
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
    Some(Request { slot: of[2], think, operation, sector, sectors })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::strategy::of_seed;

    const ALL: Abilities = Abilities { chains: true, write_zeroes: true, discard: true };

    #[test]
    fn a_chain_is_told_in_the_letters_it_is_read_in() {
        let scenario =
            Scenario::chain(["base dd..", "top ...d"]).fault(eio("top").on_flush().once().after(2));
        let fault = format!("fault  flush of top: {} after 2, once", Errno::EIO);
        assert_eq!(scenario.lines(), ["base  dd..".to_owned(), "top  ...d  on base".to_owned(), fault]);
        assert!(scenario.is_backing(0) && !scenario.is_backing(1));
        assert_eq!(scenario.faults[0].file, 1);
    }

    #[test]
    #[should_panic(expected = "no image is called mid")]
    fn a_guest_of_no_image_is_refused() {
        let _refused = Scenario::chain(["top d"]).guest("mid", [flush()]);
    }

    #[test]
    fn what_a_layer_lacks_is_not_drawn() {
        let none = Abilities { chains: false, write_zeroes: false, discard: false };
        let mut seen = [false; 2];
        for seed in 0..200 {
            for (abilities, seen) in [none, ALL].into_iter().zip(&mut seen) {
                let scenario = Profile::default().draw(abilities, &mut of_seed(seed));
                let requests = scenario.guests.iter().flat_map(|guest| guest.lanes.iter().flatten());
                let lacks = |request: &Request| !none.has(request.operation);
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
                let is_read = |request: &Request| request.operation == Operation::Read;
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
