//! Opening an image: reads the header and the two tables that stay in memory, and trusts none of it.
//!
//! A size from the file is checked against a limit and against the file's length before anything is allocated.

use super::bitmap_directory;
use super::geometry::{CLUSTER_BITS, Geometry, MAX_L1_BYTES, MAX_REFCOUNT_TABLE_BYTES};
use super::header::{Header, INCOMPATIBLE_CORRUPT, cluster_bits};
use super::metadata::Metadata;
use super::open_error::OpenCause;
use super::pointers::PointerTable;
use crate::budget::{Allowance, Share};
use seam::Disk;

/// Read first: holds the header, and in an image of small clusters the tables too.
const FIRST_READ: usize = 4096;
/// QEMU's limits on internal snapshots.
const MAX_SNAPSHOTS: u32 = 65536;

const L1_TABLE: &str = "Active L1 table";
const REFCOUNT_TABLE: &str = "Reference count table";
const SNAPSHOT_TABLE: &str = "Snapshot table";

/// The image's metadata, as far as it stays in memory.
pub(super) async fn load(
    disk: &dyn Disk,
    name: &str,
    writable: bool,
    allowance: &Allowance,
) -> Result<Metadata, OpenCause> {
    let (header, file) = load_header(disk).await?;
    validate(&header, file.len)?;
    if writable {
        refuse_writing(&header)?;
    }
    if header.refcount_table_clusters == 0 {
        return Err(OpenCause::NoRefcountTable);
    }
    let mut share = allowance.budget.nothing();
    let l1_bytes = u64::from(header.l1_entries) * 8;
    let l1 = load_pointers(&file, (header.l1_offset, l1_bytes), (name, "L1 table"), &mut share).await?;
    let table_bytes = u64::from(header.refcount_table_clusters) << header.cluster_bits;
    let place = (header.refcount_table_offset, table_bytes);
    let refcount_table = load_pointers(&file, place, (name, "refcount table"), &mut share).await?;
    let bitmaps = load_bitmap_directory(&header, &file, name, &mut share).await?;
    // Whoever opened it learns of the end, and others have a turn, before the long part.
    allowance
        .breath()
        .after(l1_bytes)
        .await
        .map_err(|errno| OpenCause::Unreadable { what: "L1 table", errno })?;
    Ok(Metadata { bitmaps, ..Metadata::new(header, l1, refcount_table, file.len, share) })
}

/// Memory that an entry of the sets takes which know where tables lie.
const SET_ENTRY_BYTES: u64 = 16;

/// Reads a table that stays in memory, and takes what it needs there with the set of the places it leads to.
async fn load_pointers(
    file: &Opened<'_>,
    (offset, len): (u64, u64),
    (image, what): (&str, &'static str),
    share: &mut Share,
) -> Result<PointerTable, OpenCause> {
    let whose = || format!("The {what} of '{image}'");
    // Once as it lies on the disk, until it is decoded.
    share.grow(2 * len, whose)?;
    let table = PointerTable::new(offset, &file.read(offset, len, what).await?);
    share.shrink(len);
    let used = table.entries().iter().filter(|entry| **entry != 0).count() as u64;
    share.grow(used * SET_ENTRY_BYTES, whose)?;
    Ok(table)
}

/// What the image has of persistent bitmaps; their bits stay where they are.
async fn load_bitmap_directory(
    header: &Header,
    file: &Opened<'_>,
    image: &str,
    share: &mut Share,
) -> Result<Vec<bitmap_directory::Entry>, OpenCause> {
    let Some(place) = bitmap_directory::place(header, file.len).map_err(OpenCause::Bitmaps)? else {
        return Ok(Vec::new());
    };
    // Once as it lies on the disk, now and whenever it is written; and decoded.
    share.grow(3 * place.len, || format!("The bitmap directory of '{image}'"))?;
    let bytes = file.read(place.offset, place.len, "bitmap directory").await?;
    let entries = bitmap_directory::decode(&bytes, place.count, header.len_bytes, header.geometry());
    entries.map_err(OpenCause::Bitmaps)
}

/// The file, its length and its first bytes.
#[derive(Debug)]
pub(super) struct Opened<'a> {
    pub disk: &'a dyn Disk,
    pub len: u64,
    start: Vec<u8>,
}

impl Opened<'_> {
    /// Reads a piece of the file, from memory if it was read already. The caller has checked the bounds.
    pub(super) async fn read(&self, offset: u64, len: u64, what: &'static str) -> Result<Vec<u8>, OpenCause> {
        if len == 0 {
            return Ok(Vec::new());
        }
        if let Some(known) = self.start.get(offset as usize..(offset + len) as usize) {
            return Ok(known.to_vec());
        }
        read(self.disk, offset, len as usize, what).await
    }
}

async fn read(disk: &dyn Disk, offset: u64, len: usize, what: &'static str) -> Result<Vec<u8>, OpenCause> {
    disk.read(offset, vec![0; len]).await.map_err(|errno| OpenCause::Unreadable { what, errno })
}

/// Reads and decodes cluster 0: one read, unless the header is a long one.
pub(super) async fn load_header(disk: &dyn Disk) -> Result<(Header, Opened<'_>), OpenCause> {
    const WHAT: &str = "qcow2 header";
    let len = disk.len_bytes().map_err(|errno| OpenCause::Unreadable { what: WHAT, errno })?;
    let start = read(disk, 0, FIRST_READ, WHAT).await?;
    let cluster = 1usize << cluster_bits(&start)?;
    let header = match Header::parse(&start[..cluster.min(FIRST_READ)])? {
        Some(header) => header,
        None => {
            let whole = read(disk, 0, cluster, WHAT).await?;
            Header::parse(&whole)?.expect("a whole cluster needs no more bytes")
        }
    };
    assert!(CLUSTER_BITS.contains(&header.cluster_bits), "cluster bits {}", header.cluster_bits);
    Ok((header, Opened { disk, len, start }))
}

/// Refuses an image that says of itself that it is damaged.
pub(super) fn refuse_writing(header: &Header) -> Result<(), OpenCause> {
    if header.incompatible & INCOMPATIBLE_CORRUPT != 0 {
        return Err(OpenCause::Corrupt);
    }
    Ok(())
}

/// Checks every size and offset of the header.
pub(super) fn validate(header: &Header, file_len: u64) -> Result<(), OpenCause> {
    let geometry = header.geometry();
    let refcount_bytes = u64::from(header.refcount_table_clusters) << header.cluster_bits;
    let l1_bytes = u64::from(header.l1_entries) * 8;
    let table = |name, offset, size: u64, bytes, max| {
        check_table(&Table { name, offset, size, bytes, max }, geometry, file_len)
    };
    let refcount_clusters = u64::from(header.refcount_table_clusters);
    let refcount_offset = header.refcount_table_offset;
    table(REFCOUNT_TABLE, refcount_offset, refcount_clusters, refcount_bytes, MAX_REFCOUNT_TABLE_BYTES)?;
    if header.snapshots > MAX_SNAPSHOTS {
        return Err(OpenCause::TableTooLarge { table: SNAPSHOT_TABLE, size: header.snapshots.into() });
    }
    if header.snapshots > 0 {
        // Each snapshot takes at least 40 bytes.
        let bytes = u64::from(header.snapshots) * 40;
        table(SNAPSHOT_TABLE, header.snapshots_offset, header.snapshots.into(), bytes, 64 << 20)?;
    }
    table(L1_TABLE, header.l1_offset, header.l1_entries.into(), l1_bytes, MAX_L1_BYTES)?;
    if header.len_bytes > 1 << 62 || geometry.l1_entries_for(header.len_bytes) > i32::MAX as u64 {
        return Err(OpenCause::TooBig(header.len_bytes));
    }
    if geometry.l1_entries_for(header.len_bytes) > header.l1_entries.into() {
        return Err(OpenCause::L1TooSmall(header.l1_entries));
    }
    check_overlap(header, geometry, l1_bytes, refcount_bytes)
}

struct Table {
    name: &'static str,
    offset: u64,
    /// As the header counts it.
    size: u64,
    bytes: u64,
    max: u64,
}

fn check_table(table: &Table, geometry: Geometry, file_len: u64) -> Result<(), OpenCause> {
    if table.bytes > table.max {
        return Err(OpenCause::TableTooLarge { table: table.name, size: table.size });
    }
    if !geometry.is_aligned(table.offset) || table.offset > i64::MAX as u64 - table.bytes {
        return Err(OpenCause::TableOffset { table: table.name, offset: table.offset });
    }
    // The last cluster of a file may be cut short.
    let end = table.offset + table.bytes;
    if table.bytes > 0 && end > file_len.next_multiple_of(geometry.cluster_bytes()) {
        return Err(OpenCause::TablePastEnd { table: table.name, offset: table.offset, end, file_len });
    }
    Ok(())
}

/// Header, L1 table and refcount table must not share a cluster: a write to one would destroy the other.
fn check_overlap(
    header: &Header,
    geometry: Geometry,
    l1_bytes: u64,
    refcount_bytes: u64,
) -> Result<(), OpenCause> {
    let l1 = geometry.touched(header.l1_offset, l1_bytes);
    let refcounts = geometry.touched(header.refcount_table_offset, refcount_bytes);
    if l1_bytes > 0 && l1.start == 0 {
        return Err(OpenCause::Overlap { table: L1_TABLE, offset: header.l1_offset });
    }
    if refcount_bytes > 0 && refcounts.start == 0 {
        return Err(OpenCause::Overlap { table: REFCOUNT_TABLE, offset: header.refcount_table_offset });
    }
    if l1.start < refcounts.end && refcounts.start < l1.end {
        return Err(OpenCause::Overlap { table: L1_TABLE, offset: header.l1_offset });
    }
    Ok(())
}
