//! The file that holds our process id: locked while we live, and removed when we end.

use crate::socket::text;
use block::os::socket::OwnFile;
use rustix::fs::FlockOperation;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

/// The file, ours while this is held.
#[derive(Debug)]
pub struct PidFile {
    _path: OwnFile,
    _locked: File,
}

impl PidFile {
    /// Writes the process id. What an earlier process left is replaced; what a living one holds is not, and a link
    /// is not followed.
    pub fn create(path: &Path) -> Result<PidFile, String> {
        let (file, locked) = loop {
            let file = open(path)
                .map_err(|e| format!("cannot create PID file: Could not create '{}': {}", path.display(), text(&e)))?;
            let locked = rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive);
            // Whoever held it may have removed it just before it let us have it: then it is not the one at `path`.
            let still_there = std::fs::symlink_metadata(path).is_ok_and(|there| {
                file.metadata().is_ok_and(|ours| (ours.dev(), ours.ino()) == (there.dev(), there.ino()))
            });
            if locked.is_err() || still_there {
                break (file, locked);
            }
        };
        locked.map_err(|_| "cannot create PID file: Cannot lock pid file".to_owned())?;
        let write = || {
            let mut file = &file;
            file.set_len(0)?;
            writeln!(file, "{}", std::process::id())?;
            OwnFile::new(path)
        };
        let written: std::io::Result<OwnFile> = write();
        let path = written.map_err(|e| format!("cannot create PID file: Failed to write pid file: {}", text(&e)))?;
        Ok(PidFile { _path: path, _locked: file })
    }
}

fn open(path: &Path) -> std::io::Result<File> {
    let no_follow = rustix::fs::OFlags::NOFOLLOW.bits() as i32;
    // Not truncated: it may be a living process's.
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).custom_flags(no_follow).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_file_put_in_our_place_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pid");
        let pid_file = PidFile::create(&path).unwrap();
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
        let first = PidFile::create(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{}\n", std::process::id()));
        assert_eq!(PidFile::create(&path).unwrap_err(), "cannot create PID file: Cannot lock pid file");
        drop(first);
        assert!(!path.exists());
    }

    #[test]
    fn a_link_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let (path, precious) = (folder.path().join("pid"), folder.path().join("precious"));
        fs::write(&precious, "precious").unwrap();
        std::os::unix::fs::symlink(&precious, &path).unwrap();
        assert!(PidFile::create(&path).unwrap_err().contains("Could not create"));
        assert_eq!(fs::read_to_string(&precious).unwrap(), "precious");
    }
}
