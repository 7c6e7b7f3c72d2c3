//! `x-blockdev-set-iothread`: taken for the sake of those who say it. Our requests run on all threads anyway.

use super::Engine;
use crate::error::Refused;
use crate::object::Object;

impl Engine {
    /// `x-blockdev-set-iothread`.
    pub(crate) fn set_iothread(
        &self,
        node_name: &str,
        iothread: Option<&str>,
        force: bool,
    ) -> Result<(), Refused> {
        let graph = self.graph();
        let id = graph.find(node_name).ok_or_else(|| Refused::NodeNotFound(node_name.to_owned()))?;
        if !force && graph.users().any(|(_, user)| user.node == id && user.kind.is_device()) {
            return Err(Refused::NodeHasDevice(node_name.to_owned()));
        }
        let is_there =
            |name: &str| self.objects.find(name).is_some_and(|object| matches!(*object, Object::IoThread));
        match iothread.filter(|name| !is_there(name)) {
            Some(name) => Err(Refused::NoSuchIothread(name.to_owned())),
            None => Ok(()),
        }
    }
}
