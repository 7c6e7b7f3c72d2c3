//! The file that holds our process id: locked while we live, and removed when we end.

use crate::place::Places;
use crate::socket::text;
use block::os::place::{Identity, OwnFile, Place};
use rustix::fs::{FlockOperation, Mode, OFlags, fstat, ftruncate};
use std::os::fd::OwnedFd;
use std::path::Path;

/// The file, ours while this is held.
#[derive(Debug)]
pub struct PidFile {
    _path: OwnFile,
    _locked: OwnedFd,
}

impl PidFile {
    /// Writes the process id. What an earlier process left is replaced; what a living one holds is not, and a link
    /// is not followed.
    pub fn create(path: &Path, places: &Places) -> Result<PidFile, String> {
        let failed = |what: String| format!("cannot create PID file: {what}");
        let not_made =
            |e: std::io::Error| failed(format!("Could not create '{}': {}", path.display(), text(&e)));
        let place = places.place(path).map_err(not_made)?;
        let file = open_locked(&place, path).map_err(failed)?;
        let write = || -> std::io::Result<OwnFile> {
            ftruncate(&file, 0)?;
            rustix::io::write(&file, format!("{}\n", std::process::id()).as_bytes())?;
            OwnFile::new(place)
        };
        let path = write().map_err(|e| failed(format!("Failed to write pid file: {}", text(&e))))?;
        Ok(PidFile { _path: path, _locked: file })
    }
}

fn open_locked(place: &Place, path: &Path) -> Result<OwnedFd, String> {
    // Not truncated: it may be a living process's.
    let flags = OFlags::RDWR | OFlags::CREATE;
    loop {
        let file = place
            .open(flags, Mode::RUSR | Mode::WUSR)
            .map_err(|e| format!("Could not create '{}': {}", path.display(), text(&e.into())))?;
        rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)
            .map_err(|_| "Cannot lock pid file".to_owned())?;
        // Whoever held it may have removed it just before it let us have it: then it is not the one at `path`.
        let ours = fstat(&file).map(|ours| Identity::of(&ours));
        if place.identity().is_ok_and(|there| ours == Ok(there)) {
            return Ok(file);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_file_put_in_our_place_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pid");
        let pid_file = PidFile::create(&path, &Places::default()).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{}\n", std::process::id()));
        fs::rename(&path, folder.path().join("moved")).unwrap();
        fs::write(&path, "another's").unwrap();
        drop(pid_file);
        assert!(path.exists());
    }

    #[test]
    fn a_living_process_keeps_its_file_and_a_dead_ones_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pid");
        fs::write(&path, "123456789012345").unwrap();
        let first = PidFile::create(&path, &Places::default()).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{}\n", std::process::id()));
        assert_eq!(
            PidFile::create(&path, &Places::default()).unwrap_err(),
            "cannot create PID file: Cannot lock pid file"
        );
        drop(first);
        assert!(!path.exists());
    }

    #[test]
    fn a_link_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let (path, precious) = (folder.path().join("pid"), folder.path().join("precious"));
        fs::write(&precious, "precious").unwrap();
        std::os::unix::fs::symlink(&precious, &path).unwrap();
        assert!(PidFile::create(&path, &Places::default()).unwrap_err().contains("Could not create"));
        assert_eq!(fs::read_to_string(&precious).unwrap(), "precious");
    }
}
