//! What is shown of the requests that nodes have had.

use super::super::types::Type::{Bool, Enum as OneOf, Int, List, Object as Record, Str};
use super::super::types::{Enum, Object, Variants, object, optional, required};

/// `query-blockstats`.
pub(super) static QUERY: Object = object("QueryBlockstats", &[optional("query-nodes", Bool)]);

/// One entry of its answer.
pub(super) static BLOCK_STATS: Object = object(
    "BlockStats",
    &[
        optional("device", Str),
        optional("qdev", Str),
        optional("node-name", Str),
        required("stats", Record(&DEVICE_STATS)),
        optional("driver-specific", Record(&SPECIFIC)),
        optional("parent", Record(&BLOCK_STATS)),
        optional("backing", Record(&BLOCK_STATS)),
    ],
);
static DEVICE_STATS: Object = object(
    "BlockDeviceStats",
    &[
        required("rd_bytes", Int),
        required("wr_bytes", Int),
        required("zone_append_bytes", Int),
        required("unmap_bytes", Int),
        required("rd_operations", Int),
        required("wr_operations", Int),
        required("zone_append_operations", Int),
        required("flush_operations", Int),
        required("unmap_operations", Int),
        required("rd_total_time_ns", Int),
        required("wr_total_time_ns", Int),
        required("zone_append_total_time_ns", Int),
        required("flush_total_time_ns", Int),
        required("unmap_total_time_ns", Int),
        required("wr_highest_offset", Int),
        required("rd_merged", Int),
        required("wr_merged", Int),
        required("zone_append_merged", Int),
        required("unmap_merged", Int),
        optional("idle_time_ns", Int),
        required("failed_rd_operations", Int),
        required("failed_wr_operations", Int),
        required("failed_zone_append_operations", Int),
        required("failed_flush_operations", Int),
        required("failed_unmap_operations", Int),
        required("invalid_rd_operations", Int),
        required("invalid_wr_operations", Int),
        required("invalid_zone_append_operations", Int),
        required("invalid_flush_operations", Int),
        required("invalid_unmap_operations", Int),
        required("account_invalid", Bool),
        required("account_failed", Bool),
        required("timed_stats", List(&Record(&TIMED_STATS))),
    ],
);
/// Nobody asks for an interval here, so that there is never one.
static TIMED_STATS: Object = object("BlockDeviceTimedStats", &[required("interval_length", Int)]);
static SPECIFIC: Object = Object {
    variants: Some(Variants { tag: "driver", cases: &[("file", &SPECIFIC_FILE)] }),
    ..object("BlockStatsSpecific", &[required("driver", OneOf(&KEEPS_STATS))])
};
static KEEPS_STATS: Enum = Enum { name: "BlockStatsDriver", values: &["file"] };
static SPECIFIC_FILE: Object = object(
    "BlockStatsSpecificFile",
    &[required("discard-nb-ok", Int), required("discard-nb-failed", Int), required("discard-bytes-ok", Int)],
);
