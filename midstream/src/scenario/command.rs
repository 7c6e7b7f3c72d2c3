//! What clients of a scenario say, in QEMU's language.

use serde_json::{Map, Value};
use std::iter::{Once, once};

/// A command. Those that start a job are changed by [`base`](Command::base), [`top`](Command::top) and
/// [`job`](Command::job).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Command {
    name: &'static str,
    arguments: Map<String, Value>,
    /// The whole command, of one that was given as text.
    text: Option<String>,
}

/// `block-stream` into a node.
pub fn stream(node: &str) -> Command {
    Command::new("block-stream").with("device", node)
}

/// `block-commit` of what lies above the lowest image, from this node down.
pub fn commit(node: &str) -> Command {
    Command::new("block-commit").with("device", node)
}

/// `block-job-pause`.
pub fn pause(job: &str) -> Command {
    Command::new("block-job-pause").with("device", job)
}

/// `block-job-resume`.
pub fn resume(job: &str) -> Command {
    Command::new("block-job-resume").with("device", job)
}

/// `block-job-cancel`.
pub fn cancel(job: &str) -> Command {
    Command::new("block-job-cancel").with("device", job)
}

/// `block-job-complete`.
pub fn complete(job: &str) -> Command {
    Command::new("block-job-complete").with("device", job)
}

/// Any command, as the line that is sent.
pub fn qmp(line: &str) -> Command {
    Command { text: Some(line.to_owned()), ..Command::new("") }
}

impl Command {
    fn new(name: &'static str) -> Command {
        Command { name, arguments: Map::new(), text: None }
    }

    fn with(mut self, argument: &str, value: &str) -> Command {
        self.arguments.insert(argument.to_owned(), value.into());
        self
    }

    /// The node that stays below: `base-node`.
    pub fn base(self, node: &str) -> Command {
        self.with("base-node", node)
    }

    /// The uppermost node that a commit takes down: `top-node`.
    pub fn top(self, node: &str) -> Command {
        self.with("top-node", node)
    }

    /// What the job is called.
    pub fn job(self, id: &str) -> Command {
        self.with("job-id", id)
    }

    /// The line that is sent.
    pub fn line(&self) -> String {
        match &self.text {
            Some(text) => text.clone(),
            None => command(self.name, &Value::Object(self.arguments.clone())),
        }
    }
}

/// The line of a command, its name first.
pub(crate) fn command(name: &str, arguments: &Value) -> String {
    format!(r#"{{"execute":{},"arguments":{arguments}}}"#, Value::from(name))
}

/// One command alone is a client's whole script.
impl IntoIterator for Command {
    type Item = Command;
    type IntoIter = Once<Command>;

    fn into_iter(self) -> Once<Command> {
        once(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_command_is_a_line_of_json() {
        let line = stream("top").base("base").job("s").line();
        let said: Value = serde_json::from_str(&line).expect("it is JSON");
        assert_eq!(said["execute"], "block-stream");
        assert_eq!(said["arguments"], json!({"device": "top", "base-node": "base", "job-id": "s"}));
        assert_eq!(qmp("{}").line(), "{}");
    }
}
