//! What a session may know of exports: enough to describe them to a client, and to refuse what an export cannot do.

use super::wire::can;

/// One export as clients see it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Offer {
    /// The name clients ask for.
    pub name: String,
    /// What it is, for people.
    pub description: Option<String>,
    /// Its size in bytes; it does not change while the export is there.
    pub len_bytes: u64,
    /// Whether clients may write.
    pub writable: bool,
    /// Whether several clients see each other's writes and flushes.
    pub multi_conn: bool,
    /// Whether clients may ask how deep in the chain data lies.
    pub allocation_depth: bool,
    /// The names of bitmaps of which clients may ask what is dirty.
    pub bitmaps: Vec<String>,
}

impl Offer {
    /// The transmission flags, in QEMU's choice.
    pub fn flags(&self, structured: bool) -> u16 {
        let mut flags = can::HAS_FLAGS | can::SEND_FLUSH | can::SEND_FUA | can::SEND_CACHE;
        flags |= match self.writable {
            true => can::SEND_TRIM | can::SEND_WRITE_ZEROES | can::SEND_FAST_ZERO,
            false => can::READ_ONLY,
        };
        if self.multi_conn {
            flags |= can::CAN_MULTI_CONN;
        }
        if structured {
            flags |= can::SEND_DF;
        }
        flags
    }
}

/// The exports there are, as a session asks for them.
pub trait Exports {
    /// Every export, in the order in which clients see them.
    fn list(&self) -> Vec<Offer>;
    /// The export of this name.
    fn find(&self, name: &str) -> Option<Offer>;
    /// Makes the session a client of the export of this name, if there is one.
    fn enter(&mut self, name: &str) -> Option<Offer>;
}
