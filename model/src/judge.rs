//! Keeps every state that explains what was observed so far. When none is left, that is the verdict.
//!
//! Before each observation the states are widened by the silent steps that concern it; the observation then sorts them
//! out. A state that another one still leads to by a silent step is not kept: it will come again when it matters. So there
//! is one state most of the time.

pub mod belief;
mod census;
mod kept;
pub mod verbs;

use crate::command::Command;
use crate::command::plan::JobType;
use crate::command::record::JobStanding;
use crate::content::{Moment, Views};
use crate::data_judge::DataJudge;
use crate::inconclusive::Inconclusive;
use crate::json::Json;
use crate::law::{Broken, LawId, Tally};
use crate::observation::{ImageSetup, Observation};
use crate::quirk::Quirk;
use crate::release::Release;
use crate::rule::Rule;
use crate::step::client::{Asked, DONE, done};
use crate::step::seen::Seen;
use crate::step::silent::{Footprint, Silent};
use crate::step::sketch::Sketched;
use crate::step::state::State;
pub use crate::step::taken;
use crate::step::taken::StepsTaken;
pub use census::Census;
use kept::{alike, sort_out};
use std::fmt::{self, Write};
use verbs::{Combination, VerbsSent};

/// So many states are kept. Beyond, and only then, a run is inconclusive.
pub const STATES_MAX: usize = 512;

/// So many states are looked at before an observation has sorted them out. Most of them lead to what others lead to as
/// well, so that few are kept.
pub const CANDIDATES_MAX: usize = 128 * STATES_MAX;

/// The judge of one run.
#[derive(Clone, Debug)]
pub struct Judge {
    states: Vec<State>,
    now: Moment,
    tally: Tally,
    census: Census,
    verbs_sent: VerbsSent,
    steps_taken: StepsTaken,
    /// The states outgrew their bound: from then on nothing is judged.
    is_overgrown: bool,
    /// A command of unknown effect has succeeded: this is what is judged from then on.
    data_judge: Option<DataJudge>,
}

/// What an observation is about.
#[derive(Clone, Copy, Debug)]
struct Concern<'a> {
    footprint: Footprint,
    /// The job that it is about, if it is about one alone.
    job: Option<&'a str>,
    /// The client whose command is answered: if it has not taken effect before, it does with its reply.
    answered: Option<u32>,
}

/// A state on the way to an observation, and the step by which it comes from another one.
struct Candidate {
    sketched: Sketched,
    from: Option<(usize, Silent)>,
}

impl Judge {
    /// A run that starts with these images, nothing opened.
    pub fn new(images: &[ImageSetup]) -> Judge {
        Judge {
            states: vec![State::new(images)],
            now: 0,
            tally: Tally::default(),
            census: Census::default(),
            verbs_sent: VerbsSent::default(),
            steps_taken: StepsTaken::default(),
            is_overgrown: false,
            data_judge: None,
        }
    }

    /// The images lie in files of a real host. There the sector that is read while it is written may be neither the old
    /// one nor the new one, but torn between both (POSIX promises nothing of reads beside writes).
    pub fn on_real_files(mut self) -> Judge {
        for state in &mut self.states {
            state.tears = true;
        }
        self
    }

    /// Judges as if this rule did not stand in the specification: what is right by it is refused.
    pub fn without(mut self, rule: Rule) -> Judge {
        for state in &mut self.states {
            state.without.add(rule);
        }
        self
    }

    /// Judges a daemon that speaks as this release of QEMU does.
    pub fn of_release(mut self, release: Release) -> Judge {
        for state in &mut self.states {
            state.release = release;
        }
        self
    }

    /// Judges a daemon that is wrong in these ways: what they explain is accepted.
    pub fn with(mut self, quirks: &[Quirk]) -> Judge {
        for state in &mut self.states {
            quirks.iter().for_each(|quirk| state.quirks.add(*quirk));
            state.views.holds_anything = !quirks.is_empty();
        }
        self
    }

    /// Takes the next observation, or says which law it breaks.
    pub fn observe(&mut self, observation: &Observation<'_>) -> Result<(), Broken> {
        if self.data_judge.is_some() {
            return self.hold_on(observation);
        }
        if *observation == Observation::SchemaCommand {
            let is_mirror = |state: &State, id| state.job(id).plan.job_type() == JobType::Mirror;
            let mirrors = self.states.iter().any(|state| state.live_jobs().any(|id| is_mirror(state, id)));
            self.data_judge = Some(DataJudge::new(mirrors));
        }
        let json = match *observation {
            // Most replies are this one; it need not be read each time.
            Observation::Reply { text, .. } if DONE.contains(&text) => Some(done()),
            Observation::Reply { text, .. } | Observation::Event { text } => Json::parse(text),
            _ => None,
        };
        self.see(&Seen::read(observation, json.as_ref()))
    }

    /// Nobody knows what the graph is: what guests wrote is held all the same, and no image is corrupt.
    fn hold_on(&mut self, observation: &Observation<'_>) -> Result<(), Broken> {
        if let Observation::Closed { file, check_corruptions: found, .. }
        | Observation::Recovered { file, check_corruptions: found, .. } = observation
        {
            self.tally.count(LawId::NoCorruption);
            if *found > 0 && !self.states.iter().any(|state| state.may_be_corrupt(file)) {
                let detail = format!("{file}: the check found {found} corruptions");
                return Err(Broken { law: LawId::NoCorruption, detail });
            }
        }
        let holding = self.data_judge.as_mut().expect("asked for only while something is held");
        let before = holding.compared;
        let held = holding.observe(observation);
        if holding.compared > before {
            self.tally.count(LawId::DataHolds);
        }
        held.map_err(|detail| Broken { law: LawId::DataHolds, detail })
    }

    fn see(&mut self, seen: &Seen<'_>) -> Result<(), Broken> {
        self.now += 1;
        if self.is_overgrown {
            return Ok(());
        }
        self.census.observations += 1;
        if let Seen::Sent { asked, .. } = seen {
            self.note_verb(asked);
        }
        for state in &mut self.states {
            state.now = self.now;
        }
        let concern = seen.concern(&self.states);
        if self.states.len() == 1 && self.states[0].steps_of(concern).is_empty() {
            // What its own answer may be now, a reply looks at by itself.
            self.states[0].note_answers(concern.footprint, concern.answered);
            return self.see_alone(seen);
        }
        let candidates = self.widen(concern);
        self.census.states_max = self.census.states_max.max(candidates.len() as u64);
        if candidates.len() > CANDIDATES_MAX {
            self.is_overgrown = true;
            // One is kept to speak for all.
            self.states.extend(candidates.into_iter().next().map(|first| first.sketched.state));
            return Ok(());
        }
        let (left, verdict) = sort_out(candidates, seen, concern);
        self.is_overgrown = left.len() > STATES_MAX;
        self.states = left;
        self.take_stock();
        verdict
    }

    /// A job's type and status are the same in every state: its creation and its transitions are seen.
    fn note_verb(&mut self, asked: &Asked) {
        let Ok(Command::Verb(verb)) = &*asked.command else { return };
        let plain = self.plain();
        if let Some(id) = plain.find_job(&verb.job) {
            let job = plain.job(id);
            let (job_type, status) = (job.plan.job_type(), job.status);
            self.verbs_sent.add(Combination { job_type, status, verb: verb.verb });
        }
    }

    /// There is one state, and no silent step that the observation concerns.
    fn see_alone(&mut self, seen: &Seen<'_>) -> Result<(), Broken> {
        let mut more = Vec::new();
        let explained = self.states[0].step(seen, &mut more);
        match explained {
            Ok(()) => self.states.append(&mut more),
            Err(broken) if more.is_empty() => {
                self.take_stock();
                return Err(broken);
            }
            Err(_) => self.states = more,
        }
        self.take_stock();
        Ok(())
    }

    /// Once there is only one way, it is certain what was checked and reached on it.
    fn take_stock(&mut self) {
        self.census.states += self.states.len() as u64;
        self.census.states_max = self.census.states_max.max(self.states.len() as u64);
        if let [only] = &mut self.states[..] {
            for law in only.marks.laws.drain(..) {
                self.tally.count(law);
            }
            self.steps_taken.add_all(std::mem::take(&mut only.marks.steps));
        }
    }

    /// The states, and all that silent steps lead to which an observation concerns.
    fn widen(&mut self, concern: Concern<'_>) -> Vec<Candidate> {
        let states = std::mem::take(&mut self.states);
        let candidate = |state, from| Candidate { sketched: Sketched::of(state), from };
        let mut candidates: Vec<Candidate> = states.into_iter().map(|state| candidate(state, None)).collect();
        let mut controls: Vec<u64> =
            candidates.iter().map(|candidate| candidate.sketched.of_control()).collect();
        let mut index = 0;
        while index < candidates.len() && candidates.len() <= CANDIDATES_MAX {
            let state = &mut candidates[index].sketched.state;
            state.note_answers(concern.footprint, None);
            for step in state.steps_of(concern) {
                for state in candidates[index].sketched.state.silently(step) {
                    let new = candidate(state, Some((index, step)));
                    let control = new.sketched.of_control();
                    if !alike(&controls, control).any(|at| candidates[at].sketched.covers(&new.sketched)) {
                        candidates.push(new);
                        controls.push(control);
                    }
                }
            }
            index += 1;
        }
        candidates
    }

    /// Why not everything was judged, if that is so.
    pub fn inconclusive(&self) -> Option<Inconclusive> {
        if self.is_overgrown {
            return Some(Inconclusive::States);
        }
        let unknown_effect = self.data_judge.is_some().then_some(Inconclusive::UnknownEffect);
        let of_states = || {
            self.states
                .iter()
                .all(|state| state.inconclusive().is_some())
                .then(|| self.plain().inconclusive())
        };
        unknown_effect.or_else(|| of_states().flatten())
    }

    /// Whether not everything was judged.
    pub fn is_inconclusive(&self) -> bool {
        self.inconclusive().is_some()
    }

    /// How often each law was checked, and which goals were reached.
    pub fn tally(&self) -> Tally {
        let mut tally = self.tally.clone();
        for law in self.states.first().into_iter().flat_map(|state| &state.marks.laws) {
            tally.count(*law);
        }
        tally
    }

    /// Writes all that decides what is accepted from now on: two judges that write the same accept the same. It is for
    /// programs that compare it, not for people.
    pub fn write_states(&self, out: &mut dyn Write) -> fmt::Result {
        write!(out, "{}{}{:?}", self.now, self.is_overgrown, self.data_judge)?;
        for state in &self.states {
            state.views.write_all(out)?;
            let without_views = State { views: Views::default().into(), ..state.clone() };
            write!(out, "{without_views:?}")?;
        }
        Ok(())
    }

    /// Which verbs were sent to which jobs.
    pub fn verbs_sent(&self) -> VerbsSent {
        self.verbs_sent
    }

    /// Without which silent steps the run cannot be explained.
    pub fn steps_taken(&self) -> StepsTaken {
        self.steps_taken
    }

    /// How many states there were.
    pub fn census(&self) -> Census {
        self.census
    }

    /// The state that took the fewest silent steps; it speaks for all where one must.
    fn plain(&self) -> &State {
        self.states.first().expect("a judge that has given no verdict has a state")
    }

    /// Every chain, a line each: `base <- mid <- top`.
    pub fn chain_text(&self) -> String {
        self.plain().chain_text()
    }

    /// Every living job, a line each.
    pub fn jobs_text(&self) -> String {
        self.plain().jobs_text()
    }

    /// The named nodes that hold content a guest could use.
    pub fn node_names(&self) -> impl Iterator<Item = &str> {
        self.plain().node_names()
    }

    /// Whether a guest may be put on a node now.
    pub fn may_attach(&self, node: &str, writable: bool) -> bool {
        self.states.iter().any(|state| state.may_attach(node, writable))
    }

    /// How long a node is, in sectors.
    pub fn sectors(&self, node: &str) -> Option<u32> {
        self.plain().sectors(node)
    }

    /// The values a reader of a node's sector may get now.
    pub fn readable(&self, node: &str, sector: u32) -> Vec<u64> {
        self.all_of(|state| state.readable(node, sector))
    }

    /// The values a sector of an image file may have for the next who opens it.
    pub fn survivors(&self, file: &str, sector: u32) -> Vec<u64> {
        self.all_of(|state| state.survivors(file, sector))
    }

    fn all_of(&self, values: impl Fn(&State) -> Vec<u64>) -> Vec<u64> {
        let mut all: Vec<u64> = self.states.iter().flat_map(values).collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// How long an image is to the next who opens it, in sectors.
    pub fn image_sectors(&self, file: &str) -> Option<u32> {
        self.plain().image_sectors(file)
    }

    /// How every living job stands.
    pub fn jobs(&self) -> impl Iterator<Item = JobStanding> {
        let living = self.plain().jobs.iter().filter(|job| job.is_live());
        living.map(|job| job.standing())
    }

    /// What somebody who waits waits for: the jobs that have not ended, the commands and requests without an end.
    pub fn stuck(&self) -> Option<String> {
        self.plain().stuck()
    }
}

impl State {
    /// The silent steps that may be taken now and meet an observation, or meet one that does.
    fn steps_of(&self, concern: Concern<'_>) -> Vec<Silent> {
        if concern.footprint.is_empty() {
            return Vec::new();
        }
        let answered = concern.answered.map(|client| Silent::CommandTakesEffect(self.index_of(client)));
        let is_apart = |step| {
            concern.job.is_some_and(|job| self.is_about_another_job(step, job)) || Some(step) == answered
        };
        let all: Vec<(Silent, Footprint)> =
            self.silent_steps().into_iter().filter(|(step, _)| !is_apart(*step)).collect();
        let is_own = |step| concern.job.is_some_and(|job| self.is_done_by_event_of(step, job));
        let mut is_met: Vec<bool> = all
            .iter()
            .map(|(step, footprint)| footprint.meets(concern.footprint) && !is_own(*step))
            .collect();
        if !is_met.contains(&true) {
            return Vec::new();
        }
        // Each round meets one more step at least, or is the last.
        for _ in 0..all.len() {
            let meets_a_met_one = |index: usize| {
                let met = all.iter().zip(&is_met).filter(|(_, is_met)| **is_met);
                met.into_iter().any(|((_, other), _)| other.meets(all[index].1))
            };
            let more: Vec<usize> =
                (0..all.len()).filter(|index| !is_met[*index] && meets_a_met_one(*index)).collect();
            if more.is_empty() {
                break;
            }
            more.into_iter().for_each(|index| is_met[index] = true);
        }
        all.into_iter().zip(is_met).filter(|(_, is_met)| *is_met).map(|((step, _), _)| step).collect()
    }
}

impl Seen<'_> {
    fn concern(&self, states: &[State]) -> Concern<'_> {
        let of_all = |of: &dyn Fn(&State) -> Footprint| {
            states.iter().map(of).fold(Footprint::NOTHING, Footprint::with)
        };
        let footprint = match self {
            Seen::Reply { client, .. } => of_all(&|state| state.footprint_of_front(*client)),
            Seen::Event(event) => of_all(&|state| state.footprint_of_event(event)),
            Seen::Other(Observation::GuestEnded { request, result })
                if !states.iter().any(|state| state.is_moved_before_end(*request, result.is_ok())) =>
            {
                Footprint::NOTHING
            }
            Seen::Other(observation) => Footprint::of_observation(observation),
            Seen::Sent { .. } | Seen::NoReply { .. } | Seen::NoEvent(_) | Seen::Nothing => Footprint::NOTHING,
        };
        let answered = match self {
            Seen::Reply { client, .. } => Some(*client),
            _ => None,
        };
        let job = match self {
            Seen::Event(event) => Some(event.job),
            _ => None,
        };
        Concern { footprint, job, answered }
    }
}
