//! Compressed clusters: raw deflate, or zstd. They are read, never written.

use super::geometry::Geometry;
use flate2::{Decompress, FlushDecompress, Status};
use std::io::Read;

/// Unpacks one guest cluster; `None` if the data is damaged or too short.
pub(super) fn decompress(packed: &[u8], geometry: Geometry) -> Option<Vec<u8>> {
    let mut cluster = vec![0; geometry.cluster_bytes() as usize];
    let complete = match geometry.compression_type {
        0 => inflate(packed, &mut cluster),
        _ => zstd::stream::read::Decoder::new(packed).and_then(|mut d| d.read_exact(&mut cluster)).is_ok(),
    };
    complete.then_some(cluster)
}

/// Whether the stream filled the cluster. What follows it in the last sector does not matter.
fn inflate(packed: &[u8], cluster: &mut [u8]) -> bool {
    let mut stream = Decompress::new(false);
    let status = stream.decompress(packed, cluster, FlushDecompress::Finish);
    let whole = stream.total_out() == cluster.len() as u64;
    whole && matches!(status, Ok(Status::StreamEnd | Status::Ok | Status::BufError))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn geometry(compression_type: u8) -> Geometry {
        Geometry { version: 3, cluster_bits: 12, refcount_order: 4, compression_type }
    }

    fn content() -> Vec<u8> {
        (0..4096u32).map(|n| (n / 7) as u8).collect()
    }

    #[test]
    fn deflate_reads_back_with_sector_padding() {
        let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(&content()).unwrap();
        let mut packed = encoder.finish().unwrap();
        packed.extend_from_slice(&[0xaa; 100]);
        assert_eq!(decompress(&packed, geometry(0)), Some(content()));
    }

    #[test]
    fn zstd_reads_back_with_sector_padding() {
        let mut packed = zstd::bulk::compress(&content(), 3).unwrap();
        packed.extend_from_slice(&[0xaa; 100]);
        assert_eq!(decompress(&packed, geometry(1)), Some(content()));
    }

    #[test]
    fn damaged_and_short_data_is_an_error() {
        for compression_type in [0, 1] {
            assert_eq!(decompress(&[0xff; 64], geometry(compression_type)), None);
            assert_eq!(decompress(&[], geometry(compression_type)), None);
        }
        let short = zstd::bulk::compress(&[1; 100], 3).unwrap();
        assert_eq!(decompress(&short, geometry(1)), None);
    }
}
