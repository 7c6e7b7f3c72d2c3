//! What a number or a place on the command line may be, so that what cannot work is refused before anything is done.

use clap::builder::RangedU64ValueParser;
use clap::value_parser;
use rustix::fs::{Access, access};
use rustix::io::Errno;
use std::fs;
use std::io;
use std::path::Path;

/// More threads or daemons than this are a slip of the hand.
const JOBS_MAX: u64 = 256;
/// So are more seconds: those of a year.
const SECONDS_MAX: u64 = 365 * 24 * 60 * 60;
/// And more tries of one trace.
const TRIES_MAX: u64 = 100_000;

/// A limit: nothing at all would prove nothing.
pub(super) fn at_least_1() -> RangedU64ValueParser {
    value_parser!(u64).range(1..)
}

/// How long something may take.
pub(super) fn seconds() -> RangedU64ValueParser {
    value_parser!(u64).range(1..=SECONDS_MAX)
}

/// How much is done side by side.
pub(super) fn jobs() -> RangedU64ValueParser {
    value_parser!(u64).range(1..=JOBS_MAX)
}

/// How often one trace is taken again.
pub(super) fn tries() -> RangedU64ValueParser {
    value_parser!(u64).range(1..=TRIES_MAX)
}

/// Refuses a folder that cannot be written to, with the option that names it. Nothing is left there.
pub(super) fn check_folder(option: &str, folder: &Path) -> Result<(), String> {
    let is_missing = |folder: &&Path| !folder.as_os_str().is_empty() && !folder.exists();
    let missing: Vec<&Path> = folder.ancestors().take_while(is_missing).collect();
    let checked = fs::create_dir_all(folder).and_then(|()| may_write(folder));
    for made in missing {
        // What another campaign has put there meanwhile keeps it.
        let _kept = fs::remove_dir(made);
    }
    checked.map_err(|error| format!("{option} {}: {error}", folder.display()))
}

/// Refuses a file that cannot be written, with the option that names it.
pub(super) fn check_file(option: &str, file: &Path) -> Result<(), String> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let checked = match fs::metadata(file) {
        Ok(there) if there.is_dir() => Err(Errno::ISDIR.into()),
        Ok(_) => access(file, Access::WRITE_OK).map_err(io::Error::from),
        Err(_) => fs::metadata(folder).and_then(|_| may_write(folder)),
    };
    checked.map_err(|error| format!("{option} {}: {error}", file.display()))
}

/// Whether files can be made in a folder that is there.
fn may_write(folder: &Path) -> io::Result<()> {
    if !fs::metadata(folder)?.is_dir() {
        return Err(Errno::NOTDIR.into());
    }
    Ok(access(folder, Access::WRITE_OK | Access::EXEC_OK)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_can_be_made_is_let_through_and_not_left_there() {
        let scratch = tempfile::tempdir().expect("a scratch folder");
        let folder = scratch.path().join("a/b");
        assert_eq!(check_folder("--out", &folder), Ok(()));
        assert!(!scratch.path().join("a").exists());
        assert_eq!(check_folder("--out", scratch.path()), Ok(()));
        assert!(scratch.path().exists());
    }

    #[test]
    fn what_lies_on_a_file_or_where_nothing_can_be_is_refused() {
        let file = tempfile::NamedTempFile::new().expect("a scratch file");
        let below = file.path().join("x");
        for place in [file.path(), &below, Path::new("/proc/none/x")] {
            let why = check_folder("--out", place).expect_err("no folder");
            assert!(why.starts_with(&format!("--out {}: ", place.display())), "{why}");
        }
        assert!(check_file("--out", &below).is_err());
        assert!(check_file("--out", Path::new("/nowhere/x")).is_err());
        assert!(check_file("--out", Path::new("/")).is_err());
        assert_eq!(check_file("--out", file.path()), Ok(()));
    }
}
