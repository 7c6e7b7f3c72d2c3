//! A history in lanes: one column each for clients, guests, jobs and the world, one row for each thing that happened.
//!
//! It reads the oracle's readable lines. A line it does not know stands in the world's lane as it is.

use serde_json::Value;
use std::fmt::Write;

/// Room for the step.
const STEP_WIDTH: usize = 7;
/// Room for one lane.
const LANE_WIDTH: usize = 40;

/// Who did something.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
enum Lane {
    Clients,
    Guests,
    Jobs,
    World,
}

const LANES: [(Lane, &str); 4] =
    [(Lane::Clients, "clients"), (Lane::Guests, "guests"), (Lane::Jobs, "jobs"), (Lane::World, "world")];

/// One thing that happened.
struct Row<'a> {
    step: &'a str,
    lane: Lane,
    text: String,
}

/// The history, laid out. `is_wide` keeps long texts whole; otherwise they end with an ellipsis at their column's end.
pub fn lanes(history: &[String], is_wide: bool) -> String {
    let mut text = format!("{:<STEP_WIDTH$}", "step");
    for (_, title) in LANES {
        write!(text, "{title:<LANE_WIDTH$}").expect("a string takes any text");
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
    let mut step = "";
    for row in history.iter().map(|line| Row::of(line)) {
        // A step is named once; what follows without one belongs to it.
        let name = if row.step == step { "" } else { row.step };
        step = row.step;
        let before = STEP_WIDTH + LANE_WIDTH * row.lane as usize;
        let what = if is_wide { row.text } else { shortened(&row.text, LANE_WIDTH - 1) };
        writeln!(text, "{name:<before$}{what}").expect("a string takes any text");
    }
    text
}

impl<'a> Row<'a> {
    fn of(line: &'a str) -> Row<'a> {
        let (step, rest) = match line.strip_prefix("step ").and_then(|rest| rest.split_once(' ')) {
            Some((step, rest)) => (step, rest.trim_start()),
            None => ("", line),
        };
        let (who, what) = rest.split_once(' ').unwrap_or((rest, ""));
        let what = what.trim_start();
        let (lane, text) = match who {
            "client" => (Lane::Clients, said(what)),
            "guest" => (Lane::Guests, asked(what)),
            "event" => (Lane::Jobs, event(what)),
            _ => (Lane::World, if what.is_empty() { who.to_owned() } else { format!("{who} {what}") }),
        };
        Row { step, lane, text }
    }
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

/// A guest's request by its numbers (`1.0.3`: guest 1, lane 0, request 3), or what the guest itself does.
fn asked(what: &str) -> String {
    let words: Vec<&str> = what.splitn(6, ' ').collect();
    match words[..] {
        [guest, "lane", lane, "request", request, what] => format!("{guest}.{lane}.{request} {what}"),
        _ => {
            let (guest, what) = what.split_once(' ').unwrap_or((what, ""));
            format!("{guest} {}", what.trim_start())
        }
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

fn shortened(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let kept: String = text.chars().take(width - 1).collect();
    format!("{}…", kept.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORDED: [&str; 9] = [
        "step 13    client 2  -> block-stream device:n0,job-id:j0",
        "step 13    guest 1   attaches to n2, to write",
        "step 15    event     JOB_STATUS_CHANGE {id:j0,status:created}",
        "step 16    guest 1 lane 0 request 3 Write of 1 at 0",
        r#"step 19    client 0  <- {"error": {"class": "GenericError", "desc": "Job 'j0' in state 'aborting' cannot accept command verb 'resume'"}}"#,
        "step 22    event     BLOCK_JOB_CANCELLED {device:j0,len:0,offset:0,speed:0,type:stream}",
        "step 76    crash     Kill",
        "step 76    afresh    /n1.qcow2 -> /n0.qcow2: 0x16",
        "step 77    end",
    ];

    fn recorded() -> Vec<String> {
        RECORDED.map(str::to_owned).to_vec()
    }

    #[test]
    fn everything_stands_in_its_own_lane() {
        let text = lanes(&recorded(), false);
        let gap = |lanes: usize| " ".repeat(LANE_WIDTH * lanes);
        let expected = [
            format!("step   {:<40}{:<40}{:<40}world", "clients", "guests", "jobs"),
            "13     2 -> block-stream device:n0,job-id:j0".to_owned(),
            format!("       {}1 attaches to n2, to write", gap(1)),
            format!("15     {}j0 created", gap(2)),
            format!("16     {}1.0.3 Write of 1 at 0", gap(1)),
            "19     0 <- Job 'j0' in state 'aborting' cann…".to_owned(),
            format!("22     {}BLOCK_JOB_CANCELLED {{device:j0,len:0,o…", gap(2)),
            format!("76     {}crash Kill", gap(3)),
            format!("       {}afresh /n1.qcow2 -> /n0.qcow2: 0x16", gap(3)),
            format!("77     {}end", gap(3)),
        ];
        assert_eq!(text.lines().collect::<Vec<_>>(), expected, "\n{text}");
    }

    #[test]
    fn wide_lanes_keep_every_text_whole() {
        let text = lanes(&recorded(), true);
        assert!(text.contains(
            "0 <- Job 'j0' in state 'aborting' cannot accept command verb 'resume' (GenericError)\n"
        ));
        assert!(text.contains("{device:j0,len:0,offset:0,speed:0,type:stream}\n"), "{text}");
        assert!(!text.contains('…'), "{text}");
    }

    #[test]
    fn lines_of_another_kind_are_shown_as_they_are() {
        let odd =
            ["", "step", "step 1", "step 2 ", "guest", "client", "event", "é step 3"].map(str::to_owned);
        let text = lanes(&odd, false);
        assert_eq!(text.lines().count(), odd.len() + 1, "{text}");
        assert!(text.ends_with("é step 3\n"), "{text}");
    }
}
