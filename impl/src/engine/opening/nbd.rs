//! Opening a disk behind an NBD server.

use super::{Draft, Opened, Opener};
use crate::command::BlockdevOptions;
use crate::error::Refused;
use crate::graph::node::{Driver, FileAccess, Storage};
use crate::remote::{CONNECTION_BYTES, Remote, Server};
use seam::Errno;

/// The protocol has no longer names.
const NAME_BYTES_MAX: usize = 4096;

impl Draft<'_> {
    pub(super) async fn open_nbd(
        &mut self,
        server: &Server,
        tls_creds: Option<&str>,
        options: &BlockdevOptions,
        by: Opener,
    ) -> Result<Opened, Refused> {
        if server.wishes.export.len() > NAME_BYTES_MAX {
            return Err(Refused::NameTooLongForServer("export"));
        }
        if server.wishes.context.as_ref().is_some_and(|name| name.len() > NAME_BYTES_MAX) {
            return Err(Refused::NameTooLongForServer("x-dirty-bitmap"));
        }
        if let Some(id) = tls_creds {
            return Err(Refused::NoTlsCredentials(id.to_owned()));
        }
        let what = || format!("The connection to '{}'", server.address);
        let share = self.engine.budget.take(CONNECTION_BYTES, what)?;
        let opened = Remote::open(self.engine.host(), server.clone(), &self.engine.ending, share).await;
        let remote = opened.map_err(|why| Refused::NotConnected(why.to_string()))?;
        if server.wishes.context.is_some() && !remote.has_context() {
            return Err(Refused::ExportUnfit(Errno::EINVAL));
        }
        let (mut read_only, access) = match (options.read_only, by) {
            (Some(read_only), _) => (read_only, FileAccess::Fixed),
            (None, Opener::Parent { read_only, .. }) => (read_only, FileAccess::Inherited),
            (None, _) => (by.read_only(), FileAccess::Fixed),
        };
        if remote.is_read_only() && !read_only {
            if options.auto_read_only != Some(true) {
                return Err(Refused::ExportUnfit(Errno::EACCES));
            }
            read_only = true;
        }
        let filename = remote.uri();
        let driver = Driver::Storage(Storage::Nbd { remote, access });
        let opened = Opened::new(self.graph.next_node_id(), driver, read_only);
        Ok(Opened { filename, ..opened })
    }
}
