//! One folder, and nothing outside it: links are resolved first, then it is looked at where they led.

use crate::host::{Errno, IoResult};
use rustix::fs::{Mode, OFlags};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

/// The folder outside which nothing is opened.
#[derive(Clone, Debug)]
pub struct Confinement {
    folder: PathBuf,
}

impl Confinement {
    /// To `folder`, wherever that leads now.
    pub fn to(folder: &Path) -> IoResult<Confinement> {
        let folder = std::fs::canonicalize(folder)?;
        if !folder.is_dir() {
            return Err(Errno::ENOTDIR);
        }
        Ok(Confinement { folder })
    }

    /// A path by which the file at `path` can be opened, if it lies inside. It holds as long as the descriptor, which
    /// is a hold on the file and cannot read it: between the look and the opening nobody can put another in its place.
    pub fn admit(&self, path: &str) -> IoResult<(OwnedFd, String)> {
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let hold = rustix::fs::open(path, flags, Mode::empty())?;
        let same = format!("/proc/self/fd/{}", hold.as_raw_fd());
        if !self.has(&std::fs::read_link(&same)?) {
            return Err(Errno::EACCES);
        }
        Ok((hold, same))
    }

    /// As `admit`, for a file that is yet to be made: a hold on its folder, and a path through that.
    pub fn admit_new(&self, path: &str) -> IoResult<(OwnedFd, String)> {
        let (folder, name) = path.rsplit_once('/').unwrap_or((".", path));
        let (hold, same) = self.admit(if folder.is_empty() { "/" } else { folder })?;
        match name {
            "" | "." | ".." => Err(Errno::EISDIR),
            name => Ok((hold, format!("{same}/{name}"))),
        }
    }

    /// Whether this path, free of links, lies inside.
    pub fn has(&self, path: &Path) -> bool {
        path.starts_with(&self.folder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn only_what_lies_inside_is_admitted_wherever_its_name_stands() {
        let outer = tempfile::tempdir().unwrap();
        let at = |name: &str| outer.path().join(name).to_str().unwrap().to_owned();
        fs::create_dir(at("in")).unwrap();
        fs::create_dir(at("inside")).unwrap();
        for name in ["in/a", "out", "inside/b"] {
            fs::write(at(name), name).unwrap();
        }
        symlink(at("out"), at("in/to-out")).unwrap();
        symlink(at("in/a"), at("to-in")).unwrap();
        symlink(at("inside"), at("in/folder")).unwrap();
        let confinement = Confinement::to(Path::new(&at("in"))).unwrap();
        for inside in ["in/a", "to-in", "inside/../in/a"] {
            let (_hold, same) = confinement.admit(&at(inside)).unwrap();
            assert_eq!(fs::read_to_string(same).unwrap(), "in/a", "{inside}");
        }
        for outside in ["out", "in/to-out", "in/../out", "inside/b", "in/folder/b"] {
            assert_eq!(confinement.admit(&at(outside)).err(), Some(Errno::EACCES), "{outside}");
        }
        assert_eq!(confinement.admit(&at("in/none")).err(), Some(Errno::ENOENT));
        let (_hold, same) = confinement.admit_new(&at("in/new")).unwrap();
        fs::write(same, "new").unwrap();
        assert_eq!(fs::read_to_string(at("in/new")).unwrap(), "new");
        assert_eq!(confinement.admit_new(&at("in/folder/new")).err(), Some(Errno::EACCES));
        assert_eq!(confinement.admit_new(&at("in/..")).err(), Some(Errno::EISDIR));
    }
}
