//! The NBD server: takes clients as they come, as many as it may at a time.

use super::connection::{Connection, converse};
use crate::engine::Engine;
use crate::sync::either;
use crate::sync::shim::Mutex;
use crate::sync::signal::Signal;
use seam::{IoResult, Listener, Nanos, Stream};
use std::collections::BTreeMap;
use std::sync::Arc;

use super::ClientSerial;

/// How long the server waits after it could not take a client: too many open files, say, which may pass.
const ACCEPT_AGAIN: Nanos = Nanos(100 * Nanos::MILLISECOND.0);

/// What the operator says about a server.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ServerOptions {
    /// The unix socket's path.
    pub path: String,
    /// How many clients at a time; 0 for any number.
    pub max_connections: u32,
    /// How long a handshake may take, in seconds; 0 for any time.
    pub handshake_max_seconds: u32,
}

/// A server that runs.
#[derive(Debug)]
pub struct Server {
    options: ServerOptions,
    state: Mutex<State>,
    changed: Signal,
}

#[derive(Debug)]
struct State {
    /// `None`: stopped.
    listener: Option<Arc<dyn Listener>>,
    clients: BTreeMap<ClientSerial, Arc<dyn Stream>>,
}

impl Server {
    /// Starts to serve from `listener`.
    pub fn start(engine: &Arc<Engine>, options: ServerOptions, listener: Arc<dyn Listener>) -> Arc<Server> {
        let state = Mutex::new(State { listener: Some(listener), clients: BTreeMap::new() });
        let server = Arc::new(Server { options, state, changed: Signal::new() });
        let task = serve(Arc::clone(engine), Arc::clone(&server));
        engine.host().spawn("nbd server", Box::pin(task));
        server
    }

    /// Takes no more clients and sends away those there are.
    pub fn stop(&self) {
        {
            let mut state = self.state.lock();
            state.listener = None;
            state.clients.values().for_each(|stream| stream.shut_down());
        }
        self.changed.notify();
    }

    /// Whether several clients at a time may come.
    pub fn is_shared(&self) -> bool {
        self.options.max_connections != 1
    }

    /// A client has gone.
    pub fn leave(&self, client: ClientSerial) {
        self.state.lock().clients.remove(&client);
        self.changed.notify();
    }

    /// The listener, once another client may come. `None`: stopped.
    async fn room(&self) -> Option<Arc<dyn Listener>> {
        loop {
            let seen = self.changed.changes();
            {
                let state = self.state.lock();
                let max = self.options.max_connections as usize;
                match &state.listener {
                    None => return None,
                    Some(listener) if max == 0 || state.clients.len() < max => {
                        return Some(Arc::clone(listener));
                    }
                    Some(_) => {}
                }
            }
            self.changed.changed_since(seen).await;
        }
    }

    async fn stopped(&self) {
        loop {
            let seen = self.changed.changes();
            if self.state.lock().listener.is_none() {
                return;
            }
            self.changed.changed_since(seen).await;
        }
    }

    /// `None`: stopped meanwhile.
    async fn accept(&self) -> Option<IoResult<Arc<dyn Stream>>> {
        // Only the future is kept: while somebody holds the listener, its socket file stays.
        let accepted = self.room().await?.accept();
        let mut taken = None;
        either(async { taken = Some(accepted.await) }, self.stopped()).await;
        taken
    }

    /// Counts a client in. False: the server has been stopped meanwhile.
    fn enter(&self, client: ClientSerial, stream: &Arc<dyn Stream>) -> bool {
        let mut state = self.state.lock();
        if state.listener.is_some() {
            state.clients.insert(client, Arc::clone(stream));
        }
        state.listener.is_some()
    }
}

async fn serve(engine: Arc<Engine>, server: Arc<Server>) {
    while let Some(accepted) = server.accept().await {
        let Ok(stream) = accepted else {
            let host = engine.host();
            host.sleep_until(host.now().plus(ACCEPT_AGAIN)).await;
            continue;
        };
        let client = engine.exports().next_client();
        if server.enter(client, &stream) {
            let seconds = u64::from(server.options.handshake_max_seconds);
            let connection =
                Connection { engine: Arc::clone(&engine), server: Arc::clone(&server), client, stream };
            let task = converse(connection, Nanos(seconds * Nanos::SECOND.0));
            engine.host().spawn(&format!("nbd client {}", client.0), Box::pin(task));
        }
    }
}
