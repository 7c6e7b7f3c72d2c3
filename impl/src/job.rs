//! Jobs: one life for all of them, and what each kind does.

pub(crate) mod backup;
pub(crate) mod backup_start;
pub(crate) mod commit;
pub(crate) mod commit_start;
pub(crate) mod group;
pub(crate) mod header;
pub(crate) mod hide;
pub(crate) mod life;
pub(crate) mod mirror;
pub(crate) mod mirror_start;
pub(crate) mod pace;
pub(crate) mod passes;
pub(crate) mod rate;
pub(crate) mod state;
pub(crate) mod status;
pub(crate) mod stream;
pub(crate) mod stream_start;
pub(crate) mod task;
pub(crate) mod verbs;
