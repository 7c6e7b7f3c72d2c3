//! From a recorded case and its result to the list of what was seen, in its order.

use super::edges::block_graph;
use super::{Op, Seen};
use serde_json::{Value, json};
use std::collections::BTreeMap;

pub const SECTOR: usize = 512;

/// What is known of a job while its case is read.
#[derive(Default)]
struct Job {
    auto_finalize: bool,
    auto_dismiss: bool,
    speed: bool,
    paused: bool,
    status: String,
}

struct Reading<'a> {
    case: &'a Value,
    result: &'a Value,
    seen: Vec<Seen>,
    jobs: BTreeMap<String, Job>,
    graph: Option<&'a Value>,
    requests: u64,
    guests: BTreeMap<String, u32>,
    exports: usize,
}

/// Everything that was seen of a case.
pub fn seen(case: &Value, result: &Value) -> Vec<Seen> {
    let mut reading = Reading {
        case,
        result,
        seen: Vec::new(),
        jobs: BTreeMap::new(),
        graph: None,
        requests: 0,
        guests: BTreeMap::new(),
        exports: 0,
    };
    reading.all();
    reading.seen
}

impl Reading<'_> {
    fn all(&mut self) {
        let (case, result) = (self.case, self.result);
        let groups = case["qsd_args"].as_array().into_iter().flatten().filter_map(Value::as_str);
        for group in groups.filter_map(|text| text.strip_prefix("throttle-group,id=")) {
            self.command(
                json!({"execute": "object-add", "arguments": {"qom-type": "throttle-group", "id": group}}),
            );
            self.reply(&json!({"return": {}}));
        }
        for (node, shown) in
            case["blockdevs"].as_array().unwrap().iter().zip(result["blockdevs"].as_array().unwrap())
        {
            self.command(json!({"execute": "blockdev-add", "arguments": node}));
            let shown = if shown == "ok" { json!({"return": {}}) } else { shown.clone() };
            self.reply(&shown);
            for rule in node["inject-error"].as_array().into_iter().flatten() {
                let text = if rule["errno"] == 28 { "No space left on device" } else { "Input/output error" };
                self.seen.push(Seen::Fault(text.into()));
            }
        }
        self.snap(&result["initial"]);
        for (index, step) in case["steps"].as_array().unwrap().iter().enumerate() {
            let Some(shown) = result["steps"].get(index) else { break };
            self.step(index, step, shown);
        }
        if result["final"].is_null() || result["daemon_died"] == true {
            return self.seen.push(Seen::Over);
        }
        self.end(case["steps"].as_array().unwrap().len());
    }

    fn command(&mut self, command: Value) {
        self.seen.push(Seen::Sent(command.to_string()));
    }

    fn reply(&mut self, reply: &Value) {
        self.seen.push(Seen::Reply(reply.to_string()));
    }

    fn ask(&mut self, name: &str, answer: Value) {
        self.command(json!({"execute": name}));
        self.reply(&json!({"return": answer}));
    }

    fn done(&mut self, name: &str, arguments: Value) {
        self.command(json!({"execute": name, "arguments": arguments}));
        self.reply(&json!({"return": {}}));
    }

    /// The events of a step, in order.
    fn events(&self, step: usize) -> Vec<Value> {
        let steps = self.result["event_step"].as_array().unwrap();
        let events = self.result["events"].as_array().unwrap();
        let here = steps.iter().zip(events).filter(|(at, _)| at.as_i64() == Some(step as i64));
        here.map(|(_, event)| event.clone()).collect()
    }

    fn event(&mut self, event: &Value) {
        if event["event"] == "JOB_STATUS_CHANGE" {
            let id = event["data"]["id"].as_str().unwrap().to_owned();
            self.jobs.entry(id).or_default().status = event["data"]["status"].as_str().unwrap().to_owned();
        }
        self.seen.push(Seen::Event(event.to_string()));
    }

    fn step(&mut self, index: usize, step: &Value, shown: &Value) {
        let events = self.events(index);
        let mut rest = &events[..];
        if let Some(command) = step.get("qmp") {
            match command.get("raw") {
                Some(raw) => self.seen.push(Seen::Sent(raw.as_str().unwrap().to_owned())),
                None => self.command(command.clone()),
            }
            let ids = self.started_by(command);
            let running = |event: &Value| {
                let (id, status) = (event["data"]["id"].as_str().unwrap_or(""), &event["data"]["status"]);
                ids.iter().any(|new| new == id) && (*status == "running" || *status == "null")
            };
            let firsts = ids.iter().filter_map(|id| {
                events.iter().position(|event| event["data"]["id"] == id.as_str() && running(event))
            });
            let before = firsts.max().map_or(0, |last| last + 1);
            for event in &events[..before] {
                self.event(event);
            }
            rest = &events[before..];
            if shown["reply"].is_null() {
                return;
            }
            let mut answer = shown["reply"].clone();
            if let (Some("query-block-jobs" | "query-jobs"), Some(list)) =
                (command["execute"].as_str(), answer.get_mut("return").and_then(Value::as_array_mut))
            {
                list.reverse();
            }
            if command["execute"] == "query-qmp-schema" {
                return;
            }
            self.reply(&answer);
        } else if let Some(io) = step.get("io") {
            self.io(io, &shown["io"]);
        } else if step.get("finish").is_some() {
            self.finish(rest);
            rest = &[];
        }
        for event in rest {
            self.event(event);
        }
        self.snap(shown);
    }

    /// The ids of the jobs a command shall start.
    fn started_by(&mut self, command: &Value) -> Vec<String> {
        let name = command["execute"].as_str().unwrap_or("");
        const STARTS: [&str; 5] =
            ["block-stream", "block-commit", "blockdev-mirror", "blockdev-backup", "x-blockdev-amend"];
        let all: Vec<&Value> = match name {
            "transaction" => {
                let actions = command["arguments"]["actions"].as_array();
                actions.into_iter().flatten().map(|action| &action["data"]).collect()
            }
            name if STARTS.contains(&name) => vec![&command["arguments"]],
            _ => return Vec::new(),
        };
        let ids: Vec<String> =
            all.iter().filter_map(|one| one["job-id"].as_str().map(str::to_owned)).collect();
        for one in all {
            let Some(id) = one["job-id"].as_str() else { continue };
            let live = self.jobs.get(id).is_some_and(|job| job.status != "null" && !job.status.is_empty());
            if !live {
                let job = self.jobs.entry(id.to_owned()).or_default();
                job.auto_finalize = one["auto-finalize"] != false;
                job.auto_dismiss = one["auto-dismiss"] != false && name != "x-blockdev-amend";
                job.paused = false;
            }
        }
        ids
    }

    /// What the player of the cases did to end all jobs, and what came of it.
    fn finish(&mut self, events: &[Value]) {
        let names: Vec<String> = self.jobs.keys().cloned().collect();
        for id in names {
            let job = &self.jobs[&id];
            let works = ["running", "paused", "ready", "standby"].contains(&job.status.as_str());
            if job.speed && works {
                self.done("block-job-set-speed", json!({"device": id, "speed": 0}));
            }
        }
        for event in events {
            let id =
                event["data"]["id"].as_str().or(event["data"]["device"].as_str()).unwrap_or("").to_owned();
            let status = event["data"]["status"].as_str().unwrap_or("");
            let Some(job) = self.jobs.get_mut(&id) else {
                self.event(event);
                continue;
            };
            let verb = match (event["event"].as_str().unwrap(), job.status.as_str(), status) {
                (_, "paused", "running") | (_, "standby", "ready") if std::mem::take(&mut job.paused) => {
                    "job-resume"
                }
                (_, "ready", "waiting") => "job-complete",
                ("BLOCK_JOB_COMPLETED", "pending", _) if !job.auto_finalize => "job-finalize",
                (_, "concluded", "null") if !job.auto_dismiss => "job-dismiss",
                _ => "",
            };
            if !verb.is_empty() {
                self.done(verb, json!({"id": id}));
            }
            self.event(event);
        }
    }

    fn io(&mut self, io: &Value, shown: &Value) {
        let op = io["op"].as_str().unwrap();
        let name = match io["export"].as_str() {
            Some(export) => export.to_owned(),
            None => {
                self.exports += 1;
                let name = format!("tmp{}", self.exports);
                let writable = io["writable"].as_bool().unwrap_or(op != "read" && op != "hash");
                self.command(json!({"execute": "block-export-add", "arguments": {"type": "nbd", "id": name,
                    "node-name": io["node"], "name": name, "writable": writable}}));
                let refused = &shown["export"];
                self.reply(&if refused.is_null() { json!({"return": {}}) } else { refused.clone() });
                if !refused.is_null() {
                    return;
                }
                name
            }
        };
        if !shown["nbd_error"].is_null() {
            return;
        }
        let next = self.guests.len() as u32 + 1;
        let fresh = !self.guests.contains_key(&name);
        let guest = *self.guests.entry(name.clone()).or_insert(next);
        if fresh {
            self.seen.push(Seen::Connect { guest, export: name.clone() });
        }
        self.request(guest, io, shown);
        if io["export"].is_null() || io["close"] == true {
            self.guests.remove(&name);
            self.seen.push(Seen::Leave { guest });
        }
        if io["export"].is_null() {
            self.done("block-export-del", json!({"id": name, "mode": "hard"}));
        }
    }

    fn request(&mut self, guest: u32, io: &Value, shown: &Value) {
        let (offset, len) = (io["offset"].as_u64().unwrap_or(0), io["len"].as_u64().unwrap_or(0));
        assert!(offset % 512 == 0 && len % 512 == 0, "recorded requests are whole sectors");
        let (sector, count) = (offset / 512, len / 512);
        let op = match io["op"].as_str().unwrap() {
            "read" => Op::Read(sector, count),
            "write" => Op::Write(sector, vec![io["pattern"].as_u64().unwrap_or(0); count as usize]),
            "zero" => Op::Zero(sector, count),
            "discard" => Op::Discard(sector, count),
            _ => Op::Flush,
        };
        self.requests += 1;
        let request = self.requests;
        let mut values = Vec::new();
        for run in shown["runs"].as_array().into_iter().flatten() {
            values.extend(vec![run[0].as_u64().unwrap(); run[1].as_u64().unwrap() as usize / 512]);
        }
        let result = match shown["err"].as_u64() {
            Some(0) => Ok(values),
            Some(number) => Err(format!("error {number}")),
            None => Err("no answer".to_owned()),
        };
        self.seen.push(Seen::Begin { request, guest, op });
        self.seen.push(Seen::End { request, result });
    }

    /// The lists and the graph after a step.
    fn snap(&mut self, shown: &Value) {
        if shown["graph"].is_null() {
            return;
        }
        let graph = if shown["graph"] == "same" { self.graph } else { None };
        let graph = graph.cloned().unwrap_or_else(|| shown["graph"].clone());
        self.look(&graph);
        if shown["graph"] != "same" {
            self.keep(shown);
        }
        self.lists(&shown["jobs"]);
    }

    fn keep(&mut self, shown: &Value) {
        // The borrow of the whole result lasts as long as the reading.
        let all = std::iter::once(&self.result["initial"])
            .chain(self.result["steps"].as_array().unwrap())
            .chain(std::iter::once(&self.result["final"]));
        let graph = all.into_iter().map(|snap| &snap["graph"]).find(|graph| **graph == shown["graph"]);
        self.graph = graph;
    }

    fn lists(&mut self, jobs: &Value) {
        let Some(jobs) = jobs.as_object() else { return };
        // The recording keeps no order; the newest job came first.
        let mut order: Vec<&String> = jobs.keys().collect();
        let age = |id: &String| {
            let created = |seen: &Seen| {
                matches!(seen, Seen::Event(text) if {
                    let event: Value = serde_json::from_str(text).unwrap();
                    event["data"]["id"] == id.as_str() && event["data"]["status"] == "created"
                })
            };
            self.seen.iter().rposition(created)
        };
        order.sort_by_key(|id| std::cmp::Reverse(age(id)));
        let list = |part: &str, key: &str| -> Vec<Value> {
            let shown = order.iter().filter(|id| !jobs[**id][part].is_null());
            shown
                .map(|id| {
                    let mut entry = jobs[*id][part].clone();
                    entry[key] = json!(id);
                    entry
                })
                .collect()
        };
        let (blocks, all) = (list("block", "device"), list("job", "id"));
        for entry in &blocks {
            let job = self.jobs.entry(entry["device"].as_str().unwrap().to_owned()).or_default();
            job.speed = entry["speed"] != 0;
            job.paused =
                entry["paused"] == true && ["paused", "standby"].contains(&entry["status"].as_str().unwrap());
            (job.auto_finalize, job.auto_dismiss) =
                (entry["auto-finalize"] == true, entry["auto-dismiss"] == true);
        }
        self.ask("query-block-jobs", Value::from(blocks));
        self.ask("query-jobs", Value::from(all));
    }

    fn look(&mut self, graph: &Value) {
        if graph["nodes_skipped"].is_null() {
            let nodes = graph["nodes"].as_object().into_iter().flatten();
            let list: Vec<Value> = nodes
                .map(|(name, node)| {
                    let mut node = node.clone();
                    node.as_object_mut().unwrap().remove("children");
                    node["node-name"] = json!(name);
                    node
                })
                .collect();
            self.ask("query-named-block-nodes", Value::from(list));
        }
        let edges = graph["edges"].as_array().unwrap();
        self.ask("x-debug-query-block-graph", block_graph(edges));
    }

    fn end(&mut self, step: usize) {
        let shown = &self.result["final"];
        let events = self.events(step);
        let leaves = self.case["final"]["leave_jobs"] == true;
        if !leaves {
            self.finish(&events);
        }
        let exports: Vec<String> = self.open_exports();
        let guests: Vec<u32> = std::mem::take(&mut self.guests).into_values().collect();
        for guest in guests {
            self.seen.push(Seen::Leave { guest });
        }
        for id in exports {
            self.done("block-export-del", json!({"id": id, "mode": "hard"}));
        }
        self.snap(shown);
        for (node, hash) in shown["live_hash"].as_object().into_iter().flatten() {
            if let Some(hash) = hash["sha256"].as_str() {
                self.seen.push(Seen::Node { node: node.clone(), hash: hash.to_owned() });
            }
        }
        self.command(json!({"execute": "quit"}));
        self.reply(&json!({"return": {}}));
        if leaves {
            for event in &events {
                self.event(event);
            }
        }
        self.files();
        self.seen.push(Seen::Over);
    }

    /// The exports that steps made and no step took away.
    fn open_exports(&self) -> Vec<String> {
        let mut open: Vec<String> = Vec::new();
        for (step, shown) in
            self.case["steps"].as_array().unwrap().iter().zip(self.result["steps"].as_array().unwrap())
        {
            let Some(id) = step["qmp"]["arguments"]["id"].as_str() else { continue };
            let fine = shown["reply"].get("return").is_some();
            match step["qmp"]["execute"].as_str() {
                Some("block-export-add") if fine => open.push(id.to_owned()),
                Some("block-export-del") if fine => open.retain(|other| other != id),
                _ => {}
            }
        }
        open
    }

    fn files(&mut self) {
        let mut all = Vec::new();
        for (file, shown) in self.result["offline"].as_object().into_iter().flatten() {
            let Some(chain) = shown["chain"].as_array() else { continue };
            let names: Vec<String> = chain
                .iter()
                .map(|link| link["filename"].as_str().unwrap())
                .map(|name| if name.starts_with('/') { name.to_owned() } else { format!("/run/{name}") })
                .collect();
            let number = |name: &str| shown["check"][name].as_u64().unwrap_or(0);
            all.push(Seen::File {
                file: format!("/run/{file}"),
                hash: shown["content"]["sha256"].as_str().map(str::to_owned),
                chain: names,
                corruptions: number("corruptions"),
                leaks: number("leaks"),
            });
        }
        self.seen.extend(all);
    }
}
