//! I/O that goes around the kernel's page cache (`cache.direct`).
//!
//! The kernel takes such requests only in whole blocks and from aligned memory. Requests in whole pages go this way;
//! all others go through the cache. A page is never touched both ways by requests that do not overlap, so the kernel
//! keeps the two in step.

use rustix::fd::OwnedFd;
use rustix::io;
use std::ops::Range;

/// A page, and a multiple of every usual device's block.
const PAGE: usize = 4096;

/// Whether a request covers whole pages only.
pub(super) fn is_whole(offset: u64, len: usize) -> bool {
    len > 0 && len.is_multiple_of(PAGE) && offset.is_multiple_of(PAGE as u64)
}

/// Fills `buffer` as far as the file goes, and answers how far that is.
pub(super) fn read(descriptor: &OwnedFd, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
    let (mut memory, place) = aligned(buffer.len());
    let aligned = &mut memory[place];
    let mut filled = 0;
    while filled < aligned.len() {
        let n = io::retry_on_intr(|| io::pread(descriptor, &mut aligned[filled..], offset + filled as u64))?;
        filled += n;
        // In the middle of a page a file can only end.
        if n == 0 || !filled.is_multiple_of(PAGE) {
            break;
        }
    }
    buffer[..filled].copy_from_slice(&aligned[..filled]);
    Ok(filled)
}

/// Writes all of `data`, as far as it goes in whole pages, and answers how far that is.
pub(super) fn write(descriptor: &OwnedFd, offset: u64, data: &[u8]) -> io::Result<usize> {
    let (mut memory, place) = aligned(data.len());
    let aligned = &mut memory[place];
    aligned.copy_from_slice(data);
    let mut written = 0;
    while written < aligned.len() {
        let n = io::retry_on_intr(|| io::pwrite(descriptor, &aligned[written..], offset + written as u64))?;
        // What is torn within a page is written again, through the cache.
        written += n / PAGE * PAGE;
        if n < PAGE {
            break;
        }
    }
    Ok(written)
}

/// Memory in which so many bytes lie aligned, and where.
fn aligned(len: usize) -> (Vec<u8>, Range<usize>) {
    let memory = vec![0; len + PAGE];
    let start = memory.as_ptr().align_offset(PAGE);
    assert!(start < PAGE, "a page begins within every {PAGE} bytes, not after {start}");
    (memory, start..start + len)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_pages_are_whole() {
        assert!(is_whole(0, 4096) && is_whole(8192, 8192));
        assert!(!is_whole(512, 4096) && !is_whole(0, 512) && !is_whole(4096, 0));
    }

    #[test]
    fn memory_is_aligned() {
        for len in [4096, 12288] {
            let (memory, place) = aligned(len);
            assert_eq!(place.len(), len);
            assert_eq!(memory[place].as_ptr() as usize % PAGE, 0);
        }
    }
}
