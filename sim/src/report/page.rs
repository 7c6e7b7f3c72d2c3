//! Text as the standard output shows it: as wide as the terminal is, and in colours if it is one.

use console::Term;
use midstream::terminal;
use std::env;
use std::io::{IsTerminal, stdout};

/// The width where there is no terminal.
const WIDTH: usize = 100;
/// Nothing is made narrower than this.
const WIDTH_MIN: usize = 60;
/// What is not the first line of a text stands so much further in.
const HANGING: usize = 2;

/// What a line is about, and so its colour.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Paint {
    /// Anything.
    Plain,
    /// Operators and their commands.
    Clients,
    /// Guests and their requests.
    Guests,
    /// Jobs and their events.
    Jobs,
    /// What the world does.
    World,
    /// What the disks do.
    Disk,
    /// A law broke.
    Bad,
    /// None did.
    Good,
}

impl Paint {
    /// The number of its colour.
    fn colour(self) -> Option<u8> {
        match self {
            Paint::Plain => None,
            Paint::Clients => Some(36),
            Paint::Guests => Some(33),
            Paint::Jobs => Some(34),
            Paint::World => Some(35),
            Paint::Disk => Some(90),
            Paint::Bad => Some(31),
            Paint::Good => Some(32),
        }
    }
}

/// A line to be shown.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Line {
    /// What it is about.
    pub paint: Paint,
    /// Its text.
    pub text: String,
}

/// Every line of a text, as wide as it is.
pub fn plain(text: &str) -> Vec<Line> {
    text.lines().map(|line| Line { paint: Paint::Plain, text: line.to_owned() }).collect()
}

/// Shows lines on the standard output.
pub fn show(lines: &[Line]) {
    let is_coloured = has_colours(stdout().is_terminal(), |name| env::var(name).ok());
    for line in lines {
        terminal::line(line.paint.colour().filter(|_| is_coloured), &line.text);
    }
}

/// Whether colours are wanted there: <https://no-color.org> says how to refuse them.
fn has_colours(is_terminal: bool, variable: impl Fn(&str) -> Option<String>) -> bool {
    let is_refused = variable("NO_COLOR").is_some_and(|value| !value.is_empty());
    is_terminal && !is_refused && variable("TERM").is_none_or(|term| term != "dumb")
}

/// How many columns there are.
pub fn width() -> usize {
    let columns = if stdout().is_terminal() { Term::stdout().size_checked() } else { None };
    columns.map_or(WIDTH, |(_, columns)| usize::from(columns).max(WIDTH_MIN))
}

/// A text in lines of at most `width` columns that all begin after `indent`, the first one in the place of a head that
/// has as many. A word that fits into no line is broken.
pub fn wrapped(text: &str, indent: usize, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut rest: Vec<char> = text.chars().collect();
    loop {
        let inset = if lines.is_empty() { indent } else { indent + HANGING };
        let room = width.saturating_sub(inset).max(1);
        let before = " ".repeat(inset);
        if rest.len() <= room {
            lines.push(before + &rest.iter().collect::<String>());
            return lines;
        }
        let part = |c: &char| " ,".contains(*c);
        // Behind the last space or comma that leaves at least half of the line full.
        let end = rest[..room].iter().rposition(part).map(|at| at + 1).filter(|end| *end > room / 2);
        let tail = rest.split_off(end.unwrap_or(room));
        lines.push(before + rest.iter().collect::<String>().trim_end());
        rest = tail.into_iter().skip_while(|c| *c == ' ').collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_for_terminals_that_want_them() {
        let none = |_: &str| None;
        assert!(has_colours(true, none));
        assert!(!has_colours(false, none));
        assert!(!has_colours(true, |name| (name == "NO_COLOR").then(|| "1".to_owned())));
        assert!(has_colours(true, |name| (name == "NO_COLOR").then(String::new)));
        assert!(!has_colours(true, |name| (name == "TERM").then(|| "dumb".to_owned())));
    }

    #[test]
    fn a_long_text_goes_on_further_in() {
        assert_eq!(wrapped("a short one", 3, 20), ["   a short one"]);
        assert_eq!(
            wrapped("device:n0,job-id:j0 and more", 3, 20),
            ["   device:n0,", "     job-id:j0 and", "     more"]
        );
        assert_eq!(wrapped("0123456789abcdefghij", 2, 12), ["  0123456789", "    abcdefgh", "    ij"]);
        assert_eq!(wrapped("", 2, 12), ["  "]);
        for width in 1..40 {
            let lines = wrapped("one two,three four five six seven", 4, width.max(8));
            assert!(lines.iter().all(|line| line.chars().count() <= width.max(8)), "{lines:?}");
        }
    }
}
