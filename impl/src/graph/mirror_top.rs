//! What a mirror's filter knows: what is left to copy, where to, and how. The filter, the job's task and its operators
//! share it.

use crate::dirty::DirtyMap;
use crate::error::Refused;
use crate::id::NodeId;
use crate::sync::range_lock::RangeLock;
use crate::sync::shim::Mutex;
use crate::sync::signal::Signal;
use seam::Errno;

/// How a mirror copies what guests write.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub enum CopyMode {
    /// Later, by itself.
    #[default]
    Background,
    /// At once: a guest's write ends when both source and target have it.
    WriteBlocking,
}

impl CopyMode {
    /// The word QMP uses.
    pub fn word(self) -> &'static str {
        match self {
            CopyMode::Background => "background",
            CopyMode::WriteBlocking => "write-blocking",
        }
    }
}

/// The state of one mirror's filter.
#[derive(Debug)]
pub struct MirrorTop {
    /// The node that is copied from.
    pub source: NodeId,
    /// The node that is copied into.
    pub target: NodeId,
    /// An active commit: target lies below source in one chain.
    pub is_commit: bool,
    /// A chunk is copied only as a whole: a part of it would make the rest of a cluster of target read as zeroes.
    pub whole_chunks: bool,
    /// A node to be replaced other than the source.
    pub replaces: Option<String>,
    /// Ranges that are being copied. A copy is alone on its chunks, so that no older data overtakes newer.
    pub copies: RangeLock,
    state: Mutex<State>,
    changed: Signal,
}

#[derive(Debug)]
struct State {
    copy_mode: CopyMode,
    /// The job holds guests back: it cannot catch up with them otherwise.
    held: bool,
    sync: InStep,
    dirty: DirtyMap,
    /// The last write into target that failed and nobody dealt with yet.
    failed: Option<Errno>,
}

/// Whether source and target are known to be equal between two writes.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
enum InStep {
    No,
    Yes,
}

/// What a mirror is made of.
#[derive(Debug)]
pub struct MirrorParts {
    /// See [`MirrorTop`].
    pub source: NodeId,
    /// See [`MirrorTop`].
    pub target: NodeId,
    /// See [`MirrorTop`].
    pub is_commit: bool,
    /// See [`MirrorTop`].
    pub whole_chunks: bool,
    /// See [`MirrorTop`].
    pub replaces: Option<String>,
    /// How it copies what guests write.
    pub copy_mode: CopyMode,
    /// What is left to copy.
    pub dirty: DirtyMap,
}

impl MirrorTop {
    /// Not in step yet.
    pub fn new(parts: MirrorParts) -> MirrorTop {
        let MirrorParts { source, target, is_commit, whole_chunks, replaces, copy_mode, dirty } = parts;
        let state = Mutex::new(State { copy_mode, held: false, sync: InStep::No, dirty, failed: None });
        let (copies, changed) = (RangeLock::new(), Signal::new());
        MirrorTop { source, target, is_commit, whole_chunks, replaces, copies, state, changed }
    }

    /// How it copies now.
    pub fn copy_mode(&self) -> CopyMode {
        self.state.lock().copy_mode
    }

    /// Whether a guest's write is to reach target before it ends.
    pub(crate) fn copies_at_once(&self) -> bool {
        let state = self.state.lock();
        state.held || state.copy_mode == CopyMode::WriteBlocking
    }

    /// Holds guests back, or does so no longer: while they are held, a write ends only when target has it too, so that
    /// what is left to copy does not grow.
    pub fn hold(&self, held: bool) {
        self.state.lock().held = held;
    }

    /// What an operator changes: from copying later to copying at once, and never back.
    pub fn change(&self, to: CopyMode) -> Result<(), Refused> {
        let mut state = self.state.lock();
        if state.copy_mode != to {
            if to != CopyMode::WriteBlocking {
                return Err(Refused::CopyModeNotImplemented(to.word()));
            }
            state.copy_mode = to;
            drop(state);
            self.changed.notify();
        }
        Ok(())
    }

    /// `actively-synced`.
    pub(crate) fn is_actively_synced(&self) -> bool {
        self.state.lock().sync == InStep::Yes
    }

    /// Nothing is left to copy: from now on source and target are equal between two writes, if every write reaches
    /// both at once. Answers false if something is left after all.
    pub fn settle(&self) -> bool {
        let mut state = self.state.lock();
        if state.dirty.is_clean() && state.copy_mode == CopyMode::WriteBlocking {
            state.sync = InStep::Yes;
        }
        state.dirty.is_clean()
    }

    /// The size of a chunk.
    pub(crate) fn chunk_bytes(&self) -> u64 {
        self.state.lock().dirty.chunk_bytes()
    }

    /// How many bytes are left to copy.
    pub(crate) fn dirty_bytes(&self) -> u64 {
        self.state.lock().dirty.bytes()
    }

    /// Something is to be copied, now or again.
    pub fn mark(&self, start: u64, end: u64) {
        {
            let mut state = self.state.lock();
            state.dirty.mark(start, end);
            state.sync = InStep::No;
        }
        self.changed.notify();
    }

    /// What `start..end` held is of no interest any more: something newer reaches target.
    pub fn forget(&self, start: u64, end: u64) {
        self.state.lock().dirty.forget(start, end);
    }

    /// Takes out the next range to copy.
    pub fn take(&self, bytes_max: u64) -> Option<(u64, u64)> {
        let mut state = self.state.lock();
        // Who is in step has nothing left to copy.
        assert!(state.sync == InStep::No || state.dirty.is_clean(), "a mirror in step has something to copy");
        state.dirty.take(bytes_max)
    }

    /// A guest's write did not reach target: the range is to be copied again, and the job has an error to deal with. A
    /// guest that is only held back leaves the error to the copy.
    pub fn fail(&self, start: u64, end: u64, errno: Errno) {
        {
            let mut state = self.state.lock();
            if state.copy_mode == CopyMode::WriteBlocking {
                state.failed = Some(errno);
            }
        }
        self.mark(start, end);
    }

    /// The error of a guest's write that nobody dealt with yet.
    pub(crate) fn take_failure(&self) -> Option<Errno> {
        self.state.lock().failed.take()
    }

    /// How many changes there were, to be read before a look and handed to `changed_since`.
    pub fn changes(&self) -> u64 {
        self.changed.changes()
    }

    /// Waits until something was marked, or an operator changed the mode, since `seen`.
    pub async fn changed_since(&self, seen: u64) {
        self.changed.changed_since(seen).await;
    }
}
