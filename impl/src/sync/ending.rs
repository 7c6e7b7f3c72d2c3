//! The end of the program: from its beginning on nobody lingers, and long work is given up.

use super::shim::Mutex;
use super::signal::Signal;
use std::sync::Arc;

/// Whether the end has begun, for everybody who waits for time to pass or works for long.
#[derive(Clone, Debug, Default)]
pub struct Ending(Arc<State>);

#[derive(Debug, Default)]
struct State {
    has_begun: Mutex<bool>,
    changed: Signal,
}

impl Ending {
    /// The end begins. More than once does no harm.
    pub fn begin(&self) {
        *self.0.has_begun.lock() = true;
        self.0.changed.notify();
    }

    /// Whether it has begun.
    pub(crate) fn has_begun(&self) -> bool {
        *self.0.has_begun.lock()
    }

    /// Waits for its beginning.
    pub async fn begun(&self) {
        loop {
            let seen = self.0.changed.changes();
            if self.has_begun() {
                return;
            }
            self.0.changed.changed_since(seen).await;
        }
    }
}
