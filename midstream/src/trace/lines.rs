//! The decisions of a trace file, one a line, before their names are understood.

use super::{DECISIONS_MAX, TraceError, member, point};
use crate::choice::Decision;
use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use std::fmt;

/// One decision as it stands.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Line {
    at: String,
    of: u32,
    value: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pick: Option<String>,
}

/// All of them. Reading stops at the first that is too many, so that a file cannot take any memory it likes.
pub(super) struct Lines(pub(super) Vec<Line>);

impl<'de> Deserialize<'de> for Lines {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(LinesVisitor)
    }
}

struct LinesVisitor;

impl<'de> Visitor<'de> for LinesVisitor {
    type Value = Lines;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of decisions")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Lines, A::Error> {
        let mut lines = Vec::new();
        while let Some(line) = seq.next_element()? {
            if lines.len() == DECISIONS_MAX {
                return Err(A::Error::custom(format!("more than {DECISIONS_MAX} decisions")));
            }
            lines.push(line);
        }
        Ok(Lines(lines))
    }
}

impl Line {
    /// The line of a decision.
    pub(super) fn of(decision: &Decision) -> Self {
        let pick = match decision {
            Decision::Number { .. } => None,
            Decision::Option { picked, .. } => Some(point::text(*picked)),
        };
        Line { at: point::text(decision.at()), of: decision.of(), value: decision.value(), pick }
    }

    /// The decision of line `index`.
    pub(super) fn decision(&self, index: usize) -> Result<Decision, TraceError> {
        let at_member = |name: &str, problem| member(&format!("choices[{index}].{name}"), problem);
        let at = point::parse(&self.at).map_err(|e| at_member("at", e))?;
        let (of, value) = (self.of, self.value);
        if of < 2 {
            return Err(at_member("of", format!("{of} leaves nothing to decide")));
        }
        if value >= of {
            return Err(at_member("value", format!("{value} is not below {of}")));
        }
        Ok(match &self.pick {
            None => Decision::Number { at, of, value },
            Some(pick) => {
                let picked = point::parse(pick).map_err(|e| at_member("pick", e))?;
                Decision::Option { at, of, value, picked }
            }
        })
    }
}
