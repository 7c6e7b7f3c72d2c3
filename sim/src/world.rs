//! Builds a scenario, runs it to a verdict.
//!
//! A run has up to five parts: set up the nodes; run the workload of guests, operators and faults; stop the faults and bring
//! every job to its end; look at every node at rest; close, and reopen the files. A crash may end the second or
//! third part at any step, and is followed by the last. Parts without anything to decide take option 0.

mod advance;
pub mod client;
mod door;
pub mod guest;
mod lying;
mod nbd;
pub mod scripted;
mod stuck;

use crate::oracle::Oracle;
use crate::oracle::pace::{BACKUP_PIECE, MIRROR_PIECE};
use crate::recovery;
use crate::workload::scenario::Scenario;
use crate::workload::tables::table_at;
use block::engine::{Engine, Tuning};
use block::qmp::Monitor;
use midstream::choice::{Choices, Point};
use midstream::content::tags;
use midstream::panics::quietly;
use midstream::verdict::{Detail, Outcome, Verdict};
use midstream::world::crash::{Ending, Moment, WhatIf, crash_images};
use midstream::world::disk::{Disks, File};
use midstream::world::host::SimHost;
use midstream::world::on_disk::OnDisk;
use midstream::world::scheduler::{Rest, STEPS_MAX, Scheduler};
use midstream::world::struck::Sort;
use midstream::world::waiting::ask_who;
use std::fmt;
use std::sync::Arc;

/// The client that sets up and closes, beside the scenario's own.
const OPERATOR: u32 = 99;

/// The task of that client, where it closes.
const CLOSING: &str = "closing client";

/// Draws a scenario and runs it.
pub fn run(choices: Choices, detail: Detail) -> Outcome {
    run_with(Scenario::draw, choices, detail)
}

/// Runs a given scenario: what is drawn is the schedule and the crash's survivors.
pub fn play(scenario: Scenario, choices: Choices, detail: Detail) -> Outcome {
    run_with(move |_| scenario, choices, detail)
}

fn run_with(draw: impl FnOnce(&mut Choices) -> Scenario, mut choices: Choices, detail: Detail) -> Outcome {
    let mut world = None;
    let lived = quietly(|| {
        let scenario = draw(&mut choices);
        world.insert(World::new(scenario, detail)).live(&mut choices)
    });
    let (verdict, foreign) = match lived {
        Ok(verdict) => (verdict, None),
        Err(panic) if panic.is_below(["impl", "src"]) => {
            (Verdict::Panicked { message: panic.to_string() }, None)
        }
        Err(panic) => (Verdict::Passed, Some(panic)),
    };
    let mut outcome = Outcome::of(verdict);
    outcome.tape = choices.into_tape();
    if let Some(world) = world {
        outcome.steps = world.scheduler.steps();
        world.oracle.report(&mut outcome);
        if detail == Detail::Full {
            outcome.files = world.files();
        }
        outcome.history.disk = world.on_disk();
        // After a panic the engine must not even be dropped.
        let _already_judged = quietly(|| drop(world));
    }
    // The world stands no more, so whoever learns of the panic of another part of it can go on.
    if let Some(panic) = foreign {
        panic.raise();
    }
    outcome
}

/// Why a part ended before its time.
enum Stop {
    /// A law was broken.
    Broken,
    /// Nobody can go on, or not within the bound.
    Stuck(&'static str),
    /// The step of the crash has come.
    Crash(Ending),
}

/// One simulated system.
pub struct World {
    scenario: Scenario,
    host: SimHost,
    scheduler: Scheduler,
    engine: Arc<Engine>,
    monitor: Arc<Monitor>,
    oracle: Arc<Oracle>,
    /// The step of the scheduler before which the world ends, and how.
    crash: Option<(u64, Ending)>,
    /// The moments at which the run is looked at as if the world ended there, and how.
    what_ifs: Vec<WhatIf>,
    /// What the run has left in its files, once it has ended.
    left: Vec<Vec<u8>>,
    /// The bits that have flipped.
    rots: lying::Rots,
    /// Whether the power was cut.
    is_cut: bool,
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "World({:?})", self.scheduler)
    }
}

impl World {
    /// A world with the scenario's files and an engine that knows none of them yet. Its history is kept if `detail` asks
    /// for it.
    pub fn new(scenario: Scenario, detail: Detail) -> World {
        let files = scenario.files().into_iter().zip(&scenario.images);
        let host =
            SimHost::new(Disks::new(files.map(|(bytes, image)| File::new(&image.path, bytes)).collect()));
        host.core().request_nanos = scenario.request_nanos;
        host.core().byte_nanos = scenario.byte_nanos;
        host.core().disks.has_large_sectors = scenario.has_large_sectors;
        host.core().disk_log = (detail == Detail::Full).then(Vec::new);
        let scheduler = Scheduler::new(host.clone());
        // Small worlds need small chunks: a copy of one chunk has no order in itself.
        let tuning = Tuning {
            stream_chunk_bytes: scenario.stream_chunk_bytes,
            mirror_piece_bytes: scenario.stream_chunk_bytes * MIRROR_PIECE,
            backup_piece_bytes: scenario.stream_chunk_bytes * BACKUP_PIECE,
            // The specification knows that a backup copies in chunks of 64 KiB, or of a cluster that is larger.
            backup_chunk_bytes_min: scenario.stream_chunk_bytes.min(Tuning::default().backup_chunk_bytes_min),
            tables_max: scenario.tables_max,
            ..Tuning::default()
        };
        let engine = Engine::new(Arc::new(host.clone()), tuning);
        // What is wrong on disks that lie need not be the engine's fault, which goes on.
        let halt = if scenario.is_on_liars() { Arc::default() } else { scheduler.halt_flag() };
        let oracle = Oracle::new(&scenario, host.clone(), halt, detail);
        let oracle = Arc::new(oracle);
        engine.subscribe(oracle.clone());
        let monitor = Monitor::new(engine.clone());
        // Replies come from `execute`, and the oracle gets events by itself.
        monitor.give_up();
        let (crash, what_ifs) = (None, Vec::new());
        let (rots, left) = (lying::Rots::default(), Vec::new());
        World {
            scenario,
            host,
            scheduler,
            engine,
            monitor,
            oracle,
            crash,
            what_ifs,
            left,
            rots,
            is_cut: false,
        }
    }

    /// Lives through all parts.
    pub fn live(&mut self, choices: &mut Choices) -> Verdict {
        for rot in self.scenario.rots.iter().filter(|rot| rot.after.is_none()) {
            lying::strike(rot, &self.scenario.images[rot.image].path, &self.host, &self.rots);
        }
        let mut lived = self.set_up();
        if lived.is_ok() {
            lived = self.run_workload(choices).and_then(|()| self.close(choices)).and_then(|()| self.look());
        }
        let ended = match lived {
            Ok(()) => match self.unclean() {
                None => self.quit(),
                Some(ending) => self.quit_and_crash(ending, choices),
            },
            Err(Stop::Crash(ending)) => self.crash(ending, choices),
            Err(stop) => Err(stop),
        };
        self.judge(ended)
    }

    fn judge(&self, ended: Result<(), Stop>) -> Verdict {
        match ended {
            Err(Stop::Stuck(why)) => Verdict::Stuck { who: self.stuck(why) },
            _ if self.is_on_liars() => self.safety(self.oracle.verdict()),
            _ => self.oracle.verdict(),
        }
    }

    /// Adds the scenario's nodes, one command after the other.
    fn set_up(&mut self) -> Result<(), Stop> {
        let (monitor, oracle) = (self.monitor.clone(), self.oracle.clone());
        let mut commands = self.scenario.setup();
        if self.scenario.guests.iter().any(|guest| guest.by_nbd) {
            commands.push(door::START_SERVER.to_owned());
        }
        self.plain("set up", async move {
            monitor.execute(r#"{"execute":"qmp_capabilities"}"#).await;
            for command in &commands {
                client::send(OPERATOR, command, &monitor, &oracle).await;
            }
        })
    }

    /// Runs guests, operators and faults, until the scripts are over.
    fn run_workload(&mut self, choices: &mut Choices) -> Result<(), Stop> {
        let now = self.scheduler.steps();
        self.crash = self.scenario.crash.map(|crash| (now + crash.step, crash.ending));
        let (flushes, heads) = (self.scheduler.flushes(), self.scheduler.head_flushes());
        let since = |at| match at {
            Moment::Step(step) => Moment::Step(now + step),
            Moment::Flush(flush) => Moment::Flush(flushes + flush),
            Moment::HeadFlush(flush) => Moment::HeadFlush(heads + flush),
        };
        let what_ifs = self.scenario.what_ifs.iter();
        self.what_ifs = what_ifs.map(|what_if| WhatIf { at: since(what_if.at), ..*what_if }).collect();
        for fault in &self.scenario.faults {
            self.oracle.armed(fault, &self.scenario);
            self.host.core().disks.faults.arm(fault.clone());
        }
        let mut scripts = Vec::with_capacity(16);
        for plan in std::mem::take(&mut self.scenario.guests) {
            let (lanes, number) = (plan.lanes.len(), plan.guest);
            let seat = Arc::new(guest::Seat::new(plan.clone(), self.scenario.node(plan.image)));
            for lane in 0..lanes {
                let name = Point::new("guest # lane #", [number, lane as u32, 0]);
                let task = seat.clone().run_lane(lane, self.house());
                scripts.push(self.scheduler.spawn(name, Box::pin(task)));
            }
        }
        for plan in std::mem::take(&mut self.scenario.clients) {
            let name = Point::new("client #", [plan.client, 0, 0]);
            let (engine, monitor) = (self.engine.clone(), self.monitor.clone());
            let task = client::run(plan, engine, monitor, self.oracle.clone(), self.host.clone());
            scripts.push(self.scheduler.spawn(name, Box::pin(task)));
        }
        for (number, rot) in (0..).zip(&self.scenario.rots) {
            let Some(after) = rot.after else { continue };
            let (rot, path) = (*rot, self.scenario.images[rot.image].path.clone());
            let (host, rots) = (self.host.clone(), self.rots.clone());
            let rotting = async move {
                host.think(after).await;
                lying::strike(&rot, &path, &host, &rots);
            };
            scripts.push(self.scheduler.spawn(Point::new("rot #", [number, 0, 0]), Box::pin(rotting)));
        }
        self.advance(&scripts, choices)
    }

    fn house(&self) -> guest::House {
        let (engine, monitor) = (self.engine.clone(), self.monitor.clone());
        guest::House { engine, monitor, oracle: self.oracle.clone(), host: self.host.clone() }
    }

    /// Stops the faults and brings every job to its end.
    fn close(&mut self, choices: &mut Choices) -> Result<(), Stop> {
        self.host.core().disks.faults.stop();
        self.oracle.faults_stopped();
        let (engine, monitor) = (self.engine.clone(), self.monitor.clone());
        let closing = client::close(OPERATOR, engine, monitor, self.oracle.clone(), self.host.clone());
        let task = self.scheduler.spawn(Point::new(CLOSING, [0; 3]), Box::pin(closing));
        self.advance(&[task], choices)?;
        if !self.engine.query_block_jobs().is_empty() {
            return Err(Stop::Stuck("jobs did not end"));
        }
        self.oracle.at_rest(&self.engine.query_named_block_nodes());
        Ok(())
    }

    /// Reads every node at rest.
    fn look(&mut self) -> Result<(), Stop> {
        // A node that the operators deleted is not there to be looked at, or is another one under its name.
        let known = self.engine.query_named_block_nodes();
        let images = self.scenario.images.iter().enumerate();
        let nodes: Vec<(usize, String, Vec<String>)> = images
            .map(|(image, facts)| (image, self.scenario.node(image), facts.format.driver()))
            .filter(|(_, name, driver)| known.iter().any(|n| n.node_name == *name && n.driver == *driver))
            .map(|(image, name, _)| (image, self.chain_of(&name), name))
            .map(|(image, chain, name)| (image, name, chain))
            .collect();
        let (engine, monitor, oracle) = (self.engine.clone(), self.monitor.clone(), self.oracle.clone());
        self.plain("look", async move {
            for query in ["query-named-block-nodes", "query-jobs"] {
                client::send(OPERATOR, &format!(r#"{{"execute":"{query}"}}"#), &monitor, &oracle).await;
            }
            for (image, name, chain) in nodes {
                let guest = engine.open_guest(&name, false).expect("everybody may read a node that is there");
                let read = match guest.len_bytes() {
                    Ok(len) => guest.read(0, len).await,
                    Err(errno) => Err(errno),
                };
                oracle.viewed(&name, image, chain, read.map(|bytes| tags(&bytes)));
            }
        })
    }

    /// The files a node's readers see, from the top down.
    fn chain_of(&self, name: &str) -> Vec<String> {
        let graph = self.engine.graph();
        let Some(top) = graph.find(name) else { return Vec::new() };
        let layers = std::iter::successors(Some(top), |layer| graph.layer_below(*layer));
        layers.take(graph.nodes().count()).map(|layer| graph.node(layer).filename.clone()).collect()
    }

    /// Closes the engine, and reopens the files: each shows what its node showed.
    fn quit(&mut self) -> Result<(), Stop> {
        let engine = self.engine.clone();
        self.plain("quit", async move { engine.quit().await })?;
        self.oracle.over();
        let files = std::mem::take(&mut self.host.core().disks.files);
        self.left = files.into_iter().map(|file| file.bytes).collect();
        let all = recovery::read_all(&self.scenario, &mut self.left).map_err(Stop::Stuck)?;
        for (image, recovered) in all.into_iter().enumerate() {
            self.oracle.closed(image, recovered);
        }
        Ok(())
    }

    /// Where a flush has failed, no end is clean: nothing that waits for a flush is written any more. What the disks have
    /// forgotten shows only once the power is cut.
    fn unclean(&self) -> Option<Ending> {
        let core = self.host.core();
        if core.disks.files.iter().any(File::has_forgotten) {
            return Some(Ending::PowerCut);
        }
        (core.disks.faults.sorts().of(Sort::Flush) > 0).then_some(Ending::Kill)
    }

    /// Closes the engine, and lets the world end all the same.
    fn quit_and_crash(&mut self, ending: Ending, choices: &mut Choices) -> Result<(), Stop> {
        let engine = self.engine.clone();
        self.plain("quit", async move { engine.quit().await })?;
        self.crash(ending, choices)
    }

    /// Ends the world without warning, and reads what is left.
    fn crash(&mut self, ending: Ending, choices: &mut Choices) -> Result<(), Stop> {
        self.left = crash_images(&self.host.core().disks, ending, choices);
        self.is_cut = ending == Ending::PowerCut;
        self.oracle.crashed(ending);
        let all = recovery::read_all(&self.scenario, &mut self.left).map_err(Stop::Stuck)?;
        (0..).zip(all).for_each(|(image, recovered)| self.oracle.recovered(image, recovered));
        self.oracle.over();
        Ok(())
    }

    /// Runs one task to its end, taking option 0.
    fn plain(
        &mut self,
        name: &'static str,
        task: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(), Stop> {
        let task = self.scheduler.spawn(Point::new(name, [0; 3]), Box::pin(task));
        match self.scheduler.run(&[task], STEPS_MAX, None) {
            Rest::Done => Ok(()),
            Rest::Halted => Err(Stop::Broken),
            Rest::Bound => Err(Stop::Stuck("the bound of steps was reached")),
            Rest::Idle => Err(Stop::Stuck("nothing can run any more")),
        }
    }

    /// What the disks did, with who asked for it, and which tables it met: where they lay at the end.
    fn on_disk(&self) -> Vec<OnDisk> {
        let mut done = self.host.core().disk_log.take().unwrap_or_default();
        ask_who(&mut done, &self.scheduler, &self.host);
        let files = if done.is_empty() { Vec::new() } else { self.files() };
        for request in done.iter_mut().filter(|request| request.holds.is_empty()) {
            let file = files.iter().find(|(name, _)| *name == request.file);
            let table = file.zip(request.range).and_then(|((_, bytes), (offset, _))| table_at(bytes, offset));
            request.holds = table.unwrap_or_default().to_owned();
        }
        done
    }

    /// The files by name, as they were left, or are now.
    fn files(&self) -> Vec<(String, Vec<u8>)> {
        let names = self.scenario.images.iter().map(|image| image.path.clone());
        if !self.left.is_empty() {
            return names.zip(self.left.iter().cloned()).collect();
        }
        self.host.core().disks.files.iter().map(|file| (file.path.clone(), file.bytes.clone())).collect()
    }
}
