//! A new qcow2 image on a node. What is wrong with its options is found in QEMU 10.0's order.

use super::super::Engine;
use super::super::resize::LEN_BYTES_MAX;
use super::NewStorage;
use crate::command::NewQcow2;
use crate::error::Refused;
use crate::error::create::CreateRefused;
use crate::format::qcow2::{CreateError, CreateOptions, DataFile, Qcow2};
use crate::id::{NodeId, UserId};
use seam::{Disk, Errno, IoResult};
use std::sync::Arc;

/// A cluster is that large, and no larger.
const CLUSTER_BYTES: std::ops::RangeInclusive<u64> = 512..=2 << 20;
/// One with subclusters is no smaller.
const CLUSTER_BYTES_OF_EXTENDED_L2: u64 = 16 << 10;

impl Engine {
    /// Makes an image on a node, over whatever is there.
    pub(super) async fn make_qcow2(self: &Arc<Self>, new: &NewQcow2) -> Result<(), Refused> {
        let file = self.open_storage(&new.file).await?;
        let mut options = new.admit().map_err(Refused::Create)?;
        let data = match &new.data_file {
            Some(_) if new.version < 3 => return Err(refused(CreateRefused::NeedsVersion3(DATA_FILE))),
            Some(data) => Some(self.open_storage(data).await?),
            None => None,
        };
        if new.zstd && new.version < 3 {
            return Err(refused(CreateRefused::NeedsVersion3(COMPRESSION)));
        }
        options.data_file =
            data.as_ref().map(|data| DataFile { name: data.filename(self), raw: new.data_file_raw });
        let (user, disk) = self.take_storage(&file).await?;
        let made = self.make_over(new, options, (file.node, disk), data.as_ref()).await;
        self.leave_storage(user).await;
        made
    }

    async fn make_over(
        &self,
        new: &NewQcow2,
        mut options: CreateOptions,
        (file, disk): (NodeId, Arc<dyn Disk>),
        data: Option<&NewStorage<'_>>,
    ) -> Result<(), Refused> {
        options.len_bytes = new.len_bytes()?;
        if let Some(data) = data.filter(|data| data.node == file) {
            return Err(self.conflict_with_itself(data.node));
        }
        let data: Option<(UserId, Arc<dyn Disk>)> = match data {
            Some(data) => Some(self.take_storage(data).await?),
            None => None,
        };
        let data_disk = data.as_ref().map(|(_, disk)| disk.clone());
        let written = self.write_image(new, &options, disk, data_disk).await;
        if let Some((user, _)) = data {
            self.leave_storage(user).await;
        }
        written
    }

    /// One node cannot be both: it may grow as the one, and must not as the other.
    fn conflict_with_itself(&self, node: NodeId) -> Refused {
        let mut image = String::new();
        let dropped = self.edit(|graph| image = graph.generate_name());
        assert!(dropped.is_empty(), "a name drops {dropped:?}");
        let graph = self.graph();
        let node = graph.name(node);
        let link = |link| format!("node '{image}' (uses node '{node}' as '{link}' child)");
        Refused::PermissionConflict {
            node: node.to_owned(),
            permissions: "resize".to_owned(),
            taker: link("file"),
            keeper: link("data-file"),
        }
    }

    /// Writes the image, and reads it again: not every node keeps what it is given.
    async fn write_image(
        &self,
        new: &NewQcow2,
        options: &CreateOptions,
        disk: Arc<dyn Disk>,
        data: Option<Arc<dyn Disk>>,
    ) -> Result<(), Refused> {
        // Nobody changes the graph under the image's first requests.
        let _inside = self.gate().enter().await;
        if let Some(data) = &data {
            prepare(&**data, options).await.map_err(|errno| refused(CreateRefused::FileSize(errno)))?;
        }
        Qcow2::create(&disk, options).await.map_err(|error| new.not_made(error))?;
        let opened = Qcow2::open_within(disk, data, "", false, &self.allowance()).await;
        opened.map(drop).map_err(|error| Refused::MalformedImage(error.cause.to_string()))
    }
}

/// Gives a data file its length. One that is itself what the guest sees begins as nothing else does: with zeroes.
async fn prepare(data: &dyn Disk, options: &CreateOptions) -> IoResult<()> {
    let old = data.len_bytes()?.min(options.len_bytes);
    if old > 0 && options.data_file.as_ref().is_some_and(|file| file.raw) {
        data.write_zeroes(0, old).await?;
    }
    data.resize(options.len_bytes).await
}

const EXTENDED_L2: &str = "Extended L2 entries are";
const LAZY_REFCOUNTS: &str = "Lazy refcounts";
const DATA_FILE: &str = "External data files are";
const COMPRESSION: &str = "Non-zlib compression type is";

fn refused(refused: CreateRefused) -> Refused {
    Refused::Create(refused)
}

impl NewQcow2 {
    /// What can be said of the options alone. The size is looked at last, when everything else is there.
    fn admit(&self) -> Result<CreateOptions, CreateRefused> {
        if self.size % 512 != 0 {
            return Err(CreateRefused::SizeNotInSectors);
        }
        if self.extended_l2 && self.version < 3 {
            return Err(CreateRefused::NeedsVersion3(EXTENDED_L2));
        }
        let cluster = self.cluster_size as u64;
        if !CLUSTER_BYTES.contains(&cluster) || !cluster.is_power_of_two() {
            return Err(CreateRefused::ClusterSize);
        }
        if self.extended_l2 && cluster < CLUSTER_BYTES_OF_EXTENDED_L2 {
            return Err(CreateRefused::ClusterSizeOfExtendedL2(CLUSTER_BYTES_OF_EXTENDED_L2));
        }
        if self.format_alone {
            return Err(CreateRefused::FormatWithoutBacking);
        }
        if self.lazy_refcounts && self.version < 3 {
            return Err(CreateRefused::NeedsVersion3(LAZY_REFCOUNTS));
        }
        let bits = self.refcount_bits as u64;
        if bits > 64 || !bits.is_power_of_two() {
            return Err(CreateRefused::RefcountBits);
        }
        if bits != 16 && self.version < 3 {
            return Err(CreateRefused::RefcountBitsOfVersion2);
        }
        if self.data_file_raw && self.data_file.is_none() {
            return Err(CreateRefused::RawWithoutDataFile);
        }
        if self.data_file_raw && self.backing.is_some() {
            return Err(CreateRefused::RawOverBacking);
        }
        Ok(CreateOptions {
            version: self.version,
            cluster_bits: cluster.trailing_zeros(),
            refcount_order: bits.trailing_zeros(),
            backing: self.backing.clone().filter(|backing| !backing.file.is_empty()),
            extended_l2: self.extended_l2,
            zstd: self.zstd,
            lazy_refcounts: self.lazy_refcounts,
            ..CreateOptions::default()
        })
    }

    fn len_bytes(&self) -> Result<u64, Refused> {
        let size = u64::try_from(self.size).map_err(|_| refused(CreateRefused::SizeNegative))?;
        if size > LEN_BYTES_MAX {
            let too_large = Refused::SizeTooLarge { size, max: LEN_BYTES_MAX };
            return Err(refused(CreateRefused::Size(Box::new(too_large))));
        }
        Ok(size)
    }

    fn not_made(&self, error: CreateError) -> Refused {
        refused(match error {
            CreateError::Size(_) => {
                CreateRefused::Size(Box::new(Refused::L1NotGrown { errno: Errno::EFBIG }))
            }
            CreateError::BackingName => {
                let backing = self.backing.as_ref().expect("there is a name that does not fit");
                let format = backing.format.clone().unwrap_or_else(|| "(null)".to_owned());
                // One that no header takes, or one that this header has no room for.
                let errno = if backing.file.len() > BACKING_NAME_MAX { Errno::EINVAL } else { Errno::ENOSPC };
                CreateRefused::Backing { file: backing.file.clone(), format, errno }
            }
            // A part of something larger does not grow.
            CreateError::Disk(Errno::ENOTSUP) => CreateRefused::NotWritten(Errno::ENOSPC),
            CreateError::Disk(errno) => CreateRefused::NotWritten(errno),
            other => return Refused::MalformedImage(other.to_string()),
        })
    }
}

/// The longest name that any header takes.
const BACKING_NAME_MAX: usize = 1023;
