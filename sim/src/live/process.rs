//! One daemon process in its own folder, behind its own sockets, ended by its id.
//!
//! A process serves one sequence. To start one with its nodes takes 7 ms of processor time; the daemon reads its monitor
//! byte by byte, 4 us each, so that to empty one with commands, to prove it empty and to fill it again takes longer.

use super::qmp::{Lost, Qmp};
use super::timeout::{Over, Timeout};
use crate::conform::daemon::socket::{NbdSocket, accept};
use crate::fence;
use block::engine::NOT_DURABLE;
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, setrlimit};
use seam::escape::one_line;
use serde_json::Value;
use std::fs::{self, File};
use std::io;
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Once, mpsc};
use std::time::{Duration, Instant};

/// How long any answer may take: a verdict, so far longer than a busy machine needs.
pub const ANSWER_MAX: Duration = Duration::from_secs(8);
/// Between two looks whether the process has ended: nothing reports that.
const LOOK_AGAIN: Duration = Duration::from_micros(500);
/// A silent process is watched for so long to see whether it is busy,
const SPIN_LOOK: Duration = Duration::from_millis(400);
/// and is if it uses at least so many hundredths of a second of that: few, for others may need the machine too, and one
/// that waits uses none.
const SPIN_TICKS: u64 = 4;
/// What is kept of its standard error.
const STDERR_BYTES_MAX: usize = 8 << 10;

/// A scratch folder, gone with its owner.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
    text: String,
}

impl Scratch {
    /// A fresh folder: in memory where the system has such a place and nobody asked for another.
    pub fn new() -> io::Result<Scratch> {
        static FOLDERS: AtomicU64 = AtomicU64::new(0);
        let number = FOLDERS.fetch_add(1, Ordering::Relaxed);
        let memory = Path::new("/dev/shm");
        let parent = match std::env::var_os("TMPDIR") {
            None if memory.is_dir() => memory.to_owned(),
            _ => std::env::temp_dir().canonicalize()?,
        };
        // Short, for its name stands in headers and socket addresses.
        let path = parent.join(format!("mslive{}x{number}", std::process::id()));
        fs::create_dir(&path)?;
        Ok(Scratch { text: path.display().to_string(), path })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The folder as text.
    pub fn text(&self) -> &str {
        &self.text
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // A folder that stays behind in the folder for temporary files harms nobody.
        let _stays = fs::remove_dir_all(&self.path);
    }
}

/// A running daemon.
#[derive(Debug)]
pub struct Process {
    child: Child,
    folder: PathBuf,
    /// Its monitor, greeted.
    pub qmp: Qmp,
    /// The number of QEMU's release that it goes by: major, minor, micro.
    pub number: [u64; 3],
}

/// How a process ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ended {
    /// Its status in words: `signal 11`, `status 0`.
    pub how: String,
    /// Whether it ended as it should after `quit`.
    pub is_clean: bool,
    /// The end of what it wrote to its standard error.
    pub stderr: String,
}

impl Process {
    /// Starts the daemon in `folder` with `nodes`, each as the options of `blockdev-add`, and takes its greeting.
    pub fn start(binary: &Path, folder: &Path, nodes: &[String]) -> Result<Process, String> {
        let path = folder.join("qmp.sock");
        let failed = |error: io::Error| error.to_string();
        let listener = UnixListener::bind(&path).map_err(failed)?;
        let output = File::create(folder.join("stderr.txt")).map_err(failed)?;
        let output_too = output.try_clone().map_err(failed)?;
        let nbd =
            format!("addr.type=unix,addr.path={},max-connections=64", folder.join("nbd.sock").display());
        allow_core_files();
        let mut command = Command::new(binary);
        command
            .current_dir(folder)
            // Where a daemon of ours fell, its core shows; what it said must not drown in that.
            .env("RUST_BACKTRACE", "0")
            // Before the monitor, which comes to its socket when they are there.
            .args(nodes.iter().flat_map(|node| ["--blockdev", node]))
            .arg("--chardev")
            .arg(format!("socket,id=m,path={}", path.display()))
            .args(["--monitor", "chardev=m", "--nbd-server", &nbd])
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(output_too);
        let child = fence::spawn(&mut command, folder).map_err(failed)?;
        let folder = folder.to_owned();
        let Some(stream) = accept(listener, &path, ANSWER_MAX) else {
            let mut child = child;
            let _ended = child.kill();
            let _reaped = child.wait();
            return Err(format!("it never came to its socket; it said: {}", stderr(&folder)));
        };
        let mut process = Process { child, folder, qmp: Qmp::new(stream), number: [0; 3] };
        match process.greet() {
            Ok(number) => {
                process.number = number;
                Ok(process)
            }
            Err(why) => Err(format!("it did not greet: {why}; it said: {}", stderr(&process.folder))),
        }
    }

    /// Takes the greeting and negotiates. Gives the number of QEMU's release that stands in it.
    fn greet(&mut self) -> Result<[u64; 3], String> {
        let deadline = Some(Instant::now() + ANSWER_MAX);
        let lost = |lost: Lost| lost.to_string();
        let greeting = self.qmp.line(deadline).map_err(lost)?;
        self.qmp.send(r#"{"execute":"qmp_capabilities"}"#).map_err(lost)?;
        self.qmp.line(deadline).map_err(lost)?;
        number_in(&greeting).ok_or_else(|| format!("no version stands in `{}`", one_line(&greeting)))
    }

    /// A connection to its NBD server.
    pub fn nbd(&self) -> io::Result<NbdSocket> {
        NbdSocket::new(UnixStream::connect(self.folder.join("nbd.sock"))?, ANSWER_MAX)
    }

    /// Its number in the system.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it is busy though nobody asks anything of it.
    pub fn spins(&self) -> bool {
        let before = self.ticks();
        let (_nobody_speaks, silence) = mpsc::channel::<()>();
        let _time_passes = silence.recv_timeout(SPIN_LOOK);
        before.zip(self.ticks()).is_some_and(|(before, after)| after - before >= SPIN_TICKS)
    }

    /// The time it has used, in the system's hundredths of a second (proc(5): fields 14 and 15).
    pub fn ticks(&self) -> Option<u64> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.id())).ok()?;
        // The second field is a name in brackets, which may hold anything.
        let after_name = stat.rsplit_once(')')?.1;
        let fields: Vec<&str> = after_name.split_whitespace().collect();
        Some(fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?)
    }

    /// The next line on its monitor, waited for until the timeout.
    pub fn line(&mut self, timeout: &mut Timeout) -> Result<String, Lost> {
        loop {
            match self.qmp.line(Some(timeout.next_look())) {
                Err(Lost::Silent) => {}
                came => return came,
            }
            match timeout.look(self.ticks()) {
                None => {}
                Some(Over::Late) => return Err(Lost::Silent),
                Some(Over::Spins) => return Err(Lost::Spinning),
            }
        }
    }

    /// Waits for its end. `None`: it does not end.
    pub fn wait(&mut self) -> Option<Ended> {
        wait(&mut self.child).map(|status| self.ended(status))
    }

    /// Kills it.
    pub fn kill(&mut self) {
        // Fails only if it has ended, which is what we want.
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }

    /// Asks it to end, by SIGTERM.
    pub fn terminate(&self) {
        if let Some(id) = i32::try_from(self.id()).ok().and_then(Pid::from_raw) {
            // Fails only if it has ended.
            let _ended = kill_process(id, Signal::TERM);
        }
    }

    /// What it has said on its standard error.
    pub fn stderr(&self) -> String {
        stderr(&self.folder)
    }

    fn ended(&self, status: ExitStatus) -> Ended {
        Ended {
            how: in_words(status),
            is_clean: status.success() || (status.code() == Some(1) && self.stderr().contains(NOT_DURABLE)),
            stderr: self.stderr(),
        }
    }
}

/// `signal 11`, `status 0`.
pub(crate) fn in_words(status: ExitStatus) -> String {
    match (status.signal(), status.code()) {
        (Some(signal), _) => format!("signal {signal}"),
        (None, code) => format!("status {}", code.unwrap_or(-1)),
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Waits for a process to end, as long as for any answer. `None`: it does not.
pub(super) fn wait(child: &mut Child) -> Option<ExitStatus> {
    let deadline = Instant::now() + ANSWER_MAX;
    let (_nobody_speaks, silence) = mpsc::channel::<()>();
    loop {
        if let Ok(Some(status)) = child.try_wait() {
            return Some(status);
        }
        if Instant::now() > deadline {
            return None;
        }
        let _time_passes = silence.recv_timeout(LOOK_AGAIN);
    }
}

fn stderr(folder: &Path) -> String {
    let output = fs::read(folder.join("stderr.txt")).unwrap_or_default();
    let from = output.len().saturating_sub(STDERR_BYTES_MAX);
    String::from_utf8_lossy(&output[from..]).replace(&folder.display().to_string(), "").trim().to_owned()
}

/// Lets what this process starts write core files, each into its own folder.
fn allow_core_files() {
    static ALLOWED: Once = Once::new();
    ALLOWED.call_once(|| {
        let limit = Rlimit { current: getrlimit(Resource::Core).maximum, ..getrlimit(Resource::Core) };
        // Without a core file a crash is reported without its stack.
        let _allowed = setrlimit(Resource::Core, limit);
    });
}

/// The number of QEMU's release in a greeting.
fn number_in(greeting: &str) -> Option<[u64; 3]> {
    let greeting: Value = serde_json::from_str(greeting).ok()?;
    let version = &greeting["QMP"]["version"]["qemu"];
    let part = |name: &str| version[name].as_u64();
    Some([part("major")?, part("minor")?, part("micro")?])
}
