//! `block-set-write-threshold`.

use super::Engine;
use crate::error::Refused;
use crate::event::Event;

impl Engine {
    /// Reports the first write to a node that passes `bytes`, and no other; with 0, none.
    pub(crate) fn set_write_threshold(&self, node_name: &str, bytes: u64) -> Result<(), Refused> {
        let graph = self.graph();
        let id = graph.find(node_name).ok_or_else(|| Refused::NoDeviceToWatch(node_name.to_owned()))?;
        let (events, node_name) = (self.events.clone(), node_name.to_owned());
        let report = move |exceeded| {
            events.emit(Event::BlockWriteThreshold { node_name, exceeded, threshold: bytes });
        };
        graph.node(id).write_threshold.set(bytes, Box::new(report));
        Ok(())
    }
}
