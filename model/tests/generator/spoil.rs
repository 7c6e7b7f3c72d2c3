//! Ways to spoil a history in one place, so that it can hardly be right any more.

use super::world::History;
use super::{LineKind, Tape, kind_of, party};

/// What is done to it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Kind {
    /// An event is left out.
    EventLost,
    /// An event is shown twice.
    EventTwice,
    /// An event is shown before the command that caused it was sent.
    EventBeforeCause,
    /// A read brings what another sector holds.
    ReadOfAnother,
    /// A refusal becomes a success.
    RefusalTurned,
    /// A success becomes a refusal.
    SuccessTurned,
    /// A durable sector shows after a crash what it held before.
    DurableLost,
}

/// The history spoilt at a random place, and the line; `None` if it has no such place.
pub fn spoil(kind: Kind, history: &History, tape: &mut Tape) -> Option<(usize, Vec<String>)> {
    let mut lines = history.lines.clone();
    let fits = |at: &usize| match kind {
        Kind::EventLost | Kind::EventTwice => kind_of(&lines[*at]) == LineKind::Event,
        Kind::EventBeforeCause => cause(&lines, *at).is_some(),
        Kind::ReadOfAnother => lines[*at].starts_with("end ") && lines[*at].contains(" w"),
        Kind::RefusalTurned => is_refusal(&lines[*at]),
        Kind::SuccessTurned => lines[*at].starts_with("< ") && lines[*at].ends_with(" ok"),
        Kind::DurableLost => history.durable.iter().any(|(line, ..)| line == at),
    };
    let places: Vec<usize> = (0..lines.len()).filter(fits).collect();
    let at = *places.get(tape.below(places.len()))?;
    match kind {
        Kind::EventLost => drop(lines.remove(at)),
        Kind::EventTwice => lines.insert(at, lines[at].clone()),
        Kind::EventBeforeCause => {
            let cause = cause(&lines, at)?;
            let event = lines.remove(at);
            lines.insert(cause, event);
        }
        Kind::ReadOfAnother => {
            let (start, last) = lines[at].rsplit_once(' ')?;
            // Nobody ever writes these.
            let other = 500 + last.trim_start_matches('w').parse::<u64>().ok()? % 400;
            lines[at] = format!("{start} w{other}");
        }
        Kind::RefusalTurned => lines[at] = format!("{} ok", &lines[at][..3]),
        Kind::SuccessTurned => lines[at] = format!("{} Job is tired", &lines[at][..3]),
        Kind::DurableLost => {
            let of_line: Vec<_> = history.durable.iter().filter(|(line, ..)| *line == at).collect();
            let (_, word, before) = **tape.pick(&of_line);
            let mut words: Vec<String> = lines[at].split(' ').map(str::to_owned).collect();
            words[word] = format!("w{before}");
            lines[at] = words.join(" ");
        }
    }
    Some((at, lines))
}

fn is_refusal(line: &str) -> bool {
    line.starts_with("< ") && !line.ends_with(" ok") && !line.contains('{')
}

/// The line at which the command was sent without which this event cannot be: the last about its job.
fn cause(lines: &[String], at: usize) -> Option<usize> {
    let words: Vec<&str> = lines[at].split(' ').collect();
    let command = match words[..] {
        ["!", _, "created"] => "block-stream job-id=",
        ["!", _, "aborting"] => "job-cancel id=",
        ["!", _, "paused"] => "job-pause id=",
        _ => return None,
    };
    let id = party(&lines[at]).trim_start_matches("job ").to_owned();
    let is_cause = |line: &String| {
        line.starts_with("> ")
            && line.split_once(command).is_some_and(|(_, rest)| rest.split(' ').next() == Some(&id))
    };
    // The first in the life of this job.
    let born =
        lines[..at].iter().rposition(|line| *line == format!("! {id} null")).map_or(0, |line| line + 1);
    (born..at).find(|line| is_cause(&lines[*line]))
}
