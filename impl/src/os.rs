//! The real world: files through rustix on tokio's blocking threads, tasks and timers of tokio.
//!
//! A request runs to its end with buffers of its own, whether or not anybody still waits for it.

pub mod confine;
mod connect;
mod direct;
mod disk;
mod lock;
pub mod place;
mod range;
pub mod socket;

use confine::{Confinement, NotConfined};
use disk::OsDisk;
use place::{Place, by_number};
use rustix::fs::{self, Mode, OFlags};
use rustix::io;
use seam::address::{Address, NotConnected};
use seam::escape::one_line;
use seam::{Disk, Errno, FileUse, Host, IoResult, Listener, Nanos, OpenMode, Pending, Stream, WallClock};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tokio::runtime::Handle;

/// The host the daemon runs on.
#[derive(Debug)]
pub struct OsHost {
    runtime: Handle,
    start: Instant,
    confinement: Option<Confinement>,
}

impl OsHost {
    /// Tasks, timers and I/O run on `runtime`.
    pub fn new(runtime: Handle) -> Arc<OsHost> {
        OsHost::within(runtime, None)
    }

    /// As `new`, and nothing outside `folder` is opened.
    pub fn confined(runtime: Handle, folder: &std::path::Path) -> Result<Arc<OsHost>, NotConfined> {
        Ok(OsHost::within(runtime, Some(Confinement::to(folder)?)))
    }

    /// As `new`, confined if so asked.
    #[allow(clippy::disallowed_methods, reason = "this is the seam")]
    pub fn within(runtime: Handle, confinement: Option<Confinement>) -> Arc<OsHost> {
        Arc::new(OsHost { runtime, start: Instant::now(), confinement })
    }
}

impl Host for OsHost {
    fn open(&self, path: &str, mode: OpenMode) -> Pending<'static, IoResult<Arc<dyn Disk>>> {
        self.open_for(path, mode, FileUse::default())
    }

    fn open_for(
        &self,
        path: &str,
        mode: OpenMode,
        wanted: FileUse,
    ) -> Pending<'static, IoResult<Arc<dyn Disk>>> {
        let runtime = self.runtime.clone();
        let path = path.to_owned();
        let confinement = self.confinement.clone();
        blocking(&self.runtime, move || {
            let hold = confinement.map(|confinement| confinement.admit(&path)).transpose()?;
            let path = hold.as_ref().map_or(path, by_number);
            let disk: Arc<dyn Disk> = Arc::new(OsDisk::open(runtime, path, mode, wanted)?);
            Ok(disk)
        })
    }

    fn create(&self, path: &str) -> Pending<'static, IoResult<Arc<dyn Disk>>> {
        let runtime = self.runtime.clone();
        let path = path.to_owned();
        let confinement = self.confinement.clone();
        blocking(&self.runtime, move || {
            let hold = match confinement {
                Some(confinement) => confinement.admit_or_create(&path)?,
                None => {
                    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC;
                    let flags = flags | OFlags::NOCTTY | OFlags::NONBLOCK;
                    io::retry_on_intr(|| fs::open(&*path, flags, Mode::from_raw_mode(0o644)))
                        .map_err(errno)?
                }
            };
            // Emptied only under its lock: it may be somebody's image.
            let same = by_number(&hold);
            let disk = OsDisk::open(runtime, same, OpenMode::ReadWrite, FileUse::default())?;
            disk.empty()?;
            let disk: Arc<dyn Disk> = Arc::new(disk);
            Ok(disk)
        })
    }

    fn canonical(&self, path: &str) -> Option<String> {
        let canonical = match &self.confinement {
            Some(confinement) => confinement.canonical(path)?,
            None => std::fs::canonicalize(path).ok()?,
        };
        canonical.into_os_string().into_string().ok()
    }

    fn absolute(&self, path: &str) -> String {
        let absolute =
            std::path::absolute(path).ok().and_then(|path| path.into_os_string().into_string().ok());
        absolute.unwrap_or_else(|| path.to_owned())
    }

    fn report(&self, line: &str) {
        eprintln!("{}", one_line(line));
    }

    fn listen(&self, path: &str) -> IoResult<Arc<dyn Listener>> {
        let place = match &self.confinement {
            Some(confinement) => confinement.admit_new(path)?,
            None => Place::at(std::path::Path::new(path))?,
        };
        socket::OsListener::open(&self.runtime, place)
    }

    fn connect(&self, address: &Address) -> Pending<'static, Result<Arc<dyn Stream>, NotConnected>> {
        connect::connect(address, self.confinement.clone())
    }

    #[allow(clippy::disallowed_methods, reason = "this is the seam")]
    fn now(&self) -> Nanos {
        let elapsed = Instant::now().duration_since(self.start);
        Nanos(elapsed.as_nanos().try_into().expect("no process runs for 500 years"))
    }

    #[allow(clippy::disallowed_methods, reason = "this is the seam")]
    fn wall_clock(&self) -> WallClock {
        // A clock set before 1970 shows 1970.
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        WallClock { seconds: since.as_secs(), microseconds: since.subsec_micros() }
    }

    fn sleep_until(&self, deadline: Nanos) -> Pending<'static, ()> {
        let start = self.start;
        Box::pin(async move {
            // A deadline too far to be expressed is never reached.
            match start.checked_add(Duration::from_nanos(deadline.0)) {
                Some(at) => tokio::time::sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        })
    }

    fn spawn(&self, _name: &str, task: Pending<'static, ()>) {
        self.runtime.spawn(task);
    }
}

/// The name the process was started by: the first word of everything it says on its standard error.
pub fn program_name() -> String {
    let first = std::env::args_os().next().unwrap_or_default();
    let name = std::path::Path::new(&first).file_name().unwrap_or_default();
    one_line(&name.to_string_lossy()).into_owned()
}

/// Runs `work` on a blocking thread at once; what comes back only waits for its end.
fn blocking<T: Send + 'static>(
    runtime: &Handle,
    work: impl FnOnce() -> IoResult<T> + Send + 'static,
) -> Pending<'static, IoResult<T>> {
    let running = runtime.spawn_blocking(work);
    Box::pin(async move {
        match running.await {
            Ok(answer) => answer,
            Err(failed) if failed.is_panic() => panic!("I/O panicked: {failed}"),
            // The runtime is going down, and nobody will ask any more.
            Err(_) => std::future::pending().await,
        }
    })
}

/// The error as the seam has it.
fn errno(error: io::Errno) -> Errno {
    Errno(error.raw_os_error())
}
