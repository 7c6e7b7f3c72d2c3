//! Opening the operator's filters.

use super::{Draft, Opened, Opener};
use crate::command::{BlockdevOptions, ChildOptions, FilterOptions};
use crate::error::Refused;
use crate::filter::blkdebug::Blkdebug;
use crate::filter::throttle::Member;
use crate::graph::node::{Driver, Filter};
use crate::id::NodeId;
use crate::object::Object;
use seam::Errno;
use std::sync::Arc;

impl Draft<'_> {
    /// Opens a filter, after the child that it stands on.
    pub(super) async fn open_filter(
        &mut self,
        child: &ChildOptions,
        filter: &FilterOptions,
        options: &BlockdevOptions,
        by: Opener,
    ) -> Result<Opened, Refused> {
        let read_only = options.read_only.unwrap_or(by.read_only());
        if matches!(filter, FilterOptions::Blkdebug { config: Some(_), .. }) {
            // A file of the host for the sake of rules that can be said directly.
            return Err(Refused::ConfigNotAllowed(Errno::EPERM));
        }
        let child = self.open_child(child, by.parent(options, read_only)).await?;
        let filter = self.filter(child, filter)?;
        let filename = self.graph.node(child).filename.clone();
        let opened = Opened::new(self.graph.next_node_id(), Driver::Filter(filter), read_only);
        Ok(Opened { filename, file: Some(child), ..opened })
    }

    fn filter(&self, child: NodeId, options: &FilterOptions) -> Result<Filter, Refused> {
        Ok(match options {
            FilterOptions::Blkdebug { config: _, align, errors, changes, taken, unshared } => {
                if let Some(align) = align.filter(|align| !is_align(*align)) {
                    return Err(Refused::BadAlign(align));
                }
                let rules = Blkdebug::new(errors.clone(), changes.clone(), *taken, *unshared);
                Filter::Blkdebug(Arc::new(rules))
            }
            FilterOptions::Throttle { group } => {
                let found = self.engine.objects().find(group);
                let found = found.filter(|object| matches!(**object, Object::ThrottleGroup(_)));
                let group = found.ok_or_else(|| Refused::NoThrottleGroup(group.clone()))?;
                let (host, gate) = (self.engine.host().clone(), self.engine.gate.clone());
                let ending = self.engine.ending.clone();
                Filter::Throttle(Arc::new(Member { group, host, gate, ending }))
            }
            FilterOptions::Compress => {
                let node = self.graph.node(child);
                if !node.is_filter() && node.qcow2().is_none() {
                    return Err(Refused::NoCompression(node.driver_name()));
                }
                Filter::Compress
            }
            FilterOptions::CopyOnRead { bottom } => {
                Filter::CopyOnRead { bottom: self.bottom(child, bottom.as_deref())? }
            }
        })
    }

    fn bottom(&self, child: NodeId, name: Option<&str>) -> Result<Option<NodeId>, Refused> {
        let Some(name) = name else { return Ok(None) };
        let bottom = self.graph.find(name).ok_or_else(|| Refused::BottomNotFound(name.to_owned()))?;
        if self.graph.is_filter(bottom) {
            return Err(Refused::CopyOnReadBottomIsFilter(name.to_owned()));
        }
        if bottom != child && !self.graph.is_below(bottom, child) {
            return Err(Refused::BottomNotBelow(name.to_owned()));
        }
        Ok(Some(bottom))
    }
}

fn is_align(align: i64) -> bool {
    align == 0 || (align > 0 && align < i64::from(i32::MAX) && (align as u64).is_power_of_two())
}
