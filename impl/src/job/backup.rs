//! The backup job: saves what source held at one moment in target, while guests go on writing.
//!
//! ```text
//! while it runs   source <- filter <- guest     filter -> target
//! ```
//!
//! Before a guest's write passes the filter, what it overwrites is saved; the job saves the rest. Target is durable
//! before the job says that it is done.

use super::backup_start::Plan;
use super::life::{Failure, Job, Operation, Outcome, PausePoint, Reaction};
use super::pace::{pace, pace_unhurried};
use super::rate::RateLimit;
use super::task::Task;
use crate::command::{BackupSync, BitmapMode};
use crate::core::Core;
use crate::graph::bitmap::held::After;
use crate::id::NodeId;
use crate::io::backup::{Saving, Step};
use crate::io::mirror::CopyError;
use crate::io::write;
use std::sync::Arc;

/// How far one look for what source decides goes.
const LOOK_BYTES_MAX: u64 = 64 << 20;

/// One backup at work.
#[derive(Debug)]
pub(crate) struct Backup {
    /// Where it works.
    pub core: Arc<Core>,
    /// Its life.
    pub job: Arc<Job>,
    /// What it saves.
    pub plan: Plan,
    /// Its filter, right above source.
    pub filter: NodeId,
    /// Whether it failed or was cancelled.
    pub has_failed: bool,
}

impl Task for Backup {
    async fn work(&mut self) -> Result<(), Outcome> {
        match self.plan.sync {
            BackupSync::None => self.stand_by().await,
            BackupSync::Top => {
                self.mark_copied().await?;
                self.save_all().await
            }
            _ => self.save_all().await,
        }
    }

    /// Target has been durable since the last chunk was saved.
    async fn prepare(&mut self) -> Result<(), Failure> {
        Ok(())
    }

    /// What was saved is of no use, and stays where it is.
    async fn abort(&mut self) {
        self.has_failed = true;
    }

    /// Takes the filter out, and releases target and bitmap.
    async fn clean(&mut self) {
        let _alone = self.core.gate().drain().await;
        let dropped = self.core.edit(|graph| {
            if let Some(bitmap) = &self.plan.bitmap {
                graph.release_bitmap_of_backup(self.plan.source, &bitmap.name.name, self.after(bitmap.mode));
            }
            graph.drop_copy_before_write(self.filter);
            graph.remove_job_users(self.job.serial, None);
        });
        self.core.close(dropped).await;
    }
}

impl Backup {
    /// What becomes of its bitmap.
    fn after(&self, mode: BitmapMode) -> After {
        match (mode, self.has_failed) {
            (BitmapMode::OnSuccess | BitmapMode::Always, false) => After::Forgets(Vec::new()),
            (BitmapMode::Always, true) => After::Forgets(self.plan.state.unsaved_ranges()),
            (BitmapMode::OnSuccess, true) | (BitmapMode::Never, _) => After::Keeps,
        }
    }

    /// Only what guests overwrite is saved, until somebody ends it.
    async fn stand_by(&self) -> Result<(), Outcome> {
        loop {
            let seen = self.job.changes();
            let _whether_it_rests: PausePoint = self.job.pause_point()?;
            self.job.set_busy(false);
            self.job.changed_since(seen).await;
        }
    }

    /// Marks as copied what source leaves to the layers below.
    async fn mark_copied(&self) -> Result<(), Outcome> {
        let mut offset = 0;
        while offset < self.plan.len_bytes {
            pace(&self.core, &self.job, &mut RateLimit::default()).await?;
            let _inside = self.core.gate().enter().await;
            let graph = self.core.graph();
            let end = self.plan.len_bytes.min(offset + LOOK_BYTES_MAX);
            let saving = Saving::of(&graph, self.filter).expect("the filter stands until the job ends");
            offset = saving.mark_copied(offset, end).await?;
        }
        self.job.set_remaining(self.plan.state.unsaved_bytes());
        Ok(())
    }

    /// Saves everything that is left.
    async fn save_all(&self) -> Result<(), Outcome> {
        let unsaved = self.plan.state.unsaved_bytes();
        // What guests' writes saved until now is work that is done.
        let saved =
            if self.plan.state.top_only { 0 } else { self.plan.unsaved_bytes.saturating_sub(unsaved) };
        self.job.set_offset(saved);
        self.job.set_remaining(unsaved);
        let total = saved + unsaved;
        let mut rate = RateLimit::default();
        while self.plan.state.unsaved_bytes() > 0 {
            pace_unhurried(&self.core, &self.job, &mut rate).await?;
            self.job.set_busy(true);
            let saved = {
                let _inside = self.core.gate().enter().await;
                let graph = self.core.graph();
                let saving = Saving::of(&graph, self.filter).expect("the filter stands until the job ends");
                saving.save_next(self.plan.piece_bytes).await
            };
            self.job.set_busy(false);
            match saved {
                Ok(Some(Step::Copied(bytes))) => rate.charge(bytes),
                Ok(Some(Step::Skipped(_) | Step::Nothing) | None) => {}
                Err(error) => self.react(error, &mut rate)?,
            }
            self.job.set_offset(total - self.plan.state.unsaved_bytes());
        }
        // What guests' writes saved last counts too.
        self.job.set_offset(total);
        self.make_durable(&mut rate).await
    }

    /// Flushes target, as often as the operator wants it tried.
    async fn make_durable(&self, rate: &mut RateLimit) -> Result<(), Outcome> {
        loop {
            self.job.set_busy(true);
            let flushed = {
                let _inside = self.core.gate().enter().await;
                write::flush(&self.core.graph(), self.plan.target).await
            };
            self.job.set_busy(false);
            match flushed {
                Ok(()) => return Ok(()),
                Err(errno) => self.react(CopyError::Write(errno), rate)?,
            }
            pace(&self.core, &self.job, rate).await?;
        }
    }

    /// Deals with an error as the operator wished. What was not saved is tried again.
    fn react(&self, error: CopyError, rate: &mut RateLimit) -> Result<(), Outcome> {
        let (policy, operation) = match error {
            CopyError::Read(_) => (self.plan.on_source_error, Operation::Read),
            CopyError::Write(_) => (self.plan.on_target_error, Operation::Write),
        };
        match self.job.io_error(policy, operation, error.errno()) {
            Reaction::Report => return Err(error.errno().into()),
            Reaction::Stop => {}
            Reaction::Ignore => rate.delay(self.core.host().now()),
        }
        Ok(())
    }
}
