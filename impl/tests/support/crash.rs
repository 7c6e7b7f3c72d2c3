//! What a stop without warning may leave of a file.

use super::memory_disk::{Event, write_at};
use super::random::Random;

/// The bytes after a kill behind `events[..at]`: everything written stays.
pub fn killed(start: &[u8], events: &[Event], at: usize) -> Vec<u8> {
    let mut bytes = start.to_vec();
    events[..at].iter().for_each(|e| e.apply(&mut bytes));
    bytes
}

/// The bytes after a power cut behind `events[..at]`: what was flushed, plus a drawn subset of the sectors written
/// since. One write in `keep_odds` sectors is lost.
pub fn powered_off(start: &[u8], events: &[Event], at: usize, random: &mut Random) -> Vec<u8> {
    let flushed = events[..at].iter().rposition(|e| matches!(e, Event::Flush)).map_or(0, |i| i + 1);
    let mut bytes = killed(start, events, flushed);
    // Some cuts lose almost everything, some almost nothing.
    let odds = 1 + random.below(4);
    for event in &events[flushed..at] {
        match event {
            Event::Write { offset, data } => {
                let whole_write = random.one_in(3).then(|| random.one_in(2));
                for (n, sector) in data.chunks(512).enumerate() {
                    if whole_write.unwrap_or_else(|| random.below(4) < odds) {
                        write_at(&mut bytes, offset + n as u64 * 512, sector);
                    }
                }
            }
            other => other.apply(&mut bytes),
        }
    }
    bytes
}
