//! Which values are possible: for a reader now, and after a crash.

use super::{ANYTHING, Moment, NONE, Version, Views};
use crate::graph::ImageId;

impl Views {
    /// Whether a version is this value.
    fn fits(&self, version: u64, value: u64) -> bool {
        version == value || self.holds_anything && version == ANYTHING
    }

    /// Whether a read of `sector` that began at `began` may return `value` now.
    pub fn may_read(&self, id: ImageId, sector: u32, value: u64, began: Moment) -> bool {
        let layer = self.layer(id);
        match layer.heads.get(sector as usize) {
            None => value == 0,
            Some(&NONE) => self.fits(layer.settled[sector as usize], value),
            Some(_) => self.versions(id, sector).any(|v| self.fits(v.value, value) && v.superseded > began),
        }
    }

    /// Whether somebody was writing a sector at any moment since `began`.
    pub fn is_written_since(&self, id: ImageId, sector: u32, began: Moment) -> bool {
        if self.layer(id).heads.get(sector as usize).is_none_or(|head| *head == NONE) {
            return false;
        }
        self.versions(id, sector).any(|v| v.request != 0 && v.ended >= began)
    }

    /// Whether a crash now may leave `value` in `sector`.
    pub fn may_survive(&self, id: ImageId, sector: u32, value: u64) -> bool {
        let layer = self.layer(id);
        match layer.heads.get(sector as usize) {
            None => value == 0,
            Some(&NONE) => self.fits(layer.settled[sector as usize], value),
            Some(_) => self.versions(id, sector).any(|v| self.fits(v.value, value) && !v.gone),
        }
    }

    /// Every value a read begun at `began` may return: for texts.
    pub fn readable(&self, id: ImageId, sector: u32, began: Moment) -> Vec<u64> {
        self.values(id, sector, |v| v.superseded > began)
    }

    /// Every value a crash may leave: for texts.
    pub fn survivors(&self, id: ImageId, sector: u32) -> Vec<u64> {
        self.values(id, sector, |v| !v.gone)
    }

    fn values(&self, id: ImageId, sector: u32, possible: impl Fn(&Version) -> bool) -> Vec<u64> {
        let layer = self.layer(id);
        match layer.heads.get(sector as usize) {
            None => vec![0],
            Some(&NONE) => vec![layer.settled[sector as usize]],
            Some(_) => {
                let mut values: Vec<u64> =
                    self.versions(id, sector).filter(|v| possible(v)).map(|v| v.value).collect();
                values.sort_unstable();
                values.dedup();
                values
            }
        }
    }
}
