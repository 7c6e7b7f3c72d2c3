//! The graph as `x-debug-query-block-graph` shows it.

use super::Engine;
use crate::command::{EdgeInfo, GraphInfo, VertexInfo};
use crate::graph::orphan::Orphan;
use crate::graph::permission::{Edge, Parent, Permissions};
use crate::graph::{Graph, JobRole, UserKind};
use crate::id::{JobSerial, NodeId};
use crate::permission::Set;
use std::collections::BTreeMap;

impl Engine {
    /// `x-debug-query-block-graph`.
    pub(crate) fn query_block_graph(&self) -> GraphInfo {
        // A job's edges and its last event go together.
        let graph = {
            let _no_job_goes = self.jobs.lock();
            self.graph()
        };
        let mut numbers = Numbers::default();
        let permissions = Permissions::of(&graph);
        let edges = permissions.all().map(|(child, edge)| numbers.edge(&graph, child, edge));
        let mut edges: Vec<EdgeInfo> = edges.collect();
        edges.extend(graph.orphans().iter().map(|orphan| numbers.orphan(orphan)));
        for (id, _) in graph.nodes() {
            numbers.node(&graph, id);
        }
        GraphInfo { vertices: numbers.vertices, edges }
    }
}

/// Hands out a number to everything that is named.
#[derive(Default)]
struct Numbers {
    vertices: Vec<VertexInfo>,
    nodes: BTreeMap<NodeId, u64>,
    jobs: BTreeMap<JobSerial, u64>,
}

impl Numbers {
    fn vertex(&mut self, kind: &'static str, name: &str) -> u64 {
        let id = self.vertices.len() as u64 + 1;
        self.vertices.push(VertexInfo { id, kind, name: name.to_owned() });
        id
    }

    fn node(&mut self, graph: &Graph, node: NodeId) -> u64 {
        if let Some(number) = self.nodes.get(&node) {
            return *number;
        }
        let number = self.vertex("block-driver", graph.name(node));
        self.nodes.insert(node, number);
        number
    }

    fn edge(&mut self, graph: &Graph, child: NodeId, edge: &Edge) -> EdgeInfo {
        let parent = match edge.parent {
            Parent::Node(node) => self.node(graph, node),
            Parent::User(user) => {
                let user = graph.user(user).expect("an edge's user is in the graph");
                match &user.kind {
                    UserKind::Job(child) if child.role != JobRole::Root => self.job(child.serial, &child.id),
                    _ => self.vertex("block-backend", ""),
                }
            }
        };
        let child = self.node(graph, child);
        EdgeInfo { parent, child, name: edge.child_name, taken: edge.taken, shared: edge.shared }
    }

    /// A job takes nothing of the node it is made on, and leaves all to others.
    fn orphan(&mut self, orphan: &Orphan) -> EdgeInfo {
        let Orphan { name, held } = orphan;
        let (parent, child) = (self.job(held.serial, &held.id), self.vertex("block-driver", name));
        EdgeInfo { parent, child, name: held.role.word(), taken: Set::NONE, shared: Set::ALL }
    }

    fn job(&mut self, serial: JobSerial, id: &str) -> u64 {
        if let Some(number) = self.jobs.get(&serial) {
            return *number;
        }
        let number = self.vertex("block-job", id);
        self.jobs.insert(serial, number);
        number
    }
}
