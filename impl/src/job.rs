//! Jobs: one life for all of them, and what each kind does.

pub mod commit;
pub mod commit_start;
pub mod header;
pub mod life;
pub mod pace;
pub mod rate;
pub mod status;
pub mod stream;
pub mod stream_start;
