//! What sectors hold: each repeats an eight-byte tag, so that a reader can say where its data came from.

use crate::request::RequestId;
use std::fmt::Write;

/// The unit of content: one tag fills one.
pub const SECTOR_BYTES: usize = 512;

/// Content of one sector: its tag, or 0 for zeroes.
pub type Tag = u64;

/// What is read where no tag was ever written.
pub const GARBAGE: Tag = u64::MAX;

/// No world has more layers.
const LAYERS_MAX: u64 = 1 << 10;

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
    // It repeats if it equals itself eight bytes on: one comparison of all of it, which no loop over parts is as fast as.
    if sector[8..] != sector[..sector.len() - 8] {
        return GARBAGE;
    }
    Tag::from_le_bytes(sector[..8].try_into().expect("eight bytes"))
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

/// Whether a tag is one of those that images begin with or guests write.
pub fn is_of_a_run(tag: Tag) -> bool {
    let (layer, sector) = (tag >> 32, tag & u64::from(u32::MAX));
    request_of(tag).is_some() || (1..=LAYERS_MAX).contains(&layer) && sector > 0
}

/// The request that writes this tag, if a request does.
pub fn request_of(tag: Tag) -> Option<RequestId> {
    let part = |shift: u32, bits: u64| (tag >> shift & bits) as u32;
    let is_written = tag >> 63 == 1 && tag != GARBAGE;
    is_written.then(|| RequestId { guest: part(48, 0x7fff), lane: part(40, 0xff), slot: part(32, 0xff) })
}

/// A tag as readers know it: `g1.0.3` was written by that request, `n2` was in layer 2 at the start, `0` is zeroes, `w7` a
/// plain number, `?` torn.
pub fn name(tag: Tag) -> String {
    match (tag, request_of(tag)) {
        (0, _) => "0".to_owned(),
        (GARBAGE, _) => "?".to_owned(),
        (_, Some(request)) => request.to_string(),
        _ if tag >> 32 == 0 => format!("w{tag}"),
        _ => format!("n{}", (tag >> 32) - 1),
    }
}

/// Tags by runs: where they were written and how many sectors, `n0*4 0*14 g1.0.2`. `0x14` would be a number.
pub fn tags_text(tags: &[Tag]) -> String {
    let mut text = String::new();
    for run in tags.chunk_by(|a, b| name(*a) == name(*b)) {
        let separator = if text.is_empty() { "" } else { " " };
        write!(text, "{separator}{}", name(run[0])).expect("a string takes all");
        if run.len() > 1 {
            write!(text, "*{}", run.len()).expect("a string takes all");
        }
    }
    text
}

/// The same for a sector, which what was written elsewhere does not belong to: `n0 of sector 3`.
pub fn name_in(tag: Tag, sector: Option<u64>) -> String {
    match (sector, sector_of(tag)) {
        (Some(here), Some(there)) if tag >> 32 != 0 && tag != GARBAGE && here != there => {
            format!("{} of sector {there}", name(tag))
        }
        _ => name(tag),
    }
}

/// A judge's text with the names of our tags instead of their numbers, which it writes as `w7` or `0x7`.
pub fn named(text: &str) -> String {
    let lines: Vec<String> = text.split('\n').map(named_line).collect();
    lines.join("\n")
}

fn named_line(line: &str) -> String {
    let sector = line.strip_prefix("sector ").and_then(|rest| rest.split([' ', ':']).next()?.parse().ok());
    let mut text = String::with_capacity(line.len());
    let mut rest = line;
    while !rest.is_empty() {
        let is_part = |c: char| c.is_ascii_alphanumeric() || "_-./".contains(c);
        let end = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        match number(word) {
            Some(tag) => text += &name_in(tag, sector),
            None => text += word,
        }
        let gap = after.find(is_part).unwrap_or(after.len());
        text += &after[..gap];
        rest = &after[gap..];
    }
    text
}

/// The tag that a word of a judge stands for.
fn number(word: &str) -> Option<Tag> {
    match word.strip_prefix("0x") {
        Some(digits) => Tag::from_str_radix(digits, 16).ok(),
        None => word.strip_prefix('w')?.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_named_by_who_wrote_them() {
        let (guest, initial) = (tag_in_sector(tag_of_request(1, 0, 2), 3), initial_tag(0, 3));
        let detail = format!(
            "sector 3 of a: expected {guest:#x} or w{initial}, read 0x0, not 0x\nsector 4: {guest:#x}"
        );
        let expected = "sector 3 of a: expected g1.0.2 or n0, read 0, not 0x\nsector 4: g1.0.2 of sector 3";
        assert_eq!(named(&detail), expected);
        for plain in
            ["", "\n", "w", "job w1 of /w2.qcow2, w3-x", "0xffffffffffffffffff 0x", "w7, w4294967295"]
        {
            assert_eq!(named(plain), plain);
        }
    }

    #[test]
    fn so_many_zeroes_are_not_written_like_a_number() {
        let mut tags = vec![0; 14];
        tags.extend([initial_tag(0, 14), initial_tag(0, 15), tag_of_request(1, 0, 2), GARBAGE]);
        assert_eq!(tags_text(&tags), "0*14 n0*2 g1.0.2 ?");
    }

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
