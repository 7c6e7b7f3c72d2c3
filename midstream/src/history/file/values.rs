//! The values of sectors in a file: one for each sector, runs of the same value as `[value, count]`.
//!
//! A value is an integer, or 16 to 64 hexadecimal digits, of which the first 16 count: the text of a hash. 0 is zeroes.

use super::VALUES_MAX;
use serde::de::{Error, SeqAccess, Unexpected, Visitor};
use serde::ser::SerializeSeq;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// Fewer of the same value are written one by one.
const RUN_MIN: usize = 3;
/// Integers up to here are the same in every language; larger values are written as digits.
const INTEGER_MAX: u64 = 1 << 53;
/// How many hexadecimal digits make a value.
const DIGITS: usize = 16;
/// The longest text of a hash.
const DIGITS_MAX: usize = 64;

/// A value for each sector.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Values(pub Vec<u64>);

/// One value.
struct One(u64);

/// One value, or a run of it.
struct Run(u64, u64);

impl Serialize for Values {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(None)?;
        for run in self.0.chunk_by(|a, b| a == b) {
            if run.len() >= RUN_MIN {
                list.serialize_element(&(One(run[0]), run.len()))?;
            } else {
                run.iter().try_for_each(|value| list.serialize_element(&One(*value)))?;
            }
        }
        list.end()
    }
}

impl Serialize for One {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0 < INTEGER_MAX {
            serializer.serialize_u64(self.0)
        } else {
            serializer.serialize_str(&format!("{:016x}", self.0))
        }
    }
}

impl<'de> Deserialize<'de> for Values {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Values, D::Error> {
        deserializer.deserialize_seq(ListVisitor)
    }
}

struct ListVisitor;

impl<'de> Visitor<'de> for ListVisitor {
    type Value = Values;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of values")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Values, A::Error> {
        let mut values = Vec::new();
        while let Some(Run(value, count)) = list.next_element()? {
            let room = (VALUES_MAX - values.len()) as u64;
            if count > room {
                return Err(A::Error::custom(format_args!("more than {VALUES_MAX} values")));
            }
            values.resize(values.len() + count as usize, value);
        }
        Ok(Values(values))
    }
}

impl<'de> Deserialize<'de> for Run {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Run, D::Error> {
        deserializer.deserialize_any(RunVisitor)
    }
}

struct RunVisitor;

impl<'de> Visitor<'de> for RunVisitor {
    type Value = Run;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an integer from 0, 16 to 64 hexadecimal digits, or [value, count]")
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Run, E> {
        Ok(Run(value, 1))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Run, E> {
        let is_hash = (DIGITS..=DIGITS_MAX).contains(&text.len())
            && text.bytes().all(|digit| digit.is_ascii_hexdigit());
        let value = is_hash.then(|| u64::from_str_radix(&text[..DIGITS], 16).ok()).flatten();
        value.map(|value| Run(value, 1)).ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut pair: A) -> Result<Run, A::Error> {
        let value: One = pair.next_element()?.ok_or_else(|| A::Error::invalid_length(0, &self))?;
        let count: u64 = pair.next_element()?.ok_or_else(|| A::Error::invalid_length(1, &self))?;
        match pair.next_element::<serde::de::IgnoredAny>()? {
            None => Ok(Run(value.0, count)),
            Some(_) => Err(A::Error::invalid_length(3, &self)),
        }
    }
}

impl<'de> Deserialize<'de> for One {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<One, D::Error> {
        deserializer.deserialize_any(OneVisitor)
    }
}

struct OneVisitor;

impl Visitor<'_> for OneVisitor {
    type Value = One;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an integer from 0, or 16 to 64 hexadecimal digits")
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<One, E> {
        Ok(One(value))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<One, E> {
        RunVisitor.visit_str(text).map(|run| One(run.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<u64>, String> {
        serde_json::from_str::<Values>(text).map(|values| values.0).map_err(|error| error.to_string())
    }

    #[test]
    fn runs_and_hashes_are_read_as_they_were_written() {
        let values = vec![7, 7, 0, 0, 0, 0, 1 << 53, u64::MAX, 9, 9, 9];
        let text = serde_json::to_string(&Values(values.clone())).unwrap();
        assert_eq!(text, r#"[7,7,[0,4],"0020000000000000","ffffffffffffffff",[9,3]]"#);
        assert_eq!(read(&text), Ok(values));
        let sha256 = format!(r#"["{}"]"#, "0123456789abcdef".repeat(4));
        assert_eq!(read(&sha256), Ok(vec![0x0123_4567_89ab_cdef]));
    }

    #[test]
    fn what_is_no_value_is_refused_with_what_would_be() {
        for text in [
            "[-1]",
            "[1.5]",
            r#"["12"]"#,
            r#"["+000000000000001"]"#,
            "[null]",
            "[[1]]",
            "[[1,2,3]]",
            "[[[1,1],1]]",
        ] {
            let refused = read(text).expect_err(text);
            assert!(refused.contains("expected") || refused.contains("hexadecimal"), "{text}: {refused}");
        }
        for text in ["[[0, 1000000000000000000]]", "[[0, 1048576], 1]"] {
            assert!(read(text).expect_err(text).contains("more than 1048576 values"));
        }
    }
}
