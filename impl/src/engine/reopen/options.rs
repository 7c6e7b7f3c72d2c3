//! Which options of a node may change, and to what.

use super::queue::{Queued, came_with_its_parent, child_name, child_options};
use crate::command::{BlockdevOptions, ChildOptions, DriverOptions};
use crate::error::Refused;
use crate::graph::node::{Driver, Filter, Link, Node, Storage};
use crate::graph::options::{NodeOptions, Plain, bucket, is_part_of};
use crate::graph::{Graph, Place};
use crate::id::NodeId;
use std::sync::Arc;

/// What any node may be given anew, or not any more.
const COMMON: [&str; 6] =
    ["discard", "cache.direct", "cache.no-flush", "read-only", "auto-read-only", "detect-zeroes"];
/// The same of some drivers.
const OF_QCOW2: [&str; 10] = [
    "lazy-refcounts",
    "pass-discard-request",
    "pass-discard-snapshot",
    "pass-discard-other",
    "discard-no-unref",
    "overlap-check",
    "cache-size",
    "l2-cache-size",
    "l2-cache-entry-size",
    "refcount-cache-size",
];
/// What an NBD node compares by itself: its server may have been named in another way.
const OF_SERVER: [&str; 5] = ["server", "export", "x-dirty-bitmap", "reconnect-delay", "open-timeout"];

/// Refuses a node that cannot be reopened at all, and options that are left out and have no value to go back to.
pub(super) fn admit_left_out(graph: &Graph, id: NodeId, options: &BlockdevOptions) -> Result<(), Refused> {
    let place = graph.place(id);
    if !can_be_reopened(&place.node) {
        let (driver, node) = (place.node.driver_name(), place.node.name.to_string());
        return Err(Refused::CannotReopen { driver, node });
    }
    let now = |name: &str| options.settings.given.iter().any(|(given, _)| **given == *name);
    let mut left_out: Vec<&str> = place.options.given.iter().map(|(name, _)| &**name).collect();
    left_out.retain(|name| !["driver", "node-name", "filename"].contains(name) && !now(name));
    left_out.retain(|name| !can_change(&place.node, name));
    if place.node.disk().is_some() && !matches!(options.driver, DriverOptions::File { .. }) {
        left_out.push("filename");
    }
    match left_out.into_iter().min_by_key(|name| bucket(name)) {
        Some(name) => Err(Refused::OptionReset(name.to_owned())),
        None => Ok(()),
    }
}

fn can_be_reopened(node: &Node) -> bool {
    match &node.driver {
        Driver::Storage(_) => true,
        Driver::Filter(filter) => matches!(filter, Filter::Blkdebug(_) | Filter::Throttle(_)),
    }
}

fn can_change(node: &Node, name: &str) -> bool {
    let own: &[&str] = match &node.driver {
        Driver::Storage(Storage::Qcow2(_)) if name == "cache-clean-interval" => return true,
        Driver::Storage(Storage::Qcow2(_)) => &OF_QCOW2,
        Driver::Storage(Storage::Raw(_)) => &["offset", "size"],
        Driver::Storage(Storage::File { .. }) => &["x-check-cache-dropped"],
        Driver::Filter(Filter::Throttle(_)) => &["throttle-group"],
        _ => &[],
    };
    COMMON.contains(&name) || own.iter().any(|option| is_part_of(name, option))
}

/// Refuses an option that is not what it was and cannot change; of several, the one that QEMU finds first.
pub(super) fn admit_given(graph: &Graph, id: NodeId, options: &BlockdevOptions) -> Result<(), Refused> {
    let place = graph.place(id);
    let mut other: Vec<String> = Vec::new();
    if options.driver.name() != place.node.driver_name() {
        other.push("driver".to_owned());
    }
    if options.node_name.as_deref().is_some_and(|name| *name != *place.node.name) {
        other.push("node-name".to_owned());
    }
    let given = options.settings.given.iter();
    other.extend(
        given.filter(|(name, value)| !is_as_before(place, name, value)).map(|(name, _)| name.to_string()),
    );
    if let (Driver::Storage(Storage::Nbd { remote, .. }), DriverOptions::Nbd { server, .. }) =
        (&place.node.driver, &options.driver)
    {
        other.extend(remote.first_other_option(server).map(str::to_owned));
    }
    for link in [Link::File, Link::Backing, Link::Side] {
        other_child(graph, id, link, options, &mut other);
    }
    match other.into_iter().min_by_key(|name| bucket(name)) {
        Some(name) => Err(Refused::OptionFixed(name)),
        None => Ok(()),
    }
}

fn is_as_before(place: &Place, name: &str, value: &Plain) -> bool {
    match name {
        "driver" | "node-name" => true,
        "filename" => {
            let Plain::Text(path) = value else { return false };
            let path = path.strip_prefix("file:").unwrap_or(path);
            place.node.disk().is_some() && *path == *place.node.filename
        }
        "drop-cache" if place.node.disk().is_some() => true,
        _ if place.node.driver_name() == "nbd" && OF_SERVER.iter().any(|option| is_part_of(name, option)) => {
            true
        }
        _ => can_change(&place.node, name) || place.options.given(name) == Some(value),
    }
}

/// What options say of a child that is not there, came by itself, or is another.
fn other_child(graph: &Graph, id: NodeId, link: Link, options: &BlockdevOptions, other: &mut Vec<String>) {
    let place = graph.place(id);
    let name = child_name(&options.driver, link);
    let present = place.child(link).filter(|_| place.node.driver.child_name(link) == name);
    match child_options(&options.driver, link) {
        Some(ChildOptions::Inline(child))
            if !present.is_some_and(|child| came_with_its_parent(graph, child)) =>
        {
            push_names(name, child, other);
        }
        // The link was changed before, where that is possible.
        Some(ChildOptions::Reference(child)) if present.is_none_or(|id| *child != *graph.name(id)) => {
            let can_change = can_change_link(&place.node, link) && place.node.driver.child_name(link) == name;
            if !can_change {
                other.push(name.to_owned());
            }
        }
        _ => {}
    }
}

/// Whether another child may take that place.
pub(super) fn can_change_link(node: &Node, link: Link) -> bool {
    matches!(
        (&node.driver, link),
        (Driver::Storage(Storage::Qcow2(_)), Link::File | Link::Backing)
            | (Driver::Storage(Storage::Raw(_)) | Driver::Filter(Filter::Throttle(_)), Link::File)
    )
}

/// The options of a child, as its parent has them.
fn push_names(prefix: &str, options: &BlockdevOptions, names: &mut Vec<String>) {
    let driver = [Box::from("driver")].into_iter().filter(|_| options.settings.given.is_empty());
    let given = options.settings.given.iter().map(|(name, _)| name.clone());
    names.extend(given.chain(driver).map(|name| format!("{prefix}.{name}")));
    if let Some(ChildOptions::Reference(_)) = child_options(&options.driver, Link::File) {
        names.push(format!("{prefix}.{}", child_name(&options.driver, Link::File)));
    }
}

/// What requests of a node become: as is said now, or as is usual where nobody says anything.
pub(super) fn set(graph: &mut Graph, queued: &Queued<'_>, options: &BlockdevOptions) -> Result<(), Refused> {
    let above = queued.above;
    // The file of a format that describes it takes discards.
    let unmap = options.settings.unmap.unwrap_or(above.parent.is_some() && !above.is_backing);
    let place = graph.place_mut(queued.id);
    let mut changed = (*place.options).clone();
    changed.detect_zeroes = options.settings.detect_zeroes;
    changed.unmap = unmap;
    changed.given.clone_from(&options.settings.given);
    if changed != *place.options {
        place.options = Arc::new(changed);
    }
    match (place.node.qcow2(), &options.driver) {
        (Some(image), DriverOptions::Qcow2 { discards, .. }) if discards.no_unref && image.version() < 3 => {
            Err(Refused::DiscardWithoutReference)
        }
        _ => Ok(()),
    }
}

/// How it uses caches.
pub(super) fn set_cache(graph: &mut Graph, queued: &Queued<'_>) {
    let (direct, no_flush) = queued.cache(graph);
    let present = &graph.place(queued.id).options;
    if (present.direct, present.no_flush) != (direct, no_flush) {
        let changed = NodeOptions { direct, no_flush, ..(**present).clone() };
        graph.place_mut(queued.id).options = Arc::new(changed);
    }
}
