//! Permissions: what each user of a node needs, what it lets others do, and where two users cannot live together.
//!
//! Every link is an edge with two sets: what the parent needs of the child, and what it lets the child's other parents
//! need. A node's edges to its children follow from the edges it has from its parents, so they are computed from the
//! roots (devices, jobs) downwards.

use crate::graph::blocker::{Blocker, Reason, Role};
use crate::graph::{Driver, Graph, JobId, NodeId, User};

/// A set of permissions, one bit each.
pub type Permissions = u8;

/// Reads what was written, even across nodes.
pub const CONSISTENT: Permissions = 1;
/// Writes.
pub const WRITE: Permissions = 2;
/// Writes what is there already.
pub const UNCHANGED: Permissions = 4;
/// Changes the length.
pub const RESIZE: Permissions = 8;
/// All of them.
pub const ALL: Permissions = 15;

/// Who uses a node.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Party {
    /// Another node.
    Node(NodeId),
    /// A job.
    Job(JobId),
    /// A device: a guest, an export, a job's own.
    Device,
}

/// One use of a node.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Edge {
    /// Who.
    pub parent: Party,
    /// What the parent calls the child.
    pub name: &'static str,
    /// The node.
    pub child: NodeId,
    /// What the parent needs.
    pub needs: Permissions,
    /// What the parent lets others need.
    pub shares: Permissions,
}

/// Two users of a node that cannot live together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Conflict {
    /// Who needs something.
    pub needs: Edge,
    /// Who does not share it.
    pub keeps: Edge,
}

impl Conflict {
    /// What is needed and not shared.
    pub fn permissions(&self) -> Permissions {
        self.needs.needs & !self.keeps.shares
    }
}

/// What all who use a node need and share, taken together.
#[derive(Clone, Copy)]
struct Use {
    is_used: bool,
    needs: Permissions,
    shares: Permissions,
}

impl Default for Use {
    fn default() -> Use {
        Use { is_used: false, needs: 0, shares: ALL }
    }
}

impl Use {
    fn add(&mut self, edge: &Edge) {
        self.is_used = true;
        self.needs |= edge.needs;
        self.shares &= edge.shares;
    }

    /// Whether all share what anybody needs.
    fn is_shared(&self) -> bool {
        self.needs & !self.shares == 0
    }
}

/// Those that are none of `before`. Mostly there are none at all.
fn beyond(mut conflicts: Vec<Conflict>, before: &Graph) -> Vec<Conflict> {
    if !conflicts.is_empty() {
        let old = before.conflicts();
        conflicts.retain(|conflict| !old.contains(conflict));
    }
    conflicts
}

/// Every use of every node, and by node what they come to.
struct Uses {
    edges: Vec<Edge>,
    of: Vec<Use>,
}

impl Uses {
    fn add(&mut self, edge: Edge) {
        self.of[usize::from(edge.child.0)].add(&edge);
        self.edges.push(edge);
    }

    fn of(&self, node: NodeId) -> Use {
        self.of[usize::from(node.0)]
    }
}

/// Every two of these that cannot live together.
fn conflicts_of(uses: &Uses) -> Vec<Conflict> {
    let mut conflicts = Vec::new();
    // Where all share what anybody needs, as on most nodes, no two need be compared.
    if uses.of.iter().all(Use::is_shared) {
        return conflicts;
    }
    let edges = &uses.edges;
    for needs in edges.iter().filter(|needs| !uses.of(needs.child).is_shared()) {
        let in_its_way =
            |keeps: &&Edge| keeps.child == needs.child && needs.needs & !keeps.shares != 0 && *keeps != needs;
        conflicts
            .extend(edges.iter().filter(in_its_way).map(|keeps| Conflict { needs: *needs, keeps: *keeps }));
    }
    conflicts
}

/// The words of a refusal for a set of permissions.
pub fn words(permissions: Permissions) -> String {
    let all = [
        (CONSISTENT, "consistent read"),
        (WRITE, "write"),
        (UNCHANGED, "write unchanged"),
        (RESIZE, "resize"),
    ];
    let named: Vec<&str> =
        all.into_iter().filter(|(bit, _)| permissions & bit != 0).map(|(_, word)| word).collect();
    named.join(", ")
}

impl Role {
    /// What the job calls the node in this role, what it needs there, and what it lets others need.
    pub fn edge(self) -> (&'static str, Permissions, Permissions) {
        match self {
            Role::Filter | Role::Device => ("main node", 0, ALL),
            Role::Target => ("active node", 0, ALL & !RESIZE),
            Role::Intermediate => ("intermediate node", 0, CONSISTENT | UNCHANGED),
            Role::Committed => ("intermediate node", 0, WRITE | UNCHANGED),
            Role::Base => ("base", 0, ALL),
            Role::MirrorFilter => ("main node", CONSISTENT, ALL & !RESIZE),
            Role::Source => ("source", 0, ALL & !RESIZE),
            Role::Copy => ("target", 0, ALL),
            Role::StreamDevice => ("root", CONSISTENT, ALL & !RESIZE),
            Role::BaseDevice(grows) => {
                ("root", CONSISTENT | WRITE | if grows { RESIZE } else { 0 }, CONSISTENT | UNCHANGED)
            }
            Role::TopDevice => ("root", 0, ALL),
            Role::CopyDevice(grows, shares) => {
                let shared = if shares { CONSISTENT | WRITE | UNCHANGED } else { UNCHANGED };
                ("root", WRITE | if grows { RESIZE } else { 0 }, shared)
            }
        }
    }
}

impl User {
    fn edge(&self) -> Edge {
        let needs = CONSISTENT | if self.writable { WRITE } else { 0 };
        Edge { parent: Party::Device, name: "root", child: self.node, needs, shares: ALL & !RESIZE }
    }
}

impl Graph {
    /// Every use of every node.
    pub fn edges(&self) -> Vec<Edge> {
        self.uses_beside(None).edges
    }

    /// The same, were there one more user, with what they come to.
    fn uses_beside(&self, more: Option<&User>) -> Uses {
        let edges = Vec::with_capacity(1 + self.users.len() + self.blockers.len() + 2 * self.count());
        let mut uses = Uses { edges, of: vec![Use::default(); self.count()] };
        let users = self.users.iter().chain(more).filter(|user| user.behind.is_none());
        users.for_each(|user| uses.add(user.edge()));
        for blocker in &self.blockers {
            let Reason::Job(job, role) = blocker.reason else { continue };
            let (name, needs, shares) = role.edge();
            let parent = if role.is_device() { Party::Device } else { Party::Job(job) };
            uses.add(Edge { parent, name, child: blocker.node, needs, shares });
        }
        for id in self.top_first() {
            self.add_children(id, &mut uses);
        }
        uses
    }

    /// Every living node after all that stand on it: first those on which nobody stands, then those on which only they
    /// do, and so on.
    fn top_first(&self) -> Vec<NodeId> {
        let mut depths: Vec<usize> = vec![0; self.count()];
        let mut is_settled = false;
        // Most nodes are younger than what they stand on, so there are few rounds. A way down has no more than all nodes.
        for _ in 0..=self.count() {
            is_settled = true;
            for (id, node) in self.alive_youngest_first() {
                let below = depths[usize::from(id.0)] + 1;
                for child in node.children() {
                    let depth = &mut depths[usize::from(child.0)];
                    // Whoever is older has its turn in this round.
                    is_settled &= *depth >= below || child < id;
                    *depth = below.max(*depth);
                }
            }
            if is_settled {
                break;
            }
        }
        assert!(is_settled, "the graph bites its tail");
        self.by_depth(&depths)
    }

    /// Every living node, sorted by counting how many there are of each depth.
    fn by_depth(&self, depths: &[usize]) -> Vec<NodeId> {
        let depth = |id: NodeId| depths[usize::from(id.0)];
        let mut places = vec![0; self.count() + 1];
        self.alive().for_each(|(id, _)| places[depth(id) + 1] += 1);
        for above in 0..self.count() {
            places[above + 1] += places[above];
        }
        let mut nodes = vec![NodeId(0); places[self.count()]];
        for (id, _) in self.alive() {
            let place = &mut places[depth(id)];
            nodes[*place] = id;
            *place += 1;
        }
        nodes
    }

    fn add_children(&self, id: NodeId, uses: &mut Uses) {
        let Use { is_used, needs, shares } = uses.of(id);
        let node = self.node(id);
        let parent = Party::Node(id);
        if let Some(child) = node.file {
            let (name, needs, shares) = match node.driver {
                // It asks nothing for itself before anybody uses it.
                Driver::CopyBeforeWrite if !is_used => ("file", needs, shares),
                _ => self.file_edge(id, needs, shares),
            };
            uses.add(Edge { parent, name, child, needs, shares });
        }
        if let Some(child) = node.backing {
            // An overlay can live with a changing backing only if its own users can.
            let changing = if shares & WRITE != 0 { WRITE | RESIZE } else { 0 };
            let shares = CONSISTENT | UNCHANGED | changing;
            uses.add(Edge { parent, name: "backing", child, needs: needs & CONSISTENT, shares });
        }
        if let Some(child) = node.target {
            uses.add(Edge { parent, name: "target", child, needs: WRITE, shares: ALL & !RESIZE });
        }
    }

    fn file_edge(
        &self,
        id: NodeId,
        needs: Permissions,
        shares: Permissions,
    ) -> (&'static str, Permissions, Permissions) {
        let node = self.node(id);
        match node.driver {
            Driver::File | Driver::NullCo => ("file", needs, shares),
            Driver::Qcow2 => {
                let metadata = if node.read_only { 0 } else { WRITE | RESIZE };
                ("file", needs | metadata | CONSISTENT, shares & !(WRITE | RESIZE))
            }
            Driver::CopyOnRead => ("file", needs | UNCHANGED, shares | UNCHANGED),
            Driver::Raw | Driver::Throttle | Driver::Compress => ("file", needs, shares),
            Driver::Blkdebug => ("image", needs, shares),
            Driver::CommitTop => ("backing", 0, ALL),
            Driver::MirrorTop if self.is_of_a_commit(id) => ("backing", needs & !CONSISTENT, shares | WRITE),
            Driver::MirrorTop => ("backing", needs, shares),
            Driver::CopyBeforeWrite => ("file", needs | CONSISTENT, shares & !(WRITE | RESIZE)),
        }
    }

    /// Whether a mirror's filter belongs to an active commit: its job holds nodes it commits.
    fn is_of_a_commit(&self, filter: NodeId) -> bool {
        let Some((job, _)) = self.held_by_job(filter) else { return false };
        self.blockers
            .iter()
            .any(|b| matches!(b.reason, Reason::Job(holder, Role::CopyDevice(_, true)) if holder == job))
    }

    /// Every two users that cannot live together.
    pub fn conflicts(&self) -> Vec<Conflict> {
        conflicts_of(&self.uses_beside(None))
    }

    /// Every two users that cannot live together, and were not there, or not so, in another state of the graph.
    pub fn conflicts_beyond(&self, before: &Graph) -> Vec<Conflict> {
        beyond(self.conflicts(), before)
    }

    /// A node that somebody needs to write and that is read-only, if there is one.
    pub fn unwritable(&self) -> Option<NodeId> {
        self.edges()
            .into_iter()
            .find(|edge| edge.needs & (WRITE | RESIZE) != 0 && self.refuses_writers(edge.child))
            .map(|edge| edge.child)
    }

    /// Whether anybody relies on what a node holds: a backup only writes its target.
    pub fn is_read(&self, node: NodeId) -> bool {
        self.uses_beside(None).of(node).needs & CONSISTENT != 0
    }

    /// Whether a node is read-only for whoever comes to write.
    pub fn refuses_writers(&self, id: NodeId) -> bool {
        let node = self.node(id);
        let settled = !node.auto_read_only && !node.may_have_stayed_writable;
        node.read_only && settled && !node.driver.is_filter()
    }

    /// Whether somebody needs to write a node, were it only what is there already.
    pub fn has_writer(&self, node: NodeId) -> bool {
        self.uses_beside(None).of(node).needs & (WRITE | UNCHANGED) != 0
    }

    /// Who does not let a new device write `node`; `None` if writing is shared by all.
    pub fn unshared_write(&self, node: NodeId) -> Option<Edge> {
        self.new_device(node, true).into_iter().map(|conflict| conflict.keeps).next()
    }

    /// What stands against a new device on `node`.
    pub fn new_device(&self, node: NodeId, writable: bool) -> Vec<Conflict> {
        // Nobody but a job keeps others from reading: a commit what it commits, and who grows an image that image. And
        // nobody but a writable image needs its file to grow.
        let is_job = |blocker: &Blocker| matches!(blocker.reason, Reason::Job(..));
        if !writable && self.node(node).driver != Driver::File && !self.blockers.iter().any(is_job) {
            return Vec::new();
        }
        let device = User { guest: u32::MAX, export: None, behind: None, node, writable };
        beyond(conflicts_of(&self.uses_beside(Some(&device))), self)
    }
}
