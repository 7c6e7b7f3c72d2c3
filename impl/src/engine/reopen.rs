//! `blockdev-reopen`: options of nodes change while they are in use, all of them or none.
//!
//! The new graph is made and checked first; then images and files change between read-only and read-write; then the
//! graph takes its place. The link to a stream's base is not frozen: it may be taken away under the job, which then
//! finishes on whatever hangs there, and so keeps what its target's readers see.

mod links;
mod moved;
mod options;
mod queue;

use super::Engine;
use crate::command::{BlockdevOptions, DriverOptions};
use crate::error::Refused;
use crate::graph::Graph;
use crate::graph::node::{Driver, FileAccess, Storage};
use crate::graph::write_threshold::WatchedDisk;
use crate::id::NodeId;
use queue::{Queued, queue, spelt_read_only};
use seam::{Disk, Errno};

impl Engine {
    /// `blockdev-reopen`.
    pub(crate) async fn blockdev_reopen(&self, options: &[BlockdevOptions]) -> Result<(), Refused> {
        queue(&self.graph(), options)?;
        let _alone = self.gate.drain().await;
        let queue = queue(&self.graph(), options)?;
        for Queued { id, .. } in &queue {
            let graph = self.graph();
            if graph.contains(*id) {
                graph.node(*id).flush().await.map_err(Refused::io("flush", graph.name(*id)))?;
            }
        }
        let before = self.graph();
        let mut after = Graph::clone(&before);
        apply(&mut after, &queue)?;
        let moved = self.open_moved(&before, &after, &queue).await?;
        // Who fails at these has put everything back.
        switch_caches(&before, &after, &queue).await?;
        if let Err(refused) = self.switch_modes(&before, &after, &queue).await {
            let _as_far_as_it_can = switch_caches(&after, &before, &queue).await;
            return Err(refused);
        }
        let placed = self.try_edit(|graph| {
            apply(graph, &queue)?;
            moved.iter().for_each(|moved| moved.put_into(graph));
            Ok(())
        });
        match placed {
            Ok(((), dropped)) => {
                let graph = self.graph();
                for moved in &moved {
                    moved.join();
                    self.report_damage(moved.node());
                }
                pass_to_drivers(&graph, &queue);
                self.close(dropped).await;
                Ok(())
            }
            Err(refused) => {
                // Best effort, as before the command.
                let _as_far_as_it_can = self.switch_modes(&after, &before, &queue).await;
                let _as_far_as_it_can = switch_caches(&after, &before, &queue).await;
                Err(refused)
            }
        }
    }

    /// Brings images and files into the mode that `to` says, wherever `from` says another; all, or none.
    async fn switch_modes(&self, from: &Graph, to: &Graph, queue: &[Queued<'_>]) -> Result<(), Refused> {
        let switching = switching(from, to, queue);
        for (n, id) in switching.iter().enumerate() {
            let switched = self.switch(to, *id, !to.place(*id).read_only).await;
            if switched.is_err() {
                for id in switching[..n].iter().rev() {
                    let _as_far_as_it_can = self.switch(from, *id, !from.place(*id).read_only).await;
                }
                return switched;
            }
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

/// Has files use caches as `to` says, wherever `from` says otherwise; all, or none.
async fn switch_caches(from: &Graph, to: &Graph, queue: &[Queued<'_>]) -> Result<(), Refused> {
    let cache = |graph: &Graph, id| {
        let options = &graph.place(id).options;
        (options.direct, options.no_flush)
    };
    let mut done: Vec<(&WatchedDisk, (bool, bool))> = Vec::new();
    for Queued { id, .. } in queue {
        let (old, new) = (cache(from, *id), cache(to, *id));
        let Some(disk) = to.node(*id).disk().filter(|_| old != new) else { continue };
        if let Err(errno) = disk.set_cache(new.0, !new.1).await {
            for (disk, (direct, no_flush)) in done {
                let _as_far_as_it_can = disk.set_cache(direct, !no_flush).await;
            }
            let filename = to.node(*id).filename.clone();
            return Err(match errno {
                Errno::EINVAL => Refused::CacheNotAvoided(filename),
                errno => Refused::CannotOpen { filename, errno },
            });
        }
        done.push((disk, old));
    }
    Ok(())
}

/// The nodes whose mode changes, in an order in which nobody writes to what is read-only: what is closed to writers, from
/// the top down, then what is opened to them, from the bottom up.
fn switching(from: &Graph, to: &Graph, queue: &[Queued<'_>]) -> Vec<NodeId> {
    let changes = |id: NodeId| {
        let (old, new) = (from.place(id), to.place(id));
        old.read_only != new.read_only && old.file == new.file
    };
    // A file that follows its image is reopened with it.
    let comes_along = |queued: &&Queued<'_>| {
        let parent = queued.above.parent.filter(|parent| changes(*parent));
        let follows = to.node(queued.id).file_access() == Some(FileAccess::Inherited);
        follows && parent.is_some_and(|parent| to.place(parent).read_only == to.place(queued.id).read_only)
    };
    let changed = queue.iter().filter(|queued| changes(queued.id) && !comes_along(queued));
    let mut switching: Vec<NodeId> = changed.map(|queued| queued.id).collect();
    // Whoever stands above another has more below.
    let height = |id: &NodeId| to.below_and_with(*id).nodes().count();
    switching.sort_by_cached_key(|id| match to.place(*id).read_only {
        true => (false, usize::MAX - height(id)),
        false => (true, height(id)),
    });
    switching
}

/// Makes all changes in the graph and checks what came of it.
fn apply(graph: &mut Graph, queue: &[Queued<'_>]) -> Result<(), Refused> {
    if queue.iter().any(|queued| !graph.contains(queued.id)) {
        return Err(Refused::ChildGone);
    }
    for queued in queue {
        if let Some(options) = queued.options {
            options::admit_left_out(graph, queued.id, options)?;
            links::admit_backing(graph, queued.id, options)?;
            links::change(graph, queued.id, options)?;
            options::admit_given(graph, queued.id, options)?;
            options::set(graph, queued, options)?;
        }
        options::set_cache(graph, queued);
        set_mode(graph, queued);
    }
    graph.admit_all_depths()?;
    graph.admit_permissions_and_writers(&|id| queue.iter().any(|queued| queued.id == id))
}

/// Read-only or not.
fn set_mode(graph: &mut Graph, queued: &Queued<'_>) {
    let read_only = match queued.options {
        Some(options) => options.read_only.or(queued.above.read_only).unwrap_or(false),
        None => {
            let said = spelt_read_only(graph, queued.id).or(queued.above.read_only);
            said.unwrap_or(graph.place(queued.id).read_only)
        }
    };
    graph.place_mut(queued.id).read_only = read_only;
}

/// Passes on to the drivers how nodes take discards from now on. The graph has it already, and nothing can refuse any more.
fn pass_to_drivers(graph: &Graph, queue: &[Queued<'_>]) {
    for Queued { id, options, .. } in queue {
        let (Some(options), place) = (options, graph.place(*id)) else { continue };
        match (&place.node.driver, &options.driver) {
            (Driver::Storage(Storage::File { disk, .. }), _) => disk.set_unmap(place.options.unmap),
            (Driver::Storage(Storage::Qcow2(image)), DriverOptions::Qcow2 { discards, .. }) => {
                image.set_discards(discards.settle(place.options.unmap));
            }
            _ => {}
        }
    }
}
