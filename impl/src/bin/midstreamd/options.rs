//! What the `key=value` texts of the command line mean.

use crate::socket::SocketOptions;
use block::qapi::{json, keyval, options::Arguments, types::Object};
use serde_json::Value;
use std::path::PathBuf;

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

/// Which chardev `--monitor` speaks over.
pub fn monitor_chardev(text: &str) -> Result<String, String> {
    let mut chardev = None;
    for (key, value) in pairs(text, "chardev") {
        match (key.as_str(), value.as_str()) {
            ("chardev", id) => chardev = Some(id.to_owned()),
            ("mode", "control") => {}
            // Replies are one line each.
            ("pretty", "off") => {}
            ("mode" | "pretty", _) => return Err(format!("Parameter '{key}={value}' is not supported")),
            _ => return Err(format!("Parameter '{key}' is unexpected")),
        }
    }
    chardev.ok_or_else(|| "Parameter 'chardev' is missing".to_owned())
}

/// The socket that `--chardev` means.
pub fn socket_options(text: &str) -> Result<SocketOptions, String> {
    let (mut id, mut path, mut server) = (None, None, false);
    for (key, value) in pairs(text, "backend") {
        match (key.as_str(), value.as_str()) {
            ("backend", "socket") => {}
            ("backend", other) => return Err(format!("'{other}' is not a valid char driver name")),
            ("id", value) => id = Some(value.to_owned()),
            ("path", value) => path = Some(PathBuf::from(value)),
            ("server", word) => server = truth(&key, word)?,
            // We never wait for a first client: it would hold up nodes and other monitors.
            ("wait", word) if !truth(&key, word)? => {}
            ("wait", _) => return Err(format!("Parameter '{key}={value}' is not supported")),
            _ => return Err(format!("Invalid parameter '{key}'")),
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
            ("stdio,id=m", "'stdio' is not a valid char driver name"),
            ("socket,path=s", "chardev: no id specified"),
            ("socket,id=m", "Parameter 'path' is missing"),
            ("socket,id=m,path=s,server=maybe", "Parameter 'server' expects 'on' or 'off'"),
            ("socket,id=m,path=s,server=on,wait=on", "Parameter 'wait=on' is not supported"),
            ("socket,id=m,path=s,port=1", "Invalid parameter 'port'"),
        ] {
            assert_eq!(socket_options(text).unwrap_err(), expected, "{text}");
        }
        assert_eq!(monitor_chardev("m"), Ok("m".to_owned()));
        assert_eq!(monitor_chardev("chardev=m,mode=control"), Ok("m".to_owned()));
        assert!(monitor_chardev("chardev=m,mode=readline").is_err());
        let blockdev = |text| arguments(text, "driver", &block::qapi::schema::BLOCKDEV_OPTIONS);
        assert_eq!(blockdev("{'driver':").unwrap_err(), "JSON parse error, premature EOI");
    }
}
