//! Compressed clusters: raw deflate, or zstd.

use super::geometry::Geometry;
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};
use std::io::Read;

/// Whoever reads deflate streams of this format looks back 4 KiB and no further.
const WINDOW_BITS: u8 = 12;
/// The library's own default.
const ZSTD_LEVEL: i32 = 3;

/// Unpacks one guest cluster; `None` if the data is damaged or too short.
pub(super) fn decompress(packed: &[u8], geometry: Geometry) -> Option<Vec<u8>> {
    let mut cluster = vec![0; geometry.cluster_bytes() as usize];
    let complete = match geometry.compression_type {
        0 => inflate(packed, &mut cluster),
        _ => zstd::stream::read::Decoder::new(packed).and_then(|mut d| d.read_exact(&mut cluster)).is_ok(),
    };
    complete.then_some(cluster)
}

/// Packs one guest cluster; `None` if that does not make it shorter.
pub(super) fn compress(cluster: &[u8], geometry: Geometry) -> Option<Vec<u8>> {
    assert_eq!(cluster.len() as u64, geometry.cluster_bytes(), "compressed clusters are whole");
    let mut packed = vec![0; cluster.len() - 1];
    let len = match geometry.compression_type {
        0 => deflate(cluster, &mut packed)?,
        _ => zstd::bulk::compress_to_buffer(cluster, &mut packed, ZSTD_LEVEL).ok()?,
    };
    packed.truncate(len);
    Some(packed)
}

fn deflate(cluster: &[u8], packed: &mut [u8]) -> Option<usize> {
    let mut stream = Compress::new_with_window_bits(Compression::default(), false, WINDOW_BITS);
    let status = stream.compress(cluster, packed, FlushCompress::Finish);
    matches!(status, Ok(Status::StreamEnd)).then_some(stream.total_out() as usize)
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
        let (extended_l2, data_file) = (false, false);
        Geometry { version: 3, cluster_bits: 12, refcount_order: 4, compression_type, extended_l2, data_file }
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
    fn what_was_packed_is_unpacked_and_noise_is_not_packed() {
        for compression_type in [0, 1] {
            let packed = compress(&content(), geometry(compression_type)).expect("it repeats");
            assert!(packed.len() < 4096, "{} bytes", packed.len());
            assert_eq!(decompress(&packed, geometry(compression_type)), Some(content()));
            let mut state = 1u32;
            let mut noise = || {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 24) as u8
            };
            let noise: Vec<u8> = (0..4096).map(|_| noise()).collect();
            assert_eq!(compress(&noise, geometry(compression_type)), None);
        }
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
