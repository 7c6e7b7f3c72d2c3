//! Opening qcow2 images, with the data file and the backing that they name.

use super::{ChildDisk, Claims, Draft, Opened, Opener};
use crate::command::{BackingOptions, BlockdevOptions, ChildOptions, DiscardOptions};
use crate::engine::{Engine, named};
use crate::error::Refused;
use crate::event::Event;
use crate::format::qcow2::{BackingName, BitmapsUnread, Damage, OpenCause, OpenError, Qcow2};
use crate::graph::bitmap::load_bitmaps;
use crate::graph::node::{Driver, Link, Node, Storage};
use crate::id::NodeId;
use crate::warning::warn;
use seam::Disk;
use std::sync::Arc;

/// In QEMU's words.
const OUTDATED_BITMAPS: &str =
    "a program lacking bitmap support modified this file, so all bitmaps are now considered inconsistent";

impl Draft<'_> {
    pub(super) async fn open_qcow2(
        &mut self,
        file: &ChildOptions,
        backing: &BackingOptions,
        data_file: Option<&ChildOptions>,
        discards: DiscardOptions,
        options: &BlockdevOptions,
        by: Opener,
    ) -> Result<Opened, Refused> {
        let read_only = options.read_only.unwrap_or(by.read_only());
        let below = by.parent(options, read_only);
        let file = self.open_child(file, below).await?;
        let mut claims = self.claim(file).await?;
        let id = self.graph.next_node_id();
        let ChildDisk { disk, filename, lower } = self.child_disk(id, file, Link::File, read_only)?;
        let (image, data) = self.open_image(id, disk, &filename, data_file, below, read_only).await?;
        let data = data.map(|(data, claimed)| {
            claims.extend(claimed);
            data
        });
        let unread = |unread: BitmapsUnread| Refused::MalformedImage(unread.to_string());
        let bitmaps = load_bitmaps(&image, &self.engine.budget).await.map_err(unread)?;
        if image.has_outdated_bitmaps() {
            warn(&**self.engine.host(), OUTDATED_BITMAPS);
        }
        // Names are given from the top down.
        let name = options.node_name.is_none().then(|| self.graph.generate_name().into());
        let (backing, opened_backing) = match backing {
            BackingOptions::None => (None, None),
            BackingOptions::Child(child) => {
                let backing = match self.open_child(child, by.overlay(options)).await {
                    Ok(backing) => self.claim_for_good(backing).await.map(|()| backing),
                    refused => refused,
                };
                (Some(backing.map_err(|refused| Refused::BackingNotOpened(Box::new(refused)))?), None)
            }
            BackingOptions::FromHeader => {
                self.open_named_backing(file, &filename, &image, by.overlay(options)).await?
            }
        };
        set_discards(&image, discards, by.settle(&options.settings).unmap)?;
        let opened = Opened::new(id, Driver::Storage(Storage::Qcow2(image)), read_only);
        Ok(Opened {
            name,
            filename,
            file: Some(file),
            backing,
            data,
            lower,
            opened_backing,
            bitmaps,
            claims,
            ..opened
        })
    }

    /// Opens the backing that an image's header names, if any. Answers it, with its name in the header and the name that
    /// was found for it.
    async fn open_named_backing(
        &mut self,
        file: NodeId,
        filename: &str,
        image: &Qcow2,
        by: Opener,
    ) -> Result<(Option<NodeId>, Option<(Box<str>, Box<str>)>), Refused> {
        let named = image.backing();
        let header = named.as_ref().map(|named| Box::from(&*named.file));
        self.admit_no_loop(file, filename, named.as_ref())?;
        let backing = self.open_from_header(filename, named, by).await;
        self.overlays.pop();
        let backing = backing?;
        let resolved = backing.map(|backing| Box::from(self.graph.filename(backing)));
        Ok((backing, header.zip(resolved)))
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
    ) -> Result<(Arc<Qcow2>, Option<(NodeId, Claims)>), Refused> {
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
        let claims = self.claim(data).await?;
        let data_disk = self.child_disk(id, data, Link::Side, read_only)?.disk;
        let image = Qcow2::open_within(disk, Some(data_disk), filename, !read_only, &allowance).await;
        Ok((image.map_err(malformed)?, Some((data, claims))))
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
        let lowest = self.graph.node(lowest.expect("at least the file itself"));
        let identity = lowest.disk().and_then(|disk| disk.identity());
        if identity.is_some() && self.overlays.contains(&identity) {
            let backing = named.map_or(String::new(), |named| named.file.clone());
            let why = "the image is in its own backing chain".to_owned();
            return Err(Refused::BackingNotFollowed { image: image.to_owned(), backing, why });
        }
        self.overlays.push(identity);
        Ok(())
    }
}

impl Engine {
    /// Damage that is found in an image later is reported to everybody.
    pub(in crate::engine) fn report_damage(&self, node: &Node) {
        let Some(image) = node.qcow2() else { return };
        let (events, host) = (self.events.clone(), self.host().clone());
        let node_name = node.name.to_string();
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
}

/// Says what happens to space that an image does not need any more.
fn set_discards(image: &Qcow2, options: DiscardOptions, unmap: bool) -> Result<(), Refused> {
    if options.no_unref && image.version() < 3 {
        return Err(Refused::DiscardWithoutReference);
    }
    image.set_discards(options.settle(unmap));
    Ok(())
}
