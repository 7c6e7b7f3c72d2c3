//! What the options ask for, done one after the other; the first that fails ends the start.

use crate::command_line::Act;
use crate::options::{self, arguments};
use crate::pid_file::PidFile;
use crate::place::Places;
use crate::socket::Endpoint;
use block::engine::Engine;
use block::qapi::check;
use block::qapi::schema::{BLOCKDEV_OPTIONS, exports};
use block::qapi::types::Object;
use block::qmp::{dispatch, export_options};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// What the options have brought so far.
#[derive(Debug, Default)]
pub struct SetUp {
    /// Sockets by their id. Nothing: a monitor has it.
    chardevs: BTreeMap<String, Option<Endpoint>>,
    /// Where QMP is to be spoken.
    pub monitors: Vec<Endpoint>,
    places: Places,
}

impl SetUp {
    /// Nothing yet; sockets will go to these places.
    pub fn new(places: Places) -> SetUp {
        SetUp { places, ..SetUp::default() }
    }

    /// Writes the process id, if so asked.
    pub fn pid_file(&self, path: Option<&Path>) -> Result<Option<PidFile>, String> {
        path.map(|path| PidFile::create(path, &self.places)).transpose()
    }

    /// Does what one option asks for.
    pub async fn act(&mut self, engine: &Arc<Engine>, act: Act, text: &str) -> Result<(), String> {
        let done = match act {
            Act::Blockdev => execute(engine, text, "blockdev-add", "driver", &BLOCKDEV_OPTIONS).await,
            Act::Export => execute(engine, text, "block-export-add", "type", &exports::EXPORT_OPTIONS).await,
            Act::Object => execute(engine, text, "object-add", "qom-type", &exports::OBJECT_OPTIONS).await,
            Act::NbdServer => start_server(engine, text),
            Act::Chardev => self.open_chardev(text),
            Act::Monitor => self.add_monitor(text),
        };
        done.map_err(|why| format!("--{} {text}: {why}", act.name()))
    }

    fn open_chardev(&mut self, text: &str) -> Result<(), String> {
        let socket = options::socket_options(text)?;
        if self.chardevs.contains_key(&socket.id) {
            return Err(format!("Chardev with id '{}' already exists", socket.id));
        }
        let id = socket.id.clone();
        self.chardevs.insert(id, Some(Endpoint::open(&socket, &self.places)?));
        Ok(())
    }

    fn add_monitor(&mut self, text: &str) -> Result<(), String> {
        let id = options::monitor_chardev(text)?;
        let chardev = self.chardevs.get_mut(&id).ok_or_else(|| format!("chardev \"{id}\" not found"))?;
        self.monitors.push(chardev.take().ok_or_else(|| format!("chardev \"{id}\" is already in use"))?);
        Ok(())
    }
}

/// Does the QMP command an option stands for.
async fn execute(
    engine: &Arc<Engine>,
    text: &str,
    command: &str,
    implied: &str,
    expected: &'static Object,
) -> Result<(), String> {
    let arguments = arguments(text, implied, expected)?;
    let done = dispatch::run_named(engine, command, arguments).await;
    done.map(|_nothing| ()).map_err(|refusal| refusal.description)
}

fn start_server(engine: &Arc<Engine>, text: &str) -> Result<(), String> {
    let expected = &exports::SERVER_OPTIONS_FLAT;
    let arguments = arguments(text, "", expected)?;
    check::check(&arguments, expected).map_err(|fault| fault.to_string())?;
    let options = export_options::server_flat(&arguments).map_err(|refusal| refusal.description)?;
    engine.nbd_server_start(&options).map_err(|refused| refused.to_string())
}
