//! A run as two diagrams for a report: who did what in which order, and the chain where the law broke. GitHub, GitLab and
//! others draw them where the text stands in a block of `mermaid`.

use super::data::{Graph, Page, Row};
use std::fmt::Write;

/// Longer sequences are drawn from so many rows before their end.
const ROWS_MAX: usize = 120;
/// A longer text is cut.
const TEXT_CHARS_MAX: usize = 100;

/// Both, as Markdown.
pub fn diagrams(page: &Page) -> String {
    let mut text = String::new();
    if page.broken {
        write!(text, "**law broken:** {}\n\n{}\n\n", page.law, page.what).expect("a string takes any text");
    }
    text += "```mermaid\n";
    text += &sequence(page);
    text += "```\n\n```mermaid\n";
    text += &chain(page);
    text + "```\n"
}

fn sequence(page: &Page) -> String {
    let mut text = "sequenceDiagram\n".to_owned();
    for who in ["clients", "engine", "guests"] {
        writeln!(text, "    participant {who}").expect("a string takes any text");
    }
    let end = page.at.map_or(page.rows.len(), |at| at + 1);
    let shown: Vec<(usize, &Row)> =
        page.rows.iter().enumerate().take(end).filter(|(_, row)| !row.f && row.l != 3).collect();
    let skipped = shown.len().saturating_sub(ROWS_MAX);
    if skipped > 0 {
        writeln!(text, "    Note over clients,guests: {skipped} rows before")
            .expect("a string takes any text");
    }
    for (at, row) in &shown[skipped..] {
        let what = quiet(&row.t);
        let line = match row.l {
            0 if row.t.contains("-> ") => format!("clients->>engine: {what}"),
            0 => format!("engine-->>clients: {what}"),
            1 if row.k => format!("guests->>engine: {what}"),
            1 => format!("engine-->>guests: {what}"),
            2 => format!("Note over engine: {what}"),
            _ => format!("Note over clients,guests: {what}"),
        };
        writeln!(text, "    {line}").expect("a string takes any text");
        if page.at == Some(*at) {
            writeln!(text, "    Note over clients,guests: law broken here").expect("a string takes any text");
        }
    }
    text
}

fn chain(page: &Page) -> String {
    let mut text = "flowchart TD\n".to_owned();
    let last = page.at.or(page.rows.len().checked_sub(1));
    let graph = last.and_then(|at| page.graphs.get(page.rows[at].g));
    if let Some(graph) = graph {
        links(graph, &mut text);
    }
    text
}

fn links(graph: &Graph, text: &mut String) {
    let shown = |id: u16| graph.nodes.iter().any(|node| node.id == id && node.driver != "file");
    for node in graph.nodes.iter().filter(|node| shown(node.id)) {
        let held =
            if node.held.is_empty() { String::new() } else { format!("<br/>{}", node.held.join(", ")) };
        let label = quiet(&format!("{} {}", node.name, node.driver));
        writeln!(text, "    n{}[\"{label}{}\"]", node.id, quiet_label(&held))
            .expect("a string takes any text");
    }
    for node in graph.nodes.iter().filter(|node| shown(node.id)) {
        for (role, to, frozen) in node.to.iter().filter(|(_, to, _)| shown(*to)) {
            let frozen =
                if frozen.is_empty() { String::new() } else { format!(", frozen by {}", frozen.join(", ")) };
            let label = quiet(&format!("{role}{frozen}"));
            writeln!(text, "    n{} -->|\"{label}\"| n{to}", node.id).expect("a string takes any text");
        }
    }
    for (number, user) in graph.users.iter().enumerate().filter(|(_, user)| shown(user.node)) {
        let name = quiet(&user.name);
        writeln!(text, "    u{number}([\"{name}\"]) --> n{}", user.node).expect("a string takes any text");
    }
}

/// A text without what the language of the diagrams reads as its own.
fn quiet(text: &str) -> String {
    let short: String = text.chars().take(TEXT_CHARS_MAX).collect();
    let more = if short.len() < text.len() { "…" } else { "" };
    let mut quiet = String::new();
    for letter in short.chars() {
        match letter {
            '#' => quiet += "#35;",
            ';' => quiet += "#59;",
            '"' => quiet += "#quot;",
            '<' => quiet += "#lt;",
            '>' => quiet += "#gt;",
            '\n' => quiet.push(' '),
            other => quiet.push(other),
        }
    }
    quiet + more
}

/// The same, but for our own break of a line.
fn quiet_label(text: &str) -> String {
    match text.strip_prefix("<br/>") {
        Some(rest) => format!("<br/>{}", quiet(rest)),
        None => quiet(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::html::data::Node;

    #[test]
    fn texts_cannot_leave_their_place_in_a_diagram() {
        assert_eq!(quiet("a \"b\"; #1 <c>\n"), "a #quot;b#quot;#59; #35;1 #lt;c#gt; ");
    }

    #[test]
    fn a_run_is_a_sequence_and_a_chain() {
        let node = |id, name: &str, to: &[(&'static str, u16, Vec<String>)]| Node {
            id,
            name: name.to_owned(),
            driver: "qcow2",
            to: to.to_vec(),
            ..Node::default()
        };
        let frozen = vec!["j0".to_owned()];
        let graph = Graph {
            nodes: vec![node(0, "base", &[]), node(1, "top", &[("backing", 0, frozen)])],
            users: Vec::new(),
        };
        let row = |l, t: &str| Row { l, t: t.to_owned(), ..Row::default() };
        let rows =
            vec![row(0, "1 -> block-stream device:top"), row(2, "j0 running"), row(1, "g1.0.1 reads 0")];
        let page = Page { broken: true, at: Some(2), rows, graphs: vec![graph], ..Page::default() };
        let text = diagrams(&page);
        assert!(text.contains("    clients->>engine: 1 -#gt; block-stream device:top\n"), "{text}");
        assert!(text.contains("    Note over engine: j0 running\n"), "{text}");
        assert!(text.contains("    n1 -->|\"backing, frozen by j0\"| n0\n"), "{text}");
        assert!(text.ends_with("```\n") && text.matches("```mermaid").count() == 2, "{text}");
    }
}
