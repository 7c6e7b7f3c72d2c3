//! One client of the server: the handshake, then requests and their replies.
//!
//! Bytes of any piece size go in by `receive`; `next` says what to do; `answer` takes what came of a request; the
//! bytes to send come out of `take_output`. Memory is bounded: an option is kept up to `OPTION_BYTES_KEPT`, requests
//! up to `REQUESTS_MAX` and `REQUEST_BYTES_MAX` at a time, and no length is believed before its bytes are there.

use super::offer::{Exports, Offer};
use super::option::{Agreed, Turn, push_reply};
use super::request::{Cookie, Header, Request, Terms};
use super::wire::{
    CHUNK_MAGIC, Fields, GREETING_MAGIC, OPTION_HEADER_BYTES, OPTION_MAGIC, PAYLOAD_BYTES_MAX,
    REQUEST_HEADER_BYTES, SIMPLE_REPLY_MAGIC, chunk, error_number, handshake, option, reply,
};
use crate::host::Errno;
use std::collections::VecDeque;

/// How many requests of a client run at a time, as in QEMU.
pub const REQUESTS_MAX: usize = 16;
/// How many bytes the requests of a client may hold at a time. A lone request may hold any it is allowed to have.
pub const REQUEST_BYTES_MAX: u64 = 64 << 20;
/// The longest option that is looked at; longer ones are refused.
const OPTION_BYTES_KEPT: u32 = 64 << 10;
/// Output that waits before more requests are taken.
const OUTPUT_BYTES_BEFORE_PAUSE: usize = 1 << 20;

/// A client's side of the server.
#[derive(Debug)]
pub struct Session {
    phase: Phase,
    agreed: Agreed,
    input: Vec<u8>,
    /// How much of `input` has been used.
    used: usize,
    output: VecDeque<Vec<u8>>,
    output_bytes: usize,
    requests: usize,
    request_bytes: u64,
}

#[derive(Debug)]
enum Phase {
    ClientFlags,
    Options,
    /// The rest of an option too long to be kept.
    SkipOption {
        option: u32,
        left: u32,
    },
    Transmission {
        offer: Offer,
        terms: Terms,
    },
    /// A header whose payload is still to come.
    Payload {
        offer: Offer,
        terms: Terms,
        header: Header,
    },
    Closed,
}

/// What the holder of a session is to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Step {
    /// Do a request, and give what came of it to `answer`, with the ticket.
    Do(Ticket, Request),
    /// Send what is to be sent and hang up.
    Close,
}

/// A request under way.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ticket {
    cookie: Cookie,
    offset: u64,
    bytes: u64,
    structured: bool,
    /// Bytes to be left free at the front of the data of a read, for the reply's header.
    pub headroom: usize,
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
}

impl Default for Session {
    fn default() -> Self {
        Self::new()
    }
}

impl Session {
    /// A client that has just come; its greeting waits to be sent.
    pub fn new() -> Session {
        let mut greeting = Vec::with_capacity(18);
        greeting.extend(GREETING_MAGIC.to_be_bytes());
        greeting.extend(OPTION_MAGIC.to_be_bytes());
        greeting.extend((handshake::FIXED_NEWSTYLE | handshake::NO_ZEROES).to_be_bytes());
        let mut session = Session {
            phase: Phase::ClientFlags,
            agreed: Agreed::default(),
            input: Vec::new(),
            used: 0,
            output: VecDeque::new(),
            output_bytes: 0,
            requests: 0,
            request_bytes: 0,
        };
        session.push(greeting);
        session
    }

    /// Takes bytes as they come.
    pub fn receive(&mut self, bytes: &[u8]) {
        self.input.drain(..self.used);
        self.used = 0;
        self.input.extend_from_slice(bytes);
    }

    /// What is to be done now. `None`: nothing, until more bytes come, answers are given or output is taken.
    pub fn next(&mut self, exports: &mut dyn Exports) -> Option<Step> {
        loop {
            if matches!(self.phase, Phase::Closed) {
                return Some(Step::Close);
            }
            if !self.has_room() {
                return None;
            }
            let step = match &self.phase {
                Phase::ClientFlags => self.client_flags()?,
                Phase::Options => self.option(exports)?,
                Phase::SkipOption { .. } => self.skip_option()?,
                Phase::Transmission { .. } => self.request()?,
                Phase::Payload { .. } => self.payload()?,
                Phase::Closed => unreachable!("looked at above"),
            };
            if let Some(step) = step {
                return Some(step);
            }
        }
    }

    /// Whether bytes that come now can be used: a session that is behind with its work is better left alone.
    pub fn has_room(&self) -> bool {
        self.requests < REQUESTS_MAX
            && (self.request_bytes < REQUEST_BYTES_MAX || self.requests == 0)
            && self.output_bytes < OUTPUT_BYTES_BEFORE_PAUSE
    }

    /// Whether the client is still in the handshake.
    pub fn is_negotiating(&self) -> bool {
        matches!(self.phase, Phase::ClientFlags | Phase::Options | Phase::SkipOption { .. })
    }

    /// How many requests are under way.
    pub fn requests(&self) -> usize {
        self.requests
    }

    /// How many bytes the session holds for its client.
    pub fn held_bytes(&self) -> u64 {
        self.input.capacity() as u64 + self.output_bytes as u64 + self.request_bytes
    }

    /// The next bytes to send.
    pub fn take_output(&mut self) -> Option<Vec<u8>> {
        let piece = self.output.pop_front()?;
        self.output_bytes -= piece.len();
        Some(piece)
    }

    /// Takes what came of a request.
    pub fn answer(&mut self, ticket: Ticket, answer: Answer) {
        self.requests = self.requests.checked_sub(1).expect("every request is answered once");
        self.request_bytes -= ticket.bytes;
        let reply = match answer {
            Answer::Done => simple_reply(ticket.cookie, 0),
            Answer::Failed(errno) => failure(ticket.cookie, errno, ticket.structured),
            Answer::Data(buffer) => data_reply(&ticket, buffer),
        };
        self.push(reply);
    }

    fn push(&mut self, bytes: Vec<u8>) {
        self.output_bytes += bytes.len();
        self.output.push_back(bytes);
    }

    /// The next `len` bytes, once they are all there.
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let taken = *self.input[self.used..].first_chunk()?;
        self.used += N;
        Some(taken)
    }

    fn close(&mut self) {
        self.phase = Phase::Closed;
        self.input = Vec::new();
        self.used = 0;
    }

    fn client_flags(&mut self) -> Option<Option<Step>> {
        let flags = u32::from_be_bytes(self.take()?);
        let fixed = u32::from(handshake::FIXED_NEWSTYLE);
        let no_zeroes = u32::from(handshake::NO_ZEROES);
        if flags & !(fixed | no_zeroes) != 0 {
            self.close();
            return Some(None);
        }
        self.agreed.no_zeroes = flags & no_zeroes != 0;
        self.phase = Phase::Options;
        Some(None)
    }

    fn option(&mut self, exports: &mut dyn Exports) -> Option<Option<Step>> {
        let waiting = &self.input[self.used..];
        let mut fields = Fields::new(waiting);
        let (magic, option, len) = (fields.u64()?, fields.u32()?, fields.u32()?);
        if magic != OPTION_MAGIC || len > PAYLOAD_BYTES_MAX {
            self.close();
            return Some(None);
        }
        if len > OPTION_BYTES_KEPT {
            self.used += OPTION_HEADER_BYTES;
            self.phase = Phase::SkipOption { option, left: len };
            return Some(None);
        }
        let data = fields.bytes(len as usize)?;
        let mut out = Vec::new();
        let turn = self.agreed.answer(option, data, exports, &mut out);
        self.used += OPTION_HEADER_BYTES + len as usize;
        self.push(out);
        match turn {
            Turn::Next => {}
            Turn::Close => self.close(),
            Turn::Transmit(offer) => {
                let terms = self.agreed.terms(&offer.name);
                self.phase = Phase::Transmission { offer, terms };
            }
        }
        Some(None)
    }

    fn skip_option(&mut self) -> Option<Option<Step>> {
        let Phase::SkipOption { option, left } = &mut self.phase else {
            unreachable!("the phase was looked at")
        };
        let there = u32::try_from(self.input.len() - self.used).unwrap_or(u32::MAX).min(*left);
        self.used += there as usize;
        *left -= there;
        if *left > 0 {
            return None;
        }
        let option = *option;
        if option == option::EXPORT_NAME {
            self.close();
            return Some(None);
        }
        let mut out = Vec::new();
        push_reply(&mut out, option, reply::ERR_TOO_BIG, b"the option is too long");
        self.push(out);
        self.phase = Phase::Options;
        Some(None)
    }

    fn request(&mut self) -> Option<Option<Step>> {
        let bytes: [u8; REQUEST_HEADER_BYTES] = self.take()?;
        let Some(header) = Header::read(&bytes).filter(|header| !header.is_disconnect()) else {
            self.close();
            return Some(None);
        };
        let Phase::Transmission { offer, terms } = std::mem::replace(&mut self.phase, Phase::Closed) else {
            unreachable!("the phase was looked at")
        };
        if header.is_oversize() {
            self.push(failure(header.cookie, Errno::EINVAL, terms.structured));
            self.close();
            return Some(None);
        }
        self.phase = Phase::Payload { offer, terms, header };
        Some(None)
    }

    fn payload(&mut self) -> Option<Option<Step>> {
        let Phase::Payload { header, .. } = &self.phase else { unreachable!("the phase was looked at") };
        let len = header.payload_bytes() as usize;
        let data = self.input[self.used..].get(..len)?.to_vec();
        self.used += len;
        let Phase::Payload { offer, terms, header } = std::mem::replace(&mut self.phase, Phase::Closed)
        else {
            unreachable!("the phase was looked at")
        };
        let admitted = header.admit(data, terms, &offer);
        self.phase = Phase::Transmission { offer, terms };
        let step = match admitted {
            Ok(request) => Some(Step::Do(self.ticket(&request, terms), request)),
            Err(errno) => {
                self.push(failure(header.cookie, errno, terms.structured));
                None
            }
        };
        Some(step)
    }

    fn ticket(&mut self, request: &Request, terms: Terms) -> Ticket {
        let bytes = request.command.held_bytes();
        self.requests += 1;
        self.request_bytes += bytes;
        Ticket {
            cookie: request.cookie,
            offset: request.offset,
            bytes,
            structured: terms.structured,
            headroom: if terms.structured { DATA_CHUNK_BYTES } else { SIMPLE_REPLY_BYTES },
        }
    }
}

const SIMPLE_REPLY_BYTES: usize = 16;
const CHUNK_HEADER_BYTES: usize = 20;
/// The header and the offset.
const DATA_CHUNK_BYTES: usize = CHUNK_HEADER_BYTES + 8;

fn simple_header(cookie: Cookie, error: u32) -> [u8; SIMPLE_REPLY_BYTES] {
    let mut header = [0; SIMPLE_REPLY_BYTES];
    header[..4].copy_from_slice(&SIMPLE_REPLY_MAGIC.to_be_bytes());
    header[4..8].copy_from_slice(&error.to_be_bytes());
    header[8..].copy_from_slice(&cookie.0.to_be_bytes());
    header
}

fn simple_reply(cookie: Cookie, error: u32) -> Vec<u8> {
    simple_header(cookie, error).to_vec()
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

fn failure(cookie: Cookie, errno: Errno, structured: bool) -> Vec<u8> {
    let error = error_number(errno);
    if !structured {
        return simple_reply(cookie, error);
    }
    let text = errno.text();
    let text_len = u16::try_from(text.len()).expect("an error text is short");
    let mut reply = chunk_header(cookie, chunk::DONE, chunk::GENERIC_ERROR, 6 + text.len()).to_vec();
    reply.extend(error.to_be_bytes());
    reply.extend(text_len.to_be_bytes());
    reply.extend(text.as_bytes());
    reply
}

/// Puts the header into the headroom.
fn data_reply(ticket: &Ticket, mut buffer: Vec<u8>) -> Vec<u8> {
    let len = buffer.len() - ticket.headroom;
    match ticket.structured {
        false => buffer[..SIMPLE_REPLY_BYTES].copy_from_slice(&simple_header(ticket.cookie, 0)),
        // A chunk of data has at least one byte.
        true if len == 0 => return chunk_header(ticket.cookie, chunk::DONE, chunk::NONE, 0).to_vec(),
        true => {
            let header = chunk_header(ticket.cookie, chunk::DONE, chunk::OFFSET_DATA, 8 + len);
            buffer[..CHUNK_HEADER_BYTES].copy_from_slice(&header);
            buffer[CHUNK_HEADER_BYTES..DATA_CHUNK_BYTES].copy_from_slice(&ticket.offset.to_be_bytes());
        }
    }
    buffer
}
