//! The mirror job, and with it the active commit: copies what source reads into target, and then whatever guests write
//! meanwhile, until source and target are in step; in the end target may take the place of source.
//!
//! Target is flushed before anything depends on it, and nobody writes between the last copy and the change of the graph:
//!
//! data -> flush -> drain -> the rest -> flush -> graph -> BLOCK_JOB_COMPLETED

use super::hide;
use super::life::{Failure, Job, Operation, Outcome, Reaction};
use super::mirror_start::{self, Scope};
use super::pace::{Turn, pace, pace_watched};
use super::passes::Passes;
use super::rate::RateLimit;
use super::state::Ending;
use super::task::Task;
use crate::command::OnError;
use crate::core::Core;
use crate::core::access::set_read_only;
use crate::graph::Graph;
use crate::graph::length::len_bytes;
use crate::graph::mirror_top::MirrorTop;
use crate::id::NodeId;
use crate::io::mirror::{CopyError, NobodyWatches, Watch};
use crate::io::{grow, mirror, status, write};
use crate::sync::either;
use crate::sync::shim::Mutex;
use seam::{Errno, Nanos};
use std::sync::Arc;

/// How far one look for data goes, bytes.
const LOOK_BYTES_MAX: u64 = 64 << 20;

/// How long a job that is in step collects writes before it copies them; QEMU's slice.
const COLLECT: Nanos = Nanos(100_000_000);

/// One mirror at work.
#[derive(Debug)]
pub(crate) struct Mirror {
    /// Where it works.
    pub core: Arc<Core>,
    /// Its life.
    pub job: Arc<Job>,
    /// What it shares with its filter.
    pub top: Arc<MirrorTop>,
    /// Its filter, right above source.
    pub filter: NodeId,
    /// What there is to copy at the start.
    pub scope: Scope,
    /// How much is copied before the next sleep, bytes.
    pub buffer_bytes: u64,
    /// What it does when source cannot be read.
    pub on_source_error: OnError,
    /// What it does when target cannot be written.
    pub on_target_error: OnError,
    /// Whether the base of a commit was read-only, and becomes so again if the job fails.
    pub was_read_only: bool,
    /// How it ends, once that is known.
    pub ending: Ending,
}

impl Task for Mirror {
    async fn work(&mut self) -> Result<(), Outcome> {
        let len = self.fit_target().await?;
        self.find_data(len).await?;
        self.ending = self.follow().await?;
        Ok(())
    }

    async fn prepare(&mut self) -> Result<(), Failure> {
        self.catch_up().await?;
        let _alone = self.core.gate().drain().await;
        let graph = self.core.graph();
        while let Some((start, end)) = self.top.take(self.buffer_bytes) {
            mirror::copy(&graph, &self.top, start, end, &NobodyWatches).await.map_err(CopyError::errno)?;
        }
        self.set_progress();
        write::flush(&graph, self.top.target).await?;
        match self.ending {
            Ending::Pivot => self.pivot(&graph).await,
            Ending::Leave => {
                self.detach().await;
                Ok(())
            }
            Ending::Open => panic!("job {} ends, and nobody said how", self.job.id),
        }
    }

    async fn abort(&mut self) {
        let _alone = self.core.gate().drain().await;
        self.detach().await;
        if self.was_read_only {
            let base = self.core.graph().unfiltered(self.top.target);
            let _kept_writable = self.core.reopen(base, false).await;
        }
    }

    async fn clean(&mut self) {}
}

impl Mirror {
    /// Makes target as long as source if it may; answers source's length.
    async fn fit_target(&self) -> Result<u64, Outcome> {
        let _inside = self.core.gate().enter().await;
        let graph = self.core.graph();
        let source = len_bytes(&graph, self.top.source)?;
        let target = len_bytes(&graph, self.top.target)?;
        if self.top.is_commit && target < source {
            grow::grow(&graph, self.top.target, source).await?;
        }
        if !self.top.is_commit && target != source {
            return Err(Failure::Because("Source and target image have different sizes".into()).into());
        }
        Ok(source)
    }

    /// Marks what there is to copy from the start.
    async fn find_data(&self, len: u64) -> Result<(), Outcome> {
        let bottom = match self.scope {
            Scope::Nothing => return Ok(()),
            Scope::Everything => {
                self.top.mark(0, len);
                return Ok(());
            }
            Scope::DownTo(bottom) => bottom,
        };
        let mut offset = 0;
        while offset < len {
            pace(&self.core, &self.job, &mut RateLimit::default()).await?;
            let _inside = self.core.gate().enter().await;
            let graph = self.core.graph();
            let first = graph.unfiltered(self.top.source);
            let look = (len - offset).min(LOOK_BYTES_MAX);
            let decided = status::decided_between(&graph, first, bottom, offset, look).await?;
            if decided.here {
                self.top.mark(offset, offset + decided.len);
            }
            offset += decided.len;
        }
        Ok(())
    }

    /// Copies until nothing is left and somebody says how to end.
    async fn follow(&self) -> Result<Ending, Outcome> {
        let mut rate = RateLimit::default();
        let mut passes = Passes::default();
        loop {
            self.take_turn(&mut rate, &passes).await?;
            // Read first: whatever happens after the looks below is a change since then.
            let seen = (self.job.changes(), self.top.changes());
            let is_open = self.job.ending() == Some(Ending::Open);
            self.set_progress();
            if let Some(errno) = self.top.take_failure() {
                self.react(CopyError::Write(errno)).await?;
            } else if let Some((start, end)) = self.top.take(self.buffer_bytes) {
                self.copy(start, end, &mut rate).await?;
                passes.copied(end - start, self.top.dirty_bytes());
            } else if let Some(ending) = self.settle().await? {
                // It may be long until an operator finalizes.
                self.top.hold(false);
                return Ok(ending);
            } else if is_open {
                self.wait(seen).await;
            } else {
                passes.flushed(self.top.dirty_bytes());
            }
        }
    }

    /// Waits for the next piece, and decides whether guests are held back meanwhile: while they outrun the copies, and
    /// once somebody waits for the end. A job that is ready lets them go, and so does one that is paused, since it is
    /// to leave target alone.
    async fn take_turn(&self, rate: &mut RateLimit, passes: &Passes) -> Result<(), Outcome> {
        // Once in step there is no speed limit: it could keep the job from ever being so again.
        let mut none = RateLimit::default();
        let rate = if self.job.ending().is_some() { &mut none } else { rate };
        let hold = |turn| {
            let wanted = match self.job.ending() {
                None => passes.are_outrun(),
                Some(Ending::Open) => false,
                Some(Ending::Pivot | Ending::Leave) => true,
            };
            self.top.hold(wanted && turn != Turn::Paused);
        };
        Ok(pace_watched(&self.core, &self.job, rate, &hold).await?)
    }

    /// How much is left is what guests left; how much is done only grows.
    fn set_progress(&self) {
        self.job.set_remaining(self.top.dirty_bytes());
    }

    async fn copy(&self, start: u64, end: u64, rate: &mut RateLimit) -> Result<(), Outcome> {
        self.job.set_busy(true);
        let seen = self.job.changes();
        let report = CopyReport { mirror: self, worst: Mutex::default() };
        {
            let _inside = self.core.gate().enter().await;
            rate.charge(end - start);
            // Every error is reported when it happens; what comes of them all is decided below.
            let _first = mirror::copy(&self.core.graph(), &self.top, start, end, &report).await;
        }
        self.job.set_busy(false);
        let worst = *report.worst.lock();
        match worst {
            Some(worst) => self.go_on(worst, seen).await,
            None => Ok(()),
        }
    }

    /// Nothing is left to copy at this moment: the job becomes ready, or ends if it was asked to.
    async fn settle(&self) -> Result<Option<Ending>, Outcome> {
        let ending = self.job.ending();
        if ending != Some(Ending::Open) {
            self.job.set_busy(true);
            let flushed = {
                let _inside = self.core.gate().enter().await;
                write::flush(&self.core.graph(), self.top.target).await
            };
            self.job.set_busy(false);
            if let Err(errno) = flushed {
                self.react(CopyError::Write(errno)).await?;
                return Ok(None);
            }
        }
        // A guest may have written during the flush.
        if !self.top.settle() {
            return Ok(None);
        }
        if ending.is_none() {
            self.set_progress();
            self.job.enter_ready();
        }
        Ok(ending.filter(|ending| *ending != Ending::Open))
    }

    /// Waits until a guest writes or an operator wants something. What guests write is collected for a moment, so that
    /// many small writes to one chunk cost one copy.
    async fn wait(&self, seen: (u64, u64)) {
        either(self.job.changed_since(seen.0), self.top.changed_since(seen.1)).await;
        if self.top.dirty_bytes() > 0 {
            self.rest(seen.0).await;
        }
    }

    async fn rest(&self, seen: u64) {
        let host = self.core.host();
        either(self.job.changed_since(seen), host.sleep_until(host.now().plus(COLLECT))).await;
    }

    /// Deals with an error as the operator wished. Whatever was not copied is still marked.
    async fn react(&self, error: CopyError) -> Result<(), Outcome> {
        let seen = self.job.changes();
        self.go_on((self.report(error), error.errno()), seen).await
    }

    /// Reports an error.
    fn report(&self, error: CopyError) -> Reaction {
        let (policy, operation) = match error {
            CopyError::Read(_) => (self.on_source_error, Operation::Read),
            CopyError::Write(_) => (self.on_target_error, Operation::Write),
        };
        self.job.io_error(policy, operation, error.errno())
    }

    /// Ends, or goes on, after errors the worst of which this is.
    async fn go_on(&self, worst: (Reaction, Errno), seen: u64) -> Result<(), Outcome> {
        match worst {
            (Reaction::Report, errno) => Err(errno.into()),
            (Reaction::Stop, _) => Ok(()),
            (Reaction::Ignore, _) => {
                // What failed is tried again, but not without end at full speed.
                self.rest(seen).await;
                Ok(())
            }
        }
    }

    /// Guests may have written much while the job waited to be finalized; most of it is copied before the drain, and
    /// they are held back meanwhile, so that little is left for it.
    async fn catch_up(&self) -> Result<(), Errno> {
        self.top.hold(true);
        // Not more than was there at the start, so that it ends even if a write of theirs fails again and again.
        let mut budget = self.top.dirty_bytes();
        while budget > self.buffer_bytes {
            let Some((start, end)) = self.top.take(self.buffer_bytes) else { break };
            let _inside = self.core.gate().enter().await;
            let graph = self.core.graph();
            mirror::copy(&graph, &self.top, start, end, &NobodyWatches).await.map_err(CopyError::errno)?;
            budget = budget.saturating_sub(end - start);
        }
        Ok(())
    }

    /// Puts target in the place of source, for everybody who uses it. On an error the graph is as before.
    async fn pivot(&self, graph: &Arc<Graph>) -> Result<(), Failure> {
        let replaced = match &self.top.replaces {
            Some(name) => graph.find(name).ok_or(Errno::EPERM)?,
            None => self.top.source,
        };
        if self.top.is_commit {
            // Overlays that are longer than source read zeroes past its end, and base may have something there.
            // A reopen may have put one past the filter, on source itself.
            let above = [self.filter, replaced].map(|top| hide::visible_end(graph, top, self.top.target));
            let end = above.into_iter().try_fold(0, |end, other| other.map(|other| end.max(other)))?;
            let start = len_bytes(graph, self.top.source)?;
            hide::all(graph, self.top.target, start, end, LOOK_BYTES_MAX).await?;
        }
        let target = graph.unfiltered(self.top.target);
        let is_closed = self.close_to_writers(graph, replaced, target).await;
        let pivoted = self.core.try_edit(|graph| {
            mirror_start::detach(graph, &self.top, self.job.serial, self.filter);
            if !mirror_start::can_replace(graph, self.top.source, replaced) {
                return Err(Errno::EPERM);
            }
            let stays_closed = is_closed && !graph.is_written(target);
            if stays_closed {
                set_read_only(graph, target, true);
            }
            graph.replace(replaced, self.top.target);
            graph.admit_permissions().map_err(|_| Errno::EPERM)?;
            Ok(stays_closed)
        });
        if is_closed && !matches!(pivoted, Ok((true, _))) {
            self.core
                .reopen_images(graph, target, true)
                .await
                .map_err(|refused| refused.errno().unwrap_or(Errno::EACCES))?;
        }
        let (_, dropped) = pivoted?;
        self.core.close(dropped).await;
        Ok(())
    }

    /// Target becomes as writable as what it replaces. If that fails it stays as it is. The job wrote its last; that its node is
    /// read-only, is seen together with the pivot, and not while the job still stands on it.
    async fn close_to_writers(&self, graph: &Graph, replaced: NodeId, target: NodeId) -> bool {
        assert!(!graph.place(target).read_only, "a job writes its target");
        graph.place(replaced).read_only && self.core.reopen_images(graph, target, false).await.is_ok()
    }

    /// Takes the filter out; the chain stays as it was.
    async fn detach(&self) {
        let dropped =
            self.core.edit(|graph| mirror_start::detach(graph, &self.top, self.job.serial, self.filter));
        self.core.close(dropped).await;
    }
}

/// Counts what one copy did, and reports its errors.
struct CopyReport<'a> {
    mirror: &'a Mirror,
    /// What came of the errors so far: one that ends the job outweighs the others.
    worst: Mutex<Option<(Reaction, Errno)>>,
}

impl Watch for CopyReport<'_> {
    fn copied(&self, bytes: u64) {
        self.mirror.job.advance(bytes);
    }

    fn failed(&self, error: CopyError) {
        let reaction = self.mirror.report(error);
        let mut worst = self.worst.lock();
        if worst.is_none() || reaction == Reaction::Report {
            *worst = Some((reaction, error.errno()));
        }
    }
}
