//! How a run ended, and what was seen on the way.

use crate::choice::Decision;
use crate::history::History;
use model::Census;
use model::judge::taken::StepsTaken;
use model::judge::verbs::VerbsSent;

/// The law that a world where nothing moves any more breaks.
pub const LIVENESS: &str = "every job and request ends";
/// The law that an engine or a layer that panics breaks.
pub const INVARIANTS: &str = "the code under test never breaks its own invariants";

/// The judgement of one run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// No law broken, every job ended.
    Passed,
    /// A law of the model was broken.
    Broken {
        /// Its name: a sentence.
        law: String,
        /// Values: expected and found, where; chain before and after. Several lines.
        detail: String,
    },
    /// Nothing could run any more, or a bound was reached, while somebody still waited.
    Stuck {
        /// Who waits for whom.
        who: String,
    },
    /// The code under test stopped itself: a broken invariant, with its values.
    Panicked {
        /// The panic's message and place.
        message: String,
    },
}

impl Verdict {
    /// What the minimiser keeps the same: the law, or the kind of end.
    pub fn law(&self) -> &str {
        match self {
            Verdict::Passed => "passed",
            Verdict::Broken { law, .. } => law,
            Verdict::Stuck { .. } => LIVENESS,
            Verdict::Panicked { .. } => INVARIANTS,
        }
    }
}

/// One run, looked back on.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The judgement.
    pub verdict: Verdict,
    /// The step at which it was reached.
    pub steps: u64,
    /// Fingerprint of the whole history: commands, replies, events, guest requests, crash, contents.
    pub history_hash: u64,
    /// Whether not everything was judged.
    pub is_inconclusive: bool,
    /// How many states the judge had to keep.
    pub census: Census,
    /// How often each law was checked, by the law's index in `model`'s list.
    pub laws_checked: Vec<u64>,
    /// Which `sometimes` goals were reached, by index in `model`'s list.
    pub goals_reached: Vec<bool>,
    /// Which verbs were sent to jobs of which type, in which status.
    pub verbs_sent: VerbsSent,
    /// Without which silent steps of the specification the run cannot be explained.
    pub steps_taken: StepsTaken,
    /// The history; empty unless `Detail::Full` was asked.
    pub history: History,
    /// The files as the run left them, by name; none unless `Detail::Full` was asked.
    pub files: Vec<(String, Vec<u8>)>,
    /// Every decision taken.
    pub tape: Vec<Decision>,
}

impl Outcome {
    /// An outcome with nothing but its verdict yet.
    pub fn of(verdict: Verdict) -> Outcome {
        Outcome {
            verdict,
            steps: 0,
            history_hash: 0,
            is_inconclusive: false,
            census: Census::default(),
            laws_checked: Vec::new(),
            goals_reached: Vec::new(),
            verbs_sent: VerbsSent::default(),
            steps_taken: StepsTaken::default(),
            history: History::default(),
            files: Vec::new(),
            tape: Vec::new(),
        }
    }
}

/// How much of a run to keep.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Detail {
    /// Verdict, hash, counts and choice log.
    Quiet,
    /// The history as well.
    Full,
}
