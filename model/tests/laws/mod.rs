//! What must hold in every state of small chains with streams, and what must be reached.

use super::{JOBS_MAX, Job, Machine, NODES, State};
use model::graph::blocker::{Reason, Role};
use model::graph::{JobId, NodeId};
use model::job::Status;
use stateright::Property;

/// What holds in every state, or comes to hold.
pub fn must_hold() -> Vec<Property<Machine>> {
    vec![
        Property::always("stream never changes what the guest reads", |_: &Machine, state: &State| {
            (0..NODES).all(|node| state.view(NodeId(node as u16)) == state.views[node])
        }),
        Property::always("the chain on disk shows the same view after a crash", |_, state: &State| {
            let lower = (0..NODES - 1).all(|node| state.view_on_disk(node) == state.views[node]);
            lower && state.durable.contains(&state.view_on_disk(NODES - 1))
        }),
        Property::always("the graph is well formed", |_, state: &State| state.graph.malformed().is_none()),
        Property::always("no node is held by two jobs", |_, state: &State| {
            state.graph.alive().all(|(node, _)| holders(state, node) <= 1)
        }),
        Property::always("no two jobs hold the same link", |_, state: &State| {
            let links: Vec<NodeId> = state.jobs.iter().filter(|job| at_work(job)).flat_map(links).collect();
            links.iter().all(|link| links.iter().filter(|other| *other == link).count() == 1)
        }),
        Property::always("blockers vanish with null", |_, state: &State| {
            (0..state.jobs.len()).all(|index| {
                let held = state.graph.alive().any(|(node, _)| {
                    state.graph.held_by_job(node).is_some_and(|(job, _)| usize::from(job.0) == index)
                });
                held == (state.jobs[index].status != Status::Null)
            })
        }),
        Property::always("every job that is not over has a next step", |machine: &Machine, state: &State| {
            (0..state.jobs.len()).all(|index| {
                let job = &state.jobs[index];
                let copies = job.status == Status::Running && !job.copied;
                job.status == Status::Null || copies || state.clone().step(index, machine.canary)
            })
        }),
        Property::always("a cancelled job leaves the chain as it was", |_, state: &State| {
            let all = state.jobs.iter().all(|job| job.cancelled && job.status == Status::Null);
            let chain =
                (1..NODES).all(|n| state.graph.node(NodeId(n as u16)).backing == Some(NodeId(n as u16 - 1)));
            state.jobs.is_empty() || !all || chain
        }),
        Property::eventually("every job ends", |_, state: &State| {
            state.jobs.len() == JOBS_MAX && state.jobs.iter().all(|job| job.status == Status::Null)
        }),
    ]
}

/// What some run reaches: without it the laws would have nothing to judge.
pub fn must_be_reached() -> Vec<Property<Machine>> {
    vec![
        Property::sometimes("two streams run at once", |_, state: &State| {
            state.jobs.iter().filter(|job| job.status == Status::Running).count() == 2
        }),
        Property::sometimes("an upper stream's base is the filter of a lower one", |_, state: &State| {
            state.jobs.iter().any(|job| {
                let base = state.graph.below(job.above_base);
                at_work(job) && base.is_some_and(|base| state.graph.is_filter(base))
            })
        }),
        Property::sometimes("the active layer stands alone", |_, state: &State| {
            state.graph.node(NodeId(NODES as u16 - 1)).backing.is_none()
        }),
        Property::sometimes(
            "a stream ends though its base was streamed away meanwhile",
            |_, state: &State| {
                let null = state.jobs.iter().filter(|job| job.status == Status::Null && !job.cancelled);
                null.count() == 2 && state.headers[NODES - 1] == Some(0) && state.headers[2] == Some(0)
            },
        ),
    ]
}

fn holders(state: &State, node: NodeId) -> usize {
    let mut jobs: Vec<JobId> = Vec::new();
    let held = state.graph.blockers.iter().filter(|blocker| blocker.node == node);
    for blocker in held {
        if let Reason::Job(job, Role::Filter | Role::Target | Role::Intermediate) = blocker.reason
            && !jobs.contains(&job)
        {
            jobs.push(job);
        }
    }
    jobs.len()
}

fn at_work(job: &Job) -> bool {
    matches!(job.status, Status::Created | Status::Running | Status::Waiting | Status::Pending)
}

/// The links a stream relies on, by their upper end: from its filter down to the last node it copies, without the link
/// to the base.
fn links(job: &Job) -> Vec<NodeId> {
    let mut nodes = vec![job.filter, job.target];
    nodes.extend(&job.between);
    nodes.retain(|node| *node != job.bottom);
    nodes
}
