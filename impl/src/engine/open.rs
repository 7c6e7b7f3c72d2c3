//! `blockdev-add` and `blockdev-del`: nodes come and go.
//!
//! Everything is opened first, outside the graph; then all new nodes go in by one edit, or none does.

use super::Engine;
use crate::command::{BackingOptions, BlockdevOptions, ChildOptions, DriverOptions};
use crate::error::Refused;
use crate::format::qcow2::{BackingName, OpenCause, OpenError, Qcow2};
use crate::format::raw::Raw;
use crate::graph::blocker::Op;
use crate::graph::node::{Driver, FileAccess, Node};
use crate::graph::{Graph, Place};
use crate::host::{Disk, OpenMode, Pending};
use crate::id::NodeId;
use crate::sync::range_lock::RangeLock;
use std::sync::Arc;

/// The longest chain that is opened from headers: a header may name its own image.
const CHAIN_LAYERS_MAX: u32 = 200;

/// A node that is open but not in the graph yet.
pub(super) struct Opened {
    name: Option<String>,
    filename: String,
    driver: Driver,
    file: Option<Child>,
    backing: Option<Child>,
    data: Option<Child>,
    read_only: bool,
}

/// A child of such a node.
enum Child {
    Existing(NodeId),
    New(Box<Opened>),
}

/// What a child takes over from the node it is opened for.
#[derive(Copy, Clone)]
enum Opener {
    /// The operator, by name.
    Operator,
    /// A format node that is read-only or not.
    Format { read_only: bool },
    /// An overlay, for a layer so far below the first.
    Overlay { layers: u32 },
}

impl Engine {
    /// `blockdev-add`.
    pub async fn blockdev_add(self: &Arc<Self>, options: &BlockdevOptions) -> Result<(), Refused> {
        let name = options.node_name.as_deref().ok_or(Refused::NodeNameMissing)?;
        self.graph().admit_name(name)?;
        let opened = self.open(options, Opener::Operator).await?;
        let ((), dropped) = self.try_edit(|graph| {
            let id = insert(graph, opened)?;
            graph.place_mut(id).monitor_owned = true;
            graph.admit_permissions()
        })?;
        assert!(dropped.is_empty(), "adding a node drops {dropped:?}");
        Ok(())
    }

    /// `blockdev-del`.
    pub async fn blockdev_del(self: &Arc<Self>, node_name: &str) -> Result<(), Refused> {
        let ((), dropped) = self.try_edit(|graph| {
            let id = graph.find(node_name).ok_or_else(|| Refused::NodeNotFound(node_name.to_owned()))?;
            if graph.users().any(|(_, user)| user.node == id && user.kind.is_device()) {
                return Err(Refused::NodeInUse(node_name.to_owned()));
            }
            graph.admit_op(Op::DriveDel, id)?;
            if !graph.place(id).monitor_owned {
                return Err(Refused::NotOwnedByMonitor(node_name.to_owned()));
            }
            if graph.parents(id).next().is_some() {
                return Err(Refused::DeviceInUse(node_name.to_owned()));
            }
            graph.place_mut(id).monitor_owned = false;
            Ok(())
        })?;
        self.close(dropped).await;
        Ok(())
    }

    /// Opens a node that is not in the graph yet, as the operator would.
    pub(super) async fn open_new(&self, options: &BlockdevOptions) -> Result<Opened, Refused> {
        self.open(options, Opener::Operator).await
    }

    fn open<'a>(&'a self, options: &'a BlockdevOptions, by: Opener) -> Pending<'a, Result<Opened, Refused>> {
        Box::pin(async move {
            if let Some(name) = &options.node_name {
                self.graph().admit_name(name)?;
            }
            let mut opened = match &options.driver {
                DriverOptions::File { filename } => self.open_file(filename, options, by).await?,
                DriverOptions::Raw { file } => self.open_raw(file, options, by).await?,
                DriverOptions::Qcow2 { file, backing, data_file } => {
                    self.open_qcow2(file, backing, data_file.as_ref(), options, by).await?
                }
            };
            opened.name = options.node_name.clone();
            Ok(opened)
        })
    }

    async fn open_file(
        &self,
        filename: &str,
        options: &BlockdevOptions,
        by: Opener,
    ) -> Result<Opened, Refused> {
        let auto = options.auto_read_only == Some(true);
        let (read_only, access) = match (options.read_only, by) {
            (Some(read_only), _) if read_only || !auto => (read_only, FileAccess::Fixed),
            (None, Opener::Format { read_only }) => (read_only, FileAccess::Inherited),
            (None, Opener::Overlay { .. }) => (true, FileAccess::Fixed),
            _ if auto => (false, FileAccess::Auto),
            _ => (false, FileAccess::Fixed),
        };
        let mode = match access {
            FileAccess::Auto => OpenMode::ReadOnly,
            _ if read_only => OpenMode::ReadOnly,
            _ => OpenMode::ReadWrite,
        };
        let filename = filename.strip_prefix("file:").unwrap_or(filename).to_owned();
        let opened = self.host().open(&filename, mode).await;
        let disk = opened.map_err(|errno| Refused::CannotOpen { filename: filename.clone(), errno })?;
        let driver = Driver::File { disk, access };
        Ok(Opened { name: None, filename, driver, file: None, backing: None, data: None, read_only })
    }

    async fn open_raw(
        &self,
        file: &ChildOptions,
        options: &BlockdevOptions,
        by: Opener,
    ) -> Result<Opened, Refused> {
        let read_only = options.read_only.unwrap_or(matches!(by, Opener::Overlay { .. }));
        let file = self.open_child(file, Opener::Format { read_only }).await?;
        let (disk, filename) = self.storage(&file, read_only).await?;
        let raw = Raw::open(disk, !read_only)
            .map_err(|errno| Refused::CannotOpen { filename: filename.clone(), errno })?;
        let driver = Driver::Raw(raw);
        Ok(Opened { name: None, filename, driver, file: Some(file), backing: None, data: None, read_only })
    }

    async fn open_qcow2(
        &self,
        file: &ChildOptions,
        backing: &BackingOptions,
        data_file: Option<&ChildOptions>,
        options: &BlockdevOptions,
        by: Opener,
    ) -> Result<Opened, Refused> {
        let read_only = options.read_only.unwrap_or(matches!(by, Opener::Overlay { .. }));
        let file = self.open_child(file, Opener::Format { read_only }).await?;
        let (disk, filename) = self.storage(&file, read_only).await?;
        let (image, data) = self.open_image(disk, &filename, data_file, read_only).await?;
        let layers = match by {
            Opener::Overlay { layers } => layers + 1,
            Opener::Operator | Opener::Format { .. } => 1,
        };
        let backing = match backing {
            BackingOptions::None => None,
            BackingOptions::Child(child) => Some(self.open_child(child, Opener::Overlay { layers }).await?),
            BackingOptions::FromHeader => self.open_from_header(&filename, image.backing(), layers).await?,
        };
        let driver = Driver::Qcow2(image);
        Ok(Opened { name: None, filename, driver, file: Some(file), backing, data, read_only })
    }

    /// Opens an image, with the data file that was given, or else with the one that its header names.
    async fn open_image(
        &self,
        disk: Arc<dyn Disk>,
        filename: &str,
        data_file: Option<&ChildOptions>,
        read_only: bool,
    ) -> Result<(Arc<Qcow2>, Option<Child>), Refused> {
        let malformed = |error: OpenError| Refused::MalformedImage(error.to_string());
        let named;
        let data_file = match data_file {
            Some(given) => given,
            None => match Qcow2::open(disk.clone(), filename, !read_only).await {
                Ok(image) => return Ok((image, None)),
                Err(OpenError { cause: OpenCause::DataFileMissing { file }, .. }) if !file.is_empty() => {
                    named = ChildOptions::named_file(file);
                    &named
                }
                Err(error) => return Err(malformed(error)),
            },
        };
        let data = self.open_child(data_file, Opener::Format { read_only }).await?;
        let (data_disk, _) = self.storage(&data, read_only).await?;
        let image = Qcow2::open_with(disk, Some(data_disk), filename, !read_only).await.map_err(malformed)?;
        Ok((image, Some(data)))
    }

    async fn open_child(&self, child: &ChildOptions, by: Opener) -> Result<Child, Refused> {
        match child {
            ChildOptions::Reference(name) => Ok(Child::Existing(self.graph().lookup(name)?)),
            ChildOptions::Inline(options) => Ok(Child::New(Box::new(self.open(options, by).await?))),
        }
    }

    /// The layer an image's header names: read-only, in the format the header says and no other.
    async fn open_from_header(
        &self,
        image: &str,
        named: Option<BackingName>,
        layers: u32,
    ) -> Result<Option<Child>, Refused> {
        let Some(named) = named else {
            return Ok(None);
        };
        let refuse =
            |why| Refused::BackingNotFollowed { image: image.to_owned(), backing: named.file.clone(), why };
        if layers >= CHAIN_LAYERS_MAX {
            return Err(refuse("the chain is too long"));
        }
        let filename =
            beside(image, &named.file).ok_or_else(|| refuse("only plain file names are followed"))?;
        let inline = |options| ChildOptions::Inline(Box::new(options));
        let options =
            |driver| BlockdevOptions { node_name: None, driver, read_only: None, auto_read_only: None };
        let file = inline(options(DriverOptions::File { filename }));
        let driver = match named.format.as_deref() {
            Some("qcow2") => {
                DriverOptions::Qcow2 { file, backing: BackingOptions::FromHeader, data_file: None }
            }
            Some("raw" | "file") => DriverOptions::Raw { file },
            Some(_) => return Err(refuse("its format is not known")),
            // A guessed format would let whoever wrote a raw image name any file of the host.
            None => return Err(refuse("the header does not say its format")),
        };
        let by = Opener::Overlay { layers };
        let opened = self.open(&options(driver), by).await;
        let opened = opened.map_err(|refused| Refused::BackingNotOpened(Box::new(refused)))?;
        Ok(Some(Child::New(Box::new(opened))))
    }

    /// The disk a format node lies on, made writable if the node writes.
    async fn storage(&self, file: &Child, read_only: bool) -> Result<(Arc<dyn Disk>, String), Refused> {
        let graph = self.graph();
        let (driver, filename, file_read_only) = match file {
            Child::New(opened) => (&opened.driver, &opened.filename, opened.read_only),
            // It may have gone with a job that ended since it was looked up.
            Child::Existing(id) if !graph.contains(*id) => return Err(Refused::ChildGone),
            Child::Existing(id) => {
                let place = graph.place(*id);
                (&place.node.driver, &place.node.filename, place.read_only)
            }
        };
        let Driver::File { disk, access } = driver else {
            return Err(Refused::NotStorage(filename.clone()));
        };
        if !read_only {
            if file_read_only {
                return Err(Refused::ReadOnly);
            }
            if *access == FileAccess::Auto {
                let reopened = disk.reopen(true).await;
                reopened.map_err(|errno| Refused::CannotOpen { filename: filename.clone(), errno })?;
            }
        }
        Ok((disk.clone(), filename.clone()))
    }
}

/// The file that a header's backing name means: relative to the image that names it.
fn beside(image: &str, backing: &str) -> Option<String> {
    let backing = backing.strip_prefix("file:").unwrap_or(backing);
    let first = backing.split('/').next().unwrap_or_default();
    if first.contains(':') || backing.is_empty() {
        return None;
    }
    if backing.starts_with('/') {
        return Some(backing.to_owned());
    }
    match image.rfind('/') {
        Some(slash) => Some(format!("{}/{backing}", &image[..slash])),
        None => Some(backing.to_owned()),
    }
}

/// Puts a node and its new children into the graph, children first.
pub(super) fn insert(graph: &mut Graph, opened: Opened) -> Result<NodeId, Refused> {
    let Opened { name, filename, driver, file, backing, data, read_only } = opened;
    let file = file.map(|child| insert_child(graph, child)).transpose()?;
    let backing = backing.map(|child| insert_child(graph, child)).transpose()?;
    let data = data.map(|child| insert_child(graph, child)).transpose()?;
    if let Some(name) = &name {
        // Somebody may have taken the name while the image was being opened.
        graph.admit_name(name)?;
    }
    let name: Arc<str> = name.unwrap_or_else(|| graph.generate_name()).into();
    let id = graph.next_node_id();
    let mut place = Place::new(Node { id, name, filename, driver, requests: RangeLock::new() }, read_only);
    (place.file, place.backing, place.side) = (file, backing, data);
    graph.insert(id, place);
    Ok(id)
}

fn insert_child(graph: &mut Graph, child: Child) -> Result<NodeId, Refused> {
    match child {
        Child::New(opened) => insert(graph, *opened),
        Child::Existing(id) if graph.contains(id) => Ok(id),
        Child::Existing(_) => Err(Refused::ChildGone),
    }
}
