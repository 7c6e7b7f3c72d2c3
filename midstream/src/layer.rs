//! What a block layer offers to be tested: it makes images, opens them, and serves guests' requests.
//!
//! A layer meets the world through [`seam::Host`] alone: no clock, threads, chance or files of its own. Then a run is a
//! pure function of its seed, and a failure can be repeated and made small.

mod monitor;

use seam::{Errno, Host, IoResult};
use std::sync::Arc;

pub use monitor::{Events, Monitor};

/// One image, kept in one file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Image {
    /// The path of its file on the host. There is one, empty at first. It is also what failures call the image.
    pub path: String,
    /// What guests see: so many bytes, a multiple of 512.
    pub size_bytes: u64,
    /// The path of the image that decides what this one does not. Only for layers with [`BlockLayer::CHAINS`].
    pub backing: Option<String>,
}

/// A block layer.
///
/// `open` is called at the start of a run, again after a crash, and once more after a clean end; each time on a fresh
/// host with what the files hold by then, so that nothing but the files is carried over.
pub trait BlockLayer: Send + Sync + 'static {
    /// An open image.
    type Device: Device;

    /// Whether images may lie on others.
    const CHAINS: bool = false;

    /// Whether what a guest wrote survives when the process is killed, without a flush. Of a layer that keeps writes or
    /// tables back in memory it is not asked; every layer is asked that what was flushed survives.
    const SURVIVES_KILL: bool = false;

    /// Operations of the layer's own, by name: to move data elsewhere, to tidy up, to write a checkpoint. None of them may
    /// change what a guest reads, or what is durable; that is what is judged. They are drawn beside the requests of guests,
    /// and [`own`](crate::scenario::own) is one in a scenario. Here one reads a sector and writes it back, and nothing keeps
    /// guests away meanwhile:
    ///
    /// ```
    /// use midstream::seam::{Disk, Host, IoResult, OpenMode};
    /// use midstream::scenario::{Scenario, own, read, write};
    /// use midstream::{BlockLayer, Device, Image, explain};
    /// use std::sync::Arc;
    ///
    /// struct Scrubbed;
    /// struct Open(Arc<dyn Disk>);
    ///
    /// impl BlockLayer for Scrubbed {
    ///     type Device = Open;
    ///     const OPERATIONS: &'static [&'static str] = &["scrub"];
    ///     // ...
    /// #   async fn open(&self, host: Arc<dyn Host>, images: &[Image]) -> IoResult<Vec<Open>> {
    /// #       let mut devices = Vec::new();
    /// #       for image in images {
    /// #           devices.push(Open(host.open(&image.path, OpenMode::ReadWrite).await?));
    /// #       }
    /// #       Ok(devices)
    /// #   }
    /// }
    ///
    /// impl Device for Open {
    ///     async fn operate(&self, _scrub: usize) -> IoResult<()> {
    ///         let first = self.0.read(0, vec![0; 512]).await?;
    ///         self.0.write(0, first).await
    ///     }
    ///     // ...
    /// #   async fn read(&self, offset: u64, len: u64) -> IoResult<Vec<u8>> {
    /// #       self.0.read(offset, vec![0; len as usize]).await
    /// #   }
    /// #   async fn write(&self, offset: u64, data: Vec<u8>) -> IoResult<()> {
    /// #       self.0.write(offset, data).await
    /// #   }
    /// #   async fn flush(&self) -> IoResult<()> {
    /// #       self.0.flush().await
    /// #   }
    /// }
    ///
    /// let guests = Scenario::chain(["disk d"]).guest("disk", [own(0)]).guest("disk", [write(0, 1), read(0, 1)]);
    /// let mut orders = (1..300).filter_map(|seed| explain(Scrubbed, guests.clone(), seed).ok());
    /// let (found, _trace) = orders.next().expect("it undoes what a guest writes meanwhile");
    /// assert!(found.steps.iter().any(|step| step.ends_with(" scrub")), "{found}");
    /// ```
    const OPERATIONS: &'static [&'static str] = &[];

    /// Whether everything that the layer's tasks share is noted (`seam::footprint`): what lies behind its locks, in its
    /// atomics, and wherever else one task may see what another has done. An exploration of every schedule takes a step
    /// in both orders with each that it may depend on; of a layer that notes nothing, that is every step of every task.
    const NOTES_WHAT_IT_SHARES: bool = false;

    /// The unit in which an image takes space. Asked only of layers with a [`monitor`](BlockLayer::monitor).
    const CLUSTER_BYTES: u64 = 65_536;

    /// Makes an image in its empty file: all of it reads as zeroes, or as its backing image. What this leaves in the
    /// files is taken as durable.
    fn create(&self, host: Arc<dyn Host>, image: &Image) -> impl Future<Output = IoResult<()>> + Send {
        let _empty_files_will_do = (host, image);
        async { Ok(()) }
    }

    /// Opens all of these images, a backing image before those that lie on it, and gives a device for each, in their
    /// order. It must go well whatever a crash has left. An image may have another length than it was made with: a layer
    /// that resizes finds the length in its files.
    fn open(
        &self,
        host: Arc<dyn Host>,
        images: &[Image],
    ) -> impl Future<Output = IoResult<Vec<Self::Device>>> + Send;

    /// Checks an image that nobody has open. A layer that has no checker says nothing.
    fn check(
        &self,
        host: Arc<dyn Host>,
        image: &Image,
    ) -> impl Future<Output = IoResult<Option<Checked>>> + Send {
        let _nothing_to_check = (host, image);
        async { Ok(None) }
    }

    /// Starts the layer as a daemon that is commanded in QEMU's language. Nothing, if it knows none: then no scenario with
    /// [`clients`](crate::Scenario::client) can be played on it.
    fn monitor(&self, host: Arc<dyn Host>, events: Events) -> Option<Arc<dyn Monitor<Self::Device>>> {
        let _without_commands = (host, events);
        None
    }

    /// The image that this one lies on by what its own file says: jobs change that. Asked only of layers with a
    /// [`monitor`](BlockLayer::monitor), after a crash and after a clean end.
    fn backing(
        &self,
        host: Arc<dyn Host>,
        image: &Image,
    ) -> impl Future<Output = IoResult<Option<String>>> + Send {
        let _never_changes = host;
        std::future::ready(Ok(image.backing.clone()))
    }
}

/// What a checker found in an image.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub struct Checked {
    /// Damage. There must never be any.
    pub corruptions: u64,
    /// Units that count as used and are not. After a crash they are forgiven.
    pub leaks: u64,
}

/// An open image. Requests come at the same time and may overlap; offsets and lengths are in bytes, multiples of 512
/// within the image.
///
/// Any request may end with an error when the disk below did. One that the layer lacks answers [`Errno::ENOTSUP`], as
/// the defaults do, and is not drawn.
pub trait Device: Send + Sync + 'static {
    /// Reads so many bytes.
    fn read(&self, offset: u64, len: u64) -> impl Future<Output = IoResult<Vec<u8>>> + Send;

    /// Writes all of `data`.
    fn write(&self, offset: u64, data: Vec<u8>) -> impl Future<Output = IoResult<()>> + Send;

    /// Makes every write durable that has ended before this call.
    fn flush(&self) -> impl Future<Output = IoResult<()>> + Send;

    /// Makes a range read as zeroes.
    fn write_zeroes(&self, offset: u64, len: u64) -> impl Future<Output = IoResult<()>> + Send {
        let _lacking = (offset, len);
        async { Err(Errno::ENOTSUP) }
    }

    /// Gives up what a range holds: each of its sectors reads as before, or as zeroes, until it is written.
    fn discard(&self, offset: u64, len: u64) -> impl Future<Output = IoResult<()>> + Send {
        let _lacking = (offset, len);
        async { Err(Errno::ENOTSUP) }
    }

    /// Makes the device longer or shorter, to so many bytes. What is new reads as zeroes, whatever lay there before it was
    /// cut off, and whatever lies below. Requests on what is cut off may be under way, and may fail.
    ///
    /// A layer that has this says in [`size_bytes`](Device::size_bytes) how long the device is.
    fn resize(&self, size_bytes: u64) -> impl Future<Output = IoResult<()>> + Send {
        let _lacking = size_bytes;
        async { Err(Errno::ENOTSUP) }
    }

    /// How long the device is now, in bytes; nothing if that never changes.
    fn size_bytes(&self) -> Option<u64> {
        None
    }

    /// Does one of the layer's own operations, by its index in [`BlockLayer::OPERATIONS`]. Any may end with an error, of
    /// the disk's or because this is no moment for it.
    fn operate(&self, operation: usize) -> impl Future<Output = IoResult<()>> + Send {
        let _lacking = operation;
        async { Err(Errno::ENOTSUP) }
    }

    /// The clean end: afterwards the files alone hold everything that was written. No request comes after it.
    fn close(&self) -> impl Future<Output = IoResult<()>> + Send {
        self.flush()
    }
}
