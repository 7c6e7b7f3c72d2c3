//! Persistent bitmaps: read when the image is opened, written when it is closed.
//!
//! While an image is open for writing its bitmaps say so on the disk, from before the first change on; after a stop
//! in between nobody takes them for true. At the end bits and tables are written to places of their own, then a new
//! directory, and one write of the header's sector turns to it:
//!
//! ```text
//! data, metadata ─▷ bits, tables, directory, refcounts ─▷ header ─▷ old places are freed
//! ```

use super::Qcow2;
use super::bitmap_bits::{Bits, bits_of};
use super::bitmap_directory::{
    Entry, GRANULARITY_BITS, MAX_BITMAPS, MAX_NAME, Place, encode, place, table_entries,
};
use super::discard::Why;
use super::entry::HOST_OFFSET;
use super::geometry::SECTOR;
use super::header::{AUTOCLEAR_BITMAPS, EXTENSION_BITMAPS, Header};
use crate::budget::OverBudget;
use crate::sync::range_lock::Mode;
use seam::{Errno, IoResult};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use thiserror::Error;

/// In a table entry without an offset: all bits of that cluster are set.
const ALL_ONES: u64 = 1;
/// A table entry must not have other bits.
const TABLE_RESERVED: u64 = !(HOST_OFFSET | ALL_ONES);

/// A bitmap as an image keeps it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoredBitmap {
    /// Its name.
    pub name: Arc<str>,
    /// How many bytes one bit stands for.
    pub granularity: u32,
    /// Whether it records writes.
    pub is_recording: bool,
    /// Whether it was not stored after it was last changed: nobody knows what is dirty.
    pub is_inconsistent: bool,
    /// Dirty granules: begin and end of each range, in order.
    pub dirty: Vec<Range<u64>>,
}

/// What a query says of a bitmap on the disk.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BitmapOnDisk {
    /// Its name.
    pub name: Arc<str>,
    /// How many bytes one bit stands for.
    pub granularity: u32,
    /// Whether it waits to be stored.
    pub is_in_use: bool,
    /// Whether it records writes as soon as the image is opened.
    pub is_auto: bool,
}

/// Why a bitmap was not read.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum BitmapsUnread {
    /// The disk failed, or a table leads to nowhere.
    #[error("Could not load bitmaps: {0}")]
    Disk(Errno),
    /// There is no memory for it.
    #[error(transparent)]
    OverBudget(#[from] OverBudget),
}

impl From<Errno> for BitmapsUnread {
    fn from(errno: Errno) -> Self {
        BitmapsUnread::Disk(errno)
    }
}

/// How many clusters of bits a file can still have.
#[derive(Debug)]
pub(crate) struct ClustersLeft(u64);

/// Why an image does not take another bitmap, in QEMU's words.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Error)]
pub enum NotStorable {
    /// Version 2 has no feature bits.
    #[error("Cannot store dirty bitmaps in qcow2 v2 files")]
    Version2,
    /// Over 1023 bytes.
    #[error("Name length exceeds maximum (1023 characters)")]
    NameTooLong,
    /// Too many bits.
    #[error("Too much space will be occupied by the bitmap. Use larger granularity")]
    TooLarge,
    /// 65535 are there.
    #[error("Maximum number of persistent bitmaps is already reached")]
    TooMany,
}

impl Qcow2 {
    /// Refuses a bitmap that could not be stored beside `others`.
    pub(crate) fn admit_bitmap(
        &self,
        name: &str,
        granularity: u32,
        others: usize,
    ) -> Result<(), NotStorable> {
        let bits = granularity.trailing_zeros() as u8;
        assert!(GRANULARITY_BITS.contains(&bits), "a granularity of {granularity}");
        match () {
            () if self.version() < 3 => Err(NotStorable::Version2),
            () if name.len() > MAX_NAME => Err(NotStorable::NameTooLong),
            () if table_entries(self.len_bytes(), bits, self.geometry).is_none() => {
                Err(NotStorable::TooLarge)
            }
            () if others >= MAX_BITMAPS => Err(NotStorable::TooMany),
            () => Ok(()),
        }
    }

    /// The bitmaps on the disk, in the order of the file.
    pub(crate) fn list_bitmaps(&self) -> Vec<BitmapOnDisk> {
        let on_disk = |entry: &Entry| BitmapOnDisk {
            name: entry.name.clone(),
            granularity: 1 << entry.granularity_bits,
            is_in_use: entry.is_in_use,
            is_auto: entry.is_auto,
        };
        self.metadata.lock().bitmaps.iter().map(on_disk).collect()
    }

    /// Whether the image has bitmaps that somebody left behind who does not know them, and wrote to it.
    pub(crate) fn has_outdated_bitmaps(&self) -> bool {
        let metadata = self.metadata.lock();
        let header = &metadata.header;
        header.extension(EXTENSION_BITMAPS).is_some() && header.autoclear & AUTOCLEAR_BITMAPS == 0
    }

    /// Reads every bitmap. EIO if a table leads to nowhere.
    pub async fn load_bitmaps(&self) -> Result<Vec<StoredBitmap>, BitmapsUnread> {
        let mut left = self.clusters_of_bits();
        let mut bitmaps = Vec::new();
        while let Some(bitmap) = self.load_bitmap(bitmaps.len(), &mut left).await? {
            bitmaps.push(bitmap);
        }
        Ok(bitmaps)
    }

    /// A file has no more clusters of bits than clusters, whatever its tables say: what all of its bitmaps may read.
    pub(crate) fn clusters_of_bits(&self) -> ClustersLeft {
        ClustersLeft(self.geometry.clusters_for(self.metadata.lock().file_end))
    }

    /// Reads one bitmap by its number in the directory; nothing: there are no more.
    pub(crate) async fn load_bitmap(
        &self,
        index: usize,
        left: &mut ClustersLeft,
    ) -> Result<Option<StoredBitmap>, BitmapsUnread> {
        let (entry, file_end) = {
            let metadata = self.metadata.lock();
            (metadata.bitmaps.get(index).cloned(), metadata.file_end)
        };
        let Some(entry) = entry else { return Ok(None) };
        let dirty = match entry.is_in_use {
            true => Vec::new(),
            false => self.load_bits(&entry, file_end, left).await?,
        };
        Ok(Some(StoredBitmap {
            name: entry.name,
            granularity: 1 << entry.granularity_bits,
            is_recording: entry.is_auto && !entry.is_in_use,
            is_inconsistent: entry.is_in_use,
            dirty,
        }))
    }

    async fn load_bits(
        &self,
        entry: &Entry,
        file_end: u64,
        left: &mut ClustersLeft,
    ) -> Result<Vec<Range<u64>>, BitmapsUnread> {
        let mut bits = Bits::default();
        let per_cluster = self.geometry.cluster_bytes() * 8;
        let mut breath = self.allowance.breath();
        // Once as it lies on the disk, and decoded.
        let table_bytes = 2 * 8 * u64::from(entry.table_entries);
        let _while_read =
            self.allowance.budget.take(table_bytes, || format!("The table of bitmap '{}'", entry.name))?;
        for (n, raw) in self.load_table(entry, file_end).await?.into_iter().enumerate() {
            breath.after(1).await?;
            let first = n as u64 * per_cluster;
            match raw & HOST_OFFSET {
                _ if raw & TABLE_RESERVED != 0 => return Err(Errno::EIO.into()),
                0 if raw & ALL_ONES != 0 => bits.add(first..first + per_cluster, first + per_cluster),
                0 => {}
                host if raw & ALL_ONES != 0 || !self.geometry.is_aligned(host) || host >= file_end => {
                    return Err(Errno::EIO.into());
                }
                host => {
                    left.0 = left.0.checked_sub(1).ok_or(Errno::EIO)?;
                    breath.after(self.geometry.cluster_bytes()).await?;
                    let bytes = self.disk.read(host, vec![0; self.geometry.cluster_bytes() as usize]).await?;
                    bits.add_bytes(first, &bytes);
                }
            }
        }
        let granules = self.len_bytes().div_ceil(1 << entry.granularity_bits);
        Ok(bits.cut(granules))
    }

    async fn load_table(&self, entry: &Entry, file_end: u64) -> IoResult<Vec<u64>> {
        let len = u64::from(entry.table_entries) * 8;
        let end = entry.table_offset.checked_add(len).ok_or(Errno::EIO)?;
        if end > file_end.next_multiple_of(self.geometry.cluster_bytes()) {
            return Err(Errno::EIO);
        }
        let bytes = self.disk.read(entry.table_offset, vec![0; len as usize]).await?;
        Ok(bytes.chunks_exact(8).map(|c| u64::from_be_bytes(c.try_into().expect("eight"))).collect())
    }

    /// Says on the disk, durably, that what it has of the bitmaps is true no longer.
    pub(crate) async fn mark_bitmaps_in_use(&self) -> IoResult<()> {
        if !self.metadata.lock().has_bitmaps_at_rest() {
            return Ok(());
        }
        let _turn = self.flushing.acquire(0, 1, Mode::Exclusive).await;
        let (entries, directory) = {
            let metadata = self.metadata.lock();
            if !metadata.has_bitmaps_at_rest() {
                return Ok(());
            }
            let marked = |entry: &Entry| Entry { is_in_use: true, ..entry.clone() };
            let entries: Vec<Entry> = metadata.bitmaps.iter().map(marked).collect();
            (entries, place(&metadata.header, u64::MAX).expect("it was read when the image was opened"))
        };
        let directory = directory.expect("bitmaps are in a directory");
        let bytes = encode(&entries);
        // A directory has its length in the header, and flags have their places: only they change.
        assert_eq!(
            bytes.len() as u64,
            directory.len,
            "a directory that was read is written as long as it was"
        );
        self.write_at(directory.offset, bytes).await?;
        self.flush_disk().await?;
        self.metadata.lock().bitmaps = entries;
        Ok(())
    }

    /// Hands over what is to be stored when the image is closed. What the image has beside these stays as it is.
    pub fn hand_over_bitmaps(&self, bitmaps: Vec<StoredBitmap>) {
        self.metadata.lock().handed_over = bitmaps;
    }

    /// Stores what was handed over, durably, after all that is dirty.
    pub async fn store_bitmaps(&self) -> IoResult<()> {
        let bitmaps = std::mem::take(&mut self.metadata.lock().handed_over);
        if bitmaps.is_empty() || !self.metadata.lock().writable {
            return Ok(());
        }
        // What the bits are about is durable before they say so.
        self.flush().await?;
        let _turn = self.flushing.acquire(0, 1, Mode::Exclusive).await;
        let mut taken = Vec::new();
        let stored = self.store_in_turn(&bitmaps, &mut taken).await;
        self.unless_done(stored, taken).await
    }

    /// Gives clusters back if nothing came to lead to them.
    async fn unless_done(&self, done: IoResult<()>, taken: Vec<Range<u64>>) -> IoResult<()> {
        for clusters in taken.into_iter().filter(|_| done.is_err()) {
            // One that cannot be given back leaks.
            let _leaks = self.step(|m| m.give_back(clusters.clone())).await;
        }
        done
    }

    async fn store_in_turn(&self, bitmaps: &[StoredBitmap], taken: &mut Vec<Range<u64>>) -> IoResult<()> {
        let mut entries = self.metadata.lock().bitmaps.clone();
        let places: BTreeMap<Arc<str>, usize> =
            entries.iter().enumerate().map(|(at, entry)| (Arc::clone(&entry.name), at)).collect();
        let mut old = Vec::new();
        for bitmap in bitmaps {
            let entry = self.write_bitmap(bitmap, taken).await?;
            match places.get(&bitmap.name) {
                Some(at) => old.push(std::mem::replace(&mut entries[*at], entry)),
                None => entries.push(entry),
            }
        }
        self.replace_directory(entries, taken).await?;
        self.free_bitmaps(&old).await;
        Ok(())
    }

    /// Takes a bitmap off the disk, durably, if it is there.
    pub async fn remove_bitmap(&self, name: &str) -> IoResult<()> {
        self.assert_writable();
        let _turn = self.flushing.acquire(0, 1, Mode::Exclusive).await;
        let mut entries = self.metadata.lock().bitmaps.clone();
        let Some(index) = entries.iter().position(|entry| *entry.name == *name) else { return Ok(()) };
        let gone = entries.remove(index);
        let mut taken = Vec::new();
        let replaced = self.replace_directory(entries, &mut taken).await;
        self.unless_done(replaced, taken).await?;
        self.free_bitmaps(&[gone]).await;
        self.flush_in_turn().await
    }

    /// Writes bits and table at new places.
    async fn write_bitmap(&self, bitmap: &StoredBitmap, taken: &mut Vec<Range<u64>>) -> IoResult<Entry> {
        let granularity_bits = bitmap.granularity.trailing_zeros() as u8;
        let entries = table_entries(self.len_bytes(), granularity_bits, self.geometry).ok_or(Errno::EFBIG)?;
        let mut table = vec![0; entries as usize];
        let per_cluster = self.geometry.cluster_bytes() * 8;
        for range in &bitmap.dirty {
            for n in range.start / per_cluster..range.end.div_ceil(per_cluster).min(entries.into()) {
                if table[n as usize] == 0 {
                    let bytes = bits_of(&bitmap.dirty, n * per_cluster, self.geometry.cluster_bytes());
                    table[n as usize] = self.put(bytes, taken).await?;
                }
            }
        }
        let table: Vec<u8> = table.iter().flat_map(|raw: &u64| raw.to_be_bytes()).collect();
        Ok(Entry {
            // An image of no length has a table of no entries, which no entry may have.
            table_entries: entries.max(1),
            table_offset: self.put(if table.is_empty() { vec![0; 8] } else { table }, taken).await?,
            is_in_use: false,
            is_auto: bitmap.is_recording,
            granularity_bits,
            name: bitmap.name.clone(),
        })
    }

    /// Turns the header to a new directory, durably, for a caller that holds `flushing`; the old one is freed. If that fails,
    /// what was taken can be given back only once the header durably leads to the old one again.
    async fn replace_directory(&self, entries: Vec<Entry>, taken: &mut Vec<Range<u64>>) -> IoResult<()> {
        let bytes = encode(&entries);
        let len = bytes.len() as u64;
        let new = match entries.len() as u32 {
            0 => None,
            count => Some(Place { count, len, offset: self.put(bytes, taken).await? }),
        };
        // Everything is there and counted before the header leads there.
        self.flush_in_turn().await?;
        let before = self.metadata.lock().header.clone();
        let old = place(&before, u64::MAX).expect("it was read when the image was opened");
        let mut header = before.clone();
        header.set_bitmaps(new);
        let led_to = std::mem::take(taken);
        let turned = self.write_header_durably(&header).await;
        if turned.is_err() {
            // Nobody knows what the disk has now; it must not say that bitmaps are true while the image is written.
            if self.write_header_durably(&before).await.is_ok() {
                *taken = led_to;
            }
            return turned;
        }
        let mut metadata = self.metadata.lock();
        metadata.bitmaps = entries;
        if let Some(old) = old {
            metadata.free_later(old.offset, old.len, Why::Other);
        }
        Ok(())
    }

    async fn write_header_durably(&self, header: &Header) -> IoResult<()> {
        self.write_header(header).await?;
        self.flush_disk().await
    }

    /// Frees tables and bits that no directory leads to any more.
    async fn free_bitmaps(&self, gone: &[Entry]) {
        let file_end = self.metadata.lock().file_end;
        for entry in gone {
            // A table that cannot be read leaks what it leads to.
            let table = self.load_table(entry, file_end).await.unwrap_or_default();
            let mut metadata = self.metadata.lock();
            metadata.free_later(entry.table_offset, u64::from(entry.table_entries) * 8, Why::Other);
            for raw in table.iter().filter(|raw| **raw & TABLE_RESERVED == 0 && **raw & HOST_OFFSET != 0) {
                metadata.free_later(raw & HOST_OFFSET, self.geometry.cluster_bytes(), Why::Dropped);
            }
        }
    }

    /// Writes bytes to clusters of their own, which are noted in `taken`.
    pub(super) async fn put(&self, bytes: Vec<u8>, taken: &mut Vec<Range<u64>>) -> IoResult<u64> {
        let clusters = self.geometry.clusters_for(bytes.len() as u64);
        let place = self.step(|m| m.allocate_whole(clusters)).await?;
        taken.push(place.clone());
        let at = self.geometry.offset_of(place.start);
        self.write_at(at, bytes).await.map(|()| at)
    }

    async fn write_at(&self, at: u64, mut bytes: Vec<u8>) -> IoResult<()> {
        bytes.resize(bytes.len().next_multiple_of(SECTOR as usize), 0);
        let end = at + bytes.len() as u64;
        let written = self.disk.write(at, bytes).await;
        self.metadata.lock().wrote_up_to(end);
        written
    }
}
