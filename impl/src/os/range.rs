//! Ranges of a file: data, zeroes and holes, in the ways that its file system knows.

use rustix::fs::{self, FallocateFlags, FileType, SeekFrom};
use rustix::io;
use seam::DiskRun;
use std::os::fd::OwnedFd;

pub(super) fn len_bytes(descriptor: &OwnedFd) -> io::Result<u64> {
    let stat = fs::fstat(descriptor)?;
    match FileType::from_raw_mode(stat.st_mode) {
        // Nobody else uses the position: all I/O names its own.
        FileType::BlockDevice => fs::seek(descriptor, SeekFrom::End(0)),
        _ => Ok(stat.st_size.try_into().expect("no file has a negative length")),
    }
}

/// A file system that does not say has data everywhere, as has whatever lies behind the end.
pub(super) fn next_run(descriptor: &OwnedFd, offset: u64, len: u64) -> DiskRun {
    // Nobody else uses the position: all I/O names its own.
    let until =
        |found: io::Result<u64>| found.ok().filter(|at| *at > offset).map(|at| (at - offset).min(len));
    match fs::seek(descriptor, SeekFrom::Data(offset)) {
        Ok(at) if at > offset => DiskRun { len: (at - offset).min(len), has_data: false },
        Ok(_) => {
            let len = until(fs::seek(descriptor, SeekFrom::Hole(offset))).unwrap_or(len);
            DiskRun { len, has_data: true }
        }
        // No data from here to the end.
        Err(io::Errno::NXIO) if len_bytes(descriptor).is_ok_and(|end| offset < end) => {
            DiskRun { len, has_data: false }
        }
        Err(_) => DiskRun { len, has_data: true },
    }
}

pub(super) fn write_all(descriptor: &OwnedFd, mut offset: u64, mut data: &[u8]) -> io::Result<()> {
    while !data.is_empty() {
        let written = io::retry_on_intr(|| io::pwrite(descriptor, data, offset))?;
        if written == 0 {
            return Err(io::Errno::IO);
        }
        data = &data[written..];
        offset += written as u64;
    }
    Ok(())
}

/// Ways to make bytes of a file zeroes, best first: they stay allocated, or the file gets a hole.
pub(super) static KEPT: [FallocateFlags; 2] = [FallocateFlags::ZERO_RANGE, FallocateFlags::PUNCH_HOLE];
pub(super) static GIVEN_BACK: [FallocateFlags; 2] = [FallocateFlags::PUNCH_HOLE, FallocateFlags::ZERO_RANGE];

pub(super) fn write_zeroes(
    descriptor: &OwnedFd,
    offset: u64,
    len: u64,
    ways: &[FallocateFlags],
) -> io::Result<()> {
    let end = offset.checked_add(len).ok_or(io::Errno::FBIG)?;
    let within = len_bytes(descriptor)?.clamp(offset, end) - offset;
    if within > 0 {
        zero_existing(descriptor, offset, within, ways)?;
    }
    if within < len {
        // One byte at the end grows the file with a hole. Unlike ftruncate it can never cut off what
        // somebody else appends at this moment.
        write_all(descriptor, end - 1, &[0])?;
    }
    Ok(())
}

/// Zeroes a range that does not pass the end: in the first way the file system knows, else by writing.
fn zero_existing(descriptor: &OwnedFd, offset: u64, len: u64, ways: &[FallocateFlags]) -> io::Result<()> {
    for way in ways {
        match allocate(descriptor, *way, offset, len) {
            Err(e) if is_unsupported(e) => {}
            other => return other,
        }
    }
    const PIECE: u64 = 1 << 20;
    let zeroes = vec![0; len.min(PIECE) as usize];
    let mut done = 0;
    while done < len {
        let piece = (len - done).min(PIECE);
        write_all(descriptor, offset + done, &zeroes[..piece as usize])?;
        done += piece;
    }
    Ok(())
}

/// Gives the space of a range back. That is a wish: where it cannot be granted, nothing happens.
pub(super) fn discard(descriptor: &OwnedFd, offset: u64, len: u64) -> io::Result<()> {
    match allocate(descriptor, FallocateFlags::PUNCH_HOLE, offset, len) {
        Err(e) if is_unsupported(e) => Ok(()),
        other => other,
    }
}

fn allocate(descriptor: &OwnedFd, way: FallocateFlags, offset: u64, len: u64) -> io::Result<()> {
    let flags = way | FallocateFlags::KEEP_SIZE;
    io::retry_on_intr(|| fs::fallocate(descriptor, flags, offset, len))
}

fn is_unsupported(error: io::Errno) -> bool {
    matches!(error, io::Errno::OPNOTSUPP | io::Errno::NOSYS | io::Errno::NODEV)
}

#[cfg(test)]
mod tests {
    use crate::os::disk::tests::with_disk;
    use seam::{Errno, OpenMode};

    #[test]
    fn zeroes_grow_the_file_and_leave_the_rest_alone() {
        with_disk(b"abcdef", OpenMode::ReadWrite, async |disk| {
            disk.write_zeroes(2, 2).await.unwrap();
            assert_eq!(disk.len_bytes(), Ok(6));
            disk.write_zeroes(5, 10).await.unwrap();
            assert_eq!(disk.len_bytes(), Ok(15));
            assert_eq!(disk.read(0, vec![7; 15]).await, Ok(b"ab\0\0e\0\0\0\0\0\0\0\0\0\0".to_vec()));
            assert_eq!(disk.write_zeroes(u64::MAX, 2).await, Err(Errno::EFBIG));
        });
    }
}
