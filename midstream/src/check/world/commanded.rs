//! The parts of a run with clients: a layer is started as a daemon, its nodes are opened by command, its jobs are brought to
//! their end, and its files are read by the chains that their own headers name.

use super::{STEPS_MAX, Stop, World, idle, read_all};
use crate::choice::{Choices, Draw, Point};
use crate::content::{Tag, initial_tag};
use crate::layer::{BlockLayer, Events, Image, Monitor};
use crate::scenario::{Guest, Scenario, command};
use crate::witness::{OPENS, Witness};
use crate::world::host::SimHost;
use crate::world::scheduler::{Rest, TaskId};
use model::{Format, ImageSetup};
use seam::{Host, Nanos, Pending};
use serde_json::{Value, json};
use std::sync::Arc;

const SECTOR: u64 = crate::content::SECTOR_BYTES as u64;

/// The client that opens the nodes, and brings everything to its end. Those of the scenario come before it.
const OPERATOR: u32 = 99;
/// How often it looks after the jobs; each look is a second of virtual time.
const ROUNDS_MAX: u32 = 60;
/// After so many looks it cancels what still runs: an error may strike it for ever.
const TIMEOUT_ROUNDS: u32 = 20;

/// How many steps there are between commands, and before the end of a world that ends early.
const THINK: [u32; 8] = [0, 0, 1, 2, 4, 8, 16, 32];
const CRASH_STEPS: [u64; 16] = [0, 4, 8, 16, 24, 32, 48, 64, 80, 96, 128, 160, 192, 256, 384, 512];

type Daemon<D> = Arc<dyn Monitor<D>>;

impl<L: BlockLayer> World<L> {
    /// Starts the daemon, and opens the nodes.
    pub(super) fn begin_commanded(&mut self) -> Result<(), Stop> {
        let witness = self.witness.clone();
        let events: Events = Arc::new(move |line| witness.event(line));
        let monitor = self.layer.monitor(Arc::new(self.host.clone()), events);
        let monitor = monitor.ok_or_else(|| Stop::Stuck("the layer has no monitor".to_owned()))?;
        self.monitor = Some(monitor.clone());
        let (witness, commands) = (self.witness.clone(), nodes(&self.scenario));
        self.plain("open", async move {
            for command in commands {
                send(OPERATOR, command, &monitor, &witness).await;
            }
        })
    }

    /// When a world of clients ends: so many steps from now.
    pub(super) fn draw_steps(choices: &mut Choices) -> u64 {
        Draw::new(choices).entry("crash step", [0; 3], &CRASH_STEPS)
    }

    /// Puts a guest on its node; nothing, if it is not let in.
    pub(super) fn attach(&mut self, guest: &Guest) -> Result<Option<Arc<L::Device>>, Stop> {
        let writable = !self.scenario.is_backing(guest.image);
        let node = self.scenario.images[guest.image].image.path.clone();
        let (monitor, named) = (self.daemon(), node.clone());
        match self.plain("attach", async move { monitor.attach(named, writable).await })? {
            Ok(device) => {
                let device = Arc::new(device);
                self.seats.push((guest.guest, device.clone()));
                Ok(Some(device))
            }
            Err(errno) => {
                self.witness.refused(guest.guest, &node, writable, errno);
                Ok(None)
            }
        }
    }

    /// Puts the clients to work; in a world that ends early also the one that brings everything to its end.
    pub(super) fn spawn_clients(&mut self, is_cut: bool, choices: &mut Choices) -> Vec<TaskId> {
        let mut tasks = Vec::new();
        for (client, commands) in (1..).zip(self.scenario.clients.clone()) {
            let mut draw = Draw::new(choices);
            let is_explored = self.ends.is_some();
            let timed: Vec<(u32, String)> = (0..)
                .zip(commands)
                .map(|(slot, command)| {
                    let of = [client, slot, 0];
                    // Who explores every schedule need not wait at random.
                    let think =
                        if is_explored { 0 } else { draw.entry("client # command # think", of, &THINK) };
                    (think, command.line())
                })
                .collect();
            let (monitor, witness, host) = (self.daemon(), self.witness.clone(), self.host.clone());
            let task = async move {
                for (think, line) in timed {
                    host.think(think).await;
                    send(client, line, &monitor, &witness).await;
                }
            };
            tasks.push(self.scheduler.spawn(Point::new("client #", [client, 0, 0]), Box::pin(task)));
        }
        if is_cut {
            tasks.push(self.spawn_settling());
        }
        tasks
    }

    fn spawn_settling(&mut self) -> TaskId {
        let (monitor, witness, host) = (self.daemon(), self.witness.clone(), self.host.clone());
        let task: Pending<'static, ()> = Box::pin(async move { settle(&monitor, &witness, &host).await });
        self.scheduler.spawn(Point::new("settle", [0; 3]), task)
    }

    /// Guests leave, and every job is brought to its end.
    pub(super) fn settle(&mut self, choices: &mut Choices) -> Result<(), Stop> {
        for (guest, device) in std::mem::take(&mut self.seats) {
            drop(device);
            self.witness.detached(guest);
        }
        let task = self.spawn_settling();
        match self.scheduler.run(&[task], STEPS_MAX, Some(choices)) {
            Rest::Done => Ok(()),
            Rest::Halted => Err(self.halted()),
            Rest::Bound => Err(super::bound()),
            Rest::Idle => Err(idle()),
        }
    }

    /// Asks what there is, and reads every node at rest.
    pub(super) fn look_commanded(&mut self) -> Result<(), Stop> {
        let (monitor, witness) = (self.daemon(), self.witness.clone());
        let images = self.scenario.plain_images();
        self.plain("look", async move {
            let nodes = send(OPERATOR, execute("query-named-block-nodes"), &monitor, &witness).await;
            send(OPERATOR, execute("query-jobs"), &monitor, &witness).await;
            let is_there = |name: &str| {
                let nodes = nodes["return"].as_array();
                nodes.is_some_and(|nodes| nodes.iter().any(|node| node["node-name"] == name))
            };
            for Image { path, size_bytes, .. } in images.into_iter().filter(|image| is_there(&image.path)) {
                match monitor.attach(path.clone(), false).await {
                    Ok(device) => witness.viewed(&path, read_all(&device, size_bytes).await),
                    Err(errno) => {
                        witness.break_law(OPENS, format!("{path} lets nobody read it at rest: {errno}"))
                    }
                }
            }
        })
    }

    /// Ends the daemon.
    pub(super) fn quit_commanded(&mut self) -> Result<(), Stop> {
        let (monitor, witness) = (self.daemon(), self.witness.clone());
        self.plain("quit", async move {
            send(OPERATOR, execute("quit"), &monitor, &witness).await;
        })
    }

    fn daemon(&self) -> Daemon<L::Device> {
        self.monitor.clone().expect("a world of clients begins with the daemon")
    }
}

/// Sends one command and waits for its reply, the witness seeing both.
async fn send<D>(client: u32, line: String, monitor: &Daemon<D>, witness: &Witness) -> Value {
    witness.sent(client, &line);
    let reply = monitor.execute(line).await;
    witness.reply(client, &reply);
    serde_json::from_str(&reply).unwrap_or_default()
}

fn execute(name: &str) -> String {
    json!({"execute": name}).to_string()
}

/// Brings every job to its end: resumes, completes, finalizes, dismisses.
async fn settle<D>(monitor: &Daemon<D>, witness: &Witness, host: &SimHost) {
    for round in 0..ROUNDS_MAX {
        // Time passes only when nothing else can happen, so after this jobs and clients have done all they could.
        host.sleep_until(host.now().plus(Nanos::SECOND)).await;
        let jobs = send(OPERATOR, execute("query-block-jobs"), monitor, witness).await;
        let jobs = jobs["return"].as_array().cloned().unwrap_or_default();
        if jobs.is_empty() {
            return;
        }
        for line in jobs.iter().flat_map(|job| urge(job, round >= TIMEOUT_ROUNDS)) {
            send(OPERATOR, line, monitor, witness).await;
        }
    }
}

/// What moves a job on from where it is.
fn urge(job: &Value, is_late: bool) -> Vec<String> {
    let say =
        |verb: &str, member: &str| command(&format!("block-job-{verb}"), &json!({member: job["device"]}));
    match job["status"].as_str() {
        Some("concluded") => vec![say("dismiss", "id")],
        Some("pending") => vec![say("finalize", "id")],
        Some("ready") => vec![say("complete", "device")],
        Some("created" | "running" | "paused" | "standby") => {
            let mut urges = Vec::new();
            if job["speed"] != 0 {
                let arguments = json!({"device": job["device"], "speed": 0});
                urges.push(command("block-job-set-speed", &arguments));
            }
            if job["paused"] == true {
                urges.push(say("resume", "device"));
            }
            if is_late {
                urges.push(say("cancel", "device"));
            }
            urges
        }
        _ => Vec::new(),
    }
}

/// The commands that open the images, the lowest first, each as a node of its name.
fn nodes(scenario: &Scenario) -> Vec<String> {
    let add = |(index, Image { path, backing, .. }): (usize, Image)| {
        let file = json!({
            "driver": "file", "filename": path, "node-name": format!("{path}-file"), "auto-read-only": true,
        });
        let arguments = json!({
            "driver": "qcow2", "node-name": path, "file": file, "backing": backing,
            "read-only": scenario.is_backing(index), "discard": "unmap",
        });
        command("blockdev-add", &arguments)
    };
    let is_open = |(index, _): &(usize, Image)| scenario.images[*index].is_open;
    scenario.plain_images().into_iter().enumerate().filter(is_open).map(add).collect()
}

/// The images as the specification knows them: what each decides by itself, cluster by cluster.
pub(super) fn setups<L: BlockLayer>(scenario: &Scenario) -> Vec<ImageSetup> {
    let per_cluster = (L::CLUSTER_BYTES / SECTOR).max(1) as usize;
    let mut views: Vec<Vec<Tag>> = Vec::with_capacity(scenario.images.len());
    let mut setups = Vec::with_capacity(scenario.images.len());
    for (index, content) in scenario.images.iter().enumerate() {
        let backing = content.image.backing.as_ref();
        let below = scenario.images.iter().position(|below| Some(&below.image.path) == backing);
        let below = below.map_or(&[][..], |below| &views[below]);
        let through = |sector: usize| below.get(sector).copied().unwrap_or(0);
        let value = |sector: usize| match content.data[sector] {
            true => initial_tag(index as u32, sector as u64),
            false => through(sector),
        };
        // Who writes a part of a cluster copies the rest of it.
        let is_own = |sector: usize| {
            let first = sector - sector % per_cluster;
            content.data[first..].iter().take(per_cluster).any(|data| *data)
        };
        let sectors = 0..content.data.len();
        let own =
            sectors.clone().filter(|sector| is_own(*sector)).map(|sector| (sector as u64, value(sector)));
        setups.push(ImageSetup {
            file: content.image.path.clone(),
            format: Format::Qcow2,
            size_bytes: content.image.size_bytes,
            cluster_bytes: L::CLUSTER_BYTES,
            bitmaps: false,
            subclusters: false,
            backing: content.image.backing.clone(),
            own: own.collect(),
        });
        views.push(sectors.map(value).collect());
    }
    setups
}
