//! How a mirror copies what guests write, and whether it is in step with them: what its operators see and change, its
//! filter obeys and its task keeps up to date.

use crate::command::CopyMode;
use crate::error::Refused;
use crate::sync::shim::Mutex;

/// The mode of one mirror.
#[derive(Debug)]
pub struct MirrorMode {
    state: Mutex<(CopyMode, InStep)>,
}

/// Whether source and target are known to be equal between two writes.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
enum InStep {
    No,
    Yes,
}

impl MirrorMode {
    /// Not in step yet.
    pub fn new(copy_mode: CopyMode) -> MirrorMode {
        MirrorMode { state: Mutex::new((copy_mode, InStep::No)) }
    }

    /// How it copies now.
    pub fn copy_mode(&self) -> CopyMode {
        self.state.lock().0
    }

    /// What an operator changes: from copying later to copying at once, and never back.
    pub fn change(&self, to: CopyMode) -> Result<(), Refused> {
        let mut state = self.state.lock();
        if state.0 != to {
            if to != CopyMode::WriteBlocking {
                return Err(Refused::CopyModeNotImplemented(to.word()));
            }
            state.0 = to;
        }
        Ok(())
    }

    /// Every write reaches the target before it ends, and nothing else is left to copy.
    pub fn set_actively_synced(&self) {
        self.state.lock().1 = InStep::Yes;
    }

    /// A copy failed.
    pub fn set_out_of_step(&self) {
        self.state.lock().1 = InStep::No;
    }

    /// `actively-synced`.
    pub fn is_actively_synced(&self) -> bool {
        self.state.lock().1 == InStep::Yes
    }
}
