//! The unix sockets that QMP is spoken over.

use crate::place::Places;
use block::os::place::OwnFile;
use block::os::socket::listen_at;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;

/// What `--chardev socket` says.
#[derive(Debug)]
pub struct SocketOptions {
    /// The name monitors use for it.
    pub id: String,
    /// Where it is.
    pub path: PathBuf,
    /// Whether we listen; otherwise we connect.
    pub server: bool,
}

/// A socket that clients come from.
#[derive(Debug)]
pub enum Endpoint {
    /// We listen: clients come one after the other.
    Server(UnixListener, SocketFile),
    /// We connected: there is one client.
    Client(UnixStream),
}

impl Endpoint {
    /// Listens or connects.
    pub fn open(options: &SocketOptions, places: &Places) -> Result<Endpoint, String> {
        let shown = options.path.display();
        if options.server {
            let listening = places.place(&options.path).and_then(listen_at);
            let (listener, file) =
                listening.map_err(|e| format!("Failed to bind socket to {shown}: {}", text(&e)))?;
            return Ok(Endpoint::Server(listener, SocketFile(file)));
        }
        let connect = || {
            let (path, _hold) = places.file(&options.path)?;
            let stream = UnixStream::connect(path)?;
            stream.set_nonblocking(true)?;
            Ok(stream)
        };
        let refused = |e: std::io::Error| format!("Failed to connect to '{shown}': {}", text(&e));
        let stream = connect().map_err(refused)?;
        Ok(Endpoint::Client(stream))
    }
}

/// What strerror(3) says, without the number that Rust adds.
pub fn text(error: &std::io::Error) -> String {
    error.raw_os_error().map_or_else(|| error.to_string(), |number| seam::Errno(number).text())
}

/// The file of a listening socket.
#[derive(Debug)]
pub struct SocketFile(#[allow(dead_code, reason = "held for its drop")] OwnFile);

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    fn server(path: &Path) -> Result<Endpoint, String> {
        let options = SocketOptions { id: "m".to_owned(), path: path.to_owned(), server: true };
        Endpoint::open(&options, &Places::default())
    }

    #[test]
    fn a_socket_is_private_and_goes_with_its_endpoint() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let endpoint = server(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        drop(endpoint);
        assert!(!path.exists());
    }

    #[test]
    fn only_an_abandoned_socket_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        // Dropping a plain listener leaves the file.
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        let endpoint = server(&path).expect("nobody listens on it");
        let refused = server(&path).unwrap_err();
        assert!(refused.contains("in use"), "{refused}");
        drop(endpoint);
        fs::write(&path, "precious").unwrap();
        assert!(server(&path).is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    }
}
