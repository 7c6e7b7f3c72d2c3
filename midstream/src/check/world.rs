//! One run of a block layer: make the images and what they hold; run the workload of guests and faults; stop the faults and look
//! at every image at rest; close; reopen the files. A crash may end the second part at any step, and is followed
//! by the last. Parts without anything to decide take option 0 everywhere.

mod commanded;
mod explored;
mod images;
mod recover;

use super::guest::{Lane, read_all, run_lane};
use crate::choice::{Choices, Draw, Point};
use crate::history::What;
use crate::layer::{BlockLayer, Device, Image, Monitor};
use crate::panics::{Panic, quietly};
use crate::scenario::{Abilities, Content, Guest, Scenario};
use crate::verdict::{Detail, Outcome, Verdict};
use crate::witness::Witness;
use crate::witness::length::Length;
use crate::world::crash::{Ending, crash_images};
use crate::world::disk::{Disks, File};
use crate::world::host::SimHost;
use crate::world::scheduler::{Rest, STEPS_MAX, Scheduler, TaskId};
use crate::world::waiting::waiting;
pub(super) use explored::Prepared;
use images::{make, resized, setups, take_files};
pub(super) use recover::Recovery;
use seam::{Errno, IoResult, Pending};
use std::sync::{Arc, Mutex};

const SECTOR: u64 = crate::content::SECTOR_BYTES as u64;

/// Lives through the scenario that `draw` gives.
pub(super) fn run<L: BlockLayer>(
    layer: &Arc<L>,
    draw: impl FnOnce(&mut Choices) -> Scenario,
    mut choices: Choices,
    detail: Detail,
) -> Outcome {
    let mut world = None;
    let lived = quietly(|| {
        let scenario = draw(&mut choices);
        let files = match make(layer, &scenario) {
            Ok(files) => files,
            Err(why) => return Verdict::Stuck { who: format!("the images cannot be made: {why}") },
        };
        world.insert(World::new(layer, scenario, files, detail)).live(&mut choices)
    });
    outcome_of(lived, world, choices)
}

/// A run looked back on; a panic of the harness goes on.
fn outcome_of<L: BlockLayer>(
    lived: Result<Verdict, Panic>,
    world: Option<World<L>>,
    choices: Choices,
) -> Outcome {
    let (verdict, ours) = match lived {
        Ok(verdict) => (verdict, None),
        Err(panic) if panic.is_of_harness() => (Verdict::Passed, Some(panic)),
        Err(panic) => (Verdict::Panicked { message: panic.to_string() }, None),
    };
    let mut outcome = Outcome::of(verdict);
    outcome.tape = choices.tape().to_vec();
    if let Some(world) = world {
        outcome.steps = world.scheduler.steps();
        world.witness.report(&mut outcome);
        // After a panic the layer must not even be dropped.
        let _already_judged = quietly(|| drop(world));
    }
    if let Some(panic) = ours {
        panic.raise();
    }
    outcome
}

/// What a layer can do beside reading, writing and flushing. Whatever goes wrong here goes wrong in runs too, and is
/// judged there.
pub(super) fn abilities<L: BlockLayer>(layer: &Arc<L>) -> Abilities {
    let own = u32::try_from(L::OPERATIONS.len()).expect("a layer names its operations one by one");
    let [write_zeroes, discard, resize] = [true; 3];
    let scratch = Arc::new(SimHost::new(Disks::new(Vec::new())));
    let commands = quietly(|| layer.monitor(scratch, Arc::new(drop)).is_some()).unwrap_or(true);
    let mut abilities = Abilities { chains: L::CHAINS, write_zeroes, discard, resize, commands, own };
    let asked = quietly(|| {
        let scenario = Scenario::chain(["disk0 ........"]);
        let files = make(layer, &scenario)?;
        let host = SimHost::new(Disks::new(files));
        let mut scheduler = Scheduler::new(host.clone());
        let (layer, images) = (layer.clone(), scenario.plain_images());
        plain(&mut scheduler, "ask", async move {
            let device = open(&*layer, &host, &images).await?.remove(0);
            let resized = device.resize(2 * SECTOR).await;
            Ok([device.write_zeroes(0, SECTOR).await, device.discard(0, SECTOR).await, resized])
        })?
        .map_err(|errno: Errno| errno.to_string())
    });
    if let Ok(Ok([zeroes, discard, resized])) = asked {
        abilities.write_zeroes = zeroes != Err(Errno::ENOTSUP);
        abilities.discard = discard != Err(Errno::ENOTSUP);
        abilities.resize = resized != Err(Errno::ENOTSUP);
    }
    abilities
}

async fn open<L: BlockLayer>(layer: &L, host: &SimHost, images: &[Image]) -> IoResult<Vec<L::Device>> {
    let devices = layer.open(Arc::new(host.clone()), images).await?;
    assert_eq!(devices.len(), images.len(), "open gives a device for each image");
    Ok(devices)
}

/// Runs one task to its end, by option 0 everywhere.
fn plain<T: Send + 'static>(
    scheduler: &mut Scheduler,
    name: &'static str,
    work: impl Future<Output = T> + Send + 'static,
) -> Result<T, String> {
    let place = Arc::new(Mutex::new(None));
    let put = place.clone();
    let task: Pending<'static, ()> = Box::pin(async move {
        let got = work.await;
        *put.lock().expect("nobody panics holding it") = Some(got);
    });
    let task = scheduler.spawn(Point::new(name, [0; 3]), task);
    match scheduler.run(&[task], STEPS_MAX, None) {
        Rest::Done => Ok(place.lock().expect("nobody panics holding it").take().expect("it has been put")),
        Rest::Halted => Err("a law broke".to_owned()),
        Rest::Idle => Err(format!("{name}: nothing can run any more")),
        Rest::Bound => Err(format!("{name}: {STEPS_MAX} steps are not enough")),
    }
}

/// Why a part ended before its time.
enum Stop {
    /// A law was broken.
    Broken,
    /// Nobody can go on, or not within the bound.
    Stuck(String),
    /// The step of the crash has come.
    Crash(Ending),
}

/// When and how the world ends early.
#[derive(Copy, Clone)]
struct Crash {
    /// So many steps after the awaited request has begun, or after a step that is known.
    steps: u64,
    from: Option<u64>,
    ending: Ending,
}

fn bound() -> Stop {
    Stop::Stuck("the bound of steps was reached".to_owned())
}

fn idle() -> Stop {
    Stop::Stuck("nothing can run any more".to_owned())
}

/// One simulated system.
struct World<L: BlockLayer> {
    layer: Arc<L>,
    scenario: Scenario,
    /// Whether clients command the layer.
    is_commanded: bool,
    host: SimHost,
    scheduler: Scheduler,
    witness: Arc<Witness>,
    devices: Vec<Arc<L::Device>>,
    /// The daemon, in a run with clients, and the guests on its nodes.
    monitor: Option<Arc<dyn Monitor<L::Device>>>,
    seats: Vec<(u32, Arc<L::Device>)>,
    /// How long each image is.
    lengths: Vec<Arc<Mutex<Length>>>,
    /// In a run that may end at any step: how it may end.
    ends: Option<Vec<Ending>>,
}

impl<L: BlockLayer> World<L> {
    fn new(layer: &Arc<L>, scenario: Scenario, files: Vec<File>, detail: Detail) -> World<L> {
        let host = SimHost::new(Disks::new(files));
        let scheduler = Scheduler::new(host.clone());
        let halt = scheduler.halt_flag();
        let witness = match scenario.is_commanded() {
            true => Witness::of_clients(commanded::setups::<L>(&scenario), host.clone(), halt, detail),
            false => {
                let (images, resized) = (setups::<L>(&scenario), resized(&scenario));
                Witness::of_guests(images, resized, host.clone(), halt, detail)
            }
        };
        let witness = Arc::new(witness);
        let length = |content: &Content| Arc::new(Mutex::new(Length::new(content.sectors())));
        let lengths = scenario.images.iter().map(length).collect();
        World {
            layer: layer.clone(),
            is_commanded: scenario.is_commanded(),
            scenario,
            host,
            scheduler,
            witness,
            devices: Vec::new(),
            monitor: None,
            seats: Vec::new(),
            lengths,
            ends: None,
        }
    }

    fn live(&mut self, choices: &mut Choices) -> Verdict {
        let mut lived = self.begin().and_then(|()| self.run_workload(choices));
        lived = lived.and_then(|()| self.rest(choices)).and_then(|()| self.last_step(choices));
        lived = lived.and_then(|()| self.look());
        let ended = match lived {
            Ok(()) => self.quit(),
            Err(Stop::Crash(ending)) => self.crash(ending, choices),
            Err(stop) => Err(stop),
        };
        match (ended, self.witness.verdict()) {
            // A law that broke stops the world, and then nothing ends any more.
            (Err(Stop::Stuck(why)), Verdict::Passed) => Verdict::Stuck { who: self.stuck(why) },
            (_, verdict) => verdict,
        }
    }

    /// Opens the images.
    fn begin(&mut self) -> Result<(), Stop> {
        for line in self.scenario.lines() {
            self.witness.note(What::Note(line));
        }
        if self.is_commanded {
            return self.begin_commanded();
        }
        let (layer, host, images) = (self.layer.clone(), self.host.clone(), self.scenario.plain_images());
        let opened = self.plain("open", async move { open(&*layer, &host, &images).await })?;
        let devices = opened.map_err(|errno| Stop::Stuck(format!("the images cannot be opened: {errno}")))?;
        self.devices = devices.into_iter().map(Arc::new).collect();
        Ok(())
    }

    /// Runs guests and faults, until the scripts are over.
    fn run_workload(&mut self, choices: &mut Choices) -> Result<(), Stop> {
        let crash = self.draw_crash(choices);
        for fault in &self.scenario.faults {
            self.host.core().disks.faults.arm(fault.clone());
        }
        let mut lanes = Vec::new();
        for guest in self.scenario.guests.clone() {
            lanes.extend(self.spawn(guest)?);
        }
        if self.is_commanded {
            lanes.extend(self.spawn_clients(crash.is_some(), choices));
        }
        if let Some(crash) = crash {
            return Err(self.run_until(crash, &lanes, choices));
        }
        match self.scheduler.run(&lanes, STEPS_MAX, Some(choices)) {
            Rest::Done => Ok(()),
            Rest::Halted => Err(self.halted()),
            Rest::Bound => Err(bound()),
            // Without guests there is nothing to wait for.
            Rest::Idle if lanes.is_empty() => Ok(()),
            Rest::Idle => Err(idle()),
        }
    }

    /// When the world ends: so many steps after some request has begun. That stays so when other requests are left out.
    fn draw_crash(&self, choices: &mut Choices) -> Option<Crash> {
        let ending = self.scenario.crash?;
        if self.is_commanded {
            return Some(Crash {
                steps: Self::draw_steps(choices),
                from: Some(self.scheduler.steps()),
                ending,
            });
        }
        let requests = self.scenario.requests();
        if !requests.is_empty() {
            let names: Vec<Point> = requests.iter().map(|request| request.point()).collect();
            let after = requests[choices.pick(Point::new("crash after", [0; 3]), &names)];
            self.witness.await_request(after);
        }
        let table = [0, 1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 24, 32, 64];
        let steps = Draw::new(choices).entry("crash step", [0; 3], &table);
        Some(Crash { steps, from: None, ending })
    }

    /// Puts a guest to work.
    fn spawn(&mut self, guest: Guest) -> Result<Vec<TaskId>, Stop> {
        let device = match self.is_commanded {
            true => self.attach(&guest)?,
            false => Some(self.devices[guest.image].clone()),
        };
        let Some(device) = device else { return Ok(Vec::new()) };
        let writable = !self.scenario.is_backing(guest.image);
        let content = &self.scenario.images[guest.image];
        self.witness.attached(guest.guest, &content.image.path, writable);
        let mut tasks = Vec::new();
        for (lane, requests) in (0..).zip(guest.lanes).filter(|(_, requests)| !requests.is_empty()) {
            let name = Point::new("guest # lane #", [guest.guest, lane, 0]);
            let length = self.lengths[guest.image].clone();
            let is_resized = self.scenario.is_resized(guest.image);
            let at = Lane { guest: guest.guest, lane, length, is_resized, own: L::OPERATIONS };
            let (witness, host) = (self.witness.clone(), self.host.clone());
            let task = run_lane(at, requests, device.clone(), witness, host);
            tasks.push(self.scheduler.spawn(name, Box::pin(task)));
        }
        Ok(tasks)
    }

    /// Runs until the crash, which comes at the latest when the scripts are over.
    fn run_until(&mut self, crash: Crash, lanes: &[TaskId], choices: &mut Choices) -> Stop {
        for _ in 0..STEPS_MAX {
            let due = crash.from.or_else(|| self.witness.awaited_began_at()).map(|step| step + crash.steps);
            if due.is_some_and(|due| self.scheduler.steps() >= due) {
                return Stop::Crash(crash.ending);
            }
            match self.scheduler.run(lanes, 1, Some(choices)) {
                Rest::Bound => {}
                Rest::Done => return Stop::Crash(crash.ending),
                Rest::Halted => return Stop::Broken,
                Rest::Idle if lanes.is_empty() => return Stop::Crash(crash.ending),
                Rest::Idle => return idle(),
            }
        }
        bound()
    }

    /// Stops the faults, and lets what goes on by itself come to its end.
    fn rest(&mut self, choices: &mut Choices) -> Result<(), Stop> {
        self.host.core().disks.faults.stop();
        self.witness.note(What::FaultsStopped);
        if self.is_commanded { self.settle(choices) } else { Ok(()) }
    }

    /// Reads every image at rest.
    fn look(&mut self) -> Result<(), Stop> {
        if self.is_commanded {
            return self.look_commanded();
        }
        for (device, image) in self.devices.clone().into_iter().zip(self.scenario.plain_images()) {
            let values = self.plain("look", async move { read_all(&*device, image.size_bytes).await })?;
            self.witness.viewed(&image.path, values);
        }
        Ok(())
    }

    /// Closes every image, those on top first, and reopens the files.
    fn quit(&mut self) -> Result<(), Stop> {
        if self.is_commanded {
            self.quit_commanded()?;
            return self.recovery().look(take_files(&self.host), true);
        }
        let devices = std::mem::take(&mut self.devices);
        let closed = self.plain("close", async move {
            for device in devices.into_iter().rev() {
                device.close().await?;
            }
            Ok::<(), Errno>(())
        })?;
        let is_struck = self.host.core().disks.faults.struck() > 0;
        match closed {
            Ok(()) => self.recovery().look(take_files(&self.host), true),
            // A layer may remember that something failed, and say at the end what it could not write back: what was durable
            // is there all the same, as after a kill.
            Err(_) if is_struck => {
                self.witness.crashed(Ending::Kill);
                self.recovery().look(take_files(&self.host), false)
            }
            Err(errno) => Err(Stop::Stuck(format!("the images cannot be closed: {errno}"))),
        }
    }

    /// Ends the world without warning, and opens what is left.
    fn crash(&mut self, ending: Ending, choices: &mut Choices) -> Result<(), Stop> {
        let left = crash_images(&self.host.core().disks, ending, choices);
        self.witness.crashed(ending);
        let files = take_files(&self.host);
        let files = files.into_iter().zip(left).map(|(file, bytes)| File::new(&file.path, bytes)).collect();
        self.recovery().look(files, false)
    }

    fn recovery(&self) -> Recovery<'_, L> {
        Recovery { layer: &self.layer, scenario: &self.scenario, witness: &self.witness }
    }

    fn plain<T: Send + 'static>(
        &mut self,
        name: &'static str,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, Stop> {
        plain(&mut self.scheduler, name, work).map_err(Stop::Stuck)
    }

    /// Who waits for whom.
    fn stuck(&self, why: String) -> String {
        let why = waiting(&why, &self.scheduler, &self.host, &|task| self.witness.is_outstanding(task));
        let requests = self.witness.outstanding().into_iter().map(|waiting| format!("\n  {waiting}"));
        requests.fold(why, |all, line| all + &line)
    }
}
