//! `block-stream`.

use super::Engine;
use crate::command::StreamArguments;
use crate::error::Refused;
use crate::graph::length::len_bytes;
use crate::job::life::NewJob;
use crate::job::stream::Stream;
use crate::job::stream_start;
use std::sync::Arc;

impl Engine {
    /// `block-stream`. The reply comes after `created` and `running`.
    pub async fn block_stream(self: &Arc<Self>, arguments: &StreamArguments) -> Result<(), Refused> {
        // Nothing moves between the checks and the edit: no request runs, no other job changes the graph.
        let _alone = self.gate.drain().await;
        let region = stream_start::admit(&self.graph(), &*self.host, arguments)?;
        let target = region.target;
        let was_read_only = self.graph().place(target).read_only;
        if was_read_only {
            self.graph().admit_freeze(region.target, region.above_base)?;
            if target != region.target {
                // A filter can be made writable, but that does not reach the layer below it.
                return Err(Refused::FilterNotCreated(Box::new(Refused::ReadOnly)));
            }
            self.reopen(target, true).await?;
        }
        let started = self.start_stream(arguments, region, was_read_only);
        if started.is_err() && was_read_only {
            let _kept_writable = self.reopen(target, false).await;
        }
        started
    }

    fn start_stream(
        self: &Arc<Self>,
        arguments: &StreamArguments,
        region: stream_start::Region,
        was_read_only: bool,
    ) -> Result<(), Refused> {
        let graph = self.graph();
        stream_start::admit_filter_name(&graph, arguments)?;
        let frozen = graph.admit_freeze(region.target, region.bottom);
        frozen.map_err(|refused| Refused::FilterNotCreated(Box::new(refused)))?;
        if graph.place(graph.unfiltered(region.target)).read_only {
            // Only the filter that was named became writable.
            return Err(Refused::FilterNotCreated(Box::new(Refused::ReadOnly)));
        }
        let len = if region.is_empty(&graph) { Ok(0) } else { len_bytes(&graph, region.target) };
        let len = len.map_err(Refused::io("get the length of", graph.name(region.target)))?;
        let options = arguments.job.clone();
        let new = NewJob { kind: "stream", options, len, group: None, mirror: None };
        let filter_name = arguments.filter_node_name.as_deref();
        let (job, filter) = self.create_job(new, |graph, serial, id| {
            stream_start::attach(graph, &region, serial, id, filter_name)
        })?;
        let stream = Stream {
            core: self.core.clone(),
            job: job.clone(),
            region,
            filter,
            backing_file: arguments.backing_file.clone(),
            mask_protocol: arguments.backing_mask_protocol,
            was_read_only,
            on_error: arguments.on_error,
        };
        self.start_job(job, stream);
        Ok(())
    }
}
