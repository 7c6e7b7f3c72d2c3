//! The real world: files through rustix on tokio's blocking threads, tasks and timers of tokio.
//!
//! A request runs to its end with buffers of its own, whether or not anybody still waits for it.

pub mod confine;
mod direct;
mod lock;
pub mod place;
pub mod socket;

use crate::sync::shim::Mutex;
use confine::{Confinement, NotConfined};
use place::{Place, by_number};
use rustix::fs::{self, FallocateFlags, FileType, Mode, OFlags, SeekFrom};
use rustix::io;
use seam::escape::one_line;
use seam::{
    Disk, DiskRun, Errno, FileIdentity, FileUse, Host, IoResult, Listener, Nanos, OpenMode, Pending,
    WallClock,
};
use std::fmt;
use std::os::fd::OwnedFd;
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
            fs::ftruncate(&disk.present().cached, 0).map_err(errno)?;
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

    fn tell(&self, line: &str) {
        eprintln!("{}", one_line(line));
    }

    fn listen(&self, path: &str) -> IoResult<Arc<dyn Listener>> {
        let place = match &self.confinement {
            Some(confinement) => confinement.admit_new(path)?,
            None => Place::at(std::path::Path::new(path))?,
        };
        socket::OsListener::open(&self.runtime, place)
    }

    #[allow(clippy::disallowed_methods, reason = "this is the seam")]
    fn now(&self) -> Nanos {
        let elapsed = Instant::now().duration_since(self.start);
        Nanos(elapsed.as_nanos().try_into().expect("no process runs for 500 years"))
    }

    #[allow(clippy::disallowed_methods, reason = "this is the seam")]
    fn wall_clock(&self) -> WallClock {
        // A clock set before 1970 tells 1970.
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        WallClock { seconds: since.as_secs(), microseconds: since.subsec_micros() }
    }

    fn sleep_until(&self, deadline: Nanos) -> Pending<'static, ()> {
        let start = self.start;
        Box::pin(async move {
            // A deadline too far to be told is never reached.
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

/// Runs `work` on a blocking thread at once; what comes back only tells of its end.
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

/// One file, opened for what is wanted of it.
struct Descriptors {
    /// Goes through the system's cache, and holds the locks.
    cached: OwnedFd,
    /// Goes around the cache, for requests in whole pages.
    direct: Option<OwnedFd>,
}

/// A file or block device. Reopening swaps the descriptors; requests in flight keep theirs.
struct OsDisk {
    runtime: Handle,
    path: String,
    wanted: FileUse,
    descriptors: Arc<Mutex<Arc<Descriptors>>>,
    /// The first flush that failed. The kernel forgets what it could not write, so no later flush may say that
    /// everything is durable.
    flush_error: Arc<Mutex<Option<Errno>>>,
}

impl fmt::Debug for OsDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OsDisk({})", self.path)
    }
}

impl OsDisk {
    fn open(runtime: Handle, path: String, mode: OpenMode, wanted: FileUse) -> IoResult<OsDisk> {
        let writable = mode == OpenMode::ReadWrite;
        let descriptors = Descriptors::open(&path, writable, wanted)?;
        if wanted.locks && (writable || !wanted.unused) {
            lock::lock(&descriptors.cached, writable)?;
        }
        let descriptors = Arc::new(Mutex::new(Arc::new(descriptors)));
        Ok(OsDisk { runtime, path, wanted, descriptors, flush_error: Arc::default() })
    }

    fn present(&self) -> Arc<Descriptors> {
        Arc::clone(&self.descriptors.lock())
    }

    fn request<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Descriptors) -> io::Result<T> + Send + 'static,
    ) -> Pending<'static, IoResult<T>> {
        let descriptors = self.present();
        blocking(&self.runtime, move || work(&descriptors).map_err(errno))
    }
}

impl Disk for OsDisk {
    fn len_bytes(&self) -> IoResult<u64> {
        len_bytes(&self.present().cached).map_err(errno)
    }

    fn allocated_bytes(&self) -> IoResult<u64> {
        /// What `stat` counts in, whatever the file system's own blocks are.
        const STAT_BLOCK_BYTES: u64 = 512;
        let blocks = fs::fstat(&self.present().cached).map_err(errno)?.st_blocks;
        Ok(u64::try_from(blocks).unwrap_or(0) * STAT_BLOCK_BYTES)
    }

    fn identity(&self) -> Option<FileIdentity> {
        let stat = fs::fstat(&self.present().cached).ok()?;
        Some(FileIdentity { device: stat.st_dev, inode: stat.st_ino })
    }

    fn read(&self, offset: u64, mut buffer: Vec<u8>) -> Pending<'static, IoResult<Vec<u8>>> {
        self.request(move |descriptors| {
            let mut filled = 0;
            if let Some(direct) = descriptors.direct_for(offset, buffer.len()) {
                filled = direct::read(direct, offset, &mut buffer)?;
            }
            while filled < buffer.len() {
                let at = offset + filled as u64;
                match io::retry_on_intr(|| io::pread(&descriptors.cached, &mut buffer[filled..], at))? {
                    0 => break,
                    n => filled += n,
                }
            }
            // The end of the file.
            buffer[filled..].fill(0);
            Ok(buffer)
        })
    }

    fn write(&self, offset: u64, data: Vec<u8>) -> Pending<'static, IoResult<()>> {
        self.request(move |descriptors| {
            let mut written = 0;
            if let Some(direct) = descriptors.direct_for(offset, data.len()) {
                written = direct::write(direct, offset, &data)?;
            }
            write_all(&descriptors.cached, offset + written as u64, &data[written..])
        })
    }

    fn write_zeroes(&self, offset: u64, len: u64) -> Pending<'static, IoResult<()>> {
        self.request(move |descriptors| write_zeroes(&descriptors.cached, offset, len, &KEPT))
    }

    fn unmap(&self, offset: u64, len: u64) -> Pending<'static, IoResult<()>> {
        self.request(move |descriptors| write_zeroes(&descriptors.cached, offset, len, &GIVEN_BACK))
    }

    fn discard(&self, offset: u64, len: u64) -> Pending<'static, IoResult<()>> {
        self.request(move |descriptors| {
            let punched = allocate(&descriptors.cached, FallocateFlags::PUNCH_HOLE, offset, len);
            // Discarding is a wish: where it cannot be granted, nothing happens.
            match punched {
                Err(e) if is_unsupported(e) => Ok(()),
                other => other,
            }
        })
    }

    fn next_run(&self, offset: u64, len: u64) -> Pending<'static, IoResult<DiskRun>> {
        self.request(move |descriptors| Ok(next_run(&descriptors.cached, offset, len)))
    }

    fn flush(&self) -> Pending<'static, IoResult<()>> {
        if !self.wanted.flushes {
            return Box::pin(std::future::ready(Ok(())));
        }
        let (descriptors, failed) = (self.present(), Arc::clone(&self.flush_error));
        blocking(&self.runtime, move || {
            let flushed = fs::fdatasync(&descriptors.cached).map_err(errno);
            let mut failed = failed.lock();
            if let Err(errno) = flushed {
                failed.get_or_insert(errno);
            }
            failed.map_or(Ok(()), Err)
        })
    }

    fn resize(&self, len_bytes: u64) -> Pending<'static, IoResult<()>> {
        self.request(move |descriptors| io::retry_on_intr(|| fs::ftruncate(&descriptors.cached, len_bytes)))
    }

    fn claim(&self) -> Pending<'static, IoResult<()>> {
        let (present, wanted) = (self.present(), self.wanted);
        // Whoever opened it for writing has locked it at once.
        blocking(&self.runtime, move || match wanted.locks && !is_writable(&present.cached)? {
            true => lock::lock(&present.cached, false),
            false => Ok(()),
        })
    }

    fn reopen(&self, writable: bool) -> Pending<'static, IoResult<()>> {
        let (present, wanted) = (Arc::clone(&self.descriptors), self.wanted);
        blocking(&self.runtime, move || {
            let old = Arc::clone(&present.lock());
            // By way of the open descriptor: the name may by now belong to another file.
            let same = by_number(&old.cached);
            let new = Descriptors::open(&same, writable, wanted)?;
            if !wanted.locks {
                *present.lock() = Arc::new(new);
                return Ok(());
            }
            // Locks belong to descriptors, so the old one must let go before the new one can hold.
            lock::unlock(&old.cached);
            if let Err(refused) = lock::lock(&new.cached, writable) {
                lock::lock(&old.cached, is_writable(&old.cached)?)?;
                return Err(refused);
            }
            *present.lock() = Arc::new(new);
            Ok(())
        })
    }
}

impl Descriptors {
    fn open(path: &str, writable: bool, wanted: FileUse) -> IoResult<Descriptors> {
        let cached = open_descriptor(path, writable, OFlags::empty())?;
        let direct = match wanted.direct {
            // The same file, whatever the name by now belongs to.
            true => Some(by_number(&cached)),
            false => None,
        };
        let direct = direct.map(|same| open_descriptor(&same, writable, OFlags::DIRECT)).transpose()?;
        Ok(Descriptors { cached, direct })
    }

    /// The way around the cache, if there is one for such a request.
    fn direct_for(&self, offset: u64, len: usize) -> Option<&OwnedFd> {
        self.direct.as_ref().filter(|_| direct::is_whole(offset, len))
    }
}

fn open_descriptor(path: &str, writable: bool, way: OFlags) -> IoResult<OwnedFd> {
    let access = if writable { OFlags::RDWR } else { OFlags::RDONLY };
    // NONBLOCK matters only for what is refused below: a pipe must not hold us up.
    let flags = access | way | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK;
    let descriptor = io::retry_on_intr(|| fs::open(path, flags, Mode::empty())).map_err(errno)?;
    match FileType::from_raw_mode(fs::fstat(&descriptor).map_err(errno)?.st_mode) {
        FileType::RegularFile | FileType::BlockDevice => Ok(descriptor),
        FileType::Directory => Err(Errno::EISDIR),
        _ => Err(Errno::EINVAL),
    }
}

fn is_writable(descriptor: &OwnedFd) -> IoResult<bool> {
    Ok(fs::fcntl_getfl(descriptor).map_err(errno)?.contains(OFlags::RDWR))
}

fn len_bytes(descriptor: &OwnedFd) -> io::Result<u64> {
    let stat = fs::fstat(descriptor)?;
    match FileType::from_raw_mode(stat.st_mode) {
        // Nobody else uses the position: all I/O names its own.
        FileType::BlockDevice => fs::seek(descriptor, SeekFrom::End(0)),
        _ => Ok(stat.st_size.try_into().expect("no file has a negative length")),
    }
}

/// A file system that does not tell has data everywhere, as has whatever lies behind the end.
fn next_run(descriptor: &OwnedFd, offset: u64, len: u64) -> DiskRun {
    // Nobody else uses the position: all I/O names its own.
    let until =
        |found: io::Result<u64>| found.ok().filter(|at| *at > offset).map(|at| (at - offset).min(len));
    match fs::seek(descriptor, SeekFrom::Data(offset)) {
        Ok(at) if at > offset => DiskRun { len: (at - offset).min(len), has_data: false },
        Ok(_) => {
            let len = until(fs::seek(descriptor, SeekFrom::Hole(offset))).unwrap_or(len);
            DiskRun { len, has_data: true }
        }
        // No data from here to the end.
        Err(io::Errno::NXIO) if len_bytes(descriptor).is_ok_and(|end| offset < end) => {
            DiskRun { len, has_data: false }
        }
        Err(_) => DiskRun { len, has_data: true },
    }
}

fn write_all(descriptor: &OwnedFd, mut offset: u64, mut data: &[u8]) -> io::Result<()> {
    while !data.is_empty() {
        let written = io::retry_on_intr(|| io::pwrite(descriptor, data, offset))?;
        if written == 0 {
            return Err(io::Errno::IO);
        }
        data = &data[written..];
        offset += written as u64;
    }
    Ok(())
}

/// Ways to make bytes of a file zeroes, best first: they stay allocated, or the file gets a hole.
static KEPT: [FallocateFlags; 2] = [FallocateFlags::ZERO_RANGE, FallocateFlags::PUNCH_HOLE];
static GIVEN_BACK: [FallocateFlags; 2] = [FallocateFlags::PUNCH_HOLE, FallocateFlags::ZERO_RANGE];

fn write_zeroes(descriptor: &OwnedFd, offset: u64, len: u64, ways: &[FallocateFlags]) -> io::Result<()> {
    let end = offset.checked_add(len).ok_or(io::Errno::FBIG)?;
    let within = len_bytes(descriptor)?.clamp(offset, end) - offset;
    if within > 0 {
        zero_existing(descriptor, offset, within, ways)?;
    }
    if within < len {
        // One byte at the end grows the file with a hole. Unlike ftruncate it can never cut off what
        // somebody else appends at this moment.
        write_all(descriptor, end - 1, &[0])?;
    }
    Ok(())
}

/// Zeroes a range that does not pass the end: in the first way the file system knows, else by writing.
fn zero_existing(descriptor: &OwnedFd, offset: u64, len: u64, ways: &[FallocateFlags]) -> io::Result<()> {
    for way in ways {
        match allocate(descriptor, *way, offset, len) {
            Err(e) if is_unsupported(e) => {}
            other => return other,
        }
    }
    const PIECE: u64 = 1 << 20;
    let zeroes = vec![0; len.min(PIECE) as usize];
    let mut done = 0;
    while done < len {
        let piece = (len - done).min(PIECE);
        write_all(descriptor, offset + done, &zeroes[..piece as usize])?;
        done += piece;
    }
    Ok(())
}

fn allocate(descriptor: &OwnedFd, way: FallocateFlags, offset: u64, len: u64) -> io::Result<()> {
    let flags = way | FallocateFlags::KEEP_SIZE;
    io::retry_on_intr(|| fs::fallocate(descriptor, flags, offset, len))
}

fn is_unsupported(error: io::Errno) -> bool {
    matches!(error, io::Errno::OPNOTSUPP | io::Errno::NOSYS | io::Errno::NODEV)
}

/// The error as the seam has it.
fn errno(error: io::Errno) -> Errno {
    Errno(error.raw_os_error())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn with_disk(content: &[u8], mode: OpenMode, check: impl AsyncFnOnce(Arc<dyn Disk>)) {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(content).unwrap();
        let path = file.path().to_str().unwrap().to_owned();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let host = OsHost::new(runtime.handle().clone());
        runtime.block_on(async {
            let disk = host.open(&path, mode).await.unwrap();
            check(disk).await;
        });
    }

    #[test]
    fn a_read_past_the_end_gives_zeroes() {
        with_disk(b"abc", OpenMode::ReadOnly, async |disk| {
            assert_eq!(disk.read(1, vec![7; 5]).await, Ok(b"bc\0\0\0".to_vec()));
            assert_eq!(disk.read(1 << 40, vec![7; 2]).await, Ok(vec![0; 2]));
        });
    }

    #[test]
    fn zeroes_grow_the_file_and_leave_the_rest_alone() {
        with_disk(b"abcdef", OpenMode::ReadWrite, async |disk| {
            disk.write_zeroes(2, 2).await.unwrap();
            assert_eq!(disk.len_bytes(), Ok(6));
            disk.write_zeroes(5, 10).await.unwrap();
            assert_eq!(disk.len_bytes(), Ok(15));
            assert_eq!(disk.read(0, vec![7; 15]).await, Ok(b"ab\0\0e\0\0\0\0\0\0\0\0\0\0".to_vec()));
            assert_eq!(disk.write_zeroes(u64::MAX, 2).await, Err(Errno::EFBIG));
        });
    }

    #[test]
    fn a_reopened_disk_changes_its_mode_in_place() {
        with_disk(b"abc", OpenMode::ReadOnly, async |disk| {
            assert!(disk.write(0, b"x".to_vec()).await.is_err(), "read-only");
            disk.reopen(true).await.unwrap();
            disk.write(0, b"x".to_vec()).await.unwrap();
            disk.reopen(false).await.unwrap();
            assert!(disk.write(0, b"y".to_vec()).await.is_err(), "read-only again");
            assert_eq!(disk.read(0, vec![0; 3]).await, Ok(b"xbc".to_vec()));
        });
    }

    #[test]
    fn a_request_goes_on_though_its_future_is_dropped() {
        with_disk(b"abc", OpenMode::ReadWrite, async |disk| {
            drop(disk.write(0, b"x".to_vec()));
            // Each look gives the blocking thread time; the write needs no poll to get done.
            for _ in 0..10_000 {
                if disk.read(0, vec![0; 1]).await == Ok(b"x".to_vec()) {
                    return;
                }
            }
            panic!("the write never happened");
        });
    }

    #[test]
    fn a_file_has_one_writer_or_several_readers() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().to_str().unwrap().to_owned();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let host = OsHost::new(runtime.handle().clone());
        runtime.block_on(async {
            let first = host.open(&path, OpenMode::ReadWrite).await.unwrap();
            let second = host.open(&path, OpenMode::ReadWrite).await;
            assert_eq!(second.err(), Some(Errno::EAGAIN));
            assert_eq!(host.open(&path, OpenMode::ReadOnly).await.err(), Some(Errno::EAGAIN));
            drop(first);
            let reader = host.open(&path, OpenMode::ReadOnly).await.unwrap();
            let other = host.open(&path, OpenMode::ReadOnly).await.unwrap();
            assert_eq!(reader.reopen(true).await, Err(Errno::EAGAIN));
            drop(other);
            assert_eq!(reader.reopen(true).await, Ok(()));
        });
    }

    #[test]
    fn around_the_cache_a_file_reads_as_through_it() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(&[7; 10_000]).unwrap();
        let path = file.path().to_str().unwrap().to_owned();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let host = OsHost::new(runtime.handle().clone());
        runtime.block_on(async {
            let wanted = FileUse { direct: true, ..FileUse::default() };
            let disk = match host.open_for(&path, OpenMode::ReadWrite, wanted).await {
                // Said past the capture of the test's output.
                Err(Errno::EINVAL) => {
                    return writeln!(
                        std::io::stderr(),
                        "skipped: the scratch folder's file system caches always"
                    )
                    .unwrap();
                }
                opened => opened.unwrap(),
            };
            // The end of the file lies in the middle of a page.
            assert_eq!(disk.read(8192, vec![1; 4096]).await, Ok([vec![7; 1808], vec![0; 2288]].concat()));
            disk.write(4096, vec![8; 4096]).await.unwrap();
            disk.write(4000, vec![9; 100]).await.unwrap();
            disk.write_zeroes(0, 100).await.unwrap();
            let expected = [vec![0; 100], vec![7; 3900], vec![9; 100], vec![8; 4092], vec![7; 1808]].concat();
            assert_eq!(disk.read(0, vec![1; 8192]).await.as_deref(), Ok(&expected[..8192]));
            disk.reopen(false).await.unwrap();
            assert_eq!(disk.read(0, vec![1; 10_000]).await, Ok(expected));
            assert_eq!(disk.len_bytes(), Ok(10_000));
        });
    }

    #[test]
    fn a_file_without_locks_is_anybodys() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().to_str().unwrap().to_owned();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let host = OsHost::new(runtime.handle().clone());
        runtime.block_on(async {
            let _first = host.open(&path, OpenMode::ReadWrite).await.unwrap();
            let wanted = FileUse { locks: false, ..FileUse::default() };
            let second = host.open_for(&path, OpenMode::ReadOnly, wanted).await.unwrap();
            assert_eq!(second.reopen(true).await, Ok(()));
            assert_eq!(host.open(&path, OpenMode::ReadWrite).await.err(), Some(Errno::EAGAIN));
        });
    }

    #[test]
    fn a_file_that_nobody_uses_yet_is_in_nobodys_way() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().to_str().unwrap().to_owned();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let host = OsHost::new(runtime.handle().clone());
        runtime.block_on(async {
            let wanted = FileUse { unused: true, ..FileUse::default() };
            let unused = host.open_for(&path, OpenMode::ReadOnly, wanted).await.unwrap();
            let writer = host.open(&path, OpenMode::ReadWrite).await.unwrap();
            assert_eq!(unused.claim().await, Err(Errno::EAGAIN));
            drop(writer);
            assert_eq!(unused.claim().await, Ok(()));
            assert_eq!(host.open(&path, OpenMode::ReadWrite).await.err(), Some(Errno::EAGAIN));
        });
    }

    #[test]
    fn only_files_and_devices_open() {
        let folder = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let host = OsHost::new(runtime.handle().clone());
        let open = |path: &str| runtime.block_on(host.open(path, OpenMode::ReadOnly)).err();
        assert_eq!(open(folder.path().to_str().unwrap()), Some(Errno::EISDIR));
        assert_eq!(open(folder.path().join("none").to_str().unwrap()), Some(Errno::ENOENT));
        assert_eq!(open("/dev/null"), Some(Errno::EINVAL));
        assert!(open("a\0b").is_some());
    }
}
