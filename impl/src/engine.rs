//! The engine as one object: graph, gate, jobs, and the commands that change them.
//!
//! Commands run one at a time (`commands`). What changes the graph under running requests does so in a drained
//! section (`gate`), in one step between two awaits (`edit`).

pub mod events;
mod exports;
mod guest;
mod open;
mod query;

pub use guest::Guest;

use crate::command::{BlockJobInfo, Family, StreamArguments, Verb};
use crate::error::Refused;
use crate::event::EventSink;
use crate::export::Exports;
use crate::graph::Graph;
use crate::graph::node::{Driver, FileAccess, Node};
use crate::host::{Errno, Host, IoResult};
use crate::id::{JobSerial, NodeId};
use crate::io::len_bytes;
use crate::job::life::{CancelStep, Job, NewJob, Outcome};
use crate::job::stream::Stream;
use crate::job::stream_start;
use crate::sync::gate::Gate;
use crate::sync::shim::Mutex;
use events::Events;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Sizes that a real daemon leaves alone and a small world makes small.
#[derive(Copy, Clone, Debug)]
pub struct Tuning {
    /// How much a stream copies at a time, in bytes.
    pub stream_chunk_bytes: u64,
}

impl Default for Tuning {
    /// QEMU's sizes.
    fn default() -> Self {
        Tuning { stream_chunk_bytes: 512 << 10 }
    }
}

/// The engine.
#[derive(Debug)]
pub struct Engine {
    host: Arc<dyn Host>,
    tuning: Tuning,
    commands: Gate,
    gate: Gate,
    graph: Mutex<Arc<Graph>>,
    jobs: Mutex<Jobs>,
    /// `quit` has been called: no command changes anything any more.
    ended: Mutex<bool>,
    events: Arc<Events>,
    exports: Exports,
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
        Arc::new(Engine {
            host,
            tuning,
            commands: Gate::new(),
            gate: Gate::new(),
            graph: Mutex::default(),
            jobs: Mutex::default(),
            ended: Mutex::default(),
            events,
            exports: Exports::default(),
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

    /// Entered by every request; drained by whoever changes the graph under them.
    pub fn gate(&self) -> &Gate {
        &self.gate
    }

    /// The graph as it is now.
    pub fn graph(&self) -> Arc<Graph> {
        self.graph.lock().clone()
    }

    /// Adds somebody who hears every event from now on.
    pub fn subscribe(&self, sink: Arc<dyn EventSink>) {
        self.events.subscribe(sink);
    }

    /// Changes the graph, entirely or not at all. Answers the nodes that nobody holds any more, to be closed.
    pub(crate) fn try_edit<T, E>(
        &self,
        change: impl FnOnce(&mut Graph) -> Result<T, E>,
    ) -> Result<(T, Vec<Arc<Node>>), E> {
        let mut present = self.graph.lock();
        let mut next = Graph::clone(&present);
        let answer = change(&mut next)?;
        let dropped = next.collect();
        next.assert_well_formed();
        *present = Arc::new(next);
        Ok((answer, dropped))
    }

    /// As `try_edit`, for a change that cannot be refused.
    pub(crate) fn edit(&self, change: impl FnOnce(&mut Graph)) -> Vec<Arc<Node>> {
        let changed: Result<_, std::convert::Infallible> = self.try_edit(|graph| {
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
            let _nobody_waits_for_it = node.close().await;
        }
    }

    /// `block-stream`. The reply comes after `created` and `running`.
    pub async fn block_stream(self: &Arc<Self>, arguments: &StreamArguments) -> Result<(), Refused> {
        // Nothing moves between the checks and the edit: no request runs, no other job changes the graph.
        let _alone = self.gate.drain().await;
        let region = stream_start::admit(&self.graph(), &*self.host, arguments)?;
        let target = self.graph().unfiltered(region.target);
        let was_read_only = self.graph().place(target).read_only;
        if was_read_only {
            self.reopen(target, true).await?;
        }
        let started = self.start_stream(arguments, region, was_read_only);
        if started.is_err() && was_read_only {
            let _kept_writable = self.reopen(target, false).await;
        }
        started
    }

    fn start_stream(
        self: &Arc<Self>,
        arguments: &StreamArguments,
        region: stream_start::Region,
        was_read_only: bool,
    ) -> Result<(), Refused> {
        let graph = self.graph();
        let mut jobs = self.jobs.lock();
        let ids: Vec<Arc<str>> = jobs.by_serial.values().map(|job| job.id.clone()).collect();
        let id = stream_start::admit_names(&graph, arguments, &ids)?;
        let len = if region.is_empty(&graph) { Ok(0) } else { len_bytes(&graph, region.target) };
        jobs.next_serial += 1;
        let serial = JobSerial(jobs.next_serial);
        let new = NewJob {
            serial,
            id: id.clone(),
            kind: "stream",
            manual_finalize: arguments.manual_finalize,
            manual_dismiss: arguments.manual_dismiss,
            on_error: arguments.on_error,
            speed: u64::try_from(arguments.speed).unwrap_or(0),
            len: len.map_err(Refused::Io)?,
        };
        let job = Job::create(new, self.events.clone());
        let filter_name = arguments.filter_node_name.as_deref();
        let attached = u64::try_from(arguments.speed).map_err(|_| Refused::NegativeSpeed).and_then(|_| {
            self.try_edit(|graph| stream_start::attach(graph, &region, serial, &id, filter_name))
        });
        let filter = match attached {
            Ok((filter, dropped)) => {
                assert!(dropped.is_empty(), "starting a stream drops {dropped:?}");
                filter
            }
            Err(refused) => {
                job.abandon();
                return Err(refused);
            }
        };
        jobs.by_serial.insert(serial, job.clone());
        drop(jobs);
        job.start();
        let stream = Stream {
            engine: self.clone(),
            job,
            region,
            filter,
            backing_file: arguments.backing_file.clone(),
            mask_protocol: arguments.backing_mask_protocol,
            was_read_only,
        };
        self.host.spawn(&format!("job {}", serial.0), Box::pin(stream.run()));
        Ok(())
    }

    /// Changes a layer, and the file below it as far as it may be, between read-only and read-write.
    pub(crate) async fn reopen(&self, id: NodeId, writable: bool) -> Result<(), Refused> {
        let graph = self.graph();
        if !writable {
            // From here on nobody comes to write; if somebody has come already, it stays writable.
            self.try_edit(|graph| {
                if graph.has_writer(id) {
                    return Err(Refused::ReadOnly);
                }
                set_read_only(graph, id, true);
                Ok(())
            })?;
        }
        let reopened = self.reopen_images(&graph, id, writable).await;
        if reopened.is_ok() == writable {
            self.edit(|graph| set_read_only(graph, id, false));
        }
        reopened
    }

    /// The format and its file change together or not at all.
    async fn reopen_images(&self, graph: &Graph, id: NodeId, writable: bool) -> Result<(), Refused> {
        let place = graph.place(id);
        if !writable {
            set_format_writable(&place.node, false).await.map_err(Refused::Io)?;
        }
        if let Some(file) = place.file {
            let reopened = self.reopen_file(graph, file, writable).await;
            if reopened.is_err() && !writable {
                set_format_writable(&place.node, true).await.map_err(Refused::Io)?;
            }
            reopened?;
        }
        if writable && let Err(errno) = set_format_writable(&place.node, true).await {
            if let Some(file) = place.file {
                let _stays_open_for_nobody = self.reopen_file(graph, file, false).await;
            }
            return Err(Refused::Io(errno));
        }
        Ok(())
    }

    async fn reopen_file(&self, graph: &Graph, file: NodeId, writable: bool) -> Result<(), Refused> {
        let place = graph.place(file);
        let Driver::File { disk, access } = &place.node.driver else {
            return if place.read_only && writable { Err(Refused::ReadOnly) } else { Ok(()) };
        };
        match access {
            FileAccess::Fixed if writable && place.read_only => Err(Refused::ReadOnly),
            FileAccess::Fixed => Ok(()),
            FileAccess::Auto | FileAccess::Inherited => disk
                .reopen(writable)
                .await
                .map_err(|errno| Refused::CannotOpen { filename: place.node.filename.clone(), errno }),
        }
    }

    /// Finds a job by its id, the way one of the command families does.
    fn find_job(&self, family: Family, id: &str) -> Result<Arc<Job>, Refused> {
        let jobs = self.jobs.lock();
        let found = jobs.by_serial.values().find(|job| *job.id == *id).cloned();
        found.ok_or_else(|| match family {
            Family::BlockJob => Refused::BlockJobNotFound(id.to_owned()),
            Family::Job => Refused::JobNotFound,
        })
    }

    /// One verb on one job. Finalizing, and cancelling a pending job, reply when the job has concluded.
    pub async fn job_verb(self: &Arc<Self>, family: Family, id: &str, verb: Verb) -> Result<(), Refused> {
        let mut job = self.find_job(family, id)?;
        // A job that takes effect lets nothing come between; what is said to it then is said to what comes after.
        while job.is_finalizing() {
            wait_until_over(&job).await;
            job = self.find_job(family, id)?;
        }
        match verb {
            Verb::Cancel { force } => loop {
                match job.cancel(family, force)? {
                    CancelStep::Asked => return Ok(()),
                    CancelStep::Ends => {
                        wait_until_over(&job).await;
                        return Ok(());
                    }
                    CancelStep::TooLate => {
                        wait_until_over(&job).await;
                        job = self.find_job(family, id)?;
                    }
                }
            },
            Verb::Pause => job.pause(),
            Verb::Resume => job.resume(),
            Verb::SetSpeed(speed) => job.set_speed(speed),
            Verb::Complete => job.complete(),
            Verb::Change => job.change(),
            Verb::Finalize => {
                job.finalize()?;
                wait_until_over(&job).await;
                Ok(())
            }
            Verb::Dismiss => {
                job.admit_dismiss()?;
                self.forget(&job).await;
                Ok(())
            }
        }
    }

    /// The job tells how it ended, and is forgotten unless the operator wants to do that.
    pub(crate) async fn conclude(&self, job: &Arc<Job>, outcome: Outcome) {
        job.conclude(outcome);
        if !job.manual_dismiss {
            self.forget(job).await;
        }
    }

    /// `null`: the nodes it held are free, and its id may be used again.
    async fn forget(&self, job: &Arc<Job>) {
        let dropped = self.edit(|graph| graph.remove_job_users(job.serial, None));
        {
            // Under the lock, so that nobody is told of a new job with this id before the old one is gone.
            let mut jobs = self.jobs.lock();
            job.forget();
            jobs.by_serial.remove(&job.serial);
        }
        self.close(dropped).await;
    }

    /// `query-block-jobs`: newest first.
    pub fn query_block_jobs(&self) -> Vec<BlockJobInfo> {
        self.jobs.lock().by_serial.values().rev().map(|job| job.info()).collect()
    }

    /// Whether `quit` has been called. Who holds `commands` and finds it so leaves everything as it is.
    pub fn has_ended(&self) -> bool {
        *self.ended.lock()
    }

    /// Cancels every job and waits for its end, then makes every image durable.
    pub async fn quit(self: &Arc<Self>) {
        *self.ended.lock() = true;
        self.close_exports().await;
        let jobs: Vec<Arc<Job>> = self.jobs.lock().by_serial.values().cloned().collect();
        for job in jobs {
            // Refused only if the job is over already.
            let _over = job.cancel(Family::Job, true);
            wait_until_over(&job).await;
        }
        let _alone = self.gate.drain().await;
        let nodes: Vec<Arc<Node>> = self.graph().nodes().map(|(_, place)| place.node.clone()).collect();
        self.close(nodes).await;
    }
}

async fn wait_until_over(job: &Job) {
    loop {
        let seen = job.changes();
        if job.is_over() {
            return;
        }
        job.changed_since(seen).await;
    }
}

/// Marks a layer, and the file that follows it, as read-only or not.
fn set_read_only(graph: &mut Graph, id: NodeId, read_only: bool) {
    graph.place_mut(id).read_only = read_only;
    let follows = |file: &NodeId| {
        matches!(graph.node(*file).driver, Driver::File { access: FileAccess::Inherited, .. })
    };
    if let Some(file) = graph.place(id).file.filter(follows) {
        graph.place_mut(file).read_only = read_only;
    }
}

async fn set_format_writable(node: &Node, writable: bool) -> IoResult<()> {
    match &node.driver {
        Driver::Qcow2(image) => image.set_writable(writable).await,
        Driver::Raw(image) => image.set_writable(writable).await,
        Driver::File { .. } => Ok(()),
        Driver::CopyOnRead { .. } => Err(Errno::ENOTSUP),
    }
}
