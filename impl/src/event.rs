//! What the engine emits without being asked: job events, in QEMU's order and with its fields.

use seam::WallClock;

/// One event.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// `JOB_STATUS_CHANGE`.
    JobStatusChange {
        /// The job.
        id: String,
        /// Its new status.
        status: &'static str,
    },
    /// `BLOCK_JOB_COMPLETED`.
    BlockJobCompleted {
        /// The job.
        job: JobFacts,
        /// Why it failed, if it did.
        error: Option<String>,
    },
    /// `BLOCK_JOB_CANCELLED`.
    BlockJobCancelled {
        /// The job.
        job: JobFacts,
    },
    /// `BLOCK_JOB_READY`.
    BlockJobReady {
        /// The job.
        job: JobFacts,
    },
    /// `BLOCK_JOB_PENDING`.
    BlockJobPending {
        /// The job's type.
        kind: &'static str,
        /// The job.
        id: String,
    },
    /// `BLOCK_JOB_ERROR`.
    BlockJobError {
        /// The job.
        device: String,
        /// `read` or `write`.
        operation: &'static str,
        /// `ignore`, `report` or `stop`.
        action: &'static str,
    },
    /// `BLOCK_WRITE_THRESHOLD`.
    BlockWriteThreshold {
        /// The node that was written.
        node_name: String,
        /// By how many bytes the mark was passed.
        exceeded: u64,
        /// The mark.
        threshold: u64,
    },
    /// `BLOCK_IMAGE_CORRUPTED`.
    BlockImageCorrupted {
        /// The node.
        node_name: String,
        /// What is wrong.
        text: String,
        /// What was about to be written, if that was wrong: offset and length.
        range: Option<(u64, u64)>,
        /// Whether nothing is written to it any more.
        is_fatal: bool,
    },
    /// `BLOCK_EXPORT_DELETED`.
    BlockExportDeleted {
        /// The export.
        id: String,
    },
}

/// What COMPLETED, CANCELLED and READY say of a job.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct JobFacts {
    /// `type`.
    pub kind: &'static str,
    /// `device`: the job's id.
    pub device: String,
    /// Expected total, bytes.
    pub len: u64,
    /// Progress, bytes.
    pub offset: u64,
    /// Speed limit, bytes a second.
    pub speed: i64,
}

/// Somebody who receives every event at the moment it happens, in order. Must not call back into the engine.
pub trait EventSink: Send + Sync {
    /// One event.
    fn emit(&self, event: &Event, at: WallClock);
}
