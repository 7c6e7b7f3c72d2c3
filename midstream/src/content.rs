//! What sectors hold: each repeats an eight-byte tag, so that a reader can say where its data came from.

/// The unit of content: one tag fills one.
pub const SECTOR_BYTES: usize = 512;

/// Content of one sector: its tag, or 0 for zeroes.
pub type Tag = u64;

/// What is read where no tag was ever written.
pub const GARBAGE: Tag = u64::MAX;

/// Tag of a sector that was there before the run.
pub fn initial_tag(layer: u32, sector: u64) -> Tag {
    (u64::from(layer) + 1) << 32 | (sector + 1)
}

/// The tag of one request, without its sectors.
pub fn tag_of_request(guest: u32, lane: u32, slot: u32) -> Tag {
    1 << 63 | u64::from(guest) << 48 | u64::from(lane) << 40 | u64::from(slot) << 32
}

/// The tag that one request writes into a sector: data that lands in another sector is seen.
pub fn tag_in_sector(tag: Tag, sector: u64) -> Tag {
    tag | (sector + 1)
}

/// The sector that a tag was written to, by a guest or before the run.
pub fn sector_of(tag: Tag) -> Option<u64> {
    (tag & u64::from(u32::MAX)).checked_sub(1)
}

/// The tag a sector's bytes repeat.
pub fn tag_of(sector: &[u8]) -> Tag {
    let (first, rest) = sector.split_at(8);
    if !rest.chunks_exact(8).all(|c| c == first) {
        return GARBAGE;
    }
    Tag::from_le_bytes(first.try_into().expect("eight bytes"))
}

/// The tag of each sector.
pub fn tags(bytes: &[u8]) -> Vec<Tag> {
    bytes.chunks_exact(SECTOR_BYTES).map(tag_of).collect()
}

/// Fills whole sectors with a tag.
pub fn fill(bytes: &mut [u8], tag: Tag) {
    bytes.as_chunks_mut::<8>().0.fill(tag.to_le_bytes());
}

/// So many sectors from `first` on, each with what `tag` leaves in it.
pub fn sectors_of(tag: Tag, first: u64, count: u64) -> Vec<u8> {
    let mut data = vec![0; count as usize * SECTOR_BYTES];
    for (sector, bytes) in (first..).zip(data.chunks_mut(SECTOR_BYTES)) {
        fill(bytes, tag_in_sector(tag, sector));
    }
    data
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torn_or_shifted_sector_is_garbage() {
        let mut sector = [0; 512];
        assert_eq!(tag_of(&sector), 0);
        fill(&mut sector, 7);
        assert_eq!(tag_of(&sector), 7);
        sector[300] = 1;
        assert_eq!(tag_of(&sector), GARBAGE);
    }

    #[test]
    fn what_a_request_leaves_says_where_it_belongs() {
        let tag = tag_of_request(1, 0, 3);
        let found = tags(&sectors_of(tag, 5, 2));
        assert_eq!(found, [tag_in_sector(tag, 5), tag_in_sector(tag, 6)]);
        assert_eq!(found.into_iter().map(sector_of).collect::<Vec<_>>(), [Some(5), Some(6)]);
    }
}
