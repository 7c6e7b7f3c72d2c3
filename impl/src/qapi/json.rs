//! A stream of bytes to JSON messages, strict and bounded, with QEMU's texts for what is wrong.
//!
//! Messages need no newline between them. After an error the reader goes on as QEMU does, so one bad line costs
//! at most a few error replies, never the connection. Memory is bounded by the limits below, whatever comes in.

use super::lexer::{Kind, State, Step, step};
use super::plain;
use serde_json::{Map, Value};
use thiserror::Error;

/// How deep braces and brackets may nest.
pub(crate) const NESTING_MAX: usize = 1024;
/// How many bytes the tokens of one message may have.
pub(crate) const MESSAGE_BYTES_MAX: usize = 4 << 20;
/// How many tokens one message may have.
pub(crate) const MESSAGE_TOKENS_MAX: usize = 1 << 18;

/// Why a message is not JSON.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum JsonError {
    /// A byte that fits nowhere, with what stood before it.
    #[error("JSON parse error, stray '{0}'")]
    Stray(String),
    /// Tokens in the wrong place.
    #[error("JSON parse error, {0}")]
    Misplaced(&'static str),
    /// A word that is none of `true`, `false`, `null`.
    #[error("JSON parse error, invalid keyword '{0}'")]
    Keyword(String),
    /// `\u` with something behind it that is no character.
    #[error("JSON parse error, \\u{0} is not a valid Unicode character")]
    Character(String),
    /// Too many bytes in one message.
    #[error("JSON token size limit exceeded")]
    TooLong,
    /// Too many tokens in one message.
    #[error("JSON token count limit exceeded")]
    TooManyTokens,
    /// Nested too deep.
    #[error("JSON nesting depth limit exceeded")]
    TooDeep,
}

const EXPECTING_VALUE: JsonError = JsonError::Misplaced("expecting value");

#[derive(Copy, Clone, Debug)]
struct Token {
    kind: Kind,
    start: usize,
    end: usize,
}

/// What has come in so far of a message.
#[derive(Debug, Default)]
pub struct Reader {
    state: State,
    /// The bytes of the tokens, one after the other; the present token's are the last.
    text: Vec<u8>,
    token_start: usize,
    tokens: Vec<Token>,
    /// Opened and not yet closed; below zero when more were closed than opened.
    braces: isize,
    brackets: isize,
}

impl Reader {
    /// A reader that has read nothing.
    pub fn new() -> Reader {
        Reader::default()
    }

    /// Takes the next bytes; every message that ends among them goes to `each`, good or not.
    pub(crate) fn feed(&mut self, bytes: &[u8], each: &mut dyn FnMut(Result<Value, JsonError>)) {
        let mut rest = bytes;
        while let Some((&byte, after)) = rest.split_first() {
            if let State::InString(quote) = self.state {
                let plain = plain_len(rest, quote);
                if plain > 0 {
                    self.text.extend_from_slice(&rest[..plain]);
                    rest = &rest[plain..];
                    self.refuse_oversize(each);
                    continue;
                }
            }
            self.byte(byte, each);
            self.refuse_oversize(each);
            rest = after;
        }
    }

    /// Says that no byte follows the present one: a number or word at the very end is complete.
    pub fn finish(&mut self, each: &mut dyn FnMut(Result<Value, JsonError>)) {
        self.byte(b' ', each);
    }

    fn byte(&mut self, byte: u8, each: &mut dyn FnMut(Result<Value, JsonError>)) {
        loop {
            let (state, meaning) = step(self.state, byte);
            self.state = state;
            match meaning {
                Step::More => return self.text.push(byte),
                Step::Skip => return,
                Step::Last(kind) => {
                    self.text.push(byte);
                    return self.token(kind, each);
                }
                Step::Before(kind) => self.token(kind, each),
                Step::Again => {}
            }
        }
    }

    fn refuse_oversize(&mut self, each: &mut dyn FnMut(Result<Value, JsonError>)) {
        if self.text.len() > MESSAGE_BYTES_MAX {
            self.forget();
            // What still comes of the oversize token is skipped, not taken for new messages.
            self.state = State::Recovery;
            each(Err(JsonError::TooLong));
        }
    }

    fn token(&mut self, kind: Kind, each: &mut dyn FnMut(Result<Value, JsonError>)) {
        match kind {
            Kind::OpenBrace => self.braces += 1,
            Kind::CloseBrace => self.braces -= 1,
            Kind::OpenBracket => self.brackets += 1,
            Kind::CloseBracket => self.brackets -= 1,
            _ => {}
        }
        self.tokens.push(Token { kind, start: self.token_start, end: self.text.len() });
        self.token_start = self.text.len();
        if let Some(message) = self.message() {
            self.forget();
            each(message);
        }
    }

    /// The message that the last token ended, if it did.
    fn message(&self) -> Option<Result<Value, JsonError>> {
        let last = self.tokens.last().expect("a token was pushed");
        if last.kind == Kind::Stray {
            return Some(Err(JsonError::Stray(stray_text(&self.text[last.start..last.end]))));
        }
        if self.tokens.len() > MESSAGE_TOKENS_MAX {
            return Some(Err(JsonError::TooManyTokens));
        }
        if self.braces + self.brackets > NESTING_MAX as isize {
            return Some(Err(JsonError::TooDeep));
        }
        let unbalanced = self.braces < 0 || self.brackets < 0;
        let open = self.braces > 0 || self.brackets > 0;
        (unbalanced || !open).then(|| Tree { text: &self.text, tokens: &self.tokens }.value())
    }

    fn forget(&mut self) {
        self.text.clear();
        self.tokens.clear();
        // One large message must not pin its memory for the rest of the connection.
        self.text.shrink_to(64 << 10);
        self.tokens.shrink_to(4 << 10);
        self.token_start = 0;
        self.braces = 0;
        self.brackets = 0;
    }
}

/// Reads one message that is there as a whole. `None`: it is not complete.
pub fn read(text: &str) -> Option<Result<Value, JsonError>> {
    if let Some(message) = plain::read(text) {
        return Some(Ok(message));
    }
    let mut found = None;
    let mut keep_first = |message| {
        found.get_or_insert(message);
    };
    let mut reader = Reader::new();
    // Most messages fit without growing step by step.
    reader.text.reserve(text.len().min(1 << 10));
    reader.tokens.reserve(64);
    reader.feed(text.as_bytes(), &mut keep_first);
    reader.finish(&mut keep_first);
    found
}

/// How many bytes from the start on are nothing special inside a string.
fn plain_len(bytes: &[u8], quote: u8) -> usize {
    let special = |&b: &u8| b == quote || b == b'\\' || !(0x20..=0xfd).contains(&b);
    bytes.iter().position(special).unwrap_or(bytes.len())
}

/// The stray bytes as text; QEMU's ends at a NUL.
fn stray_text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|&b| b == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

/// Builds the value from the tokens of one message. Recursion is bounded by `NESTING_MAX`.
struct Tree<'a> {
    text: &'a [u8],
    tokens: &'a [Token],
}

impl Tree<'_> {
    fn next(&mut self) -> Result<(Kind, &[u8]), JsonError> {
        let (token, rest) = self.tokens.split_first().ok_or(JsonError::Misplaced("premature EOI"))?;
        self.tokens = rest;
        Ok((token.kind, &self.text[token.start..token.end]))
    }

    /// Takes the next token if it is a `kind`.
    fn takes(&mut self, kind: Kind) -> bool {
        let found = self.tokens.first().is_some_and(|t| t.kind == kind);
        if found {
            self.tokens = &self.tokens[1..];
        }
        found
    }

    fn value(&mut self) -> Result<Value, JsonError> {
        let (kind, text) = self.next()?;
        match kind {
            Kind::OpenBrace => self.object(),
            Kind::OpenBracket => self.array(),
            Kind::String => string(&text[1..]).map(Value::String),
            Kind::Integer | Kind::Float => Ok(number(ascii(text))),
            Kind::Keyword => match text {
                b"true" => Ok(Value::Bool(true)),
                b"false" => Ok(Value::Bool(false)),
                b"null" => Ok(Value::Null),
                _ => Err(JsonError::Keyword(ascii(text).to_owned())),
            },
            _ => Err(EXPECTING_VALUE),
        }
    }

    fn object(&mut self) -> Result<Value, JsonError> {
        let mut members = Map::new();
        if self.takes(Kind::CloseBrace) {
            return Ok(Value::Object(members));
        }
        loop {
            let Value::String(key) = self.value()? else {
                return Err(JsonError::Misplaced("key is not a string in object"));
            };
            if !self.takes(Kind::Colon) {
                return Err(JsonError::Misplaced("missing : in object pair"));
            }
            if members.insert(key, self.value()?).is_some() {
                return Err(JsonError::Misplaced("duplicate key"));
            }
            match self.next()?.0 {
                Kind::CloseBrace => return Ok(Value::Object(members)),
                Kind::Comma => {}
                _ => return Err(JsonError::Misplaced("expected separator in dict")),
            }
        }
    }

    fn array(&mut self) -> Result<Value, JsonError> {
        let mut elements = Vec::new();
        if self.takes(Kind::CloseBracket) {
            return Ok(Value::Array(elements));
        }
        loop {
            elements.push(self.value()?);
            match self.next()?.0 {
                Kind::CloseBracket => return Ok(Value::Array(elements)),
                Kind::Comma => {}
                _ => return Err(JsonError::Misplaced("expected separator in list")),
            }
        }
    }
}

fn ascii(text: &[u8]) -> &str {
    std::str::from_utf8(text).expect("the lexer lets only ASCII into numbers and words")
}

/// An integer while it fits into 64 bits, signed or not; otherwise a double, as QEMU has it.
fn number(text: &str) -> Value {
    if let Ok(n) = text.parse::<i64>() {
        return Value::from(n);
    }
    if let Ok(n) = text.parse::<u64>() {
        return Value::from(n);
    }
    let double: f64 = text.parse().expect("the lexer lets only numbers through");
    // Past the largest double QEMU echoes `inf`, which is not JSON; ours stays the largest.
    Value::from(double.clamp(f64::MIN, f64::MAX))
}

/// What stands before the closing quote, with escapes resolved.
fn string(quoted: &[u8]) -> Result<String, JsonError> {
    let (_, raw) = quoted.split_last().expect("the lexer ends a string with its quote");
    if raw.iter().all(|&b| b.is_ascii() && b != b'\\') {
        return Ok(ascii(raw).to_owned());
    }
    let mut text = String::with_capacity(raw.len());
    let mut rest = quoted;
    while rest.len() > 1 {
        let (character, len) = match rest[0] {
            b'\\' => escape(rest)?,
            _ => plain(rest).ok_or(JsonError::Misplaced("invalid UTF-8 sequence in string"))?,
        };
        text.push(character);
        rest = &rest[len..];
    }
    Ok(text)
}

/// The character at the start and its length in bytes. NUL may be written as C0 80.
fn plain(bytes: &[u8]) -> Option<(char, usize)> {
    if bytes.starts_with(&[0xc0, 0x80]) {
        return Some(('\0', 2));
    }
    let head = &bytes[..bytes.len().min(4)];
    let valid = match std::str::from_utf8(head) {
        Ok(text) => text,
        Err(e) => std::str::from_utf8(&head[..e.valid_up_to()]).expect("valid up to there"),
    };
    let character = valid.chars().next()?;
    is_character(character).then_some((character, character.len_utf8()))
}

/// Noncharacters are refused, escaped or not.
fn is_character(c: char) -> bool {
    let code = c as u32;
    !(0xfdd0..=0xfdef).contains(&code) && code & 0xfffe != 0xfffe
}

/// The character that a backslash sequence stands for and the sequence's length.
fn escape(bytes: &[u8]) -> Result<(char, usize), JsonError> {
    let simple = match bytes.get(1) {
        Some(b'b') => '\u{8}',
        Some(b'f') => '\u{c}',
        Some(b'n') => '\n',
        Some(b'r') => '\r',
        Some(b't') => '\t',
        Some(&c @ (b'"' | b'\'' | b'\\' | b'/')) => c as char,
        Some(b'u') => return unicode_escape(bytes),
        _ => return Err(JsonError::Misplaced("invalid escape sequence in string")),
    };
    Ok((simple, 2))
}

fn unicode_escape(bytes: &[u8]) -> Result<(char, usize), JsonError> {
    let wrong = || {
        // QEMU shows what follows, the closing quote included.
        let shown = &bytes[2..bytes.len().min(6)];
        JsonError::Character(String::from_utf8_lossy(shown).into_owned())
    };
    let first = hex4(&bytes[2..]).ok_or_else(wrong)?;
    let (code, len) = match first {
        0xd800..=0xdbff => {
            let second = bytes[6..].strip_prefix(b"\\u").and_then(hex4);
            let low = second.filter(|s| (0xdc00..=0xdfff).contains(s)).ok_or_else(wrong)?;
            (0x10000 + ((first - 0xd800) << 10) + (low - 0xdc00), 12)
        }
        _ => (first, 6),
    };
    let character = char::from_u32(code).filter(|&c| is_character(c)).ok_or_else(wrong)?;
    Ok((character, len))
}

fn hex4(bytes: &[u8]) -> Option<u32> {
    let digits = bytes.get(..4)?;
    digits.iter().try_fold(0, |code, &d| Some(code << 4 | (d as char).to_digit(16)?))
}
