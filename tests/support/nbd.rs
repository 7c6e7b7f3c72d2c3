//! A plain NBD client, for what ready-made ones cannot do: stay, and wait.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(60);

/// Connects and enters an export of a short name.
pub fn enter(path: &Path, export: &str) -> UnixStream {
    let mut stream = UnixStream::connect(path).expect("the server listens");
    stream.set_read_timeout(Some(TIMEOUT)).expect("a timeout");
    stream.read_exact(&mut [0; 18]).expect("a greeting");
    let len = u8::try_from(export.len()).expect("a short name");
    let hello = [&[0, 0, 0, 3][..], b"IHAVEOPT\0\0\0\x01\0\0\0", &[len], export.as_bytes()].concat();
    stream.write_all(&hello).expect("the server listens");
    stream.read_exact(&mut [0; 10]).expect("the export is there");
    stream
}

/// Whether the server hangs up.
pub fn reads_end(mut stream: UnixStream) -> bool {
    let mut rest = Vec::new();
    match stream.read_to_end(&mut rest) {
        Ok(_) => true,
        Err(e) => e.kind() == ErrorKind::ConnectionReset,
    }
}

/// Whether a greeting is there now, or within a moment.
pub fn is_greeted(stream: &mut UnixStream) -> bool {
    reads_greeting(stream, Duration::from_millis(50))
}

/// Whether a greeting comes.
pub fn is_greeted_in_time(stream: &mut UnixStream) -> bool {
    reads_greeting(stream, TIMEOUT)
}

fn reads_greeting(stream: &mut UnixStream, timeout: Duration) -> bool {
    stream.set_read_timeout(Some(timeout)).expect("a timeout");
    stream.read_exact(&mut [0; 18]).is_ok()
}
