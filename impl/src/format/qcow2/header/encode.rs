//! Cluster 0 to bytes.

use super::{
    EXTENSION_BACKING_FORMAT, EXTENSION_END, EXTENSION_FEATURE_NAMES, Header, MAGIC, NoRoom, V2_BYTES,
    V3_BYTES,
};
use crate::format::qcow2::geometry::SECTOR;

impl Header {
    /// Cluster 0 as bytes, without the zeroes behind it.
    ///
    /// A disk writes one sector whole, so a header of one sector changes entirely or not at all: for that, and
    /// if nothing else helps against lack of room, the table of feature names (which only decorates error
    /// messages) is left out.
    pub(crate) fn encode(&self) -> Result<Vec<u8>, NoRoom> {
        let whole = self.encode_with(true);
        if whole.len() as u64 <= SECTOR {
            return Ok(whole);
        }
        let bare = self.encode_with(false);
        let cluster = 1usize << self.cluster_bits;
        match () {
            () if bare.len() as u64 <= SECTOR => Ok(bare),
            () if whole.len() <= cluster => Ok(whole),
            () if bare.len() <= cluster => Ok(bare),
            () => Err(NoRoom),
        }
    }

    /// Cluster 0 with the feature names, however many sectors that takes.
    pub(crate) fn encode_in_full(&self) -> Result<Vec<u8>, NoRoom> {
        let whole = self.encode_with(true);
        if whole.len() <= 1 << self.cluster_bits { Ok(whole) } else { Err(NoRoom) }
    }

    fn encode_with(&self, feature_names: bool) -> Vec<u8> {
        let mut bytes = self.encode_fields();
        if let Some(format) = self.backing.as_ref().and_then(|b| b.format.as_ref()) {
            push_extension(&mut bytes, EXTENSION_BACKING_FORMAT, format.as_bytes());
        }
        for extension in &self.extensions {
            if feature_names || extension.kind != EXTENSION_FEATURE_NAMES {
                push_extension(&mut bytes, extension.kind, &extension.data);
            }
        }
        push_extension(&mut bytes, EXTENSION_END, &[]);
        if let Some(backing) = &self.backing {
            let at = bytes.len() as u64;
            bytes[8..16].copy_from_slice(&at.to_be_bytes());
            bytes[16..20].copy_from_slice(&(backing.file.len() as u32).to_be_bytes());
            bytes.extend_from_slice(backing.file.as_bytes());
        }
        bytes
    }

    fn encode_fields(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(SECTOR as usize);
        let put32 = |bytes: &mut Vec<u8>, value: u32| bytes.extend_from_slice(&value.to_be_bytes());
        let put64 = |bytes: &mut Vec<u8>, value: u64| bytes.extend_from_slice(&value.to_be_bytes());
        put32(&mut bytes, MAGIC);
        put32(&mut bytes, self.version);
        // Offset and length of the backing file's name, filled in once they are known.
        put64(&mut bytes, 0);
        put32(&mut bytes, 0);
        put32(&mut bytes, self.cluster_bits);
        put64(&mut bytes, self.len_bytes);
        put32(&mut bytes, self.crypt_method);
        put32(&mut bytes, self.l1_entries);
        put64(&mut bytes, self.l1_offset);
        put64(&mut bytes, self.refcount_table_offset);
        put32(&mut bytes, self.refcount_table_clusters);
        put32(&mut bytes, self.snapshots);
        put64(&mut bytes, self.snapshots_offset);
        if self.version >= 3 {
            put64(&mut bytes, self.incompatible);
            put64(&mut bytes, self.compatible);
            put64(&mut bytes, self.autoclear);
            put32(&mut bytes, self.refcount_order);
            put32(&mut bytes, self.length() as u32);
            bytes.extend_from_slice(&self.rest);
        }
        assert_eq!(bytes.len(), self.length(), "the header's fields fill its length");
        bytes
    }

    fn length(&self) -> usize {
        if self.version == 2 { V2_BYTES } else { V3_BYTES + self.rest.len() }
    }
}

fn push_extension(bytes: &mut Vec<u8>, kind: u32, data: &[u8]) {
    bytes.extend_from_slice(&kind.to_be_bytes());
    bytes.extend_from_slice(&(data.len() as u32).to_be_bytes());
    bytes.extend_from_slice(data);
    // The padding counts from the data's start: a header of an odd length stays legible.
    bytes.resize(bytes.len() + data.len().next_multiple_of(8) - data.len(), 0);
}
