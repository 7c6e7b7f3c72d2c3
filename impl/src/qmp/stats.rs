//! The answer of `query-blockstats` as text.

use super::text::{ObjectText, push_list};
use crate::command::NodeStats;

/// What only devices of guests have, and none is here.
const OF_DEVICES: [&str; 29] = [
    "rd_bytes",
    "wr_bytes",
    "zone_append_bytes",
    "unmap_bytes",
    "rd_operations",
    "wr_operations",
    "zone_append_operations",
    "flush_operations",
    "unmap_operations",
    "rd_total_time_ns",
    "wr_total_time_ns",
    "zone_append_total_time_ns",
    "flush_total_time_ns",
    "unmap_total_time_ns",
    "rd_merged",
    "wr_merged",
    "zone_append_merged",
    "unmap_merged",
    "failed_rd_operations",
    "failed_wr_operations",
    "failed_zone_append_operations",
    "failed_flush_operations",
    "failed_unmap_operations",
    "invalid_rd_operations",
    "invalid_wr_operations",
    "invalid_zone_append_operations",
    "invalid_flush_operations",
    "invalid_unmap_operations",
    "wr_highest_offset",
];

/// Every node, each with what it is kept in, and so on down.
pub(super) fn node_stats(all: &[NodeStats]) -> String {
    let mut out = String::new();
    push_list(&mut out, all, |out, stats| {
        // Each turn goes one node down; no node stands on itself.
        let mut node = Some(stats);
        let mut open = 0;
        for _ in 0..all.len() {
            let Some(stats) = node else { break };
            out.push_str(if open > 0 { ", \"parent\": {" } else { "{" });
            push_one(out, stats);
            open += 1;
            node = stats.parent.map(|place| &all[place]);
        }
        out.extend(std::iter::repeat_n('}', open));
    });
    out
}

fn push_one(out: &mut String, stats: &NodeStats) {
    let mut o = ObjectText::within(out);
    let mut device = ObjectText::open(o.member("stats"));
    for name in OF_DEVICES {
        device.plain(name, if name == "wr_highest_offset" { stats.highest_write } else { 0 });
    }
    device.plain("timed_stats", "[]").plain("account_invalid", false).plain("account_failed", false);
    device.close();
    o.text("node-name", &stats.node_name);
    if let Some(discards) = &stats.discards {
        let mut specific = ObjectText::open(o.member("driver-specific"));
        specific.plain("discard-bytes-ok", discards.done_bytes).plain("discard-nb-ok", discards.done);
        specific.text("driver", "file").plain("discard-nb-failed", discards.failed);
        specific.close();
    }
}
