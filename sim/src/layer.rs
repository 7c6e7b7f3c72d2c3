//! The engine as anybody's block layer: `midstream::check` opens it, asks it and crashes it through the door that a layer
//! of somebody else has, and judges its data alone.
//!
//! Nothing here needs the rest of this crate: `other-engines` includes this one file too, as the control of its campaigns.

use block::command::{
    BackingOptions, BlockdevOptions, ChildOptions, DriverOptions, JobOptions, NodeSettings, StreamArguments,
};
use block::engine::{Engine, Guest, Tuning};
use block::format::qcow2::{BackingName, CreateOptions, Qcow2, check};
use midstream::seam::{Errno, Host, IoResult, Nanos, OpenMode};
use midstream::{BlockLayer, Checked, Device, Image};
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
        let tuning = Tuning { stream_chunk_bytes: 1 << CLUSTER_BITS, ..Tuning::default() };
        let engine = Engine::new(host.clone(), tuning);
        for (number, image) in images.iter().enumerate() {
            let below = images.iter().position(|below| Some(&below.path) == image.backing.as_ref());
            let options = node(number, &image.path, below, is_backing(images, image));
            engine.blockdev_add(&options).await.map_err(|_unsound| Errno::EINVAL)?;
        }
        let mut opened = Vec::with_capacity(images.len());
        for (number, image) in images.iter().enumerate() {
            let node = name(number);
            let guest =
                engine.open_guest(&node, !is_backing(images, image)).map_err(|_refused| Errno::EPERM)?;
            let guest = Mutex::new(Some(Arc::new(guest)));
            opened.push(Open { engine: engine.clone(), host: host.clone(), node, guest });
        }
        Ok(opened)
    }

    async fn check(&self, host: Arc<dyn Host>, image: &Image) -> IoResult<Option<Checked>> {
        sound(&*host, image).await
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
