//! The engine as anybody's block layer: `midstream::check` opens it, asks it and crashes it through the door that a layer
//! of somebody else has, and judges its data alone; or commands it in QEMU's language, and judges all of that.
//!
//! Nothing here needs the rest of this crate: `other-engines` includes this one file too, as the control of its campaigns.

use block::command::{
    BackingOptions, BlockdevOptions, ChildOptions, DriverOptions, JobOptions, NodeSettings, StreamArguments,
};
use block::engine::{Engine, Guest, Tuning};
use block::error::Refused;
use block::event::{Event, EventSink};
use block::format::qcow2::{BackingName, CreateOptions, Qcow2, check};
use block::qmp;
use midstream::seam::{Errno, Host, IoResult, Nanos, OpenMode, Pending, WallClock};
use midstream::{BlockLayer, Checked, Device, Events, Image, Monitor};
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Clusters of eight sectors: guests write parts of one. An image of a profile then has a single L2 table and a single
/// refcount block.
pub const CLUSTER_BITS: u32 = 12;

/// How long to wait before the next look at a job.
const LOOK_AGAIN: Nanos = Nanos(1_000_000);

/// The engine, with images on others or each on its own.
#[derive(Debug)]
pub struct Ours<const CHAINS: bool>;

/// An open image: a node of the engine, and the guest on it.
#[derive(Debug)]
pub struct Open {
    engine: Arc<Engine>,
    host: Arc<dyn Host>,
    node: String,
    /// Nothing once it is closed.
    guest: Mutex<Option<Arc<Guest>>>,
}

impl<const CHAINS: bool> BlockLayer for Ours<CHAINS> {
    type Device = Open;

    const CHAINS: bool = CHAINS;

    /// A `block-stream` of all that lies below: it changes nothing that a guest reads.
    const OPERATIONS: &'static [&'static str] = if CHAINS { &["block-stream"] } else { &[] };

    const CLUSTER_BYTES: u64 = 1 << CLUSTER_BITS;

    /// The engine's locks note it (`impl/src/sync/shim.rs`); what this file shares is written before the first step, and as
    /// a device is closed.
    const NOTES_WHAT_IT_SHARES: bool = true;

    async fn create(&self, host: Arc<dyn Host>, image: &Image) -> IoResult<()> {
        let disk = host.open(&image.path, OpenMode::ReadWrite).await?;
        let named = |file: &String| BackingName { file: file.clone(), format: Some("qcow2".to_owned()) };
        let options = CreateOptions {
            len_bytes: image.size_bytes,
            cluster_bits: CLUSTER_BITS,
            backing: image.backing.as_ref().map(named),
            ..CreateOptions::default()
        };
        Qcow2::create(&disk, &options).await.map_err(|_no_such_image| Errno::EINVAL)
    }

    async fn open(&self, host: Arc<dyn Host>, images: &[Image]) -> IoResult<Vec<Open>> {
        let engine = engine(host.clone());
        for (number, image) in images.iter().enumerate() {
            // A stream that has ended left it without.
            let backing = self.backing(host.clone(), image).await?;
            let below = images.iter().position(|below| Some(&below.path) == backing.as_ref());
            let options = node(number, &image.path, below, is_backing(images, image));
            engine.blockdev_add(&options).await.map_err(|_unsound| Errno::EINVAL)?;
        }
        let mut opened = Vec::with_capacity(images.len());
        for (number, image) in images.iter().enumerate() {
            let node = name(number);
            let guest = engine
                .open_resizable_guest(&node, !is_backing(images, image))
                .map_err(|_refused| Errno::EPERM)?;
            let guest = Mutex::new(Some(Arc::new(guest)));
            opened.push(Open { engine: engine.clone(), host: host.clone(), node, guest });
        }
        Ok(opened)
    }

    async fn check(&self, host: Arc<dyn Host>, image: &Image) -> IoResult<Option<Checked>> {
        sound(&*host, image).await
    }

    fn monitor(&self, host: Arc<dyn Host>, events: Events) -> Option<Arc<dyn Monitor<Open>>> {
        let engine = engine(host.clone());
        engine.subscribe(Arc::new(Emitted(events)));
        let monitor = qmp::Monitor::new(engine.clone());
        Some(Arc::new(Daemon { engine, host, monitor, has_begun: AtomicBool::new(false) }))
    }

    async fn backing(&self, host: Arc<dyn Host>, image: &Image) -> IoResult<Option<String>> {
        let disk = host.open(&image.path, OpenMode::ReadOnly).await?;
        let opened = Qcow2::open(disk, &image.path, false).await.map_err(|_unsound| Errno::EINVAL)?;
        Ok(opened.backing().map(|below| below.file.clone()))
    }
}

/// Small chunks: a copy of one chunk has no order in itself.
fn engine(host: Arc<dyn Host>) -> Arc<Engine> {
    let chunk = 1 << CLUSTER_BITS;
    let tuning = Tuning { stream_chunk_bytes: chunk, backup_chunk_bytes_min: chunk, ..Tuning::default() };
    Engine::new(host, tuning)
}

/// Hands on what the engine emits, as text.
struct Emitted(Events);

impl fmt::Debug for Emitted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Emitted")
    }
}

impl EventSink for Emitted {
    fn emit(&self, event: &Event, at: WallClock) {
        (self.0)(qmp::event_text(event, at));
    }
}

/// The engine as a daemon.
#[derive(Debug)]
struct Daemon {
    engine: Arc<Engine>,
    host: Arc<dyn Host>,
    monitor: Arc<qmp::Monitor>,
    /// Whether capabilities were negotiated.
    has_begun: AtomicBool,
}

impl Monitor<Open> for Daemon {
    fn execute(&self, command: String) -> Pending<'_, String> {
        Box::pin(async move {
            if !self.has_begun.swap(true, Ordering::Relaxed) {
                self.monitor.execute(r#"{"execute":"qmp_capabilities"}"#).await;
            }
            self.monitor.execute(&command).await.unwrap_or_default()
        })
    }

    fn attach(&self, node: String, writable: bool) -> Pending<'_, IoResult<Open>> {
        Box::pin(async move {
            // Guests come by command, and commands take turns.
            let _alone = self.engine.commands().drain().await;
            let guest = self.engine.open_guest(&node, writable).map_err(|_refused| Errno::EPERM)?;
            let guest = Mutex::new(Some(Arc::new(guest)));
            Ok(Open { engine: self.engine.clone(), host: self.host.clone(), node, guest })
        })
    }
}

/// What our checker says of a qcow2 image that nobody has open.
pub async fn sound(host: &dyn Host, image: &Image) -> IoResult<Option<Checked>> {
    let disk = host.open(&image.path, OpenMode::ReadOnly).await?;
    match check(&*disk).await {
        Ok(report) => Ok(Some(Checked { corruptions: report.corruptions, leaks: report.leaks })),
        Err(_not_an_image_any_more) => Err(Errno::EINVAL),
    }
}

/// Whether another image lies on this one; then it is read only.
pub fn is_backing(images: &[Image], image: &Image) -> bool {
    images.iter().any(|other| other.backing.as_ref() == Some(&image.path))
}

fn name(number: usize) -> String {
    format!("n{number}")
}

/// A node for an image, on the node of the image below.
fn node(number: usize, path: &str, below: Option<usize>, read_only: bool) -> BlockdevOptions {
    let backing = below
        .map_or(BackingOptions::None, |below| BackingOptions::Child(ChildOptions::Reference(name(below))));
    BlockdevOptions {
        node_name: Some(name(number)),
        driver: DriverOptions::qcow2(ChildOptions::named_file(path.to_owned()), backing),
        read_only: Some(read_only),
        auto_read_only: None,
        settings: NodeSettings { unmap: Some(true), ..NodeSettings::default() },
    }
}

impl Open {
    fn guest(&self) -> IoResult<Arc<Guest>> {
        let guest = self.guest.lock().unwrap_or_else(PoisonError::into_inner);
        guest.clone().ok_or(Errno::EINVAL)
    }
}

impl Device for Open {
    async fn read(&self, offset: u64, len: u64) -> IoResult<Vec<u8>> {
        self.guest()?.read(offset, len).await
    }

    async fn write(&self, offset: u64, data: Vec<u8>) -> IoResult<()> {
        self.guest()?.write(offset, data).await
    }

    async fn flush(&self) -> IoResult<()> {
        self.guest()?.flush().await
    }

    async fn write_zeroes(&self, offset: u64, len: u64) -> IoResult<()> {
        self.guest()?.write_zeroes(offset, len).await
    }

    async fn discard(&self, offset: u64, len: u64) -> IoResult<()> {
        self.guest()?.discard(offset, len).await
    }

    async fn resize(&self, size_bytes: u64) -> IoResult<()> {
        let size = i64::try_from(size_bytes).map_err(|_too_large| Errno::EINVAL)?;
        let _alone = self.engine.commands().drain().await;
        let resized = self.engine.block_resize(Some(&self.node), None, size).await;
        resized.map_err(|refused| match refused {
            Refused::ResizeFailed { errno, .. } | Refused::L1NotGrown { errno } => errno,
            // A stream works here.
            _ => Errno::EAGAIN,
        })
    }

    fn size_bytes(&self) -> Option<u64> {
        self.guest().ok()?.len_bytes().ok()
    }

    async fn operate(&self, _operation: usize) -> IoResult<()> {
        let id = format!("stream-{}", self.node);
        let job = JobOptions { id: Some(id.clone()), ..JobOptions::default() };
        let arguments = StreamArguments { job, device: self.node.clone(), ..StreamArguments::default() };
        let started = {
            let _alone = self.engine.commands().drain().await;
            self.engine.block_stream(&arguments).await
        };
        // Refused while another works here.
        started.map_err(|_refused| Errno::EAGAIN)?;
        while self.engine.query_block_jobs().iter().any(|job| job.device == id) {
            self.host.sleep_until(self.host.now().plus(LOOK_AGAIN)).await;
        }
        Ok(())
    }

    async fn close(&self) -> IoResult<()> {
        self.guest()?.flush().await?;
        self.guest.lock().unwrap_or_else(PoisonError::into_inner).take();
        let _alone = self.engine.commands().drain().await;
        self.engine.blockdev_del(&self.node).await.map_err(|_refused| Errno::EAGAIN)
    }
}
