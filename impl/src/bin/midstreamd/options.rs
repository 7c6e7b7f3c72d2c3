//! The command line, and what its `key=value` texts mean.

use crate::socket::{Endpoint, SocketOptions};
use block::qmp::{json, keyval, options::Arguments, types::Object};
use clap::Parser;
use serde_json::Value;
use std::path::PathBuf;

/// Streams disk images, operated over QMP.
#[derive(Parser, Debug)]
#[command(name = "midstreamd", version, about)]
pub struct Options {
    /// Add a node: QMP's `blockdev-add` arguments as JSON or as key=value,...
    #[arg(long, value_name = "OPTIONS")]
    pub blockdev: Vec<String>,
    /// A unix socket: socket,id=ID,path=PATH[,server=on|off][,wait=off]
    #[arg(long, value_name = "OPTIONS")]
    pub chardev: Vec<String>,
    /// Speak QMP over a chardev: chardev=ID
    #[arg(long, value_name = "OPTIONS")]
    pub monitor: Vec<String>,
    /// Start an NBD server: addr.type=unix,addr.path=PATH[,max-connections=N]
    #[arg(long, value_name = "OPTIONS")]
    pub nbd_server: Vec<String>,
    /// Offer a node to NBD clients: [type=]nbd,id=ID,node-name=NODE[,name=NAME][,writable=on|off]
    #[arg(long, value_name = "OPTIONS")]
    pub export: Vec<String>,
    /// Make an object: [qom-type=]throttle-group,id=ID[,limits.LIMIT=N]...
    #[arg(long, value_name = "OPTIONS")]
    pub object: Vec<String>,
    /// Write the process id to this file
    #[arg(long, value_name = "FILE")]
    pub pidfile: Option<PathBuf>,
}

impl Options {
    /// Opens every chardev that a monitor uses; each may be used by one.
    pub fn endpoints(&self) -> Result<Vec<Endpoint>, String> {
        let mut sockets: Vec<SocketOptions> = Vec::new();
        for text in &self.chardev {
            let socket = socket_options(text).map_err(|why| format!("--chardev {text}: {why}"))?;
            if sockets.iter().any(|s| s.id == socket.id) {
                return Err(format!("--chardev {text}: Chardev with id '{}' already exists", socket.id));
            }
            sockets.push(socket);
        }
        let mut endpoints = Vec::new();
        for text in &self.monitor {
            let failed = |why: String| format!("--monitor {text}: {why}");
            let id = monitor_chardev(text).map_err(failed)?;
            let at = sockets.iter().position(|s| s.id == id);
            let at = at.ok_or_else(|| failed(format!("chardev \"{id}\" not found")))?;
            endpoints.push(Endpoint::open(sockets.swap_remove(at))?);
        }
        Ok(endpoints)
    }
}

/// What an option says, as JSON or as `key=value,...`; a first value without a key belongs to `implied`.
pub fn arguments(text: &str, implied: &str, expected: &'static Object) -> Result<Arguments, String> {
    if !text.starts_with('{') {
        return keyval::parse(text, implied, expected).map_err(|e| e.to_string());
    }
    match json::read(text) {
        Some(Ok(Value::Object(arguments))) => Ok(arguments),
        Some(Ok(_)) => Err("JSON object expected".to_owned()),
        Some(Err(e)) => Err(e.to_string()),
        None => Err("JSON parse error, premature EOI".to_owned()),
    }
}

fn monitor_chardev(text: &str) -> Result<String, String> {
    let mut chardev = None;
    for (key, value) in pairs(text, "chardev") {
        match (key.as_str(), value.as_str()) {
            ("chardev", id) => chardev = Some(id.to_owned()),
            ("mode", "control") => {}
            // Replies are one line each.
            ("pretty", "off") => {}
            _ => return Err(format!("Parameter '{key}={value}' is not supported")),
        }
    }
    chardev.ok_or_else(|| "Parameter 'chardev' is missing".to_owned())
}

fn socket_options(text: &str) -> Result<SocketOptions, String> {
    let (mut id, mut path, mut server) = (None, None, false);
    for (key, value) in pairs(text, "backend") {
        match (key.as_str(), value.as_str()) {
            ("backend", "socket") => {}
            ("backend", other) => return Err(format!("'{other}' is not a chardev this daemon has: socket")),
            ("id", value) => id = Some(value.to_owned()),
            ("path", value) => path = Some(PathBuf::from(value)),
            ("server", word) => server = truth(&key, word)?,
            // We never wait for a first client: it would hold up nodes and other monitors.
            ("wait", word) if !truth(&key, word)? => {}
            _ => return Err(format!("Parameter '{key}={value}' is not supported")),
        }
    }
    let id = id.filter(|id| !id.is_empty()).ok_or("chardev: no id specified")?;
    let path = path.filter(|path| !path.as_os_str().is_empty()).ok_or("Parameter 'path' is missing")?;
    Ok(SocketOptions { id, path, server })
}

fn truth(key: &str, word: &str) -> Result<bool, String> {
    match word {
        "on" | "yes" | "true" | "y" => Ok(true),
        "off" | "no" | "false" | "n" => Ok(false),
        _ => Err(format!("Parameter '{key}' expects 'on' or 'off'")),
    }
}

/// The options of a text; a first one without a key belongs to `implied`, a later one means `on`.
fn pairs(text: &str, implied: &str) -> Vec<(String, String)> {
    let parts = keyval::split(text).into_iter().enumerate();
    parts
        .map(|(index, part)| match part.split_once('=') {
            Some((key, value)) => (key.to_owned(), value.to_owned()),
            None if index == 0 => (implied.to_owned(), part),
            None => (part, "on".to_owned()),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chardev_says_where_and_in_which_role() {
        let socket = socket_options("socket,id=m,path=/run/a,,b,server=on,wait=off").unwrap();
        assert_eq!((socket.id.as_str(), socket.server), ("m", true));
        assert_eq!(socket.path, PathBuf::from("/run/a,b"));
        assert!(!socket_options("socket,id=m,path=s").unwrap().server);
        assert!(socket_options("socket,id=m,path=s,server").unwrap().server);
    }

    #[test]
    fn what_cannot_be_honoured_is_refused() {
        for (text, expected) in [
            ("stdio,id=m", "'stdio' is not a chardev this daemon has: socket"),
            ("socket,path=s", "chardev: no id specified"),
            ("socket,id=m", "Parameter 'path' is missing"),
            ("socket,id=m,path=s,server=maybe", "Parameter 'server' expects 'on' or 'off'"),
            ("socket,id=m,path=s,server=on,wait=on", "Parameter 'wait=on' is not supported"),
            ("socket,id=m,path=s,port=1", "Parameter 'port=1' is not supported"),
        ] {
            assert_eq!(socket_options(text).unwrap_err(), expected, "{text}");
        }
        assert_eq!(monitor_chardev("m"), Ok("m".to_owned()));
        assert_eq!(monitor_chardev("chardev=m,mode=control"), Ok("m".to_owned()));
        assert!(monitor_chardev("chardev=m,mode=readline").is_err());
        let blockdev = |text| arguments(text, "driver", &block::qmp::schema::BLOCKDEV_OPTIONS);
        assert_eq!(blockdev("{'driver':").unwrap_err(), "JSON parse error, premature EOI");
    }
}
