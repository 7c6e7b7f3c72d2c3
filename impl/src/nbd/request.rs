//! One request of a client: read from its header, and refused at once where it makes no sense.

use super::offer::Offer;
use super::wire::{Fields, PAYLOAD_BYTES_MAX, REQUEST_HEADER_BYTES, REQUEST_MAGIC, command, flag};
use seam::Errno;

/// The number a client gave a request; it goes back with the reply.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Cookie(pub u64);

/// A request that may be done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Request {
    /// The client's number.
    pub cookie: Cookie,
    /// Where, in bytes.
    pub offset: u64,
    /// What.
    pub command: Command,
}

/// What a client wants done at an offset.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Command {
    /// Read so many bytes.
    Read {
        /// How many.
        len: u32,
        /// Whether holes may be sent as holes.
        sparse: bool,
    },
    /// Write these bytes.
    Write {
        /// The bytes.
        data: Vec<u8>,
        /// Durable before the reply.
        fua: bool,
    },
    /// Make so many bytes read as zeroes.
    WriteZeroes {
        /// How many.
        len: u64,
        /// Durable before the reply.
        fua: bool,
        /// Whether space may be given back.
        may_unmap: bool,
        /// Only if that is faster than writing.
        fast_only: bool,
    },
    /// So many bytes are not needed any more.
    Trim {
        /// How many.
        len: u64,
        /// Durable before the reply.
        fua: bool,
    },
    /// Make what was written durable.
    Flush,
    /// So many bytes will be read soon.
    Cache {
        /// How many.
        len: u32,
    },
    /// Describe so many bytes.
    BlockStatus {
        /// How many.
        len: u32,
        /// One extent is enough.
        one: bool,
        /// Whether what the chain holds is asked for.
        chain: bool,
        /// The bitmaps that are asked for.
        bitmaps: BitmapSet,
    },
}

impl Request {
    /// The same, and a change is durable before the reply.
    pub fn durable(mut self) -> Request {
        if let Command::Write { fua, .. } | Command::WriteZeroes { fua, .. } | Command::Trim { fua, .. } =
            &mut self.command
        {
            *fua = true;
        }
        self
    }
}

impl Command {
    /// How much memory it needs for data.
    pub fn held_bytes(&self) -> u64 {
        match self {
            Command::Read { len, .. } => u64::from(*len),
            Command::Write { data, .. } => data.len() as u64,
            _ => 0,
        }
    }

    /// The header by which a client asks for it; the bytes of a write follow.
    pub(super) fn header(&self, cookie: Cookie, offset: u64, structured: bool) -> [u8; REQUEST_HEADER_BYTES] {
        let when = |set: bool, flag: u16| if set { flag } else { 0 };
        let length = |len: u64| u32::try_from(len).expect("a client asks for no more than a request can say");
        let (command, flags, len) = match self {
            Command::Read { len, sparse } => (command::READ, when(structured && !sparse, flag::DF), *len),
            Command::Write { data, fua } => {
                (command::WRITE, when(*fua, flag::FUA), length(data.len() as u64))
            }
            Command::WriteZeroes { len, fua, may_unmap, fast_only } => {
                let how = when(!may_unmap, flag::NO_HOLE) | when(*fast_only, flag::FAST_ZERO);
                (command::WRITE_ZEROES, when(*fua, flag::FUA) | how, length(*len))
            }
            Command::Trim { len, fua } => (command::TRIM, when(*fua, flag::FUA), length(*len)),
            Command::Flush => (command::FLUSH, 0, 0),
            Command::Cache { len } => (command::CACHE, 0, *len),
            Command::BlockStatus { len, one, .. } => (command::BLOCK_STATUS, when(*one, flag::REQ_ONE), *len),
        };
        Header { flags, command, cookie, offset, len }.bytes()
    }

    /// The header by which a client takes its leave.
    pub(super) fn goodbye() -> [u8; REQUEST_HEADER_BYTES] {
        Header { flags: 0, command: command::DISC, cookie: Cookie(0), offset: 0, len: 0 }.bytes()
    }
}

/// A request's header as it came.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Header {
    flags: u16,
    command: u16,
    /// The client's number.
    pub cookie: Cookie,
    offset: u64,
    len: u32,
}

/// What the session has agreed with its client.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub struct Terms {
    /// Replies are structured.
    pub structured: bool,
    /// `base:allocation` may be asked for.
    pub allocation: bool,
    /// `qemu:allocation-depth` may be asked for.
    pub depth: bool,
    /// Which `qemu:dirty-bitmap:` may be asked for.
    pub bitmaps: BitmapSet,
}

/// Some of an export's bitmaps, by their place in its list.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub struct BitmapSet(u64);

impl BitmapSet {
    /// An export has no more bitmaps than this.
    pub const LEN_MAX: usize = 64;

    /// One more.
    pub(crate) fn insert(&mut self, index: usize) {
        assert!(index < Self::LEN_MAX, "bitmap {index} of an export");
        self.0 |= 1 << index;
    }

    /// Whether there is none.
    pub(crate) fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Their places, in order.
    pub fn iter(self) -> impl Iterator<Item = usize> {
        (0..Self::LEN_MAX).filter(move |index| self.0 >> index & 1 == 1)
    }
}

impl Terms {
    /// Whether anything may be asked about a range.
    fn has_context(self) -> bool {
        self.allocation || self.depth || !self.bitmaps.is_empty()
    }
}

impl Header {
    /// Reads a header. `None`: the magic is wrong, and nothing after it can be understood.
    pub fn read(bytes: &[u8; REQUEST_HEADER_BYTES]) -> Option<Header> {
        let mut fields = Fields::new(bytes);
        if fields.u32()? != REQUEST_MAGIC {
            return None;
        }
        Some(Header {
            flags: fields.u16()?,
            command: fields.u16()?,
            cookie: Cookie(fields.u64()?),
            offset: fields.u64()?,
            len: fields.u32()?,
        })
    }

    fn bytes(&self) -> [u8; REQUEST_HEADER_BYTES] {
        let mut bytes = [0; REQUEST_HEADER_BYTES];
        bytes[..4].copy_from_slice(&REQUEST_MAGIC.to_be_bytes());
        bytes[4..6].copy_from_slice(&self.flags.to_be_bytes());
        bytes[6..8].copy_from_slice(&self.command.to_be_bytes());
        bytes[8..16].copy_from_slice(&self.cookie.0.to_be_bytes());
        bytes[16..24].copy_from_slice(&self.offset.to_be_bytes());
        bytes[24..].copy_from_slice(&self.len.to_be_bytes());
        bytes
    }

    /// Whether the client takes its leave.
    pub(crate) fn is_disconnect(&self) -> bool {
        self.command == command::DISC
    }

    /// How many bytes follow the header.
    pub(crate) fn payload_bytes(&self) -> u32 {
        if self.command == command::WRITE { self.len } else { 0 }
    }

    /// Whether more bytes follow than may be taken; the connection cannot go on after the refusal.
    pub(crate) fn is_oversize(&self) -> bool {
        self.payload_bytes() > PAYLOAD_BYTES_MAX
    }

    /// The request, if this export does such a thing; refused in QEMU's order.
    pub fn admit(&self, data: Vec<u8>, terms: Terms, offer: &Offer) -> Result<Request, Errno> {
        let bounded = matches!(self.command, command::READ | command::WRITE | command::CACHE);
        if bounded && self.len > PAYLOAD_BYTES_MAX {
            return Err(Errno::EINVAL);
        }
        let valid_flags = self.valid_flags(terms).ok_or(Errno::EINVAL)?;
        let changes = matches!(self.command, command::WRITE | command::WRITE_ZEROES | command::TRIM);
        if changes && !offer.writable {
            // The specification has better numbers for this and the next, but QEMU 10.0 says this.
            return Err(Errno::EINVAL);
        }
        let inside = |end: u64| end <= offer.len_bytes;
        if !self.offset.checked_add(self.len.into()).is_some_and(inside) {
            return Err(Errno::EINVAL);
        }
        if self.flags & !valid_flags != 0 {
            return Err(Errno::EINVAL);
        }
        let command = self.command(data, terms)?;
        Ok(Request { cookie: self.cookie, offset: self.offset, command })
    }

    /// `None`: there is no such command.
    fn valid_flags(&self, terms: Terms) -> Option<u16> {
        let own = match self.command {
            command::READ if terms.structured => flag::DF,
            command::READ | command::WRITE | command::FLUSH | command::TRIM | command::CACHE => 0,
            command::WRITE_ZEROES => flag::NO_HOLE | flag::FAST_ZERO,
            command::BLOCK_STATUS => flag::REQ_ONE,
            _ => return None,
        };
        // FUA means something only where something is changed; elsewhere it is let pass.
        Some(own | flag::FUA)
    }

    fn command(&self, data: Vec<u8>, terms: Terms) -> Result<Command, Errno> {
        let has = |bit: u16| self.flags & bit != 0;
        let fua = has(flag::FUA);
        Ok(match self.command {
            command::READ => Command::Read { len: self.len, sparse: terms.structured && !has(flag::DF) },
            command::WRITE => Command::Write { data, fua },
            command::WRITE_ZEROES => Command::WriteZeroes {
                len: self.len.into(),
                fua,
                may_unmap: !has(flag::NO_HOLE),
                fast_only: has(flag::FAST_ZERO),
            },
            command::TRIM => Command::Trim { len: self.len.into(), fua },
            command::FLUSH => Command::Flush,
            command::CACHE => Command::Cache { len: self.len },
            command::BLOCK_STATUS if self.len > 0 && terms.has_context() => Command::BlockStatus {
                len: self.len,
                one: has(flag::REQ_ONE),
                chain: terms.allocation || terms.depth,
                bitmaps: terms.bitmaps,
            },
            _ => return Err(Errno::EINVAL),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(command: u16, flags: u16, offset: u64, len: u32) -> Header {
        Header { flags, command, cookie: Cookie(7), offset, len }
    }

    fn offer(writable: bool) -> Offer {
        Offer {
            name: "e".to_owned(),
            description: None,
            len_bytes: 1 << 20,
            writable,
            multi_conn: true,
            allocation_depth: false,
            bitmaps: Vec::new(),
        }
    }

    // Each refusal was asked of the real daemon.
    #[test]
    fn what_makes_no_sense_is_refused_with_qemus_numbers() {
        let end = 1 << 20;
        for (command, flags, offset, len, refused) in [
            (command::READ, 0, end, 1, Errno::EINVAL),
            (command::READ, 0, u64::MAX, 1, Errno::EINVAL),
            (command::READ, flag::DF, 0, 1, Errno::EINVAL),
            (command::READ, 0, 0, PAYLOAD_BYTES_MAX + 1, Errno::EINVAL),
            (command::CACHE, 0, 0, PAYLOAD_BYTES_MAX + 1, Errno::EINVAL),
            (command::WRITE, 0, end, 1, Errno::EINVAL),
            (command::WRITE_ZEROES, 0, end, 1, Errno::EINVAL),
            (command::TRIM, 0, end, 1, Errno::EINVAL),
            (command::BLOCK_STATUS, 0, 0, 1, Errno::EINVAL),
            (77, 0, 0, 1, Errno::EINVAL),
        ] {
            let header = header(command, flags, offset, len);
            let admitted = header.admit(Vec::new(), Terms::default(), &offer(true));
            assert_eq!(admitted, Err(refused), "{header:?}");
        }
        for command in [command::WRITE, command::WRITE_ZEROES, command::TRIM] {
            let admitted = header(command, 0, 0, 1).admit(Vec::new(), Terms::default(), &offer(false));
            assert_eq!(admitted, Err(Errno::EINVAL));
        }
        let empty =
            header(command::READ, flag::FUA, end, 0).admit(Vec::new(), Terms::default(), &offer(false));
        assert_eq!(empty.unwrap().command, Command::Read { len: 0, sparse: false });
    }
}
