//! Tests block layers: many small deterministic worlds, each with another order of requests, completions, faults and a
//! crash, each judged by what must be true of any device that keeps data.
//!
//! Whoever has a block layer writes a [`BlockLayer`] and its [`Device`] over the hosts of [`seam`], and calls [`check()`]
//! from a test of their own. `docs/your-own-block-layer.md` goes through it step by step. Here is one without a bug,
//! which keeps every sector where it belongs and nothing in memory:
//!
//! ```
//! use midstream::seam::{Disk, Host, IoResult, OpenMode};
//! use midstream::{BlockLayer, Device, Image, Profile, check};
//! use std::sync::Arc;
//!
//! struct Plain;
//! struct Open(Arc<dyn Disk>);
//!
//! impl BlockLayer for Plain {
//!     type Device = Open;
//!
//!     async fn open(&self, host: Arc<dyn Host>, images: &[Image]) -> IoResult<Vec<Open>> {
//!         let mut devices = Vec::new();
//!         for image in images {
//!             devices.push(Open(host.open(&image.path, OpenMode::ReadWrite).await?));
//!         }
//!         Ok(devices)
//!     }
//! }
//!
//! impl Device for Open {
//!     async fn read(&self, offset: u64, len: u64) -> IoResult<Vec<u8>> {
//!         self.0.read(offset, vec![0; len as usize]).await
//!     }
//!     async fn write(&self, offset: u64, data: Vec<u8>) -> IoResult<()> {
//!         self.0.write(offset, data).await
//!     }
//!     async fn flush(&self) -> IoResult<()> {
//!         self.0.flush().await
//!     }
//! }
//!
//! check(Plain, Profile::default(), 300);
//! ```
//!
//! A run is a pure function of its choices ([`choice`]): [`strategy`] makes them, [`trace`] writes them to a file,
//! [`minimise()`](minimise::minimise) makes them fewer. The [`world`] is simulated. [`campaign`] takes many runs on all cores, [`coverage`] adds them up, [`recording`]
//! keeps what happens in one, [`verdict`] and [`history`] are what is left of it.
//!
//! # Where things are
//!
//! - `choice.rs` is the one door of chance; `strategy/` holds who answers (random, PCT, replay); `trace.rs` writes a run
//!   down, `minimise.rs` minimises it. `campaign.rs` takes many runs on all cores, `coverage.rs` adds them up.
//! - `world/` is the simulated world: `scheduler` with `ready`, `clock`, `disk` and its `file`s, `fault` with `repertoire` (how
//!   they are drawn) and `struck` (what has gone wrong), `crash`, `host` with `wait`, `socket`; `on_disk` is a request as
//!   readers see it; `notes` is what a step touches, `probe` who looks at a world between its steps; `waiting` says who waits
//!   for whom where it does not go on. `content.rs` is what
//!   sectors hold, and what readers call it, `request.rs` what guests ask for.
//! - `history.rs`, `history/` are what was seen of a run, kept once: `observed` is what a specification was shown, owned;
//!   `lines` (what people read) and `fingerprint` follow from it; what simulated disks did stands beside it, for readers alone. `file` and `file/` are the form that others write too
//!   (`docs/history.md`): `header`, `line`, `values`; `campaign/keep` says which runs leave such a file. `verdict.rs` is how a
//!   run ended.
//! - `layer.rs` is what a block layer offers, `layer/monitor.rs` the door of one that is commanded in QEMU's language. `scenario.rs` is
//!   what is done to it, `scenario/command.rs` what its clients send, `scenario/profile.rs` how the rest is drawn. `check.rs` takes runs,
//!   minimises the first failure and reports it: `check/world.rs` is one run, `check/world/images.rs` its images,
//!   `check/world/commanded.rs` the parts that are there for clients, `check/world/recover.rs` what the next process finds,
//!   `check/world/explored.rs` a run that may end at any step, `check/guest.rs` a guest in it, `check/settings.rs` what the
//!   environment says. `witness.rs` shows each run to a specification of `model` (`witness/level`): the data-only one, of which
//!   `witness/length` and `witness/resize` know what it does not; or, where clients command the layer, QEMU's language
//!   (`witness/commanded`). Nothing in it knows an engine. `witness/fork.rs` is a second judge for
//!   a crash that is only tried.
//! - `check/explore.rs` takes every schedule and every crash of a scenario: `check/explore/search.rs` says which runs are taken,
//!   `pilot` goes through one, `known` knows one state from another, `crashes` ends the world in each, `saved` is what is left of one that was
//!   stopped. `scenario/file.rs` reads scenarios and their bounds (`scenario/bounds.rs`) from files.
//! - `recording.rs` is what the witness and `sim`'s oracle have in common: the record of a run, the first law that broke, and
//!   which command is behind it (`recording/commands.rs`).
//! - `panics.rs` catches panics and knows whose they are; `terminal.rs` is the one way to print; `toy.rs` is a world small
//!   enough to know its least failure by heart, for tests here and in `sim`.

#![warn(unreachable_pub)]

pub mod campaign;
pub mod check;
pub mod choice;
pub mod content;
pub mod coverage;
pub mod history;
pub mod layer;
pub mod minimise;
pub mod panics;
pub mod recording;
pub mod request;
pub mod scenario;
pub mod strategy;
pub mod terminal;
pub mod toy;
pub mod trace;
pub mod verdict;
mod witness;
pub mod world;

pub use check::{Failure, check, event_log, explain, explore, find, replay, survey};
pub use layer::{BlockLayer, Checked, Device, Events, Image, Monitor};
pub use scenario::{Profile, Scenario};
pub use seam;

/// The page's code compiles.
#[cfg(doctest)]
#[doc = include_str!("../../docs/your-own-block-layer.md")]
struct Page;
