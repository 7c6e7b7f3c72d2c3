//! The client's side of the NBD protocol, without I/O: requests and bytes go in, bytes and outcomes come out.
//!
//! The server is not trusted: what it sends is held only as far as a request asked for it, and the first bytes that make
//! no sense end the connection.

pub mod failure;
mod handshake;
mod input;
mod reply;

use super::request::{Command, Cookie};
use failure::Failed;
use handshake::{Handshake, Turn};
use input::Input;
use reply::{Awaited, Replies};
use seam::Errno;
use std::collections::VecDeque;
use std::sync::Arc;

/// So many requests may be under way, as in QEMU.
pub const REQUESTS_MAX: usize = 16;
/// How much of a write is copied for the stream at a time.
const PIECE_BYTES: usize = 1 << 20;

/// What a client wants of a server.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Wishes {
    /// The export's name.
    pub export: String,
    /// The context to be asked about ranges, if not `base:allocation`.
    pub context: Option<String>,
}

/// An export as its server describes it.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Export {
    /// Its size in bytes.
    pub len_bytes: u64,
    /// The transmission flags.
    pub(super) flags: u16,
    /// Replies are structured.
    pub(super) structured: bool,
    /// The number of the context that may be asked about.
    pub(super) context: Option<u32>,
    /// Offsets and lengths are multiples of this: a power of two.
    pub block_bytes: u32,
    /// No request moves more.
    pub request_bytes_max: u32,
}

impl Export {
    fn can(&self, flag: u16) -> bool {
        self.flags & flag != 0
    }

    /// Whether it takes no changes.
    pub fn is_read_only(&self) -> bool {
        self.can(super::wire::can::READ_ONLY)
    }

    /// Whether it can be asked to make writes durable; if not, they always are, or never.
    pub fn flushes(&self) -> bool {
        self.can(super::wire::can::SEND_FLUSH)
    }

    /// Whether space may be given back.
    pub fn trims(&self) -> bool {
        self.can(super::wire::can::SEND_TRIM)
    }

    /// Whether zeroes need not be sent.
    pub fn writes_zeroes(&self) -> bool {
        self.can(super::wire::can::SEND_WRITE_ZEROES)
    }

    /// Whether the context that was wished for is there.
    pub fn has_context(&self) -> bool {
        self.context.is_some()
    }
}

/// What came of a request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// It is done.
    Done,
    /// What was read.
    Data(Vec<u8>),
    /// What is known of a range: bytes and the context's value, in order, from its beginning.
    Extents(Vec<(u32, u32)>),
    /// The server says that it failed.
    Failed(Errno),
}

/// A client on one connection.
#[derive(Debug)]
pub struct Client {
    phase: Phase,
    input: Input,
    output: VecDeque<Outgoing>,
    cookies: u64,
}

#[derive(Debug)]
enum Phase {
    Handshake(Handshake),
    Transmission(Export, Replies),
}

/// What is to be sent.
#[derive(Debug)]
enum Outgoing {
    Bytes(Vec<u8>),
    /// The data of a write, from this byte on.
    Data(Arc<Command>, usize),
}

impl Client {
    /// A client that waits for the server's greeting.
    pub fn new(wishes: Wishes) -> Client {
        Client {
            phase: Phase::Handshake(Handshake::new(wishes)),
            input: Input::default(),
            output: VecDeque::new(),
            cookies: 0,
        }
    }

    /// Takes bytes as they come, and does with them what can be done. After an error nothing more can be done.
    pub fn receive(&mut self, bytes: &[u8]) -> Result<(), Failed> {
        self.input.receive(bytes);
        loop {
            match &mut self.phase {
                Phase::Handshake(handshake) => {
                    let mut out = Vec::new();
                    let turn = handshake.advance(&mut self.input, &mut out)?;
                    if !out.is_empty() {
                        self.output.push_back(Outgoing::Bytes(out));
                    }
                    match turn {
                        Turn::Wait => return Ok(()),
                        Turn::Next => {}
                        Turn::Transmit(export) => {
                            self.phase = Phase::Transmission(export, Replies::new(export));
                        }
                    }
                }
                Phase::Transmission(_, replies) => return replies.advance(&mut self.input),
            }
        }
    }

    /// Why a server that hangs up now breaks its word.
    pub fn why_it_failed_at_the_end(&self) -> Failed {
        match &self.phase {
            Phase::Handshake(handshake) => handshake.at_the_end(),
            Phase::Transmission(..) => Failed::HungUp,
        }
    }

    /// The export, once the handshake is over.
    pub fn export(&self) -> Option<&Export> {
        match &self.phase {
            Phase::Handshake(_) => None,
            Phase::Transmission(export, _) => Some(export),
        }
    }

    /// Whether one more request may be made now.
    pub fn may_ask(&self) -> bool {
        matches!(&self.phase, Phase::Transmission(_, replies) if replies.under_way() < REQUESTS_MAX)
    }

    /// Makes a request; it must be one that may be made.
    pub fn ask(&mut self, offset: u64, command: Arc<Command>) -> Cookie {
        assert!(self.may_ask(), "a request before its time");
        let Phase::Transmission(export, replies) = &mut self.phase else {
            panic!("a request is made in a handshake");
        };
        self.cookies += 1;
        let cookie = Cookie(self.cookies);
        let header = command.header(cookie, offset, export.structured);
        replies.expect(cookie, Awaited::new(offset, &command));
        self.output.push_back(Outgoing::Bytes(header.to_vec()));
        if matches!(*command, Command::Write { .. }) {
            self.output.push_back(Outgoing::Data(command, 0));
        }
        cookie
    }

    /// What has come of a request, once.
    pub fn take_outcome(&mut self, cookie: Cookie) -> Option<Outcome> {
        match &mut self.phase {
            Phase::Handshake(_) => None,
            Phase::Transmission(_, replies) => replies.take(cookie),
        }
    }

    /// Nobody wants to know any more what comes of a request.
    pub fn forget(&mut self, cookie: Cookie) {
        if let Phase::Transmission(_, replies) = &mut self.phase {
            replies.forget(cookie);
        }
    }

    /// Says goodbye, behind all that is still to be sent.
    pub fn leave(&mut self) {
        if matches!(self.phase, Phase::Transmission(..)) {
            self.output.push_back(Outgoing::Bytes(Command::goodbye().to_vec()));
        }
    }

    /// The next bytes to send.
    pub fn take_output(&mut self) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        while bytes.len() < PIECE_BYTES {
            match self.output.pop_front() {
                None => break,
                Some(Outgoing::Bytes(more)) => bytes.extend(more),
                Some(Outgoing::Data(command, from)) => {
                    let Command::Write { data, .. } = &*command else { panic!("only a write sends data") };
                    let end = data.len().min(from + PIECE_BYTES - bytes.len());
                    bytes.extend_from_slice(&data[from..end]);
                    if end < data.len() {
                        self.output.push_front(Outgoing::Data(command, end));
                    }
                }
            }
        }
        (!bytes.is_empty()).then_some(bytes)
    }

    /// How many bytes are held of what the server has sent, beside the data that requests wait for.
    pub fn held_bytes(&self) -> usize {
        self.input.held_bytes()
    }
}
