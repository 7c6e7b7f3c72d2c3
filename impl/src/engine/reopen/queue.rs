//! Which nodes a reopen is about: those that it names, and the children that came with them.

use crate::command::{BackingOptions, BlockdevOptions, ChildOptions, DriverOptions, FilterOptions};
use crate::error::Refused;
use crate::graph::Graph;
use crate::graph::node::Link;
use crate::graph::options::Plain;
use crate::id::NodeId;

/// One node, and what it is to become.
#[derive(Debug)]
pub(super) struct Queued<'a> {
    pub id: NodeId,
    /// Its options from now on; none: those that it has.
    pub options: Option<&'a BlockdevOptions>,
    pub above: Above,
}

/// What a child takes over from the node that it came with.
#[derive(Copy, Clone, Debug, Default)]
pub(super) struct Above {
    /// That node; none: the operator named this one.
    pub parent: Option<NodeId>,
    pub is_backing: bool,
    /// `read-only`, where anybody spelt it out.
    pub read_only: Option<bool>,
    pub direct: bool,
    pub no_flush: bool,
}

/// The nodes of a reopen, parents before their children; of two changes of one node the later counts.
pub(super) fn queue<'a>(graph: &Graph, options: &'a [BlockdevOptions]) -> Result<Vec<Queued<'a>>, Refused> {
    let mut named = Vec::new();
    for options in options {
        let name = options.node_name.as_ref().ok_or(Refused::ReopenNameMissing)?;
        let id = graph.find(name).ok_or_else(|| Refused::NodeNotFound(name.clone()))?;
        named.push(Queued { id, options: Some(options), above: Above::default() });
    }
    let mut queue: Vec<Queued<'a>> = Vec::new();
    for node in named {
        push(graph, &mut queue, node);
    }
    Ok(queue)
}

fn push<'a>(graph: &Graph, queue: &mut Vec<Queued<'a>>, first: Queued<'a>) {
    // Chains may be longer than a stack is deep.
    let mut waiting = vec![first];
    while let Some(node) = waiting.pop() {
        let children = children(graph, &node);
        match queue.iter_mut().find(|queued| queued.id == node.id) {
            Some(earlier) => *earlier = node,
            None => queue.push(node),
        }
        waiting.extend(children);
    }
}

/// The children that came with a node and stay with it, the first to be looked at last.
fn children<'a>(graph: &Graph, node: &Queued<'a>) -> Vec<Queued<'a>> {
    let place = graph.place(node.id);
    let mut children = Vec::new();
    for (link, child) in [(Link::Side, place.side), (Link::File, place.file), (Link::Backing, place.backing)]
    {
        let Some(child) = child.filter(|child| came_with_its_parent(graph, *child)) else { continue };
        let options = match node.options {
            None => None,
            Some(options) => match child_options(&options.driver, link) {
                Some(ChildOptions::Inline(options)) => Some(&**options),
                Some(ChildOptions::Reference(name)) if *name == *graph.name(child) => None,
                Some(ChildOptions::Reference(_)) | None => continue,
            },
        };
        children.push(Queued { id: child, options, above: above(graph, node, link) });
    }
    children
}

fn above(graph: &Graph, node: &Queued<'_>, link: Link) -> Above {
    let is_backing = link == Link::Backing;
    let own = match node.options {
        Some(options) => options.read_only,
        None => spelt_read_only(graph, node.id),
    };
    Above {
        parent: Some(node.id),
        is_backing,
        read_only: if is_backing { Some(true) } else { own.or(node.above.read_only) },
        direct: node.cache(graph).0,
        no_flush: node.cache(graph).1,
    }
}

/// What was said of `read-only` when a node was added or reopened.
pub(super) fn spelt_read_only(graph: &Graph, id: NodeId) -> Option<bool> {
    match graph.place(id).options.given("read-only") {
        Some(Plain::Bool(read_only)) => Some(*read_only),
        _ => None,
    }
}

impl Queued<'_> {
    /// `cache.direct` and `cache.no-flush` from now on.
    pub(super) fn cache(&self, graph: &Graph) -> (bool, bool) {
        let said = |name: &str| match graph.place(self.id).options.given(name) {
            Some(Plain::Bool(truth)) => Some(*truth),
            _ => None,
        };
        let (direct, no_flush) = match self.options {
            Some(options) => (options.settings.direct, options.settings.no_flush),
            None => (said("cache.direct"), said("cache.no-flush")),
        };
        (direct.unwrap_or(self.above.direct), no_flush.unwrap_or(self.above.no_flush))
    }
}

/// Whether a node was described with the one above it. A job's filters came by themselves, and take no memory.
pub(super) fn came_with_its_parent(graph: &Graph, id: NodeId) -> bool {
    let place = graph.place(id);
    !place.monitor_owned && place.share.is_some()
}

/// What options say of a child.
pub(super) fn child_options(driver: &DriverOptions, link: Link) -> Option<&ChildOptions> {
    match (driver, link) {
        (DriverOptions::Qcow2 { file, .. } | DriverOptions::Raw { file, .. }, Link::File) => Some(file),
        (DriverOptions::Filter { child, .. }, Link::File) => Some(child),
        (DriverOptions::Qcow2 { data_file, .. }, Link::Side) => data_file.as_ref(),
        (DriverOptions::Qcow2 { backing: BackingOptions::Child(child), .. }, Link::Backing) => Some(child),
        _ => None,
    }
}

/// The name of the child that a driver has beside others of that link.
pub(super) fn child_name(driver: &DriverOptions, link: Link) -> &'static str {
    match (driver, link) {
        (DriverOptions::Filter { filter: FilterOptions::Blkdebug { .. }, .. }, _) => "image",
        (_, Link::File) => "file",
        (_, Link::Backing) => "backing",
        (_, Link::Side) => "data-file",
    }
}
