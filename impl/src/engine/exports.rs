//! `nbd-server-*` and `block-export-*`: the server starts and stops, exports come and go.

use super::Engine;
use crate::command::{ExportInfo, ExportOptions};
use crate::engine::export::server::{Server, ServerOptions};
use crate::engine::export::{ClientSerial, Export, Exports};
use crate::error::{Refused, is_well_formed_id};
use crate::event::Event;
use crate::graph::Graph;
use crate::graph::bitmap::held::Shown;
use crate::id::NodeId;
use crate::nbd::offer::Offer;
use crate::nbd::request::BitmapSet;
use crate::nbd::wire::STRING_BYTES_MAX;
use crate::object::Object;
use std::sync::Arc;

/// Sizes are shown in whole sectors.
const SECTOR_BYTES: u64 = 512;

impl Engine {
    /// What is exported.
    pub fn exports(&self) -> &Exports {
        &self.exports
    }

    /// `nbd-server-start`.
    pub fn nbd_server_start(self: &Arc<Self>, options: &ServerOptions) -> Result<(), Refused> {
        if self.exports.server().is_some() {
            return Err(Refused::ServerAlreadyRunning);
        }
        let listener = self.host().listen(&options.path);
        let listener =
            listener.map_err(|errno| Refused::CannotListen { path: options.path.clone(), errno })?;
        self.exports.set_server(Some(Server::start(self, options.clone(), listener)));
        Ok(())
    }

    /// `nbd-server-stop`: every export goes with the server.
    pub(crate) async fn nbd_server_stop(&self) -> Result<(), Refused> {
        let server = self.exports.set_server(None).ok_or(Refused::ServerNotRunning)?;
        server.stop();
        let mut exports = self.exports.all();
        exports.reverse();
        for export in exports {
            self.shut_down_export(&export).await;
            self.exports.wait_until_gone(&export.id).await;
        }
        Ok(())
    }

    /// `nbd-server-add`: of a read-only node it makes a read-only export, whatever it is asked for.
    pub(crate) async fn nbd_server_add(self: &Arc<Self>, mut options: ExportOptions) -> Result<(), Refused> {
        let graph = self.graph();
        let node = graph.lookup(&options.node_name)?;
        options.writable &= !graph.place(graph.unfiltered(node)).read_only;
        self.block_export_add(&options).await
    }

    /// `block-export-add`.
    pub(crate) async fn block_export_add(self: &Arc<Self>, options: &ExportOptions) -> Result<(), Refused> {
        if !is_well_formed_id(&options.id) {
            return Err(Refused::InvalidExportId);
        }
        if self.exports.find(&options.id).is_some() {
            return Err(Refused::DuplicateExportId(options.id.clone()));
        }
        if let Some(id) = &options.iothread {
            let object = self.objects.find(id);
            if !matches!(object.as_deref(), Some(Object::IoThread)) {
                return Err(Refused::IoThreadNotFound(id.clone()));
            }
        }
        let graph = self.graph();
        let not_found =
            || Refused::NoSuchNode { device: String::new(), node_name: options.node_name.clone() };
        let node = graph.find(&options.node_name).ok_or_else(not_found)?;
        if options.writable && graph.place(graph.unfiltered(node)).read_only {
            return Err(Refused::ReadOnlyExport);
        }
        let _coming = match options.writable {
            true => self.open_for_writer(&graph, node).await?,
            false => Vec::new(),
        };
        let guest = self.open_guest(&options.node_name, options.writable)?;
        let server = self.exports.server().ok_or(Refused::ServerNotRunning)?;
        let name = options.name.as_ref().unwrap_or(&options.node_name);
        if name.len() > STRING_BYTES_MAX {
            return Err(Refused::ExportNameTooLong(name.clone()));
        }
        if let Some(long) = options.description.as_ref().filter(|text| text.len() > STRING_BYTES_MAX) {
            return Err(Refused::DescriptionTooLong(long.clone()));
        }
        if self.exports.offered().iter().any(|export| export.offer.name == *name) {
            return Err(Refused::DuplicateExportName(name.clone()));
        }
        let offer = Offer {
            name: name.clone(),
            description: options.description.clone(),
            len_bytes: guest
                .len_bytes()
                .map_err(Refused::io("get the length of", &options.node_name))?
                .next_multiple_of(SECTOR_BYTES),
            writable: options.writable,
            multi_conn: server.is_shared(),
            allocation_depth: options.allocation_depth,
            bitmaps: Vec::new(),
        };
        let bitmaps = self.hold_exported(node, options)?;
        let offer =
            Offer { bitmaps: bitmaps.iter().map(|shown| shown.bitmap.name.to_string()).collect(), ..offer };
        self.exports.add(Export::new(options.id.clone(), offer, options.writethrough, guest, bitmaps));
        Ok(())
    }

    fn hold_exported(&self, node: NodeId, options: &ExportOptions) -> Result<Vec<Shown>, Refused> {
        if options.bitmaps.len() > BitmapSet::LEN_MAX {
            return Err(Refused::TooManyBitmapsExported(BitmapSet::LEN_MAX));
        }
        let hold =
            |graph: &mut Graph| graph.hold_bitmaps_for_export(node, &options.bitmaps, options.writable);
        let (shown, dropped) = self.try_edit(hold)?;
        assert!(dropped.is_empty(), "holding bitmaps drops {dropped:?}");
        Ok(shown)
    }

    /// `block-export-del`. A client that is there stands in its way, unless `hard`.
    pub(crate) async fn block_export_del(&self, id: &str, hard: bool) -> Result<(), Refused> {
        let export = self.exports.find(id).ok_or_else(|| Refused::ExportNotFound(id.to_owned()))?;
        if !hard && export.is_in_use() {
            return Err(Refused::ExportInUse(id.to_owned()));
        }
        self.shut_down_export(&export).await;
        Ok(())
    }

    /// `query-block-exports`: newest first.
    pub(crate) fn query_block_exports(&self) -> Vec<ExportInfo> {
        let info = |export: &Arc<Export>| ExportInfo {
            id: export.id.clone(),
            node_name: export.node_name(),
            shutting_down: export.is_shutting_down(),
        };
        self.exports.all().iter().rev().map(info).collect()
    }

    /// A client has gone.
    pub(crate) async fn leave_export(&self, export: &Export, client: ClientSerial) {
        if let Some(guest) = export.leave(client) {
            self.end_export(export, guest).await;
        }
    }

    async fn shut_down_export(&self, export: &Export) {
        if let Some(guest) = export.shut_down() {
            self.end_export(export, guest).await;
        }
    }

    async fn end_export(&self, export: &Export, guest: Arc<super::Guest>) {
        let guest = Arc::into_inner(guest).expect("an export that is over has no client");
        let dropped = self.edit(|graph| graph.release_bitmaps_of_export(&export.bitmaps));
        assert!(dropped.is_empty(), "releasing bitmaps drops {dropped:?}");
        guest.detach().await;
        self.exports.remove(&export.id);
        self.events.emit(Event::BlockExportDeleted { id: export.id.clone() });
    }

    /// Takes everything away, and waits until it has gone.
    pub(crate) async fn close_exports(&self) {
        // The only refusal: there is no server, and so no export.
        let _none = self.nbd_server_stop().await;
    }
}
