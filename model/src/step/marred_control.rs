//! What quirks do to commands and jobs, where a judge has them: answers, refusals that leave something behind, statuses.
//! What they do to data is in `marred`.

use crate::command::Command;
use crate::command::editing::Editing;
use crate::command::plan::{JobType, Work};
use crate::command::record::Failure;
use crate::command::reply::{Answer, Refusal};
use crate::command::starting::{Asked, Start};
use crate::graph::{Driver, ImageId, JobId, NodeId};
use crate::inconclusive::Inconclusive;
use crate::job::Status;
use crate::json::Json;
use crate::quirk::Quirk;
use crate::step::state::State;

impl State {
    /// A bitmap was put on a node.
    pub(super) fn bitmap_added(&mut self, editing: &Editing) {
        if let Editing::Bitmap { node, verb: "add", .. } = editing
            && let Some(image) = self.graph.find(node).and_then(|node| self.layer_of(&self.graph, node))
        {
            self.images[usize::from(image.0)].bitmaps = true;
        }
    }

    /// A reopen to read-only was refused: the image stays as if it had not been.
    fn refused_reopen_leaves(&mut self, editing: &Editing) {
        let Editing::Reopen(list) = editing else { return };
        for options in list.iter().filter(|options| options.read_only) {
            if let Some(node) = self.graph.find(&options.name) {
                self.stays_unwritable(node);
            }
        }
    }

    /// A node was to turn read-only and did not: bitmaps that it keeps stay as they are all the same.
    pub(super) fn stays_unwritable(&mut self, node: NodeId) {
        let image = self.layer_of(&self.graph, node).filter(|_| self.has(Quirk::RefusedReopenBreaksWrites));
        self.marred.unwritable.extend(image.filter(|image| self.images[usize::from(image.0)].bitmaps));
    }

    /// Whether writers of an image may fail.
    pub(super) fn is_unwritable(&self, image: ImageId) -> bool {
        self.marred.unwritable.contains(&image)
    }

    /// Whether a job writes an image whose writers may fail, or may fail at its end for no cause.
    pub(super) fn may_fail_anyway(&self, id: JobId) -> bool {
        let written = self.job(id).plan.written.and_then(|node| self.layer_of(&self.graph, node));
        written.is_some_and(|image| self.is_unwritable(image)) || self.marred.causeless.contains(&id)
    }

    /// A job fails at its end: whether it may do so for no cause.
    pub(super) fn fails_for_no_cause(&mut self, id: JobId) -> bool {
        let over_filter = |node: NodeId| {
            let mut below = self.graph.downwards(node).skip(1);
            below.any(|node| matches!(self.graph.node(node).driver, Driver::CopyOnRead | Driver::CommitTop))
        };
        let is_behind = match &self.job(id).plan.work {
            Work::Commit(span) if !span.is_active && self.has(Quirk::CommitBehindAStream) => {
                let filter = self.job(id).filter;
                let reaches =
                    |other: JobId| self.graph.downwards(self.job(other).filter).any(|node| node == filter);
                let is_stream = |other: &JobId| self.job(*other).plan.job_type() == JobType::Stream;
                self.live_jobs().filter(is_stream).any(reaches)
            }
            Work::Stream(span) if self.has(Quirk::JsonNameTooLong) => {
                self.graph.stream_base(span).is_some_and(|base| self.graph.is_filter(base))
                    || over_filter(span.target)
            }
            _ => false,
        };
        if is_behind {
            self.marred.causeless.push(id);
        }
        is_behind
    }

    /// A stream fails at its end: it may have changed the graph by then.
    pub(super) fn half_finalized(&self, id: JobId, before: Status, next: Status) -> Option<State> {
        let job = self.job(id);
        let is_half = (before, next) == (Status::Pending, Status::Aborting)
            && self.has(Quirk::FailedHeaderChangesGraph)
            && job.failure == Some(Failure::Finalizing)
            && job.plan.job_type() == JobType::Stream;
        is_half.then(|| {
            let mut state = self.clone();
            state.marred.half.push(id);
            state
        })
    }

    /// Whether a job that fails changes the graph.
    pub(super) fn is_half(&self, id: JobId) -> bool {
        self.marred.half.contains(&id)
    }

    /// A stream of a file's node was refused: that node stays read-only.
    fn refused_stream_leaves(&mut self, start: &Start) {
        let of_file = |node: NodeId| self.graph.node(node).driver == Driver::File;
        if self.has(Quirk::RefusedStreamReadOnly)
            && matches!(start.work, Asked::Stream(_))
            && self.graph.find(&start.device).is_some_and(of_file)
        {
            self.marred.read_only = true;
        }
    }

    /// Whether a node may be read-only that nobody made so.
    pub(super) fn left_read_only(&self) -> bool {
        self.marred.read_only
    }

    /// The refusals that only what went wrong before explains.
    pub(super) fn answers_of_quirks(&self) -> Vec<Answer> {
        let read_only = ["read-only", "Could not reopen"].map(Answer::ErrorAbout);
        let read_only = read_only.into_iter().filter(|_| self.left_read_only());
        // Names lead to other nodes than those that the graph has there.
        let other_chain = ["in the backing chain", "is busy: block device is in use by block job"];
        let other_chain = other_chain.into_iter().map(Answer::ErrorAbout);
        // Nodes that were made inactive have given up their bitmaps.
        let inactive = ["nactive", "bitmaps that were not loaded"].map(Answer::ErrorAbout).into_iter();
        let inactive = inactive.filter(|_| self.marred.inactive);
        let bitmap = Some(Answer::ErrorAbout("is readonly and cannot be modified"));
        let bitmap = bitmap.filter(|_| !self.marred.unwritable.is_empty());
        let read_only = read_only.chain(inactive).chain(bitmap);
        read_only.chain(other_chain.filter(|_| self.marred.forgot_overlay)).collect()
    }

    /// A command that was refused has left something all the same.
    pub(super) fn refused_command_leaves(&mut self, command: &Result<Command, Refusal>) {
        match command {
            Ok(Command::Edit(editing)) => self.refused_reopen_leaves(editing),
            Ok(Command::Start(start)) => self.refused_stream_leaves(start),
            Ok(Command::Other { name, .. }) if name == "blockdev-set-active" => {
                self.marred.inactive |= self.has(Quirk::HalfInactivation);
            }
            Ok(Command::Other { name, .. }) if name == "blockdev-snapshot-internal-sync" => {
                self.marred.leaks |= self.has(Quirk::FailedSnapshotLeaks);
            }
            _ => {}
        }
    }

    /// An internal snapshot that a fault has made fail leaves clusters counted twice that tables say are theirs alone.
    pub(super) fn failed_snapshot_may_corrupt(&mut self, text: &str) {
        let Some(command) = Json::parse(text) else { return };
        let is_snapshot = command.text_of("execute") == Some("blockdev-snapshot-internal-sync");
        if !is_snapshot || !self.has(Quirk::FailedSnapshotLeaks) || self.faults.is_empty() {
            return;
        }
        let device = command.get("arguments").and_then(|arguments| arguments.text_of("device"));
        let node = device.and_then(|device| self.graph.find(device));
        if let Some(image) = node.and_then(|node| self.layer_of(&self.graph, node)) {
            self.corrupts(image);
        }
    }

    /// Whether nodes may be inactive, and need nothing of each other.
    pub(super) fn has_inactive_nodes(&self) -> bool {
        self.marred.inactive
    }

    /// A link past a commit's filter was to be frozen. What comes of it nobody follows.
    pub(super) fn reopens_past_a_commit(&mut self, editing: &Editing) -> bool {
        let is_frozen = matches!(editing.judge(&self.graph), Err(Refusal::FrozenLink(..)));
        let is_done = self.has(Quirk::ReopenPastCommit) && is_frozen;
        if is_done {
            self.lose(Inconclusive::ReopenedPastCommit);
        }
        is_done
    }

    /// A mirror that writes what lies below its source. What it makes of that nobody follows.
    pub(super) fn mirrors_into_own_chain(&mut self, start: &Start) -> bool {
        let Asked::Mirror(copy) = &start.work else { return false };
        let nodes = self.graph.find(&start.device).zip(self.graph.find(&copy.target));
        let is_below = nodes.is_some_and(|(source, target)| self.graph.reached(source).contains(&target));
        let is_done = self.has(Quirk::MirrorIntoOwnChain) && is_below;
        if is_done {
            self.lose(Inconclusive::MirroredIntoOwnChain);
        }
        is_done
    }
}
