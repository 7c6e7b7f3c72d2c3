//! qcow2: one image file, versions 2 and 3, for many requests at once.
//!
//! Guest data goes to the disk at once, before its mapping is set; metadata lives in memory and goes to the disk in
//! `flush`, in an order that keeps the file readable through a kill or a power cut (see `qcow2/flush.rs`).
//!
//! ```text
//! read, write, zero ──> mapping (L1, L2) ──> alloc (refcounts)      one step each, under one short-held mutex
//!        │                        │
//!     Disk: data               cache ── flush ──> Disk: metadata, in order
//! ```
//!
//! Two locks on ranges keep requests apart, and nothing else is held across an await: one on guest clusters, so that
//! nobody frees a host cluster that another request still uses, and one that lets one flush run at a time.

mod alloc;
mod backing;
mod bitmap_bits;
mod bitmap_directory;
mod bitmaps;
mod cache;
mod check;
mod compressed;
mod count;
mod counter;
mod create;
mod damage;
mod discard;
mod entry;
mod flush;
mod geometry;
mod header;
mod info;
mod mapping;
mod metadata;
mod open;
mod open_error;
mod pack;
mod pointers;
mod read;
mod repair;
mod resize;
mod snapshot;
mod snapshot_list;
mod snapshot_table;
mod subclusters;
mod trouble;
mod walk;
mod write;
mod zero;

pub use bitmaps::{BitmapOnDisk, BitmapsUnread, NotStorable, StoredBitmap};
pub use check::{CheckReport, check};
pub use create::{CreateError, CreateOptions};
pub use damage::{Damage, OnDamage};
pub use discard::Discards;
pub use header::{BackingName, DataFile};
pub use info::{Info, InfoOfVersion3};
pub use open_error::{OpenCause, OpenError};
pub use repair::repair;
pub use snapshot_table::Snapshot;
pub use zero::Zeroing;

use crate::budget::Allowance;
use crate::format::{Run, RunKind};
use crate::sync::range_lock::{Acquire, Mode, RangeLock};
use crate::sync::shim::Mutex;
use mapping::Place;
use metadata::Metadata;
use seam::debug_event::DebugEvent;
use seam::{Disk, Errno, IoResult};
use std::sync::Arc;
use trouble::{Missing, TableKind, Trouble};

/// An open image. `flush` or `close` it: what was not flushed may be lost.
#[derive(Debug)]
#[must_use = "an image that is dropped without close loses what was not flushed"]
pub struct Qcow2 {
    disk: Arc<dyn Disk>,
    /// Where guest data lies: `disk`, or the data file.
    data: Arc<dyn Disk>,
    geometry: geometry::Geometry,
    metadata: Mutex<Metadata>,
    /// Guest clusters in use: shared by readers and in-place writers, exclusive to who changes a mapping.
    clusters: RangeLock,
    /// One flush, and one writer of cluster 0, at a time.
    flushing: RangeLock,
    flushes: Mutex<flush::Turns>,
    /// One compressed cluster at a time is put behind the last.
    packing: RangeLock,
    /// What queries show of the snapshots.
    shown: Mutex<snapshot_list::Shown>,
    /// Who learns of damage.
    alarm: damage::Alarm,
    allowance: Allowance,
}

impl Qcow2 {
    /// Opens the image on `disk`. `name` is for messages. Nothing is written, unless the image is to be written and was
    /// not closed cleanly: then its refcounts are repaired first.
    pub async fn open(disk: Arc<dyn Disk>, name: &str, writable: bool) -> Result<Arc<Qcow2>, OpenError> {
        Self::open_with(disk, None, name, writable).await
    }

    /// Like `open`, of an image whose guest data may lie in a file of its own: then `data` is that file.
    pub async fn open_with(
        disk: Arc<dyn Disk>,
        data: Option<Arc<dyn Disk>>,
        name: &str,
        writable: bool,
    ) -> Result<Arc<Qcow2>, OpenError> {
        Self::open_within(disk, data, name, writable, &Allowance::default()).await
    }

    /// Like `open_with`, with no more memory and no longer than is allowed.
    pub async fn open_within(
        disk: Arc<dyn Disk>,
        data: Option<Arc<dyn Disk>>,
        name: &str,
        writable: bool,
        allowance: &Allowance,
    ) -> Result<Arc<Qcow2>, OpenError> {
        let loaded = Self::load_repaired(&*disk, name, writable, allowance).await;
        let metadata = loaded.map_err(|cause| cause.of(name))?;
        let data = match (data, metadata.geometry.data_file) {
            (None, false) => disk.clone(),
            (Some(data), true) => data,
            (None, true) => return Err(missing(&metadata.header).of(name)),
            (Some(_), false) => return Err(OpenCause::DataFileUnasked.of(name)),
        };
        let image = Arc::new(Qcow2 {
            data,
            disk,
            geometry: metadata.geometry,
            metadata: Mutex::new(metadata),
            clusters: RangeLock::new(),
            flushing: RangeLock::new(),
            flushes: Mutex::new(flush::Turns::default()),
            packing: RangeLock::new(),
            shown: Mutex::default(),
            alarm: damage::Alarm::default(),
            allowance: allowance.clone(),
        });
        image.learn_snapshots().await;
        Ok(image)
    }

    /// The image's metadata; if it is to be written and is dirty, repaired before.
    async fn load_repaired(
        disk: &dyn Disk,
        name: &str,
        writable: bool,
        allowance: &Allowance,
    ) -> Result<Metadata, OpenCause> {
        let metadata = open::load(disk, name, writable, allowance).await?;
        if !writable || metadata.header.incompatible & header::INCOMPATIBLE_DIRTY == 0 {
            return Ok(Metadata { writable, ..metadata });
        }
        // A repair needs the memory itself.
        drop(metadata);
        repair::repair_if_dirty(disk, name, allowance).await?;
        let metadata = open::load(disk, name, writable, allowance).await?;
        Ok(Metadata { writable, ..metadata })
    }

    /// Makes a new, empty image on `disk`, whatever was there, and flushes it.
    pub async fn create(disk: &Arc<dyn Disk>, options: &CreateOptions) -> Result<(), CreateError> {
        create::create(&**disk, options).await
    }

    /// The guest's disk size.
    pub fn len_bytes(&self) -> u64 {
        self.metadata.lock().len_bytes
    }

    /// Bytes of a cluster, the unit of allocation.
    pub fn cluster_bytes(&self) -> u64 {
        self.geometry.cluster_bytes()
    }

    /// Bytes of the smallest part that is allocated on its own: a subcluster, or a cluster where there are none.
    pub(crate) fn unit_bytes(&self) -> u64 {
        self.geometry.unit_bytes()
    }

    /// 2 or 3.
    pub fn version(&self) -> u32 {
        self.geometry.version
    }

    /// Bits of a refcount: 1 to 64.
    pub fn refcount_bits(&self) -> u32 {
        1 << self.geometry.refcount_order
    }

    /// Whether compressed clusters are zstd rather than deflate.
    pub fn is_zstd(&self) -> bool {
        self.geometry.compression_type == 1
    }

    /// Whether the lazy-refcounts feature is on. This driver leaves it as it is and never defers refcounts.
    pub fn lazy_refcounts(&self) -> bool {
        self.metadata.lock().header.compatible & header::COMPATIBLE_LAZY_REFCOUNTS != 0
    }

    /// Whether clusters are mapped in 32 parts.
    pub fn extended_l2(&self) -> bool {
        self.geometry.extended_l2
    }

    /// Whether guest data lies in a file of its own that is, alone, what the guest sees.
    fn has_raw_data_file(&self) -> bool {
        let is_raw = self.metadata.lock().header.autoclear & header::AUTOCLEAR_RAW_DATA_FILE != 0;
        self.geometry.data_file && is_raw
    }

    /// Whether the image says of itself that it is damaged; it was then opened read-only.
    pub fn is_marked_corrupt(&self) -> bool {
        self.metadata.lock().header.incompatible & header::INCOMPATIBLE_CORRUPT != 0
    }

    /// Whether the image says of itself that its refcounts may be stale.
    pub(crate) fn is_dirty(&self) -> bool {
        self.metadata.lock().header.incompatible & header::INCOMPATIBLE_DIRTY != 0
    }

    /// Internal snapshots in the image.
    pub fn snapshots(&self) -> u32 {
        self.metadata.lock().header.snapshots
    }

    /// The file below, as the header names it.
    pub fn backing(&self) -> Option<BackingName> {
        self.metadata.lock().header.backing.clone()
    }

    /// How far QEMU looks from an offset at a time: to the end of the piece of L2 table that it has at hand. Jobs copy
    /// no more than one look at a time, and what they find to be zero depends on it.
    pub(crate) fn look_bytes_max(&self, offset: u64) -> u64 {
        let mapped = self.geometry.l2_piece_entries() * self.geometry.cluster_bytes();
        mapped - offset % mapped
    }

    /// The longest run of one kind that begins at `offset`, at most `len` bytes.
    pub async fn status(&self, offset: u64, len: u64) -> IoResult<Run> {
        self.assert_in_range(offset, len);
        assert!(len > 0, "the status of nothing at {offset}");
        let mut run: Option<Run> = None;
        loop {
            let known = run.map_or(0, |run| run.len);
            if known == len {
                return Ok(run.expect("at least one extent was found"));
            }
            let next = self.step(|m| m.locate(offset + known, len - known)).await;
            let extent = match (next, run) {
                // What is known is worth more than the failure behind it.
                (Err(_), Some(run)) => return Ok(run),
                (next, _) => next?,
            };
            let kind = match extent.place {
                Place::Below => RunKind::Unallocated,
                Place::Zero => RunKind::Zero,
                Place::Host { .. } | Place::Compressed { .. } => RunKind::Data,
            };
            match run {
                Some(run) if run.kind != kind => return Ok(run),
                _ => run = Some(Run { len: known + extent.len, kind }),
            }
        }
    }

    /// Changes between read-only and read-write; the disk itself is reopened by the caller, and no request is under way.
    /// Going read-only writes and flushes everything first; a dirty image is repaired before it is writable.
    pub async fn set_writable(&self, writable: bool) -> IoResult<()> {
        if !writable {
            self.close().await?;
            self.metadata.lock().writable = false;
            return Ok(());
        }
        if self.metadata.lock().header.incompatible & header::INCOMPATIBLE_DIRTY != 0 {
            let repaired = Self::load_repaired(&*self.disk, "an image", true, &self.allowance).await;
            let repaired = repaired.map_err(|cause| cause.errno().unwrap_or(Errno::EACCES))?;
            assert_eq!(repaired.geometry, self.geometry, "a repair changes no geometry");
            *self.metadata.lock() = repaired;
        } else {
            let mut metadata = self.metadata.lock();
            open::refuse_writing(&metadata.header).map_err(|_| Errno::EACCES)?;
            metadata.writable = true;
        }
        let marked = self.mark_bitmaps_in_use().await;
        let mut metadata = self.metadata.lock();
        metadata.writable = marked.is_ok();
        metadata.stays_closed = marked.is_err();
        marked
    }

    /// Whether it is open to writers.
    pub(crate) fn is_writable(&self) -> bool {
        self.metadata.lock().writable
    }

    /// Whether anything was changed that no flush made durable.
    pub(crate) fn has_unflushed(&self) -> bool {
        let metadata = self.metadata.lock();
        metadata.writable && (metadata.has_unwritten() || metadata.wrote)
    }

    /// Writes and flushes everything, clusters that became free included.
    pub async fn close(&self) -> IoResult<()> {
        {
            // What could be made durable of a damaged image is; the rest stays as it is.
            let metadata = self.metadata.lock();
            if metadata.admit().is_err() {
                return if metadata.has_unwritten() { Err(Errno::EIO) } else { Ok(()) };
            }
        }
        self.flush().await?;
        // Frees take effect once they are durable, and their refcounts with the next flush. No third is needed:
        // lowering a refcount frees nothing else.
        if self.metadata.lock().has_unwritten() {
            self.flush().await?;
        }
        Ok(())
    }

    /// Runs one step on the metadata, loading the tables it misses.
    async fn step<T>(&self, mut step: impl FnMut(&mut Metadata) -> Result<T, Trouble>) -> IoResult<T> {
        loop {
            let outcome = {
                let mut metadata = self.metadata.lock();
                metadata.admit()?;
                step(&mut metadata)
            };
            if let Some(value) = self.mend(outcome).await? {
                return Ok(value);
            }
        }
    }

    /// Like `step`, for a step that only looks. Which table was used last it does change, and nobody can see that before
    /// the cache is full.
    async fn look<T>(&self, look: impl Fn(&mut Metadata) -> Result<T, Trouble>) -> IoResult<T> {
        if self.metadata.lock_to_look().cache.may_become_full() {
            return self.step(look).await;
        }
        loop {
            let outcome = {
                let mut metadata = self.metadata.lock_to_look();
                metadata.admit()?;
                look(&mut metadata)
            };
            if let Some(value) = self.mend(outcome).await? {
                return Ok(value);
            }
        }
    }

    /// What a step came to; nothing, if it is to be tried again.
    async fn mend<T>(&self, outcome: Result<T, Trouble>) -> IoResult<Option<T>> {
        match outcome {
            Ok(value) => Ok(Some(value)),
            Err(Trouble::Failed(errno)) => Err(errno),
            Err(Trouble::Missing(missing)) => self.load(missing).await.map(|()| None),
            Err(Trouble::Damaged(damage)) => {
                self.raise_alarm(&damage).await;
                Err(Errno::EIO)
            }
        }
    }

    async fn load(&self, Missing { at, kind }: Missing) -> IoResult<()> {
        let load = {
            let mut metadata = self.metadata.lock();
            metadata.may_load(at, kind).then(|| metadata.cache.begin_load(at))
        };
        let Some(load) = load else {
            self.raise_alarm(&damage::table_elsewhere(at)).await;
            return Err(Errno::EIO);
        };
        self.disk.debug_event(match kind {
            TableKind::L2 => DebugEvent::L2Load,
            TableKind::RefcountBlock => DebugEvent::RefblockLoad,
        });
        let read = self.disk.read(at, vec![0; self.geometry.cluster_bytes() as usize]).await;
        let failed = read.as_ref().err().copied();
        self.metadata.lock().cache.end_load(at, kind, load, read.ok());
        failed.map_or(Ok(()), Err)
    }

    /// Waits for the guest clusters that a range touches.
    fn lock_clusters(&self, offset: u64, len: u64, mode: Mode) -> Acquire<'_> {
        let touched = self.geometry.touched(offset, len);
        self.clusters.acquire(touched.start, touched.end, mode)
    }

    fn assert_in_range(&self, offset: u64, len: u64) {
        let size = self.len_bytes();
        assert!(len <= size, "{len} bytes of an image of {size}");
        assert!(offset <= size - len, "{len} bytes at {offset} of an image of {size}");
    }

    /// Writers come with a promise that the image is writable. One that was found to be damaged may have been closed to them
    /// since, where nobody could be asked; and so may one that could neither be closed with its file nor opened again.
    fn assert_writable(&self) {
        let metadata = self.metadata.lock();
        let is_refused = metadata.is_damaged || metadata.stays_closed;
        assert!(metadata.writable || is_refused, "a write to a read-only image");
    }
}

/// Says which data file is needed.
fn missing(header: &header::Header) -> OpenCause {
    match header.data_file() {
        Ok(file) => OpenCause::DataFileMissing { file: file.map_or(String::new(), |file| file.name) },
        Err(cause) => cause,
    }
}
