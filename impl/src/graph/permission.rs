//! Who may do what to a node, and what they let others do at the same time.
//!
//! Every edge takes permissions and shares some; two edges to one node conflict when one takes what the other does
//! not share. What a node takes of its children follows from what its parents take of it (QEMU 10.0's rules for
//! format, filter and backing children).

use super::node::Driver;
use super::{Graph, JobRole, UserKind};
use crate::error::Refused;
use crate::id::NodeId;
use std::collections::BTreeMap;

/// A set of permissions.
#[derive(Copy, Clone, PartialEq, Eq, Default)]
pub struct Set(u8);

impl Set {
    /// Nothing.
    pub const NONE: Set = Set(0);
    /// Reads see a meaningful state.
    pub const READ: Set = Set(1);
    /// Content may change.
    pub const WRITE: Set = Set(2);
    /// Writes that leave the visible content as it is.
    pub const WRITE_UNCHANGED: Set = Set(4);
    /// The size may change.
    pub const RESIZE: Set = Set(8);
    /// Everything.
    pub const ALL: Set = Set(15);

    /// Both sets together.
    pub const fn and(self, other: Set) -> Set {
        Set(self.0 | other.0)
    }

    fn common(self, other: Set) -> Set {
        Set(self.0 & other.0)
    }

    fn without(self, other: Set) -> Set {
        Set(self.0 & !other.0)
    }

    /// Whether all of `other` is in here.
    pub fn has(self, other: Set) -> bool {
        self.0 & other.0 == other.0
    }

    fn names(self) -> String {
        let all = [
            (Set::READ, "consistent read"),
            (Set::WRITE, "write"),
            (Set::WRITE_UNCHANGED, "write unchanged"),
            (Set::RESIZE, "resize"),
        ];
        let named: Vec<&str> = all.iter().filter(|(one, _)| self.has(*one)).map(|(_, name)| *name).collect();
        named.join(", ")
    }
}

impl std::fmt::Debug for Set {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (one, letter) in
            [(Set::RESIZE, 'r'), (Set::WRITE_UNCHANGED, 'u'), (Set::WRITE, 'w'), (Set::READ, 'c')]
        {
            if self.has(one) {
                write!(f, "{letter}")?;
            }
        }
        Ok(())
    }
}

/// What one edge takes and shares.
#[derive(Clone, Debug)]
pub struct Edge {
    /// Who, in QEMU's words.
    pub parent: String,
    /// The child's name at its parent.
    pub child_name: &'static str,
    /// Taken.
    pub taken: Set,
    /// Left to others.
    pub shared: Set,
}

/// Every edge of a graph, by the node it points to.
#[derive(Debug)]
pub struct Permissions {
    edges: BTreeMap<NodeId, Vec<Edge>>,
    /// Nodes with every parent before its children.
    order: Vec<NodeId>,
}

impl Permissions {
    /// Works out all edges.
    pub fn of(graph: &Graph) -> Permissions {
        let mut permissions = Permissions { edges: BTreeMap::new(), order: parents_first(graph) };
        for (_, user) in graph.users() {
            permissions.edges.entry(user.node).or_default().push(user_edge(&user.kind));
        }
        for id in permissions.order.clone() {
            permissions.add_children(graph, id);
        }
        permissions
    }

    /// The edges that point to `node`.
    pub fn edges_to(&self, node: NodeId) -> &[Edge] {
        self.edges.get(&node).map_or(&[], Vec::as_slice)
    }

    /// Refuses the first conflict, from the top of the graph down.
    pub fn admit(&self, graph: &Graph) -> Result<(), Refused> {
        for id in &self.order {
            let edges = self.edges_to(*id);
            for (i, keeper) in edges.iter().enumerate() {
                for (j, taker) in edges.iter().enumerate() {
                    let missing = taker.taken.without(keeper.shared);
                    if i != j && missing != Set::NONE {
                        return Err(conflict(graph.name(*id), missing, taker, keeper));
                    }
                }
            }
        }
        Ok(())
    }

    fn add_children(&mut self, graph: &Graph, id: NodeId) {
        let above = self.edges_to(id);
        let taken = above.iter().fold(Set::NONE, |all, edge| all.and(edge.taken));
        let shared = above.iter().fold(Set::ALL, |all, edge| all.common(edge.shared));
        let place = graph.place(id);
        let parent = format!("node '{}'", place.node.name);
        if let Some(file) = place.file {
            let (taken, shared) = file_permissions(&place.node.driver, place.read_only, taken, shared);
            let edge = Edge { parent: parent.clone(), child_name: "file", taken, shared };
            self.edges.entry(file).or_default().push(edge);
        }
        if let Some(backing) = place.backing {
            let (taken, shared) = backing_permissions(taken, shared);
            self.edges.entry(backing).or_default().push(Edge {
                parent,
                child_name: "backing",
                taken,
                shared,
            });
        }
    }
}

/// What a node takes of the child that holds its bytes.
fn file_permissions(driver: &Driver, read_only: bool, taken: Set, shared: Set) -> (Set, Set) {
    match driver {
        Driver::CopyOnRead { .. } => (taken.and(Set::WRITE_UNCHANGED), shared.and(Set::WRITE_UNCHANGED)),
        Driver::Qcow2(_) => {
            // A format touches its metadata even when no guest writes.
            let own = if read_only { Set::READ } else { Set::READ.and(Set::WRITE).and(Set::RESIZE) };
            (taken.and(own), Set::READ.and(Set::WRITE_UNCHANGED))
        }
        Driver::Raw(_) | Driver::File { .. } => (taken.and(Set::READ), shared.and(Set::WRITE_UNCHANGED)),
    }
}

/// An overlay only reads its backing, and lets it change as far as its own users bear it.
fn backing_permissions(taken: Set, shared: Set) -> (Set, Set) {
    let quiet = Set::READ.and(Set::WRITE_UNCHANGED);
    let loud = if shared.has(Set::WRITE) { Set::WRITE.and(Set::RESIZE) } else { Set::NONE };
    (taken.common(Set::READ), quiet.and(loud))
}

fn user_edge(kind: &UserKind) -> Edge {
    let no_resize = Set::ALL.without(Set::RESIZE);
    let quiet = Set::READ.and(Set::WRITE_UNCHANGED);
    match kind {
        UserKind::Guest { writable } => {
            let taken = if *writable { Set::READ.and(Set::WRITE) } else { Set::READ };
            Edge {
                parent: "an unnamed block device".to_owned(),
                child_name: "root",
                taken,
                shared: no_resize,
            }
        }
        UserKind::Job { id, role, .. } => {
            let (child_name, taken, shared) = match role {
                JobRole::Main => ("main node", Set::NONE, Set::ALL),
                JobRole::Root => ("root", Set::READ, no_resize),
                JobRole::Active => ("active node", Set::NONE, no_resize),
                JobRole::Intermediate => ("intermediate node", Set::NONE, quiet),
            };
            let parent = match role {
                JobRole::Root => "an unnamed block device".to_owned(),
                _ => format!("stream job '{id}'"),
            };
            Edge { parent, child_name, taken, shared }
        }
    }
}

fn conflict(node: &str, missing: Set, taker: &Edge, keeper: &Edge) -> Refused {
    let uses = |edge: &Edge| format!("{} (uses node '{node}' as '{}' child)", edge.parent, edge.child_name);
    Refused::PermissionConflict {
        node: node.to_owned(),
        permissions: missing.names(),
        taker: uses(taker),
        keeper: uses(keeper),
    }
}

/// Nodes in an order in which every parent comes before its children.
fn parents_first(graph: &Graph) -> Vec<NodeId> {
    let mut waiting: BTreeMap<NodeId, usize> =
        graph.nodes().map(|(id, _)| (id, graph.parents(id).count())).collect();
    let mut ready: Vec<NodeId> =
        waiting.iter().filter(|(_, count)| **count == 0).map(|(id, _)| *id).collect();
    let mut order = Vec::with_capacity(waiting.len());
    while let Some(id) = ready.pop() {
        order.push(id);
        let place = graph.place(id);
        // A node that is file and backing of the same parent counts as one parent.
        let mut children: Vec<NodeId> = [place.file, place.backing].into_iter().flatten().collect();
        children.dedup();
        for child in children {
            let count = waiting.get_mut(&child).expect("every child is in the graph");
            *count -= 1;
            if *count == 0 {
                ready.push(child);
            }
        }
    }
    assert_eq!(order.len(), graph.nodes().count(), "the graph has a loop");
    order
}
