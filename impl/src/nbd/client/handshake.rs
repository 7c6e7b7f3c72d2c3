//! The handshake as a client: greeting, structured replies, a context, and the way into the export.

use super::failure::Failed;
use super::input::Input;
use super::{Export, Wishes};
use crate::nbd::wire::{
    Fields, GREETING_MAGIC, OPTION_MAGIC, OPTION_REPLY_MAGIC, PAYLOAD_BYTES_MAX, can, handshake, info,
    option, reply,
};

/// Bytes of a reply's header.
const REPLY_HEADER_BYTES: usize = 20;
/// No reply to an option that we use is longer.
const REPLY_BYTES_MAX: usize = 64 << 10;
/// Starts the greeting of servers from before 2011, behind the first eight bytes.
const OLD_STYLE_MAGIC: u64 = 0x0000_4202_8186_1253;
/// The zeroes that old servers send after the size of an export.
const ZEROES: usize = 124;
/// The largest size QEMU takes.
const LEN_BYTES_MAX: u64 = 0x7fff_ffff_c000_0000;

/// Where some bytes led.
#[derive(Debug)]
pub(super) enum Turn {
    /// Nowhere yet: more are needed.
    Wait,
    /// On in the handshake.
    Next,
    /// Into the export.
    Transmit(Export),
}

/// A handshake under way.
#[derive(Debug)]
pub(super) struct Handshake {
    wishes: Wishes,
    stage: Stage,
    /// The server leaves out the zeroes after the size of an export.
    no_zeroes: bool,
    structured: bool,
    context: Option<u32>,
    /// Size and flags.
    described: Option<(u64, u16)>,
    blocks: Option<[u32; 3]>,
}

/// What is waited for.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
enum Stage {
    /// The first eight bytes.
    Greeting,
    /// The next eight.
    ServerMagic,
    Flags,
    /// Replies to this option.
    Option(u32),
    /// Size and flags, from a server that knows only the oldest way in.
    ExportName,
}

/// A reply to an option.
struct Reply<'a> {
    kind: u32,
    data: &'a [u8],
}

impl Handshake {
    pub(super) fn new(wishes: Wishes) -> Handshake {
        Handshake {
            wishes,
            stage: Stage::Greeting,
            no_zeroes: false,
            structured: false,
            context: None,
            described: None,
            blocks: None,
        }
    }

    /// Why a server that hangs up here breaks its word.
    pub(super) fn at_the_end(&self) -> Failed {
        Failed::Ended(match self.stage {
            Stage::Greeting => "initial magic",
            Stage::ServerMagic => "server magic",
            Stage::Flags => "server flags",
            Stage::Option(_) => "option reply",
            Stage::ExportName => "export length",
        })
    }

    pub(super) fn advance(&mut self, input: &mut Input, out: &mut Vec<u8>) -> Result<Turn, Failed> {
        match self.stage {
            Stage::Greeting => match input.take().map(u64::from_be_bytes) {
                None => return Ok(Turn::Wait),
                Some(GREETING_MAGIC) => self.stage = Stage::ServerMagic,
                Some(other) => return Err(Failed::BadGreeting(other)),
            },
            Stage::ServerMagic => match input.take().map(u64::from_be_bytes) {
                None => return Ok(Turn::Wait),
                Some(OPTION_MAGIC) => self.stage = Stage::Flags,
                Some(OLD_STYLE_MAGIC) => return Err(Failed::OldStyle),
                Some(other) => return Err(Failed::BadServerMagic(other)),
            },
            Stage::Flags => match input.take().map(u16::from_be_bytes) {
                None => return Ok(Turn::Wait),
                Some(flags) => self.greet(flags, out),
            },
            Stage::Option(option) => return self.option(option, input, out),
            Stage::ExportName => return self.export_name(input),
        }
        Ok(Turn::Next)
    }

    /// Answers the server's flags with ours.
    fn greet(&mut self, flags: u16, out: &mut Vec<u8>) {
        let common = flags & (handshake::FIXED_NEWSTYLE | handshake::NO_ZEROES);
        out.extend(u32::from(common).to_be_bytes());
        self.no_zeroes = common & handshake::NO_ZEROES != 0;
        match common & handshake::FIXED_NEWSTYLE {
            0 => self.enter_by_name(out),
            _ => self.ask(option::STRUCTURED_REPLY, &[], out),
        }
    }

    fn ask(&mut self, option: u32, data: &[u8], out: &mut Vec<u8>) {
        out.extend(OPTION_MAGIC.to_be_bytes());
        out.extend(option.to_be_bytes());
        out.extend(u32::try_from(data.len()).expect("names are bounded").to_be_bytes());
        out.extend(data);
        self.stage = Stage::Option(option);
    }

    fn enter_by_name(&mut self, out: &mut Vec<u8>) {
        let name = self.wishes.export.clone();
        self.ask(option::EXPORT_NAME, name.as_bytes(), out);
        self.stage = Stage::ExportName;
    }

    fn ask_for_context(&mut self, out: &mut Vec<u8>) {
        let mut data = named(&self.wishes.export);
        data.extend(1_u32.to_be_bytes());
        data.extend(named(self.wanted_context()));
        self.ask(option::SET_META_CONTEXT, &data, out);
    }

    fn ask_to_go(&mut self, out: &mut Vec<u8>) {
        let mut data = named(&self.wishes.export);
        data.extend(1_u16.to_be_bytes());
        data.extend(info::BLOCK_SIZE.to_be_bytes());
        self.ask(option::GO, &data, out);
    }

    fn wanted_context(&self) -> &str {
        self.wishes.context.as_deref().unwrap_or("base:allocation")
    }

    fn option(&mut self, expected: u32, input: &mut Input, out: &mut Vec<u8>) -> Result<Turn, Failed> {
        let bytes = input.rest();
        let Some((header, rest)) = bytes.split_at_checked(REPLY_HEADER_BYTES) else { return Ok(Turn::Wait) };
        let mut fields = Fields::new(header);
        let (magic, found) = (fields.u64(), fields.u32());
        let (Some(kind), Some(len)) = (fields.u32(), fields.u32()) else { return Ok(Turn::Wait) };
        if magic != Some(OPTION_REPLY_MAGIC) {
            return Err(Failed::BadOptionMagic);
        }
        if let Some(found) = found.filter(|found| *found != expected) {
            return Err(Failed::OtherOption { found, expected });
        }
        let len = len as usize;
        if len > REPLY_BYTES_MAX {
            return Err(Failed::TooLong { kind });
        }
        let Some(data) = rest.get(..len) else { return Ok(Turn::Wait) };
        let answer = Reply { kind, data };
        let turn = match expected {
            option::STRUCTURED_REPLY => self.structured(&answer, out)?,
            option::SET_META_CONTEXT => self.contexts(&answer, out)?,
            _ => self.info(&answer, out)?,
        };
        input.skip(REPLY_HEADER_BYTES + len);
        Ok(turn)
    }

    fn structured(&mut self, answer: &Reply<'_>, out: &mut Vec<u8>) -> Result<Turn, Failed> {
        let option = option::STRUCTURED_REPLY;
        match answer.kind {
            reply::ACK if answer.data.is_empty() => {
                self.structured = true;
                self.ask_for_context(out);
            }
            reply::ACK => return Err(Failed::DataWithAck { option, len: answer.data.len() }),
            // Whatever the server has against it, it works without.
            kind if kind & reply::ERROR != 0 => self.ask_to_go(out),
            kind => return Err(Failed::UnexpectedReply { option, kind }),
        }
        Ok(Turn::Next)
    }

    fn contexts(&mut self, answer: &Reply<'_>, out: &mut Vec<u8>) -> Result<Turn, Failed> {
        match answer.kind {
            reply::META_CONTEXT => {
                let mut fields = Fields::new(answer.data);
                let id = fields.u32().filter(|_| answer.data.len() > 4);
                let id = id.ok_or(Failed::ContextLength(answer.data.len()))?;
                let found = &answer.data[4..];
                let wanted = self.wanted_context().to_owned();
                if found != wanted.as_bytes() {
                    let found = String::from_utf8_lossy(found).into_owned();
                    return Err(Failed::OtherContext { wanted, found });
                }
                if self.context.replace(id).is_some() {
                    return Err(Failed::SecondContext);
                }
            }
            reply::ACK if answer.data.is_empty() => self.ask_to_go(out),
            reply::ACK => return Err(Failed::DataWithContextAck),
            kind if kind & reply::ERROR != 0 => {
                self.context = None;
                self.ask_to_go(out);
            }
            kind => return Err(Failed::UnexpectedContextReply { kind, expected: reply::META_CONTEXT }),
        }
        Ok(Turn::Next)
    }

    fn info(&mut self, answer: &Reply<'_>, out: &mut Vec<u8>) -> Result<Turn, Failed> {
        match answer.kind {
            reply::INFO => self.describe(answer.data)?,
            reply::ACK if !answer.data.is_empty() => return Err(Failed::BadInfoAck),
            reply::ACK => {
                let described = self.described.filter(|(_, flags)| flags & can::HAS_FLAGS != 0);
                let (len_bytes, flags) = described.ok_or(Failed::NoInfo)?;
                return self.transmit(len_bytes, flags);
            }
            reply::ERR_UNSUP => self.enter_by_name(out),
            kind if kind & reply::ERROR != 0 => return Err(Failed::Refused { kind, option: option::GO }),
            kind => return Err(Failed::UnexpectedInfo { kind, expected: reply::INFO }),
        }
        Ok(Turn::Next)
    }

    fn describe(&mut self, data: &[u8]) -> Result<(), Failed> {
        let mut fields = Fields::new(data);
        let kind = fields.u16().ok_or(Failed::InfoTooShort(data.len()))?;
        let wrong = Failed::InfoLength(data.len().saturating_sub(2));
        match kind {
            info::EXPORT => {
                let (Some(len), Some(flags), true) = (fields.u64(), fields.u16(), fields.is_empty()) else {
                    return Err(wrong);
                };
                self.described = Some((len, flags));
                if let Some([block, ..]) =
                    self.blocks.filter(|[block, ..]| !len.is_multiple_of((*block).into()))
                {
                    return Err(Failed::SizeUnaligned { len, block });
                }
            }
            info::BLOCK_SIZE => {
                let sizes = [fields.u32(), fields.u32(), fields.u32()];
                let ([Some(min), Some(preferred), Some(max)], true) = (sizes, fields.is_empty()) else {
                    return Err(wrong);
                };
                admit_blocks(min, preferred, max)?;
                self.blocks = Some([min, preferred, max]);
            }
            _ => {}
        }
        Ok(())
    }

    fn export_name(&mut self, input: &mut Input) -> Result<Turn, Failed> {
        let zeroes = if self.no_zeroes { 0 } else { ZEROES };
        let mut fields = Fields::new(input.rest());
        let (Some(len), Some(flags), Some(_)) = (fields.u64(), fields.u16(), fields.bytes(zeroes)) else {
            return Ok(Turn::Wait);
        };
        input.skip(10 + zeroes);
        self.transmit(len, flags)
    }

    fn transmit(&self, len_bytes: u64, flags: u16) -> Result<Turn, Failed> {
        if len_bytes > LEN_BYTES_MAX {
            return Err(Failed::SizeTooLarge);
        }
        let [min, _, max] = self.blocks.unwrap_or([1, 1, PAYLOAD_BYTES_MAX]);
        let max = max.min(PAYLOAD_BYTES_MAX) / min * min;
        Ok(Turn::Transmit(Export {
            len_bytes,
            flags,
            structured: self.structured,
            context: self.context,
            block_bytes: min,
            request_bytes_max: max.max(min),
        }))
    }
}

/// A name with its length before it.
fn named(name: &str) -> Vec<u8> {
    let len = u32::try_from(name.len()).expect("names are bounded");
    [&len.to_be_bytes(), name.as_bytes()].concat()
}

fn admit_blocks(min: u32, preferred: u32, max: u32) -> Result<(), Failed> {
    let wrong = |what, bytes, not| Err(Failed::BlockSize { what, bytes, not });
    if !min.is_power_of_two() {
        return wrong("minimum", min, "not a power of two");
    }
    // A larger one would make a small request hold more than any request may.
    if min > PAYLOAD_BYTES_MAX {
        return wrong("minimum", min, "not valid");
    }
    if !preferred.is_power_of_two() || preferred < min {
        return wrong("preferred", preferred, "not valid");
    }
    if max < min {
        return wrong("maximum", max, "not valid");
    }
    Ok(())
}
