//! From checked arguments to the commands that change the graph or one of its nodes.

use super::report;
use crate::engine::Engine;
use crate::engine::snapshot::SyncOptions;
use crate::error::Refused;
use crate::graph::bitmap::{BitmapName, NewBitmap};
use crate::qapi::node_options;
use crate::qapi::options::{Arguments, integer, owned_text, size, text, truth};
use crate::qapi::refusal::Refusal;
use crate::qapi::types::Edit;
use serde_json::Value;
use std::borrow::Cow;
use std::sync::Arc;

const CHECKED: &str = "arguments were checked against the table";

/// Does one of them.
pub(super) async fn run(
    engine: &Arc<Engine>,
    edit: Edit,
    arguments: &Arguments,
) -> Result<Cow<'static, str>, Refusal> {
    if edit == Edit::DeleteInternalSnapshot {
        let (id, name) = (owned_text(arguments, "id"), owned_text(arguments, "name"));
        let device = text(arguments, "device");
        let gone = engine.delete_internal_snapshot(device, id.as_deref(), name.as_deref()).await?;
        return Ok(report::deleted_snapshot(&gone).into());
    }
    if edit == Edit::BitmapSum {
        return Ok(report::bitmap_sum(&engine.bitmap_sum(&bitmap_name(arguments))?).into());
    }
    change(engine, edit, arguments).await?;
    Ok(Cow::Borrowed("{}"))
}

async fn change(engine: &Arc<Engine>, edit: Edit, arguments: &Arguments) -> Result<(), Refusal> {
    let done = match edit {
        Edit::Reopen => {
            let each = list(arguments, "options").iter().map(|entry| match entry {
                Value::Object(entry) => node_options::blockdev(entry),
                other => panic!("{CHECKED}, but options are {other}"),
            });
            let options: Vec<_> = each.collect::<Result<_, _>>()?;
            engine.blockdev_reopen(&options).await
        }
        Edit::Snapshot => engine.blockdev_snapshot(text(arguments, "node"), text(arguments, "overlay")).await,
        Edit::InternalSnapshot => {
            engine.create_internal_snapshot(text(arguments, "device"), text(arguments, "name")).await
        }
        Edit::SetIothread => {
            let iothread = owned_text_or_null(arguments, "iothread");
            let force = truth(arguments, "force").unwrap_or(false);
            engine.set_iothread(text(arguments, "node-name"), iothread.as_deref(), force)
        }
        Edit::SnapshotSync => engine.blockdev_snapshot_sync(&sync_options(arguments)).await,
        Edit::ChangeBackingFile => {
            let (device, image) = (text(arguments, "device"), text(arguments, "image-node-name"));
            engine.change_backing_file(device, image, text(arguments, "backing-file")).await
        }
        Edit::Resize => {
            let (device, node_name) = (owned_text(arguments, "device"), owned_text(arguments, "node-name"));
            let size = integer(arguments, "size").expect(CHECKED);
            engine.block_resize(node_name.as_deref(), device.as_deref(), size).await
        }
        bitmaps => edit_bitmaps(engine, bitmaps, arguments).await,
    };
    Ok(done?)
}

async fn edit_bitmaps(engine: &Arc<Engine>, edit: Edit, arguments: &Arguments) -> Result<(), Refused> {
    if edit == Edit::BitmapAdd {
        let new = new_bitmap(arguments);
        return engine.edit_bitmaps(|graph| graph.add_bitmap(&new)).await;
    }
    if edit == Edit::BitmapMerge {
        let node = text(arguments, "node").to_owned();
        let target = BitmapName { name: text(arguments, "target").to_owned(), node };
        let sources = sources(arguments, &target.node);
        return engine.edit_bitmaps(|graph| graph.merge_bitmaps(&target, &sources)).await;
    }
    let name = bitmap_name(arguments);
    let edit = move |graph: &mut crate::graph::Graph| match edit {
        Edit::BitmapRemove => graph.remove_bitmap(&name),
        Edit::BitmapClear => graph.clear_bitmap(&name),
        Edit::BitmapEnable => graph.set_bitmap_recording(&name, true),
        Edit::BitmapDisable => graph.set_bitmap_recording(&name, false),
        other => panic!("{other:?} is no change of a bitmap"),
    };
    engine.edit_bitmaps(edit).await
}

/// The arguments of `blockdev-snapshot-sync`.
pub(super) fn sync_options(arguments: &Arguments) -> SyncOptions {
    SyncOptions {
        device: owned_text(arguments, "device"),
        node_name: owned_text(arguments, "node-name"),
        file: text(arguments, "snapshot-file").to_owned(),
        overlay_name: owned_text(arguments, "snapshot-node-name"),
        format: owned_text(arguments, "format"),
        must_exist: arguments.get("mode").is_some_and(|mode| mode == "existing"),
    }
}

/// The arguments of `block-dirty-bitmap-add`.
pub(super) fn new_bitmap(arguments: &Arguments) -> NewBitmap {
    NewBitmap {
        node: text(arguments, "node").to_owned(),
        name: text(arguments, "name").to_owned(),
        granularity: size(arguments, "granularity"),
        is_persistent: truth(arguments, "persistent").unwrap_or(false),
        is_disabled: truth(arguments, "disabled").unwrap_or(false),
    }
}

/// The arguments that name one bitmap.
pub(super) fn bitmap_name(arguments: &Arguments) -> BitmapName {
    BitmapName { node: text(arguments, "node").to_owned(), name: text(arguments, "name").to_owned() }
}

/// The bitmaps that are merged into one of `node`.
pub(super) fn sources(arguments: &Arguments, node: &str) -> Vec<BitmapName> {
    let source = |value: &Value| match value {
        Value::String(name) => BitmapName { node: node.to_owned(), name: name.clone() },
        Value::Object(named) => bitmap_name(named),
        other => panic!("{CHECKED}, but a bitmap is {other}"),
    };
    list(arguments, "bitmaps").iter().map(source).collect()
}

fn owned_text_or_null(arguments: &Arguments, name: &str) -> Option<String> {
    arguments.get(name).and_then(Value::as_str).map(str::to_owned)
}

fn list<'a>(arguments: &'a Arguments, name: &str) -> &'a [Value] {
    arguments.get(name).and_then(Value::as_array).expect(CHECKED)
}
