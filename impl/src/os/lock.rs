//! Locks on image files, byte for byte as QEMU takes them, so that we and it refuse each other.
//!
//! Who may do something with a file holds a byte for it; who does not let others do something holds another byte for
//! that. All of them are shared locks: they only announce. Nobody waits: first one announces, then one looks at what
//! others announced, so of two that come at once at least one is refused.

use nix::errno::Errno as OsErrno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use seam::{Errno, IoResult};
use std::os::fd::OwnedFd;

/// The byte of the first permission, taken by who has it.
const TAKEN_AT: libc::off_t = 100;
/// The byte of the first permission, taken by who does not share it.
const UNSHARED_AT: libc::off_t = 200;

// QEMU's numbers of the permissions.
const CONSISTENT_READ: libc::off_t = 0;
const WRITE: libc::off_t = 1;
const RESIZE: libc::off_t = 3;

/// What a reader has, and what a writer has.
const READS: &[libc::off_t] = &[CONSISTENT_READ];
const WRITES: &[libc::off_t] = &[CONSISTENT_READ, WRITE, RESIZE];
/// What neither lets others do: both keep tables in memory.
const UNSHARED: &[libc::off_t] = &[WRITE, RESIZE];

/// Locks a file for a writer or for one of several readers. Held until the descriptor is closed or unlocked.
pub(super) fn lock(descriptor: &OwnedFd, writable: bool) -> IoResult<()> {
    let taken = if writable { WRITES } else { READS };
    let admitted = announce(descriptor, taken).and_then(|()| look(descriptor, taken));
    match admitted {
        // A file system without locks.
        Err(OsErrno::ENOLCK | OsErrno::EINVAL | OsErrno::ENOSYS | OsErrno::EOPNOTSUPP) => Ok(()),
        Err(errno) => {
            unlock(descriptor);
            Err(Errno(errno as i32))
        }
        Ok(()) => Ok(()),
    }
}

/// Releases everything the descriptor holds.
pub(super) fn unlock(descriptor: &OwnedFd) {
    // Fails only where locking did.
    let _none_held = set(descriptor, libc::F_UNLCK, 0, 0);
}

fn announce(descriptor: &OwnedFd, taken: &[libc::off_t]) -> nix::Result<()> {
    for permission in taken {
        set(descriptor, libc::F_RDLCK, TAKEN_AT + permission, 1)?;
    }
    for permission in UNSHARED {
        set(descriptor, libc::F_RDLCK, UNSHARED_AT + permission, 1)?;
    }
    Ok(())
}

/// Whether somebody else does not share what we take, or takes what we do not share.
fn look(descriptor: &OwnedFd, taken: &[libc::off_t]) -> nix::Result<()> {
    let unshared = taken.iter().map(|permission| UNSHARED_AT + permission);
    let others = UNSHARED.iter().map(|permission| TAKEN_AT + permission);
    for byte in unshared.chain(others) {
        if is_held(descriptor, byte)? {
            return Err(OsErrno::EAGAIN);
        }
    }
    Ok(())
}

/// A length of 0 is everything from `start` on.
fn range(kind: libc::c_int, start: libc::off_t, len: libc::off_t) -> libc::flock {
    let narrow =
        |number: libc::c_int| libc::c_short::try_from(number).expect("the numbers of locks are small");
    libc::flock {
        l_type: narrow(kind),
        l_whence: narrow(libc::SEEK_SET),
        l_start: start,
        l_len: len,
        l_pid: 0,
    }
}

fn set(descriptor: &OwnedFd, kind: libc::c_int, start: libc::off_t, len: libc::off_t) -> nix::Result<()> {
    fcntl(descriptor, FcntlArg::F_OFD_SETLK(&range(kind, start, len))).map(|_nothing| ())
}

/// Whether another holds this byte: then an exclusive lock could not be had.
fn is_held(descriptor: &OwnedFd, byte: libc::off_t) -> nix::Result<bool> {
    let mut asked = range(libc::F_WRLCK, byte, 1);
    fcntl(descriptor, FcntlArg::F_OFD_GETLK(&mut asked))?;
    Ok(libc::c_int::from(asked.l_type) != libc::F_UNLCK)
}
