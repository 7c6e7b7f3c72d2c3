//! The wire to other machines: connections of the engine to servers run over it, and it may be cut between any two messages.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// The wire.
#[derive(Debug, Default)]
pub struct Wire(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Messages that were sent over it.
    messages: u64,
    /// The message that finds it cut.
    cut_at: Option<u64>,
    is_down: bool,
}

impl Wire {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It will be cut after so many messages more: the next one is lost.
    pub fn cut_after(&self, messages: u64) {
        let mut state = self.state();
        state.cut_at = Some(state.messages + messages);
    }

    /// It is there again.
    pub fn restore(&self) {
        self.state().is_down = false;
    }

    /// Whether nobody gets through.
    pub fn is_down(&self) -> bool {
        self.state().is_down
    }

    /// How many messages were sent over it.
    pub fn messages(&self) -> u64 {
        self.state().messages
    }

    /// A message is sent: whether it gets through.
    pub(super) fn passes(&self) -> bool {
        let mut state = self.state();
        if state.cut_at.is_some_and(|at| at <= state.messages) {
            state.cut_at = None;
            state.is_down = true;
        }
        state.messages += u64::from(!state.is_down);
        !state.is_down
    }
}
