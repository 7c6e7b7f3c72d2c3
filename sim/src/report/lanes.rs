//! A history in lanes: one each for clients, guests, jobs, disks and the world, a row for each thing that happened.
//!
//! A lane is how far in a text begins; it may go on to the right edge and over several lines, so nothing is cut that says
//! what a job was to do. A line of the history that is not known stands in the world's lane as it is.

use super::page::{Line, Paint, wrapped};
use midstream::history::History;
use midstream::world::on_disk::OnDisk;
use serde_json::Value;

/// Room for the step.
const STEP_WIDTH: usize = 7;
/// A lane begins so far behind the one before, at least and at most.
const LANE_WIDTH_MIN: usize = 9;
const LANE_WIDTH_MAX: usize = 30;
/// Room for a text, if there is any.
const TEXT_WIDTH: usize = 40;
/// What is no command is shown in so many lines.
const LINES_MAX: usize = 3;
/// The client that sets up and closes, beside the scenario's own.
const OPERATOR: &str = "99 ";

/// Who did something.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Lane {
    /// An operator.
    Clients,
    /// A guest.
    Guests,
    /// A job.
    Jobs,
    /// A disk.
    Disk,
    /// The rest.
    World,
}

const LANES: [(Lane, &str, Paint); 5] = [
    (Lane::Clients, "clients", Paint::Clients),
    (Lane::Guests, "guests", Paint::Guests),
    (Lane::Jobs, "jobs", Paint::Jobs),
    (Lane::Disk, "disks", Paint::Disk),
    (Lane::World, "world", Paint::World),
];

/// One thing that happened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Row {
    /// When.
    pub step: String,
    /// Who did it.
    pub lane: Lane,
    /// What.
    pub text: String,
}

/// The rows of a history, set-up folded to one, unless all is to be shown.
pub fn rows(history: &History, is_whole: bool) -> Vec<Row> {
    let all: Vec<Row> = history.lines().iter().map(|line| Row::of(line)).collect();
    let set_up = all.iter().take_while(|row| row.is_set_up()).count();
    if is_whole || set_up == 0 {
        return with_disks(all, history, 0);
    }
    let last = all[set_up - 1].step.parse().unwrap_or(0);
    with_disks(folded(&all, set_up), history, last)
}

/// The first rows as one.
fn folded(all: &[Row], set_up: usize) -> Vec<Row> {
    let (first, others) = all.split_at(set_up);
    let commands = first.iter().filter(|row| row.text.contains("-> ")).count();
    let [from, to] = [first.first(), first.last()].map(|row| row.map_or("", |row| row.step.as_str()));
    let step = if from == to { to.to_owned() } else { format!("{from}-{to}") };
    let text = format!("{OPERATOR}-> set-up: {commands} times blockdev-add, all well");
    let mut rows = vec![Row { step, lane: Lane::Clients, text }];
    rows.extend_from_slice(others);
    rows
}

/// Puts what disks did after a step, behind what was seen in the same one.
fn with_disks(rows: Vec<Row>, history: &History, after: u64) -> Vec<Row> {
    let mut done = history.disk.iter().filter(|done| done.step > after).peekable();
    let mut merged = Vec::with_capacity(rows.len() + history.disk.len());
    let row = |done: &OnDisk| Row { step: done.step.to_string(), lane: Lane::Disk, text: done.line() };
    for next in rows {
        let step = next.step.parse().unwrap_or(0);
        while let Some(done) = done.next_if(|done| done.step < step) {
            merged.push(row(done));
        }
        merged.push(next);
    }
    merged.extend(done.map(row));
    merged
}

/// Rows laid out for so many columns. `is_wide` keeps every text whole; otherwise what is no command ends with an ellipsis
/// after a few lines.
pub fn lanes(rows: &[Row], width: usize, is_wide: bool) -> Vec<Line> {
    let spare = width.saturating_sub(STEP_WIDTH + TEXT_WIDTH) / (LANES.len() - 1);
    let lane_width = spare.clamp(LANE_WIDTH_MIN, LANE_WIDTH_MAX);
    let indent = |lane: Lane| STEP_WIDTH + lane_width * lane as usize;
    let mut head = format!("{:<STEP_WIDTH$}", "step");
    LANES.iter().for_each(|(_, title, _)| head += &format!("{title:<lane_width$}"));
    let mut lines = vec![Line { paint: Paint::Plain, text: head.trim_end().to_owned() }];
    let mut step = "";
    for row in rows {
        let (_, _, paint) = LANES[row.lane as usize];
        let mut texts = wrapped(&row.text, indent(row.lane), width);
        if !is_wide && !row.is_command() && texts.len() > LINES_MAX {
            texts.truncate(LINES_MAX);
            let last = texts.last_mut().expect("there are some");
            *last = last.chars().take(width - 2).collect::<String>() + " …";
        }
        // A step is named once; what follows without one belongs to it.
        if row.step != step {
            step = &row.step;
            let room = texts[0].chars().count() - texts[0].trim_start().chars().count();
            let name = format!("{step:<STEP_WIDTH$}");
            // The steps of a set-up may be longer than their column, and the text is moved.
            let rest: String = texts[0].chars().skip(name.chars().count().min(room)).collect();
            texts[0] = if name.chars().count() > room { format!("{name} {rest}") } else { name + &rest };
        }
        lines.extend(texts.into_iter().map(|text| Line { paint, text: text.trim_end().to_owned() }));
    }
    lines
}

impl Row {
    /// The row of a line of a history.
    pub fn of(line: &str) -> Row {
        let (step, rest) = match line.strip_prefix("step ").and_then(|rest| rest.split_once(' ')) {
            Some((step, rest)) => (step, rest.trim_start()),
            None => ("", line),
        };
        let (who, what) = rest.split_once(' ').unwrap_or((rest, ""));
        let what = what.trim_start();
        let (lane, text) = match who {
            "client" => (Lane::Clients, said(what)),
            "guest" => (Lane::Guests, tight(what)),
            "event" => (Lane::Jobs, event(what)),
            "disk" => (Lane::Disk, what.to_owned()),
            request if is_request(request) => (Lane::Guests, format!("{request} {what}")),
            _ => (Lane::World, if what.is_empty() { who.to_owned() } else { format!("{who} {what}") }),
        };
        Row { step: step.to_owned(), lane, text }
    }

    fn is_command(&self) -> bool {
        self.lane == Lane::Clients && self.text.contains("-> ")
    }

    /// A node is added before anything else happens, and well.
    pub fn is_set_up(&self) -> bool {
        let what = self.text.strip_prefix(OPERATOR).unwrap_or_default().trim_start();
        self.lane == Lane::Clients && (what.starts_with("-> blockdev-add ") || what == r#"<- {"return": {}}"#)
    }
}

/// Whether a word is the name of a guest's request.
fn is_request(word: &str) -> bool {
    let numbers = word.strip_prefix('g').unwrap_or_default();
    numbers.split('.').count() == 3 && numbers.chars().all(|c| c.is_ascii_digit() || c == '.')
}

/// A number and what follows it, one space between.
fn tight(what: &str) -> String {
    let (number, what) = what.split_once(' ').unwrap_or((what, ""));
    format!("{number} {}", what.trim_start())
}

/// A command or its reply, the number of the client before it. An error says what it means first.
fn said(what: &str) -> String {
    let (client, what) = what.split_once(' ').unwrap_or((what, ""));
    let what = what.trim_start();
    let reply = what.strip_prefix("<- ").and_then(|reply| serde_json::from_str::<Value>(reply).ok());
    let refusal = reply.as_ref().and_then(|reply| {
        let error = reply.get("error")?;
        Some((error.get("desc")?.as_str()?, error.get("class")?.as_str()?))
    });
    match refusal {
        Some((desc, class)) => format!("{client} <- {desc} ({class})"),
        None => format!("{client} {what}"),
    }
}

/// A change of status as job and status; any other event as it is.
fn event(what: &str) -> String {
    let change = what.strip_prefix("JOB_STATUS_CHANGE {id:").and_then(|rest| rest.strip_suffix('}'));
    match change.and_then(|rest| rest.split_once(",status:")) {
        Some((job, status)) => format!("{job} {status}"),
        None => what.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORDED: [&str; 9] = [
        "step 13    client 2  -> block-stream device:n0,job-id:j0,base-node:n4,auto-finalize:false",
        "step 13    guest 1   attaches to n2, to write",
        "step 15    event     JOB_STATUS_CHANGE {id:j0,status:created}",
        "step 16    g1.0.3    write of 1 at 0",
        r#"step 19    client 0  <- {"error": {"class": "GenericError", "desc": "Job 'j0' in state 'aborting' cannot accept command verb 'resume'"}}"#,
        "step 22    event     BLOCK_JOB_CANCELLED {device:j0,len:0,offset:0,speed:0,type:stream}",
        "step 76    crash     kill",
        "step 76    reopened  /n1.qcow2 -> /n0.qcow2: 0*16",
        "step 77    end",
    ];

    fn laid_out(history: &[&str], width: usize, is_wide: bool) -> Vec<String> {
        let rows: Vec<Row> = history.iter().map(|line| Row::of(line)).collect();
        lanes(&rows, width, is_wide).into_iter().map(|line| line.text).collect()
    }

    #[test]
    fn everything_stands_in_its_own_lane_of_80_columns() {
        let expected = [
            "step   clients  guests   jobs     disks    world",
            "13     2 -> block-stream device:n0,job-id:j0,base-node:n4,auto-finalize:false",
            "                1 attaches to n2, to write",
            "15                       j0 created",
            "16              g1.0.3 write of 1 at 0",
            "19     0 <- Job 'j0' in state 'aborting' cannot accept command verb 'resume'",
            "         (GenericError)",
            "22                       BLOCK_JOB_CANCELLED {device:j0,len:0,offset:0,speed:0,",
            "                           type:stream}",
            "76                                         crash kill",
            "                                           reopened /n1.qcow2 -> /n0.qcow2: 0*16",
            "77                                         end",
        ];
        assert_eq!(laid_out(&RECORDED, 80, false), expected);
    }

    #[test]
    fn every_line_fits_whatever_the_width() {
        for width in 60..200 {
            let lines = laid_out(&RECORDED, width, true);
            assert!(lines.iter().all(|line| line.chars().count() <= width), "{width}: {lines:#?}");
        }
    }

    #[test]
    fn long_replies_are_cut_and_long_commands_are_not() {
        let many = "x".repeat(1_000);
        let [reply, command] = [format!("step 1 client 1 <- {many}"), format!("step 1 client 1 -> {many}")];
        assert_eq!(laid_out(&[&reply], 80, false).len(), 1 + LINES_MAX);
        assert!(laid_out(&[&reply], 80, false)[LINES_MAX].ends_with(" …"));
        for (line, is_wide) in [(&reply, true), (&command, false)] {
            let text = laid_out(&[line], 80, is_wide).concat();
            assert_eq!(text.matches('x').count(), 1_000, "{text}");
        }
    }

    #[test]
    fn lines_of_another_kind_are_shown_as_they_are() {
        let odd = ["", "step", "step 1", "step 2 ", "guest", "client", "event", "é step 3"];
        let lines = laid_out(&odd, 80, false);
        assert_eq!(lines.len(), odd.len() + 1, "{lines:?}");
        assert!(lines.last().is_some_and(|line| line.ends_with("é step 3")), "{lines:?}");
    }
}
