//! The other monitor: asks all the time while somebody attacks, and measures the longest answer.
//!
//! On a busy machine everybody waits for a processor. What the daemon's threads and the one that asks have waited for one is
//! not counted, as far as Linux reports (`schedstat`).

use super::victim::ANSWER_MAX;
use crate::live::qmp::{Lost, Qmp};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// What is asked, in turn.
const QUESTIONS: [&str; 6] = [
    "query-version",
    "query-jobs",
    "query-block-jobs",
    "query-named-block-nodes",
    "query-block-exports",
    "x-query-memory",
];
/// Between an answer and the next question: the daemon is to be attacked, not asked to death.
const REST: Duration = Duration::from_millis(3);

/// Who asks.
#[derive(Debug)]
pub(super) struct Watch {
    is_over: Arc<AtomicBool>,
    /// Dropped to end a rest at once.
    _rest: mpsc::Sender<()>,
    asking: JoinHandle<(Qmp, Watched)>,
}

/// What was seen.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Watched {
    /// Questions that were answered.
    pub(super) answers: u64,
    /// The longest time until an answer, the one that never came included; without what was waited for a processor.
    pub(super) longest: Duration,
    /// Why no answer came any more.
    pub(super) lost: Option<Lost>,
}

impl Watch {
    /// Begins to ask on a greeted monitor.
    pub(super) fn begin(qmp: Qmp, daemon: u32) -> Watch {
        let is_over = Arc::new(AtomicBool::new(false));
        let (rest, rests) = mpsc::channel();
        let over = Arc::clone(&is_over);
        let asking = thread::spawn(move || ask(qmp, daemon, &over, &rests));
        Watch { is_over, _rest: rest, asking }
    }

    /// Asks no more; gives the monitor back.
    pub(super) fn end(self) -> (Qmp, Watched) {
        self.is_over.store(true, Ordering::Relaxed);
        drop(self._rest);
        self.asking.join().expect("who asks does not panic")
    }
}

fn ask(mut qmp: Qmp, daemon: u32, is_over: &AtomicBool, rests: &mpsc::Receiver<()>) -> (Qmp, Watched) {
    let mut watched = Watched::default();
    for question in QUESTIONS.iter().cycle() {
        let (asked, queues) = (Instant::now(), Queues::of(daemon));
        let answered = answer(&mut qmp, question, asked + ANSWER_MAX);
        let elapsed = asked.elapsed();
        watched.longest = watched.longest.max(elapsed.saturating_sub(queues.waited_since()));
        match answered {
            Ok(()) => watched.answers += 1,
            Err(lost) => {
                watched.lost = Some(lost);
                break;
            }
        }
        if is_over.load(Ordering::Relaxed) {
            break;
        }
        let _time_passes = rests.recv_timeout(REST);
    }
    (qmp, watched)
}

/// Asks, and passes over events until the answer is there.
fn answer(qmp: &mut Qmp, question: &str, deadline: Instant) -> Result<(), Lost> {
    qmp.send(&format!(r#"{{"execute":"{question}"}}"#))?;
    loop {
        let line = qmp.line(Some(deadline))?;
        // Every message of the daemon begins with what it is.
        if line.starts_with(r#"{"return""#) || line.starts_with(r#"{"error""#) {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(Lost::Flooding);
        }
    }
}

/// How long threads have waited for a processor: those of the daemon, and this one.
struct Queues {
    daemon: u32,
    threads: BTreeMap<PathBuf, Duration>,
    own: Duration,
}

impl Queues {
    fn of(daemon: u32) -> Queues {
        let tasks = fs::read_dir(format!("/proc/{daemon}/task")).into_iter().flatten().flatten();
        let threads = tasks.map(|task| (task.path(), waited(&task.path()))).collect();
        Queues { daemon, threads, own: waited(Path::new("/proc/thread-self")) }
    }

    /// What the one that waited longest has waited since, and this one.
    fn waited_since(&self) -> Duration {
        let now = Queues::of(self.daemon);
        let before = |thread: &PathBuf| self.threads.get(thread).copied().unwrap_or_default();
        let longest = now.threads.iter().map(|(thread, waited)| waited.saturating_sub(before(thread))).max();
        longest.unwrap_or_default() + now.own.saturating_sub(self.own)
    }
}

/// The second number of `schedstat`, in nanoseconds.
fn waited(thread: &Path) -> Duration {
    let schedstat = fs::read_to_string(thread.join("schedstat")).unwrap_or_default();
    let nanos = schedstat.split_ascii_whitespace().nth(1).and_then(|nanos| nanos.parse().ok());
    Duration::from_nanos(nanos.unwrap_or(0))
}
