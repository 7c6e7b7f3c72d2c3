//! Cluster 0 from bytes.

use super::{
    BackingName, EXTENSION_BACKING_FORMAT, EXTENSION_END, EXTENSION_FEATURE_NAMES, Extension,
    FEATURE_NAME_BYTES, Header, INCOMPATIBLE_COMPRESSION, INCOMPATIBLE_SUPPORTED, MAGIC, MAX_BACKING_NAME,
    MAX_FORMAT_NAME, V2_BYTES, V3_BYTES, be32, be64, text,
};
use crate::format::qcow2::geometry::{CLUSTER_BITS, MAX_REFCOUNT_ORDER, SECTOR};
use crate::format::qcow2::open_error::OpenCause;

/// Finds the cluster size, which says how many bytes `Header::parse` may look at.
pub(in crate::format::qcow2) fn cluster_bits(start: &[u8]) -> Result<u32, OpenCause> {
    if be32(start, 0) != MAGIC {
        return Err(OpenCause::NotQcow2);
    }
    let version = be32(start, 4);
    if !(2..=3).contains(&version) {
        return Err(OpenCause::Version(version));
    }
    let bits = be32(start, 20);
    if !CLUSTER_BITS.contains(&bits) {
        return Err(OpenCause::ClusterBits(bits));
    }
    Ok(bits)
}

impl Header {
    /// Decodes the first cluster, or the part of it that was read. `None`: more of the cluster is needed.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Option<Header>, OpenCause> {
        let bits = cluster_bits(bytes)?;
        let mut header = fixed_fields(bytes, bits);
        let length = header.parse_v3(bytes)?;
        let Some(length) = length else { return Ok(None) };
        let backing_offset = be64(bytes, 8);
        if backing_offset > 1 << bits {
            return Err(OpenCause::BackingOffset(backing_offset));
        }
        let end = if backing_offset != 0 { backing_offset } else { 1 << bits };
        let Some(format) = header.parse_extensions(bytes, length, end as usize)? else { return Ok(None) };
        header.refuse_unsupported()?;
        let name_len = be32(bytes, 16);
        if backing_offset == 0 || name_len == 0 {
            return Ok(Some(header));
        }
        let room = (1u64 << bits) - backing_offset;
        if u64::from(name_len) > room.min(MAX_BACKING_NAME as u64) {
            return Err(OpenCause::BackingNameTooLong(name_len));
        }
        let start = backing_offset as usize;
        let Some(name) = bytes.get(start..start + name_len as usize) else { return Ok(None) };
        let file = text(name)?;
        header.backing = Some(BackingName { file, format });
        Ok(Some(header))
    }

    /// Decodes what version 3 added and answers the header's length.
    fn parse_v3(&mut self, bytes: &[u8]) -> Result<Option<usize>, OpenCause> {
        if self.version == 2 {
            return Ok(Some(V2_BYTES));
        }
        let length = be32(bytes, 100);
        if (length as usize) < V3_BYTES {
            return Err(OpenCause::HeaderTooShort(length));
        }
        if u64::from(length) > 1 << self.cluster_bits {
            return Err(OpenCause::HeaderTooLong(length));
        }
        let Some(rest) = bytes.get(V3_BYTES..length as usize) else { return Ok(None) };
        self.incompatible = be64(bytes, 72);
        self.compatible = be64(bytes, 80);
        self.autoclear = be64(bytes, 88);
        self.refcount_order = be32(bytes, 96);
        self.rest = rest.to_vec();
        Ok(Some(length as usize))
    }

    /// Collects the extensions and answers the backing format.
    fn parse_extensions(
        &mut self,
        bytes: &[u8],
        from: usize,
        end: usize,
    ) -> Result<Option<Option<String>>, OpenCause> {
        let mut format = None;
        let mut at = from;
        while at + 8 <= end {
            if at + 8 > bytes.len() {
                return Ok(None);
            }
            let (kind, len) = (be32(bytes, at), be32(bytes, at + 4));
            at += 8;
            if kind == EXTENSION_END {
                break;
            }
            if len as usize > end - at {
                return Err(OpenCause::ExtensionTooLarge { kind, len });
            }
            let Some(data) = bytes.get(at..at + len as usize) else { return Ok(None) };
            if kind == EXTENSION_BACKING_FORMAT {
                if data.len() > MAX_FORMAT_NAME {
                    return Err(OpenCause::BackingFormatTooLong(len));
                }
                format = Some(text(data)?);
            } else {
                self.extensions.push(Extension { kind, data: data.to_vec() });
            }
            at += (len as usize).next_multiple_of(8);
        }
        Ok(Some(format))
    }

    fn refuse_unsupported(&self) -> Result<(), OpenCause> {
        let bits = self.incompatible & !INCOMPATIBLE_SUPPORTED;
        if bits != 0 {
            return Err(OpenCause::Features { names: self.feature_names(bits), bits });
        }
        if self.refcount_order > MAX_REFCOUNT_ORDER {
            return Err(OpenCause::RefcountOrder(self.refcount_order));
        }
        if self.crypt_method != 0 {
            return Err(OpenCause::Encrypted(self.crypt_method));
        }
        let subcluster = self.geometry().unit_bytes();
        if subcluster < SECTOR {
            return Err(OpenCause::SubclusterSize(subcluster));
        }
        match (self.compression_type(), self.incompatible & INCOMPATIBLE_COMPRESSION != 0) {
            (0, false) | (1, true) => Ok(()),
            (0, true) => Err(OpenCause::CompressionBitIdle),
            (1, false) => Err(OpenCause::CompressionBitMissing),
            (other, _) => Err(OpenCause::CompressionType(other)),
        }
    }

    /// Names incompatible features, as QEMU does: from the image's table, then the leftover bits in hex.
    fn feature_names(&self, bits: u64) -> String {
        let mut left = bits;
        let mut names = Vec::new();
        for entry in self.extension(EXTENSION_FEATURE_NAMES).unwrap_or(&[]).chunks_exact(FEATURE_NAME_BYTES) {
            let is_incompatible = entry[0] == 0;
            if is_incompatible && entry[1] < 64 && left & 1 << entry[1] != 0 {
                left &= !(1 << entry[1]);
                let name = entry[2..].split(|b| *b == 0).next().unwrap_or(&[]);
                names.push(String::from_utf8_lossy(name).into_owned());
            }
        }
        if left != 0 {
            names.push(format!("Unknown incompatible feature: {left:x}"));
        }
        names.join(", ")
    }
}

fn fixed_fields(bytes: &[u8], cluster_bits: u32) -> Header {
    Header {
        version: be32(bytes, 4),
        cluster_bits,
        len_bytes: be64(bytes, 24),
        crypt_method: be32(bytes, 32),
        l1_entries: be32(bytes, 36),
        l1_offset: be64(bytes, 40),
        refcount_table_offset: be64(bytes, 48),
        refcount_table_clusters: be32(bytes, 56),
        snapshots: be32(bytes, 60),
        snapshots_offset: be64(bytes, 64),
        refcount_order: 4,
        ..Header::default()
    }
}
