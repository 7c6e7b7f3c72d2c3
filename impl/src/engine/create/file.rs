//! A new file of the host.

use super::super::Engine;
use crate::command::{NewFile, Preallocation};
use crate::error::Refused;
use crate::error::create::CreateRefused;
use seam::{Disk, Errno, IoResult};

/// QEMU's limit of a hint that is of no use here.
const EXTENT_SIZE_HINT_MAX: u64 = u32::MAX as u64;

/// How much is written at a time.
const PIECE_BYTES: u64 = 1 << 20;

impl Engine {
    /// Makes a file, or empties the one there is.
    pub(super) async fn make_file(&self, new: &NewFile) -> Result<(), Refused> {
        // Negative ones are taken for very large ones.
        if new.extent_size_hint.is_some_and(|hint| hint as u64 > EXTENT_SIZE_HINT_MAX) {
            return Err(Refused::Create(CreateRefused::ExtentSizeHint));
        }
        let filename = || new.filename.clone();
        let disk = self.host().create(&new.filename).await.map_err(|errno| match errno {
            Errno::EAGAIN => Refused::WriterLocked,
            // Neither a file nor a disk: it has no length.
            Errno::ENOTBLK => Refused::Create(CreateRefused::FileSize(Errno::EINVAL)),
            errno => Refused::CannotCreate { filename: filename(), errno },
        })?;
        let refuse = |refused: fn(Errno) -> CreateRefused| move |errno| Refused::Create(refused(errno));
        if new.preallocation == Preallocation::Metadata {
            return Err(Refused::Create(CreateRefused::Preallocation("metadata")));
        }
        let size = u64::try_from(new.size).map_err(|_| refuse(CreateRefused::FileSize)(Errno::EINVAL))?;
        if new.preallocation == Preallocation::Falloc && size > 0 {
            disk.write_zeroes(0, size).await.map_err(refuse(CreateRefused::NotPreallocated))?;
        } else {
            disk.resize(size).await.map_err(refuse(CreateRefused::FileSize))?;
        }
        if new.preallocation == Preallocation::Full {
            self.fill(&*disk, size).await.map_err(refuse(CreateRefused::NotFilled))?;
        }
        disk.flush().await.map_err(|errno| Refused::CannotCreate { filename: filename(), errno })
    }

    async fn fill(&self, disk: &dyn Disk, size: u64) -> IoResult<()> {
        let mut offset = 0;
        while offset < size {
            if self.ending.has_begun() {
                return Err(Errno::ECANCELED);
            }
            let piece = PIECE_BYTES.min(size - offset);
            disk.write(offset, vec![0; piece as usize]).await?;
            offset += piece;
        }
        Ok(())
    }
}
