//! Builds an image file from a description, independently of the engine's own drivers.
//!
//! A qcow2 image is laid out as header, refcount table, refcount blocks, L1 table, then each L2 table with its data behind
//! it: the simplest valid file in which no two L2 tables are one write. Every sector of a data cluster repeats an eight-byte tag, so that a reader can say where it came from.

use midstream::content::{SECTOR_BYTES, Tag, fill, initial_tag};

/// How guest bytes lie in a file.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Format {
    /// As they are.
    Raw,
    /// In clusters of `1 << cluster_bits` bytes.
    Qcow2 {
        /// 2 or 3.
        version: u32,
        /// Cluster size.
        cluster_bits: u32,
        /// Refcounts are `1 << refcount_order` bits wide.
        refcount_order: u32,
    },
}

/// What a layer says about one cluster.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Cluster {
    /// Nothing: the layer below decides.
    Unallocated,
    /// Tagged data in every sector.
    Data,
    /// Tagged data in every second sector, zeroes between.
    Striped,
    /// Zeroes, without space in the file.
    Zero,
    /// Zeroes, with space in the file.
    ZeroAllocated,
    /// Zeroes, written out.
    ZeroData,
}

/// What an image says of its content that its first change makes untrue.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub enum Vouching {
    /// Nothing.
    #[default]
    Nothing,
    /// An autoclear bit of a feature that nobody here knows.
    Unknown,
    /// A persistent bitmap that records, and in which nothing is dirty.
    Bitmap,
}

/// What an image has of the format beyond what every image has; only one of version 3 has any.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub struct Features {
    /// Refcounts may be behind, and are while it is open for writing.
    pub lazy_refcounts: bool,
    /// Each entry of an L2 table is followed by the bits of its subclusters: for clusters of 16 KiB and more.
    pub extended_l2: bool,
    /// An internal snapshot of the first content shares every cluster: for refcounts of two bits and more.
    pub snapshot: bool,
    /// Its tables have a cluster past the end of the guest's disk: a shrink was cut short.
    pub leftovers: bool,
}

/// The bit of a feature that nobody knows.
pub const AUTOCLEAR_UNKNOWN: u64 = 1 << 41;
/// The name of a bitmap that is there from the beginning, and its granularity.
pub const BITMAP: &str = "kept";
/// How many bytes one bit of it stands for.
pub const BITMAP_GRANULARITY: u64 = 512;

/// One image.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Image {
    /// Its layer's number: part of every tag.
    pub layer: u32,
    /// The file's name.
    pub path: String,
    /// How bytes lie.
    pub format: Format,
    /// Virtual size, whole sectors.
    pub size_bytes: u64,
    /// Index of the image below.
    pub backing: Option<usize>,
    /// Content, by cluster; of a raw image by 512-byte sector.
    pub clusters: Vec<Cluster>,
    /// What it says of that; only one of version 3 says anything.
    pub vouching: Vouching,
    /// What it has of the format.
    pub features: Features,
}

impl Format {
    /// The unit of allocation; a sector for raw.
    pub fn cluster_bytes(self) -> u64 {
        match self {
            Format::Raw => SECTOR_BYTES as u64,
            Format::Qcow2 { cluster_bits, .. } => 1 << cluster_bits,
        }
    }

    /// The driver's name.
    pub fn driver(self) -> &'static str {
        match self {
            Format::Raw => "raw",
            Format::Qcow2 { .. } => "qcow2",
        }
    }
}

impl Image {
    /// Whole sectors of the guest's view.
    pub fn sectors(&self) -> u64 {
        self.size_bytes / SECTOR_BYTES as u64
    }

    /// What this layer says about each sector: a tag, or `None` where the layer below decides.
    pub fn values(&self) -> Vec<Option<Tag>> {
        let per_cluster = self.format.cluster_bytes() / SECTOR_BYTES as u64;
        let value = |sector: u64| match self.clusters[(sector / per_cluster) as usize] {
            Cluster::Unallocated if self.format == Format::Raw => Some(0),
            Cluster::Unallocated => None,
            Cluster::Data => Some(initial_tag(self.layer, sector)),
            Cluster::Striped if sector.is_multiple_of(2) => Some(initial_tag(self.layer, sector)),
            _ => Some(0),
        };
        (0..self.sectors()).map(value).collect()
    }

    /// The file.
    pub fn build(&self, backing: Option<(&str, &str)>) -> Vec<u8> {
        match self.format {
            Format::Raw => self.guest_bytes(0, self.size_bytes),
            Format::Qcow2 { version, cluster_bits, refcount_order } => {
                assert!(version == 3 || refcount_order == 4, "version 2 has 16-bit refcounts");
                Layout::new(self, cluster_bits, refcount_order).build(self, version, backing)
            }
        }
    }

    fn guest_bytes(&self, from: u64, len: u64) -> Vec<u8> {
        let mut bytes = vec![0; len as usize];
        let per_cluster = self.format.cluster_bytes() / SECTOR_BYTES as u64;
        let first = from / SECTOR_BYTES as u64;
        let there =
            if self.features.leftovers { self.clusters.len() as u64 * per_cluster } else { self.sectors() };
        for (sector, chunk) in (first..there).zip(bytes.chunks_exact_mut(SECTOR_BYTES)) {
            match self.clusters[(sector / per_cluster) as usize] {
                Cluster::Data => fill(chunk, initial_tag(self.layer, sector)),
                Cluster::Striped if sector.is_multiple_of(2) => fill(chunk, initial_tag(self.layer, sector)),
                _ => {}
            }
        }
        bytes
    }
}

/// Where everything lies in a qcow2 file, in clusters.
struct Layout {
    cluster_bytes: u64,
    refcount_bits: u64,
    table_clusters: u64,
    blocks: u64,
    l1_entries: u64,
    l1_clusters: u64,
    data: u64,
    /// A directory and a table, where there is a bitmap; only a snapshot's are behind them.
    bitmap_clusters: u64,
    /// The list of snapshots and the L1 table of the one, where there is one; they are the last of the file.
    snapshot_clusters: u64,
    entry_bytes: u64,
}

impl Layout {
    fn new(image: &Image, cluster_bits: u32, refcount_order: u32) -> Layout {
        let cluster_bytes = 1u64 << cluster_bits;
        let refcount_bits = 1u64 << refcount_order;
        let entry_bytes = if image.features.extended_l2 { 16 } else { 8 };
        let l1_entries = (image.clusters.len() as u64).div_ceil(cluster_bytes / entry_bytes);
        let data = image.clusters.iter().filter(|c| has_space(**c)).count() as u64;
        let l1_clusters = (l1_entries * 8).div_ceil(cluster_bytes);
        let mut layout = Layout {
            cluster_bytes,
            refcount_bits,
            table_clusters: 1,
            blocks: 1,
            l1_entries,
            l1_clusters,
            data,
            bitmap_clusters: if image.vouching == Vouching::Bitmap { 2 } else { 0 },
            snapshot_clusters: if image.features.snapshot { 1 + l1_clusters } else { 0 },
            entry_bytes,
        };
        // The refcounts count themselves: grow until they cover the whole file, which a few rounds reach.
        while layout.blocks * cluster_bytes * 8 / refcount_bits < layout.clusters() {
            layout.blocks += 1;
            layout.table_clusters = (layout.blocks * 8).div_ceil(cluster_bytes);
        }
        layout
    }

    fn l1(&self) -> u64 {
        1 + self.table_clusters + self.blocks
    }

    fn clusters(&self) -> u64 {
        self.l1()
            + self.l1_clusters
            + self.l1_entries
            + self.data
            + self.bitmap_clusters
            + self.snapshot_clusters
    }

    fn build(&self, image: &Image, version: u32, backing: Option<(&str, &str)>) -> Vec<u8> {
        let mut file = vec![0; (self.clusters() * self.cluster_bytes) as usize];
        let at = |cluster: u64| cluster * self.cluster_bytes;
        for block in 0..self.blocks {
            put(&mut file, at(1) + block * 8, &at(1 + self.table_clusters + block).to_be_bytes());
        }
        for cluster in 0..self.clusters() {
            self.count(&mut file, cluster, self.uses(cluster));
        }
        let per_table = self.cluster_bytes / self.entry_bytes;
        let copied = if self.snapshot_clusters > 0 { 0 } else { COPIED };
        let mut next = self.first_shared();
        for (table, clusters) in (0..).zip(image.clusters.chunks(per_table as usize)) {
            let l2 = at(next);
            next += 1;
            put(&mut file, at(self.l1()) + table * 8, &(l2 | copied).to_be_bytes());
            for (slot, cluster) in (0..).zip(clusters) {
                let entry = match cluster {
                    Cluster::Unallocated => continue,
                    Cluster::Zero => 0,
                    _ => at(next) | copied,
                };
                let is_zero = matches!(cluster, Cluster::Zero | Cluster::ZeroAllocated);
                let slot_at = l2 + slot * self.entry_bytes;
                if self.entry_bytes == 8 {
                    put(&mut file, slot_at, &(entry | if is_zero { ZERO } else { 0 }).to_be_bytes());
                } else {
                    put(&mut file, slot_at, &entry.to_be_bytes());
                    put(&mut file, slot_at + 8, &if is_zero { ALL_ZERO } else { ALL_THERE }.to_be_bytes());
                }
                if has_space(*cluster) {
                    let offset = (table * per_table + slot) * self.cluster_bytes;
                    put(&mut file, at(next), &image.guest_bytes(offset, self.cluster_bytes));
                    next += 1;
                }
            }
        }
        if self.bitmap_clusters > 0 {
            // Its table has one entry, of which no bit is set.
            put(&mut file, at(next), &at(next + 1).to_be_bytes());
            put(&mut file, at(next) + 8, &[0, 0, 0, 1, 0, 0, 0, 2, 1, 9, 0, BITMAP.len() as u8, 0, 0, 0, 0]);
            put(&mut file, at(next) + 24, BITMAP.as_bytes());
            next += self.bitmap_clusters;
        }
        if self.snapshot_clusters > 0 {
            self.snapshot(&mut file, image, next);
            next += self.snapshot_clusters;
        }
        assert_eq!(next, self.clusters(), "every cluster that is counted is used");
        self.header(&mut file, image, version, backing);
        file
    }

    /// The first of the clusters that a snapshot shares: L2 tables and data.
    fn first_shared(&self) -> u64 {
        self.l1() + self.l1_clusters
    }

    /// How often a cluster is used.
    fn uses(&self, cluster: u64) -> u8 {
        let shared = self.first_shared()..self.first_shared() + self.l1_entries + self.data;
        if self.snapshot_clusters > 0 && shared.contains(&cluster) { 2 } else { 1 }
    }

    /// Counts the uses of a cluster; counters narrower than a byte fill it from the least significant bit.
    fn count(&self, file: &mut [u8], cluster: u64, uses: u8) {
        assert!(
            u64::from(uses) < 1 << self.refcount_bits.min(8),
            "{uses} uses fit into {} bits",
            self.refcount_bits
        );
        let bits = (1 + self.table_clusters) * self.cluster_bytes * 8 + cluster * self.refcount_bits;
        if self.refcount_bits < 8 {
            file[(bits / 8) as usize] |= uses << (bits % 8);
        } else {
            file[((bits + self.refcount_bits) / 8 - 1) as usize] = uses;
        }
    }

    /// The list of the one snapshot in `cluster`, and behind it its L1 table, a copy of the image's.
    fn snapshot(&self, file: &mut [u8], image: &Image, cluster: u64) {
        let (list, l1) = (cluster * self.cluster_bytes, (cluster + 1) * self.cluster_bytes);
        let from = (self.l1() * self.cluster_bytes) as usize;
        file.copy_within(from..from + (self.l1_entries * 8) as usize, l1 as usize);
        put(file, list, &l1.to_be_bytes());
        put(file, list + 8, &(self.l1_entries as u32).to_be_bytes());
        put(file, list + 12, &[0, 1, 0, 1]);
        put(file, list + 36, &24u32.to_be_bytes());
        put(file, list + 48, &image.size_bytes.to_be_bytes());
        put(file, list + 56, &u64::MAX.to_be_bytes());
        put(file, list + 64, b"1s");
    }

    fn header(&self, file: &mut [u8], image: &Image, version: u32, backing: Option<(&str, &str)>) {
        let mut header = Vec::with_capacity(256);
        let word = |h: &mut Vec<u8>, v: u32| h.extend_from_slice(&v.to_be_bytes());
        let long = |h: &mut Vec<u8>, v: u64| h.extend_from_slice(&v.to_be_bytes());
        let (name, format) = backing.unwrap_or_default();
        let bitmaps = if self.bitmap_clusters > 0 { 32 } else { 0 };
        let extension = bitmaps + if backing.is_some() { 8 + format.len().next_multiple_of(8) } else { 0 };
        let header_len = if version == 2 { 72 } else { 104 };
        let name_at = if backing.is_some() { (header_len + extension + 8) as u64 } else { 0 };
        assert!(name_at as usize + name.len() <= self.cluster_bytes as usize, "{name} fits into cluster 0");
        word(&mut header, 0x5146_49fb);
        word(&mut header, version);
        long(&mut header, name_at);
        word(&mut header, name.len() as u32);
        word(&mut header, self.cluster_bytes.trailing_zeros());
        long(&mut header, image.size_bytes);
        word(&mut header, 0);
        word(&mut header, self.l1_entries as u32);
        long(&mut header, self.l1() * self.cluster_bytes);
        long(&mut header, self.cluster_bytes);
        word(&mut header, self.table_clusters as u32);
        let has_snapshot = self.snapshot_clusters > 0;
        word(&mut header, u32::from(has_snapshot));
        let list = self.clusters() - self.snapshot_clusters;
        long(&mut header, if has_snapshot { list * self.cluster_bytes } else { 0 });
        if version == 3 {
            long(&mut header, if image.features.extended_l2 { EXTENDED_L2 } else { 0 });
            long(&mut header, u64::from(image.features.lazy_refcounts));
            let autoclear = match image.vouching {
                Vouching::Nothing => 0,
                Vouching::Unknown => AUTOCLEAR_UNKNOWN,
                Vouching::Bitmap => 1,
            };
            long(&mut header, autoclear);
            word(&mut header, self.refcount_bits.trailing_zeros());
            word(&mut header, header_len as u32);
        }
        if self.bitmap_clusters > 0 {
            word(&mut header, 0x2385_2875);
            word(&mut header, 24);
            word(&mut header, 1);
            word(&mut header, 0);
            long(&mut header, 24 + BITMAP.len().next_multiple_of(8) as u64);
            long(&mut header, (list - self.bitmap_clusters) * self.cluster_bytes);
        }
        if backing.is_some() {
            word(&mut header, 0xe279_2aca);
            word(&mut header, format.len() as u32);
            header.extend_from_slice(format.as_bytes());
            header.resize(header_len + extension, 0);
        }
        long(&mut header, 0);
        header.extend_from_slice(name.as_bytes());
        put(file, 0, &header);
    }
}

const COPIED: u64 = 1 << 63;
const ZERO: u64 = 1;
/// Of an entry with subclusters: all are in the file, or all are zeroes.
const ALL_THERE: u64 = 0xffff_ffff;
const ALL_ZERO: u64 = 0xffff_ffff << 32;
/// The bit that says that entries have them.
const EXTENDED_L2: u64 = 1 << 4;

fn has_space(cluster: Cluster) -> bool {
    !matches!(cluster, Cluster::Unallocated | Cluster::Zero)
}

fn put(file: &mut [u8], offset: u64, bytes: &[u8]) {
    file[offset as usize..offset as usize + bytes.len()].copy_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recovery;
    use crate::workload::scenario::Scenario;
    use midstream::content::tag_of;

    fn image(cluster_bits: u32, refcount_order: u32, clusters: Vec<Cluster>) -> Image {
        Image {
            layer: 1,
            path: "/n1".to_owned(),
            format: Format::Qcow2 { version: 3, cluster_bits, refcount_order },
            size_bytes: (clusters.len() as u64) << cluster_bits,
            backing: Some(0),
            clusters,
            vouching: Vouching::Nothing,
            features: Features::default(),
        }
    }

    #[test]
    fn the_refcounts_cover_the_whole_file_at_every_width() {
        for order in 0..=6 {
            let layout = Layout::new(&image(9, order, vec![Cluster::Data; 128]), 9, order);
            let covered = layout.blocks * 512 * 8 / layout.refcount_bits;
            assert!(covered >= layout.clusters(), "order {order}: {covered} of {}", layout.clusters());
        }
    }

    #[test]
    fn a_layer_says_what_it_was_built_from() {
        let image = image(10, 4, vec![Cluster::Data, Cluster::Unallocated, Cluster::Zero, Cluster::Striped]);
        let (own, stripe) = (Some(initial_tag(1, 0)), Some(initial_tag(1, 6)));
        let values = image.values();
        assert_eq!(values[0], own);
        assert_eq!(values[2..6], [None, None, Some(0), Some(0)]);
        assert_eq!(values[6..], [stripe, Some(0)]);
        let file = image.build(Some(("/n0", "raw")));
        assert!(file.chunks(512).any(|sector| Some(tag_of(sector)) == own));
    }

    /// What a check by the engine's driver, and a reader, make of an image with everything that is drawn.
    #[test]
    fn features_are_built_as_the_format_has_them() {
        let all = [(true, false, false), (false, true, false), (false, false, true), (true, true, true)];
        for (lazy_refcounts, extended_l2, snapshot) in all {
            let leftovers = lazy_refcounts;
            let mut scenario = Scenario::chain(&["d.s0z_dd"]);
            let image = &mut scenario.images[0];
            image.format = Format::Qcow2 { version: 3, cluster_bits: 14, refcount_order: 4 };
            image.size_bytes = if leftovers { (6 << 14) + 512 } else { 8 << 14 };
            image.features = Features { lazy_refcounts, extended_l2, snapshot, leftovers };
            let values: Vec<u64> = image.values().into_iter().map(Option::unwrap_or_default).collect();
            let mut files = scenario.files();
            let found = &recovery::read_all(&scenario, &mut files).expect("it ends")[0];
            assert_eq!((found.corruptions, found.leaks), (0, 0), "{:?}", found.damage);
            assert_eq!(found.values.as_ref().ok(), Some(&values));
        }
    }
}
