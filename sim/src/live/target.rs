//! Which daemon is driven: the real one, or ours behind its sockets.

use crate::version;
use model::Release;
use std::env;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// A daemon to drive, by kind and file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Target {
    /// `qemu` or `midstreamd`: what traces and divergences call it.
    pub kind: Kind,
    /// Its file.
    pub binary: PathBuf,
    /// Its images lie on devices of the simulated disk.
    pub on_disk: bool,
    /// The name of a defect that it may have, beside those that are known of its release.
    pub may_have: Option<&'static str>,
}

/// The kinds of daemons.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Kind {
    /// `qemu-storage-daemon`
    Qemu,
    /// Our own daemon.
    Midstreamd,
}

impl Kind {
    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Qemu => "qemu",
            Kind::Midstreamd => "midstreamd",
        }
    }

    /// The file's name when no path is given, and how its version begins.
    fn binary(self) -> &'static str {
        match self {
            Kind::Qemu => "qemu-storage-daemon",
            Kind::Midstreamd => "midstreamd",
        }
    }
}

/// Which defects are known of a daemon.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Baseline {
    /// The kind of daemon: of ours none are known.
    pub kind: Kind,
    /// The release whose defects they are,
    pub release: Release,
    /// and one more, by name.
    pub may_have: Option<&'static str>,
}

impl Baseline {
    /// Whether a defect of this name, that these releases have, is among them.
    pub fn has(&self, name: &str, mut releases: impl Iterator<Item = Release>) -> bool {
        self.kind == Kind::Qemu && (self.may_have == Some(name) || releases.any(|it| it == self.release))
    }
}

/// What stands behind the kind of a target whose images lie on devices.
const ON_DISK: &str = "+disk";

impl Target {
    /// The name in traces: `qemu`, or `qemu+disk` with its images on devices.
    pub fn name(&self) -> String {
        format!("{}{}", self.kind.name(), if self.on_disk { ON_DISK } else { "" })
    }

    /// The same daemon, with its images on devices; only a daemon that is an NBD client can have them there.
    pub fn on_disk(&self) -> Result<Target, String> {
        match self.kind {
            Kind::Qemu => Ok(Target { on_disk: true, ..self.clone() }),
            Kind::Midstreamd => {
                Err("midstreamd has no node that is an NBD client, so its images cannot lie on the simulated disk: \
                     --disk needs --target qemu; `fuzz` without --target has the same engine on that disk"
                    .to_owned())
            }
        }
    }

    /// Refuses a program that does not say that it is this daemon.
    pub fn check(&self) -> Result<(), String> {
        version::check(&self.binary, &[self.kind.binary()])
    }

    /// The same daemon, which may have this defect whatever its release.
    pub fn that_may_have(&self, defect: &'static str) -> Target {
        Target { may_have: Some(defect), ..self.clone() }
    }

    /// What is known of it, if it is of this release.
    pub fn baseline(&self, release: Release) -> Baseline {
        Baseline { kind: self.kind, release, may_have: self.may_have }
    }

    /// The number of QEMU's release that it says it is.
    pub fn release(&self) -> Result<[u64; 3], String> {
        version::number(&self.binary)
    }

    /// The same daemon, with its images where they lay when a trace of this target was recorded.
    pub fn placed_as(&self, recorded: &Recorded) -> Target {
        Target { on_disk: recorded.on_disk, ..self.clone() }
    }

    fn at(kind: Kind, on_disk: bool, path: Option<&str>) -> Result<Target, String> {
        let found = match path {
            Some(path) => Some(PathBuf::from(path)),
            None => find(kind.binary()),
        };
        let binary = found.filter(|path| path.is_file());
        let binary = binary.ok_or_else(|| format!("{} was not found", path.unwrap_or(kind.binary())))?;
        let binary = binary.canonicalize().map_err(|error| error.to_string())?;
        let target = Target { kind, binary, on_disk: false, may_have: None };
        if on_disk { target.on_disk() } else { Ok(target) }
    }
}

/// What a trace says of the daemon it was recorded on. A trace is data: which program that is says the operator.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Recorded {
    /// The kind of daemon.
    pub kind: Kind,
    /// Its images lay on devices of the simulated disk.
    pub on_disk: bool,
    /// It names a program, which is not for a trace to do.
    pub program: Option<String>,
}

impl Recorded {
    /// The daemon of that kind beside this program or on the search path.
    pub fn find(&self) -> Result<Target, String> {
        match &self.program {
            None => Target::at(self.kind, self.on_disk, None),
            Some(program) => Err(format!(
                "a trace names a kind of daemon and no program, and this one names `{program}`: --target {}:PATH says \
                 which program to run",
                self.kind.name()
            )),
        }
    }
}

impl FromStr for Recorded {
    type Err = String;

    fn from_str(text: &str) -> Result<Recorded, String> {
        let (kind, program) = match text.split_once(':') {
            None => (text, None),
            Some((kind, program)) => (kind, Some(program.to_owned())),
        };
        let on_disk = kind.ends_with(ON_DISK);
        let kind = match kind.strip_suffix(ON_DISK).unwrap_or(kind) {
            "qemu" => Kind::Qemu,
            "midstreamd" => Kind::Midstreamd,
            other => return Err(format!("no target is called `{other}`: there are qemu and midstreamd")),
        };
        Ok(Recorded { kind, on_disk, program })
    }
}

impl FromStr for Target {
    type Err = String;

    /// `qemu`, `midstreamd`, or one of them with `+disk` and `:PATH` behind it.
    fn from_str(text: &str) -> Result<Target, String> {
        let Recorded { kind, on_disk, program } = text.parse()?;
        Target::at(kind, on_disk, program.as_deref())
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.name(), self.binary.display())
    }
}

/// A program beside this one, or on the search path. What lies about in the working folder is not found, though an empty
/// part of the search path means that.
fn find(name: &str) -> Option<PathBuf> {
    let beside = env::current_exe().ok().and_then(|file| file.parent().map(Path::to_owned));
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = beside.into_iter().chain(env::split_paths(&path)).filter(|folder| folder.is_absolute());
    folders.map(|folder| folder.join(name)).find(|f| f.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_a_kind_with_or_without_a_path() {
        let target: Target = "qemu:/bin/sh".parse().expect("any file is taken");
        assert_eq!(target.kind, Kind::Qemu);
        assert!(!target.on_disk);
        let on_disk: Target = "qemu+disk:/bin/sh".parse().expect("any file is taken");
        assert!(on_disk.on_disk && on_disk.kind == Kind::Qemu);
        assert_eq!(on_disk.to_string().parse(), Ok(on_disk));
        let refused = "midstreamd+disk:/bin/sh".parse::<Target>().expect_err("it is no NBD client");
        assert!(refused.contains("--target qemu"), "{refused}");
        let recorded: Recorded = "qemu+disk:/bin/sh".parse().expect("it can be read");
        assert_eq!((recorded.on_disk, recorded.program.as_deref()), (true, Some("/bin/sh")));
        assert!(recorded.find().expect_err("it names a program").contains("--target qemu:PATH"));
        assert!("xen".parse::<Target>().is_err());
        let missing = "qemu:/nowhere/at/all".parse::<Target>().expect_err("no such file");
        assert!(missing.contains("/nowhere/at/all"), "{missing}");
    }
}
