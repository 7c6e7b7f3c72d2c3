//! `blockdev-reopen`: options of nodes change while they are in use, all of them or none.
//!
//! The new graph is made and checked first; then images and files change between read-only and read-write; then the
//! graph takes its place. The link to a stream's base is not frozen: it may be taken away under the job, which then
//! finishes on whatever hangs there, and so keeps what its target's readers see.

use super::Engine;
use crate::command::{BackingOptions, BlockdevOptions, ChildOptions, DriverOptions};
use crate::error::Refused;
use crate::format::qcow2::Qcow2;
use crate::format::raw::Raw;
use crate::graph::Graph;
use crate::graph::node::{Driver, FileAccess, Filter, Node, Storage};
use crate::graph::options::NodeOptions;
use crate::id::NodeId;
use seam::Disk;
use std::sync::Arc;

/// A node and what it is to become.
type Change<'a> = (NodeId, &'a BlockdevOptions);

impl Engine {
    /// `blockdev-reopen`.
    pub(crate) async fn blockdev_reopen(&self, options: &[BlockdevOptions]) -> Result<(), Refused> {
        let changes = find(&self.graph(), options)?;
        let _alone = self.gate.drain().await;
        for (id, _) in &changes {
            let graph = self.graph();
            graph.node(*id).flush().await.map_err(Refused::io("flush", graph.name(*id)))?;
        }
        let before = self.graph();
        let mut after = Graph::clone(&before);
        apply(&mut after, &changes)?;
        let moved = self.open_moved(&before, &after, &changes).await?;
        // Who fails at this has put everything back.
        self.switch_modes(&before, &after, &changes).await?;
        let placed = self.try_edit(|graph| {
            apply(graph, &changes)?;
            moved.iter().for_each(|node| graph.place_mut(node.id).node = node.clone());
            Ok(())
        });
        match placed {
            Ok(((), dropped)) => {
                pass_to_drivers(&self.graph(), &changes);
                self.close(dropped).await;
                Ok(())
            }
            Err(refused) => {
                // Best effort, as before the command.
                let _as_far_as_it_can = self.switch_modes(&after, &before, &changes).await;
                Err(refused)
            }
        }
    }

    /// Images that lie in another file from now on, opened there.
    async fn open_moved(
        &self,
        before: &Graph,
        after: &Graph,
        changes: &[Change<'_>],
    ) -> Result<Vec<Arc<Node>>, Refused> {
        let mut moved = Vec::new();
        for (id, _) in changes {
            let (old, new) = (before.place(*id), after.place(*id));
            let Some(file) = new.file.filter(|_| old.file != new.file) else { continue };
            let (below, writable) = (after.node(file), !new.read_only);
            let (Some(disk), access) = (below.disk(), below.file_access()) else {
                return Err(Refused::NotStorage(below.filename.clone()));
            };
            let cannot_open = |errno| Refused::CannotOpen { filename: below.filename.clone(), errno };
            if writable && access == Some(FileAccess::Auto) {
                let refused = |errno| Refused::cannot_open(&below.filename, errno, true);
                disk.reopen(true).await.map_err(refused)?;
            }
            let driver = match &old.node.driver {
                Driver::Storage(Storage::Raw(_)) => {
                    Storage::Raw(Raw::open(disk.clone(), writable).map_err(cannot_open)?)
                }
                Driver::Storage(Storage::Qcow2(_)) => {
                    let allowance = self.allowance();
                    let image =
                        Qcow2::open_within(disk.clone(), None, &below.filename, writable, &allowance).await;
                    Storage::Qcow2(image.map_err(|error| Refused::MalformedImage(error.to_string()))?)
                }
                _ => return Err(cannot_reopen(&old.node)),
            };
            let (name, filename) = (old.node.name.clone(), below.filename.clone());
            let write_threshold = old.node.write_threshold.clone();
            let node = Node::new(*id, name, filename, Driver::Storage(driver));
            moved.push(Arc::new(Node { write_threshold, ..node }));
        }
        Ok(moved)
    }

    /// Brings images and files into the mode that `to` says, wherever `from` says another; all, or none.
    async fn switch_modes(&self, from: &Graph, to: &Graph, changes: &[Change<'_>]) -> Result<(), Refused> {
        let mut done = Vec::new();
        for (id, _) in changes {
            let (old, new) = (from.place(*id), to.place(*id));
            if old.read_only == new.read_only || old.file != new.file {
                continue;
            }
            let switched = self.switch(from, *id, !new.read_only).await;
            if switched.is_err() {
                for id in done {
                    let _as_far_as_it_can = self.switch(from, id, !from.place(id).read_only).await;
                }
                return switched;
            }
            done.push(*id);
        }
        Ok(())
    }

    async fn switch(&self, graph: &Graph, id: NodeId, writable: bool) -> Result<(), Refused> {
        let node = graph.node(id);
        match node.outside() {
            Some(disk) => {
                let reopened = disk.reopen(writable).await;
                reopened.map_err(|errno| Refused::cannot_open(&node.filename, errno, writable))
            }
            None => self.reopen_images(graph, id, writable).await,
        }
    }
}

/// The nodes that are meant; of two changes of one node the later counts.
fn find<'a>(graph: &Graph, options: &'a [BlockdevOptions]) -> Result<Vec<Change<'a>>, Refused> {
    let mut changes: Vec<Change<'a>> = Vec::new();
    for options in options {
        let name = options.node_name.as_ref().ok_or(Refused::ReopenNameMissing)?;
        let id = graph.find(name).ok_or_else(|| Refused::NodeNotFound(name.clone()))?;
        match changes.iter_mut().find(|(changed, _)| *changed == id) {
            Some((_, earlier)) => *earlier = options,
            None => changes.push((id, options)),
        }
    }
    Ok(changes)
}

/// Makes all changes in the graph and checks what came of it.
fn apply(graph: &mut Graph, changes: &[Change<'_>]) -> Result<(), Refused> {
    for (id, _) in changes {
        if !graph.contains(*id) {
            return Err(Refused::ChildGone);
        }
    }
    for (id, options) in changes {
        apply_one(graph, *id, options)?;
    }
    graph.admit_all_depths()?;
    graph.admit_permissions_and_writers(&|id| changes.iter().any(|(changed, _)| *changed == id))
}

fn apply_one(graph: &mut Graph, id: NodeId, options: &BlockdevOptions) -> Result<(), Refused> {
    let node = graph.node(id).clone();
    if node.is_filter() {
        return Err(cannot_reopen(&node));
    }
    if let Some(image) = node.qcow2() {
        let given = match &options.driver {
            DriverOptions::Qcow2 { backing, .. } => backing,
            _ => &BackingOptions::FromHeader,
        };
        let has_backing = graph.place(id).backing.is_some() || image.backing().is_some();
        change_backing(graph, id, given, has_backing)?;
    }
    match (graph.storage(id), &options.driver) {
        (Storage::Qcow2(_), DriverOptions::Qcow2 { file, .. })
        | (Storage::Raw(_), DriverOptions::Raw { file, .. }) => change_file(graph, id, file)?,
        (Storage::File { locks: present, .. }, DriverOptions::File { filename, locks }) => {
            if locks.is_some_and(|locks| locks != *present) {
                return Err(Refused::OptionFixed("locking".to_owned()));
            }
            if filename.strip_prefix("file:").unwrap_or(filename) != node.filename {
                return Err(Refused::OptionFixed("filename".to_owned()));
            }
        }
        // What was given and is left out is looked at before what is given.
        (Storage::File { .. }, _) => return Err(Refused::OptionReset("filename")),
        (Storage::Nbd { remote, .. }, DriverOptions::Nbd { server, .. }) => {
            if let Some(option) = remote.first_other_option(server) {
                return Err(Refused::OptionFixed(option.to_owned()));
            }
        }
        _ => return Err(Refused::OptionFixed("driver".to_owned())),
    }
    set_options(graph, id, options)?;
    set_mode(graph, id, options);
    Ok(())
}

/// What requests become: as the operator says now, or as it is when nobody says anything. How the file is opened (cache,
/// locks) stays.
fn set_options(graph: &mut Graph, id: NodeId, options: &BlockdevOptions) -> Result<(), Refused> {
    let place = graph.place(id);
    // A child that came with its parent passes discards on.
    let unmap = options.settings.unmap.unwrap_or(!place.monitor_owned);
    let detect_zeroes = options.settings.detect_zeroes;
    if (place.options.unmap, place.options.detect_zeroes) != (unmap, detect_zeroes) {
        let changed = NodeOptions { unmap, detect_zeroes, ..(*place.options).clone() };
        graph.place_mut(id).options = Arc::new(changed);
    }
    match (graph.node(id).qcow2(), &options.driver) {
        (Some(image), DriverOptions::Qcow2 { discards, .. }) if discards.no_unref && image.version() < 3 => {
            Err(Refused::DiscardWithoutReference)
        }
        _ => Ok(()),
    }
}

/// Passes on to the drivers how nodes take discards from now on. The graph has it already, and nothing can refuse any more.
fn pass_to_drivers(graph: &Graph, changes: &[Change<'_>]) {
    for (id, options) in changes {
        pass_to_driver(graph, *id, options);
    }
}

fn pass_to_driver(graph: &Graph, id: NodeId, options: &BlockdevOptions) {
    let place = graph.place(id);
    let file = match (&place.node.driver, &options.driver) {
        (Driver::Storage(Storage::File { disk, .. }), _) => {
            disk.set_unmap(place.options.unmap);
            None
        }
        (Driver::Storage(Storage::Qcow2(image)), DriverOptions::Qcow2 { file, discards, .. }) => {
            image.set_discards(discards.settle(place.options.unmap));
            Some(file)
        }
        (_, DriverOptions::Raw { file, .. }) => Some(file),
        _ => None,
    };
    if let (Some(ChildOptions::Inline(options)), Some(child)) = (file, place.file) {
        pass_to_driver(graph, child, options);
    }
}

/// The link to the layer below.
fn change_backing(
    graph: &mut Graph,
    id: NodeId,
    given: &BackingOptions,
    has_backing: bool,
) -> Result<(), Refused> {
    let wanted = match given {
        BackingOptions::FromHeader if has_backing => {
            return Err(Refused::BackingMissing(graph.name(id).to_owned()));
        }
        BackingOptions::FromHeader | BackingOptions::None => None,
        BackingOptions::Child(ChildOptions::Reference(name)) => {
            let child = graph.lookup_node_name(name)?;
            graph.admit_child(id, "backing", child)?;
            Some(child)
        }
        BackingOptions::Child(ChildOptions::Inline(_)) => {
            return Err(Refused::OptionFixed("backing.driver".to_owned()));
        }
    };
    let present = graph.place(id).backing;
    if present == wanted {
        return Ok(());
    }
    if let Some(present) = present {
        if skip_implicit(graph, present) == wanted {
            return Ok(());
        }
        if graph.place(present).implicit {
            return Err(Refused::ImplicitChild { link: "backing", node: graph.name(id).to_owned() });
        }
        // A commit's filter stands where it was put until the job ends. QEMU 10.0 dies of such a command.
        let is_commit = matches!(graph.node(present).driver, Driver::Filter(Filter::CommitTop));
        if graph.place(id).frozen_by.is_some() || is_commit {
            return Err(graph.frozen(id, present));
        }
    }
    graph.set_backing(id, wanted);
    Ok(())
}

/// The node that clients see where they look at `id`.
fn skip_implicit(graph: &Graph, id: NodeId) -> Option<NodeId> {
    graph.chain(id).find(|node| !graph.place(*node).implicit)
}

/// The file an image lies in.
fn change_file(graph: &mut Graph, id: NodeId, given: &ChildOptions) -> Result<(), Refused> {
    let present = graph.place(id).file.expect("an image lies in a file");
    match given {
        ChildOptions::Reference(name) => {
            let child = graph.lookup_node_name(name)?;
            graph.admit_child(id, "file", child)?;
            graph.place_mut(id).file = Some(child);
            Ok(())
        }
        // Only a child that came with its parent is described with it again.
        ChildOptions::Inline(_) if graph.place(present).monitor_owned => {
            Err(Refused::OptionFixed("file.driver".to_owned()))
        }
        ChildOptions::Inline(options) => {
            let renamed = options.node_name.as_deref().is_some_and(|name| name != graph.name(present));
            if renamed {
                return Err(Refused::OptionFixed("node-name".to_owned()));
            }
            apply_one(graph, present, options)
        }
    }
}

/// Read-only or not. A file that follows its image follows it here too, but only where the mode is spelt out.
fn set_mode(graph: &mut Graph, id: NodeId, options: &BlockdevOptions) {
    let read_only = options.read_only.unwrap_or(false);
    graph.place_mut(id).read_only = read_only;
    let follows = |file: &NodeId| graph.node(*file).file_access() == Some(FileAccess::Inherited);
    let file = graph.place(id).file.filter(follows).filter(|_| options.read_only.is_some());
    if let Some(file) = file {
        graph.place_mut(file).read_only = read_only;
    }
}

fn cannot_reopen(node: &Node) -> Refused {
    Refused::CannotReopen { driver: node.driver_name(), node: node.name.to_string() }
}
