//! Metadata that cannot be, found while an image is in use: that is reported to whoever runs the program, and nothing is written to
//! the image any more but the bit that says so.
//!
//! An image that is only read goes on as far as it can; only what is damaged reads as an error.

use super::Qcow2;
use super::entry::{HOST_OFFSET, RawEntry};
use super::geometry::Geometry;
use super::header::INCOMPATIBLE_CORRUPT;
use super::metadata::Metadata;
use super::trouble::Trouble;
use crate::sync::shim::Mutex;
use seam::Errno;
use std::fmt;

/// What cannot be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Damage {
    /// In QEMU's words where it has some.
    pub text: String,
    /// The bytes of the file that were about to be written, if that is what was wrong: offset and length.
    pub range: Option<(u64, u64)>,
}

/// Who learns of damage; `true`: the image was open for writing, and is written no more.
pub type OnDamage = Box<dyn Fn(&Damage, bool) + Send + Sync>;

/// Nobody, until somebody is named.
#[derive(Default)]
pub(super) struct Alarm(Mutex<Option<OnDamage>>);

impl fmt::Debug for Alarm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Alarm")
    }
}

impl Qcow2 {
    /// From now on this one learns of damage.
    pub fn on_damage(&self, on_damage: OnDamage) {
        *self.alarm.0.lock() = Some(on_damage);
    }

    /// Reports damage, once, and marks the image if it may be written. Everything fails from then on that would write.
    pub(super) async fn raise_alarm(&self, damage: &Damage) {
        let header = {
            let mut metadata = self.metadata.lock();
            if metadata.is_damaged {
                return;
            }
            metadata.is_damaged = true;
            let mut header = metadata.header.clone();
            header.incompatible |= INCOMPATIBLE_CORRUPT;
            // Version 2 has no bit for it.
            (metadata.writable && self.version() >= 3).then_some(header)
        };
        let is_fatal = self.metadata.lock().writable;
        if let Some(header) = header {
            // The disk has the header that memory says it has, so nothing else changes. Whoever writes it now as well
            // writes no table after it that would count.
            let written = self.write_header(&header).await;
            if written.is_ok() {
                let _as_far_as_it_can = self.flush_disk().await;
            }
        }
        if let Some(on_damage) = &*self.alarm.0.lock() {
            on_damage(damage, is_fatal);
        }
    }
}

impl Metadata {
    /// Refuses every change of an image that is known to be damaged, or that could not be opened to writers again.
    pub(super) fn admit_change(&self) -> Result<(), Errno> {
        if self.is_damaged || self.stays_closed { Err(Errno::EIO) } else { Ok(()) }
    }

    /// Refuses everything once an image that may be written is known to be damaged.
    pub(super) fn admit(&self) -> Result<(), Errno> {
        if self.is_damaged && self.writable { Err(Errno::EIO) } else { Ok(()) }
    }

    /// Refuses to write where metadata lies.
    pub(super) fn admit_data(&self, start: u64, len: u64) -> Result<(), Trouble> {
        let Some(what) = self.metadata_in(start, len) else { return Ok(()) };
        let text = format!("Preventing invalid write on metadata (overlaps with {what})");
        Err(Trouble::Damaged(Damage { text, range: Some((start, len)) }.into()))
    }
}

/// Numbers as these texts have them.
fn hex(number: u64) -> String {
    if number == 0 { "0".to_owned() } else { format!("{number:#x}") }
}

fn damaged(text: String) -> Trouble {
    Trouble::Damaged(Damage { text, range: None }.into())
}

/// An L1 entry that cannot be.
pub(super) fn in_l1(raw: u64, index: u64, geometry: Geometry) -> Trouble {
    let (at, index) = (raw & HOST_OFFSET, hex(index));
    assert!(!geometry.is_aligned(at), "L1 entry {raw:#x} leads somewhere");
    damaged(format!("L2 table offset {} unaligned (L1 index: {index})", hex(at)))
}

/// An L2 entry that cannot be.
pub(super) fn in_l2(raw: RawEntry, table: u64, slot: u64, geometry: Geometry) -> Trouble {
    let (at, place) =
        (raw.descriptor & HOST_OFFSET, format!("(L2 offset: {}, L2 index: {})", hex(table), hex(slot)));
    damaged(match raw.is_compressed() || geometry.is_aligned(at) {
        false => format!("Cluster allocation offset {} unaligned {place}", hex(at)),
        true => {
            format!("L2 entry {}, bitmap {} is not possible {place}", hex(raw.descriptor), hex(raw.bitmap))
        }
    })
}

/// An entry of the refcount table that cannot be.
pub(super) fn in_refcount_table(at: u64, index: u64) -> Trouble {
    damaged(format!("Refblock offset {} unaligned (reftable index: {})", hex(at), hex(index)))
}

/// A table where something else is.
pub(super) fn table_elsewhere(at: u64) -> Damage {
    Damage { text: format!("The table at {} lies in other metadata", hex(at)), range: None }
}

/// More tables than the file has room for, so some are counted twice.
pub(super) fn too_many_tables() -> Trouble {
    damaged("The L1 table leads to more L2 tables than there can be".to_owned())
}
