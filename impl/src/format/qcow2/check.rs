//! The checker: does every cluster have the refcount that the references to it ask for?
//!
//! It finds what `qemu-img check` finds and counts it the same way. Corruption means that a write may damage other
//! data; a leak is a cluster that is counted and not used. It does not see a lost mapping. It writes nothing, and
//! takes memory in proportion to the number of clusters in the file.

use super::count::References;
use super::counter;
use super::entry::{COPIED, HOST_OFFSET, L2At, RawEntry};
use super::geometry::Geometry;
use super::header::{Header, be64};
use super::open::{load_header, validate};
use super::open_error::{OpenCause, OpenError};
use seam::Disk;
use std::collections::BTreeMap;
use std::ops::Range;

/// Files up to this size are read at once.
const WHOLE_FILE: u64 = 1 << 20;
/// Refcount blocks and L2 tables kept in memory.
const KEPT_TABLES: usize = 64;
/// More clusters than this are not checked: 512 MiB of counters.
const MAX_CLUSTERS: u64 = 1 << 27;
/// Findings that are put in words.
const MAX_LINES: usize = 20;
/// The bits of a refcount table entry that must be clear.
pub(super) const TABLE_RESERVED: u64 = 511;

/// What a check found.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct CheckReport {
    /// Findings that endanger data.
    pub corruptions: u64,
    /// Clusters that are counted too often.
    pub leaks: u64,
    /// Guest clusters that hold a place in the file, or are compressed into it.
    pub allocated_clusters: u64,
    /// Guest clusters of the whole disk.
    pub total_clusters: u64,
    /// Where the last cluster ends that is counted or used.
    pub image_end_bytes: u64,
    /// The first findings, a line each; leaks come last.
    pub lines: Vec<String>,
    /// So many of these are no leaks.
    damage_lines: usize,
}

impl CheckReport {
    /// Nothing was found.
    pub fn is_clean(&self) -> bool {
        self.corruptions == 0 && self.leaks == 0
    }

    pub(super) fn corrupt(&mut self, times: u64, line: impl FnOnce() -> String) {
        self.corruptions += times;
        // Many leaks do not hide what endangers data.
        if self.damage_lines < MAX_LINES {
            self.lines.truncate(MAX_LINES - 1);
            self.lines.insert(self.damage_lines, line());
            self.damage_lines += 1;
        }
    }

    fn leak(&mut self, line: impl FnOnce() -> String) {
        self.leaks += 1;
        if self.lines.len() < MAX_LINES {
            self.lines.push(line());
        }
    }
}

/// Checks the image on `disk`. Errors say that it could not be checked at all.
pub async fn check(disk: &dyn Disk) -> Result<CheckReport, OpenError> {
    check_image(disk).await.map_err(|cause| cause.of("image"))
}

async fn check_image(disk: &dyn Disk) -> Result<CheckReport, OpenCause> {
    let (header, file) = load_header(disk).await?;
    validate(&header, file.len)?;
    let mut image = Image::read(disk, header, file.len).await?;
    let total_clusters = image.geometry.clusters_for(image.header.len_bytes);
    let mut report = CheckReport { total_clusters, ..CheckReport::default() };
    let references = References::count(&mut image, &mut report).await?;
    compare(&mut image, &references, &mut report).await?;
    check_copied(&mut image, &references, &mut report).await?;
    Ok(report)
}

/// The image being checked.
#[derive(Debug)]
pub(super) struct Image<'a> {
    disk: &'a dyn Disk,
    pub header: Header,
    pub geometry: Geometry,
    /// In whole sectors, as QEMU rounds it.
    pub file_len: u64,
    whole: Option<Vec<u8>>,
    kept: BTreeMap<u64, Vec<u8>>,
    refcount_table: Vec<u64>,
}

impl<'a> Image<'a> {
    /// Begins with the refcount table.
    pub(super) async fn read(disk: &'a dyn Disk, header: Header, len: u64) -> Result<Image<'a>, OpenCause> {
        let geometry = header.geometry();
        let file_len = len.next_multiple_of(512);
        if geometry.clusters_for(file_len) > MAX_CLUSTERS {
            return Err(OpenCause::TooLargeToCheck(len));
        }
        let (kept, refcount_table) = (BTreeMap::new(), Vec::new());
        let mut image = Image { disk, header, geometry, file_len, whole: None, kept, refcount_table };
        if file_len <= WHOLE_FILE {
            image.whole = Some(image.piece(0, file_len).await?);
        }
        let bytes = u64::from(image.header.refcount_table_clusters) << geometry.cluster_bits;
        image.refcount_table = image.pointers(image.header.refcount_table_offset, bytes / 8).await?;
        Ok(image)
    }

    /// Bytes of the file, zeroes past its end. The caller bounds `len`.
    pub(super) async fn piece(&self, offset: u64, len: u64) -> Result<Vec<u8>, OpenCause> {
        if let Some(whole) = &self.whole {
            let start = offset.min(whole.len() as u64) as usize;
            let end = (offset + len).min(whole.len() as u64) as usize;
            let mut bytes = whole[start..end].to_vec();
            bytes.resize(len as usize, 0);
            return Ok(bytes);
        }
        let read = self.disk.read(offset, vec![0; len as usize]).await;
        read.map_err(|errno| OpenCause::Unreadable { what: "metadata", errno })
    }

    /// Whether the disk knows that there is nothing but zeroes in a cluster. `hole` is what it said last.
    pub(super) async fn is_hole(&self, at: u64, hole: &mut Range<u64>) -> Result<bool, OpenCause> {
        let end = at.saturating_add(self.geometry.cluster_bytes());
        if hole.start <= at && end <= hole.end {
            return Ok(true);
        }
        if self.whole.is_some() || end > self.file_len {
            return Ok(false);
        }
        let asked = self.disk.next_run(at, self.file_len - at).await;
        let run = asked.map_err(|errno| OpenCause::Unreadable { what: "metadata", errno })?;
        if !run.has_data {
            *hole = at..at.saturating_add(run.len);
        }
        Ok(!run.has_data && end <= hole.end)
    }

    /// A table of `count` 64-bit numbers.
    pub(super) async fn pointers(&self, offset: u64, count: u64) -> Result<Vec<u64>, OpenCause> {
        let bytes = self.piece(offset, count * 8).await?;
        Ok((0..count as usize).map(|n| be64(&bytes, n * 8)).collect())
    }

    /// The refcount table's entries.
    pub(super) fn refcount_table(&self) -> &[u64] {
        &self.refcount_table
    }

    /// A table of one cluster, kept for a while.
    async fn table(&mut self, at: u64) -> Result<&[u8], OpenCause> {
        if !self.kept.contains_key(&at) {
            if self.kept.len() >= KEPT_TABLES {
                self.kept.clear();
            }
            let bytes = self.piece(at, self.geometry.cluster_bytes()).await?;
            self.kept.insert(at, bytes);
        }
        Ok(&self.kept[&at])
    }

    /// The refcount on the disk; `None` if its block cannot be found.
    async fn stored(&mut self, cluster: u64) -> Result<Option<u64>, OpenCause> {
        match self.stored_at_hand(cluster) {
            Some(stored) => Ok(Some(stored)),
            None => self.read_stored(cluster).await,
        }
    }

    async fn read_stored(&mut self, cluster: u64) -> Result<Option<u64>, OpenCause> {
        let per_area = self.geometry.area_clusters();
        let order = self.geometry.refcount_order;
        let at = self.block_of(cluster);
        if !self.geometry.is_aligned(at) {
            return Ok(None);
        }
        // Past the end of the file are zeroes.
        if at == 0 || at >= self.file_len {
            return Ok(Some(0));
        }
        Ok(Some(counter::get(self.table(at).await?, cluster % per_area, order)))
    }

    /// Without waiting, where the whole file is at hand and the block lies in it.
    #[inline]
    fn stored_at_hand(&self, cluster: u64) -> Option<u64> {
        let at = self.block_of(cluster);
        if at == 0 || !self.geometry.is_aligned(at) {
            return None;
        }
        let end = at.checked_add(self.geometry.cluster_bytes())?;
        let block = self.whole.as_ref()?.get(at as usize..end as usize)?;
        Some(counter::get(block, cluster % self.geometry.area_clusters(), self.geometry.refcount_order))
    }

    /// Where the refcount table says that the block of a cluster is.
    fn block_of(&self, cluster: u64) -> u64 {
        let area = (cluster / self.geometry.area_clusters()) as usize;
        self.refcount_table.get(area).copied().unwrap_or(0) & !TABLE_RESERVED
    }
}

/// Compares every cluster's refcount with the references found.
async fn compare(
    image: &mut Image<'_>,
    references: &References,
    report: &mut CheckReport,
) -> Result<(), OpenCause> {
    for (cluster, found) in references.counts().iter().enumerate() {
        let (cluster, found) = (cluster as u64, u64::from(*found));
        let Some(stored) = image.stored(cluster).await? else { continue };
        if stored > 0 || found > 0 {
            report.image_end_bytes = image.geometry.offset_of(cluster + 1);
        }
        let at = image.geometry.offset_of(cluster);
        let line = || format!("cluster {cluster} at {at:#x}: refcount {stored}, references {found}");
        match stored.cmp(&found) {
            std::cmp::Ordering::Less => report.corrupt(1, line),
            std::cmp::Ordering::Greater => report.leak(line),
            std::cmp::Ordering::Equal => {}
        }
    }
    Ok(())
}

/// Checks that COPIED stands exactly where the refcount is 1, in the active tables.
async fn check_copied(
    image: &mut Image<'_>,
    references: &References,
    report: &mut CheckReport,
) -> Result<(), OpenCause> {
    let geometry = image.geometry;
    let mut hole = 0..0;
    for (L2At { host, copied }, times) in references.active_tables() {
        if let Some(count) = image.stored(geometry.cluster_of(host)).await?
            && (count == 1) != copied
        {
            report.corrupt(times, || format!("L2 table at {host:#x}: refcount {count}, COPIED {copied}"));
        }
        if image.is_hole(host, &mut hole).await? {
            continue;
        }
        let entries = image.piece(host, geometry.cluster_bytes()).await?;
        for raw in RawEntry::all(&entries, geometry).filter(|raw| *raw != RawEntry::NONE) {
            let (at, copied) = (raw.descriptor & HOST_OFFSET, raw.descriptor & COPIED != 0);
            let is_used = at != 0 || raw.is_compressed() || (geometry.data_file && copied);
            report.allocated_clusters += if is_used { times } else { 0 };
            // Clusters of a data file are not counted.
            if at == 0 || raw.is_compressed() || geometry.data_file {
                continue;
            }
            if let Some(count) = image.stored(geometry.cluster_of(at)).await?
                && (count == 1) != copied
            {
                report.corrupt(times, || format!("data at {at:#x}: refcount {count}, COPIED {copied}"));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_leaks_do_not_hide_what_endangers_data() {
        let mut report = CheckReport::default();
        let lines = |report: &mut CheckReport, leaks: usize, damage: usize| {
            (0..leaks).for_each(|at| report.leak(|| format!("leak {at}")));
            (0..damage).for_each(|at| report.corrupt(1, || format!("damage {at}")));
        };
        lines(&mut report, MAX_LINES, 2);
        assert_eq!(report.lines[..3], ["damage 0", "damage 1", "leak 0"]);
        assert_eq!((report.lines.len(), report.leaks, report.corruptions), (MAX_LINES, MAX_LINES as u64, 2));
        lines(&mut report, 1, MAX_LINES);
        assert!(report.lines.iter().all(|line| line.starts_with("damage")), "{:?}", report.lines);
        assert_eq!(report.lines.len(), MAX_LINES);
    }
}
