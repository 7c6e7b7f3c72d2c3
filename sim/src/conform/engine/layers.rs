//! A chain of image files in memory, opened by the names in their headers.

use super::memory::{Memory, at_once};
use block::format::qcow2::{BackingName, OpenCause, OpenError, Qcow2};
use block::format::{Below, RunKind};
use seam::{Disk, IoResult, Pending};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Files by their path.
pub type Files = BTreeMap<String, Vec<u8>>;

/// Files that a layer works on, by their paths.
pub type Copies = Vec<(String, Arc<Memory>)>;

/// More layers than this: a header names its own image.
const LAYERS_MAX: usize = 100;
/// What a file system calls a hole.
const HOLE_BYTES: usize = 4096;

/// One layer of a chain.
#[derive(Debug)]
pub struct Layer {
    /// Its path.
    pub path: String,
    /// Its format, by the header above it or as asked for.
    pub format: String,
    content: Content,
}

#[derive(Debug)]
enum Content {
    Plain(Vec<u8>),
    Qcow2(Arc<Qcow2>),
}

/// Why a chain cannot be opened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NotOpened {
    /// How far down.
    pub depth: usize,
    /// The path.
    pub path: String,
    /// Why, without the path.
    pub why: String,
}

impl Layer {
    /// Opens one file as a format. It is copied; what is written goes to the copies that come with the layer.
    pub fn open(files: &Files, path: &str, format: &str, writable: bool) -> Result<(Layer, Copies), String> {
        let bytes = files.get(path).ok_or("No such file or directory")?.clone();
        let (path, format) = (path.to_owned(), format.to_owned());
        if format != "qcow2" {
            return Ok((Layer { path, format, content: Content::Plain(bytes) }, Vec::new()));
        }
        let mut copies = vec![(path.clone(), Memory::new(bytes))];
        let disk: Arc<dyn Disk> = copies[0].1.clone();
        let image = match at_once(Qcow2::open(disk.clone(), &path, writable)) {
            Err(OpenError { cause: OpenCause::DataFileMissing { file }, .. }) => {
                let data_path = beside(&path, &file);
                let data = Memory::new(files.get(&data_path).cloned().unwrap_or_default());
                copies.push((data_path, data.clone()));
                at_once(Qcow2::open_with(disk, Some(data), &path, writable))
            }
            opened => opened,
        };
        let image = image.map_err(|error| error.to_string())?;
        Ok((Layer { path, format, content: Content::Qcow2(image) }, copies))
    }

    /// The guest's size.
    pub fn len_bytes(&self) -> u64 {
        match &self.content {
            Content::Plain(bytes) => bytes.len() as u64,
            Content::Qcow2(image) => image.len_bytes(),
        }
    }

    /// Bytes of a cluster, if it has clusters.
    pub fn cluster_bytes(&self) -> Option<u64> {
        self.image().map(|image| image.cluster_bytes())
    }

    /// What its header says lies below.
    pub fn backing(&self) -> Option<BackingName> {
        self.image().and_then(|image| image.backing())
    }

    /// The image, if it is one.
    pub fn image(&self) -> Option<&Arc<Qcow2>> {
        match &self.content {
            Content::Plain(_) => None,
            Content::Qcow2(image) => Some(image),
        }
    }

    /// What it says about the bytes from an offset inside it.
    pub fn status(&self, offset: u64, len: u64) -> IoResult<(u64, RunKind)> {
        match &self.content {
            Content::Qcow2(image) => at_once(image.status(offset, len)).map(|run| (run.len, run.kind)),
            Content::Plain(bytes) => {
                let rest = &bytes[offset as usize..(offset + len) as usize];
                let mut pieces = rest.chunks(HOLE_BYTES).enumerate();
                // The image tool gives a new raw file its first block, to try out which alignment the file wants.
                let is_hole = |(index, piece): &(usize, &[u8])| {
                    (offset > 0 || *index > 0) && piece.iter().all(|byte| *byte == 0)
                };
                let first = pieces.next().is_some_and(|piece| is_hole(&piece));
                let more = pieces.take_while(|piece| is_hole(piece) == first).count();
                let len = len.min((HOLE_BYTES * (1 + more)) as u64);
                Ok((len, if first { RunKind::Zero } else { RunKind::Data }))
            }
        }
    }
}

/// Opens a chain from its uppermost file down.
pub fn open(files: &Files, path: &str, format: &str) -> Result<Vec<Layer>, NotOpened> {
    let mut layers: Vec<Layer> = Vec::new();
    let mut next = Some((path.to_owned(), format.to_owned()));
    while let Some((path, format)) = next {
        let depth = layers.len();
        let not_opened = |why: &str| NotOpened { depth, path: path.clone(), why: why.to_owned() };
        if depth > LAYERS_MAX {
            return Err(not_opened("the chain has no end"));
        }
        let (layer, _) = Layer::open(files, &path, &format, false).map_err(|why| not_opened(&why))?;
        next = layer.backing().map(|backing| {
            let path = beside(&layer.path, &backing.file);
            let format = backing.format.unwrap_or_else(|| probe(files, &path).to_owned());
            (path, format)
        });
        layers.push(layer);
    }
    Ok(layers)
}

/// What a file looks like.
fn probe(files: &Files, path: &str) -> &'static str {
    if files.get(path).is_some_and(|bytes| bytes.starts_with(b"QFI\xfb")) { "qcow2" } else { "raw" }
}

/// The file that a name in a header means.
pub fn beside(image: &str, name: &str) -> String {
    let folder = image.rfind('/').map_or("", |slash| &image[..=slash]);
    if name.starts_with('/') { name.to_owned() } else { format!("{folder}{name}") }
}

/// What a reader of some layers sees, the uppermost first.
#[derive(Copy, Clone, Debug)]
pub struct Seen<'l>(pub &'l [Layer]);

impl Below for Seen<'_> {
    fn exists(&self) -> bool {
        !self.0.is_empty()
    }

    fn read<'a>(&'a self, offset: u64, buffer: &'a mut [u8]) -> Pending<'a, IoResult<()>> {
        Box::pin(async move {
            let Some((first, below)) = self.0.split_first() else {
                buffer.fill(0);
                return Ok(());
            };
            let there = first.len_bytes().saturating_sub(offset).min(buffer.len() as u64) as usize;
            let (buffer, past) = buffer.split_at_mut(there);
            past.fill(0);
            match &first.content {
                Content::Plain(bytes) if there > 0 => {
                    buffer.copy_from_slice(&bytes[offset as usize..offset as usize + there]);
                }
                Content::Qcow2(image) if there > 0 => image.read(offset, buffer, &Seen(below)).await?,
                _ => {}
            }
            Ok(())
        })
    }
}
