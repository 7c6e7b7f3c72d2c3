//! Unix sockets: private from their first moment, and their files removed again.

use crate::host::{Errno, IoResult, Listener, Pending, Stream};
use rustix::fs::Mode;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, listen, socket_with};
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::runtime::Handle;

/// How many clients may wait to be accepted.
const BACKLOG: i32 = 128;

/// Listens at `path`; the listener is non-blocking. A socket that nobody listens on is replaced.
pub fn listen_at(path: &Path) -> std::io::Result<(UnixListener, OwnFile)> {
    let listener = match bind_at(path) {
        Err(e) if e.kind() == ErrorKind::AddrInUse && is_abandoned(path) => {
            fs::remove_file(path)?;
            bind_at(path)?
        }
        other => other?,
    };
    Ok((listener, OwnFile::new(path)?))
}

/// The file takes over the mode of the socket (less the umask), so that it is never open to others. Setting the umask
/// would do it too, but for all threads; a chmod afterwards would leave a window.
fn bind_at(path: &Path) -> std::io::Result<UnixListener> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    rustix::fs::fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
    bind(&socket, &SocketAddrUnix::new(path)?)?;
    listen(&socket, BACKLOG)?;
    Ok(UnixListener::from(socket))
}

/// Whether this is a socket that nobody listens on. An ordinary file refuses connections too, but is not ours to remove.
fn is_abandoned(path: &Path) -> bool {
    let is_socket = fs::symlink_metadata(path).is_ok_and(|m| m.file_type().is_socket());
    is_socket && UnixStream::connect(path).is_err_and(|e| e.kind() == ErrorKind::ConnectionRefused)
}

/// A file we made, removed when this is dropped, unless somebody has put another in its place.
#[derive(Debug)]
pub struct OwnFile {
    path: PathBuf,
    identity: (u64, u64),
}

impl OwnFile {
    /// The file at `path`, which was just made.
    pub fn new(path: &Path) -> std::io::Result<OwnFile> {
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

/// The engine's way to listen.
#[derive(Debug)]
pub struct OsListener {
    listener: Arc<tokio::net::UnixListener>,
    _file: OwnFile,
}

impl OsListener {
    /// Listens at `path`.
    pub fn open(runtime: &Handle, path: &Path) -> IoResult<Arc<dyn Listener>> {
        let _inside = runtime.enter();
        let (listener, file) = listen_at(path)?;
        let listener = Arc::new(tokio::net::UnixListener::from_std(listener)?);
        Ok(Arc::new(OsListener { listener, _file: file }))
    }
}

impl Listener for OsListener {
    fn accept(&self) -> Pending<'static, IoResult<Arc<dyn Stream>>> {
        let listener = Arc::clone(&self.listener);
        Box::pin(async move {
            let (stream, _address) = listener.accept().await?;
            let stream: Arc<dyn Stream> = Arc::new(OsStream(Arc::new(stream)));
            Ok(stream)
        })
    }
}

/// A connected socket.
#[derive(Debug)]
struct OsStream(Arc<tokio::net::UnixStream>);

impl Stream for OsStream {
    fn read(&self, max_bytes: usize) -> Pending<'static, IoResult<Vec<u8>>> {
        let stream = Arc::clone(&self.0);
        Box::pin(async move {
            let mut buffer = Vec::with_capacity(max_bytes);
            loop {
                stream.readable().await?;
                match stream.try_read_buf(&mut buffer) {
                    Ok(_) => return Ok(buffer),
                    Err(e) if e.kind() == ErrorKind::WouldBlock => {}
                    Err(e) => return Err(e.into()),
                }
            }
        })
    }

    fn write(&self, data: Vec<u8>) -> Pending<'static, IoResult<()>> {
        let stream = Arc::clone(&self.0);
        Box::pin(async move {
            let mut rest = &data[..];
            while !rest.is_empty() {
                stream.writable().await?;
                match stream.try_write(rest) {
                    Ok(written) => rest = &rest[written..],
                    Err(e) if e.kind() == ErrorKind::WouldBlock => {}
                    Err(e) => return Err(e.into()),
                }
            }
            Ok(())
        })
    }

    fn shut_down(&self) {
        // Fails only if the other side was first.
        let _already = rustix::net::shutdown(&*self.0, rustix::net::Shutdown::Both);
    }
}

impl From<std::io::Error> for Errno {
    fn from(error: std::io::Error) -> Errno {
        error.raw_os_error().map_or(Errno::EIO, Errno)
    }
}
