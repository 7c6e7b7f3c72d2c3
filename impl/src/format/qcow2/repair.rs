//! Repairing an image that was not closed cleanly: its refcounts may be stale, its tables are not.
//!
//! Every reference is counted, new refcount blocks and a new refcount table are written behind the end of the file, the
//! COPIED flags are corrected, and then one write of the header's sector turns to the new table and clears the dirty
//! bit. Cut off anywhere before that, the image is as dirty as it was.

use super::check::{CheckReport, Image};
use super::count::References;
use super::counter;
use super::entry::{COPIED, HOST_OFFSET, RawEntry};
use super::geometry::{Geometry, MAX_HOST_OFFSET, MAX_REFCOUNT_TABLE_BYTES, SECTOR};
use super::header::{Header, INCOMPATIBLE_DIRTY};
use super::open::{load_header, validate};
use super::open_error::{OpenCause, OpenError};
use crate::budget::{Allowance, Breath};
use seam::{Disk, Errno};
use std::collections::BTreeSet;

/// Files of more clusters are not repaired: 64 MiB of counters.
const MAX_CLUSTERS: u64 = 1 << 24;

/// Sets the refcounts of any image right: what leaked is free again. Nothing is lost if it is cut off. Refused if more is
/// wrong than that.
pub async fn repair(disk: &dyn Disk) -> Result<(), OpenError> {
    let (header, file) = load_header(disk).await.map_err(|cause| cause.of("an image"))?;
    let repaired = repair_all(disk, header, file.len, "an image", &Allowance::default()).await;
    repaired.map_err(|cause| cause.of("an image"))
}

/// Sets the refcounts of a dirty image right and clears its dirty bit; any other is left alone.
pub(super) async fn repair_if_dirty(
    disk: &dyn Disk,
    name: &str,
    allowance: &Allowance,
) -> Result<(), OpenCause> {
    let (header, file) = load_header(disk).await?;
    if header.incompatible & INCOMPATIBLE_DIRTY == 0 {
        return Ok(());
    }
    repair_all(disk, header, file.len, name, allowance).await
}

async fn repair_all(
    disk: &dyn Disk,
    header: Header,
    len: u64,
    name: &str,
    allowance: &Allowance,
) -> Result<(), OpenCause> {
    validate(&header, len)?;
    if header.geometry().clusters_for(len) > MAX_CLUSTERS {
        return Err(OpenCause::TooLargeToCheck(len));
    }
    let table_bytes = u64::from(header.refcount_table_clusters) << header.cluster_bits;
    let what = || format!("The repair of '{name}'");
    let _tables = allowance.budget.take(2 * table_bytes + (1 << 20), what)?;
    let mut image = Image::read(disk, header, len).await?;
    let mut report = CheckReport::default();
    let references = References::count_but_refcounts(&mut image, &mut report, allowance).await?;
    if report.corruptions > 0 {
        return Err(OpenCause::Unrepairable { found: report.lines.swap_remove(0) });
    }
    if references.counts().first().is_some_and(|count| *count > 1) {
        return Err(OpenCause::Unrepairable { found: "something refers to the header's cluster".into() });
    }
    let mut breath = allowance.breath();
    let rebuilt = Rebuilt::of(references.counts(), image.geometry)?;
    let mut header = image.header.clone();
    rebuilt.write(disk, image.geometry, &mut breath).await?;
    fix_copied(disk, &image, &references, &mut breath).await?;
    flush(disk).await?;
    rebuilt.turn_to(&mut header, image.geometry);
    header.incompatible &= !INCOMPATIBLE_DIRTY;
    write_header(disk, &header).await?;
    flush(disk).await
}

/// A new refcount structure, and where it lies.
#[derive(Debug)]
struct Rebuilt {
    counts: Vec<u32>,
    /// Its first cluster: the table, then the blocks.
    first: u64,
    table_clusters: u64,
    /// The areas that have a block, in order.
    areas: Vec<u64>,
}

impl Rebuilt {
    fn of(counts: &[u32], geometry: Geometry) -> Result<Rebuilt, OpenCause> {
        let per_area = geometry.area_clusters();
        let first = counts.len() as u64;
        let used = |at: &(usize, &u32)| *at.1 > 0;
        let mut areas: BTreeSet<u64> =
            counts.iter().enumerate().filter(used).map(|(n, _)| n as u64 / per_area).collect();
        let mut table_clusters = 1;
        loop {
            let end = first + table_clusters + areas.len() as u64;
            let before = (table_clusters, areas.len());
            areas.extend(first / per_area..end.div_ceil(per_area));
            table_clusters = geometry.clusters_for(end.div_ceil(per_area) * 8).max(table_clusters);
            if (table_clusters, areas.len()) == before {
                break;
            }
        }
        let end = first + table_clusters + areas.len() as u64;
        let table_bytes = geometry.offset_of(table_clusters);
        if table_bytes > MAX_REFCOUNT_TABLE_BYTES || geometry.offset_of(end) > MAX_HOST_OFFSET {
            return Err(OpenCause::TooBig(geometry.offset_of(end)));
        }
        let mut counts = counts.to_vec();
        counts.resize(end as usize, 1);
        Ok(Rebuilt { counts, first, table_clusters, areas: areas.into_iter().collect() })
    }

    async fn write(&self, disk: &dyn Disk, geometry: Geometry, breath: &mut Breath) -> Result<(), OpenCause> {
        let mut table = vec![0; geometry.offset_of(self.table_clusters) as usize];
        let mut place = self.first + self.table_clusters;
        for area in &self.areas {
            let at = geometry.offset_of(place);
            table[*area as usize * 8..*area as usize * 8 + 8].copy_from_slice(&at.to_be_bytes());
            write(disk, at, self.block(*area, geometry)).await?;
            breath.after(geometry.area_clusters()).await.map_err(given_up)?;
            place += 1;
        }
        assert_eq!(place, self.counts.len() as u64, "every block lies where it was counted");
        write(disk, geometry.offset_of(self.first), table).await
    }

    fn block(&self, area: u64, geometry: Geometry) -> Vec<u8> {
        let per_area = geometry.area_clusters();
        let mut block = vec![0; geometry.cluster_bytes() as usize];
        let counts = self.counts.iter().skip((area * per_area) as usize).take(per_area as usize);
        for (index, count) in counts.enumerate() {
            counter::set(&mut block, index as u64, geometry.refcount_order, (*count).into());
        }
        block
    }

    fn turn_to(&self, header: &mut Header, geometry: Geometry) {
        header.refcount_table_offset = geometry.offset_of(self.first);
        header.refcount_table_clusters = self.table_clusters as u32;
    }
}

/// Makes COPIED say that the refcount is exactly 1, in the active tables.
async fn fix_copied(
    disk: &dyn Disk,
    image: &Image<'_>,
    references: &References,
    breath: &mut Breath,
) -> Result<(), OpenCause> {
    let (geometry, counts) = (image.geometry, references.counts());
    let mut hole = 0..0;
    let is_single = |at: u64| counts.get(geometry.cluster_of(at) as usize) == Some(&1);
    let (l1, entries) = (image.header.l1_offset, u64::from(image.header.l1_entries));
    let mut table = Vec::new();
    let before = image.pointers(l1, entries).await?;
    for entry in &before {
        table.extend_from_slice(&with_copied(*entry, is_single).to_be_bytes());
    }
    if before.iter().any(|entry| with_copied(*entry, is_single) != *entry) {
        write(disk, l1, table).await?;
    }
    for (at, _) in references.active_tables() {
        if image.is_hole(at.host, &mut hole).await? {
            breath.after(1).await.map_err(given_up)?;
            continue;
        }
        breath.after(geometry.l2_entries()).await.map_err(given_up)?;
        let mut table = image.piece(at.host, geometry.cluster_bytes()).await?;
        let mut is_changed = false;
        for slot in 0..geometry.l2_entries() as usize {
            let raw = RawEntry::read(&table, slot, geometry);
            // Clusters of a data file are not counted.
            if raw.is_compressed() || geometry.data_file {
                continue;
            }
            let now = RawEntry { descriptor: with_copied(raw.descriptor, is_single), ..raw };
            is_changed |= now != raw;
            now.write(&mut table, slot, geometry);
        }
        if is_changed {
            write(disk, at.host, table).await?;
        }
    }
    Ok(())
}

fn given_up(errno: Errno) -> OpenCause {
    OpenCause::NotRepaired { errno }
}

fn with_copied(entry: u64, is_single: impl Fn(u64) -> bool) -> u64 {
    match entry & HOST_OFFSET {
        0 => entry,
        host if is_single(host) => entry | COPIED,
        _ => entry & !COPIED,
    }
}

async fn write_header(disk: &dyn Disk, header: &Header) -> Result<(), OpenCause> {
    let Ok(mut bytes) = header.encode() else {
        return Err(OpenCause::Unrepairable { found: "the header does not fit in its cluster".into() });
    };
    bytes.resize(bytes.len().next_multiple_of(SECTOR as usize), 0);
    write(disk, 0, bytes).await
}

async fn write(disk: &dyn Disk, at: u64, mut bytes: Vec<u8>) -> Result<(), OpenCause> {
    bytes.resize(bytes.len().next_multiple_of(SECTOR as usize), 0);
    disk.write(at, bytes).await.map_err(|errno| OpenCause::NotRepaired { errno })
}

async fn flush(disk: &dyn Disk) -> Result<(), OpenCause> {
    disk.flush().await.map_err(|errno| OpenCause::NotRepaired { errno })
}
