//! A guest's disk moves to another engine over a simulated connection, which is cut between any two messages and comes back:
//! nothing that the guest has written is lost, and what it has flushed survives a power cut over there.

use block::engine::{Engine, Tuning};
use block::qmp::Monitor;
use midstream::choice::{Choices, Point};
use midstream::strategy::random::Random;
use midstream::world::crash::{Ending, crash_images};
use midstream::world::disk::{Disks, File};
use midstream::world::host::SimHost;
use midstream::world::scheduler::{Rest, STEPS_MAX, Scheduler};
use seam::{Host, Nanos};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

const LEN: usize = 16 << 10;
const SECTOR: usize = 512;
/// So often the guest writes.
const WRITES: usize = 12;
/// How long the wire stays down, and how long requests wait for it.
const DOWN: Nanos = Nanos(2 * Nanos::SECOND.0);
const ROUNDS_MAX: u32 = 100;

/// Two engines in one world.
struct Two {
    host: SimHost,
    here: Arc<Engine>,
    there: Arc<Engine>,
    expected: Mutex<Vec<u8>>,
    is_over: AtomicBool,
}

async fn done(monitor: &Monitor, text: &str) {
    let reply = monitor.execute(text).await.expect("a command is answered");
    assert!(!reply.contains(r#""error""#), "{text}: {reply}");
}

fn command(name: &str, arguments: &str) -> String {
    format!(r#"{{"execute":"{name}","arguments":{{{arguments}}}}}"#)
}

fn monitor(engine: &Arc<Engine>) -> Arc<Monitor> {
    let monitor = Monitor::new(engine.clone());
    monitor.give_up();
    monitor
}

impl Two {
    fn new() -> Arc<Two> {
        let bytes: Vec<u8> = (0..LEN).map(|at| (at / SECTOR) as u8 + 1).collect();
        let files = vec![File::new("/a.raw", bytes.clone()), File::new("/b.raw", vec![0; LEN])];
        let host = SimHost::new(Disks::new(files));
        let tuning = Tuning { mirror_piece_bytes: 2048, ..Tuning::default() };
        let engine = || Engine::new(Arc::new(host.clone()), tuning);
        let (here, there) = (engine(), engine());
        Arc::new(Two { host, here, there, expected: Mutex::new(bytes), is_over: AtomicBool::new(false) })
    }

    async fn set_up(self: Arc<Two>) {
        for (engine, node, file) in [(&self.here, "s", "/a.raw"), (&self.there, "d", "/b.raw")] {
            let monitor = monitor(engine);
            done(&monitor, r#"{"execute":"qmp_capabilities"}"#).await;
            let file = format!(r#"{{"driver":"file","filename":"{file}"}}"#);
            let node = format!(r#""driver":"raw","node-name":"{node}","file":{file}"#);
            done(&monitor, &command("blockdev-add", &node)).await;
        }
        let there = monitor(&self.there);
        done(&there, r#"{"execute":"qmp_capabilities"}"#).await;
        let address = r#""addr":{"type":"unix","data":{"path":"/there"}}"#;
        done(&there, &command("nbd-server-start", address)).await;
        let export = r#""type":"nbd","id":"e","node-name":"d","name":"disk","writable":true"#;
        done(&there, &command("block-export-add", export)).await;
    }

    /// Mirrors to the other side and has the guest go on there.
    async fn operator(self: Arc<Two>) {
        let here = monitor(&self.here);
        done(&here, r#"{"execute":"qmp_capabilities"}"#).await;
        let server = r#""driver":"nbd","node-name":"t","server":{"type":"unix","path":"/there"},"export":"disk","reconnect-delay":20,"open-timeout":60"#;
        done(&here, &command("blockdev-add", server)).await;
        let mirror = r#""job-id":"m","device":"s","target":"t","sync":"full","auto-dismiss":true"#;
        done(&here, &command("blockdev-mirror", mirror)).await;
        let mut is_asked = false;
        for _ in 0..ROUNDS_MAX {
            let jobs = self.here.query_block_jobs();
            match jobs.first() {
                None => {
                    self.is_over.store(true, Ordering::Relaxed);
                    return;
                }
                Some(job) if job.status == "ready" && !is_asked => {
                    is_asked = true;
                    done(&here, &command("job-complete", r#""id":"m""#)).await;
                }
                Some(_) => {}
            }
            self.host.sleep_until(self.host.now().plus(Nanos::SECOND)).await;
        }
        panic!("the mirror does not end");
    }

    /// Writes, looks and flushes while its disk moves, and after.
    async fn guest(self: Arc<Two>, first: usize) {
        let guest = self.here.open_guest("s", true).expect("nobody forbids it");
        for number in 0..WRITES {
            self.host.think(7).await;
            let at = (first + number * 5) % (LEN / SECTOR) * SECTOR;
            let data = vec![0x80 + number as u8; (2 * SECTOR).min(LEN - at)];
            guest.write(at as u64, data.clone()).await.expect("requests wait for the connection");
            self.expected.lock().unwrap()[at..at + data.len()].copy_from_slice(&data);
            let read = guest.read(0, LEN as u64).await.expect("and reads do");
            assert_eq!(read, *self.expected.lock().unwrap(), "after write {number}");
            if number % 3 == 2 {
                guest.flush().await.expect("and flushes");
            }
            if number == WRITES - 3 {
                // The last ones belong to the other side.
                while !self.is_over.load(Ordering::Relaxed) {
                    self.host.sleep_until(self.host.now().plus(Nanos::SECOND)).await;
                }
            }
        }
        guest.flush().await.expect("the last one");
    }

    /// Puts the wire back a while after it was cut.
    async fn weather(self: Arc<Two>) {
        let wire = self.host.core().wire.clone();
        loop {
            if wire.is_down() {
                self.host.sleep_until(self.host.now().plus(DOWN)).await;
                wire.restore();
            }
            self.host.sleep_until(self.host.now().plus(Nanos::SECOND)).await;
        }
    }
}

/// Moves the disk with the wire cut after so many messages, if it is. Answers how many messages there were.
fn migrate(cut_after: Option<u64>, seed: u64) -> u64 {
    let two = Two::new();
    let wire = two.host.core().wire.clone();
    let mut scheduler = Scheduler::new(two.host.clone());
    let mut choices = Choices::new(Box::new(Random::new(seed)));
    let first = scheduler.spawn(Point::new("set up", [0; 3]), Box::pin(two.clone().set_up()));
    assert_eq!(scheduler.run(&[first], STEPS_MAX, None), Rest::Done);
    if let Some(messages) = cut_after {
        wire.cut_after(messages);
    }
    scheduler.spawn(Point::new("weather", [0; 3]), Box::pin(two.clone().weather()));
    let operator = scheduler.spawn(Point::new("operator", [0; 3]), Box::pin(two.clone().operator()));
    let guest = Box::pin(two.clone().guest(seed as usize % 7));
    let guest = scheduler.spawn(Point::new("guest", [0; 3]), guest);
    let rest = scheduler.run(&[operator, guest], STEPS_MAX, Some(&mut choices));
    assert_eq!(rest, Rest::Done, "cut after {cut_after:?} messages, seed {seed}");
    let expected = two.expected.lock().unwrap().clone();
    let left = crash_images(&two.host.core().disks, Ending::PowerCut, &mut choices);
    assert!(left[1] == expected, "a power cut loses what was flushed: cut after {cut_after:?}, seed {seed}");
    let messages = wire.messages();
    for engine in [two.here.clone(), two.there.clone()] {
        let quit = scheduler.spawn(Point::new("quit", [0; 3]), Box::pin(async move { engine.quit().await }));
        assert_eq!(scheduler.run(&[quit], STEPS_MAX, None), Rest::Done);
    }
    assert_eq!(two.here.lost(), None, "cut after {cut_after:?} messages, seed {seed}");
    messages
}

#[test]
fn a_disk_moves_whatever_message_is_lost() {
    for seed in 0..12 {
        let messages = migrate(None, seed);
        assert!(messages > 30, "only {messages} messages");
        for cut in 0..messages {
            migrate(Some(cut), seed);
        }
    }
}
