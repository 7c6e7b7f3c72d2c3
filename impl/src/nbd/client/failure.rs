//! Why a connection to a server came to nothing, in QEMU's words.

use crate::nbd::wire::{option, reply};
use thiserror::Error;

/// The reason.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[allow(missing_docs)] // The text above each variant says what its fields are.
pub enum Failed {
    #[error("Failed to read {0}: Unexpected end-of-file before all data were read")]
    Ended(&'static str),
    #[error("Bad initial magic received: 0x{0:016x}")]
    BadGreeting(u64),
    #[error("Bad server magic received: 0x{0:016x}")]
    BadServerMagic(u64),
    #[error("the server speaks the protocol of before 2011")]
    OldStyle,
    #[error("Unexpected option reply magic")]
    BadOptionMagic,
    #[error("Unexpected option type {found} ({}), expected {expected} ({})", option_name(*found), option_name(*expected))]
    OtherOption { found: u32, expected: u32 },
    #[error("server error {kind} ({}) message is too long", reply_name(*kind))]
    TooLong { kind: u32 },
    #[error("Option {option} ('{}') response length is {len} (it should be zero)", option_name(*option))]
    DataWithAck { option: u32, len: usize },
    #[error("Server answered option {option} ({}) with unexpected reply {kind} ({})", option_name(*option), reply_name(*kind))]
    UnexpectedReply { option: u32, kind: u32 },
    #[error("Failed to negotiate meta context, server answered with unexpected length {0}")]
    ContextLength(usize),
    #[error("Failed to negotiate meta context '{wanted}', server answered with different context '{found}'")]
    OtherContext { wanted: String, found: String },
    #[error("Server answered with more than one context")]
    SecondContext,
    #[error("Unexpected length to ACK response")]
    DataWithContextAck,
    #[error("Unexpected reply type {kind} ({}), expected {expected} ({})", reply_name(*kind), reply_name(*expected))]
    UnexpectedContextReply { kind: u32, expected: u32 },
    #[error("broken server omitted NBD_INFO_EXPORT")]
    NoInfo,
    #[error("server sent invalid NBD_REP_ACK")]
    BadInfoAck,
    #[error("NBD_REP_INFO length {0} is too short")]
    InfoTooShort(usize),
    #[error("remaining export info len {0} is unexpected size")]
    InfoLength(usize),
    #[error("server {what} block size {bytes} is {not}")]
    BlockSize { what: &'static str, bytes: u32, not: &'static str },
    #[error("export size {len} is not multiple of minimum block size {block}")]
    SizeUnaligned { len: u64, block: u32 },
    #[error("Could not refresh total sector count: File too large")]
    SizeTooLarge,
    #[error("unexpected reply type {kind} ({}), expected {expected} ({})", reply_name(*kind), reply_name(*expected))]
    UnexpectedInfo { kind: u32, expected: u32 },
    #[error("{}", refusal(*kind, *option))]
    Refused { kind: u32, option: u32 },
    #[error("the server hung up")]
    HungUp,
    #[error("the server's reply makes no sense: {0}")]
    Nonsense(&'static str),
}

fn refusal(kind: u32, option: u32) -> String {
    let of_option = format!("option {option} ({})", option_name(option));
    match kind {
        reply::ERR_POLICY => format!("Denied by server for {of_option}"),
        reply::ERR_INVALID => format!("Invalid parameters for {of_option}"),
        reply::ERR_PLATFORM => format!("Server lacks support for {of_option}"),
        reply::ERR_TLS_REQD => format!("TLS negotiation required before {of_option}"),
        reply::ERR_UNKNOWN => "Requested export not available".to_owned(),
        reply::ERR_SHUTDOWN => format!("Server shutting down before {of_option}"),
        reply::ERR_BLOCK_SIZE_REQD => format!("Server requires INFO_BLOCK_SIZE for {of_option}"),
        _ => format!("Unknown error code when asking for {of_option}"),
    }
}

fn option_name(number: u32) -> &'static str {
    match number {
        option::EXPORT_NAME => "export name",
        option::ABORT => "abort",
        option::LIST => "list",
        option::STARTTLS => "starttls",
        option::INFO => "info",
        option::GO => "go",
        option::STRUCTURED_REPLY => "structured reply",
        option::LIST_META_CONTEXT => "list meta context",
        option::SET_META_CONTEXT => "set meta context",
        _ => "<unknown>",
    }
}

fn reply_name(number: u32) -> &'static str {
    match number {
        reply::ACK => "ack",
        reply::SERVER => "server",
        reply::INFO => "info",
        reply::META_CONTEXT => "meta context",
        reply::ERR_UNSUP => "unsupported",
        reply::ERR_POLICY => "denied by policy",
        reply::ERR_INVALID => "invalid",
        reply::ERR_PLATFORM => "platform lacks support",
        reply::ERR_TLS_REQD => "TLS required",
        reply::ERR_UNKNOWN => "export unknown",
        reply::ERR_SHUTDOWN => "server shutting down",
        reply::ERR_BLOCK_SIZE_REQD => "block size required",
        reply::ERR_TOO_BIG => "option payload too big",
        _ => "<unknown>",
    }
}
