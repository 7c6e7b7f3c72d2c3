//! Scenarios as files: TOML in the notation of the builders, with the bounds of their exploration. They may come from
//! anybody: unknown members are refused, whatever is counted has a limit, and what is wrong is said with its line.

use super::{Action, Bounds, Command, Content, FaultOf, Guest, Request, Scenario};
use super::{cancel, commit, complete, pause, qmp, resume, stream};
use super::{discard, eio, enospc, flush, own, read, resize, write, write_zeroes};
use crate::world::crash::Ending;
use seam::escape::one_line;
use serde::Deserialize;
use std::fmt;
use std::path::Path;
use std::{fs, io::Read};
use toml::Spanned;

/// A file is at most so long.
const LEN_BYTES_MAX: u64 = 64 << 10;
/// At most so many images, guests, clients and faults, each.
const ENTRIES_MAX: usize = 8;
/// At most so many requests of a guest, and commands of a client.
const STEPS_MAX: usize = 16;
/// An image has at most so many sectors.
const SECTORS_MAX: u64 = 1024;
/// Writes of which a crash may be asked to lose every subset.
const SUBSETS_OF_MAX: usize = 12;

/// A scenario in a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ScenarioFile {
    /// What it is for: one sentence.
    pub about: String,
    /// The scenario.
    pub scenario: Scenario,
    /// What its exploration is complete within.
    pub bounds: Bounds,
}

/// Why a file is no scenario.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FileError(String);

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&seam::escape::lines(&self.0))
    }
}

impl std::error::Error for FileError {}

/// The file as it stands.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Form {
    about: String,
    chain: Vec<Spanned<String>>,
    #[serde(default)]
    apart: Vec<Spanned<String>>,
    #[serde(default)]
    client: Vec<ClientForm>,
    #[serde(default)]
    guest: Vec<GuestForm>,
    #[serde(default)]
    fault: Vec<Spanned<FaultForm>>,
    #[serde(default)]
    bounds: BoundsForm,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ClientForm {
    commands: Vec<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GuestForm {
    image: Spanned<String>,
    requests: Vec<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FaultForm {
    image: String,
    #[serde(default)]
    error: ErrorForm,
    #[serde(default)]
    on: KindForm,
    #[serde(default)]
    once: bool,
    #[serde(default)]
    after: u32,
}

#[derive(Deserialize, Default, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum ErrorForm {
    #[default]
    Eio,
    Enospc,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "lowercase")]
enum KindForm {
    Read,
    #[default]
    Write,
    Flush,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
struct BoundsForm {
    crashes: Vec<EndingForm>,
    subsets_of: usize,
    runs: u64,
}

#[derive(Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
enum EndingForm {
    Kill,
    PowerCut,
}

impl Default for BoundsForm {
    fn default() -> Self {
        let Bounds { subsets_of, runs_max: runs, .. } = Bounds::default();
        BoundsForm { crashes: vec![EndingForm::Kill, EndingForm::PowerCut], subsets_of, runs }
    }
}

impl ScenarioFile {
    /// Reads a file.
    pub fn read(path: &Path) -> Result<ScenarioFile, FileError> {
        let mut text = String::new();
        let opened =
            fs::File::open(path).and_then(|file| file.take(LEN_BYTES_MAX + 1).read_to_string(&mut text));
        opened.map_err(|error| FileError(error.to_string()))?;
        ScenarioFile::parse(&text)
    }

    /// Reads a text.
    pub fn parse(text: &str) -> Result<ScenarioFile, FileError> {
        if text.len() as u64 > LEN_BYTES_MAX {
            return Err(FileError(format!("longer than {LEN_BYTES_MAX} bytes")));
        }
        let form: Form = toml::from_str(text).map_err(|error| FileError(error.to_string()))?;
        let reader = Reader { text };
        let scenario = reader.scenario(&form)?;
        Ok(ScenarioFile {
            about: one_line(&form.about).into_owned(),
            scenario,
            bounds: reader.bounds(&form.bounds)?,
        })
    }
}

struct Reader<'a> {
    text: &'a str,
}

impl Reader<'_> {
    fn at<T>(&self, place: &Spanned<T>, problem: impl fmt::Display) -> FileError {
        let line = self.text[..place.span().start].matches('\n').count() + 1;
        FileError(format!("line {line}: {problem}"))
    }

    fn bounds(&self, form: &BoundsForm) -> Result<Bounds, FileError> {
        if form.subsets_of > SUBSETS_OF_MAX {
            return Err(FileError(format!("bounds: subsets-of is more than {SUBSETS_OF_MAX}")));
        }
        let ending = |form: &EndingForm| match form {
            EndingForm::Kill => Ending::Kill,
            EndingForm::PowerCut => Ending::PowerCut,
        };
        let crashes = form.crashes.iter().map(ending).collect();
        Ok(Bounds { crashes, subsets_of: form.subsets_of, runs_max: form.runs })
    }

    fn scenario(&self, form: &Form) -> Result<Scenario, FileError> {
        let counts = [
            ("images", form.chain.len() + form.apart.len()),
            ("guests", form.guest.len()),
            ("clients", form.client.len()),
            ("faults", form.fault.len()),
        ];
        if let Some((what, count)) = counts.into_iter().find(|(_, count)| *count > ENTRIES_MAX) {
            return Err(FileError(format!("{count} {what} are more than {ENTRIES_MAX}")));
        }
        let mut scenario = Scenario::default();
        for line in &form.chain {
            let below = scenario.images.last().map(|below| below.image.path.clone());
            let image = self.image(line, below, &scenario)?;
            scenario.images.push(image);
        }
        for line in &form.apart {
            let image = self.image(line, None, &scenario)?;
            scenario.images.push(image);
        }
        for guest in &form.guest {
            self.guest(guest, &mut scenario)?;
        }
        for client in &form.client {
            let commands = self.commands(&client.commands)?;
            scenario.clients.push(commands);
        }
        for fault in &form.fault {
            let of = fault.get_ref();
            if !scenario.images.iter().any(|content| content.image.path == of.image) {
                return Err(self.at(fault, format!("no image is called `{}`", of.image)));
            }
            scenario = scenario.fault(of.build());
        }
        if scenario.clients.is_empty() && scenario.images.iter().any(|content| !content.is_open) {
            return Err(FileError("an image is unopened, and no client is there to open it".to_owned()));
        }
        Ok(scenario)
    }

    /// `NAME LETTERS`, and `on NAME` and `unopened` behind it.
    fn image(
        &self,
        line: &Spanned<String>,
        below: Option<String>,
        so_far: &Scenario,
    ) -> Result<Content, FileError> {
        let words: Vec<&str> = line.get_ref().split_whitespace().collect();
        let (name, letters, below, is_open) = match words[..] {
            [name, letters] => (name, letters, below, true),
            [name, letters, "on", on] => (name, letters, Some(on.to_owned()), true),
            [name, letters, "on", on, "unopened"] => (name, letters, Some(on.to_owned()), false),
            _ => {
                return Err(self.at(line, "an image is `NAME LETTERS`, `on NAME` if need be, and `unopened`"));
            }
        };
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        if name.is_empty() || name.len() > 16 || !name.chars().all(plain) {
            return Err(self.at(line, "a name has up to 16 letters a-z and digits"));
        }
        if letters.len() as u64 > SECTORS_MAX || !letters.chars().all(|letter| matches!(letter, 'd' | '.')) {
            return Err(
                self.at(line, format!("up to {SECTORS_MAX} letters, `d` for data and `.` for nothing"))
            );
        }
        let is_there = |path: &str| so_far.images.iter().any(|content| content.image.path == path);
        if is_there(name) {
            return Err(self.at(line, format!("two images are called `{name}`")));
        }
        if let Some(below) = below.as_deref().filter(|below| !is_there(below)) {
            return Err(self.at(line, format!("no image above this line is called `{below}`")));
        }
        Ok(Content { is_open, ..Content::of_line(&format!("{name} {letters}"), below) })
    }

    fn guest(&self, form: &GuestForm, scenario: &mut Scenario) -> Result<(), FileError> {
        let named = scenario.images.iter().position(|content| content.image.path == *form.image.get_ref());
        let Some(image) = named else { return Err(self.at(&form.image, "there is no such image")) };
        if form.requests.len() > STEPS_MAX {
            return Err(self.at(&form.image, format!("more than {STEPS_MAX} requests")));
        }
        let mut requests = Vec::with_capacity(form.requests.len());
        for (slot, line) in (0..).zip(&form.requests) {
            let request = request(line.get_ref()).ok_or_else(|| {
                self.at(line, "a request is `read`, `write`, `zero` or `discard` with a sector and a count, `flush`, `resize SECTORS` or `own NUMBER`")
            })?;
            if scenario.is_backing(image) && !is_read(&request) {
                return Err(self.at(line, "another image lies on this one: it is only read"));
            }
            requests.push(Request { slot, ..request });
        }
        let guest = scenario.guests.len() as u32;
        scenario.guests.push(Guest { guest, image, lanes: vec![requests] });
        Ok(())
    }

    fn commands(&self, lines: &[Spanned<String>]) -> Result<Vec<Command>, FileError> {
        if let Some(line) = lines.get(STEPS_MAX) {
            return Err(self.at(line, format!("more than {STEPS_MAX} commands")));
        }
        let mut commands = Vec::with_capacity(lines.len());
        for line in lines {
            let read = command(line.get_ref());
            commands.push(read.map_err(|problem| self.at(line, problem))?);
        }
        Ok(commands)
    }
}

impl FaultForm {
    fn build(&self) -> FaultOf {
        let of = match self.error {
            ErrorForm::Eio => eio(&self.image),
            ErrorForm::Enospc => enospc(&self.image),
        };
        let of = match self.on {
            KindForm::Read => of.on_read(),
            KindForm::Write => of,
            KindForm::Flush => of.on_flush(),
        };
        let of = if self.once { of.once() } else { of };
        of.after(self.after)
    }
}

fn is_read(request: &Request) -> bool {
    use crate::request::Operation;
    matches!(request.action, Action::Io { operation: Operation::Read, .. } | Action::Own(_))
}

fn request(line: &str) -> Option<Request> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let number = |word: &str| word.parse::<u64>().ok().filter(|number| *number <= SECTORS_MAX);
    Some(match words[..] {
        ["read", sector, count] => read(number(sector)?, number(count)?),
        ["write", sector, count] => write(number(sector)?, number(count)?),
        ["zero", sector, count] => write_zeroes(number(sector)?, number(count)?),
        ["discard", sector, count] => discard(number(sector)?, number(count)?),
        ["flush"] => flush(),
        ["resize", sectors] => resize(number(sectors)?.max(1)),
        ["own", operation] => own(number(operation)? as usize),
        _ => return None,
    })
}

fn command(line: &str) -> Result<Command, String> {
    if line.trim_start().starts_with('{') {
        let read: Result<serde_json::Value, _> = serde_json::from_str(line);
        return read.map(|_| qmp(line)).map_err(|error| format!("this is no JSON: {error}"));
    }
    let mut words = line.split_whitespace();
    let form = "a command is JSON, or one of `stream`, `commit`, `pause`, `resume`, `cancel`, `complete` with a name";
    let (Some(verb), Some(name)) = (words.next(), words.next()) else { return Err(form.to_owned()) };
    let mut command = match verb {
        "stream" => stream(name),
        "commit" => commit(name),
        "pause" => pause(name),
        "resume" => resume(name),
        "cancel" => cancel(name),
        "complete" => complete(name),
        _ => return Err(form.to_owned()),
    };
    for word in words {
        command = match word.split_once('=') {
            Some(("base", node)) => command.base(node),
            Some(("top", node)) => command.top(node),
            Some(("job", id)) => command.job(id),
            _ => return Err(format!("`{word}` is none of `base=`, `top=`, `job=`")),
        };
    }
    Ok(command)
}

#[cfg(test)]
mod tests;
