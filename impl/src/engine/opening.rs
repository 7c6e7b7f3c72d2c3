//! Opening nodes, children first, on a draft of the graph that nobody else sees.

use super::{Engine, named};
use crate::command::{
    BackingOptions, BlockdevOptions, ChildOptions, DiscardOptions, DriverOptions, NodeSettings,
};
use crate::error::Refused;
use crate::error::TooDeep;
use crate::event::Event;
use crate::filter::blkdebug::Blkdebug;
use crate::filter::throttle::Member;
use crate::format::null::{NULL_BYTES_DEFAULT, Null};
use crate::format::qcow2::{BackingName, BitmapsUnread, Damage, OpenCause, OpenError, Qcow2};
use crate::format::raw::Raw;
use crate::format::window::Window;
use crate::graph::bitmap::{Bitmap, load_bitmaps};
use crate::graph::depth::DEPTH_MAX;
use crate::graph::node::{Driver, FileAccess, Link, Node};
use crate::graph::options::NodeOptions;
use crate::graph::write_threshold::{WatchedDisk, WriteThreshold};
use crate::graph::{Graph, Lower, Place, SetAside};
use crate::id::NodeId;
use crate::io::node_disk::NodeDisk;
use crate::object::Object;
use crate::sync::range_lock::RangeLock;
use crate::warning::warn;
use seam::{Disk, Errno, FileIdentity, FileUse, Nanos, OpenMode, Pending};
use std::sync::Arc;

/// Memory of a node with its names, options and links.
const NODE_BYTES: u64 = 4 << 10;

/// In QEMU's words.
const OUTDATED_BITMAPS: &str =
    "a program lacking bitmap support modified this file, so all bitmaps are now considered inconsistent";

/// What a child takes over from the node it is opened for.
#[derive(Copy, Clone, Debug)]
pub(super) enum Opener {
    /// The operator, by name.
    Operator,
    /// A node that stands on it, so deep below the first, and is read-only or not.
    Parent { depth: u32, read_only: bool, inherited: Inherited },
    /// An overlay, so deep below the first.
    Overlay { depth: u32, inherited: Inherited },
}

/// Settings that go down to children that do not say.
#[derive(Copy, Clone, Debug, Default)]
pub(super) struct Inherited {
    direct: bool,
    no_flush: bool,
    force_share: bool,
    unmap: bool,
}

impl Opener {
    fn inherited(self) -> Inherited {
        match self {
            Opener::Operator => Inherited::default(),
            Opener::Parent { inherited, .. } | Opener::Overlay { inherited, .. } => inherited,
        }
    }

    /// How many nodes stand above what is opened.
    fn depth(self) -> u32 {
        match self {
            Opener::Operator => 0,
            Opener::Parent { depth, .. } | Opener::Overlay { depth, .. } => depth,
        }
    }
}

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
}

/// What a format lies on.
struct Storage {
    disk: Arc<dyn Disk>,
    filename: String,
    lower: Option<Arc<dyn Lower>>,
}

impl<'e> Draft<'e> {
    /// The graph as it is now.
    pub fn new(engine: &'e Engine) -> Draft<'e> {
        // Others may change the graph while images are opened; neither shall find the other's names taken.
        let graph = Graph::clone(&engine.graph());
        let mut aside = None;
        let dropped = engine.edit(|graph| aside = Some(graph.set_aside()));
        assert!(dropped.is_empty(), "a draft drops {dropped:?}");
        let aside = aside.expect("an edit is made once");
        Draft { engine, graph, aside, new: Vec::new(), written: Vec::new(), overlays: Vec::new() }
    }

    /// Puts the new nodes into the graph, as it is by now.
    pub fn put_into(&self, graph: &mut Graph) -> Result<(), Refused> {
        graph.close_gap(self.aside, &self.graph);
        graph.adopt(&self.graph, &self.new)
    }

    /// Opens a node and the children that are described with it.
    pub fn open<'a>(
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
            let settings = settle(&options.settings, by);
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
                    let opened = self.open_qcow2(file, backing, data_file.as_ref(), options, by).await?;
                    set_discards(&opened.driver, *discards, settings.unmap)?;
                    opened
                }
                DriverOptions::NullCo { size, latency, read_zeroes } => {
                    self.open_null(*size, *latency, *read_zeroes, options, by)?
                }
                _ => self.open_filter(options, by).await?,
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
            ..
        } = opened;
        let mut place = Place::new(
            Node { id, name, filename, driver, requests: RangeLock::new(), write_threshold },
            read_only,
        );
        (place.file, place.backing, place.side) = (file, backing, data);
        (place.lower, place.bitmaps) = (lower, bitmaps);
        place.share =
            Some(Arc::new(self.engine.budget.take(NODE_BYTES, || format!("Node '{}'", place.node.name))?));
        place.options = Arc::new(NodeOptions {
            detect_zeroes: settings.detect_zeroes,
            unmap: inherited.unmap,
            direct: inherited.direct,
            no_flush: inherited.no_flush,
            force_share: inherited.force_share,
            strong: settings.strong.clone(),
            opened_backing,
        });
        self.hear_of_damage(&place);
        self.graph.insert(id, place);
        self.new.push(id);
        self.graph.admit_depth(id)?;
        Ok(id)
    }

    /// Damage that is found in an image later is told to everybody.
    fn hear_of_damage(&self, place: &Place) {
        let Driver::Qcow2(image) = &place.node.driver else { return };
        let (events, host) = (self.engine.events.clone(), self.engine.host().clone());
        let node_name = place.node.name.to_string();
        image.on_damage(Box::new(move |Damage { text, range }, is_fatal| {
            warn(&*host, &match is_fatal {
                true => format!(
                    "qcow2: Marking image as corrupt: {text}; further corruption events will be suppressed"
                ),
                false => format!(
                    "qcow2: Image is corrupt: {text}; further non-fatal corruption events will be suppressed"
                ),
            });
            let (node_name, text) = (node_name.clone(), text.clone());
            events.emit(Event::BlockImageCorrupted { node_name, text, range: *range, is_fatal });
        }));
    }

    fn opened(&mut self, driver: Driver, read_only: bool) -> Opened {
        Opened {
            id: self.graph.next_node_id(),
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
        }
    }

    async fn open_file(
        &mut self,
        filename: &str,
        wanted: FileUse,
        options: &BlockdevOptions,
        by: Opener,
    ) -> Result<Opened, Refused> {
        let auto = options.auto_read_only == Some(true);
        let (read_only, access) = match (options.read_only, by) {
            (Some(read_only), _) if read_only || !auto => (read_only, FileAccess::Fixed),
            (None, Opener::Parent { read_only, .. }) => (read_only, FileAccess::Inherited),
            (None, Opener::Overlay { .. }) => (true, FileAccess::Fixed),
            _ if auto => (false, FileAccess::Auto),
            _ => (false, FileAccess::Fixed),
        };
        if filename.is_empty() {
            return Err(Refused::FileNameMissing);
        }
        let mode = match access {
            FileAccess::Auto => OpenMode::ReadOnly,
            _ if read_only => OpenMode::ReadOnly,
            _ => OpenMode::ReadWrite,
        };
        let opened = self.engine.host().open_for(filename, mode, wanted).await;
        let writes = mode == OpenMode::ReadWrite;
        let disk = opened.map_err(|errno| match errno {
            Errno::EINVAL if wanted.direct => Refused::CacheNotAvoided(filename.to_owned()),
            _ => Refused::cannot_open(filename, errno, writes),
        })?;
        let write_threshold: Arc<WriteThreshold> = Arc::default();
        let disk = WatchedDisk::new(disk, write_threshold.clone());
        disk.set_unmap(settle(&options.settings, by).unmap);
        let driver = Driver::File { disk, access, locks: wanted.locks };
        let opened = self.opened(driver, read_only);
        Ok(Opened { filename: filename.to_owned(), write_threshold, ..opened })
    }

    fn open_null(
        &mut self,
        size: Option<i64>,
        latency: Option<i64>,
        read_zeroes: bool,
        options: &BlockdevOptions,
        by: Opener,
    ) -> Result<Opened, Refused> {
        let len_bytes = match size {
            None => NULL_BYTES_DEFAULT,
            Some(value) => u64::try_from(value).map_err(|_| Refused::OutOfRange { name: "size", value })?,
        };
        let latency = Nanos(u64::try_from(latency.unwrap_or(0)).map_err(|_| Refused::BadLatency)?);
        let (host, ending) = (self.engine.host().clone(), self.engine.ending.clone());
        let read_only = options.read_only.unwrap_or(read_only_for(by));
        Ok(self.opened(Driver::NullCo(Null { len_bytes, latency, read_zeroes, host, ending }), read_only))
    }

    async fn open_raw(
        &mut self,
        file: &ChildOptions,
        (offset, size): (i64, Option<i64>),
        options: &BlockdevOptions,
        by: Opener,
    ) -> Result<Opened, Refused> {
        let read_only = options.read_only.unwrap_or(read_only_for(by));
        let file = self.open_child(file, self.below(options, by, read_only)).await?;
        let opened = self.opened(Driver::CommitTop, read_only);
        let Storage { disk, filename, lower } = self.storage(opened.id, file, Link::File, read_only)?;
        let unopened = |errno| Refused::CannotOpen { filename: filename.clone(), errno };
        let disk = match (offset, size) {
            (0, None) => disk,
            _ => {
                let len = disk.len_bytes().map_err(unopened)?;
                Arc::new(window(disk, offset, size, len)?) as Arc<dyn Disk>
            }
        };
        let raw = Raw::open(disk, !read_only).map_err(unopened)?;
        Ok(Opened { driver: Driver::Raw(raw), filename, file: Some(file), lower, ..opened })
    }

    async fn open_qcow2(
        &mut self,
        file: &ChildOptions,
        backing: &BackingOptions,
        data_file: Option<&ChildOptions>,
        options: &BlockdevOptions,
        by: Opener,
    ) -> Result<Opened, Refused> {
        let read_only = options.read_only.unwrap_or(read_only_for(by));
        let below = self.below(options, by, read_only);
        let file = self.open_child(file, below).await?;
        let opened = self.opened(Driver::CommitTop, read_only);
        let storage = self.storage(opened.id, file, Link::File, read_only)?;
        let Storage { disk, filename, lower } = storage;
        let (image, data) = self.open_image(opened.id, disk, &filename, data_file, below, read_only).await?;
        let unread = |unread: BitmapsUnread| Refused::MalformedImage(unread.to_string());
        let bitmaps = load_bitmaps(&image, &self.engine.budget).await.map_err(unread)?;
        if image.has_outdated_bitmaps() {
            warn(&**self.engine.host(), OUTDATED_BITMAPS);
        }
        // Names are given from the top down.
        let name = options.node_name.is_none().then(|| self.graph.generate_name().into());
        let inherited = settle(&options.settings, by);
        let overlay = Opener::Overlay { depth: by.depth() + 1, inherited };
        let (backing, opened_backing) = match backing {
            BackingOptions::None => (None, None),
            BackingOptions::Child(child) => {
                let backing = self.open_child(child, overlay).await;
                (Some(backing.map_err(|refused| Refused::BackingNotOpened(Box::new(refused)))?), None)
            }
            BackingOptions::FromHeader => {
                let named = image.backing();
                let header = named.as_ref().map(|named| Box::from(&*named.file));
                self.admit_no_loop(file, &filename, named.as_ref())?;
                let backing = self.open_from_header(&filename, named, overlay).await;
                self.overlays.pop();
                let backing = backing?;
                let resolved = backing.map(|backing| Box::from(self.graph.filename(backing)));
                (backing, header.zip(resolved))
            }
        };
        let driver = Driver::Qcow2(image);
        let opened = Opened { name, opened_backing, bitmaps, ..opened };
        Ok(Opened { driver, filename, file: Some(file), backing, data, lower, ..opened })
    }

    /// Opens an image, with the data file that was given, or else with the one that its header names.
    async fn open_image(
        &mut self,
        id: NodeId,
        disk: Arc<dyn Disk>,
        filename: &str,
        data_file: Option<&ChildOptions>,
        below: Opener,
        read_only: bool,
    ) -> Result<(Arc<Qcow2>, Option<NodeId>), Refused> {
        let malformed = |error: OpenError| Refused::MalformedImage(error.cause.to_string());
        let allowance = self.engine.allowance();
        let named;
        let data_file = match data_file {
            Some(given) => given,
            None => match Qcow2::open_within(disk.clone(), None, filename, !read_only, &allowance).await {
                Ok(image) => return Ok((image, None)),
                Err(OpenError { cause: OpenCause::DataFileMissing { file }, .. }) if !file.is_empty() => {
                    named = ChildOptions::named_file(file);
                    &named
                }
                Err(error) => return Err(malformed(error)),
            },
        };
        let data = self.open_child(data_file, below).await?;
        let data_disk = self.storage(id, data, Link::Side, read_only)?.disk;
        let image = Qcow2::open_within(disk, Some(data_disk), filename, !read_only, &allowance).await;
        Ok((image.map_err(malformed)?, Some(data)))
    }

    async fn open_filter(&mut self, options: &BlockdevOptions, by: Opener) -> Result<Opened, Refused> {
        let read_only = options.read_only.unwrap_or(read_only_for(by));
        let below = self.below(options, by, read_only);
        let (child, driver) = match &options.driver {
            DriverOptions::Blkdebug { image, config, align, errors, changes, taken, unshared } => {
                if config.is_some() {
                    // A file of the host for the sake of rules that can be said directly.
                    return Err(Refused::ConfigNotAllowed(Errno::EPERM));
                }
                let child = self.open_child(image, below).await?;
                if let Some(align) = align.filter(|align| !is_align(*align)) {
                    return Err(Refused::BadAlign(align));
                }
                let rules = Blkdebug::new(errors.clone(), changes.clone(), *taken, *unshared);
                (child, Driver::Blkdebug(Arc::new(rules)))
            }
            DriverOptions::Throttle { file, group } => {
                let child = self.open_child(file, below).await?;
                let found = self.engine.objects().find(group);
                let found = found.filter(|object| matches!(**object, Object::ThrottleGroup(_)));
                let group = found.ok_or_else(|| Refused::NoThrottleGroup(group.clone()))?;
                let (host, gate) = (self.engine.host().clone(), self.engine.gate.clone());
                let ending = self.engine.ending.clone();
                (child, Driver::Throttle(Arc::new(Member { group, host, gate, ending })))
            }
            DriverOptions::Compress { file } => {
                let child = self.open_child(file, below).await?;
                let node = self.graph.node(child);
                if !node.is_filter() && !matches!(node.driver, Driver::Qcow2(_)) {
                    return Err(Refused::NoCompression(node.driver_name()));
                }
                (child, Driver::Compress)
            }
            DriverOptions::CopyOnRead { file, bottom } => {
                let child = self.open_child(file, below).await?;
                (child, Driver::CopyOnRead { bottom: self.bottom(child, bottom.as_deref())? })
            }
            DriverOptions::File { .. }
            | DriverOptions::Raw { .. }
            | DriverOptions::Qcow2 { .. }
            | DriverOptions::NullCo { .. } => unreachable!("no filter: {:?}", options.driver),
        };
        if !read_only {
            self.will_write(child);
        }
        let filename = self.graph.node(child).filename.clone();
        let opened = self.opened(driver, read_only);
        Ok(Opened { filename, file: Some(child), ..opened })
    }

    fn bottom(&self, child: NodeId, name: Option<&str>) -> Result<Option<NodeId>, Refused> {
        let Some(name) = name else { return Ok(None) };
        let bottom = self.graph.find(name).ok_or_else(|| Refused::BottomNotFound(name.to_owned()))?;
        if self.graph.is_filter(bottom) {
            return Err(Refused::CopyOnReadBottomIsFilter(name.to_owned()));
        }
        if bottom != child && !self.graph.is_below(bottom, child) {
            return Err(Refused::BottomNotBelow(name.to_owned()));
        }
        Ok(Some(bottom))
    }

    async fn open_child(&mut self, child: &ChildOptions, by: Opener) -> Result<NodeId, Refused> {
        match child {
            ChildOptions::Reference(name) => {
                let child = self.graph.lookup(name)?;
                if let Driver::File { disk, .. } = &self.graph.node(child).driver {
                    let refused = |errno| Refused::cannot_open(name, errno, false);
                    disk.claim().await.map_err(refused)?;
                }
                Ok(child)
            }
            ChildOptions::Inline(options) => self.open(options, by).await,
        }
    }

    fn below(&self, options: &BlockdevOptions, by: Opener, read_only: bool) -> Opener {
        Opener::Parent { depth: by.depth() + 1, read_only, inherited: settle(&options.settings, by) }
    }

    /// The layer an image's header names: read-only, in the format the header says and no other.
    async fn open_from_header(
        &mut self,
        image: &str,
        named: Option<BackingName>,
        by: Opener,
    ) -> Result<Option<NodeId>, Refused> {
        let Some(named) = named else {
            return Ok(None);
        };
        let opened = self.open(&named::options(image, &named)?, by).await;
        opened.map(Some).map_err(|refused| Refused::BackingNotOpened(Box::new(refused)))
    }

    /// Refuses an image that stands on itself by the names in headers, whatever it is called there; else notes that its
    /// backing is being opened.
    fn admit_no_loop(
        &mut self,
        file: NodeId,
        image: &str,
        named: Option<&BackingName>,
    ) -> Result<(), Refused> {
        let lowest = std::iter::successors(Some(file), |id| self.graph.place(*id).file).last();
        let identity = match &self.graph.node(lowest.expect("at least the file itself")).driver {
            Driver::File { disk, .. } => disk.identity(),
            _ => None,
        };
        if identity.is_some() && self.overlays.contains(&identity) {
            let backing = named.map_or(String::new(), |named| named.file.clone());
            let why = "the image is in its own backing chain".to_owned();
            return Err(Refused::BackingNotFollowed { image: image.to_owned(), backing, why });
        }
        self.overlays.push(identity);
        Ok(())
    }

    /// What the node `parent` lies on; it will be written if the node writes.
    fn storage(
        &mut self,
        parent: NodeId,
        child: NodeId,
        link: Link,
        read_only: bool,
    ) -> Result<Storage, Refused> {
        let place = self.graph.place(child);
        if !read_only && place.read_only {
            return Err(Refused::ReadOnly);
        }
        let filename = place.node.filename.clone();
        let storage = match &place.node.driver {
            Driver::File { disk, .. } => Storage { disk: disk.clone(), filename, lower: None },
            _ => {
                let lower = NodeDisk::new(&self.engine.graph, &self.graph, parent, link, child);
                Storage { disk: lower.clone(), filename, lower: Some(lower) }
            }
        };
        if !read_only {
            self.will_write(child);
        }
        Ok(storage)
    }

    /// Notes the files that a writer of `id` writes to.
    fn will_write(&mut self, id: NodeId) {
        let mut at = Some(id);
        while let Some(id) = at {
            let place = self.graph.place(id);
            if matches!(place.node.driver, Driver::File { access: FileAccess::Auto, .. }) {
                self.written.push(id);
            }
            at = place.file;
        }
    }
}

/// Tells an image what happens to space that it does not need any more.
pub(super) fn set_discards(driver: &Driver, options: DiscardOptions, unmap: bool) -> Result<(), Refused> {
    if let Driver::Qcow2(image) = driver {
        if options.no_unref && image.version() < 3 {
            return Err(Refused::DiscardWithoutReference);
        }
        image.set_discards(options.settle(unmap));
    }
    Ok(())
}

impl Drop for Draft<'_> {
    /// What was set aside and came to nothing the graph uses next.
    fn drop(&mut self) {
        let _nothing = self.engine.edit(|graph| graph.give_back(self.aside));
    }
}

fn read_only_for(by: Opener) -> bool {
    match by {
        Opener::Operator => false,
        Opener::Parent { read_only, .. } => read_only,
        Opener::Overlay { .. } => true,
    }
}

fn settle(settings: &NodeSettings, by: Opener) -> Inherited {
    let above = by.inherited();
    Inherited {
        direct: settings.direct.unwrap_or(above.direct),
        no_flush: settings.no_flush.unwrap_or(above.no_flush),
        force_share: settings.force_share.unwrap_or(above.force_share),
        unmap: settings.unmap.unwrap_or(matches!(by, Opener::Parent { .. })),
    }
}

fn is_align(align: i64) -> bool {
    align == 0 || (align > 0 && align < i64::from(i32::MAX) && (align as u64).is_power_of_two())
}

fn window(disk: Arc<dyn Disk>, offset: i64, size: Option<i64>, len: u64) -> Result<Window, Refused> {
    let unsigned = |name, value: i64| u64::try_from(value).map_err(|_| Refused::OutOfRange { name, value });
    let offset = unsigned("offset", offset)?;
    let size = size.map(|size| unsigned("size", size)).transpose()?;
    if offset > len {
        return Err(Refused::WindowPastEnd { offset, len });
    }
    if let Some(size) = size {
        if len - offset < size {
            return Err(Refused::WindowTooLong { offset, size, len });
        }
        if !size.is_multiple_of(512) {
            return Err(Refused::WindowUnaligned);
        }
    }
    // A window without a size ends with the whole, in whole sectors.
    Ok(Window { disk, offset, len: size })
}
