//! Makes the images of a case with our own code, as the image tools would.

use super::layers::{Files, Layer, Seen, beside, open};
use super::memory::{Memory, at_once};
use crate::conform::case::{Image, Write, WriteOp};
use crate::conform::names::Names;
use block::format::qcow2::{BackingName, CreateOptions, DataFile, Qcow2, Zeroing};
use seam::Disk;
use std::sync::Arc;

/// The unit of a disk's size.
const SECTOR_BYTES: u64 = 512;
/// A raw file is kept byte for byte, so it may not be huge.
const PLAIN_BYTES_MAX: u64 = 64 << 20;

/// Makes one image beside the files that are there already.
pub fn make(image: &Image, folder: &str, names: &Names, files: &mut Files) -> Result<(), String> {
    let path = format!("{folder}/{}", image.file);
    if image.format == "raw" {
        let bytes = plain(image)?;
        files.insert(path, bytes);
        return Ok(());
    }
    let backing = image.backing.as_deref().map(|name| names.fill(name));
    let options = options(image, backing.clone())?;
    if let Some(data) = &options.data_file {
        files.insert(beside(&path, &data.name), vec![0; options.len_bytes as usize]);
    }
    let file = Memory::new(Vec::new());
    let disk: Arc<dyn Disk> = file.clone();
    at_once(Qcow2::create(&disk, &options)).map_err(|error| error.to_string())?;
    let mut bytes = file.take();
    if let Some(end) = l1_end(&bytes) {
        // The image tool leaves the last cluster of a new file as short as what is in it.
        bytes.truncate(end);
    }
    files.insert(path.clone(), bytes);
    if !image.writes.is_empty() {
        let format = image.backing_format.as_deref().unwrap_or("qcow2");
        fill(image, &path, backing.map(|backing| beside(&path, &backing)), format, files)?;
    }
    Ok(())
}

/// Where the L1 table ends, the last thing in a new image that has one.
fn l1_end(bytes: &[u8]) -> Option<usize> {
    const ENTRY_BYTES: usize = 8;
    let entries = u32::from_be_bytes(bytes.get(36..40)?.try_into().ok()?);
    let offset = u64::from_be_bytes(bytes.get(40..48)?.try_into().ok()?);
    let end = usize::try_from(offset).ok()? + entries as usize * ENTRY_BYTES;
    (entries > 0).then_some(end)
}

fn plain(image: &Image) -> Result<Vec<u8>, String> {
    let rounded = image.size.next_multiple_of(SECTOR_BYTES);
    if rounded > PLAIN_BYTES_MAX {
        return Err(format!("a raw file of {rounded} bytes is too large for a small world"));
    }
    let mut bytes = vec![0; rounded as usize];
    for write in &image.writes {
        let range = write.offset as usize..(write.offset + write.len) as usize;
        let byte = if write.op == WriteOp::Write { write.pattern } else { 0 };
        bytes.get_mut(range).ok_or("a write past the end")?.fill(byte);
    }
    Ok(bytes)
}

fn options(image: &Image, backing: Option<String>) -> Result<CreateOptions, String> {
    let mut options = CreateOptions {
        len_bytes: image.size.next_multiple_of(SECTOR_BYTES),
        cluster_bits: image.cluster_size.unwrap_or(64 << 10).trailing_zeros(),
        backing: backing.map(|file| {
            let format = image.backing_format.clone().unwrap_or_else(|| "qcow2".to_owned());
            BackingName { file, format: Some(format) }
        }),
        ..CreateOptions::default()
    };
    for (name, value) in &image.options {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        match (name.as_str(), value.as_str()) {
            ("compat", "0.10") => options.version = 2,
            ("extended_l2", "on") => options.extended_l2 = true,
            ("lazy_refcounts", "on") => options.lazy_refcounts = true,
            ("refcount_bits", bits) => {
                let bits: u32 = bits.parse().map_err(|_| format!("refcount_bits={bits}"))?;
                options.refcount_order = bits.trailing_zeros();
            }
            ("data_file", name) => {
                options.data_file = Some(DataFile { name: name.to_owned(), raw: false });
            }
            (name, value) => return Err(format!("nobody knows the option {name}={value}")),
        }
    }
    Ok(options)
}

/// Writes into a new image, over what lies below it.
fn fill(
    image: &Image,
    path: &str,
    backing: Option<String>,
    format: &str,
    files: &mut Files,
) -> Result<(), String> {
    let below = match backing {
        Some(backing) => open(files, &backing, format).map_err(|not| format!("{}: {}", not.path, not.why))?,
        None => Vec::new(),
    };
    let (layer, memories) = Layer::open(files, path, "qcow2", true)?;
    let disk = layer.image().ok_or("a qcow2 image is one")?;
    for write in &image.writes {
        at_once(apply(disk, write, &below)).map_err(|errno| errno.to_string())?;
    }
    at_once(disk.close()).map_err(|errno| errno.to_string())?;
    for (path, memory) in memories {
        files.insert(path, memory.take());
    }
    Ok(())
}

async fn apply(disk: &Qcow2, write: &Write, below: &[Layer]) -> seam::IoResult<()> {
    let Write { op, offset, len, pattern, compressed, unmap } = *write;
    let seen = Seen(below);
    match op {
        WriteOp::Write if compressed => {
            disk.write_compressed(offset, &vec![pattern; len as usize], &seen).await
        }
        WriteOp::Write => disk.write(offset, &vec![pattern; len as usize], &seen).await,
        WriteOp::Zero => {
            let zeroing = if unmap { Zeroing::FreeClusters } else { Zeroing::KeepClusters };
            disk.zero(offset, len, zeroing, &seen).await
        }
        WriteOp::Discard => disk.discard(offset, len, !below.is_empty()).await,
    }
}
