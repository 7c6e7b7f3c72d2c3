//! Shows the specification what resizes do, as it knows no lengths: see [`length`](super::length).

use super::length::Effect;
use super::{Inner, Witness};
use crate::history::observed::Observed;
use crate::request::RequestId;
use crate::world::notes::Shared;
use model::{GuestOp, ImageSetup, Observation};
use seam::footprint::Access;
use seam::{Errno, IoResult};
use std::collections::BTreeMap;
use std::ops::Range;

/// Guests whom nobody sees: beside each guest, one that writes lengths, and one that fills what an image lacks.
const LENGTH_GUEST: u32 = 1 << 16;
const FILLER: u32 = 1 << 17;

/// Requests that nobody sees, beside the one of the same number.
const OF_LENGTH: u64 = 1 << 32;
const OF_CUT: u64 = 2 << 32;
const OF_NEW: u64 = 3 << 32;

/// The images that are resized in a run, and how long each may become, in sectors.
#[derive(Clone, Debug, Default)]
pub(crate) struct Resized {
    sectors_max: BTreeMap<String, u64>,
}

/// The device whose one sector says how long an image is.
fn length_of(image: &str) -> String {
    format!("the length of {image}")
}

impl Resized {
    /// This image becomes so long at most.
    pub(crate) fn add(&mut self, image: &str, sectors_max: u64) {
        self.sectors_max.insert(image.to_owned(), sectors_max);
    }

    /// The devices that the specification follows in place of these images.
    pub(super) fn devices(&self, images: &[ImageSetup]) -> Vec<ImageSetup> {
        let mut devices = images.to_vec();
        for image in images {
            let Some(sectors_max) = self.sectors_max.get(&image.file) else { continue };
            let sector = image.cluster_bytes;
            let length = image.size_bytes / sector;
            devices.push(ImageSetup {
                file: length_of(&image.file),
                size_bytes: sector,
                own: vec![(0, length)],
                ..image.clone()
            });
            let device = devices.iter_mut().find(|device| device.file == image.file);
            device.expect("it was cloned above").size_bytes = sectors_max * sector;
        }
        devices
    }

    /// What the specification sees in place of an image that is shorter than it may become.
    pub(super) fn filled(&self, observed: &Observed) -> Option<Observed> {
        let mut filled = observed.clone();
        let (image, values) = match &mut filled {
            Observed::View { node, values } => (&*node, values),
            Observed::Recovered(found) | Observed::Closed(found) => (&found.file, &mut found.values),
            _ => return None,
        };
        let sectors_max = *self.sectors_max.get(image)? as usize;
        values.resize(sectors_max.max(values.len()), 0);
        Some(filled)
    }
}

/// When an image is looked at.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) enum Look {
    AtRest,
    AfterCrash,
    AfterCleanEnd,
}

impl Witness {
    /// A guest comes to an image.
    pub(super) fn attach_to_length(&self, guest: u32, image: &str, writable: bool) {
        let mut inner = self.inner();
        if inner.resized.sectors_max.contains_key(image) {
            let (guest, node) = (LENGTH_GUEST | guest, &*length_of(image));
            inner.show(&Observation::GuestAttached { guest, node, writable });
        }
    }

    /// A flush of a guest makes lengths durable, too.
    pub(super) fn flush_length(&self, request: RequestId) {
        self.inner().begin(request.number() | OF_LENGTH, LENGTH_GUEST | request.guest, GuestOp::Flush);
    }

    /// A resize begins.
    pub(crate) fn began_resize(&self, request: RequestId, sectors: u64, effect: &Effect) {
        Shared::Judge.touch(Access::Write);
        self.began_other(request, format!("Resize to {sectors} sectors"));
        let mut inner = self.inner();
        let (number, guest) = (request.number(), request.guest);
        let op = GuestOp::Write { sector: 0, values: &[sectors], fua: false };
        inner.begin(number | OF_LENGTH, LENGTH_GUEST | guest, op);
        let count = |range: &Range<u64>| range.end - range.start;
        let (cut, new) = (&effect.discarded, &effect.zeroed);
        inner.begin(number | OF_CUT, guest, GuestOp::Discard { sector: cut.start, count: count(cut) });
        inner.begin(number | OF_NEW, guest, GuestOp::WriteZeroes { sector: new.start, count: count(new) });
    }

    /// A resize has ended.
    pub(crate) fn ended_resize(&self, request: RequestId, result: IoResult<()>) {
        Shared::Judge.touch(Access::Write);
        for part in [OF_LENGTH, OF_CUT, OF_NEW] {
            self.inner().end(request.number() | part, result);
        }
        self.ended_other(request, result);
    }

    /// An image is found to be so long.
    pub(super) fn length_found(&self, image: &str, sectors: u64, look: Look) {
        let mut inner = self.inner();
        let Some(sectors_max) = inner.resized.sectors_max.get(image).copied() else { return };
        let (node, values) = (&*length_of(image), &[sectors]);
        let (chain, check_corruptions) = (&[node], 0);
        let judged = inner.judge.observe(&match look {
            Look::AtRest => Observation::View { node, values },
            Look::AfterCrash => Observation::Recovered { file: node, values, chain, check_corruptions },
            Look::AfterCleanEnd => {
                Observation::Closed { file: node, values, chain, check_corruptions, check_leaks: 0 }
            }
        });
        if let Err(broken) = judged {
            let expected = lengths(&broken.detail);
            let detail = format!("{image} has {sectors} sectors, and should have {expected}");
            return inner.recording.break_law(broken.law, detail);
        }
        // What the image lacks is zeroes from now on: nobody reads it any more, and the image itself is not longer.
        let missing = sectors_max.saturating_sub(sectors);
        inner.show(&Observation::GuestAttached { guest: FILLER, node: image, writable: true });
        inner.begin(OF_NEW, FILLER, GuestOp::WriteZeroes { sector: sectors, count: missing });
        inner.end(OF_NEW, Ok(()));
    }

    /// The end of a flush, for lengths.
    pub(super) fn flushed_length(&self, request: RequestId, is_done: bool) {
        self.inner().end(request.number() | OF_LENGTH, if is_done { Ok(()) } else { Err(Errno::EIO) });
    }
}

impl Inner {
    /// Shows the specification of data what is not recorded. The other one knows lengths by itself.
    fn show(&mut self, seen: &Observation<'_>) {
        self.fingerprint = None;
        if self.recording.is_judged()
            && self.judge.is_of_data()
            && let Err(broken) = self.judge.observe(seen)
        {
            self.recording.break_law(broken.law, broken.detail);
        }
    }

    fn begin(&mut self, request: u64, guest: u32, op: GuestOp<'_>) {
        self.show(&Observation::GuestBegan { request, guest, op });
    }

    fn end(&mut self, request: u64, result: IoResult<()>) {
        let result = result.map(|()| &[][..]).map_err(|_errno| "");
        self.show(&Observation::GuestEnded { request, result });
    }
}

/// The lengths that the specification would have accepted, out of its words.
fn lengths(detail: &str) -> String {
    let expected = detail.split_once("expected ").and_then(|(_, rest)| rest.split_once(", read"));
    let words = expected.map_or("", |(expected, _)| expected).split(" or ");
    let numbers = words.filter_map(|word| u64::from_str_radix(word.strip_prefix("0x")?, 16).ok());
    numbers.map(|number| number.to_string()).collect::<Vec<_>>().join(" or ")
}
