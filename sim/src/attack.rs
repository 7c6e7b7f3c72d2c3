//! Attacks on a real daemon: hostile input of every kind, round after round, each on a process of its own with little memory.
//!
//! A round is a pure function of its seed: what is drawn, in which order, for which daemon. While it lasts somebody else
//! asks the daemon questions all the time (`watch`). What must not happen is in `finding`; what did happen is made small
//! there and can be kept as a file, which tests play again.

mod apart;
pub mod campaign;
mod draw;
pub mod finding;
mod guests;
mod images;
mod material;
mod monitor;
mod opened;
mod readers;
pub mod round;
mod servers;
mod victim;
mod watch;

use std::fmt;
use std::str::FromStr;

/// A kind of hostile input.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Kind {
    /// Bytes on a monitor.
    QmpBytes,
    /// Commands from the daemon's schema with extreme values.
    QmpCommands,
    /// Bytes on the NBD socket.
    NbdBytes,
    /// Sound NBD requests with extreme values.
    NbdRequests,
    /// Bytes from an NBD server that the daemon is a client of.
    NbdServers,
    /// Images whose bytes and entries were changed.
    ImageBytes,
    /// Images whose related fields were changed together.
    ImageFields,
    /// Traces, given to this command's own readers.
    Traces,
    /// Histories, likewise.
    Histories,
}

/// Every kind.
pub const KINDS: [Kind; 9] = [
    Kind::QmpBytes,
    Kind::QmpCommands,
    Kind::NbdBytes,
    Kind::NbdRequests,
    Kind::NbdServers,
    Kind::ImageBytes,
    Kind::ImageFields,
    Kind::Traces,
    Kind::Histories,
];

impl Kind {
    /// As files and tables name it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::QmpBytes => "qmp-bytes",
            Kind::QmpCommands => "qmp-commands",
            Kind::NbdBytes => "nbd-bytes",
            Kind::NbdRequests => "nbd-requests",
            Kind::NbdServers => "nbd-servers",
            Kind::ImageBytes => "image-bytes",
            Kind::ImageFields => "image-fields",
            Kind::Traces => "traces",
            Kind::Histories => "histories",
        }
    }

    /// Whether a daemon gets it, not a reader of ours.
    fn is_for_daemon(self) -> bool {
        !matches!(self, Kind::Traces | Kind::Histories)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(text: &str) -> Result<Kind, String> {
        let found = KINDS.into_iter().find(|kind| kind.name() == text);
        found.ok_or_else(|| format!("no kind of input is called `{text}`"))
    }
}
