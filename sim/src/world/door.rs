//! How a guest comes to its node: as a device, or by NBD through an export of its own.

use super::nbd::{Asked, Client};
use crate::oracle::Oracle;
use block::engine::{Engine, Guest};
use block::qmp::Monitor;
use midstream::request::Operation;
use midstream::world::host::SimHost;
use seam::{Errno, IoResult};
use std::sync::Arc;

/// Where the NBD server listens.
pub const SOCKET: &str = "/nbd";

/// The clients that make guests' exports, each its own.
const EXPORTERS: u32 = 200;

/// The command that starts the server.
pub const START_SERVER: &str =
    r#"{"execute":"nbd-server-start","arguments":{"addr":{"type":"unix","data":{"path":"/nbd"}}}}"#;

/// A guest's door.
#[derive(Debug)]
pub enum Door {
    /// A device of the process itself.
    Device(Guest),
    /// A connection to an export.
    Export {
        /// The export's id, and its name.
        id: String,
        /// The connection.
        client: Client,
    },
}

/// Who wants in.
#[derive(Copy, Clone, Debug)]
pub struct Visitor<'a> {
    /// The guest.
    pub guest: u32,
    /// Its node.
    pub node: &'a str,
    /// Whether it wants to write.
    pub writable: bool,
}

/// How a change is to be made, beyond what it is.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct How {
    /// Durable when it ends.
    pub fua: bool,
    /// Without space for what it makes zero.
    pub unmaps: bool,
}

impl Door {
    /// Takes a place at a node. Nothing: it is not let in.
    pub fn device(visitor: Visitor<'_>, engine: &Arc<Engine>, oracle: &Oracle) -> Option<Door> {
        let Visitor { guest, node, writable } = visitor;
        match engine.open_guest(node, writable) {
            Ok(device) => {
                oracle.attached(guest, node, writable);
                Some(Door::Device(device))
            }
            Err(refused) => {
                oracle.turned_away(guest, node, writable, &refused);
                None
            }
        }
    }

    /// Makes an export of a node and connects to it. Nothing: the command was refused.
    pub async fn export(
        visitor: Visitor<'_>,
        monitor: &Monitor,
        oracle: &Oracle,
        host: &SimHost,
    ) -> Option<Door> {
        let Visitor { guest, node, writable } = visitor;
        let id = format!("export{guest}");
        let add = format!(
            r#"{{"execute":"block-export-add","arguments":{{"type":"nbd","id":"{id}","node-name":"{node}","writable":{writable},"name":"{id}"}}}}"#
        );
        if !command(EXPORTERS + guest, &add, monitor, oracle).await {
            return None;
        }
        let end = host.connect(SOCKET).expect("the server was started before the guests came");
        let client = Client::connect(end, &id).await;
        let client = client.unwrap_or_else(|why| panic!("{id} does not take its guest: {why}"));
        oracle.connected(guest, &id);
        Some(Door::Export { id, client })
    }

    /// Leaves, and takes the export away.
    pub async fn leave(self, guest: u32, engine: &Engine, monitor: &Monitor, oracle: &Oracle) {
        match self {
            Door::Device(device) => {
                drop(device);
                oracle.detached(guest);
            }
            Door::Export { id, client } => {
                client.leave().await;
                // Who hangs up has taken the client off the export's list before anybody else runs.
                let is_in_use = engine.exports().find(&id).is_some_and(|export| export.is_in_use());
                assert!(!is_in_use, "{id} has a client that has left");
                oracle.detached(guest);
                let delete = format!(r#"{{"execute":"block-export-del","arguments":{{"id":"{id}"}}}}"#);
                command(EXPORTERS + guest, &delete, monitor, oracle).await;
            }
        }
    }

    /// How long the guest takes its device to be, in bytes.
    pub fn len_bytes(&self) -> u64 {
        match self {
            Door::Device(device) => device.len_bytes().unwrap_or(0),
            Door::Export { client, .. } => client.len_bytes,
        }
    }

    /// The node that it leads to.
    pub fn node_name(&self, engine: &Engine) -> Option<String> {
        match self {
            Door::Device(device) => Some(device.node_name()),
            Door::Export { id, .. } => engine.exports().find(id).map(|export| export.node_name()),
        }
    }

    /// Reads so many bytes.
    pub async fn read(&self, offset: u64, len: u64) -> IoResult<Vec<u8>> {
        match self {
            Door::Device(device) => device.read(offset, len).await,
            Door::Export { client, .. } => {
                let asked = asked(Operation::Read, offset, len, &[]);
                client.request(asked).await
            }
        }
    }

    /// Changes so many bytes; `data` is what a write writes.
    pub async fn change(
        &self,
        operation: Operation,
        offset: u64,
        len: u64,
        data: Vec<u8>,
        how: How,
    ) -> IoResult<()> {
        let How { fua, unmaps } = how;
        match self {
            Door::Export { client, .. } => {
                let (offset, len) = if operation == Operation::Flush { (0, 0) } else { (offset, len) };
                client.request(Asked { fua, unmaps, ..asked(operation, offset, len, &data) }).await.map(drop)
            }
            Door::Device(_) if fua => Err(Errno::ENOTSUP),
            Door::Device(device) => match operation {
                Operation::Write => device.write(offset, data).await,
                Operation::WriteZeroes => device.write_zeroes(offset, len).await,
                Operation::Discard => device.discard(offset, len).await,
                Operation::Flush => device.flush().await,
                Operation::Read => unreachable!("a read changes nothing"),
            },
        }
    }
}

fn asked(operation: Operation, offset: u64, len: u64, data: &[u8]) -> Asked<'_> {
    let len = u32::try_from(len).expect("images of a world are small");
    Asked { operation, offset, len, data, fua: false, unmaps: false }
}

/// Does a command; whether it went well.
async fn command(client: u32, text: &str, monitor: &Monitor, oracle: &Oracle) -> bool {
    oracle.sent(client, text);
    let reply = monitor.execute(text).await.expect("a command with a name is answered");
    let is_fine = !reply.starts_with(r#"{"error""#);
    oracle.reply(client, reply);
    is_fine
}
