//! Opening what keeps guest bytes as they are: files of the host, raw images, and nothing at all.

use super::{ChildDisk, Draft, Opened, Opener};
use crate::command::{BlockdevOptions, ChildOptions};
use crate::error::Refused;
use crate::format::null::{NULL_BYTES_DEFAULT, Null};
use crate::format::raw::Raw;
use crate::format::window::Window;
use crate::graph::failed_flush::FlushMemory;
use crate::graph::node::{Driver, FileAccess, Link, Storage};
use crate::graph::write_threshold::{WatchedDisk, WriteThreshold};
use seam::{Disk, Errno, FileUse, Nanos, OpenMode};
use std::sync::Arc;

impl Draft<'_> {
    pub(super) async fn open_file(
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
            Errno::ENOTBLK => Refused::NotAFile(filename.to_owned()),
            Errno::EINVAL if wanted.direct => Refused::CacheNotAvoided(filename.to_owned()),
            _ => Refused::cannot_open(filename, errno, writes),
        })?;
        let write_threshold: Arc<WriteThreshold> = Arc::default();
        let host = &**self.engine.host();
        let flushes = FlushMemory::new(&self.engine.failed_flushes, host, filename, &*disk);
        let disk = WatchedDisk::new(disk, write_threshold.clone(), flushes, wanted.flushes);
        disk.set_unmap(by.settle(&options.settings).unmap);
        let storage = Storage::File { disk, access, locks: wanted.locks };
        let opened = Opened::new(self.graph.next_node_id(), Driver::Storage(storage), read_only);
        Ok(Opened { filename: filename.to_owned(), write_threshold, ..opened })
    }

    pub(super) fn open_null(
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
        let read_only = options.read_only.unwrap_or(by.read_only());
        let storage = Storage::NullCo(Null { len_bytes, latency, read_zeroes, host, ending });
        Ok(Opened::new(self.graph.next_node_id(), Driver::Storage(storage), read_only))
    }

    pub(super) async fn open_raw(
        &mut self,
        file: &ChildOptions,
        (offset, size): (i64, Option<i64>),
        options: &BlockdevOptions,
        by: Opener,
    ) -> Result<Opened, Refused> {
        let read_only = options.read_only.unwrap_or(by.read_only());
        let file = self.open_child(file, by.parent(options, read_only)).await?;
        let claims = self.claim(file).await?;
        let id = self.graph.next_node_id();
        let ChildDisk { disk, filename, lower } = self.child_disk(id, file, Link::File, read_only)?;
        let unopened = |errno| Refused::CannotOpen { filename: filename.clone(), errno };
        let disk = window(disk, offset, size, &filename)?;
        let raw = Raw::open(disk, !read_only).map_err(unopened)?;
        let opened = Opened::new(id, Driver::Storage(Storage::Raw(raw)), read_only);
        Ok(Opened { filename, file: Some(file), lower, claims, ..opened })
    }
}

/// The part of a disk that a raw node shows.
pub(in crate::engine) fn window(
    disk: Arc<dyn Disk>,
    offset: i64,
    size: Option<i64>,
    filename: &str,
) -> Result<Arc<dyn Disk>, Refused> {
    if (offset, size) == (0, None) {
        return Ok(disk);
    }
    let unopened = |errno| Refused::CannotOpen { filename: filename.to_owned(), errno };
    let len = disk.len_bytes().map_err(unopened)?;
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
    Ok(Arc::new(Window { disk, offset, len: size }))
}
