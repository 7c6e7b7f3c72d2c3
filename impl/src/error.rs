//! Why the engine refuses a command. Each variant carries its cause; its text is QEMU 10.0's.

use thiserror::Error;

/// A command not accepted.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum Refused {
    /// Text that has no variant of its own yet.
    #[error("{0}")]
    Other(String),
    /// A `block-job-*` command names no block job.
    #[error("Block job '{0}' not found")]
    BlockJobNotFound(String),
}

impl Refused {
    /// The QMP error class.
    pub fn class(&self) -> &'static str {
        match self {
            Refused::BlockJobNotFound(_) => "DeviceNotActive",
            _ => "GenericError",
        }
    }
}
