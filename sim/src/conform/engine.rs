//! The engine in this process: simulated disks, virtual time, QMP text and NBD bytes as any client would send them.

mod image;
mod layers;
pub(crate) mod memory;
mod offline;
mod world;

use super::admit::Change;
use super::case::Image;
use super::names::Names;
use super::nbd::{self, Wire};
use super::subject::{Answer, Connection, Disconnected, End, Lost, Request, Subject};
use block::engine::NOT_DURABLE;
use layers::Files;
use midstream::world::disk::File;
use midstream::world::socket;
use seam::Stream;
use serde_json::{Map, Value, json};
use std::collections::VecDeque;
use world::World;

/// The folder of every case: nothing else is called so.
const FOLDER: &str = "/conform/q7z5";
/// How long an answer may take, in virtual seconds.
const ANSWER_SECONDS_MAX: f64 = 10.0;

/// The engine in this process.
#[derive(Debug, Default)]
pub struct Inside {
    files: Files,
    world: Option<World>,
    events: VecDeque<Value>,
    connections: Vec<Client>,
}

#[derive(Debug)]
struct Client {
    end: socket::End,
    requests: u64,
}

impl Inside {
    /// An engine that has not been started.
    pub fn new() -> Inside {
        Inside::default()
    }

    fn world(&mut self) -> &mut World {
        self.world.as_mut().expect("the player starts it before anything else")
    }

    /// Takes what the monitor has to say, up to and with the next reply.
    fn next_reply(&mut self) -> Option<Value> {
        while let Some(line) = self.world().monitor.try_output() {
            let message: Value = serde_json::from_str(&line).expect("the engine writes JSON");
            if message.get("event").is_some() {
                self.events.push_back(message);
            } else {
                return Some(message);
            }
        }
        None
    }

    fn command(&mut self, name: &str, arguments: Value) -> Result<(), Lost> {
        let reply = self.execute(&json!({"execute": name, "arguments": arguments}).to_string())?;
        assert!(reply.get("return").is_some(), "{name} at the start or the end: {reply}");
        Ok(())
    }

    fn wire(&mut self, connection: usize) -> (PipedWire<'_>, u64) {
        let client = &mut self.connections[connection];
        client.requests += 1;
        let (end, cookie) = (client.end.clone(), client.requests);
        (PipedWire { world: self.world(), end }, cookie)
    }
}

/// A connection's bytes, inside.
struct PipedWire<'w> {
    world: &'w mut World,
    end: socket::End,
}

impl Wire for PipedWire<'_> {
    fn send(&mut self, data: &[u8]) -> Result<(), Disconnected> {
        self.end.send(data).map_err(|_| Disconnected("disconnected".to_owned()))
    }

    fn receive(&mut self, len: usize) -> Result<Vec<u8>, Disconnected> {
        let received = self.world.receive(&self.end, len, ANSWER_SECONDS_MAX);
        received.ok_or_else(|| Disconnected("disconnected".to_owned()))
    }
}

impl Subject for Inside {
    fn folder(&self) -> &str {
        FOLDER
    }

    fn make_images(&mut self, images: &[Image]) -> Vec<Value> {
        let names = Names::new(FOLDER);
        let mut wrong = Vec::new();
        for image in images {
            if let Err(why) = image::make(image, FOLDER, &names, &mut self.files) {
                wrong.push(json!({"file": image.file, "create_error": why}));
            }
        }
        wrong
    }

    fn start(&mut self, arguments: &[String]) -> Result<(), Lost> {
        let files = std::mem::take(&mut self.files);
        let files = files.into_iter().map(|(path, bytes)| File::new(&path, bytes)).collect();
        self.world = Some(World::new(files, FOLDER));
        let greeting = self.next_reply();
        assert!(greeting.is_some_and(|greeting| greeting.get("QMP").is_some()), "the greeting comes first");
        self.command("qmp_capabilities", json!({}))?;
        let address = json!({"type": "unix", "data": {"path": nbd_path()}});
        self.command("nbd-server-start", json!({"addr": address, "max-connections": 16}))?;
        for option in arguments.chunks(2) {
            let [name, value] = option else { panic!("{option:?} is not an option with its value") };
            let object = value.split_once(",id=").filter(|_| name == "--object");
            let (kind, id) = object.unwrap_or_else(|| panic!("nobody knows what {name} {value} is to do"));
            self.command("object-add", json!({"qom-type": kind, "id": id}))?;
        }
        Ok(())
    }

    fn execute(&mut self, text: &str) -> Result<Value, Lost> {
        let world = self.world();
        let monitor = world.monitor.clone();
        let bytes = [text.as_bytes(), b"\r\n"].concat();
        let done = world.run(ANSWER_SECONDS_MAX, async move { monitor.receive(&bytes).await });
        done.ok_or(Lost::Hung)?;
        self.next_reply().ok_or(Lost::Hung)
    }

    fn pass(&mut self, seconds: f64) -> Result<(), Lost> {
        self.world().pass(seconds);
        // A reply that nobody waits for belongs to a text that held more than one command.
        while self.next_reply().is_some() {}
        Ok(())
    }

    fn take_events(&mut self) -> Vec<Value> {
        self.events.drain(..).collect()
    }

    fn connect(&mut self, export: &str) -> Result<Connection, Disconnected> {
        let connected = self.world().host.connect(&nbd_path());
        let end = connected.ok_or_else(|| Disconnected("nobody listens".to_owned()))?;
        let id = self.connections.len();
        self.connections.push(Client { end, requests: 0 });
        let (mut wire, _) = self.wire(id);
        match nbd::hello(&mut wire, export) {
            Ok(len_bytes) => Ok(Connection { id, len_bytes }),
            Err(refused) => {
                self.connections[id].end.shut_down();
                Err(refused)
            }
        }
    }

    fn request(&mut self, connection: usize, request: Request<'_>) -> Result<Answer, Disconnected> {
        let (mut wire, cookie) = self.wire(connection);
        nbd::request(&mut wire, cookie, request)
    }

    fn disconnect(&mut self, connection: usize) {
        let (mut wire, _) = self.wire(connection);
        nbd::goodbye(&mut wire);
        wire.end.shut_down();
    }

    fn host(&mut self, program: &[String]) -> Option<Value> {
        match Change::of(program)? {
            // Whoever runs as root may write all the same, so nothing is different.
            Change::Mode { .. } => {}
            Change::Bytes { file, offset, byte, len } => {
                let host = &self.world().host;
                let mut core = host.core();
                let file = core.disks.find(&format!("{FOLDER}/{file}"))?;
                let offset = usize::try_from(offset).ok()?;
                core.disks.files[file as usize].bytes.get_mut(offset..offset + len)?.fill(byte);
            }
        }
        Some(json!({"rc": 0, "out": "", "err": ""}))
    }

    fn stop(&mut self, lost: Option<Lost>) -> End {
        if self.world.is_none() {
            return End::default();
        }
        if lost.is_none() && self.command("quit", json!({})).is_err() {
            return End { hung: true, ..End::default() };
        }
        let world = self.world();
        let engine = world.engine.clone();
        let ended = world.run(ANSWER_SECONDS_MAX, async move {
            let _alone = engine.commands().drain().await;
            engine.quit().await;
        });
        while self.next_reply().is_some() {}
        let world = self.world();
        let mut stderr = std::mem::take(&mut world.host.core().reported);
        let mut exit = 0;
        if let Some(errno) = world.engine.lost() {
            // As the daemon ends.
            stderr += &format!("midstreamd: {NOT_DURABLE}: {errno}\n");
            exit = 1;
        }
        End { hung: ended.is_none(), exit, stderr }
    }

    fn offline(&mut self, images: &[Image]) -> Map<String, Value> {
        if let Some(world) = self.world.take() {
            let files = std::mem::take(&mut world.host.core().disks.files);
            self.files = files.into_iter().map(|file| (file.path, file.bytes)).collect();
        }
        let look = |image: &Image| {
            let path = format!("{FOLDER}/{}", image.file);
            (image.file.clone(), offline::look(image, &path, &self.files))
        };
        images.iter().map(look).collect()
    }
}

fn nbd_path() -> String {
    format!("{FOLDER}/nbd.sock")
}
