//! Making an empty image: header, refcount table, refcount blocks and an empty L1 table, in this order in the file.

use super::counter;
use super::geometry::{
    CLUSTER_BITS, Geometry, MAX_L1_BYTES, MAX_REFCOUNT_ORDER, MIN_EXTENDED_L2_CLUSTER_BITS,
};
use super::header::{BackingName, DataFile, Header, MAX_BACKING_NAME};
use seam::{Disk, Errno};
use thiserror::Error;

/// Images up to this size are written in one piece.
const ONE_PIECE: u64 = 64 << 10;

/// Smaller clusters have no room for the names of features beside a long backing name.
const NAMES_FROM_CLUSTER_BITS: u32 = 13;

/// What a new image is like.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CreateOptions {
    /// 2 or 3.
    pub version: u32,
    /// The guest's disk size, a multiple of 512.
    pub len_bytes: u64,
    /// 9 to 21: clusters of 512 bytes to 2 MiB.
    pub cluster_bits: u32,
    /// 0 to 6: refcounts of 1 to 64 bits. Version 2 has only 4.
    pub refcount_order: u32,
    /// The file below.
    pub backing: Option<BackingName>,
    /// Map clusters in 32 parts; for clusters of 16 KiB or more, in version 3.
    pub extended_l2: bool,
    /// Compress with zstd instead of deflate; in version 3.
    pub zstd: bool,
    /// Say that refcounts may be put off; in version 3.
    pub lazy_refcounts: bool,
    /// Keep guest data in a file of this name, which the caller makes; in version 3.
    pub data_file: Option<DataFile>,
}

impl Default for CreateOptions {
    /// What `qemu-img create` makes: version 3, 64 KiB clusters, 16-bit refcounts; here of no size.
    fn default() -> Self {
        CreateOptions {
            version: 3,
            len_bytes: 0,
            cluster_bits: 16,
            refcount_order: 4,
            backing: None,
            extended_l2: false,
            zstd: false,
            lazy_refcounts: false,
            data_file: None,
        }
    }
}

/// Why an image was not made.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[non_exhaustive]
pub enum CreateError {
    /// A version other than 2 and 3.
    #[error("Unsupported qcow2 version {0}")]
    Version(u32),
    /// `cluster_bits` outside 9 to 21.
    #[error("Cluster size must be a power of two between 512 and 2048k, not 2^{0}")]
    ClusterBits(u32),
    /// `refcount_order` above 6, or not 4 in version 2.
    #[error("Refcount width of 2^{refcount_order} bits is not possible in version {version}")]
    RefcountOrder {
        /// The order asked for.
        refcount_order: u32,
        /// The version asked for.
        version: u32,
    },
    /// Extended L2 entries with clusters below 16 KiB.
    #[error("Extended L2 entries are only supported with cluster sizes of at least 16384 bytes, not 2^{0}")]
    ExtendedL2(u32),
    /// An option that version 2 does not have.
    #[error("{0} is only possible in version 3")]
    NeedsVersion3(&'static str),
    /// A raw data file below which there is another layer, or a data file without a name or with a long one.
    #[error("Data file is not possible here")]
    DataFile,
    /// A size that is not a multiple of 512, or more than an L1 table maps.
    #[error("Image size of {0} bytes is not possible")]
    Size(u64),
    /// A backing name or format that does not fit.
    #[error("Backing file name too long")]
    BackingName,
    /// The disk failed.
    #[error("Could not write the image: {0}")]
    Disk(Errno),
}

impl From<Errno> for CreateError {
    fn from(errno: Errno) -> Self {
        CreateError::Disk(errno)
    }
}

/// Where the parts of an empty image lie, in clusters.
#[derive(Copy, Clone, Debug)]
struct Layout {
    table: u64,
    blocks: u64,
    block_count: u64,
    l1: u64,
    l1_entries: u64,
    end: u64,
}

impl Layout {
    fn of(geometry: Geometry, len_bytes: u64) -> Layout {
        let l1_entries = geometry.l1_entries_for(len_bytes);
        let l1_count = geometry.clusters_for(l1_entries * 8);
        let (mut table_count, mut block_count) = (1, 1);
        loop {
            let end = 1 + table_count + block_count + l1_count;
            let blocks_needed = end.div_ceil(geometry.area_clusters());
            let tables_needed = geometry.clusters_for(blocks_needed * 8);
            if blocks_needed <= block_count && tables_needed <= table_count {
                let blocks = 1 + table_count;
                return Layout { table: 1, blocks, block_count, l1: blocks + block_count, l1_entries, end };
            }
            (table_count, block_count) = (tables_needed, blocks_needed);
        }
    }
}

pub(super) async fn create(disk: &dyn Disk, options: &CreateOptions) -> Result<(), CreateError> {
    let header = header_of(options)?;
    let geometry = header.geometry();
    let layout = Layout::of(geometry, options.len_bytes);
    let header = finish(header, geometry, &layout).ok_or(CreateError::BackingName)?;
    let end = geometry.offset_of(layout.end);
    let parts = [
        (geometry.offset_of(layout.blocks), refcounts(geometry, &layout)),
        (geometry.offset_of(layout.table), refcount_table(geometry, &layout)),
        (0, header),
    ];
    if disk.len_bytes()? > 0 {
        disk.resize(0).await?;
    }
    // Some disks keep their length; nothing of what was there may be taken for a table.
    let keeps_length = disk.len_bytes()? > 0;
    if end <= ONE_PIECE {
        let mut image = vec![0; end as usize];
        for (at, part) in parts {
            image[at as usize..at as usize + part.len()].copy_from_slice(&part);
        }
        disk.write(0, image).await?;
    } else {
        match keeps_length {
            true => disk.write_zeroes(0, end).await?,
            false => disk.resize(end).await?,
        }
        for (at, part) in parts {
            disk.write(at, part).await?;
        }
    }
    Ok(disk.flush().await?)
}

/// Checks the options; the tables' places are still missing.
fn header_of(options: &CreateOptions) -> Result<Header, CreateError> {
    let CreateOptions { version, len_bytes, cluster_bits, refcount_order, ref backing, .. } = *options;
    if !(2..=3).contains(&version) {
        return Err(CreateError::Version(version));
    }
    if !CLUSTER_BITS.contains(&cluster_bits) {
        return Err(CreateError::ClusterBits(cluster_bits));
    }
    if refcount_order > MAX_REFCOUNT_ORDER || (version == 2 && refcount_order != 4) {
        return Err(CreateError::RefcountOrder { refcount_order, version });
    }
    let max =
        |b: &BackingName| b.file.len() <= MAX_BACKING_NAME && b.format.as_ref().is_none_or(|f| f.len() <= 15);
    if !backing.as_ref().is_none_or(max) {
        return Err(CreateError::BackingName);
    }
    let mut header = Header::new(version, cluster_bits, refcount_order, len_bytes, backing.clone());
    set_features(&mut header, options)?;
    let fits = len_bytes <= 1 << 62 && header.geometry().l1_entries_for(len_bytes) * 8 <= MAX_L1_BYTES;
    if len_bytes % 512 != 0 || !fits {
        return Err(CreateError::Size(len_bytes));
    }
    Ok(header)
}

fn set_features(header: &mut Header, options: &CreateOptions) -> Result<(), CreateError> {
    let wanted = [
        (options.extended_l2, "extended_l2"),
        (options.zstd, "compression_type"),
        (options.lazy_refcounts, "lazy_refcounts"),
        (options.data_file.is_some(), "data_file"),
    ];
    if let Some((_, name)) = wanted.iter().find(|(wanted, _)| *wanted && options.version < 3) {
        return Err(CreateError::NeedsVersion3(name));
    }
    if options.extended_l2 && options.cluster_bits < MIN_EXTENDED_L2_CLUSTER_BITS {
        return Err(CreateError::ExtendedL2(options.cluster_bits));
    }
    if let Some(file) = &options.data_file {
        let fits = (1..=MAX_BACKING_NAME).contains(&file.name.len());
        if !fits || (file.raw && options.backing.is_some()) {
            return Err(CreateError::DataFile);
        }
        header.set_data_file(file);
    }
    header.set_features(options.extended_l2, options.zstd, options.lazy_refcounts);
    if options.version >= 3 && options.cluster_bits >= NAMES_FROM_CLUSTER_BITS {
        header.name_features();
    }
    Ok(())
}

fn finish(mut header: Header, geometry: Geometry, layout: &Layout) -> Option<Vec<u8>> {
    header.refcount_table_offset = geometry.offset_of(layout.table);
    header.refcount_table_clusters = (layout.blocks - layout.table) as u32;
    header.l1_offset = if layout.l1_entries == 0 { 0 } else { geometry.offset_of(layout.l1) };
    header.l1_entries = layout.l1_entries as u32;
    // Nobody reads the image yet, so the header may take as many sectors as it likes.
    header.encode_in_full().or_else(|_| header.encode()).ok()
}

/// The refcount blocks: everything in the file counted once.
fn refcounts(geometry: Geometry, layout: &Layout) -> Vec<u8> {
    let order = geometry.refcount_order;
    // Blocks lie behind each other, so their counters do too.
    let mut bytes = vec![0; counter::bytes_of(0, layout.end, order).end];
    (0..layout.end).for_each(|cluster| counter::set(&mut bytes, cluster, order, 1));
    bytes
}

fn refcount_table(geometry: Geometry, layout: &Layout) -> Vec<u8> {
    let block = |n: u64| geometry.offset_of(layout.blocks + n).to_be_bytes();
    (0..layout.block_count).flat_map(block).collect()
}
