//! What a campaign tried, as tables: two jobs by how their regions lie, verbs by the type and status of their job, and silent
//! steps of the specification by the type of theirs. What no run came to stays empty.

use super::campaign::{Report, add, escaped};
use crate::report::text::grouped;
use model::command::plan::JOB_TYPES;
use model::job::{STATUSES, VERBS};
use model::judge::taken::{STEP_KINDS, StepTaken};
use model::judge::verbs::Combination;
use model::law::PAIRS;
use std::collections::BTreeMap;

/// Relations, in the order of the table of pairs.
const RELATIONS: [&str; 5] = ["above", "below", "adjacent", "overlapping", "identical"];
/// Where nothing can ever stand.
const IMPOSSIBLE: &str = "<td class=\"none\">-</td>";

/// How many runs tried a job beside another one in each relation.
pub(super) fn pairs(report: &Report<'_>) -> String {
    let counts: BTreeMap<&str, u64> = report.totals.counts(report.laws, true).collect();
    let (mut rows, mut reached) = (String::new(), Reached::default());
    for (started, of_started) in JOB_TYPES.iter().zip(&PAIRS) {
        for (running, relations) in JOB_TYPES.iter().zip(of_started) {
            let count = |name: &str| counts.get(name).copied().unwrap_or(0);
            let cells = relations.iter().map(|goal| match goal {
                None => IMPOSSIBLE.to_owned(),
                Some(goal) => reached.cell(count(goal.name()), ""),
            });
            let cells: String = cells.collect();
            let (started, running) = (started.words(), running.words());
            add(
                &mut rows,
                format_args!("<tr><th scope=\"row\">{started} beside {running}</th>{cells}</tr>\n"),
            );
        }
    }
    if PAIRS[0][0][0].is_none_or(|goal| !counts.contains_key(goal.name())) {
        return String::new();
    }
    let legend = "In how many runs the first was tried while the second ran. A dash where two jobs cannot lie so; \
                  striped where no run came to it.";
    section("pairs", "Two jobs, by how their regions lie", &RELATIONS, &rows, &reached, legend)
}

/// How many runs sent each verb to a job of each type in each status.
pub(super) fn verbs(report: &Report<'_>) -> String {
    if report.totals.verbs_sent.is_empty() {
        return String::new();
    }
    let mut counts = report.totals.verbs();
    let (mut rows, mut reached) = (String::new(), Reached::default());
    for job_type in JOB_TYPES {
        for status in STATUSES {
            // They stand in the same order, and those that cannot be are left out of both.
            if !(Combination { job_type, status, verb: VERBS[0] }).can_be() {
                continue;
            }
            let row = counts.by_ref().take(VERBS.len());
            let cells = row.map(|(combination, count)| {
                debug_assert_eq!((combination.job_type, combination.status), (job_type, status));
                let class = if status.admits(combination.verb) { "" } else { "refused" };
                reached.cell(count, class)
            });
            let cells: String = cells.collect();
            let (job, status) = (job_type.words(), status.word());
            add(&mut rows, format_args!("<tr><th scope=\"row\">{job}, {status}</th>{cells}</tr>\n"));
        }
    }
    let legend = "In how many runs it was sent. Slanted where a job in that status must refuse it; striped where no run \
                  came to it.";
    section(
        "verbs",
        "Verbs, by their job's type and status",
        &VERBS.map(|verb| verb.word()),
        &rows,
        &reached,
        legend,
    )
}

/// How many runs cannot be explained without each silent step.
pub(super) fn silent_steps(report: &Report<'_>) -> String {
    if report.totals.steps_taken.is_empty() {
        return String::new();
    }
    let counts: Vec<(StepTaken, u64)> = report.totals.silent_steps().collect();
    let (mut rows, mut reached) = (String::new(), Reached::default());
    for kind in STEP_KINDS {
        let cells = JOB_TYPES.into_iter().map(Some).chain([None]).map(|job_type| {
            let of = counts.iter().find(|(step, _)| *step == StepTaken { kind, job_type });
            of.map_or_else(|| IMPOSSIBLE.to_owned(), |(_, count)| reached.cell(*count, ""))
        });
        let cells: String = cells.collect();
        let words = kind.words();
        add(&mut rows, format_args!("<tr><th scope=\"row\">{words}</th>{cells}</tr>\n"));
    }
    let heads: Vec<&str> = JOB_TYPES.iter().map(|job_type| job_type.words()).chain(["no job"]).collect();
    let legend = "In how many runs what was seen can only be explained by it. A dash where there is no such step; striped \
                  where no run came to it.";
    section("silent", "Silent steps, by the type of their job", &heads, &rows, &reached, legend)
}

/// How many cells there are, and how many of them some run came to.
#[derive(Default)]
struct Reached {
    cells: usize,
    reached: usize,
}

impl Reached {
    fn cell(&mut self, count: u64, class: &str) -> String {
        self.cells += 1;
        if count == 0 {
            return "<td class=\"never\" aria-label=\"never\"></td>".to_owned();
        }
        self.reached += 1;
        let class = if class.is_empty() { String::new() } else { format!(" class=\"{class}\"") };
        format!("<td{class}>{}</td>", grouped(count))
    }
}

fn section(id: &str, title: &str, heads: &[&str], rows: &str, reached: &Reached, legend: &str) -> String {
    let heads: String =
        heads.iter().map(|head| format!("<th scope=\"col\">{}</th>", escaped(head))).collect();
    let Reached { cells, reached } = reached;
    format!(
        "<section id=\"{id}\"><h2>{title}</h2>\n<p>{reached} of {cells} reached. {legend}</p>\n\
         <table class=\"numbers\"><tr><td></td>{heads}</tr>\n{rows}</table></section>\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::subject;
    use midstream::coverage::Totals;
    use midstream::strategy::of_seed;
    use midstream::toy;
    use std::time::Duration;

    fn report<'a>(totals: &'a Totals, laws: &'a [midstream::coverage::Law]) -> Report<'a> {
        Report {
            name: "fuzz",
            totals,
            laws,
            wall: Duration::from_secs(1),
            cpu_seconds: None,
            points: &[],
            failures: &[],
            missing: &[],
            is_live: false,
        }
    }

    #[test]
    fn what_no_run_came_to_is_empty() {
        let subject = subject::subject();
        let mut totals = Totals::default();
        (1..40).for_each(|seed| totals.add(seed, &subject.quiet(of_seed(seed))));
        let tried = totals.verbs().filter(|(_, count)| *count > 0).count();
        assert!(tried > 10, "{tried}");
        let text = verbs(&report(&totals, subject.laws));
        let all = Combination::all().count();
        assert!(text.contains(&format!("<p>{tried} of {all} reached.")), "{text}");
        assert_eq!(text.matches("class=\"never\"").count(), all - tried);
        assert!(text.contains("<th scope=\"row\">active commit, ready</th>"), "{text}");
        let text = pairs(&report(&totals, subject.laws));
        assert!(text.contains("class=\"never\"") && text.contains("stream beside mirror"), "{text}");
        let taken = totals.silent_steps().filter(|(_, count)| *count > 0).count();
        assert!(taken > 3, "{taken}");
        let text = silent_steps(&report(&totals, subject.laws));
        let all = StepTaken::all().count();
        assert!(text.contains(&format!("<p>{taken} of {all} reached.")), "{text}");
        assert_eq!(text.matches(IMPOSSIBLE).count(), STEP_KINDS.len() - 1, "only commands are about no job");
    }

    #[test]
    fn a_world_without_jobs_has_no_grids() {
        let mut totals = Totals::default();
        totals.add(1, &toy::run(of_seed(1)));
        let report = report(&totals, toy::SUBJECT.laws);
        assert_eq!([pairs(&report), verbs(&report), silent_steps(&report)], ["", "", ""]);
    }
}
