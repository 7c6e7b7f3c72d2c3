//! A block layer of one's own, and the bug that is found in it.
//!
//!     cargo run --example own_block_layer
//!
//! The layer keeps an image as a log. A write appends its sectors to the file; a flush appends the table that says where
//! each sector is, with a number that grows and a checksum; whoever opens the file looks for the whole table with the
//! largest number. Nothing is ever written over, so what a torn table leaves is harmless.
//!
//! The bug: data and table reach the disk with one flush. Until a flush is over a disk keeps what it likes of what was
//! written before, so a power cut may leave the new table without the data that it points to. Then even what an earlier
//! flush had made durable is lost: the new table, the one with the largest number, leads to where the newer data should
//! be, and there is nothing. That breaks what every guest counts on:
//!
//!     what was flushed survives a power cut
//!
//! The shortest runs have a write or two, and a power cut while a flush after them is under way. The mended layer flushes
//! twice, the data before the table is written: `flushes_data_first`.

use midstream::seam::{Disk, Host, IoResult, OpenMode};
use midstream::{BlockLayer, Device, Image, Profile, check};
use std::sync::{Arc, Mutex, MutexGuard};

const SECTOR: usize = 512;
/// What a table begins with.
const MAGIC: u64 = u64::from_le_bytes(*b"midtable");

/// The layer.
#[derive(Debug)]
pub struct Log {
    /// Whether the data that a table points to is durable before the table is written.
    pub flushes_data_first: bool,
}

/// An open image.
#[derive(Debug)]
pub struct Open {
    disk: Arc<dyn Disk>,
    flushes_data_first: bool,
    table: Mutex<Table>,
}

/// Where everything is.
#[derive(Clone, Debug)]
struct Table {
    number: u64,
    /// For each sector of the guest's its place in the file, counted in sectors from 1 on; 0 is nowhere.
    places: Vec<u64>,
    /// The first place that is free.
    free: u64,
}

impl BlockLayer for Log {
    type Device = Open;

    async fn open(&self, host: Arc<dyn Host>, images: &[Image]) -> IoResult<Vec<Open>> {
        let mut devices = Vec::new();
        for image in images {
            let disk = host.open(&image.path, OpenMode::ReadWrite).await?;
            let log = disk.read(0, vec![0; disk.len_bytes()? as usize]).await?;
            let sectors = image.size_bytes as usize / SECTOR;
            let tables = (0..log.len()).step_by(SECTOR).filter_map(|at| Table::read(&log[at..], sectors));
            let empty = Table { number: 0, places: vec![0; sectors], free: 1 };
            let mut table = tables.max_by_key(|table| table.number).unwrap_or(empty);
            table.free = 1 + log.len().div_ceil(SECTOR) as u64;
            let flushes_data_first = self.flushes_data_first;
            devices.push(Open { disk, flushes_data_first, table: Mutex::new(table) });
        }
        Ok(devices)
    }
}

impl Device for Open {
    async fn read(&self, offset: u64, len: u64) -> IoResult<Vec<u8>> {
        let sectors = offset as usize / SECTOR..(offset + len) as usize / SECTOR;
        let places = self.table().places[sectors].to_vec();
        let mut data = Vec::with_capacity(len as usize);
        for place in places {
            match place {
                0 => data.resize(data.len() + SECTOR, 0),
                place => data.extend(self.disk.read(offset_of(place), vec![0; SECTOR]).await?),
            }
        }
        Ok(data)
    }

    async fn write(&self, offset: u64, data: Vec<u8>) -> IoResult<()> {
        let (first, count) = (offset as usize / SECTOR, data.len() / SECTOR);
        let place = self.append(data).await?;
        let mut table = self.table();
        for at in 0..count {
            table.places[first + at] = place + at as u64;
        }
        Ok(())
    }

    async fn flush(&self) -> IoResult<()> {
        let bytes = {
            let mut table = self.table();
            table.number += 1;
            table.bytes()
        };
        if self.flushes_data_first {
            self.disk.flush().await?;
        }
        self.append(bytes).await?;
        self.disk.flush().await
    }
}

impl Open {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().expect("nobody panics holding it")
    }

    /// Writes whole sectors to a place of their own, and says which.
    async fn append(&self, data: Vec<u8>) -> IoResult<u64> {
        let place = {
            let mut table = self.table();
            let place = table.free;
            table.free += (data.len() / SECTOR) as u64;
            place
        };
        self.disk.write(offset_of(place), data).await?;
        Ok(place)
    }
}

fn offset_of(place: u64) -> u64 {
    (place - 1) * SECTOR as u64
}

impl Table {
    /// Magic, number, a checksum, the places; whole sectors.
    fn bytes(&self) -> Vec<u8> {
        let sum = checksum(self.number, &self.places);
        let words = [MAGIC, self.number, sum].into_iter().chain(self.places.iter().copied());
        let mut bytes: Vec<u8> = words.flat_map(u64::to_le_bytes).collect();
        bytes.resize(bytes.len().next_multiple_of(SECTOR), 0);
        bytes
    }

    /// The table that begins there, if one does and it is whole.
    fn read(bytes: &[u8], sectors: usize) -> Option<Table> {
        let mut words = bytes.chunks_exact(8).map(|word| u64::from_le_bytes(word.try_into().expect("eight")));
        let [magic, number, sum] = [words.next()?, words.next()?, words.next()?];
        let places: Vec<u64> = words.take(sectors).collect();
        let is_whole = magic == MAGIC && places.len() == sectors && sum == checksum(number, &places);
        is_whole.then_some(Table { number, places, free: 0 })
    }
}

fn checksum(number: u64, places: &[u64]) -> u64 {
    places.iter().fold(number, |sum, place| (sum.rotate_left(7) ^ place).wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

fn main() {
    println!("with a flush between data and table:");
    check(Log { flushes_data_first: true }, Profile::default(), 2_000);
    println!("nothing breaks in 2,000 runs\nwithout it:");
    check(Log { flushes_data_first: false }, Profile::default(), 2_000);
}
