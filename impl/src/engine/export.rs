//! Exports: nodes offered to clients, and the server through which the clients come.
//!
//! An export that is taken away stays until its last client has gone: its requests run to their end.

pub(crate) mod connection;
pub(crate) mod memory;
mod request;
pub(crate) mod server;

use crate::budget::Budget;
use crate::engine::Guest;
use crate::graph::bitmap::held::Shown;
use crate::nbd::offer::Offer;
use crate::sync::shim::Mutex;
use crate::sync::signal::Signal;
use memory::Memory;
use seam::Stream;
use server::Server;
use std::collections::BTreeMap;
use std::sync::Arc;

/// One client of the server.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct ClientSerial(pub u64);

/// One export.
#[derive(Debug)]
pub struct Export {
    /// The operator's name for it.
    pub id: String,
    /// What clients see of it.
    pub offer: Offer,
    /// Whether every change is durable before its reply.
    pub writethrough: bool,
    /// What clients may ask for by `qemu:dirty-bitmap:`.
    pub(crate) bitmaps: Vec<Shown>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// The export's own hold on its node; gone when the export is.
    guest: Option<Arc<Guest>>,
    clients: BTreeMap<ClientSerial, Arc<dyn Stream>>,
    shutting_down: bool,
}

impl Export {
    /// An export of what `guest` reads and writes.
    pub(crate) fn new(
        id: String,
        offer: Offer,
        writethrough: bool,
        guest: Guest,
        bitmaps: Vec<Shown>,
    ) -> Arc<Export> {
        let guest = Some(Arc::new(guest));
        let state = Mutex::new(State { guest, clients: BTreeMap::new(), shutting_down: false });
        Arc::new(Export { id, offer, writethrough, bitmaps, state })
    }

    /// A new client comes, unless the export is going.
    pub fn enter(&self, client: ClientSerial, stream: Arc<dyn Stream>) -> Option<Arc<Guest>> {
        let mut state = self.state.lock();
        if state.shutting_down {
            return None;
        }
        state.clients.insert(client, stream);
        Some(state.guest.clone().expect("an export holds its node until it shuts down"))
    }

    /// A client goes. If it was the last one of an export that is going, what is left to be detached comes back.
    pub fn leave(&self, client: ClientSerial) -> Option<Arc<Guest>> {
        let mut state = self.state.lock();
        state.clients.remove(&client);
        state.take_if_over()
    }

    /// Takes the export away: no client comes any more, and those there are are sent away.
    pub fn shut_down(&self) -> Option<Arc<Guest>> {
        let mut state = self.state.lock();
        state.shutting_down = true;
        state.clients.values().for_each(|stream| stream.shut_down());
        state.take_if_over()
    }

    /// Whether it has clients.
    pub fn is_in_use(&self) -> bool {
        !self.state.lock().clients.is_empty()
    }

    /// Whether it is going.
    pub(crate) fn is_shutting_down(&self) -> bool {
        self.state.lock().shutting_down
    }

    /// The name of the node it stands on; nothing once it is gone.
    pub fn node_name(&self) -> String {
        let guest = self.state.lock().guest.clone();
        guest.map_or_else(String::new, |guest| guest.node_name())
    }
}

impl State {
    fn take_if_over(&mut self) -> Option<Arc<Guest>> {
        if self.shutting_down && self.clients.is_empty() { self.guest.take() } else { None }
    }
}

/// Everything an engine exports.
#[derive(Debug)]
pub struct Exports {
    table: Mutex<Table>,
    changed: Signal,
    /// What clients make us hold.
    pub memory: Arc<Memory>,
}

#[derive(Debug, Default)]
struct Table {
    server: Option<Arc<Server>>,
    /// Oldest first.
    exports: Vec<Arc<Export>>,
    clients_so_far: u64,
}

impl Exports {
    /// Nothing is exported; what clients will make us hold is a part of `budget`.
    pub fn new(budget: &Budget) -> Exports {
        Exports { table: Mutex::default(), changed: Signal::new(), memory: Memory::new(budget) }
    }

    /// All exports, oldest first.
    pub fn all(&self) -> Vec<Arc<Export>> {
        self.table.lock().exports.clone()
    }

    /// The exports that clients may come to, oldest first, as QEMU lists them.
    pub fn offered(&self) -> Vec<Arc<Export>> {
        let mut offered = self.all();
        offered.retain(|export| !export.is_shutting_down());
        offered
    }

    /// The export of this id.
    pub fn find(&self, id: &str) -> Option<Arc<Export>> {
        self.table.lock().exports.iter().find(|export| export.id == id).cloned()
    }

    /// The server, while it runs.
    pub fn server(&self) -> Option<Arc<Server>> {
        self.table.lock().server.clone()
    }

    pub(crate) fn set_server(&self, server: Option<Arc<Server>>) -> Option<Arc<Server>> {
        std::mem::replace(&mut self.table.lock().server, server)
    }

    pub(crate) fn add(&self, export: Arc<Export>) {
        self.table.lock().exports.push(export);
    }

    pub(crate) fn remove(&self, id: &str) {
        self.table.lock().exports.retain(|export| export.id != id);
        self.changed.notify();
    }

    pub(crate) fn next_client(&self) -> ClientSerial {
        let mut table = self.table.lock();
        table.clients_so_far += 1;
        ClientSerial(table.clients_so_far)
    }

    /// Waits until an export has gone.
    pub(crate) async fn wait_until_gone(&self, id: &str) {
        loop {
            let seen = self.changed.changes();
            if self.find(id).is_none() {
                return;
            }
            self.changed.changed_since(seen).await;
        }
    }
}
