//! One folder, and nothing outside it: the kernel itself walks from the open folder and never leaves it.
//!
//! Names do not decide. A name that was looked at may lead elsewhere when it is used, and the same name means another
//! file to another process. So every name is walked from the descriptor of the folder with `openat2`, which refuses to
//! go above it or through the magic links of `/proc`, and what was reached is used through its descriptor.

use super::errno;
use super::place::{Place, by_number, split};
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::io::Errno as OsErrno;
use seam::{Errno, IoResult};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use thiserror::Error;

/// Somebody who moves folders about can make the kernel give up a walk; so often it is tried again.
const WALKS_MAX: usize = 64;
/// Somebody may make and remove a file that we are about to make; so often we try to be in time.
const CREATES_MAX: usize = 8;

/// The folder outside which nothing is opened.
#[derive(Clone, Debug)]
pub struct Confinement {
    folder: Arc<OwnedFd>,
    /// What the operator calls it, from the root.
    name: PathBuf,
}

/// Why nothing can be confined to a folder.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Error)]
pub enum NotConfined {
    /// The folder does not open.
    #[error("{0}")]
    Folder(Errno),
    /// Names cannot be walked safely.
    #[error("the kernel lacks openat2, which Linux has since 5.6: nothing can be confined here")]
    OldKernel,
}

impl Confinement {
    /// To `folder`, wherever that leads now. It is held from here on, whatever becomes of its name.
    pub fn to(folder: &Path) -> Result<Confinement, NotConfined> {
        let failed = |error: std::io::Error| NotConfined::Folder(error.into());
        let name = std::path::absolute(folder).map_err(failed)?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = rustix::fs::open(folder, flags, Mode::empty()).map_err(|e| failed(e.into()))?;
        let confinement = Confinement { folder: Arc::new(folder), name };
        match confinement.walk(Path::new("."), OFlags::DIRECTORY) {
            Ok(_) => Ok(confinement),
            Err(OsErrno::NOSYS) => Err(NotConfined::OldKernel),
            Err(other) => Err(NotConfined::Folder(errno(other))),
        }
    }

    /// A hold on the file at `path`, if it lies inside. It cannot read or write; it is opened again by its number.
    pub fn admit(&self, path: &str) -> IoResult<OwnedFd> {
        self.hold(Path::new(path), OFlags::empty())
    }

    /// The place of a file that is yet to be made, inside.
    pub(crate) fn admit_new(&self, path: &str) -> IoResult<Place> {
        if path.ends_with('/') {
            return Err(Errno::EISDIR);
        }
        self.place(Path::new(path))
    }

    /// A hold on the file at `path`, which is made if there is none. A link that leads nowhere is not followed to make
    /// one there.
    pub(crate) fn admit_or_create(&self, path: &str) -> IoResult<OwnedFd> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NONBLOCK | OFlags::NOCTTY;
        for _ in 0..CREATES_MAX {
            match self.admit(path) {
                Err(Errno::ENOENT) => {}
                other => return other,
            }
            match self.admit_new(path)?.open(flags, Mode::from_raw_mode(0o644)) {
                // Another was quicker, or it is a link that leads nowhere.
                Err(OsErrno::EXIST) => {}
                other => return other.map_err(errno),
            }
        }
        Err(Errno::EEXIST)
    }

    /// The place that the command line names. The operator may put a file outside by naming a place outside; nobody
    /// else may, so a name that begins with the folder's does not leave it.
    pub fn place_of(&self, path: &Path) -> IoResult<Place> {
        if self.is_named_inside(path)? { self.place(path) } else { Ok(Place::at(path)?) }
    }

    /// A path to the file that the command line names, by the same rule, and what it goes through.
    pub fn file_of(&self, path: &Path) -> IoResult<(PathBuf, Option<OwnedFd>)> {
        if !self.is_named_inside(path)? {
            return Ok((path.to_owned(), None));
        }
        let hold = self.hold(path, OFlags::empty())?;
        Ok((by_number(&hold).into(), Some(hold)))
    }

    /// The one name, free of links, of the file at `path`, if there is one inside.
    pub fn canonical(&self, path: &str) -> Option<PathBuf> {
        name_of(&self.admit(path).ok()?).ok()
    }

    fn place(&self, path: &Path) -> IoResult<Place> {
        let (folder, name) = split(path)?;
        Ok(Place::inside(self.hold(folder, OFlags::DIRECTORY)?, name))
    }

    fn hold(&self, path: &Path, flags: OFlags) -> IoResult<OwnedFd> {
        let path = std::path::absolute(path).map_err(|_| Errno::ENOENT)?;
        let real = name_of(&self.folder)?;
        for folder in [&self.name, &real] {
            let Ok(rest) = path.strip_prefix(folder) else { continue };
            match self.walk(rest, flags) {
                // It leaves the folder on its way, and may come back by a link.
                Err(OsErrno::XDEV) => {}
                Err(OsErrno::LOOP | OsErrno::AGAIN) => return Err(Errno::EACCES),
                other => return other.map_err(errno),
            }
        }
        self.hold_from_outside(&path, &real, flags)
    }

    /// A name may lead in from outside. Where it leads only decides which name to walk inside; what a walk meets that
    /// the look did not is refused like everything else. Nothing is said about what is outside.
    fn hold_from_outside(&self, path: &Path, real: &Path, flags: OFlags) -> IoResult<OwnedFd> {
        match look(path, real) {
            Some(rest) => self.walk(&rest, flags).map_err(|_| Errno::EACCES),
            None if self.lacks(path, real) => Err(Errno::ENOENT),
            None => Err(Errno::EACCES),
        }
    }

    /// Whether the folder of this name lies inside and has no such entry, not even a link.
    fn lacks(&self, path: &Path, real: &Path) -> bool {
        let Ok((folder, name)) = split(path) else { return false };
        let folder = look(folder, real).and_then(|rest| self.walk(&rest, OFlags::DIRECTORY).ok());
        folder.is_some_and(|folder| Place::inside(folder, name).identity() == Err(OsErrno::NOENT))
    }

    /// Walks from the folder, and no step leaves it.
    fn walk(&self, rest: &Path, flags: OFlags) -> Result<OwnedFd, OsErrno> {
        let rest = if rest.as_os_str().is_empty() { Path::new(".") } else { rest };
        let flags = OFlags::PATH | OFlags::CLOEXEC | flags;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        let mut walked = Err(OsErrno::AGAIN);
        for _ in 0..WALKS_MAX {
            walked = rustix::fs::openat2(&*self.folder, rest, flags, Mode::empty(), resolve);
            if !matches!(walked, Err(OsErrno::AGAIN | OsErrno::INTR)) {
                break;
            }
        }
        walked
    }

    fn is_named_inside(&self, path: &Path) -> IoResult<bool> {
        let path = std::path::absolute(path)?;
        Ok(path.starts_with(&self.name) || path.starts_with(name_of(&self.folder)?))
    }
}

/// Where below the folder of that name this one leads now, if it does and no magic link of `/proc` is on the way.
fn look(path: &Path, real: &Path) -> Option<PathBuf> {
    let way = OFlags::PATH | OFlags::CLOEXEC;
    let there = rustix::fs::openat2(CWD, path, way, Mode::empty(), ResolveFlags::NO_MAGICLINKS).ok()?;
    name_of(&there).ok()?.strip_prefix(real).ok().map(Path::to_owned)
}

/// The name of what a descriptor holds, as this process would name it.
fn name_of(hold: &OwnedFd) -> IoResult<PathBuf> {
    Ok(std::fs::read_link(by_number(hold))?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::sync::atomic::{AtomicBool, Ordering};

    struct World(tempfile::TempDir);

    impl World {
        /// `in/a`, `in/sub/b`, `out/a` and `inside/a`, each holding its own name.
        fn new() -> World {
            let world = World(tempfile::tempdir().unwrap());
            for folder in ["in/sub", "out", "inside"] {
                fs::create_dir_all(world.at(folder)).unwrap();
            }
            for name in ["in/a", "in/sub/b", "out/a", "inside/a"] {
                fs::write(world.at(name), name).unwrap();
            }
            world
        }

        fn at(&self, name: &str) -> String {
            self.0.path().canonicalize().unwrap().join(name).to_str().unwrap().to_owned()
        }

        fn confinement(&self) -> Confinement {
            Confinement::to(Path::new(&self.at("in"))).unwrap()
        }
    }

    fn read(hold: &OwnedFd) -> String {
        fs::read_to_string(by_number(hold)).unwrap()
    }

    #[test]
    fn what_lies_inside_is_admitted_by_every_ordinary_name() {
        let world = World::new();
        symlink(world.at("in/a"), world.at("to-in")).unwrap();
        symlink(world.at("in/sub"), world.at("in/absolute")).unwrap();
        symlink("sub/../a", world.at("in/relative")).unwrap();
        symlink("sub", world.at("in/folder")).unwrap();
        let confinement = world.confinement();
        for (name, found) in [
            ("in/a", "in/a"),
            ("in/./sub//../a", "in/a"),
            ("to-in", "in/a"),
            ("inside/../in/a", "in/a"),
            ("in/../in/a", "in/a"),
            ("in/relative", "in/a"),
            ("in/folder/b", "in/sub/b"),
            ("in/folder/../a", "in/a"),
            ("in/absolute/b", "in/sub/b"),
            ("in/absolute/../a", "in/a"),
        ] {
            let hold = confinement.admit(&world.at(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
            assert_eq!(read(&hold), found, "{name}");
            assert_eq!(confinement.canonical(&world.at(name)), Some(world.at(found).into()), "{name}");
        }
        for name in ["in/none", "in/absolute/none", "in/folder/none", "inside/../in/none"] {
            assert_eq!(confinement.admit(&world.at(name)).err(), Some(Errno::ENOENT), "{name}");
        }
        let made = confinement.admit_or_create(&world.at("in/absolute/new")).unwrap();
        assert_eq!(name_of(&made), Ok(world.at("in/sub/new").into()));
        // A folder that is known by another name too.
        symlink(world.at("in"), world.at("alias")).unwrap();
        let confinement = Confinement::to(Path::new(&world.at("alias"))).unwrap();
        for name in ["alias/a", "in/a", "alias/sub/../a"] {
            assert_eq!(read(&confinement.admit(&world.at(name)).unwrap()), "in/a", "{name}");
        }
    }

    #[test]
    fn what_lies_outside_is_refused_by_every_name() {
        let world = World::new();
        symlink(world.at("out/a"), world.at("in/file")).unwrap();
        symlink(world.at("out"), world.at("in/absolute")).unwrap();
        symlink("../out", world.at("in/relative")).unwrap();
        symlink("sub/../../out/a", world.at("in/winding")).unwrap();
        symlink("/proc/self/root", world.at("in/magic")).unwrap();
        symlink("loop", world.at("in/loop")).unwrap();
        let outside = rustix::fs::open(world.at("out"), OFlags::PATH, Mode::empty()).unwrap();
        let number = by_number(&outside);
        let confinement = world.confinement();
        let names = [
            "out/a",
            "out/none",
            "inside/a",
            "in/file",
            "in/../out/a",
            "in/sub/../../out/a",
            "in/absolute/a",
            "in/relative/a",
            "in/relative/../out/a",
            "in/winding",
            "in/loop",
            "in",
        ];
        let mut names: Vec<String> = names.map(|name| world.at(name)).to_vec();
        // The folder itself lies inside, and is no file; it is the last.
        let folder = names.pop().unwrap();
        assert!(confinement.admit(&folder).is_ok());
        names.push(format!("{number}/a"));
        names.push(format!("{number}/../out/a"));
        for way in ["/proc/self/root", "/proc/thread-self/root", "/proc/1/root", &world.at("in/magic")] {
            names.push(format!("{way}{}", world.at("out/a")));
            // Not even to what is inside: in another process the same name is another file.
            names.push(format!("{way}{}", world.at("in/a")));
        }
        for name in &names {
            assert_eq!(confinement.admit(name).err(), Some(Errno::EACCES), "{name}");
            assert_eq!(confinement.canonical(name), None, "{name}");
        }
        for name in ["", "a\0b"] {
            assert!(confinement.admit(name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn nothing_is_made_outside() {
        let world = World::new();
        symlink("../out", world.at("in/folder")).unwrap();
        symlink("../out/new", world.at("in/dangling")).unwrap();
        symlink("sub/none", world.at("in/nowhere")).unwrap();
        let confinement = world.confinement();
        let made = confinement.admit_or_create(&world.at("in/sub/new")).unwrap();
        fs::write(by_number(&made), "new").unwrap();
        assert_eq!(fs::read_to_string(world.at("in/sub/new")).unwrap(), "new");
        // What is there is not made again, and keeps its bytes until it is locked.
        assert_eq!(read(&confinement.admit_or_create(&world.at("in/a")).unwrap()), "in/a");
        for (name, why) in [
            ("in/folder/new", Errno::EACCES),
            ("in/../out/new", Errno::EACCES),
            ("out/new", Errno::EACCES),
            ("in/dangling", Errno::EACCES),
            ("in/nowhere", Errno::EEXIST),
            ("in/..", Errno::EISDIR),
            ("in/sub/", Errno::EISDIR),
        ] {
            let refused = confinement.admit_new(&world.at(name)).err();
            let created = confinement.admit_or_create(&world.at(name)).err();
            if why == Errno::EISDIR {
                assert_eq!(refused, Some(why), "{name}");
            } else {
                assert_eq!(created, Some(why), "{name}");
            }
        }
        assert_eq!(fs::read_dir(world.at("out")).unwrap().count(), 1);
    }

    #[test]
    fn only_the_operator_names_places_outside() {
        let world = World::new();
        symlink("../out", world.at("in/folder")).unwrap();
        let confinement = world.confinement();
        let flags = OFlags::RDWR | OFlags::CREATE;
        for (name, made_at) in [("in/s", Some("in/s")), ("out/s", Some("out/s")), ("in/folder/t", None)] {
            let place = confinement.place_of(Path::new(&world.at(name)));
            assert_eq!(place.is_ok(), made_at.is_some(), "{name}");
            let Some(made_at) = made_at else { continue };
            place.unwrap().open(flags, Mode::RUSR | Mode::WUSR).unwrap();
            assert!(Path::new(&world.at(made_at)).exists(), "{name}");
        }
    }

    struct AtEnd<'a>(&'a AtomicBool);

    impl Drop for AtEnd<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    // The folder of the file is exchanged for a link that leads outside, between any two steps of an opening.
    #[test]
    fn an_exchanged_folder_never_leads_outside() {
        let world = World::new();
        fs::write(world.at("in/sub/a"), "in/sub/a").unwrap();
        symlink("../out", world.at("in/evil")).unwrap();
        let confinement = world.confinement();
        let over = AtomicBool::new(false);
        let (one, other) = (world.at("in/sub"), world.at("in/evil"));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    let flags = rustix::fs::RenameFlags::EXCHANGE;
                    rustix::fs::renameat_with(CWD, &*one, CWD, &*other, flags).unwrap();
                }
            });
            // However this ends, so does the other.
            let _end = AtEnd(&over);
            let (mut inside, mut refused) = (0, 0);
            for round in 0..3000 {
                match confinement.admit(&world.at("in/sub/a")) {
                    Ok(hold) => {
                        assert_eq!(read(&hold), "in/sub/a");
                        inside += 1;
                    }
                    Err(errno) => {
                        assert_eq!(errno, Errno::EACCES);
                        refused += 1;
                    }
                }
                let _made = confinement.admit_or_create(&world.at(&format!("in/sub/new{}", round % 7)));
                if let Ok(place) = confinement.admit_new(&world.at("in/sub/s")) {
                    let _listening = crate::os::socket::listen_at(place);
                }
                if inside > 100 && refused > 100 {
                    break;
                }
            }
            assert!(inside > 0, "the folder was never in its place");
        });
        assert_eq!(fs::read_dir(world.at("out")).unwrap().count(), 1, "something was made outside");
    }
}
