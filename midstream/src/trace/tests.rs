//! A trace is what was written, or is refused with the place of the trouble.

use super::*;
use crate::strategy::replay::strict;
use crate::toy;

fn trace() -> Trace {
    let (seed, outcome) = toy::first_failure();
    Trace::of(&outcome, Some(seed))
}

fn refusal(text: &str) -> String {
    Trace::parse(text).expect_err("a refusal").to_string()
}

#[test]
fn what_was_written_is_what_is_read() {
    let trace = trace();
    assert_eq!(Trace::parse(&trace.to_text()).expect("our own text"), trace);
    let plain = Trace { seed: None, choices: Vec::new(), verdict: "a \"quoted\"\nline".to_owned(), ..trace };
    assert_eq!(Trace::parse(&plain.to_text()).expect("our own text"), plain);
}

#[test]
fn a_trace_from_a_file_replays_strictly() {
    let folder = tempfile::tempdir().expect("a scratch folder");
    let path = folder.path().join("new").join("1.json");
    trace().write(&path).expect("writable");
    let read = Trace::read(&path).expect("our own file");
    let (outcome, divergence) = strict(toy::run, &read.choices);
    assert_eq!(divergence, None);
    assert_eq!(outcome.verdict.law(), read.expect);
}

#[test]
fn one_decision_is_one_line_by_name_and_meaning() {
    let text = trace().to_text();
    assert!(text.contains("\n{\"at\":\"client 0 command 1\",\"of\":4,\"value\":"), "{text}");
    assert!(text.contains("\n{\"at\":\"schedule\",\"of\":3,\"value\":"), "{text}");
    assert!(text.contains("\"pick\":\"client 1\"}"), "{text}");
}

#[test]
fn trouble_is_named_by_its_member() {
    let good = trace().to_text();
    let with = |from: &str, to: &str| {
        assert!(good.contains(from), "no {from} in {good}");
        refusal(&good.replacen(from, to, 1))
    };
    assert_eq!(with("\"version\": 1", "\"version\": 2"), "member `version`: 2 is not 1");
    assert_eq!(with("\"of\":4", "\"of\":1"), "member `choices[0].of`: 1 leaves nothing to decide");
    assert_eq!(with("\"value\":", "\"value\":9"), too_big(&good));
    assert_eq!(
        with("\"at\":\"client 0", "\"at\":\"client\\u001b 0"),
        "member `choices[0].at`: control character U+001B in a name"
    );
    assert_eq!(
        with("\"verdict\": \"", "\"verdict\": \"\\u0007"),
        "member `verdict`: control character U+0007"
    );
}

fn too_big(good: &str) -> String {
    let value: String = good.split_once("\"value\":").expect("a value").1.chars().take(1).collect();
    format!("member `choices[0].value`: 9{value} is not below 4")
}

#[test]
fn trouble_is_named_by_its_line() {
    let good = trace().to_text();
    let unknown = refusal(&good.replacen("\"of\":4", "\"off\":4", 1));
    assert!(unknown.starts_with("unknown field `off`, expected one of"), "{unknown}");
    assert!(unknown.contains("at line 9 "), "{unknown}");
    let ill_typed = refusal(&good.replacen("\"of\":4", "\"of\":-4", 1));
    assert!(ill_typed.contains("invalid value: integer `-4`, expected u32 at line 9 "), "{ill_typed}");
    let twice = refusal(&good.replacen("\"law\"", "\"law\": \"x\",\n\"law\"", 1));
    assert!(twice.contains("duplicate field `law` at line 6 "), "{twice}");
    assert!(refusal(&good[..good.len() / 2]).contains("EOF while parsing"), "cut in half");
}

#[test]
fn hostile_bytes_are_refused_in_bounded_memory() {
    assert!(refusal(&"[".repeat(1_000_000)).contains("at line 1"));
    assert_eq!(
        refusal(&" ".repeat(LEN_BYTES_MAX as usize + 1)),
        format!("longer than {LEN_BYTES_MAX} bytes")
    );
    assert!(refusal("{\"version\": 99999999999999999999}").contains("at line 1"));
    assert!(refusal("null").contains("expected struct File"));
    let line = "{\"at\":\"a\",\"of\":2,\"value\":0},\n".repeat(DECISIONS_MAX + 1);
    let many = trace().to_text().replace("\"choices\": [\n", &format!("\"choices\": [\n{line}"));
    assert!(refusal(&many).starts_with(&format!("more than {DECISIONS_MAX} decisions at line ")));
}

#[test]
fn a_hostile_file_cannot_steer_the_terminal_that_shows_its_refusal() {
    let good = trace().to_text();
    let evil = r"\u001b]0;owned\u0007\n";
    for member in ["version", "midstream", "law", "expect", "verdict", "choices", "at", "of", "value", "pick"]
    {
        let name = refusal(&good.replacen(&format!("\"{member}\""), &format!("\"{member}{evil}\""), 1));
        assert!(!name.contains(char::is_control), "{name:?}");
    }
    for from in ["\"law\": \"", "\"at\":\"", "\"pick\":\"", "\"seed\": "] {
        let value = refusal(&good.replacen(from, &format!("{}\"{evil}", from.trim_end_matches('"')), 1));
        assert!(!value.contains(char::is_control), "{value:?}");
    }
}

#[test]
fn the_longest_run_can_be_written_and_read() {
    let trace = trace();
    let choices: Vec<Decision> = trace.choices.iter().copied().cycle().take(DECISIONS_MAX).collect();
    let longest = Trace { choices, ..trace };
    let folder = tempfile::tempdir().expect("a scratch folder");
    let path = folder.path().join("1.json");
    longest.write(&path).expect("as long as a run can be");
    assert_eq!(Trace::read(&path).expect("our own file").choices.len(), DECISIONS_MAX);
    let mut longer = longest;
    longer.choices.push(longer.choices[0]);
    let refused = longer.write(&path).expect_err("no run is so long").to_string();
    assert_eq!(refused, format!("member `choices`: {} are more than {DECISIONS_MAX}", DECISIONS_MAX + 1));
}

#[test]
fn a_verdict_of_any_text_is_written_so_that_it_can_be_read() {
    let mut outcome = toy::first_failure().1;
    let texts = ["\u{1b}[2J\u{7}\ttext\nline\r".to_owned(), "é".repeat(TEXT_BYTES_MAX)];
    let read = texts.map(|text| {
        outcome.verdict = Verdict::Broken { law: toy::LAW.to_owned(), detail: text };
        let trace = Trace::of(&outcome, None);
        assert_eq!(Trace::parse(&trace.to_text()).expect("our own text"), trace);
        trace.verdict
    });
    assert_eq!(read[0], "\\u001B[2J\\u0007\\ttext\nline\\r");
    assert!(read[1].ends_with("é…") && read[1].len() <= TEXT_BYTES_MAX, "{} bytes", read[1].len());
}
