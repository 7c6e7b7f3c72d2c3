//! Jobs: one life for all of them, and what each kind does.

pub mod backup;
pub mod backup_start;
pub mod commit;
pub mod commit_start;
pub mod group;
pub mod header;
pub mod hide;
pub mod life;
pub mod mirror;
pub mod mirror_start;
pub mod pace;
pub mod passes;
pub mod rate;
pub mod state;
pub mod status;
pub mod stream;
pub mod stream_start;
pub mod task;
pub mod verbs;
