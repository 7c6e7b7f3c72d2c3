//! Who may do what to a node, and what they let others do at the same time.
//!
//! Every edge takes permissions and shares some; two edges to one node conflict when one takes what the other does
//! not share. What a node takes of its children follows from what its parents take of it (QEMU 10.0's rules for
//! format, filter and backing children).

use super::node::{Driver, Filter, Link, Storage};
use super::numbered::Numbered;
use super::{Graph, JobRole, Place, User, UserKind};
use crate::error::Refused;
use crate::id::{NodeId, UserId};
use crate::permission::Set;

/// Any kind of writing.
const WRITES: Set = Set::WRITE.and(Set::WRITE_UNCHANGED);

/// What one edge takes and shares.
#[derive(Clone, Debug)]
pub struct Edge {
    /// Who uses the node.
    pub parent: Parent,
    /// The child's name at its parent.
    pub child_name: &'static str,
    /// Taken.
    pub taken: Set,
    /// Left to others.
    pub shared: Set,
}

/// Who stands at the upper end of an edge.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Parent {
    /// A node.
    Node(NodeId),
    /// A guest, an export or a job.
    User(UserId),
}

/// What all who use a node take of it, and what all of them leave to others.
#[derive(Copy, Clone, Debug)]
struct Sum {
    is_used: bool,
    taken: Set,
    shared: Set,
}

impl Sum {
    const NOBODY: Sum = Sum { is_used: false, taken: Set::NONE, shared: Set::ALL };

    fn add(&mut self, edge: &Edge) {
        *self =
            Sum { is_used: true, taken: self.taken.and(edge.taken), shared: self.shared.common(edge.shared) };
    }
}

/// Every edge of a graph.
#[derive(Debug)]
pub(crate) struct Permissions<'a> {
    nodes: Numbered<'a>,
    /// With the number of the node that each points to. A node's own are in the order in which they are shown.
    edges: Vec<(usize, Edge)>,
    /// By node.
    sums: Vec<Sum>,
    /// Nodes with every parent before its children.
    order: Vec<usize>,
}

impl<'a> Permissions<'a> {
    /// Works out all edges.
    pub(crate) fn of(graph: &'a Graph) -> Permissions<'a> {
        let nodes = Numbered::of(graph);
        let order = parents_first(&nodes);
        let edges = Vec::with_capacity(graph.users.len() + 2 * nodes.len());
        let sums = vec![Sum::NOBODY; nodes.len()];
        let mut permissions = Permissions { nodes, edges, sums, order };
        for (id, user) in graph.users() {
            permissions.add(user.node, user_edge(id, user));
        }
        for at in 0..permissions.order.len() {
            permissions.add_children(graph, permissions.order[at]);
        }
        permissions
    }

    /// The edges that point to the node of that number.
    fn edges_to(&self, number: usize) -> impl Iterator<Item = &Edge> {
        self.edges.iter().filter(move |(to, _)| *to == number).map(|(_, edge)| edge)
    }

    fn add(&mut self, node: NodeId, edge: Edge) {
        let number = self.nodes.of_node(node);
        self.sums[number].add(&edge);
        self.edges.push((number, edge));
    }

    /// What all who use a node take of it.
    pub(crate) fn taken_of(&self, node: NodeId) -> Set {
        self.nodes.find(node).map_or(Set::NONE, |number| self.sums[number].taken)
    }

    /// Every edge, with the node it points to, oldest node first.
    pub(crate) fn all(&self) -> impl Iterator<Item = (NodeId, &Edge)> {
        let numbered = self.nodes.iter().enumerate();
        numbered.flat_map(|(number, (id, _))| self.edges_to(number).map(move |edge| (id, edge)))
    }

    /// Refuses the first conflict, from the top of the graph down.
    pub(crate) fn admit(&self, graph: &Graph) -> Result<(), Refused> {
        for number in &self.order {
            // Where all leave what anybody takes, as at most nodes, no two edges need be compared.
            let Sum { taken, shared, .. } = self.sums[*number];
            if taken.without(shared) == Set::NONE {
                continue;
            }
            let edges: Vec<&Edge> = self.edges_to(*number).collect();
            if !has_conflict(&edges) {
                continue;
            }
            let (id, place) = self.nodes.node(*number);
            for (i, keeper) in edges.iter().enumerate() {
                for (j, taker) in edges.iter().enumerate() {
                    let missing = taker.taken.without(keeper.shared);
                    if i != j && missing != Set::NONE {
                        return Err(conflict(graph, id, missing, taker, keeper));
                    }
                }
            }
            // What is read-only is written by nobody, not even with what is there already.
            if place.read_only && taken.common(WRITES) != Set::NONE {
                return Err(Refused::ReadOnly);
            }
        }
        Ok(())
    }

    /// Refuses writers on nodes that are read-only. Of one that was made so just now (`lately`) QEMU shows the name.
    pub(crate) fn admit_writers(&self, lately: &dyn Fn(NodeId) -> bool) -> Result<(), Refused> {
        for number in &self.order {
            let (id, place) = self.nodes.node(*number);
            let is_written = self.sums[*number].taken.common(WRITES) != Set::NONE;
            if is_written && place.read_only && !place.node.is_filter() {
                return Err(match lately(id) {
                    true => Refused::ReadOnlyHasWriters(place.node.name.to_string()),
                    false => Refused::ReadOnly,
                });
            }
        }
        Ok(())
    }

    fn add_children(&mut self, graph: &Graph, number: usize) {
        let Sum { is_used, mut taken, shared } = self.sums[number];
        if graph.is_left_behind(is_used, || self.edges_to(number)) {
            taken = Set::READ;
        }
        let (id, place) = self.nodes.node(number);
        let links = [(place.file, Link::File), (place.backing, Link::Backing), (place.side, Link::Side)];
        for (child, link) in links {
            let Some(child) = child else { continue };
            let (taken, shared) = match (&place.node.driver, link) {
                // A copy-before-write asks nothing of its source before it stands in its source's place.
                (Driver::Filter(Filter::CopyBeforeWrite(_)), Link::File) if !is_used => (taken, shared),
                (Driver::Filter(filter), _) => filter_permissions(filter, link, taken, shared),
                (Driver::Storage(storage), _) => storage_permissions(place, storage, link, taken, shared),
            };
            let child_name = place.node.driver.child_name(link);
            let edge = Edge { parent: Parent::Node(id), child_name, taken, shared };
            self.add(child, edge);
        }
    }
}

/// What a filter takes of a child, and leaves to others, when its own parents take `taken` and leave `shared`.
fn filter_permissions(filter: &Filter, link: Link, taken: Set, shared: Set) -> (Set, Set) {
    match (filter, link) {
        (Filter::CopyOnRead { .. }, _) => (taken.and(Set::WRITE_UNCHANGED), shared),
        (Filter::CommitTop, _) => (Set::NONE, Set::ALL),
        // Above the base of a commit nothing is consistent any more, and the base is written to.
        (Filter::MirrorTop(top), _) if top.is_commit => (taken.without(Set::READ), shared.and(Set::WRITE)),
        (Filter::CopyBeforeWrite(state), Link::File) => {
            let discards = if state.discard_source { Set::WRITE } else { Set::NONE };
            (taken.and(Set::READ).and(discards), shared.without(Set::WRITE.and(Set::RESIZE)))
        }
        // Guests may write to target: their disk may stand on it. Its size was compared only once.
        (Filter::CopyBeforeWrite(_), _) => (Set::WRITE, Set::ALL.without(Set::RESIZE)),
        (Filter::Blkdebug(rules), _) => (taken.and(rules.taken), shared.without(rules.unshared)),
        (Filter::MirrorTop(_) | Filter::Throttle(_) | Filter::Compress, _) => (taken, shared),
    }
}

/// The same of a node that keeps bytes.
fn storage_permissions(place: &Place, storage: &Storage, link: Link, taken: Set, shared: Set) -> (Set, Set) {
    match (storage, link) {
        (Storage::Qcow2(_), Link::File) => metadata_permissions(place.read_only, taken, shared),
        (Storage::Qcow2(_), Link::Side) => data_permissions(taken, shared),
        (Storage::Qcow2(_), Link::Backing) => backing_permissions(taken, shared),
        (Storage::Raw(_), _) if place.is_window() => (taken, shared.without(Set::RESIZE)),
        (Storage::Raw(_) | Storage::File { .. } | Storage::NullCo(_) | Storage::Nbd { .. }, _) => {
            (taken, shared)
        }
    }
}

/// A format touches its metadata even when no guest writes, and nobody else may change it.
fn metadata_permissions(read_only: bool, taken: Set, shared: Set) -> (Set, Set) {
    let own = if read_only { Set::READ } else { Set::READ.and(Set::WRITE).and(Set::RESIZE) };
    (taken.and(own), shared.without(Set::WRITE.and(Set::RESIZE)))
}

/// A file that holds guest data and nothing else: it grows with what is written.
fn data_permissions(taken: Set, shared: Set) -> (Set, Set) {
    let grows = if taken.has(Set::WRITE) { Set::RESIZE } else { Set::NONE };
    (taken.and(grows), shared.without(Set::RESIZE))
}

/// An overlay only reads its backing, and lets it change as far as its own users allow.
fn backing_permissions(taken: Set, shared: Set) -> (Set, Set) {
    let quiet = Set::READ.and(Set::WRITE_UNCHANGED);
    let loud = if shared.has(Set::WRITE) { Set::WRITE.and(Set::RESIZE) } else { Set::NONE };
    (taken.common(Set::READ), quiet.and(loud))
}

fn user_edge(id: UserId, user: &User) -> Edge {
    let child_name = match &user.kind {
        UserKind::Guest => "root",
        UserKind::Job(child) => child.role.word(),
    };
    Edge { parent: Parent::User(id), child_name, taken: user.taken, shared: user.shared }
}

/// A parent in QEMU's words.
fn parent_words(graph: &Graph, parent: Parent) -> String {
    let user = match parent {
        Parent::Node(id) => return format!("node '{}'", graph.name(id)),
        Parent::User(id) => graph.user(id),
    };
    match user.map(|user| &user.kind) {
        Some(UserKind::Job(child)) if child.role != JobRole::Root => {
            format!("{} job '{}'", child.kind, child.id)
        }
        _ => "an unnamed block device".to_owned(),
    }
}

fn conflict(graph: &Graph, node: NodeId, missing: Set, taker: &Edge, keeper: &Edge) -> Refused {
    let node = graph.name(node);
    let uses = |edge: &Edge| {
        format!("{} (uses node '{node}' as '{}' child)", parent_words(graph, edge.parent), edge.child_name)
    };
    Refused::PermissionConflict {
        node: node.to_owned(),
        permissions: missing.names(),
        taker: uses(taker),
        keeper: uses(keeper),
    }
}

/// Whether one edge takes what another does not share; found without comparing each to each.
fn has_conflict(edges: &[&Edge]) -> bool {
    [Set::READ, Set::WRITE, Set::WRITE_UNCHANGED, Set::RESIZE].into_iter().any(|one| {
        let takes = |edge: &&&Edge| edge.taken.has(one);
        let keeps = |edge: &&&Edge| !edge.shared.has(one);
        let takers = edges.iter().filter(takes).count();
        let keepers = edges.iter().filter(keeps).count();
        let both = edges.iter().filter(takes).filter(keeps).count();
        // As many pairs of two edges; nobody is in his own way.
        takers * keepers > both
    })
}

/// A node that is file and backing of the same parent counts once.
fn distinct_children(place: &Place) -> [Option<NodeId>; 3] {
    let (file, backing, side) = (place.file, place.backing, place.side);
    let backing = backing.filter(|backing| file != Some(*backing));
    let side = side.filter(|side| file != Some(*side) && backing != Some(*side));
    [file, backing, side]
}

/// The numbers of all nodes in an order in which every parent comes before its children.
pub(super) fn parents_first(nodes: &Numbered<'_>) -> Vec<usize> {
    let numbers = |(_, place): (NodeId, &Place)| {
        distinct_children(place).map(|child| child.map(|id| nodes.of_node(id)))
    };
    let children: Vec<[Option<usize>; 3]> = nodes.iter().map(numbers).collect();
    // By number: parents that are not in the order yet.
    let mut waiting = vec![0; nodes.len()];
    for child in children.iter().flatten().flatten() {
        waiting[*child] += 1;
    }
    let mut ready: Vec<usize> = (0..nodes.len()).filter(|number| waiting[*number] == 0).collect();
    let mut order = Vec::with_capacity(nodes.len());
    while let Some(number) = ready.pop() {
        order.push(number);
        for child in children[number].into_iter().flatten() {
            waiting[child] -= 1;
            if waiting[child] == 0 {
                ready.push(child);
            }
        }
    }
    assert_eq!(order.len(), nodes.len(), "the graph has a loop");
    order
}
