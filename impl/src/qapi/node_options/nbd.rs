//! Checked arguments about a disk behind an NBD server.

use crate::command::DriverOptions;
use crate::nbd::client::Wishes;
use crate::qapi::options::{Arguments, CHECKED, integer, owned_text, text, truth};
use crate::qapi::refusal::Refusal;
use crate::remote::Server;
use seam::Nanos;
use seam::address::{Address, IpVersion};

/// The driver and what it needs.
pub(super) fn driver(arguments: &Arguments) -> Result<DriverOptions, Refusal> {
    let server = Server {
        address: address(arguments["server"].as_object().expect(CHECKED))?,
        wishes: Wishes {
            export: owned_text(arguments, "export").unwrap_or_default(),
            context: owned_text(arguments, "x-dirty-bitmap"),
        },
        reconnect_delay: seconds(arguments, "reconnect-delay")?,
        open_timeout: seconds(arguments, "open-timeout")?,
    };
    Ok(DriverOptions::Nbd { server, tls_creds: owned_text(arguments, "tls-creds") })
}

fn address(server: &Arguments) -> Result<Address, Refusal> {
    if text(server, "type") == "unix" {
        return Ok(Address::Unix { path: text(server, "path").to_owned() });
    }
    let version = match (truth(server, "ipv4"), truth(server, "ipv6")) {
        (Some(false), Some(false)) => {
            return Err(Refusal::generic("Cannot disable IPv4 and IPv6 at same time"));
        }
        (Some(true), Some(true)) => None,
        (_, Some(true)) | (Some(false), _) => Some(IpVersion::V6),
        (Some(true), _) | (_, Some(false)) => Some(IpVersion::V4),
        (None, None) => None,
    };
    Ok(Address::Inet {
        host: text(server, "host").to_owned(),
        port: text(server, "port").to_owned(),
        version,
    })
}

fn seconds(arguments: &Arguments, name: &str) -> Result<Nanos, Refusal> {
    let given = integer(arguments, name).map_or(Ok(0), u32::try_from);
    let given = given.map_err(|_| Refusal::generic(format!("Parameter '{name}' expects uint32_t")))?;
    Ok(Nanos(u64::from(given) * Nanos::SECOND.0))
}
