//! `x-debug-query-block-graph` and `query-block-exports`: every use of every node, with what it needs and shares.

use crate::command::Command;
use crate::command::editing::Editing;
use crate::command::reply::{Refusal, generated_name};
use crate::graph::permission::{ALL, CONSISTENT, Party, Permissions, RESIZE, UNCHANGED, WRITE};
use crate::graph::{Graph, JobId, Node, NodeId, User};
use crate::job::Status;
use crate::json::Json;
use crate::law::{Broken, LawId};
use crate::rule::Rule;
use crate::step::state::{EVER, State};

/// One use as texts show it: `n2 -backing-> n1 [1/15]`.
type Line = String;

/// Stands for every generated name: which is whose the model need not know.
const GENERATED: &str = "#";

impl State {
    /// `x-debug-query-block-graph`
    pub(super) fn check_graph(&mut self, graph: &Graph, value: &Json<'_>) -> Result<(), Broken> {
        let Some(reported) = reported_lines(value) else {
            return Err(self.broken(LawId::QueryTruth, "the answer is no graph"));
        };
        self.count(LawId::QueryTruth);
        let fits = |model: &State, graph: &Graph| {
            let stale = match model.allows(Rule::StaleNeeds) {
                true if model.has_concluded() => all_parents(graph),
                true => stale_parents(graph),
                false => Vec::new(),
            };
            let resized =
                if model.allows(Rule::ResizeUnderWay) { model.under_resize(graph) } else { Vec::new() };
            // A fault may have kept any node that a job wrote from turning read-only again.
            let possibly_writable = match model.allows(Rule::KeptWritable) {
                true => possibly_writable_parents(graph, model.is_struck_since(EVER)),
                false => Vec::new(),
            };
            let fits = |graph: &Graph| {
                let unknown = match model.allows(Rule::UnknownLengthNeeds) {
                    true => of_unknown_length(graph),
                    false => Vec::new(),
                };
                same(
                    &beside_resizes(graph, &resized, fixed(&model.lines(graph), &unknown)),
                    &beside_resizes(graph, &resized, fixed(&reported, &unknown)),
                    &stale,
                    &possibly_writable,
                )
            };
            fits(graph) || has_left_behind(graph) && fits(&with_left_behind(graph))
        };
        if fits(self, graph) || self.has_inactive_nodes() {
            return Ok(());
        }
        let expected = self.lines(graph);
        let only = |one: &[Line], other: &[Line]| -> Vec<Line> {
            one.iter().filter(|line| !other.contains(line)).cloned().collect()
        };
        let (strange, missing) = (only(&reported, &expected), only(&expected, &reported));
        let what = format!(
            "edges reported and not true:{}\nedges true and not reported:{}",
            list(&strange),
            list(&missing)
        );
        Err(self.broken(LawId::QueryTruth, what))
    }

    /// Whether a job is over and holds its nodes still: what they need of each other may be out of date.
    fn has_concluded(&self) -> bool {
        self.live_jobs().any(|id| self.job(id).status == Status::Concluded)
    }

    /// The nodes that commands may be resizing just now.
    fn under_resize(&self, graph: &Graph) -> Vec<NodeId> {
        let fronts = self.clients.iter().filter_map(|client| client.pending.front());
        let node = |command: &Result<Command, Refusal>| match command {
            Ok(Command::Edit(editing)) => match editing.as_ref() {
                Editing::Resize { node, .. } => graph.find(node.as_str()),
                _ => None,
            },
            _ => None,
        };
        fronts.filter_map(|front| node(&front.asked.command)).collect()
    }

    fn lines(&self, graph: &Graph) -> Vec<Line> {
        let name = |id| canonical(graph.node(id).name.as_deref().unwrap_or("#block0"));
        let job = |id: JobId| format!("job:{}", self.job(id).id);
        let mut lines: Vec<Line> = graph
            .edges()
            .into_iter()
            .map(|edge| {
                let parent = match edge.parent {
                    Party::Node(id) => name(id).to_owned(),
                    Party::Job(id) => job(id),
                    Party::Device => "device".to_owned(),
                };
                line(&parent, edge.name, name(edge.child), edge.needs, edge.shares)
            })
            .collect();
        lines.sort();
        lines
    }

    /// `query-block-exports`
    pub(super) fn check_exports(&mut self, graph: &Graph, value: &Json<'_>) -> Result<(), Broken> {
        let list = value.list().unwrap_or_default();
        let ids: Vec<&str> = list.iter().filter_map(|entry| entry.text_of("id")).collect();
        let known: Vec<String> = graph.users.iter().filter_map(|user| user.export.clone()).collect();
        let missing = known.iter().find(|id| !ids.contains(&id.as_str())).cloned();
        let strange = ids.iter().find(|id| !known.iter().any(|known| known == *id));
        let strange = strange.map(|id| (*id).to_owned());
        self.hold(LawId::QueryTruth, missing.is_none() && strange.is_none(), |_| {
            format!("exports reported {}, expected {}", or_none(&ids), or_none(&known))
        })
    }
}

/// Whether a stream that was refused late may have left a device where its filter stood.
pub(super) fn has_left_behind(graph: &Graph) -> bool {
    graph.users.iter().any(User::is_left_behind)
}

/// The graph with the devices that streams may have left behind as devices like all others.
pub(super) fn with_left_behind(graph: &Graph) -> Graph {
    let mut after = graph.clone();
    for user in after.users.iter_mut().filter(|user| user.is_left_behind()) {
        user.behind = None;
    }
    after
}

/// Nodes that only jobs hold any more: QEMU does not work out anew what they need of those below.
fn stale_parents(graph: &Graph) -> Vec<String> {
    let only_held = graph.alive().filter(|(id, _)| !graph.is_used(*id) && graph.held_by_job(*id).is_some());
    let below = only_held.flat_map(|(id, _)| graph.downwards(id).collect::<Vec<_>>());
    below.map(|id| format!("{} -", graph.name(id))).collect()
}

/// How lines begin at nodes whose length nobody knows, and below them: neither does anybody know whether a job has to make
/// them longer.
fn of_unknown_length(graph: &Graph) -> Vec<String> {
    let unknown = graph.alive().filter(|(_, node)| node.bytes.is_none() && !node.driver.is_filter());
    let of_node = |(id, _): (NodeId, &Node)| {
        let below = graph.downwards(id).map(|id| format!("{} -", graph.name(id)));
        below.chain([format!("device -root-> {} [", graph.name(id))]).collect::<Vec<_>>()
    };
    unknown.flat_map(of_node).collect()
}

/// The lines without what a resize under way needs: its device wants to resize, and through it so do nodes down to the file.
fn beside_resizes(graph: &Graph, resized: &[NodeId], mut lines: Vec<Line>) -> Vec<Line> {
    for node in resized {
        let device = line("device", "root", graph.name(*node), RESIZE, ALL);
        lines.retain(|line| *line != device);
        let parents: Vec<String> = graph.downwards(*node).map(|id| format!("{} -", graph.name(id))).collect();
        for line in lines.iter_mut().filter(|line| parents.iter().any(|parent| line.starts_with(parent))) {
            let Some((edge, sets)) = line.split_once(" [") else { continue };
            let Some((needs, shares)) = sets.split_once('/') else { continue };
            let needs: Permissions = needs.parse().unwrap_or_default();
            *line = format!("{edge} [{}/{shares}", needs & !RESIZE);
        }
    }
    lines
}

/// The lines without the wish of devices to resize these nodes.
fn fixed(lines: &[Line], unknown: &[String]) -> Vec<Line> {
    let fixed = |line: &Line| {
        let is_unknown = unknown.iter().any(|start| line.starts_with(start.as_str()));
        if !is_unknown {
            return line.clone();
        }
        // A mirror's device writes, a commit's reads as well.
        let needs = |line: &str, needs: Permissions| {
            line.replacen(&format!("[{}/", needs | RESIZE), &format!("[{needs}/"), 1)
        };
        needs(&needs(line, WRITE), CONSISTENT | WRITE)
    };
    lines.iter().map(fixed).collect()
}

/// Every node.
fn all_parents(graph: &Graph) -> Vec<String> {
    graph.alive().map(|(id, _)| format!("{} -", graph.name(id))).collect()
}

/// Nodes that are read-only, or may not yet be so again, and those below them that hold their files.
fn possibly_writable_parents(graph: &Graph, any: bool) -> Vec<String> {
    let is_possibly_writable = |node: &Node| node.read_only && (any || node.may_have_stayed_writable);
    let read_only = graph.alive().filter(|(_, node)| is_possibly_writable(node)).map(|(id, _)| id);
    let files = |id| std::iter::successors(Some(id), |id| graph.node(*id).file);
    read_only.flat_map(files).map(|id| format!("{} -", graph.name(id))).collect()
}

/// Whether the same is reported, apart from what stale nodes need and what those may need that are not surely read-only.
fn same(expected: &[Line], reported: &[Line], stale: &[String], possibly_writable: &[String]) -> bool {
    let is_of =
        |line: &Line, parents: &[String]| parents.iter().any(|parent| line.starts_with(parent.as_str()));
    let masked = |line: &Line| {
        let mut line = line.clone();
        // A node may be both: first what it may write still, then what it may not even read.
        if is_of(&line, possibly_writable) {
            // What a resize under way needs is taken out of the lines already.
            for writes in [CONSISTENT | WRITE | RESIZE, CONSISTENT | WRITE] {
                line = line.replacen(&format!("[{writes}/"), &format!("[{CONSISTENT}/"), 1);
            }
        }
        if is_of(&line, stale) {
            // The filter of a stream may still stand there, and write what is there already.
            for rest in [0, UNCHANGED] {
                line = line.replacen(&format!("[{}/", CONSISTENT | rest), &format!("[{rest}/"), 1);
            }
        }
        line
    };
    let sorted = |lines: &[Line]| {
        let mut lines: Vec<Line> = lines.iter().map(masked).collect();
        lines.sort();
        lines
    };
    expected == reported || sorted(expected) == sorted(reported)
}

/// Lines for readers, permissions by their names.
fn list(lines: &[Line]) -> String {
    let lines: String = lines.iter().map(|line| format!("\n  {}", in_words(line))).collect();
    if lines.is_empty() { " none".to_owned() } else { lines }
}

fn in_words(line: &str) -> String {
    let parts = line.split_once(" [").and_then(|(edge, sets)| {
        let (needs, shares) = sets.trim_end_matches(']').split_once('/')?;
        Some((edge, words(needs.parse().ok()?), words(shares.parse().ok()?)))
    });
    parts.map_or(line.to_owned(), |(edge, needs, shares)| format!("{edge}: needs {needs}; shares {shares}"))
}

fn words(set: Permissions) -> String {
    if set == ALL {
        return "all".to_owned();
    }
    let names = [
        (CONSISTENT, "consistent-read"),
        (WRITE, "write"),
        (UNCHANGED, "write-unchanged"),
        (RESIZE, "resize"),
    ];
    let has: Vec<&str> = names.iter().filter(|(bit, _)| set & bit != 0).map(|(_, name)| *name).collect();
    if has.is_empty() { "nothing".to_owned() } else { has.join(", ") }
}

/// Names for readers.
fn or_none(names: &[impl AsRef<str>]) -> String {
    let names: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

fn canonical(name: &str) -> &str {
    if generated_name(name) == Some(name) || name.starts_with("#auto") { GENERATED } else { name }
}

fn line(parent: &str, name: &str, child: &str, needs: Permissions, shares: Permissions) -> Line {
    format!("{parent} -{name}-> {child} [{needs}/{shares}]")
}

fn reported_lines(value: &Json<'_>) -> Option<Vec<Line>> {
    let nodes = value.get("nodes")?.list()?;
    let name = |id: i64| {
        let node = nodes.iter().find(|node| node.integer_of("id") == Some(id))?;
        let name = node.text_of("name")?;
        Some(match node.text_of("type")? {
            "block-driver" => canonical(name).to_owned(),
            "block-job" => format!("job:{name}"),
            _ => "device".to_owned(),
        })
    };
    let mut lines = Vec::new();
    for edge in value.get("edges")?.list()? {
        let (parent, child) = (name(edge.integer_of("parent")?)?, name(edge.integer_of("child")?)?);
        let (needs, shares) = (set(edge.get("perm")?)?, set(edge.get("shared-perm")?)?);
        lines.push(line(&parent, edge.text_of("name")?, &child, needs, shares));
    }
    lines.sort();
    Some(lines)
}

fn set(list: &Json<'_>) -> Option<Permissions> {
    let bits = list.list()?.iter().map(|word| match word.text() {
        Some("consistent-read") => Some(CONSISTENT),
        Some("write") => Some(WRITE),
        Some("write-unchanged") => Some(UNCHANGED),
        Some("resize") => Some(RESIZE),
        _ => None,
    });
    bits.sum::<Option<Permissions>>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edges_are_reported_by_the_names_of_their_permissions() {
        let lines =
            [line("n2", "backing", "n1", CONSISTENT, ALL), line("job:j0", "main", "n2", 0, WRITE | RESIZE)];
        assert_eq!(
            list(&lines),
            "\n  n2 -backing-> n1: needs consistent-read; shares all\
             \n  job:j0 -main-> n2: needs nothing; shares write, resize"
        );
        assert_eq!(list(&[]), " none");
    }
    #[test]
    fn a_node_that_stayed_writable_is_excused_beside_a_resize_too() {
        let needs = |needs| [line("n1", "file", "#block0", needs, ALL)];
        let reported = [CONSISTENT | WRITE | RESIZE, CONSISTENT | WRITE];
        let possibly_writable = ["n1 -".to_owned()];
        for reported in reported {
            assert!(same(&needs(CONSISTENT), &needs(reported), &[], &possibly_writable));
            assert!(!same(&needs(CONSISTENT), &needs(reported), &[], &[]));
        }
    }
}
