//! Hostile NBD clients, several at a time; every fourth never reads what it is answered.

use super::victim::Victim;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// Clients at a time.
const TOGETHER: usize = 6;
/// So long a client waits for more answers, or for room for more bytes.
const TIMEOUT: Duration = Duration::from_millis(300);
/// So long one goes on at all.
const LIFE_MAX: Duration = Duration::from_secs(3);
/// More than this is not read of what one is answered.
const READ_MAX: usize = 256 << 20;

/// Sends streams. Gives how many were sent; a server that closes a connection has answered it.
pub(super) fn streams(victim: &Victim, inputs: &[Vec<u8>]) -> Result<usize, String> {
    for together in inputs.chunks(TOGETHER) {
        std::thread::scope(|scope| {
            let numbered = together.iter().enumerate();
            let clients: Vec<_> = numbered
                .map(|(number, input)| scope.spawn(move || client(victim, input, number % 4 == 3)))
                .collect();
            let mut ended = clients.into_iter().map(|client| client.join().expect("a client does not panic"));
            ended.try_for_each(|ended| ended)
        })?;
    }
    Ok(inputs.len())
}

fn client(victim: &Victim, input: &[u8], is_deaf: bool) -> Result<(), String> {
    let mut stream = victim.nbd().map_err(|error| format!("no NBD connection: {error}"))?;
    let set = stream.set_write_timeout(Some(TIMEOUT)).and_then(|()| stream.set_read_timeout(Some(TIMEOUT)));
    set.map_err(|error| error.to_string())?;
    if is_deaf {
        let _refused = stream.write_all(input);
        return Ok(());
    }
    let mut writer = stream.try_clone().map_err(|error| error.to_string())?;
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let _refused = writer.write_all(input);
            let _ended = writer.shutdown(Shutdown::Write);
        });
        read_all(&mut stream);
    });
    Ok(())
}

/// Reads until the end, or until nothing comes any more.
fn read_all(stream: &mut UnixStream) {
    let (began, mut read, mut piece) = (Instant::now(), 0, vec![0; 1 << 16]);
    while began.elapsed() < LIFE_MAX && read < READ_MAX {
        match stream.read(&mut piece) {
            Ok(0) | Err(_) => return,
            Ok(len) => read += len,
        }
    }
}
