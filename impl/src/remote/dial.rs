//! Making a connection: the first one while the operator waits, later ones until the server is back.

use super::line::Line;
use super::{Server, Shared};
use crate::nbd::client::failure::Failed;
use crate::nbd::client::{Client, Wishes};
use crate::sync::either;
use crate::sync::ending::Ending;
use seam::address::{Address, NotConnected};
use seam::{Errno, Host, Nanos, Stream};
use std::fmt;
use std::sync::Arc;

/// How much is read at a time in a handshake.
const READ_BYTES: usize = 16 << 10;
/// Before the second attempt; before each later one twice as long.
const PAUSE_MIN: Nanos = Nanos::SECOND;
const PAUSE_MAX: Nanos = Nanos(16 * Nanos::SECOND.0);

/// Why there is no connection to an export.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum NotOpened {
    /// Nobody answers.
    Unreached(Address, NotConnected),
    /// Who answers is no server, or has no such export.
    Handshake(Failed),
}

/// In QEMU's words.
impl fmt::Display for NotOpened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NotOpened::Unreached(address, NotConnected::Failed(errno)) => {
                write!(f, "Failed to connect to '{address}': {errno}")
            }
            NotOpened::Unreached(address, NotConnected::PathTooLong) => {
                write!(f, "UNIX socket path '{address}' is too long")
            }
            NotOpened::Unreached(address, NotConnected::Unresolved(why)) => {
                write!(f, "address resolution failed for {address}: {why}")
            }
            NotOpened::Handshake(failed) => write!(f, "{failed}"),
        }
    }
}

/// A stream that ends with whoever holds it.
struct Held(Option<Arc<dyn Stream>>);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.iter().for_each(|stream| stream.shut_down());
    }
}

/// The first connection, tried as long as the operator says.
pub(super) async fn first(
    host: &Arc<dyn Host>,
    server: &Server,
    ending: &Ending,
) -> Result<Arc<Line>, NotOpened> {
    let given_up = NotConnected::Failed(Errno::ECANCELED);
    let mut last = Err(NotOpened::Unreached(server.address.clone(), given_up));
    let attempts = async {
        let mut pause = PAUSE_MIN;
        loop {
            last = once(host, server).await;
            if last.is_ok() || server.open_timeout == Nanos(0) {
                return;
            }
            host.sleep_until(host.now().plus(pause)).await;
            pause = longer(pause);
        }
    };
    let over = async {
        match server.open_timeout {
            Nanos(0) => std::future::pending().await,
            timeout => host.sleep_until(host.now().plus(timeout)).await,
        }
    };
    either(attempts, either(over, ending.begun())).await;
    last
}

/// Connects again, until that succeeds or nobody needs it any more.
pub(super) async fn again(shared: Arc<Shared>) {
    let mut line = None;
    let attempts = async {
        let mut pause = PAUSE_MIN;
        loop {
            match once(&shared.host, &shared.server).await {
                Ok(found) if shared.fits(found.export()) => {
                    line = Some(found);
                    return;
                }
                Ok(found) => found.leave(),
                // The server may come back; the request that waits says when it is too late.
                Err(_) => {}
            }
            shared.host.sleep_until(shared.host.now().plus(pause)).await;
            pause = longer(pause);
        }
    };
    either(attempts, shared.over()).await;
    shared.connected(line);
}

fn longer(pause: Nanos) -> Nanos {
    pause.plus(pause).min(PAUSE_MAX)
}

async fn once(host: &Arc<dyn Host>, server: &Server) -> Result<Arc<Line>, NotOpened> {
    let unreached = |why| NotOpened::Unreached(server.address.clone(), why);
    let stream = host.connect(&server.address).await.map_err(unreached)?;
    let mut held = Held(Some(stream.clone()));
    let client = negotiate(&stream, &server.wishes).await.map_err(NotOpened::Handshake)?;
    held.0 = None;
    Ok(Line::start(host, stream, client))
}

async fn negotiate(stream: &Arc<dyn Stream>, wishes: &Wishes) -> Result<Client, Failed> {
    let mut client = Client::new(wishes.clone());
    loop {
        while let Some(bytes) = client.take_output() {
            if stream.write(bytes).await.is_err() {
                return Err(client.why_it_failed_at_the_end());
            }
        }
        if client.export().is_some() {
            return Ok(client);
        }
        let bytes = stream.read(READ_BYTES).await.unwrap_or_default();
        if bytes.is_empty() {
            return Err(client.why_it_failed_at_the_end());
        }
        client.receive(&bytes)?;
    }
}
