//! Which fields of a qcow2 file belong together, found by following its own pointers as far as they lead.

/// A big-endian number in a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Field {
    /// Where it begins.
    pub at: usize,
    /// Its bytes, at most 8.
    pub width: usize,
}

/// Fields that belong together.
pub type Group = Vec<Field>;

/// Followed no further than this, in entries and in groups of a kind.
const FOLLOWED_MAX: usize = 64;
const BITMAPS: u64 = 0x2385_2875;

fn group(fields: &[(usize, usize)]) -> Group {
    fields.iter().map(|(at, width)| Field { at: *at, width: *width }).collect()
}

/// Groups by kind, each kind with one at least: header, extensions, mapping, refcounts, snapshots, bitmaps.
pub fn groups(bytes: &[u8]) -> Vec<Vec<Group>> {
    let file = File { bytes };
    let kinds =
        [header(), file.extensions(), file.mapping(), file.refcounts(), file.snapshots(), file.bitmaps()];
    kinds.into_iter().filter(|kind| !kind.is_empty()).collect()
}

fn header() -> Vec<Group> {
    [
        // The L1 table's place and length, with the size that it maps and the clusters that size is made of.
        &[(36, 4), (40, 8)][..],
        &[(24, 8), (36, 4)],
        &[(20, 4), (24, 8), (36, 4)],
        &[(20, 4), (24, 8), (96, 4)],
        // The refcount table's place and length; the width of what it leads to.
        &[(48, 8), (56, 4)],
        &[(56, 4), (96, 4)],
        // Snapshots, the backing file's name, encryption.
        &[(60, 4), (64, 8)],
        &[(8, 8), (16, 4)],
        &[(32, 4), (100, 4)],
        // What one must know, may know, and gives up by writing; the compression that a bit goes with.
        &[(72, 8), (80, 8)],
        &[(72, 8), (88, 8)],
        &[(72, 8), (104, 1)],
        &[(4, 4), (100, 4)],
    ]
    .into_iter()
    .map(group)
    .collect()
}

struct File<'a> {
    bytes: &'a [u8],
}

impl File<'_> {
    /// A number; zero where the file has ended.
    fn number(&self, at: usize, width: usize) -> u64 {
        let field = at.checked_add(width).and_then(|end| self.bytes.get(at..end)).unwrap_or(&[]);
        field.iter().fold(0, |value, byte| value << 8 | u64::from(*byte))
    }

    fn place(&self, at: usize) -> usize {
        self.number(at, 8) as usize
    }

    fn cluster_bytes(&self) -> usize {
        1 << self.number(20, 4).clamp(9, 21)
    }

    /// Where the offset in an entry of L1, L2 or the refcount table leads, if anywhere.
    fn leads(&self, entry: usize) -> Option<usize> {
        let offset = (self.number(entry, 8) & 0x00ff_ffff_ffff_fe00) as usize;
        (offset > 0 && offset < self.bytes.len()).then_some(offset)
    }

    /// The used entries of a table, each with where it leads.
    fn used(&self, table: usize, entries: usize) -> Vec<(usize, usize)> {
        let entries = (0..entries.min(self.bytes.len() / 8)).map(|index| table.saturating_add(index * 8));
        let used = entries.filter_map(|at| self.leads(at).map(|leads| (at, leads)));
        used.take(FOLLOWED_MAX).collect()
    }

    /// An extension's type and length; where each begins, its type, its length.
    fn headers_of_extensions(&self) -> Vec<(usize, u64, usize)> {
        let mut found = Vec::new();
        let mut at = if self.number(4, 4) == 2 { 72 } else { self.number(100, 4) as usize };
        while self.number(at, 4) != 0 && found.len() < FOLLOWED_MAX {
            let len = self.number(at + 4, 4) as usize;
            found.push((at, self.number(at, 4), len));
            at += 8 + len.next_multiple_of(8);
        }
        found
    }

    fn extensions(&self) -> Vec<Group> {
        let found = self.headers_of_extensions();
        found.iter().map(|(at, _, _)| group(&[(*at, 4), (at + 4, 4)])).collect()
    }

    /// An L1 entry with an L2 entry below it; two L2 entries, which may come to share a cluster; an entry of extended L2
    /// with its bitmap.
    fn mapping(&self) -> Vec<Group> {
        let mut groups = Vec::new();
        for (l1, table) in self.used(self.place(40), self.number(36, 4) as usize) {
            groups.push(group(&[(l1, 8)]));
            let l2 = self.used(table, self.cluster_bytes() / 8);
            groups.extend(l2.first().map(|(entry, _)| group(&[(l1, 8), (*entry, 8)])));
            groups.extend(l2.windows(2).map(|pair| group(&[(pair[0].0, 8), (pair[1].0, 8)])));
            groups.extend(l2.iter().map(|(entry, _)| group(&[(*entry, 8), (entry + 8, 8)])));
        }
        groups.truncate(2 * FOLLOWED_MAX);
        groups
    }

    /// An entry of the refcount table with counts below it; counts beside the L1 entry that relies on one.
    fn refcounts(&self) -> Vec<Group> {
        let mut groups = Vec::new();
        let tables = (self.number(56, 4) as usize).saturating_mul(self.cluster_bytes() / 8);
        for (entry, block) in self.used(self.place(48), tables) {
            groups.push(group(&[(entry, 8)]));
            groups.push(group(&[(entry, 8), (block, 8)]));
            groups.extend((0..8).map(|word| group(&[(block + 8 * word, 8)])));
            groups.push(group(&[(block, 8), (self.place(40), 8)]));
        }
        groups.truncate(FOLLOWED_MAX);
        groups
    }

    /// Of each snapshot: its L1 table's place and length, the lengths that say where the next one begins, its size.
    fn snapshots(&self) -> Vec<Group> {
        let (mut groups, mut at) = (Vec::new(), self.place(64));
        for _ in 0..self.number(60, 4).min(8) {
            if at == 0 || at >= self.bytes.len() {
                break;
            }
            groups.push(group(&[(at, 8), (at + 8, 4)]));
            groups.push(group(&[(at + 12, 2), (at + 14, 2)]));
            groups.push(group(&[(at + 32, 4), (at + 36, 4)]));
            groups.push(group(&[(at + 8, 4), (at + 48, 8)]));
            groups.extend(self.leads(self.place(at)).map(|_| group(&[(self.place(at), 8)])));
            let name = self.number(at + 12, 2) + self.number(at + 14, 2);
            at += (40 + self.number(at + 36, 4) as usize + name as usize).next_multiple_of(8);
        }
        groups
    }

    /// Fields of the bitmaps extension, and of each entry of the directory: where its table is and how long, its flags
    /// and granularity, the length of its name and of what follows it; an entry of its table.
    fn bitmaps(&self) -> Vec<Group> {
        let found = self.headers_of_extensions();
        let Some((at, _, _)) = found.iter().find(|(_, kind, _)| *kind == BITMAPS) else { return Vec::new() };
        let mut groups = vec![
            group(&[(at + 8, 4), (at + 16, 8)]),
            group(&[(at + 16, 8), (at + 24, 8)]),
            group(&[(at + 4, 4)]),
        ];
        let (mut entry, end) =
            (self.place(at + 24), self.number(at + 24, 8).saturating_add(self.number(at + 16, 8)));
        while (entry as u64) < end && entry < self.bytes.len() && groups.len() < FOLLOWED_MAX {
            groups.push(group(&[(entry, 8), (entry + 8, 4)]));
            groups.push(group(&[(entry + 12, 4), (entry + 17, 1)]));
            groups.push(group(&[(entry + 15, 1), (entry + 17, 1), (entry + 8, 4)]));
            groups.push(group(&[(entry + 18, 2), (entry + 20, 4)]));
            groups.push(group(&[(self.place(entry), 8)]));
            entry += (24 + self.number(entry + 18, 2) as usize + self.number(entry + 20, 4) as usize)
                .next_multiple_of(8);
        }
        groups
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_bytes_have_the_header_and_nothing_is_read_past_them() {
        for len in [0, 71, 104, 512, 4096] {
            let groups = groups(&vec![0xff; len]);
            assert!(!groups[0].is_empty());
        }
    }
}
