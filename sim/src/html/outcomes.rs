//! Many things that were tried, each in a row: mutants, or explorations of scenarios.

use super::campaign::escaped;
use crate::report::junit::{Case, End};

const STYLES: &str = include_str!("page/campaign.css");

/// The page: each case with more cells, under these heads.
pub fn page(title: &str, heads: &[&str], rows: &[(Case, Vec<String>)]) -> String {
    let failed = rows.iter().filter(|(case, _)| matches!(case.end, End::Failed(..))).count();
    let verdict = match failed {
        0 => "all well".to_owned(),
        failed => format!("{failed} of {} not", rows.len()),
    };
    let class = if failed == 0 { "good" } else { "bad" };
    let heads: String = heads.iter().map(|head| format!("<th>{}</th>", escaped(head))).collect();
    let row = |(case, cells): &(Case, Vec<String>)| {
        let (class, what) = match &case.end {
            End::Passed => ("", "well".to_owned()),
            End::Failed(message, text) => (" class=\"bad\"", format!("{message}\n{text}")),
            End::Skipped(why) => ("", why.clone()),
        };
        let cells: String = cells.iter().map(|cell| format!("<td>{}</td>", escaped(cell))).collect();
        let (name, what) = (escaped(&case.name), escaped(what.trim_end()));
        format!("<tr><th>{name}</th>{cells}<td{class}><pre>{what}</pre></td></tr>\n")
    };
    let rows: String = rows.iter().map(row).collect();
    let title = escaped(title);
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<link rel=\"icon\" href=\"data:,\">\n\
         <title>{title}: {verdict}</title>\n<style>\n{STYLES}</style>\n</head>\n<body>\n\
         <h1 class=\"{class}\">{title}: {verdict}</h1>\n<table><tr><th></th>{heads}<th>outcome</th></tr>\n{rows}</table>\n\
         </body>\n</html>\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_went_wrong_stands_in_the_title_and_in_its_row() {
        let case = |name: &str, end| Case { class: "mutant", name: name.to_owned(), end };
        let failed = End::Failed("not <caught>".to_owned(), String::new());
        let rows = [(case("one", End::Passed), vec!["12".to_owned()]), (case("two", failed), vec![])];
        let text = page("mutants", &["runs"], &rows);
        assert!(text.contains("<title>mutants: 1 of 2 not</title>"), "{text}");
        assert!(text.contains("<td class=\"bad\"><pre>not &lt;caught&gt;</pre></td>"), "{text}");
    }
}
