//! A file or block device of the host.

use super::place::by_number;
use super::{blocking, direct, errno, lock, range};
use crate::sync::shim::Mutex;
use rustix::fs::{self, FileType, Mode, OFlags};
use rustix::io;
use seam::{Disk, DiskRun, Errno, FileIdentity, FileUse, IoResult, OpenMode, Pending};
use std::fmt;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use tokio::runtime::Handle;

/// One file, opened for what is wanted of it.
struct Descriptors {
    /// Goes through the system's cache, and holds the locks.
    cached: OwnedFd,
    /// Goes around the cache, for requests in whole pages.
    direct: Option<OwnedFd>,
}

/// A file or block device. Reopening swaps the descriptors; requests in flight keep theirs.
pub(super) struct OsDisk {
    runtime: Handle,
    path: String,
    wanted: Arc<Mutex<FileUse>>,
    descriptors: Arc<Mutex<Arc<Descriptors>>>,
    /// How many have claimed it.
    claims: Arc<Mutex<usize>>,
}

impl fmt::Debug for OsDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OsDisk({})", self.path)
    }
}

impl OsDisk {
    pub(super) fn open(runtime: Handle, path: String, mode: OpenMode, wanted: FileUse) -> IoResult<OsDisk> {
        let writable = mode == OpenMode::ReadWrite;
        let descriptors = Descriptors::open(&path, writable, wanted)?;
        if wanted.locks && (writable || !wanted.unused) {
            lock::lock(&descriptors.cached, writable)?;
        }
        let descriptors = Arc::new(Mutex::new(Arc::new(descriptors)));
        let wanted = Arc::new(Mutex::new(wanted));
        Ok(OsDisk { runtime, path, wanted, descriptors, claims: Arc::default() })
    }

    /// Cuts the file to nothing.
    pub(super) fn empty(&self) -> IoResult<()> {
        fs::ftruncate(&self.present().cached, 0).map_err(errno)
    }

    fn wanted(&self) -> FileUse {
        *self.wanted.lock()
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
        range::len_bytes(&self.present().cached).map_err(errno)
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
            range::write_all(&descriptors.cached, offset + written as u64, &data[written..])
        })
    }

    fn write_zeroes(&self, offset: u64, len: u64) -> Pending<'static, IoResult<()>> {
        self.request(move |descriptors| range::write_zeroes(&descriptors.cached, offset, len, &range::KEPT))
    }

    fn unmap(&self, offset: u64, len: u64) -> Pending<'static, IoResult<()>> {
        self.request(move |descriptors| {
            range::write_zeroes(&descriptors.cached, offset, len, &range::GIVEN_BACK)
        })
    }

    fn discard(&self, offset: u64, len: u64) -> Pending<'static, IoResult<()>> {
        self.request(move |descriptors| range::discard(&descriptors.cached, offset, len))
    }

    fn next_run(&self, offset: u64, len: u64) -> Pending<'static, IoResult<DiskRun>> {
        self.request(move |descriptors| Ok(range::next_run(&descriptors.cached, offset, len)))
    }

    fn flush(&self) -> Pending<'static, IoResult<()>> {
        if !self.wanted().flushes {
            return Box::pin(std::future::ready(Ok(())));
        }
        self.request(|descriptors| fs::fdatasync(&descriptors.cached))
    }

    fn resize(&self, len_bytes: u64) -> Pending<'static, IoResult<()>> {
        self.request(move |descriptors| io::retry_on_intr(|| fs::ftruncate(&descriptors.cached, len_bytes)))
    }

    fn set_cache(&self, direct: bool, flushes: bool) -> Pending<'static, IoResult<()>> {
        let (present, wanted) = (Arc::clone(&self.descriptors), Arc::clone(&self.wanted));
        blocking(&self.runtime, move || {
            let mut wanted = wanted.lock();
            let changed = FileUse { direct, flushes, ..*wanted };
            if direct != wanted.direct {
                let old = Arc::clone(&present.lock());
                // Locks stay: a duplicate shares them.
                let cached = io::fcntl_dupfd_cloexec(&old.cached, 0).map_err(errno)?;
                *present.lock() = Arc::new(Descriptors::around(cached, is_writable(&old.cached)?, changed)?);
            }
            *wanted = changed;
            Ok(())
        })
    }

    fn claim(&self) -> Pending<'static, IoResult<()>> {
        let (descriptors, claims) = (Arc::clone(&self.descriptors), Arc::clone(&self.claims));
        let wanted = self.wanted();
        blocking(&self.runtime, move || {
            let mut claims = claims.lock();
            let present = Arc::clone(&descriptors.lock());
            // Whoever opened it for writing has locked it at once.
            if wanted.locks && !is_writable(&present.cached)? {
                lock::lock(&present.cached, false)?;
            }
            *claims += 1;
            Ok(())
        })
    }

    fn unclaim(&self) {
        let mut claims = self.claims.lock();
        assert!(*claims > 0, "nobody has claimed the file");
        *claims -= 1;
        let present = self.present();
        // What cannot be asked is left as it is.
        let wanted = self.wanted();
        let is_free = *claims == 0 && wanted.unused && is_writable(&present.cached) == Ok(false);
        if is_free && wanted.locks {
            lock::unlock(&present.cached);
        }
    }

    fn reopen(&self, writable: bool) -> Pending<'static, IoResult<()>> {
        let (present, claims) = (Arc::clone(&self.descriptors), Arc::clone(&self.claims));
        let wanted = self.wanted();
        blocking(&self.runtime, move || {
            let claims = claims.lock();
            let old = Arc::clone(&present.lock());
            // By way of the open descriptor: the name may by now belong to another file.
            let same = by_number(&old.cached);
            let new = Descriptors::open(&same, writable, wanted)?;
            if !wanted.locks {
                *present.lock() = Arc::new(new);
                return Ok(());
            }
            // Locks belong to descriptors, so the old one must be released before the new one is taken.
            lock::unlock(&old.cached);
            if !writable && wanted.unused && *claims == 0 {
                *present.lock() = Arc::new(new);
                return Ok(());
            }
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
        Descriptors::around(open_descriptor(path, writable, OFlags::empty())?, writable, wanted)
    }

    fn around(cached: OwnedFd, writable: bool, wanted: FileUse) -> IoResult<Descriptors> {
        // The same file, whatever its name by now belongs to.
        let same = wanted.direct.then(|| by_number(&cached));
        let direct = same.map(|same| open_descriptor(&same, writable, OFlags::DIRECT)).transpose()?;
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
        _ => Err(Errno::ENOTBLK),
    }
}

fn is_writable(descriptor: &OwnedFd) -> IoResult<bool> {
    Ok(fs::fcntl_getfl(descriptor).map_err(errno)?.contains(OFlags::RDWR))
}

#[cfg(test)]
pub(super) mod tests {
    use crate::os::OsHost;
    use seam::{Disk, Errno, FileUse, Host, OpenMode};
    use std::io::Write;
    use std::sync::Arc;

    pub(in crate::os) fn with_disk(content: &[u8], mode: OpenMode, check: impl AsyncFnOnce(Arc<dyn Disk>)) {
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
            assert_eq!(unused.claim().await, Ok(()));
            unused.unclaim();
            assert_eq!(host.open(&path, OpenMode::ReadWrite).await.err(), Some(Errno::EAGAIN));
            unused.unclaim();
            assert_eq!(host.open(&path, OpenMode::ReadWrite).await.err(), None);
        });
    }

    #[test]
    fn only_files_and_devices_open() {
        let folder = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let host = OsHost::new(runtime.handle().clone());
        let open = |path: &str| runtime.block_on(host.open(path, OpenMode::ReadOnly)).err();
        assert_eq!(open(folder.path().to_str().unwrap()), Some(Errno::ENOTBLK));
        assert_eq!(open(folder.path().join("none").to_str().unwrap()), Some(Errno::ENOENT));
        assert_eq!(open("/dev/null"), Some(Errno::ENOTBLK));
        assert!(open("a\0b").is_some());
    }
}
