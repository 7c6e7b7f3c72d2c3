//! Counting every reference to every cluster of a file, for the checker.
//!
//! Tables that several entries lead to are read once and counted as often as they are led to, so that a hostile image
//! costs no more time than its size.

use super::bitmap_directory::{self, decode};
use super::check::{CheckReport, Image, TABLE_RESERVED};
use super::counter;
use super::entry::{COPIED, HOST_OFFSET, L1_RESERVED, L2_RESERVED, L2At, Mapping, RawEntry, decode_l2};
use super::geometry::MAX_L1_BYTES;
use super::header::{be32, be64};
use super::open_error::OpenCause;
use crate::budget::{Allowance, Breath, OverBudget, Share};

/// Largest snapshot table and bitmap directory, as QEMU limits them.
const MAX_DIRECTORY: u64 = 64 << 20;
/// Largest bitmap table, in entries.
const MAX_BITMAP_TABLE: u64 = 0x800_0000;

/// How often each cluster is referred to.
#[derive(Debug)]
pub(super) struct References {
    counts: Vec<u32>,
    /// The L2 tables the active L1 table leads to.
    active: Tables,
    /// L2 tables still to be counted.
    pending: Tables,
    /// Table entries that may still be read: a hostile image has no more tables than bytes.
    budget: u64,
    /// The memory of all this.
    share: Share,
    breath: Breath,
}

/// L2 tables, each with its COPIED flag, and how often each is led to.
#[derive(Debug, Default)]
struct Tables {
    /// Pointers and how often they were found; some may stand here twice, until `tidy`.
    found: Vec<(u64, u64)>,
    /// How many there were after the last `tidy`.
    tidied: usize,
}

impl Tables {
    /// Memory of one, while it is found and put in order.
    const BYTES: u64 = 32;

    fn add(&mut self, pointer: u64, share: &mut Share) -> Result<(), OverBudget> {
        // Many snapshots lead to the same tables; what stands here stays in proportion to those there are.
        if self.found.len() >= 2 * self.tidied + 4096 {
            self.tidy();
        }
        if self.found.len() == self.found.capacity() {
            let more = self.found.capacity().max(4096);
            share.grow(more as u64 * Self::BYTES, || "The repair of an image".to_owned())?;
            self.found.reserve_exact(more);
        }
        self.found.push((pointer, 1));
        Ok(())
    }

    fn tidy(&mut self) {
        self.found.sort_unstable();
        self.found.dedup_by(|next, kept| {
            let is_same = next.0 == kept.0;
            kept.1 += if is_same { next.1 } else { 0 };
            is_same
        });
        self.tidied = self.found.len();
    }
}

impl References {
    /// How often each cluster of the file is referred to.
    pub(super) fn counts(&self) -> &[u32] {
        &self.counts
    }

    /// The L2 tables of the active L1 table, and how often each is led to.
    pub(super) fn active_tables(&self) -> impl Iterator<Item = (L2At, u64)> + '_ {
        at(self.active.found.iter().copied())
    }

    /// Counts everything.
    pub(super) async fn count(
        image: &mut Image<'_>,
        report: &mut CheckReport,
    ) -> Result<References, OpenCause> {
        let mut references = Self::count_but_refcounts(image, report, &Allowance::default()).await?;
        references.add_refcounts(image, report);
        Ok(references)
    }

    /// Counts everything but the refcount table and its blocks.
    pub(super) async fn count_but_refcounts(
        image: &mut Image<'_>,
        report: &mut CheckReport,
        allowance: &Allowance,
    ) -> Result<References, OpenCause> {
        let clusters = image.geometry.clusters_for(image.file_len);
        let what = || "The repair of an image".to_owned();
        // Counters, and the table that they become.
        let share = allowance.budget.take(clusters.saturating_mul(8), what)?;
        let mut references = References {
            counts: vec![0; clusters as usize],
            active: Tables::default(),
            pending: Tables::default(),
            budget: image.file_len.saturating_add(1 << 20),
            share,
            breath: allowance.breath(),
        };
        references.add(image, 0, image.geometry.cluster_bytes(), 1, report);
        let (l1, entries) = (image.header.l1_offset, u64::from(image.header.l1_entries));
        references.add_l1(image, l1, entries, true, report).await?;
        references.add_snapshots(image, report).await?;
        references.add_l2_tables(image, report).await?;
        references.add_bitmaps(image, report).await?;
        Ok(references)
    }

    async fn spend(&mut self, image: &Image<'_>, entries: u64) -> Result<(), OpenCause> {
        self.budget = self.budget.checked_sub(entries).ok_or(OpenCause::TooLargeToCheck(image.file_len))?;
        self.breath.after(entries).await.map_err(|errno| OpenCause::Unreadable { what: "metadata", errno })
    }

    /// Counts `times` references to every cluster that `len` bytes at `offset` touch.
    fn add(&mut self, image: &Image<'_>, offset: u64, len: u64, times: u64, report: &mut CheckReport) {
        if len == 0 {
            return;
        }
        let geometry = image.geometry;
        // The last cluster of a file may be cut short, so less than a cluster past the end is fine.
        if offset.saturating_add(len) >= image.file_len + geometry.cluster_bytes() {
            report.corrupt(times, || format!("a reference to {offset:#x}, {len} bytes, is past the end"));
            return;
        }
        let touched = geometry.touched(offset, len);
        if self.counts.len() < touched.end as usize {
            self.counts.resize(touched.end as usize, 0);
        }
        let max = counter::max(geometry.refcount_order).min(u32::MAX.into());
        for cluster in touched {
            let count = &mut self.counts[cluster as usize];
            let sum = u64::from(*count) + times;
            if sum > max {
                report.corrupt(sum - max, || format!("cluster {cluster}: more references than {max}"));
            }
            *count = sum.min(max) as u32;
        }
    }

    /// Counts an L1 table and notes the L2 tables it leads to.
    async fn add_l1(
        &mut self,
        image: &Image<'_>,
        offset: u64,
        entries: u64,
        active: bool,
        report: &mut CheckReport,
    ) -> Result<(), OpenCause> {
        self.spend(image, entries).await?;
        self.add(image, offset, entries * 8, 1, report);
        // As it lies on the disk, and decoded.
        let what = || "The repair of an image".to_owned();
        let _while_read = self.share.budget().take(2 * 8 * entries, what)?;
        for raw in image.pointers(offset, entries).await? {
            if raw == 0 {
                continue;
            }
            if raw & L1_RESERVED != 0 {
                report.corrupt(1, || format!("L1 entry {raw:#x} has reserved bits set"));
            }
            let host = raw & HOST_OFFSET;
            self.add(image, host, image.geometry.cluster_bytes(), 1, report);
            if active && host != 0 {
                self.active.add(raw & (HOST_OFFSET | COPIED), &mut self.share)?;
            }
            if !image.geometry.is_aligned(host) {
                report.corrupt(1, || format!("L1 entry {raw:#x}: the L2 table is not aligned"));
            }
            self.pending.add(host, &mut self.share)?;
        }
        self.active.tidy();
        Ok(())
    }

    async fn add_l2_tables(&mut self, image: &Image<'_>, report: &mut CheckReport) -> Result<(), OpenCause> {
        self.pending.tidy();
        let mut hole = 0..0;
        for (host, times) in std::mem::take(&mut self.pending).found {
            if host >= image.file_len {
                continue;
            }
            if image.is_hole(host, &mut hole).await? {
                self.spend(image, 1).await?;
                continue;
            }
            // Unaligned tables may overlap, and so be more than the file has bytes for.
            self.spend(image, image.geometry.l2_entries()).await?;
            let table = image.piece(host, image.geometry.cluster_bytes()).await?;
            for raw in RawEntry::all(&table, image.geometry).filter(|raw| *raw != RawEntry::NONE) {
                self.add_l2_entry(image, raw, times, report);
            }
        }
        Ok(())
    }

    fn add_l2_entry(&mut self, image: &Image<'_>, raw: RawEntry, times: u64, report: &mut CheckReport) {
        let geometry = image.geometry;
        let RawEntry { descriptor, bitmap } = raw;
        if raw.is_compressed() {
            if descriptor & COPIED != 0 {
                report.corrupt(times, || format!("L2 entry {descriptor:#x}: compressed and COPIED"));
            }
            if bitmap != 0 && !geometry.data_file {
                // Like QEMU's, this checker then does not count what it leads to.
                return report.corrupt(times, || {
                    format!("L2 entry {descriptor:#x}: compressed, with bitmap {bitmap:#x}")
                });
            }
            return match decode_l2(raw, geometry) {
                Ok(Mapping::Compressed { host, len }) => self.add(image, host, len, times, report),
                _ => {
                    report.corrupt(times, || format!("L2 entry {descriptor:#x}, {bitmap:#x} is not possible"))
                }
            };
        }
        if descriptor & L2_RESERVED != 0 {
            report.corrupt(times, || format!("L2 entry {descriptor:#x} has reserved bits set"));
        }
        let host = descriptor & HOST_OFFSET;
        let is_used = host != 0 || (geometry.data_file && descriptor & COPIED != 0);
        let (data, zero) = (bitmap as u32, (bitmap >> 32) as u32);
        if data & zero != 0 || (data != 0 && !is_used) {
            report.corrupt(times, || format!("L2 entry {descriptor:#x}: bitmap {bitmap:#x} is not possible"));
        }
        if !is_used {
            return;
        }
        if !geometry.is_aligned(host) {
            report.corrupt(times, || format!("L2 entry {descriptor:#x}: the cluster is not aligned"));
        }
        if !geometry.data_file {
            self.add(image, host, geometry.cluster_bytes(), times, report);
        }
    }

    /// Counts the snapshot table and the snapshots' L1 tables.
    async fn add_snapshots(&mut self, image: &Image<'_>, report: &mut CheckReport) -> Result<(), OpenCause> {
        let start = image.header.snapshots_offset;
        let mut at = start;
        for _ in 0..image.header.snapshots {
            self.spend(image, 40).await?;
            if at + 40 > image.file_len || at - start > MAX_DIRECTORY {
                report.corrupt(1, || format!("the snapshot table at {start:#x} is cut short"));
                return Ok(());
            }
            let fixed = image.piece(at, 40).await?;
            let (l1, entries) = (be64(&fixed, 0), u64::from(be32(&fixed, 8)));
            let names = u64::from(be32(&fixed, 12));
            // Lengths of id and name are 16 bits each, that of the extra data 32 bits.
            let len = 40 + u64::from(be32(&fixed, 36)) + (names >> 16) + (names & 0xffff);
            at = (at + len).next_multiple_of(8);
            if !image.geometry.is_aligned(l1) || l1 > image.file_len {
                report.corrupt(1, || format!("a snapshot's L1 table at {l1:#x} is not aligned"));
            } else if entries * 8 > MAX_L1_BYTES {
                report.corrupt(1, || format!("a snapshot's L1 table of {entries} entries is too large"));
            } else {
                self.add_l1(image, l1, entries, false, report).await?;
            }
        }
        self.add(image, start, at - start, 1, report);
        Ok(())
    }

    /// Counts the persistent bitmaps, unless the image was written by somebody who does not know them.
    async fn add_bitmaps(&mut self, image: &Image<'_>, report: &mut CheckReport) -> Result<(), OpenCause> {
        let place = match bitmap_directory::place(&image.header, image.file_len) {
            Ok(Some(place)) => place,
            Ok(None) => return Ok(()),
            Err(why) => {
                report.corrupt(1, || format!("the bitmap directory: {why}"));
                return Ok(());
            }
        };
        self.add(image, place.offset, place.len, 1, report);
        let directory = image.piece(place.offset, place.len).await?;
        let entries = decode(&directory, place.count, image.header.len_bytes, image.geometry);
        match entries {
            Err(why) => report.corrupt(1, || format!("the bitmap directory at {:#x}: {why}", place.offset)),
            Ok(entries) => {
                for entry in entries {
                    self.add_bitmap_table(image, entry.table_offset, entry.table_entries.into(), report)
                        .await?;
                }
            }
        }
        Ok(())
    }

    async fn add_bitmap_table(
        &mut self,
        image: &Image<'_>,
        table: u64,
        entries: u64,
        report: &mut CheckReport,
    ) -> Result<(), OpenCause> {
        let fits = entries <= MAX_BITMAP_TABLE && table < image.file_len && entries * 8 <= image.file_len;
        if !fits || !image.geometry.is_aligned(table) {
            report.corrupt(1, || format!("a bitmap table at {table:#x} of {entries} entries is impossible"));
            return Ok(());
        }
        self.spend(image, entries).await?;
        self.add(image, table, entries * 8, 1, report);
        for raw in image.pointers(table, entries).await? {
            let host = raw & HOST_OFFSET;
            if host != 0 {
                self.add(image, host, image.geometry.cluster_bytes(), 1, report);
            }
        }
        Ok(())
    }

    /// Counts the refcount table and its blocks. Each block is referred to exactly once.
    fn add_refcounts(&mut self, image: &Image<'_>, report: &mut CheckReport) {
        let geometry = image.geometry;
        let table = image.refcount_table();
        self.add(image, image.header.refcount_table_offset, table.len() as u64 * 8, 1, report);
        for (area, raw) in table.iter().enumerate().filter(|(_, raw)| **raw != 0) {
            let host = raw & !TABLE_RESERVED;
            let cluster = geometry.cluster_of(host);
            let reason = match () {
                () if raw & TABLE_RESERVED != 0 => "reserved bits set",
                () if !geometry.is_aligned(host) => "not aligned",
                () if cluster >= self.counts.len() as u64 => "outside the image",
                () => {
                    self.add(image, host, geometry.cluster_bytes(), 1, report);
                    if self.counts[cluster as usize] == 1 {
                        continue;
                    }
                    "shared with something else"
                }
            };
            report.corrupt(1, || format!("refcount block {area} at {host:#x}: {reason}"));
        }
    }
}

/// Pointers as what they lead to.
fn at(pointers: impl IntoIterator<Item = (u64, u64)>) -> impl Iterator<Item = (L2At, u64)> {
    let table = |pointer: u64| L2At { host: pointer & HOST_OFFSET, copied: pointer & COPIED != 0 };
    pointers.into_iter().map(move |(pointer, times)| (table(pointer), times))
}
