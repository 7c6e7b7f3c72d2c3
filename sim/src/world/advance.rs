//! How far a run goes in one go: to the end of its scripts, to its crash, and to the moments at which it is looked at as if it
//! ended there.

use super::{Stop, World};
use crate::recovery;
use midstream::choice::Choices;
use midstream::world::crash::{Ending, Moment, WhatIf, crash_images};
use midstream::world::scheduler::{Bound, Rest, STEPS_MAX, TaskId};

impl World {
    /// Runs until `tasks` have ended, the crash comes, a law breaks, or nobody can go on; and looks at what crashes would
    /// leave on the way.
    pub(super) fn advance(&mut self, tasks: &[TaskId], choices: &mut Choices) -> Result<(), Stop> {
        let bound = self.scheduler.steps() + STEPS_MAX;
        loop {
            let steps = self.scheduler.steps();
            if let Some((end, ending)) = self.crash
                && end <= steps
            {
                return Err(Stop::Crash(ending));
            }
            self.look_ahead(choices)?;
            let last = self.next_look().min(self.crash.map_or(bound, |(end, _)| end)).min(bound);
            let (flushes, head_flushes) = self.next_flushes();
            let bound_of_run = Bound { steps_max: last.saturating_sub(steps), flushes, head_flushes };
            match self.scheduler.run_to(tasks, bound_of_run, Some(choices)) {
                Rest::Done => return Ok(()),
                Rest::Halted => return Err(Stop::Broken),
                Rest::Idle => return Err(Stop::Stuck("nothing can run any more")),
                Rest::Bound if self.scheduler.steps() == bound => {
                    return Err(Stop::Stuck("the bound of steps was reached"));
                }
                Rest::Bound => {}
            }
        }
    }

    /// Looks at what crashes would leave now, as often as it was to be looked at this moment.
    fn look_ahead(&mut self, choices: &mut Choices) -> Result<(), Stop> {
        let (steps, flushes) = (self.scheduler.steps(), self.scheduler.flushes());
        let heads = self.scheduler.head_flushes();
        let has_come = |what_if: &WhatIf| match what_if.at {
            Moment::Step(step) => step <= steps,
            Moment::Flush(flush) => flush <= flushes,
            Moment::HeadFlush(flush) => flush <= heads,
        };
        let (now, later) = std::mem::take(&mut self.what_ifs).into_iter().partition(has_come);
        self.what_ifs = later;
        let now: Vec<WhatIf> = now;
        now.iter().try_for_each(|what_if| self.what_if(what_if.ending, choices))
    }

    /// The step before which it is to be looked at next.
    fn next_look(&self) -> u64 {
        let step = |what_if: &WhatIf| match what_if.at {
            Moment::Step(step) => Some(step),
            Moment::Flush(_) | Moment::HeadFlush(_) => None,
        };
        self.what_ifs.iter().filter_map(step).min().unwrap_or(u64::MAX)
    }

    /// The flush after which it is to be looked at next, and that of a header.
    fn next_flushes(&self) -> (Option<u64>, Option<u64>) {
        let flush = |what_if: &WhatIf| match what_if.at {
            Moment::Flush(flush) => Some(flush),
            Moment::Step(_) | Moment::HeadFlush(_) => None,
        };
        let of_head = |what_if: &WhatIf| match what_if.at {
            Moment::HeadFlush(flush) => Some(flush),
            Moment::Step(_) | Moment::Flush(_) => None,
        };
        let next = |moment: &dyn Fn(&WhatIf) -> Option<u64>| self.what_ifs.iter().filter_map(moment).min();
        (next(&flush), next(&of_head))
    }

    /// Looks at what would be left if the world ended now. Where that would break a law, it does end.
    fn what_if(&mut self, ending: Ending, choices: &mut Choices) -> Result<(), Stop> {
        let mut left = {
            let core = self.host.core();
            if core.disks.are_settled() {
                return Ok(());
            }
            crash_images(&core.disks, ending, choices)
        };
        let all = recovery::read_all(&self.scenario, &mut left).map_err(Stop::Stuck)?;
        if self.oracle.would_survive(ending, &all) {
            return Ok(());
        }
        self.left = left;
        self.is_cut |= ending == Ending::PowerCut;
        self.oracle.crashed(ending);
        (0..).zip(all).for_each(|(image, recovered)| self.oracle.recovered(image, recovered));
        self.oracle.over();
        Err(Stop::Broken)
    }
}
