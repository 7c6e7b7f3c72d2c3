//! Opening nodes, children first, on a draft of the graph that nobody else sees.

mod filter;
mod image;
mod nbd;
mod opener;
mod storage;

use super::Engine;
use crate::command::{BlockdevOptions, ChildOptions, DriverOptions, NodeSettings};
use crate::error::{Refused, TooDeep};
use crate::graph::bitmap::Bitmap;
use crate::graph::claim::Claim;
use crate::graph::depth::DEPTH_MAX;
use crate::graph::node::{Driver, FileAccess, Link, Node};
use crate::graph::options::NodeOptions;
use crate::graph::write_threshold::{WatchedDisk, WriteThreshold};
use crate::graph::{Graph, Lower, Place, SetAside};
use crate::id::NodeId;
use crate::io::node_disk::NodeDisk;
use opener::Inherited;
use seam::{Disk, FileIdentity, FileUse, Pending};
use std::sync::Arc;

pub(super) use opener::Opener;
pub(super) use storage::window;

/// Memory of a node with its names, options and links.
const NODE_BYTES: u64 = 4 << 10;

/// A graph to be, with the nodes opened so far.
#[derive(Debug)]
pub(super) struct Draft<'e> {
    engine: &'e Engine,
    /// The graph as it was, and the new nodes.
    pub graph: Graph,
    /// The identities it may give.
    aside: SetAside,
    /// The new nodes, children first.
    pub new: Vec<NodeId>,
    /// Files that a new node will write to.
    pub written: Vec<NodeId>,
    /// The files of the images whose backing, named by a header, is being opened now.
    overlays: Vec<Option<FileIdentity>>,
}

/// A node that is open, but has no name and no place yet.
struct Opened {
    id: NodeId,
    /// A name made up before its backing got one.
    name: Option<Arc<str>>,
    filename: String,
    driver: Driver,
    read_only: bool,
    file: Option<NodeId>,
    backing: Option<NodeId>,
    data: Option<NodeId>,
    lower: Option<Arc<dyn Lower>>,
    opened_backing: Option<(Box<str>, Box<str>)>,
    write_threshold: Arc<WriteThreshold>,
    bitmaps: Vec<Bitmap>,
    claims: Claims,
}

/// The files that a node relies on.
type Claims = Vec<Arc<Claim>>;

/// What a format lies on, as its disk.
struct ChildDisk {
    disk: Arc<dyn Disk>,
    filename: String,
    lower: Option<Arc<dyn Lower>>,
}

impl Opened {
    /// A node without children.
    fn new(id: NodeId, driver: Driver, read_only: bool) -> Opened {
        Opened {
            id,
            name: None,
            filename: String::new(),
            driver,
            read_only,
            file: None,
            backing: None,
            data: None,
            lower: None,
            opened_backing: None,
            write_threshold: Arc::default(),
            bitmaps: Vec::new(),
            claims: Claims::new(),
        }
    }
}

impl<'e> Draft<'e> {
    /// The graph as it is now.
    pub(super) fn new(engine: &'e Engine) -> Draft<'e> {
        // Others may change the graph while images are opened; neither shall find the other's names taken.
        let mut begun = None;
        let dropped = engine.edit(|graph| begun = Some(graph.draft()));
        assert!(dropped.is_empty(), "a draft drops {dropped:?}");
        let (graph, aside) = begun.expect("an edit is made once");
        Draft { engine, graph, aside, new: Vec::new(), written: Vec::new(), overlays: Vec::new() }
    }

    /// Puts the new nodes into the graph, as it is by now.
    pub(super) fn put_into(&self, graph: &mut Graph) -> Result<(), Refused> {
        self.close_gap(graph);
        self.put_nodes_into(graph, &self.new)
    }

    /// Puts some of the new nodes into the graph, or into another draft of it.
    pub(super) fn put_nodes_into(&self, graph: &mut Graph, nodes: &[NodeId]) -> Result<(), Refused> {
        graph.adopt(&self.graph, nodes)
    }

    /// What this draft has used of what was set aside for it, nobody else uses; the rest is free.
    pub(super) fn close_gap(&self, graph: &mut Graph) {
        graph.close_gap(self.aside, &self.graph);
    }

    /// Opens a node and the children that are described with it.
    pub(super) fn open<'a>(
        &'a mut self,
        options: &'a BlockdevOptions,
        by: Opener,
    ) -> Pending<'a, Result<NodeId, Refused>> {
        Box::pin(async move {
            // Children open inside their parents' calls.
            if by.depth() >= DEPTH_MAX {
                return Err(TooDeep(DEPTH_MAX).into());
            }
            if let Some(name) = &options.node_name {
                self.graph.admit_name(name)?;
            }
            let settings = by.settle(&options.settings);
            let opened = match &options.driver {
                DriverOptions::File { filename, locks } => {
                    let wanted = FileUse {
                        locks: locks.unwrap_or(true) && !settings.force_share,
                        direct: settings.direct,
                        flushes: !settings.no_flush,
                        // What the operator opens by itself has no user yet.
                        unused: matches!(by, Opener::Operator),
                    };
                    self.open_file(filename, wanted, options, by).await?
                }
                DriverOptions::Raw { file, offset, size } => {
                    self.open_raw(file, (*offset, *size), options, by).await?
                }
                DriverOptions::Qcow2 { file, backing, data_file, discards } => {
                    self.open_qcow2(file, backing, data_file.as_ref(), *discards, options, by).await?
                }
                DriverOptions::NullCo { size, latency, read_zeroes } => {
                    self.open_null(*size, *latency, *read_zeroes, options, by)?
                }
                DriverOptions::Nbd { server, tls_creds } => {
                    self.open_nbd(server, tls_creds.as_deref(), options, by).await?
                }
                DriverOptions::Filter { child, filter } => {
                    self.open_filter(child, filter, options, by).await?
                }
            };
            self.place(opened, options.node_name.as_deref(), settings, &options.settings)
        })
    }

    fn place(
        &mut self,
        mut opened: Opened,
        name: Option<&str>,
        inherited: Inherited,
        settings: &NodeSettings,
    ) -> Result<NodeId, Refused> {
        if let Some(name) = name {
            // A child may have taken it.
            self.graph.admit_name(name)?;
        }
        let name: Arc<str> = match name {
            Some(name) => name.into(),
            None => match opened.name.take() {
                Some(name) => name,
                None => self.graph.generate_name().into(),
            },
        };
        let Opened {
            id,
            filename,
            driver,
            read_only,
            file,
            backing,
            data,
            lower,
            opened_backing,
            write_threshold,
            bitmaps,
            claims,
            ..
        } = opened;
        let node = Node { write_threshold, ..Node::new(id, name, filename, driver) };
        let mut place = Place::new(node, read_only);
        (place.file, place.backing, place.side) = (file, backing, data);
        (place.lower, place.bitmaps, place.claims) = (lower, bitmaps, claims);
        place.share =
            Some(Arc::new(self.engine.budget.take(NODE_BYTES, || format!("Node '{}'", place.node.name))?));
        place.options = Arc::new(NodeOptions {
            detect_zeroes: settings.detect_zeroes,
            unmap: inherited.unmap,
            direct: inherited.direct,
            no_flush: inherited.no_flush,
            force_share: inherited.force_share,
            given: settings.given.clone(),
            opened_backing,
        });
        self.engine.report_damage(&place.node);
        self.graph.insert(id, place);
        self.new.push(id);
        self.graph.admit_depth(id)?;
        Ok(id)
    }

    /// A child by its name or by its options. It has no frame of its own on the stack, where nodes are opened within each other's
    /// calls as deep as they may stand.
    fn open_child<'a>(
        &'a mut self,
        child: &'a ChildOptions,
        by: Opener,
    ) -> Pending<'a, Result<NodeId, Refused>> {
        match child {
            ChildOptions::Reference(name) => Box::pin(std::future::ready(self.graph.lookup(name))),
            ChildOptions::Inline(options) => self.open(options, by),
        }
    }

    /// The file that a child is, or that it filters, gets a user: filters rely on nothing by themselves.
    /// It waits on the heap: nodes are opened within each other's calls, as deep as they may stand.
    fn claim(&self, child: NodeId) -> Pending<'_, Result<Claims, Refused>> {
        Box::pin(async move {
            let Some((name, disk)) = self.to_claim(child) else { return Ok(Claims::new()) };
            let claimed = Claim::new(disk.clone()).await;
            Ok(vec![Arc::new(claimed.map_err(|errno| Refused::cannot_open(name, errno, false))?)])
        })
    }

    /// The same for as long as the file is open: what stands on a backing changes.
    fn claim_for_good(&self, backing: NodeId) -> Pending<'_, Result<(), Refused>> {
        Box::pin(async move {
            let Some((name, disk)) = self.to_claim(backing) else { return Ok(()) };
            disk.claim().await.map_err(|errno| Refused::cannot_open(name, errno, false))
        })
    }

    /// That file with its node's name; none if it was opened with its parent, and so with a user.
    fn to_claim(&self, child: NodeId) -> Option<(&str, &Arc<WatchedDisk>)> {
        let filtered = |at: &NodeId| {
            let place = self.graph.place(*at);
            place.file.filter(|_| matches!(place.node.driver, Driver::Filter(_)))
        };
        let file = std::iter::successors(Some(child), filtered).last().expect("a child is among them");
        let node = self.graph.node(file);
        node.disk().filter(|_| !self.new.contains(&file)).map(|disk| (&*node.name, disk))
    }

    /// A child as the disk of `parent`; it will be written if the node writes.
    fn child_disk(
        &mut self,
        parent: NodeId,
        child: NodeId,
        link: Link,
        read_only: bool,
    ) -> Result<ChildDisk, Refused> {
        let place = self.graph.place(child);
        if !read_only && place.read_only {
            return Err(Refused::ReadOnly);
        }
        let filename = place.node.filename.clone();
        let child_disk = match place.node.disk() {
            Some(disk) => ChildDisk { disk: disk.clone(), filename, lower: None },
            None => {
                let lower = NodeDisk::new(&self.engine.graph, &self.graph, parent, link, child);
                ChildDisk { disk: lower.clone(), filename, lower: Some(lower) }
            }
        };
        if !read_only {
            self.will_write(child);
        }
        Ok(child_disk)
    }

    /// Notes the files that a writer of `id` writes to.
    fn will_write(&mut self, id: NodeId) {
        let mut at = Some(id);
        while let Some(id) = at {
            let place = self.graph.place(id);
            if place.node.file_access() == Some(FileAccess::Auto) {
                self.written.push(id);
            }
            at = place.file;
        }
    }
}

impl Drop for Draft<'_> {
    /// What was set aside and came to nothing the graph uses next; what is in the graph it does not use again.
    fn drop(&mut self) {
        let _nothing = self.engine.edit(|graph| match self.new.iter().any(|id| graph.contains(*id)) {
            true => graph.close_gap(self.aside, &self.graph),
            false => graph.give_back(self.aside),
        });
    }
}
