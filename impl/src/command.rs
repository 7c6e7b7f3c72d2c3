//! What an operator asks of the engine, and what the engine says about itself, as plain data.
//!
//! The QMP layer makes these from text and text from these; jobs and graph know nothing of JSON.

mod create;
mod exports;
mod info;
mod jobs;
mod nodes;
mod stats;

pub use create::{NewFile, NewImage, NewQcow2, Preallocation};
pub use exports::{ExportInfo, ExportOptions};
pub use info::{BitmapInfo, EdgeInfo, GraphInfo, NamedBacking, NodeInfo, SpecificInfo, VertexInfo};
pub use jobs::{
    BackupArguments, BackupSync, BitmapMode, BlockJobInfo, CommitArguments, Family, JobOptions,
    MirrorArguments, MirrorSync, OnError, StreamArguments, Verb,
};
pub use nodes::{
    BackingOptions, BlockdevOptions, ChildOptions, DiscardOptions, DriverOptions, FilterOptions, NodeSettings,
};
pub use stats::NodeStats;
