//! Edits of the graph and of images that are no jobs: what a success does, and exports.

use crate::command::blockdev::ImageFacts;
use crate::command::editing::{Edit, Editing, Reopen, is_unchanged};
use crate::command::exporting::Exporting;
use crate::content::{Layer, Moment, SECTOR_BYTES};
use crate::graph::{Driver, ImageId, Node, NodeId, User};
use crate::inconclusive::Inconclusive;
use crate::law::{Broken, LawId};
use crate::rule::Rule;
use crate::step::state::{SECTORS_MAX, State};

/// Sectors of a cluster, where an image is made without saying so.
const NEW_CLUSTER_SECTORS: u32 = 128;

/// Exports are users of the graph, numbered from here.
const EXPORTS: u32 = 1 << 31;

impl State {
    /// A command that was sent then, and accepted, edits the graph or an image.
    pub(super) fn edit_by_command(&mut self, editing: &Editing, edit: Edit, sent: Moment) {
        let before = self.headers_of_ending_jobs();
        match edit {
            Edit::Header(node, file) => {
                let names_either =
                    self.ending_jobs().next().is_some() && self.allows(Rule::HeaderNamesEither);
                self.header_changed(node, file, names_either);
            }
            Edit::Overlay(overlay, node) => self.overlay_added(overlay, node, sent),
            Edit::NewOverlay(node, file, name) => self.overlay_made(node, file, name, sent),
            Edit::Length(node, bytes) => self.resized(node, bytes),
            Edit::Options(list) => {
                for (node, options) in list {
                    self.reopened(node, &options);
                }
                self.count(LawId::ReopenDone);
            }
            Edit::Bitmap => self.bitmap_added(editing),
            Edit::Threshold => {}
        }
        self.zeroes_may_come_late();
        let after = self.headers_of_ending_jobs();
        if before != after && self.allows(Rule::HeaderNamesEither) {
            // Which of the two a job that is ending wrote, nobody saw.
            for (image, header) in before.into_iter().chain(after) {
                self.images[usize::from(image.0)].headers.insert(0, header);
                self.either_headers.push(image);
            }
        }
        assert_eq!(self.graph.malformed(), None, "after {editing:?}");
    }

    /// What jobs that are about to end write into headers, as the chains are now.
    fn headers_of_ending_jobs(&self) -> Vec<(ImageId, Option<String>)> {
        self.ending_jobs().flat_map(|job| self.next_headers(job)).collect()
    }

    fn header_changed(&mut self, node: NodeId, file: String, names_either: bool) {
        let header = Some(file).filter(|file| !file.is_empty());
        self.graph.node_mut(node).header = header.as_deref().map(Into::into);
        if let Some(image) = self.layer_of(&self.graph, node) {
            self.header_was_not_flushed(image);
            self.either_headers.retain(|other| *other != image);
            let headers = &mut self.images[usize::from(image.0)].headers;
            if names_either {
                self.either_headers.push(image);
            } else {
                headers.clear();
            }
            headers.push(header);
        }
        self.count(LawId::HeaderChanged);
    }

    fn overlay_added(&mut self, overlay: NodeId, node: NodeId, sent: Moment) {
        if let Some(below) = self.layer_of(&self.graph, node) {
            self.backups_of_top_lose_track(below);
        }
        self.graph.put_above(overlay, node);
        // What lies under a snapshot is not written any more.
        self.graph.restore(node, true);
        let is_struck = self.is_struck_since(sent);
        let old = self.graph.node_mut(node);
        old.may_have_stayed_writable |= old.read_only && is_struck;
        let below = self.layer_of(&self.graph, node);
        // What lies in the raw bytes of a format, the model does not know.
        if below.is_none() {
            self.lose(Inconclusive::SnapshotOfRaw);
        }
        if let Some(image) = self.layer_of(&self.graph, overlay) {
            self.views.compose(image, below);
            if !self.views.is_blank(image) {
                // Who copies through a filter on the node copies the overlay's own content from now on.
                self.copies_lose_track(image);
            }
        }
        // Whoever stood on the node, be it on a filter over it, now stands on the overlay and sees the same through it.
        let stands_on_it = |(id, _): &(NodeId, &Node)| self.graph.backing_layer(*id) == Some(overlay);
        let above: Vec<NodeId> = self.graph.alive().filter(stands_on_it).map(|(id, _)| id).collect();
        for above in above {
            self.compose(above);
        }
        if let Some(image) = below {
            self.changes_may_reach_overlay(image, overlay);
        }
        self.count(LawId::SnapshotDone);
    }

    fn overlay_made(&mut self, node: NodeId, file: String, name: Option<String>, sent: Moment) {
        let bytes = self.graph.node(node).bytes;
        let backing = self.graph.node(node).filename.clone();
        let size_bytes = bytes.unwrap_or(0);
        let headers = vec![backing.as_deref().map(str::to_owned)];
        self.images.push(ImageFacts {
            file: file.clone(),
            qcow2: true,
            headers,
            size_bytes,
            bitmaps: false,
            subclusters: false,
        });
        self.streamed.push(false);
        self.touched.push(false);
        self.shortest.push(None);
        let sectors = (size_bytes / SECTOR_BYTES).min(SECTORS_MAX) as u32;
        let image = Some(self.views.add(Layer::new(sectors, NEW_CLUSTER_SECTORS, false, &[])));
        let by_monitor = false;
        let file = self.graph.add(Node {
            filename: Some(file.into()),
            image,
            by_monitor,
            auto_read_only: true,
            ..Node::new(Driver::File)
        });
        let filename = self.graph.node(file).filename.clone();
        let file = Some(file);
        let overlay = Node {
            name: name.map(Into::into),
            filename,
            header: backing,
            image,
            file,
            by_monitor,
            bytes,
            ..Node::new(Driver::Qcow2)
        };
        let overlay = self.graph.add(overlay);
        self.overlay_added(overlay, node, sent);
        // Nobody holds it but those who stood on the node.
        self.graph.collect();
    }

    fn resized(&mut self, node: NodeId, bytes: u64) {
        let bytes = bytes.div_ceil(SECTOR_BYTES) * SECTOR_BYTES;
        let Some(layer) = self.graph.unfiltered(node) else { return };
        self.set_bytes(layer, Some(bytes));
        if let Some(image) = self.layer_of(&self.graph, layer) {
            self.images[usize::from(image.0)].size_bytes = bytes;
            self.shortest[usize::from(image.0)] = None;
            let sectors = (bytes / SECTOR_BYTES).min(SECTORS_MAX) as u32;
            self.set_sectors(image, sectors);
        }
        self.count(LawId::ResizeDone);
    }

    /// An image gets another length. Where it becomes longer, its zeroes need no cluster if nothing below could show.
    pub(super) fn set_sectors(&mut self, image: ImageId, sectors: u32) {
        let before = self.views.layer(image).sectors();
        self.views.resize(image, sectors);
        self.grows_before_zeroes(image, before);
        self.shrunk_data_returns(image, before);
        let is_longer = before < sectors && self.images[usize::from(image.0)].qcow2;
        if is_longer && self.allows(Rule::ResizedZeroes) {
            self.views.may_give_up(image, before, sectors - before);
        }
    }

    /// A change of a header failed, perhaps by a fault, or was cut off: the header names the one or the other.
    pub(super) fn header_change_failed(&mut self, editing: &Editing) {
        let Editing::ChangeBackingFile { image, file, .. } = editing else { return };
        let Some(node) = self.graph.find(image) else { return };
        let Some(image) = self.layer_of(&self.graph, node) else { return };
        let header = Some(file.clone()).filter(|file| !file.is_empty());
        self.images[usize::from(image.0)].headers.insert(0, header);
        self.either_headers.push(image);
    }

    /// A resize met a fault: the image may have either length.
    pub(super) fn resize_failed(&mut self, editing: &Editing) {
        let Editing::Resize { node, bytes, .. } = editing else { return };
        let Some(node) = self.graph.find(node) else { return };
        let Some(image) = self.layer_of(&self.graph, node) else { return };
        let asked = (u64::try_from(*bytes).unwrap_or(0) / SECTOR_BYTES).min(SECTORS_MAX) as u32;
        let present = self.views.layer(image).sectors();
        let before = self.shortest[usize::from(image.0)].unwrap_or(present);
        self.length_may_be_forgotten(image, before.min(asked));
        self.shortest[usize::from(image.0)] = Some(before.min(asked));
        self.views.may_be_given_up(image, asked.min(present)..present);
        self.set_bytes(node, None);
        if asked > present {
            self.set_sectors(image, asked);
        }
        for job in self.live_jobs().collect::<Vec<_>>() {
            self.job_mut(job).len_bytes = None;
        }
    }

    /// The length of a layer, which its filters have as well.
    pub(super) fn set_bytes(&mut self, node: NodeId, bytes: Option<u64>) {
        let layer = self.graph.unfiltered(node);
        let over: Vec<NodeId> =
            self.graph.alive().map(|(id, _)| id).filter(|id| self.graph.unfiltered(*id) == layer).collect();
        for id in over {
            self.graph.node_mut(id).bytes = bytes;
        }
    }

    fn reopened(&mut self, id: NodeId, options: &Reopen) {
        let wanted = match &options.backing {
            None => None,
            Some(None) => Some(None),
            Some(Some(name)) => Some(self.graph.find(name)),
        };
        let node = self.graph.node_mut(id);
        node.read_only = options.read_only;
        node.auto_read_only = options.auto_read_only;
        if let Some(file) = node.file.filter(|_| node.driver == Driver::Qcow2) {
            let file = self.graph.node_mut(file);
            file.read_only = options.read_only && !file.auto_read_only && file.read_only;
        }
        if let Some(backing) = wanted
            && !is_unchanged(&self.graph, id, backing)
        {
            self.graph.set_backing(id, backing);
            self.compose(id);
            if let Some(image) = self.layer_of(&self.graph, id) {
                self.copies_lose_track(image);
            }
            self.graph.collect();
        }
    }

    /// A command about exports; false if it must be refused.
    pub(super) fn export(&mut self, exporting: &Exporting) -> bool {
        if exporting.judge(&self.graph).is_err() {
            return false;
        }
        match exporting {
            Exporting::Add { id, node, writable, threaded, .. } => {
                self.is_threaded |= *threaded;
                let node = self.graph.find(node).expect("an accepted export has a node");
                let guest = EXPORTS + self.now;
                let export = Some(id.clone());
                self.graph.let_in(User { guest, export, behind: None, node, writable: *writable });
            }
            Exporting::Delete { id, .. } => self.export_gone(id),
            Exporting::ServerStart => {}
            Exporting::ServerStop => exporting.take_away(&mut self.graph),
        }
        true
    }

    /// `BLOCK_EXPORT_DELETED`, or the reply that says so.
    pub(super) fn export_gone(&mut self, id: &str) {
        self.graph.users.retain(|user| !user.is_of_export(id));
        self.graph.collect();
    }

    /// A guest connects to an export: it is where the export is, and writes if the export may.
    pub(super) fn connected(&mut self, guest: u32, export: &str) -> Result<(), Broken> {
        let found = self.graph.users.iter().find(|user| user.export.as_deref() == Some(export)).cloned();
        let known = found.is_some();
        self.hold(LawId::ReaderAdmitted, known, |_| {
            format!("guest {guest} connected to the export `{export}`, which does not exist")
        })?;
        self.graph.users.extend(found.map(|user| User {
            guest,
            behind: user.export.clone(),
            export: None,
            ..user
        }));
        Ok(())
    }
}
