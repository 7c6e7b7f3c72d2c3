//! Python as QEMU's tests write it: four spaces, single quotes, at most 79 columns where a line can be broken.

use serde_json::Value;

/// No line is longer, if it can be broken.
const COLUMNS_MAX: usize = 79;

/// A text that grows.
#[derive(Default)]
pub(super) struct Python {
    pub(super) text: String,
}

impl Python {
    /// One line so deep in blocks.
    pub(super) fn line(&mut self, depth: usize, line: &str) {
        if !line.is_empty() {
            self.text += &"    ".repeat(depth);
            self.text += line;
        }
        self.text.push('\n');
    }

    pub(super) fn blank(&mut self, lines: usize) {
        (0..lines).for_each(|_| self.text.push('\n'));
    }

    /// A comment of as many lines as it takes.
    pub(super) fn comment(&mut self, depth: usize, text: &str) {
        let mut line = String::from("#");
        for word in text.split(' ') {
            if line.chars().count() + 1 + word.chars().count() + 4 * depth > COLUMNS_MAX {
                self.line(depth, &line);
                line = String::from("#");
            }
            line.push(' ');
            line += word;
        }
        self.line(depth, &line);
    }

    /// A call with these arguments.
    pub(super) fn call(&mut self, depth: usize, function: &str, arguments: &[String]) {
        self.wrapped(depth, &format!("{function}({})", arguments.join(", ")));
    }

    /// A line that is broken after commas where it is too long; what follows stands one block deeper.
    pub(super) fn wrapped(&mut self, depth: usize, text: &str) {
        let (mut line, mut depth_now) = (String::new(), depth);
        for part in parts(text) {
            let columns = (line.chars().count() + part.trim_end().chars().count()) + 4 * depth_now;
            if columns > COLUMNS_MAX && !line.is_empty() {
                self.line(depth_now, line.trim_end());
                line.clear();
                depth_now = depth + 1;
            }
            line += &part;
        }
        self.line(depth_now, line.trim_end());
    }

    /// An option of a node as words, `driver=qcow2,node-name=top`, with the variables of files in it.
    pub(super) fn option(&mut self, depth: usize, text: &str, files: &[&str]) {
        let word = |word: &str| match word.split_once('=') {
            Some((name, value)) if files.contains(&value) => format!("{name}={{{}}}", variable(value)),
            _ => word.to_owned(),
        };
        let words: Vec<String> = text.split(',').map(word).collect();
        let mut lines: Vec<String> = vec![String::new()];
        for (at, word) in words.iter().enumerate() {
            let comma = if at + 1 < words.len() { "," } else { "" };
            let line = lines.last_mut().expect("there is one");
            if line.len() + word.len() + 6 + 4 * depth > COLUMNS_MAX {
                lines.push(format!("{word}{comma}"));
            } else {
                *line += word;
                *line += comma;
            }
        }
        let count = lines.len();
        for (at, line) in lines.iter().enumerate() {
            let f = if line.contains('{') { "f" } else { "" };
            let comma = if at + 1 == count { "," } else { "" };
            self.line(depth, &format!("{f}'{line}'{comma}"));
        }
    }
}

/// A text in parts that end with a comma or an opening brace outside of strings.
fn parts(text: &str) -> Vec<String> {
    let (mut parts, mut part, mut is_in_string) = (Vec::new(), String::new(), false);
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        part.push(letter);
        is_in_string ^= letter == '\'';
        let ends = letter == ',' || letter == '{';
        if ends && !is_in_string {
            if letters.peek() == Some(&' ') {
                part.push(' ');
                letters.next();
            }
            parts.push(std::mem::take(&mut part));
        }
    }
    parts.push(part);
    // An option of `qemu-io` and its command stay together.
    let mut joined: Vec<String> = Vec::new();
    for part in parts {
        match joined.last_mut() {
            Some(last) if matches!(last.as_str(), "'-c', " | "'-f', " | "'-b', " | "'-F', " | "'-o', ") => {
                *last += &part;
            }
            _ => joined.push(part),
        }
    }
    joined
}

/// JSON as Python reads it, with the variables of files where their names are.
pub(super) fn literal(value: &Value, files: &[&str]) -> String {
    let inner = |value: &Value| literal(value, files);
    match value {
        Value::Null => "None".to_owned(),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        Value::Number(number) => number.to_string(),
        Value::String(text) if files.contains(&text.as_str()) => variable(text),
        Value::String(text) => format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'")),
        Value::Array(items) => format!("[{}]", items.iter().map(inner).collect::<Vec<_>>().join(", ")),
        Value::Object(members) => {
            let member = |(name, value): (&String, &Value)| format!("'{name}': {}", inner(value));
            format!("{{{}}}", members.iter().map(member).collect::<Vec<_>>().join(", "))
        }
    }
}

/// What a file's path is called: `base` for `base.qcow2`.
pub(super) fn variable(file: &str) -> String {
    let stem = file.split('.').next().unwrap_or(file);
    stem.replace(|letter: char| !letter.is_ascii_alphanumeric(), "_")
}

/// `ShortLayer` for `short-layer`.
pub(super) fn class_name(name: &str) -> String {
    let capital = |part: &str| {
        let mut letters = part.chars();
        letters
            .next()
            .map_or_else(String::new, |first| first.to_ascii_uppercase().to_string() + letters.as_str())
    };
    name.split(|letter: char| !letter.is_ascii_alphanumeric()).map(capital).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_long_call_is_broken_after_commas() {
        let mut python = Python::default();
        let arguments = literal(
            &json!({"base-node": "base", "device": "top", "filter-node-name": "a-name, of a filter", "job-id": "j0"}),
            &[],
        );
        python.call(2, "self.qsd.cmd", &["'block-stream'".to_owned(), arguments]);
        let lines: Vec<&str> = python.text.lines().collect();
        assert_eq!(lines.len(), 2, "{}", python.text);
        assert!(lines.iter().all(|line| line.len() <= COLUMNS_MAX), "{}", python.text);
        assert!(lines[1].starts_with("            '"), "{}", python.text);
    }

    #[test]
    fn files_are_variables() {
        assert_eq!(literal(&json!({"base": "mid1.qcow2"}), &["mid1.qcow2"]), "{'base': mid1}");
        let mut python = Python::default();
        python.option(1, "driver=qcow2,file.filename=top.raw", &["top.raw"]);
        assert_eq!(python.text, "    f'driver=qcow2,file.filename={top}',\n");
        assert_eq!(class_name("no-flush-commit"), "NoFlushCommit");
    }
}
