//! How hard the worlds are, in levels: what breaks at a level that has not broken at any easier one is a finding of its own.

use midstream::Profile;
use midstream::crash::Ending;
use std::fmt;

/// How requests come.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Requests {
    /// One at a time.
    InTurn,
    /// As guests send them: beside each other.
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
    /// The disk answers some requests with errors.
    Errors,
    /// The process is killed, without errors before.
    Kill,
    /// The power is cut, without errors before.
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
        let of_world = [World::Well, World::Errors, World::Kill, World::PowerCut].into_iter();
        of_world.flat_map(|world| {
            [Images::Alone, Images::Overlays, Images::UnevenOverlays].into_iter().flat_map(move |images| {
                [Requests::InTurn, Requests::Beside].into_iter().map(move |requests| Level {
                    requests,
                    images,
                    world,
                })
            })
        })
    }

    /// Whether whatever can happen at the other level can happen at this one.
    pub fn includes(self, other: Level) -> bool {
        let world = self.world == other.world || other.world == World::Well;
        world && self.images >= other.images && self.requests >= other.requests
    }

    /// What is drawn. How requests come and what images lie on is for the layer to say.
    pub fn profile(self) -> Profile {
        let sectors = if self.images == Images::UnevenOverlays { vec![16, 32, 64, 128] } else { vec![32] };
        let crashes = match self.world {
            World::Well | World::Errors => Vec::new(),
            World::Kill => vec![Ending::Kill],
            World::PowerCut => vec![Ending::PowerCut],
        };
        let faults = if self.world == World::Errors { 2 } else { 0 };
        Profile { images: 2, sectors, guests: 2, faults, crashes }
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
            Requests::Beside => "requests beside each other",
        };
        let world = match self.world {
            World::Well => "nothing goes wrong",
            World::Errors => "errors of the disk",
            World::Kill => "kills",
            World::PowerCut => "power cuts",
        };
        write!(f, "{images}, {requests}, {world}")
    }
}
