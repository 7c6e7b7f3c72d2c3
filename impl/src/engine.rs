//! The engine as one object: graph, gate, jobs, and the commands that change them.
//!
//! Commands run one at a time (`commands`). What changes the graph under running requests does so in a drained
//! section (`gate`), in one step between two awaits (`edit`).

mod access;
mod amend;
mod backing_file;
mod backup;
mod bitmap;
mod commit;
mod debug;
pub mod events;
mod exports;
mod guest;
mod internal_snapshot;
mod iothread;
mod jobs;
mod mirror;
mod named;
pub mod open;
mod opening;
mod query;
mod reopen;
mod resize;
pub mod snapshot;
mod stream;
pub mod transaction;
mod write_threshold;

pub use guest::Guest;

use crate::budget::{Allowance, BUDGET_DEFAULT, Budget};
use crate::command::Family;
use crate::event::EventSink;
use crate::export::Exports;
use crate::graph::Graph;
use crate::graph::cell::GraphCell;
use crate::graph::depth::{DEPTH_MAX_WITH_JOBS, TooDeep};
use crate::graph::node::{Driver, Node};
use crate::id::JobSerial;
use crate::job::life::Job;
use crate::object::Objects;
use crate::sync::ending::Ending;
use crate::sync::gate::Gate;
use crate::sync::shim::Mutex;
use crate::warning::warn;
use events::Events;
use jobs::wait_until_over;
use seam::{Errno, Host, IoResult};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Sizes that a real daemon leaves alone and a small world makes small.
#[derive(Copy, Clone, Debug)]
pub struct Tuning {
    /// How much a stream copies at a time, in bytes.
    pub stream_chunk_bytes: u64,
    /// A backup saves no smaller part of its source alone: bytes, a power of two.
    pub backup_chunk_bytes_min: u64,
    /// What images may make the engine hold in memory, in bytes.
    pub memory_bytes: u64,
}

impl Default for Tuning {
    /// QEMU's sizes, and memory enough for all but the largest images.
    fn default() -> Self {
        Tuning {
            stream_chunk_bytes: 512 << 10,
            backup_chunk_bytes_min: 64 << 10,
            memory_bytes: BUDGET_DEFAULT,
        }
    }
}

/// The engine.
#[derive(Debug)]
pub struct Engine {
    host: Arc<dyn Host>,
    tuning: Tuning,
    commands: Gate,
    gate: Arc<Gate>,
    graph: Arc<GraphCell>,
    jobs: Mutex<Jobs>,
    /// The end has begun: nobody lingers, and long work is given up.
    ending: Ending,
    budget: Budget,
    /// How the end went; nothing: no command has begun it.
    ended: Mutex<Option<End>>,
    events: Arc<Events>,
    exports: Exports,
    objects: Objects,
}

/// What came of the end.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
enum End {
    /// It is under way.
    UnderWay,
    /// Everything is on the disks, as far as anybody knows.
    Durable,
    /// Something is not, for this reason.
    Lost(Errno),
}

/// Every job that is not `null`.
#[derive(Debug, Default)]
struct Jobs {
    by_serial: BTreeMap<JobSerial, Arc<Job>>,
    next_serial: u32,
}

impl Engine {
    /// An engine with an empty graph.
    pub fn new(host: Arc<dyn Host>, tuning: Tuning) -> Arc<Engine> {
        assert!(tuning.stream_chunk_bytes > 0, "a stream that copies nothing at a time never ends");
        let events = Arc::new(Events::new(host.clone()));
        let budget = Budget::new(tuning.memory_bytes);
        Arc::new(Engine {
            host,
            tuning,
            commands: Gate::new(),
            gate: Arc::new(Gate::new()),
            graph: Arc::new(GraphCell::new(budget.clone())),
            exports: Exports::new(&budget),
            budget,
            jobs: Mutex::default(),
            ending: Ending::default(),
            ended: Mutex::default(),
            events,
            objects: Objects::default(),
        })
    }

    /// The world.
    pub fn host(&self) -> &Arc<dyn Host> {
        &self.host
    }

    /// The sizes.
    pub fn tuning(&self) -> &Tuning {
        &self.tuning
    }

    /// Drained by whoever runs a command: one at a time, over all monitors.
    pub fn commands(&self) -> &Gate {
        &self.commands
    }

    /// Throttle groups and the like.
    pub fn objects(&self) -> &Objects {
        &self.objects
    }

    /// What images may make the engine hold in memory, and what they do.
    pub fn budget(&self) -> &Budget {
        &self.budget
    }

    /// What work on images may use.
    pub(crate) fn allowance(&self) -> Allowance {
        Allowance { budget: self.budget.clone(), ending: Some(self.ending.clone()) }
    }

    /// Entered by every request; drained by whoever changes the graph under them.
    pub fn gate(&self) -> &Gate {
        &self.gate
    }

    /// The graph as it is now.
    pub fn graph(&self) -> Arc<Graph> {
        self.graph.get()
    }

    /// Adds somebody who hears every event from now on.
    pub fn subscribe(&self, sink: Arc<dyn EventSink>) {
        self.events.subscribe(sink);
    }

    /// Changes the graph, entirely or not at all. Answers the nodes that nobody holds any more, to be closed.
    pub(crate) fn try_edit<T, E: From<TooDeep>>(
        &self,
        change: impl FnOnce(&mut Graph) -> Result<T, E>,
    ) -> Result<(T, Vec<Arc<Node>>), E> {
        self.graph.try_edit(|graph| {
            let before = graph.depth_beyond(DEPTH_MAX_WITH_JOBS);
            let answer = change(graph)?;
            // Who makes nothing deeper is not to blame for what is there.
            if graph.depth_beyond(DEPTH_MAX_WITH_JOBS) > before { Err(TooDeep.into()) } else { Ok(answer) }
        })
    }

    /// As `try_edit`, for a change that cannot be refused.
    pub(crate) fn edit(&self, change: impl FnOnce(&mut Graph)) -> Vec<Arc<Node>> {
        let changed: Result<_, std::convert::Infallible> = self.graph.try_edit(|graph| {
            change(graph);
            Ok(())
        });
        match changed {
            Ok(((), dropped)) => dropped,
            Err(never) => match never {},
        }
    }

    /// Closes nodes that left the graph. Nobody can read through them any more, so an error is nobody's.
    pub(crate) async fn close(&self, dropped: Vec<Arc<Node>>) {
        for node in dropped {
            let _was_told = self.close_node(&node).await;
        }
    }

    /// What could not be made durable is told to whoever runs the program: no client asked.
    async fn close_node(&self, node: &Node) -> IoResult<()> {
        let mut closed = Ok(());
        if let Driver::Qcow2(image) = &node.driver
            && let Err(errno) = image.store_bitmaps().await
        {
            let name = &node.name;
            warn(
                &*self.host,
                &format!("Lost persistent bitmaps during inactivation of node '{name}': {errno}"),
            );
            closed = Err(errno);
        }
        let loses_something = node.has_unflushed();
        let Err(errno) = node.close().await else { return closed };
        match node.driver {
            // Both kinds of table go to the disk together, and both stayed behind.
            Driver::Qcow2(_) if loses_something => {
                warn(&*self.host, &format!("Failed to flush the L2 table cache: {errno}"));
                warn(&*self.host, &format!("Failed to flush the refcount block cache: {errno}"));
            }
            Driver::Qcow2(_) => return closed,
            _ => warn(&*self.host, &format!("Failed to flush '{}': {errno}", node.name)),
        }
        Err(errno)
    }

    /// The end is near: what waits for time to pass waits no longer, and long work is given up. `quit` comes next.
    pub fn hurry(&self) {
        self.ending.begin();
    }

    /// Whether `quit` has been called. Who holds `commands` and finds it so leaves everything as it is.
    pub fn has_ended(&self) -> bool {
        self.ended.lock().is_some()
    }

    /// Why something that was written is not durable, now that the end has come.
    pub fn lost(&self) -> Option<Errno> {
        match *self.ended.lock() {
            Some(End::Lost(errno)) => Some(errno),
            _ => None,
        }
    }

    /// Takes every export away, cancels every job and waits for its end, then makes every image durable. Whoever calls
    /// it holds `commands`; a second time it does nothing.
    pub async fn quit(self: &Arc<Self>) {
        self.hurry();
        {
            let mut ended = self.ended.lock();
            if ended.is_some() {
                return;
            }
            *ended = Some(End::UnderWay);
        }
        self.close_exports().await;
        let jobs: Vec<Arc<Job>> = self.jobs.lock().by_serial.values().cloned().collect();
        for job in jobs {
            // Refused only if the job is over already.
            let _over = job.cancel(Family::Job, true);
            wait_until_over(&job).await;
            if job.admit_dismiss().is_ok() {
                self.forget(&job).await;
            }
        }
        let _alone = self.gate.drain().await;
        let graph = self.graph();
        graph.nodes().for_each(|(_, place)| place.hand_over_bitmaps());
        let mut end = End::Durable;
        for (_, place) in graph.nodes() {
            if let Err(errno) = self.close_node(&place.node).await {
                end = End::Lost(errno);
            }
        }
        *self.ended.lock() = Some(end);
    }
}
