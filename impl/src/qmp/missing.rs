//! Which commands of the real qemu-storage-daemon 10.0.2 are not here, each with the reason.

use crate::qapi::schema;
use std::collections::BTreeSet;

/// What its `query-commands` lists.
#[rustfmt::skip]
const REAL: [&str; 76] = [
    "job-pause", "job-resume", "job-cancel", "job-complete", "job-dismiss", "job-finalize", "query-jobs", "query-block",
    "query-blockstats", "query-block-jobs", "block_resize", "blockdev-snapshot-sync", "blockdev-snapshot",
    "change-backing-file", "block-commit", "drive-backup", "blockdev-backup", "query-named-block-nodes",
    "x-debug-query-block-graph", "drive-mirror", "block-dirty-bitmap-add", "block-dirty-bitmap-remove",
    "block-dirty-bitmap-clear", "block-dirty-bitmap-enable", "block-dirty-bitmap-disable", "block-dirty-bitmap-merge",
    "x-debug-block-dirty-bitmap-sha256", "blockdev-mirror", "block-stream", "block-job-set-speed", "block-job-cancel",
    "block-job-pause", "block-job-resume", "block-job-complete", "block-job-dismiss", "block-job-finalize",
    "block-job-change", "blockdev-add", "blockdev-reopen", "blockdev-del", "blockdev-set-active", "blockdev-create",
    "x-blockdev-amend", "block-set-write-threshold", "x-blockdev-change", "x-blockdev-set-iothread",
    "blockdev-snapshot-internal-sync", "blockdev-snapshot-delete-internal-sync", "nbd-server-start", "nbd-server-add",
    "nbd-server-remove", "nbd-server-stop", "block-export-add", "block-export-del", "query-block-exports", "query-chardev",
    "query-chardev-backends", "ringbuf-write", "ringbuf-read", "chardev-add", "chardev-change", "chardev-remove",
    "chardev-send-break", "transaction", "qmp_capabilities", "query-version", "query-commands", "quit", "query-qmp-schema",
    "qom-list", "qom-get", "qom-set", "qom-list-types", "qom-list-properties", "object-add", "object-del",
];

const OPENS_BY_NAME: &str =
    "it makes and opens its target itself: blockdev-create, blockdev-add and the blockdev- job do";
const CHARACTER_DEVICES: &str =
    "the only character device is the monitor's, and the command line says what it is";
const OBJECTS: &str =
    "objects have no tree and no properties that change; throttle groups and iothreads are made anew";

/// What is not here, and why.
const MISSING: [(&str, &str); 17] = [
    ("blockdev-set-active", "no node is handed to another process while this one has it open"),
    ("chardev-add", CHARACTER_DEVICES),
    ("chardev-change", CHARACTER_DEVICES),
    ("chardev-remove", CHARACTER_DEVICES),
    ("chardev-send-break", CHARACTER_DEVICES),
    ("drive-backup", OPENS_BY_NAME),
    ("drive-mirror", OPENS_BY_NAME),
    ("qom-get", OBJECTS),
    ("qom-list", OBJECTS),
    ("qom-list-properties", OBJECTS),
    ("qom-list-types", OBJECTS),
    ("qom-set", OBJECTS),
    ("query-chardev", CHARACTER_DEVICES),
    ("query-chardev-backends", CHARACTER_DEVICES),
    ("ringbuf-read", CHARACTER_DEVICES),
    ("ringbuf-write", CHARACTER_DEVICES),
    ("x-blockdev-change", "only a quorum's children change so, and there is no quorum"),
];

#[test]
fn every_command_of_qemu_is_here_or_named_as_missing() {
    let real: BTreeSet<&str> = REAL.into_iter().collect();
    let ours: BTreeSet<&str> = schema::COMMANDS.iter().map(|command| command.name).collect();
    let missing: Vec<&str> = real.difference(&ours).copied().collect();
    assert_eq!(missing, MISSING.map(|(name, _)| name));
    assert!(MISSING.iter().all(|(_, why)| !why.is_empty()));
    // And one that only this daemon has.
    assert_eq!(ours.difference(&real).copied().collect::<Vec<_>>(), ["x-query-memory"]);
}
