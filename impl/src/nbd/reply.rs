//! What came of a request, and the bytes in which the client gets it.
//!
//! Without structured replies there is one header, and the data of a read after it. With them a read comes in chunks
//! of data and holes, a block status in one chunk for each context, and a failure with its text.

use super::option::context;
use super::request::{Cookie, Request, Terms};
use super::wire::{CHUNK_MAGIC, SIMPLE_REPLY_MAGIC, chunk, error_number};
use seam::Errno;

const SIMPLE_REPLY_BYTES: usize = 16;
const CHUNK_HEADER_BYTES: usize = 20;
/// The header and the offset.
const DATA_CHUNK_BYTES: usize = CHUNK_HEADER_BYTES + 8;

/// A request under way.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ticket {
    cookie: Cookie,
    offset: u64,
    terms: Terms,
    /// Memory the request holds.
    pub(super) bytes: u64,
    /// Bytes to be left free at the front of what is read, for the reply's header.
    pub headroom: usize,
}

impl Ticket {
    pub(super) fn of(request: &Request, terms: Terms) -> Ticket {
        Ticket {
            cookie: request.cookie,
            offset: request.offset,
            terms,
            bytes: request.command.held_bytes(),
            headroom: if terms.structured { DATA_CHUNK_BYTES } else { SIMPLE_REPLY_BYTES },
        }
    }
}

/// What came of a request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// It is done.
    Done,
    /// It failed.
    Failed(Errno),
    /// What was read, behind the headroom.
    Data(Vec<u8>),
    /// What was read, hole by hole; only where replies are structured.
    Pieces(Vec<Piece>),
    /// What is known about the range.
    Extents(Vec<Extent>),
    /// The same, and what is dirty in each bitmap that was asked for.
    Status(Vec<Extent>, Vec<Dirty>),
}

/// What is dirty of a range in one of the export's bitmaps.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Dirty {
    /// The bitmap's place in the export's list.
    pub bitmap: usize,
    /// Bytes, and whether they are dirty.
    pub runs: Vec<(u32, bool)>,
}

/// A piece of what was read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Piece {
    /// Bytes, behind the headroom.
    Data(Vec<u8>),
    /// So many zeroes.
    Hole(u32),
}

/// A piece of a range about which one thing is known.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Extent {
    /// How many bytes.
    pub len: u32,
    /// Flags of `base:allocation`.
    pub allocation: u32,
    /// The value of `qemu:allocation-depth`.
    pub depth: u32,
}

/// The bytes of a reply, in pieces that need no copying.
pub(super) fn pieces(ticket: &Ticket, answer: Answer) -> Vec<Vec<u8>> {
    vec![match answer {
        Answer::Done => simple_header(ticket.cookie, 0).to_vec(),
        Answer::Failed(errno) => failure(ticket.cookie, errno, ticket.terms.structured),
        Answer::Data(buffer) => data(ticket, buffer),
        Answer::Extents(extents) => status(ticket, &extents, &[]),
        Answer::Status(extents, dirty) => status(ticket, &extents, &dirty),
        Answer::Pieces(pieces) => return chunks(ticket, pieces),
    }]
}

/// A refusal.
pub(super) fn failure(cookie: Cookie, errno: Errno, structured: bool) -> Vec<u8> {
    let error = error_number(errno);
    if !structured {
        return simple_header(cookie, error).to_vec();
    }
    let text = errno.text();
    let text_len = u16::try_from(text.len()).expect("an error text is short");
    let mut reply = chunk_header(cookie, chunk::DONE, chunk::GENERIC_ERROR, 6 + text.len()).to_vec();
    reply.extend(error.to_be_bytes());
    reply.extend(text_len.to_be_bytes());
    reply.extend(text.as_bytes());
    reply
}

fn simple_header(cookie: Cookie, error: u32) -> [u8; SIMPLE_REPLY_BYTES] {
    let mut header = [0; SIMPLE_REPLY_BYTES];
    header[..4].copy_from_slice(&SIMPLE_REPLY_MAGIC.to_be_bytes());
    header[4..8].copy_from_slice(&error.to_be_bytes());
    header[8..].copy_from_slice(&cookie.0.to_be_bytes());
    header
}

fn chunk_header(cookie: Cookie, flags: u16, kind: u16, len: usize) -> [u8; CHUNK_HEADER_BYTES] {
    let len = u32::try_from(len).expect("a chunk is as short as a payload");
    let mut header = [0; CHUNK_HEADER_BYTES];
    header[..4].copy_from_slice(&CHUNK_MAGIC.to_be_bytes());
    header[4..6].copy_from_slice(&flags.to_be_bytes());
    header[6..8].copy_from_slice(&kind.to_be_bytes());
    header[8..16].copy_from_slice(&cookie.0.to_be_bytes());
    header[16..].copy_from_slice(&len.to_be_bytes());
    header
}

/// Puts the header into the headroom.
fn data(ticket: &Ticket, mut buffer: Vec<u8>) -> Vec<u8> {
    if !ticket.terms.structured {
        buffer[..SIMPLE_REPLY_BYTES].copy_from_slice(&simple_header(ticket.cookie, 0));
        return buffer;
    }
    if buffer.len() == ticket.headroom {
        // A chunk of data has at least one byte.
        return chunk_header(ticket.cookie, chunk::DONE, chunk::NONE, 0).to_vec();
    }
    data_chunk(ticket.cookie, chunk::DONE, ticket.offset, buffer)
}

fn chunks(ticket: &Ticket, pieces: Vec<Piece>) -> Vec<Vec<u8>> {
    assert!(ticket.terms.structured, "a simple reply comes in one piece");
    let last = pieces.len().checked_sub(1).expect("something was read");
    let mut offset = ticket.offset;
    let chunk = |(index, piece)| {
        let flags = if index == last { chunk::DONE } else { 0 };
        let at = offset;
        match piece {
            Piece::Data(buffer) => {
                offset += (buffer.len() - DATA_CHUNK_BYTES) as u64;
                data_chunk(ticket.cookie, flags, at, buffer)
            }
            Piece::Hole(len) => {
                offset += u64::from(len);
                hole_chunk(ticket.cookie, flags, at, len)
            }
        }
    };
    pieces.into_iter().enumerate().map(chunk).collect()
}

fn data_chunk(cookie: Cookie, flags: u16, offset: u64, mut buffer: Vec<u8>) -> Vec<u8> {
    let header = chunk_header(cookie, flags, chunk::OFFSET_DATA, buffer.len() - CHUNK_HEADER_BYTES);
    buffer[..CHUNK_HEADER_BYTES].copy_from_slice(&header);
    buffer[CHUNK_HEADER_BYTES..DATA_CHUNK_BYTES].copy_from_slice(&offset.to_be_bytes());
    buffer
}

fn hole_chunk(cookie: Cookie, flags: u16, offset: u64, len: u32) -> Vec<u8> {
    let mut bytes = chunk_header(cookie, flags, chunk::OFFSET_HOLE, 12).to_vec();
    bytes.extend(offset.to_be_bytes());
    bytes.extend(len.to_be_bytes());
    bytes
}

/// A chunk for each context that was agreed, in the order of their ids.
fn status(ticket: &Ticket, extents: &[Extent], dirty: &[Dirty]) -> Vec<u8> {
    let Terms { allocation, depth, .. } = ticket.terms;
    let mut contexts: Vec<(u32, Vec<(u32, u32)>)> = Vec::new();
    if allocation {
        contexts.push((context::BASE_ALLOCATION, merge(extents, |extent| extent.allocation)));
    }
    if depth {
        contexts.push((context::ALLOCATION_DEPTH, merge(extents, |extent| extent.depth)));
    }
    for Dirty { bitmap, runs } in dirty {
        let runs = runs.iter().map(|(len, is_dirty)| (*len, u32::from(*is_dirty))).collect();
        contexts.push((context::of_bitmap(*bitmap), runs));
    }
    let last = contexts.len().saturating_sub(1);
    let mut reply = Vec::new();
    for (index, (id, described)) in contexts.into_iter().enumerate() {
        let flags = if index == last { chunk::DONE } else { 0 };
        reply.extend(chunk_header(ticket.cookie, flags, chunk::BLOCK_STATUS, 4 + 8 * described.len()));
        reply.extend(id.to_be_bytes());
        for (len, value) in described {
            reply.extend(len.to_be_bytes());
            reply.extend(value.to_be_bytes());
        }
    }
    reply
}

/// Neighbours that are described alike are one.
fn merge(extents: &[Extent], described: fn(&Extent) -> u32) -> Vec<(u32, u32)> {
    let mut merged: Vec<(u32, u32)> = Vec::new();
    for extent in extents {
        match merged.last_mut() {
            Some((len, value)) if *value == described(extent) => *len += extent.len,
            _ => merged.push((extent.len, described(extent))),
        }
    }
    merged
}
