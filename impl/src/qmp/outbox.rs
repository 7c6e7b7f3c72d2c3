//! The lines a client is still to get, in order. Bounded: a client that does not read loses its connection.

use crate::sync::shim::Mutex;
use crate::sync::signal::Signal;
use std::collections::VecDeque;

/// How many bytes may wait before the client is given up.
const BYTES_MAX: usize = 64 << 20;
/// How many lines may wait before no more commands are taken from the client.
const LINES_BEFORE_PAUSE: usize = 64;

#[derive(Debug, Default)]
pub(super) struct Outbox {
    lines: Mutex<Lines>,
    changed: Signal,
}

#[derive(Debug, Default)]
struct Lines {
    waiting: VecDeque<String>,
    bytes: usize,
    closed: bool,
}

impl Outbox {
    /// Adds a line; nothing happens once closed.
    pub(super) fn push(&self, line: String) {
        {
            let mut lines = self.lines.lock();
            if lines.closed {
                return;
            }
            lines.bytes += line.len();
            lines.waiting.push_back(line);
            if lines.bytes > BYTES_MAX {
                *lines = Lines { closed: true, ..Lines::default() };
            }
        }
        self.changed.notify();
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

    /// Waits for the next line. `None`: closed, and every line has been taken.
    pub(super) async fn next(&self) -> Option<String> {
        loop {
            let seen = self.changed.changes();
            if let Some(line) = self.pop() {
                return Some(line);
            }
            if self.lines.lock().closed {
                return None;
            }
            self.changed.changed_since(seen).await;
        }
    }

    /// Waits until the client has read enough to be listened to again.
    pub(super) async fn room(&self) {
        loop {
            let seen = self.changed.changes();
            if self.lines.lock().waiting.len() < LINES_BEFORE_PAUSE {
                return;
            }
            self.changed.changed_since(seen).await;
        }
    }

    /// No line is added any more.
    pub(super) fn close(&self) {
        self.lines.lock().closed = true;
        self.changed.notify();
    }

    /// Empty and open again, for the next client.
    pub(super) fn reset(&self) {
        *self.lines.lock() = Lines::default();
        self.changed.notify();
    }
}
