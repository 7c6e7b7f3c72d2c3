//! What an edit of the graph means for the requests that are on their way: each entered before it, or after it.

use crate::command::Command;
use crate::command::editing::{Editing, Reopen, is_unchanged};
use crate::command::plan::JobType;
use crate::content::{ANYTHING, GARBAGE, Views};
use crate::graph::{ImageId, JobId};
use crate::inconclusive::Inconclusive;
use crate::job::Status;
use crate::rule::Rule;
use crate::step::client::Progress;
use crate::step::guest::{Kind, LATE_MAX, Request, Sight};
use crate::step::state::State;

impl State {
    /// An edit of the graph while requests are on their way. Each has left before it, or enters only afterwards. Of reads
    /// both stay open, for they change nothing; of changes of `mirrored`, which were copied as they were written until then
    /// and are not any more, each is a state of its own; for others see [`crate::step::late`]. None, if the edit cannot be
    /// made.
    pub(crate) fn edited_beside_requests(
        &self,
        mirrored: Option<ImageId>,
        edit: &dyn Fn(&mut State) -> bool,
    ) -> Vec<State> {
        let mut after = self.clone();
        if !edit(&mut after) {
            return Vec::new();
        }
        if self.requests.is_empty() {
            return vec![after];
        }
        let is_met = |index: &usize| {
            let request = &self.requests[*index];
            let is_moved = after.image_of_guest(request.guest) != request.image;
            let is_concerned = mirrored.is_some() && (is_moved || request.image == mirrored);
            request.op.kind() == Kind::Change && is_concerned
        };
        let may_move = self.allows(Rule::RequestMoved);
        let met: Vec<usize> = (0..self.requests.len()).filter(|index| may_move && is_met(index)).collect();
        if met.len() > LATE_MAX {
            after.lose(Inconclusive::Requests);
            return vec![after];
        }
        if met.is_empty() {
            return vec![self.met_by_requests(after, mirrored)];
        }
        // Each part of them may be late.
        let ways = (0..1usize << met.len()).map(|part| {
            let is_late = |(at, _): &(usize, &usize)| part & (1 << at) != 0;
            let late: Vec<usize> = met.iter().enumerate().filter(is_late).map(|(_, index)| *index).collect();
            if late.is_empty() {
                return after.clone();
            }
            let mut way = self.clone();
            late.iter().for_each(|index| way.has_not_entered(*index, mirrored));
            assert!(edit(&mut way), "what requests have changed forbids no edit");
            late.iter().for_each(|index| way.enters(*index));
            way
        });
        ways.map(|way| self.met_by_requests(way, mirrored)).collect()
    }

    /// `way` is what an edit has made of `self`: who was inside has left before.
    fn met_by_requests(&self, mut way: State, mirrored: Option<ImageId>) -> State {
        for index in 0..way.requests.len() {
            let request = &way.requests[index];
            let image = way.image_of_guest(request.guest);
            match request.op.kind() {
                Kind::Read if image != request.image || way.views != self.views => {
                    way.read_meets_an_edit(index, &self.views);
                }
                // What it changed was mirrored: its guest's new image has it as well.
                Kind::Change if mirrored.is_some() && request.image == mirrored => {
                    way.requests[index].may_fail |= mirrored.is_some_and(|image| self.is_unwritable(image));
                    way.requests[index].image = image;
                }
                // Which of the two it made durable is open.
                Kind::Flush if image != request.image => way.requests[index].image = None,
                _ => {}
            }
        }
        way
    }

    /// A change has not been made yet, and nobody has copied it.
    fn has_not_entered(&mut self, index: usize, mirrored: Option<ImageId>) {
        let Request { number, sector, count, .. } = self.requests[index];
        self.views.withdraw(number);
        if let Some(image) = mirrored {
            self.copies_miss(image, sector, count);
        }
        self.requests[index].image = None;
    }

    fn read_meets_an_edit(&mut self, index: usize, views: &Views) {
        let is_kept = self.allows(Rule::ReadOvertaken);
        let request = &self.requests[index];
        let sight = request.image.filter(|_| is_kept).map(|image| self.sight_of(request, image, views));
        let before = &mut self.requests[index].before;
        before.extend(sight.filter(|sight| !before.contains(sight)));
        self.enters(index);
    }

    /// What a read may find if it lies wholly at this moment.
    pub(super) fn sight_of(&self, request: &Request, image: ImageId, views: &Views) -> Sight {
        let Request { sector, count, began, .. } = *request;
        let values = |at: u32| {
            let mut values = views.readable(image, at, began);
            if self.tears && self.allows(Rule::TornRead) && views.is_written_since(image, at, began) {
                values.push(GARBAGE);
            }
            if self.is_marred(views, image, at, began) {
                values.push(ANYTHING);
            }
            values
        };
        Sight { sector, values: (sector..sector + count).map(values).collect() }
    }

    /// Whether the end of a request shows whether something has moved its guest before. That a change has ended does not.
    pub(crate) fn is_moved_before_end(&self, number: u64, is_fine: bool) -> bool {
        let request = self.requests.iter().find(|request| request.number == number);
        let shows = !is_fine || request.is_none_or(|request| request.op.kind() != Kind::Change);
        self.is_pivot_waiting() || shows && self.is_edit_waiting()
    }

    /// Whether the end of a job may move guests at any moment.
    fn is_pivot_waiting(&self) -> bool {
        self.live_jobs().any(|id| self.is_ending(id) && self.moves_guests(id))
    }

    /// Whether a command may move guests, or what their images stand on, at any moment.
    pub(super) fn is_edit_waiting(&self) -> bool {
        let is_mover = |command: &Result<Command, _>| matches!(command, Ok(Command::Edit(editing)) if self.edit_moves_guests(editing));
        self.fronts().any(|front| front.progress == Progress::Waiting && is_mover(front.command()))
    }

    /// Whether a job's end puts guests on another image. Under a stream and a backup they stay where they are, and under
    /// whatever fails.
    pub(crate) fn moves_guests(&self, id: JobId) -> bool {
        let job = self.job(id);
        job.status == Status::Pending && !matches!(job.plan.job_type(), JobType::Stream | JobType::Backup)
    }

    /// Whether a command puts guests on another image, or their image on another one.
    pub(crate) fn edit_moves_guests(&self, editing: &Editing) -> bool {
        let moves = |options: &Reopen| {
            let Some(backing) = &options.backing else { return false };
            let wanted = backing.as_ref().and_then(|name| self.graph.find(name));
            self.graph.find(&options.name).is_some_and(|id| !is_unchanged(&self.graph, id, wanted))
        };
        match editing {
            Editing::Snapshot { .. } | Editing::SnapshotSync { .. } => true,
            Editing::Reopen(list) => list.iter().any(moves),
            Editing::Resize { .. }
            | Editing::Bitmap { .. }
            | Editing::Threshold { .. }
            | Editing::ChangeBackingFile { .. } => false,
        }
    }
}
