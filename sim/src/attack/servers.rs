//! Hostile NBD servers: the daemon is their client. It opens their disk, reads it by a job, and closes it.

use super::monitor::execute;
use super::victim::{EXPORT_BYTES, Victim};
use crate::live::qmp::{Lost, Qmp};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// The socket in the daemon's folder.
const SOCKET: &str = "hostile";
/// So long a server listens to what its client still asks.
const TIMEOUT: Duration = Duration::from_millis(300);
/// So often a job is looked after: it fails as soon as its server has gone.
const LOOKS_MAX: u32 = 200;

/// What the next client is sent, whether that was the last one, and who it came from.
struct Server {
    listener: UnixListener,
    input: Mutex<Vec<u8>>,
    is_over: AtomicBool,
}

/// Lets the daemon meet servers, one after the other. Gives how many it met.
pub(super) fn servers(victim: &Victim, inputs: &[Vec<u8>]) -> Result<usize, String> {
    let listener = UnixListener::bind(victim.path(SOCKET)).map_err(|error| error.to_string())?;
    let server = Server { listener, input: Mutex::default(), is_over: AtomicBool::new(false) };
    let mut qmp = victim.monitor()?;
    std::thread::scope(|scope| {
        scope.spawn(|| serve(&server));
        let mut met = Ok(inputs.len());
        for (number, input) in inputs.iter().enumerate() {
            server.input.lock().expect("nobody panics with it").clone_from(input);
            match meet(&mut qmp, &format!("h{number}")) {
                Ok(()) => {}
                Err(Lost::Silent) => {
                    met = Ok(number + 1);
                    break;
                }
                Err(lost) => {
                    met = Err(format!("the monitor was lost: {lost}"));
                    break;
                }
            }
        }
        server.is_over.store(true, Ordering::Relaxed);
        // Its listener waits for somebody to come.
        let _comes = UnixStream::connect(victim.path(SOCKET));
        met
    })
}

fn serve(server: &Server) {
    for stream in server.listener.incoming() {
        if server.is_over.load(Ordering::Relaxed) {
            return;
        }
        let input = server.input.lock().expect("nobody panics with it").clone();
        let Ok(mut stream) = stream else { continue };
        let _may_block = stream.set_read_timeout(Some(TIMEOUT)).and(stream.set_write_timeout(Some(TIMEOUT)));
        let _refused = stream.write_all(&input);
        let _gone = stream.shutdown(Shutdown::Write);
        let mut piece = vec![0; 1 << 16];
        while stream.read(&mut piece).is_ok_and(|len| len > 0) {}
    }
}

fn meet(qmp: &mut Qmp, name: &str) -> Result<(), Lost> {
    let mut run = |command: &str, arguments: Value| -> Result<Value, Lost> {
        let reply = execute(qmp, &json!({"execute": command, "arguments": arguments}).to_string())?;
        Ok(serde_json::from_str(&reply).unwrap_or_default())
    };
    let server = json!({"type": "unix", "path": SOCKET});
    let node = json!({"driver": "nbd", "node-name": name, "server": server, "export": "e"});
    if run("blockdev-add", node)?.get("error").is_some() {
        return Ok(());
    }
    let target = format!("{name}-target");
    run("blockdev-add", json!({"driver": "null-co", "node-name": target, "size": EXPORT_BYTES}))?;
    run("blockdev-backup", json!({"job-id": name, "device": name, "target": target, "sync": "full"}))?;
    for _ in 0..LOOKS_MAX {
        if run("query-jobs", json!({}))?["return"] == json!([]) {
            break;
        }
    }
    run("blockdev-del", json!({"node-name": target}))?;
    run("blockdev-del", json!({"node-name": name}))?;
    Ok(())
}
