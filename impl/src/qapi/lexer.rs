//! Bytes to JSON tokens, one byte at a time, so that a command may come in any number of pieces.
//!
//! Differences from plain JSON are QEMU's: strings may stand in single quotes, and after a byte that fits nowhere
//! everything is skipped up to the next structural or control character.

/// What a token is. Its text lies in the reader's buffer.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    OpenBrace,
    CloseBrace,
    OpenBracket,
    CloseBracket,
    Colon,
    Comma,
    String,
    Integer,
    Float,
    Keyword,
    /// Not a token: the bytes read so far, of which the last fits nowhere.
    Stray,
}

/// Where in a token we are.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub(super) enum State {
    #[default]
    Start,
    InString(u8),
    Escape(u8),
    Minus,
    Zero,
    Digits,
    Point,
    Fraction,
    Exponent,
    ExponentSign,
    ExponentDigits,
    Keyword,
    Recovery,
}

/// What one byte means.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) enum Step {
    /// It belongs to the present token.
    More,
    /// It belongs to nothing.
    Skip,
    /// It is the last byte of a token.
    Last(Kind),
    /// The token ended before it; look at it again.
    Before(Kind),
    /// It begins something new; look at it again.
    Again,
}

use State::*;
use Step::*;

/// The next state and what the byte means.
pub(super) fn step(state: State, byte: u8) -> (State, Step) {
    match state {
        Start => start(byte),
        InString(quote) if byte == quote => (Start, Last(Kind::String)),
        InString(quote) => match byte {
            b'\\' => (Escape(quote), More),
            0x20..=0xfd => (state, More),
            _ => STRAY,
        },
        Escape(quote) if matches!(byte, 0x20..=0xfd) => (InString(quote), More),
        Escape(_) => STRAY,
        Keyword if byte.is_ascii_lowercase() => (Keyword, More),
        Keyword => (Start, Before(Kind::Keyword)),
        Recovery if ends_recovery(byte) => (Start, Again),
        Recovery => (Recovery, Skip),
        _ => number(state, byte),
    }
}

/// A byte that fits nowhere: what came so far is reported, and the rest skipped.
const STRAY: (State, Step) = (Recovery, Last(Kind::Stray));

fn start(byte: u8) -> (State, Step) {
    match byte {
        b' ' | b'\t' | b'\r' | b'\n' => (Start, Skip),
        b'{' => (Start, Last(Kind::OpenBrace)),
        b'}' => (Start, Last(Kind::CloseBrace)),
        b'[' => (Start, Last(Kind::OpenBracket)),
        b']' => (Start, Last(Kind::CloseBracket)),
        b':' => (Start, Last(Kind::Colon)),
        b',' => (Start, Last(Kind::Comma)),
        b'"' | b'\'' => (InString(byte), More),
        b'-' => (Minus, More),
        b'0' => (Zero, More),
        b'1'..=b'9' => (Digits, More),
        b'a'..=b'z' => (Keyword, More),
        _ => STRAY,
    }
}

fn number(state: State, byte: u8) -> (State, Step) {
    match (state, byte) {
        (Minus, b'0') => (Zero, More),
        (Minus, b'1'..=b'9') => (Digits, More),
        (Zero, b'0'..=b'9') => STRAY,
        (Digits, b'0'..=b'9') => (Digits, More),
        (Zero | Digits, b'.') => (Point, More),
        // QEMU has no exponent right after a zero: `0e1` is a zero and a word.
        (Digits | Fraction, b'e' | b'E') => (Exponent, More),
        (Zero | Digits, _) => (Start, Before(Kind::Integer)),
        (Point | Fraction, b'0'..=b'9') => (Fraction, More),
        (Exponent, b'+' | b'-') => (ExponentSign, More),
        (Exponent | ExponentSign | ExponentDigits, b'0'..=b'9') => (ExponentDigits, More),
        (Fraction | ExponentDigits, _) => (Start, Before(Kind::Float)),
        _ => STRAY,
    }
}

fn ends_recovery(byte: u8) -> bool {
    let structural = matches!(byte, b'{' | b'}' | b'[' | b']' | b':' | b',');
    let control = byte < 0x20 && byte != b'\t';
    structural || control || byte >= 0xfe
}
