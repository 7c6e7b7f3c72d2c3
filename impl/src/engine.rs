//! The engine as one object: graph, gate, jobs, and the commands that change them.
//!
//! Commands run one at a time (`commands`). What changes the graph under running requests does so in a drained
//! section (`gate`), in one step between two awaits (`edit`).

mod amend;
mod backing_file;
mod backup;
mod bitmap;
mod commit;
mod create;
mod debug;
pub(crate) mod export;
mod exports;
mod guest;
mod internal_snapshot;
mod iothread;
mod jobs;
mod mirror;
mod named;
pub(crate) mod open;
mod opening;
mod query;
mod reopen;
mod resize;
pub(crate) mod snapshot;
mod stats;
mod stream;
pub(crate) mod transaction;
mod write_threshold;

pub use crate::core::Tuning;
pub use guest::Guest;

use crate::command::Family;
use crate::core::Core;
use crate::engine::export::Exports;
use crate::id::JobSerial;
use crate::job::life::Job;
use crate::object::Objects;
use crate::sync::gate::Gate;
use crate::sync::shim::Mutex;
use jobs::wait_until_over;
use seam::{Errno, Host};
use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::Arc;

/// What an operator gets whose last flush failed; the reason follows.
pub const NOT_DURABLE: &str = "not everything that was written is durable";

/// The engine.
#[derive(Debug)]
pub struct Engine {
    core: Arc<Core>,
    commands: Gate,
    jobs: Mutex<Jobs>,
    /// How the end went; nothing: no command has begun it.
    ended: Mutex<Option<End>>,
    exports: Exports,
    objects: Objects,
}

/// An engine is its core, and what commands add to it.
impl Deref for Engine {
    type Target = Core;

    fn deref(&self) -> &Core {
        &self.core
    }
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
        let core = Core::new(host, tuning);
        Arc::new(Engine {
            commands: Gate::new(),
            exports: Exports::new(core.budget()),
            core,
            jobs: Mutex::default(),
            ended: Mutex::default(),
            objects: Objects::default(),
        })
    }

    /// Drained by whoever runs a command: one at a time, over all monitors.
    pub fn commands(&self) -> &Gate {
        &self.commands
    }

    /// Throttle groups and the like.
    pub fn objects(&self) -> &Objects {
        &self.objects
    }

    /// Whether `quit` has been called. Who holds `commands` and finds it so leaves everything as it is.
    pub fn has_ended(&self) -> bool {
        self.ended.lock().is_some()
    }

    /// Why something that was written is not durable, now that the end has come. A daemon says [`NOT_DURABLE`] then, and
    /// does not end with 0.
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
