//! The stream job: pulls the data between target and base up into target, then drops the nodes between.
//!
//! ```text
//! before  base <- bottom <- mid <- target
//! after   base <- target
//! ```
//!
//! The chain changes only when everything target needs is durable: data -> refcounts -> L2 -> L1 -> flush -> header
//! -> flush -> graph -> BLOCK_JOB_COMPLETED. Whoever crashes in between finds a chain with the same content.

use super::header::{self, Wanted};
use super::life::{Cancelled, Failure, Job, Operation, Outcome, Reaction};
use super::pace::pace_busily;
use super::rate::RateLimit;
use super::stream_start::{self, Region};
use super::task::Task;
use crate::command::OnError;
use crate::core::Core;
use crate::format::RunKind;
use crate::graph::Graph;
use crate::graph::length::len_bytes;
use crate::id::NodeId;
use crate::io::{copy_on_read, status};
use seam::{Errno, IoResult};
use std::sync::Arc;

/// How far one look goes. A look costs time for every cluster it passes, and what lies behind the first change is
/// looked at again.
const LOOK_BYTES_MAX: u64 = 64 << 20;

/// One stream at work.
#[derive(Debug)]
pub(crate) struct Stream {
    /// Where it works.
    pub core: Arc<Core>,
    /// Its life.
    pub job: Arc<Job>,
    /// What it streams.
    pub region: Region,
    /// Its filter, right above target.
    pub filter: NodeId,
    /// The string the operator wants in target's header.
    pub backing_file: Option<String>,
    /// Whether a protocol node below is written as `raw`.
    pub mask_protocol: bool,
    /// Whether target was read-only and becomes so again.
    pub was_read_only: bool,
    /// What it does about I/O errors.
    pub on_error: OnError,
}

/// What one look at the chain found.
enum Step {
    /// So many bytes need no copy.
    Skipped(u64),
    /// So many bytes were copied.
    Copied(u64),
}

impl Task for Stream {
    async fn work(&mut self) -> Result<(), Outcome> {
        Ok(self.copy_all().await??)
    }

    async fn prepare(&mut self) -> Result<(), Failure> {
        Ok(self.rewire().await?)
    }

    /// Takes the filter out; the chain stays as it was.
    async fn abort(&mut self) {
        let _alone = self.core.gate().drain().await;
        let dropped =
            self.core.edit(|graph| stream_start::detach(graph, &self.region, self.job.serial, self.filter));
        self.core.close(dropped).await;
    }

    /// What was read-only before the job is so again; an error here changes nothing about the job.
    async fn clean(&mut self) {
        if self.was_read_only {
            let _alone = self.core.gate().drain().await;
            let _kept_writable = self.core.reopen(self.region.target, false).await;
        }
    }
}

impl Stream {
    /// Goes once through target. The first error is the job's error, even if the job goes on (`ignore`).
    async fn copy_all(&self) -> Result<IoResult<()>, Cancelled> {
        let graph = self.core.graph();
        if self.region.is_empty(&graph) {
            return Ok(Ok(()));
        }
        let len = match len_bytes(&graph, self.region.target) {
            Ok(len) => len,
            Err(errno) => return Ok(Err(errno)),
        };
        let mut rate = RateLimit::default();
        let mut first_error = Ok(());
        let mut offset = 0;
        while offset < len {
            pace_busily(&self.core, &self.job, &mut rate).await?;
            let step = {
                let _inside = self.core.gate().enter().await;
                self.step(&self.core.graph(), offset, len).await
            };
            let done = match step {
                Ok(Step::Skipped(done)) => done,
                Ok(Step::Copied(done)) => {
                    rate.charge(done);
                    done
                }
                // QEMU says `read` even when the write into the top image failed.
                Err(errno) => match self.job.io_error(self.on_error, Operation::Read, errno) {
                    Reaction::Stop => 0,
                    Reaction::Ignore => {
                        first_error = first_error.and(Err(errno));
                        self.core.tuning().stream_chunk_bytes.min(len - offset)
                    }
                    Reaction::Report => return Ok(first_error.and(Err(errno))),
                },
            };
            offset += done;
            self.job.set_offset(offset);
        }
        Ok(first_error)
    }

    /// Looks at the bytes from `offset` and copies them if a layer between target and base decides them.
    async fn step(&self, graph: &Arc<Graph>, offset: u64, len: u64) -> IoResult<Step> {
        let target = graph.unfiltered(self.region.target);
        let own = status::layer(graph, target, offset, (len - offset).min(LOOK_BYTES_MAX)).await?;
        if own.kind != RunKind::Unallocated {
            return Ok(Step::Skipped(own.len));
        }
        let first = graph.layer_below(target).expect("a region that is not empty has a layer below target");
        // Past the end of the first layer everything reads as zeroes. Without a base target may say so by having
        // nothing there; with one the zeroes must be written, or base would show.
        if self.region.base.is_none() && offset >= len_bytes(graph, first)? {
            return Ok(Step::Skipped(len - offset));
        }
        let decided = status::decided_between(graph, first, self.region.bottom, offset, own.len).await?;
        if !decided.here {
            return Ok(Step::Skipped(decided.len));
        }
        let chunk = decided.len.min(self.core.tuning().stream_chunk_bytes);
        copy_on_read::populate(graph, target, self.region.bottom, offset, offset + chunk).await?;
        Ok(Step::Copied(chunk))
    }

    /// Makes target stand on base: on disk first, then in the graph. On an error the graph is as before.
    async fn rewire(&self) -> IoResult<()> {
        let target = self.core.graph().unfiltered(self.region.target);
        // Everything that target took over must be durable before its header may name a shorter chain.
        self.core.graph().node(target).flush().await?;
        let _alone = self.core.gate().drain().await;
        let graph = self.core.graph();
        // Another job may have changed what hangs below while we waited: only now is base what it will be.
        let base = graph.below(self.region.above_base);
        if self.region.base.is_none() && base.is_some() {
            self.keep_tail(&graph, target).await?;
        }
        // Another job's filter may have been what stood between target and a base that is not to be read just now.
        let mut after = Graph::clone(&graph);
        after.set_backing(target, base);
        after.admit_permissions().map_err(|_| Errno::EPERM)?;
        if graph.place(target).backing.is_some() {
            self.write_header(&graph, target, base).await?;
        }
        let dropped = self.core.edit(|graph| {
            stream_start::detach(graph, &self.region, self.job.serial, self.filter);
            graph.set_backing(target, base);
        });
        self.core.close(dropped).await;
        Ok(())
    }

    /// A base came while the job ran: the zeroes past the end of a short first layer, which needed no copy without
    /// one, must be kept now.
    async fn keep_tail(&self, graph: &Arc<Graph>, target: NodeId) -> IoResult<()> {
        let (first, len) = (graph.layer_below(target), len_bytes(graph, target)?);
        let start = first.map_or(Ok(len), |first| len_bytes(graph, first))?;
        if start < len {
            copy_on_read::populate(graph, target, self.region.bottom, start, len).await?;
            graph.node(target).flush().await?;
        }
        Ok(())
    }

    async fn write_header(&self, graph: &Graph, target: NodeId, base: Option<NodeId>) -> IoResult<()> {
        let wanted = Wanted { file: self.backing_file.as_deref(), mask_protocol: self.mask_protocol };
        header::name_backing(&**self.core.host(), graph, target, base, wanted).await
    }
}
