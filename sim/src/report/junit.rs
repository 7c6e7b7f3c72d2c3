//! JUnit XML, which CI systems show: of a campaign each law is a test case, and so is each goal that had to be reached; of
//! mutants and explorations each of them is one.

use crate::report::text::program;
use midstream::coverage::{Law, Totals};
use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};
use std::time::Duration;

/// Something that was tested.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Case {
    /// What it is one of.
    pub class: &'static str,
    /// What it is called.
    pub name: String,
    /// What came of it.
    pub end: End,
}

/// What came of a case.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum End {
    /// It went well.
    Passed,
    /// It did not: in a line, and at length.
    Failed(String, String),
    /// It was not tried, and why.
    Skipped(String),
}

/// The file's text.
pub fn xml(name: &str, cases: &[Case], wall: Duration) -> String {
    let mut report = Report::new("midstream");
    report.set_time(wall);
    let mut suite = TestSuite::new(name.to_owned());
    suite.set_time(wall);
    for case in cases {
        let status = match &case.end {
            End::Passed => TestCaseStatus::success(),
            End::Failed(message, text) => {
                let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
                status.set_message(message.clone());
                status.set_description(text.clone());
                status
            }
            End::Skipped(why) => {
                let mut status = TestCaseStatus::skipped();
                status.set_message(why.clone());
                status
            }
        };
        let mut case_of = TestCase::new(case.name.clone(), status);
        case_of.set_classname(case.class);
        suite.add_test_case(case_of);
    }
    report.add_test_suite(suite);
    report.to_string().expect("XML can be written to memory")
}

/// The cases of a campaign. `trace` names the trace of a law that broke, if there is one.
pub fn of_campaign(totals: &Totals, laws: &[Law], trace: impl Fn(&str) -> Option<String>) -> Vec<Case> {
    let end = |law: &str, checks: u64| match totals.broken.get(law) {
        Some(broken) => {
            let repro = format!("repro   {} fuzz --seed {} --runs 1", program(), broken.seed);
            let trace = trace(law).map(|trace| format!("\ntrace   {trace}")).unwrap_or_default();
            let message = format!("broken in {} runs, first by seed {}", broken.runs, broken.seed);
            End::Failed(message, repro + &trace)
        }
        None if checks == 0 => End::Skipped("never checked".to_owned()),
        None => End::Passed,
    };
    let case = |name: &str, checks| Case { class: "law", name: name.to_owned(), end: end(name, checks) };
    let mut cases: Vec<Case> = totals.counts(laws, false).map(|(name, checks)| case(name, checks)).collect();
    // A panic of the code under test, or a world where nothing moves, is no law of the model.
    let others = totals.broken.keys().filter(|law| laws.iter().all(|known| known.name != **law));
    cases.extend(others.map(|law| case(law, 1)));
    let proves_little = || End::Failed("the campaign proves little".to_owned(), String::new());
    let vacuous = totals.vacuous(laws).into_iter();
    cases.extend(vacuous.map(|name| Case { class: "vacuous", name, end: proves_little() }));
    cases
}

#[cfg(test)]
mod tests {
    use super::*;
    use midstream::strategy::of_seed;
    use midstream::toy;

    #[test]
    fn a_broken_law_is_a_failure_and_one_never_checked_is_skipped() {
        let mut totals = Totals::default();
        (0..900).for_each(|seed| totals.add(seed, &toy::run(of_seed(seed))));
        let trace = |_: &str| Some("new/<1>&.json".to_owned());
        let cases = of_campaign(&totals, toy::SUBJECT.laws, trace);
        let text = xml("fuzz", &cases, Duration::from_secs(3));
        let report = Report::deserialize_from_str(&text).expect("it can be read again");
        let cases = &report.test_suites[0].test_cases;
        assert_eq!((report.failures, cases.len()), (1, 2), "{text}");
        assert!(matches!(cases[0].status, TestCaseStatus::NonSuccess { .. }), "{text}");
        assert!(matches!(cases[1].status, TestCaseStatus::Skipped { .. }), "{text}");
        assert!(text.contains("new/&lt;1&gt;&amp;.json") && text.contains("--runs 1"), "{text}");
    }
}
