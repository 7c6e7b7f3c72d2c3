//! What bitmaps say for certain: sectors that guests have changed since a bitmap was there, in requests that ended well.
//!
//! A bitmap is followed from the reply to the command that added it until a command is sent that may clear it or take it
//! away. A request that was under way then, or when a backup took hold of it, counts for nothing: whether it came before
//! or after, nobody saw. More may be dirty than is known here.

use crate::command::Command;
use crate::command::backup::{Span, Synced};
use crate::command::editing::Editing;
use crate::command::plan::Work;
use crate::command::reply::Refusal;
use crate::command::starting::BitmapMode;
use crate::content::Moment;
use crate::graph::JobId;
use crate::law::LawId;
use crate::rule::Rule;
use crate::step::guest::{Op, Request};
use crate::step::state::{EVER, State};
use std::collections::BTreeSet;

/// A command that only looks at a bitmap.
const SUM: &str = "x-debug-block-dirty-bitmap-sha256";

/// The bitmaps that are followed.
#[derive(Clone, PartialEq, Default, Debug)]
pub(crate) struct Bitmaps(Vec<Bitmap>);

#[derive(Clone, PartialEq, Debug)]
struct Bitmap {
    node: String,
    name: String,
    /// Requests that began later count.
    from: Moment,
    /// Dirty sectors.
    dirty: BTreeSet<u32>,
    /// The backup that holds it, when it began, and what was changed since.
    held: Option<(JobId, Moment, BTreeSet<u32>)>,
}

impl State {
    /// A command was sent: what it may undo is not followed any more.
    pub(super) fn bitmaps_may_be_undone(&mut self, command: &Result<Command, Refusal>) {
        if self.bitmaps.0.is_empty() {
            return;
        }
        match command {
            Ok(Command::Edit(editing)) => match &**editing {
                Editing::Bitmap { verb: "add", .. } | Editing::Threshold { .. } => {}
                Editing::Bitmap { node, .. } => self.bitmaps.0.retain(|bitmap| bitmap.node != *node),
                Editing::Snapshot { .. } | Editing::SnapshotSync { .. } => {}
                _ => self.bitmaps.0.clear(),
            },
            Ok(Command::Delete(node)) => self.bitmaps.0.retain(|bitmap| bitmap.node != *node),
            Ok(Command::Other { name, .. }) if name == SUM => {}
            Ok(Command::Other { .. } | Command::Quit) => self.bitmaps.0.clear(),
            _ => {}
        }
    }

    /// A bitmap was added: what begins from now on is recorded.
    pub(super) fn bitmap_is_followed(&mut self, editing: &Editing) {
        let Editing::Bitmap { verb: "add", node, name, is_disabled: false } = editing else { return };
        // Beside it, another command may be about to take it away.
        let may_undo = |command: &Result<Command, Refusal>| {
            matches!(command, Ok(Command::Edit(_) | Command::Delete(_) | Command::Other { .. }))
        };
        if self.fronts().any(|front| may_undo(front.command())) {
            return;
        }
        let (node, name, from) = (node.clone(), name.clone(), self.now);
        self.bitmaps.0.push(Bitmap { node, name, from, dirty: BTreeSet::new(), held: None });
    }

    /// A change has ended. A discard may have done nothing.
    pub(super) fn bitmaps_record(&mut self, request: &Request, is_well: bool) {
        let Request { image: Some(image), sector, count, began, .. } = *request else { return };
        if self.bitmaps.0.is_empty() || !is_well || matches!(request.op, Op::Discard(..)) {
            return;
        }
        let here = |bitmap: &Bitmap| {
            let node = self.graph.find(&bitmap.node);
            bitmap.from < began && node.and_then(|node| self.layer_of(&self.graph, node)) == Some(image)
        };
        let here: Vec<usize> = (0..self.bitmaps.0.len()).filter(|at| here(&self.bitmaps.0[*at])).collect();
        for at in here {
            let bitmap = &mut self.bitmaps.0[at];
            bitmap.dirty.extend(sector..sector + count);
            if let Some((_, since, changed)) = &mut bitmap.held
                && *since < began
            {
                changed.extend(sector..sector + count);
            }
        }
    }

    fn synced(&self, id: JobId) -> Option<(usize, &Synced)> {
        let Work::Backup(Span { source, bitmap: Some(synced), .. }) = &self.job(id).plan.work else {
            return None;
        };
        let node = self.graph.node(*source).name.as_deref()?;
        let is_it = |bitmap: &Bitmap| bitmap.node == node && bitmap.name == synced.name;
        self.bitmaps.0.iter().position(is_it).map(|at| (at, synced))
    }

    /// What is dirty for certain in the bitmap of a backup.
    pub(super) fn dirty_sectors(&self, id: JobId) -> BTreeSet<u32> {
        self.synced(id).map(|(at, _)| self.bitmaps.0[at].dirty.clone()).unwrap_or_default()
    }

    /// A backup by a bitmap has succeeded, and had something to copy for certain.
    pub(super) fn increment_succeeded(&mut self, id: JobId) {
        let Work::Backup(span) = &self.job(id).plan.work else { return };
        if span.sync.is_by_bitmap() && self.job(id).copies.contains(&true) {
            self.count(LawId::BackupBitmapCompletes);
        }
    }

    /// A backup takes hold of its bitmap.
    pub(super) fn bitmap_is_held(&mut self, id: JobId) {
        if let Some((at, _)) = self.synced(id) {
            self.bitmaps.0[at].held = Some((id, self.now, BTreeSet::new()));
        }
    }

    /// It releases it.
    pub(super) fn bitmap_is_released(&mut self, id: JobId, has_succeeded: bool) {
        let Some((at, synced)) = self.synced(id) else { return };
        let forgets = match synced.mode {
            BitmapMode::OnSuccess => has_succeeded,
            BitmapMode::Never => false,
            // What it has not copied stays dirty, but which part that is, nobody saw.
            BitmapMode::Always => true,
        };
        let bitmap = &mut self.bitmaps.0[at];
        let is_its = |(holder, ..): &mut (JobId, Moment, BTreeSet<u32>)| *holder == id;
        if let Some((_, began, changed)) = bitmap.held.take_if(is_its)
            && forgets
        {
            (bitmap.from, bitmap.dirty) = (began, changed);
        }
    }

    /// Whether a job fails as an image that it made writable has bitmaps that have stayed read-only: they do not let it write,
    /// nor make the image longer.
    pub(super) fn is_for_bitmaps(&self, id: JobId, error: &str) -> bool {
        let may_be = self.is_struck_since(EVER) && self.allows(Rule::BitmapsStayReadOnly);
        let has_bitmaps =
            self.images.iter().any(|image| image.bitmaps) && self.job(id).plan.written.is_some();
        let is_theirs = match error {
            "Operation not permitted" => true,
            "Operation not supported" => self.makes_its_base_longer(id),
            _ => false,
        };
        may_be && has_bitmaps && is_theirs
    }

    /// Whether a job is a commit into a base that is shorter than its top, or was.
    fn makes_its_base_longer(&self, id: JobId) -> bool {
        let Work::Commit(span) = &self.job(id).plan.work else { return false };
        let images = self.layer_of(&self.graph, span.base).zip(self.layer_of(&self.graph, span.top));
        images
            .is_some_and(|(base, top)| self.shortest_length(base) < self.views.layer(top).sectors() as usize)
    }
}
