//! The commit job: pushes the data between base and top down into base, then drops the nodes above base.
//!
//! ```text
//! before  base <- mid <- top <- overlay
//! after   base <- overlay
//! ```
//!
//! What is written into base is decided by a layer above it, so nobody who reads through top notices. The chain
//! changes only when everything the overlay needs is durable: data -> flush -> header of overlay -> flush -> graph
//! -> BLOCK_JOB_COMPLETED. Whoever crashes in between finds a chain with the same content.

use super::commit_start::{self, Region};
use super::header::{self, Wanted};
use super::hide::{self, Hidden};
use super::life::{Cancelled, Failure, Job, Operation, Outcome, Reaction};
use super::pace::pace_busily;
use super::rate::RateLimit;
use super::task::Task;
use crate::command::OnError;
use crate::core::Core;
use crate::format::RunKind;
use crate::graph::Graph;
use crate::graph::length::len_bytes;
use crate::id::NodeId;
use crate::io::write::Change;
use crate::io::{grow, read, status, write};
use seam::{Errno, IoResult};
use std::sync::Arc;

/// One commit at work.
#[derive(Debug)]
pub(crate) struct Commit {
    /// Where it works.
    pub core: Arc<Core>,
    /// Its life.
    pub job: Arc<Job>,
    /// What it commits.
    pub region: Region,
    /// Its filter, right above top.
    pub filter: NodeId,
    /// The string the operator wants in the overlay's header.
    pub backing_file: Option<String>,
    /// Whether a protocol node below is written as `raw`.
    pub mask_protocol: bool,
    /// Whether base was read-only and becomes so again.
    pub was_read_only: bool,
    /// What it does about I/O errors.
    pub on_error: OnError,
    /// Up to where base says what overlays are to read.
    pub fit: u64,
}

/// What one look at the chain found.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
enum Step {
    /// So many bytes need no copy.
    Skipped(u64),
    /// So many bytes are in base now.
    Copied(u64),
}

/// An I/O error, and on which side it happened.
type Trouble = (Operation, Errno);

fn reading(errno: Errno) -> Trouble {
    (Operation::Read, errno)
}

fn writing(errno: Errno) -> Trouble {
    (Operation::Write, errno)
}

impl Task for Commit {
    async fn work(&mut self) -> Result<(), Outcome> {
        self.fit = self.copy_all().await??;
        Ok(())
    }

    async fn prepare(&mut self) -> Result<(), Failure> {
        Ok(self.rewire().await?)
    }

    /// Takes the filter out; the chain stays as it was.
    async fn abort(&mut self) {
        let _alone = self.core.gate().drain().await;
        let dropped = self.core.edit(|graph| {
            commit_start::detach(graph, &self.region, self.job.serial, self.filter, self.region.top);
            graph.remove_job_users(self.job.serial, None);
        });
        self.core.close(dropped).await;
    }

    /// What was read-only before the job is so again; an error here changes nothing about the job.
    async fn clean(&mut self) {
        if self.was_read_only {
            let _alone = self.core.gate().drain().await;
            let base = self.core.graph().unfiltered(self.region.base);
            let _kept_writable = self.core.reopen(base, false).await;
        }
    }
}

impl Commit {
    /// Does all the copying, and answers how far base may be read afterwards.
    async fn copy_all(&self) -> Result<IoResult<u64>, Cancelled> {
        let len = match self.make_room().await {
            Ok(len) => len,
            Err(errno) => return Ok(Err(errno)),
        };
        if let Err(errno) = self.go_through(0, len, Part::Copy).await? {
            return Ok(Err(errno));
        }
        // Past top's end everybody above reads zeroes. Soon base itself will be read there: it must say the same.
        let end = match hide::visible_end(&self.core.graph(), self.filter, self.region.base) {
            Ok(end) => end.max(len),
            Err(errno) => return Ok(Err(errno)),
        };
        Ok(self.go_through(len, end, Part::Hide).await?.map(|()| end))
    }

    /// Grows base to the size of top, which it answers.
    async fn make_room(&self) -> IoResult<u64> {
        let _inside = self.core.gate().enter().await;
        let graph = self.core.graph();
        let len = len_bytes(&graph, self.region.top)?;
        if len_bytes(&graph, self.region.base)? < len {
            grow::grow(&graph, self.region.base, len).await?;
        }
        Ok(len)
    }

    /// Does one part of the work from `offset` to `end`, as fast as it may.
    async fn go_through(&self, offset: u64, end: u64, part: Part) -> Result<IoResult<()>, Cancelled> {
        let mut rate = RateLimit::default();
        let mut offset = offset;
        while offset < end {
            pace_busily(&self.core, &self.job, &mut rate).await?;
            let step = {
                let _inside = self.core.gate().enter().await;
                let graph = self.core.graph();
                match part {
                    Part::Copy => self.copy_piece(&graph, offset, end).await,
                    Part::Hide => self.hide_piece(&graph, offset, end).await,
                }
            };
            let done = match step {
                Ok(Step::Skipped(done)) => done,
                Ok(Step::Copied(done)) => {
                    rate.charge(done);
                    done
                }
                Err((operation, errno)) => match self.job.io_error(self.on_error, operation, errno) {
                    Reaction::Report => return Ok(Err(errno)),
                    Reaction::Stop => 0,
                    // What was not copied is tried again, a while later.
                    Reaction::Ignore => {
                        rate.delay(self.core.host().now());
                        0
                    }
                },
            };
            offset += done;
            if part == Part::Copy {
                self.job.set_offset(offset);
            }
        }
        Ok(Ok(()))
    }

    /// Looks at the bytes from `offset` and writes them into base if a layer above it decides them.
    async fn copy_piece(&self, graph: &Arc<Graph>, offset: u64, end: u64) -> Result<Step, Trouble> {
        let bottom = self.region.bottom(graph);
        let most = (end - offset).min(self.core.tuning().stream_chunk_bytes);
        let run = status::between(graph, self.region.top, bottom, offset, most).await.map_err(reading)?;
        let change = match run.kind {
            RunKind::Unallocated => return Ok(Step::Skipped(run.len)),
            RunKind::Zero => Change::Zeroes(run.len),
            RunKind::Data => {
                let mut bytes = vec![0; run.len as usize];
                read::read(graph, self.region.top, offset, &mut bytes).await.map_err(reading)?;
                Change::Data(bytes)
            }
        };
        write::change(graph, self.region.base, offset, change).await.map_err(writing)?;
        Ok(Step::Copied(run.len))
    }

    /// Makes base say zeroes from `offset`, unless it does so already.
    async fn hide_piece(&self, graph: &Arc<Graph>, offset: u64, end: u64) -> Result<Step, Trouble> {
        let piece_bytes = self.core.tuning().stream_chunk_bytes;
        Ok(match hide::piece(graph, self.region.base, offset, end, piece_bytes).await? {
            Hidden::Before(len) => Step::Skipped(len),
            Hidden::Now(len) => Step::Copied(len),
        })
    }

    /// Makes everybody who stands on top stand on base: on disk first, then in the graph. On an error the graph is
    /// as before.
    async fn rewire(&self) -> IoResult<()> {
        // Everything that was copied must be durable before a header may name the shorter chain.
        let base = self.core.graph().unfiltered(self.region.base);
        self.core.graph().node(base).flush().await?;
        let _alone = self.core.gate().drain().await;
        let graph = self.core.graph();
        self.hide_from_new_overlays(&graph).await?;
        let overlays = graph.overlays(self.filter);
        for (done, overlay) in overlays.iter().enumerate() {
            if let Err(errno) = self.name_backing(&graph, *overlay, self.region.base).await {
                for before in &overlays[..done] {
                    let _as_far_as_it_can = self.name_top_again(&graph, *before).await;
                }
                return Err(errno);
            }
        }
        let dropped = self.core.edit(|graph| {
            commit_start::detach(graph, &self.region, self.job.serial, self.filter, self.region.base);
        });
        self.core.close(dropped).await;
        Ok(())
    }

    /// An overlay may have come, or grown, since base was made fit to be read.
    async fn hide_from_new_overlays(&self, graph: &Arc<Graph>) -> IoResult<()> {
        let end = hide::visible_end(graph, self.filter, self.region.base)?;
        hide::all(graph, self.region.base, self.fit, end, self.core.tuning().stream_chunk_bytes).await
    }

    /// Makes the header of `overlay` name `below`, whether the image may be written otherwise or not.
    async fn name_backing(&self, graph: &Graph, overlay: NodeId, below: NodeId) -> IoResult<()> {
        let wanted = Wanted { file: self.backing_file.as_deref(), mask_protocol: self.mask_protocol };
        self.write_header(graph, overlay, below, wanted).await
    }

    async fn name_top_again(&self, graph: &Graph, overlay: NodeId) -> IoResult<()> {
        self.write_header(graph, overlay, self.region.top, Wanted::default()).await
    }

    async fn write_header(
        &self,
        graph: &Graph,
        overlay: NodeId,
        below: NodeId,
        wanted: Wanted<'_>,
    ) -> IoResult<()> {
        // Only the image is opened for writing, not the node: nobody else may come and write in the meantime.
        let was_read_only = graph.place(overlay).read_only;
        if was_read_only {
            let opened = self.core.reopen_images(graph, overlay, true).await;
            opened.map_err(|refused| refused.errno().unwrap_or(Errno::EACCES))?;
        }
        let written = header::name_backing(&**self.core.host(), graph, overlay, Some(below), wanted).await;
        if was_read_only {
            let _kept_writable = self.core.reopen_images(graph, overlay, false).await;
        }
        written
    }
}

/// The two halves of the work.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
enum Part {
    /// What top and the layers above base decide goes into base.
    Copy,
    /// What base holds past the end of top becomes zeroes.
    Hide,
}
