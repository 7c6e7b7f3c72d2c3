//! What a sequence did, as data: enough to do it again without midstream.

use midstream::content::Tag;
use midstream::request::Operation;
use midstream::world::crash::Ending;

/// One thing done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Action {
    /// A command was sent and its reply awaited.
    Command(String),
    /// The jobs were waited for until none was busy.
    Settle,
    /// A guest connected to an export of that name.
    Connect {
        /// Who.
        guest: u32,
        /// To what.
        export: String,
    },
    /// A guest's request was sent, and its answer awaited if it was not in flight.
    Request {
        /// Who.
        guest: u32,
        /// What.
        operation: Operation,
        /// First sector.
        sector: u64,
        /// How many.
        sectors: u64,
        /// What a write wrote, by the request's tag.
        tag: Tag,
        /// The next thing was done without waiting for the answer.
        is_in_flight: bool,
    },
    /// The answer to a guest's request in flight was awaited.
    Answered {
        /// Whose.
        guest: u32,
    },
    /// A guest left, and its export went.
    Leave {
        /// Who.
        guest: u32,
    },
    /// A node was read at rest, whole.
    Look {
        /// Its name.
        node: String,
        /// What it showed.
        values: Vec<Tag>,
    },
    /// The daemon was asked to quit, and ended.
    Quit,
    /// The daemon was killed.
    Kill,
    /// The devices were looked at as if everything had ended so at an earlier moment.
    Cut(Ending),
    /// A file was reopened and read.
    Reopened {
        /// Index of the image.
        image: usize,
        /// What it showed, or why nobody can read it.
        values: Result<Vec<Tag>, String>,
    },
}
