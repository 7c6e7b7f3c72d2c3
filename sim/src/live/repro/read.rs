//! A kept script, read back: whatever [`super::shell`] can write, whoever wrote it.
//!
//! So a script that somebody mended by hand has its other forms as well. What does not come out word for word when it is
//! written again has none.

use super::shell::{self, Pace, bytes_of};
use super::{Control, Image, Repro, Shows, Step};
use serde_json::{Map, Value};

/// What a script does; nothing, if it is none of ours.
pub(super) fn repro(text: &str) -> Option<Repro> {
    let is_comment = |line: &&str| line.starts_with('#');
    let lines: Vec<&str> = text.lines().filter(|line| !is_comment(line)).collect();
    let start = lines.iter().position(|line| *line == "{ cat <<'QMP'")?;
    let end = start + lines[start..].iter().position(|line| line.ends_with("; } |"))?;
    let (images, looked_before) = images(lines.get(1..start)?)?;
    let count = lines[end + 1..].iter().position(|line| !line.ends_with('\\'))? + 1;
    let (daemon, verdict) = lines[end + 1..].split_at(count);
    let nodes = daemon.iter().filter_map(|line| line.trim().strip_prefix("--blockdev "));
    let nodes = nodes.map(node).collect::<Option<Vec<_>>>()?;
    let mut steps = steps(&lines[start + 2..end], lines[end])?;
    let is_hang = daemon.first()?.starts_with("timeout ");
    let (shows, read) = shows(verdict, is_hang)?;
    let is_before = |step: &Step| matches!(step, Step::Qmp(command) if command["id"] == shell::BEFORE);
    let refused_before = steps.first().is_some_and(is_before);
    if refused_before {
        steps.remove(0);
    }
    let last_read = match steps.last() {
        Some(Step::Guest { commands, .. }) if shows == Shows::GuestReads => commands.first().cloned(),
        _ => read,
    };
    let is_needless = matches!(shows, Shows::Crash | Shows::Hang | Shows::Corrupt { .. });
    let control = match looked_before {
        Some(control) => control,
        None if refused_before => Control::RefusedBefore,
        None if verdict.len() > 1 && verdict[0].contains("wrote.txt") => Control::ReadBack,
        None if is_needless => Control::Needless,
        None => Control::Missing,
    };
    let repro = Repro { images, nodes, steps, shows, control, look: last_read.unwrap_or_default() };
    let written = shell::text(&[], &repro, Pace::Kept);
    written.lines().filter(|line| !is_comment(line)).eq(lines.iter().copied()).then_some(repro)
}

/// The images, and what is looked at before anything else is done.
fn images(lines: &[&str]) -> Option<(Vec<Image>, Option<Control>)> {
    let (mut images, mut control): (Vec<Image>, Option<Control>) = (Vec::new(), None);
    for line in lines {
        let words = words(line);
        let word_after = |option: &str| {
            let at = words.iter().position(|word| word == option)?;
            words.get(at + 1).cloned()
        };
        if line.starts_with("qemu-img create") {
            let [.., file, size] = words.as_slice() else { return None };
            images.push(Image {
                file: file.clone(),
                format: format(&word_after("-f")?)?,
                size_bytes: bytes_of(size)?,
                options: word_after("-o")
                    .map_or(Vec::new(), |all| all.split(',').map(str::to_owned).collect()),
                backing: match (word_after("-b"), word_after("-F")) {
                    (Some(file), Some(name)) => Some((file, format(&name)?)),
                    _ => None,
                },
                content: Vec::new(),
            });
        } else if let Some(file) = line.strip_prefix("qemu-img check -q ") {
            control = Some(Control::ChecksBefore { file: file.strip_suffix(" || exit 2")?.to_owned() });
        } else if line.starts_with("qemu-io -r ") {
            let at = words.iter().position(|word| word == "|")?;
            let file = words.get(at.checked_sub(1)?)?.clone();
            control = Some(Control::FileBefore { file, format: format(&word_after("-f")?)? });
        } else {
            images.last_mut()?.content = commands(&words);
        }
    }
    Some((images, control))
}

fn format(name: &str) -> Option<&'static str> {
    ["qcow2", "raw"].into_iter().find(|format| *format == name)
}

/// The commands of a call of `qemu-io`.
fn commands(words: &[String]) -> Vec<String> {
    words.windows(2).filter(|pair| pair[0] == "-c").map(|pair| pair[1].clone()).collect()
}

/// What is done while the daemon runs: the lines in between, and the one that ends them.
fn steps(lines: &[&str], last: &str) -> Option<Vec<Step>> {
    let mut steps = Vec::new();
    let kill = Pace::Kept.kill();
    for line in lines {
        if line.starts_with('{') {
            steps.push(Step::Qmp(serde_json::from_str(line).ok()?));
        } else if *line == "QMP" || *line == "cat <<'QMP'" {
            continue;
        } else if *line == Pace::Kept.wait() {
            steps.push(Step::Wait);
        } else if *line == kill {
            steps.push(Step::Kill);
        } else {
            let words = words(line);
            let url = words.iter().find_map(|word| word.strip_prefix("nbd+unix:///"))?;
            let (export, _) = url.split_once('?')?;
            steps.push(Step::Guest { export: export.to_owned(), commands: commands(&words) });
        }
    }
    last.starts_with(Pace::Kept.wait()).then_some(steps)
}

/// A node, from the words of the daemon's command line or JSON.
fn node(text: &str) -> Option<Map<String, Value>> {
    let text = text.strip_suffix(" \\").unwrap_or(text);
    let text = text.split(" | tee ").next()?;
    if let Some(json) = text.strip_prefix('\'') {
        return serde_json::from_str(json.strip_suffix('\'')?).ok();
    }
    let mut node = Map::new();
    for pair in text.split(',') {
        let (path, value) = pair.split_once('=')?;
        put(&mut node, path, value)?;
    }
    Some(node)
}

/// One member, so deep within as its name says; numbers in a name are places of a list.
fn put(node: &mut Map<String, Value>, path: &str, value: &str) -> Option<()> {
    let Some((first, rest)) = path.split_once('.') else {
        let value = match (value, value.parse::<u64>()) {
            ("on", _) => Value::Bool(true),
            ("off", _) => Value::Bool(false),
            (_, Ok(number)) => Value::from(number),
            _ => Value::from(value),
        };
        node.insert(path.to_owned(), value);
        return Some(());
    };
    if let Some((at, rest)) = rest.split_once('.')
        && let Ok(at) = at.parse::<usize>()
    {
        let items = node.entry(first).or_insert_with(|| Value::Array(Vec::new())).as_array_mut()?;
        if items.len() == at {
            items.push(Value::Object(Map::new()));
        }
        return put(items.get_mut(at)?.as_object_mut()?, rest, value);
    }
    put(node.entry(first).or_insert_with(|| Value::Object(Map::new())).as_object_mut()?, rest, value)
}

/// What is looked for, and what is read for it from a file.
fn shows(verdict: &[&str], is_hang: bool) -> Option<(Shows, Option<String>)> {
    let (last, before) = verdict.split_last()?;
    let checked = || before.last()?.strip_prefix("qemu-img check ").map(str::to_owned);
    Some(match *last {
        "[ $? -lt 128 ]" => (Shows::Crash, None),
        "[ $? -lt 124 ]" if is_hang => (Shows::Hang, None),
        "[ $? -ne 2 ]" => (Shows::Corrupt { file: checked()? }, None),
        line if line.starts_with("qemu-img check ") => {
            (Shows::Unreadable { file: line.strip_prefix("qemu-img check ")?.to_owned() }, None)
        }
        line if line.ends_with("read.txt") => {
            match before.last().filter(|line| line.starts_with("qemu-io")) {
                None => (Shows::GuestReads, None),
                Some(line) => {
                    let words = words(line);
                    let at = words.iter().position(|word| word == ">read.txt")?;
                    let format = format(words.get(3)?)?;
                    let file = words.get(at.checked_sub(1)?)?.clone();
                    (Shows::FileReads { file, format }, commands(&words).first().cloned())
                }
            }
        }
        line => {
            let words = words(line.strip_prefix("! grep ")?);
            let any: Vec<String> =
                words.chunks(2).filter(|pair| pair[0] == "-e").map(|pair| pair[1].clone()).collect();
            (Shows::Says(any), None)
        }
    })
}

/// The words of a line of shell, without their quotes.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), String::new(), None);
    for letter in line.chars() {
        match (quote, letter) {
            (None, '\'' | '"') => quote = Some(letter),
            (Some(open), letter) if open == letter => quote = None,
            (None, ' ') => words.push(std::mem::take(&mut word)),
            _ => word.push(letter),
        }
    }
    words.push(word);
    words
}

#[cfg(test)]
mod tests {
    use super::super::translate::MUST_FAIL;
    use super::*;

    #[test]
    fn options_within_options_are_found_again() {
        let text =
            "driver=qcow2,file.driver=blkdebug,file.inject-error.0.errno=5,file.inject-error.0.once=off";
        let node = node(text).expect("a node");
        assert_eq!(node["file"]["inject-error"][0]["once"], Value::Bool(false));
        assert_eq!(shell::key_values(&node), text);
    }

    #[test]
    fn what_must_fail_is_known_by_its_id() {
        assert_eq!(
            words("! grep -e '\"return\".*must-fail' said.txt")[3],
            format!("\"return\".*{MUST_FAIL}")
        );
    }
}
