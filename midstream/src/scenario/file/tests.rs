//! What a file may hold, and what is said of one that is wrong.

use super::*;

const WHOLE: &str = r#"
about = "All that a file may hold."
chain = ["base dddd....", "top ........"]
apart = ["target ........", "snap ........ on top unopened"]

[[client]]
commands = ["stream top base=base job=s", '{"execute":"query-jobs"}']

[[guest]]
image = "top"
requests = ["write 0 8", "flush", "read 0 8"]

[[fault]]
image = "base"
error = "enospc"
on = "flush"
once = true
after = 2

[bounds]
crashes = ["power-cut"]
subsets-of = 4
runs = 100
"#;

fn problem(text: &str) -> String {
    ScenarioFile::parse(text).expect_err("it is wrong").to_string()
}

#[test]
fn a_file_is_the_scenario_that_the_builders_make() {
    let file = ScenarioFile::parse(WHOLE).unwrap_or_else(|error| panic!("{error}"));
    let scenario = Scenario::chain(["base dddd....", "top ........"])
        .client([stream("top").base("base").job("s"), qmp(r#"{"execute":"query-jobs"}"#)])
        .guest("top", [write(0, 8), flush(), read(0, 8)])
        .fault(enospc("base").on_flush().once().after(2));
    assert_eq!(file.scenario.clients, scenario.clients);
    assert_eq!(file.scenario.guests, scenario.guests);
    assert_eq!(file.scenario.faults, scenario.faults);
    assert_eq!(file.scenario.images[..2], scenario.images);
    assert_eq!(file.bounds, Bounds { crashes: vec![Ending::PowerCut], subsets_of: 4, runs_max: 100 });
    let backing = |index: usize| file.scenario.images[index].image.backing.as_deref();
    assert_eq!((backing(2), backing(3)), (None, Some("top")));
    // Nobody has opened what lies on top.
    assert!(!file.scenario.images[3].is_open && !file.scenario.is_backing(1));
}

#[test]
fn what_is_wrong_is_said_with_its_line() {
    let cases = [
        ("about = 1", "line 1"),
        ("about = \"\"\nchain = [\"a d\"]\nwhat = 1", "unknown field `what`"),
        ("about = \"\"\nchain = [\"a d\",\n\"a d\"]", "line 3: two images are called `a`"),
        ("about = \"\"\nchain = [\"a x\"]", "line 2: up to 1024 letters"),
        ("about = \"\"\nchain = [\"a d\", \"b d on c\"]", "no image above this line is called `c`"),
        (
            "about = \"\"\nchain = []\n[[guest]]\nimage = \"a\"\nrequests = []",
            "line 4: there is no such image",
        ),
        (
            "about = \"\"\nchain = [\"a d\"]\n[[guest]]\nimage = \"a\"\nrequests = [\n\"eat 0 1\"]",
            "line 6: a request",
        ),
        ("about = \"\"\nchain = [\"a d\"]\n[[client]]\ncommands = [\"{\"]", "line 4: this is no JSON"),
        ("about = \"\"\nchain = [\"a d\"]\n[[client]]\ncommands = [\"stream a x\"]", "`x` is none of"),
        ("about = \"\"\nchain = [\"a d\"]\n[[fault]]\nimage = \"b\"", "no image is called `b`"),
        ("about = \"\"\nchain = [\"a d\"]\n[bounds]\nsubsets-of = 30", "more than 12"),
    ];
    for (text, expected) in cases {
        let said = problem(text);
        assert!(said.contains(expected), "{said}\nfor\n{text}");
    }
}

#[test]
fn a_file_that_steers_a_terminal_is_shown_without_that() {
    let said = problem("about = \"\"\nchain = [\"a d\"]\n[[client]]\ncommands = [\"stream a \\u001b[2J\"]");
    assert!(!said.contains('\u{1b}'), "{said}");
}
