//! A world for tests of strategies, traces and minimiser: small enough to know its least failure by heart.
//!
//! Three clients with four command slots each share a disk. A stream takes four steps, each of which may meet a
//! fault. The planted bug: if a stream of device 2 or 3 met a fault, and another client cancels before it ends,
//! the law breaks. The least failure has two commands, device 2, one fault, and one pick that is not 0.

use crate::campaign::Subject;
use crate::choice::{Choices, Point};
use crate::coverage::Law;
use crate::history::{History, What};
use crate::verdict::{Detail, Outcome, Verdict};
use model::judge::taken::StepsTaken;
use model::judge::verbs::VerbsSent;
use xxhash_rust::xxh3::Xxh3;

/// The slot of one command; 0 is no command.
pub const COMMAND: &str = "client # command #";
/// The slot of one fault; 0 is none.
pub const FAULT: &str = "client # command # fault #";
/// What the planted bug breaks.
pub const LAW: &str = "cancel never loses a fault";
/// Every script slot.
pub const SLOTS: &[&str] = &[COMMAND, FAULT];
/// The toy for campaigns.
pub const SUBJECT: Subject<'static> = Subject {
    run: &world,
    laws: &[
        Law { name: LAW, is_goal: false },
        Law { name: "a fault strikes", is_goal: true },
        Law { name: "nobody looks at this law", is_goal: false },
    ],
    slots: SLOTS,
    command: COMMAND,
};
/// Commands.
pub const NONE: u32 = 0;
const READ: u32 = 1;
const STREAM: u32 = 2;
const CANCEL: u32 = 3;
const KINDS: u32 = 4;
const CLIENTS: u32 = 3;
const COMMANDS: u32 = 4;

#[derive(Clone, Copy)]
struct Command {
    slot: u32,
    kind: u32,
    device: u32,
    steps_left: u32,
    faults: u32,
}

struct Client {
    script: Vec<Command>,
    at: usize,
}

/// One run without its readable history.
pub fn run(choices: Choices) -> Outcome {
    world(choices, Detail::Quiet)
}

/// The whole toy.
pub fn world(mut choices: Choices, detail: Detail) -> Outcome {
    let mut clients: Vec<Client> = (0..CLIENTS).map(|id| client(&mut choices, id)).collect();
    let mut log = Log { hash: Xxh3::new(), history: History::default(), detail };
    let mut verdict = Verdict::Passed;
    let (mut last, mut steps, mut faults) = (0, 0, 0);
    while verdict == Verdict::Passed {
        let mut ready: Vec<usize> = (0..clients.len()).filter(|&c| !clients[c].is_done()).collect();
        ready.sort_by_key(|&c| c != last);
        let options: Vec<Point> = ready.iter().map(|&c| Point::new("client #", [c as u32, 0, 0])).collect();
        if options.is_empty() {
            break;
        }
        last = ready[choices.pick(Point::new("schedule", [0; 3]), &options)];
        steps += 1;
        verdict = step(&mut clients, last, &mut choices, &mut faults);
        log.add(last as u32, clients[last].at as u32, faults);
    }
    Outcome {
        verdict,
        steps,
        history_hash: log.hash.digest(),
        is_inconclusive: false,
        census: model::Census::default(),
        laws_checked: vec![steps, 0],
        goals_reached: vec![faults > 0],
        verbs_sent: VerbsSent::default(),
        steps_taken: StepsTaken::default(),
        history: log.history,
        tape: choices.into_tape(),
        files: Vec::new(),
    }
}

fn client(choices: &mut Choices, id: u32) -> Client {
    let mut script = Vec::new();
    for number in 0..COMMANDS {
        let kind = choices.choose(Point::new(COMMAND, [id, number, 0]), KINDS);
        if kind == NONE {
            continue;
        }
        let device = choices.choose(Point::new("client # command # device", [id, number, 0]), 4);
        let steps_left = if kind == STREAM { 4 } else { 1 };
        script.push(Command { slot: number, kind, device, steps_left, faults: 0 });
    }
    Client { script, at: 0 }
}

fn step(clients: &mut [Client], who: usize, choices: &mut Choices, faults: &mut u32) -> Verdict {
    let command = &mut clients[who].script[clients[who].at];
    let kind = command.kind;
    command.steps_left -= 1;
    if kind == STREAM {
        let fault = choices.choose(Point::new(FAULT, [who as u32, command.slot, command.steps_left]), 8);
        *faults += u32::from(fault > 0);
        command.faults += fault;
    }
    if kind == READ {
        assert!(command.device < 4, "a device outside the toy");
    }
    if command.steps_left == 0 {
        clients[who].at += 1;
    }
    let lost = |(id, c): (usize, &Client)| {
        let now = c.script.get(c.at)?;
        (id != who && now.kind == STREAM && now.device >= 2 && now.faults > 0).then_some(id)
    };
    match clients.iter().enumerate().find_map(lost) {
        Some(victim) if kind == CANCEL => Verdict::Broken {
            law: LAW.to_owned(),
            detail: format!("client {who} cancelled the stream of client {victim}"),
        },
        _ => Verdict::Passed,
    }
}

impl Client {
    fn is_done(&self) -> bool {
        self.at == self.script.len()
    }
}

struct Log {
    hash: Xxh3,
    history: History,
    detail: Detail,
}

impl Log {
    fn add(&mut self, client: u32, at: u32, faults: u32) {
        for value in [client, at, faults] {
            self.hash.update(&value.to_le_bytes());
        }
        if self.detail == Detail::Full {
            let line = format!("client {client}: command {at}, {faults} faults");
            self.history.push(0, 0, What::Note(line));
        }
    }
}

/// The first seed whose run breaks the law, and that run.
pub fn first_failure() -> (u64, Outcome) {
    (0..)
        .map(|seed| (seed, run(crate::strategy::of_seed(seed))))
        .find(|(_, outcome)| outcome.verdict != Verdict::Passed)
        .expect("the planted bug is found")
}

/// Two tasks of a hundred steps: did all of one run at a stroke, near the middle of the other?
pub fn starved(mut choices: Choices) -> bool {
    let mut done = [0u32; 2];
    let mut seen_at_start = 0;
    let mut last = 0;
    while done[0] < 100 || done[1] < 100 {
        let mut ready: Vec<u32> = (0..2).filter(|&t| done[t as usize] < 100).collect();
        ready.sort_by_key(|&t| t != last);
        let options: Vec<Point> = ready.iter().map(|&t| Point::new("task #", [t, 0, 0])).collect();
        last = ready[choices.pick(Point::new("schedule", [0; 3]), &options)];
        if last == 1 && done[1] == 0 {
            seen_at_start = done[0];
        }
        done[last as usize] += 1;
        if done[1] == 100 && done[0] == seen_at_start && (40..60).contains(&seen_at_start) {
            return true;
        }
    }
    false
}
