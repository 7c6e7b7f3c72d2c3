//! An observation that is kept: what `model::Observation` borrows, owned, with what only readers want to know of it.

use crate::content::Tag;
use crate::content::tag_in_sector;
use crate::request::{Operation, RequestId};
use crate::world::fault::{Kind, Reported};
use model::{CrashKind, FaultKind, GuestOp, Observation};

/// One thing seen from outside; `model::Observation` says what each means.
#[derive(Clone, PartialEq, Debug)]
pub enum Observed {
    /// A client sent a command.
    Sent {
        /// Which client.
        client: u32,
        /// The command.
        text: String,
    },
    /// A client got a reply.
    Reply {
        /// Which client.
        client: u32,
        /// The reply.
        text: String,
    },
    /// An event was emitted.
    Event {
        /// The event.
        text: String,
    },
    /// A command that the model was not shown has succeeded.
    SchemaCommand,
    /// A guest's device was put on a node.
    Attached {
        /// Which guest.
        guest: u32,
        /// The node's name.
        node: String,
        /// Whether it may write.
        writable: bool,
    },
    /// A guest connected to an export.
    Connected {
        /// Which guest.
        guest: u32,
        /// The export's id.
        export: String,
    },
    /// A guest was not let in.
    Refused {
        /// Which guest.
        guest: u32,
        /// The node it wanted.
        node: String,
        /// Whether it wanted to write.
        writable: bool,
        /// What it was answered, for readers.
        why: String,
    },
    /// A guest has left.
    Detached {
        /// Which guest.
        guest: u32,
    },
    /// A guest began a request.
    Began {
        /// Its number.
        request: u64,
        /// Which guest.
        guest: u32,
        /// What readers call it, if it comes from a script of ours.
        name: Option<RequestId>,
        /// What it asks for.
        asked: Asked,
    },
    /// A guest's request ended: the values read, or none; or the error.
    Ended {
        /// Its number.
        request: u64,
        /// How.
        result: Result<Vec<Tag>, Failure>,
    },
    /// I/O of this kind on this file has just failed with this text.
    FaultStruck {
        /// The image file.
        file: String,
        /// Which kind of I/O.
        kind: FaultKind,
        /// The error's text.
        error: String,
    },
    /// From now on this kind of I/O on this file may fail with this text.
    FaultArmed {
        /// The image file.
        file: String,
        /// Which kind of I/O.
        kind: FaultKind,
        /// The error's text.
        error: String,
    },
    /// The whole content of a node, read at rest.
    View {
        /// The node's name.
        node: String,
        /// Its sectors.
        values: Vec<Tag>,
    },
    /// Everything stopped without warning.
    Crash {
        /// How.
        kind: CrashKind,
    },
    /// After a crash: an image file, reopened.
    Recovered(Found),
    /// After a clean end: an image file, reopened.
    Closed(Found),
    /// A command that the model was not shown was refused.
    SchemaCommandRefused {
        /// The command.
        text: String,
    },
    /// After either: an image file that nobody can read.
    Unreadable {
        /// The image file.
        file: String,
        /// Why.
        why: String,
    },
    /// The run is over.
    End,
}

/// What a guest asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Asked {
    /// What it does.
    pub operation: Operation,
    /// First sector.
    pub sector: u64,
    /// How many.
    pub count: u64,
    /// What it writes, a value for each sector.
    pub values: Vec<Tag>,
    /// Whether what it writes is durable when it ends well: force unit access.
    pub fua: bool,
}

/// Why a request failed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failure {
    /// The number of the error, where it is known; it counts for fingerprints only.
    pub errno: i32,
    /// Its text.
    pub text: String,
}

/// What an image file shows to the next process.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Found {
    /// The image file.
    pub file: String,
    /// Its sectors, read through its chain.
    pub values: Vec<Tag>,
    /// The files of the chain, from this one down to its base.
    pub chain: Vec<String>,
    /// Corruptions the image check found.
    pub corruptions: u64,
    /// Leaked clusters it found. After a crash nobody asks for them.
    pub leaks: u64,
    /// The first things it found, a line each, for readers: no judge looks at them.
    pub damage: Vec<String>,
}

impl Observed {
    /// What a specification learns of a strike of the disk. Once a flush has failed, nobody knows what the next one is worth: from
    /// then on it may fail for ever, as it does in QEMU 10.0 (`page_cache_inconsistent` in block/file-posix.c).
    /// A lock that somebody else has goes by other words, too.
    pub fn of_strike(strike: Reported, file: &str) -> Vec<Observed> {
        let error = strike.errno.text();
        let struck = |kind, error: &str| Observed::FaultStruck {
            file: file.to_owned(),
            kind,
            error: error.to_owned(),
        };
        match strike.kind {
            Kind::Flush | Kind::Close => {
                vec![Observed::FaultArmed { file: file.to_owned(), kind: FaultKind::Flush, error }]
            }
            Kind::Read => vec![struck(FaultKind::Read, &error)],
            Kind::Write | Kind::Resize => vec![struck(FaultKind::Write, &error)],
            Kind::Open | Kind::Reopen => vec![struck(FaultKind::Any, &error)],
            Kind::Lock => {
                let words = [&*error, "Failed to get \"write\" lock", "Failed to get shared \"write\" lock"];
                words.map(|error| struck(FaultKind::Any, error)).into()
            }
        }
    }

    /// Keeps what was seen.
    pub fn of(observation: &Observation<'_>) -> Observed {
        let found = |file: &str, values: &[Tag], chain: &[&str], corruptions, leaks| {
            let chain = chain.iter().map(|file| (*file).to_owned()).collect();
            let (file, values, damage) = (file.to_owned(), values.to_vec(), Vec::new());
            Found { file, values, chain, corruptions, leaks, damage }
        };
        match *observation {
            Observation::Sent { client, text } => Observed::Sent { client, text: text.to_owned() },
            Observation::Reply { client, text } => Observed::Reply { client, text: text.to_owned() },
            Observation::Event { text } => Observed::Event { text: text.to_owned() },
            Observation::SchemaCommand => Observed::SchemaCommand,
            Observation::GuestAttached { guest, node, writable } => {
                Observed::Attached { guest, node: node.to_owned(), writable }
            }
            Observation::GuestConnected { guest, export } => {
                Observed::Connected { guest, export: export.to_owned() }
            }
            Observation::GuestRefused { guest, node, writable } => {
                Observed::Refused { guest, node: node.to_owned(), writable, why: String::new() }
            }
            Observation::GuestDetached { guest } => Observed::Detached { guest },
            Observation::GuestBegan { request, guest, op } => {
                Observed::Began { request, guest, name: None, asked: Asked::of(op) }
            }
            Observation::GuestEnded { request, result } => {
                let failure = |text: &str| Failure { errno: 0, text: text.to_owned() };
                Observed::Ended { request, result: result.map(<[Tag]>::to_vec).map_err(failure) }
            }
            Observation::SchemaCommandRefused { text } => {
                Observed::SchemaCommandRefused { text: text.to_owned() }
            }
            Observation::Unreadable { file, why } => {
                Observed::Unreadable { file: file.to_owned(), why: why.to_owned() }
            }
            Observation::FaultStruck { file, kind, error } => {
                Observed::FaultStruck { file: file.to_owned(), kind, error: error.to_owned() }
            }
            Observation::FaultArmed { file, kind, error } => {
                Observed::FaultArmed { file: file.to_owned(), kind, error: error.to_owned() }
            }
            Observation::View { node, values } => {
                Observed::View { node: node.to_owned(), values: values.to_vec() }
            }
            Observation::Crash { kind } => Observed::Crash { kind },
            Observation::Recovered { file, values, chain, check_corruptions } => {
                Observed::Recovered(found(file, values, chain, check_corruptions, 0))
            }
            Observation::Closed { file, values, chain, check_corruptions, check_leaks } => {
                Observed::Closed(found(file, values, chain, check_corruptions, check_leaks))
            }
            Observation::End => Observed::End,
        }
    }

    /// Shows it to somebody who judges.
    pub fn show<T>(&self, judge: impl FnOnce(&Observation<'_>) -> T) -> T {
        let found = match self {
            Observed::Recovered(found) | Observed::Closed(found) => Some(found),
            _ => None,
        };
        let chain: Vec<&str> = found.map_or_else(Vec::new, |f| f.chain.iter().map(String::as_str).collect());
        judge(&self.observation(&chain))
    }

    fn observation<'a>(&'a self, chain: &'a [&'a str]) -> Observation<'a> {
        match self {
            Observed::Sent { client, text } => Observation::Sent { client: *client, text },
            Observed::Reply { client, text } => Observation::Reply { client: *client, text },
            Observed::Event { text } => Observation::Event { text },
            Observed::SchemaCommand => Observation::SchemaCommand,
            Observed::Attached { guest, node, writable } => {
                Observation::GuestAttached { guest: *guest, node, writable: *writable }
            }
            Observed::Connected { guest, export } => Observation::GuestConnected { guest: *guest, export },
            Observed::Refused { guest, node, writable, .. } => {
                Observation::GuestRefused { guest: *guest, node, writable: *writable }
            }
            Observed::Detached { guest } => Observation::GuestDetached { guest: *guest },
            Observed::Began { request, guest, asked, .. } => {
                Observation::GuestBegan { request: *request, guest: *guest, op: asked.op() }
            }
            Observed::Ended { request, result } => {
                let result = result.as_deref().map_err(|failure| failure.text.as_str());
                Observation::GuestEnded { request: *request, result }
            }
            Observed::FaultStruck { file, kind, error } => {
                Observation::FaultStruck { file, kind: *kind, error }
            }
            Observed::FaultArmed { file, kind, error } => {
                Observation::FaultArmed { file, kind: *kind, error }
            }
            Observed::View { node, values } => Observation::View { node, values },
            Observed::Crash { kind } => Observation::Crash { kind: *kind },
            Observed::Recovered(found) => Observation::Recovered {
                file: &found.file,
                values: &found.values,
                chain,
                check_corruptions: found.corruptions,
            },
            Observed::Closed(found) => Observation::Closed {
                file: &found.file,
                values: &found.values,
                chain,
                check_corruptions: found.corruptions,
                check_leaks: found.leaks,
            },
            Observed::SchemaCommandRefused { text } => Observation::SchemaCommandRefused { text },
            Observed::Unreadable { file, why } => Observation::Unreadable { file, why },
            Observed::End => Observation::End,
        }
    }
}

impl Asked {
    /// A request; a write leaves `tag` in the form of each sector.
    pub fn new(operation: Operation, sector: u64, count: u64, tag: Tag) -> Asked {
        let written = if operation == Operation::Write { count } else { 0 };
        let values = (sector..sector + written).map(|sector| tag_in_sector(tag, sector)).collect();
        Asked { operation, sector, count, values, fua: false }
    }

    /// What the model sees of it.
    fn of(op: GuestOp<'_>) -> Asked {
        let asked =
            |operation, sector, count| Asked { operation, sector, count, values: Vec::new(), fua: false };
        match op {
            GuestOp::Read { sector, count } => asked(Operation::Read, sector, count),
            GuestOp::Write { sector, values, fua } => {
                let count = values.len() as u64;
                Asked { values: values.to_vec(), fua, ..asked(Operation::Write, sector, count) }
            }
            GuestOp::WriteZeroes { sector, count } => asked(Operation::WriteZeroes, sector, count),
            GuestOp::Discard { sector, count } => asked(Operation::Discard, sector, count),
            GuestOp::Flush => asked(Operation::Flush, 0, 0),
        }
    }

    /// As the model wants to know it.
    pub fn op(&self) -> GuestOp<'_> {
        let (sector, count) = (self.sector, self.count);
        match self.operation {
            Operation::Read => GuestOp::Read { sector, count },
            Operation::Write => GuestOp::Write { sector, values: &self.values, fua: self.fua },
            Operation::WriteZeroes => GuestOp::WriteZeroes { sector, count },
            Operation::Discard => GuestOp::Discard { sector, count },
            Operation::Flush => GuestOp::Flush,
        }
    }
}
