//! The words in which the table of `schema.rs` is written: types of arguments, replies and events.

use crate::command::Family;

/// The type of a value.
#[derive(Copy, Clone, Debug)]
pub enum Type {
    /// Text.
    Str,
    /// A signed 64-bit integer.
    Int,
    /// A size in bytes: an integer that may use the sign's bit too.
    Size,
    /// `true` or `false`.
    Bool,
    /// `null`.
    Null,
    /// Anything.
    Any,
    /// A list whose elements all have one type.
    List(&'static Type),
    /// One of a few words.
    Enum(&'static Enum),
    /// An object with known members.
    Object(&'static Object),
    /// One of several types, distinguished by their JSON type.
    Alternate(&'static Alternate),
}

/// A few words.
#[derive(Debug)]
pub struct Enum {
    /// Its name; clients see a number instead.
    pub name: &'static str,
    /// The words, in the order clients are shown.
    pub values: &'static [&'static str],
}

/// An object: its members and, for a union, the members that depend on the value of one of them.
#[derive(Debug)]
pub struct Object {
    /// Its name; clients see a number instead.
    pub name: &'static str,
    /// Its members, in the order in which they are checked.
    pub members: &'static [Member],
    /// What depends on a member's value.
    pub variants: Option<Variants>,
    /// What clients may rely on beyond the members.
    pub features: &'static [&'static str],
}

/// One member of an object.
#[derive(Debug)]
pub struct Member {
    /// Its name.
    pub name: &'static str,
    /// Its type.
    pub kind: Type,
    /// Whether it may be absent.
    pub optional: bool,
    /// What clients learn of it besides: that it is deprecated, say.
    pub features: &'static [&'static str],
}

impl Member {
    /// The same member, with features.
    pub const fn with(self, features: &'static [&'static str]) -> Member {
        Member { features, ..self }
    }
}

/// The variable part of a union.
#[derive(Debug)]
pub struct Variants {
    /// The member that decides; its type is an enum.
    pub tag: &'static str,
    /// For each of its values the further members; a value that is not named has none.
    pub cases: &'static [(&'static str, &'static Object)],
}

/// One of several types.
#[derive(Debug)]
pub struct Alternate {
    /// Its name; part of the text that refuses anything else.
    pub name: &'static str,
    /// The types, no two of which have the same JSON type.
    pub cases: &'static [Type],
}

/// One command.
#[derive(Debug)]
pub struct Command {
    /// Its name.
    pub name: &'static str,
    /// What it does.
    pub action: Action,
    /// Its arguments.
    pub arguments: &'static Object,
    /// What it answers.
    pub returns: Type,
    /// What clients may rely on beyond the arguments.
    pub features: &'static [&'static str],
}

impl Command {
    /// The same command, with features.
    pub const fn with(self, features: &'static [&'static str]) -> Command {
        Command { features, ..self }
    }
}

/// What a command does.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum Action {
    QmpCapabilities,
    QueryVersion,
    QueryMemory,
    QueryBlockstats,
    QueryCommands,
    QueryQmpSchema,
    QueryJobs,
    QueryBlockJobs,
    QueryNamedBlockNodes,
    QueryBlockGraph,
    BlockdevAdd,
    BlockdevCreate,
    BlockdevDel,
    BlockStream,
    BlockCommit,
    BlockdevBackup,
    Transaction,
    BlockdevMirror,
    Job(Family, JobVerb),
    NbdServerStart,
    NbdServerStop,
    NbdServerAdd,
    NbdServerRemove,
    BlockExportAdd,
    BlockExportDel,
    QueryBlockExports,
    ObjectAdd,
    ObjectDel,
    QueryBlock,
    SetWriteThreshold,
    BlockdevAmend,
    Edit(Edit),
    Quit,
}

/// Commands that change the graph or one of its nodes.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum Edit {
    Reopen,
    Snapshot,
    SnapshotSync,
    InternalSnapshot,
    DeleteInternalSnapshot,
    SetIothread,
    ChangeBackingFile,
    Resize,
    BitmapAdd,
    BitmapRemove,
    BitmapClear,
    BitmapEnable,
    BitmapDisable,
    BitmapMerge,
    BitmapSum,
}

/// The verbs of `block-job-*` and `job-*`, before their arguments are looked at.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum JobVerb {
    Cancel,
    Pause,
    Resume,
    SetSpeed,
    Complete,
    Finalize,
    Dismiss,
    Change,
}

/// One event.
#[derive(Debug)]
pub struct EventType {
    /// Its name.
    pub name: &'static str,
    /// Its `data`.
    pub data: &'static Object,
}

/// A member that must be there.
pub const fn required(name: &'static str, kind: Type) -> Member {
    Member { name, kind, optional: false, features: &[] }
}

/// A member that may be absent.
pub const fn optional(name: &'static str, kind: Type) -> Member {
    Member { name, kind, optional: true, features: &[] }
}

/// An object without variants.
pub const fn object(name: &'static str, members: &'static [Member]) -> Object {
    Object { name, members, variants: None, features: &[] }
}

impl Object {
    /// The further members that this value of the tag brings.
    pub fn variant(&self, tag_value: &str) -> Option<&'static Object> {
        let variants = self.variants.as_ref()?;
        variants.cases.iter().find(|(value, _)| *value == tag_value).map(|(_, members)| *members)
    }
}
