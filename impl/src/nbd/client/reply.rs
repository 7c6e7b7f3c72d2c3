//! Replies to requests: simple ones, and those that come in chunks.

use super::failure::Failed;
use super::input::Input;
use super::{Export, Outcome};
use crate::nbd::request::{Command, Cookie};
use crate::nbd::wire::{CHUNK_MAGIC, Fields, SIMPLE_REPLY_MAGIC, STRING_BYTES_MAX, chunk, errno};
use seam::Errno;
use std::collections::BTreeMap;

const SIMPLE_BYTES: usize = 16;
const CHUNK_BYTES: usize = 20;
/// The offset before the data of a chunk.
const OFFSET_BYTES: usize = 8;
/// The number and the length of a text before an error's text, and the offset that may follow it.
const ERROR_BYTES_MAX: usize = 6 + STRING_BYTES_MAX + 8;
/// The number of a context and its extents: more are answered by no server that was asked for one.
const STATUS_BYTES_MAX: usize = 4 + 8 * 1024;

/// A request whose reply is awaited.
#[derive(Debug)]
pub(super) struct Awaited {
    offset: u64,
    kind: Kind,
    failed: Option<Errno>,
    /// Nothing more belongs to the reply.
    is_whole: bool,
    /// Nobody wants to know.
    is_forgotten: bool,
}

/// What is wanted.
#[derive(Debug)]
enum Kind {
    /// This many bytes, so many of which have come.
    Data { buffer: Vec<u8>, here: usize },
    /// What is known of so many bytes.
    Status { len: u32, extents: Vec<(u32, u32)> },
    /// No more than that it is done.
    Done,
}

impl Awaited {
    pub(super) fn new(offset: u64, command: &Command) -> Awaited {
        let kind = match command {
            Command::Read { len, .. } => Kind::Data { buffer: vec![0; *len as usize], here: 0 },
            Command::BlockStatus { len, .. } => Kind::Status { len: *len, extents: Vec::new() },
            _ => Kind::Done,
        };
        Awaited { offset, kind, failed: None, is_whole: false, is_forgotten: false }
    }

    /// Where in the buffer a piece of a read belongs.
    fn place(&mut self, offset: u64, len: usize) -> Result<usize, Failed> {
        let Kind::Data { buffer, here } = &mut self.kind else {
            return Err(Failed::Nonsense("data for a request that reads none"));
        };
        let at = offset.checked_sub(self.offset).and_then(|at| usize::try_from(at).ok());
        let inside = |at: &usize| at.checked_add(len).is_some_and(|end| end <= buffer.len());
        let at = at.filter(inside).ok_or(Failed::Nonsense("data from outside of what was asked for"))?;
        *here += len;
        match len == 0 || *here > buffer.len() {
            true => Err(Failed::Nonsense("a piece that is empty, or one too many")),
            false => Ok(at),
        }
    }

    /// All chunks have come.
    fn finish(&mut self) -> Result<(), Failed> {
        self.is_whole = true;
        let lacks = match &self.kind {
            Kind::Data { buffer, here } => *here < buffer.len(),
            Kind::Status { extents, .. } => extents.is_empty(),
            Kind::Done => false,
        };
        match lacks && self.failed.is_none() {
            true => Err(Failed::Nonsense("a reply that lacks what was asked for")),
            false => Ok(()),
        }
    }

    fn outcome(self) -> Outcome {
        match (self.failed, self.kind) {
            (Some(errno), _) => Outcome::Failed(errno),
            (None, Kind::Data { buffer, .. }) => Outcome::Data(buffer),
            (None, Kind::Status { extents, .. }) => Outcome::Extents(extents),
            (None, Kind::Done) => Outcome::Done,
        }
    }
}

/// The requests under way, and the reply that has come in part.
#[derive(Debug)]
pub(super) struct Replies {
    export: Export,
    awaited: BTreeMap<u64, Awaited>,
    /// Data that is coming: whose, where in its buffer, how much is left, and whether nothing follows it.
    coming: Option<Coming>,
}

#[derive(Copy, Clone, Debug)]
struct Coming {
    cookie: u64,
    at: usize,
    left: usize,
    is_last: bool,
}

/// The header of a chunk.
struct Chunk {
    flags: u16,
    kind: u16,
    cookie: u64,
    len: usize,
}

impl Replies {
    pub(super) fn new(export: Export) -> Replies {
        Replies { export, awaited: BTreeMap::new(), coming: None }
    }

    pub(super) fn under_way(&self) -> usize {
        self.awaited.len()
    }

    pub(super) fn expect(&mut self, cookie: Cookie, awaited: Awaited) {
        self.awaited.insert(cookie.0, awaited);
    }

    pub(super) fn take(&mut self, cookie: Cookie) -> Option<Outcome> {
        self.awaited.get(&cookie.0).filter(|awaited| awaited.is_whole)?;
        self.awaited.remove(&cookie.0).map(Awaited::outcome)
    }

    pub(super) fn forget(&mut self, cookie: Cookie) {
        if let Some(awaited) = self.awaited.get_mut(&cookie.0) {
            awaited.is_forgotten = true;
            self.drop_forgotten(cookie.0);
        }
    }

    /// A reply that nobody wants is read to its end all the same.
    fn drop_forgotten(&mut self, cookie: u64) {
        if self.awaited.get(&cookie).is_some_and(|awaited| awaited.is_whole && awaited.is_forgotten) {
            self.awaited.remove(&cookie);
        }
    }

    /// Takes what has come, as far as it can be understood yet.
    pub(super) fn advance(&mut self, input: &mut Input) -> Result<(), Failed> {
        loop {
            let went_on = match self.coming {
                Some(coming) => self.data(coming, input)?,
                None => self.begin(input)?,
            };
            if !went_on {
                return Ok(());
            }
        }
    }

    fn begin(&mut self, input: &mut Input) -> Result<bool, Failed> {
        let mut fields = Fields::new(input.rest());
        match fields.u32() {
            None => Ok(false),
            Some(SIMPLE_REPLY_MAGIC) => self.simple(input),
            Some(CHUNK_MAGIC) if self.export.structured => self.chunk(input),
            Some(_) => Err(Failed::Nonsense("no reply begins so")),
        }
    }

    fn awaited(&mut self, cookie: u64) -> Result<&mut Awaited, Failed> {
        let awaited = self.awaited.get_mut(&cookie).filter(|awaited| !awaited.is_whole);
        awaited.ok_or(Failed::Nonsense("a reply to nothing that was asked"))
    }

    fn simple(&mut self, input: &mut Input) -> Result<bool, Failed> {
        let Some(header) = input.take::<SIMPLE_BYTES>() else { return Ok(false) };
        let mut fields = Fields::new(&header[4..]);
        let (Some(number), Some(cookie)) = (fields.u32(), fields.u64()) else { return Ok(false) };
        let structured = self.export.structured;
        let awaited = self.awaited(cookie)?;
        awaited.failed = errno(number);
        if let (Kind::Data { buffer, .. }, None) = (&awaited.kind, awaited.failed) {
            if structured {
                return Err(Failed::Nonsense("a simple reply to a read, where chunks were agreed"));
            }
            let (offset, left) = (awaited.offset, buffer.len());
            if left > 0 {
                let at = awaited.place(offset, left)?;
                self.coming = Some(Coming { cookie, at, left, is_last: true });
                return Ok(true);
            }
        }
        self.finish(cookie)
    }

    fn finish(&mut self, cookie: u64) -> Result<bool, Failed> {
        self.awaited(cookie)?.finish()?;
        self.drop_forgotten(cookie);
        Ok(true)
    }

    fn data(&mut self, coming: Coming, input: &mut Input) -> Result<bool, Failed> {
        let Coming { cookie, at, left, is_last } = coming;
        let here = input.rest().len().min(left);
        let Kind::Data { buffer, .. } = &mut self.awaited(cookie)?.kind else {
            return Err(Failed::Nonsense("data for a request that reads none"));
        };
        buffer[at..at + here].copy_from_slice(&input.rest()[..here]);
        input.skip(here);
        self.coming = (here < left).then_some(Coming { at: at + here, left: left - here, ..coming });
        match (self.coming, is_last) {
            (Some(_), _) => Ok(false),
            (None, true) => self.finish(cookie),
            (None, false) => Ok(true),
        }
    }

    fn chunk(&mut self, input: &mut Input) -> Result<bool, Failed> {
        let mut fields = Fields::new(input.rest());
        let _magic = fields.u32();
        let (flags, kind) = (fields.u16(), fields.u16());
        let (cookie, len) = (fields.u64(), fields.u32());
        let (Some(flags), Some(kind), Some(cookie), Some(len)) = (flags, kind, cookie, len) else {
            return Ok(false);
        };
        let chunk = Chunk { flags, kind, cookie, len: len as usize };
        if chunk.kind == chunk::OFFSET_DATA {
            return self.data_chunk(&chunk, input);
        }
        let most = if chunk.kind & chunk::ERROR != 0 { ERROR_BYTES_MAX } else { STATUS_BYTES_MAX };
        if chunk.len > most {
            return Err(Failed::Nonsense("a chunk that is too long"));
        }
        let Some(payload) = input.rest().get(CHUNK_BYTES..CHUNK_BYTES + chunk.len) else { return Ok(false) };
        self.small_chunk(&chunk, payload)?;
        input.skip(CHUNK_BYTES + chunk.len);
        match chunk.flags & chunk::DONE {
            0 => Ok(true),
            _ => self.finish(chunk.cookie),
        }
    }

    fn data_chunk(&mut self, chunk: &Chunk, input: &mut Input) -> Result<bool, Failed> {
        let left = chunk.len.checked_sub(OFFSET_BYTES).ok_or(Failed::Nonsense("data without its offset"))?;
        let mut fields = Fields::new(&input.rest()[CHUNK_BYTES..]);
        let Some(offset) = fields.u64() else { return Ok(false) };
        let at = self.awaited(chunk.cookie)?.place(offset, left)?;
        input.skip(CHUNK_BYTES + OFFSET_BYTES);
        let is_last = chunk.flags & chunk::DONE != 0;
        self.coming = Some(Coming { cookie: chunk.cookie, at, left, is_last });
        Ok(true)
    }

    /// A chunk that says something, and carries no data.
    fn small_chunk(&mut self, chunk: &Chunk, payload: &[u8]) -> Result<(), Failed> {
        let context = self.export.context;
        let awaited = self.awaited(chunk.cookie)?;
        let mut fields = Fields::new(payload);
        match chunk.kind {
            chunk::NONE if payload.is_empty() && chunk.flags & chunk::DONE != 0 => Ok(()),
            chunk::OFFSET_HOLE => {
                let (Some(offset), Some(len), true) = (fields.u64(), fields.u32(), fields.is_empty()) else {
                    return Err(Failed::Nonsense("a hole of another length"));
                };
                let at = awaited.place(offset, len as usize)?;
                let Kind::Data { buffer, .. } = &mut awaited.kind else { return Ok(()) };
                buffer[at..at + len as usize].fill(0);
                Ok(())
            }
            chunk::BLOCK_STATUS => status(awaited, context, fields),
            kind if kind & chunk::ERROR != 0 => {
                let (number, text) = (fields.u32(), fields.u16());
                let (Some(number), Some(_)) = (number, text.and_then(|len| fields.bytes(len.into()))) else {
                    return Err(Failed::Nonsense("an error without its number or text"));
                };
                let failed = errno(number).ok_or(Failed::Nonsense("an error that is none"))?;
                awaited.failed.get_or_insert(failed);
                Ok(())
            }
            _ => Err(Failed::Nonsense("a chunk of no known kind")),
        }
    }
}

fn status(awaited: &mut Awaited, context: Option<u32>, mut fields: Fields<'_>) -> Result<(), Failed> {
    let Kind::Status { len, extents } = &mut awaited.kind else {
        return Err(Failed::Nonsense("extents for a request that asks for none"));
    };
    if fields.u32() != context || !extents.is_empty() {
        return Err(Failed::Nonsense("extents of another context, or twice"));
    }
    let mut described = 0;
    while !fields.is_empty() && described < u64::from(*len) {
        let (Some(bytes), Some(value)) = (fields.u32(), fields.u32()) else {
            return Err(Failed::Nonsense("half an extent"));
        };
        if bytes == 0 {
            return Err(Failed::Nonsense("an empty extent"));
        }
        described += u64::from(bytes);
        extents.push((bytes, value));
    }
    Ok(())
}
