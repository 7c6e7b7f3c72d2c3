//! A way to a server that can be cut, and restored, while others talk through it.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(60);

/// Where the server is.
#[derive(Clone, Debug)]
pub enum Server {
    Unix(PathBuf),
    Tcp(String),
}

/// The way.
#[derive(Debug)]
pub struct Proxy(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    server: Server,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    is_down: bool,
    /// It goes down once so many more bytes have gone to the server.
    bytes_left: Option<usize>,
    clients: Vec<UnixStream>,
    /// Connections that reached the server.
    connections: usize,
    /// Connections that came while it was down.
    refused: usize,
}

impl Shared {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn cut(&self, state: &mut State) {
        state.is_down = true;
        state.bytes_left = None;
        for client in state.clients.drain(..) {
            // Fails only if the client was first.
            let _gone = client.shutdown(Shutdown::Both);
        }
        self.changed.notify_all();
    }

    /// Counts bytes on their way to the server. False: they do not get there.
    fn admit(&self, bytes: usize) -> bool {
        let mut state = self.state();
        match &mut state.bytes_left {
            Some(left) if *left < bytes => self.cut(&mut state),
            Some(left) => *left -= bytes,
            None => {}
        }
        !state.is_down
    }
}

impl Proxy {
    /// Listens at `path` and leads to `server`.
    pub fn start(path: &Path, server: Server) -> Proxy {
        let listener = UnixListener::bind(path).expect("a fresh folder has room for a socket");
        let shared =
            Arc::new(Shared { server, state: Mutex::new(State::default()), changed: Condvar::new() });
        let accepting = shared.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                meet(&accepting, client);
            }
        });
        Proxy(shared)
    }

    /// Cuts the way once so many more bytes have gone to the server, in the middle of whatever they are.
    pub fn cut_after(&self, bytes: usize) {
        self.0.state().bytes_left = Some(bytes);
    }

    /// Waits until the way is cut, and somebody has tried it in vain, so often.
    pub fn wait_until_tried_in_vain(&self, times: usize) {
        let is_waiting = |state: &mut State| !state.is_down || state.refused < times;
        let waited = self.0.changed.wait_timeout_while(self.0.state(), TIMEOUT, is_waiting);
        let (state, result) = waited.unwrap_or_else(PoisonError::into_inner);
        assert!(!result.timed_out(), "the way is not cut, or nobody tries it: {state:?}");
    }

    /// The way is there again.
    pub fn restore(&self) {
        self.0.state().is_down = false;
    }

    /// How many connections have reached the server.
    pub fn connections(&self) -> usize {
        self.0.state().connections
    }
}

fn meet(shared: &Arc<Shared>, client: UnixStream) {
    let mut state = shared.state();
    if state.is_down {
        state.refused += 1;
        shared.changed.notify_all();
        return;
    }
    state.connections += 1;
    state.clients.push(client.try_clone().expect("a descriptor is free"));
    drop(state);
    match &shared.server {
        Server::Unix(path) => {
            let server = UnixStream::connect(path).expect("the server listens");
            let back = server.try_clone().expect("a descriptor is free");
            carry(shared, client, server, back, |server| drop(server.shutdown(Shutdown::Both)));
        }
        Server::Tcp(address) => {
            let server = TcpStream::connect(address).expect("the server listens");
            let back = server.try_clone().expect("a descriptor is free");
            carry(shared, client, server, back, |server| drop(server.shutdown(Shutdown::Both)));
        }
    }
}

/// Moves bytes both ways until one side ends.
fn carry<S: Read + Write + Send + 'static>(
    shared: &Arc<Shared>,
    mut client: UnixStream,
    mut server: S,
    mut back: S,
    end: fn(&S),
) {
    let shared = shared.clone();
    let mut answers_to = client.try_clone().expect("a descriptor is free");
    std::thread::spawn(move || {
        let _one_has_ended = std::io::copy(&mut back, &mut answers_to);
        let _gone = answers_to.shutdown(Shutdown::Both);
    });
    std::thread::spawn(move || {
        let mut buffer = vec![0; 16 << 10];
        while let Ok(len @ 1..) = client.read(&mut buffer) {
            if !shared.admit(len) || server.write_all(&buffer[..len]).is_err() {
                break;
            }
        }
        end(&server);
    });
}
