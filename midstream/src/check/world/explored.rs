//! A run of one scenario that may end at any of its steps: what an exploration takes again and again, and what the trace of
//! a failure that it found replays.

use super::images::make;
use super::{Stop, World, outcome_of};
use crate::choice::{Choices, Point};
use crate::layer::BlockLayer;
use crate::panics::quietly;
use crate::scenario::Scenario;
use crate::verdict::{Detail, Outcome};
use crate::witness::Witness;
use crate::world::crash::Ending;
use crate::world::disk::File;
use crate::world::probe::{Probe, Watch};
use std::sync::Arc;

/// A scenario whose images are made.
pub(in crate::check) struct Prepared<L> {
    pub(in crate::check) layer: Arc<L>,
    pub(in crate::check) scenario: Scenario,
    pub(in crate::check) ends: Vec<Ending>,
    files: Vec<(String, Vec<u8>)>,
}

/// The name of a way to end a run.
pub(in crate::check) fn end_point(ending: Ending) -> Point {
    let name = match ending {
        Ending::Kill => "kill",
        Ending::PowerCut => "power cut",
    };
    Point::new(name, [0; 3])
}

impl<L: BlockLayer> Prepared<L> {
    /// Makes the images, or says why that is impossible.
    pub(in crate::check) fn new(
        layer: Arc<L>,
        scenario: Scenario,
        ends: Vec<Ending>,
    ) -> Result<Prepared<L>, String> {
        let made = quietly(|| make(&layer, &scenario)).map_err(|panic| panic.to_string())?;
        let files = made.map_err(|why| format!("the images cannot be made: {why}"))?;
        let files = files.into_iter().map(|file| (file.path, file.bytes)).collect();
        Ok(Prepared { layer, scenario, ends, files })
    }

    /// One run. `probe` makes who looks at it before each step.
    pub(in crate::check) fn run(
        &self,
        mut choices: Choices,
        detail: Detail,
        probe: impl FnOnce(&Arc<Witness>) -> Option<Box<dyn Probe>>,
    ) -> Outcome {
        let mut world = None;
        let lived = quietly(|| {
            let files = self.files.iter().map(|(path, bytes)| File::new(path, bytes.clone())).collect();
            let made = World::new(&self.layer, self.scenario.clone(), files, detail);
            let world = world.insert(made);
            world.ends = Some(self.ends.clone());
            let ends = self.ends.iter().map(|ending| end_point(*ending)).collect();
            let probe = probe(&world.witness);
            world.scheduler.watch(Watch { ends, ended: None, probe });
            world.live(&mut choices)
        });
        outcome_of(lived, world, choices)
    }
}

impl<L: BlockLayer> World<L> {
    /// Why the scheduler was stopped: the run ends as it may, or a law broke.
    pub(super) fn halted(&self) -> Stop {
        let ended = self.scheduler.ended().and_then(|index| self.ends.as_ref()?.get(index).copied());
        ended.map_or(Stop::Broken, Stop::Crash)
    }

    /// The last moment at which the run may end early.
    pub(super) fn last_step(&mut self, choices: &mut Choices) -> Result<(), Stop> {
        if self.ends.is_none() || self.scheduler.last_step(choices) { Ok(()) } else { Err(self.halted()) }
    }
}
