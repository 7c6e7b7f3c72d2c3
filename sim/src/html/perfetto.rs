//! A run as trace events, which `ui.perfetto.dev` and `chrome://tracing` open: a track for each lane, a step for each
//! microsecond, arrows from cause to effect.

use super::data::{Page, Row};
use serde_json::{Value, json};

const LANES: [&str; 5] = ["clients", "guests", "jobs", "disks", "world"];
/// How long a slice is, in steps: shorter than what lies between two in one step.
const SLICE_STEPS: f64 = 0.005;

/// The file's text.
pub fn events(page: &Page) -> String {
    let mut events: Vec<Value> = vec![json!({
        "name": "process_name", "ph": "M", "pid": 1,
        "args": { "name": format!("{}: {}", page.title, page.law) },
    })];
    events.extend(LANES.iter().zip(1u64..).map(|(lane, tid)| {
        json!({ "name": "thread_name", "ph": "M", "pid": 1, "tid": tid, "args": { "name": lane } })
    }));
    let times = times(&page.rows);
    for (at, row) in page.rows.iter().enumerate() {
        let is_breaking = page.at == Some(at);
        events.push(slice(row, times[at], is_breaking));
        let causes = row.c.iter().zip(0u64..);
        events.extend(causes.flat_map(|(cause, number)| {
            let id = at as u64 * 64 + number;
            [flow("s", id, &page.rows[*cause], times[*cause]), flow("f", id, row, times[at])]
        }));
    }
    json!({ "traceEvents": events, "displayTimeUnit": "ns" }).to_string() + "\n"
}

/// The moments of the rows: their steps, and what happens in one step one after the other, in hundredths of it.
fn times(rows: &[Row]) -> Vec<f64> {
    let mut last = 0.0_f64;
    let mut time = |row: &Row| {
        let step = row.s.parse::<u64>().unwrap_or(0) as f64;
        last = if step > last { step } else { last + 0.01 };
        last
    };
    rows.iter().map(&mut time).collect()
}

fn slice(row: &Row, time: f64, is_breaking: bool) -> Value {
    let mut slice = json!({
        "name": row.t, "cat": LANES[usize::from(row.l)], "ph": "X", "ts": time, "dur": SLICE_STEPS,
        "pid": 1, "tid": row.l + 1, "args": { "step": row.s },
    });
    if is_breaking {
        slice["cname"] = json!("terrible");
        slice["args"]["breaks"] = json!(true);
    }
    slice
}

fn flow(phase: &str, id: u64, row: &Row, time: f64) -> Value {
    json!({
        "name": "leads to", "cat": "cause", "ph": phase, "bp": "e", "id": id,
        "ts": time, "pid": 1, "tid": row.l + 1,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_a_slice_on_its_track_and_every_cause_an_arrow() {
        let row = |s: &str, l, c: &[usize]| Row { s: s.to_owned(), l, c: c.to_vec(), ..Row::default() };
        let rows = vec![row("3", 0, &[]), row("3", 2, &[0]), row("9", 1, &[0, 1])];
        let page = Page { rows, at: Some(2), ..Page::default() };
        let text: Value = serde_json::from_str(&events(&page)).expect("JSON");
        let events = text["traceEvents"].as_array().expect("a list");
        let of = |phase: &str| events.iter().filter(|event| event["ph"] == phase).collect::<Vec<_>>();
        let slices: Vec<_> = of("X").iter().map(|e| (e["tid"].clone(), e["ts"].clone())).collect();
        assert_eq!(slices, [(json!(1), json!(3.0)), (json!(3), json!(3.01)), (json!(2), json!(9.0))]);
        assert_eq!((of("s").len(), of("f").len()), (3, 3));
        assert_eq!(of("X")[2]["args"]["breaks"], true);
    }
}
