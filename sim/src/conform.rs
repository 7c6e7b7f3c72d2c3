//! Plays recorded cases of the real daemon, and says where what happens now differs.

pub mod admit;
pub mod campaign;
pub mod canonical;
pub mod case;
pub mod corpus;
pub mod daemon;
pub mod engine;
pub mod hash;
mod look;
pub mod names;
pub mod nbd;
pub mod player;
mod schema;
mod session;
pub mod subject;
pub mod verdict;
