//! Plays a case on a subject, and writes down what came of it in the form of the recorded results.

use super::case::{Action, Case, Io, IoOp, WaitJob};
use super::hash::hash;
use super::look::look;
use super::session::Session;
use super::subject::{Answer, Connection, Disconnected, Lost, Request, Subject};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// What one request of a hash reads.
const HASH_BYTES: u32 = 1 << 20;
/// A disk larger than this is not hashed.
const HASH_BYTES_MAX: u64 = 64 << 20;
/// How long bringing all jobs to their end may take.
const FINISH_SECONDS_MAX: f64 = 10.0;

/// How a case was played.
#[derive(Clone, PartialEq, Debug)]
pub enum Played {
    /// To its end, with this result.
    Result(Value),
    /// Not at all: a step asks for something that is not possible here.
    NotHere(String),
}

/// Plays a case.
pub fn play(case: &Case, subject: &mut dyn Subject) -> Played {
    let mut player = Player {
        case,
        session: Session::new(subject),
        last: None,
        connections: BTreeMap::new(),
        temporary: 0,
        not_here: None,
    };
    let mut result = Map::new();
    result.insert("name".to_owned(), json!(case.name));
    let wrong = player.session.subject.make_images(&case.images);
    if !wrong.is_empty() {
        let wrong = player.session.names.value(&Value::Array(wrong));
        result.insert("image_errors".to_owned(), wrong);
    }
    result.insert("steps".to_owned(), json!([]));
    let lost = player.start().and_then(|()| player.body(&mut result)).err();
    player.end(lost, &mut result);
    match player.not_here {
        Some(what) => Played::NotHere(what),
        None => Played::Result(Value::Object(result)),
    }
}

struct Player<'a> {
    case: &'a Case,
    session: Session<'a>,
    /// The graph as it was seen last.
    last: Option<Value>,
    /// Open connections by their export.
    connections: BTreeMap<String, Connection>,
    /// Temporary exports so far.
    temporary: u32,
    not_here: Option<String>,
}

type Members = Map<String, Value>;

impl Player<'_> {
    fn start(&mut self) -> Result<(), Lost> {
        let names = &self.session.names;
        let arguments: Vec<String> = self.case.daemon_arguments.iter().map(|a| names.fill(a)).collect();
        self.session.subject.start(&arguments)
    }

    fn body(&mut self, result: &mut Members) -> Result<(), Lost> {
        let case = self.case;
        result.insert("blockdevs".to_owned(), json!([]));
        for node in &case.blockdevs {
            let node = self.session.names.fill_value(node);
            let reply = self.session.command("blockdev-add", node)?;
            let answer =
                if reply.get("return").is_some() { json!("ok") } else { self.session.names.value(&reply) };
            push(result, "blockdevs", answer);
        }
        let mut seen = Members::new();
        let looked = self.look(&mut seen);
        result.insert("initial".to_owned(), Value::Object(seen));
        looked?;
        for (index, step) in case.steps.iter().enumerate() {
            self.session.step = index as i64;
            let mut seen = Members::new();
            let mut done = self.act(&step.action, &mut seen);
            match done {
                Err(Lost::Hung) => drop(seen.insert("TIMEOUT".to_owned(), json!(true))),
                Err(Lost::Died) => drop(seen.insert("DIED".to_owned(), json!(true))),
                Err(Lost::Flooding) => {}
                Ok(()) if step.nosnap => {}
                Ok(()) => done = self.look(&mut seen),
            }
            push(result, "steps", Value::Object(seen));
            done?;
        }
        self.session.step = case.steps.len() as i64;
        let mut seen = Members::new();
        let done = self.close(&mut seen);
        result.insert("final".to_owned(), Value::Object(seen));
        done
    }

    fn look(&mut self, into: &mut Members) -> Result<(), Lost> {
        if self.case.settle {
            self.session.settle()?;
        }
        let looked = look(&mut self.session, &mut self.last, into);
        if looked == Err(Lost::Hung) {
            into.insert("snap".to_owned(), json!("TIMEOUT"));
        }
        looked
    }

    fn act(&mut self, action: &Action, into: &mut Members) -> Result<(), Lost> {
        let (name, what) = match action {
            Action::Qmp(message) => ("reply", self.qmp(message)?),
            Action::Io(io) => ("io", self.io(io)?),
            Action::WaitEvent(wait) => {
                let event = self.session.wait_event(wait)?;
                let named = event.map(|event| self.session.names.value(&event));
                let answer = named.map_or(json!({"timeout": true}), |event| json!({"event": event}));
                ("wait_event", answer)
            }
            Action::WaitJob(wait) => ("wait_job", self.wait_job(wait)?),
            Action::Finish(_) => ("finish", self.finish()?),
            Action::Sleep(seconds) => {
                self.session.pass(*seconds)?;
                ("sleep", json!(seconds))
            }
            Action::Schema(command) => ("schema", self.schema(command)?),
            Action::Host(program) => ("host", self.host(program)?),
        };
        into.insert(name.to_owned(), what);
        Ok(())
    }

    fn qmp(&mut self, message: &Value) -> Result<Value, Lost> {
        let message = self.session.names.fill_value(message);
        let text = match message.get("raw").and_then(Value::as_str) {
            Some(raw) => raw.to_owned(),
            None => message.to_string(),
        };
        let mut reply = self.session.execute(&text)?;
        let lists_jobs = ["query-block-jobs", "query-jobs"].iter().any(|query| message["execute"] == *query);
        if lists_jobs && let Some(jobs) = reply["return"].as_array_mut() {
            jobs.sort_by_key(|job| job.get("device").or(job.get("id")).map(Value::to_string));
        }
        Ok(self.session.names.value(&reply))
    }

    fn host(&mut self, program: &[String]) -> Result<Value, Lost> {
        let program: Vec<String> = program.iter().map(|word| self.session.names.fill(word)).collect();
        match self.session.subject.host(&program) {
            Some(answer) => Ok(self.session.names.value(&answer)),
            None => {
                self.not_here = Some(format!("`{}` needs a real host", program.join(" ")));
                Err(Lost::Hung)
            }
        }
    }

    fn wait_job(&mut self, wait: &WaitJob) -> Result<Value, Lost> {
        let mut waited = 0.0;
        loop {
            let jobs = self.session.list("query-jobs")?;
            let found = jobs.iter().find(|job| job["id"] == wait.id.as_str());
            let status = found.map_or("gone", |job| job["status"].as_str().unwrap_or_default());
            if wait.status.hold(status) {
                return Ok(json!({"status": status}));
            }
            if waited > wait.timeout {
                return Ok(json!({"timeout": true, "status": status}));
            }
            self.session.pass(0.005)?;
            waited += 0.005;
        }
    }

    /// Brings every job to its end, sending each what it needs once.
    fn finish(&mut self) -> Result<Value, Lost> {
        let mut sent = BTreeSet::new();
        let mut waited = 0.0;
        loop {
            let jobs = self.session.jobs()?;
            let mut left: Vec<String> = Vec::new();
            for (id, job) in jobs.iter().filter(|(_, job)| job.contains_key("job")) {
                left.push(id.clone());
                if job.get("block").is_some_and(|block| block["speed"].as_u64() > Some(0))
                    && sent.insert((id.clone(), "speed"))
                {
                    self.session.command("block-job-set-speed", json!({"device": id, "speed": 0}))?;
                }
                let verb = match job["job"]["status"].as_str() {
                    Some("paused" | "standby") => "job-resume",
                    Some("ready") => "job-complete",
                    Some("pending") => "job-finalize",
                    Some("concluded") => "job-dismiss",
                    _ => continue,
                };
                if sent.insert((id.clone(), verb)) {
                    self.session.command(verb, json!({"id": id}))?;
                }
            }
            if left.is_empty() {
                return Ok(json!({"done": true}));
            }
            if waited >= FINISH_SECONDS_MAX {
                return Ok(json!({"timeout": true, "left": left}));
            }
            self.session.pass(0.01)?;
            waited += 0.01;
        }
    }

    fn schema(&mut self, command: &str) -> Result<Value, Lost> {
        Ok(super::schema::summary(&self.session.list("query-qmp-schema")?, command))
    }

    /// One request, through the export that is named or through one that lives for it alone.
    fn io(&mut self, io: &Io) -> Result<Value, Lost> {
        if let Some(export) = &io.export {
            return Ok(self.request(export, io, io.close));
        }
        self.temporary += 1;
        let id = format!("tmp{}", self.temporary);
        let reads = matches!(io.op, IoOp::Read | IoOp::Hash);
        let arguments = json!({
            "type": "nbd", "id": id, "node-name": io.node, "name": id, "writable": io.writable.unwrap_or(!reads),
        });
        let reply = self.session.command("block-export-add", arguments)?;
        if reply.get("error").is_some() {
            return Ok(json!({"export": self.session.names.value(&reply)}));
        }
        let answer = self.request(&id, io, true);
        self.session.drop_export(&id)?;
        Ok(answer)
    }

    fn request(&mut self, export: &str, io: &Io, close: bool) -> Value {
        let connected = match self.connections.get(export) {
            Some(connection) if io.op != IoOp::Hash => Ok(*connection),
            _ => self.session.subject.connect(export),
        };
        let answer = connected.and_then(|connection| {
            let answer = match io.op {
                IoOp::Hash => self.hash(connection),
                _ => self.ask(connection, io),
            };
            if close || io.op == IoOp::Hash {
                self.session.subject.disconnect(connection.id);
                self.connections.remove(export);
            } else {
                self.connections.insert(export.to_owned(), connection);
            }
            answer
        });
        answer.unwrap_or_else(|Disconnected(why)| {
            self.connections.remove(export);
            json!({"nbd_error": self.session.names.text(&why)})
        })
    }

    fn ask(&mut self, connection: Connection, io: &Io) -> Result<Value, Disconnected> {
        let data = if io.op == IoOp::Write { vec![io.pattern; io.len as usize] } else { Vec::new() };
        let request = Request { op: io.op, offset: io.offset, len: io.len, data: &data, nohole: io.nohole };
        let Answer { error, data } = self.session.subject.request(connection.id, request)?;
        if io.op != IoOp::Read || error != 0 {
            return Ok(json!({"err": error}));
        }
        Ok(json!({"err": error, "sha256": hash(&data, 16), "runs": runs(&data)}))
    }

    fn hash(&mut self, connection: Connection) -> Result<Value, Disconnected> {
        let size = connection.len_bytes;
        if size > HASH_BYTES_MAX {
            return Err(Disconnected(format!("a disk of {size} bytes is not hashed")));
        }
        let mut whole = Vec::with_capacity(size as usize);
        while (whole.len() as u64) < size {
            let at = whole.len() as u64;
            let len = (size - at).min(u64::from(HASH_BYTES)) as u32;
            let request = Request { op: IoOp::Read, offset: at, len, data: &[], nohole: false };
            let answer = self.session.subject.request(connection.id, request)?;
            if answer.error != 0 {
                return Ok(json!({"size": size, "error": answer.error, "at": at}));
            }
            whole.extend_from_slice(&answer.data);
        }
        Ok(json!({"size": size, "sha256": hash(&whole, 24)}))
    }

    /// Brings jobs and exports to their end, and reads every node.
    fn close(&mut self, into: &mut Members) -> Result<(), Lost> {
        let ending = &self.case.ending;
        if !ending.leave_jobs && !self.session.list("query-jobs")?.is_empty() {
            let finished = self.finish()?;
            into.insert("finish".to_owned(), finished);
        }
        for connection in std::mem::take(&mut self.connections).into_values() {
            self.session.subject.disconnect(connection.id);
        }
        for export in self.session.list("query-block-exports")? {
            self.session.drop_export(export["id"].as_str().unwrap_or_default())?;
        }
        self.look(into)?;
        if !ending.nohash {
            let mut hashes = Members::new();
            for node in self.nodes_to_read() {
                let io = serde_json::from_value(json!({"node": node, "op": "hash"}));
                let answer = self.io(&io.expect("a request to hash a node is one"))?;
                hashes.insert(node, answer);
            }
            into.insert("live_hash".to_owned(), Value::Object(hashes));
        }
        self.session.pass(0.002)
    }

    fn nodes_to_read(&self) -> Vec<String> {
        let Some(graph) = self.last.as_ref().filter(|graph| graph.get("nodes_skipped").is_none()) else {
            return Vec::new();
        };
        if let Some(names) = &self.case.ending.hash {
            return names.clone();
        }
        let nodes = graph["nodes"].as_object().into_iter().flatten();
        let read =
            |name: &str, driver: &Value| driver == "qcow2" || driver == "raw" && !name.starts_with('#');
        nodes.filter(|(name, node)| read(name, &node["drv"])).map(|(name, _)| name.clone()).collect()
    }

    fn end(&mut self, lost: Option<Lost>, result: &mut Members) {
        let mut mark = |what: &str| drop(result.insert(what.to_owned(), json!(true)));
        match lost {
            Some(Lost::Died) => mark("daemon_died"),
            Some(Lost::Hung) => mark("daemon_hung"),
            Some(Lost::Flooding) => mark("event_flood"),
            None => {}
        }
        let end = self.session.subject.stop(lost);
        if end.hung {
            mark("quit_hung");
        }
        // A flood at the very end is one event too many; those before it are reported.
        let _flood = self.session.listen();
        result.insert("exit".to_owned(), json!(end.exit));
        if !end.stderr.is_empty() {
            let text = self.session.names.text(&end.stderr).replace("qemu-storage-daemon: ", "qsd: ");
            result.insert("stderr".to_owned(), json!(tail(&text, 2_000)));
        }
        let (events, steps) = self.session.events();
        result.insert("events".to_owned(), events);
        result.insert("event_step".to_owned(), steps);
        let offline = if self.case.ending.nooffline {
            Members::new()
        } else {
            self.session.subject.offline(&self.case.images)
        };
        let offline = self.session.names.value(&Value::Object(offline));
        result.insert("offline".to_owned(), offline);
    }
}

fn push(result: &mut Members, list: &str, value: Value) {
    result[list].as_array_mut().expect("it was put there as a list").push(value);
}

/// The last characters of a text.
fn tail(text: &str, characters: usize) -> &str {
    let cut = text.chars().count().saturating_sub(characters);
    text.char_indices().nth(cut).map_or("", |(at, _)| &text[at..])
}

/// What a read gave, as runs of sectors that begin with the same byte.
fn runs(data: &[u8]) -> Vec<(u8, u64)> {
    let mut runs: Vec<(u8, u64)> = Vec::new();
    for sector in data.chunks(512) {
        match runs.last_mut() {
            Some((byte, len)) if *byte == sector[0] => *len += 512,
            _ => runs.push((sector[0], 512)),
        }
    }
    runs.truncate(64);
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sectors_are_shown_as_runs_of_their_first_byte() {
        assert_eq!(runs(&[7; 1024]), [(7, 1024)]);
        assert_eq!(runs(&[[7; 512], [8; 512]].concat()), [(7, 512), (8, 512)]);
    }

    #[test]
    fn the_end_of_a_long_text_is_kept() {
        assert_eq!(tail("abcdef", 3), "def");
        assert_eq!(tail("ab", 3), "ab");
    }
}
