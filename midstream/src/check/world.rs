//! One run of a block layer: make the images and what they hold; run the workload of guests and faults; stop the faults and look
//! at every image at rest; close; reopen the files. A crash may end the second part at any step, and is followed
//! by the last. Parts without anything to decide take option 0 everywhere.

use super::guest::{Lane, read_all, run_lane};
use crate::choice::{Choices, Draw, Point};
use crate::content::{Tag, initial_tag, sectors_of};
use crate::history::What;
use crate::layer::{BlockLayer, Device, Image};
use crate::panics::quietly;
use crate::scenario::{Abilities, Content, Guest, Scenario};
use crate::verdict::{Detail, Outcome, Verdict};
use crate::witness::length::Length;
use crate::witness::{Resized, Witness};
use crate::world::crash::{Ending, crash_images};
use crate::world::disk::{Disks, File};
use crate::world::host::SimHost;
use crate::world::scheduler::{Rest, STEPS_MAX, Scheduler, TaskId};
use crate::world::waiting::waiting;
use model::{Format, ImageSetup};
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
    let mut abilities = Abilities { chains: L::CHAINS, write_zeroes: true, discard: true, resize: true, own };
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

/// Makes the images and what they hold, the lowest first, in a world where nothing goes wrong.
fn make<L: BlockLayer>(layer: &Arc<L>, scenario: &Scenario) -> Result<Vec<File>, String> {
    let empty = |content: &Content| File::new(&content.image.path, Vec::new());
    let host = SimHost::new(Disks::new(scenario.images.iter().map(empty).collect()));
    let mut scheduler = Scheduler::new(host.clone());
    for index in 0..scenario.images.len() {
        let images: Vec<Image> = scenario.plain_images().drain(..=index).collect();
        let (layer, host, content) = (layer.clone(), host.clone(), scenario.images[index].clone());
        let made = plain(&mut scheduler, "make", async move {
            layer.create(Arc::new(host.clone()), &images[index]).await?;
            let device = open(&*layer, &host, &images).await?.remove(index);
            for (first, count) in runs(&content.data) {
                let data = sectors_of(initial_tag(index as u32, 0) & !0xffff_ffff, first, count);
                device.write(first * SECTOR, data).await?;
            }
            device.close().await
        });
        made?.map_err(|errno| format!("{}: {errno}", scenario.images[index].image.path))?;
    }
    drop(scheduler);
    Ok(take_files(&host))
}

/// Stretches of data: first sector and how many.
fn runs(data: &[bool]) -> Vec<(u64, u64)> {
    let mut runs = Vec::new();
    let mut at = 0;
    for run in data.chunk_by(|a, b| a == b) {
        if run[0] {
            runs.push((at, run.len() as u64));
        }
        at += run.len() as u64;
    }
    runs
}

/// The files of a host, as durable as they can be.
fn take_files(host: &SimHost) -> Vec<File> {
    let files = std::mem::take(&mut host.core().disks.files);
    files.into_iter().map(|file| File::new(&file.path, file.bytes)).collect()
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
    /// So many steps after the awaited request has begun.
    steps: u64,
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
    host: SimHost,
    scheduler: Scheduler,
    witness: Arc<Witness>,
    devices: Vec<Arc<L::Device>>,
    /// How long each image is.
    lengths: Vec<Arc<Mutex<Length>>>,
}

impl<L: BlockLayer> World<L> {
    fn new(layer: &Arc<L>, scenario: Scenario, files: Vec<File>, detail: Detail) -> World<L> {
        let host = SimHost::new(Disks::new(files));
        let scheduler = Scheduler::new(host.clone());
        let (judged, halt) = (setups::<L>(&scenario), scheduler.halt_flag());
        let witness = Arc::new(Witness::new(judged, resized(&scenario), host.clone(), halt, detail));
        let length = |content: &Content| Arc::new(Mutex::new(Length::new(content.sectors())));
        let lengths = scenario.images.iter().map(length).collect();
        World { layer: layer.clone(), scenario, host, scheduler, witness, devices: Vec::new(), lengths }
    }

    fn live(&mut self, choices: &mut Choices) -> Verdict {
        let lived = self.begin().and_then(|()| self.run_workload(choices)).and_then(|()| self.look());
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
        for guest in std::mem::take(&mut self.scenario.guests) {
            lanes.extend(self.spawn(guest));
        }
        if let Some(crash) = crash {
            return Err(self.run_until(crash, &lanes, choices));
        }
        match self.scheduler.run(&lanes, STEPS_MAX, Some(choices)) {
            Rest::Done => Ok(()),
            Rest::Halted => Err(Stop::Broken),
            Rest::Bound => Err(bound()),
            // Without guests there is nothing to wait for.
            Rest::Idle if lanes.is_empty() => Ok(()),
            Rest::Idle => Err(idle()),
        }
    }

    /// When the world ends: so many steps after some request has begun. That stays so when other requests are left out.
    fn draw_crash(&self, choices: &mut Choices) -> Option<Crash> {
        let ending = self.scenario.crash?;
        let requests = self.scenario.requests();
        if !requests.is_empty() {
            let names: Vec<Point> = requests.iter().map(|request| request.point()).collect();
            let after = requests[choices.pick(Point::new("crash after", [0; 3]), &names)];
            self.witness.await_request(after);
        }
        let table = [0, 1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 24, 32, 64];
        let steps = Draw::new(choices).entry("crash step", [0; 3], &table);
        Some(Crash { steps, ending })
    }

    /// Puts a guest to work.
    fn spawn(&mut self, guest: Guest) -> Vec<TaskId> {
        let writable = !self.scenario.is_backing(guest.image);
        let content = &self.scenario.images[guest.image];
        let device = self.devices[guest.image].clone();
        self.witness.attached(guest.guest, &content.image.path, writable);
        let mut tasks = Vec::new();
        for (lane, requests) in (0..).zip(guest.lanes).filter(|(_, requests)| !requests.is_empty()) {
            let name = Point::new("guest # lane #", [guest.guest, lane, 0]);
            let length = self.lengths[guest.image].clone();
            let at = Lane { guest: guest.guest, lane, length, own: L::OPERATIONS };
            let (witness, host) = (self.witness.clone(), self.host.clone());
            let task = run_lane(at, requests, device.clone(), witness, host);
            tasks.push(self.scheduler.spawn(name, Box::pin(task)));
        }
        tasks
    }

    /// Runs until the crash, which comes at the latest when the scripts are over.
    fn run_until(&mut self, crash: Crash, lanes: &[TaskId], choices: &mut Choices) -> Stop {
        for _ in 0..STEPS_MAX {
            let due = self.witness.awaited_began_at().map(|step| step + crash.steps);
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

    /// Stops the faults and reads every image at rest.
    fn look(&mut self) -> Result<(), Stop> {
        self.host.core().disks.faults.stop();
        self.witness.note(What::FaultsStopped);
        for (device, image) in self.devices.clone().into_iter().zip(self.scenario.plain_images()) {
            let values = self.plain("look", async move { read_all(&*device, image.size_bytes).await })?;
            self.witness.viewed(&image.path, values);
        }
        Ok(())
    }

    /// Closes every image, those on top first, and reopens the files.
    fn quit(&mut self) -> Result<(), Stop> {
        let devices = std::mem::take(&mut self.devices);
        let closed = self.plain("close", async move {
            for device in devices.into_iter().rev() {
                device.close().await?;
            }
            Ok(())
        })?;
        closed.map_err(|errno: Errno| Stop::Stuck(format!("the images cannot be closed: {errno}")))?;
        let files = take_files(&self.host);
        self.reopen(files, true)
    }

    /// Ends the world without warning, and opens what is left.
    fn crash(&mut self, ending: Ending, choices: &mut Choices) -> Result<(), Stop> {
        let left = crash_images(&self.host.core().disks, ending, choices);
        self.witness.crashed(ending);
        let files = take_files(&self.host);
        let files = files.into_iter().zip(left).map(|(file, bytes)| File::new(&file.path, bytes)).collect();
        self.reopen(files, false)
    }

    /// A new host, as the next process would find it: checks the images, opens them, reads all of each.
    fn reopen(&mut self, files: Vec<File>, is_clean: bool) -> Result<(), Stop> {
        let host = SimHost::new(Disks::new(files));
        let mut scheduler = Scheduler::new(host.clone());
        let (layer, images) = (self.layer.clone(), self.scenario.plain_images());
        let found = plain(&mut scheduler, "reopen", async move {
            let mut checked = Vec::with_capacity(images.len());
            for image in &images {
                checked.push(layer.check(Arc::new(host.clone()), image).await);
            }
            (checked, show(&*layer, &host, &images).await)
        });
        let (checked, values) = found.map_err(Stop::Stuck)?;
        for (content, checked) in self.scenario.images.iter().zip(checked) {
            self.witness.checked(&content.image.path, checked, is_clean);
        }
        for (content, values) in self.scenario.images.iter().zip(values) {
            self.witness.found(&content.image.path, values, is_clean);
        }
        self.witness.over();
        Ok(())
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

/// What each image shows, or why nobody can open it.
async fn show<L: BlockLayer>(layer: &L, host: &SimHost, images: &[Image]) -> Vec<IoResult<Vec<Tag>>> {
    let devices = match open(layer, host, images).await {
        Ok(devices) => devices,
        Err(errno) => return vec![Err(errno); images.len()],
    };
    let mut values = Vec::with_capacity(images.len());
    for (device, image) in devices.iter().zip(images) {
        values.push(read_all(device, image.size_bytes).await);
    }
    values
}

/// The images that guests resize.
fn resized(scenario: &Scenario) -> Resized {
    let mut resized = Resized::default();
    for (index, content) in
        scenario.images.iter().enumerate().filter(|(index, _)| scenario.is_resized(*index))
    {
        resized.add(&content.image.path, scenario.sectors_max(index));
    }
    resized
}

/// The images as the specification knows them: each a device of its own, with what its readers see.
fn setups<L: BlockLayer>(scenario: &Scenario) -> Vec<ImageSetup> {
    let mut setups: Vec<ImageSetup> = Vec::with_capacity(scenario.images.len());
    for (index, Content { image, data }) in scenario.images.iter().enumerate() {
        let below = image.backing.as_ref().and_then(|path| setups.iter().find(|below| below.file == *path));
        let through = |sector: u64| {
            let found = below?.own.iter().find(|(at, _)| *at == sector);
            found.map(|(_, value)| *value)
        };
        let own = (0..).zip(data).filter_map(|(sector, data)| {
            let value = if *data { Some(initial_tag(index as u32, sector)) } else { through(sector) };
            Some((sector, value?))
        });
        setups.push(ImageSetup {
            file: image.path.clone(),
            // The specification lets a device with a format of its own lose what was not flushed when it is killed.
            format: if L::SURVIVES_KILL { Format::Raw } else { Format::Qcow2 },
            size_bytes: image.size_bytes,
            cluster_bytes: SECTOR,
            backing: None,
            own: own.collect(),
        });
    }
    setups
}
