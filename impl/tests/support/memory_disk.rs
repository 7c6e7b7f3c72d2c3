//! A disk in memory that remembers what was asked of it, in order, and fails or delays on demand.

use super::random::Random;
use seam::{Disk, Errno, IoResult, Pending};
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll};

/// One change, or a flush.
#[derive(Clone, Debug)]
pub enum Event {
    Write { offset: u64, data: Vec<u8> },
    Resize(u64),
    Flush,
}

/// No file gets longer: as on a file system, a write behind that is refused with EFBIG.
const LEN_MAX: u64 = 1 << 32;

impl Event {
    fn end(&self) -> u64 {
        match self {
            Event::Write { offset, data } => offset.saturating_add(data.len() as u64),
            Event::Resize(len) => *len,
            Event::Flush => 0,
        }
    }

    /// Applies it to the bytes of a file.
    pub fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Event::Write { offset, data } => write_at(bytes, *offset, data),
            Event::Resize(len) => bytes.resize(*len as usize, 0),
            Event::Flush => {}
        }
    }
}

/// Writes into a file, which grows as needed.
pub fn write_at(bytes: &mut Vec<u8>, offset: u64, data: &[u8]) {
    let end = offset as usize + data.len();
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    bytes[offset as usize..end].copy_from_slice(data);
}

#[derive(Debug, Default)]
struct State {
    bytes: Vec<u8>,
    log: Vec<Event>,
    /// A clock that several disks share, and what it said at each event of the log.
    clock: Option<Arc<AtomicU64>>,
    stamps: Vec<u64>,
    reads: u64,
    read_bytes: u64,
    /// Fails the request that is this many writes and flushes away.
    fail_in: Option<u64>,
    fail_from: Option<u64>,
    failing: bool,
    delays: Option<(Random, u64)>,
    slow_reads: u64,
    in_flight: u32,
    most_in_flight: u32,
}

/// The disk.
#[derive(Debug, Default)]
pub struct MemoryDisk {
    state: Arc<Mutex<State>>,
}

impl MemoryDisk {
    /// A disk with these bytes.
    pub fn new(bytes: Vec<u8>) -> Arc<MemoryDisk> {
        let disk = MemoryDisk::default();
        disk.state().bytes = bytes;
        Arc::new(disk)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// The bytes now.
    pub fn bytes(&self) -> Vec<u8> {
        self.state().bytes.clone()
    }

    /// How many changes and flushes there were.
    pub fn events(&self) -> usize {
        self.state().log.len()
    }

    /// What happened since the last call.
    pub fn take_log(&self) -> Vec<Event> {
        std::mem::take(&mut self.state().log)
    }

    /// From now on, every event takes a number from this clock.
    pub fn stamp(&self, clock: Arc<AtomicU64>) {
        self.state().clock = Some(clock);
    }

    /// The numbers of the events since the clock came.
    pub fn take_stamps(&self) -> Vec<u64> {
        std::mem::take(&mut self.state().stamps)
    }

    /// How many reads there were.
    pub fn reads(&self) -> u64 {
        self.state().reads
    }

    /// How many bytes were read.
    pub fn read_bytes(&self) -> u64 {
        self.state().read_bytes
    }

    /// Fails the `n`th write or flush from now with EIO.
    pub fn fail_in(&self, n: u64) {
        self.state().fail_in = Some(n);
    }

    /// Fails the `n`th write or flush from now with EIO, and all that follow.
    pub fn fail_from(&self, n: u64) {
        self.state().fail_from = Some(n);
    }

    /// Fails every write and flush, or none.
    pub fn fail_always(&self, failing: bool) {
        self.state().failing = failing;
        self.state().fail_in = None;
        self.state().fail_from = None;
    }

    /// From now on, requests take a drawn number of polls below `most`, and so end in any order.
    pub fn delay(&self, random: Random, most: u64) {
        self.state().delays = Some((random, most));
    }

    /// From now on, a read takes this many polls more, and gives what is there at its end.
    pub fn slow_reads(&self, polls: u64) {
        self.state().slow_reads = polls;
    }

    /// The most writes that were ever in flight at once.
    pub fn most_in_flight(&self) -> u32 {
        self.state().most_in_flight
    }

    fn request<T: Send + 'static>(
        &self,
        extra: u64,
        action: impl FnOnce(&mut State) -> T + Send + 'static,
    ) -> Pending<'static, T> {
        let mut state = self.state();
        let polls = extra + state.delays.as_mut().map_or(0, |(random, most)| random.below(*most));
        state.in_flight += 1;
        state.most_in_flight = state.most_in_flight.max(state.in_flight);
        drop(state);
        Box::pin(Request { state: self.state.clone(), polls, action: Some(action) })
    }

    fn change(&self, event: Event) -> Pending<'static, IoResult<()>> {
        self.request(0, move |state| {
            if event.end() > LEN_MAX {
                return Err(Errno::EFBIG);
            }
            state.failing |= count_down(&mut state.fail_from);
            if state.failing || count_down(&mut state.fail_in) {
                return Err(Errno::EIO);
            }
            event.apply(&mut state.bytes);
            state.log.push(event);
            if let Some(clock) = &state.clock {
                let now = clock.fetch_add(1, Ordering::Relaxed);
                state.stamps.push(now);
            }
            Ok(())
        })
    }
}

fn count_down(left: &mut Option<u64>) -> bool {
    match left {
        Some(0) => {
            *left = None;
            true
        }
        Some(n) => {
            *n -= 1;
            false
        }
        None => false,
    }
}

struct Request<F> {
    state: Arc<Mutex<State>>,
    polls: u64,
    action: Option<F>,
}

impl<F, T> Future for Request<F>
where
    F: FnOnce(&mut State) -> T,
{
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        if self.polls > 0 {
            self.polls -= 1;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let action = self.action.take().expect("polled after it was ready");
        let mut state = self.state.lock().unwrap();
        state.in_flight -= 1;
        Poll::Ready(action(&mut state))
    }
}

impl<F> Unpin for Request<F> {}

impl Disk for MemoryDisk {
    fn len_bytes(&self) -> IoResult<u64> {
        Ok(self.state().bytes.len() as u64)
    }

    fn read(&self, offset: u64, mut buffer: Vec<u8>) -> Pending<'static, IoResult<Vec<u8>>> {
        let slow = self.state().slow_reads;
        self.request(slow, move |state| {
            state.reads += 1;
            state.read_bytes += buffer.len() as u64;
            let len = state.bytes.len() as u64;
            let start = offset.min(len) as usize;
            let end = offset.saturating_add(buffer.len() as u64).min(len) as usize;
            buffer.fill(0);
            buffer[..end - start].copy_from_slice(&state.bytes[start..end]);
            Ok(buffer)
        })
    }

    fn write(&self, offset: u64, data: Vec<u8>) -> Pending<'static, IoResult<()>> {
        self.change(Event::Write { offset, data })
    }

    fn write_zeroes(&self, offset: u64, len: u64) -> Pending<'static, IoResult<()>> {
        self.change(Event::Write { offset, data: vec![0; len as usize] })
    }

    fn discard(&self, _offset: u64, _len: u64) -> Pending<'static, IoResult<()>> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn flush(&self) -> Pending<'static, IoResult<()>> {
        self.change(Event::Flush)
    }

    fn resize(&self, len_bytes: u64) -> Pending<'static, IoResult<()>> {
        self.change(Event::Resize(len_bytes))
    }

    fn reopen(&self, _writable: bool) -> Pending<'static, IoResult<()>> {
        Box::pin(std::future::ready(Ok(())))
    }
}
