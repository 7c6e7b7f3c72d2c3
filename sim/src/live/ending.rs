//! How a sequence comes to rest and to its end: jobs are waited for and urged on, nodes looked at, files reopened.

use super::action::Action;
use super::fall::{Fall, Fell};
use super::in_flight::Asked;
use super::judge::{Broken, CRASHED, HUNG, SPINS, STUCK};
use super::plan::Stop;
use super::process::ANSWER_MAX;
use super::qmp::Lost;
use super::repaired::{LEAKS_STAY, repaired};
use super::second_reader::{self, READERS_DIFFER, SecondReader};
use super::sequence::{End, Live, OPERATOR};
use super::timeout::Timeout;
use crate::recovery::{self, Recovered};
use midstream::content::{GARBAGE, SECTOR_BYTES, Tag};
use midstream::recording::explained;
use midstream::request::Operation;
use model::law::LawId;
use serde_json::Value;
use std::time::{Duration, Instant};

/// The guest that looks at rest is this, plus the image.
const LOOKER: u32 = 1000;
/// How often the closing operator looks after the jobs: more than there is time for while nothing moves.
const ROUNDS_MAX: u32 = 2_000;
/// After so many looks a job that still runs is cancelled: an error may strike it for ever, a copy may have no end.
const ROUNDS_RUNNING: u32 = 4;
/// How long a busy job is waited for between two looks at it; an event ends the wait.
const PAUSE: Duration = Duration::from_millis(1);
/// The same for a job that rests although it should end.
const LONG_PAUSE: Duration = Duration::from_millis(20);
/// A signal ends everything within this.
const TERM_MAX: Duration = Duration::from_secs(5);

/// What ends a daemon.
const QUIT: &str = r#"{"execute":"quit"}"#;

/// A tag as texts show it.
fn shown(tag: Tag) -> String {
    match tag {
        0 => "zeroes".to_owned(),
        GARBAGE => "garbage".to_owned(),
        tag => format!("w{tag}"),
    }
}

impl Live<'_> {
    /// Waits until no job is busy. Where events have reported the end of every job, or of nothing since all were found
    /// to stay where they are, nobody needs to ask.
    pub(super) fn settle(&mut self) -> Result<(), Broken> {
        self.receive(None, "waiting for a job")?;
        self.settled(|live| live.jobs.is_empty() || live.all_stay).map(drop)
    }

    /// Waits until no job is busy, and gives those that are there, unless it is known that none is busy.
    fn settled(&mut self, is_known: fn(&Self) -> bool) -> Result<Vec<Value>, Broken> {
        if is_known(self) {
            return Ok(Vec::new());
        }
        self.mark();
        if self.actions.last() != Some(&Action::Settle) {
            self.did(Action::Settle);
        }
        let deadline = Instant::now() + ANSWER_MAX;
        loop {
            let jobs = self.poll()?;
            let Some(busy) = jobs.iter().find(|job| is_busy(job, &jobs)) else {
                self.all_stay = jobs.iter().all(stays);
                return Ok(jobs);
            };
            if Instant::now() > deadline {
                let found = format!("busy for {} s: {busy}", ANSWER_MAX.as_secs());
                let fall = self.judge.fall(Fell::Stuck, "", "");
                return Err(self.judge.fell(STUCK, found, fall));
            }
            self.receive(Some(Instant::now() + PAUSE), "waiting for a job")?;
            if is_known(self) {
                return Ok(Vec::new());
            }
        }
    }

    /// Brings every job to its end: resumes, lifts the speed limit, completes, finalizes, dismisses.
    pub(super) fn close(&mut self) -> Result<(), Broken> {
        for guest in self.guests.keys().copied().collect::<Vec<_>>() {
            self.leave(guest)?;
        }
        self.urge_all()
    }

    /// Urges all jobs until none is left.
    pub(super) fn urge_all(&mut self) -> Result<(), Broken> {
        let (mut before, mut moved) = (String::new(), Instant::now());
        for round in 0..ROUNDS_MAX {
            // At the end the jobs are asked for, whatever events have reported.
            let jobs = self.settled(|_| false)?;
            if jobs.is_empty() {
                return Ok(());
            }
            if before != self.last_poll {
                (before, moved) = (self.last_poll.clone(), Instant::now());
            } else if moved.elapsed() > ANSWER_MAX {
                break;
            } else {
                self.receive(Some(Instant::now() + LONG_PAUSE), "waiting for a job")?;
            }
            for job in &jobs {
                for text in urge(job, round >= ROUNDS_RUNNING) {
                    self.command(OPERATOR, &text)?;
                }
            }
        }
        let (law, kind) = if self.process.spins() { (SPINS, Fell::Spin) } else { (STUCK, Fell::Stuck) };
        let fall = self.judge.fall(kind, "", "");
        Err(self.judge.fell(law, format!("urged on and on, it stays: {before}"), fall))
    }

    /// Shows jobs and graph to the judge and reads every node at rest.
    pub(super) fn look(&mut self) -> Result<(), Broken> {
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
            let read =
                self.request(Asked { guest, operation: Operation::Read, sector: 0, sectors, tag: 0 })?;
            if let Ok(values) = read {
                self.did(Action::Look { node: name.clone(), values: values.clone() });
                self.judge.viewed(&name, &values)?;
                self.looked.push((image, chain(&node["image"]), values));
            }
            self.leave(guest)?;
        }
        Ok(())
    }

    pub(super) fn quit(&mut self) -> Result<(), Broken> {
        self.did(Action::Quit);
        self.exchange(OPERATOR, QUIT, false)?;
        let mut timeout = Timeout::begin();
        loop {
            match self.process.line(&mut timeout) {
                Ok(line) => {
                    self.judge.said(self.process.qmp.said_bytes());
                    self.judge.event(&self.store.plain(&line))?;
                }
                Err(Lost::Closed) => break,
                Err(lost) => return Err(self.lost_after(&timeout, lost, "quit")),
            }
        }
        match self.process.wait() {
            Some(ended) if ended.is_clean => Ok(()),
            Some(ended) => Err(self.crashed(QUIT, &ended, "after quit")),
            None => {
                let fall = self.judge.fall(Fell::Hang, "", QUIT);
                Err(self.judge.fell(HUNG, "after quit it does not end".to_owned(), fall))
            }
        }
    }

    pub(super) fn kill(&mut self) -> Result<(), Broken> {
        self.receive(None, "waiting for nothing")?;
        self.did(Action::Kill);
        self.process.kill();
        self.judge.killed()
    }

    /// Asks it to end by a signal. It must do so soon, and soundly; what was flushed is judged as after a kill.
    pub(super) fn terminate(&mut self) -> Result<(), Broken> {
        self.receive(None, "waiting for nothing")?;
        self.did(Action::Kill);
        let began = Instant::now();
        self.process.terminate();
        match self.process.wait() {
            Some(ended) if !ended.is_clean => {
                let found = format!("after SIGTERM it ended with {}; it said: {}", ended.how, ended.stderr);
                let fall = Fall { how: ended.how, ..self.judge.fall(Fell::Crash, &ended.stderr, "") };
                return Err(self.judge.fell(&format!("{CRASHED} in SIGTERM"), found, fall));
            }
            Some(_) if began.elapsed() <= TERM_MAX => {}
            _ => {
                let found = format!("after SIGTERM it went on for {:.1} s", began.elapsed().as_secs_f64());
                let fall = self.judge.fall(Fell::Hang, &found, "");
                return Err(self.judge.fell(HUNG, found, fall));
            }
        }
        self.judge.killed()
    }

    /// Where two readings of a file differ first. After a command of unknown effect an image may end within a sector,
    /// which one of them counts and the other does not.
    fn difference(&self, file: &str, seen: &[Tag], read: &[Tag]) -> Option<String> {
        if let Some(at) = seen.iter().zip(read).position(|(seen, read)| seen != read) {
            let (seen, read) = (shown(seen[at]), shown(read[at]));
            return Some(format!("sector {at} of {file} after a clean end: expected {seen}, found {read}"));
        }
        let is_other = seen.len() != read.len() && !self.judge.is_lost();
        is_other.then(|| format!("{file} has {} sectors and showed {}", seen.len(), read.len()))
    }

    /// Reads the files as the next process would.
    pub(super) fn reopen(&mut self, end: End) -> Result<(), Broken> {
        let mut images = match self.store.images() {
            Ok(images) => images,
            Err(found) => return Err(self.judge.break_law("an image file is gone", found)),
        };
        let all = match recovery::read_all(&self.store.scenario(), &mut images) {
            Ok(all) => all,
            Err(why) => return Err(self.judge.break_law("an image cannot be read", why.to_owned())),
        };
        if end == End::Kill {
            self.repair(images, &all)?;
        }
        for (image, mut found) in all.into_iter().enumerate() {
            found.file = self.store.plain(&found.file);
            found.chain = found.chain.iter().map(|file| self.store.plain(file)).collect();
            found.values = found.values.map_err(|why| self.store.plain(&why));
            self.did(Action::Reopened { image, values: found.values.clone() });
            self.judge.reopened(&found, end == End::Quit)?;
            let looked = self.looked.iter().find(|(at, chain, _)| *at == image && *chain == found.chain);
            // An injected error may strike the last flush, and nobody learns of that one.
            if let (Some((_, _, seen)), Ok(values)) = (looked, &found.values)
                && self.plan.rules.is_empty()
                && !self.judge.is_excused()
                && let Some(found) = self.difference(&found.file, seen, values)
            {
                return Err(self.judge.break_law("a clean end keeps what was read at rest", found));
            }
            if self.reads_twice && end == End::Quit {
                self.read_twice(image, &found)?;
            }
        }
        Ok(())
    }
}

impl Live<'_> {
    /// What leaked by the stop can be given back, and then every image shows what it showed. A daemon that had time to end
    /// soundly leaks nothing, unless it met an error.
    fn repair(&mut self, images: Vec<Vec<u8>>, all: &[Recovered]) -> Result<(), Broken> {
        let leaks: u64 = all.iter().map(|found| found.leaks).sum();
        let is_damaged = all.iter().any(|found| found.corruptions > 0 || found.values.is_err());
        if leaks == 0 || is_damaged || self.judge.is_lost() {
            return Ok(());
        }
        if self.plan.stop == Stop::Term && self.plan.rules.is_empty() {
            let damage: Vec<String> = all.iter().flat_map(|found| found.damage.clone()).collect();
            let detail = explained(&format!("{leaks} clusters after SIGTERM"), &damage);
            return Err(self.judge.break_law(LawId::NoLeak.name(), detail));
        }
        match repaired(&self.store.scenario(), images, all) {
            Ok(()) => self.leaks += leaks,
            Err(why) => return Err(self.judge.break_law(LEAKS_STAY, why)),
        }
        Ok(())
    }

    /// A second reader must find in an image what ours has found. Names of images over errors lead it to these errors.
    fn read_twice(&mut self, image: usize, ours: &Recovered) -> Result<(), Broken> {
        let image = &self.store.scenario().images[image];
        // What a command of unknown effect made of an image may be nothing that anybody can read.
        let may_be_broken = !self.plan.rules.is_empty() || self.judge.is_lost();
        if image.format.driver() != "qcow2" || may_be_broken || !second_reader::is_there() {
            return Ok(());
        }
        let reader = SecondReader { store: self.store, scratch: self.scratch };
        if let Some(found) = reader.difference(image, ours) {
            let fall = self.judge.fall(Fell::ReadersDiffer, &found, "");
            return Err(self.judge.fell(READERS_DIFFER, found, fall));
        }
        self.read_twice += 1;
        Ok(())
    }
}

fn is_busy(job: &Value, all: &[Value]) -> bool {
    let status = |job: &Value| job["status"].as_str().unwrap_or_default().to_owned();
    let at_work = ["running", "paused", "ready", "standby"];
    match status(job).as_str() {
        "aborting" | "created" => true,
        // It may wait for another job of its transaction, which may work for as long as it likes.
        "waiting" => !all.iter().any(|other| at_work.contains(&status(other).as_str())),
        "running" | "ready" => job["busy"] == true,
        _ => false,
    }
}

/// Whether a job stays where it is until an event reports a change.
fn stays(job: &Value) -> bool {
    ["paused", "standby", "pending", "concluded"].iter().any(|status| job["status"] == *status)
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

/// The files behind a node, from the top down, as the daemon shows its image.
fn chain(image: &Value) -> Vec<String> {
    let links = std::iter::successors(Some(image), |image| image.get("backing-image"));
    links.take(64).filter_map(|image| image["filename"].as_str()).map(recovery::plain_name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::slice::from_ref;

    #[test]
    fn a_job_that_waits_for_a_slow_one_is_not_busy() {
        let job = |status: &str, busy: bool| json!({ "status": status, "busy": busy });
        let (waits, sleeps, works) = (job("waiting", false), job("running", false), job("running", true));
        assert!(is_busy(&waits, from_ref(&waits)));
        assert!(!is_busy(&waits, &[waits.clone(), sleeps.clone()]));
        assert!(is_busy(&works, &[waits, works.clone()]));
        assert!(!is_busy(&sleeps, from_ref(&sleeps)));
    }

    #[test]
    fn a_job_that_sleeps_goes_on_by_itself_and_a_paused_one_does_not() {
        assert!(stays(&json!({ "status": "paused" })));
        assert!(!stays(&json!({ "status": "running", "busy": false })));
        assert!(!stays(&json!({ "status": "ready", "busy": false })));
    }
}
