//! A name in a folder that is held open: whatever becomes of the folder's own name meanwhile, it is an entry of that
//! folder that is made, looked at and removed.

use rustix::fs::{AtFlags, Mode, OFlags, Stat};
use std::ffi::OsString;
use std::io::Result;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

/// A place for a file: there may be one or not.
#[derive(Debug)]
pub struct Place {
    folder: OwnedFd,
    /// One component: no folder, no `..`.
    name: OsString,
    /// By what name a socket is bound here.
    address: PathBuf,
}

impl Place {
    /// The place that this path leads to now, wherever that is.
    pub fn at(path: &Path) -> Result<Place> {
        let (folder, name) = split(path)?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = rustix::fs::open(folder, flags, Mode::empty())?;
        Ok(Place { folder, name, address: std::path::absolute(path)? })
    }

    /// A place in a folder that is held already, to which no name leads for sure.
    pub(super) fn inside(folder: OwnedFd, name: OsString) -> Place {
        let address = PathBuf::from(by_number(&folder)).join(&name);
        Place { folder, name, address }
    }

    /// A path by which a socket can be bound here.
    pub fn address(&self) -> &Path {
        &self.address
    }

    /// Opens the file here; a link is not followed.
    pub fn open(&self, flags: OFlags, mode: Mode) -> rustix::io::Result<OwnedFd> {
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::io::retry_on_intr(|| rustix::fs::openat(&self.folder, &self.name, flags, mode))
    }

    /// Which file is here now, a link being one itself.
    pub fn identity(&self) -> rustix::io::Result<Identity> {
        let stat = rustix::fs::statat(&self.folder, &self.name, AtFlags::SYMLINK_NOFOLLOW)?;
        Ok(Identity::of(&stat))
    }

    /// Removes the file here.
    pub fn remove(&self) -> rustix::io::Result<()> {
        rustix::fs::unlinkat(&self.folder, &self.name, AtFlags::empty())
    }
}

/// A file, whatever its name: its device and its number there.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Identity(u64, u64);

impl Identity {
    /// The file that a look was taken at.
    pub fn of(stat: &Stat) -> Identity {
        Identity(stat.st_dev, stat.st_ino)
    }
}

/// The way to a file through a descriptor that holds it. It lasts as long as the descriptor.
pub(super) fn by_number(descriptor: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", descriptor.as_raw_fd())
}

/// A path as a folder and a name in it.
pub(super) fn split(path: &Path) -> Result<(&Path, OsString)> {
    // Of `a/..` and of `/` there is none.
    let name = path.file_name().ok_or(rustix::io::Errno::ISDIR)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    Ok((folder.unwrap_or(Path::new(".")), name.to_owned()))
}

/// A file we made, removed when this is dropped, unless somebody has put another in its place.
#[derive(Debug)]
pub struct OwnFile {
    place: Place,
    identity: Identity,
}

impl OwnFile {
    /// The file at `place`, which was just made.
    pub fn new(place: Place) -> Result<OwnFile> {
        let identity = place.identity()?;
        Ok(OwnFile { place, identity })
    }
}

impl Drop for OwnFile {
    fn drop(&mut self) {
        if self.place.identity() == Ok(self.identity) {
            // Nothing depends on its success; a file left behind is found abandoned next time.
            let _ = self.place.remove();
        }
    }
}
