//! Internal snapshots: made, listed and deleted. Nothing here goes back to one.
//!
//! A snapshot is a copy of the L1 table, and one more reference on everything it leads to. While references and COPIED
//! flags change, version 3 is marked dirty, so that a stop in between is repaired by whoever writes next; version 2
//! leaks at worst. The header's sector turns to the new list of snapshots in one write. After an error before that, what
//! the snapshot took is given back; where that cannot be, the mark stays.

use super::Qcow2;
use super::counter;
use super::damage;
use super::discard::Freed;
use super::entry::{COPIED, HOST_OFFSET, RawEntry, decode_l1, decode_l2};
use super::geometry::MAX_L1_BYTES;
use super::header::INCOMPATIBLE_DIRTY;
use super::metadata::Metadata;
use super::snapshot_table::{
    MAX_ENTRY_BYTES, MAX_SNAPSHOTS, MAX_TABLE_BYTES, NO_INSTRUCTION_COUNT, Snapshot, decode, encode,
};
use super::trouble::{TableKind, Trouble};
use crate::budget::Share;
use crate::sync::range_lock::Mode;
use seam::{Errno, IoResult};
use std::ops::Range;

const L2: TableKind = TableKind::L2;

/// What is longer is cut off, as in QEMU.
const NAME_BYTES_MAX: usize = 255;

/// What happens to a reference.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
enum Change {
    Raise,
    Lower,
    /// What was raised, so many references from the first one on.
    TakeBack,
}

/// What was taken for a list of snapshots that the header does not lead to yet.
#[derive(Debug, Default)]
struct Taken {
    references: u64,
    clusters: Vec<Range<u64>>,
}

impl Qcow2 {
    /// The internal snapshots, in the order of the file.
    pub async fn list_snapshots(&self) -> IoResult<Vec<Snapshot>> {
        let (count, offset, end) = {
            let metadata = self.metadata.lock();
            (metadata.header.snapshots, metadata.header.snapshots_offset, metadata.file_end)
        };
        if count == 0 {
            return Ok(Vec::new());
        }
        let len = end.saturating_sub(offset).min(MAX_TABLE_BYTES).min(count as u64 * MAX_ENTRY_BYTES);
        let what = || format!("The list of {count} snapshots");
        // Once as it lies on the disk, and decoded.
        let _while_read = self.allowance.budget.take(3 * len, what).map_err(|_reported| Errno::ENOMEM)?;
        let table = self.disk.read(offset, vec![0; len as usize]).await?;
        decode(&table, count).ok_or(Errno::EIO)
    }

    /// Makes a snapshot of what the guest sees, durably. EEXIST if there is one of that name, ENOTSUP with a data file,
    /// EINVAL if a refcount has no room for another reference. Answers its id.
    pub async fn create_snapshot(&self, name: &str, seconds: u32, nanoseconds: u32) -> IoResult<String> {
        self.assert_writable();
        if self.geometry.data_file {
            return Err(Errno::ENOTSUP);
        }
        self.before_change().await?;
        let _alone = self.clusters.acquire(0, u64::MAX, Mode::Exclusive).await;
        self.flush().await?;
        let snapshots = self.list_snapshots().await?;
        if snapshots.iter().any(|snapshot| snapshot.name == name) {
            return Err(Errno::EEXIST);
        }
        let cut = (0..=NAME_BYTES_MAX.min(name.len())).rev().find(|at| name.is_char_boundary(*at));
        let name = &name[..cut.expect("a text begins at a boundary")];
        if snapshots.len() >= MAX_SNAPSHOTS as usize {
            return Err(Errno::EFBIG);
        }
        let _copies = self.hold_l1_copies(self.metadata.lock().l1.len_bytes())?;
        let l1 = self.metadata.lock().l1.entries().to_vec();
        self.refuse_full_refcounts(&l1).await?;
        let _turn = self.flushing.acquire(0, 1, Mode::Exclusive).await;
        self.mark_dirty().await?;
        let id = next_id(&snapshots);
        let snapshot = Snapshot {
            id: id.clone(),
            name: name.to_owned(),
            l1_entries: l1.len() as u32,
            seconds,
            nanoseconds,
            // Nobody runs a guest here: its clock is ours, as in a storage daemon of QEMU.
            vm_clock: u64::from(seconds) * 1_000_000_000 + u64::from(nanoseconds),
            len_bytes: self.len_bytes(),
            more: NO_INSTRUCTION_COUNT.to_vec(),
            ..Snapshot::default()
        };
        let mut taken = Taken::default();
        let made = self.make(&l1, snapshots, snapshot, &mut taken).await;
        self.finish_or_take_back(made, &l1, taken).await?;
        Ok(id)
    }

    /// Makes a snapshot of what an L1 table leads to, as the last one of the list.
    async fn make(
        &self,
        l1: &[u64],
        mut snapshots: Vec<Snapshot>,
        mut snapshot: Snapshot,
        taken: &mut Taken,
    ) -> IoResult<()> {
        self.change_references(l1, Change::Raise, &mut taken.references).await?;
        self.set_copied(l1).await?;
        snapshot.l1_offset = self.write_l1_copy(l1, &mut taken.clusters).await?;
        snapshots.push(snapshot);
        // Everything that the list leads to is there before it.
        self.flush_in_turn().await?;
        self.write_table(&snapshots, taken).await
    }

    /// Deletes the snapshot of this id, or else of this name, durably; ENOENT if there is none.
    pub async fn delete_snapshot(&self, id_or_name: &str) -> IoResult<Snapshot> {
        self.assert_writable();
        self.before_change().await?;
        let _alone = self.clusters.acquire(0, u64::MAX, Mode::Exclusive).await;
        self.flush().await?;
        let mut snapshots = self.list_snapshots().await?;
        let by_id = snapshots.iter().position(|snapshot| snapshot.id == id_or_name);
        let by_name = || snapshots.iter().position(|snapshot| snapshot.name == id_or_name);
        let gone = snapshots.remove(by_id.or_else(by_name).ok_or(Errno::ENOENT)?);
        let l1_bytes = self.metadata.lock().l1.len_bytes();
        let _copies = self.hold_l1_copies(l1_bytes + 8 * u64::from(gone.l1_entries))?;
        let l1 = self.read_l1_copy(&gone).await?;
        let _turn = self.flushing.acquire(0, 1, Mode::Exclusive).await;
        self.mark_dirty().await?;
        // Nothing leads to it any more, and only then its references go.
        let mut taken = Taken::default();
        let replaced = self.write_table(&snapshots, &mut taken).await;
        if replaced.is_ok() {
            let freed = self.free(&l1, &gone).await;
            self.or_repair_later(freed)?;
        }
        self.finish_or_take_back(replaced, &[], taken).await?;
        Ok(gone)
    }

    /// Gives back what only a snapshot that is gone had.
    async fn free(&self, l1: &[u64], gone: &Snapshot) -> IoResult<()> {
        self.change_references(l1, Change::Lower, &mut 0).await?;
        self.release_bytes(gone.l1_offset, u64::from(gone.l1_entries) * 8).await?;
        let active = self.metadata.lock().l1.entries().to_vec();
        self.set_copied(&active).await
    }

    /// Notes that a repair is due, if counts and COPIED flags were not all changed.
    fn or_repair_later(&self, done: IoResult<()>) -> IoResult<()> {
        self.metadata.lock().is_miscounted |= done.is_err();
        done
    }

    /// Ends the work on a list of snapshots: if it is not there, what was taken for it is given back.
    async fn finish_or_take_back(&self, listed: IoResult<()>, l1: &[u64], taken: Taken) -> IoResult<()> {
        if listed.is_ok() {
            return self.finish().await;
        }
        let taken_back = self.take_back(l1, taken).await;
        if self.or_repair_later(taken_back).is_ok() {
            // The next snapshot takes the mark off, or a repair.
            let _marked = self.finish().await;
        }
        listed
    }

    /// Gives back what was taken for a list that the header does not lead to.
    async fn take_back(&self, l1: &[u64], mut taken: Taken) -> IoResult<()> {
        self.change_references(l1, Change::TakeBack, &mut taken.references).await?;
        for clusters in taken.clusters {
            self.step(|m| m.give_back(clusters.clone())).await?;
        }
        self.set_copied(l1).await
    }

    /// Marks a version 3 image as one whose refcounts may be stale.
    async fn mark_dirty(&self) -> IoResult<()> {
        if self.version() < 3 {
            return Ok(());
        }
        let mut header = self.metadata.lock().header.clone();
        header.incompatible |= INCOMPATIBLE_DIRTY;
        self.write_header(&header).await?;
        self.flush_disk().await
    }

    /// Writes all tables, and takes the mark off again, unless a repair is due.
    async fn finish(&self) -> IoResult<()> {
        self.flush_in_turn().await?;
        self.flush_in_turn().await?;
        if self.metadata.lock().is_miscounted {
            return Ok(());
        }
        self.write_clean_header().await
    }

    async fn write_clean_header(&self) -> IoResult<()> {
        let mut header = self.metadata.lock().header.clone();
        header.incompatible &= !INCOMPATIBLE_DIRTY;
        if header != self.metadata.lock().header {
            self.write_header(&header).await?;
        }
        self.flush_disk().await
    }

    /// Writes the list at a new place, durably, and frees the old place. What was taken for it is so no more, unless that
    /// fails and the header durably leads to the old list.
    async fn write_table(&self, snapshots: &[Snapshot], taken: &mut Taken) -> IoResult<()> {
        let old = {
            let header = self.metadata.lock().header.clone();
            let len = encode(&self.list_snapshots().await?).len() as u64;
            (header.snapshots_offset, len)
        };
        let bytes = encode(snapshots);
        let offset = match bytes.len() as u64 {
            0 => 0,
            len if len > MAX_TABLE_BYTES => return Err(Errno::EFBIG),
            _ => self.put(bytes, &mut taken.clusters).await?,
        };
        // Its place is counted before the header leads there.
        self.flush_in_turn().await?;
        let led_to = std::mem::take(taken);
        let before = self.metadata.lock().header.snapshots;
        let turned = self.turn_to((snapshots.len() as u32, offset)).await;
        if turned.is_err() {
            // Nobody knows to which of the two lists the disk's header leads now.
            match self.turn_to((before, old.0)).await {
                Ok(()) => *taken = led_to,
                Err(_) => self.metadata.lock().is_miscounted = true,
            }
            return turned;
        }
        self.show_snapshots(snapshots);
        let freed = self.release_bytes(old.0, old.1).await;
        self.or_repair_later(freed)
    }

    /// Turns the header to a list of so many snapshots, durably.
    async fn turn_to(&self, (count, offset): (u32, u64)) -> IoResult<()> {
        let mut header = self.metadata.lock().header.clone();
        (header.snapshots, header.snapshots_offset) = (count, offset);
        self.write_header(&header).await?;
        self.flush_disk().await
    }

    async fn write_l1_copy(&self, l1: &[u64], taken: &mut Vec<Range<u64>>) -> IoResult<u64> {
        let bytes: Vec<u8> = l1.iter().flat_map(|entry| (entry & !COPIED).to_be_bytes()).collect();
        if bytes.is_empty() { Ok(0) } else { self.put(bytes, taken).await }
    }

    async fn read_l1_copy(&self, snapshot: &Snapshot) -> IoResult<Vec<u64>> {
        let len = u64::from(snapshot.l1_entries) * 8;
        let end = self.metadata.lock().file_end.next_multiple_of(self.geometry.cluster_bytes());
        let fits = len <= MAX_L1_BYTES && snapshot.l1_offset.checked_add(len).is_some_and(|last| last <= end);
        if !fits || !self.geometry.is_aligned(snapshot.l1_offset) {
            return Err(Errno::EIO);
        }
        let bytes = self.disk.read(snapshot.l1_offset, vec![0; len as usize]).await?;
        Ok(bytes.chunks_exact(8).map(|c| u64::from_be_bytes(c.try_into().expect("eight"))).collect())
    }

    /// Takes memory for copies of L1 tables, as they are and as they lie on the disk.
    fn hold_l1_copies(&self, bytes: u64) -> IoResult<Share> {
        let what = || "A snapshot's copy of the L1 table".to_owned();
        self.allowance.budget.take(bytes.saturating_mul(2), what).map_err(|_reported| Errno::ENOMEM)
    }

    async fn refuse_full_refcounts(&self, l1: &[u64]) -> IoResult<()> {
        let max = counter::max(self.geometry.refcount_order);
        let mut walk = self.walk();
        for entry in l1.iter().filter(|entry| **entry != 0) {
            self.next_table(&mut walk).await?;
            for range in self.references_of(*entry).await? {
                for cluster in self.geometry.touched(range.start, range.end - range.start) {
                    if self.step(|m| m.refcount(cluster)).await? >= max {
                        return Err(Errno::EINVAL);
                    }
                }
            }
        }
        Ok(())
    }

    /// Raises or lowers every reference that an L1 table makes.
    /// Counts in `count` what it raised, and takes back as many.
    async fn change_references(&self, l1: &[u64], change: Change, count: &mut u64) -> IoResult<()> {
        let mut walk = self.walk();
        for entry in l1.iter().filter(|entry| **entry != 0) {
            self.next_table(&mut walk).await?;
            self.flush_if_crowded_in_turn().await?;
            for range in self.references_of(*entry).await? {
                let clusters = self.geometry.touched(range.start, range.end - range.start);
                match change {
                    Change::Lower => self.release_bytes(range.start, range.end - range.start).await?,
                    Change::Raise => {
                        for cluster in clusters {
                            self.step(|m| m.raise(cluster)).await?;
                            *count += 1;
                        }
                    }
                    Change::TakeBack => {
                        for cluster in clusters {
                            if *count == 0 {
                                return Ok(());
                            }
                            self.step(|m| m.release(cluster)).await?;
                            *count -= 1;
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// The host bytes that an L1 entry refers to, with its L2 table: once for each reference.
    async fn references_of(&self, entry: u64) -> IoResult<Vec<Range<u64>>> {
        let decoded =
            |m: &mut Metadata| decode_l1(entry, m.geometry).map_err(|_| damage::in_l1(entry, 0, m.geometry));
        let Some(table) = self.step(decoded).await? else {
            return Ok(Vec::new());
        };
        self.step(|m| m.references_of_table(table.host)).await
    }

    async fn release_bytes(&self, offset: u64, len: u64) -> IoResult<()> {
        if len == 0 {
            return Ok(());
        }
        let discard = self.metadata.lock().discards.snapshot;
        self.release(&Freed { bytes: offset..offset + len, discard }).await
    }

    /// Makes COPIED in the active tables say again that the refcount is 1.
    async fn set_copied(&self, l1: &[u64]) -> IoResult<()> {
        let mut walk = self.walk();
        for (index, entry) in l1.iter().enumerate().filter(|(_, entry)| **entry != 0) {
            self.next_table(&mut walk).await?;
            self.flush_if_crowded_in_turn().await?;
            let Some(table) = decode_l1(*entry, self.geometry).map_err(|_| Errno::EIO)? else { continue };
            let single = self.step(|m| m.refcount(m.geometry.cluster_of(table.host))).await? == 1;
            self.metadata.lock().set_l1_copied(index, single);
            for slot in self.step(|m| m.slots_in_use(table.host)).await? {
                walk.pause(1).await?;
                self.step(|m| m.set_l2_copied(table.host, slot)).await?;
            }
        }
        Ok(())
    }
}

impl Metadata {
    pub(super) fn references_of_table(&mut self, table: u64) -> Result<Vec<Range<u64>>, Trouble> {
        let geometry = self.geometry;
        let entries = self.cache.get(table, L2)?;
        let mut references = Vec::new();
        for slot in 0..geometry.l2_entries() as usize {
            let raw = RawEntry::read(entries, slot, geometry);
            let broken = |_| damage::in_l2(raw, table, slot as u64, geometry);
            let mapping = decode_l2(raw, geometry).map_err(broken)?;
            references.extend(mapping.holds(geometry).map(|(at, len)| at..at + len));
        }
        references.push(table..table + geometry.cluster_bytes());
        Ok(references)
    }

    /// The entries of a table that lead to a host cluster of their own.
    fn slots_in_use(&mut self, table: u64) -> Result<Vec<u64>, Trouble> {
        let geometry = self.geometry;
        let entries = self.cache.get(table, L2)?;
        let is_used = |slot: &u64| {
            let raw = RawEntry::read(entries, *slot as usize, geometry);
            raw.descriptor & HOST_OFFSET != 0 && !raw.is_compressed()
        };
        Ok((0..geometry.l2_entries()).filter(is_used).collect())
    }

    /// Adds one reference to a cluster that is counted already.
    fn raise(&mut self, cluster: u64) -> Result<(), Trouble> {
        let count = self.refcount(cluster)?;
        if count == 0 || count >= counter::max(self.geometry.refcount_order) {
            return Err(Trouble::Failed(Errno::EIO));
        }
        self.set_counters(cluster..cluster + 1, count + 1)
    }

    fn set_l1_copied(&mut self, index: usize, single: bool) {
        let entry = self.l1.entries()[index];
        let now = if single { entry | COPIED } else { entry & !COPIED };
        if now != entry {
            self.l1.set(index, now);
        }
    }

    fn set_l2_copied(&mut self, table: u64, slot: u64) -> Result<(), Trouble> {
        let geometry = self.geometry;
        let slot = slot as usize;
        let raw = RawEntry::read(self.cache.get(table, L2)?, slot, geometry);
        let host = raw.descriptor & HOST_OFFSET;
        let single = self.refcount(geometry.cluster_of(host))? == 1;
        let descriptor = if single { raw.descriptor | COPIED } else { raw.descriptor & !COPIED };
        if descriptor != raw.descriptor {
            let bytes = geometry.l2_entry_bytes() as usize;
            let entries = self.cache.get_mut(table, L2, slot * bytes..(slot + 1) * bytes)?;
            RawEntry { descriptor, ..raw }.write(entries, slot, geometry);
        }
        Ok(())
    }
}

/// One more than the largest id that is a number.
fn next_id(snapshots: &[Snapshot]) -> String {
    let largest = snapshots.iter().filter_map(|snapshot| snapshot.id.parse::<u64>().ok()).max();
    largest.unwrap_or(0).saturating_add(1).to_string()
}
