//! One connection: a task moves its bytes, and requests wait for what comes of them.

use crate::nbd::client::{Client, Export, Outcome};
use crate::nbd::request::{Command, Cookie};
use crate::sync::shim::Mutex;
use crate::sync::signal::Signal;
use seam::{Host, IoResult, Pending, Stream};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// How much is read at a time.
const READ_BYTES: usize = 256 << 10;

/// The connection.
#[derive(Debug)]
pub(super) struct Line {
    export: Export,
    stream: Arc<dyn Stream>,
    state: Mutex<State>,
    changed: Signal,
}

#[derive(Debug)]
struct State {
    client: Client,
    /// Nothing comes or goes any more.
    is_broken: bool,
    /// Nobody makes requests any more.
    is_left: bool,
}

/// A request under way: whoever leaves does not want to know what comes of it.
struct Asked<'a> {
    line: &'a Line,
    cookie: Cookie,
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        self.line.state.lock().client.forget(self.cookie);
        // Another may be made now.
        self.line.changed.notify();
    }
}

impl Line {
    /// A connection whose handshake is over, and the task that moves its bytes.
    pub(super) fn start(host: &Arc<dyn Host>, stream: Arc<dyn Stream>, client: Client) -> Arc<Line> {
        let export = *client.export().expect("the handshake is over");
        let state = Mutex::new(State { client, is_broken: false, is_left: false });
        let line = Arc::new(Line { export, stream, state, changed: Signal::new() });
        host.spawn("nbd connection", Box::pin(carry(line.clone())));
        line
    }

    /// The export at its other end.
    pub(super) fn export(&self) -> &Export {
        &self.export
    }

    /// Whether it is lost.
    pub(super) fn is_broken(&self) -> bool {
        self.state.lock_to_look().is_broken
    }

    /// Says goodbye.
    pub(super) fn leave(&self) {
        {
            let mut state = self.state.lock();
            if !state.is_left {
                state.client.leave();
            }
            state.is_left = true;
        }
        self.changed.notify();
    }

    /// Makes a request. Nothing: the connection was lost, and nobody knows what came of it.
    pub(super) async fn ask(&self, offset: u64, command: &Arc<Command>) -> Option<Outcome> {
        let asked = loop {
            let seen = self.changed.changes();
            {
                let mut state = self.state.lock();
                if state.is_broken {
                    return None;
                }
                if state.client.may_ask() {
                    break Asked { line: self, cookie: state.client.ask(offset, command.clone()) };
                }
            }
            self.changed.changed_since(seen).await;
        };
        self.changed.notify();
        loop {
            let seen = self.changed.changes();
            {
                let mut state = self.state.lock();
                let outcome = state.client.take_outcome(asked.cookie);
                if outcome.is_some() || state.is_broken {
                    return outcome;
                }
            }
            self.changed.changed_since(seen).await;
        }
    }

    /// Nothing comes or goes any more.
    pub(super) fn break_off(&self) {
        self.state.lock().is_broken = true;
        self.stream.shut_down();
        self.changed.notify();
    }
}

/// What is under way on the stream.
#[derive(Default)]
struct Moving {
    reading: Option<Pending<'static, IoResult<Vec<u8>>>>,
    writing: Option<Pending<'static, IoResult<()>>>,
}

async fn carry(line: Arc<Line>) {
    let mut moving = Moving::default();
    loop {
        let seen = line.changed.changes();
        if moving.writing.is_none() {
            let mut state = line.state.lock();
            let bytes = state.client.take_output();
            if bytes.is_none() && state.is_left {
                break;
            }
            drop(state);
            moving.writing = bytes.map(|bytes| line.stream.write(bytes));
        }
        if moving.reading.is_none() {
            moving.reading = Some(line.stream.read(READ_BYTES));
        }
        let goes_on = poll_fn(|context| moving.poll(&line, seen, context)).await;
        if !goes_on {
            break;
        }
    }
    line.break_off();
}

impl Moving {
    /// Ready when anything has happened; false: the connection is lost.
    fn poll(&mut self, line: &Line, seen: u64, context: &mut Context<'_>) -> Poll<bool> {
        let mut happened = pin!(line.changed.changed_since(seen)).poll(context).is_ready();
        if let Some(writing) = &mut self.writing
            && let Poll::Ready(written) = writing.as_mut().poll(context)
        {
            self.writing = None;
            happened = true;
            if written.is_err() {
                return Poll::Ready(false);
            }
        }
        if let Some(reading) = &mut self.reading
            && let Poll::Ready(read) = reading.as_mut().poll(context)
        {
            self.reading = None;
            happened = true;
            let bytes = read.unwrap_or_default();
            if bytes.is_empty() || line.state.lock().client.receive(&bytes).is_err() {
                return Poll::Ready(false);
            }
            line.changed.notify();
        }
        if happened { Poll::Ready(true) } else { Poll::Pending }
    }
}
