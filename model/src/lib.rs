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
//!     bitmaps: false,
//!     subclusters: false,
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
//! law by name, `step` for the state and its steps, observable and silent, [`judge`] for how a run is followed,
//! [`inconclusive`] for why it cannot be followed any more, and [`data_judge`] for what is left to be judged then. [`data_only`] is a second, small
//! specification, of any device that keeps data. The crate does no I/O and knows no clock, no chance and no threads; it
//! shares no code with the engine.
//!
//! What it does not do: a fault that strikes excuses whatever is under way, on any file, and headers and
//! lengths that it may have left are kept as data of one state. A command it does not look into may succeed; its effect is
//! unknown then, and what readers see must hold all the same.
//!
//! # Where things are
//!
//! `lib.rs` is the idea in one page. `judge.rs` follows a run observation by observation (`observation.rs` is that
//! language) and keeps every state that explains it (`judge/kept.rs`: equal ones once; `judge/verbs.rs`: which verbs a run sent to which jobs); a verdict is that none is left. A state (`step/state.rs`) is one way in
//! which the run may have come about. It is certain about control: a command has taken effect or it has not, a job has
//! changed the graph or it has not, and where both are possible there are two states. It is set-valued about data alone:
//! `content.rs` keeps the values that a sector may have, now and after a crash; `content/change.rs` is how they come and go.
//!
//! What changes a state unseen is a silent step: a command takes effect, a job that ends does one part of its end.
//! `step/silent.rs` is the closed list of them, each with what it looks at or changes, so that the judge takes one only where it
//! concerns what is seen next. A guest's request enters once, before an edit that it meets or after it; `step/late` keeps
//! what ended while an edit waited that may have come first. What changes a state in sight is an observable step: `step.rs`
//! and `step/`, where `seen` is an observation as states take it, `client` holds commands until their replies,
//! `replied` judges these, `answers` is what a command may be answered, `start` how jobs begin, `jobs` and `verb` their
//! life, `copying` what they do to contents, `copied` what that leaves, `ending` the parts of their end, `edit` edits and
//! exports, `guest` reads and writes, `met` which of them an edit finds on their way, `query` and `edges` what queries report, `crash` what must be there afterwards,
//! `goals` which jobs met which. States share what they have in common (`shared.rs`), show by a number whether they may be
//! equal (`step/sketch.rs`), and one that a kept state still leads to by silent steps is not kept itself, so there is one most
//! of the time.
//!
//! What allows more than one thing, the silent steps among it, is a named rule of the closed list in `rule.rs`. A judge can go
//! without any of them, and must refuse something that was kept then: a trace, a recording or a history
//! (`cargo midstream mutants --of model`, `tests/histories.rs`).
//!
//! `command.rs`, `command/` are what commands ask and when they are refused: `plan` says what any accepted job does to the
//! graph, as data, `record` what is known of one job; `stream`, `commit`, `mirror` and `backup` judge one command each, in the
//! order of its refusals; `blockdev`, `editing`, `exporting` and `opening` judge the others; `starting`, `arguments`,
//! `reply` and `wording` are the language. `graph.rs`, `graph/` are the graph: nodes, who holds them (`blocker`), who needs what
//! (`permission`), how links and filters change (`edit`). `job.rs` holds the two tables; `event` and `json` are the rest of the language; `law.rs` every law by name, with a goal for every two jobs in every relation. `quirk.rs` is the closed list of ways in
//! which QEMU is wrong, each off unless a judge is made `with` it; what each does stands in `step/marred.rs`,
//! `step/marred_control.rs` and `content/marred.rs` and is called from the place that it concerns. `data_only.rs`, `data_only/` are a specification of
//! its own, of devices that keep data, without QMP and without chains; nothing else in the model uses it or is used by it.
//!
//! A run is inconclusive (`inconclusive.rs` says why), and campaigns count it, when more than 512 states explain it (or 65,536 are
//! looked at for one observation), when what guests do lies outside the specification, and after a command of unknown
//! effect: from then on only what `data_judge.rs` says is judged, that guests read what they wrote.
//! `model/tests/exhaustive.rs` walks every state of small chains; `model/tests/corpus.rs` plays every recorded case of the
//! real daemon, and spoilt ones; `model/tests/generated.rs` walks at random through a small world of its own: what it reports
//! must be accepted, and spoilt refused; `model/tests/mutants.rs` takes away the rules that a recorded case needs.

pub mod command;
pub mod content;
pub mod data_judge;
pub mod data_only;
pub mod event;
pub mod graph;
pub mod harm;
pub mod inconclusive;
pub mod job;
pub mod json;
pub mod judge;
pub mod law;
pub mod observation;
pub mod quirk;
pub mod release;
pub mod rule;
mod shared;
mod step;

pub use harm::Harm;
pub use inconclusive::Inconclusive;
pub use judge::{Census, Judge};
pub use law::{Broken, Kind, LAW_COUNT, LAWS, LawId, Tally};
pub use observation::{CrashKind, FaultKind, Format, GuestOp, ImageSetup, Observation};
pub use quirk::Quirk;
pub use release::Release;
pub use rule::Rule;
