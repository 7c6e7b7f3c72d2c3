//! Reading: data from the file, zeroes from nowhere, the rest from below.

use super::Qcow2;
use super::compressed::decompress;
use super::mapping::Place;
use crate::format::Below;
use crate::sync::range_lock::Mode;
use seam::debug_event::DebugEvent;
use seam::{Errno, IoResult};

/// A part of the caller's buffer that the layer below fills.
#[derive(Copy, Clone, Debug)]
struct Gap {
    start: usize,
    len: usize,
}

impl Qcow2 {
    /// Fills `buffer` with what the guest sees at `offset`.
    pub async fn read(&self, offset: u64, buffer: &mut [u8], below: &dyn Below) -> IoResult<()> {
        self.assert_in_range(offset, buffer.len() as u64);
        let gaps = {
            let _in_use = self.lock_clusters(offset, buffer.len() as u64, Mode::Shared).await;
            self.read_own(offset, buffer).await?
        };
        // The lock is off: a write that fills a gap meanwhile runs beside this read, so either content is right.
        read_below(offset, buffer, &gaps, below).await
    }

    /// Like `read`, under the caller's exclusive lock. Past the end of the image are zeroes.
    pub(super) async fn read_locked(
        &self,
        offset: u64,
        buffer: &mut [u8],
        below: &dyn Below,
    ) -> IoResult<()> {
        let inside = self.len_bytes().saturating_sub(offset).min(buffer.len() as u64) as usize;
        let (buffer, past_end) = buffer.split_at_mut(inside);
        past_end.fill(0);
        let gaps = self.read_own(offset, buffer).await?;
        read_below(offset, buffer, &gaps, below).await
    }

    /// Fills what this image decides and answers what it does not. Extents are read beside each other.
    async fn read_own(&self, offset: u64, buffer: &mut [u8]) -> IoResult<Vec<Gap>> {
        let mut gaps = Vec::new();
        let mut under_way = Vec::new();
        let mut done = 0;
        let mut outcome = Ok(());
        while done < buffer.len() && outcome.is_ok() {
            let at = offset + done as u64;
            let left = (buffer.len() - done) as u64;
            let extent = match self.look(|m| m.locate(at, left)).await {
                Ok(extent) => extent,
                Err(errno) => {
                    outcome = Err(errno);
                    break;
                }
            };
            let len = extent.len as usize;
            let part = &mut buffer[done..done + len];
            match extent.place {
                Place::Below => gaps.push(Gap { start: done, len }),
                Place::Zero => part.fill(0),
                Place::Host { host } => {
                    self.disk.debug_event(DebugEvent::ReadAio);
                    under_way.push((done, self.data.read(host, vec![0; len])));
                }
                Place::Compressed { host, len } => outcome = self.read_compressed(at, part, host, len).await,
            }
            done += len;
        }
        // All of them, even after a failure: the clusters are ours only while the caller holds its lock.
        for (start, read) in under_way {
            match read.await {
                Ok(bytes) => buffer[start..start + bytes.len()].copy_from_slice(&bytes),
                Err(errno) => outcome = Err(errno),
            }
        }
        outcome.map(|()| gaps)
    }

    async fn read_compressed(&self, offset: u64, part: &mut [u8], host: u64, len: u64) -> IoResult<()> {
        self.disk.debug_event(DebugEvent::ReadCompressed);
        let packed = self.disk.read(host, vec![0; len as usize]).await?;
        let cluster = decompress(&packed, self.geometry).ok_or(Errno::EIO)?;
        let start = self.geometry.within(offset) as usize;
        part.copy_from_slice(&cluster[start..start + part.len()]);
        Ok(())
    }
}

async fn read_below(offset: u64, buffer: &mut [u8], gaps: &[Gap], below: &dyn Below) -> IoResult<()> {
    for gap in gaps {
        let part = &mut buffer[gap.start..gap.start + gap.len];
        if below.exists() {
            below.read(offset + gap.start as u64, part).await?;
        } else {
            part.fill(0);
        }
    }
    Ok(())
}
