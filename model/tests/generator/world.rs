//! A small world: two chains, a client for each, a guest on each, and streams that both clients may meddle with.
//!
//! It takes one step after the other, seen or unseen, and writes down what can be seen, in the notation of `support`.
//! Commands are carried out at one moment between their sending and their reply; requests likewise. It knows what is on
//! the disk, so it can end without warning.

mod requests;

use super::Tape;
use model::job::{Status, Verb};
use requests::{Request, Sector};

/// The two chains; the first letter of a node shows which.
pub const CHAINS: &str = "abase <- alow <- amid <- atop | bbase <- blow <- bmid <- btop";

/// The sectors of every layer.
const SECTORS: usize = 8;

/// Steps in which everything may begin; what has begun then ends.
const STEPS: usize = 120;

/// A stream, from its creation on.
struct Job {
    id: &'static str,
    chain: usize,
    /// The node it streams into, and its base.
    into: usize,
    base: Option<usize>,
    status: Status,
    by_hand: bool,
    paused: bool,
    cancelled: bool,
    finalize: bool,
    dismiss: bool,
    edited: bool,
    announced: bool,
    offset_bytes: u64,
}

/// A command between its sending and its reply.
struct Command {
    text: String,
    what: What,
    reply: Option<String>,
}

enum What {
    Start { id: &'static str, into: usize, base: Option<usize>, by_hand: bool },
    Verb(Verb, &'static str),
    Query,
}

/// Not ended yet.
const NEVER: usize = usize::MAX;

/// A history.
pub struct History {
    /// What was seen.
    pub lines: Vec<String>,
    /// Durable sectors after a crash: the line, the word of it, and the value before, which cannot be there.
    pub durable: Vec<(usize, usize, u64)>,
}

struct World {
    lines: Vec<String>,
    durable: Vec<(usize, usize, u64)>,
    jobs: Vec<Job>,
    clients: [Option<Command>; 2],
    requests: Vec<Request>,
    disks: [Vec<Sector>; 2],
    /// The layers of each chain, from the base.
    chains: [Vec<usize>; 2],
    next_request: u64,
}

const LAYERS: [&str; 4] = ["base", "low", "mid", "top"];
const LETTERS: [&str; 2] = ["a", "b"];
const IDS: [&str; 3] = ["j", "k", "l"];

/// A history.
pub fn history(tape: &mut Tape) -> History {
    let mut world = World::new();
    for _ in 0..STEPS {
        world.step(tape);
    }
    if tape.below(2) == 0 {
        world.crash(tape);
    } else {
        world.end(tape);
    }
    History { lines: world.lines, durable: world.durable }
}

impl World {
    fn new() -> World {
        // As `support` fills them: what the first chain's layers decide in turn, the second's base decides alone.
        let initial = |chain: usize, sector: usize| match chain {
            0 => (10 * (sector / 2 + 1) + sector % 2) as u64,
            _ => 1,
        };
        let value = |chain, sector| Sector { values: vec![(initial(chain, sector), 0)], before: None };
        let disk = |chain| (0..SECTORS).map(|sector| value(chain, sector)).collect();
        World {
            lines: vec!["attach 7 atop rw".to_owned(), "attach 8 btop rw".to_owned()],
            durable: Vec::new(),
            jobs: Vec::new(),
            clients: [None, None],
            requests: Vec::new(),
            disks: [disk(0), disk(1)],
            chains: [vec![0, 1, 2, 3], vec![0, 1, 2, 3]],
            next_request: 1,
        }
    }

    fn emit(&mut self, line: String) {
        self.lines.push(line);
    }

    fn step(&mut self, tape: &mut Tape) {
        let who = tape.below(2);
        match tape.below(8) {
            0 => self.send(who, tape),
            1 => self.begin(who, tape),
            2 => self.carry_out(who),
            3 => self.reply(who),
            4 | 5 => self.job_moves(tape),
            6 => self.request_is_done(tape),
            _ => self.request_ends(tape),
        }
    }

    fn living(&self) -> Vec<usize> {
        (0..self.jobs.len()).filter(|job| self.jobs[*job].status != Status::Null).collect()
    }

    fn find(&self, id: &str) -> Option<usize> {
        self.living().into_iter().find(|job| self.jobs[*job].id == id)
    }

    // Commands.

    fn send(&mut self, who: usize, tape: &mut Tape) {
        if self.clients[who].is_some() {
            return;
        }
        let is_busy = self.living().iter().any(|job| self.jobs[*job].chain == who);
        let id = *tape.pick(&IDS);
        let what = match tape.below(8) {
            0..4 if !is_busy => {
                let into = if self.chains[who].contains(&2) && tape.below(2) == 0 { 2 } else { 3 };
                let below: Vec<usize> = self.chains[who].iter().copied().filter(|at| *at < into).collect();
                let base = (!below.is_empty() && tape.below(2) == 0).then(|| *tape.pick(&below));
                What::Start { id, into, base, by_hand: tape.once_in(3) }
            }
            7 => What::Query,
            _ => {
                let verbs = [Verb::Cancel, Verb::Pause, Verb::Resume, Verb::Finalize, Verb::Dismiss];
                What::Verb(*tape.pick(&verbs), id)
            }
        };
        self.send_this(who, what);
    }

    fn send_this(&mut self, who: usize, what: What) {
        let node = |at: usize| format!("{}{}", LETTERS[who], LAYERS[at]);
        let text = match &what {
            What::Start { id, into, base, by_hand } => {
                let base = base.map(|at| format!(" base-node={}", node(at))).unwrap_or_default();
                let hand = if *by_hand { " auto-finalize=false auto-dismiss=false" } else { "" };
                format!("block-stream job-id={id} device={}{base}{hand}", node(*into))
            }
            What::Verb(verb, id) => format!("job-{} id={id}", verb.word()),
            What::Query => "query-jobs".to_owned(),
        };
        self.emit(format!("> {who} {text}"));
        self.clients[who] = Some(Command { text, what, reply: None });
    }

    fn carry_out(&mut self, who: usize) {
        let Some(command) = self.clients[who].take_if(|command| command.reply.is_none()) else { return };
        let reply = match &command.what {
            What::Start { id, into, base, by_hand } => self.start(who, id, *into, *base, *by_hand),
            What::Verb(verb, id) => self.verb(*verb, id),
            What::Query => self.query(),
        };
        self.clients[who] = Some(Command { reply: Some(reply), ..command });
    }

    fn start(
        &mut self,
        chain: usize,
        id: &'static str,
        into: usize,
        base: Option<usize>,
        by_hand: bool,
    ) -> String {
        if self.find(id).is_some() {
            return format!("Job ID '{id}' already in use");
        }
        self.jobs.push(Job {
            id,
            chain,
            into,
            base,
            status: Status::Created,
            by_hand,
            paused: false,
            cancelled: false,
            finalize: false,
            dismiss: false,
            edited: false,
            announced: false,
            offset_bytes: 0,
        });
        self.emit(format!("! {id} created"));
        self.become_(self.jobs.len() - 1, Status::Running);
        "ok".to_owned()
    }

    fn verb(&mut self, verb: Verb, id: &str) -> String {
        let Some(index) = self.find(id) else { return "Job not found".to_owned() };
        let job = &mut self.jobs[index];
        let is_admitted = match (verb, job.status) {
            (Verb::Finalize, status) => status == Status::Pending,
            (Verb::Dismiss, status) => status == Status::Concluded,
            (Verb::Cancel, status) => !matches!(status, Status::Aborting | Status::Concluded),
            (_, status) => matches!(status, Status::Created | Status::Running | Status::Paused),
        };
        if verb == Verb::Resume && !job.paused {
            return "Can't resume a job that was not paused".to_owned();
        }
        if !is_admitted {
            let (status, verb) = (job.status.word(), verb.word());
            return format!("Job '{id}' in state '{status}' cannot accept command verb '{verb}'");
        }
        match verb {
            Verb::Pause if job.paused => return "Job is already paused".to_owned(),
            Verb::Pause => job.paused = true,
            Verb::Resume => job.paused = false,
            Verb::Cancel => {
                // One that is changing the graph does not stop any more.
                job.cancelled |= !job.edited;
                job.paused = false;
            }
            Verb::Finalize => job.finalize = true,
            _ => job.dismiss = true,
        }
        "ok".to_owned()
    }

    fn query(&self) -> String {
        let entry = |index: &usize| {
            let (id, status) = (self.jobs[*index].id, self.jobs[*index].status.word());
            format!(
                r#"{{"id":"{id}","type":"stream","status":"{status}","current-progress":{},"total-progress":4096}}"#,
                self.jobs[*index].offset_bytes
            )
        };
        let entries: Vec<String> = self.living().iter().rev().map(entry).collect();
        format!(r#"{{"return":[{}]}}"#, entries.join(","))
    }

    fn reply(&mut self, who: usize) {
        let Some(command) = self.clients[who].take_if(|command| command.reply.is_some()) else { return };
        assert!(!command.text.is_empty());
        self.emit(format!("< {who} {}", command.reply.unwrap_or_default()));
    }

    // Jobs.

    fn become_(&mut self, index: usize, status: Status) {
        self.jobs[index].status = status;
        self.emit(format!("! {} {}", self.jobs[index].id, status.word()));
    }

    fn job_moves(&mut self, tape: &mut Tape) {
        let living = self.living();
        if !living.is_empty() {
            self.move_job(*tape.pick(&living), tape);
        }
    }

    fn move_job(&mut self, index: usize, tape: &mut Tape) {
        let job = &self.jobs[index];
        let id = job.id;
        let may_finalize = !job.by_hand || job.finalize;
        match job.status {
            Status::Running if job.cancelled => self.become_(index, Status::Aborting),
            Status::Running if job.paused => self.become_(index, Status::Paused),
            // It works for a while.
            Status::Running if tape.below(3) == 0 => {}
            Status::Running => {
                self.jobs[index].offset_bytes = 4096;
                self.become_(index, Status::Waiting);
            }
            Status::Paused if !job.paused => self.become_(index, Status::Running),
            Status::Waiting if job.cancelled => self.become_(index, Status::Aborting),
            Status::Waiting => self.become_(index, Status::Pending),
            Status::Pending if job.by_hand && !job.announced => {
                self.jobs[index].announced = true;
                self.emit(format!("! {id} pending-reported"));
            }
            Status::Pending if job.cancelled && !job.edited => self.become_(index, Status::Aborting),
            Status::Pending if !may_finalize => {}
            Status::Pending if !job.edited => self.edit(index),
            Status::Pending => {
                self.emit(format!("! {id} completed 8"));
                self.become_(index, Status::Concluded);
            }
            Status::Aborting if !job.edited => self.jobs[index].edited = true,
            Status::Aborting => {
                let offset = job.offset_bytes / 512;
                self.emit(format!("! {id} cancelled {offset}"));
                self.become_(index, Status::Concluded);
            }
            Status::Concluded if !job.by_hand || job.dismiss => self.become_(index, Status::Null),
            _ => {}
        }
    }

    /// The chain becomes what the stream was for, and its header with it.
    fn edit(&mut self, index: usize) {
        let Job { chain, into, base, .. } = self.jobs[index];
        let stays = |at: &usize| *at >= into || base.is_some_and(|base| *at <= base);
        self.chains[chain].retain(stays);
        self.jobs[index].edited = true;
    }

    // Ends.

    /// Whatever has begun ends, and the nodes are looked at.
    fn end(&mut self, tape: &mut Tape) {
        for round in 0.. {
            assert!(round < 1000, "the world comes to no rest: {:#?}", self.lines);
            for who in 0..2 {
                self.carry_out(who);
                self.reply(who);
            }
            for _ in 0..self.requests.len() {
                self.request_is_done(tape);
                self.request_ends(tape);
            }
            let living = self.living();
            for index in &living {
                let job = &self.jobs[*index];
                let id = job.id;
                let verb = match job.status {
                    Status::Running | Status::Paused if job.paused => Some(Verb::Resume),
                    Status::Pending if job.announced && !job.finalize && !job.cancelled => {
                        Some(Verb::Finalize)
                    }
                    Status::Concluded if job.by_hand && !job.dismiss => Some(Verb::Dismiss),
                    _ => None,
                };
                match verb {
                    Some(verb) if self.clients[0].is_none() => self.send_this(0, What::Verb(verb, id)),
                    Some(_) => {}
                    None => self.move_job(*index, tape),
                }
            }
            if living.is_empty() && self.requests.is_empty() && self.clients.iter().all(Option::is_none) {
                break;
            }
        }
        for (chain, letter) in LETTERS.into_iter().enumerate() {
            let values: String =
                self.disks[chain].iter().map(|sector| format!(" w{}", sector.present())).collect();
            self.emit(format!("view {}top{values}", letter));
        }
        self.emit("over".to_owned());
    }

    /// Everything stops; what was not durable is there or not.
    fn crash(&mut self, tape: &mut Tape) {
        self.emit("crash".to_owned());
        for (chain, letter) in LETTERS.into_iter().enumerate() {
            let mut values = String::new();
            for (index, sector) in self.disks[chain].iter().enumerate() {
                values.push_str(&format!(" w{}", tape.pick(&sector.values).0));
                if let ([(only, _)], Some(before)) = (&sector.values[..], sector.before)
                    // A discard may have done nothing.
                    && *only != 0
                    && *only != before
                {
                    self.durable.push((self.lines.len(), 3 + index, before));
                }
            }
            let file = |at: &usize| format!("{}{}.img", letter, LAYERS[*at]);
            let files: Vec<String> = self.chains[chain].iter().rev().map(file).collect();
            self.emit(format!("recovered {}top.img {}{values}", letter, files.join(",")));
        }
    }
}
