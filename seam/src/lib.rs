//! The seam: everything a block layer needs of the world, and the only way it meets it.
//!
//! Files, time and tasks come through these traits. A real host serves them from an operating system; midstream's
//! simulated host decides for itself in which order requests end, which of them fail, and what a crash leaves. A layer
//! that meets the world through [`Host`] alone runs on both, unchanged.
//!
//! # What a host promises, and what not
//!
//! - A request is under way from the call, not from the first poll. Dropping its future does not cancel it: a write whose
//!   asker has gone may still land.
//! - Requests on one disk may end in any order, also if they overlap. Whoever needs an order waits for the first to end.
//! - A sector of 512 bytes, at a multiple of 512, is written entirely or not at all. A longer write may be torn between
//!   any two of its sectors when the world ends or the write fails.
//! - A flush that ends without an error has made every write durable that had *ended* when the flush was asked for.
//!   Nothing is said of writes that were under way then, and nothing of the order in which writes between two flushes
//!   become durable.
//! - When a process is killed, what had ended is there; of what was under way, any part. When the power is cut, what was
//!   flushed is there; of the rest, any part.
//! - Any request may fail with an [`Errno`]. A write that failed may have landed entirely, in part, or not at all. A
//!   flush that failed has promised nothing, and neither has any later one of what that was to make durable: it may be
//!   lost, although readers go on seeing it (as with fsync(2) on Linux). Whoever writes it anew is safe.
//! - Tasks run one at a time or side by side, but never inside a call of the host. A host never calls back.
//!
//! [`Host`] and [`Disk`] have a default for whatever a small world can do without.

#![warn(unreachable_pub)]

pub mod address;
pub mod debug_event;
mod errno;
pub mod escape;
pub mod footprint;

use address::{Address, NotConnected};
use debug_event::DebugEvent;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

/// A boxed future, as the seam hands it out.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What a request on a disk answers.
pub type IoResult<T> = Result<T, Errno>;

/// An operating system's error number (Linux numbers on every host).
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Errno(pub i32);

impl Errno {
    /// Operation not permitted.
    pub const EPERM: Errno = Errno(1);
    /// No such file or directory.
    pub const ENOENT: Errno = Errno(2);
    /// Input/output error.
    pub const EIO: Errno = Errno(5);
    /// Resource temporarily unavailable: somebody else holds the lock.
    pub const EAGAIN: Errno = Errno(11);
    /// Neither a plain file nor a block device.
    pub const ENOTBLK: Errno = Errno(15);
    /// Cannot allocate memory: more than the budget has.
    pub const ENOMEM: Errno = Errno(12);
    /// Operation canceled: given up, because the end has begun.
    pub const ECANCELED: Errno = Errno(125);
    /// Permission denied.
    pub const EACCES: Errno = Errno(13);
    /// Not a directory.
    pub const ENOTDIR: Errno = Errno(20);
    /// Too many levels: of links, of nodes on nodes.
    pub const ELOOP: Errno = Errno(40);
    /// File name too long.
    pub const ENAMETOOLONG: Errno = Errno(36);
    /// Connection refused.
    pub const ECONNREFUSED: Errno = Errno(111);
    /// File exists.
    pub const EEXIST: Errno = Errno(17);
    /// Is a directory.
    pub const EISDIR: Errno = Errno(21);
    /// Invalid argument.
    pub const EINVAL: Errno = Errno(22);
    /// File too large.
    pub const EFBIG: Errno = Errno(27);
    /// No space left on device.
    pub const ENOSPC: Errno = Errno(28);
    /// Read-only file system.
    pub const EROFS: Errno = Errno(30);
    /// Address already in use.
    pub const EADDRINUSE: Errno = Errno(98);
    /// Operation not supported.
    pub const ENOTSUP: Errno = Errno(95);

    /// The text of strerror(3), which QMP replies and events carry.
    pub fn text(self) -> String {
        errno::text(self.0).map_or_else(|| format!("error number {} of the system", self.0), str::to_owned)
    }
}

impl From<std::io::Error> for Errno {
    /// The system's own number; EIO for an error that has none.
    fn from(error: std::io::Error) -> Errno {
        error.raw_os_error().map_or(Errno::EIO, Errno)
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text())
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text())
    }
}

/// What a disk says about the bytes from an offset on.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct DiskRun {
    /// How many bytes this holds for; at least 1.
    pub len: u64,
    /// Whether there is data; otherwise a hole, which reads as zeroes.
    pub has_data: bool,
}

/// Distinguishes one file of the host from all others, whatever it is called.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct FileIdentity {
    /// The device it lies on.
    pub device: u64,
    /// Its number there.
    pub inode: u64,
}

/// One file or device, read and written by position.
///
/// Requests may run at the same time and end in any order. Buffers are owned by the request while it runs.
pub trait Disk: Send + Sync + fmt::Debug {
    /// The present length in bytes.
    fn len_bytes(&self) -> IoResult<u64>;
    /// Fills `buffer` from `offset`, zeroes past the end of the file, and hands it back.
    fn read(&self, offset: u64, buffer: Vec<u8>) -> Pending<'static, IoResult<Vec<u8>>>;
    /// Writes all of `data` at `offset`, growing the file as needed. Torn at sectors if the world ends meanwhile.
    fn write(&self, offset: u64, data: Vec<u8>) -> Pending<'static, IoResult<()>>;
    /// Makes a range read as zeroes, growing the file as needed.
    fn write_zeroes(&self, offset: u64, len: u64) -> Pending<'static, IoResult<()>>;
    /// As `write_zeroes`, and gives the space back where that is possible.
    fn unmap(&self, offset: u64, len: u64) -> Pending<'static, IoResult<()>> {
        self.write_zeroes(offset, len)
    }
    /// Says that a range is not needed any more; what it reads afterwards is unspecified. May do nothing.
    fn discard(&self, offset: u64, len: u64) -> Pending<'static, IoResult<()>>;
    /// Whether the bytes from `offset` on are data or a hole that reads as zeroes, and for how many of `len` bytes
    /// that holds. A disk that does not know has data everywhere.
    fn next_run(&self, offset: u64, len: u64) -> Pending<'static, IoResult<DiskRun>> {
        let _anywhere = offset;
        Box::pin(std::future::ready(Ok(DiskRun { len, has_data: true })))
    }
    /// How much space the bytes take where they are kept. A disk that does not know keeps them all.
    fn allocated_bytes(&self) -> IoResult<u64> {
        self.len_bytes()
    }
    /// Which file this is, if it is one that can be distinguished from all others; a name is not enough for that.
    fn identity(&self) -> Option<FileIdentity> {
        None
    }
    /// Makes every write that ended before this call durable.
    fn flush(&self) -> Pending<'static, IoResult<()>>;
    /// Sets the length; a grown range reads as zeroes.
    fn resize(&self, len_bytes: u64) -> Pending<'static, IoResult<()>>;
    /// Changes between read-only and read-write in place. Requests in flight are not disturbed.
    fn reopen(&self, writable: bool) -> Pending<'static, IoResult<()>>;
    /// Whether requests go around the system's cache, and whether flushes make anything durable, from now on. A world
    /// without caches has nothing to do about it. EINVAL: nothing goes around it here.
    fn set_cache(&self, direct: bool, flushes: bool) -> Pending<'static, IoResult<()>> {
        let _always_durable = (direct, flushes);
        Box::pin(std::future::ready(Ok(())))
    }
    /// A file gets a user, its first or one more: from now on nobody else may write it.
    fn claim(&self) -> Pending<'static, IoResult<()>> {
        Box::pin(std::future::ready(Ok(())))
    }
    /// A user that came with [`Disk::claim`] has gone: after the last of them others may write the file again, if it was
    /// opened without a user.
    fn unclaim(&self) {}
    /// Is called at a moment in the work of the driver above. Only a filter that injects errors does anything.
    fn debug_event(&self, _event: DebugEvent) {}
}

/// How a file is to be opened.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum OpenMode {
    /// Reads only; every write answers EROFS or EBADF.
    ReadOnly,
    /// Reads and writes an existing file.
    ReadWrite,
}

/// What else is wanted of a file.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct FileUse {
    /// Lock it for what we do with it, and heed the locks of others.
    pub locks: bool,
    /// Go around the system's cache.
    pub direct: bool,
    /// Make writes durable when asked. Without, a flush does nothing.
    pub flushes: bool,
    /// Nobody uses it yet: as long as it is only read, others may do with it what they like, until `Disk::claim`.
    pub unused: bool,
}

impl Default for FileUse {
    fn default() -> Self {
        FileUse { locks: true, direct: false, flushes: true, unused: false }
    }
}

/// Time since an arbitrary start, in nanoseconds; never goes back.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Nanos(pub u64);

impl Nanos {
    /// One second.
    pub const SECOND: Nanos = Nanos(1_000_000_000);
    /// One millisecond.
    pub const MILLISECOND: Nanos = Nanos(1_000_000);

    /// This moment and `other` nanoseconds more; the far end of time at most.
    pub fn plus(self, other: Nanos) -> Nanos {
        Nanos(self.0.saturating_add(other.0))
    }

    /// Time from `earlier` to this moment; nothing if `earlier` is later.
    pub fn since(self, earlier: Nanos) -> Nanos {
        Nanos(self.0.saturating_sub(earlier.0))
    }
}

/// Time of day, as QMP events carry it.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub struct WallClock {
    /// Seconds since 1970.
    pub seconds: u64,
    /// Microseconds of the second.
    pub microseconds: u32,
}

/// A connection: bytes in order, both ways. A read and a write may be under way at the same time.
pub trait Stream: Send + Sync + fmt::Debug {
    /// The next bytes, up to `max_bytes` of them; none at the end.
    fn read(&self, max_bytes: usize) -> Pending<'static, IoResult<Vec<u8>>>;
    /// Sends all of `data`.
    fn write(&self, data: Vec<u8>) -> Pending<'static, IoResult<()>>;
    /// Ends it in both directions; whoever reads or writes finds the end.
    fn shut_down(&self);
}

/// A place that connections come from. It goes when this is dropped.
pub trait Listener: Send + Sync + fmt::Debug {
    /// The next connection. Dropping the future loses none.
    fn accept(&self) -> Pending<'static, IoResult<Arc<dyn Stream>>>;
}

/// The world.
pub trait Host: Send + Sync + fmt::Debug {
    /// Opens an existing file.
    fn open(&self, path: &str, mode: OpenMode) -> Pending<'static, IoResult<Arc<dyn Disk>>>;
    /// As `open`, for a particular use. A world without locks and caches has nothing to do about it. EINVAL: a file
    /// system on which nothing goes around the cache.
    fn open_for(
        &self,
        path: &str,
        mode: OpenMode,
        wanted: FileUse,
    ) -> Pending<'static, IoResult<Arc<dyn Disk>>> {
        let _always_locked_and_durable = wanted;
        self.open(path, mode)
    }
    /// Makes an empty file, or empties the one there is, and opens it for reading and writing.
    fn create(&self, path: &str) -> Pending<'static, IoResult<Arc<dyn Disk>>>;
    /// The path in its simplest form (`.`, `..` and links resolved) when there is such a file; used to compare names.
    fn canonical(&self, path: &str) -> Option<String>;
    /// The path from the root, wherever the process stands; links are kept as they are.
    fn absolute(&self, path: &str) -> String;
    /// Reports to whoever runs the program something that no client asked for: one line.
    fn report(&self, line: &str) {
        let _nobody_reads_it = line;
    }
    /// Listens at a unix socket that only its owner may connect to. A world without sockets has none.
    fn listen(&self, path: &str) -> IoResult<Arc<dyn Listener>> {
        let _nowhere = path;
        Err(Errno::ENOTSUP)
    }
    /// Connects to whoever listens there. A world without sockets reaches nobody.
    fn connect(&self, address: &Address) -> Pending<'static, Result<Arc<dyn Stream>, NotConnected>> {
        let _nowhere = address;
        Box::pin(std::future::ready(Err(NotConnected::Failed(Errno::ENOTSUP))))
    }
    /// Monotonic time.
    fn now(&self) -> Nanos;
    /// Time of day.
    fn wall_clock(&self) -> WallClock;
    /// Waits until `deadline`.
    fn sleep_until(&self, deadline: Nanos) -> Pending<'static, ()>;
    /// Runs `task` to its end beside its maker. The name is stable: it stands in traces.
    fn spawn(&self, name: &str, task: Pending<'static, ()>);
}
