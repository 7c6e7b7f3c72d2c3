//! Refcount counters of 1 to 64 bits inside a refcount block.
//!
//! Counters below a byte fill it from its least significant bit.

/// Reads counter `index`.
pub(super) fn get(block: &[u8], index: u64, order: u32) -> u64 {
    let index = index as usize;
    if order < 3 {
        let per_byte = 8 >> order;
        let shift = (index % per_byte) << order;
        return u64::from(block[index / per_byte] >> shift) & max(order);
    }
    let width = 1 << (order - 3);
    block[index * width..(index + 1) * width].iter().fold(0, |value, byte| value << 8 | u64::from(*byte))
}

/// Writes counter `index`.
pub(super) fn set(block: &mut [u8], index: u64, order: u32, value: u64) {
    // A counter never wraps.
    assert!(value <= max(order), "refcount {value} does not fit in {} bits", 1 << order);
    let index = index as usize;
    if order < 3 {
        let per_byte = 8 >> order;
        let shift = (index % per_byte) << order;
        let byte = &mut block[index / per_byte];
        *byte = *byte & !((max(order) as u8) << shift) | (value as u8) << shift;
        return;
    }
    let width = 1 << (order - 3);
    block[index * width..(index + 1) * width].copy_from_slice(&value.to_be_bytes()[8 - width..]);
}

/// The bytes that counters `first..first + count` lie in.
pub(super) fn bytes_of(first: u64, count: u64, order: u32) -> std::ops::Range<usize> {
    let start = (first << order) / 8;
    let end = ((first + count) << order).div_ceil(8);
    start as usize..end as usize
}

/// The largest value a counter of this order holds.
pub(super) fn max(order: u32) -> u64 {
    if order == 6 { u64::MAX } else { (1 << (1 << order)) - 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_width_keeps_its_neighbours() {
        for order in 0..=6 {
            let mut block = vec![0u8; 512];
            let count = ((block.len() * 8) >> order) as u64;
            for index in 0..count {
                set(&mut block, index, order, index.wrapping_mul(0x9e37_79b9_7f4a_7c15) & max(order));
            }
            for index in 0..count {
                let expected = index.wrapping_mul(0x9e37_79b9_7f4a_7c15) & max(order);
                assert_eq!(get(&block, index, order), expected, "order {order}, counter {index}");
            }
        }
    }

    #[test]
    fn bits_fill_a_byte_from_the_low_end() {
        let mut block = [0u8; 512];
        set(&mut block, 0, 0, 1);
        set(&mut block, 9, 0, 1);
        set(&mut block, 9, 1, 3);
        assert_eq!(block[..3], [1, 2, 0b1100]);
    }
}
