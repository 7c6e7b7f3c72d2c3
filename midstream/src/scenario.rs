//! What a run of a block layer is built from: images and what they hold, guests, clients, faults, a crash. A test writes it down
//! ([`Scenario`]), or it is drawn ([`Profile`]).

mod bounds;
mod command;
mod file;
mod profile;

use crate::content::SECTOR_BYTES;
use crate::layer::Image;
use crate::request::{Operation, RequestId};
use crate::world::crash::Ending;
use crate::world::fault::{Fault, Kind, Often};
use seam::Errno;

pub use bounds::Bounds;
pub(crate) use command::command;
pub use command::{Command, cancel, commit, complete, pause, qmp, resume, stream};
pub use file::{FileError, ScenarioFile};
pub(crate) use profile::Abilities;
pub use profile::{Profile, SLOTS};

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
///
/// With clients it is judged in QEMU's language, of layers that have a [`monitor`](crate::BlockLayer::monitor): each image is
/// a node of its name then.
///
/// ```
/// use midstream::scenario::{Scenario, pause, read, resume, stream};
///
/// let scenario = Scenario::chain(["base dddd....", "mid  ..dd..dd", "top  d......."])
///     .client(stream("mid").base("base").job("s"))
///     .client([pause("s"), resume("s")])
///     .guest("mid", [read(0, 8)]);
/// assert_eq!(scenario.clients.len(), 2);
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Scenario {
    /// The images, a backing image before those that lie on it.
    pub images: Vec<Content>,
    /// Who uses them.
    pub guests: Vec<Guest>,
    /// Who commands the layer: each sends its commands one after the other.
    pub clients: Vec<Vec<Command>>,
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
    /// Whether it is opened before clients come. What is not stands for nobody yet: what its file names as backing is as
    /// writable as if it were not there.
    pub is_open: bool,
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
    pub action: Action,
}

/// What a guest asks for.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Action {
    /// Something with data.
    Io {
        /// What.
        operation: Operation,
        /// First sector.
        sector: u64,
        /// How many; what lies past the end of the image is left out.
        sectors: u64,
    },
    /// The image becomes so many sectors long. Left out while another resize of it is under way.
    Resize {
        /// How many.
        sectors: u64,
    },
    /// One of the layer's own operations, by its index.
    Own(usize),
}

impl Request {
    fn new(action: Action) -> Request {
        Request { slot: 0, think: 0, action }
    }

    fn io(operation: Operation, sector: u64, sectors: u64) -> Request {
        Request::new(Action::Io { operation, sector, sectors })
    }
}

/// Reads so many sectors.
pub fn read(sector: u64, sectors: u64) -> Request {
    Request::io(Operation::Read, sector, sectors)
}

/// Writes so many sectors.
pub fn write(sector: u64, sectors: u64) -> Request {
    Request::io(Operation::Write, sector, sectors)
}

/// Makes so many sectors zeroes.
pub fn write_zeroes(sector: u64, sectors: u64) -> Request {
    Request::io(Operation::WriteZeroes, sector, sectors)
}

/// Discards so many sectors.
pub fn discard(sector: u64, sectors: u64) -> Request {
    Request::io(Operation::Discard, sector, sectors)
}

/// Makes durable what was written.
pub fn flush() -> Request {
    Request::io(Operation::Flush, 0, 1)
}

/// Makes the image so many sectors long.
pub fn resize(sectors: u64) -> Request {
    Request::new(Action::Resize { sectors })
}

/// Does one of the layer's own operations, by its index in
/// [`BlockLayer::OPERATIONS`](crate::BlockLayer::OPERATIONS).
pub fn own(operation: usize) -> Request {
    Request::new(Action::Own(operation))
}

/// The machine dies: the disk keeps what was flushed, and any part of the rest.
pub fn power_cut() -> Ending {
    Ending::PowerCut
}

/// The process dies, the machine lives: the kernel keeps what it was given.
pub fn kill() -> Ending {
    Ending::Kill
}

/// A fault, before it is known which file the image's name means. Strikes writes, always, unless something else is said.
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

    /// One more client of the layer's monitor, with what it says: one command, or several one after the other.
    pub fn client(mut self, commands: impl IntoIterator<Item = Command>) -> Scenario {
        self.clients.push(commands.into_iter().collect());
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
        self.images.iter().any(|other| other.is_open && other.image.backing.as_ref() == Some(path))
    }

    /// Whether anybody commands the layer: then it is judged in QEMU's language.
    pub fn is_commanded(&self) -> bool {
        !self.clients.is_empty()
    }

    /// The lengths that guests give an image, in sectors.
    fn lengths(&self, image: usize) -> impl Iterator<Item = u64> {
        let guests = self.guests.iter().filter(move |guest| guest.image == image);
        let requests = guests.flat_map(|guest| guest.lanes.iter().flatten());
        requests.filter_map(|request| match request.action {
            Action::Resize { sectors } => Some(sectors),
            Action::Io { .. } | Action::Own(_) => None,
        })
    }

    /// Whether anybody resizes an image.
    pub(crate) fn is_resized(&self, image: usize) -> bool {
        self.lengths(image).next().is_some()
    }

    /// Whether guests ask for more than data.
    pub(crate) fn is_more_than_io(&self) -> bool {
        let mut requests = self.guests.iter().flat_map(|guest| guest.lanes.iter().flatten());
        requests.any(|request| !matches!(request.action, Action::Io { .. }))
    }

    /// The longest that an image becomes, in sectors.
    pub(crate) fn sectors_max(&self, image: usize) -> u64 {
        self.lengths(image).fold(self.images[image].sectors(), u64::max)
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
        Content { image: Image { path: path.to_owned(), size_bytes, backing }, data, is_open: true }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_is_shown_in_the_letters_it_is_read_in() {
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
}
