//! One sequence against one daemon: draw, set up, take turns, bring every job to its end, look, end, read the files.
//!
//! Operators and guests take turns: one command or request at a time, each awaited, but for requests that are in flight
//! while the next turn is taken. Between turns the jobs either come to rest, or run on meanwhile.

use super::action::Action;
use super::bucket::bucket_of;
use super::cuts::{self, Tried};
use super::fall::{Fall, Fell};
use super::guests::Seat;
use super::image_store::ImageStore;
use super::in_flight;
use super::judge::{Broken, Judge, NOT_STARTED};
use super::known::{Known, key};
use super::monitor::name_of;
use super::plan::{Ordeal, Plan, Stop};
use super::process::{Process, Scratch};
use super::schema::schema_of;
use super::second_reader;
use super::stack;
use super::target::{Baseline, Target};
use super::turns::{Turn, What, add_schema_commands, scripts};
use crate::workload::scenario::Scenario;
use midstream::choice::{Choices, Point};
use midstream::content::Tag;
use midstream::trace::verdict_text;
use midstream::verdict::{Detail, Outcome, Verdict};
use model::Release;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// The client that sets up, looks and closes, beside the scenario's own.
pub(super) const OPERATOR: u32 = 99;
/// A sequence, looked back on.
#[derive(Debug)]
pub struct Record {
    /// The judgement, the choice log, and the readable history if it was asked for.
    pub outcome: Outcome,
    /// Why not everything was judged, if that is so.
    pub inconclusive: Option<String>,
    /// What was done, until it broke first.
    pub actions: Vec<Action>,
    /// From what.
    pub scenario: Scenario,
    /// The last reply on the monitor.
    pub last_reply: Option<String>,
    /// The crashes that were tried on the simulated disk.
    pub crashes: Tried,
    /// Requests that were in flight when a command was sent.
    pub in_flight: u64,
    /// Images that a second reader agreed on.
    pub read_twice: u64,
    /// What its failure is known as.
    pub known: Option<Known>,
    /// Clusters that leaked by an end without warning, and that our own repair gave back.
    pub leaks: u64,
}

impl Record {
    /// What a failure is called: by the names of what is known, or by what it looks like.
    pub fn name(&self) -> String {
        let verdict = &self.outcome.verdict;
        let unknown = || key(verdict.law(), verdict_text(verdict));
        self.known.as_ref().map_or_else(unknown, Known::name)
    }
}

/// Cuts of a sequence on devices are chosen by one of so many numbers.
const SALTS: u32 = 1 << 20;

/// Draws a sequence and runs it on the daemon.
pub fn run(target: &Target, choices: Choices, detail: Detail) -> Record {
    run_through(target, choices, detail, None)
}

/// The same, with an end that is chosen and not drawn.
pub fn run_through(target: &Target, mut choices: Choices, detail: Detail, ordeal: Option<Ordeal>) -> Record {
    let mut scenario = Scenario::draw_live(&mut choices);
    let plan = match ordeal {
        None => Plan::draw(&mut choices, &scenario),
        Some(ordeal) => Plan::of_ordeal(&mut choices, &scenario, ordeal),
    };
    plan.fit(&mut scenario);
    let mut scripts = scripts(&mut choices, &scenario);
    let salt = target.on_disk.then(|| choices.choose(Point::new("disk cuts", [0; 3]), SALTS));
    let is_ordered = !target.on_disk || choices.choose(Point::new("disk order", [0; 3]), 3) < 2;
    in_flight::draw(&mut choices, &mut scripts);
    // Its files are where the daemon of a target on devices has none.
    let reads_twice = !target.on_disk && second_reader::draw(&mut choices);
    // On devices, cuts are judged by a model that follows to the end; and so are ordeals.
    if !target.on_disk && ordeal.is_none() {
        add_schema_commands(&mut choices, &scenario, || schema_of(target), &mut scripts);
    }
    let choices = Arc::new(Mutex::new(choices));
    let mut judge = Judge::new(&scenario);
    let scratch = Scratch::new().expect("a folder for temporary files can be written to");
    let orders = (!is_ordered).then(|| Arc::clone(&choices));
    let store = ImageStore::set(&scenario, &scratch, target.on_disk, orders)
        .expect("a folder for temporary files can be written to");
    let setting =
        Setting { target, scenario: &scenario, plan: &plan, store: &store, scratch: &scratch, reads_twice };
    let Done { mut actions, last_reply, in_flight, read_twice, leaks, left } =
        setting.perform(scripts, &mut judge);
    let crashes = crash(&mut judge, &store, &mut actions, salt);
    let baseline = target.baseline(judge.history().release);
    let fall =
        judge.take_fall().map(|fall| look_inside(target, baseline, &scratch, left.as_ref(), &actions, fall));
    let known = judge.known(baseline, fall.as_ref());
    let inconclusive = judge.inconclusive();
    let mut outcome = judge.outcome(detail);
    if let (None, Some(fall), Verdict::Broken { detail, .. }) = (&known, &fall, &mut outcome.verdict) {
        fall.stacks.iter().for_each(|stack| *detail = format!("{detail}\nstack: {}", stack.join(" <- ")));
    }
    let mut record = Record {
        outcome,
        inconclusive,
        actions,
        scenario,
        last_reply,
        crashes,
        in_flight,
        read_twice,
        known,
        leaks,
    };
    // The devices' thread, which decides too, ends with them.
    drop(store);
    let choices = Arc::try_unwrap(choices).expect("nobody decides any more");
    record.outcome.tape = choices.into_inner().unwrap_or_else(PoisonError::into_inner).into_tape();
    record
}

/// What a sequence runs on.
struct Setting<'a> {
    target: &'a Target,
    scenario: &'a Scenario,
    plan: &'a Plan,
    store: &'a ImageStore,
    scratch: &'a Scratch,
    reads_twice: bool,
}

/// What a sequence did, until it broke first.
#[derive(Default)]
struct Done {
    actions: Vec<Action>,
    last_reply: Option<String>,
    in_flight: u64,
    read_twice: u64,
    leaks: u64,
    /// The daemon, unless it ended well: then nobody asks where it stands.
    left: Option<Process>,
}

impl Setting<'_> {
    /// Starts a daemon and runs the sequence on it. What broke stands with the judge.
    fn perform(&self, scripts: Vec<VecDeque<Turn<'_>>>, judge: &mut Judge) -> Done {
        let mut done = Done::default();
        let at_start = at_start(self.target, self.scenario, self.plan);
        let nodes: Vec<String> = at_start.iter().map(|command| self.store.wire(options(command))).collect();
        let process = match Process::start(&self.target.binary, self.scratch.path(), &nodes) {
            Ok(process) => process,
            Err(why) => {
                judge.break_law(NOT_STARTED, why);
                return done;
            }
        };
        judge.of_release(self.target.baseline(Release::nearest(process.number)));
        let mut live = Live {
            process,
            judge,
            scenario: self.scenario,
            plan: self.plan,
            store: self.store,
            actions: &mut done.actions,
            last_reply: &mut done.last_reply,
            guests: BTreeMap::new(),
            at_start,
            exports_gone: Vec::new(),
            jobs: BTreeSet::new(),
            excused_at: None,
            all_stay: false,
            request: 0,
            in_flight: 0,
            scratch: self.scratch.path(),
            reads_twice: self.reads_twice,
            read_twice: 0,
            leaks: 0,
            last_poll: String::new(),
            looked: Vec::new(),
        };
        live.watch();
        let ran = live.all(scripts);
        live.mark();
        let excused_at = live.excused_at.take().filter(|_| ran.is_ok());
        let Live { process, in_flight, read_twice, leaks, .. } = live;
        let left = ran.is_err().then_some(process);
        done = Done { in_flight, read_twice, leaks, left, ..done };
        if let Some((count, reply)) = excused_at {
            done.actions.truncate(count);
            done.last_reply = reply;
        }
        done
    }
}

/// The commands of the set-up that the daemon gets as options when it starts: those before the first node that errors
/// lie under, which may be refused. Its devices want to know when what was said.
fn at_start(target: &Target, scenario: &Scenario, plan: &Plan) -> Vec<String> {
    let is_safe = |command: &String| {
        let is_file = |image: usize| command.contains(&format!(r#""node-name":"f{image}""#));
        !target.on_disk && !plan.rules.iter().any(|rule| is_file(rule.image))
    };
    scenario.setup().into_iter().take_while(is_safe).collect()
}

/// The options of a node, of the command that adds it.
fn options(command: &str) -> &str {
    let options = command.strip_prefix(r#"{"execute":"blockdev-add","arguments":"#);
    options.and_then(|options| options.strip_suffix('}')).expect("a set-up adds nodes and does nothing else")
}

/// What explains why a daemon hangs or fell came within so many of the last things that were done.
const MOMENT: usize = 6;

/// Where a daemon fell or hangs, if nothing else shows why.
fn look_inside(
    target: &Target,
    baseline: Baseline,
    scratch: &Scratch,
    process: Option<&Process>,
    actions: &[Action],
    fall: Fall,
) -> Fall {
    let a_moment_ago = || actions.iter().rev().take(MOMENT);
    // Whoever connects during a drain that waits for it is served meanwhile, and nobody else is.
    let is_served = |action: &&Action| matches!(action, Action::Request { .. } | Action::Answered { .. });
    let mut others = actions.iter().rev().filter(|action| !is_served(action)).take(MOMENT);
    let connecting = others.any(|action| matches!(action, Action::Connect { .. }));
    let in_thread =
        |action: &Action| matches!(action, Action::Command(text) if text.contains("\"iothread\":"));
    let threaded = actions.iter().any(in_thread);
    let fall = Fall { connecting, threaded, ..fall };
    if bucket_of(baseline, &fall).is_some() {
        return fall;
    }
    let stacks = match (fall.kind, process) {
        (Fell::ReadersDiffer | Fell::Unserved, _) | (_, None) => Vec::new(),
        (Fell::Crash, _) => stack::of_core(&target.binary, scratch.path()),
        (_, Some(process)) => stack::of_process(process.id()),
    };
    let name = |action: &Action| match action {
        Action::Command(text) => name_of(text).map(str::to_owned),
        _ => None,
    };
    let lately = a_moment_ago().filter_map(name).collect();
    Fall { stacks, lately, ..fall }
}

/// Tries crashes in what the devices saw of a sequence that ended well.
fn crash(judge: &mut Judge, store: &ImageStore, actions: &mut Vec<Action>, salt: Option<u32>) -> Tried {
    let (Some(devices), Some(salt), Some(journal)) = (store.devices(), salt, judge.take_journal()) else {
        return Tried::default();
    };
    let history = judge.history();
    let (tried, loss) =
        cuts::try_all(journal, history, &devices.take_log(), &store.scenario(), (salt, judge.quirks()));
    if let Some(loss) = loss {
        actions.push(Action::Cut(loss.ending));
        judge.cut(loss);
    }
    tried
}

/// How the turns ended.
#[derive(Copy, Clone, PartialEq, Eq)]
pub(super) enum End {
    Quit,
    Kill,
}

pub(super) struct Live<'a> {
    pub(super) process: Process,
    pub(super) judge: &'a mut Judge,
    pub(super) scenario: &'a Scenario,
    pub(super) plan: &'a Plan,
    pub(super) store: &'a ImageStore,
    pub(super) actions: &'a mut Vec<Action>,
    pub(super) last_reply: &'a mut Option<String>,
    pub(super) guests: BTreeMap<u32, Seat>,
    /// The commands of the set-up that were done when the daemon started.
    at_start: Vec<String>,
    /// Exports of which an event said that they are gone.
    pub(super) exports_gone: Vec<String>,
    /// Jobs of which events said that they were made and not that they are gone.
    pub(super) jobs: BTreeSet<String>,
    /// What had been done, and reported last, when something broke first that quirks explain.
    excused_at: Option<(usize, Option<String>)>,
    /// The last look found all jobs where they stay until an event reports a change, and none has come since.
    pub(super) all_stay: bool,
    pub(super) request: u64,
    /// Requests that were in flight when a command was sent.
    pub(super) in_flight: u64,
    pub(super) scratch: &'a Path,
    /// After a clean end a second reader reads the images too.
    pub(super) reads_twice: bool,
    /// Images that it agreed on.
    pub(super) read_twice: u64,
    /// Clusters that leaked and were given back.
    pub(super) leaks: u64,
    pub(super) last_poll: String,
    /// What nodes showed at rest: the image, and the files it was read through.
    pub(super) looked: Vec<(usize, Vec<String>, Vec<Tag>)>,
}

impl Live<'_> {
    /// The devices note how much the daemon had said before every step, and the judge keeps what it is shown.
    fn watch(&mut self) {
        if let (Some(devices), Ok(watch)) = (self.store.devices(), self.process.qmp.watch()) {
            devices.watch(Arc::new(watch));
            self.judge.keep_journal(devices);
        }
    }

    /// If something has broken that quirks explain: this is how far it had come.
    pub(super) fn mark(&mut self) {
        if self.judge.is_excused() && self.excused_at.is_none() {
            self.excused_at = Some((self.actions.len(), self.last_reply.clone()));
        }
    }

    /// The next thing is done.
    pub(super) fn did(&mut self, action: Action) {
        self.mark();
        self.actions.push(action);
    }

    pub(super) fn all(&mut self, scripts: Vec<VecDeque<Turn<'_>>>) -> Result<(), Broken> {
        self.set_up()?;
        let end = match self.take_turns(scripts)? {
            End::Kill => End::Kill,
            End::Quit => {
                self.close()?;
                if self.plan.kill.is_some() { End::Kill } else { End::Quit }
            }
        };
        match end {
            End::Kill if self.plan.stop == Stop::Term => self.terminate()?,
            End::Kill => self.kill()?,
            End::Quit => {
                self.look()?;
                self.quit()?;
            }
        }
        self.reopen(end)?;
        self.judge.over()
    }

    pub(super) fn set_up(&mut self) -> Result<(), Broken> {
        for (file, error) in self.store.limits() {
            self.judge.armed(&file, error)?;
        }
        let mut done = 0;
        for command in std::mem::take(&mut self.at_start) {
            self.judge.note("on the command line:".to_owned());
            self.judge.sent(OPERATOR, &command)?;
            self.judge.reply(OPERATOR, r#"{"return": {}}"#)?;
            self.did(Action::Command(command));
            done += 1;
        }
        for thread in 0..self.scenario.threads.count() {
            let id = format!(r#""qom-type":"iothread","id":"io{thread}""#);
            self.try_schema_command(&format!(r#"{{"execute":"object-add","arguments":{{{id}}}}}"#))?;
        }
        for command in self.scenario.setup().split_off(done) {
            self.command(OPERATOR, &self.plan.rewrite(&command))?;
            for image in 0..self.scenario.images.len() {
                let is_its_file = command.contains(&format!(r#""node-name":"f{image}""#));
                let debug_node = self.plan.debug_node(image).filter(|_| is_its_file);
                let Some(debug_node) = debug_node else { continue };
                // A node over one that injects errors goes by a long name, for which a small header may have no room.
                self.judge.armed("", "No space left on device")?;
                // Where a name is longer still: a header takes no more than 1023 bytes.
                self.judge.armed("", "Invalid argument")?;
                for rule in self.plan.rules_of(image) {
                    self.judge.armed("", rule.text())?;
                }
                self.command(OPERATOR, &debug_node)?;
            }
        }
        Ok(())
    }

    pub(super) fn take_turns(&mut self, mut scripts: Vec<VecDeque<Turn<'_>>>) -> Result<End, Broken> {
        let mut turns = 0;
        loop {
            if self.plan.kill == Some(turns) {
                return Ok(End::Kill);
            }
            turns += 1;
            let next =
                scripts.iter().enumerate().filter_map(|(at, script)| Some((script.front()?.order, at)));
            let Some((_, at)) = next.min() else {
                self.all_answered()?;
                return Ok(End::Quit);
            };
            let turn = scripts[at].pop_front().expect("a script with a next turn was chosen");
            self.take_turn(turn.what, turn.in_flight)?;
            if turn.in_flight {
                continue;
            }
            self.all_answered()?;
            if !turn.runs_on {
                self.settle()?;
            }
            if let Some(look) = turn.look {
                self.command(OPERATOR, look)?;
            }
            if let Some(text) = turn.schema_command {
                self.try_schema_command(&text)?;
            }
        }
    }

    pub(super) fn take_turn(&mut self, what: What<'_>, in_flight: bool) -> Result<(), Broken> {
        match what {
            // The model does not follow where requests run.
            What::Command { text, .. } if name_of(text) == Some("x-blockdev-set-iothread") => {
                self.try_schema_command(text)
            }
            What::Command { client, text, .. } => self.command(client, &self.plan.rewrite(text)).map(drop),
            What::Request { plan, request, is_last, .. } => {
                self.answered_and_left(plan.guest)?;
                if self.sit_down(plan)? {
                    self.perform(plan.guest, &request, in_flight)?;
                }
                match self.guests.get_mut(&plan.guest) {
                    Some(seat) if is_last && in_flight => seat.leaves = true,
                    _ if is_last => self.leave(plan.guest)?,
                    _ => {}
                }
                Ok(())
            }
        }
    }
}
