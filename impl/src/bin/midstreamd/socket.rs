//! Unix sockets and the pidfile: made safely, and removed again when the daemon ends.

use block::os::socket::{OwnFile, listen_at};
use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

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
    pub fn open(options: SocketOptions) -> Result<Endpoint, String> {
        let shown = options.path.display();
        if options.server {
            let (listener, file) =
                listen_at(&options.path).map_err(|e| format!("Failed to listen on '{shown}': {e}"))?;
            return Ok(Endpoint::Server(listener, SocketFile(file)));
        }
        let connect = || {
            let stream = UnixStream::connect(&options.path)?;
            stream.set_nonblocking(true)?;
            Ok(stream)
        };
        let stream = connect().map_err(|e: std::io::Error| format!("Failed to connect to '{shown}': {e}"))?;
        Ok(Endpoint::Client(stream))
    }
}

/// The file of a listening socket.
#[derive(Debug)]
pub struct SocketFile(#[allow(dead_code, reason = "held for its drop")] OwnFile);

/// The file that holds our process id.
#[derive(Debug)]
pub struct PidFile(#[allow(dead_code, reason = "held for its drop")] OwnFile);

impl PidFile {
    /// Writes the process id; it may replace what an earlier process left.
    pub fn create(path: &Path) -> Result<PidFile, String> {
        let write = || {
            let mut file =
                fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
            writeln!(file, "{}", std::process::id())?;
            OwnFile::new(path).map(PidFile)
        };
        write().map_err(|e: std::io::Error| format!("cannot create pidfile '{}': {e}", path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn server(path: &Path) -> Result<Endpoint, String> {
        Endpoint::open(SocketOptions { id: "m".to_owned(), path: path.to_owned(), server: true })
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

    #[test]
    fn a_file_put_in_our_place_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pid");
        let pid_file = PidFile::create(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap().trim(), std::process::id().to_string());
        fs::rename(&path, folder.path().join("moved")).unwrap();
        fs::write(&path, "another's").unwrap();
        drop(pid_file);
        assert!(path.exists());
    }
}
