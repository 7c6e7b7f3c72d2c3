//! Which part of a qcow2 image lies where in its file: for readers of what disks did, and for whoever makes it rot.

use std::ops::Range;

/// The offset of an L1 or refcount table's entry.
const OFFSET: usize = 0x00ff_ffff_ffff_fe00;

/// The table that lies there, if one does and the file is an image.
pub fn table_at(file: &[u8], offset: u64) -> Option<&'static str> {
    parts(file).find(|(_, part)| part.contains(&(offset as usize))).map(|(name, _)| name)
}

/// The tables of an image, and where each lies; none, if the file is no image.
fn parts(file: &[u8]) -> impl Iterator<Item = (&'static str, Range<usize>)> {
    let cluster_bytes = 1usize << number(file, 20, 4).min(21);
    let l1 = (number(file, 40, 8), number(file, 36, 4));
    let refcounts = (number(file, 48, 8), number(file, 56, 4) * cluster_bytes / 8);
    let part = |start: usize, len: usize| start..start.saturating_add(len);
    let fixed = [
        ("header", part(0, cluster_bytes)),
        ("L1 table", part(l1.0, l1.1 * 8)),
        ("refcount table", part(refcounts.0, refcounts.1 * 8)),
    ];
    let below = move |table: (usize, usize), name: &'static str| {
        let starts = entries(file, table).filter(|start| *start != 0);
        starts.map(move |start| (name, part(start & OFFSET, cluster_bytes)))
    };
    let all = fixed.into_iter().chain(below(refcounts, "refcounts")).chain(below(l1, "L2 table"));
    all.filter(move |_| file.starts_with(b"QFI\xfb"))
}

/// A part of an image.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Table {
    /// The fixed part of the header.
    Header,
    /// The L1 table.
    L1,
    /// The L2 tables.
    L2,
    /// The refcount table.
    RefcountTable,
    /// The refcount blocks.
    Refcounts,
    /// Whatever is none of these.
    Data,
}

impl Table {
    /// What it is called.
    pub fn word(self) -> &'static str {
        match self {
            Table::Header => "header",
            Table::L1 => "L1 table",
            Table::L2 => "L2 table",
            Table::RefcountTable => "refcount table",
            Table::Refcounts => "refcounts",
            Table::Data => "data",
        }
    }
}

/// Where the words of eight bytes of a part lie.
pub fn places(file: &[u8], table: Table) -> Box<dyn Iterator<Item = usize> + '_> {
    let words = |start: usize, len: usize| (start..start + len).step_by(8);
    let cluster_bytes = 1usize << number(file, 20, 4).min(21);
    let l1 = (number(file, 40, 8), number(file, 36, 4));
    let refcounts = (number(file, 48, 8), number(file, 56, 4) * cluster_bytes / 8);
    let below = move |table| {
        let starts = entries(file, table).map(|start| start & OFFSET).filter(|start| *start != 0);
        starts.flat_map(move |start| words(start, cluster_bytes))
    };
    match table {
        Table::Header => Box::new(words(0, 104)),
        Table::L1 => Box::new(words(l1.0, l1.1.min(file.len()) * 8)),
        Table::RefcountTable => Box::new(words(refcounts.0, refcounts.1.min(file.len()) * 8)),
        Table::L2 => Box::new(below(l1)),
        Table::Refcounts => Box::new(below(refcounts)),
        Table::Data => {
            let mut is_data = vec![true; file.len() / 8];
            for (_, part) in parts(file) {
                let (start, end) = (part.start.div_ceil(8), part.end.div_ceil(8).min(is_data.len()));
                is_data.get_mut(start..end).into_iter().for_each(|words| words.fill(false));
            }
            Box::new(words(0, file.len() / 8 * 8).filter(move |at| is_data[at / 8]))
        }
    }
}

/// The entries of a table that lie in the file.
fn entries(file: &[u8], (start, count): (usize, usize)) -> impl Iterator<Item = usize> {
    let all: Range<usize> = 0..count.min(file.len() / 8);
    all.map(move |index| number(file, start + index * 8, 8))
}

/// A big-endian number; past the end of the file there are zeroes.
#[inline]
pub fn number(file: &[u8], offset: usize, len: usize) -> usize {
    match file.get(offset..offset + len) {
        // Most are whole words of the file.
        Some(bytes) => match <[u8; 8]>::try_from(bytes) {
            Ok(word) => u64::from_be_bytes(word) as usize,
            Err(_) => bytes.iter().fold(0, |value, byte| value << 8 | usize::from(*byte)),
        },
        None => (offset..offset + len)
            .fold(0, |value, at| value << 8 | usize::from(file.get(at).copied().unwrap_or(0))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::image::{Cluster, Features, Format, Image, Vouching};

    #[test]
    fn tables_are_known_by_where_the_header_leads() {
        let format = Format::Qcow2 { version: 3, cluster_bits: 10, refcount_order: 4 };
        let (path, clusters) = ("/n1".to_owned(), vec![Cluster::Data; 2]);
        let image = Image {
            layer: 1,
            path,
            format,
            size_bytes: 2048,
            backing: None,
            clusters,
            vouching: Vouching::Nothing,
            features: Features::default(),
        };
        let file = image.build(None);
        let tables: Vec<_> =
            (0..file.len() as u64 / 1024).map(|cluster| table_at(&file, cluster * 1024)).collect();
        for table in ["header", "L1 table", "L2 table", "refcount table", "refcounts"] {
            assert!(tables.contains(&Some(table)), "{table} in {tables:?}");
        }
        assert_eq!(tables.iter().filter(|table| table.is_none()).count(), 2, "{tables:?}");
        assert_eq!(table_at(b"no image", 0), None);
    }
}
