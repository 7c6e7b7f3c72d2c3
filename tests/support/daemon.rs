//! A running `midstreamd` and the QMP clients that talk to it.
//!
//! The tests listen and the daemon connects, so a client is there exactly when `accept` says so.

use serde_json::{Value, json};
use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{OnceLock, mpsc};
use std::time::{Duration, Instant};

/// How long anything may take before the test fails: a bound, not a wait.
const TIMEOUT: Duration = Duration::from_secs(60);

/// The daemon's binary, built if it is missing or old.
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        // TARGET/PROFILE/deps/this-test
        let test = std::env::current_exe().expect("a test knows where it is");
        let profile = test.ancestors().nth(2).expect("a test lies in deps").to_owned();
        let target = profile.parent().expect("a profile lies in the target folder");
        let mut build = Command::new(env!("CARGO"));
        // Together with the simulator, as the tests are: alone it would be built anew, with fewer features.
        build.args(["build", "--quiet", "--package", "midstream-block", "--package", "midstream-sim"]);
        build.args(["--bin", "midstreamd", "--bin", "midstream"]);
        build.current_dir(env!("CARGO_MANIFEST_DIR")).env("CARGO_TARGET_DIR", target);
        if profile.ends_with("release") {
            build.arg("--release");
        }
        let built = build.status().expect("cargo runs");
        assert!(built.success(), "midstreamd does not build");
        profile.join("midstreamd")
    })
}

/// The command, built beside it.
pub fn command() -> PathBuf {
    binary().with_file_name("midstream")
}

/// A daemon; killed when dropped.
#[derive(Debug)]
pub struct Daemon {
    process: Child,
}

impl Daemon {
    /// Starts a daemon whose sockets lie in `folder`, with as many clients as asked for.
    pub fn start<const CLIENTS: usize>(folder: &Path) -> (Daemon, [Client; CLIENTS]) {
        Daemon::start_program(binary(), folder)
    }

    /// The same with any daemon that takes these options.
    pub fn start_program<const CLIENTS: usize>(program: &Path, folder: &Path) -> (Daemon, [Client; CLIENTS]) {
        let mut command = Command::new(program);
        command.stdin(Stdio::null()).current_dir(folder);
        let listeners: [UnixListener; CLIENTS] = std::array::from_fn(|i| {
            let path = folder.join(format!("qmp{i}"));
            command.arg("--chardev").arg(format!("socket,id=m{i},path={}", path.display()));
            command.arg("--monitor").arg(format!("chardev=m{i}"));
            UnixListener::bind(path).expect("a fresh folder has room for a socket")
        });
        let daemon = Daemon { process: command.spawn().expect("the daemon's binary was built") };
        (daemon, listeners.map(|listener| Client::new(accept(listener))))
    }

    /// Starts a daemon with these arguments and no client.
    pub fn start_with(arguments: &[&str]) -> Daemon {
        let mut command = Command::new(binary());
        command.stdin(Stdio::null()).args(arguments);
        Daemon { process: command.spawn().expect("the daemon's binary was built") }
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Stops the process without warning, as SIGKILL does.
    pub fn kill(mut self) {
        self.process.kill().expect("the daemon runs");
        let status = self.process.wait().expect("a killed process ends");
        assert!(!status.success(), "the daemon had already ended by itself");
    }

    /// Waits for the daemon's own end.
    pub fn wait(mut self) -> ExitStatus {
        self.process.wait().expect("the daemon is our child")
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Fails only if it has ended, which is what we want.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A daemon that dies at its start would let us wait for ever.
fn accept(listener: UnixListener) -> UnixStream {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || sender.send(listener.accept()));
    let accepted = receiver.recv_timeout(TIMEOUT).expect("the daemon connects");
    accepted.expect("a connection").0
}

/// One QMP client.
#[derive(Debug)]
pub struct Client {
    lines: BufReader<UnixStream>,
    /// Events that came while a reply was waited for.
    events: VecDeque<Value>,
}

impl Client {
    /// Connects to a daemon that may not listen yet: tries until it does.
    pub fn connect(path: &Path) -> Client {
        let deadline = Instant::now() + TIMEOUT;
        loop {
            match UnixStream::connect(path) {
                Ok(stream) => return Client::new(stream),
                Err(e) => assert!(Instant::now() < deadline, "nobody listens at {}: {e}", path.display()),
            }
            std::thread::yield_now();
        }
    }

    fn new(stream: UnixStream) -> Client {
        stream.set_read_timeout(Some(TIMEOUT)).expect("a timeout");
        let mut client = Client { lines: BufReader::new(stream), events: VecDeque::new() };
        let greeting = client.line();
        assert!(greeting.get("QMP").is_some(), "{greeting}");
        client.done("qmp_capabilities", json!({}));
        client
    }

    /// Does a command: its answer, or the text it was refused with.
    pub fn execute(&mut self, command: &str, arguments: Value) -> Result<Value, String> {
        self.send(command, arguments);
        self.reply()
    }

    /// Says a command; its answer comes by `reply`.
    pub fn send(&mut self, command: &str, arguments: Value) {
        let text = json!({"execute": command, "arguments": arguments}).to_string();
        self.lines.get_mut().write_all(text.as_bytes()).expect("the daemon listens");
    }

    /// Says a message as it is, and waits for its answer.
    pub fn exchange(&mut self, message: &str) -> Result<Value, String> {
        self.lines.get_mut().write_all(message.as_bytes()).expect("the daemon listens");
        self.reply()
    }

    /// The next answer, or the text of a refusal; events before it are kept.
    pub fn reply(&mut self) -> Result<Value, String> {
        loop {
            let mut line = self.line();
            if line.get("event").is_some() {
                self.events.push_back(line);
            } else if let Some(error) = line.get("error") {
                return Err(error["desc"].as_str().expect("a text").to_owned());
            } else {
                return Ok(line["return"].take());
            }
        }
    }

    /// Does a command that must succeed.
    pub fn done(&mut self, command: &str, arguments: Value) -> Value {
        let answer = self.execute(command, arguments.clone());
        answer.unwrap_or_else(|refusal| panic!("{command} {arguments}: {refusal}"))
    }

    /// Waits for the next event of this name; those before it are passed over.
    pub fn event(&mut self, name: &str) -> Value {
        loop {
            let mut event = self.events.pop_front().unwrap_or_else(|| self.line());
            if event["event"] == name {
                return event["data"].take();
            }
        }
    }

    /// The first event that was kept while an answer was waited for.
    pub fn kept_event(&mut self) -> Option<Value> {
        self.events.pop_front()
    }

    /// Whether the daemon closes the connection without another word.
    pub fn reads_nothing_more(mut self) -> bool {
        let mut rest = Vec::new();
        self.lines.read_to_end(&mut rest).is_ok() && rest.is_empty()
    }

    /// The bare connection.
    pub fn into_stream(self) -> UnixStream {
        self.lines.into_inner()
    }

    /// Whether the daemon has closed the connection; what it sent before is passed over.
    pub fn reads_end(mut self) -> bool {
        let mut rest = Vec::new();
        self.lines.read_to_end(&mut rest).is_ok()
    }

    fn line(&mut self) -> Value {
        let mut line = String::new();
        self.lines.read_line(&mut line).expect("the daemon answers in time");
        serde_json::from_str(&line).unwrap_or_else(|e| panic!("not a message: {line:?}: {e}"))
    }
}
