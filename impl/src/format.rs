//! Image formats: how guest bytes lie in a file. Nothing here knows of nodes, jobs or commands.
//!
//! A format sees its own file through `Disk` and what lies below it in the chain through `Below`.

pub(crate) mod null;
pub mod qcow2;
pub mod raw;
pub(crate) mod window;

use seam::{IoResult, Pending};

/// What a layer says about the bytes from an offset on.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Run {
    /// How many bytes this holds for; at least 1, and never past the end of the image.
    pub len: u64,
    /// What it says.
    pub kind: RunKind,
}

/// Who decides a run's content.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum RunKind {
    /// This layer, with data.
    Data,
    /// This layer: zeroes, whatever lies below.
    Zero,
    /// The layer below, or zeroes if there is none.
    Unallocated,
}

/// What lies below a layer in its chain.
pub trait Below: Send + Sync {
    /// Whether there is a layer below at all.
    fn exists(&self) -> bool;
    /// Fills `buffer` with what a reader of the layer below sees at `offset`; zeroes past its end or without it.
    fn read<'a>(&'a self, offset: u64, buffer: &'a mut [u8]) -> Pending<'a, IoResult<()>>;
}

/// Nothing below: reads as zeroes.
#[derive(Copy, Clone, Debug)]
pub struct Nothing;

impl Below for Nothing {
    fn exists(&self) -> bool {
        false
    }

    fn read<'a>(&'a self, _offset: u64, buffer: &'a mut [u8]) -> Pending<'a, IoResult<()>> {
        buffer.fill(0);
        Box::pin(std::future::ready(Ok(())))
    }
}
