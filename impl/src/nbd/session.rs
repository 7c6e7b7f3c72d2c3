//! One client of the server: the handshake, then requests and their replies.
//!
//! Bytes of any piece size go in by `receive`; `next` says what to do; `answer` takes what came of a request; the
//! bytes to send come out of `take_output`. Memory is bounded: an option is kept up to `OPTION_BYTES_KEPT`, requests
//! up to `REQUESTS_MAX` and `REQUEST_BYTES_MAX` at a time, and no length is believed before its bytes are there.

use super::offer::{Exports, Offer};
use super::option::{Agreed, Turn, push_reply};
use super::reply::{self, Answer, Ticket};
use super::request::{Header, Request, Terms};
use super::wire::{
    self, Fields, GREETING_MAGIC, OPTION_HEADER_BYTES, OPTION_MAGIC, PAYLOAD_BYTES_MAX, REQUEST_HEADER_BYTES,
    handshake, option,
};
use seam::Errno;
use std::collections::VecDeque;

/// How many requests of a client run at a time, as in QEMU.
pub const REQUESTS_MAX: usize = 16;
/// How many bytes the requests of a client may hold at a time. A lone request may hold any it is allowed to have.
pub(crate) const REQUEST_BYTES_MAX: u64 = 64 << 20;
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
    Transmission(Transmission),
    Closed,
}

#[derive(Debug)]
struct Transmission {
    offer: Offer,
    terms: Terms,
    /// A header, and as much of its payload as is there.
    begun: Option<(Header, Vec<u8>)>,
}

/// What the holder of a session is to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Step {
    /// Do a request, and give what came of it to `answer`, with the ticket.
    Do(Ticket, Request),
    /// Send what is to be sent and hang up.
    Close,
}

/// How far one look at the input went.
enum Progress {
    /// There is not enough to go on.
    Wait,
    /// Look again.
    On,
    /// Something is to be done.
    Step(Step),
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
        let mut bytes = bytes;
        if let Phase::Transmission(Transmission { begun: Some((header, data)), .. }) = &mut self.phase
            && self.input.is_empty()
        {
            // The short way: most bytes of a long write are copied once.
            bytes = &bytes[append(data, header.payload_bytes(), bytes)..];
        }
        self.input.extend_from_slice(bytes);
    }

    /// What is to be done now. `None`: nothing, until more bytes come, answers are given or output is taken.
    pub fn next(&mut self, exports: &mut dyn Exports) -> Option<Step> {
        while self.has_room() {
            let progress = match &self.phase {
                Phase::ClientFlags => self.client_flags(),
                Phase::Options => self.option(exports),
                Phase::SkipOption { option, left } => self.skip_option(*option, *left),
                Phase::Transmission(Transmission { begun: None, .. }) => self.request(),
                Phase::Transmission(_) => self.payload(),
                Phase::Closed => Progress::Step(Step::Close),
            };
            match progress {
                Progress::Wait => return None,
                Progress::On => {}
                Progress::Step(step) => return Some(step),
            }
        }
        None
    }

    /// Whether bytes that come now can be used: a session that is behind with its work is better left alone.
    pub fn has_room(&self) -> bool {
        let closed = matches!(self.phase, Phase::Closed);
        let busy = self.requests == REQUESTS_MAX || self.request_bytes >= REQUEST_BYTES_MAX;
        closed || !busy && self.output_bytes < OUTPUT_BYTES_BEFORE_PAUSE
    }

    /// Whether the client is still in the handshake.
    pub fn is_negotiating(&self) -> bool {
        matches!(self.phase, Phase::ClientFlags | Phase::Options | Phase::SkipOption { .. })
    }

    /// What a client that leaves now has left undone: nothing once the handshake is over.
    pub(crate) fn why_it_failed_at_the_end(&self) -> Option<&'static str> {
        match self.phase {
            Phase::ClientFlags => {
                Some("Failed to read client flags: Unexpected end-of-file before all data were read")
            }
            Phase::Options | Phase::SkipOption { .. } => {
                Some("Failed to read opts magic: Unexpected end-of-file before all data were read")
            }
            Phase::Transmission(_) | Phase::Closed => None,
        }
    }

    /// How many requests are under way.
    pub fn requests(&self) -> usize {
        self.requests
    }

    /// How many bytes the session holds for its client.
    pub fn held_bytes(&self) -> u64 {
        let payload = match &self.phase {
            Phase::Transmission(Transmission { begun: Some((_, data)), .. }) => data.capacity(),
            _ => 0,
        };
        (self.input.capacity() + payload + self.output_bytes) as u64 + self.request_bytes
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
        for piece in reply::pieces(&ticket, answer) {
            self.push(piece);
        }
    }

    fn push(&mut self, bytes: Vec<u8>) {
        self.output_bytes += bytes.len();
        self.output.push_back(bytes);
    }

    /// The next `N` bytes, once they are all there.
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let taken = *self.input[self.used..].first_chunk()?;
        self.used += N;
        Some(taken)
    }

    fn close(&mut self) -> Progress {
        self.phase = Phase::Closed;
        self.input = Vec::new();
        self.used = 0;
        Progress::On
    }

    fn client_flags(&mut self) -> Progress {
        let Some(flags) = self.take().map(u32::from_be_bytes) else { return Progress::Wait };
        let fixed = u32::from(handshake::FIXED_NEWSTYLE);
        let no_zeroes = u32::from(handshake::NO_ZEROES);
        if flags & !(fixed | no_zeroes) != 0 {
            return self.close();
        }
        self.agreed.no_zeroes = flags & no_zeroes != 0;
        self.phase = Phase::Options;
        Progress::On
    }

    fn option(&mut self, exports: &mut dyn Exports) -> Progress {
        let mut fields = Fields::new(&self.input[self.used..]);
        let (Some(magic), Some(option), Some(len)) = (fields.u64(), fields.u32(), fields.u32()) else {
            return Progress::Wait;
        };
        if magic != OPTION_MAGIC || len > PAYLOAD_BYTES_MAX {
            return self.close();
        }
        if len > OPTION_BYTES_KEPT {
            self.used += OPTION_HEADER_BYTES;
            self.phase = Phase::SkipOption { option, left: len };
            return Progress::On;
        }
        let Some(data) = fields.bytes(len as usize) else { return Progress::Wait };
        let mut out = Vec::new();
        let turn = self.agreed.answer(option, data, exports, &mut out);
        self.used += OPTION_HEADER_BYTES + len as usize;
        self.push(out);
        match turn {
            Turn::Next => {}
            Turn::Close => return self.close(),
            Turn::Transmit(offer) => {
                let terms = self.agreed.terms(&offer.name);
                self.phase = Phase::Transmission(Transmission { offer, terms, begun: None });
            }
        }
        Progress::On
    }

    fn skip_option(&mut self, option: u32, left: u32) -> Progress {
        let waiting = u32::try_from(self.input.len() - self.used).unwrap_or(u32::MAX);
        let here = waiting.min(left);
        self.used += here as usize;
        self.phase = Phase::SkipOption { option, left: left - here };
        if here < left {
            return Progress::Wait;
        }
        if option == option::EXPORT_NAME {
            return self.close();
        }
        let mut out = Vec::new();
        push_reply(&mut out, option, wire::reply::ERR_TOO_BIG, b"the option is too long");
        self.push(out);
        self.phase = Phase::Options;
        Progress::On
    }

    fn request(&mut self) -> Progress {
        let Some(bytes) = self.take::<REQUEST_HEADER_BYTES>() else { return Progress::Wait };
        let Some(header) = Header::read(&bytes).filter(|header| !header.is_disconnect()) else {
            return self.close();
        };
        let Phase::Transmission(transmission) = &mut self.phase else { return Progress::On };
        if header.is_oversize() {
            let refusal = reply::failure(header.cookie, Errno::EINVAL, transmission.terms.structured);
            self.push(refusal);
            return self.close();
        }
        transmission.begun = Some((header, Vec::new()));
        Progress::On
    }

    fn payload(&mut self) -> Progress {
        let Phase::Transmission(transmission) = &mut self.phase else { return Progress::On };
        let Some((header, mut data)) = transmission.begun.take() else { return Progress::On };
        self.used += append(&mut data, header.payload_bytes(), &self.input[self.used..]);
        if data.len() < header.payload_bytes() as usize {
            transmission.begun = Some((header, data));
            return Progress::Wait;
        }
        let terms = transmission.terms;
        match header.admit(data, terms, &transmission.offer) {
            Ok(request) => {
                let ticket = Ticket::of(&request, terms);
                self.requests += 1;
                self.request_bytes += ticket.bytes;
                Progress::Step(Step::Do(ticket, request))
            }
            Err(errno) => {
                self.push(reply::failure(header.cookie, errno, terms.structured));
                Progress::On
            }
        }
    }
}

/// Appends what `data` is missing of `len` bytes, and says how many bytes that took.
fn append(data: &mut Vec<u8>, len: u32, bytes: &[u8]) -> usize {
    let here = (len as usize - data.len()).min(bytes.len());
    data.extend_from_slice(&bytes[..here]);
    here
}
