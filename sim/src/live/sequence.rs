//! One sequence against one daemon: draw, set up, take turns, bring every job to its end, look, end, read the files.
//!
//! Operators and guests take turns: one command or request at a time, each awaited. Between turns the jobs either come
//! to rest, or run on while the next turn is taken.

use super::action::Action;
use super::judge::{Broken, CRASHED, FLOODED, HUNG, Judge, NOT_STARTED, STUCK};
use super::plan::Plan;
use super::process::{ANSWER_MAX, Process, Scratch};
use super::qmp::Lost;
use crate::choice::{Choices, Point};
use crate::conform::case::IoOp;
use crate::conform::daemon::socket::NbdSocket;
use crate::conform::nbd;
use crate::conform::subject::{Disconnected, Request as NbdRequest};
use crate::recovery;
use crate::verdict::{Detail, Outcome};
use crate::workload::client::Command;
use crate::workload::guest::{GuestPlan, Operation, Place, Request, tag_in_sector, tags};
use crate::workload::image::{SECTOR_BYTES, Tag, fill};
use crate::workload::scenario::Scenario;
use serde_json::Value;
use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

/// The client that sets up, looks and closes, beside the scenario's own.
const OPERATOR: u32 = 99;
/// The guest that looks at rest is this, plus the image.
const LOOKER: u32 = 1000;
/// How often the closing operator looks after the jobs.
const ROUNDS_MAX: u32 = 40;
/// After so many looks a job that still runs is cancelled: an error may strike it for ever, a copy may have no end.
const PATIENCE: u32 = 4;
/// How many places in the order of turns there are.
const ORDERS: u32 = 8;
/// A guest that waits longer than this waits for a job.
const GUEST_PATIENCE: Duration = Duration::from_millis(700);
/// How long a busy job is waited for between two looks at it; an event ends the wait.
const PAUSE: Duration = Duration::from_millis(1);
/// The same for a job that rests although it should end.
const LONG_PAUSE: Duration = Duration::from_millis(20);

/// A sequence, looked back on.
#[derive(Debug)]
pub struct Record {
    /// The judgement, the tape, and the readable history if it was asked for.
    pub outcome: Outcome,
    /// What was done.
    pub actions: Vec<Action>,
    /// From what.
    pub scenario: Scenario,
    /// The last reply on the monitor.
    pub last_reply: Option<String>,
}

/// Draws a sequence and runs it on the daemon at `binary`.
pub fn run(binary: &Path, mut choices: Choices, detail: Detail) -> Record {
    let mut scenario = Scenario::draw_everything(&mut choices);
    let plan = Plan::draw(&mut choices, &scenario);
    plan.fit(&mut scenario);
    let mut judge = Judge::new(&scenario, detail == Detail::Full);
    let scratch = Scratch::new().expect("a folder for temporary files can be written to");
    let files = place(&scenario, scratch.text());
    for (image, bytes) in files.images.iter().zip(files.files()) {
        fs::write(&image.path, bytes).expect("a folder for temporary files can be written to");
    }
    let (mut actions, mut last_reply) = (Vec::new(), None);
    match Process::start(binary, scratch.path()) {
        Err(why) => {
            judge.break_law(NOT_STARTED, why);
        }
        Ok(process) => {
            let mut live = Live {
                process,
                judge: &mut judge,
                choices: &mut choices,
                scenario: &scenario,
                plan: &plan,
                folder: scratch.text(),
                actions: &mut actions,
                last_reply: &mut last_reply,
                guests: BTreeMap::new(),
                request: 0,
                last_poll: String::new(),
                looked: Vec::new(),
            };
            // What broke stands with the judge.
            let _judged = live.all(&files);
        }
    }
    let mut outcome = judge.outcome();
    outcome.tape = choices.into_tape();
    Record { outcome, actions, scenario, last_reply }
}

/// The scenario with its files in a folder.
fn place(scenario: &Scenario, folder: &str) -> Scenario {
    let mut placed = scenario.clone();
    for image in &mut placed.images {
        image.path = format!("{folder}{}", image.path);
    }
    placed
}

/// A guest at its export.
struct Seat {
    socket: NbdSocket,
    len_bytes: u64,
    requests: u64,
}

/// One turn of a script, and what is done around it.
struct Turn<'a> {
    what: What<'a>,
    /// Of the first turns of all scripts the one with the lowest number is taken.
    order: u32,
    /// The jobs run on while the next turn is taken.
    runs_on: bool,
    /// What the operator looks at afterwards.
    look: Option<&'static str>,
}

/// What is done.
#[derive(Copy, Clone)]
enum What<'a> {
    Command { client: u32, text: &'a str },
    Request { plan: &'a GuestPlan, request: Request, is_last: bool },
}

/// What operators look at between turns.
const LOOKS: [Option<&str>; 12] = {
    let mut looks = [None; 12];
    looks[1] = Some(r#"{"execute":"x-debug-query-block-graph"}"#);
    looks[2] = Some(r#"{"execute":"query-named-block-nodes"}"#);
    looks
};

/// Every script with its turns. What is drawn for a turn is drawn under its own name: it stays when others are left out.
fn scripts<'a>(choices: &mut Choices, scenario: &'a Scenario) -> Vec<VecDeque<Turn<'a>>> {
    let mut scripts = Vec::new();
    for plan in &scenario.clients {
        let turn = |command: &'a Command| {
            let of = [plan.client, command.slot, 0];
            Turn {
                what: What::Command { client: plan.client, text: &command.text },
                order: choices.choose(Point::new("client # command # order", of), ORDERS),
                runs_on: choices.choose(Point::new("client # command # runs on", of), 4) == 3,
                look: LOOKS[choices.choose(Point::new("client # command # look", of), 12) as usize],
            }
        };
        scripts.push(plan.commands.iter().map(turn).collect());
    }
    for plan in &scenario.guests {
        for (lane, requests) in plan.lanes.iter().enumerate() {
            // The lane that ends last takes the guest away.
            let is_last_lane = lane + 1 == plan.lanes.len();
            let turn = |(index, request): (usize, &Request)| {
                let of = [plan.guest, lane as u32, (request.tag >> 32 & 0xff) as u32];
                let is_last = is_last_lane && index + 1 == requests.len();
                Turn {
                    what: What::Request { plan, request: *request, is_last },
                    order: choices.choose(Point::new("guest # lane # request # order", of), ORDERS),
                    runs_on: choices.choose(Point::new("guest # lane # request # runs on", of), 4) == 3,
                    look: LOOKS[choices.choose(Point::new("guest # lane # request # look", of), 12) as usize],
                }
            };
            scripts.push(requests.iter().enumerate().map(turn).collect());
        }
    }
    scripts
}

/// How the turns ended.
#[derive(Copy, Clone, PartialEq, Eq)]
enum End {
    Quit,
    Kill,
}

struct Live<'a> {
    process: Process,
    judge: &'a mut Judge,
    choices: &'a mut Choices,
    scenario: &'a Scenario,
    plan: &'a Plan,
    /// The text before every path on the wire.
    folder: &'a str,
    actions: &'a mut Vec<Action>,
    last_reply: &'a mut Option<String>,
    guests: BTreeMap<u32, Seat>,
    request: u64,
    last_poll: String,
    /// What nodes showed at rest: the image, and the files it was read through.
    looked: Vec<(usize, Vec<String>, Vec<Tag>)>,
}

impl Live<'_> {
    fn all(&mut self, files: &Scenario) -> Result<(), Broken> {
        self.set_up()?;
        let end = match self.take_turns()? {
            End::Kill => End::Kill,
            End::Quit => {
                self.close()?;
                if self.plan.kill.is_some() { End::Kill } else { End::Quit }
            }
        };
        match end {
            End::Kill => self.kill()?,
            End::Quit => {
                self.look()?;
                self.quit()?;
            }
        }
        self.afresh(files, end)?;
        self.judge.over()
    }

    // The monitor.

    /// Sends one command and waits for its reply; the judge sees both, and every event on the way.
    fn command(&mut self, client: u32, text: &str) -> Result<Value, Broken> {
        self.actions.push(Action::Command(text.to_owned()));
        self.exchange(client, text, false)
    }

    /// Looks at the jobs. A look that shows what the last one did is not worth a line.
    fn poll(&mut self) -> Result<Vec<Value>, Broken> {
        let mut reply = self.exchange(OPERATOR, r#"{"execute":"query-block-jobs"}"#, true)?;
        match reply["return"].take() {
            Value::Array(jobs) => Ok(jobs),
            _ => Ok(Vec::new()),
        }
    }

    fn exchange(&mut self, client: u32, text: &str, is_poll: bool) -> Result<Value, Broken> {
        self.hear(None, text)?;
        self.judge.sent(client, text)?;
        let wire = text.replace("\"/", &format!("\"{}/", self.folder));
        if let Err(lost) = self.process.qmp.send(&wire) {
            return Err(self.lost(lost, text));
        }
        let deadline = Instant::now() + ANSWER_MAX;
        loop {
            let line = match self.process.qmp.line(Some(deadline)) {
                Ok(line) => line.replace(self.folder, ""),
                Err(lost) => return Err(self.lost(lost, text)),
            };
            let Ok(message) = serde_json::from_str::<Value>(&line) else {
                return Err(self
                    .judge
                    .break_law(HUNG, format!("after {text} it said {line}, which is no JSON")));
            };
            if message.get("event").is_some() {
                self.judge.event(&line)?;
                continue;
            }
            if is_poll {
                self.last_poll.clone_from(&line);
            }
            *self.last_reply = Some(line.clone());
            self.judge.reply(client, &line)?;
            return Ok(message);
        }
    }

    /// Takes what was said unasked: what is there already, or whatever comes first before a deadline.
    fn hear(&mut self, deadline: Option<Instant>, during: &str) -> Result<(), Broken> {
        let mut deadline = deadline;
        for _ in 0..EVENTS_MAX {
            let line = match self.process.qmp.line(deadline) {
                Ok(line) => line.replace(self.folder, ""),
                Err(Lost::Silent) => return Ok(()),
                Err(lost) => return Err(self.lost(lost, during)),
            };
            self.judge.event(&line)?;
            deadline = None;
        }
        Err(self.lost(Lost::Flooding, during))
    }

    /// Why nothing came back.
    fn lost(&mut self, lost: Lost, during: &str) -> Broken {
        let state = self.judge.state_text();
        let (law, found) = match lost {
            Lost::Silent => (HUNG, format!("no answer within {} s", ANSWER_MAX.as_secs())),
            Lost::Flooding => (FLOODED, format!("more than {EVENTS_MAX} events at once")),
            Lost::Closed => match self.process.wait() {
                Some(ended) if ended.stderr.is_empty() => (CRASHED, format!("ended with {}", ended.how)),
                Some(ended) => (CRASHED, format!("ended with {}; it said: {}", ended.how, ended.stderr)),
                None => (HUNG, "it closed its monitor and does not end".to_owned()),
            },
        };
        let law = match name_of(during) {
            Some(name) if law == CRASHED => format!("{law} in {name}"),
            _ => law.to_owned(),
        };
        self.judge.break_law(&law, format!("{found}\nafter {during}\n{state}"))
    }

    // The parts of a sequence.

    fn set_up(&mut self) -> Result<(), Broken> {
        for command in self.scenario.setup() {
            self.command(OPERATOR, &self.plan.rewrite(&command))?;
            for image in 0..self.scenario.images.len() {
                let is_its_file = command.contains(&format!(r#""node-name":"f{image}""#));
                let debug_node = self.plan.debug_node(image).filter(|_| is_its_file);
                let Some(debug_node) = debug_node else { continue };
                for rule in self.plan.rules_of(image) {
                    self.judge.armed("", rule.text())?;
                }
                self.command(OPERATOR, &debug_node)?;
            }
        }
        Ok(())
    }

    fn take_turns(&mut self) -> Result<End, Broken> {
        let mut scripts = scripts(self.choices, self.scenario);
        let mut turns = 0;
        loop {
            if self.plan.kill == Some(turns) {
                return Ok(End::Kill);
            }
            turns += 1;
            let next =
                scripts.iter().enumerate().filter_map(|(at, script)| Some((script.front()?.order, at)));
            let Some((_, at)) = next.min() else { return Ok(End::Quit) };
            let turn = scripts[at].pop_front().expect("a script with a next turn was chosen");
            self.take_turn(turn.what)?;
            if !turn.runs_on {
                self.settle()?;
            }
            if let Some(look) = turn.look {
                self.command(OPERATOR, look)?;
            }
        }
    }

    fn take_turn(&mut self, what: What<'_>) -> Result<(), Broken> {
        match what {
            What::Command { client, text } => self.command(client, &self.plan.rewrite(text)).map(drop),
            What::Request { plan, request, is_last } => {
                if self.sit_down(plan)? {
                    self.perform(plan.guest, &request)?;
                }
                if is_last { self.leave(plan.guest) } else { Ok(()) }
            }
        }
    }

    // Guests.

    /// Whether the guest is at its export; on its first request it makes one.
    fn sit_down(&mut self, plan: &GuestPlan) -> Result<bool, Broken> {
        if self.guests.contains_key(&plan.guest) {
            return Ok(true);
        }
        let node = self.scenario.node(plan.image);
        self.export(plan.guest, &node, plan.writable)
    }

    fn export(&mut self, guest: u32, node: &str, writable: bool) -> Result<bool, Broken> {
        let text = format!(
            r#"{{"execute":"block-export-add","arguments":{{"type":"nbd","id":"g{guest}","node-name":"{node}","name":"g{guest}","writable":{writable}}}}}"#
        );
        let reply = self.command(OPERATOR, &text)?;
        if reply.get("error").is_some() {
            return Ok(false);
        }
        let export = format!("g{guest}");
        self.actions.push(Action::Connect { guest, export: export.clone() });
        let connected = self.process.nbd().map_err(|error| error.to_string()).and_then(|mut socket| {
            let len_bytes = nbd::hello(&mut socket, &export).map_err(|gone| gone.0)?;
            Ok(Seat { socket, len_bytes, requests: 0 })
        });
        match connected {
            Ok(seat) => self.guests.insert(guest, seat),
            Err(why) => return Err(self.unserved(&format!("connecting to {export}"), &why)),
        };
        self.judge.connected(guest, &export)?;
        Ok(true)
    }

    /// An NBD client got no answer at all.
    fn unserved(&mut self, what: &str, why: &str) -> Broken {
        let soon = Instant::now() + Duration::from_millis(200);
        match self.hear(Some(soon), what) {
            Err(broken) => broken,
            Ok(()) => self.judge.break_law(HUNG, format!("{what}: {why}")),
        }
    }

    fn perform(&mut self, guest: u32, request: &Request) -> Result<(), Broken> {
        let size = self.guests[&guest].len_bytes / SECTOR_BYTES as u64;
        if size == 0 {
            return Ok(());
        }
        let job = match request.place {
            Place::Sector(_) => 0,
            Place::NearJob(_) => {
                let jobs = self.poll()?;
                jobs.last().and_then(|job| job["offset"].as_u64()).unwrap_or(0) / SECTOR_BYTES as u64
            }
        };
        let sector = request.place.sector(size, job);
        let sectors = request.sectors.min(size - sector);
        self.request(guest, request.operation, sector, sectors, request.tag).map(drop)
    }

    fn request(
        &mut self,
        guest: u32,
        operation: Operation,
        sector: u64,
        sectors: u64,
        tag: Tag,
    ) -> Result<Result<Vec<Tag>, String>, Broken> {
        self.actions.push(Action::Request { guest, operation, sector, sectors, tag });
        self.hear(None, "a guest's request")?;
        self.request += 1;
        let number = self.request;
        self.judge.began(number, guest, operation, (sector, sectors), tag)?;
        let op = match operation {
            Operation::Read => IoOp::Read,
            Operation::Write => IoOp::Write,
            Operation::WriteZeroes => IoOp::Zero,
            Operation::Discard => IoOp::Discard,
            Operation::Flush => IoOp::Flush,
        };
        let len = sectors * SECTOR_BYTES as u64;
        let mut data = Vec::new();
        if operation == Operation::Write {
            data = vec![0; len as usize];
            for (sector, bytes) in (sector..).zip(data.chunks_mut(SECTOR_BYTES)) {
                fill(bytes, tag_in_sector(tag, sector));
            }
        }
        let (offset, len) = match operation {
            Operation::Flush => (0, 0),
            _ => (sector * SECTOR_BYTES as u64, len as u32),
        };
        let seat = self.guests.get_mut(&guest).expect("a guest asks only while it sits");
        seat.requests += 1;
        let asked = NbdRequest { op, offset, len, data: &data, nohole: false };
        let mut answer = nbd::ask(&mut seat.socket, seat.requests, asked);
        if answer.is_ok() && !seat.socket.comes(GUEST_PATIENCE) {
            // A job may hold guests up for as long as it waits for its operator.
            self.urge_all()?;
        }
        let seat = self.guests.get_mut(&guest).expect("a guest that asked sits until it is answered");
        let what = format!("guest {guest}, {operation:?} of {sectors} at {sector}");
        if answer.is_ok() && !seat.socket.comes(ANSWER_MAX) {
            answer = Err(Disconnected(format!("no answer within {} s", ANSWER_MAX.as_secs())));
        }
        let answer = answer.and_then(|()| nbd::answer(&mut seat.socket, asked));
        let answer = match answer {
            Ok(answer) => answer,
            Err(gone) => return Err(self.unserved(&what, &gone.0)),
        };
        self.hear(None, "a guest's request")?;
        let result = match answer.error {
            0 => Ok(tags(&answer.data)),
            error => Err(format!("error {error}")),
        };
        self.judge.ended(number, guest, result.as_deref().map_err(String::as_str))?;
        Ok(result)
    }

    fn leave(&mut self, guest: u32) -> Result<(), Broken> {
        let Some(mut seat) = self.guests.remove(&guest) else { return Ok(()) };
        self.actions.push(Action::Leave { guest });
        nbd::goodbye(&mut seat.socket);
        seat.socket.close();
        self.judge.detached(guest)?;
        let text =
            format!(r#"{{"execute":"block-export-del","arguments":{{"id":"g{guest}","mode":"hard"}}}}"#);
        self.command(OPERATOR, &text).map(drop)
    }

    // Jobs.

    /// Waits until no job is busy, and gives them.
    fn settle(&mut self) -> Result<Vec<Value>, Broken> {
        if self.actions.last() != Some(&Action::Settle) {
            self.actions.push(Action::Settle);
        }
        let deadline = Instant::now() + ANSWER_MAX;
        loop {
            let jobs = self.poll()?;
            let Some(busy) = jobs.iter().find(|job| is_busy(job)) else { return Ok(jobs) };
            if Instant::now() > deadline {
                let found = format!("busy for {} s: {busy}", ANSWER_MAX.as_secs());
                return Err(self.judge.break_law(STUCK, found));
            }
            self.hear(Some(Instant::now() + PAUSE), "waiting for a job")?;
        }
    }

    /// Brings every job to its end: resumes, unleashes, completes, finalizes, dismisses.
    fn close(&mut self) -> Result<(), Broken> {
        for guest in self.guests.keys().copied().collect::<Vec<_>>() {
            self.leave(guest)?;
        }
        self.urge_all()
    }

    /// Urges all jobs until none is left.
    fn urge_all(&mut self) -> Result<(), Broken> {
        for round in 0..ROUNDS_MAX {
            let jobs = self.settle()?;
            if jobs.is_empty() {
                return Ok(());
            }
            let mut urged = false;
            for job in &jobs {
                for text in urge(job, round >= PATIENCE) {
                    urged = true;
                    self.command(OPERATOR, &text)?;
                }
            }
            if !urged {
                self.hear(Some(Instant::now() + LONG_PAUSE), "waiting for a job")?;
            }
        }
        let left = self.last_poll.clone();
        Err(self.judge.break_law(STUCK, format!("after {ROUNDS_MAX} rounds of urging: {left}")))
    }

    // The end.

    /// Shows jobs and graph to the judge and reads every node at rest.
    fn look(&mut self) -> Result<(), Broken> {
        self.command(OPERATOR, r#"{"execute":"x-debug-query-block-graph"}"#)?;
        let nodes = self.command(OPERATOR, r#"{"execute":"query-named-block-nodes"}"#)?;
        self.command(OPERATOR, r#"{"execute":"query-jobs"}"#)?;
        let nodes = nodes["return"].as_array().cloned().unwrap_or_default();
        for (image, facts) in self.scenario.images.iter().enumerate() {
            let name = self.scenario.node(image);
            let is_it = |node: &&Value| node["node-name"] == *name && node["drv"] == facts.format.driver();
            let Some(node) = nodes.iter().find(is_it) else { continue };
            let guest = LOOKER + image as u32;
            if !self.export(guest, &name, false)? {
                continue;
            }
            let sectors = self.guests[&guest].len_bytes / SECTOR_BYTES as u64;
            let read = self.request(guest, Operation::Read, 0, sectors, 0)?;
            if let Ok(values) = read {
                self.actions.push(Action::Look { node: name.clone(), values: values.clone() });
                self.judge.viewed(&name, &values)?;
                self.looked.push((image, chain(&node["image"]), values));
            }
            self.leave(guest)?;
        }
        Ok(())
    }

    fn quit(&mut self) -> Result<(), Broken> {
        self.actions.push(Action::Quit);
        self.exchange(OPERATOR, r#"{"execute":"quit"}"#, false)?;
        let deadline = Instant::now() + ANSWER_MAX;
        loop {
            match self.process.qmp.line(Some(deadline)) {
                Ok(line) => self.judge.event(&line.replace(self.folder, ""))?,
                Err(Lost::Closed) => break,
                Err(lost) => return Err(self.lost(lost, "quit")),
            }
        }
        match self.process.wait() {
            Some(ended) if ended.is_clean => Ok(()),
            Some(ended) => {
                let found = format!("after quit it ended with {}; it said: {}", ended.how, ended.stderr);
                Err(self.judge.break_law(&format!("{CRASHED} in quit"), found))
            }
            None => Err(self.judge.break_law(HUNG, "after quit it does not end".to_owned())),
        }
    }

    fn kill(&mut self) -> Result<(), Broken> {
        self.hear(None, "waiting for nothing")?;
        self.actions.push(Action::Kill);
        self.process.kill();
        self.judge.killed()
    }

    /// Reads the files as the next process would.
    fn afresh(&mut self, files: &Scenario, end: End) -> Result<(), Broken> {
        let mut images = Vec::with_capacity(files.images.len());
        for image in &files.images {
            match fs::read(&image.path) {
                Ok(bytes) => images.push(bytes),
                Err(error) => {
                    let found = format!("{}: {error}", image.path.replace(self.folder, ""));
                    return Err(self.judge.break_law("an image file is gone", found));
                }
            }
        }
        let all = match recovery::read_all(files, images) {
            Ok(all) => all,
            Err(why) => return Err(self.judge.break_law("an image cannot be read", why.to_owned())),
        };
        for (image, mut found) in all.into_iter().enumerate() {
            found.file = found.file.replace(self.folder, "");
            found.chain = found.chain.iter().map(|file| file.replace(self.folder, "")).collect();
            found.values = found.values.map_err(|why| why.replace(self.folder, ""));
            self.actions.push(Action::Afresh { image, values: found.values.clone() });
            self.judge.afresh(&found, end == End::Quit)?;
            let looked = self.looked.iter().find(|(at, chain, _)| *at == image && *chain == found.chain);
            if let (Some((_, _, seen)), Ok(values)) = (looked, &found.values)
                && seen != values
            {
                let found = format!("{} after a clean end is not what its node showed at rest", found.file);
                return Err(self.judge.break_law("a clean end keeps what was read at rest", found));
            }
        }
        Ok(())
    }
}

/// So many events at once are a flood.
const EVENTS_MAX: usize = 5_000;

/// The name of a command, of its text.
fn name_of(text: &str) -> Option<&str> {
    text.strip_prefix(r#"{"execute":""#)?.split('"').next()
}

fn is_busy(job: &Value) -> bool {
    let works = ["created", "running", "ready", "waiting", "aborting"];
    let status = job["status"].as_str().unwrap_or_default();
    match status {
        "waiting" | "aborting" | "created" => true,
        _ => works.contains(&status) && job["busy"] == true,
    }
}

/// What moves a job on from where it is.
fn urge(job: &Value, is_late: bool) -> Vec<String> {
    let id = job["device"].as_str().unwrap_or_default();
    let say = |verb: &str| format!(r#"{{"execute":"{verb}","arguments":{{"id":"{id}"}}}}"#);
    match job["status"].as_str().unwrap_or_default() {
        "concluded" => vec![say("job-dismiss")],
        "pending" => vec![say("job-finalize")],
        _ if is_late => vec![say("job-cancel")],
        "ready" => vec![say("job-complete")],
        _ => {
            let mut urges = Vec::new();
            if job["speed"] != 0 {
                urges.push(format!(
                    r#"{{"execute":"block-job-set-speed","arguments":{{"device":"{id}","speed":0}}}}"#
                ));
            }
            if job["paused"] == true {
                urges.push(say("job-resume"));
            }
            urges
        }
    }
}

/// The files behind a node, from the top down, as the daemon tells of its image.
fn chain(image: &Value) -> Vec<String> {
    let links = std::iter::successors(Some(image), |image| image.get("backing-image"));
    links.take(64).filter_map(|image| image["filename"].as_str()).map(recovery::plain_name).collect()
}
