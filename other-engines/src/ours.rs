//! The control: our own qcow2 driver in the same worlds, under the same checker. Where it holds and another engine does
//! not, it is neither the world, the judge nor the checker.

use crate::image::{CLUSTER_BITS, is_backing, sound};
use block::format::Below;
use block::format::qcow2::{BackingName, CreateOptions, Qcow2};
use midstream::seam::{Errno, Host, IoResult, OpenMode, Pending};
use midstream::{BlockLayer, Checked, Device, Image};
use std::sync::Arc;

/// midstream-block's qcow2 driver.
#[derive(Debug)]
pub struct Ours<const CHAINS: bool>;

/// An open image and what it lies on.
#[derive(Clone, Debug)]
pub struct Open {
    image: Arc<Qcow2>,
    below: Option<Arc<Open>>,
    writable: bool,
}

impl<const CHAINS: bool> BlockLayer for Ours<CHAINS> {
    type Device = Open;

    const CHAINS: bool = CHAINS;

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
        let mut opened: Vec<Open> = Vec::with_capacity(images.len());
        for image in images {
            let writable = !is_backing(images, image);
            let mode = if writable { OpenMode::ReadWrite } else { OpenMode::ReadOnly };
            let disk = host.open(&image.path, mode).await?;
            let named = |path: &String| images.iter().position(|other| other.path == *path);
            let below = image.backing.as_ref().and_then(named).map(|at| Arc::new(opened[at].clone()));
            let image = Qcow2::open(disk, &image.path, writable).await;
            opened.push(Open { image: image.map_err(|_unsound| Errno::EINVAL)?, below, writable });
        }
        Ok(opened)
    }

    async fn check(&self, host: Arc<dyn Host>, image: &Image) -> IoResult<Option<Checked>> {
        sound(&*host, image).await
    }
}

impl Device for Open {
    async fn read(&self, offset: u64, len: u64) -> IoResult<Vec<u8>> {
        let mut data = vec![0; len as usize];
        self.image.read(offset, &mut data, self).await?;
        Ok(data)
    }

    async fn write(&self, offset: u64, data: Vec<u8>) -> IoResult<()> {
        self.image.write(offset, &data, self).await
    }

    async fn flush(&self) -> IoResult<()> {
        if self.writable { self.image.flush().await } else { Ok(()) }
    }
}

impl Below for Open {
    fn exists(&self) -> bool {
        self.below.is_some()
    }

    fn read<'a>(&'a self, offset: u64, buffer: &'a mut [u8]) -> Pending<'a, IoResult<()>> {
        Box::pin(async move {
            buffer.fill(0);
            let Some(below) = &self.below else { return Ok(()) };
            let inside = below.image.len_bytes().saturating_sub(offset).min(buffer.len() as u64);
            if inside == 0 {
                return Ok(());
            }
            below.image.read(offset, &mut buffer[..inside as usize], &**below).await
        })
    }
}
