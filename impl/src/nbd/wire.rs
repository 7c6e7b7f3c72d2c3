//! The numbers of the protocol, and how they are put into bytes: everything is big-endian.

use seam::Errno;

/// `NBDMAGIC`: the first eight bytes a server sends.
pub(crate) const GREETING_MAGIC: u64 = 0x4e42_444d_4147_4943;
/// `IHAVEOPT`: the next eight, and the start of every option.
pub(crate) const OPTION_MAGIC: u64 = 0x4948_4156_454f_5054;
/// Starts every reply to an option.
pub(crate) const OPTION_REPLY_MAGIC: u64 = 0x0003_e889_0455_65a9;
/// Starts every request.
pub(crate) const REQUEST_MAGIC: u32 = 0x2560_9513;
/// Starts a simple reply.
pub(crate) const SIMPLE_REPLY_MAGIC: u32 = 0x6744_6698;
/// Starts a chunk of a structured reply.
pub(crate) const CHUNK_MAGIC: u32 = 0x668e_33ef;

/// The longest name, description or error text, in bytes.
pub(crate) const STRING_BYTES_MAX: usize = 4096;
/// The longest payload of a request or a reply, in bytes.
pub(crate) const PAYLOAD_BYTES_MAX: u32 = 32 << 20;
/// Bytes of an option's header.
pub(crate) const OPTION_HEADER_BYTES: usize = 16;
/// Bytes of a request's header.
pub(crate) const REQUEST_HEADER_BYTES: usize = 28;

/// Handshake flags; the client's have the same bits.
pub(crate) mod handshake {
    /// Fixed newstyle.
    pub(crate) const FIXED_NEWSTYLE: u16 = 1;
    /// No 124 zeroes after `EXPORT_NAME`.
    pub(crate) const NO_ZEROES: u16 = 2;
}

/// Options of the handshake.
#[allow(missing_docs)] // The names are the specification's.
pub(crate) mod option {
    pub(crate) const EXPORT_NAME: u32 = 1;
    pub(crate) const ABORT: u32 = 2;
    pub(crate) const LIST: u32 = 3;
    pub(crate) const STARTTLS: u32 = 5;
    pub(crate) const INFO: u32 = 6;
    pub(crate) const GO: u32 = 7;
    pub(crate) const STRUCTURED_REPLY: u32 = 8;
    pub(crate) const LIST_META_CONTEXT: u32 = 9;
    pub(crate) const SET_META_CONTEXT: u32 = 10;
}

/// Types of replies to options.
#[allow(missing_docs)] // The names are the specification's.
pub(crate) mod reply {
    /// Every refusal has this bit.
    pub(crate) const ERROR: u32 = 1 << 31;
    pub(crate) const ACK: u32 = 1;
    pub(crate) const SERVER: u32 = 2;
    pub(crate) const INFO: u32 = 3;
    pub(crate) const META_CONTEXT: u32 = 4;
    pub(crate) const ERR_UNSUP: u32 = ERROR | 1;
    pub(crate) const ERR_POLICY: u32 = ERROR | 2;
    pub(crate) const ERR_INVALID: u32 = ERROR | 3;
    pub(crate) const ERR_PLATFORM: u32 = ERROR | 4;
    pub(crate) const ERR_TLS_REQD: u32 = ERROR | 5;
    pub(crate) const ERR_UNKNOWN: u32 = ERROR | 6;
    pub(crate) const ERR_SHUTDOWN: u32 = ERROR | 7;
    pub(crate) const ERR_BLOCK_SIZE_REQD: u32 = ERROR | 8;
    pub(crate) const ERR_TOO_BIG: u32 = ERROR | 9;
}

/// What `INFO` and `GO` answer.
#[allow(missing_docs)] // The names are the specification's.
pub(crate) mod info {
    pub(crate) const EXPORT: u16 = 0;
    pub(crate) const NAME: u16 = 1;
    pub(crate) const DESCRIPTION: u16 = 2;
    pub(crate) const BLOCK_SIZE: u16 = 3;
}

/// Transmission flags: what an export can do.
#[allow(missing_docs)] // The names are the specification's.
pub(crate) mod can {
    pub(crate) const HAS_FLAGS: u16 = 1 << 0;
    pub(crate) const READ_ONLY: u16 = 1 << 1;
    pub(crate) const SEND_FLUSH: u16 = 1 << 2;
    pub(crate) const SEND_FUA: u16 = 1 << 3;
    pub(crate) const SEND_TRIM: u16 = 1 << 5;
    pub(crate) const SEND_WRITE_ZEROES: u16 = 1 << 6;
    pub(crate) const SEND_DF: u16 = 1 << 7;
    pub(crate) const CAN_MULTI_CONN: u16 = 1 << 8;
    pub(crate) const SEND_CACHE: u16 = 1 << 10;
    pub(crate) const SEND_FAST_ZERO: u16 = 1 << 11;
}

/// Commands.
#[allow(missing_docs)] // The names are the specification's.
pub(crate) mod command {
    pub(crate) const READ: u16 = 0;
    pub(crate) const WRITE: u16 = 1;
    pub(crate) const DISC: u16 = 2;
    pub(crate) const FLUSH: u16 = 3;
    pub(crate) const TRIM: u16 = 4;
    pub(crate) const CACHE: u16 = 5;
    pub(crate) const WRITE_ZEROES: u16 = 6;
    pub(crate) const BLOCK_STATUS: u16 = 7;
}

/// Flags of commands.
#[allow(missing_docs)] // The names are the specification's.
pub(crate) mod flag {
    pub(crate) const FUA: u16 = 1 << 0;
    pub(crate) const NO_HOLE: u16 = 1 << 1;
    pub(crate) const DF: u16 = 1 << 2;
    pub(crate) const REQ_ONE: u16 = 1 << 3;
    pub(crate) const FAST_ZERO: u16 = 1 << 4;
}

/// Chunks of structured replies.
#[allow(missing_docs)] // The names are the specification's.
pub(crate) mod chunk {
    /// Every chunk that says what went wrong has this bit.
    pub(crate) const ERROR: u16 = 1 << 15;
    /// The flag of a reply's last chunk.
    pub(crate) const DONE: u16 = 1;
    pub(crate) const NONE: u16 = 0;
    pub(crate) const OFFSET_DATA: u16 = 1;
    pub(crate) const OFFSET_HOLE: u16 = 2;
    pub(crate) const BLOCK_STATUS: u16 = 5;
    pub(crate) const GENERIC_ERROR: u16 = ERROR | 1;
}

/// What a number of the protocol means; one that the protocol does not have is an invalid argument, as in QEMU.
pub(crate) fn errno(number: u32) -> Option<Errno> {
    match number {
        0 => None,
        known @ (1 | 5 | 12 | 28 | 75 | 95 | 108) => Some(Errno(known as i32)),
        _ => Some(Errno::EINVAL),
    }
}

/// The protocol has few error numbers; what it has no number for is an invalid argument, as in QEMU.
pub(crate) fn error_number(errno: Errno) -> u32 {
    const ENOMEM: i32 = 12;
    const EOVERFLOW: i32 = 75;
    const ESHUTDOWN: i32 = 108;
    const EDQUOT: i32 = 122;
    match errno {
        Errno::EPERM | Errno::EROFS => 1,
        Errno::EIO => 5,
        Errno(ENOMEM) => 12,
        Errno::ENOSPC | Errno::EFBIG | Errno(EDQUOT) => 28,
        Errno(EOVERFLOW) => 75,
        Errno::ENOTSUP => 95,
        Errno(ESHUTDOWN) => 108,
        _ => 22,
    }
}

/// Reads numbers from the front of some bytes.
#[derive(Clone, Debug)]
pub(crate) struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    /// All of `bytes`.
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Fields { rest: bytes }
    }

    /// The next `len` bytes, if there are so many.
    pub(crate) fn bytes(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(*taken)
    }

    /// The next two bytes.
    pub(crate) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    /// The next four bytes.
    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    /// The next eight bytes.
    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    /// Whether nothing is left.
    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }
}
