//! Unix sockets and the pidfile: made safely, and removed again when the daemon ends.

use rustix::fs::Mode;
use std::fs;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
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
    /// Listens or connects. To be called while the process has one thread, because it sets the umask.
    pub fn open(options: SocketOptions) -> Result<Endpoint, String> {
        let shown = options.path.display();
        if options.server {
            let (listener, file) =
                listen(&options.path).map_err(|e| format!("Failed to listen on '{shown}': {e}"))?;
            return Ok(Endpoint::Server(listener, file));
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

fn listen(path: &Path) -> std::io::Result<(UnixListener, SocketFile)> {
    let listener = match bind(path) {
        Err(e) if e.kind() == ErrorKind::AddrInUse && is_abandoned(path) => {
            fs::remove_file(path)?;
            bind(path)?
        }
        other => other?,
    };
    listener.set_nonblocking(true)?;
    Ok((listener, SocketFile(OwnFile::new(path)?)))
}

/// The umask makes the file private from its first moment; a chmod afterwards would leave a window.
fn bind(path: &Path) -> std::io::Result<UnixListener> {
    let before = rustix::process::umask(Mode::RWXG | Mode::RWXO | Mode::XUSR);
    let bound = UnixListener::bind(path);
    rustix::process::umask(before);
    bound
}

/// Whether this is a socket that nobody listens on. An ordinary file refuses connections too, but is not ours to remove.
fn is_abandoned(path: &Path) -> bool {
    let is_socket = fs::symlink_metadata(path).is_ok_and(|m| m.file_type().is_socket());
    is_socket && UnixStream::connect(path).is_err_and(|e| e.kind() == ErrorKind::ConnectionRefused)
}

/// A file we made, removed when this is dropped, unless somebody has put another in its place.
#[derive(Debug)]
struct OwnFile {
    path: PathBuf,
    identity: (u64, u64),
}

impl OwnFile {
    fn new(path: &Path) -> std::io::Result<OwnFile> {
        // Absolute, so that it holds wherever the process goes.
        let path = std::path::absolute(path)?;
        let identity = identity(&path)?;
        Ok(OwnFile { path, identity })
    }
}

impl Drop for OwnFile {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|found| found == self.identity) {
            // Nothing depends on its success; a file left behind is found abandoned next time.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn identity(path: &Path) -> std::io::Result<(u64, u64)> {
    let metadata = fs::symlink_metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
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
