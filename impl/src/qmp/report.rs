//! The answers to the `query-*` commands as text.

use super::text::{ObjectText, push_list};
use crate::command::{BlockJobInfo, NodeInfo};

/// `query-block-jobs`.
pub fn block_jobs(jobs: &[BlockJobInfo]) -> String {
    list(jobs, |out, job| {
        let mut o = ObjectText::open(out);
        o.plain("auto-finalize", job.auto_finalize).text("io-status", job.io_status);
        o.text("device", &job.device).plain("auto-dismiss", job.auto_dismiss).plain("busy", job.busy);
        o.plain("len", job.len).plain("offset", job.offset).text("status", job.status);
        o.plain("paused", job.paused).plain("speed", job.speed).plain("ready", job.ready);
        o.text("type", job.kind).optional_text("error", job.error.as_deref());
        o.close();
    })
}

/// `query-jobs`.
pub fn jobs(jobs: &[BlockJobInfo]) -> String {
    list(jobs, |out, job| {
        let mut o = ObjectText::open(out);
        o.plain("current-progress", job.offset).text("status", job.status);
        o.plain("total-progress", job.len).text("type", job.kind).text("id", &job.device);
        o.optional_text("error", job.error.as_deref());
        o.close();
    })
}

/// `query-named-block-nodes`. Unless `flat`, each image carries the images below it.
pub fn nodes(nodes: &[NodeInfo], flat: bool) -> String {
    list(nodes, |out, node| {
        let mut o = ObjectText::open(out);
        o.plain("iops_rd", 0).text("detect_zeroes", "off").plain("active", true);
        push_image(o.member("image"), node, if flat { None } else { Some(nodes) });
        o.plain("iops_wr", 0).plain("ro", node.read_only).text("node-name", &node.node_name);
        o.plain("backing_file_depth", if flat { 0 } else { node.backing_file_depth });
        o.text("drv", node.driver).plain("iops", 0).plain("bps_wr", 0).plain("write_threshold", 0);
        o.optional_text("backing_file", node.backing_file.as_deref());
        o.plain("encrypted", false).plain("bps", 0).plain("bps_rd", 0);
        o.plain("cache", r#"{"no-flush": false, "direct": false, "writeback": true}"#);
        o.text("file", &node.file);
        o.close();
    })
}

fn push_image(out: &mut String, node: &NodeInfo, chain: Option<&[NodeInfo]>) {
    // Each turn goes one image down; the depth bounds them, whatever the names say.
    let mut image = Some(node);
    let mut open = 0;
    for _ in 0..=node.backing_file_depth {
        let Some(node) = image else { break };
        if open > 0 {
            out.push_str(", \"backing-image\": ");
        }
        let mut o = ObjectText::open(out);
        o.plain("virtual-size", node.virtual_size).text("filename", &node.file).text("format", node.driver);
        if let Some(cluster_size) = node.cluster_size {
            o.plain("cluster-size", cluster_size);
        }
        open += 1;
        image = chain.and_then(|nodes| below(node, nodes));
    }
    out.extend(std::iter::repeat_n('}', open));
}

/// The image below: nodes of one file and format say the same of it, so any of them will do.
fn below<'a>(node: &NodeInfo, nodes: &'a [NodeInfo]) -> Option<&'a NodeInfo> {
    let file = node.backing_file.as_deref()?;
    let mut same_file = nodes.iter().filter(|n| n.file == file);
    let formatted = same_file.clone().find(|n| n.driver != "file");
    formatted.or_else(|| same_file.next())
}

fn list<T>(elements: &[T], write: impl FnMut(&mut String, &T)) -> String {
    let mut out = String::new();
    push_list(&mut out, elements, write);
    out
}
