//! How hard the worlds are, in levels: what breaks at a level that has not broken at any easier one is a finding of its own.

use midstream::Profile;
use midstream::world::crash::Ending;
use std::fmt;

/// How requests come.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Requests {
    /// One at a time.
    InTurn,
    /// As guests send them, beside each other; but nothing is made zeroes.
    PlainBeside,
    /// As guests send them, beside each other.
    Beside,
}

/// What images lie on.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Images {
    /// On nothing.
    Alone,
    /// On nothing, or on an image of the same length.
    Overlays,
    /// On nothing, or on an image of any length.
    UnevenOverlays,
}

/// What happens to the world.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum World {
    /// Nothing.
    Well,
    /// The disk answers some requests with errors; at the end only data is judged, not whether images are sound.
    UncheckedErrors,
    /// The same, and images are checked.
    Errors,
    /// The process is killed, without errors before; of what is left only data is judged, not whether images are sound.
    UncheckedKill,
    /// The same, and images are checked.
    Kill,
    /// The power is cut, without errors before; of what is left only data is judged.
    UncheckedPowerCut,
    /// The same, and images are checked.
    PowerCut,
}

/// A level.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Level {
    /// How requests come.
    pub requests: Requests,
    /// What images lie on.
    pub images: Images,
    /// What happens to the world.
    pub world: World,
}

impl Level {
    /// Every level, none before an easier one.
    pub fn all() -> impl Iterator<Item = Level> {
        use {Images::*, Requests::*, World::*};
        let worlds = [Well, UncheckedErrors, Errors, UncheckedKill, Kill, UncheckedPowerCut, PowerCut];
        worlds.into_iter().flat_map(|world| {
            [Alone, Overlays, UnevenOverlays].into_iter().flat_map(move |images| {
                [InTurn, PlainBeside, Beside].into_iter().map(move |requests| Level {
                    requests,
                    images,
                    world,
                })
            })
        })
    }

    /// Whether what can happen at the other level can happen at this one. Zeroing in turn counts as easier than none.
    pub fn includes(self, other: Level) -> bool {
        let world = match other.world {
            World::Well => true,
            World::UncheckedErrors => matches!(self.world, World::UncheckedErrors | World::Errors),
            World::UncheckedKill => matches!(self.world, World::UncheckedKill | World::Kill),
            World::UncheckedPowerCut => matches!(self.world, World::UncheckedPowerCut | World::PowerCut),
            other => self.world == other,
        };
        world && self.images >= other.images && self.requests >= other.requests
    }

    /// Whether images are checked at the end.
    pub fn is_checked(self) -> bool {
        !matches!(self.world, World::UncheckedErrors | World::UncheckedKill | World::UncheckedPowerCut)
    }

    /// What is drawn. How requests come and what images lie on is for the layer to say.
    pub fn profile(self) -> Profile {
        let sectors = if self.images == Images::UnevenOverlays { vec![16, 32, 64, 128] } else { vec![32] };
        let crashes = match self.world {
            World::Well | World::UncheckedErrors | World::Errors => Vec::new(),
            World::UncheckedKill | World::Kill => vec![Ending::Kill],
            World::UncheckedPowerCut | World::PowerCut => vec![Ending::PowerCut],
        };
        let has_errors = matches!(self.world, World::UncheckedErrors | World::Errors);
        let faults = if has_errors { 2 } else { 0 };
        Profile { images: 2, sectors, guests: 2, faults, crashes, ..Profile::default() }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let images = match self.images {
            Images::Alone => "images alone",
            Images::Overlays => "overlays",
            Images::UnevenOverlays => "overlays of any length",
        };
        let requests = match self.requests {
            Requests::InTurn => "requests in turn",
            Requests::PlainBeside => "reads, writes and flushes beside each other",
            Requests::Beside => "all requests beside each other",
        };
        let world = match self.world {
            World::Well => "nothing goes wrong",
            World::UncheckedErrors => "errors of the disk, images unchecked",
            World::Errors => "errors of the disk",
            World::UncheckedKill => "kills, images unchecked",
            World::Kill => "kills",
            World::UncheckedPowerCut => "power cuts, images unchecked",
            World::PowerCut => "power cuts",
        };
        write!(f, "{images}, {requests}, {world}")
    }
}
