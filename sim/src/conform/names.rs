//! Rule C0: the folder's path becomes `$DIR`, generated node names become `#auto0`, `#auto1`, ... as they first appear.

use serde_json::Value;
use std::collections::BTreeMap;

/// What generated names begin with.
const GENERATED: &str = "#block";

/// What a case calls the folder it is played in,
pub const FOLDER: &str = "$DIR";
/// and the last part of that folder's name.
pub const NAME: &str = "$DIRNAME";

/// The names of one run.
#[derive(Debug)]
pub struct Names {
    folder: String,
    generated: BTreeMap<String, String>,
}

impl Names {
    /// Names of a run in this folder.
    pub fn new(folder: &str) -> Names {
        Names { folder: folder.to_owned(), generated: BTreeMap::new() }
    }

    /// The folder's own name.
    fn last(&self) -> &str {
        self.folder.rsplit('/').next().unwrap_or_default()
    }

    /// Puts the folder in where a case says `$DIR` or `$DIRNAME`.
    pub fn fill(&self, text: &str) -> String {
        text.replace(NAME, self.last()).replace(FOLDER, &self.folder)
    }

    /// The same for every text in a value.
    pub fn fill_value(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.fill(text)),
            Value::Array(items) => items.iter().map(|item| self.fill_value(item)).collect(),
            Value::Object(members) => {
                members.iter().map(|(key, value)| (key.clone(), self.fill_value(value))).collect()
            }
            other => other.clone(),
        }
    }

    /// A text in which nothing distinguishes this run from another.
    pub fn text(&mut self, text: &str) -> String {
        let text = text.replace(&self.folder, FOLDER).replace(self.last(), NAME);
        let mut pieces = text.split(GENERATED);
        let mut out = pieces.next().unwrap_or_default().to_owned();
        for piece in pieces {
            let digits = piece.bytes().take_while(u8::is_ascii_digit).count();
            if digits == 0 {
                out += GENERATED;
            } else {
                let next = self.generated.len();
                let name = self.generated.entry(piece[..digits].to_owned());
                out += name.or_insert_with(|| format!("#auto{next}"));
            }
            out += &piece[digits..];
        }
        out
    }

    /// A value in which nothing distinguishes this run from another.
    pub fn value(&mut self, value: &Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.text(text)),
            Value::Array(items) => items.iter().map(|item| self.value(item)).collect(),
            Value::Object(members) => {
                members.iter().map(|(key, value)| (self.text(key), self.value(value))).collect()
            }
            other => other.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_names_are_numbered_as_they_appear() {
        let mut names = Names::new("/d/run7");
        assert_eq!(
            names.text("Node '#block123' over '#block45' in run7"),
            "Node '#auto0' over '#auto1' in $DIRNAME"
        );
        assert_eq!(names.text("#block45 #blocks #block123"), "#auto1 #blocks #auto0");
        assert_eq!(names.text("/d/run7/n0.qcow2"), "$DIR/n0.qcow2");
        assert_eq!(names.fill("$DIR/../$DIRNAME/n0"), "/d/run7/../run7/n0");
    }
}
