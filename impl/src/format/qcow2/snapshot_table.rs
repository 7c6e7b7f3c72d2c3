//! The list of internal snapshots, to and from bytes. What this driver does not know of a snapshot is kept.

use super::header::{be32, be64};

/// QEMU's limits: on snapshots, on what each says beyond the fixed fields, and on the whole list.
pub(super) const MAX_SNAPSHOTS: u32 = 65536;
const MAX_EXTRA_BYTES: u32 = 1024;
pub(super) const MAX_TABLE_BYTES: u64 = 64 << 20;

/// The longest entry: its fixed fields, the extra data, and two names of 16-bit lengths, in whole eights.
pub(super) const MAX_ENTRY_BYTES: u64 =
    (FIXED_BYTES as u64 + MAX_EXTRA_BYTES as u64 + 2 * 65535).next_multiple_of(8);

/// No count of the guest's instructions is known: what a new snapshot says after the sizes.
pub(super) const NO_INSTRUCTION_COUNT: [u8; 8] = [0xff; 8];

const FIXED_BYTES: usize = 40;

/// One internal snapshot.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Snapshot {
    /// Its id: a number, as text.
    pub id: String,
    /// Its name.
    pub name: String,
    pub(super) l1_offset: u64,
    pub(super) l1_entries: u32,
    /// When it was made: seconds since 1970, and nanoseconds of the second.
    pub seconds: u32,
    /// See `seconds`.
    pub nanoseconds: u32,
    /// The guest's clock then, in nanoseconds.
    pub vm_clock: u64,
    /// Bytes of a saved machine state.
    pub vm_state_bytes: u64,
    /// The size of the guest's disk then; 0 if the snapshot does not say.
    pub len_bytes: u64,
    /// What follows these in the extra data.
    pub(super) more: Vec<u8>,
}

/// Reads `count` snapshots; `None` if the list is cut short, breaks a limit or has a name that is not UTF-8.
pub(super) fn decode(table: &[u8], count: u32) -> Option<Vec<Snapshot>> {
    let mut at = 0;
    // No count is trusted for an allocation: each entry must be there.
    let mut snapshots = Vec::new();
    for _ in 0..count.min(MAX_SNAPSHOTS) {
        let (snapshot, len) = decode_one(table.get(at..)?)?;
        snapshots.push(snapshot);
        at += len.next_multiple_of(8);
    }
    Some(snapshots)
}

fn decode_one(bytes: &[u8]) -> Option<(Snapshot, usize)> {
    let fixed = bytes.get(..FIXED_BYTES)?;
    let (id_len, name_len) = (be32(fixed, 12) >> 16, be32(fixed, 12) & 0xffff);
    let extra_len = be32(fixed, 36);
    if extra_len > MAX_EXTRA_BYTES {
        return None;
    }
    let extra_end = FIXED_BYTES + extra_len as usize;
    let id_end = extra_end + id_len as usize;
    let end = id_end + name_len as usize;
    let extra = bytes.get(FIXED_BYTES..extra_end)?;
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).ok();
    let number = |at: usize| if extra.len() >= at + 8 { be64(extra, at) } else { 0 };
    let snapshot = Snapshot {
        id: text(bytes.get(extra_end..id_end)?)?,
        name: text(bytes.get(id_end..end)?)?,
        l1_offset: be64(fixed, 0),
        l1_entries: be32(fixed, 8),
        seconds: be32(fixed, 16),
        nanoseconds: be32(fixed, 20),
        vm_clock: be64(fixed, 24),
        // The larger field came later; where it is there, it is the one that counts.
        vm_state_bytes: if extra.len() >= 8 { number(0) } else { be32(fixed, 32).into() },
        len_bytes: number(8),
        more: extra.get(16..).unwrap_or(&[]).to_vec(),
    };
    Some((snapshot, end))
}

/// The list as bytes.
pub(super) fn encode(snapshots: &[Snapshot]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for snapshot in snapshots {
        encode_one(snapshot, &mut bytes);
        bytes.resize(bytes.len().next_multiple_of(8), 0);
    }
    bytes
}

fn encode_one(snapshot: &Snapshot, bytes: &mut Vec<u8>) {
    let Snapshot { id, name, l1_offset, l1_entries, .. } = snapshot;
    bytes.extend_from_slice(&l1_offset.to_be_bytes());
    bytes.extend_from_slice(&l1_entries.to_be_bytes());
    bytes.extend_from_slice(&(id.len() as u16).to_be_bytes());
    bytes.extend_from_slice(&(name.len() as u16).to_be_bytes());
    bytes.extend_from_slice(&snapshot.seconds.to_be_bytes());
    bytes.extend_from_slice(&snapshot.nanoseconds.to_be_bytes());
    bytes.extend_from_slice(&snapshot.vm_clock.to_be_bytes());
    let small = u32::try_from(snapshot.vm_state_bytes).unwrap_or(0);
    bytes.extend_from_slice(&small.to_be_bytes());
    bytes.extend_from_slice(&(16 + snapshot.more.len() as u32).to_be_bytes());
    bytes.extend_from_slice(&snapshot.vm_state_bytes.to_be_bytes());
    bytes.extend_from_slice(&snapshot.len_bytes.to_be_bytes());
    bytes.extend_from_slice(&snapshot.more);
    bytes.extend_from_slice(id.as_bytes());
    bytes.extend_from_slice(name.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two() -> Vec<Snapshot> {
        let first =
            Snapshot { id: "1".into(), name: "one".into(), len_bytes: 1 << 20, ..Snapshot::default() };
        let second = Snapshot { id: "2".into(), name: "another".into(), more: vec![7; 8], ..first.clone() };
        vec![first, second]
    }

    #[test]
    fn what_was_written_is_read() {
        let bytes = encode(&two());
        assert_eq!(decode(&bytes, 2), Some(two()));
    }

    #[test]
    fn a_list_that_is_cut_short_is_none() {
        let bytes = encode(&two());
        assert_eq!(decode(&bytes, 3), None);
        assert_eq!(decode(&bytes[..bytes.len() - 9], 2), None);
        let mut large = bytes;
        large[36] = 1;
        assert_eq!(decode(&large, 2), None, "more extra data than QEMU reads");
    }
}
