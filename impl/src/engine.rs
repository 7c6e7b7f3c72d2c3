//! The engine as one object: graph, jobs and the commands that change them.

use crate::command::{BlockJobInfo, BlockdevOptions, Family, NodeInfo, StreamArguments, Verb};
use crate::error::Refused;
use crate::event::EventSink;
use crate::host::Host;
use crate::sync::gate::Gate;
use std::sync::Arc;

/// Sizes that a real daemon leaves alone and a small world makes small.
#[derive(Copy, Clone, Debug)]
pub struct Tuning {
    /// How much a stream copies at a time.
    pub stream_chunk_bytes: u64,
}

/// The engine.
#[derive(Debug)]
pub struct Engine {
    host: Arc<dyn Host>,
    commands: Gate,
}

#[allow(missing_docs, unused_variables)]
impl Engine {
    pub fn new(host: Arc<dyn Host>, tuning: Tuning) -> Arc<Engine> {
        Arc::new(Engine { host, commands: Gate::new() })
    }
    pub fn host(&self) -> &Arc<dyn Host> {
        &self.host
    }
    pub fn commands(&self) -> &Gate {
        &self.commands
    }
    pub fn subscribe(&self, sink: Arc<dyn EventSink>) {}
    pub async fn blockdev_add(self: &Arc<Self>, options: &BlockdevOptions) -> Result<(), Refused> {
        panic!("being written")
    }
    pub async fn blockdev_del(self: &Arc<Self>, node_name: &str) -> Result<(), Refused> {
        panic!("being written")
    }
    pub async fn block_stream(self: &Arc<Self>, arguments: &StreamArguments) -> Result<(), Refused> {
        panic!("being written")
    }
    pub async fn job_verb(self: &Arc<Self>, family: Family, id: &str, verb: Verb) -> Result<(), Refused> {
        panic!("being written")
    }
    pub fn query_block_jobs(&self) -> Vec<BlockJobInfo> {
        vec![]
    }
    pub fn query_named_block_nodes(&self) -> Vec<NodeInfo> {
        vec![]
    }
    /// Cancels every job and waits for its end, then flushes and closes every image.
    pub async fn quit(self: &Arc<Self>) {}
}
