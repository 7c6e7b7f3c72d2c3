//! From checked arguments to a backup, and to a transaction's actions.
//!
//! A command that shall be an action too gets a line in `action`, and one in the table of `schema/transaction.rs`.

use super::edits;
use crate::command::{BackupArguments, BackupSync, BitmapMode};
use crate::engine::transaction::{Action, GraphEdit, Transaction};
use crate::graph::bitmap::BitmapName;
use crate::qapi::options::{Arguments, job, on_error, optional_text, owned_text, text, truth};
use serde_json::Value;

const CHECKED: &str = "arguments were checked against the table";

/// QEMU's number of copies under way.
const WORKERS: i64 = 64;

/// The arguments of `blockdev-backup`.
pub(super) fn backup(arguments: &Arguments) -> BackupArguments {
    let performance = |name| arguments.get("x-perf")?.get(name)?.as_i64();
    BackupArguments {
        job: job(arguments),
        device: text(arguments, "device").to_owned(),
        target: text(arguments, "target").to_owned(),
        sync: sync(text(arguments, "sync")),
        bitmap: owned_text(arguments, "bitmap"),
        bitmap_mode: optional_text(arguments, "bitmap-mode").map(bitmap_mode),
        compress: truth(arguments, "compress").unwrap_or(false),
        on_source_error: on_error(optional_text(arguments, "on-source-error")),
        on_target_error: on_error(optional_text(arguments, "on-target-error")),
        filter_node_name: owned_text(arguments, "filter-node-name"),
        discard_source: truth(arguments, "discard-source").unwrap_or(false),
        workers_max: performance("max-workers").unwrap_or(WORKERS),
        chunk_bytes_max: performance("max-chunk").unwrap_or(0),
        cluster_bytes_min: performance("min-cluster-size").unwrap_or(0),
    }
}

fn sync(word: &str) -> BackupSync {
    match word {
        "top" => BackupSync::Top,
        "full" => BackupSync::Full,
        "none" => BackupSync::None,
        "incremental" => BackupSync::Incremental,
        "bitmap" => BackupSync::Bitmap,
        other => panic!("{CHECKED}, but sync is {other}"),
    }
}

fn bitmap_mode(word: &str) -> BitmapMode {
    match word {
        "on-success" => BitmapMode::OnSuccess,
        "never" => BitmapMode::Never,
        "always" => BitmapMode::Always,
        other => panic!("{CHECKED}, but bitmap-mode is {other}"),
    }
}

/// The arguments of `transaction`.
pub(super) fn transaction(arguments: &Arguments) -> Transaction {
    let actions = arguments.get("actions").and_then(Value::as_array).expect(CHECKED);
    let mode = arguments.get("properties").and_then(|properties| properties.get("completion-mode"));
    Transaction {
        actions: actions.iter().map(action).collect(),
        grouped: mode.is_some_and(|mode| mode == "grouped"),
    }
}

fn action(action: &Value) -> Action {
    let kind = action.get("type").and_then(Value::as_str).expect(CHECKED);
    let data = action.get("data").and_then(Value::as_object).expect(CHECKED);
    let bitmap = || edits::bitmap_name(data);
    let edit = |name, edit: GraphEdit| Action::Edit { name, edit };
    match kind {
        "abort" => Action::Abort,
        "blockdev-backup" => Action::Backup(backup(data)),
        "blockdev-snapshot" => Action::Snapshot {
            node: text(data, "node").to_owned(),
            overlay: text(data, "overlay").to_owned(),
        },
        "blockdev-snapshot-sync" => Action::SnapshotSync(edits::sync_options(data)),
        "blockdev-snapshot-internal-sync" => Action::InternalSnapshot {
            device: text(data, "device").to_owned(),
            name: text(data, "name").to_owned(),
        },
        "block-dirty-bitmap-add" => {
            let new = edits::new_bitmap(data);
            edit("block-dirty-bitmap-add", Box::new(move |graph| graph.add_bitmap(&new)))
        }
        "block-dirty-bitmap-remove" => {
            let name = bitmap();
            edit("block-dirty-bitmap-remove", Box::new(move |graph| graph.remove_bitmap(&name)))
        }
        "block-dirty-bitmap-clear" => {
            let name = bitmap();
            edit("block-dirty-bitmap-clear", Box::new(move |graph| graph.clear_bitmap(&name)))
        }
        "block-dirty-bitmap-enable" => {
            let name = bitmap();
            let enable: GraphEdit = Box::new(move |graph| graph.set_bitmap_recording(&name, true));
            edit("block-dirty-bitmap-enable", enable)
        }
        "block-dirty-bitmap-disable" => {
            let name = bitmap();
            let disable: GraphEdit = Box::new(move |graph| graph.set_bitmap_recording(&name, false));
            edit("block-dirty-bitmap-disable", disable)
        }
        "block-dirty-bitmap-merge" => {
            let node = text(data, "node").to_owned();
            let sources = edits::sources(data, &node);
            let target = BitmapName { name: text(data, "target").to_owned(), node };
            let merge: GraphEdit = Box::new(move |graph| graph.merge_bitmaps(&target, &sources));
            edit("block-dirty-bitmap-merge", merge)
        }
        other => panic!("{CHECKED}, but an action is {other}"),
    }
}
