//! What must be true: the reference model of block jobs on chains of disk images.
//!
//! `block-stream` pulls the data of the nodes between its target and a base up into the target and then drops those nodes
//! from the chain. Nobody who reads through the target, or above it, may notice; nothing that was durable may be lost;
//! every job must end. This crate says so precisely, and follows a run to see whether it is true:
//!
//! ```
//! use model::{Format, ImageSetup, LawId, Judge, Observation};
//!
//! let image = |file: &str, backing: Option<&str>, own: Vec<(u64, u64)>| ImageSetup {
//!     file: file.into(),
//!     format: Format::Qcow2,
//!     size_bytes: 4 * 512,
//!     cluster_bytes: 512,
//!     backing: backing.map(str::to_owned),
//!     own,
//! };
//! let mut model = Judge::new(&[
//!     image("base.img", None, vec![(0, 7)]),
//!     image("mid.img", Some("base.img"), vec![(1, 8)]),
//!     image("top.img", Some("mid.img"), vec![(2, 9)]),
//! ]);
//! let mut command = |model: &mut Judge, text: &str| {
//!     model.observe(&Observation::Sent { client: 1, text }).unwrap();
//! };
//! command(&mut model, r#"{"execute": "blockdev-add", "arguments": {
//!     "driver": "qcow2", "node-name": "top", "file": {"driver": "file", "filename": "top.img"}}}"#);
//! model.observe(&Observation::Reply { client: 1, text: r#"{"return": {}}"# }).unwrap();
//!
//! command(&mut model, r#"{"execute": "block-stream", "arguments": {"job-id": "j", "device": "top"}}"#);
//! for status in ["created", "running"] {
//!     let text = format!(
//!         r#"{{"event": "JOB_STATUS_CHANGE", "data": {{"id": "j", "status": "{status}"}}}}"#);
//!     model.observe(&Observation::Event { text: &text }).unwrap();
//! }
//! model.observe(&Observation::Reply { client: 1, text: r#"{"return": {}}"# }).unwrap();
//!
//! // Whatever the stream has copied by now, a reader of top sees what was there.
//! model.observe(&Observation::View { node: "top", values: &[7, 8, 9, 0] }).unwrap();
//! let broken = model.observe(&Observation::View { node: "top", values: &[7, 0, 9, 0] }).unwrap_err();
//! assert_eq!(broken.law, LawId::StreamUnseen);
//! assert!(broken.detail.starts_with("sector 1 of top.img: a reader of `top` expected w8, read zeroes"));
//! ```
//!
//! Read [`job`] for the two tables of a job's life, [`graph`] for nodes, who blocks them and who may do what there,
//! [`command`] for what commands ask and when they are refused, [`content`] for what a reader may see, [`law`] for every
//! law by name, `step` for the state and its steps, observable and silent, [`judge`] for how a run is followed, [`inconclusive`] for
//! why it cannot be followed any more, and [`holding`] for what is left to be judged then. [`data_only`] is a second, small
//! specification, of any device that keeps data. The crate does no I/O and knows no clock, no chance and no threads; it
//! shares no code with the engine.
//!
//! What it does not do: a fault that strikes excuses whatever is under way, on any file, and headers and
//! lengths that it may have left are kept as data of one state. A command it does not look into may succeed; its effect is
//! unknown then, and what readers see must hold all the same.

pub mod command;
pub mod content;
pub mod data_judge;
pub mod data_only;
pub mod event;
pub mod graph;
pub mod inconclusive;
pub mod job;
pub mod json;
pub mod judge;
pub mod law;
pub mod observation;
pub mod quirk;
pub mod rule;
mod shared;
mod step;

pub use inconclusive::Inconclusive;
pub use judge::{Census, Judge};
pub use law::{Broken, Kind, LAW_COUNT, LAWS, LawId, Tally};
pub use observation::{CrashKind, FaultKind, Format, GuestOp, ImageSetup, Observation};
pub use quirk::Quirk;
pub use rule::Rule;
