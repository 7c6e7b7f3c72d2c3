//! Where in QEMU's source a quirk comes from, and whether somebody has reported it.
//!
//! Names of functions are those of 10.0; nothing here was tried with a change of the source.

use super::Quirk;

impl Quirk {
    /// The function that is at fault, and what it does; nothing, if nobody has looked for it.
    pub fn fault(self) -> Option<&'static str> {
        of(self, FAULTS)
    }

    /// Where it was reported; nothing, if nobody has looked for that.
    pub fn reported(self) -> Option<&'static str> {
        of(self, REPORTED)
    }
}

fn of(quirk: Quirk, table: &[(Quirk, &'static str)]) -> Option<&'static str> {
    table.iter().find(|(it, _)| *it == quirk).map(|(_, text)| *text)
}

#[rustfmt::skip]
const FAULTS: &[(Quirk, &str)] = &[
    (Quirk::ShortLayerReadsBase, "`stream_run` in block/stream.c: where the backing file ends, it takes the rest of the target as done"),
    (Quirk::ShortLayerReadsMemory, "`cor_co_preadv_part` in block/copy-on-read.c: where the layer below ends, it returns success and leaves the rest of the buffer as it was"),
    (Quirk::ShortCommitShowsBase, "`commit_run` in block/commit.c: it makes a base longer that is shorter, and hides nothing of one that is longer"),
    (Quirk::StreamReadErrorReadsMemory, "`cor_co_preadv_part` in block/copy-on-read.c: an error of `bdrv_co_is_allocated` is passed over, the length is 0 then, and it returns success without having read"),
    (Quirk::FailedHeaderChangesGraph, "`stream_prepare` in block/stream.c: `bdrv_set_backing_hd_drained` comes before `bdrv_change_backing_file`, and its failure undoes nothing"),
    (Quirk::HeaderIsTorn, "`qcow2_update_header` in block/qcow2.c: the whole cluster of the header is written over in place"),
    (Quirk::HeaderNotDurable, "`stream_prepare` in block/stream.c and `bdrv_drop_intermediate` in block.c: nobody flushes after `bdrv_change_backing_file`"),
    (Quirk::StreamDoesNotFlush, "`stream_prepare` in block/stream.c"),
    (Quirk::CommitDoesNotFlush, "`commit_prepare` in block/commit.c: `bdrv_drop_intermediate` without a flush of the base"),
    (Quirk::BackupDoesNotFlush, "`backup_run` in block/backup.c: no flush of the target"),
    (Quirk::MirrorIsBypassed, "`bdrv_mirror_top_child_perm` in block/mirror.c: the filter shares the permission to write its source"),
    (Quirk::MirrorPassesItsEnd, "`mirror_co_read` in block/mirror.c: `mirror_cow_align` makes a request longer, and all of it counts as progress"),
    (Quirk::RefusedReopenBreaksWrites, "`qcow2_reopen_prepare` in block/qcow2.c: what it does for read-only is not undone by an abort"),
    (Quirk::ShrunkDataReturns, "`qcow2_co_truncate` in block/qcow2.c: the rest of the last cluster is zeroed only for those who ask for zeroes, and `block_resize` does not"),
    (Quirk::FailedSnapshotLeaks, "`qcow2_snapshot_create` in block/qcow2-snapshot.c: where it fails it keeps the clusters of the copied L1 table"),
    (Quirk::FailedWriteZeroes, "`handle_alloc_space` in block/qcow2.c: it writes zeroes over all clusters of the request, new or not"),
    (Quirk::FlushErrorCorrupts, "`update_refcount` in block/qcow2-refcount.c: the result of `qcow2_cache_set_dependency` is not looked at, so after a failed flush no order is kept between refcounts and tables"),
    (Quirk::RefusedStreamReadOnly, "`stream_start` in block/stream.c: where it fails it makes the node read-only, whether or not it was so by auto-read-only"),
    (Quirk::CommitLeavesHeader, "`bdrv_drop_intermediate` in block.c: a parent that is a filter has no header to update, and the overlay above it is not looked for"),
    (Quirk::FailedResizeForgotten, "`qcow2_co_truncate` in block/qcow2.c: `total_sectors` changes before the header is written, and stays when that fails"),
    (Quirk::IdleStreamCopies, "`cor_co_preadv_part` in block/copy-on-read.c: with nothing between target and base it looks below the target without an end and copies what it finds"),
    (Quirk::CommitBehindAStream, "`commit_prepare` in block/commit.c: `bdrv_drop_intermediate` meets the frozen link of the stream, and its error becomes an I/O error"),
    (Quirk::StreamLeavesWritable, "`stream_clean` in block/stream.c: the result of `bdrv_reopen_set_read_only` is not looked at"),
    (Quirk::HalfInactivation, "`qmp_blockdev_set_active` in blockdev.c over `bdrv_inactivate_all` in block.c: what was inactivated before the refusal stays so"),
    (Quirk::QueryInAJobsEnd, "`stream_prepare` in block/stream.c and `bdrv_drop_intermediate` in block.c: a query is answered while `bdrv_change_backing_file` waits, when the chain is new and the name is not"),
    (Quirk::MirrorKeepsTarget, "`mirror_dirty_init` in block/mirror.c: the target is zeroed for `sync: full` only"),
];

#[rustfmt::skip]
const REPORTED: &[(Quirk, &str)] = &[
    (Quirk::StreamDoesNotFlush, "on qemu-devel: \"block-jobs: add final flush\", 2021 to 2025"),
    (Quirk::CommitDoesNotFlush, "on qemu-devel: \"block-jobs: add final flush\", 2021 to 2025"),
    (Quirk::BackupDoesNotFlush, "on qemu-devel: \"block-jobs: add final flush\", 2021 to 2025"),
    (Quirk::DiscardUnderWriteCorrupts, "on qemu-devel, the kind where a cluster is written in place"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quirk_has_one_row_at_most() {
        for table in [FAULTS, REPORTED] {
            let mut quirks: Vec<Quirk> = table.iter().map(|(quirk, _)| *quirk).collect();
            quirks.sort();
            quirks.dedup();
            assert_eq!(quirks.len(), table.len());
        }
        assert!(Quirk::ShortLayerReadsBase.fault().is_some_and(|text| text.contains("stream_run")));
    }
}
