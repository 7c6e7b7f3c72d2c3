//! Runs on disks that lie, judged for safety alone: nothing panics or hangs, wrong data is never silent where a check of the
//! image can see why, and no table is written over as data.
//!
//! What the specification finds wrong is excused by a lie that could be behind it: a write that was lost or went astray, a
//! flush that was lost before a power cut, data that has rotted. A bit of a table that has rotted is no excuse by itself: a
//! check of the image has to find it. Only bits that make one sound image of another are beyond that.

use super::World;
use crate::recovery::findings;
use crate::workload::lies::Rot;
use crate::workload::tables::{Table, number, places};
use midstream::content::{is_of_a_run, tag_of};
use midstream::verdict::Verdict;
use midstream::world::host::SimHost;
use midstream::world::struck::Sort;
use model::law::LawId;
use std::sync::{Arc, Mutex};

/// The bit of images whose entries are followed by the bits of subclusters.
const SUBCLUSTERS: usize = 1 << 4;

/// What is known of the bits that have flipped.
#[derive(Debug, Default)]
pub(super) struct Rotten {
    /// How many a check has seen, or could not see.
    excuses: u32,
    /// What no check has seen although it could.
    unseen: Vec<String>,
    has_rotten_header: bool,
}

/// The bits of one run.
pub(super) type Rots = Arc<Mutex<Rotten>>;

/// Makes a bit flip now, and looks whether a check finds it.
pub(super) fn strike(rot: &Rot, path: &str, host: &SimHost, rots: &Rots) {
    let mut core = host.core();
    let Some(file) = core.disks.find(path) else { return };
    let before = core.disks.files[file as usize].bytes.clone();
    let has_subclusters = number(&before, 4, 4) >= 3 && number(&before, 72, 8) & SUBCLUSTERS != 0;
    let Some((offset, bit)) = rot.place(&before) else { return };
    core.disks.rot(file, offset, bit, sort(rot.table));
    let after = core.disks.files[file as usize].bytes.clone();
    drop(core);
    let mut rots = rots.lock().expect("nobody panics holding it");
    rots.has_rotten_header |= rot.table == Table::Header;
    let is_seen = findings(path, before) != findings(path, after);
    if is_seen || !is_checkable(rot.table, has_subclusters, offset, bit) {
        rots.excuses += 1;
    } else {
        rots.unseen.push(format!("{} of {path}: bit {bit} of byte {offset:#x}", rot.table.word()));
    }
}

fn sort(table: Table) -> Sort {
    match table {
        Table::Header => Sort::RotHeader,
        Table::L1 => Sort::RotL1,
        Table::L2 => Sort::RotL2,
        Table::RefcountTable => Sort::RotRefcountTable,
        Table::Refcounts => Sort::RotRefcounts,
        Table::Data => Sort::RotData,
    }
}

/// Whether a bit can be checked against something. Data cannot; of a header only the cluster size and where the tables lie
/// can; and that a cluster reads as zeroes is as good as that it does not, or that a subcluster is there.
fn is_checkable(table: Table, has_subclusters: bool, offset: u64, bit: u32) -> bool {
    match table {
        Table::Data => false,
        Table::Header => matches!(offset, 0..4 | 20..24 | 36..60),
        Table::L2 if has_subclusters && offset % 16 >= 8 => false,
        Table::L2 => offset % 8 != 7 || bit != 0,
        Table::L1 | Table::RefcountTable | Table::Refcounts => true,
    }
}

impl World {
    /// Whether disks of this run lie.
    pub(super) fn is_on_liars(&self) -> bool {
        self.scenario.is_on_liars()
    }

    /// The verdict on a run whose disks lie, from the one that honest disks would get.
    pub(super) fn safety(&self, verdict: Verdict) -> Verdict {
        let rots = self.rots.lock().expect("nobody panics holding it");
        match verdict {
            Verdict::Broken { .. } if self.is_excused(&rots) => Verdict::Passed,
            // A count that is wrong and harms nobody, past the end of a file, say.
            Verdict::Broken { law, .. } if !rots.unseen.is_empty() && !is_of_data(&law) => Verdict::Passed,
            Verdict::Broken { law, detail } if !rots.unseen.is_empty() => {
                let unseen = rots.unseen.join("; ");
                let detail = format!("no check sees what has rotted: {unseen}\nlaw `{law}`\n{detail}");
                broken(LawId::RotSeen, detail)
            }
            Verdict::Passed => self.overwritten(&rots).unwrap_or(Verdict::Passed),
            other => other,
        }
    }

    fn is_excused(&self, rots: &Rotten) -> bool {
        let core = self.host.core();
        let struck = |sort| core.disks.faults.sorts().of(sort) > 0;
        let by_writes = [Sort::LostWrite, Sort::Astray, Sort::RotData].into_iter().any(struck);
        rots.excuses > 0 || by_writes || struck(Sort::LostFlush) && self.is_cut
    }

    /// A table that was written over as data, if that was not the disk's own doing.
    fn overwritten(&self, rots: &Rotten) -> Option<Verdict> {
        let went_astray = self.host.core().disks.faults.sorts().of(Sort::Astray) > 0;
        if went_astray || rots.has_rotten_header {
            return None;
        }
        self.files().into_iter().filter(|(_, bytes)| bytes.starts_with(b"QFI\xfb")).find_map(
            |(name, bytes)| {
                let tables = [Table::Header, Table::L1, Table::RefcountTable];
                let is_data = |at: &usize| {
                    bytes.get(at / 512 * 512..at / 512 * 512 + 512).is_some_and(|sector| {
                        let tag = tag_of(sector);
                        tag != 0 && is_of_a_run(tag)
                    })
                };
                let found = tables.into_iter().find(|table| places(&bytes, *table).any(|at| is_data(&at)))?;
                Some(broken(
                    LawId::RotContained,
                    format!("{name}: there is data of a guest in its {}", found.word()),
                ))
            },
        )
    }
}

/// Whether whoever breaks it shows somebody wrong data.
fn is_of_data(law: &str) -> bool {
    const OF_DATA: [LawId; 5] =
        [LawId::GuestReads, LawId::StreamUnseen, LawId::FlushedSurvives, LawId::ChainOnDisk, LawId::CopyTrue];
    OF_DATA.iter().any(|of_data| of_data.name() == law)
}

fn broken(law: LawId, detail: String) -> Verdict {
    Verdict::Broken { law: law.name().to_owned(), detail }
}
