//! Which sectors are not what they must be: what was seen, beside what the judge allowed before it saw that.

use super::belief::value_name;
use super::data::{Differs, Values};
use midstream::content::{Tag, tags_text};
use midstream::history::observed::Observed;
use model::Judge;
use std::collections::BTreeMap;

/// So many are listed.
const DIFFERS_MAX: usize = 64;

/// Values that were seen somewhere.
pub(super) struct Sight<'a> {
    image: u16,
    from: u64,
    values: &'a [Tag],
    /// Whether a crash came before it, so that less may be there.
    is_after_crash: bool,
}

/// Where the requests under way go: by number, the image and the first sector.
pub(super) type Reads = BTreeMap<u64, (u16, u64)>;

impl<'a> Sight<'a> {
    /// What an observation shows of an image, if it does.
    pub fn of(observed: &'a Observed, judge: &Judge, reads: &Reads) -> Option<Sight<'a>> {
        let of_file = |file: &str| judge.image_files().position(|other| other == file).map(|at| at as u16);
        let sight = |image, from, values| Sight { image, from, values, is_after_crash: false };
        match observed {
            Observed::View { node, values } => Some(sight(judge.image_of_node(node)?, 0, values)),
            Observed::Ended { request, result: Ok(values) } if !values.is_empty() => {
                let (image, from) = *reads.get(request)?;
                Some(sight(image, from, values))
            }
            Observed::Closed(found) => Some(sight(of_file(&found.file)?, 0, &found.values)),
            Observed::Recovered(found) => {
                Some(Sight { is_after_crash: true, ..sight(of_file(&found.file)?, 0, &found.values) })
            }
            _ => None,
        }
    }

    /// As the page has it.
    pub fn shown(&self) -> Values {
        Values { i: self.image, from: self.from, v: tags_text(self.values) }
    }

    /// The sectors that the judge does not allow.
    pub fn differs(&self, judge: &Judge) -> Vec<Differs> {
        let end = self.from + self.values.len() as u64;
        let beliefs = judge.sector_beliefs(self.image, u32::try_from(end).unwrap_or(u32::MAX));
        let mut differs = Vec::new();
        for (sector, value) in (self.from..).zip(self.values) {
            // Past its end an image reads as zeroes.
            let allowed = match beliefs.get(sector as usize) {
                Some(belief) if self.is_after_crash => belief.survivors.clone(),
                Some(belief) => belief.readable.clone(),
                None => vec![0],
            };
            if !allowed.contains(value) {
                let name = |value| value_name(value, sector);
                let (expected, found) = (allowed.into_iter().map(name).collect(), name(*value));
                differs.push(Differs { image: self.image, sector, expected, found });
            }
        }
        differs.truncate(DIFFERS_MAX);
        differs
    }
}
