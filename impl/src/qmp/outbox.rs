//! The lines a client is still to get, in order. Bounded: a client that does not read loses its connection.

use crate::sync::shim::Mutex;
use crate::sync::signal::Signal;
use std::collections::VecDeque;

/// How many bytes may wait before the client is given up.
const BYTES_MAX: usize = 64 << 20;
/// How many lines, and how many bytes, may wait before no more commands are taken from the client.
const LINES_BEFORE_PAUSE: usize = 64;
const BYTES_BEFORE_PAUSE: usize = 4 << 20;

#[derive(Debug, Default)]
pub(super) struct Outbox {
    lines: Mutex<Lines>,
    changed: Signal,
}

#[derive(Debug, Default)]
struct Lines {
    waiting: VecDeque<String>,
    bytes: usize,
    end: End,
}

/// Why no line is added any more.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
enum End {
    /// Lines are added.
    #[default]
    None,
    /// This client did not read. The next one may.
    GivenUp,
    /// For good.
    Closed,
}

impl Outbox {
    /// Adds a line; nothing happens after the end.
    pub(super) fn push(&self, line: String) {
        {
            let mut lines = self.lines.lock();
            if lines.end != End::None {
                return;
            }
            lines.bytes += line.len();
            lines.waiting.push_back(line);
            if lines.bytes > BYTES_MAX {
                *lines = Lines { end: End::GivenUp, ..Lines::default() };
            }
        }
        self.changed.notify();
    }

    /// Whether a line that is added now would wait for anybody.
    pub(super) fn takes_lines(&self) -> bool {
        self.lines.lock().end == End::None
    }

    /// The next line, if one waits.
    pub(super) fn pop(&self) -> Option<String> {
        let line = {
            let mut lines = self.lines.lock();
            let line = lines.waiting.pop_front()?;
            lines.bytes -= line.len();
            line
        };
        self.changed.notify();
        Some(line)
    }

    /// Waits for the next line. `None`: the end has come, and every line has been taken.
    pub(super) async fn next(&self) -> Option<String> {
        loop {
            let seen = self.changed.changes();
            if let Some(line) = self.pop() {
                return Some(line);
            }
            if self.lines.lock().end != End::None {
                return None;
            }
            self.changed.changed_since(seen).await;
        }
    }

    /// Waits until the client has read enough to be listened to again.
    pub(super) async fn room(&self) {
        loop {
            let seen = self.changed.changes();
            {
                let lines = self.lines.lock();
                let is_full = lines.waiting.len() >= LINES_BEFORE_PAUSE || lines.bytes >= BYTES_BEFORE_PAUSE;
                if !is_full || lines.end != End::None {
                    return;
                }
            }
            self.changed.changed_since(seen).await;
        }
    }

    /// Waits until the client has read enough to be answered again.
    pub(super) async fn bytes_free(&self) {
        loop {
            let seen = self.changed.changes();
            {
                let lines = self.lines.lock();
                if lines.bytes < BYTES_BEFORE_PAUSE || lines.end != End::None {
                    return;
                }
            }
            self.changed.changed_since(seen).await;
        }
    }

    /// Drops what waits, and takes nothing more for this client.
    pub(super) fn give_up(&self) {
        {
            let mut lines = self.lines.lock();
            if lines.end == End::None {
                *lines = Lines { end: End::GivenUp, ..Lines::default() };
            }
        }
        self.changed.notify();
    }

    /// Waits until no client is wanted any more, and drops what comes meanwhile.
    pub(super) async fn closed(&self) {
        loop {
            let seen = self.changed.changes();
            {
                let mut lines = self.lines.lock();
                if lines.end == End::Closed {
                    return;
                }
                *lines = Lines { end: lines.end, ..Lines::default() };
            }
            self.changed.changed_since(seen).await;
        }
    }

    /// Waits until the client is given up.
    pub(super) async fn given_up(&self) {
        loop {
            let seen = self.changed.changes();
            if self.lines.lock().end == End::GivenUp {
                return;
            }
            self.changed.changed_since(seen).await;
        }
    }

    /// No line is added any more.
    pub(super) fn close(&self) {
        self.lines.lock().end = End::Closed;
        self.changed.notify();
    }

    /// Empty, and open unless closed: for the next client.
    pub(super) fn reset(&self) {
        {
            let mut lines = self.lines.lock();
            let end = if lines.end == End::Closed { End::Closed } else { End::None };
            *lines = Lines { end, ..Lines::default() };
        }
        self.changed.notify();
    }
}
