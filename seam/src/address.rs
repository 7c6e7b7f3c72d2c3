//! Where a stream leads to, and why it does not.

use crate::Errno;
use std::fmt;

/// A place that somebody may listen at.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Address {
    /// A unix socket.
    Unix {
        /// Its path.
        path: String,
    },
    /// A port of a machine.
    Inet {
        /// The machine's name or number.
        host: String,
        /// The port, in digits.
        port: String,
        /// Only by this version of the internet's protocol, if it is said.
        version: Option<IpVersion>,
    },
}

/// A version of the internet's protocol.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum IpVersion {
    /// Addresses of four bytes.
    V4,
    /// Addresses of sixteen bytes.
    V6,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Unix { path } => f.write_str(path),
            Address::Inet { host, port, .. } => write!(f, "{host}:{port}"),
        }
    }
}

/// Why there is no connection.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum NotConnected {
    /// Nobody answers there, or may not be asked.
    Failed(Errno),
    /// The path of a unix socket has more bytes than the system takes.
    PathTooLong,
    /// There is no such machine or port, in the system's words.
    Unresolved(String),
}
