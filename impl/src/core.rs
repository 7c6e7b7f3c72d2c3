//! What guests, jobs and commands all stand on: the world, the graph and its gate, and what becomes of nodes that leave it.
//!
//! What changes the graph under running requests does so in a drained section (`gate`), in one step between two awaits
//! (`edit`).

pub(crate) mod access;
pub(crate) mod events;

use crate::budget::{Allowance, BUDGET_DEFAULT, Budget};
use crate::error::TooDeep;
use crate::event::EventSink;
use crate::graph::Graph;
use crate::graph::cell::{Dropped, GraphCell};
use crate::graph::depth::{DEPTH_MAX, DEPTH_MAX_WITH_JOBS};
use crate::graph::failed_flush::FailedFlushes;
use crate::graph::node::{FileAccess, Node};
use crate::sync::ending::Ending;
use crate::sync::gate::Gate;
use crate::warning::warn;
use events::Events;
use seam::{Host, IoResult};
use std::sync::Arc;

/// Sizes that a real daemon leaves alone and a small world makes small.
#[derive(Copy, Clone, Debug)]
pub struct Tuning {
    /// How much a stream copies at a time, in bytes.
    pub stream_chunk_bytes: u64,
    /// How much a mirror copies at a time where its operator does not say, in bytes.
    pub mirror_piece_bytes: u64,
    /// How much a backup copies at a time at most, in bytes.
    pub backup_piece_bytes: u64,
    /// A backup saves no smaller part of its source alone: bytes, a power of two.
    pub backup_chunk_bytes_min: u64,
    /// What images may make the engine hold in memory, in bytes.
    pub memory_bytes: u64,
    /// How many tables of one image stay in memory while they can be read again; nothing: as many as the cache likes.
    pub tables_max: Option<usize>,
}

impl Default for Tuning {
    /// QEMU's sizes, and memory enough for all but the largest images.
    fn default() -> Self {
        Tuning {
            stream_chunk_bytes: 512 << 10,
            mirror_piece_bytes: 10 << 20,
            backup_piece_bytes: 1 << 20,
            backup_chunk_bytes_min: 64 << 10,
            memory_bytes: BUDGET_DEFAULT,
            tables_max: None,
        }
    }
}

/// The core of an engine.
#[derive(Debug)]
pub struct Core {
    pub(crate) host: Arc<dyn Host>,
    pub(crate) tuning: Tuning,
    pub(crate) gate: Arc<Gate>,
    pub(crate) graph: Arc<GraphCell>,
    /// The end has begun: nobody lingers, and long work is given up.
    pub(crate) ending: Ending,
    pub(crate) budget: Budget,
    pub(crate) events: Arc<Events>,
    pub(crate) failed_flushes: Arc<FailedFlushes>,
}

impl Core {
    /// An empty graph.
    pub(crate) fn new(host: Arc<dyn Host>, tuning: Tuning) -> Arc<Core> {
        assert!(tuning.stream_chunk_bytes > 0, "a stream that copies nothing at a time never ends");
        let budget = Budget::with_tables(tuning.memory_bytes, tuning.tables_max);
        Arc::new(Core {
            events: Arc::new(Events::new(host.clone())),
            graph: Arc::new(GraphCell::new(budget.clone())),
            gate: Arc::new(Gate::new()),
            ending: Ending::default(),
            failed_flushes: Arc::default(),
            host,
            tuning,
            budget,
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

    /// Adds somebody who receives every event from now on.
    pub fn subscribe(&self, sink: Arc<dyn EventSink>) {
        self.events.subscribe(sink);
    }

    /// Changes the graph, entirely or not at all. Answers the nodes that nobody holds any more, to be closed.
    pub(crate) fn try_edit<T, E: From<TooDeep>>(
        &self,
        change: impl FnOnce(&mut Graph) -> Result<T, E>,
    ) -> Result<(T, Vec<Dropped>), E> {
        self.graph.try_edit(|graph| {
            let before = graph.depth_beyond(DEPTH_MAX_WITH_JOBS);
            let answer = change(graph)?;
            // Who makes nothing deeper is not to blame for what is there.
            if graph.depth_beyond(DEPTH_MAX_WITH_JOBS) > before {
                Err(TooDeep(DEPTH_MAX).into())
            } else {
                Ok(answer)
            }
        })
    }

    /// As `try_edit`, for a change that cannot be refused.
    pub(crate) fn edit(&self, change: impl FnOnce(&mut Graph)) -> Vec<Dropped> {
        let changed: Result<_, std::convert::Infallible> = self.graph.try_edit(|graph| {
            change(graph);
            Ok(())
        });
        match changed {
            Ok(((), dropped)) => dropped,
            Err(never) => match never {},
        }
    }

    /// Closes nodes that left the graph. Nobody can read through them any more, so an error is nobody's. Files that only
    /// they, or users who have gone, wrote to are read-only again.
    pub(crate) async fn close(&self, dropped: Vec<Dropped>) {
        for gone in dropped {
            let _reported = self.close_node(&gone.node).await;
        }
        let graph = self.graph();
        for (id, place) in graph.nodes() {
            if place.node.file_access() == Some(FileAccess::Auto)
                && let Some(disk) = place.node.disk().filter(|disk| disk.may_be_closed_to_writers())
            {
                disk.close_to_writers(|| self.graph().may_write_file(id)).await;
            }
        }
    }

    /// What could not be made durable is reported to whoever runs the program: no client asked.
    pub(crate) async fn close_node(&self, node: &Node) -> IoResult<()> {
        let mut closed = Ok(());
        if let Some(image) = node.qcow2()
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
        match node.qcow2() {
            // Both kinds of table go to the disk together, and both stayed behind.
            Some(_) if loses_something => {
                warn(&*self.host, &format!("Failed to flush the L2 table cache: {errno}"));
                warn(&*self.host, &format!("Failed to flush the refcount block cache: {errno}"));
            }
            Some(_) => return closed,
            None => warn(&*self.host, &format!("Failed to flush '{}': {errno}", node.name)),
        }
        Err(errno)
    }

    /// The end is near: what waits for time to pass waits no longer, and long work is given up. `quit` comes next.
    pub fn hurry(&self) {
        self.ending.begin();
    }
}
