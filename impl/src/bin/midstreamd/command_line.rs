//! The command line: qemu-storage-daemon's options, acted on in the order in which they stand.

use std::ffi::OsString;
use std::path::PathBuf;

/// What the caller wants.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Wish {
    /// A daemon.
    Run(CommandLine),
    /// The options, explained.
    Help,
    /// Who we are.
    Version,
}

/// A daemon as it is wanted.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct CommandLine {
    /// What is to be done, in order.
    pub acts: Vec<(Act, String)>,
    /// Go to the background once everything is there.
    pub daemonize: bool,
    /// We are the one in the background, and the one in the foreground waits for us.
    pub is_background: bool,
    /// Where the process id is written.
    pub pidfile: Option<PathBuf>,
    /// The folder outside which no file is opened.
    pub confine: Option<PathBuf>,
    /// What images may make us hold in memory, in bytes.
    pub memory_budget: Option<u64>,
}

/// Options that do something.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Act {
    /// Add a node.
    Blockdev,
    /// Open a socket.
    Chardev,
    /// Offer a node to clients.
    Export,
    /// Speak QMP over a socket.
    Monitor,
    /// Start the server that clients come to.
    NbdServer,
    /// Make an object.
    Object,
}

impl Act {
    /// Its option's name.
    pub fn name(self) -> &'static str {
        match self {
            Act::Blockdev => "blockdev",
            Act::Chardev => "chardev",
            Act::Export => "export",
            Act::Monitor => "monitor",
            Act::NbdServer => "nbd-server",
            Act::Object => "object",
        }
    }
}

/// How the one in the foreground starts the one in the background. Not for people.
pub const BACKGROUND: &str = "--background";

/// The options, explained.
pub const HELP: &str = "\
Streams disk images, operated over QMP.

Options are acted on in the order in which they stand.

  --blockdev [driver=]DRIVER[,node-name=NODE][,OPTION=VALUE]...
                add a node: QMP's blockdev-add arguments, also as JSON
  --chardev socket,id=ID,path=PATH[,server=on|off][,wait=off]
                a unix socket, to connect to or to listen at
  --monitor [chardev=]ID[,mode=control][,pretty=off]
                speak QMP over a chardev
  --nbd-server addr.type=unix,addr.path=PATH[,max-connections=N]
                start an NBD server; its socket is private to its owner
  --export [type=]nbd,id=ID,node-name=NODE[,name=NAME][,writable=on|off]
                offer a node to NBD clients
  --object [qom-type=]throttle-group,id=ID[,limits.LIMIT=N]...
                make an object
  --confine DIR no file outside DIR is opened or made, whatever an image's
                header, a link or a client says; only a chardev or pidfile
                that you name outside goes there (needs Linux 5.6)
  --memory-budget SIZE
                what all opened images together may make the daemon hold in
                memory (tables, bitmaps, work on them), in bytes or with K, M
                or G behind the number; 512M if it is not given. What needs
                more is refused; x-query-memory shows how much is held
  --daemonize   go to the background once everything is there
  --pidfile FILE
                write the process id to FILE, removed at the end
  -h, --help    show this and exit
  -V, --version show the version and exit
";

enum Meaning {
    Act(Act),
    Confine,
    Daemonize,
    Background,
    Help,
    MemoryBudget,
    Pidfile,
    Version,
}

const OPTIONS: [(&str, Meaning); 13] = [
    ("background", Meaning::Background),
    ("blockdev", Meaning::Act(Act::Blockdev)),
    ("chardev", Meaning::Act(Act::Chardev)),
    ("confine", Meaning::Confine),
    ("daemonize", Meaning::Daemonize),
    ("export", Meaning::Act(Act::Export)),
    ("help", Meaning::Help),
    ("memory-budget", Meaning::MemoryBudget),
    ("monitor", Meaning::Act(Act::Monitor)),
    ("nbd-server", Meaning::Act(Act::NbdServer)),
    ("object", Meaning::Act(Act::Object)),
    ("pidfile", Meaning::Pidfile),
    ("version", Meaning::Version),
];

/// Reads a command line, its first word (the program's name) left out.
pub fn parse(words: impl IntoIterator<Item = OsString>) -> Result<Wish, String> {
    let mut line = CommandLine::default();
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        let word = text(word)?;
        let (name, mut given) = match word.split_once('=') {
            Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
            None => (word.clone(), None),
        };
        let option = match name.as_str() {
            "-h" => &Meaning::Help,
            "-V" => &Meaning::Version,
            long if long.starts_with("--") => find(long)?,
            _ => return Err(format!("{word}: Unexpected argument")),
        };
        let mut value = || match given.take() {
            Some(value) => Ok(value),
            None => words.next().map_or_else(|| Err(format!("option '{name}' requires an argument")), text),
        };
        match option {
            Meaning::Help => return Ok(Wish::Help),
            Meaning::Version => return Ok(Wish::Version),
            Meaning::Act(act) => line.acts.push((*act, value()?)),
            Meaning::Pidfile => line.pidfile = Some(value()?.into()),
            Meaning::MemoryBudget => {
                let text = value()?;
                let bytes = size(&text).ok_or_else(|| format!("--memory-budget {text}: not a size"))?;
                line.memory_budget = Some(bytes);
            }
            Meaning::Confine => line.confine = Some(value()?.into()),
            Meaning::Daemonize => line.daemonize = true,
            Meaning::Background => line.is_background = true,
        }
        if given.is_some() {
            return Err(format!("option '{name}' doesn't allow an argument"));
        }
    }
    Ok(Wish::Run(line))
}

/// An option by its name, or by as much of it as no other begins with.
fn find(name: &str) -> Result<&'static Meaning, String> {
    let start = &name[2..];
    let mut found = OPTIONS.iter().filter(|(option, _)| option.starts_with(start) && !start.is_empty());
    match (found.next(), found.next()) {
        (Some((_, option)), None) => Ok(option),
        (Some(_), Some(_)) => Err(format!("option '{name}' is ambiguous")),
        (None, _) => Err(format!("unrecognized option '{name}'")),
    }
}

/// A number of bytes, with K, M or G for powers of 1024.
fn size(text: &str) -> Option<u64> {
    let units = [('K', 10), ('M', 20), ('G', 30)];
    let shift = text.chars().last().and_then(|last| units.iter().find(|(unit, _)| *unit == last));
    let (digits, shift) = shift.map_or((text, 0), |(_, shift)| (&text[..text.len() - 1], *shift));
    digits.parse::<u64>().ok()?.checked_mul(1 << shift)
}

fn text(word: OsString) -> Result<String, String> {
    word.into_string().map_err(|word| format!("{}: not UTF-8", word.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(words: &[&str]) -> Result<Wish, String> {
        parse(words.iter().map(OsString::from))
    }

    #[test]
    fn options_keep_their_order() {
        let words = ["--object", "a", "--blockdev=driver=file", "--object", "b", "--pid", "p", "--daemonize"];
        let Ok(Wish::Run(line)) = parsed(&words) else { panic!("these are options") };
        let acts: Vec<_> = line.acts.iter().map(|(act, text)| (act.name(), text.as_str())).collect();
        assert_eq!(acts, [("object", "a"), ("blockdev", "driver=file"), ("object", "b")]);
        assert_eq!(line.pidfile, Some("p".into()));
        assert!(line.daemonize);
    }

    #[test]
    fn a_budget_is_a_size() {
        for (text, bytes) in [("512M", 512 << 20), ("2G", 2 << 30), ("4096", 4096), ("1K", 1024), ("0", 0)] {
            let Ok(Wish::Run(line)) = parsed(&["--memory-budget", text]) else { panic!("{text} is a size") };
            assert_eq!(line.memory_budget, Some(bytes));
        }
        for text in ["", "M", "-1", "1T", "1.5G", "18446744073709551615K", "€"] {
            let refused = format!("--memory-budget {text}: not a size");
            assert_eq!(parsed(&[&format!("--memory-budget={text}")]), Err(refused));
        }
    }

    #[test]
    fn what_is_no_option_is_said_to_be_none() {
        for (words, text) in [
            (&["--foo"][..], "unrecognized option '--foo'"),
            (&["--"], "unrecognized option '--'"),
            (&["foo"], "foo: Unexpected argument"),
            (&["--pidfile"], "option '--pidfile' requires an argument"),
            (&["--daemonize=yes"], "option '--daemonize' doesn't allow an argument"),
            (&["--b", "x"], "option '--b' is ambiguous"),
        ] {
            assert_eq!(parsed(words), Err(text.to_owned()));
        }
        assert_eq!(parsed(&["--version", "extra"]), Ok(Wish::Version));
        assert_eq!(parsed(&["-h"]), Ok(Wish::Help));
    }
}
