//! The engines, each at any level.

use crate::imago_layer::Imago;
use crate::level::{Images, Level, Requests};
use crate::ours::Ours;
use crate::part::Part;
use crate::qcow2_rs_layer::Qcow2Rs;
use midstream::campaign::Plan;
use midstream::coverage::Totals;
use midstream::trace::Trace;
use midstream::{BlockLayer, Failure, Profile};

/// An engine.
#[derive(Copy, Clone, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum Engine {
    /// imago.
    Imago,
    /// qcow2-rs.
    Qcow2Rs,
    /// Our own engine, as the control.
    Ours,
}

/// Something to be done with a layer and what is drawn for it.
trait Task {
    type Done;
    fn on<L: BlockLayer>(self, layer: L, profile: Profile) -> Self::Done;
}

impl Engine {
    /// Engines of others.
    pub const OTHERS: [Engine; 2] = [Engine::Imago, Engine::Qcow2Rs];

    /// Every level that asks something of its own of this engine.
    pub fn levels(self) -> impl Iterator<Item = Level> {
        // qcow2-rs makes nothing zeroes.
        Level::all().filter(move |level| self != Engine::Qcow2Rs || level.requests != Requests::Beside)
    }

    /// What it is called, with its version.
    pub fn name(self) -> &'static str {
        match self {
            Engine::Imago => "imago 0.2.6",
            Engine::Qcow2Rs => "qcow2-rs 0.1.6",
            Engine::Ours => "midstream-block",
        }
    }

    /// Runs of a plan at a level: how often each law was broken, and at which seed.
    pub fn survey(self, level: Level, plan: &Plan) -> Result<Totals, Box<Failure>> {
        self.do_at(level, Survey(plan))
    }

    /// The run of a seed that breaks a law, made small.
    pub fn explain(self, level: Level, seed: u64) -> Result<(Failure, Trace), Box<Failure>> {
        self.do_at(level, Explain(seed))
    }

    /// A run from its trace: what it breaks, or that it breaks nothing.
    pub fn replay(self, level: Level, trace: &Trace) -> Result<Totals, Box<Failure>> {
        self.do_at(level, Replay(trace))
    }

    fn do_at<T: Task>(self, level: Level, task: T) -> T::Done {
        match (self, level.images) {
            (Engine::Imago, Images::Alone) => at(Imago::<false>, level, task),
            (Engine::Imago, _) => at(Imago::<true>, level, task),
            (Engine::Qcow2Rs, Images::Alone) => at(Qcow2Rs::<false>, level, task),
            (Engine::Qcow2Rs, _) => at(Qcow2Rs::<true>, level, task),
            (Engine::Ours, Images::Alone) => at(Ours::<false>, level, task),
            (Engine::Ours, _) => at(Ours::<true>, level, task),
        }
    }
}

fn at<L: BlockLayer, T: Task>(layer: L, level: Level, task: T) -> T::Done {
    let part = Part {
        layer,
        in_turn: level.requests == Requests::InTurn,
        zeroes: level.requests != Requests::PlainBeside,
        checked: level.is_checked(),
    };
    task.on(part, level.profile())
}

struct Survey<'a>(&'a Plan);

impl Task for Survey<'_> {
    type Done = Result<Totals, Box<Failure>>;

    fn on<L: BlockLayer>(self, layer: L, profile: Profile) -> Self::Done {
        midstream::survey(layer, profile, self.0)
    }
}

struct Explain(u64);

impl Task for Explain {
    type Done = Result<(Failure, Trace), Box<Failure>>;

    fn on<L: BlockLayer>(self, layer: L, profile: Profile) -> Self::Done {
        midstream::explain(layer, profile, self.0)
    }
}

struct Replay<'a>(&'a Trace);

impl Task for Replay<'_> {
    type Done = Result<Totals, Box<Failure>>;

    fn on<L: BlockLayer>(self, layer: L, profile: Profile) -> Self::Done {
        midstream::replay(layer, profile, self.0)
    }
}
