//! Which jobs met which: every two job types in one chain, by how their regions lie to each other.

use crate::command::plan::{JOB_TYPES, JobType, Plan, Work};
use crate::graph::{JobId, NodeId};
use crate::law::LawId;
use crate::step::state::State;

/// How the region of a job that wants to start lies to that of one that is there.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Relation {
    /// Further up the chain, with a node between them that neither holds.
    Above,
    /// Further down the chain.
    Below,
    /// They meet at one node, which one of them only reads or only writes as its base.
    Adjacent,
    /// They have nodes in common.
    Overlapping,
    /// They are the same nodes.
    Identical,
}

/// Every relation.
pub const RELATIONS: [Relation; 5] =
    [Relation::Above, Relation::Below, Relation::Adjacent, Relation::Overlapping, Relation::Identical];

/// The part of a chain a job is about: from its uppermost node down to the lowest it needs, and its base below that.
struct Region {
    nodes: Vec<NodeId>,
    base: Option<NodeId>,
}

impl State {
    fn region(&self, plan: &Plan) -> Region {
        let only_layers = |nodes: &[NodeId]| {
            let layers = nodes.iter().filter_map(|node| self.graph.unfiltered(*node));
            let mut layers: Vec<NodeId> = layers.collect();
            layers.dedup();
            layers
        };
        match &plan.work {
            Work::Stream(span) => {
                let mut nodes = vec![span.target];
                nodes.extend(&span.between);
                let base = self.graph.stream_base(span).and_then(|base| self.graph.unfiltered(base));
                Region { nodes: only_layers(&nodes), base }
            }
            Work::Commit(span) => {
                let base = self.graph.unfiltered(span.base);
                Region { nodes: only_layers(&span.between), base }
            }
            Work::Mirror(span) => Region { nodes: only_layers(&[span.source]), base: None },
            Work::Backup(span) => Region { nodes: only_layers(&[span.source]), base: None },
        }
    }

    /// How the region of `new` lies to that of `old`; `None` if they are not in one chain.
    fn relation(&self, new: &Region, old: &Region) -> Option<Relation> {
        let common = |region: &Region, node: &NodeId| region.nodes.contains(node);
        if new.nodes == old.nodes {
            return Some(Relation::Identical);
        }
        if new.nodes.iter().any(|node| common(old, node)) {
            return Some(Relation::Overlapping);
        }
        let meets = |one: &Region, other: &Region| one.base.is_some_and(|base| other.nodes.contains(&base));
        let shares = new.base.is_some() && new.base == old.base;
        if meets(new, old) || meets(old, new) || shares {
            return Some(Relation::Adjacent);
        }
        let reaches = |from: &Region, to: &Region| {
            let (Some(first), Some(last)) = (from.nodes.first(), to.nodes.first()) else { return false };
            self.graph.downwards(*first).any(|node| node == *last)
        };
        if reaches(new, old) {
            Some(Relation::Above)
        } else if reaches(old, new) {
            Some(Relation::Below)
        } else {
            None
        }
    }

    /// Every job that works, with what a new one is to it.
    fn neighbours(&self, plan: &Plan, but: Option<JobId>) -> Vec<(JobType, Relation)> {
        let new = self.region(plan);
        let others = self.live_jobs().filter(|id| Some(*id) != but && self.job(*id).is_at_work());
        others
            .filter_map(|id| {
                let old = self.region(&self.job(id).plan);
                Some((self.job(id).plan.job_type(), self.relation(&new, &old)?))
            })
            .collect()
    }

    /// A job is about to start: it is tried beside those that run.
    pub(super) fn meet_others(&mut self, plan: &Plan) {
        for (old, relation) in self.neighbours(plan, None) {
            if let Some(goal) = pair_goal(plan.job_type(), old, relation) {
                self.count(goal);
            }
        }
    }

    /// A job runs beside others.
    pub(super) fn accepted_beside_others(&mut self, id: JobId) {
        let plan = self.job(id).plan.clone();
        let others = self.neighbours(&plan, Some(id));
        if !others.is_empty() {
            self.count(LawId::JobTypesTogether);
        }
    }

    /// A command was refused because a node is busy: it was tried beside those that run. `plan` is what it would
    /// have been on an idle graph.
    pub(super) fn tried_beside_others(&mut self, plan: &Plan) {
        self.meet_others(plan);
        self.count(match plan.job_type() {
            JobType::Stream => LawId::StreamRefusedBusy,
            JobType::Commit | JobType::ActiveCommit => LawId::CommitRefusedBusy,
            JobType::Mirror => LawId::MirrorRefusedBusy,
            JobType::Backup => LawId::BackupRefusedBusy,
        });
    }
}

/// The goal that a job of the type `new` was tried beside one of the type `old`, if it is one.
pub(super) fn pair_goal(new: JobType, old: JobType, relation: Relation) -> Option<LawId> {
    let place = |job_type| JOB_TYPES.iter().position(|other| *other == job_type);
    let relation = RELATIONS.iter().position(|other| *other == relation)?;
    crate::law::PAIRS[place(new)?][place(old)?][relation]
}
