//! What each filter does about a request that passes it.

use super::copy_on_read;
use super::write::Change;
use crate::filter::blkdebug::IoType;
use crate::graph::Graph;
use crate::graph::node::Filter;
use crate::id::NodeId;
use crate::throttle::group::Direction;
use seam::IoResult;
use seam::debug_event::DebugEvent;
use std::sync::Arc;

/// Before a filter's child is read.
pub(crate) async fn before_read(
    graph: &Arc<Graph>,
    filter: &Filter,
    child: NodeId,
    offset: u64,
    end: u64,
) -> IoResult<()> {
    match filter {
        Filter::CopyOnRead { bottom: Some(bottom) } => {
            copy_on_read::populate(graph, graph.unfiltered(child), *bottom, offset, end).await
        }
        Filter::CopyOnRead { bottom: None } => {
            copy_on_read::populate_all(graph, graph.unfiltered(child), offset, end).await
        }
        Filter::Blkdebug(rules) => rules.admit(IoType::Read, offset, end - offset),
        Filter::Throttle(member) => {
            member.pass(Direction::Read, end - offset).await;
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Before a filter's child is changed.
pub(crate) async fn before_change(filter: &Filter, offset: u64, change: &Change) -> IoResult<()> {
    match filter {
        Filter::Blkdebug(rules) => {
            let (kind, event) = match change {
                Change::Data(_) => (IoType::Write, Some(DebugEvent::Pwritev)),
                Change::Zeroes(_) | Change::Unmap(_) => (IoType::WriteZeroes, Some(DebugEvent::PwritevZero)),
                Change::Discard(_) => (IoType::Discard, None),
            };
            if let Some(event) = event {
                rules.observe(event);
            }
            let admitted = rules.admit(kind, offset, change.len_bytes());
            if event.is_some() {
                rules.observe(DebugEvent::PwritevDone);
            }
            admitted
        }
        Filter::Throttle(member) => {
            member.pass(Direction::Write, change.len_bytes()).await;
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Before a filter's child is flushed.
pub(crate) fn before_flush(filter: &Filter) -> IoResult<()> {
    match filter {
        Filter::Blkdebug(rules) => rules.admit(IoType::Flush, 0, 0),
        _ => Ok(()),
    }
}

/// Notifies the error-injecting filter right below a node, if there is one, of a moment in the node's work.
pub(crate) fn notify_child(graph: &Graph, parent: NodeId, event: DebugEvent) {
    if let Some(child) = graph.place(parent).file
        && let Some(rules) = graph.node(child).blkdebug()
    {
        rules.observe(event);
    }
}
