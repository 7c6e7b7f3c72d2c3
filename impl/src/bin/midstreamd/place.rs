//! Where the sockets and the pidfile of the command line go, confined or not.

use block::os::confine::Confinement;
use block::os::place::Place;
use seam::Errno;
use std::io::{Error, Result};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// Every place, or those inside the folder of `--confine` and those that the operator names outside.
#[derive(Debug, Default)]
pub struct Places(pub Option<Confinement>);

impl Places {
    /// The place of a file to be made.
    pub fn place(&self, path: &Path) -> Result<Place> {
        match &self.0 {
            None => Place::at(path),
            Some(confinement) => confinement.place_of(path).map_err(error),
        }
    }

    /// A path to a file that is there. It is good as long as what comes with it is held.
    pub fn file(&self, path: &Path) -> Result<(PathBuf, Option<OwnedFd>)> {
        match &self.0 {
            None => Ok((path.to_owned(), None)),
            Some(confinement) => confinement.file_of(path).map_err(error),
        }
    }
}

fn error(errno: Errno) -> Error {
    Error::from_raw_os_error(errno.0)
}
