//! A daemon behind its sockets, with real files: any that takes the real storage daemon's options.
//!
//! The image tools `qemu-img` and `qemu-io` make its images and look at them afterwards; without them nothing is played.

pub(crate) mod socket;
mod tools;

use super::admit::Change;
use super::case::Image;
use super::nbd::{self, Wire};
use super::subject::{Answer, Connection, Disconnected, End, Lost, Request, Subject};
use crate::fence;
use crate::version;
use serde_json::{Map, Value, json};
use socket::{NbdSocket, QmpSocket, accept};
use std::collections::VecDeque;
use std::fs::{self, File};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// How long an answer may take.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// How long the end may take.
const END_MAX: Duration = Duration::from_secs(15);
/// Between two looks whether the process has ended: nothing reports that.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// A daemon.
#[derive(Debug)]
pub struct Daemon {
    binary: PathBuf,
    /// The operator trusts the cases.
    runs_programs: bool,
    folder: PathBuf,
    /// The folder as text.
    folder_text: String,
    process: Option<Child>,
    qmp: Option<QmpSocket>,
    events: VecDeque<Value>,
    connections: Vec<(NbdSocket, u64)>,
}

/// Why no daemon can be played on: its file, or a tool that is missing.
pub fn missing(binary: &Path) -> Option<String> {
    if !binary.is_file() {
        return Some(format!("{} is not a file", binary.display()));
    }
    version::check(binary, &["qemu-storage-daemon", "midstreamd"]).err().or_else(tools::missing)
}

impl Daemon {
    /// A daemon that is not started yet, in a fresh folder.
    ///
    /// Programs that cases name are run only if `runs_programs`.
    pub fn new(binary: &Path, runs_programs: bool) -> std::io::Result<Daemon> {
        static FOLDERS: AtomicU64 = AtomicU64::new(0);
        let number = FOLDERS.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().canonicalize()?.join(format!("cnf{}x{number}", std::process::id()));
        fs::create_dir(&folder)?;
        Ok(Daemon {
            binary: binary.canonicalize()?,
            runs_programs,
            folder_text: folder.display().to_string(),
            folder,
            process: None,
            qmp: None,
            events: VecDeque::new(),
            connections: Vec::new(),
        })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The next reply; events on the way are kept.
    fn next_reply(&mut self, deadline: Instant) -> Result<Value, Lost> {
        loop {
            let message = self.qmp.as_mut().ok_or(Lost::Died)?.message(deadline)?;
            if message.get("event").is_some() {
                self.events.push_back(message);
            } else {
                return Ok(message);
            }
        }
    }

    /// Waits for the end of the process. `None`: it does not end.
    fn wait(&mut self) -> Option<i32> {
        let process = self.process.as_mut()?;
        let deadline = Instant::now() + END_MAX;
        let (_nobody_speaks, silence) = mpsc::channel::<()>();
        loop {
            if let Ok(Some(status)) = process.try_wait() {
                return status.code().or_else(|| status.signal().map(|signal| -signal));
            }
            if Instant::now() > deadline {
                return None;
            }
            let _time_passes = silence.recv_timeout(LOOK_AGAIN);
        }
    }

    fn kill(&mut self) -> i32 {
        let Some(process) = self.process.as_mut() else {
            return 0;
        };
        // Fails only if it has ended, which is what we want.
        let _ended = process.kill();
        let status = process.wait().ok();
        status.and_then(|status| status.code().or_else(|| status.signal().map(|signal| -signal))).unwrap_or(0)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.kill();
        // A folder that stays behind in the folder for temporary files harms nobody.
        let _stays = fs::remove_dir_all(&self.folder);
    }
}

impl Subject for Daemon {
    fn folder(&self) -> &str {
        &self.folder_text
    }

    fn make_images(&mut self, images: &[Image]) -> Vec<Value> {
        images.iter().filter_map(|image| tools::make(image, &self.folder)).collect()
    }

    fn start(&mut self, arguments: &[String]) -> Result<(), Lost> {
        let path = self.path("qmp.sock");
        let listener = UnixListener::bind(&path).map_err(|_| Lost::Died)?;
        let output = File::create(self.path("stderr.txt")).map_err(|_| Lost::Died)?;
        let output_too = output.try_clone().map_err(|_| Lost::Died)?;
        let nbd = format!("addr.type=unix,addr.path={},max-connections=16", self.path("nbd.sock").display());
        let mut command = Command::new(&self.binary);
        command
            .current_dir(&self.folder)
            .arg("--chardev")
            .arg(format!("socket,id=m,path={}", path.display()))
            .args(["--monitor", "chardev=m", "--nbd-server", &nbd])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(output_too);
        self.process = Some(fence::spawn(&mut command, &self.folder).map_err(|_| Lost::Died)?);
        let stream = accept(listener, &path, ANSWER_MAX).ok_or(Lost::Hung)?;
        self.qmp = Some(QmpSocket::new(stream));
        self.next_reply(Instant::now() + ANSWER_MAX)?;
        self.execute(&json!({"execute": "qmp_capabilities"}).to_string()).map(drop)
    }

    fn execute(&mut self, text: &str) -> Result<Value, Lost> {
        let deadline = Instant::now() + ANSWER_MAX;
        self.qmp.as_mut().ok_or(Lost::Died)?.send(text)?;
        self.next_reply(deadline)
    }

    fn pass(&mut self, seconds: f64) -> Result<(), Lost> {
        let deadline = Instant::now() + Duration::from_secs_f64(seconds);
        loop {
            match self.next_reply(deadline) {
                // Nobody waits for it: a text held more than one command.
                Ok(_) => {}
                Err(Lost::Hung) => return Ok(()),
                Err(lost) => return Err(lost),
            }
        }
    }

    fn take_events(&mut self) -> Vec<Value> {
        self.events.drain(..).collect()
    }

    fn connect(&mut self, export: &str) -> Result<Connection, Disconnected> {
        let stream = UnixStream::connect(self.path("nbd.sock"));
        let mut socket = stream.and_then(|stream| NbdSocket::new(stream, ANSWER_MAX));
        let wire = socket.as_mut().map_err(|error| Disconnected(error.to_string()))?;
        let len_bytes = nbd::hello(wire, export)?;
        self.connections.extend(socket.ok().map(|socket| (socket, 0)));
        Ok(Connection { id: self.connections.len() - 1, len_bytes })
    }

    fn request(&mut self, connection: usize, request: Request<'_>) -> Result<Answer, Disconnected> {
        let (wire, requests) = &mut self.connections[connection];
        *requests += 1;
        nbd::request(wire as &mut dyn Wire, *requests, request)
    }

    fn disconnect(&mut self, connection: usize) {
        let (wire, _) = &mut self.connections[connection];
        nbd::goodbye(wire);
        wire.close();
    }

    fn host(&mut self, program: &[String]) -> Option<Value> {
        if let Some(change) = Change::of(program) {
            return Some(match tools::change(&change, &self.folder) {
                Ok(()) => json!({"rc": 0, "out": "", "err": ""}),
                Err(error) => json!({"rc": 1, "out": "", "err": error.to_string()}),
            });
        }
        if !self.runs_programs {
            return None;
        }
        let words: Vec<&str> = program.iter().map(String::as_str).collect();
        let run = tools::run_freely(&words, &self.folder);
        Some(json!({"rc": run.code, "out": run.out, "err": run.error}))
    }

    fn stop(&mut self, lost: Option<Lost>) -> End {
        let mut end = End::default();
        if lost.is_none() && self.execute(&json!({"execute": "quit"}).to_string()).is_ok() {
            // Its last events come before it closes the connection.
            let _closed = self.pass(END_MAX.as_secs_f64());
        }
        let ended = if matches!(lost, Some(Lost::Hung | Lost::Flooding)) { None } else { self.wait() };
        end.hung = ended.is_none() && lost.is_none();
        end.exit = ended.unwrap_or_else(|| self.kill());
        let output = fs::read(self.path("stderr.txt")).unwrap_or_default();
        end.stderr = String::from_utf8_lossy(&output).into_owned();
        end
    }

    fn offline(&mut self, images: &[Image]) -> Map<String, Value> {
        images.iter().map(|image| (image.file.clone(), tools::look(image, &self.folder))).collect()
    }
}
