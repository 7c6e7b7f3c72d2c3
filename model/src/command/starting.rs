//! The commands that start jobs: what may be said, and what was said.

use crate::command::arguments::{Member, Type, check, optional, required};
use crate::command::reply::Refusal;
use crate::job::{Kind, OnError};
use crate::json::Json;

/// A command that starts a job.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Start {
    /// `job-id`; empty if it was left out, which no anonymous node allows.
    pub job_id: String,
    /// `device`: where the job works.
    pub device: String,
    /// `speed`, bytes a second; 0 is no limit.
    pub speed: i64,
    /// `on-error`, or the strictest of its two cousins for sources and targets.
    pub on_error: Vec<OnError>,
    /// `filter-node-name`
    pub filter_node_name: Option<String>,
    /// `auto-finalize`
    pub auto_finalize: bool,
    /// `auto-dismiss`
    pub auto_dismiss: bool,
    /// What it shall do.
    pub work: Asked,
}

/// What a job is asked to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Asked {
    /// `block-stream`
    Stream(Ends),
    /// `block-commit`: the ends, and the top by file name and by node name.
    Commit(Ends, Option<String>, Option<String>),
    /// `blockdev-mirror`
    Mirror(CopyArguments),
    /// `blockdev-backup`
    Backup(CopyArguments),
}

/// Where a job along a chain ends.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Ends {
    /// `base`: a file name.
    pub base: Option<String>,
    /// `base-node`
    pub base_node: Option<String>,
    /// `bottom`
    pub bottom: Option<String>,
    /// `backing-file`
    pub backing_file: Option<String>,
}

/// What a mirror or a backup copies where.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CopyArguments {
    /// `target`
    pub target: String,
    /// `sync`
    pub sync: Sync,
    /// `replaces`
    pub replaces: Option<String>,
    /// `granularity`
    pub granularity: Option<i64>,
    /// `bitmap`
    pub bitmap: Option<String>,
    /// `bitmap-mode`
    pub bitmap_mode: Option<BitmapMode>,
    /// `copy-mode` is `write-blocking`.
    pub blocks_writes: bool,
    /// Has options whose effect the model does not know.
    pub unmodelled: bool,
}

/// How much of a source is copied.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Sync {
    /// All a reader sees.
    Full,
    /// What its uppermost layer decides.
    Top,
    /// What guests write from now on; for a backup, what they overwrite.
    Nothing,
    /// What a bitmap says.
    Incremental,
    /// The same, in another mode.
    Bitmap,
}

impl Sync {
    /// The words of QMP, in the order of its schema.
    pub const WORDS: [&'static str; 5] = ["top", "full", "none", "incremental", "bitmap"];

    /// The choice of that word.
    pub fn from_word(word: &str) -> Option<Sync> {
        let all = [Sync::Top, Sync::Full, Sync::Nothing, Sync::Incremental, Sync::Bitmap];
        Self::WORDS.iter().position(|w| *w == word).map(|index| all[index])
    }

    /// Whether a bitmap says how much.
    pub fn is_by_bitmap(self) -> bool {
        matches!(self, Sync::Incremental | Sync::Bitmap)
    }

    /// The word of QMP.
    pub fn word(self) -> &'static str {
        match self {
            Sync::Top => "top",
            Sync::Full => "full",
            Sync::Nothing => "none",
            Sync::Incremental => "incremental",
            Sync::Bitmap => "bitmap",
        }
    }
}

/// When the bitmap of a backup forgets what was copied.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum BitmapMode {
    /// When the job succeeds.
    OnSuccess,
    /// Never.
    Never,
    /// However the job ends, but for what was not copied.
    Always,
}

impl BitmapMode {
    /// The words of QMP, in the order of its schema.
    pub const WORDS: [&'static str; 3] = ["on-success", "never", "always"];

    /// The choice of that word.
    pub fn from_word(word: &str) -> Option<BitmapMode> {
        let all = [BitmapMode::OnSuccess, BitmapMode::Never, BitmapMode::Always];
        Self::WORDS.iter().position(|w| *w == word).map(|index| all[index])
    }
}

const STREAM: &[Member] = &[
    optional("job-id", Type::Text),
    required("device", Type::Text),
    optional("base", Type::Text),
    optional("base-node", Type::Text),
    optional("backing-file", Type::Text),
    optional("backing-mask-protocol", Type::Boolean),
    optional("bottom", Type::Text),
    optional("speed", Type::Integer),
    optional("on-error", Type::Word(&OnError::WORDS)),
    optional("filter-node-name", Type::Text),
    optional("auto-finalize", Type::Boolean),
    optional("auto-dismiss", Type::Boolean),
];

const COMMIT: &[Member] = &[
    optional("job-id", Type::Text),
    required("device", Type::Text),
    optional("base-node", Type::Text),
    optional("base", Type::Text),
    optional("top-node", Type::Text),
    optional("top", Type::Text),
    optional("backing-file", Type::Text),
    optional("backing-mask-protocol", Type::Boolean),
    optional("speed", Type::Integer),
    optional("on-error", Type::Word(&OnError::WORDS)),
    optional("filter-node-name", Type::Text),
    optional("auto-finalize", Type::Boolean),
    optional("auto-dismiss", Type::Boolean),
];

const COPY_MODES: [&str; 2] = ["background", "write-blocking"];

const MIRROR: &[Member] = &[
    optional("job-id", Type::Text),
    required("device", Type::Text),
    required("target", Type::Text),
    optional("replaces", Type::Text),
    required("sync", Type::Word(&Sync::WORDS)),
    optional("speed", Type::Integer),
    optional("granularity", Type::Integer),
    optional("buf-size", Type::Integer),
    optional("on-source-error", Type::Word(&OnError::WORDS)),
    optional("on-target-error", Type::Word(&OnError::WORDS)),
    optional("filter-node-name", Type::Text),
    optional("copy-mode", Type::Word(&COPY_MODES)),
    optional("auto-finalize", Type::Boolean),
    optional("auto-dismiss", Type::Boolean),
    optional("target-is-zero", Type::Boolean),
];

const BACKUP: &[Member] = &[
    optional("job-id", Type::Text),
    required("device", Type::Text),
    required("sync", Type::Word(&Sync::WORDS)),
    optional("speed", Type::Integer),
    optional("bitmap", Type::Text),
    optional("bitmap-mode", Type::Word(&BitmapMode::WORDS)),
    optional("compress", Type::Boolean),
    optional("on-source-error", Type::Word(&OnError::WORDS)),
    optional("on-target-error", Type::Word(&OnError::WORDS)),
    optional("on-cbw-error", Type::Word(&["break-guest-write", "break-snapshot"])),
    optional("auto-finalize", Type::Boolean),
    optional("auto-dismiss", Type::Boolean),
    optional("filter-node-name", Type::Text),
    optional("discard-source", Type::Boolean),
    optional("x-perf", Type::Any),
    required("target", Type::Text),
];

/// Options of a copy whose effect the model does not know.
const UNMODELLED: [&str; 6] =
    ["compress", "discard-source", "x-perf", "target-is-zero", "on-cbw-error", "buf-size"];

impl Start {
    /// Reads the arguments of the command that starts a job of that kind.
    pub fn read(kind: Kind, arguments: &Json<'_>) -> Result<Start, Refusal> {
        let schema = match kind {
            Kind::Stream => STREAM,
            Kind::Commit => COMMIT,
            Kind::Mirror => MIRROR,
            Kind::Backup => BACKUP,
        };
        check(&[schema], "", arguments)?;
        let text = |name| arguments.text_of(name).map(str::to_owned);
        let boolean = |name| arguments.get(name).and_then(Json::boolean);
        let ends = Ends {
            base: text("base"),
            base_node: text("base-node"),
            bottom: text("bottom"),
            backing_file: text("backing-file"),
        };
        let copy = || CopyArguments {
            target: text("target").unwrap_or_default(),
            sync: arguments.text_of("sync").and_then(Sync::from_word).unwrap_or(Sync::Full),
            replaces: text("replaces"),
            granularity: arguments.integer_of("granularity"),
            bitmap: text("bitmap"),
            bitmap_mode: arguments.text_of("bitmap-mode").and_then(BitmapMode::from_word),
            blocks_writes: arguments.text_of("copy-mode") == Some(COPY_MODES[1]),
            unmodelled: UNMODELLED.iter().any(|name| arguments.get(name).is_some()),
        };
        let work = match kind {
            Kind::Stream => Asked::Stream(ends),
            Kind::Commit => Asked::Commit(ends, text("top"), text("top-node")),
            Kind::Mirror => Asked::Mirror(copy()),
            Kind::Backup => Asked::Backup(copy()),
        };
        let names: &[&str] =
            if kind.copies() { &["on-source-error", "on-target-error"] } else { &["on-error"] };
        let choice = |name: &&str| arguments.text_of(name).and_then(OnError::from_word);
        let on_error = names.iter().map(|name| choice(name).unwrap_or(OnError::Report)).collect();
        Ok(Start {
            job_id: text("job-id").unwrap_or_default(),
            device: text("device").unwrap_or_default(),
            speed: arguments.integer_of("speed").unwrap_or(0),
            on_error,
            filter_node_name: text("filter-node-name"),
            auto_finalize: boolean("auto-finalize").unwrap_or(true),
            auto_dismiss: boolean("auto-dismiss").unwrap_or(true),
            work,
        })
    }

    /// Whether it has options whose effect the model does not know.
    pub fn is_unmodelled(&self) -> bool {
        matches!(&self.work, Asked::Mirror(copy) | Asked::Backup(copy) if copy.unmodelled)
    }

    /// The type of the job it starts, as events name it.
    pub fn kind(&self) -> Kind {
        match self.work {
            Asked::Stream(_) => Kind::Stream,
            Asked::Commit(..) => Kind::Commit,
            Asked::Mirror(_) => Kind::Mirror,
            Asked::Backup(_) => Kind::Backup,
        }
    }
}
