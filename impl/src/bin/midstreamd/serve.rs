//! Bytes between a socket and its monitor.

use crate::socket::Endpoint;
use block::qmp::Monitor;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Notify;

/// How much is read at a time; what it can hold in commands is worked off before more is read.
const READ_BYTES: usize = 16 << 10;

/// Serves an endpoint until `quit`: its clients one after the other. A client that goes leaves everything as it is.
pub async fn serve(endpoint: Endpoint, monitor: Arc<Monitor>, quit: Arc<Notify>) {
    match endpoint {
        Endpoint::Client(stream) => {
            let stream = UnixStream::from_std(stream).expect("the stream is non-blocking");
            converse(stream, &monitor, &quit).await;
        }
        Endpoint::Server(listener, _file) => {
            let listener = UnixListener::from_std(listener).expect("the listener is non-blocking");
            while let Some(stream) = next_client(&listener, &monitor).await {
                monitor.reconnect();
                converse(stream, &monitor, &quit).await;
                if monitor.wants_quit() {
                    return;
                }
            }
        }
    }
}

/// How long a listener waits after it could not take a client.
const ACCEPT_AGAIN: std::time::Duration = std::time::Duration::from_millis(100);

/// `None`: no client is wanted any more.
async fn next_client(listener: &UnixListener, monitor: &Monitor) -> Option<UnixStream> {
    // Between clients nothing reads the monitor's lines, so nothing is lost by taking them here.
    let closed = monitor.closed();
    let accepted = async {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => return stream,
                // Too many open files, say. It may pass, and asking again at once would only burn time.
                Err(_) => tokio::time::sleep(ACCEPT_AGAIN).await,
            }
        }
    };
    tokio::select! {
        stream = accepted => Some(stream),
        () = closed => None,
    }
}

/// One client, from greeting to goodbye.
async fn converse(stream: UnixStream, monitor: &Monitor, quit: &Notify) {
    let (from, to) = stream.into_split();
    let (left, gone) = (Notify::new(), Notify::new());
    let listen = async {
        listen(from, monitor, &gone).await;
        // After `quit` there are lines to come, which say how the jobs ended; closing the monitor ends them.
        let end = if monitor.wants_quit() { quit } else { &left };
        end.notify_one();
    };
    tokio::join!(listen, talk(to, monitor, &left, &gone));
}

/// Commands in, until the client closes, quits, or can no longer be written to.
async fn listen(mut from: OwnedReadHalf, monitor: &Monitor, gone: &Notify) {
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let read = async {
            monitor.room().await;
            from.read(&mut buffer).await
        };
        let len = tokio::select! {
            read = read => read.unwrap_or(0),
            () = gone.notified() => 0,
            () = monitor.given_up() => 0,
        };
        if len == 0 {
            return;
        }
        // Outside the select: a command once begun runs to its end.
        monitor.receive(&buffer[..len]).await;
        if monitor.wants_quit() {
            return;
        }
    }
}

/// Lines out, until there are no more or the client cannot take them. One that left gets what is due to it.
async fn talk(mut to: OwnedWriteHalf, monitor: &Monitor, left: &Notify, gone: &Notify) {
    let mut has_left = false;
    loop {
        let line = tokio::select! {
            biased;
            line = monitor.next_output(), if !has_left => line,
            () = left.notified(), if !has_left => {
                has_left = true;
                continue;
            }
            else => monitor.try_output(),
        };
        let Some(mut line) = line else { break };
        line.push_str("\r\n");
        let written = tokio::select! {
            written = to.write_all(line.as_bytes()) => written.is_ok(),
            () = monitor.given_up() => false,
        };
        if !written {
            break;
        }
    }
    // Whoever waits for room to answer this client waits no longer.
    monitor.give_up();
    gone.notify_one();
}
