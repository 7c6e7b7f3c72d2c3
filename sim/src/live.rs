//! A live daemon under the model: the same generator and choices drive a real process behind sockets, and the same model
//! judges what it says, what its guests read and what its files hold afterwards.
//!
//! One sequence is one process in a fresh folder with private sockets; nothing outside that folder is touched, and the
//! process is ended by its id. What depends on timing may go another way the next time: a failure says how often it
//! came again.

pub mod action;
pub mod again;
pub mod bucket;
pub mod campaign;
pub mod cuts;
pub mod doc;
mod effect;
mod ending;
pub mod fall;
mod guests;
mod image_store;
mod in_flight;
pub mod journal;
pub mod judge;
pub mod known;
pub mod minimise;
mod monitor;
pub mod plan;
pub mod planned;
pub mod process;
pub mod qmp;
mod repaired;
pub mod report;
pub mod repro;
pub mod rounds;
pub mod schema;
mod schema_command;
pub mod script;
pub mod second_reader;
pub mod sequence;
pub mod stack;
pub mod target;
pub mod timeout;
mod turns;
