//! Connections to others: by unix sockets, and by the network.

use super::confine::Confinement;
use super::place::by_number;
use super::socket::{tcp, unix};
use seam::address::{Address, IpVersion, NotConnected};
use seam::{Errno, Pending, Stream};
use std::net::SocketAddr;
use std::sync::Arc;

/// The system keeps the path of a unix socket in so many bytes, with the zero at its end.
const PATH_BYTES_MAX: usize = 107;

type Connected = Result<Arc<dyn Stream>, NotConnected>;

/// Connects to whoever listens there. Who is confined to a folder reaches sockets in it, and no network.
pub(super) fn connect(address: &Address, confinement: Option<Confinement>) -> Pending<'static, Connected> {
    match address.clone() {
        Address::Unix { path } => Box::pin(by_path(path, confinement)),
        Address::Inet { .. } if confinement.is_some() => {
            Box::pin(std::future::ready(Err(NotConnected::Failed(Errno::EACCES))))
        }
        Address::Inet { host, port, version } => Box::pin(by_network(host, port, version)),
    }
}

fn failed(error: std::io::Error) -> NotConnected {
    NotConnected::Failed(error.into())
}

async fn by_path(path: String, confinement: Option<Confinement>) -> Connected {
    if path.len() > PATH_BYTES_MAX {
        return Err(NotConnected::PathTooLong);
    }
    let hold = confinement.map(|confinement| confinement.admit(&path)).transpose();
    let hold = hold.map_err(NotConnected::Failed)?;
    let path = hold.as_ref().map_or(path, by_number);
    Ok(unix(tokio::net::UnixStream::connect(path).await.map_err(failed)?))
}

async fn by_network(host: String, port: String, version: Option<IpVersion>) -> Connected {
    // Of services we know no names.
    let port: u16 = port
        .parse()
        .map_err(|_| NotConnected::Unresolved("Servname not supported for ai_socktype".to_owned()))?;
    let found = tokio::net::lookup_host((&*host, port)).await.map_err(|error| unresolved(&error))?;
    let fits = |address: &SocketAddr| match version {
        None => true,
        Some(IpVersion::V4) => address.is_ipv4(),
        Some(IpVersion::V6) => address.is_ipv6(),
    };
    let mut last = NotConnected::Unresolved("Address family for hostname not supported".to_owned());
    for address in found.filter(fits) {
        match tokio::net::TcpStream::connect(address).await {
            Ok(stream) => return Ok(tcp(stream)),
            Err(error) => last = failed(error),
        }
    }
    Err(last)
}

/// What the system says, without what the library puts before it.
fn unresolved(error: &std::io::Error) -> NotConnected {
    let text = error.to_string();
    let words = text.rsplit_once(": ").map_or(&*text, |(_, words)| words);
    NotConnected::Unresolved(words.to_owned())
}
