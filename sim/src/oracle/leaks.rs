//! Leaks where a disk has failed. The model lets a failed request leak what it was about; this engine takes back what a failed
//! write was about, and keeps for the next flush what a failed one was to free.

use super::Oracle;
use super::beside::Wrong;
use crate::recovery::Recovered;
use midstream::world::struck::Sort;
use model::law::LawId;

impl Oracle {
    /// What an image leaks after a clean end of a run in which nothing but one write has failed: whoever tries again succeeds.
    pub(super) fn leaked(&self, recovered: &Recovered) -> Option<Wrong> {
        let is_by_a_write = {
            let core = self.host.core();
            let faults = &core.disks.faults;
            (faults.struck(), faults.sorts().of(Sort::Write)) == (1, 1)
        };
        let Recovered { file, leaks, .. } = recovered;
        let leaks_after =
            || format!("{file}: the check found {leaks} leaked clusters, and only one write has failed");
        (is_by_a_write && *leaks > 0).then(|| (LawId::NoLeak, leaks_after()))
    }
}
