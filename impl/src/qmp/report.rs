//! The answers to the `query-*` commands as text.

use super::dispatch::REPLY_BYTES_MAX;
use super::text::{ObjectText, push_list};
use crate::budget::Budget;
use crate::command::{BitmapInfo, BlockJobInfo, ExportInfo, GraphInfo, NamedBacking, NodeInfo, SpecificInfo};
use crate::format::qcow2::{BitmapOnDisk, Info, Snapshot};
use seam::escape::push_string;

/// `query-block-jobs`.
pub(super) fn block_jobs(jobs: &[BlockJobInfo]) -> String {
    list(jobs, |out, job| {
        let mut o = ObjectText::open(out);
        o.plain("auto-finalize", job.auto_finalize).text("io-status", job.io_status);
        o.text("device", &job.device).plain("auto-dismiss", job.auto_dismiss).plain("busy", job.busy);
        o.plain("len", job.len).plain("offset", job.offset).text("status", job.status);
        o.plain("paused", job.paused).plain("speed", job.speed).plain("ready", job.ready);
        if let Some(synced) = job.actively_synced {
            o.plain("actively-synced", synced);
        }
        o.text("type", job.kind).optional_text("error", job.error.as_deref());
        o.close();
    })
}

/// `query-jobs`.
pub(super) fn jobs(jobs: &[BlockJobInfo]) -> String {
    list(jobs, |out, job| {
        let mut o = ObjectText::open(out);
        o.plain("current-progress", job.offset).text("status", job.status);
        o.plain("total-progress", job.len).text("type", job.kind).text("id", &job.device);
        o.optional_text("error", job.error.as_deref());
        o.close();
    })
}

/// `x-debug-query-block-graph`.
pub(super) fn block_graph(graph: &GraphInfo) -> String {
    let mut out = String::new();
    let mut o = ObjectText::open(&mut out);
    push_list(o.member("edges"), &graph.edges, |out, edge| {
        let mut o = ObjectText::open(out);
        push_list(o.member("shared-perm"), edge.shared.words(), push_string);
        o.text("name", edge.name);
        push_list(o.member("perm"), edge.taken.words(), push_string);
        o.plain("parent", edge.parent).plain("child", edge.child);
        o.close();
    });
    push_list(o.member("nodes"), &graph.vertices, |out, vertex| {
        let mut o = ObjectText::open(out);
        o.text("name", &vertex.name).text("type", vertex.kind).plain("id", vertex.id);
        o.close();
    });
    o.close();
    out
}

/// `x-query-memory`.
pub(super) fn memory(budget: &Budget) -> String {
    let mut out = String::new();
    let mut o = ObjectText::open(&mut out);
    o.plain("limit", budget.limit()).plain("held", budget.held()).plain("peak", budget.peak());
    o.optional_text("refused", budget.refused().map(|refused| refused.to_string()).as_deref());
    o.close();
    out
}

/// `query-block-exports`.
pub(super) fn exports(exports: &[ExportInfo]) -> String {
    list(exports, |out, export| {
        let mut o = ObjectText::open(out);
        o.text("node-name", &export.node_name).plain("shutting-down", export.shutting_down);
        o.text("type", "nbd").text("id", &export.id);
        o.close();
    })
}

/// `blockdev-snapshot-delete-internal-sync`.
pub(super) fn deleted_snapshot(gone: &Snapshot) -> String {
    let mut out = String::new();
    push_snapshot(&mut out, gone);
    out
}

/// `query-named-block-nodes`. Unless `flat`, each image carries the images below it.
pub(super) fn nodes(nodes: &[NodeInfo], flat: bool) -> String {
    list(nodes, |out, node| {
        let mut o = ObjectText::open(out);
        o.plain("iops_rd", 0).text("detect_zeroes", node.detect_zeroes).plain("active", true);
        push_image(o.member("image"), node, if flat { None } else { Some(nodes) });
        o.plain("iops_wr", 0).plain("ro", node.read_only).text("node-name", &node.node_name);
        o.plain("backing_file_depth", if flat { 0 } else { node.backing_file_depth });
        o.text("drv", node.driver)
            .plain("iops", 0)
            .plain("bps_wr", 0)
            .plain("write_threshold", node.write_threshold);
        o.optional_text("backing_file", node.backing_file.as_deref());
        o.plain("encrypted", false).plain("bps", 0).plain("bps_rd", 0);
        push_cache(o.member("cache"), node);
        if !node.bitmaps.is_empty() {
            push_list(o.member("dirty-bitmaps"), &node.bitmaps, push_bitmap);
        }
        o.text("file", &node.file);
        o.close();
    })
}

fn push_cache(out: &mut String, node: &NodeInfo) {
    let mut o = ObjectText::open(out);
    o.plain("no-flush", node.no_flush).plain("direct", node.direct).plain("writeback", true);
    o.close();
}

/// The answer of `x-debug-block-dirty-bitmap-sha256`.
pub(super) fn bitmap_sum(sum: &str) -> String {
    let mut out = String::new();
    let mut o = ObjectText::open(&mut out);
    o.text("sha256", sum);
    o.close();
    out
}

fn push_bitmap(out: &mut String, bitmap: &BitmapInfo) {
    let mut o = ObjectText::open(out);
    if let Some(name) = &bitmap.name {
        o.text("name", name);
    }
    o.plain("recording", bitmap.is_recording);
    o.plain("persistent", bitmap.is_persistent).plain("busy", bitmap.is_busy);
    o.plain("granularity", bitmap.granularity).plain("count", bitmap.dirty_bytes);
    if bitmap.is_inconsistent {
        o.plain("inconsistent", true);
    }
    o.close();
}

fn push_image(out: &mut String, node: &NodeInfo, chain: Option<&[NodeInfo]>) {
    // Each turn goes one image down.
    let mut image = Some(node);
    let mut open = 0;
    for _ in 0..=node.backing_file_depth {
        let Some(node) = image.filter(|_| out.len() <= REPLY_BYTES_MAX) else { break };
        if open > 0 {
            out.push_str(", \"backing-image\": ");
        }
        let mut o = ObjectText::open(out);
        o.plain("virtual-size", node.virtual_size).text("filename", &node.file).text("format", node.driver);
        if let Some(cluster_size) = node.cluster_size {
            o.plain("cluster-size", cluster_size);
        }
        push_image_facts(&mut o, node);
        open += 1;
        image = chain.and_then(|nodes| below(node, nodes));
    }
    out.extend(std::iter::repeat_n('}', open));
}

fn push_image_facts(o: &mut ObjectText<'_>, node: &NodeInfo) {
    if let Some(bytes) = node.actual_size {
        o.plain("actual-size", bytes);
    }
    if let Some(is_dirty) = node.is_dirty {
        o.plain("dirty-flag", is_dirty);
    }
    if let Some(NamedBacking { file, full, format }) = &node.named_backing {
        o.text("backing-filename", file).optional_text("full-backing-filename", full.as_deref());
        o.optional_text("backing-filename-format", format.as_deref());
    }
    if !node.snapshots.is_empty() {
        push_list(o.member("snapshots"), node.snapshots.iter(), push_snapshot);
    }
    match &node.specific {
        Some(SpecificInfo::File) => {
            o.plain("format-specific", r#"{"type": "file", "data": {}}"#);
        }
        Some(SpecificInfo::Qcow2(info)) => push_qcow2(o.member("format-specific"), info),
        None => {}
    }
}

fn push_snapshot(out: &mut String, snapshot: &Snapshot) {
    const SECOND: u64 = 1_000_000_000;
    let mut o = ObjectText::open(out);
    if let Some(instructions) = snapshot.instructions() {
        o.plain("icount", instructions);
    }
    o.plain("vm-clock-nsec", snapshot.vm_clock % SECOND).text("name", &snapshot.name);
    o.plain("date-sec", snapshot.seconds).plain("date-nsec", snapshot.nanoseconds);
    o.plain("vm-clock-sec", snapshot.vm_clock / SECOND).text("id", &snapshot.id);
    o.plain("vm-state-size", snapshot.vm_state_bytes);
    o.close();
}

fn push_qcow2(out: &mut String, info: &Info) {
    let mut o = ObjectText::open(out);
    o.text("type", "qcow2");
    let mut data = ObjectText::open(o.member("data"));
    data.text("compat", info.compat).text("compression-type", info.compression_type);
    data.plain("refcount-bits", info.refcount_bits).optional_text("data-file", info.data_file.as_deref());
    if let Some(more) = &info.of_version_3 {
        data.plain("lazy-refcounts", more.lazy_refcounts).plain("corrupt", more.corrupt);
        data.plain("extended-l2", more.extended_l2);
        if let Some(raw) = more.data_file_raw {
            data.plain("data-file-raw", raw);
        }
        if !more.bitmaps.is_empty() {
            push_list(data.member("bitmaps"), &more.bitmaps, push_bitmap_on_disk);
        }
    }
    data.close();
    o.close();
}

fn push_bitmap_on_disk(out: &mut String, bitmap: &BitmapOnDisk) {
    let mut o = ObjectText::open(out);
    let flags = [("in-use", bitmap.is_in_use), ("auto", bitmap.is_auto)];
    let set: Vec<&str> = flags.iter().filter(|(_, is_set)| *is_set).map(|(word, _)| *word).collect();
    push_list(o.member("flags"), &set, |out, word| push_string(out, word));
    o.text("name", &bitmap.name).plain("granularity", bitmap.granularity);
    o.close();
}

/// The image below.
fn below<'a>(node: &NodeInfo, nodes: &'a [NodeInfo]) -> Option<&'a NodeInfo> {
    let name = node.below.as_deref()?;
    nodes.iter().find(|other| other.node_name == name)
}

fn list<T>(elements: &[T], write: impl FnMut(&mut String, &T)) -> String {
    let mut out = String::new();
    push_list(&mut out, elements, write);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::qapi::{check, schema};
    use serde_json::Value;

    fn node(
        name: &str,
        driver: &'static str,
        file: &str,
        below: Option<(&str, &str)>,
        depth: u64,
    ) -> NodeInfo {
        NodeInfo {
            node_name: name.to_owned(),
            driver,
            read_only: false,
            file: file.to_owned(),
            backing_file: below.map(|(_, file)| file.to_owned()),
            below: below.map(|(name, _)| name.to_owned()),
            backing_file_depth: depth,
            virtual_size: 1 << 20,
            cluster_size: (driver == "qcow2").then_some(65536),
            is_dirty: Some(false),
            actual_size: Some(4096),
            named_backing: None,
            snapshots: Default::default(),
            specific: (driver == "file").then_some(SpecificInfo::File),
            detect_zeroes: "off",
            direct: false,
            no_flush: false,
            write_threshold: 0,
            bitmaps: Vec::new(),
        }
    }

    fn answer(text: &str, command: &str) -> Value {
        let value = serde_json::from_str(text).expect("a report is JSON");
        let command = schema::command(command).unwrap();
        assert_eq!(check::check_value(&value, &command.returns), Ok(()));
        value
    }

    // n0 <- n1 <- n2, each with its file.
    #[test]
    fn an_image_carries_the_images_below_it_unless_flat() {
        let all = [
            node("n2", "qcow2", "2", Some(("n1", "1")), 2),
            node("f1", "file", "1", None, 0),
            node("n1", "qcow2", "1", Some(("n0", "0")), 1),
            node("f0", "file", "0", None, 0),
            node("n0", "raw", "0", None, 0),
        ];
        let deep = answer(&nodes(&all, false), "query-named-block-nodes");
        assert_eq!(deep[0]["backing_file_depth"], 2);
        assert_eq!(deep[0]["image"]["backing-image"]["filename"], "1");
        assert_eq!(deep[0]["image"]["backing-image"]["cluster-size"], 65536);
        assert_eq!(deep[0]["image"]["backing-image"]["backing-image"]["format"], "raw");
        assert_eq!(deep[4]["image"].get("backing-image"), None);
        let flat = answer(&nodes(&all, true), "query-named-block-nodes");
        assert_eq!(flat[0]["backing_file_depth"], 0);
        assert_eq!(flat[0]["backing_file"], "1");
        assert_eq!(flat[0]["image"].get("backing-image"), None);
    }

    #[test]
    fn a_job_is_shown_with_its_error() {
        let job = BlockJobInfo {
            kind: "stream",
            device: "j\"0".to_owned(),
            len: 10,
            offset: 5,
            busy: false,
            paused: true,
            speed: i64::MAX,
            io_status: "nospace",
            ready: false,
            status: "concluded",
            auto_finalize: true,
            auto_dismiss: false,
            actively_synced: None,
            error: Some("No space left on device".to_owned()),
        };
        let shown = answer(&block_jobs(std::slice::from_ref(&job)), "query-block-jobs");
        assert_eq!(shown[0]["device"], "j\"0");
        assert_eq!(shown[0]["speed"], i64::MAX);
        let shown = answer(&jobs(&[job]), "query-jobs");
        assert_eq!(shown[0]["error"], "No space left on device");
        assert_eq!(shown[0]["current-progress"], 5);
    }
}
