//! Queries: what they report must have been true at some moment between the question and the answer.

use crate::command::record::Job;
use crate::command::reply::generated_name;
use crate::graph::{Driver, Graph, JobId, NodeId};
use crate::job::{IoStatus, Status};
use crate::json::Json;
use crate::law::{Broken, LawId};
use crate::rule::Rule;
use crate::shared::Shared;
use crate::step::client::Pending;
use crate::step::state::State;

impl State {
    /// `query-jobs` and `query-block-jobs`.
    pub(super) fn check_jobs(
        &mut self,
        jobs: &[Shared<Job>],
        value: &Json<'_>,
        block: bool,
    ) -> Result<(), Broken> {
        self.count(LawId::QueryTruth);
        let Some(list) = value.list() else {
            return Err(self.broken(LawId::QueryTruth, "the jobs are no list"));
        };
        let mut reported: Vec<JobId> = Vec::new();
        let is_strange = |entry: &&Json<'_>| {
            let name = entry.text_of(if block { "device" } else { "id" });
            self.unmodelled.iter().any(|(id, _)| Some(id.as_str()) == name)
        };
        let list: Vec<&Json<'_>> = list.iter().filter(|entry| !is_strange(entry)).collect();
        for entry in list {
            let id = self.check_job(jobs, entry, block)?;
            // The newest job comes first.
            if reported.last().is_some_and(|last| *last <= id) {
                return Err(self.broken(LawId::QueryTruth, format!("job {} out of order", self.job(id).id)));
            }
            reported.push(id);
        }
        let lived = (0u16..).zip(jobs).filter(|(_, job)| job.is_live());
        let missing = lived.into_iter().find(|(index, _)| !reported.contains(&JobId(*index)));
        match missing {
            Some((_, job)) => {
                Err(self.broken(LawId::QueryTruth, format!("{} is missing from the list", job.line())))
            }
            None => Ok(()),
        }
    }

    /// Whether a job may be reported with this I/O status. It says that it stops before it does so.
    fn io_status_fits(&self, job: &Job, word: &str) -> bool {
        let is_stopping = job.stopped && matches!(job.status, Status::Running | Status::Ready);
        job.io_status.fits(word) || is_stopping && IoStatus::Ok.fits(word) && self.allows(Rule::StopSeenLate)
    }

    fn check_job(&mut self, jobs: &[Shared<Job>], entry: &Json<'_>, block: bool) -> Result<JobId, Broken> {
        let names =
            if block { ["device", "offset", "len"] } else { ["id", "current-progress", "total-progress"] };
        let name = entry.text_of(names[0]).unwrap_or("");
        let Some(index) = jobs.iter().rposition(|job| job.is_live() && job.id == name) else {
            return Err(
                self.broken(LawId::QueryTruth, format!("job `{name}` is reported and does not exist"))
            );
        };
        let (id, job) = (JobId(index as u16), &jobs[index]);
        let status_fits = entry.text_of("status") == Some(job.status.word());
        let auto = |member: &str, value: bool| entry.get(member).and_then(Json::boolean) == Some(value);
        let block_fits = !block
            || (auto("auto-finalize", job.auto_finalize)
                && auto("auto-dismiss", job.auto_dismiss)
                && entry.integer_of("speed") == Some(job.speed)
                && self.io_status_fits(job, entry.text_of("io-status").unwrap_or("")));
        if !status_fits || !block_fits || entry.text_of("type") != Some(job.plan.kind().word()) {
            let what = format!(
                "reported {entry}\nit is a {} with a speed of {}, of I/O status {}",
                job.line(),
                job.speed,
                job.io_status.words()
            );
            return Err(self.broken(LawId::QueryTruth, what));
        }
        let (offset, len) = (entry.integer_of(names[1]), entry.integer_of(names[2]));
        let (Some(offset), Some(len)) = (offset, len) else {
            return Err(self.broken(LawId::QueryTruth, format!("reported {entry} without progress")));
        };
        // Events since may have reported more.
        let before = job.offset;
        let job = self.job(id);
        let is_of_before = before <= offset && offset < job.offset && offset <= len;
        let is_of_before = is_of_before && self.allows(Rule::ProgressOfBefore);
        // A job that has ended is reported as it ended, however long ago.
        if job.is_live() && !is_of_before {
            self.advanced(id, offset, len)?;
        }
        Ok(id)
    }

    /// `query-named-block-nodes`.
    pub(super) fn check_nodes(
        &mut self,
        graph: &Graph,
        value: &Json<'_>,
        front: &Pending,
    ) -> Result<(), Broken> {
        self.count(LawId::QueryTruth);
        let Some(list) = value.list() else {
            return Err(self.broken(LawId::QueryTruth, "the nodes are no list"));
        };
        let stood_on = |id: NodeId, file: &str| self.may_be_reported_on(id, file, front.sent);
        let lie = first_lie(graph, list, &|rule| self.allows(rule), &stood_on);
        let Some((is_gone, lie)) = lie else {
            // Of what changed meanwhile nobody knows which of it was reported.
            if front.answers.0.len() == 1 {
                self.learn_names(list);
            }
            return Ok(());
        };
        let law = match is_gone {
            true => LawId::DroppedGone,
            false if self.jobs.iter().any(|job| job.failure.is_some()) => LawId::GraphKept,
            false => LawId::QueryTruth,
        };
        Err(self.broken(law, lie))
    }

    /// A generated name is shown by a query if only one node can have it.
    fn learn_names(&mut self, list: &[Json<'_>]) {
        const DRIVERS: [Driver; 7] = [
            Driver::CopyOnRead,
            Driver::CommitTop,
            Driver::MirrorTop,
            Driver::CopyBeforeWrite,
            Driver::File,
            Driver::Qcow2,
            Driver::Raw,
        ];
        for driver in DRIVERS {
            let unnamed: Vec<NodeId> = self
                .graph
                .alive()
                .filter(|(_, node)| node.driver == driver && node.name.is_none())
                .map(|(id, _)| id)
                .collect();
            let fresh = |entry: &&Json<'_>| {
                let name = entry.text_of("node-name").unwrap_or("");
                entry.text_of("drv") == Some(driver.word()) && self.graph.find(name).is_none()
            };
            let mut names = list.iter().filter(fresh).filter_map(|entry| entry.text_of("node-name"));
            if let (&[only], Some(name), None) = (&unnamed[..], names.next(), names.next()) {
                self.graph.node_mut(only).name = Some(name.into());
            }
        }
    }

    /// `query-qmp-schema`: `base-node` must be among the arguments of `block-stream`, for it shows that
    /// any node may be a target.
    pub(super) fn check_schema(&mut self, value: &Json<'_>) -> Result<(), Broken> {
        let list = value.list().unwrap_or(&[]);
        let entry = |name: &str| list.iter().find(|entry| entry.text_of("name") == Some(name));
        let arguments = entry("block-stream").and_then(|command| entry(command.text_of("arg-type")?));
        let members = arguments.and_then(|object| object.get("members")?.list()).unwrap_or(&[]);
        let witness = members.iter().any(|member| member.text_of("name") == Some("base-node"));
        self.hold(LawId::QueryTruth, witness, |_| "the schema of block-stream has no base-node".into())
    }
}

/// The first entry that is not true of `graph`, or the first node that is missing; and whether it names a
/// node that is gone.
fn first_lie(
    graph: &Graph,
    list: &[Json<'_>],
    allows: &dyn Fn(Rule) -> bool,
    stood_on: &dyn Fn(NodeId, &str) -> bool,
) -> Option<(bool, String)> {
    let names_file = |reported: &str, file: &str| names_file(reported, file, allows(Rule::FileNameInJson));
    let may_be_left_out = |id| graph.is_orphan(id) && allows(Rule::OrphanShown);
    for entry in list {
        let name = entry.text_of("node-name").unwrap_or("");
        let Some(id) = graph.find(name) else {
            if generated_name(name) == Some(name) {
                continue;
            }
            return Some((true, format!("node `{name}` is reported and does not exist")));
        };
        if let Some(lie) = lie(graph, id, entry, &names_file, stood_on) {
            return Some((false, format!("node `{name}`: {lie}")));
        }
    }
    for (id, node) in graph.alive() {
        if let Some(name) = &node.name
            && !may_be_left_out(id)
            && !list.iter().any(|entry| entry.text_of("node-name") == Some(name))
        {
            return Some((false, format!("node `{name}` is missing from the list")));
        }
    }
    let (stand_on, reported_on) = (unnamed_filters(graph), reported_filters(graph, list));
    let fits = |file: &&str| stand_on.iter().any(|expected| names_file(file, expected));
    if stand_on.len() == reported_on.len() && !reported_on.iter().all(fits) {
        let lie = format!("filters on {}, expected on {}", reported_on.join(", "), stand_on.join(", "));
        return Some((false, lie));
    }
    let unnamed = graph.alive().filter(|(_, node)| node.name.is_none()).count();
    let orphans = graph.alive().filter(|(id, node)| node.name.is_none() && may_be_left_out(*id)).count();
    let strange = list.iter().filter(|entry| graph.find(entry.text_of("node-name").unwrap_or("")).is_none());
    let reported = strange.count();
    (!(unnamed - orphans..=unnamed).contains(&reported))
        .then(|| (reported > unnamed, format!("{reported} nodes with generated names, expected {unnamed}")))
}

/// Whether a query names a file. Where a header does not lead to what was opened, QEMU shows the opened chain as a
/// `json:` name.
pub(super) fn names_file(reported: &str, file: &str, in_json: bool) -> bool {
    reported == file || in_json && reported.starts_with("json:") && reported.contains(file)
}

/// The files that filters with generated names stand on.
fn unnamed_filters(graph: &Graph) -> Vec<&str> {
    let filters = graph.alive().filter(|(_, node)| node.driver == Driver::CopyOnRead && node.name.is_none());
    let below = filters.filter_map(|(id, _)| graph.unfiltered(id));
    let mut files: Vec<&str> = below.filter_map(|layer| graph.node(layer).filename.as_deref()).collect();
    files.sort_unstable();
    files
}

/// The files that a query says such filters stand on.
fn reported_filters<'a>(graph: &Graph, list: &'a [Json<'_>]) -> Vec<&'a str> {
    let is_unnamed = |entry: &&Json<'_>| {
        let name = entry.text_of("node-name").unwrap_or("");
        entry.text_of("drv") == Some(Driver::CopyOnRead.word()) && graph.find(name).is_none()
    };
    let mut files: Vec<&str> =
        list.iter().filter(is_unnamed).filter_map(|entry| entry.text_of("file")).collect();
    files.sort_unstable();
    files
}

fn lie(
    graph: &Graph,
    id: NodeId,
    entry: &Json<'_>,
    names_file: &dyn Fn(&str, &str) -> bool,
    stood_on: &dyn Fn(NodeId, &str) -> bool,
) -> Option<String> {
    let node = graph.node(id);
    let driver = entry.text_of("drv");
    if driver != Some(node.driver.word()) {
        return Some(format!("driver {}, expected {}", driver.unwrap_or("none"), node.driver.word()));
    }
    if node.driver != Driver::Qcow2 || node.unmodelled {
        return None;
    }
    let backing = node.backing.and_then(|below| graph.unfiltered(below));
    let expected = backing.and_then(|below| graph.node(below).filename.as_deref());
    let reported = entry.text_of("backing_file");
    let fits = reported == expected
        || reported.zip(expected).is_some_and(|(reported, file)| names_file(reported, file))
        || reported.is_some_and(|reported| stood_on(id, reported));
    (!fits).then(|| {
        format!("backing file {}, expected {}", reported.unwrap_or("none"), expected.unwrap_or("none"))
    })
}
