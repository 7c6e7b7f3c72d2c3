//! The daemon under attack: confined to a fresh folder, with little memory for images, a few nodes and exports to meddle with,
//! and two monitors, one for who attacks and one for who watches.

use super::watch::{Watch, Watched};
use crate::conform::daemon::socket::accept;
use crate::fence;
use crate::live::process::{Scratch, in_words};
use crate::live::qmp::Qmp;
use block::engine::NOT_DURABLE;
use rustix::process::{Pid, Signal, kill_process};
use std::fs::{self, File};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// How long an answer on the other monitor is waited for: a hang, then. What is late already is reported as late.
pub(super) const ANSWER_MAX: Duration = Duration::from_secs(30);
/// How long a daemon may take to its end after it was asked to end.
const END_MAX: Duration = Duration::from_secs(5);
/// A machine under load may need so much more.
const END_SLACK: Duration = Duration::from_secs(5);
const LOOK_AGAIN: Duration = Duration::from_micros(500);
/// The length of the exports.
pub(super) const EXPORT_BYTES: u64 = 1 << 20;
/// Nodes that are there from the start, and the exports `rw` and `ro`.
const NODES: [&str; 5] = [
    "driver=null-co,node-name=n0,size=1048576,read-zeroes=on",
    "driver=qcow2,node-name=base,file.driver=file,file.filename=base.qcow2,read-only=on",
    "driver=qcow2,node-name=top,backing=base,file.driver=file,file.filename=top.qcow2",
    "driver=qcow2,node-name=t,file.driver=file,file.filename=t.qcow2",
    "driver=raw,node-name=r,file.driver=file,file.filename=r.raw",
];
/// Names for commands to meet.
pub(super) const NAMES: [&str; 12] = ["n0", "base", "top", "t", "r", "n1", "j0", "j1", "b0", "g", "rw", "ro"];
/// Files for commands to meet.
pub(super) const FILES: [&str; 7] =
    ["base.qcow2", "top.qcow2", "t.qcow2", "r.raw", "x0", "x1", "json:{\"driver\":\"null-co\"}"];

/// The daemon under attack.
#[derive(Debug)]
pub(super) struct Victim {
    child: Child,
    scratch: Scratch,
    watch: Option<Watch>,
}

/// How it ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Ended {
    /// What the other monitor saw.
    pub(super) watched: Watched,
    /// The most memory that it held, in bytes, as far as it could be seen.
    pub(super) peak_bytes: u64,
    /// Why this is no sound end; none if it is one.
    pub(super) wrong: Option<String>,
}

impl Victim {
    /// Starts one with these files in its folder, of which one must be each that its nodes name.
    pub(super) fn start(binary: &Path, budget: u64, files: &[(String, Vec<u8>)]) -> Result<Victim, String> {
        let failed = |error: std::io::Error| error.to_string();
        let scratch = Scratch::new().map_err(failed)?;
        for (name, bytes) in files {
            fs::write(scratch.path().join(name), bytes).map_err(failed)?;
        }
        let watched = scratch.path().join("watch");
        let listener = UnixListener::bind(&watched).map_err(failed)?;
        let stderr_file = open_stderr(&scratch).map_err(failed)?;
        let mut command = Command::new(binary);
        command.current_dir(scratch.path()).args(["--confine", ".", "--memory-budget", &budget.to_string()]);
        command.args(NODES.iter().flat_map(|node| ["--blockdev", node]));
        command.args(["--nbd-server", "addr.type=unix,addr.path=nbd,max-connections=0"]);
        command.args(["--export", "nbd,id=rw,node-name=top,name=rw,writable=on"]);
        command.args(["--export", "nbd,id=ro,node-name=n0,name=ro"]);
        command.args(["--chardev", "socket,id=a,path=attack,server=on,wait=off", "--monitor", "a"]);
        command.args(["--chardev", "socket,id=w,path=watch", "--monitor", "w"]);
        command.env("RUST_BACKTRACE", "0").stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr_file);
        let mut child = fence::spawn(&mut command, scratch.path()).map_err(failed)?;
        let Some(stream) = accept(listener, &watched, ANSWER_MAX) else {
            let _ended = child.kill();
            let _reaped = child.wait();
            return Err(format!("it never came to its socket; it said: {}", stderr(&scratch)));
        };
        let mut victim = Victim { child, scratch, watch: None };
        let mut qmp = Qmp::new(stream);
        greet(&mut qmp).map_err(|why| format!("{why}; it said: {}", stderr(&victim.scratch)))?;
        victim.watch = Some(Watch::begin(qmp, victim.child.id()));
        Ok(victim)
    }

    /// A file in its folder.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    /// A monitor of one's own, greeted.
    pub(super) fn monitor(&self) -> Result<Qmp, String> {
        let stream = UnixStream::connect(self.path("attack")).map_err(|error| error.to_string())?;
        let mut qmp = Qmp::new(stream);
        greet(&mut qmp)?;
        Ok(qmp)
    }

    /// The connection to its NBD server.
    pub(super) fn nbd(&self) -> std::io::Result<UnixStream> {
        UnixStream::connect(self.path("nbd"))
    }

    /// Ends it, by `quit` or by a signal, and says how that went.
    pub(super) fn end(mut self, by_signal: bool) -> Ended {
        let watch = self.watch.take().expect("it is watched until its end");
        let (mut qmp, watched) = watch.end();
        let peak_bytes = peak_bytes(self.child.id());
        let is_asked = !by_signal && watched.lost.is_none() && qmp.send(r#"{"execute":"quit"}"#).is_ok();
        if !is_asked {
            self.terminate();
        }
        let wrong = match ended(&mut self.child, END_MAX + END_SLACK) {
            Some(status) => self.wrong(status),
            None => Some(format!(
                "it does not end within {} s of {}",
                (END_MAX + END_SLACK).as_secs(),
                if is_asked { "quit" } else { "SIGTERM" }
            )),
        };
        Ended { watched, peak_bytes, wrong }
    }

    fn terminate(&self) {
        if let Some(id) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            // Fails only if it has ended, which is what we want.
            let _ended = kill_process(id, Signal::TERM);
        }
    }

    fn wrong(&self, status: ExitStatus) -> Option<String> {
        let said = stderr(&self.scratch);
        if status.success() || status.code() == Some(1) && said.contains(NOT_DURABLE) {
            return None;
        }
        Some(how(status, &said))
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        // Fails only if it has ended, which is what we want.
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
        // Nobody answers any more, so who asks ends.
        if let Some(watch) = self.watch.take() {
            let _watched = watch.end();
        }
    }
}

fn greet(qmp: &mut Qmp) -> Result<(), String> {
    let deadline = Some(Instant::now() + ANSWER_MAX);
    let greeted = qmp
        .line(deadline)
        .and_then(|_| qmp.send(r#"{"execute":"qmp_capabilities"}"#))
        .and_then(|()| qmp.line(deadline));
    greeted.map(drop).map_err(|lost| format!("a monitor did not greet: {lost}"))
}

/// The most that a process held, in bytes, as Linux counts it; 0 once it has ended.
pub(super) fn peak_bytes(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = peak.and_then(|peak| peak.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kib.unwrap_or(0) << 10
}

/// Waits for the end of a process; nothing if it does not come in time.
pub(super) fn ended(child: &mut Child, within: Duration) -> Option<ExitStatus> {
    let deadline = Instant::now() + within;
    let (_nobody_speaks, silence) = mpsc::channel::<()>();
    while Instant::now() < deadline {
        if let Ok(Some(status)) = child.try_wait() {
            return Some(status);
        }
        let _time_passes = silence.recv_timeout(LOOK_AGAIN);
    }
    None
}

/// How it ended, and what it said.
pub(super) fn how(status: ExitStatus, said: &str) -> String {
    format!("it ended with {}; it said: {said}", in_words(status))
}

/// Where a process that is started in a scratch folder says what goes wrong.
pub(super) fn open_stderr(scratch: &Scratch) -> std::io::Result<File> {
    File::create(scratch.path().join("stderr.txt"))
}

/// The end of what it said there.
pub(super) fn stderr(scratch: &Scratch) -> String {
    const BYTES_MAX: usize = 2 << 10;
    let stderr = fs::read(scratch.path().join("stderr.txt")).unwrap_or_default();
    let from = stderr.len().saturating_sub(BYTES_MAX);
    String::from_utf8_lossy(&stderr[from..]).replace(scratch.text(), "").trim().to_owned()
}
