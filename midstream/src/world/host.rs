//! The simulated host: the engine's seam, served by the world's disks and its virtual time.
//!
//! Every request only notes itself; the scheduler decides when it completes. One lock guards it all; a world runs on
//! one thread, so nobody ever waits for it.

use crate::choice::Point;
use crate::world::clock::Alarms;
use crate::world::disk::{Answer, Ask, Change, Disks};
use crate::world::fault::Kind;
use crate::world::notes::Shared;
use crate::world::on_disk::OnDisk;
use crate::world::shelf::Shelf;
use crate::world::socket::{self, Doors, End};
use crate::world::wait::{Asked, Wait};
use crate::world::wire::Wire;
use seam::address::{Address, NotConnected};
use seam::footprint::{self, Access};
use seam::{Disk, Errno, FileUse, Host, IoResult, Listener, Nanos, OpenMode, Pending, Stream, WallClock};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, MutexGuard};
use std::task::Waker;

/// A task that waits to be taken over by the scheduler.
/// Its name in notes comes last.
pub type Spawned = (Point, Pending<'static, ()>, u64);

/// What the engine, the workload and the scheduler share.
#[derive(Default)]
#[allow(missing_debug_implementations)]
pub struct Core {
    /// Files and requests.
    pub disks: Disks,
    /// Virtual time since the start of the world, nanoseconds.
    pub now: u64,
    /// Steps of the scheduler so far.
    pub steps: u64,
    /// Who waits for a moment.
    pub moments: Alarms,
    /// Who waits for a step.
    pub thoughts: Alarms,
    /// Where somebody listens.
    pub(super) doors: Doors,
    /// What the engine's connections to others run over.
    pub wire: Arc<Wire>,
    /// Where relative names lead to; empty for a world that has none.
    folder: String,
    /// Lines for whoever runs the program.
    pub reported: String,
    /// Who has which file open, in a world with a folder: there, as in the real one, a writer is alone.
    holders: Vec<Holder>,
    holders_so_far: u64,
    /// How long a request takes on its way to a disk, in virtual time.
    pub request_nanos: u64,
    /// How long a disk takes for each byte that it reads or writes, one request after the other.
    pub byte_nanos: u64,
    /// What the disks did, if anybody wants to read it.
    pub disk_log: Option<Vec<OnDisk>>,
    /// New tasks.
    pub spawned: Vec<Spawned>,
    /// The engine's tasks, each with the name that it gave.
    named: Vec<(Point, String)>,
}

/// An open file of a world with locks.
#[derive(Copy, Clone)]
struct Holder {
    id: u64,
    file: u32,
    writable: bool,
}

impl Core {
    /// Lets somebody have a file open, unless that is a second writer, or a writer beside a reader.
    fn hold(&mut self, id: u64, file: u32, writable: bool) -> IoResult<()> {
        if self.folder.is_empty() {
            return Ok(());
        }
        let others = self.holders.iter().filter(|other| other.id != id && other.file == file);
        if others.into_iter().any(|other| writable || other.writable) {
            return Err(Errno::EAGAIN);
        }
        self.release(id);
        self.holders.push(Holder { id, file, writable });
        Ok(())
    }

    /// Completes one request of the disks, by its index in their names.
    pub(crate) fn complete(&mut self, request: usize) -> Option<Waker> {
        if let Some(log) = &mut self.disk_log {
            log.push(self.disks.look(request, self.steps));
        }
        self.disks.step = self.steps;
        self.disks.complete(request)
    }

    fn release(&mut self, id: u64) {
        self.holders.retain(|holder| holder.id != id);
    }

    /// The file that a name means, `.` and `..` resolved.
    fn find(&self, path: &str) -> Option<u32> {
        let plain = self.folder.is_empty() || (path.starts_with('/') && !path.contains("/."));
        if plain {
            return self.disks.find(path);
        }
        let whole = if path.starts_with('/') { path.to_owned() } else { format!("{}/{path}", self.folder) };
        let mut parts: Vec<&str> = Vec::new();
        for part in whole.split('/') {
            match part {
                "" | "." => {}
                ".." => drop(parts.pop()),
                part => parts.push(part),
            }
        }
        self.disks.find(&format!("/{}", parts.join("/")))
    }
}

/// The simulated host.
#[derive(Clone, Default)]
pub struct SimHost {
    pub(super) shelf: Arc<Shelf>,
}

impl std::fmt::Debug for SimHost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SimHost")
    }
}

impl SimHost {
    /// A host with these files.
    pub fn new(disks: Disks) -> Self {
        SimHost::in_folder(disks, "")
    }

    /// A host whose process stands in a folder.
    pub fn in_folder(disks: Disks, folder: &str) -> Self {
        let core = Core { disks, folder: folder.to_owned(), ..Core::default() };
        SimHost { shelf: Arc::new(Shelf::new(core)) }
    }

    /// What readers call a task or a request: an engine's task by the name that the engine gave.
    pub fn label(&self, point: Point) -> String {
        let [first, second, _] = point.of;
        if point.name == "guest # lane #" {
            return format!("g{first}.{second}");
        }
        let core = self.core();
        let own = core.named.iter().find(|(task, _)| *task == point).map(|(_, name)| name.clone());
        own.unwrap_or_else(|| point.to_string())
    }

    /// Connects to whoever listens there.
    pub fn connect(&self, path: &str) -> Option<End> {
        let (end, listener) = self.core().doors.connect(path)?;
        listener.into_iter().for_each(std::task::Waker::wake);
        Some(end)
    }

    /// The inside. Never call back into the engine, nor wake anybody, while holding it.
    pub fn core(&self) -> MutexGuard<'_, Core> {
        self.shelf.open()
    }

    /// Waits for so many steps of the run, or until nothing else can run: how the workload takes its time.
    pub fn think(&self, steps: u32) -> Pending<'static, ()> {
        if steps == 0 {
            return Box::pin(std::future::ready(()));
        }
        let mut core = self.core();
        let at = core.steps + u64::from(steps);
        let id = core.thoughts.set(at);
        drop(core);
        Box::pin(Wait::new(self.clone(), id, true))
    }

    /// Asks a disk, at once, or when the request has got there if the disks have a speed.
    fn ask(&self, file: u32, ask: Ask) -> Pending<'static, Answer> {
        let nanos = {
            let mut core = self.core();
            let (kind, (start, end)) = (ask.kind(), ask.range());
            let late = core.disks.faults.delay(file, kind, start, end);
            let (now, busy) = (core.now, ask.len_bytes().saturating_mul(core.byte_nanos));
            core.request_nanos.saturating_add(late) + core.disks.files[file as usize].queue(now, busy)
        };
        if nanos == 0 {
            return Box::pin(self.submit(file, ask));
        }
        let (host, due) = (self.clone(), Nanos(self.core().now.saturating_add(nanos)));
        Box::pin(async move {
            host.sleep_until(due).await;
            host.submit(file, ask).await
        })
    }

    fn submit(&self, file: u32, ask: Ask) -> Asked {
        let mut core = self.core();
        core.disks.step = core.steps;
        let id = core.disks.submit(file, ask);
        drop(core);
        Asked::new(self.clone(), id)
    }
}

impl Host for SimHost {
    fn open(&self, path: &str, mode: OpenMode) -> Pending<'static, IoResult<Arc<dyn Disk>>> {
        self.open_for(path, mode, FileUse::default())
    }

    fn open_for(
        &self,
        path: &str,
        mode: OpenMode,
        wanted: FileUse,
    ) -> Pending<'static, IoResult<Arc<dyn Disk>>> {
        let core = self.core();
        let Some(file) = core.find(path) else {
            return Box::pin(std::future::ready(Err(Errno::ENOENT)));
        };
        drop(core);
        let (asked, host) = (self.ask(file, Ask::Open), self.clone());
        Box::pin(async move {
            asked.await?;
            let writable = mode == OpenMode::ReadWrite;
            let disk: Arc<dyn Disk> = Arc::new(SimDisk::open(host, file, writable, wanted.locks)?);
            Ok(disk)
        })
    }

    fn create(&self, path: &str) -> Pending<'static, IoResult<Arc<dyn Disk>>> {
        let file = self.core().disks.add(path);
        let host = self.clone();
        Box::pin(async move {
            let disk: Arc<dyn Disk> = Arc::new(SimDisk::open(host, file, true, true)?);
            disk.resize(0).await?;
            Ok(disk)
        })
    }

    fn canonical(&self, path: &str) -> Option<String> {
        let core = self.core();
        core.find(path).map(|file| core.disks.files[file as usize].path.clone())
    }

    fn absolute(&self, path: &str) -> String {
        let core = self.core();
        if path.starts_with('/') || core.folder.is_empty() {
            path.to_owned()
        } else {
            format!("{}/{path}", core.folder)
        }
    }

    fn report(&self, line: &str) {
        let mut core = self.core();
        core.reported.push_str(line);
        core.reported.push('\n');
    }

    fn listen(&self, path: &str) -> IoResult<Arc<dyn Listener>> {
        self.core().doors.open(path)
    }

    fn connect(&self, address: &Address) -> Pending<'static, Result<Arc<dyn Stream>, NotConnected>> {
        let reached = socket::reach(&self.core(), address);
        Box::pin(std::future::ready(reached.map(socket::enter)))
    }

    fn now(&self) -> Nanos {
        let now = self.core().now;
        footprint::learn(now);
        Nanos(now)
    }

    fn wall_clock(&self) -> WallClock {
        let now = self.core().now;
        footprint::learn(now);
        WallClock { seconds: now / 1_000_000_000, microseconds: (now / 1_000 % 1_000_000) as u32 }
    }

    fn sleep_until(&self, deadline: Nanos) -> Pending<'static, ()> {
        let mut core = self.core();
        if deadline.0 <= core.now {
            return Box::pin(std::future::ready(()));
        }
        Shared::Alarms.touch_part(Access::Write, deadline.0, deadline.0.saturating_add(1));
        let id = core.moments.set(deadline.0);
        drop(core);
        Box::pin(Wait::new(self.clone(), id, false))
    }

    fn spawn(&self, name: &str, task: Pending<'static, ()>) {
        let mut core = self.core();
        let mut point = point_of(name);
        while core.named.iter().any(|(other, _)| *other == point) {
            point.of[1] += 1;
            point.name = if point.name.starts_with("job") { "job # run #" } else { "task # run #" };
        }
        core.named.push((point, name.trim_end_matches(|c: char| c.is_ascii_digit()).trim_end().to_owned()));
        Shared::Tasks.touch(Access::Write);
        let noted = if footprint::is_on() { footprint::fresh() } else { 0 };
        core.spawned.push((point, task, noted));
    }
}

/// A stable short name for an engine's task: its kind and the number its name ends with.
fn point_of(name: &str) -> Point {
    let digits = name.bytes().rev().take_while(u8::is_ascii_digit).count().min(9);
    let number = name[name.len() - digits..].parse().unwrap_or(0);
    let kind = if name.starts_with("job") { "job #" } else { "task #" };
    Point::new(kind, [number, 0, 0])
}

/// An open file.
struct SimDisk {
    host: SimHost,
    id: u64,
    file: u32,
    /// Whether it heeds locks, and takes them.
    locks: bool,
    writable: Arc<AtomicBool>,
}

impl Drop for SimDisk {
    fn drop(&mut self) {
        let mut core = self.host.core();
        core.release(self.id);
        // Where a world has ended its files are taken out.
        if let Some(file) = core.disks.files.get_mut(self.file as usize) {
            file.turns(self.writable.load(Ordering::Relaxed), false);
        }
        core.disks.close(self.file);
    }
}

impl std::fmt::Debug for SimDisk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SimDisk({})", self.file)
    }
}

impl SimDisk {
    fn open(host: SimHost, file: u32, writable: bool, locks: bool) -> IoResult<SimDisk> {
        let id = {
            let mut core = host.core();
            core.holders_so_far += 1;
            let id = core.holders_so_far;
            if locks {
                core.hold(id, file, writable)?;
            }
            core.disks.files[file as usize].turns(false, writable);
            id
        };
        Ok(SimDisk { host, id, file, locks, writable: Arc::new(AtomicBool::new(writable)) })
    }

    fn submit(&self, ask: Ask) -> Pending<'static, Answer> {
        self.host.ask(self.file, ask)
    }

    fn change(&self, offset: u64, change: Change) -> Pending<'static, IoResult<()>> {
        let writable = self.writable.load(Ordering::Relaxed);
        Shared::Writable(self.file).touch(Access::Read);
        footprint::learn(writable.into());
        if !writable {
            return Box::pin(std::future::ready(Err(Errno::EROFS)));
        }
        done(self.submit(Ask::Write(offset, change)))
    }
}

fn done(asked: Pending<'static, Answer>) -> Pending<'static, IoResult<()>> {
    Box::pin(async move { asked.await.map(|_| ()) })
}

impl Disk for SimDisk {
    fn len_bytes(&self) -> IoResult<u64> {
        let len_bytes = self.host.core().disks.files[self.file as usize].bytes.len() as u64;
        Shared::Length(self.file).touch(Access::Read);
        footprint::learn(len_bytes);
        Ok(len_bytes)
    }

    fn read(&self, offset: u64, buffer: Vec<u8>) -> Pending<'static, IoResult<Vec<u8>>> {
        self.submit(Ask::Read(offset, buffer))
    }

    fn write(&self, offset: u64, data: Vec<u8>) -> Pending<'static, IoResult<()>> {
        self.change(offset, Change::Bytes(data))
    }

    fn write_zeroes(&self, offset: u64, len: u64) -> Pending<'static, IoResult<()>> {
        self.change(offset, Change::Zeroes(len))
    }

    fn discard(&self, offset: u64, len: u64) -> Pending<'static, IoResult<()>> {
        // Punching a hole never grows a file.
        let end = self.len_bytes().unwrap_or(0).max(offset);
        self.change(offset, Change::Zeroes(len.min(end - offset)))
    }

    fn flush(&self) -> Pending<'static, IoResult<()>> {
        done(self.submit(Ask::Flush))
    }

    fn resize(&self, len_bytes: u64) -> Pending<'static, IoResult<()>> {
        self.change(0, Change::Length(len_bytes))
    }

    fn reopen(&self, writable: bool) -> Pending<'static, IoResult<()>> {
        let held = if self.locks { self.host.core().hold(self.id, self.file, writable) } else { Ok(()) };
        if let Err(errno) = held {
            return Box::pin(std::future::ready(Err(errno)));
        }
        let (asked, now) = (self.submit(Ask::Reopen), Arc::clone(&self.writable));
        let (host, id, file, locks) = (self.host.clone(), self.id, self.file, self.locks);
        Box::pin(async move {
            Shared::Writable(file).touch(Access::Read);
            let before = now.load(Ordering::Relaxed);
            footprint::learn(before.into());
            let answer = asked.await.map(drop);
            Shared::Writable(file).touch(Access::Write);
            match answer {
                Ok(()) => {
                    let before = now.swap(writable, Ordering::Relaxed);
                    let disks = &mut host.core().disks;
                    // Whoever had it open may have released it meanwhile.
                    if Arc::strong_count(&now) > 1 {
                        disks.files[file as usize].turns(before, writable);
                    }
                    // The file is open anew; how it was open before is closed.
                    disks.close(file);
                }
                // What cannot be opened anew stays open as it was.
                Err(_) if locks => host.core().hold(id, file, before).unwrap_or(()),
                Err(_) => {}
            }
            answer
        })
    }

    fn claim(&self) -> Pending<'static, IoResult<()>> {
        let struck = self.host.core().disks.faults.strike(self.file, Kind::Lock, 0, u64::MAX);
        Box::pin(std::future::ready(struck.map_or(Ok(()), |strike| Err(strike.errno))))
    }
}

#[cfg(test)]
mod tests;
