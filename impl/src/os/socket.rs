//! Sockets: those that we listen at are private from their first moment, and their files are removed again.

use super::place::{OwnFile, Place, by_number};
use rustix::fs::{FileType, Mode, OFlags, fstat};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, listen, socket_with};
use seam::{IoResult, Listener, Pending, Stream};
use std::io::ErrorKind;
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;

use tokio::runtime::Handle;

/// How many clients may wait to be accepted.
const BACKLOG: i32 = 128;

/// Listens at `place`; the listener is non-blocking. A socket that nobody listens on is replaced.
pub fn listen_at(place: Place) -> std::io::Result<(UnixListener, OwnFile)> {
    let listener = match bind_at(&place) {
        Err(e) if e.kind() == ErrorKind::AddrInUse && is_abandoned(&place) => {
            place.remove()?;
            bind_at(&place)?
        }
        other => other?,
    };
    Ok((listener, OwnFile::new(place)?))
}

/// The file takes over the mode of the socket (less the umask), so that it is never open to others. Setting the umask
/// would do it too, but for all threads; a chmod afterwards would leave a window.
fn bind_at(place: &Place) -> std::io::Result<UnixListener> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    rustix::fs::fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
    bind(&socket, &SocketAddrUnix::new(place.address())?)?;
    listen(&socket, BACKLOG)?;
    Ok(UnixListener::from(socket))
}

/// Whether this is a socket that nobody listens on. An ordinary file refuses connections too, but is not ours to remove.
fn is_abandoned(place: &Place) -> bool {
    let Ok(hold) = place.open(OFlags::PATH, Mode::empty()) else { return false };
    let is_socket = fstat(&hold).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Socket);
    let refuses =
        || UnixStream::connect(by_number(&hold)).is_err_and(|e| e.kind() == ErrorKind::ConnectionRefused);
    is_socket && refuses()
}

/// The engine's way to listen.
#[derive(Debug)]
pub(crate) struct OsListener {
    listener: Arc<tokio::net::UnixListener>,
    _file: OwnFile,
}

impl OsListener {
    /// Listens at `place`.
    pub(crate) fn open(runtime: &Handle, place: Place) -> IoResult<Arc<dyn Listener>> {
        let _inside = runtime.enter();
        let (listener, file) = listen_at(place)?;
        let listener = Arc::new(tokio::net::UnixListener::from_std(listener)?);
        Ok(Arc::new(OsListener { listener, _file: file }))
    }
}

impl Listener for OsListener {
    fn accept(&self) -> Pending<'static, IoResult<Arc<dyn Stream>>> {
        let listener = Arc::clone(&self.listener);
        Box::pin(async move {
            let (stream, _address) = listener.accept().await?;
            Ok(unix(stream))
        })
    }
}

/// A connected socket.
#[derive(Debug)]
struct OsStream<S>(Arc<S>);

/// What the two kinds of sockets have in common.
trait Socket: AsFd + Send + Sync + std::fmt::Debug + 'static {
    fn readable(&self) -> impl Future<Output = std::io::Result<()>> + Send;
    fn writable(&self) -> impl Future<Output = std::io::Result<()>> + Send;
    fn try_read_buf(&self, buffer: &mut Vec<u8>) -> std::io::Result<usize>;
    fn try_write(&self, data: &[u8]) -> std::io::Result<usize>;
}

macro_rules! socket {
    ($kind:ty) => {
        impl Socket for $kind {
            fn readable(&self) -> impl Future<Output = std::io::Result<()>> + Send {
                <$kind>::readable(self)
            }

            fn writable(&self) -> impl Future<Output = std::io::Result<()>> + Send {
                <$kind>::writable(self)
            }

            fn try_read_buf(&self, buffer: &mut Vec<u8>) -> std::io::Result<usize> {
                <$kind>::try_read_buf(self, buffer)
            }

            fn try_write(&self, data: &[u8]) -> std::io::Result<usize> {
                <$kind>::try_write(self, data)
            }
        }
    };
}

socket!(tokio::net::UnixStream);
socket!(tokio::net::TcpStream);

/// A unix socket as the engine has it.
pub(super) fn unix(stream: tokio::net::UnixStream) -> Arc<dyn Stream> {
    Arc::new(OsStream(Arc::new(stream)))
}

/// A connection over the network as the engine has it: what is sent goes at once.
pub(super) fn tcp(stream: tokio::net::TcpStream) -> Arc<dyn Stream> {
    // Without it everything is slower, and nothing else.
    let _slower = stream.set_nodelay(true);
    Arc::new(OsStream(Arc::new(stream)))
}

impl<S: Socket> Stream for OsStream<S> {
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
