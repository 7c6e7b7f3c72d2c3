//! One option of the handshake: what the client asks for, and the replies it gets.

use super::offer::{Exports, Offer};
use super::request::{BitmapSet, Terms};
use super::wire::{Fields, OPTION_REPLY_MAGIC, PAYLOAD_BYTES_MAX, STRING_BYTES_MAX, info, option, reply};

/// The ids of the contexts a client may ask for, as QEMU numbers them.
#[allow(missing_docs)] // The names are the contexts'.
pub(super) mod context {
    pub(crate) const BASE_ALLOCATION: u32 = 0;
    pub(crate) const ALLOCATION_DEPTH: u32 = 1;
    const FIRST_BITMAP: u32 = 2;

    /// Of a bitmap, by its place in the export's list.
    pub(crate) fn of_bitmap(index: usize) -> u32 {
        FIRST_BITMAP + u32::try_from(index).expect("an export has few bitmaps")
    }
}

/// Block sizes we offer: any offset will do, these are fine.
const BLOCK_BYTES_MIN: u32 = 1;
const BLOCK_BYTES_PREFERRED: u32 = 4096;

/// Where an option leads.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Turn {
    /// To the next option.
    Next,
    /// To transmission, on this export.
    Transmit(Offer),
    /// Nowhere.
    Close,
}

/// What the handshake has brought so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Agreed {
    /// No zeroes after `EXPORT_NAME`.
    pub no_zeroes: bool,
    /// Replies are structured.
    structured: bool,
    /// The export whose contexts were chosen, and which.
    contexts: Option<(String, Contexts)>,
}

#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
struct Contexts {
    allocation: bool,
    depth: bool,
    bitmaps: BitmapSet,
}

impl Agreed {
    /// What holds from now on for a client of `export`. Contexts chosen for another do not.
    pub(super) fn terms(&self, export: &str) -> Terms {
        let chosen = self.contexts.as_ref().filter(|(name, _)| name == export).map(|(_, chosen)| *chosen);
        let chosen = chosen.unwrap_or_default();
        let Contexts { allocation, depth, bitmaps } = chosen;
        Terms { structured: self.structured, allocation, depth, bitmaps }
    }

    /// Answers one option; `data` is what came with it.
    pub(super) fn answer(
        &mut self,
        option: u32,
        data: &[u8],
        exports: &mut dyn Exports,
        out: &mut Vec<u8>,
    ) -> Turn {
        let mut replies = Replies { option, out };
        let answered = match option {
            option::EXPORT_NAME => return self.export_name(data, exports, replies.out),
            option::ABORT => {
                replies.acknowledge();
                return Turn::Close;
            }
            option::LIST => list(data, exports, &mut replies),
            option::INFO => self.info(data, |name| exports.find(name), &mut replies).map(|_| Turn::Next),
            option::GO => self.info(data, |name| exports.enter(name), &mut replies).map(Turn::Transmit),
            option::STRUCTURED_REPLY => self.structured_reply(data),
            option::LIST_META_CONTEXT => self.meta_context(data, exports, &mut replies, false),
            option::SET_META_CONTEXT => self.meta_context(data, exports, &mut replies, true),
            option::STARTTLS => Err(Refused::new(reply::ERR_POLICY, "TLS not configured")),
            _ => Err(Refused::new(reply::ERR_UNSUP, format!("Unsupported option {option}"))),
        };
        match answered {
            Ok(turn) => {
                replies.acknowledge();
                turn
            }
            Err(refused) => {
                replies.send(refused.kind, refused.text.as_bytes());
                Turn::Next
            }
        }
    }

    /// The oldest way in. It has no way to refuse but to hang up.
    fn export_name(&self, data: &[u8], exports: &mut dyn Exports, out: &mut Vec<u8>) -> Turn {
        const ZEROES: usize = 124;
        let name = std::str::from_utf8(data).ok().filter(|name| name.len() <= STRING_BYTES_MAX);
        let Some(offer) = name.and_then(|name| exports.enter(name)) else {
            return Turn::Close;
        };
        out.extend(offer.len_bytes.to_be_bytes());
        out.extend(offer.flags(self.structured).to_be_bytes());
        if !self.no_zeroes {
            out.resize(out.len() + ZEROES, 0);
        }
        Turn::Transmit(offer)
    }

    fn structured_reply(&mut self, data: &[u8]) -> Result<Turn, Refused> {
        refuse_data(data)?;
        if self.structured {
            return Err(Refused::invalid("structured replies are already agreed"));
        }
        self.structured = true;
        Ok(Turn::Next)
    }

    fn info(
        &self,
        data: &[u8],
        find: impl FnOnce(&str) -> Option<Offer>,
        replies: &mut Replies<'_>,
    ) -> Result<Offer, Refused> {
        let (name, wanted) = read_info(data).ok_or(Refused::invalid("the option is malformed"))?;
        let offer = find(name).ok_or_else(|| Refused::no_export(name))?;
        if wanted.contains(&info::NAME) {
            replies.info(info::NAME, offer.name.as_bytes());
        }
        if let Some(description) = &offer.description {
            replies.info(info::DESCRIPTION, description.as_bytes());
        }
        let sizes = [BLOCK_BYTES_MIN, BLOCK_BYTES_PREFERRED, PAYLOAD_BYTES_MAX];
        replies.info(info::BLOCK_SIZE, &sizes.map(u32::to_be_bytes).concat());
        let mut export = offer.len_bytes.to_be_bytes().to_vec();
        export.extend(offer.flags(self.structured).to_be_bytes());
        replies.info(info::EXPORT, &export);
        Ok(offer)
    }

    fn meta_context(
        &mut self,
        data: &[u8],
        exports: &dyn Exports,
        replies: &mut Replies<'_>,
        set: bool,
    ) -> Result<Turn, Refused> {
        if set && !self.structured {
            return Err(Refused::invalid("contexts need structured replies"));
        }
        if set {
            // Whatever comes of it, the last choice does not hold any more.
            self.contexts = None;
        }
        let (name, queries) = read_queries(data).ok_or(Refused::invalid("the option is malformed"))?;
        let offer = exports.find(name).ok_or_else(|| Refused::no_export(name))?;
        let everything = queries.is_empty() && !set;
        let asked = |namespace: &[u8], leaf: &[u8]| {
            let matches = |query: &&[u8]| {
                let rest = query.strip_prefix(namespace);
                rest.is_some_and(|rest| rest == leaf || (rest.is_empty() && !set))
            };
            everything || queries.iter().any(matches)
        };
        let mut bitmaps = BitmapSet::default();
        for (index, name) in offer.bitmaps.iter().enumerate() {
            // Of all that is QEMU's, or of all bitmaps, a client may ask for a list.
            let lists = !set && queries.contains(&&b"qemu:"[..]);
            // Of two with one name, the first is meant.
            let is_first = offer.bitmaps[..index].iter().all(|other| other != name);
            if lists || asked(b"qemu:dirty-bitmap:", name.as_bytes()) && (is_first || !set) {
                bitmaps.insert(index);
            }
        }
        let chosen = Contexts {
            allocation: asked(b"base:", b"allocation"),
            depth: offer.allocation_depth && asked(b"qemu:", b"allocation-depth"),
            bitmaps,
        };
        if chosen.allocation {
            replies.context(context::BASE_ALLOCATION, "base:allocation");
        }
        if chosen.depth {
            replies.context(context::ALLOCATION_DEPTH, "qemu:allocation-depth");
        }
        for index in bitmaps.iter() {
            let name = format!("qemu:dirty-bitmap:{}", offer.bitmaps[index]);
            replies.context(context::of_bitmap(index), &name);
        }
        if set {
            self.contexts = Some((offer.name, chosen));
        }
        Ok(Turn::Next)
    }
}

/// A refusal in the handshake.
struct Refused {
    kind: u32,
    text: String,
}

impl Refused {
    fn new(kind: u32, text: impl Into<String>) -> Refused {
        Refused { kind, text: text.into() }
    }

    fn invalid(text: &str) -> Refused {
        Refused::new(reply::ERR_INVALID, text)
    }

    fn no_export(name: &str) -> Refused {
        Refused::new(reply::ERR_UNKNOWN, format!("export '{name}' not present"))
    }
}

/// The replies to one option.
struct Replies<'a> {
    option: u32,
    out: &'a mut Vec<u8>,
}

impl Replies<'_> {
    fn send(&mut self, kind: u32, data: &[u8]) {
        push_reply(self.out, self.option, kind, data);
    }

    fn acknowledge(&mut self) {
        self.send(reply::ACK, &[]);
    }

    fn info(&mut self, kind: u16, data: &[u8]) {
        self.send(reply::INFO, &[&kind.to_be_bytes(), data].concat());
    }

    fn context(&mut self, id: u32, name: &str) {
        self.send(reply::META_CONTEXT, &[&id.to_be_bytes(), name.as_bytes()].concat());
    }
}

/// Writes one reply to an option.
pub(super) fn push_reply(out: &mut Vec<u8>, option: u32, kind: u32, data: &[u8]) {
    // A text quotes a name, and names are bounded; QEMU's limit is on the whole text.
    let data = if kind >= reply::ERR_UNSUP { &data[..data.len().min(STRING_BYTES_MAX)] } else { data };
    out.extend(OPTION_REPLY_MAGIC.to_be_bytes());
    out.extend(option.to_be_bytes());
    out.extend(kind.to_be_bytes());
    out.extend(u32::try_from(data.len()).expect("a reply is short").to_be_bytes());
    out.extend(data);
}

fn refuse_data(data: &[u8]) -> Result<(), Refused> {
    match data.is_empty() {
        true => Ok(()),
        false => Err(Refused::invalid("the option takes no data")),
    }
}

fn list(data: &[u8], exports: &dyn Exports, replies: &mut Replies<'_>) -> Result<Turn, Refused> {
    refuse_data(data)?;
    for offer in exports.list() {
        let len = u32::try_from(offer.name.len()).expect("names are bounded").to_be_bytes();
        let description = offer.description.unwrap_or_default();
        replies.send(reply::SERVER, &[&len, offer.name.as_bytes(), description.as_bytes()].concat());
    }
    Ok(Turn::Next)
}

/// A name with its length before it.
fn read_name<'a>(fields: &mut Fields<'a>) -> Option<&'a str> {
    let len = fields.u32()? as usize;
    if len > STRING_BYTES_MAX {
        return None;
    }
    std::str::from_utf8(fields.bytes(len)?).ok()
}

/// `INFO` and `GO`: the export's name, and what the client wants to know.
fn read_info(data: &[u8]) -> Option<(&str, Vec<u16>)> {
    let mut fields = Fields::new(data);
    let name = read_name(&mut fields)?;
    let count = fields.u16()?;
    let wanted: Option<Vec<u16>> = (0..count).map(|_| fields.u16()).collect();
    wanted.filter(|_| fields.is_empty()).map(|wanted| (name, wanted))
}

/// `LIST_META_CONTEXT` and `SET_META_CONTEXT`: the export's name, and the queries.
fn read_queries(data: &[u8]) -> Option<(&str, Vec<&[u8]>)> {
    let mut fields = Fields::new(data);
    let name = read_name(&mut fields)?;
    let count = fields.u32()?;
    let mut queries = Vec::new();
    // Not collected from the count: each query takes at least the four bytes of its length.
    for _ in 0..count {
        let len = fields.u32()? as usize;
        queries.push(fields.bytes(len)?);
    }
    fields.is_empty().then_some((name, queries))
}
