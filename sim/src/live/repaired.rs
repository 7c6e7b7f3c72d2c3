//! Leaks of an end without warning, given back by our own repair: afterwards our own check finds nothing, and every image shows
//! what it showed before.

use crate::conform::engine::memory::{Memory, at_once};
use crate::recovery::{self, Recovered};
use crate::workload::scenario::Scenario;
use block::format::qcow2::repair;

/// The law that a leak which no repair gives back breaks.
pub const LEAKS_STAY: &str = "what leaked can be given back";

/// Repairs every image that leaks.
pub(super) fn repaired(
    scenario: &Scenario,
    images: Vec<Vec<u8>>,
    before: &[Recovered],
) -> Result<(), String> {
    let mut after = Vec::with_capacity(images.len());
    for (bytes, found) in images.into_iter().zip(before) {
        if found.leaks == 0 {
            after.push(bytes);
            continue;
        }
        let disk = Memory::new(bytes);
        at_once(repair(&*disk)).map_err(|error| format!("{}: {error}", found.file))?;
        after.push(disk.take());
    }
    let after = recovery::read_all(scenario, &mut after)?;
    for (found, before) in after.iter().zip(before) {
        let Recovered { file, leaks, corruptions, .. } = found;
        if *leaks > 0 || *corruptions > 0 {
            return Err(format!("{file} after a repair: {leaks} leaks, {corruptions} corruptions"));
        }
        if found.values != before.values {
            return Err(format!("{file} reads differently after a repair"));
        }
    }
    Ok(())
}
