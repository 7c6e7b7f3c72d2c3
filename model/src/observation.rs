//! The language between a run and the model: how it began, and what was seen of it.

/// An image file as it is before the run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ImageSetup {
    /// Its file name, as `filename` and headers name it.
    pub file: String,
    /// Its format.
    pub format: Format,
    /// Its virtual size. A last part of a sector is not judged.
    pub size_bytes: u64,
    /// Its unit of allocation.
    pub cluster_bytes: u64,
    /// The backing file its header names.
    pub backing: Option<String>,
    /// Whether it keeps bitmaps from the beginning.
    pub bitmaps: bool,
    /// Whether its clusters are allocated in 32 parts (extended L2 entries).
    pub subclusters: bool,
    /// Every sector this layer decides, with its value; 0 is zeroes. Ignored sectors read from the backing.
    pub own: Vec<(u64, u64)>,
}

/// The format of an image.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// Bytes as they are.
    Raw,
    /// qcow2
    Qcow2,
}

/// One thing seen from outside.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Observation<'a> {
    /// A client sent a command, as JSON text.
    Sent {
        /// Which client.
        client: u32,
        /// The command.
        text: &'a str,
    },
    /// A client got the reply to its oldest unanswered command.
    Reply {
        /// Which client.
        client: u32,
        /// The reply, as JSON text.
        text: &'a str,
    },
    /// An event was emitted. An event broadcast to several clients is one observation.
    Event {
        /// The event, as JSON text.
        text: &'a str,
    },
    /// A command that the model was not shown has succeeded, and may have done anything that leaves the data alone.
    /// From now on only that is judged.
    SchemaCommand,
    /// A guest's device was put on a node.
    GuestAttached {
        /// Which guest.
        guest: u32,
        /// The node's name.
        node: &'a str,
        /// Whether it may write.
        writable: bool,
    },
    /// A guest connected to an export that a `block-export-add` made. Its requests go where the export is.
    GuestConnected {
        /// Which guest.
        guest: u32,
        /// The export's id.
        export: &'a str,
    },
    /// A guest was not let in.
    GuestRefused {
        /// Which guest.
        guest: u32,
        /// The node it wanted.
        node: &'a str,
        /// Whether it wanted to write.
        writable: bool,
    },
    /// A guest's device was taken away.
    GuestDetached {
        /// Which guest.
        guest: u32,
    },
    /// A guest began a request.
    GuestBegan {
        /// Its number, not used before; not 0.
        request: u64,
        /// Which guest.
        guest: u32,
        /// What it does.
        op: GuestOp<'a>,
    },
    /// A guest's request ended.
    GuestEnded {
        /// Its number.
        request: u64,
        /// The values read, or none; or the text of the error.
        result: Result<&'a [u64], &'a str>,
    },
    /// At this moment I/O of this kind on this file has failed with this text. What was under way then may fail by it.
    FaultStruck {
        /// The image file.
        file: &'a str,
        /// Which kind of I/O.
        kind: FaultKind,
        /// The error's text, like `Input/output error`.
        error: &'a str,
    },
    /// From now on this kind of I/O on this file may fail with this text, at moments that nobody knows.
    FaultArmed {
        /// The image file.
        file: &'a str,
        /// Which kind of I/O.
        kind: FaultKind,
        /// The error's text, like `Input/output error`.
        error: &'a str,
    },
    /// The whole content of a node, read at rest.
    View {
        /// The node's name.
        node: &'a str,
        /// Its sectors.
        values: &'a [u64],
    },
    /// Everything stopped without warning.
    Crash {
        /// How.
        kind: CrashKind,
    },
    /// After a crash: an image file, reopened through the chain that the headers on disk name.
    Recovered {
        /// The image file.
        file: &'a str,
        /// Its sectors, read through its chain.
        values: &'a [u64],
        /// The files of the chain, from this one down to its base.
        chain: &'a [&'a str],
        /// Corruptions the image check found.
        check_corruptions: u64,
    },
    /// After a clean end: an image file, reopened likewise.
    Closed {
        /// The image file.
        file: &'a str,
        /// Its sectors, read through its chain.
        values: &'a [u64],
        /// The files of the chain, from this one down to its base.
        chain: &'a [&'a str],
        /// Corruptions the image check found.
        check_corruptions: u64,
        /// Leaked clusters the image check found.
        check_leaks: u64,
    },
    /// A command that the model was not shown was refused: it must have done nothing.
    SchemaCommandRefused {
        /// The command.
        text: &'a str,
    },
    /// After a crash or a clean end: an image file that nobody can read through the chain that the headers name.
    Unreadable {
        /// The image file.
        file: &'a str,
        /// Why.
        why: &'a str,
    },
    /// The run is over, and no fault is active any more.
    End,
}

/// What a guest asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum GuestOp<'a> {
    /// Read sectors.
    Read {
        /// First sector.
        sector: u64,
        /// How many.
        count: u64,
    },
    /// Write sectors.
    Write {
        /// First sector.
        sector: u64,
        /// A value for each.
        values: &'a [u64],
        /// Whether it is durable when it ends well: force unit access.
        fua: bool,
    },
    /// Write zeroes.
    WriteZeroes {
        /// First sector.
        sector: u64,
        /// How many.
        count: u64,
    },
    /// Give up content: each sector reads as before or as zeroes until it is written.
    Discard {
        /// First sector.
        sector: u64,
        /// How many.
        count: u64,
    },
    /// Make durable what has ended.
    Flush,
}

/// A kind of I/O that may fail.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FaultKind {
    /// Reads.
    Read,
    /// Writes, zeroes and discards.
    Write,
    /// Flushes.
    Flush,
    /// Anything.
    Any,
}

impl FaultKind {
    /// What it strikes, in words.
    pub fn words(self) -> &'static str {
        match self {
            FaultKind::Read => "reads",
            FaultKind::Write => "writes",
            FaultKind::Flush => "flushes",
            FaultKind::Any => "any request",
        }
    }
}

/// How everything stopped. The model allows the same after both: caches may lie between a write and the disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CrashKind {
    /// The process was killed.
    Kill,
    /// The process was killed, and may have done more than the last output received from it shows.
    KillUnheard,
    /// The power failed.
    PowerCut,
}
