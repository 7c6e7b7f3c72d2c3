//! Many small deterministic worlds: a scheduler, disks and clocks of its own, choices that can be repeated, written down
//! and made fewer.
//!
//! A run is a pure function of its choices ([`choice`]): [`strategy`] makes them, [`trace`] writes them to a file,
//! [`minimise()`](minimise::minimise) makes them fewer. The world is [`scheduler`], [`clock`], [`disk`], [`fault`],
//! [`crash`] and [`host`]. [`campaign`] takes many runs on all cores, [`coverage`] adds them up, [`verdict`] and
//! [`history`] are what is left of one.

pub mod campaign;
pub mod choice;
pub mod clock;
pub mod content;
pub mod coverage;
pub mod crash;
pub mod disk;
pub mod fault;
pub mod history;
pub mod host;
pub mod minimise;
pub mod panics;
pub mod request;
pub mod scheduler;
pub mod socket;
pub mod strategy;
pub mod terminal;
pub mod toy;
pub mod trace;
pub mod verdict;
