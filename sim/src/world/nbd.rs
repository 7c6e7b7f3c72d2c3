//! A guest's NBD client: fixed newstyle, structured replies, any number of requests at a time.
//!
//! The lanes of a guest share its connection. Whoever waits for an answer reads what comes, and keeps for the others what is
//! theirs.

use midstream::request::Operation;
use midstream::world::socket::End;
use seam::{Errno, IoResult, Pending, Stream};
use std::collections::BTreeMap;
use std::fmt;
use std::future::poll_fn;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

const GREETING: &[u8; 16] = b"NBDMAGICIHAVEOPT";
const OPTION_MAGIC: &[u8; 8] = b"IHAVEOPT";
const REQUEST_MAGIC: u32 = 0x2560_9513;
const SIMPLE_MAGIC: u32 = 0x6744_6698;
const CHUNK_MAGIC: u32 = 0x668e_33ef;
/// Fixed newstyle, no zeroes after the name of an export.
const FLAGS: u32 = 3;
const OPTION_GO: u32 = 7;
const OPTION_STRUCTURED: u32 = 8;
const REPLY_ACK: u32 = 1;
const REPLY_INFO: u32 = 3;
const REPLY_ERROR: u32 = 1 << 31;
/// An `INFO` of the export itself: its kind, its size, its flags.
const INFO_EXPORT_BYTES: usize = 12;
const COMMAND_DISCONNECT: u16 = 2;
const FLAG_FUA: u16 = 1;
const FLAG_NO_HOLE: u16 = 2;
const CHUNK_DONE: u16 = 1;
const CHUNK_DATA: u16 = 1;
const CHUNK_HOLE: u16 = 2;
const CHUNK_ERROR: u16 = 1 << 15;
/// The largest error number there is a text for.
const ERRNO_MAX: i32 = 133;
const READ_BYTES: usize = 64 << 10;

/// A request as it goes over the wire.
#[derive(Copy, Clone, Debug)]
pub struct Asked<'a> {
    /// What.
    pub operation: Operation,
    /// Where it begins, bytes.
    pub offset: u64,
    /// How long it is, bytes.
    pub len: u32,
    /// What a write writes.
    pub data: &'a [u8],
    /// Whether it is to be durable when it ends.
    pub fua: bool,
    /// Whether zeroes that it writes need no space.
    pub unmaps: bool,
}

/// A connection to an export.
pub struct Client {
    end: End,
    /// How long the export was when the connection was made.
    pub len_bytes: u64,
    state: Mutex<State>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Client({} bytes)", self.len_bytes)
    }
}

#[derive(Default)]
struct State {
    cookies: u64,
    input: Vec<u8>,
    reading: Option<Pending<'static, IoResult<Vec<u8>>>>,
    /// What has come of each request under way.
    answers: BTreeMap<u64, Answer>,
    waiting: Vec<Waker>,
}

/// What has come of a request.
#[derive(Debug)]
struct Answer {
    offset: u64,
    data: Vec<u8>,
    failed: Option<Errno>,
    is_whole: bool,
}

impl Client {
    /// Chooses an export. Fails with what the server said against it.
    pub async fn connect(end: End, export: &str) -> Result<Client, String> {
        let mut client = Client { end, len_bytes: 0, state: Mutex::default() };
        let broken = |errno: Errno| format!("the connection broke: {}", errno.text());
        if client.receive(18).await.map_err(broken)?[..16] != GREETING[..] {
            return Err("the greeting is none of NBD's".to_owned());
        }
        client.end.send(&FLAGS.to_be_bytes()).map_err(broken)?;
        client.option(OPTION_STRUCTURED, &[]).await?;
        let mut go = (export.len() as u32).to_be_bytes().to_vec();
        go.extend(export.as_bytes());
        go.extend([0; 2]);
        client.len_bytes = client.option(OPTION_GO, &go).await?.ok_or("the export has no size")?;
        Ok(client)
    }

    /// Asks for an option. The answer is the size of the export, if it came with that.
    async fn option(&self, option: u32, data: &[u8]) -> Result<Option<u64>, String> {
        let broken = |errno: Errno| format!("the connection broke: {}", errno.text());
        let mut out = OPTION_MAGIC.to_vec();
        out.extend(option.to_be_bytes());
        out.extend((data.len() as u32).to_be_bytes());
        out.extend(data);
        self.end.send(&out).map_err(broken)?;
        let mut len_bytes = None;
        loop {
            let header = self.receive(20).await.map_err(broken)?;
            let (kind, len) = (be32(&header[12..]), be32(&header[16..]));
            let body = self.receive(len as usize).await.map_err(broken)?;
            match kind {
                REPLY_ACK => return Ok(len_bytes),
                REPLY_INFO if body.len() == INFO_EXPORT_BYTES => len_bytes = Some(be64(&body[2..])),
                kind if kind & REPLY_ERROR != 0 => return Err(String::from_utf8_lossy(&body).into_owned()),
                _ => {}
            }
        }
    }

    /// The next bytes of the handshake, where nobody else reads.
    async fn receive(&self, len: usize) -> IoResult<Vec<u8>> {
        while self.state().input.len() < len {
            let more = self.end.read(READ_BYTES).await?;
            if more.is_empty() {
                return Err(Errno::EIO);
            }
            self.state().input.extend(more);
        }
        Ok(self.state().input.drain(..len).collect())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does a request; a read answers what was read.
    pub async fn request(&self, asked: Asked<'_>) -> IoResult<Vec<u8>> {
        let cookie = {
            let mut state = self.state();
            state.cookies += 1;
            let len = if asked.operation == Operation::Read { asked.len as usize } else { 0 };
            let answer = Answer { offset: asked.offset, data: vec![0; len], failed: None, is_whole: false };
            let cookie = state.cookies;
            state.answers.insert(cookie, answer);
            cookie
        };
        self.end.send(&asked.bytes(cookie))?;
        poll_fn(|context| self.poll_answer(cookie, context)).await
    }

    fn poll_answer(&self, cookie: u64, context: &mut Context<'_>) -> Poll<IoResult<Vec<u8>>> {
        let mut state = self.state();
        loop {
            if state.answers[&cookie].is_whole {
                let answer = state.answers.remove(&cookie).expect("it was looked at just now");
                return Poll::Ready(answer.failed.map_or(Ok(answer.data), Err));
            }
            let reading = state.reading.get_or_insert_with(|| self.end.read(READ_BYTES));
            let Poll::Ready(read) = reading.as_mut().poll(context) else {
                state.waiting.push(context.waker().clone());
                return Poll::Pending;
            };
            state.reading = None;
            match read {
                Ok(bytes) if !bytes.is_empty() => state.take(&bytes),
                _ => state.break_off(),
            }
            std::mem::take(&mut state.waiting).into_iter().for_each(Waker::wake);
        }
    }

    /// Says goodbye, and waits until the server has hung up. Nobody asks for anything any more.
    pub async fn leave(&self) {
        let goodbye =
            Asked { operation: Operation::Flush, offset: 0, len: 0, data: &[], fua: false, unmaps: false };
        // Whoever has gone already needs no goodbye.
        let _gone = self.end.send(&goodbye.header(COMMAND_DISCONNECT, 0, 0));
        let mut reading = self.state().reading.take();
        loop {
            let read = reading.take().unwrap_or_else(|| self.end.read(READ_BYTES)).await;
            if read.is_err() || read.is_ok_and(|bytes| bytes.is_empty()) {
                return;
            }
        }
    }
}

impl Asked<'_> {
    fn bytes(&self, cookie: u64) -> Vec<u8> {
        let command = match self.operation {
            Operation::Read => 0,
            Operation::Write => 1,
            Operation::Flush => 3,
            Operation::Discard => 4,
            Operation::WriteZeroes => 6,
        };
        let keeps_space = self.operation == Operation::WriteZeroes && !self.unmaps;
        let keeps = if keeps_space { FLAG_NO_HOLE } else { 0 };
        let fua = if self.fua { FLAG_FUA } else { 0 };
        let mut out = self.header(command, keeps | fua, cookie);
        out.extend_from_slice(self.data);
        out
    }

    fn header(&self, command: u16, flags: u16, cookie: u64) -> Vec<u8> {
        let mut out = REQUEST_MAGIC.to_be_bytes().to_vec();
        out.extend(flags.to_be_bytes());
        out.extend(command.to_be_bytes());
        out.extend(cookie.to_be_bytes());
        out.extend(self.offset.to_be_bytes());
        out.extend(self.len.to_be_bytes());
        out
    }
}

impl State {
    /// Takes what the server has sent, as far as it is whole.
    fn take(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
        while let Some(used) = self.take_one() {
            self.input.drain(..used);
        }
    }

    /// Takes the first reply, or piece of one: how long it was.
    fn take_one(&mut self) -> Option<usize> {
        match be32(self.input.get(..4)?) {
            SIMPLE_MAGIC => {
                let header: [u8; 16] = self.input.get(..16)?.try_into().expect("so many bytes");
                let answer = self.answer(be64(&header[8..]));
                answer.failed = failure(be32(&header[4..]), "");
                answer.is_whole = true;
                Some(16)
            }
            CHUNK_MAGIC => {
                let header: [u8; 20] = self.input.get(..20)?.try_into().expect("so many bytes");
                let end = 20 + be32(&header[16..]) as usize;
                let payload = self.input.get(20..end)?.to_vec();
                let (flags, kind) = (be16(&header[4..]), be16(&header[6..]));
                let answer = self.answer(be64(&header[8..]));
                answer.add(kind, &payload);
                answer.is_whole |= flags & CHUNK_DONE != 0;
                Some(end)
            }
            other => panic!("a reply of NBD begins with {other:#x}"),
        }
    }

    fn answer(&mut self, cookie: u64) -> &mut Answer {
        let answer = self.answers.get_mut(&cookie);
        answer.unwrap_or_else(|| panic!("a reply to request {cookie}, which nobody made"))
    }

    /// Nothing more will come.
    fn break_off(&mut self) {
        for answer in self.answers.values_mut().filter(|answer| !answer.is_whole) {
            (answer.failed, answer.is_whole) = (Some(Errno::EIO), true);
        }
    }
}

impl Answer {
    fn add(&mut self, kind: u16, payload: &[u8]) {
        match kind {
            CHUNK_DATA => self.place(be64(payload), payload.len() - 8).copy_from_slice(&payload[8..]),
            CHUNK_HOLE => self.place(be64(payload), be32(&payload[8..]) as usize).fill(0),
            kind if kind & CHUNK_ERROR != 0 => {
                let text = payload.get(6..6 + usize::from(be16(&payload[4..]))).unwrap_or_default();
                self.failed = failure(be32(payload), &String::from_utf8_lossy(text));
            }
            _ => {}
        }
    }

    /// Where a piece of a read belongs.
    fn place(&mut self, offset: u64, len: usize) -> &mut [u8] {
        let start = (offset - self.offset) as usize;
        &mut self.data[start..start + len]
    }
}

/// The error of a reply: the one that has its text, or else its number.
fn failure(number: u32, text: &str) -> Option<Errno> {
    let named = (1..=ERRNO_MAX).map(Errno).find(|errno| errno.text() == text);
    (number != 0).then(|| named.unwrap_or(Errno(number as i32)))
}

fn be16(bytes: &[u8]) -> u16 {
    u16::from_be_bytes(bytes[..2].try_into().expect("two bytes"))
}

fn be32(bytes: &[u8]) -> u32 {
    u32::from_be_bytes(bytes[..4].try_into().expect("four bytes"))
}

fn be64(bytes: &[u8]) -> u64 {
    u64::from_be_bytes(bytes[..8].try_into().expect("eight bytes"))
}
