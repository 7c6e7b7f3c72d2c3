//! Every state of a small abstract machine built from the model's own rules: chains of 4 nodes, 2 jobs, 1 sector.
//!
//! Here the model is checked, not the engine: the machine streams as QEMU does, using the admission rules, the tables and
//! the graph edits of this crate, and its laws must hold in every state within the bounds below.

mod laws;

use model::command::plan::{Plan, Work, plan};
use model::command::starting::{Asked, Ends, Start};
use model::command::stream::Span;
use model::graph::{Driver, Graph, JobId, Node, NodeId};
use model::job::{OnError, Status, Verb};
use stateright::{Checker, Model, Property};

/// Nodes of the chain: n0 <- n1 <- n2 <- n3.
const NODES: usize = 4;
/// Jobs that may be started, one after another or at once.
const JOBS_MAX: usize = 2;
/// Guest writes to the active layer.
const WRITES_MAX: u8 = 1;

/// One job of the machine.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Job {
    target: NodeId,
    bottom: NodeId,
    above_base: NodeId,
    between: Vec<NodeId>,
    filter: NodeId,
    status: Status,
    cancelled: bool,
    copied: bool,
    flushed: bool,
}

/// The one sector of a layer: what this layer holds of it, if anything.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
struct Sector {
    now: Option<u8>,
    durable: Option<u8>,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct State {
    graph: Graph,
    /// What each header on disk names.
    headers: [Option<usize>; NODES],
    sectors: [Sector; NODES],
    /// What each node must show: the specification.
    views: [u8; NODES],
    /// What the active layer may show after a crash.
    durable: Vec<u8>,
    jobs: Vec<Job>,
    writes: u8,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
enum Action {
    Start { target: usize, base: Option<usize>, bottom: Option<usize> },
    Copy(usize),
    Step(usize),
    Cancel(usize),
    Write,
    Flush,
}

/// A planted mistake: the laws must notice each.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Canary {
    /// A stream ends without having copied.
    CompletesEarly,
    /// The header is written before the data is flushed.
    HeaderFirst,
    /// A copy overwrites what the target already decides.
    CopiesOverGuest,
    /// A cancelled stream takes its nodes out of the chain all the same.
    CancelRewires,
    /// Nodes between target and base are not held.
    HoldsOnlyTarget,
}

/// Who decides the sector at the beginning, by node; and what is wrong with the machine, if anything.
struct Machine {
    own: [Option<u8>; NODES],
    canary: Option<Canary>,
}

fn layer(name: String, backing: Option<NodeId>) -> Node {
    Node { name: Some(name.into()), backing, ..Node::new(Driver::Qcow2) }
}

fn arguments(target: usize, base: Option<usize>, bottom: Option<usize>) -> Start {
    let ends = Ends {
        base_node: base.map(|base| format!("n{base}")),
        bottom: bottom.map(|bottom| format!("n{bottom}")),
        ..Ends::default()
    };
    Start {
        job_id: "j".into(),
        device: format!("n{target}"),
        speed: 0,
        on_error: vec![OnError::Report],
        filter_node_name: None,
        auto_finalize: true,
        auto_dismiss: true,
        work: Asked::Stream(ends),
    }
}

fn number(node: NodeId) -> usize {
    usize::from(node.0)
}

impl State {
    /// What a reader of a node sees through the graph.
    fn view(&self, node: NodeId) -> u8 {
        let layers = self.graph.downwards(node).filter(|node| !self.graph.is_filter(*node));
        layers.into_iter().find_map(|node| self.sectors[number(node)].now).unwrap_or(0)
    }

    /// What a reader sees after a crash, through the headers on disk.
    fn view_on_disk(&self, node: usize) -> u8 {
        let layers = std::iter::successors(Some(node), |node| self.headers[*node]);
        layers.into_iter().find_map(|node| self.sectors[node].durable).unwrap_or(0)
    }

    fn plan_of(&self, job: &Job) -> Plan {
        let no_op = job.target == job.bottom;
        let (target, bottom, above_base) = (job.target, job.bottom, job.above_base);
        let between = job.between.clone();
        let span = Span { target, bottom, above_base, between, no_op, backing_file: None };
        Plan {
            under: target,
            filter: Driver::CopyOnRead,
            holds: Vec::new(),
            holds_filter: Vec::new(),
            written: Some(target),
            frozen_to: Some(above_base),
            work: Work::Stream(span),
        }
    }

    fn start(
        &mut self,
        target: usize,
        base: Option<usize>,
        bottom: Option<usize>,
        canary: Option<Canary>,
    ) -> bool {
        let Ok(plan) = plan(&self.graph, &arguments(target, base, bottom), |_| false) else { return false };
        let id = JobId(self.jobs.len() as u16);
        let held = match canary {
            Some(Canary::HoldsOnlyTarget) => Plan { holds: plan.holds[..1].to_vec(), ..plan.clone() },
            _ => plan.clone(),
        };
        let filter = self.graph.start(&held, id, None);
        let Work::Stream(Span { target, bottom, above_base, between, .. }) = plan.work else {
            return false;
        };
        let status = Status::Created;
        let (cancelled, copied, flushed) = (false, false, false);
        self.jobs.push(Job {
            target,
            bottom,
            above_base,
            between,
            filter,
            status,
            cancelled,
            copied,
            flushed,
        });
        true
    }

    /// Copy-on-read of the one sector, from the layers between.
    fn copy(&mut self, index: usize, canary: Option<Canary>) {
        let job = &self.jobs[index];
        let target = number(job.target);
        let found = job.between.iter().filter(|node| !self.graph.is_filter(**node));
        let found = found.into_iter().find_map(|node| self.sectors[number(*node)].now);
        let overwrites = canary == Some(Canary::CopiesOverGuest) && found.is_some();
        if self.sectors[target].now.is_none() || overwrites {
            self.sectors[target].now = found;
        }
        self.jobs[index].copied = true;
    }

    /// The next status of a job on its way; the edits that belong to it happen with it.
    fn step(&mut self, index: usize, canary: Option<Canary>) -> bool {
        let job = self.jobs[index].clone();
        let next = match job.status {
            Status::Created => Status::Running,
            Status::Running if job.cancelled => Status::Aborting,
            Status::Running if job.copied || canary == Some(Canary::CompletesEarly) => Status::Waiting,
            Status::Waiting => Status::Pending,
            Status::Pending if job.cancelled => Status::Aborting,
            Status::Pending if !job.flushed => return self.flush_and_write_header(index, canary),
            Status::Pending => Status::Concluded,
            Status::Aborting => Status::Concluded,
            Status::Concluded => Status::Null,
            _ => return false,
        };
        assert!(job.status.may_become(next), "{:?} to {next:?}", job.status);
        let plan = self.plan_of(&job);
        match (job.status, next) {
            (Status::Pending, Status::Concluded) => {
                self.graph.finish(&plan, JobId(index as u16), job.filter, false)
            }
            (Status::Aborting, Status::Concluded) if canary == Some(Canary::CancelRewires) => {
                self.graph.finish(&plan, JobId(index as u16), job.filter, false);
            }
            (Status::Aborting, Status::Concluded) => {
                self.graph.abandon(&plan, JobId(index as u16), job.filter)
            }
            (_, Status::Null) => {
                self.graph.release(JobId(index as u16));
                self.graph.collect();
            }
            _ => {}
        }
        self.jobs[index].status = next;
        true
    }

    /// The order that keeps every crash harmless: data, then the header.
    fn flush_and_write_header(&mut self, index: usize, canary: Option<Canary>) -> bool {
        let job = self.jobs[index].clone();
        let target = number(job.target);
        let sector = &mut self.sectors[target];
        if canary != Some(Canary::HeaderFirst) {
            sector.durable = sector.now;
        }
        if self.graph.node(job.target).backing.is_some() {
            let base = self.graph.below(job.above_base).and_then(|base| self.graph.unfiltered(base));
            self.headers[target] = base.map(number);
        }
        self.jobs[index].flushed = true;
        true
    }
}

impl Model for Machine {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let mut graph = Graph::default();
        let mut below = None;
        for index in 0..NODES {
            below = Some(graph.add(layer(format!("n{index}"), below)));
        }
        let sectors = self.own.map(|own| Sector { now: own, durable: own });
        let headers = [None, Some(0), Some(1), Some(2)];
        let mut state =
            State { graph, headers, sectors, views: [0; NODES], durable: vec![], jobs: vec![], writes: 0 };
        state.views = [0, 1, 2, 3].map(|node| state.view(NodeId(node)));
        state.durable = vec![state.views[NODES - 1]];
        vec![state]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.jobs.len() < JOBS_MAX {
            for target in 0..NODES {
                actions.push(Action::Start { target, base: None, bottom: None });
                for lower in 0..target {
                    actions.push(Action::Start { target, base: Some(lower), bottom: None });
                    actions.push(Action::Start { target, base: None, bottom: Some(lower) });
                }
            }
        }
        for (index, job) in state.jobs.iter().enumerate() {
            if job.status == Status::Running && !job.copied {
                actions.push(Action::Copy(index));
            }
            if job.status.admits(Verb::Cancel) && !job.cancelled && !job.flushed {
                actions.push(Action::Cancel(index));
            }
            actions.push(Action::Step(index));
        }
        if state.writes < WRITES_MAX {
            actions.push(Action::Write);
        }
        actions.push(Action::Flush);
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        let top = NODES - 1;
        match action {
            Action::Start { target, base, bottom } => {
                if !state.start(target, base, bottom, self.canary) {
                    return None;
                }
            }
            Action::Copy(index) => state.copy(index, self.canary),
            Action::Step(index) => {
                if !state.step(index, self.canary) {
                    return None;
                }
            }
            Action::Cancel(index) => state.jobs[index].cancelled = true,
            Action::Write => {
                state.writes += 1;
                let value = 100 + state.writes;
                state.sectors[top].now = Some(value);
                state.views[top] = value;
                state.durable.push(value);
            }
            Action::Flush => {
                state.sectors[top].durable = state.sectors[top].now;
                state.durable = vec![state.views[top]];
            }
        }
        (state != *last).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        laws::must_hold().into_iter().chain(laws::must_be_reached()).collect()
    }
}

/// Every way to begin with the sector decided by these nodes.
fn check(own: [Option<u8>; NODES]) {
    let checker = Machine { own, canary: None }.checker().spawn_bfs().join();
    checker.assert_properties();
    println!("{} states, depth {}", checker.unique_state_count(), checker.max_depth());
    assert!(checker.unique_state_count() > 1000, "only {} states", checker.unique_state_count());
}

/// A canary that no law notices would show that the laws look away.
#[track_caller]
fn notice(canary: Canary, law: &'static str) {
    let own = [Some(1), Some(2), None, None];
    let checker = Machine { own, canary: Some(canary) }.checker().spawn_bfs().join();
    assert!(checker.discovery(law).is_some(), "{canary:?} goes unnoticed by `{law}`");
}

#[test]
fn planted_mistakes_are_noticed() {
    notice(Canary::CompletesEarly, "stream never changes what the guest reads");
    notice(Canary::CopiesOverGuest, "stream never changes what the guest reads");
    notice(Canary::HeaderFirst, "the chain on disk shows the same view after a crash");
    notice(Canary::CancelRewires, "a cancelled job leaves the chain as it was");
    notice(Canary::HoldsOnlyTarget, "no two jobs hold the same link");
}

#[test]
fn every_state_holds_with_data_in_the_base_alone() {
    check([Some(1), None, None, None]);
}

#[test]
fn every_state_holds_with_data_between() {
    check([Some(1), Some(2), None, None]);
}

#[test]
fn every_state_holds_with_data_above_the_base_and_none_below() {
    check([None, None, Some(3), None]);
}

#[test]
fn every_state_holds_with_data_everywhere() {
    check([Some(1), Some(2), Some(3), Some(4)]);
}
