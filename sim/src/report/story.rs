//! What led to a failure, short enough to be seen at once: what the run was built from, and what happened, lane by lane,
//! without what says nothing of how it came about. `show` has all of it.

use crate::report::chain::{chain, scenario_of};
use crate::report::lanes::{Lane, Row, lanes, rows};
use crate::report::page::wrapped;
use crate::report::text;
use midstream::verdict::Outcome;

/// A terminal that nobody has made wider.
const WIDTH: usize = 80;
/// A failure and its story have so many lines; what repeats it stands below.
const LINES_MAX: usize = 34;
/// However long the rest is, so many lines are for what happened.
const ROWS_MIN: usize = 12;
/// Tasks that set a run up, or look at what is there at its end.
const FRAME: [&str; 4] = ["set up: ", "look: ", "quit: ", "closing client: "];
/// What disks read of an image itself: only data says where data comes from.
const TABLES: [&str; 5] = ["(header)", "(L1 table)", "(L2 table)", "(refcount table)", "(refcounts)"];

/// A failure, and below it the story of the run, whose history was kept.
pub fn screen(outcome: &Outcome) -> String {
    let chain = scenario_of(&outcome.tape).map(|scenario| chain(&scenario)).unwrap_or_default();
    let mut text = String::new();
    for line in (text::failure(outcome) + &chain).lines() {
        let inset = line.len() - line.trim_start().len();
        wrapped(line.trim_start(), inset, WIDTH).into_iter().for_each(|line| text += &(line + "\n"));
    }
    let lines_left = LINES_MAX.saturating_sub(text.lines().count());
    let rows = notable(rows(&outcome.history, false));
    fitting(rows, lines_left.max(ROWS_MIN)).into_iter().for_each(|line| text += &(line + "\n"));
    text
}

/// The rows that say how it came about, those of one job's statuses in one.
fn notable(all: Vec<Row>) -> Vec<Row> {
    let mut notable: Vec<Row> = Vec::with_capacity(all.len());
    for row in all.iter().filter(|row| matters(row)) {
        let row = Row { text: brief(row), ..row.clone() };
        match notable.last().and_then(|last| joined(last, &row)) {
            Some(text) => notable.last_mut().expect("there is a last one").text = text,
            None => notable.push(row),
        }
    }
    if notable.is_empty() { all } else { notable }
}

fn matters(row: &Row) -> bool {
    let text = row.text.as_str();
    match row.lane {
        Lane::Clients => !text.contains(r#"<- {"return""#) && !text.contains("-> query-"),
        Lane::Guests => !text.ends_with(" leaves"),
        Lane::Jobs => true,
        Lane::Disk => {
            let is_frame = FRAME.iter().any(|task| text.starts_with(task));
            let is_table = TABLES.iter().any(|table| text.contains(table));
            !is_frame && (!text.contains(": read ") || text.contains('(') && !is_table)
        }
        Lane::World => !["look ", "reopened "].iter().any(|word| text.starts_with(word)) && text != "end",
    }
}

/// A row in fewer words: an event with its progress alone, a file without its folder and its ending.
fn brief(row: &Row) -> String {
    match row.lane {
        Lane::Jobs => brief_event(&row.text),
        Lane::Disk => {
            let (text, _) = row.text.split_once(", since ").unwrap_or((&row.text, ""));
            text.replacen(" /", " ", 1).replacen(".qcow2", "", 1).replacen(".raw", "", 1)
        }
        _ => row.text.clone(),
    }
}

/// An event of a job: `BLOCK_JOB_READY j0 8192/8192`.
fn brief_event(text: &str) -> String {
    let Some((event, data)) = text.split_once(" {device:") else { return text.to_owned() };
    let data = data.trim_end_matches('}');
    let part = |name: &str| data.split(',').find_map(|part| part.strip_prefix(name));
    let job = data.split(',').next().unwrap_or_default();
    match (part("offset:"), part("len:"), part("error:")) {
        (Some(offset), Some(len), None) => format!("{event} {job} {offset}/{len}"),
        (Some(offset), Some(len), Some(error)) => format!("{event} {job} {offset}/{len}: {error}"),
        _ => text.to_owned(),
    }
}

/// Two rows as one, if the second only says what became of the same job next.
fn joined(last: &Row, next: &Row) -> Option<String> {
    let is_status = |row: &Row| row.lane == Lane::Jobs && !row.text.contains("BLOCK_JOB_");
    let (job, status) = next.text.split_once(' ')?;
    let is_same = is_status(last) && is_status(next) && last.text.split(' ').next() == Some(job);
    is_same.then(|| format!("{}, {status}", last.text))
}

/// The lines of as many rows as fit: what matters least goes first, the oldest before others; how many went stands below the
/// first row.
fn fitting(mut rows: Vec<Row>, lines_max: usize) -> Vec<String> {
    let laid_out = |rows: &[Row]| -> Vec<String> {
        lanes(rows, WIDTH, false).into_iter().map(|line| line.text).collect()
    };
    let all = rows.len();
    loop {
        let mut shown = rows.clone();
        if rows.len() < all {
            let text = format!("({} rows are left out)", all - rows.len());
            shown.insert(1, Row { step: "...".to_owned(), lane: Lane::Clients, text });
        }
        let lines = laid_out(&shown);
        let least = (1..rows.len()).min_by_key(|index| weight(&rows[*index]));
        match least.filter(|_| lines.len() > lines_max) {
            Some(least) => drop(rows.remove(least)),
            None => return lines,
        }
    }
}

/// How much a row matters.
fn weight(row: &Row) -> u32 {
    match row.lane {
        Lane::Disk if row.text.contains(": flush ") => 0,
        Lane::Disk | Lane::World => 1,
        Lane::Guests | Lane::Jobs => 2,
        Lane::Clients => 3,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(step: u64, lane: Lane, text: &str) -> Row {
        Row { step: step.to_string(), lane, text: text.to_owned() }
    }

    #[test]
    fn what_says_nothing_of_the_cause_is_left_out() {
        let rows = vec![
            row(1, Lane::Clients, "0 -> block-stream device:n1,job-id:j0"),
            row(1, Lane::Jobs, "j0 created"),
            row(1, Lane::Jobs, "j0 running"),
            row(1, Lane::Clients, r#"0 <- {"return": {}}"#),
            row(2, Lane::Disk, "job j0: read /n1 0x400+0x400 (L2 table)"),
            row(3, Lane::Disk, "job j0: read /n0.raw 0x800+0x200 (n0), since 1"),
            row(4, Lane::Disk, "job j0: write /n1.qcow2 0x400+0x200 (L2 table)"),
            row(5, Lane::Jobs, "BLOCK_JOB_COMPLETED {device:j0,error:no,len:8,offset:4,speed:0,type:stream}"),
            row(5, Lane::Jobs, "j0 concluded"),
            row(6, Lane::Clients, "99 -> query-jobs"),
            row(7, Lane::Disk, "look: read /n0 0x0+0x200 (n0)"),
            row(7, Lane::World, "look n0: n0*16"),
        ];
        let shown: Vec<String> = notable(rows).into_iter().map(|row| row.text).collect();
        assert_eq!(
            shown,
            [
                "0 -> block-stream device:n1,job-id:j0",
                "j0 created, running",
                "job j0: read n0 0x800+0x200 (n0)",
                "job j0: write n1 0x400+0x200 (L2 table)",
                "BLOCK_JOB_COMPLETED j0 4/8: no",
                "j0 concluded",
            ]
        );
    }

    #[test]
    fn a_long_story_keeps_what_matters_most_and_its_end() {
        let happens = |step| row(step, Lane::World, &format!("{step} happens"));
        let mut rows: Vec<Row> = (0..50).map(happens).collect();
        rows.insert(7, row(6, Lane::Clients, "0 -> block-stream device:n1"));
        rows.push(row(50, Lane::Disk, "job j0: flush n1"));
        let lines = fitting(rows, 10);
        assert_eq!(lines.len(), 10, "{lines:#?}");
        assert!(lines[1].ends_with(" 0 happens") && lines[9].ends_with(" 49 happens"), "{lines:#?}");
        assert_eq!(lines[2], "...    (44 rows are left out)");
        assert_eq!(lines[3], "6      0 -> block-stream device:n1");
    }
}
