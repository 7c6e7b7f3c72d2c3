//! What a qcow2 image takes of its file, and what guests' data lies there that nobody uses any more.

use crate::workload::tables::number;
use midstream::content::{GARBAGE, SECTOR_BYTES, Tag, sector_of, tag_of};

/// In clusters.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Allocation {
    /// Guest clusters that have a place in the file.
    pub taken_clusters: u64,
    /// Guest clusters of the whole disk.
    pub all_clusters: u64,
    /// Clusters of the file that nobody counts and that still hold data of guests: tables and bitmaps that moved are not
    /// among them. A hole reads as zeroes, and what only ever held zeroes is not distinguished from one.
    pub stale_clusters: Vec<u64>,
}

/// Finds them in a whole file, by its refcounts; the image is sound.
pub fn stale_clusters(file: &[u8]) -> Vec<u64> {
    let cluster_bytes = 1usize << number(file, 20, 4);
    let order = if number(file, 4, 4) == 2 { 4 } else { number(file, 96, 4) };
    let (table, refcount_bits) = (number(file, 48, 8), 1usize << order);
    let per_block = cluster_bytes * 8 / refcount_bits;
    let is_stale = |cluster: usize, bytes: &[u8]| {
        let block = number(file, table + cluster / per_block * 8, 8);
        let is_free = block == 0 || is_zero_at(file, block, cluster % per_block, refcount_bits);
        is_free && bytes.chunks_exact(SECTOR_BYTES).any(|sector| is_data(tag_of(sector)))
    };
    let clusters = file.chunks(cluster_bytes).enumerate();
    clusters.filter(|(cluster, bytes)| is_stale(*cluster, bytes)).map(|(cluster, _)| cluster as u64).collect()
}

/// Whether a sector was written by a guest, or before the run: no disk of a world has more sectors than this.
fn is_data(tag: Tag) -> bool {
    const SECTORS_MAX: u64 = 1 << 20;
    tag != GARBAGE && tag >> 32 != 0 && sector_of(tag).is_some_and(|sector| sector < SECTORS_MAX)
}

/// Whether a counter of a refcount block is zero. Counters narrower than a byte fill it from its least significant bit.
fn is_zero_at(file: &[u8], block: usize, index: usize, bits: usize) -> bool {
    if bits >= 8 {
        return number(file, block + index * bits / 8, bits / 8) == 0;
    }
    let byte = number(file, block + index * bits / 8, 1);
    byte >> (index * bits % 8) & ((1 << bits) - 1) == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::image::{Cluster, Features, Format, Image, Vouching};
    use midstream::content::{fill, initial_tag};

    const NONE: [u64; 0] = [];

    /// Two clusters of data behind the metadata, at each width of refcounts.
    #[test]
    fn data_that_nobody_counts_is_stale() {
        for refcount_order in 0..=6 {
            let format = Format::Qcow2 { version: 3, cluster_bits: 9, refcount_order };
            let clusters = vec![Cluster::Data; 2];
            let image = Image {
                layer: 1,
                path: "/n1".to_owned(),
                format,
                size_bytes: 1024,
                backing: None,
                clusters,
                vouching: Vouching::Nothing,
                features: Features::default(),
            };
            let mut file = image.build(None);
            assert_eq!(stale_clusters(&file), NONE, "order {refcount_order}");
            let end = file.len();
            file.resize(end + 512, 7);
            assert_eq!(stale_clusters(&file), NONE, "order {refcount_order}: no data of a guest");
            fill(&mut file[end..], initial_tag(1, 3));
            assert_eq!(
                stale_clusters(&file),
                [end as u64 / 512],
                "order {refcount_order}: past what is counted"
            );
        }
    }
}
