//! Who receives the engine's events.

use crate::event::{Event, EventSink};
use crate::sync::shim::Mutex;
use seam::Host;
use std::fmt;
use std::sync::Arc;

/// Everybody who subscribed.
pub(crate) struct Events {
    host: Arc<dyn Host>,
    sinks: Mutex<Vec<Arc<dyn EventSink>>>,
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").field("sinks", &self.sinks.lock().len()).finish()
    }
}

impl Events {
    /// Nobody listens yet.
    pub(crate) fn new(host: Arc<dyn Host>) -> Self {
        Events { host, sinks: Mutex::new(Vec::new()) }
    }

    /// Adds a listener, who receives everything from now on.
    pub(crate) fn subscribe(&self, sink: Arc<dyn EventSink>) {
        self.sinks.lock().push(sink);
    }

    /// Notifies everybody, in the order in which things happen.
    pub(crate) fn emit(&self, event: Event) {
        let sinks = self.sinks.lock();
        // Under the lock, so that of two events the later one has the later time.
        let at = self.host.wall_clock();
        for sink in sinks.iter() {
            sink.emit(&event, at);
        }
    }
}
