//! Why a message was not done.

use crate::error::Refused;
use crate::qapi::check;

/// Why a message was not done, as the client gets it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refusal {
    /// The error class.
    pub class: &'static str,
    /// The text.
    pub description: String,
}

impl Refusal {
    /// Of the class of nearly all of them.
    pub(crate) fn generic(description: impl Into<String>) -> Refusal {
        Refusal { class: "GenericError", description: description.into() }
    }

    /// The command is not there, or not now.
    pub(crate) fn not_found(description: impl Into<String>) -> Refusal {
        Refusal { class: "CommandNotFound", description: description.into() }
    }
}

impl From<check::Fault> for Refusal {
    fn from(fault: check::Fault) -> Refusal {
        Refusal::generic(fault.to_string())
    }
}

impl From<Refused> for Refusal {
    fn from(refused: Refused) -> Refusal {
        Refusal { class: refused.class(), description: refused.to_string() }
    }
}
