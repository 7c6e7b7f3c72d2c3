//! What a judge believes, for readers: the graph, the jobs and the contents of its states, and in which ways they may take an
//! observation. Nothing here decides anything, and no judge pays for it that is not asked.

use super::{Concern, Judge};
use crate::content::Decides;
use crate::graph::blocker::{Reason, Role};
use crate::graph::{Graph, ImageId, JobId, Node, NodeId, User};
use crate::json::Json;
use crate::observation::Observation;
use crate::step::seen::Seen;
use crate::step::silent::Silent;
use crate::step::state::State;

/// So many ways are described; there may be more.
const WAYS_MAX: usize = 64;

/// What one state of a judge holds to be so.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Belief {
    /// The nodes, oldest first.
    pub nodes: Vec<NodeBelief>,
    /// Who reads and writes through them, guests and exports.
    pub users: Vec<UserBelief>,
    /// The living jobs, a line each: `job j0 running 3/8 bytes`.
    pub jobs: Vec<String>,
    /// What is under way, a line each.
    pub under_way: Vec<String>,
}

/// A node of the graph.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NodeBelief {
    /// Its number, which no other node has.
    pub id: u16,
    /// Its name, or what stands for one.
    pub name: String,
    /// QMP's word for its driver.
    pub driver: &'static str,
    /// Whether it only passes data through.
    pub is_filter: bool,
    /// Whether it refuses writes.
    pub is_read_only: bool,
    /// The image that it shows, if it is a layer.
    pub image: Option<u16>,
    /// The nodes that it reads or writes.
    pub children: Vec<Child>,
    /// The jobs that hold it, each with its role: `j0: intermediate`.
    pub held: Vec<String>,
}

/// A link of the graph, as its upper end knows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Child {
    /// QMP's word for it.
    pub role: &'static str,
    /// The number of the lower node.
    pub node: u16,
    /// The jobs that keep it from being changed.
    pub frozen_by: Vec<String>,
}

/// Somebody who reads or writes through a node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UserBelief {
    /// `guest 1`, or `export e0`.
    pub name: String,
    /// The number of the node.
    pub node: u16,
    /// Whether it may write.
    pub is_writer: bool,
}

/// What is believed of a sector of an image.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct SectorBelief {
    /// Whether this image decides it rather than its backing; `None` if it may or may not.
    pub is_own: Option<bool>,
    /// The values that a reader may get now, through the chain.
    pub readable: Vec<u64>,
    /// The values that a crash may leave.
    pub survivors: Vec<u64>,
}

/// A way in which an observation may have come about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Way {
    /// Which of the judge's states it starts from.
    pub state: usize,
    /// The silent steps before the observation, in words.
    pub steps: Vec<String>,
    /// Why the observation cannot be; nothing if it can.
    pub refused: Option<String>,
}

impl Judge {
    /// What each state holds to be so, the one that took the fewest silent steps first.
    pub fn beliefs(&self) -> Vec<Belief> {
        self.states.iter().map(State::belief).collect()
    }

    /// How many states are left.
    pub fn state_count(&self) -> usize {
        self.states.len()
    }

    /// The files of the images, in the order of their numbers.
    pub fn image_files(&self) -> impl Iterator<Item = &str> {
        self.plain().images.iter().map(|image| image.file.as_str())
    }

    /// What is believed of the first sectors of an image, at most `sectors_max`.
    pub fn sector_beliefs(&self, image: u16, sectors_max: u32) -> Vec<SectorBelief> {
        let state = self.plain();
        let id = ImageId(image);
        let layer = state.views.layer(id);
        let of_sector = |sector| SectorBelief {
            is_own: match layer.decides(sector) {
                Decides::Yes => Some(true),
                Decides::No => Some(false),
                Decides::Maybe => None,
            },
            readable: self.all_of(|state| state.views.readable(id, sector, state.now)),
            survivors: self.all_of(|state| state.views.survivors(id, sector)),
        };
        (0..layer.sectors().min(sectors_max)).map(of_sector).collect()
    }

    /// The image that a guest's requests go to now.
    pub fn image_of_guest(&self, guest: u32) -> Option<u16> {
        let state = self.plain();
        let user = state.graph.users.iter().find(|user| user.guest == guest && user.export.is_none())?;
        Some(state.layer_of(&state.graph, user.node)?.0)
    }

    /// The image that a node shows now.
    pub fn image_of_node(&self, node: &str) -> Option<u16> {
        let state = self.plain();
        Some(state.layer_of(&state.graph, state.graph.find(node)?)?.0)
    }

    /// The ways in which this may be the next observation, and why others cannot be. The judge itself is left alone.
    pub fn ways(&self, observation: &Observation<'_>) -> Vec<Way> {
        if self.is_overgrown || self.data_judge.is_some() {
            return Vec::new();
        }
        let json = match *observation {
            Observation::Reply { text, .. } | Observation::Event { text } => Json::parse(text),
            _ => None,
        };
        let seen = Seen::read(observation, json.as_ref());
        let mut judge = self.clone();
        judge.now += 1;
        judge.states.iter_mut().for_each(|state| state.now = judge.now);
        let concern = seen.concern(&judge.states);
        if judge.states.len() == 1 && judge.states[0].steps_of(concern).is_empty() {
            judge.states[0].note_answers(concern.footprint, concern.answered);
            let refused = judge.states[0].refusal(&seen);
            return vec![Way { state: 0, steps: Vec::new(), refused }];
        }
        judge.ways_by_steps(&seen, concern)
    }

    fn ways_by_steps(mut self, seen: &Seen<'_>, concern: Concern<'_>) -> Vec<Way> {
        let candidates = self.widen(concern);
        let mut ways: Vec<Way> = Vec::new();
        for (index, candidate) in candidates.iter().enumerate().take(WAYS_MAX) {
            let (state, steps) = match candidate.from {
                None => (index, Vec::new()),
                Some((parent, step)) => {
                    let mut steps = ways[parent].steps.clone();
                    steps.push(candidates[parent].sketched.state.words_of(step));
                    (ways[parent].state, steps)
                }
            };
            ways.push(Way { state, steps, refused: candidate.sketched.state.refusal(seen) });
        }
        ways
    }
}

impl State {
    /// Why an observation cannot be next, if it cannot.
    fn refusal(&self, seen: &Seen<'_>) -> Option<String> {
        let mut more = Vec::new();
        match self.clone().step(seen, &mut more) {
            Err(broken) if more.is_empty() => Some(broken.detail),
            _ => None,
        }
    }

    fn words_of(&self, step: Silent) -> String {
        let of_job = |id: JobId, what: &str| format!("job {} {what}", self.job(id).id);
        match step {
            Silent::CommandTakesEffect(client) => {
                let client = &self.clients[client];
                let text = client.pending.front().map_or("", |front| front.asked.text.as_str());
                format!("the command of client {} takes effect: {text}", client.id)
            }
            Silent::JobFindsItsWayFree(id) => of_job(id, "finds its way free"),
            Silent::JobEditsGraph(id) => of_job(id, "edits the graph"),
            Silent::JobRestoresNode(id) => of_job(id, "makes the node that it wrote read-only again"),
            Silent::JobReleasesFilter(id) => of_job(id, "releases its filter"),
        }
    }

    fn belief(&self) -> Belief {
        let commands = self.clients.iter().filter_map(|client| client.stuck());
        let requests = self.requests.iter().map(|request| request.line());
        Belief {
            nodes: self.graph.alive().map(|(id, node)| self.node_belief(id, node)).collect(),
            users: self.graph.users.iter().filter(|user| !user.is_left_behind()).map(of_user).collect(),
            jobs: self.jobs.iter().filter(|job| job.is_live()).map(|job| job.line()).collect(),
            under_way: commands.chain(requests).collect(),
        }
    }

    fn node_belief(&self, id: NodeId, node: &Node) -> NodeBelief {
        let job_name = |job: JobId| self.job(job).id.clone();
        let held = self.graph.blockers.iter().filter(|blocker| blocker.node == id);
        let mut held: Vec<String> = held
            .filter_map(|blocker| match blocker.reason {
                Reason::Job(_, role) if role.is_device() => None,
                Reason::Job(job, role) => Some(format!("{}: {}", job_name(job), role_word(role))),
                Reason::BackingOf(_) => None,
            })
            .collect();
        held.dedup();
        let below = self.graph.below(id);
        let frozen = self.graph.frozen.iter().filter(|(_, above)| *above == id);
        let frozen_by: Vec<String> = frozen.map(|(job, _)| job_name(*job)).collect();
        let link = |role, child: Option<NodeId>| {
            let child = child?;
            let frozen_by = if Some(child) == below { frozen_by.clone() } else { Vec::new() };
            Some(Child { role, node: child.0, frozen_by })
        };
        let children = [link("file", node.file), link("backing", node.backing), link("target", node.target)];
        NodeBelief {
            id: id.0,
            name: name_of(&self.graph, id, node),
            driver: node.driver.word(),
            is_filter: node.driver.is_filter(),
            is_read_only: node.read_only,
            image: self.layer_of(&self.graph, id).filter(|_| !node.driver.is_filter()).map(|image| image.0),
            children: children.into_iter().flatten().collect(),
            held,
        }
    }
}

fn name_of(graph: &Graph, id: NodeId, node: &Node) -> String {
    match &node.name {
        Some(name) => name.to_string(),
        None if node.driver.is_filter() => "(filter)".to_owned(),
        None => graph.name(id).to_owned(),
    }
}

fn of_user(user: &User) -> UserBelief {
    let name = match (&user.export, &user.behind) {
        (Some(export), _) => format!("export {export}"),
        (None, Some(export)) => format!("guest {} by export {export}", user.guest),
        (None, None) => format!("guest {}", user.guest),
    };
    UserBelief { name, node: user.node.0, is_writer: user.writable }
}

fn role_word(role: Role) -> &'static str {
    match role {
        Role::Filter | Role::MirrorFilter => "filter",
        Role::Target => "target",
        Role::Intermediate => "intermediate",
        Role::Device => "device",
        Role::Committed => "committed",
        Role::Base => "base",
        Role::Source => "source",
        Role::Copy => "receives the copy",
        Role::StreamDevice | Role::BaseDevice(_) | Role::TopDevice | Role::CopyDevice(..) => "device",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Format, ImageSetup};

    fn image(file: &str, backing: Option<&str>, own: &[(u64, u64)]) -> ImageSetup {
        ImageSetup {
            file: file.to_owned(),
            format: Format::Qcow2,
            size_bytes: 1024,
            cluster_bytes: 512,
            bitmaps: false,
            subclusters: false,
            backing: backing.map(str::to_owned),
            own: own.to_vec(),
        }
    }

    fn opened() -> Judge {
        let mut judge = Judge::new(&[image("base", None, &[(0, 7)]), image("top", Some("base"), &[(1, 8)])]);
        let add = |name: &str| {
            format!(
                r#"{{"execute":"blockdev-add","arguments":{{"driver":"qcow2","node-name":"{name}","file":{{"driver":"file","filename":"{name}"}}}}}}"#
            )
        };
        for text in ["{\"execute\":\"qmp_capabilities\"}", &add("top")] {
            judge.observe(&Observation::Sent { client: 0, text }).expect("may be sent");
            judge.observe(&Observation::Reply { client: 0, text: "{\"return\": {}}" }).expect("is right");
        }
        judge
    }

    #[test]
    fn a_belief_has_the_chain_and_every_sector_with_its_value() {
        let judge = opened();
        let [belief] = &judge.beliefs()[..] else { panic!("one state") };
        let top = belief.nodes.iter().find(|node| node.name == "top").expect("it was added");
        assert_eq!((top.driver, top.image, top.children.len()), ("qcow2", Some(1), 2));
        assert_eq!(top.children[1].role, "backing");
        let sectors = judge.sector_beliefs(1, 64);
        let seen: Vec<_> = sectors.iter().map(|sector| (sector.is_own, sector.readable.clone())).collect();
        assert_eq!(seen, [(Some(false), vec![7]), (Some(true), vec![8])]);
        assert_eq!(judge.image_of_node("top"), Some(1));
    }

    #[test]
    fn the_ways_say_which_values_are_refused_and_change_nothing() {
        let judge = opened();
        let right = judge.ways(&Observation::View { node: "top", values: &[7, 8] });
        assert_eq!(right, [Way { state: 0, steps: Vec::new(), refused: None }]);
        let wrong = judge.ways(&Observation::View { node: "top", values: &[7, 9] });
        let refused = wrong[0].refused.as_deref().expect("nobody wrote 9");
        assert!(refused.contains("sector 1"), "{refused}");
        assert!(judge.clone().observe(&Observation::View { node: "top", values: &[7, 8] }).is_ok());
    }

    #[test]
    fn a_command_without_a_reply_may_have_taken_effect() {
        let mut judge = opened();
        let text = r#"{"execute":"blockdev-del","arguments":{"node-name":"top"}}"#;
        judge.observe(&Observation::Sent { client: 0, text }).expect("may be sent");
        let ways = judge.ways(&Observation::GuestRefused { guest: 1, node: "top", writable: false });
        let steps: Vec<usize> = ways.iter().map(|way| way.steps.len()).collect();
        assert_eq!(steps, [0, 1], "{ways:?}");
        assert!(ways[1].steps[0].contains("takes effect: {\"execute\":\"blockdev-del\""), "{ways:?}");
        assert!(ways[0].refused.is_some(), "before, nothing was in its way: {ways:?}");
    }
}
